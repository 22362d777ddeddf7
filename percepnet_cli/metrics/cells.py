"""What a network's gains do to speech and to noise, cell by cell: a cell is one band in one hop.

A mean loss does not tell speech that is taken away from noise that is left, nor where either happens. These
measures do. Each needs the ideal gains, so they are for mixtures whose clean speech is known.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from percepnet_cli.constants import BAND_HZ

LEAST_GAIN = 0.01
"""Gains below -40 dB count as that: more is not heard."""

NEAR_DB = 30.0
"""A cell matters within this of the loudest band of its hop; a hop is active speech within this of the loud hops."""

SPEECH_GAIN = 0.7
"""Speech dominates a cell whose ideal gain is above this: at least as much speech as noise."""

NOISE_GAIN = 0.1
"""Noise dominates a cell whose ideal gain is below this: 20 dB more noise than speech."""

HARMONIC_COHERENCE = 0.7
"""Above this coherence with its comb-filtered copy a cell is harmonic."""

PAUSE_HOPS = 20
"""An onset of speech follows a pause of at least 200 ms."""

ONSET_HOPS = 8
"""It lasts 80 ms."""

CUT_DB = 6.0
"""An onset that loses more level than this is cut."""

TREBLE_BANDS = tuple(band for band, hz in enumerate(BAND_HZ) if hz > 8000)
"""Bands above 8 kHz, where many recordings of speech hold nothing."""


class Gains(NamedTuple):
    """The gains of one recording and what is needed to judge them, float32 [hops, 34] each."""

    found: np.ndarray
    """The network's, 0..1."""
    ideal: np.ndarray
    """0..1."""
    energy: np.ndarray
    """Band energies of the noisy windows, any scale."""
    coherence: np.ndarray
    """Of the noisy windows with their comb-filtered copies, 0..1."""
    known: np.ndarray
    """Above 0 where the ideal gain is known."""


class CellLevels(NamedTuple):
    """Levels in dB, means over cells; NaN where there are no such cells."""

    speech_db: float
    """Level error of cells that speech dominates: below 0, speech is taken away."""
    speech_worst_db: float
    """The tenth of them with the largest loss begins here."""
    noise_db: float
    """Level that is left of cells that noise dominates, while someone speaks."""
    harmonic_db: float
    """The same for cells of harmonic noise, in all hops."""
    onsets: int
    """Onsets of speech."""
    onsets_cut: int
    """Those that lose more than 6 dB."""
    treble_error: tuple[float, ...]
    """Mean error of the gain in each band above 8 kHz in active hops, -1..1."""


def cell_levels(gains: Gains) -> CellLevels:
    """Measure one recording."""
    found, ideal = (np.asarray(part, np.float64) for part in (gains.found, gains.ideal))
    energy = np.asarray(gains.energy, np.float64)
    known = np.asarray(gains.known) > 0
    speech = known * ideal**2 * energy

    # Which hops are speech, and which cells of them matter
    active = active_hops(speech)
    near = 10 ** (-NEAR_DB / 10)
    loud = known & (energy > near * energy.max(axis=1, keepdims=True))
    loud_speech = active[:, None] & (speech > near * speech.max(axis=1, keepdims=True))

    # Levels of the gains, none of them below what is heard
    found_db = 20 * np.log10(np.maximum(found, LEAST_GAIN))
    ideal_db = 20 * np.log10(np.maximum(ideal, LEAST_GAIN))
    errors = (found_db - ideal_db)[loud_speech & (ideal > SPEECH_GAIN)]
    of_noise = loud & (ideal < NOISE_GAIN)
    harmonic = of_noise & (gains.coherence > HARMONIC_COHERENCE)

    begins = onsets(active)
    cut = sum(_loss_db(speech, found, slice(hop, hop + ONSET_HOPS)) > CUT_DB for hop in begins)
    return CellLevels(
        speech_db=_mean(errors),
        speech_worst_db=float(np.percentile(errors, 10)) if errors.size else math.nan,
        noise_db=_mean(found_db[of_noise & active[:, None]]),
        harmonic_db=_mean(found_db[harmonic]),
        onsets=len(begins),
        onsets_cut=int(cut),
        treble_error=tuple(_mean((found - ideal)[active & known[:, band], band]) for band in TREBLE_BANDS),
    )


def mean_levels(levels: list[CellLevels]) -> CellLevels:
    """Return the means over recordings that have such cells, and the sums of the onsets."""

    def mean(values: list[float]) -> float:
        there = [value for value in values if not math.isnan(value)]
        return sum(there) / len(there) if there else math.nan

    return CellLevels(
        speech_db=mean([one.speech_db for one in levels]),
        speech_worst_db=mean([one.speech_worst_db for one in levels]),
        noise_db=mean([one.noise_db for one in levels]),
        harmonic_db=mean([one.harmonic_db for one in levels]),
        onsets=sum(one.onsets for one in levels),
        onsets_cut=sum(one.onsets_cut for one in levels),
        treble_error=tuple(mean(list(band)) for band in zip(*(one.treble_error for one in levels), strict=True)),
    )


def active_hops(speech: np.ndarray) -> np.ndarray:
    """Return which hops are active speech: within 30 dB of the loud ones, the tenth above the 90th percentile.

    speech: float [hops, bands], energies. Returns bool [hops].
    """
    total = speech.sum(axis=1)
    there = total[total > 0]
    if not there.size:
        return np.zeros(len(total), bool)
    return np.asarray(total > 10 ** (-NEAR_DB / 10) * np.percentile(there, 90))


def onsets(active: np.ndarray) -> list[int]:
    """Return the hops at which speech sets in after a pause; only those that lie whole in the recording.

    active: bool [hops]. The start of the recording is no onset: what was before it is not known.
    """
    starts = np.flatnonzero(active[1:] & ~active[:-1]) + 1
    return [
        int(hop)
        for hop in starts
        if hop >= PAUSE_HOPS and not active[hop - PAUSE_HOPS : hop].any() and hop + ONSET_HOPS <= len(active)
    ]


def _loss_db(speech: np.ndarray, found: np.ndarray, part: slice) -> float:
    """Return by how much the speech of some hops is lowered."""
    before = speech[part].sum()
    after = (found[part] ** 2 * speech[part]).sum()
    return float(10 * math.log10(before / max(after, 1e-12 * before)))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan
