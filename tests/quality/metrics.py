"""Objective scores of one enhanced recording against its clean reference.

PESQ, STOI and DNSMOS are defined on 16 kHz audio, SI-SDR is taken over the full
band. None of PESQ's frames, STOI's segments or SI-SDR's samples forgive a shift,
so a constant delay is measured and taken out first, and reported beside the scores.
"""

from __future__ import annotations

import math

import numpy as np
import soxr
from pesq import NoUtterancesError, pesq
from pystoi import stoi as pystoi
from speechmos import dnsmos as speechmos

RATE = 48_000
"""Hz of the recordings compared."""

NARROW_RATE = 16_000
"""Hz that PESQ-wb and DNSMOS are defined for; STOI resamples further by itself."""

MAX_DELAY_MS = 100
"""The search range: above any real-time denoiser, below the gap between two words."""

DNSMOS_WINDOW = 144_160
"""Samples DNSMOS hears at once: 9.01 s at 16 kHz (Reddy et al., DNSMOS P.835)."""

SCORES = (
    "pesq_wb", "stoi", "estoi", "si_sdr", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808",
)  # fmt: skip
"""Keys of ``score_pair`` that are better when higher."""


def constant_delay(clean: np.ndarray, test: np.ndarray, limit: int) -> int:
    """Samples by which ``test`` trails ``clean``, at most ``limit`` either way.

    The largest magnitude of the cross-correlation decides, so a recording with
    its sign flipped is still found.
    """
    size = 1 << (max(len(clean), len(test)) + limit - 1).bit_length()
    spectrum = np.fft.rfft(test, size) * np.conj(np.fft.rfft(clean, size))
    circular = np.fft.irfft(spectrum, size)
    around_zero = np.concatenate([circular[-limit:], circular[: limit + 1]])
    return int(np.argmax(np.abs(around_zero))) - limit


def overlap(clean: np.ndarray, test: np.ndarray, delay: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut both recordings to the stretch they share once ``test`` is moved back by ``delay``."""
    clean, test = clean[max(0, -delay) :], test[max(0, delay) :]
    count = min(len(clean), len(test))
    return clean[:count], test[:count]


def si_sdr(clean: np.ndarray, test: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of an aligned pair, means removed.

    Held within 150 dB either way; NaN when one of the two is silent.
    """
    clean, test = clean - clean.mean(), test - test.mean()
    if not (clean.any() and test.any()):
        return math.nan
    target = clean * ((test @ clean) / (clean @ clean))
    distortion = test - target
    floor = 1e-15 * (test @ test)
    return 10 * math.log10(max(target @ target, floor) / max(distortion @ distortion, floor))


def pesq_wb(clean16: np.ndarray, test16: np.ndarray) -> float:
    """Wide-band PESQ (P.862.2, 1.0 to 4.6) of an aligned 16 kHz pair; NaN without speech or output."""
    if not test16.any():  # the package fails on digital silence
        return math.nan
    try:
        return float(pesq(NARROW_RATE, clean16, test16, "wb"))
    except NoUtterancesError:
        return math.nan


def stoi(clean16: np.ndarray, test16: np.ndarray) -> float:
    """Short-time objective intelligibility (0 to 1) of an aligned 16 kHz pair."""
    return float(pystoi(clean16, test16, NARROW_RATE))


def estoi(clean16: np.ndarray, test16: np.ndarray) -> float:
    """Extended STOI, which also feels losses between the bands, of an aligned 16 kHz pair."""
    return float(pystoi(clean16, test16, NARROW_RATE, extended=True))


def dnsmos(test16: np.ndarray) -> dict[str, float]:
    """DNSMOS P.835 and P.808 (1 to 5) of a 16 kHz recording, without a reference.

    A recording shorter than the window is repeated to exactly one window. Left to
    itself the package doubles it and averages windows that start at every second
    of the doubled recording, so that the result would hang on the length.
    """
    heard = np.resize(test16, max(len(test16), DNSMOS_WINDOW))
    opinion = speechmos.run(heard / max(1.0, np.abs(heard).max()), sr=NARROW_RATE)
    return {f"dnsmos_{name}": float(opinion[f"{name}_mos"]) for name in ("sig", "bak", "ovrl", "p808")}


def score_pair(clean: np.ndarray, test: np.ndarray, rate: int = RATE) -> dict[str, float]:
    """Score mono float recordings of one rate: ``SCORES``, ``delay_ms``, ``length_difference``.

    ``length_difference`` is in samples, positive when ``test`` is longer; it is
    taken before alignment, as a user would find it in the files.
    """
    if not (np.isfinite(clean).all() and np.isfinite(test).all()):
        raise ValueError("samples that are not finite")
    delay = constant_delay(clean, test, limit=rate * MAX_DELAY_MS // 1000)
    length_difference = len(test) - len(clean)
    clean, test = overlap(clean, test, delay)
    clean16, test16 = (soxr.resample(samples, rate, NARROW_RATE) for samples in (clean, test))
    return {
        "pesq_wb": pesq_wb(clean16, test16),
        "stoi": stoi(clean16, test16),
        "estoi": estoi(clean16, test16),
        "si_sdr": si_sdr(clean, test),
        **dnsmos(test16),
        "delay_ms": 1000 * delay / rate,
        "length_difference": length_difference,
    }
