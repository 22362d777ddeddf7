"""One training mixture: a voice and noise, through a microphone, all drawn from one random generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.training.data import filters, synthetic
from percepnet_cli.training.data.recipe import RECIPE, Recipe
from percepnet_cli.training.data.sources import Noise, Sources, draw_noise
from percepnet_cli.training.data.voices import Voice, draw_rir, draw_voice, phrases


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
    source: tuple[Voice, float] | None = None
    """The voice whose clean part, times a number, is the speech to recover; None if it was changed in other ways."""


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
    voice: Voice | None = None,
    noise: Noise | None = None,
) -> Mixture:
    """Draw a mixture, of a given voice and noise or of new ones. The same generator state gives the same samples."""
    size = recipe.size
    kind = rng.random()
    noise_only = kind < recipe.noise_only
    speech_only = not noise_only and kind < recipe.noise_only + recipe.speech_only
    tags = ["noise only"] if noise_only else ["speech only"] if speech_only else []

    silence = np.zeros(size, np.float32)
    if noise_only:
        voice = Voice(silence, silence, SAMPLE_RATE / 2, rng.random() < recipe.rir)
    elif voice is None:
        voice = draw_voice(sources, rng, recipe)
    tags += voice.tags
    tags += ["rir"] if voice.reverberant else []

    # what else is heard, and knocks on the table
    if speech_only:
        noise = Noise(silence)
    elif noise is None:
        noise = draw_noise(sources, size, rng, recipe)
    tags += noise.tags
    added, events = noise.samples, silence[:0]
    if not noise_only and rng.random() < recipe.onset_transients:
        events = transients(sources, voice.clean, rng, recipe)
        tags.append("onset transients")
    if voice.reverberant and rng.random() < recipe.rir_on_noise:
        elsewhere = draw_rir(sources, rng, recipe)
        added = filters.convolve(added, elsewhere) if added.any() else added
        events = filters.convolve(events, elsewhere) if len(events) else events

    # levels
    snr_db = rng.uniform(*_snr_range(noise, rng, recipe, tags))
    soft = rng.random() < recipe.soft
    tags += ["soft"] if soft else []
    level = 10 ** (rng.uniform(*(recipe.soft_level_db if soft else recipe.level_db)) / 20)
    noise_level = filters.active_rms(added)
    noisy = voice.heard * np.float32(level)
    if noise_level > 0:
        noisy += added * np.float32(level * 10 ** (-snr_db / 20 if not noise_only else 0) / noise_level)
    if len(events):
        noisy += events * np.float32(level)
    clean = voice.clean * np.float32(level)

    # the recording
    cutoff_hz = SAMPLE_RATE / 2
    if rng.random() < recipe.low_pass:
        usual = [3400.0, 3800.0, 5500.0, 7600.0, 8000.0, 11000.0, 12000.0, 15500.0, 18000.0]
        cutoff_hz = usual[rng.integers(len(usual))] if rng.random() < 0.6 else 3000 * 7 ** rng.random()
        noisy, clean = filters.low_pass(np.stack((noisy, clean)), cutoff_hz)
        tags.append("low pass")
    noisy, clean, gain, whole = _record(noisy, clean, rng, recipe)
    source = (voice, level * gain) if whole and "low pass" not in tags else None
    return Mixture(noisy, clean, voice.known_hz, cutoff_hz, tuple(tags), source)


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
) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """Do what recording equipment does: overload, drop out, round to 16 bits.

    Returns both signals, float32 [n], by how much they were raised, and whether nothing is missing of the clean one.
    """
    peak = float(np.abs(noisy).max())
    gain = 1.0
    if rng.random() < recipe.clip and peak > 0:
        gain = 10 ** (rng.uniform(2, 10) / 20) / peak
        noisy, clean = np.clip(noisy * np.float32(gain), -1, 1), clean * np.float32(gain)
    elif peak > 1:
        gain = 1 / peak
        noisy, clean = noisy / np.float32(peak), clean / np.float32(peak)
    dropout = rng.random() < recipe.dropout
    if dropout:
        start = int(rng.integers(len(noisy)))
        end = start + int(rng.uniform(0.2, 2) * SAMPLE_RATE)
        noisy[start:end] = 0
        clean[start:end] = 0
    if rng.random() < recipe.round_to_16_bits:
        noisy = np.round(noisy * np.float32(32767)) / np.float32(32767)
    return np.ascontiguousarray(noisy, np.float32), np.ascontiguousarray(clean, np.float32), gain, not dropout


class SourcePool:
    """Voices and noises that several mixtures share: to make one costs as much as all the rest of a mixture.

    Parameters
    ----------
    sources, recipe
        What to make them of, and how.
    seed
        Whole numbers; with the number of a voice or noise, they decide on it.
    """

    def __init__(self, sources: Sources, recipe: Recipe, *seed: int) -> None:
        self.sources, self.recipe, self._seed = sources, recipe, seed
        self._voices: dict[int, Voice] = {}
        self._noises: dict[int, Noise] = {}

    def voice(self, number: int) -> Voice:
        """Return a voice; see ``draw_voice``."""
        if number not in self._voices:
            rng = np.random.default_rng((*self._seed, 0, number))
            self._voices[number] = draw_voice(self.sources, rng, self.recipe)
        return self._voices[number]

    def noise(self, number: int) -> Noise:
        """Return a noise, read-only; see ``draw_noise``."""
        if number not in self._noises:
            rng = np.random.default_rng((*self._seed, 1, number))
            self._noises[number] = draw_noise(self.sources, self.recipe.size, rng, self.recipe)
            self._noises[number].samples.flags.writeable = False
        return self._noises[number]
