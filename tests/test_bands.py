"""The 34 triangular bands: weights, energies, coherences and the way back to bins."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import snr_db

from percepnet_cli import constants
from percepnet_cli.dsp import bands


def complex_noise(rng, hops=5, bins=481):
    return (rng.standard_normal((hops, bins)) + 1j * rng.standard_normal((hops, bins))).astype(np.complex64)


def cross(A, B):
    out = np.full((len(A), 34), np.nan, np.float32)
    bands.cross(A, B, out)
    return out


def interpolate(values):
    out = np.full(481, np.nan, np.float32)
    bands.interpolate(np.asarray(values, np.float32), out)
    return out


def coherence(C, Ea, Eb):
    out = np.full(C.shape, np.nan, np.float32)
    bands.coherence(*(np.asarray(x, np.float32) for x in (C, Ea, Eb)), out)
    return out


def test_centers_are_the_published_ones_at_least_100_hz_apart():
    assert list(constants.BAND_CENTERS) == reference.BAND_CENTERS
    assert constants.NUM_BANDS == 34 and constants.BAND_CENTERS[-1] * 50 == 20000
    assert np.diff(constants.BAND_CENTERS).min() >= 2
    assert np.all(np.diff(constants.BAND_CENTERS, 2) >= -1)  # ever wider, but for rounding


def test_weights_measured_bin_by_bin_equal_the_reference_and_sum_to_one():
    one_bin = np.eye(481, dtype=np.complex64)
    weights = cross(one_bin, one_bin).T.astype(float)
    weights[[0, -1]] /= 2
    assert np.abs(weights - reference.band_weights()).max() < 1e-6
    assert np.abs(weights[:, :401].sum(axis=0) - 1).max() < 1e-6
    assert np.all(weights[:, 401:] == 0)


def test_cross_terms_and_energies_equal_the_reference(rng):
    A, B = complex_noise(rng), complex_noise(rng)
    assert snr_db(reference.cross(A, B), cross(A, B)) > 110
    out = np.empty((5, 34), np.float32)
    bands.energy(A, out)
    assert snr_db(reference.energy(A), out) > 120


@given(seed=st.integers(0, 10**6), exponent=st.integers(-25, 15))
@settings(max_examples=40, deadline=None)
def test_energies_are_never_negative(seed, exponent):
    rng = np.random.default_rng(seed)
    A = complex_noise(rng, 1) * np.float32(10.0**exponent)
    A *= rng.random(481) < 0.2
    energies = cross(A, A)
    assert np.all(energies >= 0) and np.all(np.isfinite(energies))


def test_coherence_equals_the_reference_and_stays_within_limits(rng):
    A = complex_noise(rng)
    B = (0.7 * A + 0.5 * complex_noise(rng)).astype(np.complex64)
    C, Ea, Eb = cross(A, B), cross(A, A), cross(B, B)
    q = coherence(C, Ea, Eb)
    assert snr_db(reference.coherence(C.astype(float), Ea, Eb), q) > 110
    assert 0.5 < q.mean() < 0.95
    assert np.all(coherence(Ea, Ea, Ea) > 1 - 1e-6) and np.all(coherence(Ea, Ea, Ea) <= 1)
    assert np.all(coherence(-Ea, Ea, Ea) == 0)


@pytest.mark.parametrize(("ea", "eb"), [(0, 0), (0, 1), (1, 0), (1e-12, 1), (1e-40, 1e-40)])
def test_coherence_of_nothing_is_zero(ea, eb):
    full = np.full((1, 34), 1.0)
    assert np.all(coherence(full * 1e-20, full * ea, full * eb) == 0)


def test_coherence_survives_the_largest_energies():
    huge = np.full((1, 34), 1e30)
    assert np.allclose(coherence(huge * 0.5, huge, huge), 0.5)


def test_interpolation_equals_the_reference(rng):
    values = rng.random(34).astype(np.float32)
    assert snr_db(reference.interpolate(values), interpolate(values)) > 120


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.3333])
def test_constants_interpolate_to_constants(constant):
    assert np.all(interpolate(np.full(34, constant)) == np.float32(constant))


def test_centers_keep_their_values_and_the_last_holds_to_the_end(rng):
    values = rng.random(34).astype(np.float32)
    bins = interpolate(values)
    assert np.array_equal(bins[reference.BAND_CENTERS], values)
    assert np.all(bins[400:] == values[-1])
    assert bins.min() >= values.min() and bins.max() <= values.max()
