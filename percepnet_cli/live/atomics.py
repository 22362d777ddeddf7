"""Ordered access to counters that two threads share: the only door of the live path to llvmlite.

One thread writes data, then publishes how much of it there is; the other looks at the count first,
then at the data. That order must be told to the compiler and, except on x86, to the processor.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

COUNTER = ir.IntType(64)


@intrinsic  # type: ignore[untyped-decorator]
def load_acquire(typing_context: Any, address: Any) -> tuple[Signature, Any]:
    """Return the int64 at an address; what its writer wrote before it is visible from then on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], COUNTER.as_pointer())
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(types.uintp), generate


@intrinsic  # type: ignore[untyped-decorator]
def store_release(typing_context: Any, address: Any, value: Any) -> tuple[Signature, Any]:
    """Write an int64 to an address after everything that was written before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], COUNTER.as_pointer())
        builder.store_atomic(arguments[1], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(types.uintp, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing_context: Any, address: Any) -> tuple[Signature, Any]:
    """Turn an address into what ``numba.carray`` takes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.uintp), generate
