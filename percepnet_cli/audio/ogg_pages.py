"""The pages of an Ogg file (RFC 3533): their heads, and whether they are intact. Nothing is decoded."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from typing import NamedTuple

FIRST_PAGE, LAST_PAGE = 2, 4
"""Flags of a page."""

HEAD_BYTES = 27
"""Of a page, before the sizes of its segments."""

BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Every byte with its bits in the opposite order."""


class Page(NamedTuple):
    """The head of an Ogg page."""

    start: int
    """Where it begins."""
    flags: int
    granule: int
    """The position at its end."""
    serial: bytes
    number: int
    segments: bytes
    """Their sizes."""
    body: int
    """Where they begin."""
    end: int
    intact: bool
    """Whether its checksum is right, as far as all of it is there, and no odd bytes stand before it."""


def pages(data: mmap.mmap) -> Iterator[Page]:
    """Yield every page of a file."""
    at, odd = 0, False
    while at + HEAD_BYTES <= len(data):
        # What is no page is stepped over
        head = data[at : at + HEAD_BYTES]
        if head[:4] != b"OggS":
            at, odd = data.find(b"OggS", at + 1), True
            if at < 0:
                return
            continue

        body = at + HEAD_BYTES + head[26]
        segments = data[at + HEAD_BYTES : body]
        end = body + sum(segments)
        yield Page(
            start=at,
            flags=head[5],
            granule=int.from_bytes(head[6:14], "little", signed=True),
            serial=head[14:18],
            number=int.from_bytes(head[18:22], "little"),
            segments=segments,
            body=body,
            end=end,
            intact=not odd and (end > len(data) or checksum(head, data[at + HEAD_BYTES : end]) == head[22:26]),
        )

        at, odd = end, False


def checksum(head: bytes, rest: bytes) -> bytes:
    """Return the checksum of a page, in whose place there are zeros when it is computed.

    It is that of zlib with its bits the other way round, which begins with zeros and is not inverted.
    """
    ones = 0xFFFFFFFF
    begun = zlib.crc32((head[:22] + bytes(4) + head[26:]).translate(BITS_REVERSED), ones)
    value = zlib.crc32(rest.translate(BITS_REVERSED), begun) ^ ones
    return value.to_bytes(4, "big").translate(BITS_REVERSED)
