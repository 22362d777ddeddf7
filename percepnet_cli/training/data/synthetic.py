"""Noises that no recording gives in every shape: fans and wind, motors, birds and beeps, rain and keys."""

from __future__ import annotations

import numpy as np

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.training.data.filters import convolve


def coloured_noise(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return one to three noises of random smooth spectra whose levels drift: fans, hiss, wind, traffic.

    Each drifts on its own, slowly or within tenths of a second, so that the spectrum of the sum moves too.
    float32 [size].
    """
    bins = size // 2 + 1
    frequency = np.maximum(np.linspace(0, SAMPLE_RATE / 2, bins, dtype=np.float32), 50)
    octave, log_frequency = np.log2(frequency / 1000), np.log(frequency)
    knots = np.log(np.geomspace(50, 24000, 9))
    total = np.zeros(size, np.float32)
    for _ in range(rng.integers(1, 4)):
        shape_db = rng.uniform(-9, 1) * octave + np.interp(log_frequency, knots, rng.normal(0, 5, 9))
        spectrum = rng.standard_normal(2 * bins, np.float32).view(np.complex64)
        spectrum *= 10 ** (shape_db.astype(np.float32) / 20)
        part = np.fft.irfft(spectrum, size).astype(np.float32)
        step_s = 0.5 if rng.random() < 0.6 else rng.uniform(0.05, 0.5)
        points = int(size / SAMPLE_RATE / step_s) + 2
        drift_db = np.cumsum(rng.normal(0, rng.uniform(0, 3) * np.sqrt(step_s), points))
        drift_db = np.clip(drift_db - drift_db.mean(), -25, 12)
        drift_db = np.interp(np.arange(size), np.arange(points) * step_s * SAMPLE_RATE, drift_db)
        part *= (10 ** (drift_db / 20)).astype(np.float32)
        total += part * np.float32(10 ** (rng.uniform(-10, 0) / 20) / np.sqrt(np.mean(part * part) + 1e-20))
    return total


def hum(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return mains hum or a motor: harmonics of a steady low tone, float32 [size]."""
    base_hz = rng.choice([50.0, 60.0, rng.uniform(25, 400)])
    time = np.arange(size) / SAMPLE_RATE
    wobble = 1 + rng.uniform(0, 0.004) * np.sin(2 * np.pi * rng.uniform(0.1, 3) * time)
    phase = 2 * np.pi * base_hz * np.cumsum(wobble) / SAMPLE_RATE
    total = np.zeros(size)
    for harmonic in range(1, int(rng.integers(4, 25))):
        total += rng.random() ** 2 / harmonic ** rng.uniform(0, 1) * np.sin(harmonic * phase + rng.uniform(0, 6.28))
    return total.astype(np.float32)


def chirps(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return birds, crickets, beeps: tones between 0.4 and 14 kHz that glide, tremble, come in bursts. float32 [n]."""
    total = np.zeros(size, np.float32)
    for _ in range(rng.integers(1, 4)):
        base_hz = 400 * 35 ** rng.random()
        time = np.arange(size) / SAMPLE_RATE
        glide = rng.uniform(0, 0.35) * rng.integers(0, 2)
        bend = np.sin(2 * np.pi * 30 ** rng.uniform(-0.5, 1) * time + rng.uniform(0, 6.28))
        phase = 2 * np.pi * base_hz * np.cumsum(2 ** (glide * bend)) / SAMPLE_RATE
        tone = np.sin(phase)
        for harmonic in range(2, int(rng.integers(1, 5)) + 1):
            if base_hz * harmonic < 20000:
                tone += 10 ** (-rng.uniform(6, 30) / 20) * np.sin(harmonic * phase)
        if rng.random() < 0.5:  # a trill
            trill = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(8, 90) * time + rng.uniform(0, 6.28))
            tone *= trill ** rng.uniform(0.5, 3)
        tone *= bursts(size, rng)
        total += (10 ** (rng.uniform(-12, 0) / 20) * tone).astype(np.float32)
    return total


def bursts(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return an envelope of bursts with soft edges, of random lengths and pauses, or all 1. float64 [n], 0..1."""
    if rng.random() < 0.2:
        return np.ones(size)
    on_s, off_s = 0.03 * 40 ** rng.random(), 0.03 * 60 ** rng.random()
    envelope = np.zeros(size // HOP_SIZE * 2 + 2)  # points 5 ms apart
    position = -int(rng.integers(200))
    while position < len(envelope):
        end = position + max(2, int(200 * on_s * rng.uniform(0.6, 1.5)))
        envelope[max(position, 0) : max(end, 0)] = 10 ** (rng.uniform(-10, 0) / 20)
        position = end + max(1, int(200 * off_s * rng.exponential()))
    return np.interp(np.arange(size), np.arange(len(envelope)) * (HOP_SIZE / 2), envelope)


def crackle(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return rain, fire, keys, clatter: random clicks that ring in random resonances. float32 [size]."""
    rate = 1.5 * 400 ** rng.random() / SAMPLE_RATE
    clicks = np.where(rng.random(size) < rate, rng.standard_normal(size) * rng.exponential(1, size), 0)
    length = int(SAMPLE_RATE * 0.002 * 40 ** rng.random())
    decay = np.exp(-6.9 * np.arange(length) / length)
    ring = rng.standard_normal(length) * rng.uniform(0, 1)
    for _ in range(rng.integers(1, 5)):
        ring += np.sin(2 * np.pi * 200 * 60 ** rng.random() * np.arange(length) / SAMPLE_RATE) * rng.random()
    return convolve(clicks.astype(np.float32), ring * decay)
