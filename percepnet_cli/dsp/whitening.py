"""What the pitch tracker listens to: the signal at 12 kHz without most of its spectral envelope.

Formants would look like pitch; linear prediction of order 8, damped, takes most of them away.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.delay_line import DelayLine, extend
from percepnet_cli.compute.jit import kernel, part
from percepnet_cli.compute.struct import Struct
from percepnet_cli.compute.vectors import LANES, Value, Vectors, vector_function
from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE

DECIMATION = 4
"""48 kHz to 12 kHz (our choice)."""
BLOCK = HOP_SIZE // DECIMATION
"""Decimated samples per hop: 120."""
DECIMATOR_TAPS = 48
"""Length of the decimator's low-pass (1 ms at 48 kHz)."""
DECIMATOR_CUTOFF_HZ = 1700
"""Its -6 dB frequency: the lowest harmonics are the steadiest and the last to drown in noise."""

LPC_ORDER = 8
LPC_WINDOW = 2 * BLOCK
"""Decimated samples that the predictor is computed from: 20 ms."""
LPC_DAMPING = 0.8
"""Coefficient i is multiplied by this to the power i: whitens the formants, keeps the harmonics."""
LPC_WHITE_NOISE = 1e-4
"""Added to the autocorrelation at lag 0 as a share of it (-40 dB)."""


def decimator() -> np.ndarray:
    """Return the low-pass before decimation: windowed sinc, float32 [48], sum 1."""
    n = np.arange(DECIMATOR_TAPS) - (DECIMATOR_TAPS - 1) / 2
    taps = np.sinc(2 * DECIMATOR_CUTOFF_HZ / SAMPLE_RATE * n) * np.hamming(DECIMATOR_TAPS)
    return (taps / taps.sum()).astype(np.float32)


DECIMATOR = decimator()
LPC_TAPER = np.hanning(LPC_WINDOW + 2)[1:-1].astype(np.float32)


def write_decimate(v: Vectors, signal: Value, out: Value, first: Value) -> None:
    """Write the code that decimates one hop.

    In plain loops (``tests/test_pitch.py``: ``test_decimation_is_a_convolution``)::

        for i in range(120):
            for k in range(48):
                out[i] += DECIMATOR[k] * signal[first + 4 * i + k]

    signal: float*; first: sample that the first output begins with, int64; out: float*, 120, written. The samples are
    parted into four phases; an output is then a sum over neighbors in each, 16 outputs beside each other.
    """
    # Part the samples into four phases
    per_phase = BLOCK - 1 + DECIMATOR_TAPS // DECIMATION
    phases = [v.stack(per_phase) for _ in range(DECIMATION)]
    segment = v.at(signal, first)
    for m in (*range(0, per_phase - LANES, LANES), per_phase - LANES):
        low, high = v.load_pairs(segment, DECIMATION * m), v.load_pairs(segment, DECIMATION * m + 2 * LANES)
        evens, odds = np.arange(0, 2 * LANES, 2), np.arange(1, 2 * LANES, 2)
        for phase, (half, lanes) in enumerate(((0, evens), (1, evens), (0, odds), (1, odds))):
            v.store(v.shuffle(low[half], high[half], lanes), phases[phase], m)

    # 16 outputs beside each other, tap by tap
    for i in (*range(0, BLOCK - LANES, LANES), BLOCK - LANES):
        total = v.constant(0.0)
        for k in range(DECIMATOR_TAPS):
            near = v.load(phases[k % DECIMATION], i + k // DECIMATION)
            total = v.plus(total, v.product(near, float(DECIMATOR[k])))
        v.store(total, out, i)


_decimate = vector_function(write_decimate, scalars=1)


@kernel
def decimate(signal: np.ndarray, start: int, out: np.ndarray) -> None:
    """Low-pass and keep every fourth sample, one hop after the other.

    signal: float32 [samples], at least 48 of them before ``start``, the first sample of the
    first hop. out: float32 [hops * 120], written.
    """
    for hop in range(out.shape[0] // BLOCK):
        first = np.int64(start + DECIMATION * (hop * BLOCK + 1) - DECIMATOR_TAPS)
        _decimate(signal, out[hop * BLOCK : (hop + 1) * BLOCK], first)


def write_autocorrelate(v: Vectors, segment: Value, taper: Value, out: Value) -> None:
    """Write the code of the autocorrelation of a tapered segment at lags 0..8.

    In plain loops (``tests/test_pitch.py``: ``test_predictor_solves_the_normal_equations``)::

        for lag in range(9):
            for n in range(lag, 240):
                out[lag] += segment[n] * taper[n] * segment[n - lag] * taper[n - lag]

    segment, taper: float*, 240; out: float*, 16, written.
    """
    # Tapered, with zeros before it, so that every lag has as many products
    tapered = v.stack(LANES + LPC_WINDOW)
    v.store(v.constant(0.0), tapered, 0)
    blocks = range(0, LPC_WINDOW, LANES)
    for n in blocks:
        v.store(v.times_real(v.load(segment, n), v.load(taper, n)), tapered, LANES + n)

    # 16 partial sums for each lag, then one
    totals = [v.constant(0.0)] * LANES
    for lag in range(LPC_ORDER + 1):
        for n in blocks:
            part = v.times_real(v.load(tapered, LANES + n), v.load(tapered, LANES + n - lag))
            totals[lag] = v.plus(totals[lag], part)
    v.store(v.sums(totals), out, 0)


_autocorrelate = vector_function(write_autocorrelate)


@kernel
def predict(segment: np.ndarray, taper: np.ndarray, sums: np.ndarray, correlation: np.ndarray, lpc: np.ndarray) -> None:
    """Linear prediction by the autocorrelation method (Levinson and Durbin), damped.

    segment: float32 [240]; taper: float32 [240]; sums: float32 [16], correlation: float64 [9], working space.
    lpc: float64 [9], written: the whitening filter 1, a_1, ..., a_8.
    """
    # Taper, autocorrelation at lags 0..8
    order = lpc.shape[0] - 1
    _autocorrelate(segment, taper, sums)
    for lag in range(order + 1):
        correlation[lag] = np.float64(sums[lag])

    # Levinson and Durbin: each order from the one before
    for i in range(1, order + 1):
        lpc[i] = 0.0
    lpc[0] = 1.0
    error = correlation[0] * (1.0 + LPC_WHITE_NOISE) + 1e-12
    for i in range(1, order + 1):
        acc = 0.0
        for j in range(i):
            acc += lpc[j] * correlation[i - j]
        k = -acc / error
        for j in range(1, i // 2 + 1):
            a = lpc[j]
            b = lpc[i - j]
            lpc[j] = a + k * b
            lpc[i - j] = b + k * a
        lpc[i] = k
        error *= 1.0 - k * k

    # Damp: poles move inwards, formants widen, harmonics stay
    damping = 1.0
    for i in range(1, order + 1):
        damping *= LPC_DAMPING
        lpc[i] *= damping


@kernel
def whiten(
    decimated: np.ndarray,
    taper: np.ndarray,
    sums: np.ndarray,
    correlation: np.ndarray,
    lpc: np.ndarray,
    residual: np.ndarray,
) -> None:
    """Filter each new block with the predictor of the 20 ms that end with it.

    decimated: float32 [240 + hops * 120], 240 old samples first. taper, sums, correlation, lpc:
    see ``predict``. residual: float32 [hops * 120], written.
    """
    hops = residual.shape[0] // BLOCK
    order = lpc.shape[0] - 1
    for hop in range(hops):
        first = LPC_WINDOW + hop * BLOCK

        # A predictor of the 20 ms that end with this block
        predict(decimated[first + BLOCK - LPC_WINDOW : first + BLOCK], taper, sums, correlation, lpc)

        # e(n) = y(n) + sum a_i y(n - i), coefficient by coefficient over the whole block
        for n in range(BLOCK):
            residual[hop * BLOCK + n] = decimated[first + n]
        for i in range(1, order + 1):
            a = np.float32(lpc[i])
            for n in range(BLOCK):
                residual[hop * BLOCK + n] += a * decimated[first + n - i]


class Whitener(Struct):
    """The memory of one channel's decimated signal, for blocks of up to ``max_hops`` hops."""

    decimated: DelayLine
    sums: np.ndarray
    correlation: np.ndarray
    lpc: np.ndarray

    def __init__(self, max_hops: int) -> None:
        super().__init__(
            decimated=DelayLine(LPC_WINDOW, max_hops * BLOCK),
            sums=np.zeros(LANES, np.float32),
            correlation=np.zeros(LPC_ORDER + 1, np.float64),
            lpc=np.zeros(LPC_ORDER + 1, np.float64),
        )


@part
def decimate_and_whiten(whitener: Whitener, signal: np.ndarray, start: int, out: np.ndarray) -> None:
    """Decimate and whiten new hops.

    signal: float32 [samples] at 48 kHz; start: first sample of the first new hop, 48 samples before it
    are read. out: float32 [hops * 120], written.
    """
    decimated = extend(whitener.decimated, len(out))
    decimate(signal, start, decimated[LPC_WINDOW:])
    whiten(decimated, LPC_TAPER, whitener.sums, whitener.correlation, whitener.lpc, out)
