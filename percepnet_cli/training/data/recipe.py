"""How training mixtures are drawn: every probability and range.

It follows RNNoise's ``dump_features.c`` and the paper's description (levels, SNR -5..45 dB, random filters and
low-pass, rooms, clipping, silence).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE


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
"""A bit of everything: what a network should have heard of."""

RECORDED = replace(
    RECIPE,
    snr_db=(-5.0, 40.0),
    usual_snr_db=(-6.0, 16.0),
    usual_snr=0.85,
    level_db=(-42.0, -14.0),
    speech_only=0.04,
    noise_only=0.04,
    delayed_start=0.15,
    colour=0.3,
    low_pass=0.12,
    clip=0.03,
    dropout=0.02,
    synthetic_noise=0.08,
    babble=0.04,
    shuffle_grains=0.05,
    cross_synthesis=0.06,
)
"""Mostly recorded noise, at the ratios at which people want it removed: what a network should be best at."""

RECIPES = {"varied": RECIPE, "recorded": RECORDED}
"""What ``train-targets --recipe`` takes."""
