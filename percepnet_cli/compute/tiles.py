"""Matrix products of bfloat16 on the tile registers of AMX, for kernels that go on with the sums at once.

A tile holds 16 rows of 64 bytes. ``tdpbf16ps`` adds to a tile C of 16 x 16 float32 the product of a tile A, 16 rows of
32 numbers, and a tile B, 16 rows of 16 pairs: C[i, j] += sum_p A[i, 2p] B[p, j, 0] + A[i, 2p + 1] B[p, j, 1] (Intel 64
and IA-32 Architectures Software Developer's Manual, volume 2). bfloat16 arrives as uint16, its bits.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from percepnet_cli.compute.cpu import features

SIDE = 16
"""Rows of a tile, and its columns of float32."""

DEPTH = 32
"""Products that one instruction sums: numbers in a row of a tile A."""

PAIRS = SIDE * SIDE
"""Pairs of bfloat16 in a tile B, each a uint32."""

CONFIGURATION = np.zeros(64, np.uint8)
"""What ``load_configuration`` takes: palette 1, and for each of 8 tiles 64 bytes a row and 16 rows."""
CONFIGURATION[0] = 1
CONFIGURATION[16:32].view(np.uint16)[:] = 64
CONFIGURATION[48:56] = SIDE

I8, I64 = ir.IntType(8), ir.IntType(64)


@functools.cache
def available() -> bool:
    """Return whether this CPU has tiles of bfloat16 and the system lets this process use them."""
    if sys.platform != "linux" or not {"amx-tile", "amx-bf16"} <= features():
        return False

    # The state of the tiles is large, so Linux keeps it only for processes that ask (arch_prctl(2))
    arch_prctl, req_xcomp_perm, xtiledata = 158, 0x1023, 18
    try:
        return ctypes.CDLL(None).syscall(arch_prctl, req_xcomp_perm, xtiledata) == 0
    except (OSError, AttributeError):
        return False


def pack(weight: np.ndarray) -> np.ndarray:
    """Lay out a matrix [rows, columns] of uint16 as tiles B of its transposed.

    Returns uint32 [rows / 16, columns / 32, 16, 16]. Rows are a multiple of 16, columns of 32. So x times the
    transposed matrix is a row of tiles A times these.
    """
    # Two neighbors in a row are a pair, one uint32; then rows and columns of each tile change places
    rows, columns = weight.shape
    pairs = np.ascontiguousarray(weight).view(np.uint32).reshape(rows // SIDE, SIDE, columns // DEPTH, SIDE)
    return np.ascontiguousarray(pairs.transpose(0, 2, 3, 1))


def _call(builder: ir.IRBuilder, name: str, *arguments: ir.Value) -> None:
    """Write a call of one of LLVM's functions for x86 that return nothing."""
    kind = ir.FunctionType(ir.VoidType(), [one.type for one in arguments])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), arguments)


def _data(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value) -> ir.Value:
    """Return the address of an array's first byte."""
    return builder.bitcast(context.make_array(kind)(context, builder, array).data, I8.as_pointer())


def _at(builder: ir.IRBuilder, base: ir.Value, *offsets: ir.Value) -> ir.Value:
    """Return the address so many bytes behind another."""
    return builder.gep(base, [functools.reduce(builder.add, offsets)])


def _configuration(name: str) -> Any:
    """Return the numba function (uint8 [64]) that loads the tiles' configuration from there, or stores it."""

    def configure(typingctx: Any, config: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _call(builder, name, _data(context, builder, signature.args[0], arguments[0]))
            return context.get_dummy_value()

        return types.void(config), codegen

    return intrinsic(configure)


load_configuration = _configuration("ldtilecfg")
store_configuration = _configuration("sttilecfg")


def _product(rows: int, columns: int, add: bool) -> Any:
    """Return the numba function that multiplies so many tiles of rows by so many of columns, 1 or 2 each.

    In plain loops (``tests/test_recurrence.py``: ``test_packed_tiles_multiply``), B[k, j] the numbers in the tiles b::

        for i in range(16 * rows):
            for j in range(16 * columns):
                for k in range(32 * steps):
                    c[first_c + i * stride_c + j] += a[first_a + i * stride_a + k] * B[k, j]

    (a, first_a, stride_a, b, first_b, next_b, steps, c, first_c, stride_c): a: uint16, the first number of the first
    row and how far apart rows are; b: uint32 as ``pack`` gives it, the first pair and how far behind it the next
    column of tiles begins; steps: tiles in depth; c: float32, where the product goes, or is added to.
    """

    def product(
        typingctx: Any,
        a: Any,
        first_a: Any,
        stride_a: Any,
        b: Any,
        first_b: Any,
        next_b: Any,
        steps: Any,
        c: Any,
        first_c: Any,
        stride_c: Any,
    ) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            base_a, base_b, base_c = (_data(context, builder, signature.args[k], arguments[k]) for k in (0, 3, 7))
            start_a, apart_a = (builder.mul(arguments[k], I64(2)) for k in (1, 2))
            start_b, apart_b = (builder.mul(arguments[k], I64(4)) for k in (4, 5))
            start_c, apart_c = (builder.mul(arguments[k], I64(4)) for k in (8, 9))
            cells = [(i, j) for i in range(rows) for j in range(columns)]

            # Of the 8 tile registers 0..3 hold sums, 4 and 5 rows of a, 6 and 7 columns of b
            def cell(i: int, j: int) -> ir.Value:
                return _at(builder, base_c, start_c, builder.mul(apart_c, I64(i * SIDE)), I64(j * SIDE * 4))

            # Sums begin with what is there, or with zeros
            for i, j in cells:
                if add:
                    _call(builder, "tileloadd64", I8(2 * i + j), cell(i, j), apart_c)
                else:
                    _call(builder, "tilezero", I8(2 * i + j))

            # Along the depth: each tile of a and b that is loaded serves all sums in its row or column
            with cgutils.for_range(builder, arguments[6]) as loop:
                for i in range(rows):
                    down = builder.mul(apart_a, I64(i * SIDE))
                    here = _at(builder, base_a, start_a, down, builder.mul(loop.index, I64(DEPTH * 2)))
                    _call(builder, "tileloadd64", I8(4 + i), here, apart_a)
                for j in range(columns):
                    along = builder.mul(apart_b, I64(j))
                    here = _at(builder, base_b, start_b, along, builder.mul(loop.index, I64(PAIRS * 4)))
                    _call(builder, "tileloadd64", I8(6 + j), here, I64(64))
                for i, j in cells:
                    _call(builder, "tdpbf16ps", I8(2 * i + j), I8(4 + i), I8(6 + j))

            for i, j in cells:
                _call(builder, "tilestored64", I8(2 * i + j), cell(i, j), apart_c)
            return context.get_dummy_value()

        index = types.int64
        return types.void(a, index, index, b, index, index, index, c, index, index), codegen

    return intrinsic(product)


multiply_22, multiply_21, multiply_12, multiply_11 = (
    _product(rows, columns, False) for rows, columns in ((2, 2), (2, 1), (1, 2), (1, 1))
)
add_22, add_21, add_12, add_11 = (_product(rows, columns, True) for rows, columns in ((2, 2), (2, 1), (1, 2), (1, 1)))
