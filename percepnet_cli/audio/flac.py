"""Where a FLAC file ends that cannot be read to its end, to tell whether it is cut or damaged.

The frames of a FLAC have a header of their own with a number and a checksum (RFC 9639, section 9.1). If all frames
before the last header can be read, nothing but the end is missing.
"""

from __future__ import annotations

import mmap
from pathlib import Path

MOST_BYTES = 2**24
"""Bytes at the end of a file in which the last frame begins: a frame has at most 65,535 samples of 8 channels."""


def last_frame(path: Path) -> int | None:
    """Return the sample with which the last frame of a FLAC begins.

    None if there is no frame, or what follows its header is longer than any frame: this is no FLAC, or a damaged one.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"fLaC":
            return None
        file.seek(10)  # STREAMINFO, the first block: smallest and largest block size, then sizes of frames
        fixed_size = int.from_bytes(file.read(2), "big")
        largest = int.from_bytes(file.read(6)[3:], "big") or MOST_BYTES
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            position = len(data)
            while (position := data.rfind(b"\xff", max(42, len(data) - MOST_BYTES), position)) >= 0:
                first = _first_sample(data[position : position + 16], fixed_size)
                if first is not None:
                    return first if len(data) - position <= largest else None
    return None


def _first_sample(head: bytes, fixed_size: int) -> int | None:
    """Return the sample with which a frame begins; None if this is no header of a frame, or not a whole one."""
    if len(head) < 6 or head[1] not in (0xF8, 0xF9):
        return None
    size_code, rate_code, channels, depth = head[2] >> 4, head[2] & 15, head[3] >> 4, head[3] >> 1 & 7
    if size_code == 0 or rate_code == 15 or channels > 10 or depth == 3 or head[3] & 1:
        return None

    # A number as UTF-8 writes it, of up to 36 bits
    lead = head[4]
    length = 1 if lead < 0x80 else 8 - (lead ^ 0xFF).bit_length()
    if length > 7 or (lead >= 0x80 and length < 2):
        return None
    number = lead if length == 1 else lead & (0x7F >> length)
    for byte in head[5 : 4 + length]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F

    # Sizes and rates that have no code, then the checksum
    end = 4 + length + {6: 1, 7: 2}.get(size_code, 0) + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if end >= len(head) or _checksum(head[:end]) != head[end]:
        return None
    return number if head[1] == 0xF9 else number * fixed_size


def _checksum(head: bytes) -> int:
    """Return the CRC-8 of a frame's header, with the polynomial x^8 + x^2 + x + 1."""
    value = 0
    for byte in head:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x107 if value & 0x80 else 0)) & 0x1FF
    return value
