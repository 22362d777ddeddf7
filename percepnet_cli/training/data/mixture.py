"""One training mixture: speech and noise in a room, through a microphone, all drawn from one random generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.training.data import filters
from percepnet_cli.training.data.recipe import RECIPE, Recipe
from percepnet_cli.training.data.tracks import Sources, noise_track, speech_track


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


def room_response(sources: Sources, rng: np.random.Generator, recipe: Recipe) -> np.ndarray:
    """Return a room response from its direct sound on, float32 [n]."""
    if sources.rooms and rng.random() < recipe.given_room:
        response = sources.library.samples(sources.rooms[rng.integers(len(sources.rooms))])
        if len(response):
            response = response[int(np.argmax(np.abs(response))) :]
            return response / np.float32(np.abs(response).max())
    return filters.synthetic_room(rng)


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
            speech = filters.random_filter(speech, rng)
    noise = np.zeros(size, np.float32)
    if not speech_only and sources.noise:
        noise = noise_track(sources, size, rng, recipe) if noise_alone is None else noise_alone

    clean = speech
    if rng.random() < recipe.room:
        response = room_response(sources, rng, recipe)
        clean = filters.convolve(speech, filters.shorten_tail(response, recipe.target_rt60_s))
        speech = filters.convolve(speech, response)
        if rng.random() < recipe.room_on_noise:
            noise = filters.convolve(noise, room_response(sources, rng, recipe))

    speech_level, noise_level = filters.active_rms(speech), filters.active_rms(noise)
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
        noisy, clean = filters.low_pass(np.stack((noisy, clean)), cutoff_hz)
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
