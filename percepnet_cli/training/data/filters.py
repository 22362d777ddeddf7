"""Building blocks of mixtures: levels, filters, synthetic noise and room impulse responses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from percepnet_cli.compute.jit import fast_kernel
from percepnet_cli.compute.vectors import INDEX, LANES, FusedVectors, Value, Vectors, vector_function
from percepnet_cli.constants import HOP_SIZE, NUM_BINS, SAMPLE_RATE
from percepnet_cli.dsp import fft

ACTIVE_RANGE_DB = 30
"""Frames within this of a loud one count as active when a level is measured."""


@fast_kernel
def biquad(samples: np.ndarray, b: np.ndarray, a: np.ndarray, out: np.ndarray) -> None:
    """Second-order filter from rest. samples, out: float32 [n]; b, a: float64 [3], a[0] = 1."""
    s0 = 0.0
    s1 = 0.0
    for n in range(samples.shape[0]):
        x = np.float64(samples[n])
        y = b[0] * x + s0
        s0 = b[1] * x - a[1] * y + s1
        s1 = b[2] * x - a[2] * y
        out[n] = y


@fast_kernel
def _mean_powers(samples: np.ndarray, out: np.ndarray) -> None:
    """Write the mean power of each 10 ms. samples: float32 [n]; out: float32 [n // 480]."""
    for frame in range(out.shape[0]):
        total = np.float32(0)
        for n in range(frame * HOP_SIZE, (frame + 1) * HOP_SIZE):
            total += samples[n] * samples[n]
        out[frame] = total / np.float32(HOP_SIZE)


def frame_energies(samples: np.ndarray) -> np.ndarray:
    """Return the mean power of each 10 ms, float32 [n // 480]."""
    out = np.empty(len(samples) // HOP_SIZE, np.float32)
    _mean_powers(np.ascontiguousarray(samples, np.float32), out)
    return out


def active_rms(samples: np.ndarray) -> float:
    """Return the RMS over the active frames; 0 for silence."""
    energy = frame_energies(samples)
    if len(energy) == 0 or energy.max() <= 0:
        return 0.0
    loud = np.percentile(energy[energy > 0], 95)
    active = energy > loud * 10 ** (-ACTIVE_RANGE_DB / 10)
    return float(np.sqrt(energy[active].mean()))


def random_filter(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Color a signal by a random biquad, as a microphone or a room might (RNNoise ``dump_features.c``).

    Numerator and denominator are each non-trivial one time in three: a complex pair of
    radius 0.7 u^2 at angle pi u^2, or two real roots within +-0.7. Returns float32 [n].
    """

    def polynomial() -> np.ndarray:
        kind = rng.integers(3)
        if kind == 0:
            radius, angle = 0.7 * rng.random() ** 2, np.pi * rng.random() ** 2
            return np.array([1.0, -2 * radius * np.cos(angle), radius * radius])
        if kind == 1:
            p, q = rng.uniform(-0.7, 0.7, 2)
            return np.array([1.0, -(p + q), p * q])
        return np.array([1.0, 0.0, 0.0])

    b, a = polynomial(), polynomial()
    if b[1] == 0 and a[1] == 0:
        return samples
    out = np.empty_like(samples)
    biquad(samples, b, a, out)
    return out


ROWS = 4
"""Blocks of the result that are computed at once: a part of the response is loaded once for all."""
COLUMNS = (*range(0, NUM_BINS - LANES, LANES), NUM_BINS - LANES)
"""First bins of the columns into which a spectrum is cut; the last two overlap."""


def write_products(v: Vectors, x: Value, h: Value, out: Value, row: Value, parts: Value, column: Value) -> None:
    """Write the code for 16 bins of four blocks: out[row + j] = sum_p x[row + j + parts - 1 - p] h[p], j = 0..3.

    x, h: float*, [rows, 2, 16] and [parts, 2, 16], real and imaginary parts; out: complex64*, [rows, 481].
    row, parts, column: int64; the column is that of the first bin.
    """
    b = v.builder
    sums = [(v.stack(LANES), v.stack(LANES)) for _ in range(ROWS)]
    for re, im in sums:
        v.store(v.constant(0.0), re, 0)
        v.store(v.constant(0.0), im, 0)

    newest = b.sub(b.add(row, parts), INDEX(1))
    with v.loop(parts, 1) as p:
        part = v.at(h, b.mul(p, INDEX(2 * LANES)))
        h_re, h_im = v.load(part, 0), v.load(part, LANES)
        first = v.at(x, b.mul(b.sub(newest, p), INDEX(2 * LANES)))
        for j, (re, im) in enumerate(sums):
            x_re, x_im = v.load(first, 2 * LANES * j), v.load(first, 2 * LANES * j + LANES)
            both = v.plus(v.load(re, 0), v.times_real(x_re, h_re))
            v.store(v.minus(both, v.times_real(x_im, h_im)), re, 0)
            both = v.plus(v.load(im, 0), v.times_real(x_re, h_im))
            v.store(v.plus(both, v.times_real(x_im, h_re)), im, 0)

    for j, (re, im) in enumerate(sums):
        place = b.add(b.mul(b.add(row, INDEX(j)), INDEX(2 * NUM_BINS)), b.mul(column, INDEX(2)))
        v.store_pairs((v.load(re, 0), v.load(im, 0)), v.at(out, place), 0)


_products = vector_function(write_products, scalars=3, kind=FusedVectors)


@fast_kernel
def _pack(spectra: np.ndarray, first: int, out: np.ndarray) -> None:
    """Sort spectra into columns. spectra: complex64 [n, 481]; out: float32 [columns, rows, 2, 16], from row `first`."""
    for column in range(out.shape[0]):
        bins = COLUMNS[column]
        for row in range(spectra.shape[0]):
            for lane in range(LANES):
                out[column, first + row, 0, lane] = spectra[row, bins + lane].real
                out[column, first + row, 1, lane] = spectra[row, bins + lane].imag


@fast_kernel
def _multiply_add(x: np.ndarray, h: np.ndarray, out: np.ndarray) -> None:
    """Add up the products of the latest blocks' spectra with the parts of a response.

    As a plain loop: ``out[n, k] = sum(x[zeros + n - p, k] * h[p, k] for p in range(parts))``.

    x: float32 [columns, zeros + blocks, 2, 16], zeros before the first block, at least parts - 1; h: float32
    [columns, parts, 2, 16]; out: complex64 [blocks, 481], written, a multiple of four blocks.
    """
    surplus = x.shape[1] - out.shape[0] - (h.shape[1] - 1)
    for column in range(x.shape[0]):
        for row in range(0, out.shape[0], ROWS):
            _products(x[column, surplus:], h[column], out, row, h.shape[1], COLUMNS[column])


def _spectra(windows: np.ndarray) -> np.ndarray:
    """Transform windows of 960 samples. float32 [n, 960] to complex64 [n, 481]."""
    out = np.empty((len(windows), NUM_BINS), np.complex64)
    fft.forward(np.ascontiguousarray(windows), out)
    return out


def convolve(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return the first n samples of the convolution, float32 [n]."""
    return convolve_each(samples, (response,))[0]


def convolve_each(samples: np.ndarray, responses: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Convolve one signal with several responses: the first n samples of each result, float32 [n].

    Overlap-save in blocks of 480 samples, the response cut into parts of as many (Wefers, "Partitioned convolution
    algorithms for real-time auralization", 2015, chapter 5), by the transform of the signal path. Responses of a
    second and less are cheaper this way than by one transform of the whole signal.
    """
    blocks = -(-len(samples) // (ROWS * HOP_SIZE)) * ROWS
    padded = np.zeros((blocks + 1) * HOP_SIZE, np.float32)
    padded[HOP_SIZE : HOP_SIZE + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * HOP_SIZE)[::HOP_SIZE]

    # zeros stand for the blocks before the first
    zeros = max(-(-len(response) // HOP_SIZE) for response in responses) - 1
    x = np.zeros((len(COLUMNS), zeros + blocks, 2, LANES), np.float32)
    _pack(_spectra(windows), zeros, x)

    results = []
    for response in responses:
        parts = -(-len(response) // HOP_SIZE)
        pieces = np.zeros((parts, 2 * HOP_SIZE), np.float32)
        whole, rest = divmod(len(response), HOP_SIZE)
        pieces[:whole, :HOP_SIZE] = response[: whole * HOP_SIZE].reshape(whole, HOP_SIZE)
        pieces[whole:, :rest] = response[whole * HOP_SIZE :]

        h = np.empty((len(COLUMNS), parts, 2, LANES), np.float32)
        _pack(_spectra(pieces), 0, h)
        product = np.empty((blocks, NUM_BINS), np.complex64)
        _multiply_add(x, h, product)

        out = np.empty((blocks, 2 * HOP_SIZE), np.float32)
        fft.inverse(product, out)
        results.append(out[:, HOP_SIZE:].ravel()[: len(samples)])
    return results


def trim_tail(response: np.ndarray, range_db: float = 70) -> np.ndarray:
    """Leave out the end of a response that holds less than -70 dB of its energy. float32 [n] to [m], m <= n."""
    left = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    return response[: max(1, np.count_nonzero(left > left[0] * 10 ** (-range_db / 10)))]


def low_pass(signals: np.ndarray, cutoff_hz: float) -> np.ndarray:
    """Remove everything above a frequency from each row, over a transition of 3 %. float32 [rows, n].

    A linear-phase filter by a Kaiser window, 100 dB down, its delay undone.
    """
    width = 0.03 * cutoff_hz / SAMPLE_RATE
    half = int(np.ceil((100 - 7.95) / (2.285 * 2 * np.pi * width) / 2))
    middle = (cutoff_hz / SAMPLE_RATE - width / 2) * 2
    taps = middle * np.sinc(middle * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, 0.1102 * (100 - 8.7))
    padded = np.pad(signals, ((0, 0), (0, half)))
    return np.stack([convolve(row, taps.astype(np.float32))[half:] for row in padded])


def synthetic_rir(rng: np.random.Generator) -> np.ndarray:
    """Return a plausible room impulse response: direct sound, sparse reflections, a decaying tail. float32 [n].

    RT60 0.1..0.7 s, the treble decaying faster; direct-to-reverberant ratio -3..15 dB.
    """
    rt60_s = rng.uniform(0.1, 0.7)
    size = int(rt60_s * SAMPLE_RATE)
    time = np.arange(size) / SAMPLE_RATE
    decay = np.exp(-6.91 * time / rt60_s)
    bright = rng.standard_normal(size)
    dull = np.convolve(rng.standard_normal(size), np.ones(24) / np.sqrt(24), "same")
    density = np.minimum(time / rng.uniform(0.005, 0.03), 1)
    sparse = rng.random(size) < 0.002 + 0.998 * density**2
    tail = (bright * decay**2 + dull * decay) * sparse * density
    tail[: int(0.001 * SAMPLE_RATE)] = 0
    tail *= 10 ** (-rng.uniform(-3, 15) / 20) / np.sqrt(np.sum(tail**2) + 1e-12)
    tail[0] = 1
    return tail.astype(np.float32)


def reverberation_time(response: np.ndarray) -> float:
    """Return the RT60 of a response from the decay between -5 and -25 dB (T20), s. response: float32 [n]."""
    decay = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    decay_db = 10 * np.log10(decay / max(decay[0], 1e-30) + 1e-12)
    start, end = np.searchsorted(-decay_db, (5, 25))
    return float((end - start) / SAMPLE_RATE * 3)


def shorten_tail(response: np.ndarray, rt60_s: float, early_ms: float = 20) -> np.ndarray:
    """Keep the direct sound and what follows it within 20 ms, let the rest decay with at most an RT60 [Valin 2021].

    response, result: float32 [n]. Responses that decay faster stay as they are; an RT60 of 0 leaves the early part.
    """
    start = int(np.argmax(np.abs(response))) + int(early_ms * SAMPLE_RATE / 1000)
    after_s = np.arange(max(0, len(response) - start)) / SAMPLE_RATE
    rate = 1 / max(rt60_s, 1e-3) - 1 / max(reverberation_time(response), 1e-3)
    shortened = response.copy()
    shortened[start:] *= (10 ** (-3 * after_s * max(rate, 0))).astype(np.float32)
    return shortened
