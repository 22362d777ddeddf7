"""Arrays and numbers under names, which compiled functions read by one address.

A stage keeps its memories and working space in a ``Struct``. To a compiled function it is a single number: where a
table of machine words lies. ``struct.field`` reads a few of these words, so a state of a hundred arrays costs a call
no more than one, and stages take each other's states as C functions take pointers::

    array     nitems, itemsize, address of the data, shape[ndim], strides[ndim]
    integer   its value
    Struct    address of its table

Nothing is counted or owned on the compiled side: whoever holds the ``Struct`` in Python keeps all of it alive.
"""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AttributeTemplate
from numba.extending import NativeValue, infer_getattr, lower_getattr_generic, register_model, unbox

WORD = ir.IntType(8 * ctypes.sizeof(ctypes.c_void_p))
"""An address, a size or an integer."""


ARRAY_ADDRESS = 2
"""Which of an array's words is the address of its data."""


class StructType(types.Type):  # type: ignore[misc]  # numba has no types
    """What numba knows of a ``Struct``: the name of its class, its fields and their kinds, in order."""

    def __init__(self, name: str, fields: tuple[tuple[str, types.Type], ...]) -> None:
        self.fields = fields

        # numba goes by the name, and writes it into that of every function that takes one: a digest has to do
        digest = hashlib.sha256(repr(fields).encode()).hexdigest()[:16]
        super().__init__(name=f"{name}-{digest}")

    def find(self, name: str) -> tuple[int, types.Type]:
        """Return where the words of a field begin, and its kind."""
        place = 0
        for field, kind in self.fields:
            if field == name:
                return place, kind
            place += 3 + 2 * kind.ndim if isinstance(kind, types.Array) else 1
        raise KeyError(name)


Kind = tuple[np.dtype[Any], int] | StructType | None
"""What a field holds: an array of some type and number of dimensions, another struct, or an integer."""


@cache
def _struct_type(name: str, fields: tuple[str, ...], kinds: tuple[Kind, ...]) -> StructType:
    """Return numba's type of a struct, one for all that are alike: there are a hundred of them in a denoiser."""

    def kind_of(kind: Kind) -> types.Type:
        if isinstance(kind, tuple):
            dtype, ndim = kind
            return types.Array(from_dtype(dtype), ndim, "C")
        return types.intp if kind is None else kind

    return StructType(name, tuple((field, kind_of(kind)) for field, kind in zip(fields, kinds, strict=True)))


class Struct:
    """Named arrays, integers and other structs.

    A subclass says in its annotations what it has, and gives all of it to this constructor. Arrays have to be
    C-contiguous. What an array holds may change, which array it is may not.
    """

    constant: frozenset[str] = frozenset()
    """Fields whose arrays are only read once they are made."""
    _numba_type_: StructType
    """What numba asks for."""
    words: np.ndarray
    """The table, intp."""
    address: int
    """Of the table."""

    def __init__(self, **fields: Any) -> None:
        kinds: list[Kind] = []
        words: list[int] = []
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                assert value.flags.c_contiguous and value.flags.aligned, name
                kinds.append((value.dtype, value.ndim))
                words += [value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides]
            elif isinstance(value, Struct):
                kinds.append(value._numba_type_)
                words.append(value.address)
            else:
                kinds.append(None)
                words.append(value)

        vars(self).update(fields)
        self._numba_type_ = _struct_type(type(self).__name__, tuple(fields), tuple(kinds))
        self.words = np.array(words, np.intp)
        self.address = self.words.ctypes.data

    @property
    def fields(self) -> tuple[tuple[str, types.Type], ...]:
        """Names and kinds of the fields, in the order of the table."""
        return self._numba_type_.fields

    def find(self, name: str) -> tuple[int, types.Type]:
        """Return where the words of a field begin in the table, and its kind."""
        return self._numba_type_.find(name)


@register_model(StructType)
class _Address(models.PrimitiveModel):  # type: ignore[misc]
    """To LLVM a struct is the address of its table."""

    def __init__(self, manager: Any, kind: StructType) -> None:
        super().__init__(manager, kind, WORD)


@unbox(StructType)  # type: ignore[untyped-decorator]
def _unbox(kind: StructType, value: Any, c: Any) -> NativeValue:
    """Take the address from the Python object."""
    address = c.pyapi.object_getattr_string(value, "address")
    native = c.pyapi.long_as_voidptr(address)
    c.pyapi.decref(address)
    return NativeValue(c.builder.ptrtoint(native, WORD))


@infer_getattr
class _Fields(AttributeTemplate):  # type: ignore[misc]
    """The type of ``struct.field``."""

    key = StructType

    def generic_resolve(self, kind: StructType, name: str) -> types.Type | None:
        return dict(kind.fields).get(name)


@lower_getattr_generic(StructType)  # type: ignore[untyped-decorator]
def _load(context: Any, builder: ir.IRBuilder, kind: StructType, value: ir.Value, name: str) -> ir.Value:
    """Write the code of ``struct.field``: an array is put together from its words, all else is a word."""
    place, field = kind.find(name)
    table = builder.inttoptr(value, WORD.as_pointer())

    def word(number: int) -> ir.Value:
        return builder.load(builder.gep(table, [WORD(place + number)]))

    if not isinstance(field, types.Array):
        return word(0)

    array = context.make_array(field)(context, builder)
    array.meminfo = cgutils.get_null_value(array.meminfo.type)
    array.parent = cgutils.get_null_value(array.parent.type)
    array.nitems, array.itemsize = word(0), word(1)
    array.data = builder.inttoptr(word(ARRAY_ADDRESS), array.data.type)
    array.shape = cgutils.pack_array(builder, [word(3 + axis) for axis in range(field.ndim)])
    array.strides = cgutils.pack_array(builder, [word(3 + field.ndim + axis) for axis in range(field.ndim)])
    return array._getvalue()
