"""The pitch comb filter: taps, what passes, what it does to noise."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import harmonics, noise, snr_db

from percepnet_cli.constants import COMB_LOOKAHEAD_SAMPLES, COMB_PERIODS, PERIOD_MAX, PERIOD_MIN
from percepnet_cli.dsp import comb, stft

START = COMB_PERIODS * PERIOD_MAX
"""Samples before the first window."""


def run(samples, period, window=None):
    period = np.asarray(period, np.int32)
    window = np.ones(960, np.float32) if window is None else window
    out = np.full((len(period), 960), np.nan, np.float32)
    noise_gain = np.full(len(period), np.nan, np.float32)
    comb.filter_hops(samples, START, period, comb.TAPS, window, out, noise_gain)
    return out, noise_gain


def size(hops):
    return START + (hops - 1) * 480 + 960 + COMB_LOOKAHEAD_SAMPLES


def test_taps_are_a_hann_shape_of_sum_one():
    taps = comb.TAPS.astype(float)
    assert taps.sum() == pytest.approx(1, abs=1e-6)
    assert np.sum(taps**2) == pytest.approx(0.125, abs=1e-7)  # -9.03 dB
    assert np.allclose(taps[5:], [0.1667, 0.1555, 0.1250, 0.0833, 0.0417, 0.0112], atol=6e-5)
    assert np.array_equal(taps, taps[::-1])
    expected = [w for _, w in sorted(reference.comb_taps(100).items())]
    assert np.allclose(taps, expected, atol=1e-7)
    assert np.sum(comb.hann_taps(3).astype(float) ** 2) == pytest.approx(0.1875, abs=1e-6)


@given(periods=st.lists(st.integers(PERIOD_MIN, PERIOD_MAX), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_windows_equal_the_reference_at_any_periods(periods):
    samples = noise(size(len(periods)), np.random.default_rng(len(periods)))
    out, noise_gain = run(samples, periods, stft.WINDOW)
    firsts = START + 480 * np.arange(len(periods))
    expected, expected_gain = reference.comb(samples, firsts, periods)
    assert snr_db(expected * reference.vorbis_window(), out) > 120
    assert np.allclose(noise_gain, expected_gain, rtol=1e-5)


@pytest.mark.parametrize("period", [96, 140, 192, 193, 320, 321, 480, 481, 768])
def test_a_signal_of_exactly_that_period_passes_unchanged(rng, period):
    samples = np.resize(noise(period, rng), size(3))
    out, _ = run(samples, [period] * 3)
    expected = np.array([samples[START + 480 * h :][:960] for h in range(3)])
    assert snr_db(expected, out) > 120


@pytest.mark.parametrize(
    ("period", "future"), [(96, 5), (192, 5), (193, 4), (240, 4), (320, 3), (480, 2), (481, 1), (768, 1)]
)
def test_noise_loses_what_noise_gain_says(rng, period, future):
    hops = 60
    samples = noise(size(hops), rng)
    out, noise_gain = run(samples, [period] * hops)
    taps = reference.comb_taps(period)
    assert min(taps) == -future and max(taps) == 5
    assert noise_gain[0] == pytest.approx(sum(w * w for w in taps.values()), rel=1e-5)
    ratio = np.mean(out[::2].astype(float) ** 2) / np.mean(samples.astype(float) ** 2)
    # the windows cover 28,800 samples, of which neighboring periods share most of the noise
    assert ratio == pytest.approx(noise_gain[0], rel=0.12)
    assert noise_gain.min() >= 0.125 - 1e-6 and noise_gain.max() < 0.2


def test_a_tone_between_the_harmonics_is_rejected(rng):
    period = 160
    between = np.sin(2 * np.pi * 2.5 / period * np.arange(size(2))).astype(np.float32)
    out, _ = run(between, [period] * 2)
    assert np.abs(out).max() < 0.02  # the taps' alternating sum is 0


def test_no_sample_beyond_the_lookahead_is_touched(rng):
    for period in (96, 192, 250, 333, 500, 768):
        samples = noise(size(1), rng)
        beyond = np.concatenate((samples, np.full(5 * 768, np.nan, np.float32)))
        before = beyond.copy()
        before[: START - 5 * period] = np.nan
        assert np.all(np.isfinite(run(before, [period])[0]))


def test_harmonics_stay_and_noise_between_them_goes(rng):
    clean = harmonics(200, size(40), rng)
    noisy = clean + noise(len(clean), rng, 0.1)
    out, noise_gain = run(noisy, [200] * 40)
    pure, _ = run(clean, [200] * 40)
    assert snr_db(pure, out) == pytest.approx(-10 * np.log10(noise_gain[0]), abs=0.7)
