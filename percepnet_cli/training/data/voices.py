"""A speaker in a room: running speech with its levels, its color and its reverberation, before any noise.

Several mixtures share a voice, as it costs more to make, and to analyze, than all the rest of a mixture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.training.data import filters, synthetic
from percepnet_cli.training.data.recipe import RECIPE, Recipe
from percepnet_cli.training.data.sources import Sources, draw_speech


@dataclass(frozen=True, eq=False)
class Voice:
    """What is heard of a speaker, and what is to be recovered of it. Arrays are read-only."""

    heard: np.ndarray
    """float32 [n], with an active RMS of 1, or silence."""
    clean: np.ndarray
    """The part of it that is the target, float32 [n]."""
    known_hz: float
    """Up to where the recordings tell what the speaker did."""
    reverberant: bool = False
    tags: tuple[str, ...] = ()
    """What was drawn, by the names of the recipe."""


def draw_rir(sources: Sources, rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """Return a room impulse response from its direct sound on, float32 [n]."""
    if sources.rirs and rng.random() < recipe.given_rir:
        response = sources.library.samples(sources.rirs[rng.integers(len(sources.rirs))])
        if len(response):
            response = response[int(np.argmax(np.abs(response))) :]
            return filters.trim_tail(response / np.float32(np.abs(response).max()))
    return filters.trim_tail(filters.synthetic_rir(rng))


def phrases(speech: np.ndarray, pause_s: float) -> list[tuple[int, int]]:
    """Return where speech begins and ends again after pauses of at least so long, in hops. speech: float32 [n]."""
    energy = filters.frame_energies(speech)
    if not energy.any():
        return []
    active = energy > np.percentile(energy[energy > 0], 95) * 10 ** (-filters.ACTIVE_RANGE_DB / 10)
    hops = np.flatnonzero(active)
    if not len(hops):
        return []
    pauses = np.flatnonzero(np.diff(hops) > pause_s * SAMPLE_RATE / HOP_SIZE)
    starts = hops[np.concatenate(([0], pauses + 1))]
    ends = hops[np.concatenate((pauses, [len(hops) - 1]))] + 1
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def step_levels(speech: np.ndarray, rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """Let the speaker come nearer and go away: steps of level in the pauses. Returns float32 [n]."""
    level_db, gains = 0.0, np.ones(len(speech) // HOP_SIZE + 2, np.float32)
    last_end = 0
    for number, (start, end) in enumerate(phrases(speech, 0.1)):
        if number and rng.random() < 0.6:
            step = rng.uniform(*recipe.level_step_db)
            # down from the first level, up again from below
            level_db += step if level_db < -recipe.level_step_db[0] / 2 else -step
            gains[(last_end + start) // 2 :] = 10 ** (level_db / 20)
        last_end = end
    return speech * synthetic.between(gains, len(speech))


def draw_voice(sources: Sources, rng: np.random.Generator, recipe: Recipe = RECIPE) -> Voice:
    """Draw a speaker, a room, and where in it the speaker is. The same generator state gives the same samples."""
    size, tags = recipe.size, []
    speech, known_hz = draw_speech(sources, size, rng, recipe)

    # when it begins, how loud it is where, its color
    if rng.random() < recipe.delayed_start:
        delay = int(rng.uniform(0.3, 4) * SAMPLE_RATE)
        speech = np.concatenate((np.zeros(delay, np.float32), speech))[:size]
    if rng.random() < recipe.level_steps:
        speech = step_levels(speech, rng, recipe)
        tags.append("level steps")
    if rng.random() < recipe.color:
        speech = filters.random_filter(speech, rng)

    # the room: the target keeps the direct sound and the beginning of what follows it
    clean = speech
    reverberant = rng.random() < recipe.rir
    if reverberant:
        response = draw_rir(sources, rng, recipe)
        target_response = filters.trim_tail(filters.shorten_tail(response, recipe.target_rt60_s))
        clean, speech = filters.convolve_each(speech, (target_response, response))

    level = filters.active_rms(speech)
    scale = np.float32(1 / level if level > 0 else 0)
    heard, clean = speech * scale, clean * scale
    for samples in (heard, clean):
        samples.flags.writeable = False
    return Voice(heard, clean, known_hz, reverberant, tuple(tags))
