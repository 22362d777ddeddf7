"""Harmonic noises that must not pass for a voice: alarms, sirens, telephones, horns, instruments, insects, birds.

Each is one or several tones whose pitch and level are drawn at points 5 ms apart.
"""

from __future__ import annotations

import math

import numpy as np

from percepnet_cli.compute.jit import fast_kernel
from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE

STEP = HOP_SIZE // 2
"""Samples between two points of a course of pitch or level."""
POINTS_PER_SECOND = SAMPLE_RATE // STEP
HIGHEST_HZ = 21000.0
"""Harmonics above this are left out."""

DTMF_HZ = ((697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0, 1633.0))
"""Rows and columns of a telephone's keys (ITU-T Q.23)."""
CALL_HZ = ((440.0, 480.0), (400.0, 450.0), (425.0, 425.0), (350.0, 440.0), (480.0, 620.0))
"""Pairs of tones that telephone networks of several countries call, ring or are busy with (ITU-T E.180)."""
SCALE = (0, 2, 4, 5, 7, 9, 11)
"""Semitones of a major scale."""


@fast_kernel
def add_tone(hz: np.ndarray, level: np.ndarray, cosines: np.ndarray, sines: np.ndarray, out: np.ndarray) -> None:
    """Add a tone with harmonics to a signal.

    hz, level: float32 [points], pitch in Hz and amplitude every 240 samples, interpolated; cosines, sines: float64
    [harmonics], amplitudes; out: float32 [n], n at most (points - 1) * 240. Harmonics above 21 kHz are left out.
    """
    phase = 0.0
    work = np.empty((5, STEP))
    c1, s1, c, s, total = work[0], work[1], work[2], work[3], work[4]

    for point in range(min(hz.shape[0] - 1, (out.shape[0] + STEP - 1) // STEP)):
        first = point * STEP
        start_hz = np.float64(hz[point])
        slope = (np.float64(hz[point + 1]) - start_hz) / STEP
        turn = 2 * math.pi / SAMPLE_RATE

        if level[point] == 0 and level[point + 1] == 0:
            phase = (phase + turn * STEP * (start_hz + slope * STEP / 2)) % (2 * math.pi)
            continue

        for n in range(STEP):
            angle = phase + turn * n * (start_hz + slope * n / 2)
            c1[n], s1[n] = math.cos(angle), math.sin(angle)
            c[n], s[n], total[n] = c1[n], s1[n], 0.0
        phase = (phase + turn * STEP * (start_hz + slope * STEP / 2)) % (2 * math.pi)

        # cos((k + 1) p) and sin((k + 1) p) follow from those of k p and of p
        highest = max(start_hz, start_hz + slope * STEP, 1.0)
        for k in range(min(cosines.shape[0], int(HIGHEST_HZ / highest))):
            for n in range(STEP):
                total[n] += cosines[k] * c[n] + sines[k] * s[n]
                cosine = c[n] * c1[n] - s[n] * s1[n]
                s[n] = s[n] * c1[n] + c[n] * s1[n]
                c[n] = cosine

        start_level = np.float64(level[point])
        change = (np.float64(level[point + 1]) - start_level) / STEP
        for n in range(min(STEP, out.shape[0] - first)):
            out[first + n] += np.float32(total[n] * (start_level + change * n))


def points(size: int) -> int:
    """Return the number of points of a course for a signal of so many samples."""
    return -(-size // STEP) + 1


def spectrum(rng: np.random.Generator, most: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Draw the harmonics of a tone: pure, square, or rich with a random slope. float64 [harmonics] each, energy 1."""
    kind = rng.random()
    if kind < 0.25:
        strength = np.array([1.0])
    elif kind < 0.5:
        order = np.arange(1, most + 1)
        strength = np.where(order % 2 == 1, 1 / order ** rng.uniform(0.8, 2), 0.0)
    else:
        order = np.arange(1, int(rng.integers(2, most + 1)) + 1)
        strength = order ** -rng.uniform(0.3, 2.2) * 10 ** (rng.normal(0, 5, len(order)) / 20)
    strength = strength / np.sqrt(np.sum(strength**2))
    angle = rng.uniform(0, 2 * np.pi, len(strength))
    return strength * np.cos(angle), strength * np.sin(angle)


def _ms(ms: float) -> int:
    """Return a time in points, at least one."""
    return max(1, round(ms * POINTS_PER_SECOND / 1000))


def note(length: int, rng: np.random.Generator, decaying: bool) -> np.ndarray:
    """Return the level of a note over time, float64 [length]: a short attack, then steady or decaying, a release."""
    attack, release = min(_ms(rng.uniform(2, 30)), length), min(_ms(rng.uniform(5, 60)), length)
    time = np.arange(length)
    level = np.minimum((time + 1) / (attack + 1), 1.0)
    if decaying:
        level = level * np.exp(-time / _ms(60 * 15 ** rng.random()))
    return level * np.minimum((length - time) / (release + 1), 1.0)


def alarm(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return beeps in a steady pattern: alarm clocks, smoke detectors, reversing lorries, timers. float32 [size]."""
    count = points(size)
    base = 350 * 13 ** rng.random()
    pitches = base * 2 ** (np.array([0, rng.choice([0, 0, 2, 3, 4, 5, 7, -5]), rng.choice([0, 0, 4, 7])]) / 12)
    on, off = _ms(30 * 30 ** rng.random()), _ms(20 * 30 ** rng.random())
    group, pause = int(rng.integers(1, 6)), _ms(100 * 25 ** rng.random())
    decaying = rng.random() < 0.3
    hz, level = np.full(count, base, np.float32), np.zeros(count, np.float32)
    position, number = -int(rng.integers(0, group * (on + off) + pause)), 0
    while position < count:
        end = position + on
        start, stop = max(position, 0), min(max(end, 0), count)
        if stop > start:
            hz[start : stop + off] = pitches[number % len(pitches)]
            level[start:stop] = note(on, rng, decaying)[start - position : stop - position]
        number += 1
        position = end + (off if number % group else pause)
    out = np.zeros(size, np.float32)
    add_tone(hz, level, *spectrum(rng), out)
    return out


def siren(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a siren that wails, yelps or has two tones, and may pass by. float32 [size]."""
    count = points(size)
    time = np.arange(count) / POINTS_PER_SECOND
    low = rng.uniform(300, 900)
    high = low * rng.uniform(1.15, 3)
    kind = rng.integers(4)
    rate = (rng.uniform(0.08, 0.5), rng.uniform(2, 6), rng.uniform(0.4, 1.2), rng.uniform(8, 18))[kind]
    turn = (rate * time + rng.random()) % 1

    # Where between low and high it is: in steps, evenly up and down, or slow to fall
    if kind == 2:
        height = (turn < 0.5).astype(float)
    elif rng.random() < 0.5:
        height = 0.5 - 0.5 * np.cos(2 * np.pi * turn)
    else:  # slow to fall
        rise = rng.uniform(0.2, 0.6)
        height = np.where(turn < rise, turn / rise, (1 - turn) / (1 - rise))

    # Passing by: the pitch falls (Doppler), the level rises and falls
    passing = np.tanh((time - rng.uniform(-4, 12)) / rng.uniform(0.5, 4))
    hz = low * (high / low) ** height * (1 - rng.uniform(0, 0.05) * passing)
    level = 10 ** (-rng.uniform(0, 18) / 20 * np.abs(passing))

    out = np.zeros(size, np.float32)
    add_tone(hz.astype(np.float32), level.astype(np.float32), *spectrum(rng), out)
    return out


def phone(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a telephone: keys, call and busy tones, an old bell, a ringing melody. float32 [size]."""
    count = points(size)
    out = np.zeros(size, np.float32)
    kind = rng.integers(4)

    if kind == 3:
        return _melody(size, rng, 350 * 5 ** rng.random(), 0.06 * 6 ** rng.random())

    # Pairs of frequencies, and how long they sound and pause
    if kind == 0:  # keys
        on, off = _ms(rng.uniform(50, 250)), _ms(rng.uniform(40, 500))
        pairs = [(float(rng.choice(DTMF_HZ[0])), float(rng.choice(DTMF_HZ[1]))) for _ in range(count // (on + off) + 2)]
        cadence = [(on, off)]
    else:  # tones of the network; a bell's hammer swings 15 to 30 times a second
        bell = kind == 2
        base = rng.uniform(600, 2400)
        pair = (base, base * rng.uniform(1.1, 1.6)) if bell else CALL_HZ[rng.integers(len(CALL_HZ))]
        long_on, long_off = _ms(rng.uniform(200, 2000)), _ms(rng.uniform(200, 4000))
        cadence = [(long_on, long_off)]
        if rng.random() < 0.4:
            cadence.insert(0, (long_on, _ms(200)))
        pairs = [pair]

    first = -int(rng.integers(0, 200))

    # Both frequencies of a pair, one after the other over the whole length
    for voice in range(2):
        hz, level = np.zeros(count, np.float32), np.zeros(count, np.float32)
        position, number = first, 0
        while position < count:
            on, off = cadence[number % len(cadence)]
            start, stop = max(position, 0), min(max(position + on, 0), count)
            hz[start : stop + off] = pairs[number % len(pairs)][voice]
            level[start:stop] = 1.0
            position += on + off
            number += 1

        if kind == 2:
            strokes = (np.arange(count) * rng.uniform(15, 30) / POINTS_PER_SECOND) % 1
            level *= np.exp(-strokes * rng.uniform(0.5, 4)).astype(np.float32)

        cosines, sines = spectrum(rng, 8) if kind == 2 else (np.array([1.0]), np.array([0.0]))
        add_tone(hz, level, cosines, sines, out)

    return out


def horn(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return horns of cars, lorries, trains, ships: one chord, blown now and then. float32 [size]."""
    count = points(size)
    base = 90 * 6 ** rng.random()
    chord = base * 2 ** (np.array([0, 4, 7, 12, 3, 5, 9])[: rng.integers(1, 5)] / 12)
    chord = chord * (1 + rng.normal(0, 0.01, len(chord)))
    level = np.zeros(count, np.float32)
    position = int(rng.integers(0, 200))
    while position < count:
        length = _ms(80 * 40 ** rng.random())
        stop = min(position + length, count)
        level[position:stop] = note(length, rng, False)[: stop - position]
        position += length + _ms(80 * 60 ** rng.random())
    out = np.zeros(size, np.float32)
    wobble = 1 + 0.004 * np.sin(2 * np.pi * rng.uniform(0.5, 6) * np.arange(count) / POINTS_PER_SECOND)
    for hz in chord:
        add_tone((hz * wobble).astype(np.float32), level, *spectrum(rng, 32), out)
    return out


def instrument(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return an instrument that plays: notes of a scale, struck or held, with or without vibrato. float32 [size]."""
    out = _melody(size, rng, 60 * 16 ** rng.random(), 0.12 * 10 ** rng.random())
    if rng.random() < 0.4:  # a second hand
        out += _melody(size, rng, 60 * 8 ** rng.random(), 0.2 * 10 ** rng.random())
    return out


def _melody(size: int, rng: np.random.Generator, base_hz: float, note_s: float) -> np.ndarray:
    """Return notes of a major scale above a pitch, one after the other in small steps."""
    count = points(size)
    time = np.arange(count) / POINTS_PER_SECOND
    hz, level = np.full(count, base_hz), np.zeros(count)
    decaying, legato = rng.random() < 0.5, rng.uniform(0.5, 1.0)
    position, degree = -int(rng.integers(0, 100)), int(rng.integers(0, 8))

    while position < count:
        length = _ms(1000 * note_s * rng.choice([0.5, 1, 1, 1, 2]))
        start, stop = max(position, 0), min(max(position + length, 0), count)
        if stop > start:
            octave, step = divmod(degree, len(SCALE))
            hz[start:stop] = base_hz * 2 ** (octave + SCALE[step] / 12)
            sounding = max(1, int(length * legato))
            shape = np.zeros(length)
            shape[:sounding] = note(sounding, rng, decaying)
            level[start:stop] = shape[start - position : stop - position] * (rng.random() > 0.1)
        position += length
        degree = int(np.clip(degree + rng.integers(-3, 4), 0, 14))

    # Vibrato
    if rng.random() < 0.6:
        hz = hz * 2 ** (rng.uniform(0.1, 0.8) / 12 * np.sin(2 * np.pi * rng.uniform(4, 7.5) * time))

    out = np.zeros(size, np.float32)
    add_tone(hz.astype(np.float32), level.astype(np.float32), *spectrum(rng), out)
    return out


def crickets(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return insects: pulses of a high tone, in groups or without end. float32 [size]."""
    count = points(size)
    out = np.zeros(size, np.float32)
    time = np.arange(count) / POINTS_PER_SECOND
    for _ in range(rng.integers(1, 4)):
        base = rng.uniform(2200, 9000)
        pulses = 0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(12, 90) * time + rng.uniform(0, 6.28))
        level = pulses ** rng.uniform(0.5, 3)
        if rng.random() < 0.7:  # chirps of several pulses
            turn = (time * rng.uniform(0.5, 5) + rng.random()) % 1
            level = level * (turn < rng.uniform(0.2, 0.7))
        hz = base * (1 + rng.uniform(0, 0.03) * (pulses - 0.5))
        level = level * 10 ** (rng.uniform(-12, 0) / 20)
        add_tone(hz.astype(np.float32), level.astype(np.float32), *spectrum(rng, 3), out)
    return out


def birds(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return birds: a phrase of short glides, again and again. float32 [size]."""
    count = points(size)
    out = np.zeros(size, np.float32)
    for _ in range(rng.integers(1, 4)):
        base = 1200 * 5 ** rng.random()

        # One bird: a few glides with gaps
        phrase = []
        for _ in range(rng.integers(1, 7)):
            length = _ms(rng.uniform(20, 250))
            at = np.linspace(0, 1, length)
            bend = rng.normal(0, 0.35) * at + rng.normal(0, 0.25) * np.sin(2 * np.pi * rng.uniform(0.5, 4) * at)
            pitch = base * 2 ** (rng.normal(0, 0.3) + bend)
            phrase.append((pitch, np.sin(np.pi * at) ** rng.uniform(0.5, 2), _ms(rng.uniform(10, 150))))

        # It sings them again and again, after pauses of 0.15 to 4 s
        hz, level = np.full(count, base, np.float32), np.zeros(count, np.float32)
        position = int(rng.integers(0, 300))
        while position < count:
            for pitch, shape, gap in phrase:
                stop = min(position + len(pitch), count)
                if stop > position:
                    hz[position:stop], level[position:stop] = pitch[: stop - position], shape[: stop - position]
                position += len(pitch) + gap
            position += _ms(150 * 25 ** rng.random())

        add_tone(hz, level * np.float32(10 ** (rng.uniform(-12, 0) / 20)), *spectrum(rng, 4), out)

    return out
