"""A part of a recording: which frames it is, and how it is cut out of a stream of blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from percepnet_cli.audio.formats import Layout, Source
from percepnet_cli.errors import AudioError

SETTLE_SECONDS = 30
"""Sound before an excerpt with which the denoiser begins; docs/decisions.md says how near that is to the whole."""

AHEAD_SECONDS = 2
"""Sound behind an excerpt, for what looks ahead."""


class Window:
    """Cuts blocks that follow each other down to the frames from one number to another.

    Parameters
    ----------
    first : int
        The first frame that is kept.
    end : int or None
        The first one that is not any more; None keeps all that come.

    Attributes
    ----------
    position : int
        Frames that have come so far.
    """

    def __init__(self, first: int = 0, end: int | None = None) -> None:
        self._first, self._end = first, end
        self.position = 0

    def cut(self, block: np.ndarray) -> np.ndarray:
        """Return what is kept of the next block, [n, channels]."""
        kept = slice(
            max(0, self._first - self.position), None if self._end is None else max(0, self._end - self.position)
        )
        self.position += len(block)
        return block[kept]

    @property
    def passed(self) -> bool:
        """Whether nothing that is still to come is kept."""
        return self._end is not None and self.position >= self._end


@dataclass(frozen=True)
class Excerpt:
    """The frames of a recording that are wanted, and those that the denoiser is to hear for it."""

    first: int
    end: int | None
    """The first frame behind it; None is the end of the recording."""
    begin: int
    """The first frame that the denoiser hears."""
    stop: int | None
    """The first one that it does not hear any more."""

    @classmethod
    def of(cls, source: Source, start_seconds: float, duration_seconds: float | None) -> Excerpt:
        """Choose the frames of a part of a recording. Raises AudioError if it ends before them."""
        rate = source.sample_rate
        first = round(start_seconds * rate)
        end = None if duration_seconds is None else first + max(1, round(duration_seconds * rate))
        if source.frames is not None and first >= source.frames > 0:
            raise AudioError(too_short(source, source.frames, start_seconds))

        # Whole seconds: hops and blocks of the network then lie where they lie in the whole recording
        begin = max(0, math.floor(start_seconds) - SETTLE_SECONDS) * rate
        return cls(first, end, begin, None if end is None else end + AHEAD_SECONDS * rate)

    @property
    def whole(self) -> bool:
        """Whether it is all of the recording."""
        return self.first == 0 and self.end is None

    def layout(self, source: Source) -> Layout:
        """Return what the excerpt as a file of its own says of itself."""
        if self.whole:
            return source
        frames = source.frames
        if frames is not None:
            frames = (frames if self.end is None else min(frames, self.end)) - self.first
        cut = Layout(
            source.sample_rate, source.channels, frames, source.format, source.subtype, source.tags, self.first
        )
        cut.path, cut.bits_per_second, cut.ogg_flac = source.path, source.bits_per_second, source.ogg_flac
        return cut

    def seconds(self, source: Source) -> float | None:
        """Return how long it is, as far as that is known."""
        known = None if source.seconds is None else source.seconds - self.first / source.sample_rate
        wanted = None if self.end is None else (self.end - self.first) / source.sample_rate
        return known if wanted is None or (known is not None and known < wanted) else wanted


def too_short(source: Source, frames: int, start_seconds: float) -> str:
    """Return what to say of a recording of so many frames that ends before an excerpt begins."""
    return f"{source.path} ends after {frames / source.sample_rate:.3f} s, before the start at {start_seconds:.10g} s"


def check_excerpt(source: str, start_seconds: float, duration_seconds: float | None) -> None:
    """Raise an error if a part of a source that is wanted is none."""
    if not 0 <= start_seconds < math.inf:
        raise ValueError(f"start_seconds is {start_seconds}, it must be 0 or more")
    if duration_seconds is not None and not 0 < duration_seconds < math.inf:
        raise ValueError(f"duration_seconds is {duration_seconds}, it must be above 0")
    if source == "-" and (start_seconds or duration_seconds is not None):
        raise AudioError("a part can be taken of files, not of standard input")
