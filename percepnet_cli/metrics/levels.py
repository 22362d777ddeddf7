"""Ratios of energies, full band: SNR, SI-SDR, segmental SNR."""

from __future__ import annotations

import math

import numpy as np

SEGMENT_SECONDS = 0.030
SEGMENT_OVERLAP = 4
"""Segments of 30 ms, one every quarter of that (Loizou, Speech Enhancement, 2nd ed., ch. 11)."""

SEGMENT_LOWEST_DB, SEGMENT_HIGHEST_DB = -10.0, 35.0
"""Each segment's ratio is held within these: silence and perfection must not outweigh speech (same)."""


def snr(clean: np.ndarray, noisy: np.ndarray) -> float:
    """Energy of the clean signal over that of the difference, dB, of an aligned pair of one level.

    clean, noisy: float [n]. NaN if there is no clean signal, infinity if there is no difference.
    """
    clean, noise = clean.astype(np.float64), np.subtract(noisy, clean, dtype=np.float64)
    if not clean.any():
        return math.nan
    return 10 * math.log10((clean @ clean) / (noise @ noise)) if noise.any() else math.inf


def si_sdr(clean: np.ndarray, test: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of an aligned pair, means removed.

    Le Roux et al., "SDR - half-baked or well done?", 2019. clean, test: float [n]. Held within 150 dB either way;
    NaN when one of the two is silent.
    """
    if not (len(clean) and len(test)):
        return math.nan
    clean, test = clean.astype(np.float64), test.astype(np.float64)
    clean, test = clean - clean.mean(), test - test.mean()
    if not (clean.any() and test.any()):
        return math.nan
    target = clean * ((test @ clean) / (clean @ clean))
    distortion = test - target
    floor = 1e-15 * (test @ test)
    return 10 * math.log10(max(target @ target, floor) / max(distortion @ distortion, floor))


def segmental_snr(clean: np.ndarray, test: np.ndarray, rate: int) -> float:
    """Mean over Hann-windowed segments of the SNR in dB, each held within -10 and 35, of an aligned pair.

    Feels the level: a quieter copy is not a perfect one. clean, test: float [n] at ``rate`` Hz. Segments without any
    clean signal are left out; NaN if there is none with.
    """
    size = round(SEGMENT_SECONDS * rate)
    if len(clean) < size:
        return math.nan
    window = np.hanning(size + 2)[1:-1]
    step = max(1, size // SEGMENT_OVERLAP)
    starts = np.arange(0, len(clean) - size + 1, step)
    ratios = []
    for start in starts:
        part = slice(start, start + size)
        reference = clean[part].astype(np.float64) * window
        energy = reference @ reference
        if energy == 0:
            continue
        difference = reference - test[part].astype(np.float64) * window
        noise = difference @ difference
        ratio = 10 * math.log10(energy / noise) if noise > 0 else math.inf
        ratios.append(min(max(ratio, SEGMENT_LOWEST_DB), SEGMENT_HIGHEST_DB))
    return float(np.mean(ratios)) if ratios else math.nan
