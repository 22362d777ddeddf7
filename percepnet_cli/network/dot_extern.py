"""The 8-bit product as a call of a C function, which whoever links the code brings along: for ``export``.

The C function knows instructions that LLVM does not make from the plain loop, and can choose among them when the
program runs (``export/product_x86.c`` and others). A test puts a function of its own in its place.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from percepnet_cli.compute.jit import kernel
from percepnet_cli.network import dot_tiles

SYMBOL = "percepnet_matmul_int8"
"""void (const int8_t *weights, int64_t panels, int64_t columns, const int8_t *vector, int32_t *sums)"""

LAYOUT = dot_tiles.Instruction(SYMBOL, lanes=16, takes_bytes=True, offset=0, wide_hops=1)
"""One for all machines: what the longest registers want suits shorter ones, too."""
PANEL = dot_tiles.REGISTERS * LAYOUT.lanes
"""Rows of a panel: ``PANEL`` of ``export/product.h``."""

# numba wants to know an address before it compiles calls of a function: any that is there
llvm.add_symbol(SYMBOL, ctypes.cast(ctypes.pythonapi.Py_GetVersion, ctypes.c_void_p).value)


def pack(weights: np.ndarray) -> np.ndarray:
    """Lay a matrix out in panels: int8 [rows, columns] to bytes [panels, groups of columns, 48, 4]."""
    return dot_tiles.pack(weights, LAYOUT)


def _matmul_int8(typingctx: Any, weights: Any, vector: Any, sums: Any) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        packed, inputs, out = (
            context.make_array(kind)(context, builder, argument)
            for kind, argument in zip(signature.args, arguments, strict=True)
        )
        panels = cgutils.unpack_tuple(builder, packed.shape)[0]
        (columns,) = cgutils.unpack_tuple(builder, inputs.shape)

        values = [packed.data, panels, columns, inputs.data, out.data]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, SYMBOL), values)
        return context.get_dummy_value()

    return types.void(weights, vector, sums), codegen


_call = intrinsic(_matmul_int8)


@kernel
def extern_matmul_int8(weights: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> None:
    """Do what ``dot_tiles.matmul_int8`` does. weights: as ``pack`` returns; the other arguments are the same."""
    # A stream, which is all that is exported, brings one hop at a time: no weight is read twice
    for hop in range(vectors.shape[0]):
        _call(weights, vectors[hop], out[hop])
