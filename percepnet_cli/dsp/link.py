"""Channels of one recording: one gain and one strength for all of them, so that the stereo image stays."""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import kernel
from percepnet_cli.constants import SILENCE_ENERGY

SILENCE = np.float32(SILENCE_ENERGY)


def link(E: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find one gain and strength for all channels.

    The gain keeps the energy that the channels' own gains would have kept in all: the root of the mean of g^2
    weighted by band energies; the strength is the mean weighted likewise.

    E, gain, strength: float32 [channels, hops, 34]. Returns two arrays float32 [hops, 34].
    """
    weight = E + SILENCE
    weight /= weight.sum(axis=0)

    return np.sqrt((weight * gain * gain).sum(axis=0)), (weight * strength).sum(axis=0)


@kernel
def link_pair(
    E: np.ndarray,
    gain: np.ndarray,
    strength: np.ndarray,
    other_E: np.ndarray,
    other_gain: np.ndarray,
    other_strength: np.ndarray,
    hops: int,
) -> None:
    """Do what ``link`` does for two channels, in compiled functions.

    All are float32 [hops or more, 34] and written: the linked gain and strength for both, and the energy of both
    together, by which the post-filter weighs bands.
    """
    for hop in range(hops):
        for band in range(gain.shape[1]):
            # What each channel counts
            one, other = E[hop, band] + SILENCE, other_E[hop, band] + SILENCE
            total = one + other
            one, other = one / total, other / total

            g, other_g = gain[hop, band], other_gain[hop, band]
            gain[hop, band] = np.sqrt(one * g * g + other * other_g * other_g)
            strength[hop, band] = one * strength[hop, band] + other * other_strength[hop, band]
            E[hop, band] += other_E[hop, band]

            other_gain[hop, band], other_strength[hop, band] = gain[hop, band], strength[hop, band]
            other_E[hop, band] = E[hop, band]
