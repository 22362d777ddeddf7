"""Sound files in and out, whoever decodes and encodes them.

``open_reader`` gives blocks of samples, ``open_writer`` puts a whole file in place or
nothing. Samples are float32 [frames, channels] with a full scale of +-1 everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from percepnet_cli.audio import chunks, ffmpeg, formats, framing
from percepnet_cli.audio.chained import ChainedReader
from percepnet_cli.audio.ffmpeg_encoder import FfmpegEncoder, TrackSound
from percepnet_cli.audio.formats import Layout, Source
from percepnet_cli.audio.sndfile import Reader
from percepnet_cli.audio.sndfile_encoder import Encoder
from percepnet_cli.audio.suffixes import FFMPEG_SUFFIXES, FREEFORM_SUFFIXES, ID3_SUFFIXES
from percepnet_cli.audio.wav import CONTAINERS, WavEncoder
from percepnet_cli.errors import AudioError, UnknownFormatError
from percepnet_cli.storage.atomic import PendingFile
from percepnet_cli.storage.remote import local
from percepnet_cli.storage.target import check_file, exists_sentence

if TYPE_CHECKING:
    from percepnet_cli.audio.tags import Tags

__all__ = ["AudioError", "Writer", "open_reader", "open_writer"]


def open_reader(path: str | Path) -> Source:
    """Open a sound file (or named pipe) of any format that libsndfile knows, or ffmpeg if it is installed.

    Text may be a ``file://`` URL.

    ffmpeg reads also what libsndfile would read wrong: MP3 and Ogg files that go on where it stops, Opus files in which
    it loses its way.

    Raises
    ------
    AudioError
        If there is no such file, it is not sound, its rate is not 8 to 192 kHz, or it takes ffmpeg to read all of it
        and that is not installed.
    """
    path = Path(local(path) if isinstance(path, str) else path)
    extent = framing.measure(path) if formats.readable_size(path) is not None else None
    if extent is not None and extent.parts:
        return ChainedReader(path, extent)
    if extent is not None and extent.trouble is not None:
        return _through_ffmpeg(path, extent, extent.trouble)

    # libsndfile, or ffmpeg where that knows more
    try:
        reader = Reader(path, extent)
    except UnknownFormatError as error:
        if not path.is_file():
            raise
        if ffmpeg.installed():
            with suppress(UnknownFormatError):  # the first error says it better
                media = ffmpeg.MediaReader(path)
                if extent:
                    media.ends_early, media.damage = extent.ends_early, extent.damage
                return media
        elif path.suffix.lower() in FFMPEG_SUFFIXES:
            raise AudioError(f"{error} without ffmpeg; install that, or convert the file") from None
        raise
    if extent is not None and reader.cut_short:
        reader.close()
        return _through_ffmpeg(path, extent, f"goes on after {reader.seconds:.1f} s")
    return reader


def _through_ffmpeg(path: Path, extent: framing.Extent, trouble: str) -> Source:
    """Open what libsndfile would read wrong."""
    if not ffmpeg.installed():
        raise AudioError(f"{path} {trouble}; install ffmpeg, which reads all of it")
    return ffmpeg.MediaReader(path, extent)


def _tags_of(original: Path | None, like: Layout) -> Tags:
    """Return the tags of an input, with what libsndfile knows beside them."""
    from percepnet_cli.audio import tags  # it takes its time to load

    found = tags.read(original) if original is not None else tags.Tags()
    if like.first_frame is not None:
        found.drop_chapters()
    for name, text in like.tags.items():
        if name != "software":
            found.text.setdefault(name, [text])
    if not found.names() & {"chapters"}:
        found.chapters = like.chapters
    return found


class Writer:
    """A sound file that appears under its name only when it is complete; a context manager.

    The samples go to a nameless or hidden file in the same folder, which gets its name at the end of
    the ``with`` block, or is removed if the block ends by an exception. Made by ``open_writer``.

    Attributes
    ----------
    path : Path
        As given.
    format, subtype : str
        Container and encoding.
    frames : int
        Frames written so far.
    left_out : list of str
        What the input has beside its samples and this format cannot hold.
    """

    def __init__(
        self,
        path: Path,
        like: Layout,
        force: bool,
        quality: float | None = None,
        keep_time: bool = False,
        others: Sequence[TrackSound] = (),
    ) -> None:
        self.left_out: list[str] = []
        self._tags: Tags | None = None
        self._offered: Tags | None = None  # what something else writes
        self._kept: chunks.Kept | None = None
        self._wanted: set[str] = set()  # names of tags that may not fit
        self.path = path
        self.frames = 0
        self._source = like.path
        self._force = force
        self._quality = quality
        self._keep_time = keep_time
        self._others = others

        # What cannot be written is said before anything is made; a link's file is replaced, not the link
        self._target = Path(os.path.realpath(path))
        self._check_target()
        self.format, self.subtype = formats.choose(path, like)

        try:
            self._pending = PendingFile(self._target)
        except OSError as error:
            raise AudioError(f"{self.path} cannot be written: {error.strerror}") from None
        try:
            self._encoder = self._make_encoder(like)
        except AudioError as error:
            self._pending.discard()
            raise AudioError(f"{self.path} cannot be written: {error}") from None
        except BaseException:
            self._pending.discard()
            raise

    def _make_encoder(self, like: Layout) -> Encoder | WavEncoder | FfmpegEncoder:
        """Open the new file; find what of the input goes along."""
        original = like.path if isinstance(like.path, Path) and like.path.is_file() else None
        kept = chunks.read(original, like.subtype) if original is not None else None
        if kept is not None and like.first_frame is not None:
            chunks.fit_excerpt(kept, like.first_frame)
        # Chunks go along in a container of the same family, tags where the format has tags
        wave = self.format in CONTAINERS
        same = kept is not None and kept.family == ("AIFF" if self.format == "AIFF" else "WAVE" if wave else "")
        if kept is not None:
            self.left_out = kept.left_out if same else [one for one in kept.kinds if one not in chunks.TAGS]
        has_id3 = self.path.suffix.lower() in ID3_SUFFIXES
        into_tags = self.format in formats.TAGGED and (original is not None or like.tags)
        foreign = like.format in formats.TAGGED | {"MEDIA"} or (kept is not None and set(kept.kinds) & chunks.TAGS)
        if into_tags or (not same and (foreign or like.tags)):
            self._tags = _tags_of(original, like)
            if not wave and self.format not in ("MP3", "AIFF") and not has_id3:
                self.left_out += sorted(self._tags.only_id3())

        if self.format == "MEDIA":
            if not has_id3:
                self._wanted = self._take_names()
            return FfmpegEncoder(self._pending, self.path, like, self._others)
        if wave:
            if same and kept is not None:
                chunks.add_history(kept, like.sample_rate, like.channels, 8 * formats.BYTES_PER_SAMPLE[self.subtype])
            return WavEncoder(self._pending, self.format, self.subtype, like, kept if same else self._as_chunks(like))
        self._kept = kept if same else None
        if self.format == "AIFF" and self._tags is not None and not same:
            self._kept = self._as_chunks(like)
        elif self.format not in formats.TAGGED:
            self._wanted = self._take_names()
        return Encoder(self._pending, self.format, self.subtype, like, self._quality)

    def _take_names(self) -> set[str]:
        """Return the names of the tags, which something else writes."""
        found, self._tags = self._tags, None
        self._offered = found
        return found.names() if found is not None else set()

    def _as_chunks(self, like: Layout) -> chunks.Kept:
        """Return what tags of another format become in a WAV or AIFF."""
        found = chunks.Kept(like.subtype, "WAVE")
        text = like.tags
        if self._tags is not None:
            text = {name: values[0] for name, values in self._tags.text.items() if values}
            plain = set() if self.format == "AIFF" else set(chunks.INFO_NAMES)
            if self._tags.names() - plain or self._tags.only_id3():
                from percepnet_cli.audio import tags

                found.after.append((b"ID3 " if self.format == "AIFF" else b"id3 ", tags.as_id3(self._tags)))
            self._tags = None
        if self.format == "AIFF":
            return found
        if any(name in chunks.INFO_NAMES for name in text):
            found.after.insert(0, (b"LIST", chunks.info_list(text)))
        return found

    def _check_target(self) -> None:
        check_file(self._target, self._force, error=AudioError, shown=self.path)

    def write(self, block: np.ndarray) -> None:
        """Append samples.

        Parameters
        ----------
        block : ndarray
            float32 [n, channels], any n; clipped to +-1 unless the encoding holds more.

        Raises
        ------
        AudioError
            If they do not fit on the disk.
        """
        if self.subtype not in formats.UNBOUNDED_ENCODINGS:
            block = np.clip(block, -1.0, 1.0)
        try:
            self._encoder.write(block)
        except OSError:
            raise AudioError(f"{self.path} cannot be written to its end: is the disk full?") from None
        except AudioError as error:
            raise AudioError(f"{self.path} cannot be written: {error}") from None
        self.frames += len(block)

    def _finish(self) -> None:
        """Close the file and give it its name."""
        if self.frames == 0 and (self.format in ("FLAC", "MP3") or self.subtype == "OPUS"):
            raise AudioError(f"{self._source} holds no samples, which {self.path.suffix} cannot store: use .wav")
        try:
            self._encoder.finish()
            if self._wanted and not isinstance(self._encoder, WavEncoder):
                with self._pending.open() as file:
                    self.left_out += sorted(self._missing_tags(self._encoder, file))
            if self._kept is not None:
                with self._pending.open() as file:
                    chunks.append_aiff(file, self._kept)
            if self._tags is not None:
                from percepnet_cli.audio import tags

                with self._pending.open() as file:
                    tags.write(file, self.format, self.subtype, self._tags)
        except AudioError as error:
            raise AudioError(f"{self.path} cannot be written: {error}") from None
        except OSError as error:
            raise AudioError(f"{self.path} cannot be written: {error.strerror}") from None
        self._check_target()
        try:
            if self._keep_time:
                self._pending.keep_time(Path(self._source))
            self._pending.place(self._force, self._check_content)
        except FileExistsError:
            raise AudioError(exists_sentence(self.path)) from None
        except OSError as error:
            raise AudioError(f"{self.path} cannot be written: {error.strerror}") from None

    def _missing_tags(self, encoder: Encoder | FfmpegEncoder, file: BinaryIO) -> set[str]:
        """Return the names of the tags that the new file lacks, once those are in it that can be added."""
        missing = self._wanted - encoder.tag_names(file)
        if missing and self._offered is not None and self.path.suffix.lower() in FREEFORM_SUFFIXES:
            from percepnet_cli.audio import tags

            tags.add_to_mp4(file, self._offered, missing)
            missing = self._wanted - encoder.tag_names(file)
        return missing

    def _check_content(self, file: BinaryIO) -> None:
        """Raise AudioError unless the file holds all frames: a disk may have been full at the last block."""
        if not self._encoder.holds(file, self.frames):
            raise AudioError(f"{self.path} did not get to the disk as a whole: is the disk full?")

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._encoder.discard()
            self._pending.discard()


def open_writer(
    path: str | Path,
    like: Layout,
    force: bool = False,
    quality: float | None = None,
    keep_time: bool = False,
    others: Sequence[TrackSound] = (),
) -> Writer:
    """Begin a sound file that resembles the one of ``like``.

    Parameters
    ----------
    path : str or Path
        Its extension decides on the container; a symbolic link is followed.
    like : Layout
        Gives sample rate, channels, tags, expected length and, where possible, encoding.
    force : bool
        Replace a file that exists; it may be the one that ``like`` reads.
    quality : float or None
        Of lossy encodings, 0 (smallest) to 10 (best); None: about the input's bitrate.
    keep_time : bool
        Give it the modification time of the file that ``like`` reads.
    others : sequence of TrackSound
        New sound of all audio tracks of a film after the first.

    Raises
    ------
    AudioError
        If the target exists, cannot be written, or its format cannot hold this sound. Leaving
        the ``with`` block raises it, too: if the target has been made by another meanwhile.
    """
    return Writer(Path(local(path) if isinstance(path, str) else path), like, force, quality, keep_time, others)
