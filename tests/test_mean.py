"""The mean of two models' weights: models/mean.py."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import random_tensors

pytest.importorskip("torch")

from percepnet_cli.network.graph import Sizes
from percepnet_cli.network.modelfile import load_model, model_bytes
from percepnet_cli.training.model.widen import widen

SCRIPT = Path(__file__).resolve().parents[1] / "models" / "mean.py"
OLD = Sizes(6, 5, 8, 7, 6, 5)
NEW = Sizes(6, 5, 8, 9, 6, 5, bidirectional=True)


def write(path, tensors, sizes, training):
    path.write_bytes(model_bytes(tensors, sizes, "float", {"training": training, "post_filter": False}))


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def pair(tmp_path):
    """Two models of the same sizes and normalization, as files, and their tensors."""
    before, after = random_tensors(OLD, 5), random_tensors(OLD, 6)
    after |= {name: before[name] for name in ("feature_mean", "feature_std")}
    write(tmp_path / "before.safetensors", before, OLD, {"hours": 3})
    write(tmp_path / "after.safetensors", after, OLD, {"hours": 5})
    return tmp_path / "before.safetensors", tmp_path / "after.safetensors", before, after


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_weight_lies_between_its_two(pair, tmp_path, share):
    before, after, old, new = pair
    done = run(before, after, share, tmp_path / "mean.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    model = load_model(tmp_path / "mean.safetensors", "float")
    for name, value in model.tensors.items():
        wanted = (1 - share) * old[name].astype(np.float64) + share * new[name].astype(np.float64)
        assert np.abs(value - wanted).max() < 1e-6, name
    assert not model.post_filter

    # The file tells where it comes from
    origin = model.metadata["mean"]
    assert origin["after"] == {"share": share, "sha256": load_model(after, "float").digest}
    assert origin["before"]["training"] == {"hours": 3} and model.metadata["training"] == {"hours": 5}


def test_a_narrow_one_is_widened_as_a_run_widens_it(tmp_path):
    old = random_tensors(OLD, 5)
    start = widen(old, OLD, NEW, 0)
    write(tmp_path / "before.safetensors", old, OLD, {})
    write(tmp_path / "after.safetensors", start, NEW, {})
    done = run(tmp_path / "before.safetensors", tmp_path / "after.safetensors", 0.5, tmp_path / "mean.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    found = load_model(tmp_path / "mean.safetensors", "float").tensors
    assert all(np.abs(found[name] - start[name]).max() < 1e-6 for name in start)


def test_what_cannot_be_is_said_in_one_sentence(pair, tmp_path):
    before, after, _, new = pair
    write(tmp_path / "strange.safetensors", new | {"feature_mean": new["feature_mean"] + 1}, OLD, {})
    for arguments, said in [
        ((before, after, 1.5), "the share is 1.5, it must be 0 to 1"),
        ((before, tmp_path / "strange.safetensors", 0.5), "feature_mean of the two differs"),
        ((before, tmp_path / "none.safetensors", 0.5), "no such file"),
    ]:
        done = run(*arguments, tmp_path / "out.safetensors")
        assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "out.safetensors").exists()
