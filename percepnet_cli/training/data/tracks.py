"""What a mixture is made of: running speech, and noises recorded, made up, or put together from both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from percepnet_cli.audio.resample import change_speed
from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.training.data import filters, noise_synthesis, synthetic
from percepnet_cli.training.data.corpus import Library, Recording
from percepnet_cli.training.data.recipe import RECIPE, Recipe

USUAL_NOISE_S = 5.0
"""Taken for the length of a noise that no table gives."""
LONGEST_NOISE_S = 30.0
"""Length beyond which a noise is drawn no more often."""


@dataclass
class Sources:
    """Recordings by group, as a mixture draws them."""

    speech: dict[str, list[Recording]]
    noise: list[Recording]
    rooms: list[Recording]
    library: Library = field(default_factory=Library)
    noise_chance: np.ndarray | None = field(init=False)
    """float64 [noises], sums to 1."""

    def __post_init__(self) -> None:
        seconds = np.array([min(r.seconds or USUAL_NOISE_S, LONGEST_NOISE_S) for r in self.noise])
        self.noise_chance = np.sqrt(seconds) / np.sqrt(seconds).sum() if len(seconds) else None

    @classmethod
    def group(cls, speech: Sequence[Recording], noise: Sequence[Recording], rooms: Sequence[Recording]) -> Sources:
        """Sort recordings by speaker."""
        speakers: dict[str, list[Recording]] = {}
        for recording in speech:
            speakers.setdefault(recording.group, []).append(recording)
        return cls(dict(sorted(speakers.items())), list(noise), list(rooms))


def draw_speed(speeds: tuple[float, float], rng: np.random.Generator, recipe: Recipe) -> float:
    """Return by how much a recording is played faster: mostly not at all, else even in the logarithm."""
    if rng.random() >= recipe.change_speed:
        return 1.0
    return float(np.exp(rng.uniform(*np.log(speeds))))


def speech_track(
    sources: Sources, size: int, rng: np.random.Generator, recipe: Recipe = RECIPE
) -> tuple[np.ndarray, float]:
    """Join recordings of one speaker into running speech with natural gaps.

    Speakers are drawn by the root of their number of recordings, so that few do not dominate.
    Returns float32 [size] with an active RMS of 1, and the bandwidth that all recordings share, Hz.
    """
    names = list(sources.speech)
    weight = np.sqrt([min(len(sources.speech[name]), 100) for name in names])
    recordings = sources.speech[names[rng.choice(len(names), p=weight / weight.sum())]]
    track = np.zeros(size, np.float32)
    bandwidth_hz = SAMPLE_RATE / 2
    speed = draw_speed(recipe.speech_speed, rng, recipe)
    position = 0
    for _ in range(200):
        if position >= size:
            break
        recording = recordings[rng.integers(len(recordings))]
        clip = silence_pauses(sources.library.samples(recording))
        level = filters.active_rms(clip)
        if level == 0:
            position += HOP_SIZE
            continue
        needed = math.ceil(size * speed)
        if len(clip) > needed and position == 0:
            start = int(rng.integers(len(clip) - needed + 1))
            clip = clip[start : start + needed]
        if speed != 1:
            clip = change_speed(clip, speed)
        take = min(len(clip), size - position)
        gain = 10 ** (rng.uniform(-2, 2) / 20) / level
        track[position : position + take] = clip[:take] * np.float32(gain)
        bandwidth_hz = min(bandwidth_hz, sources.library.bandwidth_hz(recording) * speed)
        gap_s = rng.uniform(0.05, 0.5) if rng.random() < 0.85 else rng.uniform(0.5, 2.0)
        position += take + int(gap_s * SAMPLE_RATE)
    return track, bandwidth_hz


def silence_pauses(samples: np.ndarray) -> np.ndarray:
    """Make the pauses of a recording silent, with fades of 10 ms, so that its own noise is no target.

    A pause is at least 150 ms of frames more than 40 dB below the loud ones, or within 8 dB of the
    recording's floor; 50 ms on both sides of speech stay.
    """
    energy = filters.frame_energies(samples)
    if len(energy) < 20:
        return samples
    loud, floor = np.percentile(energy, 95), np.percentile(energy, 5)
    threshold = max(loud * 1e-4, min(floor * 10**0.8, loud * 10**-2.2))
    active = energy > threshold
    margin = 5
    kept = np.convolve(active, np.ones(2 * margin + 1), "same") > 0.5
    edges = np.flatnonzero(np.diff(np.concatenate(([1], kept.astype(np.int8), [1]))))
    gate = kept.astype(np.float32)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < 15 - 2 * margin:
            gate[start:end] = 1
    centres = np.arange(len(gate)) * HOP_SIZE + HOP_SIZE // 2
    ramp = np.interp(np.arange(len(samples)), centres, gate).astype(np.float32)
    return samples * ramp


def recorded_noise(sources: Sources, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a stretch of one recording; short ones (keys, clicks) become a run of similar events.

    Recordings are drawn by the root of their length where it is known: minutes of a street hold more than a click.
    """
    recording = sources.noise[rng.choice(len(sources.noise), p=sources.noise_chance)]
    clip = sources.library.samples(recording)
    if len(clip) == 0:
        return np.zeros(size, np.float32)
    if len(clip) < 1.2 * SAMPLE_RATE:
        folder = recording.path.rsplit("/", 1)[0]
        similar = [r for r in sources.noise if r.path.startswith(folder + "/")]
        out = np.zeros(size, np.float32)
        position = 0
        pace_s = rng.uniform(0.08, 0.6)
        while position < size:
            clip = sources.library.samples(similar[rng.integers(len(similar))])[: size - position]
            out[position : position + len(clip)] += clip * np.float32(10 ** (rng.uniform(-8, 0) / 20))
            position += int(max(0.03, rng.gamma(2.0, pace_s / 2)) * SAMPLE_RATE)
        return out
    energy = filters.frame_energies(clip)
    sounding = np.flatnonzero(energy > energy.max() * 1e-7)
    if len(sounding):  # many clips end in digital silence
        clip = clip[sounding[0] * HOP_SIZE : (sounding[-1] + 1) * HOP_SIZE]
    if len(clip) > size:
        start = int(rng.integers(len(clip) - size + 1))
        return clip[start : start + size].copy()
    return _loop(clip, size, rng)


def _loop(clip: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Repeat a clip with 50 ms of cross-fade, from a random point of it."""
    fade = min(SAMPLE_RATE // 20, len(clip) // 2)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    body = clip.copy()
    body[:fade] = body[:fade] * ramp + clip[-fade:] * ramp[::-1]
    body = body[: len(body) - fade]
    return np.resize(np.roll(body, -int(rng.integers(len(body)))), size)


def noise_track(sources: Sources, size: int, rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """Return one to three noises at once, float32 [size] with an active RMS of 1 (or silence)."""
    count = 1 + int(rng.random() < recipe.more_noises[0]) + int(rng.random() < recipe.more_noises[1])
    total = np.zeros(size, np.float32)
    for _ in range(count):
        kind = rng.random()
        if kind < recipe.synthetic_noise:
            makers = (synthetic.coloured_noise, synthetic.hum, synthetic.chirps, synthetic.crackle)
            part = makers[rng.choice(4, p=recipe.synthetic_kinds)](size, rng)
        elif kind < recipe.synthetic_noise + recipe.babble:
            part = np.sum([speech_track(sources, size, rng, recipe)[0] for _ in range(rng.integers(4, 8))], axis=0)
        else:
            speed = draw_speed(recipe.noise_speed, rng, recipe)
            part = recorded_noise(sources, math.ceil(size * speed) + 1, rng)
            if speed != 1:
                part = change_speed(part, speed)
            part = part[:size]
            if rng.random() < recipe.shuffle_grains:
                part = noise_synthesis.shuffle_grains(part, rng)
            if rng.random() < recipe.cross_synthesis:
                part = noise_synthesis.cross_synthesis(part, recorded_noise(sources, size, rng))
        if rng.random() < recipe.colour:
            part = filters.random_filter(part, rng)
        level = filters.active_rms(part)
        if level > 0:
            total += part * np.float32(10 ** (rng.uniform(-12, 0) / 20) / level)
    level = filters.active_rms(total)
    return total / np.float32(level) if level > 0 else total


class Tracks:
    """Speech and noises that several mixtures share: to make one costs as much as all the rest of a mixture.

    Parameters
    ----------
    sources, recipe
        What to make them of, and how.
    seed
        Whole numbers; with the number of a track, they decide on it.
    """

    def __init__(self, sources: Sources, recipe: Recipe, *seed: int) -> None:
        self.sources, self.recipe, self._seed = sources, recipe, seed
        self._speech: dict[int, tuple[np.ndarray, float]] = {}
        self._noise: dict[int, np.ndarray] = {}

    def speech(self, number: int) -> tuple[np.ndarray, float]:
        """Return a speech track, read-only, and its bandwidth; see ``speech_track``."""
        if number not in self._speech:
            rng = np.random.default_rng((*self._seed, 0, number))
            self._speech[number] = speech_track(self.sources, self.recipe.size, rng, self.recipe)
            self._speech[number][0].flags.writeable = False
        return self._speech[number]

    def noise(self, number: int) -> np.ndarray:
        """Return a noise track, read-only; see ``noise_track``."""
        if number not in self._noise:
            rng = np.random.default_rng((*self._seed, 1, number))
            self._noise[number] = noise_track(self.sources, self.recipe.size, rng, self.recipe)
            self._noise[number].flags.writeable = False
        return self._noise[number]
