"""By how much the noise is lowered: found again where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from percepnet_cli.channel.stream import Newest
from percepnet_cli.constants import NUM_BANDS
from percepnet_cli.live.noise_meter import NOISE_SECONDS, NoiseMeter, Reduction

ONES = np.ones(NUM_BANDS, np.float32)


def lowered_db(rows, limit_db=np.inf):
    """Return what a meter says of the second half of some hops."""
    meter, found = NoiseMeter(), []
    for row in rows:
        found.append(meter.measure(row, 10 ** (-limit_db / 20)))
    before, after = np.sum(found[len(found) // 2 :], axis=0)
    return 10 * np.log10(before / after)


def test_it_is_the_gain_in_pauses():
    rows = [Newest(0.1 * ONES, 0 * ONES, 0.0, ONES, 1.0)] * 100
    assert lowered_db(rows) == pytest.approx(20, abs=1e-3)
    assert lowered_db(rows, limit_db=0) == pytest.approx(0, abs=1e-6)
    assert lowered_db(rows, limit_db=12) == pytest.approx(-20 * np.log10(10**-0.6 + 0.1 * (1 - 10**-0.6)), abs=1e-3)


def test_a_voice_counts_by_what_is_done_to_the_noise_below_it():
    """Half of the time somebody speaks, 30 dB above the noise, and passes; the comb takes what it takes."""
    rows = []
    for hop in range(400):
        voice = hop // 20 % 2
        energy = (1000 if voice else 1) * ONES
        rows.append(Newest(ONES if voice else 0.01 * ONES, voice * ONES, float(voice), energy, 0.125))
    assert lowered_db(rows) == pytest.approx(-10 * np.log10((0.125 + 1e-4) / 2), abs=0.8)


def test_loud_bands_weigh_more():
    energy, gain = ONES.copy(), ONES.copy()
    energy[3], gain[3] = 1e6, 0.1
    assert lowered_db([Newest(gain, 0 * ONES, 0.0, energy, 1.0)] * 50) == pytest.approx(20, abs=0.1)


def test_the_mean_forgets():
    mean = Reduction()
    assert mean.update(0.0, 0.0, 0.1) is None
    assert mean.update(1.0, 0.1, 0.1) == pytest.approx(10)
    assert mean.update(0.0, 0.0, 0.1) == pytest.approx(10)
    assert mean.update(1.0, 1.0, NOISE_SECONDS * 20) == pytest.approx(0, abs=0.01)
