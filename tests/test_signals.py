"""The test signals are what their names say, and ``snr_db`` measures what it says."""

from __future__ import annotations

import numpy as np
import pytest
from signals import FORMANTS, RATE, harmonics, noise, snr_db, speech, tone


@pytest.mark.parametrize("frequency", [100.0, 1000.0, 17350.0])
def test_tone_has_its_frequency_and_amplitude(frequency):
    samples = tone(frequency, RATE, 0.25)
    spectrum = np.abs(np.fft.rfft(samples)) / (RATE / 2)
    assert np.argmax(spectrum) == frequency
    assert spectrum[int(frequency)] == pytest.approx(0.25, rel=1e-4)
    assert np.sort(spectrum)[-2] < 1e-4


def test_harmonics_repeat_with_the_period_and_no_sooner(rng):
    for rolloff in (0.0, 1.0):
        samples = harmonics(300, 9600, rng, rolloff)
        assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.1, rel=1e-4)
        assert snr_db(samples[:-300], samples[300:]) > 100
        assert all(snr_db(samples[:-lag], samples[lag:]) < 10 for lag in (75, 100, 150, 200))


def test_gliding_harmonics_have_the_period_of_the_moment(rng):
    samples = harmonics(np.linspace(200, 400, RATE), RATE, rng, highest_hz=500)
    for center in (4800, 24000, 43200):
        period = 200 + 200 * center / RATE
        lags = np.arange(150, 500)
        near = samples[center - 600 : center + 600].astype(float)
        found = [near @ samples[center - 600 - lag : center + 600 - lag] for lag in lags]
        assert lags[np.argmax(found)] == pytest.approx(period, rel=0.03)


def test_noise_is_white_and_has_its_level(rng):
    samples = noise(96000, rng, 0.2)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.2, rel=0.02)
    power = np.mean(np.abs(np.fft.rfft(samples.reshape(-1, 960), axis=1)) ** 2, axis=0)[1:-1]
    assert np.all(np.abs(10 * np.log10(power / power.mean())) < 3)
    assert abs(np.mean(samples[1:] * samples[:-1])) < 0.01 * 0.2**2


def test_speech_has_words_pauses_pitch_and_formants(rng):
    samples, period = speech(4 * RATE, rng)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.1, rel=1e-4)
    assert np.abs(samples).max() < 1.5
    pause = np.arange(4 * RATE) / RATE % 0.6 > 0.5001
    assert np.all(samples[pause] == 0) and 0.14 < np.mean(pause) < 0.18
    voiced = period > 0
    assert 0.45 < np.mean(voiced) < 0.55
    assert 96 < period[voiced].min() < 340 < 400 < period[voiced].max() < 768
    for center in range(int(0.2 * RATE), 4 * RATE - 4800, int(0.6 * RATE)):
        near = samples[center - 960 : center + 960].astype(float)
        lags = np.arange(200, 700)
        found = [
            near
            @ samples[center - 960 - lag : center + 960 - lag]
            / np.linalg.norm(samples[center - 960 - lag : center + 960 - lag])
            for lag in lags
        ]
        assert lags[np.argmax(found)] == pytest.approx(period[center], rel=0.03)
    power = np.abs(np.fft.rfft(samples[voiced][: RATE // 2 * 2])) ** 2
    resolution = len(samples[voiced][: RATE // 2 * 2]) / RATE

    def level(frequency):
        return power[int((frequency - 150) * resolution) : int((frequency + 150) * resolution)].mean()

    first, second = FORMANTS[0][0], FORMANTS[1][0]
    assert level(first) > 5 * level((first + second) / 2) and level(second) > 2 * level((first + second) / 2)


def test_snr_is_the_ratio_of_energies_in_db(rng):
    expected = rng.standard_normal(1000)
    error = rng.standard_normal(1000)
    error *= np.linalg.norm(expected) / np.linalg.norm(error) / 1000
    assert snr_db(expected, expected + error) == pytest.approx(60, abs=1e-6)
    assert snr_db(expected, 2 * expected) == pytest.approx(0, abs=1e-6)
    assert snr_db(expected * 1j, expected * 1j + error) == pytest.approx(60, abs=1e-6)
    assert snr_db(expected, expected) == np.inf
    with pytest.raises(AssertionError):
        snr_db(expected, expected[:999])
    with pytest.raises(AssertionError):
        snr_db(np.zeros(10), np.ones(10))
    assert not snr_db(expected, np.full(1000, np.nan)) > 0
