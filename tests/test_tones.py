"""Synthetic harmonic noises: tones of the stated pitch, and sounds that are what their names say."""

from __future__ import annotations

import numpy as np
import pytest
from signals import snr_db

from percepnet_cli.training.data import synthetic, tones


def tone(hz, level, cosines, sines, size):
    out = np.zeros(size, np.float32)
    tones.add_tone(np.float32(hz), np.float32(level), np.array(cosines, float), np.array(sines, float), out)
    return out


def test_a_tone_is_the_sum_of_its_harmonics(rng):
    size = 9600 - 77
    points = tones.points(size)
    cosines, sines = rng.standard_normal(5), rng.standard_normal(5)
    hz = np.linspace(300, 900, points)
    level = rng.random(points)
    found = tone(hz, level, cosines, sines, size)

    samples = np.arange(size)
    at = samples / tones.STEP
    pitch = np.interp(at, np.arange(points), hz.astype(np.float32))
    phase = 2 * np.pi * np.concatenate(([0], np.cumsum((pitch[1:] + pitch[:-1]) / 2))) / 48000
    wanted = sum(cosines[k] * np.cos((k + 1) * phase) + sines[k] * np.sin((k + 1) * phase) for k in range(5))
    assert snr_db(wanted * np.interp(at, np.arange(points), level.astype(np.float32)), found) > 60


def test_harmonics_that_would_alias_are_left_out():
    points = tones.points(48000)
    found = tone(np.full(points, 8000.0), np.ones(points), [0] * 5, [1] * 5, 48000)
    spectrum = np.abs(np.fft.rfft(found)) / 24000
    assert spectrum[[8000, 16000]] == pytest.approx([1, 1], rel=1e-3)
    assert np.sort(spectrum)[-3] < 1e-3


def test_silent_segments_keep_the_phase():
    points = tones.points(48000)
    level = np.ones(points)
    level[50:100] = 0
    whole, broken = (tone(np.full(points, 441.0), v, [1.0], [0.0], 48000) for v in (np.ones(points), level))
    assert np.array_equal(whole[101 * 240 :], broken[101 * 240 :]) and not broken[50 * 240 : 99 * 240].any()


@pytest.mark.parametrize("name", synthetic.MAKERS)
@pytest.mark.parametrize("size", [96000, 144000 - 77])
def test_what_is_made_up_is_finite_sound(name, size):
    silent = 0
    for seed in range(15):
        made = synthetic.MAKERS[name](size, np.random.default_rng(seed))
        again = synthetic.MAKERS[name](size, np.random.default_rng(seed))
        assert made.shape == (size,) and made.dtype == np.float32 and np.array_equal(made, again)
        assert np.all(np.isfinite(made)) and np.abs(made).max() < 100
        silent += not made.any()
    assert silent < 8  # a pause of a pattern may be longer than the signal


@pytest.mark.parametrize("name", ["alarm", "siren", "phone", "horn", "instrument"])
def test_harmonic_noises_have_the_periodicity_that_voices_have(name):
    """Most sounding windows of 40 ms repeat themselves, as vowels do: that is what is to be learned."""
    periodic, sounding = 0, 0
    for seed in range(12):
        made = synthetic.MAKERS[name](96000, np.random.default_rng(seed)).astype(float)
        windows = made.reshape(50, 1920)
        loud = np.sqrt(np.mean(windows**2, axis=1))
        for window in windows[loud > 0.1 * loud.max()]:
            power = np.abs(np.fft.rfft(window * np.hanning(1920), 3840)) ** 2
            correlation = np.fft.irfft(power)[:1000]
            periodic += (correlation[10:] / correlation[0]).max() > 0.3 or np.sort(power)[
                -40:
            ].sum() > 0.8 * power.sum()
            sounding += 1
    assert periodic > 0.8 * sounding


def test_knocks_are_short_loud_and_over(rng):
    for _ in range(50):
        sound = synthetic.knock(rng)
        assert sound.dtype == np.float32 and 240 <= len(sound) <= 19200
        assert np.abs(sound).max() == 1 and np.all(np.isfinite(sound))
        last = np.sum(sound[-len(sound) // 8 :] ** 2.0)
        assert last < 0.05 * np.sum(sound**2.0)


def test_values_between_points_and_courses_of_level():
    made = synthetic.between(np.array([0, 1, 0.5, 0.5], np.float32), 1200)
    assert made[[0, 240, 480, 720, 960, 1199]] == pytest.approx([0, 0.5, 1, 0.75, 0.5, 0.5])
    gains = synthetic.course(np.array([0.0, -20.0, -20.0]), 0.1, 9600)
    assert 20 * np.log10(gains[[0, 2400, 4800, 9599]]) == pytest.approx([0, -10, -20, -20], abs=1e-3)


def test_colored_noise_has_no_steps_in_its_spectrum(rng):
    made = synthetic.colored_noise(96000, rng)
    power = np.mean(np.abs(np.fft.rfft(made.reshape(100, 960) * np.hanning(960), axis=1)) ** 2, axis=0)
    level = 10 * np.log10(power[5:450])
    assert np.abs(np.diff(np.convolve(level, np.ones(8) / 8, "valid"))).max() < 3
