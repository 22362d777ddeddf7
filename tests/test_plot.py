"""``percepnet plot``: pictures hold what the signal path saw, appear whole, and replace nothing unasked."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import noise, speech, tone

from percepnet_cli.audio.whole import read_mono
from percepnet_cli.cli import main
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.plotting import figure as plots
from percepnet_cli.plotting.trace import trace

pytestmark = pytest.mark.service  # pictures

pytest.importorskip("matplotlib")

RATE = 48000


def run(*arguments):
    return CliRunner().invoke(main, ["plot", *map(str, arguments)])


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("plot") / "noisy.flac"
    rng = np.random.default_rng(2)
    samples = speech(3 * RATE, rng, rms=0.2, f0_hz=150.0)[0] + noise(3 * RATE, rng, rms=0.005)
    soundfile.write(path, samples, RATE)
    return path


# --- what is drawn ---------------------------------------------------------------------------


def test_watching_changes_nothing(recording, random_model):
    samples = read_mono(recording)
    assert np.array_equal(trace(samples, random_model).output, Denoiser(random_model).denoise(samples))


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 5000))
def test_there_is_a_row_for_every_hop_begun(size):
    seen = trace(np.zeros(size, np.float32))
    assert len(seen.output) == size
    hops = -(-size // 480) + 1
    assert all(len(part) == hops for part in seen[:5])


def test_the_pitch_is_where_the_voice_is():
    rng = np.random.default_rng(4)
    samples, period = speech(2 * RATE, rng, f0_hz=150.0)
    seen = trace(samples)
    middles = np.arange(0, len(samples), 480)
    true = period[middles]
    voiced = (true > 0) & (seen.correlation[: len(true)] > 0.7)
    error = np.abs(seen.period[: len(true)][voiced] / true[voiced] - 1)
    assert voiced.sum() > 40 and np.median(error) < 0.02
    late = np.abs(np.roll(seen.period[: len(true)], 3)[voiced] / true[voiced] - 1)
    assert np.median(error) < np.median(late)


def test_what_is_quiet_gets_small_gains(recording):
    seen = trace(read_mono(recording))
    voiced, silent = (seen.gain[place : place + 5, 5:15].mean() for place in (140, 115))
    assert voiced > 2 * silent


def test_spectrograms_have_decibels_of_full_scale():
    from percepnet_cli.plotting import views

    level_db = views.spectrogram_db(tone(3000.0, RATE, amplitude=0.5))
    middle = level_db[len(level_db) // 2]
    assert np.argmax(middle) == 60 and middle[60] == pytest.approx(-6.02, abs=0.1)
    assert middle[200:].max() < -60
    assert views.spectrogram_db(np.zeros(1, np.float32)).shape == (3, 481)


def test_the_loudest_segment_is_found():
    from percepnet_cli.plotting import views

    samples = np.r_[np.zeros(1000), np.ones(50), 0.9 * np.ones(100), np.zeros(30)].astype(np.float32)
    assert views.loudest(samples, 100) == 1000
    assert views.loudest(samples, 5000) == 0


def test_axes_tell_time_and_frequency(recording):
    from percepnet_cli.plotting import views

    samples = read_mono(recording)
    figure = views.overview("a recording", samples, trace(samples), start_seconds=7.0)
    rows = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(rows) == 6 and rows[0].get_xlim() == pytest.approx((7, 10))
    for row, values in zip(rows[3:], ("coherence", "gains", "strengths"), strict=True):
        assert values in row.get_ylabel()
        image = row.images[0]
        assert image.get_array().shape == (34, 301)
        left, right, low, high = image.get_extent()
        assert (left, low, high) == pytest.approx((6.995, -0.5, 33.5)) and right == pytest.approx(10.005)
    pitch = rows[2].collections[0].get_offsets()
    assert pitch[100, 0] == pytest.approx(8.0)


# --- files -----------------------------------------------------------------------------------


def test_pictures_of_every_format_and_the_same_twice(recording, tmp_path):
    for suffix, beginning in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        contents = []
        for name in "ab" if suffix == "svg" else "a":
            target = tmp_path / f"{name}.{suffix}"
            result = run(recording, "--output", target, "--start", 1, "--seconds", 0.4)
            assert result.exit_code == 0 and result.stdout == f"{target}\n", result.output
            contents.append(target.read_bytes())
        assert contents[0].startswith(beginning) and len(set(contents)) == 1


def test_several_files_get_a_picture_each(recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "a.wav", np.zeros((800, 2)), 8000)
    result = run("x/a.wav", "y/a.wav", "--output", "pictures", "--format", "svg")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["x-a.wav.svg", "y-a.wav.svg"]
    assert run("x/a.wav", "--quiet").stdout == "" and (tmp_path / "a.png").exists()


@pytest.mark.parametrize("name", ["a $5_^{ b", "\u4e2d\u6587 \U0001f600"])
def test_names_of_files_are_no_formulas_and_may_be_of_any_script(recording, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name}.flac").write_bytes(recording.read_bytes())
    result = run(f"{name}.flac", "--seconds", 0.2)  # a warning would fail the test
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    result = run(f"{name}.flac", "--seconds", 0.2, "--output", "a.svg")
    assert result.exit_code == 0 and f"{name}.flac" in (tmp_path / "a.svg").read_text("utf-8")


def test_nothing_is_replaced_unasked(recording, tmp_path):
    target = tmp_path / "a.png"
    target.write_text("mine")
    result = run(recording, "--output", target, "--seconds", 0.1)
    assert (result.exit_code, result.stderr) == (1, f"Error: {target} already exists; use --force to replace it\n")
    assert target.read_text() == "mine"
    assert run(recording, "--output", target, "--seconds", 0.1, "--force").exit_code == 0
    assert target.read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_a_sentence_and_the_others_are_drawn(recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("no sound")
    result = run("text.wav", recording, "missing.wav", "--output", "out/", "--seconds", 0.2)
    assert result.exit_code == 1 and result.stderr.count("Error: ") == 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["noisy.png"]
    for arguments, sentence in (
        ((recording, "--start", 99), "ends before 99 s"),
        ((recording, "--output", "a.bmp"), "a picture is a"),
        ((recording, "--output", "no/a.png"), "there is no such folder"),
        ((recording, "--model", "none"), "none"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1 and sentence in result.stderr and result.stderr.count("\n") == 1
    for arguments in ((recording, "--output", "a.png", "--format", "svg"), (recording, recording), ("--seconds", 1)):
        assert run(*arguments).exit_code == 2
    for option, value in (("--start", "nan"), ("--seconds", "nan"), ("--seconds", "inf"), ("--highest", "nan")):
        result = run(recording, option, value)
        assert result.exit_code == 2 and "is not a finite number" in result.stderr, result.output
    assert not list(tmp_path.rglob("*.part*"))


def test_without_matplotlib_there_is_a_sentence(recording, monkeypatch):

    monkeypatch.setattr(plots, "missing", lambda *modules: list(modules))
    result = run(recording)
    assert result.exit_code == 1
    assert result.stderr == "Error: a picture needs matplotlib: pip install matplotlib\n"


@settings(deadline=None, max_examples=15)
@given(st.floats(0, 3.5), st.floats(0.01, 4))
def test_a_segment_of_a_file_is_that_of_the_whole(start, seconds):
    import tempfile
    from pathlib import Path

    sound = noise(3 * 8000, np.random.default_rng(1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wav"
        soundfile.write(path, sound, RATE, subtype="FLOAT")
        first = round(start * RATE)
        expected = sound[first : first + round(seconds * RATE)]
        assert np.array_equal(read_mono(path, start, seconds), expected)
