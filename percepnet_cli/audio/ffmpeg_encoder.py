"""Writes what libsndfile cannot, through ffmpeg: films with their sound replaced, AAC, WMA..."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from percepnet_cli.audio import bitrate, ffmpeg
from percepnet_cli.audio.formats import OPUS_SAMPLE_RATES, Layout
from percepnet_cli.audio.suffixes import FFMPEG_CONTAINERS
from percepnet_cli.errors import AudioError
from percepnet_cli.storage.atomic import PendingFile

ENCODERS = {
    "aac": "aac", "opus": "libopus", "vorbis": "libvorbis", "flac": "flac", "mp3": "libmp3lame", "ac3": "ac3",
    "eac3": "eac3", "alac": "alac", "wmav2": "wmav2",
}  # fmt: skip
"""Codec -> ffmpeg's encoder of it."""

CODECS = {
    "mp4": ("aac", "alac", "mp3", "ac3", "eac3"), "mov": ("aac", "alac", "mp3", "ac3"), "ipod": ("aac", "alac"),
    "matroska": ("aac", "opus", "vorbis", "flac", "mp3", "ac3", "eac3"), "webm": ("opus", "vorbis"),
    "adts": ("aac",), "asf": ("wmav2",), "ogg": ("flac",),
}  # fmt: skip
"""What a container gets: the input's codec if it is here, else the first."""

LOSSLESS = {"flac": "s16", "alac": "s16p"}
"""What keeps every bit, and ffmpeg's name of samples of 16; without that it takes 24."""

WMA_FRAME_SAMPLES = ((16000, 512), (22050, 1024), (48000, 2048))
"""Up to which sample rate, Hz; the samples of a packet."""

SUBTITLES = {"mp4": "mov_text", "mov": "mov_text", "matroska": "srt", "webm": "webvtt"}
"""Kinds of subtitles, for those that come from a container of another family."""

FAMILIES = {"mp4": "mov", "mov": "mov", "ipod": "mov", "matroska": "matroska", "webm": "matroska"}
"""Containers whose names ffprobe tells together."""

CLOCK_SECONDS = 0.005
"""By which the times in a container may be rounded."""

READERS = {"mp4": "mov", "ipod": "mov", "webm": "matroska", "adts": "aac"}
"""Names of containers where ffmpeg reads them, if they differ from those by which it writes them."""

USUAL_BITS_PER_SECOND = 96000
"""Of a channel, if the input's bitrate is not known."""


@dataclass(frozen=True)
class TrackSound:
    """The new sound of one more track of a film."""

    samples: PendingFile
    """float32 [frames, channels], nothing else."""
    layout: Layout

    @property
    def options(self) -> list[str]:
        """What names it as an input of ffmpeg."""
        rate, channels = self.layout.sample_rate, self.layout.channels
        return ["-f", "f32le", "-ar", str(rate), "-ac", str(channels), "-i", ffmpeg.address(_place(self.samples))]


def _place(pending: PendingFile) -> Path:
    """Return the name by which a child finds a file that may have none."""
    return pending.path if pending.path is not None else Path(f"/proc/self/fd/{pending.descriptor}")


class FfmpegEncoder:
    """Writes the samples of a new file through ffmpeg; picture, subtitles, chapters and tags come from the input.

    Parameters
    ----------
    pending : PendingFile
        Where they go.
    path : Path
        Its name later, which decides on the container.
    like : Layout
        The input: rate, channels, bitrate; its file, if it is one.
    others : sequence of TrackSound
        What replaces the audio tracks after the first; if there is none, those of the input stay.

    Raises
    ------
    AudioError
        If ffmpeg is not installed.
    """

    def __init__(self, pending: PendingFile, path: Path, like: Layout, others: Sequence[TrackSound] = ()) -> None:
        if not ffmpeg.installed():
            raise AudioError(f"{path.suffix} needs ffmpeg, which is not installed")
        self._container = container = FFMPEG_CONTAINERS.get(path.suffix.lower(), "ogg")
        original = like.path if isinstance(like.path, Path) and like.path.is_file() else None
        media = ffmpeg.probe(original) if original is not None else None

        command = [ffmpeg.PROGRAM, "-v", "error", "-y", "-f", "f32le", "-ar", str(like.sample_rate)]
        command += ["-ac", str(like.channels), "-i", "pipe:0"]
        if original is not None and media is not None:
            if media.film and container in SUBTITLES and like.first_frame is not None:
                raise AudioError("an excerpt has no picture; give OUT the extension of a sound file")
            command += [
                *ffmpeg.ONE_FILE,
                "-i",
                ffmpeg.address(original),
            ]
            command += [option for other in others for option in other.options]
            command += _other_tracks(media, container, len(others))
            if like.first_frame is not None:
                command += ["-map_chapters", "-1"]
        else:
            command += ["-map", "0:a"]
        for number, layout in enumerate((like, *(other.layout for other in others))):
            command += _sound(media, container, layout, number)
        # the same input gives the same bytes
        command += ["-fflags", "+bitexact", "-flags:a", "+bitexact", "-f", container]

        files = (pending, *(other.samples for other in others))
        self._descriptors = tuple(file.descriptor for file in files if file.descriptor is not None)
        self._place = _place(pending)
        self._sample_rate = like.sample_rate
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  (closed by discard)
        self._process = subprocess.Popen(
            [*command, ffmpeg.address(self._place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
            pass_fds=self._descriptors,
        )

    def write(self, block: np.ndarray) -> None:
        """Append float32 [n, channels]. Raises AudioError if ffmpeg ends."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(block, np.float32).tobytes())
        except BrokenPipeError:
            raise AudioError(self._complaint()) from None

    def finish(self) -> None:
        """Let ffmpeg write the rest. Raises AudioError."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            raise AudioError(self._complaint()) from None
        if self._process.wait() != 0:
            raise AudioError(self._complaint())

    def holds(self, file: BinaryIO, frames: int) -> bool:
        """Return whether the finished file has packets of sound for so many frames."""
        end = _sound_end(self._place, READERS.get(self._container, self._container), self._descriptors)
        return end is not None and end + CLOCK_SECONDS >= frames / self._sample_rate

    def tag_names(self, file: BinaryIO) -> set[str]:
        """Return which tags the finished file, opened anew, has; chapters are one thing, and so are pictures."""
        from percepnet_cli.audio import tags  # it takes its time to load

        file.seek(0)
        found = tags.read(file).names()
        media = ffmpeg.probe(self._place, self._descriptors)
        if media is not None:
            found |= media.tags.keys() | ({"chapters"} if media.chapters else set())
            found |= {"picture"} if any(track.is_picture for track in media.tracks) else set()
        return found

    def _complaint(self) -> str:
        self._process.wait()
        self._messages.seek(0)
        lines = self._messages.read().decode("utf-8", "replace").strip().splitlines()
        return f"ffmpeg says '{lines[0].strip() if lines else f'exit code {self._process.returncode}'}'"

    def discard(self) -> None:
        """End ffmpeg; doing it twice is harmless."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(BrokenPipeError):  # it ended before it had taken all
                self._process.stdin.close()
        self._messages.close()


def _sound_end(path: Path, container: str, descriptors: tuple[int, ...]) -> float | None:
    """Return when the last packet of the first audio track ends, seconds; None if no packet can be read.

    Packets are counted, not decoded. container: what the file is, by the name of ffmpeg's reader of it; descriptors:
    open files that the path needs.
    """
    command = [ffmpeg.PROGRAM, "-nostdin", "-v", "error", *ffmpeg.ONE_FILE, "-f", container, "-i", ffmpeg.address(path)]
    command += ["-map", "0:a:0", "-c", "copy", "-f", "framecrc", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=descriptors
    ) as process:
        assert process.stdout is not None
        tick, end = 0.0, None
        for line in process.stdout:
            words = line.replace(b",", b" ").replace(b"/", b" ").split()
            if words[0] == b"#tb":  # "#tb 0: 1/48000"
                tick = int(words[2]) / int(words[3])
            elif not words[0].startswith(b"#"):  # track, decoding time, time, duration, bytes, checksum
                end = max(end or 0.0, (int(words[2]) + int(words[3])) * tick)
    return end if process.returncode == 0 else None


def _other_tracks(media: ffmpeg.Media, container: str, replaced: int) -> list[str]:
    """Return the options that bring everything but the first audio track from the original.

    replaced: how many audio tracks after the first have new sound, 0 or all.
    """
    new = ["-map", "0:a", *(option for number in range(replaced) for option in ("-map", f"{2 + number}:a"))]
    kept = [] if replaced else ["-map", "1:a?", "-map", "-1:a:0"]
    options = new
    family = FAMILIES.get(container, container)
    film = media.film and container in SUBTITLES
    if film:
        options = ["-map", "1:v", *new, *kept, "-map", "1:s?", "-c", "copy"]
        if family not in media.container:
            options += ["-c:s", SUBTITLES[container]]
        if family == "matroska" and family in media.container:
            options += ["-map", "1:t?"]
    elif family == "mov" and (cover := _cover(media)) is not None:
        options += ["-map", f"1:v:{cover}", "-c:v", "copy", "-disposition:v:0", "attached_pic"]

    options += ["-map_metadata", "1", "-map_chapters", "1"]
    if media.container == "ogg":  # which has its tags beside each sound
        options += ["-map_metadata:g", "1:s:a:0"]
    if media.audio and (film or replaced):
        for number in range(1 + replaced):
            options += [f"-map_metadata:s:a:{number}", f"1:s:a:{number}"]
        options += ["-disposition:a:0", "default"]
    return options


def _cover(media: ffmpeg.Media) -> int | None:
    """Return which of the tracks of pictures is a cover that can be seen."""
    pictures = [track for track in media.tracks if track.kind == "video"]
    return next((number for number, one in enumerate(pictures) if one.is_picture and one.is_readable), None)


def _sound(media: ffmpeg.Media | None, container: str, like: Layout, number: int) -> list[str]:
    """Return the options of an audio track's encoder: the input's codec and bitrate, if the container takes that."""
    codecs = CODECS[container]
    track = media.audio[number] if media and media.audio else None
    used = track.codec if track else like.subtype.lower()
    codec = used if used in codecs else codecs[0]
    options = [f"-c:a:{number}", ENCODERS[codec]]

    if codec in LOSSLESS:
        if track and track.codec in LOSSLESS and track.bits == 16:
            options += [f"-sample_fmt:a:{number}", LOSSLESS[codec]]
    else:
        rate = like.bits_per_second or USUAL_BITS_PER_SECOND * like.channels
        if codec == "vorbis":  # whose encoder refuses bitrates that it thinks too low or too high
            level = bitrate.compression_level("VORBIS", rate, like.sample_rate, like.channels)
            options += [f"-q:a:{number}", f"{10 * (1 - level):.2f}"]
        else:
            options += [f"-b:a:{number}", str(round(rate))]
    if codec == "wmav2":
        options += [f"-filter:a:{number}", _framed_by_silence(like.sample_rate)]
    if codec == "opus":  # ffmpeg would take the nearest of its rates, which may be below
        above = [one for one in OPUS_SAMPLE_RATES if one >= like.sample_rate]
        options += [f"-ar:a:{number}", str((above or [OPUS_SAMPLE_RATES[-1]])[0])]
    return options


def _framed_by_silence(sample_rate: int) -> str:
    """Return the filter that puts a packet of silence before and after what becomes WMA.

    Decoders skip two packets' worth at the start, of which ffmpeg's encoder adds one only; and the last packet comes
    out by half, since the next one would complete it.
    """
    samples = next((samples for rate, samples in WMA_FRAME_SAMPLES if sample_rate <= rate), WMA_FRAME_SAMPLES[-1][1])
    return f"adelay=delays={samples}S:all=1,apad=pad_len={samples}"
