"""Levels, speech and noise of recordings whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import noise

from percepnet_cli.metrics.blind import LARGEST_SNR_DB, BlindMetrics, Measures

RATE = 16000


def measure(before, after, cuts=(), rate=RATE):
    """Feed the input ahead of the output, cut somewhere."""
    meter = BlindMetrics(rate)
    pieces = np.split(before, sorted(cuts)), np.split(after, sorted(cuts))
    for number in range(len(pieces[0]) + 1):
        if number < len(pieces[0]):
            meter.add_input(pieces[0][number])
        if number:
            meter.add_output(pieces[1][number - 1])
    return meter.finish()


def words(seconds, rng, share=0.4):
    """Noise that is on for a share of each second, float32 [n, 1], RMS 0.1 while it is on; and where it is on."""
    on = (np.arange(seconds * RATE) % RATE) < share * RATE
    return (noise(seconds * RATE, rng) * on)[:, None], on


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0, 30.0])
def test_an_ideal_denoiser_reveals_speech_and_noise(rng, snr_db):
    speech, _ = words(20, rng)
    hiss = noise(len(speech), rng, rms=0.1 * 10 ** (-snr_db / 20))[:, None]
    found = measure(speech + hiss, speech + np.float32(0.01) * hiss)
    assert found.snr_db == pytest.approx(snr_db, abs=0.5)
    assert found.speech_share == pytest.approx(0.4, abs=0.02)
    assert found.gain_reduction_db == pytest.approx(40, abs=0.5)
    assert found.input_level_db == pytest.approx(10 * np.log10(0.004 + 0.01 * 10 ** (-snr_db / 10)), abs=0.2)
    assert found.output_level_db == pytest.approx(10 * np.log10(0.004), abs=0.2)


def test_speech_that_is_thinned_out_does_not_count_as_noise(rng):
    speech, on = words(20, rng)
    hiss = noise(len(speech), rng, rms=0.01)[:, None]
    gain = np.where(on, 0.7, 0.1).astype(np.float32)[:, None]
    assert measure(speech + hiss, gain * (speech + hiss)).snr_db == pytest.approx(20, abs=0.5)


def test_noise_alone_has_no_speech(rng):
    hiss = noise(5 * RATE, rng)[:, None]
    found = measure(hiss, np.float32(0.1) * hiss)
    assert found.speech_share == 0 and found.snr_db is None
    assert found.gain_reduction_db == pytest.approx(20, abs=0.1)


def test_a_clean_recording(rng):
    speech, _ = words(5, rng)
    found = measure(speech, speech)
    assert found.snr_db == LARGEST_SNR_DB
    assert found.gain_reduction_db is None  # the pauses are silent


def test_silence_and_nothing():
    assert measure(np.zeros((RATE, 2), np.float32), np.zeros((RATE, 2), np.float32)) == Measures(
        None, None, None, 0.0, None
    )
    empty = np.zeros((0, 1), np.float32)
    assert measure(empty, empty) == Measures(None, None, None, None, None)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 10001), max_size=5), channels=st.integers(1, 3))
def test_cuts_change_nothing(cuts, channels):
    rng = np.random.default_rng(channels)
    before = rng.standard_normal((10001, channels)).astype(np.float32)
    after = before * np.linspace(0, 1, 10001, dtype=np.float32)[:, None]
    found, expected = vars(measure(before, after, cuts)), vars(measure(before, after))
    assert found == pytest.approx(expected, abs=1e-4)
