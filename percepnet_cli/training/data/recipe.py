"""How training mixtures are drawn: every probability and range.

It follows RNNoise's ``dump_features.c`` and [Valin 2020] (levels, SNR -5..45 dB, random filters and
low-pass, room impulse responses (RIR), clipping, silence).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE

Kinds = tuple[tuple[str, float], ...]
"""Names of synthetic noises (``synthetic.MAKERS``) and their shares, which sum to 1."""


@dataclass(frozen=True)
class Recipe:
    """Probabilities and ranges of the augmentation; levels in dB relative to full scale."""

    seconds: float = 8.0
    speech_only: float = 0.08
    noise_only: float = 0.05
    words_share: float = 0.1
    narrow_share: float = 0.1
    """Largest share of single words (tables that say so), and of recordings that end at 8 kHz, in the speech."""

    # SNR and levels
    snr_db: tuple[float, float] = (-5.0, 45.0)
    usual_snr_db: tuple[float, float] = (-5.0, 20.0)
    usual_snr: float = 0.7
    """Share of mixtures whose SNR is drawn from the usual range."""
    nearly_clean: float = 0.0
    nearly_clean_snr_db: tuple[float, float] = (25.0, 45.0)
    """Share of mixtures in which there is hardly anything to remove, whatever the noise."""
    level_db: tuple[float, float] = (-50.0, -12.0)
    soft: float = 0.0
    soft_level_db: tuple[float, float] = (-60.0, -42.0)
    """Share of soft mixtures; their SNR is drawn like that of others."""
    level_steps: float = 0.0
    level_step_db: tuple[float, float] = (10.0, 20.0)
    """Chance that the speech changes its level from phrase to phrase, and by how much, up or down."""

    # room impulse responses (RIR) and the recording
    delayed_start: float = 0.2
    rir: float = 0.4
    given_rir: float = 0.6
    rir_on_noise: float = 0.5
    target_rt60_s: float = 0.2
    """The target keeps the first 20 ms of a room and a tail that decays at least as fast as this [Valin 2021]."""
    speech_speed: tuple[float, float] = (0.8, 1.25)
    noise_speed: tuple[float, float] = (0.6, 1.6)
    change_speed: float = 0.65
    """Chance that speech, or a noise, is played faster or slower: other voices, other machines."""
    color: float = 0.7
    low_pass: float = 0.35
    clip: float = 0.07
    round_to_16_bits: float = 0.5
    dropout: float = 0.05

    # noise
    music: float = 0.0
    music_snr_db: tuple[float, float] = (0.0, 15.0)
    """Share of noises that are one continuous piece of music, if there is any among the recordings."""
    crowd: float = 0.0
    crowd_voices: tuple[int, int] = (3, 6)
    crowd_snr_db: tuple[float, float] = (-3.0, 10.0)
    """Share of noises that are some voices as loud as the speaker. One alone would be no noise: never fewer than 3."""
    more_noises: tuple[float, float] = (0.35, 0.1)
    """Chance of a second and of a third noise."""
    synthetic_noise: float = 0.28
    synthetic_kinds: Kinds = (("colored", 0.4), ("hum", 0.1), ("chirps", 0.3), ("crackle", 0.2))
    babble: float = 0.08
    babble_voices: tuple[int, int] = (4, 7)
    shuffle_grains: float = 0.1
    cross_synthesis: float = 0.2
    """Chances that a recorded noise is cut up, or takes over the time course of another."""
    noise_course: float = 0.0
    """Chance that a noise comes and goes: fades, pauses, steps of level."""
    noise_switch: float = 0.0
    """Chance that a second noise takes the place of the first instead of joining it."""
    onset_transients: float = 0.0
    onset_share: float = 0.6
    onset_lead_ms: tuple[float, float] = (20.0, 150.0)
    onset_level_db: tuple[float, float] = (-12.0, 12.0)
    """Share of mixtures with knocks and clicks right before speech sets in, at which share of the onsets, how long
    before, and the peak of their level relative to loud speech."""

    # shards
    reuse: int = 4
    """Mixtures of a shard that hold the same speech, each with another noise, and the other way round; divides 64."""
    attenuation: float = 0.5
    """Share (in dB) of the attenuation of under-periodic bands [Valin 2020] that goes into the gain. With ideal gains
    and strengths, 0, 0.5 and 1 gave PESQ 2.95, 2.98, 2.95 and STOI 0.960, 0.952, 0.934 on held-out recordings."""

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
    color=0.3,
    low_pass=0.12,
    clip=0.03,
    dropout=0.02,
    synthetic_noise=0.08,
    babble=0.04,
    shuffle_grains=0.05,
    cross_synthesis=0.06,
)
"""Mostly recorded noise, at the ratios at which people want it removed: what a network should be best at."""

BALANCED = replace(
    RECIPE,
    speech_only=0.05,
    noise_only=0.05,
    snr_db=(-5.0, 35.0),
    usual_snr_db=(-6.0, 20.0),
    usual_snr=0.85,
    nearly_clean=0.12,
    level_db=(-46.0, -14.0),
    soft=0.12,
    level_steps=0.2,
    delayed_start=0.2,
    rir=0.4,
    color=0.4,
    low_pass=0.15,
    clip=0.04,
    dropout=0.02,
    music=0.06,
    crowd=0.05,
    more_noises=(0.35, 0.08),
    synthetic_noise=0.22,
    synthetic_kinds=(
        ("colored", 0.22),
        ("hum", 0.05),
        ("chirps", 0.05),
        ("crackle", 0.09),
        ("alarm", 0.09),
        ("siren", 0.07),
        ("phone", 0.07),
        ("horn", 0.05),
        ("instrument", 0.07),
        ("crickets", 0.04),
        ("birds", 0.04),
        ("cough", 0.09),
        ("cry", 0.07),
    ),
    babble=0.04,
    shuffle_grains=0.05,
    cross_synthesis=0.08,
    noise_course=0.2,
    noise_switch=0.2,
    onset_transients=0.15,
)
"""What calls and recordings hold, and what networks were heard to do wrong: alarms taken for voices, onsets cut after a
knock, nearly clean and soft speech damaged, changing levels. The default."""

RECIPES = {"balanced": BALANCED, "varied": RECIPE, "recorded": RECORDED}
"""What ``train-targets --recipe`` takes."""
