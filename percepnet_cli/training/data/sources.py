"""What a mixture is made of: running speech, and noises recorded, made up, or put together from both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from percepnet_cli.audio.resample import change_speed
from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.training.data import filters, noise_synthesis, synthetic
from percepnet_cli.training.data.corpus import Library, Recording
from percepnet_cli.training.data.draws import Draw, noise_draw, speech_draw
from percepnet_cli.training.data.recipe import RECIPE, Recipe

EVENT_S = 1.2
"""Noises shorter than this are single events: keys, knocks."""
LONGEST_SPEECH_S = 30.0
"""Of a longer recording of speech, no more than this is looked at."""


class Sources:
    """Recordings, and how often each is drawn.

    Parameters
    ----------
    speech, noise, rirs
        What there is. Noise of the kind ``music`` is drawn as music only.
    recipe
        Limits the shares of single words and of narrow recordings.
    library
        Reads them; None makes one.
    """

    def __init__(
        self,
        speech: Sequence[Recording],
        noise: Sequence[Recording],
        rirs: Sequence[Recording],
        recipe: Recipe = RECIPE,
        library: Library | None = None,
    ) -> None:
        self.speech: Draw = speech_draw(speech, recipe.words_share, recipe.narrow_share)
        self.noise: Draw = noise_draw([r for r in noise if r.kind != "music"])
        self.music: Draw = noise_draw([r for r in noise if r.kind == "music"])
        self.events: Draw = noise_draw([r for r in self.noise.recordings if r.seconds and r.seconds < EVENT_S])
        """Noises known to be single events."""
        self.rirs = list(rirs)
        self.library = Library() if library is None else library


@dataclass(frozen=True)
class Noise:
    """A noise, and the SNR that goes with it."""

    samples: np.ndarray
    """float32 [n] with an active RMS of 1, or silence."""
    snr_db: tuple[float, float] | None = None
    """Range of the SNR at which it is to be heard; None: that of the recipe."""
    tags: tuple[str, ...] = ()
    """What it is made of."""


def draw_speed(speeds: tuple[float, float], rng: np.random.Generator, recipe: Recipe) -> float:
    """Return by how much a recording is played faster: mostly not at all, else even in the logarithm."""
    if rng.random() >= recipe.change_speed:
        return 1.0
    return float(np.exp(rng.uniform(*np.log(speeds))))


def draw_speech(
    sources: Sources, size: int, rng: np.random.Generator, recipe: Recipe = RECIPE, speaker: int | None = None
) -> tuple[np.ndarray, float]:
    """Join recordings of one speaker into running speech with natural gaps.

    See ``draws.speech_draw`` for how often a speaker is drawn; `speaker` is the number of one, if it is given.
    Returns float32 [size] with an active RMS of 1, and up to where all recordings tell what the
    speaker did, Hz.
    """
    speech = np.zeros(size, np.float32)
    bandwidth_hz = SAMPLE_RATE / 2
    speed = draw_speed(recipe.speech_speed, rng, recipe)
    needed = math.ceil(size * speed)

    position = 0
    for _ in range(200):
        if position >= size:
            break

        # The next recording of the speaker; one without speech leaves a gap
        longest = max(needed, int(LONGEST_SPEECH_S * SAMPLE_RATE))
        recording, clip, speaker = sources.speech.readable(sources.library, rng, speaker, longest)
        clip = silence_pauses(clip)
        level = filters.active_rms(clip)
        if level == 0:
            position += HOP_SIZE
            continue

        # A long one is entered anywhere; all are played at one speed
        if len(clip) > needed and position == 0:
            start = int(rng.integers(len(clip) - needed + 1))
            clip = clip[start : start + needed]
        if speed != 1:
            clip = change_speed(clip[: math.ceil((size - position) * speed) + HOP_SIZE], speed)

        # As loud as the others, give or take 2 dB
        take = min(len(clip), size - position)
        gain = 10 ** (rng.uniform(-2, 2) / 20) / level
        speech[position : position + take] = clip[:take] * np.float32(gain)
        bandwidth_hz = min(bandwidth_hz, sources.library.known_up_to_hz(recording) * speed)

        # A pause, mostly short
        gap_s = rng.uniform(0.05, 0.5) if rng.random() < 0.85 else rng.uniform(0.5, 2.0)
        position += take + int(gap_s * SAMPLE_RATE)

    return speech, bandwidth_hz


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
    # full or empty in the middle of each frame, and fading in between
    points = np.concatenate((gate[:1], gate, gate[-1:], gate[-1:]))
    fades = synthetic.between(points, len(samples) + HOP_SIZE // 2)[HOP_SIZE // 2 :]
    return samples * fades


def recorded_noise(sources: Sources, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a segment of one recording; short ones (keys, clicks) become a run of similar events.

    See ``draws.noise_draw`` for how often a recording is drawn.
    """
    _, clip, folder = sources.noise.readable(sources.library, rng, size=2 * size)
    if len(clip) < EVENT_S * SAMPLE_RATE:
        out = np.zeros(size, np.float32)
        position = 0
        pace_s = rng.uniform(0.08, 0.6)
        while position < size:
            _, clip, _ = sources.noise.readable(sources.library, rng, folder, size)
            clip = clip[: size - position]
            out[position : position + len(clip)] += clip * np.float32(10 ** (rng.uniform(-8, 0) / 20))
            position += int(max(0.03, rng.gamma(2.0, pace_s / 2)) * SAMPLE_RATE)
        return out
    return _lengthen(clip, size, rng)


def _lengthen(clip: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a segment of the wanted length out of a clip, or repeat it."""
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


def crowd(sources: Sources, size: int, rng: np.random.Generator, recipe: Recipe, voices: int) -> np.ndarray:
    """Return several voices at once, of different speakers as far as there are, float32 [size]."""
    total = np.zeros(size, np.float32)
    for speaker in sources.speech.several(voices, rng):
        voice, _ = draw_speech(sources, size, rng, recipe, speaker)
        total += np.roll(voice, int(rng.integers(size))) * np.float32(10 ** (rng.uniform(-3, 3) / 20))
    return total


def coming_and_going(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the gain of a noise that sets in, ends, pauses or changes its level, float32 [size], at most 1."""
    seconds = size / SAMPLE_RATE
    kind = rng.integers(4)

    # Times and levels between which it fades
    if kind < 2:  # from nothing, or to nothing
        start = rng.uniform(0, 0.7) * seconds
        times = [start, start + 0.005 * 600 ** rng.random()]
        levels_db = [-80.0, 0.0] if kind == 0 else [0.0, -80.0]
    elif kind == 2:
        times, levels_db = [0.0], [0.0]
        for _ in range(rng.integers(1, 4)):
            start = times[-1] + rng.uniform(0.2, 3)
            fade = 0.005 * 60 ** rng.random()
            end = start + fade + rng.uniform(0.2, 2)
            times += [start, start + fade, end, end + fade]
            levels_db += [0.0, -80.0, -80.0, 0.0]
    else:
        times, levels_db = [0.0], [float(rng.uniform(-20, 0))]
        while times[-1] < seconds:
            start = times[-1] + rng.uniform(0.3, 3)
            times += [start, start + rng.uniform(0.02, 0.5)]
            levels_db += [levels_db[-1], float(rng.uniform(-20, 0))]

    # Linear in dB from point to point; below -60 dB it is silence
    hops = np.arange(size // HOP_SIZE + 2) * (HOP_SIZE / SAMPLE_RATE)
    gain = 10 ** (np.interp(hops, times, levels_db) / 20)
    gain[gain <= 1e-3] = 0
    return synthetic.between(gain.astype(np.float32), size)


def _one_noise(sources: Sources, size: int, rng: np.random.Generator, recipe: Recipe) -> tuple[np.ndarray, str]:
    """Return one noise of any kind, float32 [size], and its name."""
    kind = rng.random()
    if kind < recipe.synthetic_noise or not len(sources.noise):
        names, shares = zip(*recipe.synthetic_kinds, strict=True)
        name = names[rng.choice(len(names), p=np.array(shares) / sum(shares))]
        return synthetic.MAKERS[name](size, rng), name
    if kind < recipe.synthetic_noise + recipe.babble and len(sources.speech):
        low, high = recipe.babble_voices
        return crowd(sources, size, rng, recipe, int(rng.integers(low, high + 1))), "babble"
    speed = draw_speed(recipe.noise_speed, rng, recipe)
    part = recorded_noise(sources, math.ceil(size * speed) + 1, rng)
    if speed != 1:
        part = change_speed(part, speed)
    part = part[:size]
    if rng.random() < recipe.shuffle_grains:
        part = noise_synthesis.shuffle_grains(part, rng)
    if rng.random() < recipe.cross_synthesis:
        part = noise_synthesis.cross_synthesis(part, recorded_noise(sources, size, rng))
    return part, "recorded"


def draw_noise(sources: Sources, size: int, rng: np.random.Generator, recipe: Recipe) -> Noise:
    """Draw music, a crowd, or one to three noises at once or one after the other."""
    scene = rng.random()
    if scene < recipe.music and len(sources.music):
        _, clip, _ = sources.music.readable(sources.library, rng, size=2 * size)
        return Noise(_leveled(_lengthen(clip, size, rng)), recipe.music_snr_db, ("music",))
    if recipe.music <= scene < recipe.music + recipe.crowd and len(sources.speech):
        low, high = recipe.crowd_voices
        voices = crowd(sources, size, rng, recipe, int(rng.integers(low, high + 1)))
        return Noise(_leveled(voices), recipe.crowd_snr_db, ("crowd",))

    count = 1 + int(rng.random() < recipe.more_noises[0]) + int(rng.random() < recipe.more_noises[1])
    switching = count > 1 and rng.random() < recipe.noise_switch
    turns = np.sort(rng.random(count - 1)) * size if switching else np.zeros(0)
    fade = SAMPLE_RATE * 0.005 * 60 ** rng.random()
    tags = ["switch"] if switching else []
    total = np.zeros(size, np.float32)
    for number in range(count):
        part, name = _one_noise(sources, size, rng, recipe)
        tags.append(name)
        if rng.random() < recipe.color:
            part = filters.random_filter(part, rng)
        if rng.random() < recipe.noise_course:
            part = part * coming_and_going(size, rng)
            tags.append("course")
        if switching:
            hops = np.arange(size // HOP_SIZE + 2) * HOP_SIZE
            share = np.ones(len(hops))
            for turn, sign in ((number - 1, 1), (number, -1)):
                if 0 <= turn < len(turns):
                    share = np.minimum(share, np.clip(0.5 + sign * (hops - turns[turn]) / fade, 0, 1))
            part = part * synthetic.between(share.astype(np.float32), size)
        level = filters.active_rms(part)
        if level > 0:
            total += part * np.float32(10 ** (rng.uniform(-12, 0) / 20) / level)
    return Noise(_leveled(total), None, tuple(tags))


def _leveled(samples: np.ndarray) -> np.ndarray:
    """Bring the active RMS to 1; silence stays."""
    level = filters.active_rms(samples)
    return samples / np.float32(level) if level > 0 else samples
