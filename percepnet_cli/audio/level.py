"""Recordings that are much too soft: the power of two that brings them to a level the network knows.

A recording far below all that the network has heard loses speech (docs/decisions.md). Files are read ahead until it is
certain that they are loud enough, which takes a second of sound; the soft ones are read to their end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np

from percepnet_cli.audio.formats import Source

SOFT_DB = -40.0
"""dB of full scale; a recording whose level is below is raised."""

USUAL_DB = -24.0
"""dB of full scale, to which it is raised, give or take 3 dB."""

MOST_DOUBLINGS = 126
"""Samples of 1e-41 would want a factor that float32 does not hold."""

HEARD_HOPS = 100
SHARE_OF_SHORT = 10
"""The level is what so many segments of 10 ms reach, of short recordings one in so many."""

HOPS_PER_SECOND = 100

READ_AHEAD_BYTES = 2**24
"""What is kept of a recording while its level is looked for."""


class LevelMeter:
    """Finds the level that a second of a recording reaches.

    Parameters
    ----------
    sample_rate : int
        Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._hop = max(1, sample_rate // HOPS_PER_SECOND)
        self._loudest = np.zeros(0)  # mean squares of the loudest segments
        self._count = 0
        self._rest: np.ndarray | None = None

    def add(self, block: np.ndarray) -> None:
        """Take the next samples, float32 [n, channels]. Of the channels the loudest counts."""
        if self._rest is not None:
            block = np.concatenate((self._rest, block))
        whole = len(block) // self._hop * self._hop
        self._rest = block[whole:].copy()

        hops = block[:whole].reshape(-1, self._hop, block.shape[1]).astype(np.float64)
        energy = (hops**2).mean(axis=1).max(axis=1)
        self._count += len(energy)
        self._loudest = np.sort(np.concatenate((self._loudest, energy)))[-HEARD_HOPS:]

    @property
    def loud_enough(self) -> bool:
        """Whether the recording is not soft, whatever is still to come."""
        return len(self._loudest) == HEARD_HOPS and self._loudest[0] > 10 ** (SOFT_DB / 10)

    @property
    def level_db(self) -> float:
        """Level so far, dB of full scale; -inf of digital silence, and of less than 10 ms."""
        place = min(max(self._count // SHARE_OF_SHORT, 1), HEARD_HOPS)
        energy = self._loudest[-place] if len(self._loudest) else 0.0
        return float(10 * np.log10(energy)) if energy > 0 else -np.inf

    @property
    def gain(self) -> float:
        """Factor for the recording, a power of two: 1 unless it is soft."""
        level_db = self.level_db
        if not -np.inf < level_db < SOFT_DB:
            return 1.0
        doublings = round((USUAL_DB - level_db) / (20 * np.log10(2)))
        return float(2.0 ** min(doublings, MOST_DOUBLINGS))


def raised(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, float]:
    """Return a whole recording, float32 [n, channels], as loud as the network knows it, and the factor for that."""
    meter = LevelMeter(sample_rate)
    for start in range(0, len(samples), sample_rate):
        meter.add(np.nan_to_num(samples[start : start + sample_rate], nan=0.0, posinf=0.0, neginf=0.0))
        if meter.loud_enough:
            return samples, 1.0
    gain = meter.gain
    return (samples, gain) if gain == 1 else (samples * np.float32(gain), gain)


def find_gain(
    blocks: Iterator[np.ndarray], sample_rate: int, reopen: Callable[[], Source], frames: int
) -> tuple[float, Iterator[np.ndarray]]:
    """Read ahead until it is known whether a recording is soft.

    Parameters
    ----------
    blocks : iterator of ndarray
        The recording, float32 [n, channels].
    sample_rate : int
        Hz.
    reopen : callable
        Opens it again, should it be long and soft.
    frames : int
        Length of a block.

    Returns
    -------
    gain : float
        A power of two, 1 for all but soft recordings.
    blocks : iterator of ndarray
        The recording as it was, from its start.
    """
    meter, kept, size = LevelMeter(sample_rate), [], 0
    for block in blocks:
        kept.append(block)
        meter.add(block)
        if meter.loud_enough:
            return 1.0, chain(kept, blocks)
        size += block.nbytes
        if size > READ_AHEAD_BYTES:
            break
    else:
        return meter.gain, iter(kept)

    # too long to be kept: look at all of it, then go on where the first reading stopped
    meter = LevelMeter(sample_rate)
    with reopen() as again:
        for block in again.blocks(frames):
            meter.add(block)
            if meter.loud_enough:
                break
    return meter.gain, chain(kept, blocks)
