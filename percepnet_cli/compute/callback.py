"""Calls from compiled code back into Python: for what is measured, not for what is computed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
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
