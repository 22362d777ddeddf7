"""One training mixture: speech and noise in a room, through a microphone, all drawn from one random generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.training.data import filters, synthetic
from percepnet_cli.training.data.recipe import RECIPE, Recipe
from percepnet_cli.training.data.tracks import Noise, Sources, noise_track, speech_track


@dataclass(frozen=True)
class Mixture:
    """What the analyzers get, and up to where the target can be trusted."""

    noisy: np.ndarray
    """float32 [hops * 480]."""
    clean: np.ndarray
    """The speech to recover, float32 [hops * 480]."""
    bandwidth_hz: float
    """Above this the clean recording holds nothing although the speaker did; see ``Library.known_up_to_hz``."""
    cutoff_hz: float
    """Above this neither signal holds anything."""
    tags: tuple[str, ...] = ()
    """What was drawn, by the names of the recipe."""


def room_response(sources: Sources, rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """Return a room response from its direct sound on, float32 [n]."""
    if sources.rooms and rng.random() < recipe.given_room:
        response = sources.library.samples(sources.rooms[rng.integers(len(sources.rooms))])
        if len(response):
            response = response[int(np.argmax(np.abs(response))) :]
            return filters.trim_tail(response / np.float32(np.abs(response).max()))
    return filters.trim_tail(filters.synthetic_room(rng))


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


def transients(sources: Sources, speech: np.ndarray, rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """Return knocks right before speech sets in after a pause of 200 ms, as loud as the recipe says, float32 [n]."""
    out = np.zeros(len(speech), np.float32)
    loudest = float(np.abs(speech).max())
    for start, _ in phrases(speech, 0.2):
        if rng.random() >= recipe.onset_share:
            continue
        if len(sources.events) and rng.random() < 0.4:
            sound = sources.events.readable(sources.library, rng)[1]
            sound = sound / np.float32(np.abs(sound).max())
        else:
            sound = synthetic.knock(rng)
        lead = rng.uniform(*recipe.onset_lead_ms) * SAMPLE_RATE / 1000
        first = int(start * HOP_SIZE - lead) - int(np.argmax(np.abs(sound)))
        sound = sound[max(0, -first) :]
        first = max(first, 0)
        sound = sound[: len(out) - first] * np.float32(loudest * 10 ** (rng.uniform(*recipe.onset_level_db) / 20))
        out[first : first + len(sound)] += sound
    return out


def draw(
    sources: Sources,
    rng: np.random.Generator,
    recipe: Recipe = RECIPE,
    speech_and_bandwidth: tuple[np.ndarray, float] | None = None,
    noise_alone: Noise | None = None,
) -> Mixture:
    """Draw a mixture, of given tracks or of new ones. The same generator state gives the same samples."""
    size = recipe.size
    kind = rng.random()
    noise_only = kind < recipe.noise_only
    speech_only = not noise_only and kind < recipe.noise_only + recipe.speech_only
    tags = ["noise only"] if noise_only else ["speech only"] if speech_only else []

    # the speech: when it begins, how loud it is where, its colour
    bandwidth_hz = SAMPLE_RATE / 2
    speech = np.zeros(size, np.float32)
    if not noise_only:
        speech, bandwidth_hz = speech_and_bandwidth or speech_track(sources, size, rng, recipe)
        if rng.random() < recipe.delayed_start:
            delay = int(rng.uniform(0.3, 4) * SAMPLE_RATE)
            speech = np.concatenate((np.zeros(delay, np.float32), speech))[:size]
        if rng.random() < recipe.level_steps:
            speech = step_levels(speech, rng, recipe)
            tags.append("level steps")
        if rng.random() < recipe.colour:
            speech = filters.random_filter(speech, rng)

    # what else is heard, and knocks on the table
    noise = Noise(np.zeros(size, np.float32))
    if not speech_only:
        noise = noise_track(sources, size, rng, recipe) if noise_alone is None else noise_alone
    tags += noise.tags
    added = noise.samples
    events = np.zeros(0, np.float32)
    if not noise_only and rng.random() < recipe.onset_transients:
        events = transients(sources, speech, rng, recipe)
        tags.append("onset transients")

    # the room
    clean = speech
    if rng.random() < recipe.room:
        tags.append("room")
        response = room_response(sources, rng, recipe)
        target_response = filters.trim_tail(filters.shorten_tail(response, recipe.target_rt60_s))
        if not noise_only:
            clean, speech = filters.convolve_each(speech, (target_response, response))
        if rng.random() < recipe.room_on_noise:
            elsewhere = room_response(sources, rng, recipe)
            added = filters.convolve(added, elsewhere) if added.any() else added
            events = filters.convolve(events, elsewhere) if len(events) else events

    # levels
    speech_level, noise_level = filters.active_rms(speech), filters.active_rms(added)
    snr_db = rng.uniform(*_snr_range(noise, rng, recipe, tags))
    soft = rng.random() < recipe.soft
    tags += ["soft"] if soft else []
    gain = 10 ** (rng.uniform(*(recipe.soft_level_db if soft else recipe.level_db)) / 20)
    speech_gain = np.float32(gain / speech_level if speech_level > 0 else 0)
    speech, clean = speech * speech_gain, clean * speech_gain
    if noise_level > 0:
        added = added * np.float32(gain * 10 ** (-snr_db / 20 if not noise_only else 0) / noise_level)
    noisy = speech + added
    if len(events):
        noisy += events * speech_gain

    # the recording
    cutoff_hz = SAMPLE_RATE / 2
    if rng.random() < recipe.low_pass:
        usual = [3400.0, 3800.0, 5500.0, 7600.0, 8000.0, 11000.0, 12000.0, 15500.0, 18000.0]
        cutoff_hz = usual[rng.integers(len(usual))] if rng.random() < 0.6 else 3000 * 7 ** rng.random()
        noisy, clean = filters.low_pass(np.stack((noisy, clean)), cutoff_hz)
        tags.append("low pass")
    noisy, clean = _record(noisy, clean, rng, recipe)
    return Mixture(noisy, clean, bandwidth_hz, cutoff_hz, tuple(tags))


def _snr_range(noise: Noise, rng: np.random.Generator, recipe: Recipe, tags: list[str]) -> tuple[float, float]:
    """Return the range from which the SNR is drawn, dB; note if there is hardly any noise."""
    if rng.random() < recipe.nearly_clean:
        tags.append("nearly clean")
        return recipe.nearly_clean_snr_db
    if noise.snr_db is not None:
        return noise.snr_db
    return recipe.usual_snr_db if rng.random() < recipe.usual_snr else recipe.snr_db


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
