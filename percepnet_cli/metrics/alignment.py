"""A constant delay between two recordings, and the segment they share without it."""

from __future__ import annotations

import numpy as np

MAX_DELAY_MS = 100
"""The search range: above any real-time denoiser, below the gap between two words."""


def constant_delay(clean: np.ndarray, test: np.ndarray, limit: int) -> int:
    """Return the samples by which ``test`` trails ``clean``, at most ``limit`` either way.

    The largest magnitude of the cross-correlation decides, so a recording with its sign flipped is still found.
    clean, test: float [n], [m], of one rate. 0 if one of them is empty or silent.
    """
    if not (np.any(clean) and np.any(test)):
        return 0
    size = 1 << (max(len(clean), len(test)) + limit - 1).bit_length()
    spectrum = np.fft.rfft(test, size) * np.conj(np.fft.rfft(clean, size))
    circular = np.fft.irfft(spectrum, size)
    around_zero = np.concatenate([circular[-limit:], circular[: limit + 1]])
    return int(np.argmax(np.abs(around_zero))) - limit


def overlap(clean: np.ndarray, test: np.ndarray, delay: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut both recordings to the segment they share once ``test`` is moved back by ``delay`` samples.

    clean, test: [n, ...], [m, ...]; views are returned.
    """
    clean, test = clean[max(0, -delay) :], test[max(0, delay) :]
    count = min(len(clean), len(test))
    return clean[:count], test[:count]
