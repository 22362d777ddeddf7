"""Noises made from noises: the course of one on the sound of another; grains in a new order."""

import numpy as np
import pytest
import reference
from signals import noise, snr_db, tone

from percepnet_cli.training.data.noise_synthesis import cross_synthesis, shuffle_grains


def levels(samples):
    """Band energies of the windows that lie inside, dB [windows, 34]."""
    firsts = range(0, len(samples) - 960, 480)
    return 10 * np.log10(reference.energy(reference.spectra(samples, firsts)) + 1e-9)


def test_a_sound_takes_over_the_time_course_of_another(rng):
    size = 48000
    on = (np.arange(size) // 9600 % 2).astype(np.float32)
    carrier, course = noise(size, rng), noise(size, rng) * on + 1e-3 * noise(size, rng)
    made = cross_synthesis(carrier, course)
    assert made.shape == (size,) and made.dtype == np.float32
    inside = np.arange(len(levels(made))) % 20
    steady = (inside > 2) & (inside < 17)
    found, wanted = levels(made)[steady], levels(course)[steady]
    assert np.abs(found.mean(axis=0) - wanted.mean(axis=0)).max() < 3
    assert np.corrcoef(found.mean(axis=1), wanted.mean(axis=1))[0, 1] > 0.99
    assert np.corrcoef(made, course)[0, 1] < 0.2  # its own waveform all the same


def test_a_sound_with_its_own_course_stays_as_it_is(rng):
    samples = noise(24000, rng)
    assert snr_db(samples, cross_synthesis(samples, samples)) > 50


def test_what_the_carrier_lacks_is_not_made_from_nothing(rng):
    silent = cross_synthesis(np.zeros(9600, np.float32), noise(9600, rng))
    assert not silent.any()
    narrow = cross_synthesis(tone(1000.0, 48000, 0.1), noise(48000, rng, 0.1))
    assert np.all(np.isfinite(narrow)) and np.abs(narrow).max() < 30


@pytest.mark.parametrize("seed", range(5))
def test_grains_keep_length_level_and_sound(seed):
    rng = np.random.default_rng(seed)
    samples = noise(96000, rng)
    made = shuffle_grains(samples, rng)
    assert made.shape == samples.shape and made.dtype == np.float32
    assert np.std(made) == pytest.approx(np.std(samples), rel=0.15)
    assert (
        not np.array_equal(made, samples) and np.abs(levels(made).mean(axis=0) - levels(samples).mean(axis=0)).max() < 2
    )
    ramp = np.arange(96000, dtype=np.float32)
    found = np.diff(shuffle_grains(ramp, rng)[240:4800])
    assert np.isclose(np.abs(found), 1, atol=0.02).mean() > 0.3  # whole segments, forwards or backwards


def test_what_is_too_short_to_cut_stays():
    samples = np.ones(100, np.float32)
    assert shuffle_grains(samples, np.random.default_rng(0)) is samples
