"""What mouths make beside speech, and must not pass for it: coughs, sneezes, crying children.

Recorded ones are few. These are noise and tones through the resonances of a vocal tract, drawn anew each time.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.training.data.filters import convolve
from percepnet_cli.training.data.tones import POINTS_PER_SECOND, add_tone, points

TRACT_TAPS = 1024
"""Length of the filter of a vocal tract: 47 Hz of resolution."""
HARMONICS = 40


def tract_db(hz: np.ndarray, rng: np.random.Generator, slope_db: tuple[float, float]) -> np.ndarray:
    """Return the response of a random vocal tract: three to five resonances on a slope. dB, as many as ``hz``.

    slope_db: range of the slope in dB per octave, above 500 Hz.
    """
    response = rng.uniform(*slope_db) * np.log2(np.maximum(hz, 500) / 500)
    center = rng.uniform(350, 1000)
    for _ in range(rng.integers(3, 6)):
        width = rng.uniform(0.06, 0.2) * center + 60
        response += rng.uniform(8, 22) / (1 + ((hz - center) / width) ** 2)
        center += rng.uniform(500, 1500)
    return response


def _breath(length: int, rng: np.random.Generator, slope_db: tuple[float, float]) -> np.ndarray:
    """Return noise through a vocal tract, float32 [length], RMS 1."""
    hz = np.fft.rfftfreq(TRACT_TAPS, 1 / SAMPLE_RATE)
    magnitude = 10 ** (tract_db(hz, rng, slope_db) / 20) * np.minimum(1, hz / 150)
    taps = np.roll(np.fft.irfft(magnitude), TRACT_TAPS // 2) * np.hanning(TRACT_TAPS)
    sound = convolve(rng.standard_normal(length + TRACT_TAPS, np.float32), taps.astype(np.float32))[TRACT_TAPS:]
    return sound / np.float32(np.sqrt(np.mean(sound**2)) + 1e-9)


def _voice(hz: np.ndarray, level: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a voiced sound, float32 [size]. hz, level: [points], every 5 ms; the RMS is 1 where the level is 1."""
    own = float(hz.mean()) * np.arange(1, HARMONICS + 1)
    strength = 10 ** (tract_db(own, rng, (-9, -3)) / 20)
    strength *= np.sqrt(2 / np.sum(strength**2))
    angle = rng.uniform(0, 2 * np.pi, HARMONICS)
    out = np.zeros(size, np.float32)
    add_tone(hz.astype(np.float32), level.astype(np.float32), strength * np.cos(angle), strength * np.sin(angle), out)
    return out


def _blow(rng: np.random.Generator) -> np.ndarray:
    """Return one blow of a cough or sneeze, float32 [80 to 600 ms], peak 1."""
    length = int(SAMPLE_RATE * 0.08 * 7.5 ** rng.random())
    time = np.arange(length) / SAMPLE_RATE
    attack_s, decay_s = rng.uniform(0.002, 0.02), length / SAMPLE_RATE / rng.uniform(2, 6)
    shape = np.minimum(time / attack_s, 1) * np.exp(-time / decay_s) * np.minimum(1, (length - np.arange(length)) / 480)
    sound = _breath(length, rng, (-7, 3)) * shape

    # The voice in it: its pitch falls
    if rng.random() < 0.6:
        count = points(length)
        fall = np.linspace(1, rng.uniform(0.5, 1), count)
        rough = 1 + rng.uniform(0, 0.06) * rng.standard_normal(count)
        level = np.exp(-np.arange(count) / POINTS_PER_SECOND / decay_s) * 10 ** (rng.uniform(-18, 3) / 20)
        level[:2] *= (0, 0.5)
        level[-2:] = 0
        sound = sound + _voice(110 * 5 ** rng.random() * fall * rough, level, length, rng)
    return np.asarray(sound / np.abs(sound).max(), np.float32)


def _add(sound: np.ndarray, position: int, out: np.ndarray) -> None:
    """Add a sound that begins at a sample, perhaps before the first one, as far as it lies within."""
    start, stop = max(position, 0), min(position + len(sound), len(out))
    if start < stop:
        out[start:stop] += sound[start - position : stop - position]


def cough(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return somebody who coughs or sneezes now and then: breath drawn in, then one to four blows. float32 [size]."""
    out = np.zeros(size, np.float32)
    position = int(SAMPLE_RATE * rng.uniform(0, 1))
    while position < size:
        # In: a soft hiss that grows
        if rng.random() < 0.5:
            length = int(SAMPLE_RATE * rng.uniform(0.15, 0.6))
            rising = np.linspace(0, 1, length) ** rng.uniform(0.5, 2) * np.minimum(1, np.arange(length)[::-1] / 960)
            breath = _breath(length, rng, (-4, 3)) * rising * 10 ** (rng.uniform(-34, -14) / 20)
            _add(breath.astype(np.float32), position, out)
            position += length + int(SAMPLE_RATE * rng.uniform(0.01, 0.2))

        # Out
        for _ in range(rng.integers(1, 5)):
            blow = _blow(rng) * np.float32(10 ** (rng.uniform(-10, 0) / 20))
            _add(blow, position, out)
            position += int(len(blow) * rng.uniform(0.6, 1.2)) + int(SAMPLE_RATE * rng.uniform(0, 0.25))
        position += int(SAMPLE_RATE * 0.4 * 15 ** rng.random())

    # At least one within
    if not out.any():
        _add(_blow(rng), 0, out)
    return out


def cry(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a child that cries: long tones of 300 to 650 Hz that rise and fall, between gasps. float32 [size]."""
    out = np.zeros(size, np.float32)
    base = rng.uniform(300, 650)
    hoarse = 10 ** (rng.uniform(-24, -6) / 20)
    position = -int(SAMPLE_RATE * rng.uniform(0, 1))
    while position < size:
        # A cry
        length = int(SAMPLE_RATE * rng.uniform(0.4, 1.8))
        count = points(length)
        at = np.linspace(0, 1, count)
        bend = np.sin(np.pi * at ** rng.uniform(0.3, 1.5)) * rng.uniform(0, 0.4) - 0.2 * at * rng.random()
        shake = rng.uniform(0, 0.03) * np.sin(2 * np.pi * rng.uniform(4, 9) * at * length / SAMPLE_RATE)
        jitter = rng.uniform(0, 0.02) * rng.standard_normal(count)
        level = np.sin(np.pi * at) ** rng.uniform(0.2, 0.8)
        sound = _voice(base * 2 ** (bend + shake + jitter), level, length, rng)
        envelope = np.interp(np.arange(length), np.linspace(0, length, count), level)
        _add(sound + hoarse * _breath(length, rng, (-6, 0)) * envelope.astype(np.float32), position, out)
        position += length + int(SAMPLE_RATE * rng.uniform(0.03, 0.2))

        # A gasp
        length = int(SAMPLE_RATE * rng.uniform(0.1, 0.35))
        gasp = _breath(length, rng, (-3, 3)) * np.hanning(length) * 10 ** (rng.uniform(-30, -12) / 20)
        _add(gasp.astype(np.float32), position, out)
        position += length + int(SAMPLE_RATE * 0.03 * 40 ** rng.random())
    return out
