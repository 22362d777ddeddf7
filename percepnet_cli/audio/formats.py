"""Sound files from outside: which container and encoding to write, and what can be told without decoding.

Names of containers and encodings are soundfile's ("WAV", "PCM_24").
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from percepnet_cli.audio.suffixes import CONTAINERS, FFMPEG_CONTAINERS, OGG_SUFFIXES
from percepnet_cli.errors import AudioError

if TYPE_CHECKING:
    import numpy as np

MIN_SAMPLE_RATE = 8000
MAX_SAMPLE_RATE = 192000
"""Hz; what ``open_reader`` lets through."""


@dataclass(eq=False)
class Layout:
    """What a sound file says of itself.

    Attributes
    ----------
    sample_rate : int
        Hz.
    channels : int
        At least 1.
    frames : int or None
        Length by the header, None if it does not say; what can be read may be less.
    format, subtype : str
        Container and encoding.
    tags : dict
        Text tags by soundfile's names: title, artist, comment...
    first_frame : int or None
        Of an excerpt, the frame of its file with which it begins; None: it is the whole.
    path : Path or str
        Its name for the user; what was never a file is "the recording".
    bits_per_second : float or None
        Of a lossy encoding, as far as it is known.
    chapters : list
        Begin and end in seconds, name; of what ffmpeg reads.
    ogg_flac : bool
        Whether it is FLAC in Ogg, which libsndfile does not write.
    """

    sample_rate: int
    channels: int
    frames: int | None
    format: str
    subtype: str
    tags: dict[str, str] = field(default_factory=dict)
    first_frame: int | None = None
    path: Path | str = field(default="the recording", init=False)
    bits_per_second: float | None = field(default=None, init=False)
    chapters: list[tuple[float, float, str]] = field(default_factory=list, init=False)
    ogg_flac: bool = field(default=False, init=False)

    @property
    def seconds(self) -> float | None:
        """Length as far as it is known."""
        return None if self.frames is None else self.frames / self.sample_rate


def early(seconds: float, expected_seconds: float | None = None) -> str:
    """Return how a source ends before it should, as the end of a sentence.

    >>> early(4, 8)
    'ends early, after 4.0 s of 8.0 s'
    """
    return f"ends early, after {seconds:.1f} s" + (f" of {expected_seconds:.1f} s" if expected_seconds else "")


def damaged(seconds: list[float]) -> str | None:
    """Return where a source is damaged, by the times of all places, as the end of a sentence; None if nowhere.

    >>> damaged([4])
    'is damaged after 4.0 s'
    >>> damaged([4, 6])
    'is damaged in 2 places, the first after 4.0 s'
    """
    if not seconds:
        return None
    places = f"in {len(seconds)} places, the first " if len(seconds) > 1 else ""
    return f"is damaged {places}after {seconds[0]:.1f} s"


class Source(Layout):
    """What can be read, once, from start to end; a context manager.

    Attributes
    ----------
    ends_early : str or None
        How it ends before it should, as the end of a sentence; known for certain when all has been read.
    damage : str or None
        Where something within it is broken and yet read, as the end of a sentence; known as late.
    first_not_finite : int or None
        The first frame so far that held NaN or infinity; None if there was none.
    seeks_exactly : bool
        Whether ``seek`` leads to the very sample: what follows is what reading up to there would have given, but for
        traces of what a decoder remembers.
    """

    ends_early: str | None = None
    damage: str | None = None
    first_not_finite: int | None = None
    seeks_exactly: bool = False

    @property
    def warning(self) -> str | None:
        """What is wrong with it, as the end of a sentence; None if it is whole, as far as that can be known."""
        return " and ".join(filter(None, (self._not_finite, self.damage, self.ends_early))) or None

    @property
    def _not_finite(self) -> str | None:
        if self.first_not_finite is None:
            return None
        return f"holds NaN or infinity, taken as 0, the first after {self.first_not_finite / self.sample_rate:.1f} s"

    def _make_finite(self, block: np.ndarray, begin: int) -> None:
        """Let NaN and infinity be 0, and keep in mind that they were there. begin: the block's first frame."""
        import numpy as np  # long there, where there are samples

        finite = np.isfinite(block)
        if finite.all():
            return
        np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        if self.first_not_finite is None:
            self.first_not_finite = begin + int(np.argmin(finite.all(axis=1)))

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Yield float32 [n, channels], C-contiguous, 0 < n <= frames, finite. Raises AudioError."""
        raise NotImplementedError

    def seek(self, frame: int) -> int:
        """Let ``blocks``, called anew, begin at a frame or before it; return where. What is no pipe can do that."""
        raise NotImplementedError

    def close(self) -> None:
        """End reading; doing it twice is harmless."""
        raise NotImplementedError

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def check_sample_rate(path: object, sample_rate: int) -> None:
    """Raise AudioError if the rate of a file, Hz, is out of range."""
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{path} has a sample rate of {sample_rate} Hz; {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz can be processed"
        )


BYTES_PER_SAMPLE = {
    "PCM_U8": 1, "PCM_S8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4,
    "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip
"""Uncompressed encodings."""

_RIFF = {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
_APPLE = _RIFF - {"PCM_U8"} | {"PCM_S8"}
ENCODINGS = {
    "WAV": _RIFF, "WAVEX": _RIFF, "RF64": _RIFF, "W64": _RIFF,
    "AIFF": _APPLE | {"PCM_U8"}, "AU": _APPLE,
    "CAF": _APPLE | {"ALAC_16", "ALAC_24", "ALAC_32"},
    "FLAC": {"PCM_S8", "PCM_16", "PCM_24"},
    "OGG": {"VORBIS", "OPUS"}, "MP3": {"MPEG_LAYER_III"},
}  # fmt: skip
"""What is written into a container: the encodings that keep the number of frames. (ADPCM, GSM and
their kind fill up their last packet; libsndfile's ALAC_20 does not return what went in.)"""

SUBSTITUTES = {
    "DOUBLE": ("FLOAT", "PCM_24"), "FLOAT": ("PCM_24",), "PCM_32": ("PCM_24",),
    "PCM_U8": ("PCM_S8",), "PCM_S8": ("PCM_U8",), "DWVW_24": ("PCM_24",),
    "ALAC_20": ("PCM_24",), "ALAC_24": ("PCM_24",), "ALAC_32": ("PCM_32", "PCM_24"),
}  # fmt: skip
"""Next best encodings where a container lacks the input's own."""

LAST_RESORTS = ("PCM_16", "VORBIS", "MPEG_LAYER_III")
"""One of them fits into every container."""

UNBOUNDED_ENCODINGS = {"MEDIA", "FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_III"}
"""These hold values beyond full scale, or deal with them."""

TAGGED = {"FLAC", "OGG", "MP3"}
"""Containers whose tags are written when the samples are."""

OPUS_SAMPLE_RATES = (8000, 12000, 16000, 24000, 48000)

SIZE_LIMIT = 2**32 - 2**20
"""Bytes of samples for which the 32-bit sizes in WAV, AIFF and AU suffice, with room for the tags."""


def choose(path: Path, like: Layout) -> tuple[str, str]:
    """Return container and encoding for a new file.

    Parameters
    ----------
    path : Path
        Its extension decides on the container.
    like : Layout
        The input.

    Raises
    ------
    AudioError
        If the extension is unknown, or the format cannot hold this sound.
    """
    extension = path.suffix.lower()
    if extension in FFMPEG_CONTAINERS or (like.ogg_flac and extension in OGG_SUFFIXES):
        return "MEDIA", "MEDIA"
    if extension not in CONTAINERS:
        known = " ".join((*CONTAINERS, *FFMPEG_CONTAINERS))
        raise AudioError(f"{path} needs an extension that tells its format: {known}")
    container = CONTAINERS[extension]
    if container == "WAV" and like.format in ("WAVEX", "RF64"):
        container = like.format
    encoding = "OPUS" if extension == ".opus" else _choose_encoding(container, like)
    if encoding == "OPUS" and like.sample_rate not in OPUS_SAMPLE_RATES:
        rates = ", ".join(str(rate) for rate in OPUS_SAMPLE_RATES)
        raise AudioError(f"{path} cannot be written: Opus takes {rates} Hz, not {like.sample_rate} Hz")
    if (like.frames or 0) * like.channels * BYTES_PER_SAMPLE.get(encoding, 0) > SIZE_LIMIT:
        if container in ("WAV", "WAVEX"):
            container = "RF64"
        elif container in ("AIFF", "AU"):
            raise AudioError(f"{path} would pass 4 GiB, too much for {container}: use .wav or .w64")
    return container, encoding


def _choose_encoding(container: str, like: Layout) -> str:
    usable = ENCODINGS[container]
    if container == "AIFF" and like.channels % 2:
        # libsndfile counts the padding after an odd number of bytes as one more frame
        usable = {encoding for encoding in usable if BYTES_PER_SAMPLE[encoding] > 1}
    wanted = (like.subtype, *SUBSTITUTES.get(like.subtype, ()), *LAST_RESORTS)
    return next(encoding for encoding in wanted if encoding in usable)


def readable_size(path: Path) -> int | None:
    """Return the bytes of a file, None for a pipe; raise AudioError if it cannot be read."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise AudioError(f"{path} does not exist") from None
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path} is a folder, not a sound file")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path} cannot be read: permission denied")
    if not stat.S_ISREG(status.st_mode):
        return None
    if status.st_size == 0:
        raise AudioError(f"{path} is empty")
    return status.st_size
