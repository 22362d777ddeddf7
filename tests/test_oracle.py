"""``percepnet oracle``: the stages are what they claim, the pair is matched, nothing is half-written."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from signals import noise, snr_db, speech

from percepnet_cli.cli import main
from percepnet_cli.constants import HIGHPASS_A, HIGHPASS_B
from percepnet_cli.dsp import stft
from percepnet_cli.errors import AudioError
from percepnet_cli.evaluation import oracle
from percepnet_cli.file_denoiser import denoise_file
from percepnet_cli.metrics.levels import si_sdr, snr
from percepnet_cli.plotting import figure as plots

RATE = 48000


def run(*arguments):
    return CliRunner().invoke(main, ["oracle", *map(str, arguments)])


def highpassed(samples):
    return lfilter(HIGHPASS_B, HIGHPASS_A, samples.astype(float))


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(8)
    clean = speech(2 * RATE, rng)[0]
    return clean, (clean + noise(len(clean), rng, rms=0.05)).astype(np.float32)


@pytest.fixture(scope="module")
def stages(pair):
    clean, noisy = pair
    return oracle.run_stages(noisy, clean)


def test_bins_are_the_clean_magnitudes_on_the_noisy_phase(pair, stages):
    """Against a plain overlap-add in float64."""
    clean, noisy = (np.pad(highpassed(x), (480, 960)) for x in pair)
    window = stft.WINDOW.astype(float)
    expected = np.zeros(len(noisy))
    for start in range(0, len(noisy) - 960, 480):
        X, Y = (np.fft.rfft(window * x[start : start + 960]) for x in (clean, noisy))
        wanted = np.minimum(np.abs(X), np.abs(Y)) * np.exp(1j * np.angle(Y))
        expected[start : start + 960] += window * np.fft.irfft(wanted)
    expected = expected[480 : 480 + len(pair[0])]
    assert snr_db(expected, stages["bins"]) > 50


def test_every_stage_is_closer_to_the_clean_signal_than_the_noisy_one(pair, stages):
    clean, noisy = pair
    before = si_sdr(clean, noisy)
    assert all(si_sdr(clean, output) > before + 3 for output in stages.values())
    assert si_sdr(clean, stages["bins"]) > si_sdr(clean, stages["bands"])


def test_nothing_to_do_changes_nothing(pair):
    clean, _ = pair
    outputs = oracle.run_stages(clean, clean)
    for stage in ("bins", "bands"):
        assert snr_db(highpassed(clean), outputs[stage]) > 60


def test_the_network_is_what_denoise_makes(pair, tmp_path):
    clean, noisy = pair
    soundfile.write(tmp_path / "noisy.wav", noisy, RATE, subtype="FLOAT")
    denoise_file(tmp_path / "noisy.wav", tmp_path / "out.wav")
    expected, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    found = oracle.all_stages(noisy[:, None], clean[:, None])
    assert list(found) == list(oracle.STAGES)
    assert snr_db(expected, found["5-network"][:, 0]) > 80


# --- files -----------------------------------------------------------------------------------


@pytest.mark.service
def test_a_pair_of_other_rates_lengths_and_channels(pair, tmp_path):
    clean, noisy = pair
    late = np.concatenate((np.zeros(480), noisy))[: 2 * RATE]
    soundfile.write(tmp_path / "clean.flac", clean[: 2 * RATE - 4800][::3], 16000)
    soundfile.write(tmp_path / "noisy.wav", np.stack((late, late), axis=1), RATE)
    result = run(tmp_path / "clean.flac", tmp_path / "noisy.wav", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert "10.00 ms late" in result.stderr and "what they share was used" in result.stderr
    names = [f"{name}.wav" for name in oracle.STAGES]
    assert sorted(p.name for p in (tmp_path / "out").glob("*.wav")) == names == sorted(names)

    for name in names:
        found = soundfile.info(tmp_path / "out" / name)
        assert (found.samplerate, found.channels, found.frames) == (RATE, 2, 2 * RATE - 4800)

    with (tmp_path / "out" / "stages.csv").open() as file:
        rows = {row["stage"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(oracle.STAGES)
    assert float(rows["6-clean"]["si_sdr"]) == pytest.approx(150)
    content = json.loads((tmp_path / "out" / "stages.json").read_text())
    assert [row["stage"] for row in content["stages"]] == list(oracle.STAGES)
    assert "ideal gains of 34 bands" in result.stdout
    again = run(tmp_path / "clean.flac", tmp_path / "noisy.wav", tmp_path / "out")
    assert again.exit_code == 1 and "already exists; use --force" in again.stderr


@pytest.mark.service
def test_the_program_mixes(tmp_path, rng):
    soundfile.write(tmp_path / "clean.wav", speech(RATE, rng)[0][::3], 16000)
    soundfile.write(tmp_path / "hum.wav", noise(9000, rng), 44100)
    result = run(tmp_path / "clean.wav", "--noise", tmp_path / "hum.wav", "--snr", "3", tmp_path / "out", "--quiet")
    assert result.exit_code == 0 and result.stdout == ""
    noisy, rate = soundfile.read(tmp_path / "out" / "0-noisy.wav")
    clean, _ = soundfile.read(tmp_path / "out" / "6-clean.wav")
    assert rate == 16000 and len(noisy) == len(clean) == 16000
    # at 16 kHz the part of the noise above 8 kHz is gone
    assert 3 < snr(clean, noisy) < 9


@settings(deadline=None, max_examples=20)
@given(st.floats(-40, 60), st.integers(1, 500), st.integers(1, 3), st.integers(1, 3))
def test_mixtures_have_the_snr_that_was_asked_for(level_db, size, channels, others):
    rng = np.random.default_rng(size)
    clean, other = noise((480, channels), rng), noise((size, others), rng, rms=1e-3)
    scaled, noisy = oracle.mix(clean, other, level_db)
    assert np.abs(noisy).max() < 1 and noisy.shape == scaled.shape == clean.shape
    assert snr(scaled.ravel().astype(float), noisy.ravel().astype(float)) == pytest.approx(level_db, abs=0.05)


def test_what_does_not_belong_together_is_told(pair, rng):
    clean, noisy = pair
    *_, notes = oracle.match(clean[:, None], noise((RATE, 1), rng), ("a", "b"))
    assert "hardly resemble" in notes[-1]
    *_, notes = oracle.match(clean[:, None], noisy[:, None], ("a", "b"))
    assert notes == []
    with pytest.raises(AudioError, match="a has 2 channels and b has 1"):
        oracle.match(np.stack((clean, clean), 1), noisy[:, None], ("a", "b"))
    with pytest.raises(AudioError, match="b is silent"):
        oracle.match(clean[:, None], 0 * noisy[:, None], ("a", "b"))
    for speech_level, noise_level, who in ((1, 0, "the noise"), (0, 1, "the clean recording")):
        with pytest.raises(AudioError, match=who):
            oracle.mix(clean[:, None] * speech_level, noisy[:, None] * noise_level, 0)


def test_bad_input_is_a_sentence_and_leaves_nothing(pair, tmp_path):
    soundfile.write(tmp_path / "a.wav", pair[0][:4800], RATE)
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
    (tmp_path / "file").write_text("mine")
    a, out = tmp_path / "a.wav", tmp_path / "out"

    for arguments, sentence in (
        ((a, tmp_path / "no.wav", out), "no.wav"),
        ((a, tmp_path / "none.wav", out), "holds no samples"),
        ((a, a, tmp_path / "file"), "is a file"),
        ((a, a, tmp_path / "file" / "deep"), "deep"),
        ((a, a, out, "--model", "none"), "none"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1 and sentence in result.stderr, result.output
        assert result.stderr.strip().splitlines()[-1].startswith("Error: ")

    for arguments in (
        (a, out),
        (a, a, out, "--snr", 3),
        (a, a, out, "--noise", a),
        (a, out, "--noise", a, "--snr", "nan"),
    ):
        assert run(*arguments).exit_code == 2

    assert not out.exists() and (tmp_path / "file").read_text() == "mine"


@pytest.mark.service
def test_a_run_that_is_interrupted_leaves_no_audio_without_its_scores(pair, tmp_path, monkeypatch):
    from percepnet_cli.metrics import scores

    def interrupt(*arguments):
        raise KeyboardInterrupt

    for name, samples in zip(("clean", "noisy"), pair, strict=True):
        soundfile.write(tmp_path / f"{name}.wav", samples[:RATE], RATE)
    arguments = tmp_path / "clean.wav", tmp_path / "noisy.wav", tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(scores, "score_pair", interrupt)
        assert run(*arguments).exit_code == 130
    assert not (tmp_path / "out").exists()
    assert run(*arguments).exit_code == 0


def test_titles_name_the_network_and_score_what_is_scored():
    from percepnet_cli.cli.oracle import _title

    row = {"stage": "5-network", "meaning": "the network", "pesq_wb": 1.5, "si_sdr": 3.0}
    assert _title(row, "lite") == "the network, lite\nPESQ 1.50, SI-SDR 3.0 dB"
    assert _title(row | {"stage": "2-bands", "pesq_wb": float("nan")}, "lite") == "the network\nSI-SDR 3.0 dB"
    assert _title(row | {"stage": "6-clean", "meaning": "clean", "si_sdr": 150.0}, "lite") == "clean\n"


def test_without_the_extras_the_audio_is_written(pair, tmp_path, monkeypatch):
    from percepnet_cli.metrics import scores

    monkeypatch.setattr(scores, "missing", lambda *modules: list(modules))
    monkeypatch.setattr(plots, "missing", lambda *modules: list(modules))
    for name, samples in zip(("clean", "noisy"), pair, strict=True):
        soundfile.write(tmp_path / f"{name}.wav", samples[:RATE], RATE)
    result = run(tmp_path / "clean.wav", tmp_path / "noisy.wav", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "pip install pesq pystoi " in result.stderr and "pip install matplotlib\n" in result.stderr
    assert len(list((tmp_path / "out").glob("*.wav"))) == len(oracle.STAGES)
    assert not (tmp_path / "out" / "stages.png").exists()
    assert "SI-SDR" in result.stdout and "PESQ" not in result.stdout
