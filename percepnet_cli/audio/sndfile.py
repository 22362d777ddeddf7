"""The door to libsndfile: its files opened for reading."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from percepnet_cli.audio import ffmpeg, flac, formats, riff, sound_data
from percepnet_cli.audio.decoder_messages import DecoderMessages, silence
from percepnet_cli.audio.formats import Source, check_sample_rate, damaged, early
from percepnet_cli.audio.framing import Extent
from percepnet_cli.errors import AudioError, UnknownFormatError

UNREADABLE_SIZE = 65536
"""Bytes of a file without a single frame that cannot be mere header and tags."""

SEEK_LEAD_SECONDS = 1
"""Sound before a position that a decoder hears when it jumps there, so that it gives what it would have given."""


class OpenFile(Source):
    """What an open file of libsndfile holds, read once from start to end; a context manager.

    Parameters
    ----------
    path : Path
        Its name for the user.
    file : SoundFile or None
        The file; None if it is opened later.
    layout : tuple or None
        Rate, channels, frames, container, encoding, tags; None: those of the file.
    """

    def __init__(self, path: Path, file: Any, layout: tuple[Any, ...] | None = None) -> None:
        if layout is None:
            tags = file.copy_metadata()
            layout = (file.samplerate, file.channels, file.frames, file.format, file.subtype, tags)
        super().__init__(*layout)
        self.path = path
        self._file = file
        self._done = 0  # the frame that is read next
        self._messages = DecoderMessages()

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
        while True:
            try:
                with self._quiet():
                    block: np.ndarray = self._file.read(frames, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                yield from self._go_on(self._done, frames, error.error_string.rstrip("."))
                return
            if len(block) == 0:
                self._meet_end()
                return
            self._make_finite(block, self._done)
            self._done += len(block)
            yield block

    def _quiet(self) -> AbstractContextManager[None]:
        """Hold back what a decoder of MP3 says; others say nothing."""
        return self._messages.hold() if self.format == "MP3" else nullcontext()

    def _go_on(self, done: int, frames: int, reason: str) -> Iterator[np.ndarray]:
        """Yield what follows where libsndfile fails. done: frames read before; reason: what it says."""
        raise AudioError(reason)

    def _meet_end(self) -> None:
        """Compare what was read with what was promised."""

    def close(self) -> None:
        """Close the file; doing it twice is harmless."""
        if self._file:
            self._file.close()
        self._messages.end(drop=self.warning is not None)


class Reader(OpenFile):
    """A sound file, read once from start to end; a context manager.

    Raises UnknownFormatError if libsndfile cannot read it. Made by ``open_reader``.

    Parameters
    ----------
    path : Path
        A file or named pipe.
    extent : Extent or None
        What the framing of an MP3 or Ogg file says of its length.

    Attributes
    ----------
    cut_short : bool
        Whether there is more in the file than libsndfile reads.
    """

    def __init__(self, path: Path, extent: Extent | None = None) -> None:
        self._excerpt: riff.Excerpt | None = None
        self._from_pipe = (size := formats.readable_size(path)) is None
        self.seeks_exactly = not self._from_pipe
        wave, sound_bytes = (None, 0) if size is None else riff.measure(path, size)
        data = sound_data.find(path) if size is not None and wave is None else None
        known = riff.layout(wave) if wave else data.layout if data else None
        try:
            with silence():
                file = sequential(soundfile.SoundFile(native(path)))
            super().__init__(path, file)
        except (soundfile.LibsndfileError, TypeError):  # TypeError: the extension promises a headerless file
            if not known:
                if data and data.declared:  # ffmpeg would read the first of two files
                    sound_data.bytes_there(path, data, data.declared, 1)
                how = "from a pipe" if size is None else ""
                raise UnknownFormatError(f"{path} is not a sound file that can be read {how}".rstrip()) from None
            rate, channels, container, subtype = known  # libsndfile does not know all chunks
            super().__init__(path, None, (rate, channels, None, container, subtype))
        if wave and wave.declared > sound_bytes and wave.bytes_per_second:
            self.ends_early = early(sound_bytes / wave.bytes_per_second, wave.declared / wave.bytes_per_second)
        elif wave is None and self._file and (missing := sound_data.missing_bytes(self._file.extra_info)) is not None:
            self.ends_early = self._early(missing)
        try:
            check_sample_rate(path, self.sample_rate)
            if known and wave:
                self._read_samples(wave.start, sound_bytes, wave.frame_bytes, "LITTLE")
            elif data and size is not None:
                self._read_what_the_header_leaves_out(data, size)
            elif wave and 0 < wave.declared < sound_bytes:
                raise AudioError(f"{path} goes on after the samples that its header declares; repair it with ffmpeg")
            if self.frames == 0 and size is not None and size > UNREADABLE_SIZE:
                raise AudioError(f"{path} is damaged: {size} bytes, but no sound that can be read")
        except BaseException:
            self.close()
            raise

        self.cut_short = False
        if self.frames is not None and self.frames >= 2**62:  # how libsndfile says that a FLAC came from a pipe
            self.frames = None
        self.bits_per_second = extent.bits_per_second if extent else None
        self._slack = extent.slack if extent else 0
        self.damage = extent.damage if extent else None
        if self.ends_early is None and extent is not None:
            self.ends_early = extent.ends_early
        if self.frames is not None and extent is not None:
            self.cut_short = self.frames + extent.slack < extent.frames
            if self.frames > extent.frames + extent.slack:
                self.frames = extent.frames

    def _read_what_the_header_leaves_out(self, data: sound_data.SoundData, size: int) -> None:
        """Look at the header of an AU, AIFF or CAF file: there may be less sound than it says, or more."""
        frame_bytes = self.channels * formats.BYTES_PER_SAMPLE.get(self.subtype, 0)
        if frame_bytes:
            taken = (self.frames or 0) * frame_bytes
            there = sound_data.bytes_there(Path(self.path), data, taken, frame_bytes * self.sample_rate)
            order = self._file.endian if self._file else data.order.upper()
            self._read_samples(data.start, there, frame_bytes, "LITTLE" if order == "LITTLE" else "BIG")
        if data.declared is not None and data.start + data.declared > size:
            self.ends_early = self._early(data.start + data.declared - size)

    def _early(self, missing: int) -> str:
        """Return how it ends before it should. missing: bytes that the header promises; 0 if that is not known."""
        seconds = self.seconds or 0.0
        rate = self.channels * formats.BYTES_PER_SAMPLE.get(self.subtype, 0) * self.sample_rate
        return early(seconds, seconds + missing / rate if rate and missing else None)

    def _read_samples(self, start: int, sound_bytes: int, frame_bytes: int, order: str) -> None:
        """Read uncompressed samples where they are, should libsndfile find others: a recorder may have died."""
        if self.frames == sound_bytes // frame_bytes:
            return
        if self._file:
            self._file.close()
        self._excerpt = riff.Excerpt(Path(self.path), start, sound_bytes)
        self._file = soundfile.SoundFile(
            self._excerpt,
            samplerate=self.sample_rate,
            channels=self.channels,
            format="RAW",
            subtype=self.subtype,
            endian=order,
        )
        self.frames = self._file.frames

    def _meet_end(self) -> None:
        if self._excerpt and self._done != self.frames and self._excerpt.is_whole():  # soundfile swallows exceptions
            raise AudioError(f"{self.path} cannot be read to its end")
        if self.ends_early is None and self.frames is not None and self._done + self._slack < self.frames:
            self.ends_early = early(self._done / self.sample_rate, self.frames / self.sample_rate)

    def seek(self, frame: int) -> int:
        """Let ``blocks``, called anew, begin a second before a frame, or at the start; return where that is."""
        begin = max(0, min(frame, self._file.frames) - SEEK_LEAD_SECONDS * self.sample_rate)
        try:
            with silence():
                self._file.seek(begin)
        except soundfile.LibsndfileError:  # some encodings lead only forward
            self._file.close()
            self._file, begin = sequential(soundfile.SoundFile(native(Path(self.path)))), 0
        self._done = begin
        return begin

    def _go_on(self, done: int, frames: int, reason: str) -> Iterator[np.ndarray]:
        """Read a FLAC up to where it is cut; let ffmpeg read what libsndfile cannot; what neither can is damage."""
        end = flac.last_frame(Path(self.path)) if self.format == "FLAC" and not self._from_pipe else None
        if end is not None and end >= done:
            done = yield from self._read_again(done, end, frames)
            if done == end:
                self.ends_early = early(end / self.sample_rate, self.seconds)
                return

        seconds = done / self.sample_rate
        where = f"{seconds:.1f} s ({reason})"
        if self._from_pipe:
            raise AudioError(f"{self.path} is damaged somewhere after {where}")
        if not ffmpeg.installed():
            raise AudioError(f"{self.path} cannot be read after {where}; install ffmpeg, which may read it")
        try:
            with ffmpeg.MediaReader(Path(self.path), strict=True) as other:
                if (other.sample_rate, other.channels) != (self.sample_rate, self.channels):
                    raise AudioError("another decoder finds other sound")
                for block in other.blocks(frames):
                    if len(block) > done:
                        yield block[done:]
                    done = max(0, done - len(block))
            if self.format == "FLAC":  # whose frames have checksums, which ffmpeg does not look at
                self.damage = damaged([seconds])
        except AudioError:  # the first error says it better
            raise AudioError(f"{self.path} is damaged somewhere after {where}") from None

    def _read_again(self, done: int, end: int, frames: int) -> Generator[np.ndarray, None, int]:
        """Yield the frames from ``done`` to ``end``, as far as they can be read; return how far that is.

        libsndfile gives nothing of a block in which it fails.
        """
        with sequential(soundfile.SoundFile(native(Path(self.path)))) as file:
            position = 0
            while position < end:
                wanted = min(frames, (done if position < done else end) - position)
                try:
                    block: np.ndarray = file.read(wanted, dtype="float32", always_2d=True)
                except soundfile.LibsndfileError:
                    break
                if len(block) == 0:
                    break
                if position >= done:
                    yield block
                position += len(block)
        return max(done, position)

    def close(self) -> None:
        """Close the file; doing it twice is harmless."""
        super().close()
        if self._excerpt:
            self._excerpt.close()


def open_bytes(file: BinaryIO) -> Any:
    """Open what a file holds that Python has opened. Raises AudioError if libsndfile cannot read it."""
    try:
        return sequential(soundfile.SoundFile(file))
    except soundfile.LibsndfileError as error:
        raise AudioError(error.error_string) from None


def native(path: Path) -> str | bytes:
    """Return a name that soundfile passes on as it is, even if it is not valid UTF-8."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def sequential(file: Any) -> Any:
    """Keep soundfile from seeking after each block: an MP3 decoder starts anew there, audibly."""
    file.seekable = lambda: False
    return file
