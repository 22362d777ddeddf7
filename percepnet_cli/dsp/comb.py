"""Pitch comb filter: what of a window repeats with the pitch period.

Paper: p(n) = sum_k w_k y(n - k T), k = -5..5, with a Hann-shaped w of sum 1, in the time
domain. Taps that would need samples beyond the look-ahead are dropped and the
rest renormalised; such a window has its own noise gain.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.constants import COMB_LOOKAHEAD_SAMPLES, COMB_PERIODS, HOP_SIZE
from percepnet_cli.jit import kernel

ZERO = np.float32(0)


def hann_taps(periods: int = COMB_PERIODS) -> np.ndarray:
    """Return w_k proportional to 0.5 - 0.5 cos(2 pi (k + M + 1) / (2 M + 2)), k = -M..M.

    float32 [2 periods + 1], sum 1, sum of squares 0.75/(M + 1): 0.125 = -9.03 dB for M = 5.
    """
    k = np.arange(-periods, periods + 1, dtype=np.float64)
    taps = 0.5 - 0.5 * np.cos(2 * np.pi * (k + periods + 1) / (2 * periods + 2))
    return (taps / taps.sum()).astype(np.float32)


TAPS = hann_taps()
"""The comb's weights, float32 [11], the most distant past period first."""


@kernel
def filter_hops(
    signal: np.ndarray,
    start: int,
    period: np.ndarray,
    taps: np.ndarray,
    window: np.ndarray,
    out: np.ndarray,
    noise_gain: np.ndarray,
) -> None:
    """Comb-filter one window per hop and weight it for the transform.

    signal: float32 [samples]; start: index of the first window's first sample; 5 * 768 samples
    before it and 960 after each window must be there. period: int32 [hops], 96..768 samples.
    taps: float32 [11]; window: float32 [960]. out: float32 [hops, 960], written.
    noise_gain: float32 [hops], written: sigma_w^2, the energy ratio for white noise, 0.125..1.
    """
    hops, size = out.shape
    half = taps.shape[0] // 2
    for hop in range(hops):
        first = start + hop * HOP_SIZE
        T = period[hop]
        future = min(half, COMB_LOOKAHEAD_SAMPLES // T)
        total = ZERO
        for k in range(-future, half + 1):
            total += taps[half + k]
        squares = ZERO
        for n in range(size):
            out[hop, n] = ZERO
        for k in range(-future, half + 1):
            weight = taps[half + k] / total
            squares += weight * weight
            source = first - k * T
            for n in range(size):
                out[hop, n] += weight * signal[source + n]
        for n in range(size):
            out[hop, n] *= window[n]
        noise_gain[hop] = squares
