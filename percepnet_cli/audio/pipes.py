"""Sound through pipes: WAV and bare PCM, taken and given as they come.

libsndfile wants to know a file's end at its start; a pipe does not. What comes out of the readers
and goes into the writer is the same as with files: float32 [frames, channels], full scale +-1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from percepnet_cli.audio.formats import Layout, Source, check_sample_rate, early
from percepnet_cli.audio.samples import ENCODINGS, decode, encode
from percepnet_cli.errors import AudioError

UNKNOWN_SIZE = 0xFFFFFFFF
"""What ffmpeg, and we, put where the length of a WAV should stand."""

WAV_ENCODINGS = {
    (1, 8): "u8", (1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le", (3, 32): "f32le", (3, 64): "f64le",
}  # fmt: skip
"""Format code and bits per sample in a WAV -> encoding."""

EXTENSIBLE = 0xFFFE
EXTENSIBLE_GUID = bytes.fromhex("000000001000800000aa00389b71")
"""Bytes 2 to 16 of the sub-format of an extensible WAV; its format code comes before them."""

MAX_CHANNELS = 1024


@dataclass(frozen=True)
class RawFormat:
    """What bare samples do not say of themselves."""

    sample_rate: int
    """Hz."""
    channels: int
    encoding: str
    """A key of ``ENCODINGS``."""

    @classmethod
    def parse(cls, text: str) -> RawFormat:
        """Read RATE:CHANNELS:FORMAT. Raises ValueError that says what is wrong.

        >>> RawFormat.parse("16000:1:s16le")
        RawFormat(sample_rate=16000, channels=1, encoding='s16le')
        """
        parts = text.split(":")
        if len(parts) != 3 or not parts[0].isdecimal() or not parts[1].isdecimal():
            raise ValueError(f"'{text}' is not RATE:CHANNELS:FORMAT, as in 16000:1:s16le")
        encoding = parts[2].lower()
        encoding = encoding if encoding in ENCODINGS else f"{encoding}le"
        if encoding not in ENCODINGS:
            raise ValueError(f"'{parts[2]}' is none of {' '.join(ENCODINGS)}")
        if not 1 <= int(parts[1]) <= MAX_CHANNELS:
            raise ValueError(f"{parts[1]} channels: 1 to {MAX_CHANNELS} can be processed")
        return cls(int(parts[0]), int(parts[1]), encoding)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return int(ENCODINGS[self.encoding][1][-1]) * self.channels


class PipeReader(Source):
    """A WAV, or bare PCM, that comes through a pipe; a context manager with the face of ``audio.Reader``.

    Raises AudioError if the header is not that of a WAV, or of one that cannot be read without seeking.
    """

    def __init__(self, file: BinaryIO, name: str, raw: RawFormat | None = None, frames: int | None = None) -> None:
        self.path = name
        self._file = file
        self._left: int | None = None  # bytes of samples, if known
        self._done = 0  # the frame that is read next
        self.raw = raw or self._read_header()
        if raw is not None and frames is not None:
            self._left = frames * raw.frame_bytes
        count = None if self._left is None else self._left // self.raw.frame_bytes
        container = "WAV" if raw is None else "RAW"
        super().__init__(self.raw.sample_rate, self.raw.channels, count, container, ENCODINGS[self.raw.encoding][0])
        check_sample_rate(name, self.sample_rate)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                more = self._file.read(size - len(data))
            except OSError as error:
                raise AudioError(f"{self.path} cannot be read: {error.strerror}") from None
            if not more:
                raise AudioError(
                    f"{self.path} ends before its first sample" if data or size < 12 else f"{self.path} is empty"
                )
            data += more
        return data

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self._exactly(min(size, 65536)))

    def _read_header(self) -> RawFormat:
        """Read up to the first sample; RIFF, RF64 and BW64."""
        start = self._exactly(12)
        if start[:4] not in (b"RIFF", b"RF64", b"BW64") or start[8:] != b"WAVE":
            raise AudioError(
                f"{self.path} is not a WAV, and --raw does not describe it; 'ffmpeg -i INPUT -f wav -' makes one"
            )

        # Chunk after chunk up to the one of the samples
        large_size: int | None = None
        raw: RawFormat | None = None
        while True:
            head = self._exactly(8)
            kind, size = head[:4], int.from_bytes(head[4:], "little")
            if kind == b"data":
                if raw is None:
                    raise AudioError(f"{self.path} is a WAV without a description of its samples")
                self._left = large_size if size == UNKNOWN_SIZE else size
                # 0: the writer meant to come back; ffmpeg's and SoX's ways to say that there is no knowing
                if self._left == 0 or self._left == UNKNOWN_SIZE or 0x7FFFF000 <= size <= 0x80000000:
                    self._left = None
                return raw

            if kind == b"fmt ":
                if not 16 <= size <= 4096:
                    raise AudioError(f"{self.path} is a WAV with a damaged header")
                raw = self._parse_format(self._exactly(size))
            elif kind == b"ds64" and size >= 28:
                large_size = int.from_bytes(self._exactly(28)[8:16], "little")
                self._skip(size - 28)
            else:
                self._skip(size)

            self._skip(size % 2)

    def _parse_format(self, data: bytes) -> RawFormat:
        code, channels, rate, _, frame_bytes, bits = struct.unpack("<HHIIHH", data[:16])
        if code == EXTENSIBLE and len(data) >= 40 and data[26:40] == EXTENSIBLE_GUID:
            code = int.from_bytes(data[24:26], "little")
        encoding = WAV_ENCODINGS.get((code, bits))
        if encoding is None:
            raise AudioError(
                f"{self.path} is a WAV of a kind (format {code}, {bits} bits) that cannot be read from a pipe"
            )
        raw = RawFormat(rate, channels, encoding)
        if not 1 <= channels <= MAX_CHANNELS or frame_bytes != raw.frame_bytes:
            raise AudioError(f"{self.path} is a WAV with a damaged header")
        return raw

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Read on to the end: what is there, at most ``frames`` at a time, without waiting for more.

        Yields float32 [n, channels], C-contiguous, n > 0; NaN and infinities have become 0.
        """
        rest = b""
        while self._left != 0:
            wanted = frames * self.raw.frame_bytes - len(rest)
            if self._left is not None:
                wanted = min(wanted, self._left)
            data = self._read_some(wanted)
            if not data:
                break
            if self._left is not None:
                self._left -= len(data)

            # Whole frames are given out; the rest of one waits for its other half
            data = rest + data if rest else data
            whole = len(data) // self.raw.frame_bytes * self.raw.frame_bytes
            data, rest = data[:whole], data[whole:]
            if data:
                block = decode(data, self.raw.encoding).reshape(-1, self.channels)
                self._make_finite(block, self._done)
                self._done += len(block)
                yield block

        if self._left or rest:
            missing = -(-((self._left or 0) + len(rest)) // self.raw.frame_bytes)
            expected = (self._done + missing) / self.sample_rate if self._left else None
            self.ends_early = early(self._done / self.sample_rate, expected)
        while self._read_some(65536):  # chunks after the samples: whoever writes them shall not find the pipe closed
            pass

    def _read_some(self, size: int) -> bytes:
        try:
            return self._file.read1(size)  # type: ignore[attr-defined]
        except OSError as error:
            raise AudioError(f"{self.path} cannot be read: {error.strerror}") from None

    def close(self) -> None:
        """Close the pipe, unless it is standard input; doing it twice is harmless."""
        if self.path != STANDARD_INPUT:
            self._file.close()


STANDARD_INPUT = "standard input"
STANDARD_OUTPUT = "standard output"


class PipeWriter:
    """Samples into a pipe as they come: WAV, or bare PCM if the input was; a context manager.

    A WAV that comes from a file has its length in the header; else 0xFFFFFFFF stands there, as ffmpeg does it.
    """

    def __init__(self, file: BinaryIO, like: Layout, raw: RawFormat | None = None) -> None:
        self.frames = 0
        self._file = file
        by_name = {subtype: encoding for encoding, (subtype, _) in reversed(ENCODINGS.items())}
        encoding = by_name.get(like.subtype, "s16le")
        self._raw = raw or RawFormat(like.sample_rate, like.channels, "u8" if encoding == "s8" else encoding)
        self._size = 0
        if raw is None:
            known = like.frames is not None and not isinstance(like, PipeReader)
            self._size = (like.frames or 0) * self._raw.frame_bytes if known else UNKNOWN_SIZE
            self._send(wav_header(self._raw, self._size))

    def write(self, block: np.ndarray) -> None:
        """Send samples, float32 [n, channels]. Raises BrokenPipeError if nobody reads, AudioError on a full disk."""
        self._send(encode(block, self._raw.encoding))
        self.frames += len(block)

    def _send(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise AudioError(f"{STANDARD_OUTPUT} cannot be written: {error.strerror}") from None

    def __enter__(self) -> PipeWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None and self._size != UNKNOWN_SIZE and self._size % 2:
            self._send(b"\0")


def wav_header(raw: RawFormat, size: int) -> bytes:
    """Return what comes before the samples of a WAV. size: bytes of samples; 2^32 - 1 or more: not known."""
    code, bits = next(key for key, encoding in WAV_ENCODINGS.items() if encoding == raw.encoding)
    block = raw.frame_bytes
    rate = raw.sample_rate
    form = struct.pack("<HHIIHH", code, raw.channels, rate, min(rate * block, UNKNOWN_SIZE), block, bits)
    if raw.channels > 2 or bits > 16:
        form = struct.pack("<H", EXTENSIBLE) + form[2:] + struct.pack("<HHIH", 22, bits, 0, code) + EXTENSIBLE_GUID
    extra = 4 + 8 + len(form) + 8
    total = UNKNOWN_SIZE if size + extra + 1 >= UNKNOWN_SIZE else size + size % 2 + extra
    data = struct.pack("<4sI", b"data", UNKNOWN_SIZE if total == UNKNOWN_SIZE else size)
    return struct.pack("<4sI4s4sI", b"RIFF", total, b"WAVE", b"fmt ", len(form)) + form + data
