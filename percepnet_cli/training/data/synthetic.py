"""Noises that no recording gives in every shape: fans and wind, motors, birds and beeps, rain and keys, coughs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.training.data import mouths, tones
from percepnet_cli.training.data.filters import convolve

NOISE_TAPS = 2048
"""Length of the filter that gives noise its spectrum: 23 Hz of resolution."""


def course(values_db: np.ndarray, step_s: float, size: int) -> np.ndarray:
    """Return gains that follow levels given every so many seconds, float32 [size]; dB in between are interpolated.

    The dB are interpolated every 10 ms, the gains between them are.
    """
    hops = np.arange(size // HOP_SIZE + 2) * (HOP_SIZE / SAMPLE_RATE)
    gains = 10 ** (np.interp(hops, np.arange(len(values_db)) * step_s, values_db) / 20)
    return between(gains.astype(np.float32), size)


def between(points: np.ndarray, size: int) -> np.ndarray:
    """Interpolate values that are 10 ms apart. float32 [points], more than size / 480; returns float32 [size]."""
    rising = np.arange(HOP_SIZE, dtype=np.float32) / np.float32(HOP_SIZE)
    hops = -(-size // HOP_SIZE)
    starts, ends = points[:hops, None], points[1 : hops + 1, None]
    return (starts + (ends - starts) * rising).ravel()[:size]


def colored_noise(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return one to three noises of random smooth spectra whose levels drift: fans, hiss, wind, traffic.

    Each drifts on its own, slowly or within tenths of a second, so that the spectrum of the sum moves too.
    float32 [size].
    """
    frequency = np.maximum(np.fft.rfftfreq(NOISE_TAPS, 1 / SAMPLE_RATE), 50)
    octave, log_frequency = np.log2(frequency / 1000), np.log(frequency)
    knots = np.log(np.geomspace(50, 24000, 9))
    total = np.zeros(size, np.float32)
    for _ in range(rng.integers(1, 4)):
        shape_db = rng.uniform(-9, 1) * octave + np.interp(log_frequency, knots, rng.normal(0, 5, 9))
        taps = np.roll(np.fft.irfft(10 ** (shape_db / 20)), NOISE_TAPS // 2) * np.hanning(NOISE_TAPS)
        white = rng.standard_normal(size + NOISE_TAPS, np.float32)
        part = convolve(white, taps.astype(np.float32))[NOISE_TAPS:]

        step_s = 0.5 if rng.random() < 0.6 else rng.uniform(0.05, 0.5)
        points = int(size / SAMPLE_RATE / step_s) + 2
        drift_db = np.cumsum(rng.normal(0, rng.uniform(0, 3) * np.sqrt(step_s), points))
        part *= course(np.clip(drift_db - drift_db.mean(), -25, 12), step_s, size)
        total += part * np.float32(10 ** (rng.uniform(-10, 0) / 20) / np.sqrt(np.mean(part * part) + 1e-20))
    return total


def hum(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return mains hum or a motor: harmonics of a steady low tone, float32 [size]."""
    base_hz = rng.choice([50.0, 60.0, rng.uniform(25, 400)])
    time = np.arange(tones.points(size)) / tones.POINTS_PER_SECOND
    hz = base_hz * (1 + rng.uniform(0, 0.004) * np.sin(2 * np.pi * rng.uniform(0.1, 3) * time))
    order = np.arange(1, int(rng.integers(4, 25)))
    strength = rng.random(len(order)) ** 2 / order ** rng.uniform(0, 1, len(order))
    angle = rng.uniform(0, 2 * np.pi, len(order))
    total = np.zeros(size, np.float32)
    steady = np.ones(len(time), np.float32)
    tones.add_tone(hz.astype(np.float32), steady, strength * np.cos(angle), strength * np.sin(angle), total)
    return total


def chirps(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return birds, crickets, beeps: tones between 0.4 and 14 kHz that glide, tremble, come in pulses. float32 [n]."""
    total = np.zeros(size, np.float32)
    count = tones.points(size)
    time = np.arange(count) / tones.POINTS_PER_SECOND
    for _ in range(rng.integers(1, 4)):
        base_hz = 400 * 35 ** rng.random()
        glide = rng.uniform(0, 0.35) * rng.integers(0, 2)
        bend = np.sin(2 * np.pi * 30 ** rng.uniform(-0.5, 1) * time + rng.uniform(0, 6.28))
        level = pulses(count, rng) * 10 ** (rng.uniform(-12, 0) / 20)
        if rng.random() < 0.5:  # a trill
            trill = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(8, 90) * time + rng.uniform(0, 6.28))
            level = level * trill ** rng.uniform(0.5, 3)
        overtones = 10 ** (-rng.uniform(6, 30, int(rng.integers(0, 4))) / 20)
        sines = np.concatenate(([1.0], overtones))
        hz = (base_hz * 2 ** (glide * bend)).astype(np.float32)
        tones.add_tone(hz, level.astype(np.float32), np.zeros(len(sines)), sines, total)
    return total


def pulses(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return a level of pulses with soft edges, of random lengths and pauses, or all 1. float64 [count], 5 ms apart."""
    if rng.random() < 0.2:
        return np.ones(count)
    on_s, off_s = 0.03 * 40 ** rng.random(), 0.03 * 60 ** rng.random()
    envelope = np.zeros(count)
    position = -int(rng.integers(200))
    while position < count:
        end = position + max(2, int(200 * on_s * rng.uniform(0.6, 1.5)))
        envelope[max(position, 0) : max(end, 0)] = 10 ** (rng.uniform(-10, 0) / 20)
        position = end + max(1, int(200 * off_s * rng.exponential()))
    return envelope


def crackle(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return rain, fire, keys, clatter: random clicks that ring in random resonances. float32 [size]."""
    rate = 1.5 * 400 ** rng.random() / SAMPLE_RATE
    places = np.flatnonzero(rng.random(size, np.float32) < rate)
    clicks = np.zeros(size, np.float32)
    clicks[places] = rng.standard_normal(len(places)) * rng.exponential(1, len(places))
    length = int(SAMPLE_RATE * 0.002 * 40 ** rng.random())
    decay = np.exp(-6.9 * np.arange(length) / length)
    ring = rng.standard_normal(length) * rng.uniform(0, 1)
    for _ in range(rng.integers(1, 5)):
        ring += np.sin(2 * np.pi * 200 * 60 ** rng.random() * np.arange(length) / SAMPLE_RATE) * rng.random()
    return convolve(clicks, (ring * decay).astype(np.float32))


def knock(rng: np.random.Generator) -> np.ndarray:
    """Return one click, knock or bang, float32 [5 to 400 ms], peak 1: resonances and noise that die away."""
    length = int(SAMPLE_RATE * 0.005 * 80 ** rng.random())
    time = np.arange(length) / SAMPLE_RATE
    decay_s = length / SAMPLE_RATE / rng.uniform(4, 9)
    white = np.convolve(rng.standard_normal(length), np.ones(int(rng.integers(1, 24))), "same")
    sound = white / np.abs(white).max() * rng.uniform(0, 1) * np.exp(-time / (decay_s * rng.uniform(0.05, 1)))
    for _ in range(rng.integers(1, 6)):
        hz = 70 * 90 ** rng.random()
        fade = np.exp(-time / (decay_s * rng.uniform(0.3, 1)))
        sound += rng.random() * fade * np.sin(2 * np.pi * hz * time + rng.uniform(0, 6.28))
    sound[: SAMPLE_RATE // 2000] *= np.linspace(0, 1, SAMPLE_RATE // 2000)
    return (sound / np.abs(sound).max()).astype(np.float32)


Maker = Callable[[int, np.random.Generator], np.ndarray]

MAKERS: dict[str, Maker] = {
    "colored": colored_noise,
    "hum": hum,
    "chirps": chirps,
    "crackle": crackle,
    "alarm": tones.alarm,
    "siren": tones.siren,
    "phone": tones.phone,
    "horn": tones.horn,
    "instrument": tones.instrument,
    "crickets": tones.crickets,
    "birds": tones.birds,
    "cough": mouths.cough,
    "cry": mouths.cry,
}
"""What can be made up, by the names that recipes use: (samples, generator) -> float32 [samples]."""
