"""What is known of a hop before the network: spectra, energies, coherences, and the 70 inputs made of them."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from signals import noise, snr_db, speech

from percepnet_cli.constants import HOP_SIZE
from percepnet_cli.dsp import features
from percepnet_cli.signal_path import Analyzer


def pack(E, q, period, correlation):
    out = np.full((len(E), 70), np.nan, np.float32)
    arrays = (np.asarray(E, np.float32), np.asarray(q, np.float32), np.asarray(period, np.int32))
    features.pack(*arrays, np.asarray(correlation, np.float32), out)
    return out


def test_equal_the_reference(rng):
    E = 10.0 ** rng.uniform(-12, 12, (50, 34))
    q, period, correlation = rng.random((50, 34)), rng.integers(96, 769, 50), rng.random(50)
    out = pack(E, q, period, correlation)
    expected = reference.features(E, q, period, correlation)
    for columns in (slice(0, 34), slice(34, 68), slice(68, 69), slice(69, 70)):
        assert snr_db(expected[:, columns], out[:, columns]) > 110


def test_order_and_range():
    out = pack(np.arange(1, 35)[None] * 1.0, np.arange(34)[None] / 34, [192], [0.25])[0]
    assert np.allclose(10 ** out[:34], np.arange(1, 35), rtol=1e-4)
    assert np.allclose(out[34:68], np.arange(34) / 34)
    assert np.isclose(out[68], 1.0) and out[69] == np.float32(0.25)
    ends = pack(np.ones((2, 34)), np.zeros((2, 34)), [96, 768], [0, 1])
    assert np.allclose(ends[:, 68], [0, 3], atol=1e-6)


def test_silence_is_the_floor_and_the_largest_energy_is_finite():
    assert np.allclose(pack(np.zeros((1, 34)), np.zeros((1, 34)), [96], [0])[0, :34], -6)
    assert np.all(np.isfinite(pack(np.full((1, 34), 3e38), np.zeros((1, 34)), [96], [0])))


@pytest.fixture(scope="module")
def mono():
    rng = np.random.default_rng(5)
    return speech(64 * HOP_SIZE, rng)[0] + noise(64 * HOP_SIZE, rng, 0.02)


def test_analysis_equals_the_reference(mono):
    hops = 64
    samples = mono[: hops * HOP_SIZE]
    found = Analyzer().analyze(samples.reshape(hops, HOP_SIZE))
    Y, P, E, q, noise_gain, newest = reference.analyze(samples, found.period)
    for expected, actual in ((Y, found.Y), (P, found.P), (E, found.E), (noise_gain, found.noise_gain)):
        assert snr_db(expected, actual) > 100
    audible = E > 1e-7  # a coherence of rounding errors is no more than that
    assert snr_db(q[audible], found.coherence[audible]) > 60
    features = reference.features(newest, found.coherence, found.period, found.correlation)
    assert snr_db(features, found.features) > 90


def test_doubling_the_input_doubles_spectra_and_nothing_else(mono):
    hops = mono[: 64 * HOP_SIZE].reshape(64, HOP_SIZE)
    one, two = Analyzer().analyze(hops), Analyzer().analyze(2 * hops)
    assert np.array_equal(one.period, two.period)
    assert np.array_equal(2 * one.Y, two.Y) and np.array_equal(2 * one.P, two.P)
    assert np.array_equal(4 * one.E, two.E)
    loud = one.E > 1e-7
    assert np.abs(one.coherence - two.coherence)[loud].max() < 1e-6
    assert np.abs(one.correlation - two.correlation).max() < 1e-3
