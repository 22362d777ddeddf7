"""Speech probability: of hops, of files, and the files that say where speech is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from percepnet_cli.audio import labels
from percepnet_cli.audio.whole import read_mono
from percepnet_cli.channel import speech
from percepnet_cli.cli import main
from percepnet_cli.constants import HOP_SIZE, NUM_BANDS
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.errors import AudioError

ROOT = Path(__file__).resolve().parents[1]
STREET = ROOT / "examples" / "street.flac"
HOP = 0.01


def described(rng, hops):
    """Return gains, strengths, correlations and energies of hops that never were."""
    gain, strength = rng.random((2, hops, NUM_BANDS), dtype=np.float32)
    energy = np.float32(10.0 ** rng.uniform(-8, 2, (hops, NUM_BANDS)))
    return gain, strength, rng.random(hops, dtype=np.float32), energy


def slow_probability(*described_hops):
    """The definition in float64: inputs relative to the peak, a layer of tanh, a gated recurrent unit, one output."""
    net = {name: np.float64(getattr(speech.network(), name)) for name in speech.SpeechNetwork.constant}
    peak, state, found = -9.0, np.zeros(len(net["out"])), []

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    for g, r, c, energy in zip(*map(np.float64, described_hops), strict=True):
        clean = (energy + 1e-10) * (g + 1e-3) ** 2
        level = np.log10(clean.sum() + 1e-9)
        peak = max(peak - 0.001, level)
        relative = np.maximum(np.append(np.log10(clean), level) - peak, -6)
        hidden = np.tanh(net["dense"] @ np.concatenate((g, r, [c], relative)) + net["dense_bias"])
        x = np.split(net["ih"] @ hidden + net["ih_bias"], 3)
        y = np.split(net["hh"] @ state + net["hh_bias"], 3)
        update, new = sigmoid(x[1] + y[1]), np.tanh(x[2] + sigmoid(x[0] + y[0]) * y[2])
        state = new + update * (state - new)
        found.append(sigmoid(net["out"] @ state + net["out_bias"][0]))
    return np.array(found)


def test_it_is_what_its_definition_says(rng):
    described_hops = described(rng, 60)
    found = speech.SpeechProbability().process(*described_hops)
    assert np.allclose(found, slow_probability(*described_hops), atol=2e-3)
    assert found.min() >= 0 and found.max() <= 1


def test_cuts_change_nothing(rng):
    hops = described(rng, 40)
    whole, parts = speech.SpeechProbability(), speech.SpeechProbability()
    cut = [parts.process(*(one[start : start + 7] for one in hops)) for start in range(0, 40, 7)]
    assert np.array_equal(whole.process(*hops), np.concatenate(cut))
    assert parts.newest() == cut[-1][-1]


def test_what_waits_is_heard_when_somebody_asks(rng):
    """Hops one by one, in numbers that do not fit into the room, and more than it holds."""
    hops = described(rng, 200)
    wanted = speech.SpeechProbability().process(*hops)
    for sizes in ([1] * 200, [7] * 28, [30, 3, 40, 1, 126], [200]):
        for ask in (1, 5, 1000):
            listener, end = speech.SpeechProbability(), 0
            for number, size in enumerate(sizes):
                listener.take(*(one[end : end + size].copy() for one in hops))
                end += size
                if number % ask == 0:
                    assert listener.newest() == wanted[end - 1]
            assert listener.newest() == wanted[end - 1]


def test_a_denoiser_that_is_asked_and_a_file_agree():
    """Hop by hop, one channel and two, from the first question on."""
    samples = read_mono(STREET)[: 300 * HOP_SIZE]
    listener = speech.SpeechListener(1)
    Denoiser(observer=listener).process(samples)
    wanted = np.concatenate(listener._found[0])
    for channels in (1, 2):
        denoiser, asked = Denoiser(channels=channels), []
        for start in range(0, len(samples), HOP_SIZE):
            denoiser.process(np.repeat(samples[start : start + HOP_SIZE, None], channels, axis=1))
            asked.append(denoiser.speech_probability)
        assert np.allclose(asked, wanted, atol=1e-4)


def test_level_makes_no_difference():
    samples = read_mono(STREET)
    found = []
    for gain in (1.0, 0.1):
        listener = speech.SpeechListener(1)
        Denoiser(observer=listener).process((gain * samples).astype(np.float32))
        found.append(listener.result())
    assert np.mean(np.abs(found[0] - found[1])) < 0.1


@pytest.mark.parametrize("model", ["percepnet", "lite", "studio"])
def test_the_denoiser_tells_speech_from_noise(model):
    """The example has a voice; the same noise of steady level has none."""
    denoiser, voice = Denoiser(model), []
    samples = read_mono(STREET)
    for start in range(0, len(samples) - HOP_SIZE, HOP_SIZE):
        denoiser.process(samples[start : start + HOP_SIZE])
        voice.append(denoiser.speech_probability)
    assert np.mean(voice) > 0.4

    denoiser, none = Denoiser(model), []
    late = denoiser.model.latency_hops
    hiss = 0.02 * np.random.default_rng(1).standard_normal((200 + late) * HOP_SIZE).astype(np.float32)
    for start in range(0, len(hiss), HOP_SIZE):
        denoiser.process(hiss[start : start + HOP_SIZE])
        none.append(denoiser.speech_probability)
    assert np.mean(none[50 + late :]) < 0.2 and max(none) < 0.5
    assert denoiser.newest.gain.shape == (NUM_BANDS,) and denoiser.newest.energy.min() > 0


def test_segments_by_hand():
    probability = np.zeros(300, np.float32)
    probability[20:60] = 0.9
    probability[60:80] = 0.1  # a pause of 200 ms belongs to the speech around it
    probability[80:120] = 0.9
    probability[160:165] = 0.9  # 50 ms are none
    probability[230:250] = 0.9
    probability[240] = 0.5  # between both thresholds: goes on
    found = labels.segments(probability, HOP)
    assert [(round(one.begin, 2), round(one.end, 2)) for one in found] == [(0.2, 1.2), (2.3, 2.5)]
    assert found[1].probability == pytest.approx((19 * 0.9 + 0.5) / 20)


def test_the_three_formats(tmp_path):
    probability = np.zeros(100, np.float32)
    probability[30:70] = 0.75
    for suffix in labels.FORMATS:
        labels.write(tmp_path / f"a{suffix}", probability, HOP)
    table = (tmp_path / "a.csv").read_text().splitlines()
    assert len(table) == 101 and table[0] == "seconds,speech_probability" and table[31] == "0.30,0.750"
    assert (tmp_path / "a.srt").read_text() == "1\n00:00:00,300 --> 00:00:00,700\nspeech 75 %\n\n"
    assert (tmp_path / "a.txt").read_text() == "0.300000\t0.700000\tspeech\n"


def test_times_of_long_recordings():
    assert labels._clock(3723.4567) == "01:02:03,457"


def test_a_file_and_what_it_says(tmp_path):
    clean, table = tmp_path / "clean.flac", tmp_path / "speech.csv"
    done = CliRunner().invoke(main, ["denoise", str(STREET), str(clean), "--vad", str(table), "-q"])
    assert done.exit_code == 0, done.output
    rows = np.loadtxt(table, delimiter=",", skiprows=1)
    assert len(rows) == 800 and np.allclose(rows[:, 0], np.arange(800) * HOP)

    # In time with the sound: the result is louder where speech is
    levels = 10 * np.log10(np.mean(read_mono(clean)[: 800 * HOP_SIZE].reshape(-1, HOP_SIZE) ** 2, axis=1) + 1e-9)
    assert levels[rows[:, 1] > 0.8].mean() > levels[rows[:, 1] < 0.2].mean() + 15

    again = CliRunner().invoke(main, ["denoise", str(STREET), str(tmp_path / "b.flac"), "--vad", str(table)])
    assert again.exit_code == 1 and "already exists" in again.stderr
    assert not (tmp_path / "b.flac").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("a.wav", "--vad", "x.doc"), 1, "is written as .csv"),
        (("a.wav", "--vad", "x.csv", "--duration", "2"), 1, "whole recordings only"),
        (("a.wav", "b.wav", "out/", "--vad", "x.csv"), 2, "takes one IN and one OUT"),
    ],
)
def test_what_cannot_be(arguments, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(STREET.read_bytes())
    done = CliRunner().invoke(main, ["denoise", *arguments])
    assert done.exit_code == code and words in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav"]


def test_an_unknown_extension():
    with pytest.raises(AudioError, match=r"\.csv"):
        labels.check(Path("x.json"), force=False)
