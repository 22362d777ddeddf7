"""Files and the signal path: one file through the denoiser, or a file as the samples that it sees."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from percepnet_cli.audio import labels
from percepnet_cli.audio.excerpt import Excerpt, Window, check_excerpt, too_short
from percepnet_cli.audio.ffmpeg import MediaReader
from percepnet_cli.audio.ffmpeg_encoder import TrackSound
from percepnet_cli.audio.files import open_reader
from percepnet_cli.audio.formats import Source
from percepnet_cli.audio.level import find_gain
from percepnet_cli.audio.loudness import Leveler, new_leveler
from percepnet_cli.audio.pipes import RawFormat
from percepnet_cli.audio.places import open_source, open_target, refuse_what_is_not_whole, what_is_not_whole
from percepnet_cli.audio.resample import Resampler
from percepnet_cli.audio.suffixes import FILMS
from percepnet_cli.constants import HOP_SIZE, LATENCY_SAMPLES, SAMPLE_RATE
from percepnet_cli.dsp.presets import choose
from percepnet_cli.errors import AudioError
from percepnet_cli.metrics.blind import BlindMetrics, Measures
from percepnet_cli.storage import remote
from percepnet_cli.storage.atomic import PendingFile
from percepnet_cli.storage.target import check_file

if TYPE_CHECKING:
    from percepnet_cli.denoiser import Denoiser
    from percepnet_cli.network.modelfile import Model

Progress = Callable[[float, float | None], object]
"""Gets seconds of audio done and expected."""

BLOCK_HOPS = 128
"""Hops read at once, 1.28 s: enough for the kernels to work in batches, little memory."""


@dataclass(frozen=True)
class FileReport:
    """What happened to one file."""

    source: str
    target: str
    seconds: float
    """Duration of the audio."""
    sample_rate: int
    channels: int
    measures: Measures
    elapsed_seconds: float
    """Time it took."""
    left_out: tuple[str, ...] = ()
    """What stands beside the samples of the source and the target cannot hold."""
    warning: str | None = None
    """How the source ends before it should, or where it is damaged or holds NaN, as the end of a sentence.

    With ``all_tracks`` of each audio track, by its number.
    """
    loudness_lufs: float | None = None
    """Of the target, if one was wanted."""


def denoise_file(
    source: str | Path,
    target: str | Path,
    *,
    model: Model | str | Path | None = None,
    post_filter: float | None = None,
    attenuation_limit_db: float | None = None,
    amount: float | None = None,
    preset: str | None = None,
    linked: bool = True,
    force: bool = False,
    raw: RawFormat | None = None,
    threads: int | None = None,
    quality: float | None = None,
    keep_times: bool = False,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    strict: bool = False,
    loudness_lufs: float | None = None,
    all_tracks: bool = False,
    vad: str | Path | None = None,
    progress: Progress | None = None,
) -> FileReport:
    """Denoise a sound file into another, in constant memory.

    The target appears when it is complete, or not at all. Both files are checked before the
    model is loaded and numba imported.

    Parameters
    ----------
    source, target : str or Path
        See ``open_reader`` and ``open_writer``. "-" is standard input, which must be WAV or raw, and standard
        output, which gets the like as it is made.
    model : Model, str, Path or None
        Loaded, or a name or file; None is the shipped default for files.
    post_filter : bool, float or None
        How far to sharpen the spectral envelope at the end, 0 to 1; None: as the model asks.
    attenuation_limit_db : float or None
        dB >= 0 by which noise is lowered at most; None is without limit.
    amount : float or None
        How much of the noise goes, 0 to 100, instead of a limit in dB: 50 is 6 dB, 90 is 20 dB, 100 is without limit.
    preset : str or None
        "gentle", "podcast", "call" or "strong" (``dsp.presets``); what is given beside it counts instead.
    linked : bool
        Give all channels the same gains.
    force : bool
        Replace the target if it exists.
    raw : RawFormat or None
        The source is bare samples of this kind; standard output then gets the same.
    threads : int or None
        Channels that are worked on at the same time; None: as many as there are CPUs to run on.
    quality : float or None
        Of a lossy target, 0 (smallest) to 10 (best); None: about the bitrate of the source.
    keep_times : bool
        Give the target the modification time of the source; both must be files.
    start_seconds, duration_seconds : float, float or None
        Do only this part of a file, from so many seconds on and so long (None: to the end). It sounds as in the whole:
        the denoiser hears what comes before it, too.
    strict : bool
        Raise an error and write nothing if the source ends early, is damaged or holds NaN; else the report says so.
    loudness_lufs : float or None
        Integrated loudness of the result (ITU-R BS.1770), -40 to -10 LUFS, by ffmpeg; true peaks stay below -1 dBTP.
    all_tracks : bool
        Denoise all audio tracks of a film, not only the first, whose length and levels are the report's.
    vad : str or Path or None
        Where to write where speech is: .csv is the probability every 10 ms, .srt subtitles, .txt labels of Audacity.
    progress : callable or None
        Called with the seconds of audio written and the seconds expected (None if unknown):
        first with 0 when all checks have passed, then after each block.

    Returns
    -------
    FileReport
        Length, levels, speech and noise found.

    Raises
    ------
    AudioError
        If the source cannot be read or the target not be written; with ``strict``, if the source is not whole.
    ModelError
        If the model cannot be loaded.
    ValueError
        If the denoiser does not take a setting, or the times are none.

    Examples
    --------
    >>> from percepnet_cli import denoise_file
    >>> report = denoise_file("examples/street.flac", "quieter.flac", attenuation_limit_db=12)
    >>> report.seconds
    8.0
    >>> denoise_file("examples/street.flac", "quieter.flac")
    Traceback (most recent call last):
    percepnet_cli.errors.AudioError: quieter.flac already exists; use force=True to replace it
    """
    begin = time.perf_counter()
    settings = choose(preset, amount, attenuation_limit_db, post_filter) | {"linked": linked, "threads": threads}
    source, target = remote.local(str(source)), remote.local(str(target))
    if keep_times and ("-" in (source, target) or not os.path.exists(source)):
        raise AudioError(f"{source} -> {target}: only files have times that could be kept")
    check_excerpt(source, start_seconds, duration_seconds)
    if vad is not None:
        labels.check(Path(vad), force)
        if start_seconds or duration_seconds is not None:
            raise AudioError("where speech is can be written of whole recordings only")
    with ExitStack() as stack:
        reader = stack.enter_context(open_source(source, raw))
        excerpt = Excerpt.of(reader, start_seconds, duration_seconds)
        read: list[Source] = [reader]
        if strict:
            refuse_what_is_not_whole(source, read)

        def new_denoiser(channels: int, observer: Callable[..., object] | None = None) -> Denoiser:
            # When all checks have passed: they take their time
            from percepnet_cli.denoiser import Denoiser
            from percepnet_cli.network.modelfile import load_file_model

            return Denoiser(load_file_model(model), channels=channels, observer=observer, **settings)

        # Of a film the other tracks come first, since ffmpeg takes them as files
        tracks = _number_of_tracks(reader, target, excerpt) if all_tracks else 1
        shown = _Shown(progress, excerpt.seconds(reader), tracks)
        others: list[TrackSound] = []
        if tracks > 1:
            check_file(Path(os.path.realpath(target)), force, error=AudioError, shown=Path(target))
        for number in range(1, tracks):
            waiting = PendingFile(Path(os.path.realpath(target)))
            stack.callback(waiting.discard)
            with MediaReader(Path(source), number=number) as track, waiting.open() as file:
                track_leveler = new_leveler(target, track, loudness_lufs)
                blocks = _denoised(track, excerpt, new_denoiser(track.channels), BlindMetrics(track.sample_rate), None)
                for block in _leveled(shown.passing(blocks, track.sample_rate), track_leveler):
                    _put(file, block, target)
            others.append(TrackSound(waiting, track))
            read.append(track)
            if strict:
                refuse_what_is_not_whole(source, read)

        leveler = new_leveler(target, reader, loudness_lufs)
        writer = open_target(target, excerpt.layout(reader), force, raw, quality, keep_times, others)
        stack.enter_context(writer)
        shown.begin()
        metrics = BlindMetrics(reader.sample_rate)
        reopen = (lambda: open_reader(source)) if raw is None and os.path.isfile(source) else None
        listener = None
        if vad is not None:
            from percepnet_cli.channel.speech import SpeechListener

            listener = SpeechListener(reader.channels)
        denoiser = new_denoiser(reader.channels, listener)
        blocks = _denoised(reader, excerpt, denoiser, metrics, reopen)
        for block in _leveled(shown.passing(blocks, reader.sample_rate), leveler):
            writer.write(block)
        if strict:
            refuse_what_is_not_whole(source, read)
        if listener is not None and vad is not None:
            behind = denoiser.latency // HOP_SIZE - LATENCY_SAMPLES // HOP_SIZE
            hops = -(-writer.frames * SAMPLE_RATE // (reader.sample_rate * HOP_SIZE))
            labels.write(Path(vad), listener.result()[behind : behind + hops], HOP_SIZE / SAMPLE_RATE, force)
        measures = metrics.finish()  # here, so that nothing can fail when the target has its name
        reader.close()  # some systems do not let an open file be replaced, should it be the target
    elapsed = time.perf_counter() - begin
    return FileReport(
        source,
        target,
        writer.frames / reader.sample_rate,
        reader.sample_rate,
        reader.channels,
        measures,
        elapsed,
        tuple(getattr(writer, "left_out", ())),
        what_is_not_whole(read),
        None if leveler is None else leveler.reached_lufs,
    )


def _denoised(
    reader: Source, excerpt: Excerpt, denoiser: Denoiser, metrics: BlindMetrics, reopen: Callable[[], Source] | None
) -> Iterator[np.ndarray]:
    """Yield the denoised excerpt of a source, float32 [n, channels], n > 0, and measure it.

    reopen: opens the source again, if that can be. Raises AudioError if the source ends before the excerpt.
    """
    rate = reader.sample_rate

    # what is much too soft for the network is raised, and lowered again at the end; a pipe cannot wait for that
    frames = BLOCK_HOPS * HOP_SIZE * rate // SAMPLE_RATE
    gain, blocks = 1.0, reader.blocks(frames)
    if reopen is not None:
        gain, blocks = find_gain(blocks, rate, reopen, frames)

    # Of an excerpt, the denoiser hears more than is kept; what comes before that is skipped if it can be
    skipped = 0
    if excerpt.begin and reader.seeks_exactly:
        skipped = reader.seek(excerpt.begin)
        blocks = reader.blocks(frames)
    heard = Window(excerpt.begin - skipped, None if excerpt.stop is None else excerpt.stop - skipped)
    first, end = excerpt.first - excerpt.begin, None if excerpt.end is None else excerpt.end - excerpt.begin
    kept_in, kept_out = Window(first, end), Window(first, end)

    def raised() -> Iterator[np.ndarray]:
        for whole in blocks:
            if len(block := heard.cut(whole)):
                metrics.add_input(kept_in.cut(block))
                yield block if gain == 1 else block * np.float32(gain)
            if heard.passed:
                return

    for denoised in denoise_blocks(raised(), rate, reader.channels, denoiser):
        block = kept_out.cut(denoised)
        if gain != 1:
            block = block * np.float32(1 / gain)
        if len(block):
            metrics.add_output(block)
            yield block
    if excerpt.first and kept_out.position <= first:
        raise AudioError(too_short(reader, skipped + heard.position, excerpt.first / rate))


class _Shown:
    """What is said of the progress of a file: seconds that are done, of all its tracks together."""

    def __init__(self, progress: Progress | None, seconds: float | None, tracks: int) -> None:
        self._progress = progress
        self._total = None if seconds is None else seconds * tracks
        self._done = 0.0
        self._begun = False

    def begin(self) -> None:
        """Say, once, that all checks have passed."""
        if self._progress and not self._begun:
            self._progress(0.0, self._total)
        self._begun = True

    def passing(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
        """Pass the blocks of a track on; after each, say how far it is."""
        self.begin()
        before, frames = self._done, 0
        for block in blocks:
            frames += len(block)
            yield block
            self._done = before + frames / sample_rate
            if self._progress:
                self._progress(self._done, self._total)


def _number_of_tracks(reader: Source, target: str, excerpt: Excerpt) -> int:
    """Return how many audio tracks of a film are to be denoised if all are. Raises AudioError if that cannot be."""
    if Path(target).suffix.lower() not in FILMS:
        raise AudioError(f"{target} holds one track; all go into {' '.join(FILMS)}")
    if not excerpt.whole:
        raise AudioError("an excerpt has one track")
    return len(reader.media.audio) if isinstance(reader, MediaReader) and reader.media else 1


def _put(file: BinaryIO, block: np.ndarray, target: str) -> None:
    """Append float32 samples to a file. Raises AudioError if the disk is full."""
    try:
        file.write(np.asarray(block, "<f4").tobytes())
        file.flush()
    except OSError as error:
        raise AudioError(f"{target} cannot be written: {error.strerror}") from None


def _leveled(blocks: Iterable[np.ndarray], leveler: Leveler | None) -> Iterable[np.ndarray]:
    return blocks if leveler is None else leveler.apply(blocks)


def denoise_blocks(
    blocks: Iterable[np.ndarray], sample_rate: int, channels: int, denoiser: Denoiser
) -> Iterator[np.ndarray]:
    """Denoise a stream of any sample rate and undo the delay.

    Parameters
    ----------
    blocks : iterable of ndarray
        float32 [n, channels], any n.
    sample_rate : int
        Hz of the blocks.
    channels : int
        That of the blocks and of the denoiser.
    denoiser : Denoiser
        Fresh or reset.

    Yields
    ------
    ndarray
        float32 [m, channels], m > 0, valid until the next one is asked for; in total as many
        frames as came in, each in its old place.
    """
    upward = Resampler(sample_rate, SAMPLE_RATE, channels)
    downward = Resampler(SAMPLE_RATE, sample_rate, channels)
    frames_in = frames_out = 0

    def denoised() -> Iterator[np.ndarray]:
        nonlocal frames_in
        for block in blocks:
            frames_in += len(block)
            yield denoiser.process(upward.process(block))
        yield denoiser.process(upward.flush())
        yield denoiser.flush()

    early = denoiser.latency
    for samples in denoised():
        kept = samples[early:]
        early -= len(samples) - len(kept)
        # Both conversions round up, so there may be a few frames too many at the end, never too few.
        converted = downward.process(kept)[: frames_in - frames_out]
        frames_out += len(converted)
        if len(converted):
            yield converted
    rest = downward.flush()[: frames_in - frames_out]
    if len(rest):
        yield rest
