"""Inputs that end before they should: what is there is read, it is said, and ``--strict`` refuses it."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from percepnet_cli.audio import ffmpeg, formats
from percepnet_cli.audio.files import open_reader
from percepnet_cli.audio.pipes import PipeReader, RawFormat, wav_header
from percepnet_cli.cli import main
from percepnet_cli.errors import AudioError
from percepnet_cli.file_denoiser import denoise_file

SECONDS = 4
RATE = 16000
SAMPLES = (0.1 * np.random.default_rng(8).standard_normal(SECONDS * RATE)).astype(np.float32)

KINDS = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"),
    ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("VOC", "PCM_16"), ("OGG", "VORBIS"),
    ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip
"""Containers that tell where they end."""

MORE = [
    ("CAF", "PCM_16"), ("FLAC", "PCM_16"), ("NIST", "PCM_16"), ("AVR", "PCM_16"), ("PAF", "PCM_16"),
    ("IRCAM", "PCM_16"), ("HTK", "PCM_16"), ("MAT5", "PCM_16"), ("WAV", "GSM610"),
]  # fmt: skip


def made(path, container, subtype, samples=SAMPLES):
    """Write a sound file."""
    soundfile.write(path, samples, RATE, format=container, subtype=subtype)
    return path


def cut(path, share=0.5):
    """Cut a file in place."""
    os.truncate(path, int(share * path.stat().st_size))
    return path


def read(path):
    """Read a file to its end; return its seconds and how it ends early."""
    with open_reader(path) as reader:
        frames = sum(len(block) for block in reader.blocks(5000))
        return frames / reader.sample_rate, reader.ends_early


@pytest.mark.parametrize(("container", "subtype"), KINDS + MORE)
def test_whole_files_end_where_they_should(tmp_path, container, subtype):
    for frames in (1, 1000, len(SAMPLES) - 1, len(SAMPLES)):
        _, ends_early = read(made(tmp_path / "a", container, subtype, SAMPLES[:frames]))
        assert ends_early is None, frames


@pytest.mark.parametrize("share", [0.3, 0.5, 0.97])
@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_half_a_file_is_read_and_told(tmp_path, container, subtype, share):
    if container == "OGG" and share < 0.5:
        return  # less than its first page of sound
    if subtype == "OPUS" and not ffmpeg.installed():
        pytest.skip("libsndfile opens no half of an Opus file")
    seconds, ends_early = read(cut(made(tmp_path / "a", container, subtype), share))
    assert 0.1 * SECONDS < seconds <= SECONDS
    if container == "OGG":
        assert ends_early == "ends early, without its last page"
        return
    assert ends_early is not None and ends_early.startswith("ends early, after ")
    assert float(ends_early.split()[3]) == pytest.approx(seconds, abs=0.3)
    if container in ("WAV", "WAVEX", "RF64", "MP3") and subtype != "IMA_ADPCM":
        assert float(ends_early.split()[6]) == pytest.approx(SECONDS, abs=0.1)


def test_half_a_flac_cannot_be_told_from_a_damaged_one(tmp_path):
    with pytest.raises(AudioError, match=r"damaged somewhere after|cannot be read after"):
        read(cut(made(tmp_path / "a", "FLAC", "PCM_16")))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mka", "webm", "m4a", "flv", "tta"])
@pytest.mark.skipif(not ffmpeg.installed(), reason="needs ffmpeg")
def test_half_of_what_ffmpeg_reads(tmp_path, suffix):
    made(tmp_path / "in.wav", "WAV", "PCM_16")
    path = tmp_path / f"a.{suffix}"
    options = ["-movflags", "+faststart"] if suffix in ("mp4", "m4a") else []
    options += ["-ar", "44100"] if suffix == "flv" else ["-ar", "48000"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "in.wav", *options, path], check=True)
    seconds, ends_early = read(path)
    assert abs(seconds - SECONDS) < 0.2 and ends_early is None
    seconds, ends_early = read(cut(path, 0.6))
    assert 0.3 * SECONDS < seconds < 0.8 * SECONDS and ends_early is not None


@pytest.mark.skipif(not ffmpeg.installed(), reason="needs ffmpeg")
def test_sound_that_is_shorter_than_its_film_is_whole(tmp_path):
    made(tmp_path / "in.wav", "WAV", "PCM_16")
    for suffix in ("mp4", "mkv", "mov"):
        path = tmp_path / f"film.{suffix}"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=size=16x16:rate=5:duration=9"]
        subprocess.run([*command, "-i", tmp_path / "in.wav", "-c:v", "mpeg4", path], check=True)
        assert read(path)[1] is None


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16")])
def test_a_file_that_shrinks_while_it_is_read(tmp_path, container, subtype):
    path = made(tmp_path / "a", container, subtype, np.tile(SAMPLES, 10))
    with open_reader(path) as reader:
        blocks = reader.blocks(5000)
        next(blocks)
        cut(path)
        try:
            frames = 5000 + sum(len(block) for block in blocks)
        except AudioError:
            assert container == "FLAC"
            return
        assert 5000 <= frames < 10 * len(SAMPLES) and reader.ends_early is not None


def test_a_wav_of_a_recorder_that_died_may_shrink_too(tmp_path):
    """It is read as bare samples."""
    path = made(tmp_path / "a", "WAV", "PCM_16", np.tile(SAMPLES, 10))
    content = bytearray(path.read_bytes())
    content[40:44] = bytes(4)
    path.write_bytes(content)
    assert read(path) == (10 * SECONDS, None)
    with open_reader(path) as reader:
        blocks = reader.blocks(5000)
        next(blocks)
        cut(path)
        assert 5000 + sum(len(block) for block in blocks) < 10 * len(SAMPLES)
        assert reader.ends_early is not None


@pytest.mark.parametrize("missing", [1, 2, 3, 1000])
def test_pipes(missing):
    raw = RawFormat(RATE, 1, "s16le")
    sound = bytes(2 * RATE)
    whole = wav_header(raw, len(sound)) + sound
    for content, form in ((whole, None), (sound, raw)):
        reader = PipeReader(io.BufferedReader(io.BytesIO(content)), "pipe", form)
        assert sum(len(block) for block in reader.blocks(999)) == RATE and reader.ends_early is None

    reader = PipeReader(io.BufferedReader(io.BytesIO(whole[:-missing])), "pipe")
    assert sum(len(block) for block in reader.blocks(999)) == RATE - (missing + 1) // 2
    assert reader.ends_early == f"ends early, after {(RATE - (missing + 1) // 2) / RATE:.1f} s of 1.0 s"

    reader = PipeReader(io.BufferedReader(io.BytesIO(sound[:-missing])), "pipe", raw)
    list(reader.blocks(999))
    assert (reader.ends_early is not None) == bool(missing % 2)


def test_headers_that_promise_nothing_are_believed(tmp_path):
    """Sizes of 0 and of all ones mean that the writer could not come back."""
    for size in (0, 0xFFFFFFFF):
        content = bytearray(made(tmp_path / "a", "WAV", "PCM_16").read_bytes())
        content[40:44] = size.to_bytes(4, "little")
        (tmp_path / "a").write_bytes(content)
        assert read(tmp_path / "a") == (SECONDS, None)


def test_the_command_warns_reports_and_refuses(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    cut(made(folder / "half.wav", "WAV", "PCM_16"))
    made(folder / "whole.wav", "WAV", "PCM_16")
    sentence = "ends early, after 2.0 s of 4.0 s"

    def run(*arguments):
        done = CliRunner().invoke(main, ["denoise", "--quiet", "--model", "lite", *map(str, arguments)])
        return done.exit_code, done.stderr

    # One file, by itself and strictly
    out, report = tmp_path / "out.wav", tmp_path / "report.csv"
    assert run(folder / "half.wav", out, "--report", report) == (0, f"Warning: {folder / 'half.wav'} {sentence}\n")
    assert soundfile.info(out).duration == pytest.approx(2, abs=0.01)
    with report.open(newline="") as file:
        assert [row["warning"] for row in csv.DictReader(file)] == [sentence]
    code, said = run("--strict", folder / "half.wav", tmp_path / "no.wav")
    assert (code, said) == (1, f"Error: {folder / 'half.wav'} {sentence}\n") and not (tmp_path / "no.wav").exists()
    assert run("--strict", folder / "whole.wav", tmp_path / "yes.wav") == (0, "")

    # A folder
    code, said = run("--jobs", 1, "--report", tmp_path / "all.csv", folder, tmp_path / "all")
    assert (code, said) == (0, f"Warning: {folder / 'half.wav'} {sentence}\n")
    with (tmp_path / "all.csv").open(newline="") as file:
        assert [row["warning"] for row in csv.DictReader(file)] == [sentence, ""]
    code, said = run("--jobs", 1, "--strict", folder, tmp_path / "strict")
    assert code == 1 and os.listdir(tmp_path / "strict") == ["whole.wav"]
    assert sentence in said


def test_from_python(tmp_path):
    made(tmp_path / "a.mp3", "MP3", "MPEG_LAYER_III")
    assert denoise_file(tmp_path / "a.mp3", tmp_path / "b.wav", model="lite", strict=True).ends_early is None
    cut(tmp_path / "a.mp3")
    assert denoise_file(tmp_path / "a.mp3", tmp_path / "c.wav", model="lite").ends_early is not None
    with pytest.raises(AudioError, match=r"a\.mp3 ends early, after"):
        denoise_file(tmp_path / "a.mp3", tmp_path / "d.wav", model="lite", strict=True)
    assert not (tmp_path / "d.wav").exists()


def test_the_sentence():
    assert formats.early(4) == "ends early, after 4.0 s"
    assert shutil.which("ffmpeg") is None or ffmpeg._clock("01:02:03.5") == 3723.5
    assert ffmpeg._clock(None) is None and ffmpeg._clock("8.0") is None and ffmpeg._clock("a:b:c") is None
