"""The door to libsndfile: its files opened for reading and for writing."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from percepnet_cli.audio import bitrate, ffmpeg, flac, formats, riff, sound_data
from percepnet_cli.audio.decoder_messages import DecoderMessages, silence
from percepnet_cli.audio.formats import Layout, Source, check_sample_rate, damaged, early
from percepnet_cli.audio.framing import Extent
from percepnet_cli.audio.samples import rounded
from percepnet_cli.errors import AudioError, UnknownFormatError
from percepnet_cli.storage.atomic import PendingFile

UNREADABLE_SIZE = 65536
"""Bytes of a file without a single frame that cannot be mere header and tags."""

WRITE_FRAMES = 16384
"""Frames handed to libsndfile at once: its Vorbis encoder keeps a copy of them on the stack."""

LAST_FRAMES = 4096
"""Frames decoded at the end of a new file, to see that it has them."""

PADDED = {"MPEG_LAYER_III"}
"""Encodings whose number of frames may come out larger than it was."""

TAG_NAMES = ("title", "copyright", "artist", "comment", "date", "album", "license", "tracknumber", "genre")
"""Tags that libsndfile knows; its "software" is its own affair."""

ADD_PEAK_CHUNK = 0x1050
"""Command of libsndfile (sndfile.h)."""

SEEK_LEAD_SECONDS = 1
"""Sound before a position that a decoder hears when it jumps there, so that it gives what it would have given."""

INTEGER_BITS = {
    "PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "ALAC_16": 16, "ALAC_24": 24, "ALAC_32": 32,
}  # fmt: skip
"""Encodings that are integers of so many bits."""


class OpenFile(Source):
    """What an open file of libsndfile holds, read once from start to end; a context manager.

    Parameters
    ----------
    path : Path
        Its name for the user.
    file : SoundFile or None
        The file; None if it is opened later.
    layout : tuple
        Rate, channels, frames, container, encoding, tags; None: those of the file.
    """

    def __init__(self, path: Path, file: Any, layout: tuple[Any, ...] | None = None) -> None:
        layout = layout or (
            file.samplerate,
            file.channels,
            file.frames,
            file.format,
            file.subtype,
            file.copy_metadata(),
        )
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
                file = _sequential(soundfile.SoundFile(_native(path)))
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
            self._file, begin = _sequential(soundfile.SoundFile(_native(Path(self.path)))), 0
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
        with _sequential(soundfile.SoundFile(_native(Path(self.path)))) as file:
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
        return _sequential(soundfile.SoundFile(file))
    except soundfile.LibsndfileError as error:
        raise AudioError(error.error_string) from None


class Encoder:
    """Writes the samples of a new file through libsndfile.

    Parameters
    ----------
    pending : PendingFile
        Where they go.
    container, subtype : str
        From ``formats.choose``.
    like : Layout
        The input: rate, channels, tags, expected length, bitrate.
    quality : float or None
        0 to 10 for lossy encodings, in place of the input's bitrate.

    Raises
    ------
    AudioError
        If the format cannot hold this sound.
    """

    def __init__(
        self, pending: PendingFile, container: str, subtype: str, like: Layout, quality: float | None = None
    ) -> None:
        self._bits, self._subtype = INTEGER_BITS.get(subtype), subtype
        lossy: dict[str, Any] = {}
        if subtype in bitrate.LOSSY and quality is not None:
            lossy["compression_level"] = min(1 - quality / 10, bitrate.MOST_COMPRESSED)
        elif subtype in bitrate.LOSSY and like.bits_per_second:
            level = bitrate.compression_level(subtype, like.bits_per_second, like.sample_rate, like.channels)
            lossy["compression_level"] = level
        if subtype == "MPEG_LAYER_III" and lossy:
            # small frames of a constant bitrate have no room for the header that tells the length
            lossy["bitrate_mode"] = "AVERAGE" if quality is None else "VARIABLE"
        try:
            self._file = soundfile.SoundFile(
                _native(pending.path) if pending.path is not None else pending.descriptor,
                mode="w",
                samplerate=like.sample_rate,
                channels=like.channels,
                format=container,
                subtype=subtype,
                closefd=False,
                **lossy,
            )
        except soundfile.LibsndfileError:
            raise AudioError(f"{container} does not take {like.channels} channels at {like.sample_rate} Hz") from None

        # the chunk of peaks holds the time of writing: no two runs would give the same bytes
        _command(self._file, ADD_PEAK_CHUNK, False)

        _sequential(self._file)
        self._copy_tags(container, like.tags)

    def _copy_tags(self, container: str, tags: dict[str, str]) -> None:
        for name in TAG_NAMES:
            if name in tags and container not in formats.TAGGED:
                with suppress(soundfile.LibsndfileError):  # a container without tags
                    setattr(self._file, name, tags[name])

    def write(self, block: np.ndarray) -> None:
        """Append float32 [n, channels]; integers are clipped and rounded. Raises OSError if the disk is full."""
        if self._bits is not None:  # libsndfile itself rounds down when it clips
            block = rounded(block, self._bits) << (32 - self._bits)
        for start in range(0, len(block), WRITE_FRAMES):
            try:
                self._file.write(block[start : start + WRITE_FRAMES])
            except (soundfile.LibsndfileError, AssertionError):  # soundfile asserts that all was written
                raise OSError from None

    def finish(self) -> None:
        """Write the rest and close the file. Raises AudioError, or OSError."""
        try:
            self._file.close()
        except soundfile.LibsndfileError as error:
            raise AudioError(error.error_string) from None

    def tag_names(self, file: BinaryIO) -> set[str]:
        """Return which tags the finished file, opened anew, has."""
        file.seek(0)
        with suppress(soundfile.LibsndfileError), soundfile.SoundFile(file) as found:
            return set(found.copy_metadata())
        return set()

    def holds(self, file: BinaryIO, frames: int) -> bool:
        """Return whether the finished file, opened anew, has so many frames; the last ones are decoded.

        What is lost in the middle is noticed when it is written; at the end, encoders write without being asked.
        """
        try:
            with silence(), soundfile.SoundFile(file) as found:
                # an MP3 of small frames has no room for its true length and counts the encoder's padding
                if found.frames < frames or (found.frames > frames and self._subtype not in PADDED):
                    return False
                last = min(found.frames, LAST_FRAMES)
                found.seek(found.frames - last)
                return len(found.read(last + 1, dtype="float32", always_2d=True)) == last
        except (soundfile.LibsndfileError, OSError):
            return False

    def discard(self) -> None:
        """Close the file, whatever it holds; doing it twice is harmless."""
        with suppress(soundfile.LibsndfileError):  # what is thrown away need not be whole
            self._file.close()


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
