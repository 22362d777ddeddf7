"""The rumble filter against SciPy, and what must not get through it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import noise, snr_db, tone

from percepnet_cli.dsp import highpass


def run(samples, state=None):
    hops = np.asarray(samples, np.float32).reshape(-1, 480)
    out = np.full(hops.size, np.nan, np.float32)
    highpass.filter_hops(hops, highpass.new_state() if state is None else state, out)
    return out


def test_equals_the_reference(rng):
    samples = noise(480 * 40, rng) + np.float32(0.3)
    assert snr_db(reference.highpass(samples), run(samples)) > 130


@pytest.mark.parametrize(("frequency", "low_db", "high_db"), [(1, -20, -18), (50, -0.01, 0.01), (1000, -0.01, 0.01)])
def test_the_inaudible_goes_and_speech_stays(frequency, low_db, high_db):
    samples = tone(frequency, 480 * 300)
    settled = run(samples)[480 * 200 :]
    assert low_db < 20 * np.log10(np.std(settled) / (0.5 / np.sqrt(2))) < high_db


def test_low_voices_keep_their_phase():
    samples = tone(85.0, 480 * 300)
    assert snr_db(samples[480 * 200 :], run(samples)[480 * 200 :]) > 26


def test_removes_a_constant():
    assert np.all(np.abs(run(np.full(480 * 400, 0.5))[480 * 350 :]) < 1e-6)


@given(cuts=st.lists(st.integers(1, 7), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_state_carries_over_any_cut(cuts):
    samples = noise(480 * sum(cuts), np.random.default_rng(1))
    state = highpass.new_state()
    edges = np.cumsum([0, *cuts]) * 480
    parts = [run(samples[a:b], state) for a, b in pairwise(edges)]
    assert np.concatenate(parts).tobytes() == run(samples).tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_counts_as_zero(rng, value):
    samples = noise(480 * 4, rng)
    broken, mended = samples.copy(), samples.copy()
    broken[[3, 500, 501, 1200]] = value
    mended[[3, 500, 501, 1200]] = 0
    assert run(broken).tobytes() == run(mended).tobytes()


def test_huge_values_are_limited_to_what_float32_energies_can_hold():
    samples = np.zeros(480 * 4, np.float32)
    samples[5::2], samples[6::2] = 3e38, -3e38
    out = run(samples)
    assert np.abs(out).max() <= 4.1e6  # the numerator's weights sum to 4 in magnitude
    assert np.square(out).sum() * 960 < 1e30


def test_decay_ends_in_exact_zeros_without_denormals():
    state = highpass.new_state()
    run(np.full(480, 1.0), state)
    tail = np.concatenate([run(np.zeros(480), state) for _ in range(1600)])
    magnitude = np.abs(tail[tail != 0])
    assert magnitude.min() > 1e-20 and magnitude.size > 480
    assert np.all(state == 0) and np.all(tail[-480:] == 0)


def test_denormal_input_gives_silence():
    state = highpass.new_state()
    assert np.all(run(np.full(480 * 3, 1e-42), state) == 0)
