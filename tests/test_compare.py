"""The 8-bit network against the float one, through the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from percepnet_cli.cli import main
from percepnet_cli.evaluation.quantization import compare
from percepnet_cli.network.graph import Sizes
from percepnet_cli.network.modelfile import Model, load_model, model_bytes
from percepnet_cli.network.quantize import quantize_tensors

SIZES = Sizes(16, 24, 24, 24, 24, 16)


@pytest.fixture
def float_file(tmp_path: Path, small_models: list[Model]) -> Path:
    path = tmp_path / "float.safetensors"
    origin = {"training": {"steps": 1}, "post_filter": False}
    path.write_bytes(model_bytes(small_models[1].tensors, SIZES, "float", origin))
    return path


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    path = tmp_path / "noisy.wav"
    soundfile.write(path, np.random.default_rng(6).standard_normal(60000) * 0.1, 48000)
    return path


def test_quantize_reports_small_differences(float_file: Path, noisy: Path, tmp_path: Path) -> None:
    target = tmp_path / "small.safetensors"
    result = CliRunner().invoke(main, ["quantize", str(float_file), str(target), "--audio", str(noisy)])
    assert result.exit_code == 0, result.output
    assert "noisy.wav" in result.output and "dB" in result.output
    model = load_model(target)
    assert model.sizes == SIZES
    assert model.metadata["training"] == {"steps": 1}
    assert not model.post_filter
    assert model.metadata["float_sha256"] == load_model(float_file, "float").digest


@pytest.mark.parametrize("bits", ["8", "16"])
def test_quantize_sets_the_share_of_the_post_filter(float_file: Path, tmp_path: Path, bits: str) -> None:
    target = tmp_path / "small.safetensors"
    given = ["quantize", str(float_file), str(target), "--bits", bits, "--post-filter"]
    assert CliRunner().invoke(main, [*given, "0.5"]).exit_code == 0
    assert load_model(target, "int8" if bits == "8" else "float").post_filter == 0.5
    result = CliRunner().invoke(main, [*given, "1.5", "--force"])
    assert result.exit_code == 2 and "0<=x<=1" in result.output


def test_difference_grows_when_the_8_bit_model_is_another(float_file: Path) -> None:
    model = load_model(float_file, "float")
    samples = (0.1 * np.random.default_rng(7).standard_normal(60000)).astype(np.float32)

    def difference(damage: float, folder: Path) -> float:
        tensors = quantize_tensors(model.tensors, SIZES)
        tensors["gain.bias"] = tensors["gain.bias"] + np.float32(damage)
        path = folder / "other.safetensors"
        path.write_bytes(model_bytes(tensors, SIZES, "int8", {}))
        return compare(model, load_model(path), samples).gain_mean

    same, other = difference(0, float_file.parent), difference(1, float_file.parent)
    assert same < 0.01
    assert other > 0.1


def test_too_little_audio_is_refused(float_file: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.wav"
    soundfile.write(short, np.zeros(480), 48000)
    result = CliRunner().invoke(
        main, ["quantize", str(float_file), str(tmp_path / "o.safetensors"), "--audio", str(short)]
    )
    assert result.exit_code == 1
    assert "one second" in result.output


def test_existing_output_is_kept(float_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "there.safetensors"
    target.write_bytes(b"mine")
    result = CliRunner().invoke(main, ["quantize", str(float_file), str(target)])
    assert result.exit_code == 1 and "--force" in result.output
    assert target.read_bytes() == b"mine"
