"""The 70 inputs of the network."""

from __future__ import annotations

import numpy as np
import reference
from signals import snr_db

from percepnet_cli.dsp import features


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
