"""Sound files in and out: the only door to soundfile.

``open_reader`` gives blocks of samples, ``open_writer`` puts a whole file in place or
nothing. Samples are float32 [frames, channels] with a full scale of +-1 everywhere.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from percepnet_cli.audio import ffmpeg, formats
from percepnet_cli.audio.formats import Layout, Source, check_sample_rate
from percepnet_cli.audio.suffixes import FFMPEG_SUFFIXES
from percepnet_cli.errors import AudioError, UnknownFormatError
from percepnet_cli.storage.atomic import PendingFile

__all__ = ["AudioError", "Reader", "Writer", "open_reader", "open_writer"]

UNREADABLE_SIZE = 65536
"""Bytes of a file without a single frame that cannot be mere header and tags."""

WRITE_FRAMES = 16384
"""Frames handed to libsndfile at once: its Vorbis encoder keeps a copy of them on the stack."""


ADD_PEAK_CHUNK = 0x1050
RF64_AUTO_DOWNGRADE = 0x1210
"""Commands of libsndfile (sndfile.h)."""


class Reader(Source):
    """A sound file, read once from start to end; a context manager.

    Made by ``open_reader``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tail: io.FileIO | None = None
        size = formats.readable_size(path)
        try:
            self._file = _sequential(soundfile.SoundFile(_native(path)))
        except (soundfile.LibsndfileError, TypeError):  # TypeError: the extension promises a headerless file
            how = "from a pipe" if size is None else ""
            raise UnknownFormatError(f"{path} is not a sound file that can be read {how}".rstrip()) from None
        file = self._file
        super().__init__(file.samplerate, file.channels, file.frames, file.format, file.subtype, file.copy_metadata())
        try:
            check_sample_rate(path, self.sample_rate)
            if self.frames == 0 and size is not None:
                self._look_for_samples(size)
        except BaseException:
            self.close()
            raise
        if file.frames >= 2**62:  # how libsndfile says that a FLAC came from a pipe
            self.frames = None

    def _look_for_samples(self, size: int) -> None:
        """Find the samples of a WAV whose recorder was stopped before it wrote their number."""
        known = self.subtype in formats.BYTES_PER_SAMPLE
        self._tail = formats.unfinished_wav(Path(self.path), size) if known else None
        if self._tail:
            self._file.close()
            self._file = soundfile.SoundFile(
                self._tail,
                samplerate=self.sample_rate,
                channels=self.channels,
                format="RAW",
                subtype=self.subtype,
                endian="LITTLE",
            )
            self.frames = self._file.frames
        elif size > UNREADABLE_SIZE:
            raise AudioError(f"{self.path} is damaged: {size} bytes, but no sound that can be read")

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Read on to the end, some frames at a time.

        Parameters
        ----------
        frames : int
            Length of a block; the last one may be shorter.

        Yields
        ------
        ndarray
            float32 [n, channels], C-contiguous, n > 0. NaN and infinities have become 0.

        Raises
        ------
        AudioError
            If the decoder meets damage.
        """
        done = 0
        while True:
            try:
                block: np.ndarray = self._file.read(frames, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                seconds = done / self.sample_rate
                reason = error.error_string.rstrip(".")
                raise AudioError(f"{self.path} is damaged somewhere after {seconds:.1f} s ({reason})") from None
            if len(block) == 0:
                if self._tail and done != self.frames:  # soundfile swallows what its callbacks raise
                    raise AudioError(f"{self.path} cannot be read to its end")
                return
            done += len(block)
            if not np.isfinite(block).all():
                np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            yield block

    def close(self) -> None:
        """Close the file; doing it twice is harmless."""
        self._file.close()
        if self._tail:
            self._tail.close()


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
    """

    def __init__(self, path: Path, like: Layout, force: bool) -> None:
        self.path = path
        self.frames = 0
        self._source = like.path
        self._force = force
        self._target = Path(os.path.realpath(path))
        self._check_target()
        self.format, self.subtype = formats.choose(path, like)
        try:
            self._pending = PendingFile(self._target)
        except OSError as error:
            raise AudioError(f"{self.path} cannot be written: {error.strerror}") from None
        try:
            self._file = self._create(like)
            self._copy_tags(like.tags)
        except BaseException:
            self._pending.discard()
            raise

    def _check_target(self) -> None:
        try:
            mode = os.stat(self._target).st_mode
        except FileNotFoundError:
            return
        except OSError as error:  # the name is too long, a folder of it is a file...
            raise AudioError(f"{self.path} cannot be written: {error.strerror}") from None
        if stat.S_ISDIR(mode):
            raise AudioError(f"{self.path} is a folder; give the name of a file")
        if not self._force:
            raise AudioError(self._exists())

    def _exists(self) -> str:
        return f"{self.path} already exists; use --force to replace it"

    def _create(self, like: Layout) -> Any:
        """Open the pending file, with the permissions that any new file gets."""
        place = self._pending
        grows = self.format == "WAV" and like.frames is None
        self._file_format = "RF64" if grows else self.format
        try:
            file = soundfile.SoundFile(
                _native(place.path) if place.path is not None else place.descriptor,
                mode="w",
                samplerate=like.sample_rate,
                channels=like.channels,
                format=self._file_format,
                subtype=self.subtype,
                closefd=False,
            )
        except soundfile.LibsndfileError:
            raise AudioError(
                f"{self.path} cannot be written: {self.format} does not take "
                f"{like.channels} channels at {like.sample_rate} Hz"
            ) from None
        _command(file, ADD_PEAK_CHUNK, False)  # it holds the time of writing: no two runs would give the same bytes
        if grows:
            _command(file, RF64_AUTO_DOWNGRADE, True)  # a plain WAV if it stays under 4 GiB
        return _sequential(file)

    def _copy_tags(self, tags: dict[str, str]) -> None:
        for name, text in tags.items():
            # libsndfile stores UTF-8 in MP3 tags as if it were Latin-1; "software" is its own affair
            if name != "software" and (text.isascii() or self.format != "MP3"):
                with suppress(soundfile.LibsndfileError):  # a container without tags
                    setattr(self._file, name, text)

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
        for start in range(0, len(block), WRITE_FRAMES):
            try:
                self._file.write(block[start : start + WRITE_FRAMES])
            except (soundfile.LibsndfileError, AssertionError):  # soundfile asserts that all was written
                raise AudioError(f"{self.path} cannot be written to its end: is the disk full?") from None
        self.frames += len(block)

    def _finish(self) -> None:
        """Close the file and give it its name."""
        if self.frames == 0 and (self.format in ("FLAC", "MP3") or self.subtype == "OPUS"):
            raise AudioError(f"{self._source} holds no samples, which {self.path.suffix} cannot store: use .wav")
        try:
            self._file.close()
            if self._file_format == "RF64" and self.subtype in ("FLOAT", "DOUBLE"):
                with self._pending.open() as written:
                    formats.forget_peak_time(written)
            self._check_target()
            self._pending.place(self._force)
        except FileExistsError:
            raise AudioError(self._exists()) from None
        except OSError as error:
            raise AudioError(f"{self.path} cannot be written: {error.strerror}") from None
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{self.path} cannot be written: {error.error_string}") from None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            with suppress(soundfile.LibsndfileError):  # what is thrown away need not be whole
                self._file.close()
            self._pending.discard()


def open_reader(path: str | Path) -> Source:
    """Open a sound file (or named pipe) of any format that libsndfile knows, or ffmpeg if it is installed.

    Raises
    ------
    AudioError
        If there is no such file, it is not sound, or its rate is not 8 to 192 kHz.
    """
    path = Path(path)
    try:
        return Reader(path)
    except UnknownFormatError as error:
        if not path.is_file():
            raise
        if ffmpeg.installed():
            with suppress(AudioError):  # the first error says it better
                return ffmpeg.MediaReader(path)
        elif path.suffix.lower() in FFMPEG_SUFFIXES:
            raise AudioError(f"{error} without ffmpeg; install that, or convert the file") from None
        raise


def open_writer(path: str | Path, like: Layout, force: bool = False) -> Writer:
    """Begin a sound file that resembles the one of ``like``.

    Parameters
    ----------
    path : str or Path
        Its extension decides on the container; a symbolic link is followed.
    like : Layout
        Gives sample rate, channels, tags, expected length and, where possible, encoding.
    force : bool
        Replace a file that exists; it may be the one that ``like`` reads.

    Raises
    ------
    AudioError
        If the target exists, cannot be written, or its format cannot hold this sound. Leaving
        the ``with`` block raises it, too: if the target has been made by another meanwhile.
    """
    return Writer(Path(path), like, force)


def _native(path: Path) -> str | bytes:
    """Return a name that soundfile passes on as it is, even if it is not valid UTF-8."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def _command(file: Any, number: int, value: bool) -> None:
    """Switch something that soundfile has no name for."""
    soundfile._snd.sf_command(file._file, number, soundfile._ffi.NULL, int(value))


def _sequential(file: Any) -> Any:
    """Keep soundfile from seeking after each block: an MP3 decoder starts anew there, audibly."""
    file.seekable = lambda: False
    return file
