"""One training mixture: running speech, noises, a room, a microphone, all drawn from one random generator.

The recipe follows RNNoise's ``dump_features.c`` and the paper's description (levels, SNR -5..45 dB,
random filters and low-pass, rooms, clipping, silence); every probability stands in ``Recipe``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.resample import change_speed
from percepnet_cli.training import reshape, signals, synthetic
from percepnet_cli.training.corpus import Library, Recording

USUAL_NOISE_S = 5.0
"""Taken for the length of a noise that no table gives."""
LONGEST_NOISE_S = 30.0
"""Length beyond which a noise is drawn no more often."""


@dataclass(frozen=True)
class Recipe:
    """Probabilities and ranges of the augmentation; levels in dB relative to full scale."""

    seconds: float = 8.0
    speech_only: float = 0.08
    noise_only: float = 0.05
    snr_db: tuple[float, float] = (-5.0, 45.0)
    usual_snr_db: tuple[float, float] = (-5.0, 20.0)
    usual_snr: float = 0.7
    """Share of mixtures whose SNR is drawn from the usual range."""
    level_db: tuple[float, float] = (-50.0, -12.0)
    delayed_start: float = 0.2
    room: float = 0.4
    given_room: float = 0.6
    room_on_noise: float = 0.5
    target_rt60_s: float = 0.2
    """The target keeps the first 20 ms of a room and a tail that decays at least as fast as this (V21)."""
    speech_speed: tuple[float, float] = (0.8, 1.25)
    noise_speed: tuple[float, float] = (0.6, 1.6)
    change_speed: float = 0.65
    """Chance that speech, or a noise, is played faster or slower: other voices, other machines."""
    colour: float = 0.7
    low_pass: float = 0.35
    clip: float = 0.07
    round_to_16_bits: float = 0.5
    dropout: float = 0.05
    more_noises: tuple[float, float] = (0.35, 0.1)
    """Chance of a second and of a third noise."""
    synthetic_noise: float = 0.28
    synthetic_kinds: tuple[float, float, float, float] = (0.4, 0.1, 0.3, 0.2)
    """Shares of coloured noise, hum, chirps, crackle."""
    babble: float = 0.08
    shuffle_grains: float = 0.1
    cross_synthesis: float = 0.2
    """Chances that a recorded noise is cut up, or takes over the time course of another."""
    reuse: int = 4
    """Mixtures of a shard that hold the same speech, each with another noise, and the other way round; divides 64."""
    attenuation: float = 0.5
    """Share (in dB) of the paper's attenuation of under-periodic bands that goes into the gain. With ideal gains and
    strengths, 0, 0.5 and 1 gave PESQ 2.95, 2.98, 2.95 and STOI 0.960, 0.952, 0.934 on recordings kept apart."""

    @property
    def size(self) -> int:
        """Samples of a mixture, whole hops."""
        return round(self.seconds * SAMPLE_RATE / HOP_SIZE) * HOP_SIZE


RECIPE = Recipe()


@dataclass(frozen=True)
class Mixture:
    """What the analyzers get, and up to where the target can be trusted."""

    noisy: np.ndarray
    """float32 [hops * 480]."""
    clean: np.ndarray
    """The speech to recover, float32 [hops * 480]."""
    bandwidth_hz: float
    """Above this the clean recording holds nothing although the speaker did."""
    cutoff_hz: float
    """Above this neither signal holds anything."""


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
        level = signals.active_rms(clip)
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
    energy = signals.frame_energies(samples)
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
    energy = signals.frame_energies(clip)
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
                part = reshape.shuffle_grains(part, rng)
            if rng.random() < recipe.cross_synthesis:
                part = reshape.cross_synthesis(part, recorded_noise(sources, size, rng))
        if rng.random() < recipe.colour:
            part = signals.random_filter(part, rng)
        level = signals.active_rms(part)
        if level > 0:
            total += part * np.float32(10 ** (rng.uniform(-12, 0) / 20) / level)
    level = signals.active_rms(total)
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


def room_response(sources: Sources, rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """Return a room response from its direct sound on, float32 [n]."""
    if sources.rooms and rng.random() < recipe.given_room:
        response = sources.library.samples(sources.rooms[rng.integers(len(sources.rooms))])
        if len(response):
            response = response[int(np.argmax(np.abs(response))) :]
            return response / np.float32(np.abs(response).max())
    return signals.synthetic_room(rng)


def draw(
    sources: Sources,
    rng: np.random.Generator,
    recipe: Recipe = RECIPE,
    speech_and_bandwidth: tuple[np.ndarray, float] | None = None,
    noise_alone: np.ndarray | None = None,
) -> Mixture:
    """Draw a mixture, of given tracks or of new ones. The same generator state gives the same samples."""
    size = recipe.size
    kind = rng.random()
    noise_only = kind < recipe.noise_only
    speech_only = not noise_only and kind < recipe.noise_only + recipe.speech_only

    bandwidth_hz = SAMPLE_RATE / 2
    speech = np.zeros(size, np.float32)
    if not noise_only:
        speech, bandwidth_hz = speech_and_bandwidth or speech_track(sources, size, rng, recipe)
        if rng.random() < recipe.delayed_start:
            delay = int(rng.uniform(0.3, 4) * SAMPLE_RATE)
            speech = np.concatenate((np.zeros(delay, np.float32), speech))[:size]
        if rng.random() < recipe.colour:
            speech = signals.random_filter(speech, rng)
    noise = np.zeros(size, np.float32)
    if not speech_only and sources.noise:
        noise = noise_track(sources, size, rng, recipe) if noise_alone is None else noise_alone

    clean = speech
    if rng.random() < recipe.room:
        response = room_response(sources, rng, recipe)
        clean = signals.convolve(speech, signals.shorten_tail(response, recipe.target_rt60_s))
        speech = signals.convolve(speech, response)
        if rng.random() < recipe.room_on_noise:
            noise = signals.convolve(noise, room_response(sources, rng, recipe))

    speech_level, noise_level = signals.active_rms(speech), signals.active_rms(noise)
    low, high = recipe.usual_snr_db if rng.random() < recipe.usual_snr else recipe.snr_db
    snr_db = rng.uniform(low, high)
    gain = 10 ** (rng.uniform(*recipe.level_db) / 20)
    speech_gain = np.float32(gain / speech_level if speech_level > 0 else 0)
    speech, clean = speech * speech_gain, clean * speech_gain
    if noise_level > 0:
        noise = noise * np.float32(gain * 10 ** (-snr_db / 20 if not noise_only else 0) / noise_level)
    noisy = speech + noise

    cutoff_hz = SAMPLE_RATE / 2
    if rng.random() < recipe.low_pass:
        usual = [3400.0, 3800.0, 5500.0, 7600.0, 8000.0, 11000.0, 12000.0, 15500.0, 18000.0]
        cutoff_hz = usual[rng.integers(len(usual))] if rng.random() < 0.6 else 3000 * 7 ** rng.random()
        noisy, clean = signals.low_pass(np.stack((noisy, clean)), cutoff_hz)
    noisy, clean = _record(noisy, clean, rng, recipe)
    return Mixture(noisy, clean, bandwidth_hz, cutoff_hz)


def _record(
    noisy: np.ndarray, clean: np.ndarray, rng: np.random.Generator, recipe: Recipe
) -> tuple[np.ndarray, np.ndarray]:
    """Do what recording equipment does: overload, drop out, round to 16 bits."""
    peak = float(np.abs(noisy).max())
    if rng.random() < recipe.clip and peak > 0:
        gain = np.float32(10 ** (rng.uniform(2, 10) / 20) / peak)
        noisy, clean = np.clip(noisy * gain, -1, 1), clean * gain
    elif peak > 1:
        noisy, clean = noisy / np.float32(peak), clean / np.float32(peak)
    if rng.random() < recipe.dropout:
        start = int(rng.integers(len(noisy)))
        end = start + int(rng.uniform(0.2, 2) * SAMPLE_RATE)
        noisy[start:end] = 0
        clean[start:end] = 0
    if rng.random() < recipe.round_to_16_bits:
        noisy = (np.round(noisy * 32767) / 32767).astype(np.float32)
    return np.ascontiguousarray(noisy, np.float32), np.ascontiguousarray(clean, np.float32)
