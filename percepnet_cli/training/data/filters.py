"""Building blocks of mixtures: levels, filters, synthetic noise and rooms."""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import kernel
from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE

ACTIVE_RANGE_DB = 30
"""Frames within this of a loud one count as active when a level is measured."""


@kernel
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


def frame_energies(samples: np.ndarray) -> np.ndarray:
    """Return the mean power of each 10 ms, float32 [n // 480]."""
    frames = samples[: len(samples) // HOP_SIZE * HOP_SIZE].reshape(-1, HOP_SIZE)
    return np.mean(np.square(frames), axis=1)


def active_rms(samples: np.ndarray) -> float:
    """Return the RMS over the active frames; 0 for silence."""
    energy = frame_energies(samples)
    if len(energy) == 0 or energy.max() <= 0:
        return 0.0
    loud = np.percentile(energy[energy > 0], 95)
    active = energy > loud * 10 ** (-ACTIVE_RANGE_DB / 10)
    return float(np.sqrt(energy[active].mean()))


def random_filter(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colour a signal by a random biquad, as a microphone or a room might (RNNoise ``dump_features.c``).

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


def convolve(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return the first n samples of the convolution, float32 [n]."""
    size = 1 << int(np.ceil(np.log2(len(samples) + len(response))))
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response.astype(np.float32), size)
    return np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)


def low_pass(signals: np.ndarray, cutoff_hz: float) -> np.ndarray:
    """Remove everything above a frequency from each row, over a transition of 3 %. float32 [rows, n]."""
    spectrum = np.fft.rfft(signals, axis=1)
    frequency = np.fft.rfftfreq(signals.shape[1], 1 / SAMPLE_RATE)
    ramp = np.clip((cutoff_hz - frequency) / (0.03 * cutoff_hz) + 1, 0, 1)
    spectrum *= (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32)
    return np.fft.irfft(spectrum, signals.shape[1], axis=1).astype(np.float32)


def synthetic_room(rng: np.random.Generator) -> np.ndarray:
    """Return a plausible room response: direct sound, sparse reflections, a decaying tail. float32 [n].

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
    """Keep the direct sound and what follows it within 20 ms, let the rest decay with at most an RT60 (V21).

    response, result: float32 [n]. Rooms that decay faster stay as they are; an RT60 of 0 leaves the early part.
    """
    start = int(np.argmax(np.abs(response))) + int(early_ms * SAMPLE_RATE / 1000)
    after_s = np.arange(max(0, len(response) - start)) / SAMPLE_RATE
    rate = 1 / max(rt60_s, 1e-3) - 1 / max(reverberation_time(response), 1e-3)
    shortened = response.copy()
    shortened[start:] *= (10 ** (-3 * after_s * max(rate, 0))).astype(np.float32)
    return shortened
