"""Results as loud as was wanted: measured by another way than the one that makes them."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile
from batch_files import EXAMPLE
from click.testing import CliRunner
from scipy.signal import bilinear, lfilter, resample_poly

from percepnet_cli import AudioError, denoise_file
from percepnet_cli.audio import ffmpeg
from percepnet_cli.audio.loudness import Leveler
from percepnet_cli.cli import main

pytestmark = pytest.mark.ffmpeg


def lufs(samples, rate):
    """Integrated loudness of [n, channels] with weights of 1, by ITU-R BS.1770-4, annex 1."""
    # The two filters, from their analog forms: a shelf of 4 dB above 1.7 kHz, a high-pass at 38 Hz
    k, q, high = np.pi * 1681.974450955533 * 2, 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    k = 2 * rate * np.tan(k / 2 / rate)
    shelf = bilinear([high, band * k / q, k * k], [1, k / q, k * k], rate)
    w = 2 * rate * np.tan(np.pi * 38.13547087602444 / rate)
    _, low_cut = bilinear([1, 0, 0], [1, w / 0.5003270373238773, w * w], rate)
    weighted = lfilter([1, -2, 1], low_cut, lfilter(*shelf, samples, axis=0), axis=0)

    # Blocks of 400 ms, three quarters of each in the next; gates at -70 LUFS and 10 LU below the mean
    size, step = round(0.4 * rate), round(0.1 * rate)
    blocks = [weighted[at : at + size] for at in range(0, len(weighted) - size, step)]
    power = np.array([np.sum(np.mean(block**2, axis=0)) for block in blocks])
    power = power[-0.691 + 10 * np.log10(power + 1e-20) > -70]
    power = power[10 * np.log10(power) > 10 * np.log10(power.mean()) - 10]
    return -0.691 + 10 * np.log10(power.mean())


def true_peak_db(samples):
    return 20 * np.log10(np.abs(resample_poly(samples, 8, 1, axis=0)).max())


def test_the_reference_knows_the_sine_of_the_standard():
    sine = np.sin(2 * np.pi * 997 * np.arange(48000 * 5) / 48000)[:, None]
    assert lufs(sine, 48000) == pytest.approx(-3.01, abs=0.03)


@pytest.mark.parametrize("wanted", [-30, -23, -16])
@pytest.mark.parametrize(("rate", "channels"), [(48000, 1), (16000, 2)])
def test_a_result_has_the_loudness_that_was_wanted(tmp_path, wanted, rate, channels):
    samples = soundfile.read(EXAMPLE, dtype="float32")[0]
    samples = samples if rate == 48000 else resample_poly(samples, 1, 3)
    soundfile.write(tmp_path / "in.wav", np.stack([samples] * channels, axis=1), rate, subtype="FLOAT")
    report = denoise_file(tmp_path / "in.wav", tmp_path / "out.wav", loudness_lufs=wanted)
    plain = denoise_file(tmp_path / "in.wav", tmp_path / "plain.wav")
    result, other = (soundfile.read(tmp_path / name, always_2d=True)[0] for name in ("out.wav", "plain.wav"))
    assert lufs(result, rate) == pytest.approx(wanted, abs=0.25)
    assert report.loudness_lufs == pytest.approx(wanted, abs=0.11)
    assert true_peak_db(result) < -1 + 0.05
    assert result.shape == other.shape and report.measures == plain.measures
    lags = [np.vdot(result[100:-100], other[100 + lag : len(other) - 100 + lag]) for lag in range(-20, 21)]
    assert np.argmax(lags) == 20
    assert sorted(os.listdir(tmp_path)) == ["in.wav", "out.wav", "plain.wav"]


def test_silence_stays(tmp_path):
    soundfile.write(tmp_path / "in.wav", np.zeros(48000), 48000)
    assert denoise_file(tmp_path / "in.wav", tmp_path / "out.wav", loudness_lufs=-16).loudness_lufs is None
    assert not soundfile.read(tmp_path / "out.wav")[0].any()


def test_what_cannot_be_that_loud_is_said(tmp_path):
    clicks = np.zeros(96000)
    clicks[12000::24000] = 0.9
    leveler = Leveler(tmp_path / "out.wav", 48000, 1, -10)
    (result,) = [np.concatenate(list(leveler.apply([clicks[:, None].astype(np.float32)])))]
    assert leveler.reached_lufs < -15 and true_peak_db(result) < -0.95


def test_what_is_refused(tmp_path, monkeypatch):
    run = CliRunner().invoke
    result = run(main, ["denoise", str(EXAMPLE), "-", "--loudness", "-16"])
    assert result.exit_code == 1 and "loudness is known when a recording has ended" in result.stderr
    result = run(main, ["denoise", str(EXAMPLE), str(tmp_path / "a.wav"), "--loudness", "-5 LUFS"])
    assert result.exit_code == 2 and "-5.0 is not in the range -40.0<=x<=-10.0" in result.stderr
    soundfile.write(tmp_path / "9.wav", np.zeros((4800, 9)), 48000)
    with pytest.raises(AudioError, match="loudness is that of 1 to 8 channels, not of 9"):
        denoise_file(tmp_path / "9.wav", tmp_path / "b.wav", loudness_lufs=-16)
    monkeypatch.setattr(ffmpeg, "installed", lambda: False)
    with pytest.raises(AudioError, match="loudness is measured by ffmpeg, which is not installed"):
        denoise_file(EXAMPLE, tmp_path / "b.wav", loudness_lufs=-16)
    with pytest.raises(ValueError, match="loudness_lufs is -5, it must be -40 to -10"):
        denoise_file(EXAMPLE, tmp_path / "b.wav", loudness_lufs=-5)
    assert os.listdir(tmp_path) == ["9.wav"]
