"""``percepnet info``: sound files and models."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from conftest import SMALL, random_tensors

from percepnet_cli.cli import main
from percepnet_cli.network.graph import Sizes
from percepnet_cli.network.modelfile import load_model, model_bytes


def info(*arguments):
    return CliRunner().invoke(main, ["info", *map(str, arguments)])


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "a.wav"
    with soundfile.SoundFile(path, "w", 44100, 2, subtype="PCM_24") as file:
        file.title = "rain"
        file.write(np.zeros((22050, 2)))
    return path


def test_a_sound_file(sound):
    result = info(sound)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    expected = ["container WAV", "encoding PCM_24", "sample rate 44100", "channels 2", "frames 22050", "seconds 0.500"]
    assert lines[0] == str(sound) and lines[1:7] == expected
    assert lines[7:] == [f"bytes {sound.stat().st_size}", "chunks LIST/INFO", "tags", "title rain"]
    (found,) = json.loads(info("--json", sound).output)
    assert (found["seconds"], found["tags"]) == (0.5, {"title": "rain"})


@pytest.mark.ffmpeg
@pytest.mark.parametrize(
    ("name", "codec", "expected"),
    [
        ("a.m4a", "aac", ["mov,mp4,m4a,3gp,3g2,mj2", "aac"]),
        ("a.mka", "pcm_s24le", ["matroska,webm", "pcm_s24le"]),
        ("a.aac", "aac", ["aac", "aac"]),
    ],
)
def test_what_ffmpeg_reads_has_its_names(sound, tmp_path, name, codec, expected):
    subprocess.run(["ffmpeg", "-v", "error", "-i", sound, "-c:a", codec, tmp_path / name], check=True)
    (found,) = json.loads(info("--json", tmp_path / name).output)
    assert [found["container"], found["encoding"]] == expected
    assert found["tracks"] and found["seconds"] == pytest.approx(0.5, abs=0.1)


def test_a_shipped_model():
    (found,) = json.loads(info("--json", "lite").output)
    model = load_model("lite")
    assert (found["model"], found["kind"], found["sha256"]) == ("lite", "int8", model.digest)
    assert found["weights"] == model.num_weights and found["bytes"] == Path(found["file"]).stat().st_size
    assert found["sizes"]["gru"] == model.sizes.gru
    assert model.digest in info("lite").output


def test_a_model_as_the_trainer_writes_it(tmp_path):
    sizes = Sizes(*SMALL)
    path = tmp_path / "model.safetensors"
    path.write_bytes(model_bytes(random_tensors(sizes, 1), sizes, "float", {"origin": "random numbers"}))
    (found,) = json.loads(info("--json", path).output)
    assert found["kind"] == "float" and found["origin"] == "random numbers"
    assert Sizes(**found["sizes"]) == sizes


def test_what_is_nothing_does_not_hide_the_rest(sound, tmp_path):
    broken = tmp_path / "b.safetensors"
    broken.write_bytes(bytes(100))
    result = info(tmp_path / "none.wav", sound, broken)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == str(sound)
    assert result.stderr.splitlines() == [
        f"Error: {tmp_path / 'none.wav'} does not exist",
        f"Error: {broken} is not a percepnet model, or it is damaged",
    ]
