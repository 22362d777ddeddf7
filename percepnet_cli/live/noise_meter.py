"""By how much the noise is lowered: what is done to the noise floor of each band, in pauses and between harmonics."""

from __future__ import annotations

import math

import numpy as np

from percepnet_cli.channel.stream import Newest
from percepnet_cli.constants import NUM_BANDS

LOOK_SECONDS = 0.05
"""From one look to the next: gains last for some hops."""

SMOOTHED = 0.6
"""Share of the energy before in that of a look."""

RISE = 10 ** (3 / 10 * 0.05)
"""The floor follows a rising noise by 3 dB per second, at a look every LOOK_SECONDS."""

NOISE_SECONDS = 2.0
"""What was heard of the noise counts half after this long."""


class Reduction:
    """By how much the noise is lowered, a mean over NOISE_SECONDS."""

    def __init__(self) -> None:
        self._before = self._after = 0.0

    def update(self, before: float, after: float, seconds: float) -> float | None:
        """Return it in dB; None if no noise was heard. before, after: energies of the last so many seconds."""
        kept = 2 ** (-seconds / NOISE_SECONDS)
        self._before = kept * self._before + before
        self._after = kept * self._after + after
        if self._before <= 0:
            return None
        return 10 * math.log10(self._before / max(self._after, 1e-9 * self._before))


class NoiseMeter:
    """Energies of the noise before and after, look by look.

    The least energy that a band had of late is its noise, also while somebody speaks. The band's gain lowers it, and
    the comb filter what of it lies between the harmonics.
    """

    def __init__(self) -> None:
        self._energy: np.ndarray | None = None
        self._floor = np.zeros(NUM_BANDS)

    def measure(self, newest: Newest, limit_db: float | None) -> tuple[float, float]:
        """Return the energy of the noise and of what is left of it, at a look every LOOK_SECONDS.

        newest: what is known of the newest hop; limit_db: the attenuation limit.
        """
        # The floor of each band
        if self._energy is None:
            self._energy = self._floor = np.asarray(newest.energy, np.float64)
        self._energy = SMOOTHED * self._energy + (1 - SMOOTHED) * newest.energy
        self._floor = np.minimum(RISE * self._floor, self._energy)

        # What the comb leaves of noise that is mixed by the strength with its filtered copy, then the band's gain
        r, comb = newest.strength, newest.noise_gain
        left = newest.gain * np.sqrt((1 - r) ** 2 + 2 * r * (1 - r) * comb + r**2 * comb)
        if limit_db is not None:
            dry = 10 ** (-limit_db / 20)
            left = dry + (1 - dry) * left
        return float(self._floor.sum()), float(self._floor @ left**2)
