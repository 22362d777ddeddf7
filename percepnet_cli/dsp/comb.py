"""Pitch comb filter: what of a window repeats with the pitch period.

Paper: p(n) = sum_k w_k y(n - k T), k = -5..5, with a Hann-shaped w of sum 1, in the time
domain. Taps that would need samples beyond the look-ahead are dropped and the
rest renormalized; such a window has its own noise gain.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import kernel
from percepnet_cli.compute.vectors import INDEX, LANES, Value, Vectors, vector_function
from percepnet_cli.constants import COMB_LOOKAHEAD_SAMPLES, COMB_PERIODS, HOP_SIZE, WINDOW_SIZE

ZERO = np.float32(0)
ONE = np.float32(1)


def hann_taps(periods: int = COMB_PERIODS) -> np.ndarray:
    """Return w_k proportional to 0.5 - 0.5 cos(2 pi (k + M + 1) / (2 M + 2)), k = -M..M.

    float32 [2 periods + 1], sum 1, sum of squares 0.75/(M + 1): 0.125 = -9.03 dB for M = 5.
    """
    k = np.arange(-periods, periods + 1, dtype=np.float64)
    taps = 0.5 - 0.5 * np.cos(2 * np.pi * (k + periods + 1) / (2 * periods + 2))
    return (taps / taps.sum()).astype(np.float32)


TAPS = hann_taps()
"""The comb's weights, float32 [11], the most distant past period first."""


def write_weighted_sum(
    v: Vectors, signal: Value, window: Value, out: Value, first: Value, period: Value, future: Value, norm: Value
) -> None:
    """Write the code of one window: all taps of 16 samples at a time.

    In a plain loop (``tests/reference.py``: ``comb``), p(n) of [Valin 2020]::

        for n in range(960):
            out[n] = 0
            for k in range(-future, 6):
                out[n] += norm * TAPS[5 + k] * signal[first + n - k * period] * window[n]

    signal, window, out: float*; first, period: samples, int64; future: coming periods that are known, int64; norm:
    float, factor of the taps. Taps of periods that are not known weigh nothing.
    """
    # Weight and place of each tap; taps of the future beyond what is known weigh nothing
    builder = v.builder
    half = len(TAPS) // 2
    taps = []
    for k in range(-half, half + 1):
        weight, known = v.product_one(norm, float(TAPS[half + k])), None
        if k < 0:
            known = builder.icmp_signed("<=", INDEX(-k), future)
            weight = builder.select(known, weight, v.one(0.0))
        shift = builder.mul(period, INDEX(k))
        if known is not None:
            shift = builder.select(known, shift, INDEX(0))
        taps.append((v.everywhere(weight), v.at(signal, builder.sub(first, shift))))

    # The sum of eleven products as a tree: short chains of additions
    with v.loop(WINDOW_SIZE, LANES) as n:
        parts = [v.times_real(weight, v.load(source, n)) for weight, source in taps]
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=False)
            parts = [v.plus(a, b) for a, b in pairs] + parts[len(parts) // 2 * 2 :]
        v.store(v.times_real(parts[0], v.load(window, n)), out, n)


_weighted_sum = vector_function(write_weighted_sum, scalars=4)


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
    taps: float32 [11], TAPS; window: float32 [960]. out: float32 [hops, 960], written.
    noise_gain: float32 [hops], written: sigma_w^2, the energy ratio for white noise, 0.125..1.
    """
    half = taps.shape[0] // 2
    for hop in range(out.shape[0]):
        # How many coming periods the look-ahead holds
        T = np.int64(period[hop])
        future = min(half, COMB_LOOKAHEAD_SAMPLES // T)

        # The known taps shall sum to 1; the sum of their squares is what they do to white noise
        total = ZERO
        for k in range(-future, half + 1):
            total += taps[half + k]
        squares = ZERO
        for k in range(-future, half + 1):
            weight = taps[half + k] / total
            squares += weight * weight
        noise_gain[hop] = squares

        _weighted_sum(signal, window, out[hop], np.int64(start + hop * HOP_SIZE), T, np.int64(future), ONE / total)
