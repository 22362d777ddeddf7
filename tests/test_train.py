import csv
import json
import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.numpy import save_file

from percepnet_cli.cli.train import train as command
from percepnet_cli.training import shards
from percepnet_cli.training.shards import open_shards, shard_path, write_shard

SEQUENCES, HOPS = 12, 60


def arrays(rng, sequences=SEQUENCES, hops=HOPS):
    """Four hidden numbers per hop; gains follow from this hop's, strengths from the last one's."""
    hidden = rng.standard_normal((sequences, hops, 4))
    mixing = np.random.default_rng(99).standard_normal((3, 4, 70))
    mixing /= np.linalg.norm(mixing, axis=1, keepdims=True)
    before = np.concatenate((np.zeros((sequences, 1, 4)), hidden[:, :-1]), axis=1)
    features = hidden @ mixing[0]
    gain = 1 / (1 + np.exp(-4 * (hidden @ mixing[1])[:, :, :34]))
    strength = 1 / (1 + np.exp(-4 * (before @ mixing[2])[:, :, :34]))
    ones = np.ones((sequences, hops, 34), np.uint8)
    return {
        "features": (3 * features + 5).astype(np.float16),
        "gain": gain.astype(np.float16),
        "strength": strength.astype(np.float16),
        "gain_weight": ones,
        "strength_weight": ones.copy(),
        "voice": np.ones((sequences, hops), np.uint8),
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    rng = np.random.default_rng(3)
    root = tmp_path_factory.mktemp("shards")
    for name, count in (("train", 2), ("valid", 1)):
        (root / name).mkdir()
        for index in range(count):
            description = {"seed": index, "corpus": "numbers"}
            write_shard(shard_path(root / name, index), arrays(rng), description)
    return root / "train", root / "valid"


# --- shards --------------------------------------------------------------------------------


def test_a_shard_comes_back_as_it_was(tmp_path):
    written = arrays(np.random.default_rng(0), 3, 7)
    write_shard(shard_path(tmp_path, 0), written, {"corpus": "a"})
    write_shard(shard_path(tmp_path, 1), {k: v[:2] for k, v in written.items()}, {"corpus": "b"})
    assert sorted(os.listdir(tmp_path)) == ["shard-00000.safetensors", "shard-00001.safetensors"]
    reader = open_shards(tmp_path)
    assert (reader.sequences, reader.hops, reader.total_hops) == (5, 7, 35)
    assert reader.description == {"corpus": "a", "format_version": 1, "kind": "targets"}
    for name, value in written.items():
        for sequence in range(5):
            assert np.array_equal(reader.tensor(name, sequence), value[sequence % 3])
    batch = reader.crops([(4, 2), (0, 1), (2, 0)], 5)
    assert batch.features.shape == (5, 3, 70)
    assert np.array_equal(batch.features[:, 0], written["features"][1, 2:7])
    assert np.array_equal(batch.strength_weight[:, 2], written["strength_weight"][2, :5])


def test_statistics_of_the_features(folders):
    mean, std = open_shards(folders[0]).feature_statistics()
    assert mean.dtype == std.dtype == np.float32
    assert np.allclose(mean, 5, atol=0.4)
    assert np.allclose(std, 3, atol=0.3)


def test_batches_are_a_function_of_the_seed(folders):
    reader = open_shards(folders[0])
    first, again, other = (reader.random_batch(np.random.default_rng((7, s)), 4, 20) for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.features, other.features)


def broken(change):
    data = arrays(np.random.default_rng(0), 2, 5)
    change(data)
    return data


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("gain"), "no tensor named gain"),
        (lambda d: d.update(extra=d["gain"]), "unknown tensor extra"),
        (
            lambda d: d.update(gain=d["gain"][:, :, :32]),
            r"gain has shape \[2, 5, 32\], expected \[2, 5, 34\]",
        ),
        (lambda d: d.update(voice=d["voice"][:1]), r"voice has shape \[1, 5\], expected \[2, 5\]"),
        (
            lambda d: d.update(features=d["features"].astype(np.float32)),
            "features is float32, expected float16",
        ),
        (lambda d: d["strength"].fill(np.nan), "strength holds values that are not finite"),
    ],
)
def test_what_is_not_a_shard_is_not_written(tmp_path, change, words):
    with pytest.raises(ValueError, match=f"shard-00000.safetensors: {words}"):
        write_shard(shard_path(tmp_path, 0), broken(change), {})
    assert not os.listdir(tmp_path)


def test_a_failed_write_leaves_the_old_shard(tmp_path, monkeypatch):
    path = shard_path(tmp_path, 0)
    write_shard(path, broken(lambda d: None), {"corpus": "old"})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(shards.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_shard(path, broken(lambda d: None), {"corpus": "new"})
    assert os.listdir(tmp_path) == [path.name]
    assert open_shards(tmp_path).description["corpus"] == "old"


def test_errors_of_reading_name_the_file(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        open_shards(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no shards here"):
        open_shards(tmp_path)
    path = shard_path(tmp_path, 0)
    good = broken(lambda d: None)

    def metadata(**values):
        return {"percepnet": json.dumps({"kind": "targets", "format_version": 1, **values})}

    for data, meta, words in (
        (good, None, "calls itself nothing"),
        (good, metadata(kind="int8"), "calls itself int8"),
        (good, metadata(format_version=2), "format version 2, this program reads 1"),
        (broken(lambda d: d.pop("voice")), metadata(), "no tensor named voice"),
        (
            broken(lambda d: d.update(gain=d["gain"][:, :3].copy())),
            metadata(),
            r"gain has shape \[2, 3, 34\]",
        ),
        (broken(lambda d: d.update(gain=d["gain"].astype("f4"))), metadata(), "gain is .*, expected float16"),
    ):
        save_file(data, path, metadata=meta)
        with pytest.raises(ValueError, match=f"shard-00000.safetensors.*{words}"):
            open_shards(tmp_path)
    path.write_bytes(b"RIFF....WAVEfmt ")
    with pytest.raises(ValueError, match=r"shard-00000.safetensors: not a safetensors file"):
        open_shards(tmp_path)
    write_shard(path, good, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"shard-00000.safetensors: cut short"):
        open_shards(tmp_path)


# --- training ------------------------------------------------------------------------------

torch = pytest.importorskip("torch")

from percepnet_cli.training import train as module  # noqa: E402
from percepnet_cli.training.torch_model import PercepNet, Sizes  # noqa: E402
from percepnet_cli.training.train import Options, learning_rate, read_float_model, run  # noqa: E402

TINY = Options(Sizes(16, 16, 16, 16, 16, 16), batch=6, hops=24, steps=8, seed=5, device="cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step(folders, straight, tmp_path, monkeypatch, number):
    before = signal.getsignal(number)
    update = module.Trainer.update

    def interrupted(self, batch):
        loss = update(self, batch)
        if self.step == 4:
            os.kill(os.getpid(), number)
        return loss

    monkeypatch.setattr(module.Trainer, "update", interrupted)
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
        patch.setattr(module.Path, "unlink", lambda *_, **__: None)
        patch.setattr(torch, "save", half)
        with pytest.raises(Killed):
            run(*folders, tmp_path, TINY, log=silent, stop_at=6)
    assert any(name.endswith(".part") for name in os.listdir(tmp_path))
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
    sizes, tensors, _ = read_float_model(straight / "model.safetensors")
    assert names == set(PercepNet(sizes).state_dict())
    content = torch.load(straight / "checkpoint.pt", weights_only=True)
    for name, value in tensors.items():
        assert value.dtype == np.float32
        assert np.array_equal(value, content["ema"][name].numpy())
    mean, std = open_shards(folders[0]).feature_statistics()
    assert np.array_equal(tensors["feature_mean"], mean)
    assert np.array_equal(tensors["feature_std"], std)


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
    _, wanted, _ = read_float_model(init)
    _, found, _ = read_float_model(tmp_path / "model.safetensors")
    for name, value in wanted.items():
        assert np.allclose(found[name], value, atol=1e-6), name
    with pytest.raises(ValueError, match=r"model.safetensors: sizes \[16, .* the run has \[16, 16, 8"):
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
    batch = module.Trainer.batch

    def poisoned(self, step):
        result = batch(self, step)
        if step == 2:
            result.gain[0, 0, 0] = np.nan
        return result

    monkeypatch.setattr(module.Trainer, "batch", poisoned)
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


# --- command line --------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_command_trains(folders, tmp_path):
    arguments = [*folders, tmp_path, "--sizes", "8,8,8,8,8,8", "--batch", 4, "--hops", 16, "--device", "cpu"]
    result = invoke(*arguments, "--steps", 2)
    assert result.exit_code == 0, result.output
    assert "Finished after 2 steps" in result.output
    result = invoke(*folders, tmp_path, "--init", tmp_path / "model.safetensors", "--steps", 1, "--fresh",
                    "--batch", 4, "--hops", 16)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert read_float_model(tmp_path / "model.safetensors")[0] == Sizes(8, 8, 8, 8, 8, 8)


def test_errors_are_one_sentence(folders, tmp_path, monkeypatch):
    valid = folders[1]
    bad = tmp_path / "bad"
    bad.mkdir()
    meta = {"percepnet": json.dumps({"kind": "targets", "format_version": 1})}
    data = broken(lambda d: d.update(gain=d["gain"][:, :, :32].copy()))
    save_file(data, shard_path(bad, 0), metadata=meta)
    out = tmp_path / "out"
    for arguments, words in (
        ((tmp_path / "none", valid, out, "--steps", 1), "none: no such folder"),
        ((bad, valid, out, "--steps", 1), "gain has shape [2, 5, 32], expected [2, 5, 34]"),
        ((*folders, out, "--steps", 1, "--hops", 100), "sequences have 60 hops, 100 are asked for"),
        ((*folders, out), "Give either --minutes or --steps."),
        ((*folders, out, "--steps", 1, "--sizes", "1,2"), "six positive whole numbers"),
        ((*folders, out, "--steps", 1, "--init", tmp_path / "x"), "x: no such file"),
        ((*folders, out, "--steps", 1, "--sizes", "8,8,8,8,8,8", "--preset", "lite"), "--preset or --sizes"),
    ):
        result = invoke(*arguments)
        assert result.exit_code != 0
        assert words in result.output
        assert "Traceback" not in result.output
        assert isinstance(result.exception, SystemExit)
    if not torch.cuda.is_available():
        assert (
            "no CUDA device" in invoke(*folders, out, "--steps", 1, "--hops", 20, "--device", "cuda").output
        )
    monkeypatch.setitem(sys.modules, "torch", None)
    result = invoke(*folders, out, "--steps", 1)
    assert result.exit_code == 1
    assert "pip install 'percepnet-cli[train]'" in result.output
