"""Where speech is in a recording, as a file: a table, subtitles, or labels for Audacity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from percepnet_cli.errors import AudioError
from percepnet_cli.storage.target import check_file, write_file

BEGINS_ABOVE, ENDS_BELOW = 0.6, 0.4
"""Probabilities of speech at which a segment of it begins and ends."""

SHORTEST_SECONDS = 0.1
LONGEST_GAP_SECONDS = 0.3
"""Shorter speech is none; a shorter pause belongs to the speech around it."""


class Segment(NamedTuple):
    """Speech without a pause: seconds, and the mean probability."""

    begin: float
    end: float
    probability: float


def segments(probability: np.ndarray, hop_seconds: float) -> list[Segment]:
    """Return where speech is. probability: float32 [hops], 0..1, a row every so many seconds."""
    found: list[list[int]] = []
    inside = False
    for hop, value in enumerate(probability):
        if not inside and value > BEGINS_ABOVE:
            # Goes on from the last if the pause between them was short
            if found and (hop - found[-1][1]) * hop_seconds < LONGEST_GAP_SECONDS:
                found[-1][1] = hop + 1
            else:
                found.append([hop, hop + 1])
            inside = True
        elif inside and value < ENDS_BELOW:
            inside = False
        if inside:
            found[-1][1] = hop + 1
    return [
        Segment(first * hop_seconds, end * hop_seconds, float(np.mean(probability[first:end])))
        for first, end in found
        if (end - first) * hop_seconds >= SHORTEST_SECONDS
    ]


def _table(probability: np.ndarray, hop_seconds: float) -> Iterator[str]:
    yield "seconds,speech_probability"
    for hop, value in enumerate(probability):
        yield f"{hop * hop_seconds:.2f},{value:.3f}"


def _subtitles(probability: np.ndarray, hop_seconds: float) -> Iterator[str]:
    for number, one in enumerate(segments(probability, hop_seconds), 1):
        yield f"{number}"
        yield f"{_clock(one.begin)} --> {_clock(one.end)}"
        yield f"speech {100 * one.probability:.0f} %"
        yield ""


def _clock(seconds: float) -> str:
    """Return a time as subtitles have it, 01:02:03,456."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d},{rest % 1000:03d}"


def _labels(probability: np.ndarray, hop_seconds: float) -> Iterator[str]:
    for one in segments(probability, hop_seconds):
        yield f"{one.begin:.6f}\t{one.end:.6f}\tspeech"


FORMATS: dict[str, Callable[[np.ndarray, float], Iterator[str]]] = {
    ".csv": _table,
    ".srt": _subtitles,
    ".txt": _labels,
}
"""By extension: the probability every 10 ms, subtitles, labels of Audacity."""


def check(path: Path, force: bool) -> None:
    """Raise AudioError if no such file can be written: an unknown extension, or it exists and may not be replaced."""
    if path.suffix.lower() not in FORMATS:
        raise AudioError(f"{path}: speech is written as .csv (a table), .srt (subtitles) or .txt (labels of Audacity)")
    check_file(path, force, error=AudioError)


def write(path: Path, probability: np.ndarray, hop_seconds: float, force: bool = False) -> None:
    """Write where speech is, in the format of the extension; arguments as of ``segments``. Raises AudioError."""
    lines = FORMATS[path.suffix.lower()](probability, hop_seconds)
    text = "".join(f"{line}\n" for line in lines)
    write_file(path, lambda part: part.write_text(text, encoding="utf-8"), force, AudioError)
