"""A model that looks ahead, through the commands: files, pipes, quantize, info; live refuses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from conftest import SMALL, random_tensors
from signals import noise, speech

from percepnet_cli.cli import main
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.evaluation.quantization import compare
from percepnet_cli.file_denoiser import denoise_blocks
from percepnet_cli.network.graph import Sizes
from percepnet_cli.network.modelfile import load_model, model_bytes

RATE = 48000
SIZES = Sizes(*SMALL, bidirectional=True)


def run(*arguments: object):
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def float_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("float") / "model.safetensors"
    path.write_bytes(model_bytes(random_tensors(SIZES, 11), SIZES, "float", {}))
    return path


@pytest.fixture(scope="module")
def model_file(tmp_path_factory, float_file):
    path = tmp_path_factory.mktemp("rounded") / "farsighted.safetensors"
    result = run("quantize", float_file, path)
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="module")
def sound():
    rng = np.random.default_rng(4)
    return (speech(4 * RATE, rng)[0] + noise(4 * RATE, rng, 0.02)).astype(np.float32)


@pytest.mark.parametrize("frames", [0, 1, 480, 5000, 100 * 480, 150 * 480 + 1, 180_000])
def test_a_file_of_any_length_keeps_it_and_is_the_whole_recording(model_file, sound, tmp_path, frames):
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, sound[:frames], RATE, subtype="FLOAT")
    result = run("denoise", "--model", model_file, source, target)
    assert result.exit_code == 0, result.output
    cleaned = soundfile.read(target, dtype="float32")[0]
    assert np.array_equal(cleaned, Denoiser(load_model(model_file)).denoise(sound[:frames]))
    assert cleaned.any() or frames < 480


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_other_rates_keep_every_frame_in_its_place(model_file, rate):
    samples = noise((2 * rate + 17, 2), np.random.default_rng(5), 0.1).astype(np.float32)
    denoiser = Denoiser(load_model(model_file), channels=2, attenuation_limit_db=0)
    blocks = (samples[i : i + 1000] for i in range(0, len(samples), 1000))
    cleaned = np.concatenate([block.copy() for block in denoise_blocks(blocks, rate, 2, denoiser)])
    assert cleaned.shape == samples.shape
    # Nothing is taken away, so the output is the input, but for the high-pass below and resampling above
    spectrum, error = (np.abs(np.fft.rfft(x, axis=0)) for x in (samples, cleaned - samples))
    middle = slice(len(spectrum) // 20, int(len(spectrum) * 0.8 * min(1, 48000 / rate)))
    assert np.sum(error[middle] ** 2) < 1e-4 * np.sum(spectrum[middle] ** 2)


def test_a_pipe_gets_what_a_file_gets(model_file, sound, tmp_path):
    source, target = tmp_path / "in.raw", tmp_path / "out.raw"
    raw = ["--raw", "48000:1:f32le", "--model", str(model_file)]
    source.write_bytes(sound.astype("<f4").tobytes())
    with source.open("rb") as stdin, target.open("wb") as stdout:
        command = [sys.executable, "-m", "percepnet_cli", "denoise", *raw, "-", "-"]
        subprocess.run(command, stdin=stdin, stdout=stdout, check=True, timeout=300)
    found = np.frombuffer(target.read_bytes(), "<f4")
    assert np.array_equal(found, Denoiser(load_model(model_file)).denoise(sound))


def test_memory_does_not_grow_with_the_file(two_way_model):
    """What waits for the network is as much after a minute as after the first blocks."""

    def held(thing: object, seen: set[int]) -> int:
        if id(thing) in seen:
            return 0
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            return thing.nbytes
        if isinstance(thing, list | tuple):
            return sum(held(item, seen) for item in thing)
        if type(thing).__module__.startswith("percepnet_cli") and hasattr(thing, "__dict__"):
            return sum(held(value, seen) for value in vars(thing).values())
        return 0

    denoiser = Denoiser(two_way_model)
    block = noise(128 * 480, np.random.default_rng(6), 0.1).astype(np.float32)
    sizes = []
    for _ in range(48):
        denoiser.process(block)
        sizes.append(held(denoiser._channels, set()))
    assert sizes[2] == sizes[-1] > 1_000_000


def test_quantize_compares_both(float_file, sound, tmp_path):
    source = tmp_path / "noisy.wav"
    soundfile.write(source, sound, RATE, subtype="FLOAT")
    result = run("quantize", float_file, tmp_path / "small.safetensors", "--audio", source)
    assert result.exit_code == 0, result.output
    difference = compare(load_model(float_file, "float"), load_model(tmp_path / "small.safetensors"), sound)
    assert 0 < difference.gain_mean < 0.01 and 0 < difference.strength_mean < 0.01 and difference.snr_db > 30
    assert f"{difference.snr_db:.1f} dB" in result.output


def test_info_says_how_late_it_is(model_file, float_file):
    result = run("info", "--json", model_file, float_file, "lite")
    assert result.exit_code == 0, result.output
    assert [model["latency_ms"] for model in json.loads(result.stdout)] == [1520, 1520, 30]
    assert "latency ms           1520" in run("info", model_file).stdout


def test_live_refuses_it_by_name(model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("live", "--model", model_file, "--record", "noisy.wav", "clean.wav", "--seconds", 1)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "Error: farsighted looks ahead 1.5 s; use percepnet or lite"
    assert not list(Path().iterdir())


def test_what_live_offers_instead_is_shipped_and_causal():
    from percepnet_cli.live.models import REALTIME_MODELS, require_realtime

    for name in REALTIME_MODELS:
        require_realtime(load_model(name))


def test_a_session_refuses_it_before_devices_are_looked_for(model_file, monkeypatch):
    from percepnet_cli.errors import DeviceError, ModelError

    try:
        from percepnet_cli.live import session, settings
    except DeviceError:
        pytest.skip("no PortAudio here")
    monkeypatch.setattr(session.portaudio, "list_devices", lambda: pytest.fail("a device was looked for"))
    with pytest.raises(ModelError, match="looks ahead"):
        session.Session(Denoiser(load_model(model_file)), settings.Settings())
