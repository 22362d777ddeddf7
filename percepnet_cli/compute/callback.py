"""Calls of compiled code by address: back into Python, for what is measured, and of kernels that are not copied."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from percepnet_cli.compute.struct import WORD

Callback = ctypes.CFUNCTYPE(None, ctypes.c_ssize_t)


def callback(function: Callable[[str], object] | None, names: Sequence[str]) -> tuple[int, Any]:
    """Return the address under which compiled code calls a function, 0 for None, and what keeps it alive.

    Compiled code gives the number of a name, the function gets the name.
    """
    if function is None:
        return 0, None

    def call(number: int) -> None:
        function(names[number])

    made = Callback(call)
    return ctypes.cast(made, ctypes.c_void_p).value or 0, made


def _call_if(typingctx: Any, address: Any, number: Any) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        place, value = arguments
        kind = ir.FunctionType(ir.VoidType(), [WORD]).as_pointer()
        with builder.if_then(builder.icmp_unsigned("!=", place, WORD(0)), likely=False):
            builder.call(builder.inttoptr(place, kind), [value])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


call_if = intrinsic(_call_if)
"""numba function (address, number): call what lies at an address, unless that is 0."""


def _call(typingctx: Any, address: Any, arguments: Any) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        place, given = values
        parts = cgutils.unpack_tuple(builder, given)
        kind = ir.FunctionType(ir.VoidType(), [part.type for part in parts]).as_pointer()
        builder.call(builder.inttoptr(place, kind), parts)
        return context.get_dummy_value()

    return types.void(types.intp, arguments), codegen


call = intrinsic(_call)
"""numba function (address, arguments): call what ``jit.address_of`` has found; a ``Struct`` is given as its address."""
