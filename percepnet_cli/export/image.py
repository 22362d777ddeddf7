"""The memory of a signal path as bytes: what a stream begins with, what all streams share, and where addresses go.

::

    constants   weights and tables that are only read; one copy for all streams
    memory      one copy for each stream: tables of Structs first, then arrays
    addresses   words of the memory that hold an address: (place of the word, where it points, into which of the two)

A library copies ``memory`` for each new stream and writes the addresses into it; then compiled functions take the
address of the first table, as they take a ``Struct``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from percepnet_cli.compute.struct import ARRAY_ADDRESS, Struct

ALIGNMENT = 64
"""Bytes: of a cache line, and of the widest vector."""

WORD_BYTES = 8
"""A word of a table, whatever the target: compiled code shortens it to an address."""


class Address(NamedTuple):
    """A word that holds an address."""

    word: int
    """Byte of the memory where it lies."""
    target: int
    """Byte that it points to."""
    constant: bool
    """Whether that is one of the constants; else one of the memory."""


@dataclass
class Image:
    """See the module."""

    constants: bytearray = field(default_factory=bytearray)
    memory: bytearray = field(default_factory=bytearray)
    addresses: list[Address] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    """Where each ``Struct`` (by its address) has its table."""
    views: dict[int, int] = field(default_factory=dict)
    """Where the array that begins at an address here has gone: two fields may be views of the same."""
    arrays: dict[str, int] = field(default_factory=dict)
    """Where the memory's arrays lie, by their names with dots between them."""


def _append(buffer: bytearray, content: bytes) -> int:
    """Put bytes at the next aligned place of a buffer; return the place."""
    buffer.extend(bytes(-len(buffer) % ALIGNMENT))
    place = len(buffer)
    buffer.extend(content)
    return place


def image_of(struct: Struct) -> Image:
    """Lay out a struct and all that it holds.

    Arrays of a struct's ``constant`` fields go to the constants, all others to the memory, as they are now.
    """
    image = Image()
    tables: list[tuple[Struct, str]] = []

    # All tables first, so that the outermost one begins the memory
    def reserve(one: Struct, name: str) -> None:
        if one.address in image.places:
            return
        image.places[one.address] = _append(image.memory, bytes(one.words.nbytes))
        tables.append((one, name))
        for part, _ in one.fields:
            value = getattr(one, part)
            if isinstance(value, Struct):
                reserve(value, f"{name}.{part}" if name else part)

    reserve(struct, "")

    # Arrays of zeros come last: a library need not hold them
    for zeros in (False, True):
        for one, name in tables:
            _place_arrays(image, one, name, zeros)
    for one, _ in tables:
        _write_table(image, one)
    return image


def _place_arrays(image: Image, struct: Struct, name: str, zeros: bool) -> None:
    """Put a struct's arrays where they belong: those of zeros, or the others."""
    for part, _ in struct.fields:
        value = getattr(struct, part)
        if isinstance(value, np.ndarray) and value.any() != zeros:
            constant = part in struct.constant
            if value.ctypes.data not in image.views:
                place = _append(image.constants if constant else image.memory, value.tobytes())
                image.views[value.ctypes.data] = place
            if not constant:
                image.arrays[f"{name}.{part}" if name else part] = image.views[value.ctypes.data]


def _write_table(image: Image, struct: Struct) -> None:
    """Write the words of one table, but for addresses, whose places are noted."""
    words = struct.words.copy()
    place = image.places[struct.address]
    for part, _ in struct.fields:
        value, (word, _) = getattr(struct, part), struct.find(part)
        if isinstance(value, np.ndarray):
            word += ARRAY_ADDRESS
            constant, target = part in struct.constant, image.views[value.ctypes.data]
        elif isinstance(value, Struct):
            target, constant = image.places[value.address], False
        else:
            continue

        # Addresses here mean nothing elsewhere
        words[word] = 0
        image.addresses.append(Address(place + WORD_BYTES * word, target, constant))
    image.memory[place : place + words.nbytes] = words.tobytes()
