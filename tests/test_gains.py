"""Mixing, post-filter and band scaling, against the reference and against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import snr_db

from percepnet_cli.dsp import gains


def complex_noise(rng, hops=6):
    shape = (hops, 481)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def energies(Y):
    return reference.energy(Y).astype(np.float32)


def render(Y, P, noise_gain, gain, strength, dry=0.0):
    out = np.full(Y.shape, np.nan, np.complex64)
    per_hop = (np.broadcast_to(np.asarray(x, np.float32), (len(Y), 34)).copy() for x in (gain, strength))
    noise_gain = np.broadcast_to(np.float32(noise_gain), len(Y)).copy()
    gains.render_hops(gains.Renderer(), Y, P, energies(Y), noise_gain, *per_hop, np.float32(dry), out)
    return out


def postfilter(gain, E, share=1.0):
    out = np.full_like(gain, np.nan)
    gains.postfilter_hops(gain, E, np.float32(share), out)
    return out


@pytest.mark.parametrize("dry", [0.0, 0.3, 1.0])
def test_spectra_equal_the_reference(rng, dry):
    Y, other = complex_noise(rng), complex_noise(rng)
    P = (0.5 * Y + 0.2 * other).astype(np.complex64)
    gain, strength = rng.random((2, 6, 34)).astype(np.float32)
    expected = reference.render(Y, P, reference.energy(Y), np.full(6, 0.125), gain, strength, dry)
    assert snr_db(expected, render(Y, P, 0.125, gain, strength, dry)) > 110


def test_gain_one_and_strength_zero_change_nothing(rng):
    Y = complex_noise(rng)
    assert snr_db(Y, render(Y, complex_noise(rng), 0.125, 1.0, 0.0)) > 120


def test_gain_zero_is_silence_at_any_strength(rng):
    assert not render(complex_noise(rng), complex_noise(rng), 0.125, 0.0, 0.7).any()


def test_bands_get_the_wanted_energy_whatever_the_comb_took(rng):
    Y = complex_noise(rng)
    P = (0.5 * Y).astype(np.complex64)  # the comb's loss on noise, above its bound sigma_w = 0.354
    out = render(Y, P, 0.125, 0.6, 1.0)
    assert np.allclose(reference.energy(out), 0.36 * reference.energy(Y), rtol=1e-4)


def test_a_canceled_band_is_raised_by_no_more_than_pure_noise_needs(rng):
    Y = complex_noise(rng)
    P = (0.01 * Y).astype(np.complex64)
    out = render(Y, P, 0.16, 0.5, 1.0)
    assert snr_db(0.5 / 0.4 * P, out) > 100
    assert not render(Y, np.zeros_like(Y), 0.16, 0.5, 1.0).any()


def test_what_the_comb_brings_into_silence_stays_out(rng):
    Y, P = complex_noise(rng), complex_noise(rng)
    Y[:, 100:] = 0
    out = render(Y, P, 0.125, 1.0, 1.0)
    assert out[:, :80].all() and not out[:, 125:].any()
    assert not render(np.zeros_like(Y), P, 0.125, 1.0, 1.0).any()


def test_dry_share_blends_amplitudes(rng):
    Y, P = complex_noise(rng), complex_noise(rng)
    wet = render(Y, P, 0.125, 0.4, 0.5)
    assert snr_db(0.75 * wet + 0.25 * Y, render(Y, P, 0.125, 0.4, 0.5, 0.25)) > 110
    assert snr_db(Y, render(Y, P, 0.125, 0.4, 0.5, 1.0)) > 140


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_post_filter_equals_the_reference(rng, share):
    gain = rng.random((40, 34)).astype(np.float32)
    gain[0, :5] = 0, 1e-38, 1e-20, 1e-8, 1
    E = (10.0 ** rng.uniform(-6, 6, (40, 34))).astype(np.float32)
    hops = zip(gain.astype(float), E.astype(float), strict=True)
    expected = np.array([reference.postfilter(g, e, share) for g, e in hops])
    assert snr_db(expected, postfilter(gain, E, share)) > 110
    if share == 0:
        assert np.allclose(expected, gain)


def test_post_filter_leaves_full_gain_and_silence_alone(rng):
    E = rng.random((3, 34)).astype(np.float32)
    ones, zeros = np.ones((3, 34), np.float32), np.zeros((3, 34), np.float32)
    assert np.allclose(postfilter(ones, E), 1, atol=1e-6)
    assert not postfilter(zeros, E).any()
    assert np.allclose(postfilter(ones, zeros), 1, atol=1e-6)


def test_post_filter_keeps_loud_bands_and_deepens_weak_ones():
    gain = np.full((1, 34), 0.1, np.float32)
    gain[0, 10:14] = 0.9
    out = postfilter(gain, np.ones((1, 34), np.float32))
    assert np.allclose(out[0, 10:14], 0.9, atol=0.05)
    assert np.all(out[0, :10] < 0.02)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_post_filter_s_compensation_is_at_most_5_57_db(seed):
    rng = np.random.default_rng(seed)
    gain = (rng.random((1, 34)) ** rng.uniform(0.1, 8)).astype(np.float32)
    E = (10.0 ** rng.uniform(-3, 3, (1, 34))).astype(np.float32)
    out = postfilter(gain, E)
    G = out / np.maximum(gain * np.sin(np.pi / 2 * gain), 1e-30)
    most = G[gain > 1e-3].max(initial=0)
    assert np.all(np.isfinite(out)) and 20 * np.log10(max(most, 1e-9)) < 5.58


def test_post_filter_s_compensation_reaches_5_57_db():
    best = 0.0
    for g in np.linspace(0.05, 1, 400):
        gain = np.full((1, 34), g, np.float32)
        out = postfilter(gain, np.ones((1, 34), np.float32))
        best = max(best, float(out[0, 0] / (g * np.sin(np.pi / 2 * g))))
    assert 20 * np.log10(best) == pytest.approx(5.57, abs=0.01)


@given(
    exponent=st.sampled_from([-44, -38, -30, -20, -10, -9, 0, 5, 10, 12]),
    gain=st.floats(0, 1, width=32),
    strength=st.floats(0, 1, width=32),
)
@settings(max_examples=60, deadline=None)
def test_any_level_stays_finite(exponent, gain, strength):
    rng = np.random.default_rng(3)
    with np.errstate(under="ignore"):
        Y = complex_noise(rng, 1) * np.float32(10.0**exponent)
        P = complex_noise(rng, 1) * np.float32(10.0**exponent)
    out = render(Y, P, 0.125, gain, strength)
    assert np.all(np.isfinite(out))
    post = postfilter(np.full((1, 34), gain, np.float32), energies(Y))
    assert np.all(np.isfinite(post))
