"""All scores of one recording against its clean reference.

None of PESQ's frames, STOI's segments or SI-SDR's samples forgive a shift, so a constant delay is measured and taken
out first, and reported beside the scores.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from percepnet_cli.audio.resample import resample
from percepnet_cli.extras import listed, missing, sentence
from percepnet_cli.metrics import perceptual
from percepnet_cli.metrics.alignment import MAX_DELAY_MS, constant_delay, overlap
from percepnet_cli.metrics.levels import segmental_snr, si_sdr

SCORES = (
    "pesq_wb", "stoi", "estoi", "si_sdr", "segmental_snr", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808",
)  # fmt: skip
"""Keys of ``score_pair`` that are better when higher."""

NEEDED = {"PESQ": ("pesq",), "STOI": ("pystoi",), "DNSMOS": ("speechmos", "onnxruntime", "librosa")}
"""Groups of scores that need packages."""


def available() -> tuple[set[str], str | None]:
    """Return the groups of NEEDED that can be computed, and a sentence about the others; nothing is imported."""
    lacking = {group: missing(*modules) for group, modules in NEEDED.items()}
    without = [group for group, modules in lacking.items() if modules]
    if not without:
        return set(NEEDED), None
    modules = [module for group in without for module in lacking[group]]
    return set(NEEDED) - set(without), sentence(listed(without), modules)


def score_pair(
    clean: np.ndarray, test: np.ndarray, rate: int, groups: Collection[str] = tuple(NEEDED)
) -> dict[str, float]:
    """Score mono recordings of one rate: ``SCORES``, ``delay_ms``, ``length_difference``.

    clean, test: float [n], [m] at ``rate`` Hz. groups: those of NEEDED to compute. Scores that are not defined for the
    pair (silence, no speech) are NaN. ``length_difference`` is in samples, positive when ``test`` is longer; it is
    taken before alignment, as a user would find it in the files. Raises ValueError if a sample is not finite.
    """
    if not (np.isfinite(clean).all() and np.isfinite(test).all()):
        raise ValueError("samples that are not finite")
    clean, test = clean.astype(np.float64), test.astype(np.float64)
    delay = constant_delay(clean, test, limit=rate * MAX_DELAY_MS // 1000)
    length_difference = len(test) - len(clean)
    clean, test = overlap(clean, test, delay)
    scores = dict.fromkeys(SCORES, math.nan)
    clean16, test16 = (resample(samples, rate, perceptual.RATE) for samples in (clean, test))
    if len(clean16) and "PESQ" in groups:
        scores["pesq_wb"] = perceptual.pesq_wb(clean16, test16)
    if len(clean16) and "STOI" in groups:
        scores["stoi"] = perceptual.stoi(clean16, test16)
        scores["estoi"] = perceptual.stoi(clean16, test16, extended=True)
    scores["si_sdr"] = si_sdr(clean, test)
    scores["segmental_snr"] = segmental_snr(clean, test, rate)
    if len(test16) and "DNSMOS" in groups:
        scores |= perceptual.dnsmos(test16)
    return scores | {"delay_ms": 1000 * delay / rate, "length_difference": length_difference}
