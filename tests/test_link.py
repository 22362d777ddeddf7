"""Linking of channels where they are nearly silent: what the floor of the energies does."""

import numpy as np
import pytest

from percepnet_cli.constants import SILENCE_ENERGY
from percepnet_cli.dsp.link import link, link_pair


@pytest.mark.parametrize("energies", [(0, 0), (0, 3), (3, 0), (7, 1)])
def test_silent_channels_count_by_their_energy_above_the_floor(energies):
    """Energies as multiples of the floor, one band of each channel; weights are found in 64 bits."""
    E = np.array(energies, np.float32).reshape(2, 1, 1) * np.float32(SILENCE_ENERGY)
    gain, strength = (np.array(pair, np.float32).reshape(2, 1, 1) for pair in ((0.2, 0.9), (0.7, 0.1)))

    weight = (np.array(energies) + 1) / (sum(energies) + 2)
    expected_gain = np.sqrt(weight @ np.square([0.2, 0.9]))
    expected_strength = weight @ [0.7, 0.1]

    linked = link(E, gain, strength)
    assert np.allclose(np.ravel(linked), (expected_gain, expected_strength), rtol=1e-5)

    # Two channels, compiled: in place
    (one, other), (g, other_g), (s, other_s) = E.copy(), gain.copy(), strength.copy()
    link_pair(one, g, s, other, other_g, other_s, 1)
    assert np.allclose(np.ravel((g, other_g)), expected_gain, rtol=1e-5)
    assert np.allclose(np.ravel((s, other_s)), expected_strength, rtol=1e-5)
    assert one == other == E.sum()
