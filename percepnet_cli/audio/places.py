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


def refuse_what_is_not_whole(source: str, reader: Source) -> None:
    """Raise AudioError if a source is known to end before it should, to be damaged or to hold NaN."""
    if reader.warning is not None:
        raise AudioError(f"{STANDARD_INPUT if source == '-' else source} {reader.warning}")
