"""Fixtures that several test files share: a seeded generator and models of random weights."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

# Compiled kernels are kept between runs; this must be known before the package is imported, here and in
# processes that the tests start.
os.environ.setdefault("PERCEPNET_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".numba_cache"))

import numpy as np
import pytest

SMALL = (16, 24, 24, 24, 24, 16)
"""Layer widths of the model that most tests run."""


def pytest_configure():
    """Ignore what nohup or a shell's background ignores in a way that the programs under test do not inherit."""
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_runtest_setup(item):
    """Skip what runs ffmpeg where there is none."""
    if item.get_closest_marker("ffmpeg") and shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")


@pytest.fixture
def rng():
    return np.random.default_rng(20260801)


@pytest.fixture
def close_folder(monkeypatch):
    """A function: let folders whose path ends so refuse to be listed, as others' folders do, even to root."""
    original = os.scandir

    def close(end):
        def refuse(folder):
            if str(folder).endswith(end):
                raise PermissionError(13, "Permission denied", folder)
            return original(folder)

        monkeypatch.setattr(os, "scandir", refuse)

    return close


def random_tensors(sizes, seed):
    """Float tensors of a model whose layers all matter: no gate is stuck, no output constant."""
    from percepnet_cli.network.modelfile import layout

    rng = np.random.default_rng(seed)
    tensors = {}
    for name, (_, shape) in layout(sizes, "float").items():
        if "weight" in name:
            fan_in = int(np.prod(shape[1:]))
            values = rng.standard_normal(shape) * (1.5 / np.sqrt(fan_in))
        else:
            values = rng.standard_normal(shape) * 0.3
        tensors[name] = values.astype(np.float32)
    # the features' own means and deviations, roughly: logarithms of energies, coherences, octaves, correlation
    tensors["feature_mean"] = np.repeat([-2.0, 0.5, 1.5, 0.5], [34, 34, 1, 1]).astype(np.float32)
    tensors["feature_std"] = np.repeat([2.0, 0.3, 0.8, 0.3], [34, 34, 1, 1]).astype(np.float32)
    return tensors


@pytest.fixture(scope="session")
def make_models(tmp_path_factory):
    """Return a function (sizes, seed) -> (8-bit model, float model), both through their files."""
    from percepnet_cli.network.graph import Sizes
    from percepnet_cli.network.modelfile import load_model, model_bytes
    from percepnet_cli.network.quantize import quantize_tensors

    folder = tmp_path_factory.mktemp("models")

    def make(sizes=SMALL, seed=1):
        sizes = Sizes(*sizes)
        tensors = random_tensors(sizes, seed)
        models = []
        for kind, content in (("int8", quantize_tensors(tensors, sizes)), ("float", tensors)):
            path = folder / f"{kind}-{seed}-{'-'.join(map(str, sizes))}.safetensors"
            path.write_bytes(model_bytes(content, sizes, kind, {"origin": "random numbers"}))
            models.append(load_model(path, kind))
        return models

    return make


@pytest.fixture(scope="session")
def small_models(make_models):
    """The small network, (8-bit, float) with the same weights before rounding."""
    return make_models()


@pytest.fixture(scope="session")
def random_model(small_models):
    """The small network in 8 bits."""
    return small_models[0]


@pytest.fixture(scope="session")
def two_way_models(make_models):
    """A small network in both directions, (8-bit, float)."""
    return make_models((*SMALL, 5, 3, True), 11)


@pytest.fixture(scope="session")
def two_way_model(two_way_models):
    """The small network in both directions in 8 bits."""
    return two_way_models[0]


@pytest.fixture(scope="session")
def full_model(make_models):
    """The published 8 million weights, at random."""
    return make_models((128, 512, 512, 512, 512, 128), 2)[0]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A folder of small recordings: ``speech`` of three speakers, ``noise`` and ``rir``."""
    import soundfile
    from signals import noise, speech

    rng = np.random.default_rng(11)
    folder = tmp_path_factory.mktemp("corpus")
    for name, f0 in (("anna", 210.0), ("ben", 110.0), ("cleo", 160.0)):
        (folder / "speech" / name).mkdir(parents=True)
        for number in range(2):
            soundfile.write(folder / "speech" / name / f"{number}.wav", speech(72000, rng, f0_hz=f0)[0], 48000)
    (folder / "noise" / "keys").mkdir(parents=True)
    soundfile.write(folder / "noise" / "hiss.wav", noise(96000, rng), 48000)
    soundfile.write(folder / "noise" / "short hiss.flac", noise(60000, rng), 44100)
    soundfile.write(folder / "noise" / "keys" / "key.wav", noise(4800, rng) * np.linspace(1, 0, 4800) ** 4, 48000)
    (folder / "rir").mkdir()
    decay = noise(9600, rng) * 10 ** (-3 * np.arange(9600) / 9600)
    decay[100] = 0.9
    soundfile.write(folder / "rir" / "office.wav", decay, 48000)
    return folder


@pytest.fixture
def one_torch_thread():
    """Run torch on one thread from a known seed, and leave it with as many threads as it had."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Small shards: a folder to train on and one to validate."""
    import small_shards

    return small_shards.write_folders(tmp_path_factory.mktemp("shards"))
