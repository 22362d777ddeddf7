"""Channels of one recording: one gain and one strength for all of them, so that the stereo image stays."""

from __future__ import annotations

import numpy as np

from percepnet_cli.constants import SILENCE_ENERGY


def link(E: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find one gain and strength for all channels.

    The gain keeps the energy that the channels' own gains would have kept in all: the root of the mean of g^2
    weighted by band energies; the strength is the mean weighted likewise.

    E, gain, strength: float32 [channels, hops, 34]. Returns two arrays float32 [hops, 34].
    """
    weight = E + np.float32(SILENCE_ENERGY)
    weight /= weight.sum(axis=0)

    return np.sqrt((weight * gain * gain).sum(axis=0)), (weight * strength).sum(axis=0)
