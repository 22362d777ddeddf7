"""The chunks of WAV, RF64, BW64 and AIFF files: where they are, and where the sound really ends.

Layouts: Microsoft's RIFF, EBU Tech 3285 (BWF) and 3306 (RF64), ITU-R BS.2088 (BW64), Apple's AIFF.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from percepnet_cli.errors import AudioError

UNKNOWN_SIZE = 0xFFFFFFFF
"""What stands for a size that is told elsewhere, or not known."""

WAVE_FORMS = (b"RIFF", b"RF64", b"BW64")

EXTENSIBLE = 0xFFFE
SUBTYPES = {
    (1, 8): "PCM_U8", (1, 16): "PCM_16", (1, 24): "PCM_24", (1, 32): "PCM_32", (3, 32): "FLOAT", (3, 64): "DOUBLE",
    (6, 8): "ALAW", (7, 8): "ULAW",
}  # fmt: skip
"""Format code and bits -> encoding by soundfile's name."""

MOST_CHUNKS = 10_000
"""After so many a file is not looked at further."""

LONG_S = 0.1
"""Seconds: what follows the samples, is no chunk, and lasts longer is taken for sound."""


@dataclass(frozen=True)
class Chunk:
    """A part of a file."""

    kind: bytes
    """Four letters."""
    start: int
    """Byte at which its content begins."""
    size: int
    """Bytes of its content."""


@dataclass
class Wave:
    """What the chunks of a WAV say."""

    form: bytes
    """b"RIFF", b"RF64" or b"BW64"."""
    chunks: list[Chunk] = field(default_factory=list)
    """All before the samples, then all behind them."""
    format: bytes = b""
    """Content of the chunk that describes the samples."""
    start: int = 0
    """Byte of the first sample; 0 if there is none."""
    declared: int = 0
    """Bytes of samples by the header, 0 if it does not know."""

    @property
    def bytes_per_second(self) -> int:
        """Of the samples."""
        return int.from_bytes(self.format[8:12], "little")

    @property
    def frame_bytes(self) -> int:
        """Of one sample of every channel."""
        return int.from_bytes(self.format[12:14], "little")


def measure(path: Path, size: int) -> tuple[Wave | None, int]:
    """Return the chunks of a WAV and how many bytes of samples it holds, whatever it says; None if it is no WAV.

    A recorder that died left that number at 0, or at what it was when it wrote the header last. What then follows the
    samples are no chunks.

    Raises
    ------
    AudioError
        If another WAV follows the samples.
    """
    with path.open("rb") as file:
        wave = read_wave(file, size)
        return wave, _sound_bytes(path, file, wave, size) if wave and wave.start else 0


def layout(wave: Wave) -> tuple[int, int, str, str] | None:
    """Return sample rate, channels, container and encoding (soundfile's names) of uncompressed samples, else None."""
    if len(wave.format) < 16 or not wave.start:
        return None
    code, channels, rate, _, block, bits = struct.unpack("<HHIIHH", wave.format[:16])
    extensible = code == EXTENSIBLE and len(wave.format) >= 40
    if extensible:
        code = int.from_bytes(wave.format[24:26], "little")
    subtype = SUBTYPES.get((code, bits))
    if subtype is None or not channels or block != channels * bits // 8:
        return None
    return rate, channels, "RF64" if wave.form != b"RIFF" else "WAVEX" if extensible else "WAV", subtype


def read_wave(file: BinaryIO, size: int) -> Wave | None:
    """Read the chunks of a WAV of so many bytes; None if it is none."""
    file.seek(0)
    head = file.read(12)
    if head[:4] not in WAVE_FORMS or head[8:] != b"WAVE":
        return None
    wave, large = Wave(head[:4]), 0

    # Up to the samples, whose size a writer to a pipe may not have known; then what follows them
    for chunk in walk(file, 12, size):
        if chunk.kind == b"data":
            wave.start = chunk.start
            unknown = chunk.size in (0, UNKNOWN_SIZE) or 0x7FFFF000 <= chunk.size <= 0x80000000
            wave.declared = large if chunk.size == UNKNOWN_SIZE else 0 if unknown else chunk.size
            if 0 < wave.declared < size - chunk.start:
                behind = chunk.start + wave.declared + wave.declared % 2
                wave.chunks += (one for one in walk(file, behind, size) if is_plausible(one, size))
            return wave

        content = b""
        if chunk.kind in (b"fmt ", b"ds64") and chunk.size <= 4096:
            content = file.read(chunk.size)
        if chunk.kind == b"ds64":
            large = int.from_bytes(content[8:16], "little")
        elif chunk.kind == b"fmt ":
            wave.format = content
        else:
            wave.chunks.append(chunk)
    return wave


def walk(file: BinaryIO, start: int, end: int, order: str = "little") -> Iterator[Chunk]:
    """Yield the chunks from a byte on; each time the file stands at the content."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        size = int.from_bytes(head[4:], order)  # type: ignore[arg-type]
        yield Chunk(head[:4], start + 8, size)
        start += 8 + size + size % 2


def is_plausible(chunk: Chunk, end: int) -> bool:
    """Return whether this may be a chunk: four printable letters and a content that fits."""
    named = chunk.kind not in WAVE_FORMS and all(32 <= letter < 127 for letter in chunk.kind)
    return named and chunk.start + chunk.size <= end + 1


def _sound_bytes(path: Path, file: BinaryIO, wave: Wave, size: int) -> int:
    there = size - wave.start
    if wave.declared >= there:
        return there
    behind = wave.start + wave.declared
    for start in (behind + behind % 2, behind):
        if _are_chunks(file, start, size):
            return wave.declared
    file.seek(behind)
    rest = file.read(65536)
    if rest[:4] in WAVE_FORMS and rest[8:12] == b"WAVE":
        raise AudioError(f"{path} is more than one WAV, one after the other; cut it apart")
    if rest[:3] in (b"ID3", b"TAG") or (wave.declared and there - wave.declared < LONG_S * wave.bytes_per_second):
        return wave.declared
    if not rest.strip(b"\0") and wave.declared:  # room that was kept for more
        return wave.declared
    return there


def _are_chunks(file: BinaryIO, start: int, end: int) -> bool:
    """Return whether nothing but chunks, or nothing at all, is there."""
    if end - start < 8:
        return True
    for chunk in walk(file, start, end):
        if not is_plausible(chunk, end):
            return False
        start = chunk.start + chunk.size + chunk.size % 2
    return end - start < 8


class Excerpt(io.FileIO):
    """Some bytes of a file as if they were all of it."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        super().__init__(path)
        self._start, self._size = start, size
        self.seek(0)

    def is_whole(self) -> bool:
        """Return whether the file still reaches to the excerpt's end."""
        return os.fstat(self.fileno()).st_size >= self._start + self._size

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; return the new position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        return super().seek(self._start + base + offset) - self._start

    def tell(self) -> int:
        """Return the position."""
        return super().tell() - self._start

    def readinto(self, buffer: object, /) -> int | None:
        """Read at most to the end of the excerpt; return the number of bytes."""
        view = memoryview(buffer)[: max(0, self._size - self.tell())]  # type: ignore[arg-type]
        return super().readinto(view)
