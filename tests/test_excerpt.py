"""Parts of recordings: exactly the frames that were asked for, and the sound that they have in the whole."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile
from batch_files import EXAMPLE
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from percepnet_cli import AudioError, denoise_file
from percepnet_cli.audio import chunks
from percepnet_cli.audio.excerpt import SETTLE_SECONDS, Window
from percepnet_cli.cli import main
from percepnet_cli.cli.options import Time

MODELS = {"studio": -10, "percepnet": -20}
"""How far a part is from what it is in the whole at most, dB; what hears ahead remembers longer, too."""


def run(*arguments):
    return CliRunner().invoke(main, ["denoise", "-q", *map(str, arguments)])


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory):
    """48 s of noisy speech at 16 kHz in two channels."""
    samples, _ = soundfile.read(EXAMPLE, dtype="float32")
    samples = np.tile(np.concatenate([samples, samples[::-1]])[::3], 3)
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, np.stack([samples, 0.5 * samples], axis=1), 16000, subtype="FLOAT")
    return path


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 50), max_size=10),
    first=st.integers(0, 120),
    length=st.none() | st.integers(0, 200),
)
def test_windows_cut_what_slices_do(sizes, first, length):
    whole = np.arange(sum(sizes))[:, None]
    end = None if length is None else first + length
    window = Window(first, end)
    blocks = np.split(whole, np.cumsum(sizes)[:-1]) if sizes else []
    kept = [window.cut(block) for block in blocks]
    np.testing.assert_array_equal(np.concatenate([whole[:0], *kept]), whole[first:end])
    assert window.passed == (end is not None and len(whole) >= end)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5 s", 1.5), ("1:30", 90), ("75:00", 4500), ("1:02:03.5", 3723.5), ("0:07", 7)]
)
def test_times_are_understood(text, seconds):
    assert Time(min=0).convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["1:60", "1:75:00", "-5", "a", "1:2:3:4", "1:", "nan", "inf", "1:30:-1"])
def test_times_that_are_none_are_refused(text):
    result = run("a.wav", "b.wav", "--start", text)
    assert result.exit_code == 2 and "Invalid value for '--start'" in result.stderr


@pytest.fixture(scope="module")
def whole(long_recording, tmp_path_factory):
    """What becomes of the whole recording, by model."""
    folder = tmp_path_factory.mktemp("whole")
    for name in MODELS:
        denoise_file(long_recording, folder / f"{name}.wav", model=name)
    return {name: soundfile.read(folder / f"{name}.wav")[0] for name in MODELS}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("start", [0, 3.21, 42.5])
def test_a_part_is_what_it_is_in_the_whole(long_recording, whole, tmp_path, start, model):
    settings = {"start_seconds": start, "duration_seconds": 2.5, "model": model}
    report = denoise_file(long_recording, tmp_path / "part.wav", **settings)
    part = soundfile.read(tmp_path / "part.wav")[0]
    expected = whole[model][round(16000 * start) :][:40000]
    assert part.shape == (40000, 2) and report.seconds == 2.5
    if start < SETTLE_SECONDS:  # the denoiser has heard the same
        np.testing.assert_array_equal(part, expected)
    else:
        assert 10 * np.log10(np.sum((part - expected) ** 2) / np.sum(expected**2)) < MODELS[model]


def test_the_levels_are_those_of_the_part(long_recording, tmp_path):
    report = denoise_file(long_recording, tmp_path / "part.wav", start_seconds=12, duration_seconds=3)
    part = soundfile.read(long_recording, start=12 * 16000, frames=3 * 16000)[0]
    assert report.measures.input_level_db == pytest.approx(10 * np.log10(np.mean(part**2)), abs=0.01)


def test_a_part_ends_with_its_recording_and_begins_within(long_recording, tmp_path):
    denoise_file(long_recording, tmp_path / "end.wav", start_seconds=46, duration_seconds=10)
    assert soundfile.info(tmp_path / "end.wav").frames == 2 * 16000
    with pytest.raises(AudioError, match=r"long.wav ends after 48.000 s, before the start at 48 s"):
        denoise_file(long_recording, tmp_path / "none.wav", start_seconds=48)
    with pytest.raises(ValueError, match="duration_seconds is 0, it must be above 0"):
        denoise_file(long_recording, tmp_path / "none.wav", duration_seconds=0)
    result = run("--start", "1", "-", tmp_path / "none.wav")
    assert result.exit_code == 1 and "a part can be taken of files, not of standard input" in result.stderr
    assert os.listdir(tmp_path) == ["end.wav"]


def test_a_folder_of_parts(long_recording, tmp_path):
    shutil.copy(long_recording, tmp_path / "b.wav")
    soundfile.write(tmp_path / "short.wav", np.zeros(8000), 8000)
    result = run("-j", 1, "--start", "0:02", "--duration", 1, tmp_path, tmp_path / "out")
    assert result.exit_code == 1 and "short.wav ends after 1.000 s" in result.stderr
    assert soundfile.info(tmp_path / "out" / "b.wav").frames == 16000
    assert os.listdir(tmp_path / "out") == ["b.wav"]


def test_chunks_that_name_moments_stay_behind_and_the_clock_moves(tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.sin(np.arange(96000) / 9), 48000, subtype="PCM_16")
    bext = bytearray(602)
    bext[:4], bext[338:346] = b"take", struct.pack("<Q", 10**9)
    added = b"".join(
        kind + struct.pack("<I", len(content)) + content
        for kind, content in ((b"bext", bytes(bext)), (b"cue ", bytes(4)), (b"LIST", b"INFOINAM\4\0\0\0one\0"))
    )
    content = (tmp_path / "a.wav").read_bytes() + added
    (tmp_path / "a.wav").write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    report = denoise_file(tmp_path / "a.wav", tmp_path / "b.wav", start_seconds=0.5, duration_seconds=1)
    kept = chunks.read(tmp_path / "b.wav", "PCM_16")
    assert kept.kinds == ["bext", "LIST/INFO"] and report.left_out == ("cue",)
    assert struct.unpack("<Q", kept.after[0][1][338:346]) == (10**9 + 24000,)
    assert kept.after[0][1][:4] == b"take"


@pytest.mark.ffmpeg
def test_a_film_has_no_part(long_recording, tmp_path):
    film = tmp_path / "film.mkv"
    picture = ["-f", "lavfi", "-i", "testsrc=duration=24:size=64x48:rate=5"]
    command = ["ffmpeg", "-v", "error", *picture, "-i", long_recording, "-c:a", "flac", film]
    subprocess.run(command, check=True, timeout=60)
    result = run("--start", 3, "--duration", 2, film, tmp_path / "part.mkv")
    assert result.exit_code == 1 and "an excerpt has no picture" in result.stderr
    assert run("--start", 3, "--duration", 2, film, tmp_path / "part.m4a").exit_code == 0
    assert run("--start", 3, "--duration", 2, film, tmp_path / "part.wav").exit_code == 0
    denoise_file(long_recording, tmp_path / "same.wav", start_seconds=3, duration_seconds=2)
    of_film, of_file = (soundfile.read(tmp_path / name)[0] for name in ("part.wav", "same.wav"))
    assert of_film.shape == of_file.shape
    assert np.abs(of_film - of_file).max() < 2e-3  # FLAC took the floats as integers of 16 bits
