"""The other door to libsndfile: its files opened for writing."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
import soundfile

from percepnet_cli.audio import bitrate, formats
from percepnet_cli.audio.decoder_messages import silence
from percepnet_cli.audio.formats import Layout
from percepnet_cli.audio.samples import rounded
from percepnet_cli.audio.sndfile import native, sequential
from percepnet_cli.errors import AudioError
from percepnet_cli.storage.atomic import PendingFile

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

INTEGER_BITS = {
    "PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "ALAC_16": 16, "ALAC_24": 24, "ALAC_32": 32,
}  # fmt: skip
"""Encodings that are integers of so many bits."""


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
                native(pending.path) if pending.path is not None else pending.descriptor,
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

        sequential(self._file)
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


def _command(file: Any, number: int, value: bool) -> None:
    """Switch something that soundfile has no name for."""
    soundfile._snd.sf_command(file._file, number, soundfile._ffi.NULL, int(value))
