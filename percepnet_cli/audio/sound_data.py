"""Where the samples of AU, AIFF and CAF files are, and whether there are more than their headers say.

A recorder that died leaves a size of 0, or what it was when the header was written last. Layouts: Sun's AU, Apple's
AIFF and Core Audio Format; of WAV and its kind see ``riff``.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from percepnet_cli.audio import riff
from percepnet_cli.errors import AudioError

SIZES = re.compile(r"(\d+) \(?should be (\d+)")
"""In libsndfile's notes: a size by the header, and what is there."""

AU_FORMS = {b".snd": "big", b"dns.": "little"}


@dataclass(frozen=True)
class SoundData:
    """The part of a file in which its samples are."""

    form: bytes
    """b".snd", b"dns.", b"FORM" or b"caff"."""
    start: int
    """Byte of the first sample."""
    declared: int | None
    """Bytes of samples by the header; None if it does not know."""
    order: str
    """Of the bytes of a sample, "little" or "big"; not known of an AIFF-C."""
    layout: tuple[int, int, str, str] | None = None
    """Sample rate, channels, container and encoding (soundfile's names) of a CAF with uncompressed samples."""


def find(path: Path) -> SoundData | None:
    """Return where the samples of an AU, AIFF or CAF file are; None if it is none, or has none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        if head[:4] in AU_FORMS:
            return _find_in_au(head)
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            return _find_in_aiff(file, size)
        return _find_in_caf(file, size) if head[:4] == b"caff" else None


def _find_in_au(head: bytes) -> SoundData:
    order = AU_FORMS[head[:4]]
    start, declared = (int.from_bytes(head[at : at + 4], order) for at in (4, 8))  # type: ignore[arg-type]
    return SoundData(head[:4], start, declared if declared not in (0, riff.UNKNOWN_SIZE) else None, order)


def _find_in_aiff(file: BinaryIO, size: int) -> SoundData | None:
    for chunk in riff.walk(file, 12, size, "big"):
        if chunk.kind == b"SSND":
            # The samples begin after two numbers and so many bytes
            before = 8 + int.from_bytes(file.read(4), "big")
            known = before < chunk.size < riff.UNKNOWN_SIZE
            return SoundData(b"FORM", chunk.start + before, chunk.size - before if known else None, "big")
    return None


def _find_in_caf(file: BinaryIO, size: int) -> SoundData | None:
    content = b""
    for chunk in _walk_caf(file, 8, size):
        if chunk.kind == b"desc":
            file.seek(chunk.start)
            content = file.read(32)
        elif chunk.kind == b"data":
            # A count of edits is before the samples; a size of -1 is not known
            layout, order = _caf_layout(content)
            return SoundData(b"caff", chunk.start + 4, chunk.size - 4 if chunk.size > 4 else None, order, layout)
    return None


def _caf_layout(content: bytes) -> tuple[tuple[int, int, str, str] | None, str]:
    """Return what the description of a CAF says of uncompressed samples, and the order of their bytes."""
    if len(content) < 32:
        return None, "big"
    rate, kind, flags, packet_bytes, frames, channels, bits = struct.unpack(">d4sIIIII", content)
    subtype = riff.SUBTYPES.get((3 if flags & 1 else 1, bits)) if bits > 8 else "PCM_S8"
    order = "little" if flags & 2 else "big"
    plain = kind == b"lpcm" and frames == 1 and channels and packet_bytes == channels * bits // 8
    if not plain or subtype is None or not 0 < rate < riff.UNKNOWN_SIZE:
        return None, order
    return (round(rate), channels, "CAF", subtype), order


def bytes_there(path: Path, data: SoundData, taken: int, bytes_per_second: int) -> int:
    """Return how many bytes of samples a file really holds, if ``taken`` are what its header makes of it.

    What follows may be chunks, or too short to be heard.

    Raises
    ------
    AudioError
        If another file of the same kind follows.
    """
    size = path.stat().st_size
    behind, there = data.start + taken, size - data.start
    if there - taken < riff.LONG_S * bytes_per_second:
        return taken
    with path.open("rb") as file:
        file.seek(behind)
        rest = file.read(65536)
        if rest.startswith(data.form):
            raise AudioError(f"{path} is more than one file, one after the other; cut it apart")
        chunked = (data.form == b"FORM" and _are_chunks(file, behind + behind % 2, size)) or (
            data.form == b"caff" and _are_caf_chunks(file, behind, size)
        )
    # tags, or room that was kept for more
    return taken if chunked or rest[:3] in (b"ID3", b"TAG") or (taken and not rest.strip(b"\0")) else there


def _walk_caf(file: BinaryIO, start: int, end: int) -> list[riff.Chunk]:
    """Return the chunks from a byte on, up to one of unknown size; sizes have 8 bytes."""
    found = []
    while start + 12 <= end:
        file.seek(start)
        head = file.read(12)
        chunk = riff.Chunk(head[:4], start + 12, int.from_bytes(head[4:], "big", signed=True))
        found.append(chunk)
        if chunk.size < 0 or len(found) > riff.MOST_CHUNKS:
            break
        start = chunk.start + chunk.size
    return found


def _are_chunks(file: BinaryIO, start: int, end: int) -> bool:
    chunks = list(riff.walk(file, start, end, "big"))
    return bool(chunks) and all(riff.is_plausible(chunk, end) for chunk in chunks)


def _are_caf_chunks(file: BinaryIO, start: int, end: int) -> bool:
    chunks = _walk_caf(file, start, end)
    return bool(chunks) and all(chunk.size >= 0 and riff.is_plausible(chunk, end) for chunk in chunks)


def missing_bytes(log: str) -> int | None:
    """Return how many bytes are missing by libsndfile's notes on a header, 0 if they do not tell, None if none are.

    What may be a chunk's padding is not missing.
    """
    missing = max((int(found[1]) - int(found[2]) for found in SIZES.finditer(log)), default=0)
    return missing if missing > 8 else 0 if "truncated" in log else None
