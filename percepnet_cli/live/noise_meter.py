"""By how much the noise is lowered: what is done to the noise floor of each band, in pauses and between harmonics."""

from __future__ import annotations

import math

import numpy as np

from percepnet_cli.channel.stream import Newest
from percepnet_cli.compute.jit import kernel
from percepnet_cli.constants import NUM_BANDS

LOOK_SECONDS = 0.1
"""From one look to the next: gains last for some hops."""

SMOOTHED = 0.36
"""Share of the energy before in that of a look."""

RISE = 10 ** (3 / 10 * LOOK_SECONDS)
"""The floor follows a rising noise by 3 dB per second."""

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


@kernel
def follow(newest: np.ndarray, energy: np.ndarray, floor: np.ndarray) -> None:
    """Follow the floor of each band. newest: float32 [34], energy of a hop; energy, floor: float64 [34], updated."""
    for band in range(NUM_BANDS):
        energy[band] = SMOOTHED * energy[band] + (1 - SMOOTHED) * newest[band]
        floor[band] = min(RISE * floor[band], energy[band])


@kernel
def lower(floor: np.ndarray, gain: np.ndarray, strength: np.ndarray, comb: float, dry: float, out: np.ndarray) -> None:
    """Write the energy of the floor, and of what is left of it, to ``out``, float64 [2].

    floor: float64 [34]; gain, strength: float32 [34]; comb: energy gain of the comb filter for white noise; dry: share
    of the input left in.
    """
    before, after = 0.0, 0.0
    for band in range(NUM_BANDS):
        # What the comb leaves of noise that is mixed by the strength with its filtered copy, then the band's gain
        r = np.float64(strength[band])
        left = gain[band] * np.sqrt((1 - r) ** 2 + 2 * r * (1 - r) * comb + r**2 * comb)
        left = dry + (1 - dry) * left

        before += floor[band]
        after += floor[band] * left**2
    out[0], out[1] = before, after


class NoiseMeter:
    """Energies of the noise before and after, look by look.

    The least energy that a band had of late is its noise, also while somebody speaks. The band's gain lowers it, and
    the comb filter what of it lies between the harmonics.
    """

    def __init__(self) -> None:
        self._energy: np.ndarray | None = None
        self._floor = np.zeros(NUM_BANDS)

    def measure(self, newest: Newest, dry: float) -> tuple[float, float]:
        """Return the energy of the noise and of what is left of it, at a look every LOOK_SECONDS.

        newest: what is known of the newest hop; dry: share of the input left in, 0..1.
        """
        if self._energy is None:
            self._energy = np.asarray(newest.energy, np.float64)
            self._floor = self._energy.copy()
        follow(newest.energy, self._energy, self._floor)

        found = np.zeros(2)
        lower(self._floor, newest.gain, newest.strength, newest.noise_gain, dry, found)
        return float(found[0]), float(found[1])
