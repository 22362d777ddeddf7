"""A run: stopped, killed and resumed, and what it writes."""

import csv
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from percepnet_cli.training.data.shards import Shards, shard_path

torch = pytest.importorskip("torch")

from percepnet_cli.network.modelfile import Sizes  # noqa: E402
from percepnet_cli.training.losses import residue  # noqa: E402
from percepnet_cli.training.loudness import disturbance_loss, heard_energy  # noqa: E402
from percepnet_cli.training.model.floatmodel import read_float_model  # noqa: E402
from percepnet_cli.training.model.torch_model import PercepNet  # noqa: E402
from percepnet_cli.training.options import Options  # noqa: E402
from percepnet_cli.training.train import run  # noqa: E402
from percepnet_cli.training.trainer import Trainer, learning_rate  # noqa: E402

TINY = Options(Sizes(16, 16, 16, 16, 16, 16), batch=6, hops=24, steps=8, seed=5, device="cpu")

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def silent(_):
    pass


def weights(out):
    content = torch.load(out / "checkpoint.pt", weights_only=True)
    return {**content["model"], **{f"ema {k}": v for k, v in content["ema"].items()}}


def assert_same(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def straight(folders, tmp_path_factory):
    """Folder of a run of eight steps that was never stopped."""
    out = tmp_path_factory.mktemp("straight")
    result = run(*folders, out, TINY, log=silent)
    assert result.finished
    assert result.step == 8
    return out


def test_resuming_gives_the_same_weights(folders, straight, tmp_path):
    assert not run(*folders, tmp_path, TINY, log=silent, stop_at=3).finished
    assert not run(*folders, tmp_path, TINY, log=silent, stop_at=5).finished
    lines = []
    assert run(*folders, tmp_path, TINY, log=lines.append).finished
    assert any("going on at step 5" in line for line in lines)
    assert_same(weights(tmp_path), weights(straight))
    # a finished run stays as it is
    assert run(*folders, tmp_path, TINY, log=silent).step == 8
    assert_same(weights(tmp_path), weights(straight))


PIECES = replace(TINY, pieces=4, dropout=0.2, recolour=True)


def test_pieces_resume_exactly_within_a_sequence(folders, tmp_path):
    assert run(*folders, tmp_path / "straight", PIECES, log=silent).finished
    for stop_at in (3, 6, None):
        run(*folders, tmp_path / "parts", PIECES, log=silent, stop_at=stop_at)
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "straight"))
    with pytest.raises(ValueError, match="24 hops cannot be cut into 5 pieces"):
        run(*folders, tmp_path / "odd", replace(TINY, pieces=5), log=silent)


def test_pieces_carry_the_state_of_their_sequences(folders, tmp_path):
    train, valid = map(Shards, folders)
    trainer = Trainer(train, valid, tmp_path, replace(TINY, pieces=4, rate=0.0))
    trainer.start()
    trainer.model.precision = torch.float32
    whole = Trainer(train, valid, tmp_path, TINY)
    for number in (0, 1):
        features = torch.from_numpy(whole.batch(number).features).float()
        for end in (6, 12, 18, 24):
            trainer.update(trainer.batch(trainer.step))
            with torch.no_grad():
                expected = trainer.model(features[:end])[2]
            for found, wanted in zip(trainer.state, expected, strict=True):
                torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("weight", ["loudness_weight", "residue_weight", "strength_asymmetry"])
def test_parts_of_the_loss_count_and_resume_exactly(folders, tmp_path, weight):
    plain = replace(TINY, hops=40, pieces=2)
    heard = replace(plain, **{weight: 0.3})
    run(*folders, tmp_path / "deaf", plain, log=silent)
    run(*folders, tmp_path / "straight", heard, log=silent)
    for stop_at in (3, None):
        run(*folders, tmp_path / "parts", heard, log=silent, stop_at=stop_at)
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "straight"))
    deaf, heard_all = weights(tmp_path / "deaf"), weights(tmp_path / "parts")
    assert any(not torch.equal(deaf[name], heard_all[name]) for name in deaf)
    meant = {name: read_float_model(tmp_path / name / "model.safetensors").post_filter for name in ("deaf", "parts")}
    assert meant == {"deaf": True, "parts": weight != "loudness_weight"}


@pytest.mark.parametrize(("weight", "loss"), [("loudness_weight", disturbance_loss), ("residue_weight", residue)])
def test_validation_is_of_the_loss_that_is_trained_on(folders, tmp_path, monkeypatch, weight, loss):
    train, valid = map(Shards, folders)
    plain, heard = (Trainer(train, valid, tmp_path, replace(TINY, **{weight: w})) for w in (0.0, 0.3))
    for trainer in (plain, heard):
        trainer.start()
    total, gain_loss, strength_loss = plain.evaluate(plain.ema)
    assert total == pytest.approx(gain_loss + 0.5 * strength_loss, rel=1e-6)
    batch = [torch.from_numpy(array).float() for array in heard.valid]
    gain = heard.ema(batch[0])[0].detach()
    expected = total + 0.3 * float(loss(heard_energy(batch[0], batch[5]), batch[5], gain))
    assert heard.evaluate(heard.ema)[0] == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr("percepnet_cli.training.trainer.VALIDATION_BATCH", 1)
    assert heard.evaluate(heard.ema)[0] == pytest.approx(expected, rel=1e-5)


def test_loudness_needs_long_pieces(folders, tmp_path):
    short = replace(TINY, hops=40, pieces=4, loudness_weight=0.3)
    with pytest.raises(ValueError, match="--loudness-weight needs pieces of at least 20 hops"):
        run(*folders, tmp_path / "short", short, log=silent)
    train, valid = map(Shards, folders)
    valid.hops = 19
    with pytest.raises(ValueError, match="sequences have 19 hops, 20 are asked for"):
        Trainer(train, valid, tmp_path, replace(TINY, loudness_weight=0.3))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step(folders, straight, tmp_path, monkeypatch, number):
    before = signal.getsignal(number)
    update = Trainer.update

    def interrupted(self, batch):
        loss = update(self, batch)
        if self.step == 4:
            os.kill(os.getpid(), number)
        return loss

    monkeypatch.setattr(Trainer, "update", interrupted)
    result = run(*folders, tmp_path, TINY, log=silent)
    assert (result.step, result.finished, result.signal) == (4, False, number)
    assert signal.getsignal(number) is before
    assert run(*folders, tmp_path, TINY, log=silent).finished
    assert_same(weights(tmp_path), weights(straight))


def test_a_kill_while_writing_leaves_the_last_checkpoint(folders, straight, tmp_path, monkeypatch):
    run(*folders, tmp_path, TINY, log=silent, stop_at=3)
    save = torch.save

    class Killed(BaseException):
        pass

    def half(content, path):
        save(content, path)
        path.write_bytes(path.read_bytes()[:1000])
        raise Killed

    with monkeypatch.context() as patch:
        # a kill leaves the part where it is: nobody cleans up
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        patch.setattr(torch, "save", half)
        with pytest.raises(Killed):
            run(*folders, tmp_path, TINY, log=silent, stop_at=6)
    left = [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
    assert left
    for path in left:  # as it would be named by another process
        path.rename(path.with_name(path.name.replace(str(os.getpid()), "1")))
    assert run(*folders, tmp_path, TINY, log=silent).finished
    assert_same(weights(tmp_path), weights(straight))
    assert not any(name.endswith(".part") for name in os.listdir(tmp_path))


def test_another_run_does_not_go_on_by_mistake(folders, straight, tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint.pt: this run was started with batch 6, seed 5; give"):
        run(*folders, straight, replace(TINY, batch=7, seed=6), log=silent)
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        run(*folders, tmp_path, TINY, log=silent)
    assert run(*folders, tmp_path, replace(TINY, fresh=True, steps=2), log=silent).step == 2
    # these may change between sittings
    free = replace(TINY, threads=2, steps=9, rate=1.0, device="auto", validate_minutes=1.0)
    assert free.identity() == TINY.identity()


def test_the_model_file(folders, straight):
    with safe_open(str(straight / "model.safetensors"), framework="np") as file:
        description = json.loads(file.metadata()["percepnet"])
        names = set(file.keys())
    assert description["format_version"] == 1
    assert description["kind"] == "float"
    expected = {"sample_rate": 48000, "hop": 480, "bands": 34, "features": 70, "lookahead_hops": 2}
    assert {name: description[name] for name in expected} == expected
    assert Sizes(**description["sizes"]) == TINY.sizes
    training = description["training"]
    assert training["steps"] == 8
    assert training["data"]["corpus"] == "numbers"
    model = read_float_model(straight / "model.safetensors")
    assert names == set(PercepNet(model.sizes).state_dict())
    content = torch.load(straight / "checkpoint.pt", weights_only=True)
    for name, value in model.tensors.items():
        assert value.dtype == np.float32
        assert np.array_equal(value, content["ema"][name].numpy())
    mean, std = Shards(folders[0]).feature_statistics()
    assert np.array_equal(model.tensors["feature_mean"], mean)
    assert np.array_equal(model.tensors["feature_std"], std)


def test_history_and_curves(straight):
    with (straight / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "8"]
    assert float(rows[1]["hours"]) == pytest.approx(8 * 6 * 24 / 360000, rel=1e-4)
    assert all(np.isfinite(float(value)) for value in rows[1].values())
    if "matplotlib" in sys.modules:
        assert (straight / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_starting_from_a_model(folders, straight, tmp_path):
    init = straight / "model.safetensors"
    options = replace(TINY, init=init, steps=1, rate=0.0)
    run(*folders, tmp_path, options, log=silent)
    wanted = read_float_model(init).tensors
    found = read_float_model(tmp_path / "model.safetensors").tensors
    for name, value in wanted.items():
        assert np.allclose(found[name], value, atol=1e-6), name
    with pytest.raises(ValueError, match=r"model.safetensors: .* sizes \[16, .* cannot be widened to \[16, 16, 8"):
        run(*folders, tmp_path / "b", replace(options, sizes=Sizes(16, 16, 8, 8, 8, 8)), log=silent)
    with pytest.raises(ValueError, match="not a float model"):
        read_float_model(shard_path(folders[0], 0))


def test_a_small_problem_is_learnt(folders, tmp_path):
    options = replace(TINY, sizes=Sizes(16, 24, 24, 16, 16, 24), rate=0.02, steps=200, batch=12, hops=48)
    run(*folders, tmp_path, options, log=silent)
    with (tmp_path / "history.csv").open() as file:
        first, *_, last = list(csv.DictReader(file))
    for name in ("valid", "valid_ema_gain", "valid_ema_strength"):
        assert float(last[name]) < float(first[name]) / 8, name


def test_a_gradient_that_is_not_finite_is_left_out(folders, tmp_path, monkeypatch):
    batch = Trainer.batch

    def poisoned(self, step):
        result = batch(self, step)
        if step == 2:
            result.gain[0, 0, 0] = np.nan
        return result

    monkeypatch.setattr(Trainer, "batch", poisoned)
    lines = []
    run(*folders, tmp_path, replace(TINY, steps=4), log=lines.append)
    assert any(line.startswith("1 steps were skipped") for line in lines)
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_time_budget_and_schedule(folders, tmp_path):
    options = replace(TINY, steps=None, minutes=0.5 / 60)
    result = run(*folders, tmp_path, options, log=silent)
    assert result.finished
    assert result.step >= 1
    assert run(*folders, tmp_path, options, log=silent).step == result.step
    rates = [learning_rate(TINY, 500, progress) for progress in (0.0, 0.5, 1.0)]
    assert rates == pytest.approx([1e-3, 0.525e-3, 0.05e-3])
    assert learning_rate(TINY, 99, 0.0) == pytest.approx(0.5e-3)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this version of torch has no Muon")
def test_muon_moves_the_recurrent_matrices_and_resumes_exactly(folders, tmp_path):
    options = replace(TINY, optimiser="muon", level_weight=0.5, recolour=True, dropout=0.2)
    assert run(*folders, tmp_path / "a", options, log=silent).finished
    run(*folders, tmp_path / "b", options, log=silent, stop_at=3)
    assert run(*folders, tmp_path / "b", options, log=silent).finished
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    run(*folders, tmp_path / "adamw", replace(options, optimiser="adamw"), log=silent)
    found, other = weights(tmp_path / "a"), weights(tmp_path / "adamw")
    # orthogonalised steps turn all directions alike: the change has no dominant one
    start = Trainer(*(Shards(folder) for folder in folders), tmp_path / "new", options)
    start.start()
    first = start.model.gru2.weight_hh.detach()

    def spread(after):
        values = torch.linalg.svdvals(after["gru2.weight_hh"] - first)
        return float(values[0] / values[len(values) // 2])

    assert spread(found) < 0.5 * spread(other)
