"""Transposing tall matrices of 16-bit numbers: squares go through vector registers, and past the caches."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from percepnet_cli.compute.jit import kernel
from percepnet_cli.compute.vectors import Vectors

COLUMNS = 16
"""Columns of a block."""

ROWS = 32
"""Rows of a block: of pairs as many as columns."""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
NUMBERS = ir.VectorType(I16, COLUMNS)
PAIRS = ir.VectorType(I32, COLUMNS)


def _transpose_block(typingctx: Any, x: Any, first: Any, stride: Any, out: Any, place: Any, out_stride: Any) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        source, target = (
            builder.bitcast(context.make_array(signature.args[k])(context, builder, arguments[k]).data, I8.as_pointer())
            for k in (0, 3)
        )
        first, stride, place, out_stride = (builder.mul(arguments[k], I64(2)) for k in (1, 2, 4, 5))

        def row(number: int) -> ir.Value:
            """Load a row, each number in 32 bits."""
            here = builder.gep(source, [builder.add(first, builder.mul(stride, I64(number)))])
            load = builder.load(builder.bitcast(here, NUMBERS.as_pointer()))
            load.align = 2
            return builder.zext(load, PAIRS)

        # A number and the one below it become one of twice the size: then it is a square
        shift = ir.Constant(PAIRS, [16] * COLUMNS)
        square = [builder.or_(row(2 * pair), builder.shl(row(2 * pair + 1), shift)) for pair in range(COLUMNS)]

        # A column of pairs is a row of the result; the stores go around the caches
        for number, vector in enumerate(Vectors(builder).transpose(square)):
            there = builder.gep(target, [builder.add(place, builder.mul(out_stride, I64(number)))])
            store = builder.store(vector, builder.bitcast(there, PAIRS.as_pointer()))
            store.align = 64
            store.set_metadata("nontemporal", builder.module.add_metadata([I32(1)]))
        return context.get_dummy_value()

    index = types.int64
    return types.void(x, index, index, out, index, index), codegen


transpose_block = intrinsic(_transpose_block)
"""numba function (x, first, stride, out, place, out_stride): transpose 32 rows of 16 numbers.

x, out: uint16; the block's first number, and how far apart rows are. What is written goes past the caches, for it is
read much later: a cache would fetch each line first, which takes five times as long. Rows of `out` lie at multiples of
64 bytes. Little-endian machines only.
"""


@kernel
def transpose_blocks(x: np.ndarray, first: int, out: np.ndarray) -> None:
    """Transpose columns of a matrix: ``out[:] = x[:, first : first + len(out)].T``.

    ``tests/test_recurrence.py``: ``test_transposing_moves_every_number``.

    x: uint16 [rows, columns]; out: uint16 [n, rows], at a multiple of 64 bytes; rows a multiple of 32, n one of 16.
    """
    rows, columns = x.shape

    # Down the rows outside: a cache line of x serves the columns beside it before it is gone
    for top in range(0, rows, ROWS):
        for left in range(0, len(out), COLUMNS):
            transpose_block(x, top * columns + first + left, columns, out, left * rows + top, rows)
