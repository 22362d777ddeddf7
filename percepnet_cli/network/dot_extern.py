"""The 8-bit product as a call of a C function, which whoever links the code brings along: for ``export``.

The C function knows instructions that LLVM does not make from the plain loop, and can choose among them when the
program runs (``export/product_x86.c`` and others). Nothing can run it here.
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

SYMBOL = "percepnet_matmul_int8"
"""void (const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vectors, int64_t hops, int32_t *sums,
int64_t sums_per_hop)"""

# numba wants to know an address before it compiles calls of a function: any that is there
llvm.add_symbol(SYMBOL, ctypes.cast(ctypes.pythonapi.Py_GetVersion, ctypes.c_void_p).value)


def _matmul_int8(typingctx: Any, weights: Any, vectors: Any, out: Any) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        matrix, inputs, sums = (
            context.make_array(kind)(context, builder, argument)
            for kind, argument in zip(signature.args, arguments, strict=True)
        )
        rows, columns = cgutils.unpack_tuple(builder, matrix.shape)
        hops, _ = cgutils.unpack_tuple(builder, inputs.shape)
        _, sums_per_hop = cgutils.unpack_tuple(builder, sums.shape)

        values = [matrix.data, rows, columns, inputs.data, hops, sums.data, sums_per_hop]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, SYMBOL), values)
        return context.get_dummy_value()

    return types.void(weights, vectors, out), codegen


_call = intrinsic(_matmul_int8)


@kernel
def extern_matmul_int8(weights: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> None:
    """Do what ``dot.plain_matmul_int8`` does, with the same arguments."""
    _call(weights, vectors, out)
