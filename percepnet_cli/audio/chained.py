"""Ogg files that are several recordings one after the other, as web radio and ``cat`` make them.

libsndfile decodes each part by itself. What ffmpeg decodes has some samples too many where parts meet: it takes the
last block of one part and the first of the next for neighbors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from percepnet_cli.audio.formats import Source, check_sample_rate
from percepnet_cli.audio.framing import Extent
from percepnet_cli.audio.riff import Excerpt
from percepnet_cli.audio.sndfile import OpenFile, open_bytes
from percepnet_cli.errors import AudioError


class _Part(OpenFile):
    """Some bytes of a file, as a recording of their own. Raises AudioError, as ``blocks`` does."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._bytes = Excerpt(path, start, size)
        try:
            super().__init__(path, open_bytes(self._bytes))
        except AudioError:
            self._bytes.close()
            raise

    def close(self) -> None:
        """Close the file; doing it twice is harmless."""
        super().close()
        self._bytes.close()


class ChainedReader(Source):
    """All parts of a chained Ogg file as one recording; a context manager.

    Parameters
    ----------
    path : Path
        A file.
    extent : Extent
        Its framing, with ``parts``.

    Raises
    ------
    AudioError
        If the first part cannot be read, or has no sample rate that can be processed.
    """

    def __init__(self, path: Path, extent: Extent) -> None:
        self._name, self._parts = path, extent.parts
        self._part = first = self._open(0)
        layout = (first.sample_rate, first.channels, extent.frames, extent.format, extent.subtype)
        super().__init__(*layout, first.tags)
        self.path: Path = path
        self.bits_per_second, self.ends_early, self.damage = extent.bits_per_second, extent.ends_early, extent.damage
        try:
            check_sample_rate(path, self.sample_rate)
        except AudioError:
            self.close()
            raise

    def _open(self, number: int) -> _Part:
        """Open a part. Raises AudioError if it is none."""
        try:
            return _Part(self._name, *self._parts[number])
        except AudioError as error:
            raise self._damage(number, error) from None

    def _damage(self, number: int, error: AudioError) -> AudioError:
        return AudioError(f"{self._name} is damaged in part {number + 1} of {len(self._parts)} ({error})")

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Yield float32 [n, channels], C-contiguous, 0 < n <= frames, finite. Raises AudioError at damage."""
        for number in range(len(self._parts)):
            self._part.close()
            self._part = self._open(number)
            try:
                yield from self._part.blocks(frames)
            except AudioError as error:
                raise self._damage(number, error) from None

    def seek(self, frame: int) -> int:
        """Return 0: ``blocks``, called anew, begins at the start."""
        return 0

    def close(self) -> None:
        """Close the file; doing it twice is harmless."""
        self._part.close()
