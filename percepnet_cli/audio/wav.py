"""Writes WAV and RF64 files chunk by chunk, so that what stands beside the samples of the input stays."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from percepnet_cli.audio.chunks import Kept
from percepnet_cli.audio.formats import BYTES_PER_SAMPLE, Layout
from percepnet_cli.audio.pipes import EXTENSIBLE, EXTENSIBLE_GUID
from percepnet_cli.audio.riff import UNKNOWN_SIZE, read_wave
from percepnet_cli.audio.samples import ENCODINGS, compand, encode
from percepnet_cli.errors import AudioError
from percepnet_cli.storage.atomic import PendingFile

CONTAINERS = ("WAV", "WAVEX", "RF64")
"""What is written here, by soundfile's names."""

FORMAT_CODES = {"FLOAT": 3, "DOUBLE": 3, "ALAW": 6, "ULAW": 7}
"""Of the encodings other than integers, which have 1."""

BY_SUBTYPE = {subtype: name for name, (subtype, _) in ENCODINGS.items() if name in ("u8", "s16le", "s24le", "s32le")}
BY_SUBTYPE |= {"FLOAT": "f32le", "DOUBLE": "f64le"}

DS64_BYTES = 28
ROOM_FROM_BYTES = 2**30
"""Expected bytes of samples from which on there is room for sizes of 64 bits."""

NARROW_LIMIT = 2**32 - 2**20
"""Bytes of samples that sizes of 32 bits can tell, with room for other chunks."""


class WavEncoder:
    """Writes the samples of a new WAV or RF64.

    Parameters
    ----------
    pending : PendingFile
        Where they go.
    container, subtype : str
        From ``formats.choose``.
    like : Layout
        The input: rate, channels, tags, expected length.
    kept : Kept or None
        What stands beside the samples of the input, if that is of this family.
    """

    def __init__(self, pending: PendingFile, container: str, subtype: str, like: Layout, kept: Kept | None) -> None:
        if not 1 <= like.channels <= 1024:
            raise AudioError(f"{container} does not take {like.channels} channels")
        self._subtype, self._wide = subtype, container == "RF64"
        self._frame_bytes = BYTES_PER_SAMPLE[subtype] * like.channels
        self._size = 0

        # Room for the sizes of RF64, in what may pass 4 GiB
        expected = None if like.frames is None else like.frames * self._frame_bytes
        self._room = self._wide or expected is None or expected > ROOM_FROM_BYTES

        # The description of the samples and the chunks behind them, of the input where there are any
        form = kept.format if kept and kept.subtype == subtype else b""
        form = form or describe(subtype, like, container == "WAVEX", kept.format if kept else b"")
        self._after = kept.after if kept else []
        self._form = form

        # The header; sizes come when they are known
        self._file: BinaryIO = pending.open()
        self._file.write(b"RIFF" + bytes(4) + b"WAVE")
        if self._room:
            self._chunk(b"JUNK", bytes(DS64_BYTES))
        for kind, content in kept.before if kept else []:
            self._chunk(kind, content)
        self._chunk(b"fmt ", form)
        if int.from_bytes(form[:2], "little") != 1 and len(form) < 40:
            self._fact = self._file.tell() + 8
            self._chunk(b"fact", bytes(4))
        else:
            self._fact = 0

        self._file.write(b"data" + bytes(4))
        self._start = self._file.tell()

    def _chunk(self, kind: bytes, content: bytes) -> None:
        self._file.write(kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2))

    def write(self, block: np.ndarray) -> None:
        """Append float32 [n, channels], clipped and rounded. Raises OSError if the disk is full."""
        if self._subtype in ("ULAW", "ALAW"):
            data = compand(block, self._subtype)
        else:
            data = encode(block, BY_SUBTYPE[self._subtype])
        self._file.write(data)
        self._size += len(data)

    def finish(self) -> None:
        """Write what follows the samples and the sizes, and close the file. Raises AudioError, or OSError."""
        file = self._file
        file.write(bytes(self._size % 2))
        for kind, content in self._after:
            self._chunk(kind, content)

        total = file.tell() - 8
        wide = self._wide or total > NARROW_LIMIT
        if wide and not self._room:
            raise AudioError("it passed 4 GiB, and its input did not say that it would")

        # Sizes: of the file, in RF64 of all, the number of frames, of the samples
        frames = self._size // self._frame_bytes
        file.seek(0)
        file.write((b"RF64" if wide else b"RIFF") + struct.pack("<I", UNKNOWN_SIZE if wide else total))
        if wide:
            file.seek(12)
            self._chunk(b"ds64", struct.pack("<QQQI", total, self._size, frames, 0))
        if self._fact:
            file.seek(self._fact)
            file.write(struct.pack("<I", min(frames, UNKNOWN_SIZE)))
        file.seek(self._start - 4)
        file.write(struct.pack("<I", UNKNOWN_SIZE if wide else self._size))
        file.close()

    def holds(self, file: BinaryIO, frames: int) -> bool:
        """Return whether the finished file, opened anew, has a whole header and so many frames behind it."""
        end = file.seek(0, os.SEEK_END)
        wave = read_wave(file, end)
        if wave is None or wave.start != self._start:
            return False
        declared = wave.declared or self._size  # 0 if the true size is one that also stands for an unknown one
        return declared == frames * self._frame_bytes <= end - wave.start

    def discard(self) -> None:
        """Close the file, whatever it holds; doing it twice is harmless."""
        with suppress(OSError):  # what is thrown away need not be whole
            self._file.close()


def describe(subtype: str, like: Layout, extensible: bool, old: bytes = b"") -> bytes:
    """Return the content of a fmt chunk; mask and GUID of an old one are kept."""
    size, code = BYTES_PER_SAMPLE[subtype], FORMAT_CODES.get(subtype, 1)
    rate, block, bits = like.sample_rate, size * like.channels, 8 * size
    mask, tail = b"", EXTENSIBLE_GUID
    if old[:2] == struct.pack("<H", EXTENSIBLE) and len(old) >= 40:
        mask, tail, extensible = old[20:24], old[26:40], True
    common = struct.pack("<HIIHH", like.channels, rate, min(rate * block, UNKNOWN_SIZE), block, bits)
    if extensible:
        return struct.pack("<H", EXTENSIBLE) + common + struct.pack("<HH4sH", 22, bits, mask, code) + tail
    return struct.pack("<H", code) + common + (struct.pack("<H", 0) if code != 1 else b"")
