"""Coughs, sneezes and crying children that are made up."""

from __future__ import annotations

import numpy as np
import pytest

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.training.data import mouths

SIZE = 8 * SAMPLE_RATE


def levels_db(samples):
    """Level of each 10 ms, dB beside the loudest."""
    energy = np.mean(samples[: len(samples) // HOP_SIZE * HOP_SIZE].reshape(-1, HOP_SIZE) ** 2, axis=1)
    return 10 * np.log10(energy / energy.max() + 1e-12)


@pytest.mark.parametrize("maker", [mouths.cough, mouths.cry])
@pytest.mark.parametrize("size", [1, HOP_SIZE, SAMPLE_RATE, SIZE])
def test_what_is_made_up_is_finite_sound_and_differs(maker, size):
    made = [maker(size, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert all(one.shape == (size,) and one.dtype == np.float32 and np.isfinite(one).all() for one in made)
    assert np.array_equal(made[0], made[1])
    if size >= SAMPLE_RATE:
        assert all(np.abs(one).max() > 0.1 for one in made) and not np.array_equal(made[0], made[2])


def test_coughs_are_short_and_loud_among_silence():
    for seed in range(20):
        levels = levels_db(mouths.cough(SIZE, np.random.default_rng(seed)))
        assert 0.01 < np.mean(levels > -20) < 0.5 and np.mean(levels < -60) > 0.2


def test_a_blow_begins_at_once_and_dies_away():
    for seed in range(20):
        levels = levels_db(mouths._blow(np.random.default_rng(seed)))
        assert levels.argmax() <= 4 and levels[-1] < -6 and len(levels) <= 60


def test_crying_is_periodic_at_its_pitch():
    """The pitch of most of it lies where that of crying children does."""
    for seed in range(10):
        made = mouths.cry(SIZE, np.random.default_rng(seed)).astype(np.float64)
        levels = levels_db(made)
        found = []
        for hop in np.flatnonzero(levels > -10)[::10]:
            window = made[hop * HOP_SIZE : hop * HOP_SIZE + 2048] * np.hanning(2048)[: len(made) - hop * HOP_SIZE]
            spectrum = np.abs(np.fft.rfft(window, 8192)) ** 2
            correlation = np.fft.irfft(spectrum)
            lags = slice(SAMPLE_RATE // 1000, SAMPLE_RATE // 200)
            found.append(correlation[lags].max() / correlation[0])
        assert np.median(found) > 0.5, seed


def test_a_vocal_tract_has_resonances():
    hz = np.arange(0, 24000, 20.0)
    for seed in range(20):
        response = mouths.tract_db(hz, np.random.default_rng(seed), (0, 0))
        assert 8 <= np.ptp(response) < 60
        assert response[hz > 15000].max() < response.max() - 5
