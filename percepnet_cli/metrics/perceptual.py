"""What listeners would say, estimated: the only door to pesq, pystoi and speechmos (extra ``metrics``).

All of them are defined at 16 kHz, and all work without a network.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

RATE = 16_000
"""Hz that PESQ-wb and DNSMOS are defined for; STOI resamples further by itself."""

DNSMOS_WINDOW = 144_160
"""Samples DNSMOS hears at once: 9.01 s at 16 kHz (Reddy et al., DNSMOS P.835)."""


def pesq_wb(clean16: np.ndarray, test16: np.ndarray) -> float:
    """Wide-band PESQ (ITU-T P.862.2, 1.0 to 4.6) of an aligned pair, float [n] at 16 kHz.

    NaN without speech, without output, or under a quarter of a second, which PESQ does not take.
    """
    from pesq import BufferTooShortError, NoUtterancesError, pesq

    if not (clean16.any() and test16.any()):  # the package fails on digital silence
        return math.nan
    try:
        return float(pesq(RATE, clean16, test16, "wb"))
    except (NoUtterancesError, BufferTooShortError):
        return math.nan


def stoi(clean16: np.ndarray, test16: np.ndarray, extended: bool = False) -> float:
    """Short-time objective intelligibility (0 to 1) of an aligned pair, float [n] at 16 kHz.

    extended: ESTOI, which also feels losses between the bands. NaN with less than 0.4 s of speech.
    """
    from pystoi import stoi as pystoi

    if not clean16.any():
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # how the package says that there is too little speech
        try:
            return float(pystoi(clean16, test16, RATE, extended=extended))
        except (RuntimeWarning, ValueError, IndexError):
            return math.nan


def dnsmos(test16: np.ndarray) -> dict[str, float]:
    """DNSMOS P.835 and P.808 (1 to 5) of a recording, float [n] at 16 kHz, without a reference.

    A recording shorter than the window is repeated to exactly one window. Left to itself the package doubles it and
    averages windows that start at every second of the doubled recording, so that the result would hang on the length.
    """
    from speechmos import dnsmos as speechmos

    heard = np.resize(test16, max(len(test16), DNSMOS_WINDOW))
    scores = speechmos.run(heard / max(1.0, np.abs(heard).max()), sr=RATE)
    return {f"dnsmos_{name}": float(scores[f"{name}_mos"]) for name in ("sig", "bak", "ovrl", "p808")}
