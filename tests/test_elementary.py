"""Logarithms, powers and the sine, against NumPy's in float64."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from percepnet_cli.compute.jit import kernel
from percepnet_cli.constants import PERIOD_MAX, PERIOD_MIN
from percepnet_cli.dsp import elementary

SMALLEST, LARGEST = (float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max))


@kernel
def each(x, logs2, logs10, sines):
    for i in range(len(x)):
        logs2[i] = elementary.log2(x[i])
        logs10[i] = elementary.log10(x[i])
        sines[i] = elementary.quarter_sine(min(x[i], np.float32(1)))


@kernel
def powers(x, out):
    for i in range(len(x)):
        out[i] = elementary.exp2(x[i])


def values(x):
    x = np.asarray(x, np.float32)
    out = np.zeros((3, len(x)), np.float32)
    each(x, *out)
    return x.astype(np.float64), out


def test_logarithms_and_sine_over_all_that_there_is():
    """A hundred thousand numbers over all magnitudes, and as many around 1, where logarithms vanish."""
    rng = np.random.default_rng(3)
    wide = np.exp2(rng.uniform(-126, 128, 100_000)).astype(np.float32)
    x, (logs2, logs10, sines) = values(np.concatenate((wide, rng.uniform(0.5, 2, 100_000), rng.uniform(0, 1, 100_000))))
    off2, off10 = np.abs(logs2 - np.log2(x)), np.abs(logs10 - np.log10(x))
    assert (off2 <= np.maximum(1.5e-7, 3e-7 * np.abs(np.log2(x)))).all()
    assert (off10 <= np.maximum(1.5e-7, 2e-7 * np.abs(np.log10(x)))).all()
    assert (np.abs(sines - np.sin(np.pi / 2 * np.minimum(x, 1))) < 2.5e-7).all()


@given(st.floats(SMALLEST, LARGEST, width=32))
def test_powers_of_two_are_exact_and_all_results_finite(x):
    exponent = np.floor(np.log2(np.float64(x)))
    _, (logs2, logs10, _) = values([x, 2.0**exponent])
    assert np.isfinite(logs2).all() and np.isfinite(logs10).all()
    assert logs2[1] == exponent


def test_ends_of_the_sine_and_order_of_periods():
    _, (_, _, sines) = values([np.finfo(np.float32).tiny, 1.0])
    assert sines[0] >= 0 and abs(sines[1] - 1) <= 1.2e-7
    _, (logs2, _, _) = values(np.arange(PERIOD_MIN, PERIOD_MAX + 1))
    assert (np.diff(logs2) > 0).all()


def test_powers_of_two_over_all_exponents():
    x = np.random.default_rng(4).uniform(-126, 127, 100_000).astype(np.float32)
    found = np.zeros_like(x)
    powers(x, found)
    assert (np.abs(found / np.exp2(x.astype(np.float64)) - 1) < 2.5e-7).all()
    whole = np.arange(-126, 128).astype(np.float32)
    found = np.zeros_like(whole)
    powers(whole, found)
    assert np.array_equal(found, np.exp2(whole.astype(np.float64)))
