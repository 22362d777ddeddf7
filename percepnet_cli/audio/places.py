"""Where sound comes from and goes to by its name: a file, a pipe, bare samples."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from percepnet_cli.audio.ffmpeg_encoder import TrackSound
from percepnet_cli.audio.files import Writer, open_reader, open_writer
from percepnet_cli.audio.formats import Layout, Source, readable_size
from percepnet_cli.audio.pipes import STANDARD_INPUT, PipeReader, PipeWriter, RawFormat
from percepnet_cli.errors import AudioError


def open_source(source: str, raw: RawFormat | None) -> Source:
    """Open where sound comes from: "-", bare samples, or a file of any kind. Raises AudioError."""
    if source == "-":
        return PipeReader(sys.stdin.buffer, STANDARD_INPUT, raw)
    if raw is None:
        return open_reader(source)
    size = readable_size(Path(source))
    frames = None if size is None else size // raw.frame_bytes
    return PipeReader(open(source, "rb"), source, raw, frames)


def open_target(
    target: str,
    like: Layout,
    force: bool,
    raw: RawFormat | None,
    quality: float | None,
    keep_times: bool,
    others: Sequence[TrackSound],
) -> Writer | PipeWriter:
    """Begin what sound goes into: "-" or a file; see ``open_writer``. Raises AudioError."""
    if target == "-":
        return PipeWriter(sys.stdout.buffer, like, raw)
    return open_writer(target, like, force, quality, keep_times, others)


def what_is_not_whole(tracks: Sequence[Source]) -> str | None:
    """Return what is wrong with a source, as the end of a sentence; None if it is whole, as far as that is known.

    tracks: all that is read of it, in their order; if there are several, they are named.
    """
    if len(tracks) == 1:
        return tracks[0].warning
    found = [f"{one.warning} (audio track {number})" for number, one in enumerate(tracks, 1) if one.warning is not None]
    return " and ".join(found) or None


def refuse_what_is_not_whole(source: str, tracks: Sequence[Source]) -> None:
    """Raise AudioError if a source is known to end before it should, to be damaged or to hold NaN."""
    warning = what_is_not_whole(tracks)
    if warning is not None:
        raise AudioError(f"{STANDARD_INPUT if source == '-' else source} {warning}")
