"""A run: stopped, killed and resumed, and what it writes."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from small_shards import arrays

from percepnet_cli.training.data.shard_file import shard_path, write_shard
from percepnet_cli.training.data.shards import Shards

torch = pytest.importorskip("torch")

from percepnet_cli.network.graph import Sizes  # noqa: E402
from percepnet_cli.training import schedule  # noqa: E402
from percepnet_cli.training import train as train_module  # noqa: E402
from percepnet_cli.training.feeder import Feeder  # noqa: E402
from percepnet_cli.training.losses import sisdr_loss  # noqa: E402
from percepnet_cli.training.loudness import heard_energy, pesq_loss  # noqa: E402
from percepnet_cli.training.model.floatmodel import read_float_model  # noqa: E402
from percepnet_cli.training.model.torch_model import PercepNet  # noqa: E402
from percepnet_cli.training.options import Options  # noqa: E402
from percepnet_cli.training.train import run  # noqa: E402
from percepnet_cli.training.trainer import Trainer  # noqa: E402

TINY = Options(Sizes(16, 16, 16, 16, 16, 16), batch_size=6, sequence_length=24, steps=8, seed=5, device="cpu")

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("one_torch_thread")]


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


def first_loss(train, valid, out, options):
    trainer = Trainer(Shards(train, 0.0 if options.teacher else options.distill_weight), Shards(valid), out, options)
    trainer.start()
    return float(trainer.update(trainer.feeder.next())[0])


def test_a_model_teaches_as_the_targets_of_shards_do(folders, straight, tmp_path):
    """What it says is mixed with the ideal targets as what lies in shards is."""
    train, valid = folders
    teacher = straight / "model.safetensors"
    model = PercepNet(TINY.sizes)
    model.load_state_dict({k: torch.from_numpy(v) for k, v in read_float_model(teacher).tensors.items()})

    # The same shards with the teacher's targets in them
    (tmp_path / "with targets").mkdir()
    for number, path in enumerate(sorted(train.iterdir())):
        shard = Shards(train)._shards[number].tensors
        with torch.no_grad():
            heard = torch.from_numpy(np.array(shard["features"], np.float32)).transpose(0, 1)
            found = [one.transpose(0, 1).half().numpy() for one in model(heard)[:2]]
        more = {"teacher_gain": found[0], "teacher_strength": found[1]}
        write_shard(shard_path(tmp_path / "with targets", int(path.stem[6:])), {**shard, **more}, {})

    # Whole sequences: it hears no more than the batch
    whole = replace(TINY, sequence_length=60, distill_weight=0.7, loss="mixed")
    asked = first_loss(train, valid, tmp_path / "asked", replace(whole, teacher=teacher))
    stored = first_loss(tmp_path / "with targets", valid, tmp_path / "stored", whole)
    ideal = first_loss(train, valid, tmp_path / "ideal", replace(whole, distill_weight=0.0))
    assert asked == pytest.approx(stored, rel=5e-3) and abs(asked - ideal) > 0.02 * ideal
    with pytest.raises(ValueError, match="--teacher counts for nothing without --distill-weight"):
        run(*folders, tmp_path / "none", replace(TINY, teacher=teacher), log=silent)


CHUNKS = replace(TINY, tbptt_chunks=4, dropout=0.2, augment=True)


def test_chunks_resume_exactly_within_a_sequence(folders, tmp_path):
    assert run(*folders, tmp_path / "straight", CHUNKS, log=silent).finished
    for stop_at in (3, 6, None):
        run(*folders, tmp_path / "parts", CHUNKS, log=silent, stop_at=stop_at)
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "straight"))
    with pytest.raises(ValueError, match="24 hops cannot be cut into 5 chunks"):
        run(*folders, tmp_path / "odd", replace(TINY, tbptt_chunks=5), log=silent)


def test_chunks_carry_the_state_of_their_sequences(folders, tmp_path):
    train, valid = map(Shards, folders)
    trainer = Trainer(train, valid, tmp_path, replace(TINY, tbptt_chunks=4, learning_rate=0.0))
    trainer.start()
    trainer.model.precision = torch.float32
    whole = Feeder(Shards(folders[0]), TINY, slice(None))
    for _ in (0, 1):
        features = torch.from_numpy(whole.next().batch.features).float()
        for end in (6, 12, 18):
            trainer.update(trainer.feeder.next())
            with torch.no_grad():
                expected = trainer.model(features[:end])[2]
            for found, wanted in zip(trainer.state, expected, strict=True):
                torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
        trainer.update(trainer.feeder.next())
        assert trainer.state is None


BOTH_WAYS = replace(CHUNKS, sizes=TINY.sizes._replace(bidirectional=True))


def test_a_bidirectional_network_trains_and_goes_on_from_its_own_model(folders, tmp_path):
    run(*folders, tmp_path / "straight", BOTH_WAYS, log=silent)
    for stop_at in (3, None):
        run(*folders, tmp_path / "parts", BOTH_WAYS, log=silent, stop_at=stop_at)
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "straight"))
    model = read_float_model(tmp_path / "parts" / "model-float16.safetensors")
    assert model.sizes == BOTH_WAYS.sizes
    init = tmp_path / "parts" / "model-float16.safetensors"
    again = replace(BOTH_WAYS, init=init, learning_rate=0.0, steps=1)
    run(*folders, tmp_path / "again", again, log=silent)
    found = read_float_model(tmp_path / "again" / "model.safetensors").tensors
    assert all(np.array_equal(found[name], value) for name, value in model.tensors.items())


def test_an_old_checkpoint_and_old_shards_are_read(tmp_path):
    before = Path(__file__).parent / "data" / "before-renaming"
    shutil.copytree(before / "run", tmp_path / "run")
    options = Options(
        Sizes(4, 4, 4, 4, 4, 4),
        batch_size=3,
        sequence_length=24,
        tbptt_chunks=2,
        seed=5,
        device="cpu",
        steps=6,
        loss="mixed",
        augment=True,
        distill_weight=0.5,
        distill_power=0.9,
        loud_band_weight=0.5,
        sisdr_weight=0.3,
        strength_asymmetry=2.0,
        dropout=0.1,
    )
    other = replace(options, sisdr_weight=0.4, loss="bce")
    with pytest.raises(ValueError, match=r"started with loss mixed, sisdr_weight 0.3; give"):
        run(before / "train", before / "valid", tmp_path / "run", other, log=silent)
    lines = []

    assert run(before / "train", before / "valid", tmp_path / "run", options, log=lines.append).step == 6
    assert any("going on at step 3" in line for line in lines)
    with (tmp_path / "run" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "6"]
    assert float(rows[1]["hours"]) == pytest.approx(6 * 3 * 12 / 360000, rel=1e-4)
    assert float(rows[1]["valid"]) < float(rows[0]["valid"])


@pytest.mark.parametrize("weight", ["pesq_weight", "sisdr_weight", "strength_asymmetry"])
def test_parts_of_the_loss_count_and_resume_exactly(folders, tmp_path, weight):
    plain = replace(TINY, sequence_length=40, tbptt_chunks=2)
    heard = replace(plain, **{weight: 0.3})
    run(*folders, tmp_path / "deaf", plain, log=silent)
    run(*folders, tmp_path / "straight", heard, log=silent)
    for stop_at in (3, None):
        run(*folders, tmp_path / "parts", heard, log=silent, stop_at=stop_at)
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "straight"))
    deaf, heard_all = weights(tmp_path / "deaf"), weights(tmp_path / "parts")
    assert any(not torch.equal(deaf[name], heard_all[name]) for name in deaf)
    meant = {name: read_float_model(tmp_path / name / "model.safetensors").post_filter for name in ("deaf", "parts")}
    assert meant == {"deaf": True, "parts": weight != "pesq_weight"}


@pytest.mark.parametrize(("weight", "loss"), [("pesq_weight", pesq_loss), ("sisdr_weight", sisdr_loss)])
def test_validation_is_of_the_loss_that_is_trained_on(folders, tmp_path, monkeypatch, weight, loss):
    train, valid = map(Shards, folders)
    plain, heard = (Trainer(train, valid, tmp_path, replace(TINY, **{weight: w})) for w in (0.0, 0.3))
    for trainer in (plain, heard):
        trainer.start()
    total, gain_loss, strength_loss, levels = plain.validation.judge(plain.ema)
    assert total == pytest.approx(gain_loss + 0.5 * strength_loss, rel=1e-6)
    assert levels.speech_db < 0
    batch = [torch.from_numpy(array).float() for array in heard.validation.batch]
    gain = heard.ema(batch[0])[0].detach()
    expected = total + 0.3 * float(loss(heard_energy(batch[0], batch[5]), batch[5], gain))
    assert heard.validation.judge(heard.ema).loss == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr("percepnet_cli.training.validation.VALIDATION_BATCH", 1)
    assert heard.validation.judge(heard.ema).loss == pytest.approx(expected, rel=1e-5)


def test_the_loss_after_pesq_needs_long_chunks(folders, tmp_path):
    short = replace(TINY, sequence_length=40, tbptt_chunks=4, pesq_weight=0.3)
    with pytest.raises(ValueError, match="--pesq-weight needs chunks of at least 20 hops"):
        run(*folders, tmp_path / "short", short, log=silent)
    train, valid = map(Shards, folders)
    valid.hops = 19
    with pytest.raises(ValueError, match="sequences have 19 hops, 20 are asked for"):
        Trainer(train, valid, tmp_path, replace(TINY, pesq_weight=0.3))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step(folders, straight, tmp_path, monkeypatch, number):
    before = signal.getsignal(number)
    update = Trainer.update

    def interrupted(self, *arguments):
        loss = update(self, *arguments)
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
    assert any(name.endswith(".part") for name in os.listdir(tmp_path))
    assert run(*folders, tmp_path, TINY, log=silent).finished
    assert_same(weights(tmp_path), weights(straight))
    assert not any(name.endswith(".part") for name in os.listdir(tmp_path))


def test_another_run_does_not_go_on_by_mistake(folders, straight, tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint.pt: this run was started with batch_size 6, seed 5; give"):
        run(*folders, straight, replace(TINY, batch_size=7, seed=6), log=silent)
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        run(*folders, tmp_path, TINY, log=silent)
    assert run(*folders, tmp_path, replace(TINY, fresh=True, steps=2), log=silent).step == 2
    # these may change between two starts
    free = replace(TINY, threads=2, steps=9, learning_rate=1.0, device="auto", validate_minutes=1.0)
    assert free.hyperparameters() == TINY.hyperparameters()


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
    # mixtures of half a second have no onsets of speech after a pause
    assert {name for name, value in rows[1].items() if not np.isfinite(float(value))} == {"onsets_cut"}
    if "matplotlib" in sys.modules:
        assert (straight / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_starting_from_a_model(folders, straight, tmp_path):
    init = straight / "model.safetensors"
    options = replace(TINY, init=init, steps=1, learning_rate=0.0)
    run(*folders, tmp_path, options, log=silent)
    wanted = read_float_model(init).tensors
    found = read_float_model(tmp_path / "model.safetensors").tensors
    for name, value in wanted.items():
        assert np.allclose(found[name], value, atol=1e-6), name
    with pytest.raises(ValueError, match=r"model.safetensors: .* sizes \[16, .* cannot be widened to \[16, 16, 8"):
        run(*folders, tmp_path / "b", replace(options, sizes=Sizes(16, 16, 8, 8, 8, 8)), log=silent)
    with pytest.raises(ValueError, match="not a float model"):
        read_float_model(shard_path(folders[0], 0))


def test_a_small_problem_is_learned(folders, tmp_path):
    options = replace(
        TINY,
        sizes=Sizes(16, 24, 24, 16, 16, 24),
        learning_rate=0.02,
        steps=200,
        batch_size=12,
        sequence_length=48,
    )
    run(*folders, tmp_path, options, log=silent)
    with (tmp_path / "history.csv").open() as file:
        first, *_, last = list(csv.DictReader(file))
    for name in ("valid", "valid_ema_gain", "valid_ema_strength"):
        assert float(last[name]) < float(first[name]) / 8, name


def test_a_gradient_that_is_not_finite_is_left_out(folders, tmp_path, monkeypatch):
    following = Feeder.next

    def poisoned(self):
        result = following(self)
        if result.draw.number == 2:
            result.batch.gain[0, 0, 0] = np.nan
        return result

    monkeypatch.setattr(Feeder, "next", poisoned)
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
    assert [schedule.cosine(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([1, 0.525, 0.05])
    assert [schedule.decay(progress) for progress in (0.0, 0.25, 1.0)] == pytest.approx([1, 0.5, 0])
    assert [schedule.warmup(step, 200) for step in (0, 99, 500)] == pytest.approx([0.005, 0.5, 1])


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this version of torch has no Muon")
def test_muon_moves_the_recurrent_matrices_and_resumes_exactly(folders, tmp_path):
    options = replace(TINY, optimizer="muon", loud_band_weight=0.5, augment=True, dropout=0.2)
    assert run(*folders, tmp_path / "a", options, log=silent).finished
    run(*folders, tmp_path / "b", options, log=silent, stop_at=3)
    assert run(*folders, tmp_path / "b", options, log=silent).finished
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    run(*folders, tmp_path / "adamw", replace(options, optimizer="adamw"), log=silent)
    found, other = weights(tmp_path / "a"), weights(tmp_path / "adamw")
    # orthogonalised steps turn all directions alike: the change has no dominant one
    start = Trainer(*(Shards(folder) for folder in folders), tmp_path / "new", options)
    start.start()
    first = start.model.gru2.weight_hh.detach()

    def spread(after):
        values = torch.linalg.svdvals(after["gru2.weight_hh"] - first)
        return float(values[0] / values[len(values) // 2])

    assert spread(found) < 0.5 * spread(other)


def test_a_run_without_a_budget_goes_on_until_a_decay_is_asked_for(folders, tmp_path):
    endless = replace(TINY, steps=None)

    assert not run(*folders, tmp_path, endless, log=silent, stop_at=4).finished
    assert not run(*folders, tmp_path, endless, log=silent, stop_at=9).finished
    train, valid = map(Shards, folders)
    trainer = Trainer(train, valid, tmp_path, endless)
    trainer.load()
    assert trainer.learning_rate() == pytest.approx(1e-3 * 10 / 200)
    # the decay is over so many hours of audio from where it is first asked for, through stops
    hours = 6.5 * 6 * 24 / 360000
    ending = replace(endless, decay_hours=hours, warmup_steps=1)
    assert not run(*folders, tmp_path, ending, log=silent, stop_at=12).finished
    trainer = Trainer(train, valid, tmp_path, ending)
    trainer.load()
    assert trainer.learning_rate() == pytest.approx(1e-3 * (1 - (3 / 6.5) ** 0.5))
    result = run(*folders, tmp_path, ending, log=silent)
    assert result.finished and result.step == 16
    # without it the rate is constant again
    trainer = Trainer(train, valid, tmp_path, replace(ending, decay_hours=None))
    trainer.load()
    assert trainer.learning_rate() == pytest.approx(1e-3)


def test_options_may_change_where_that_is_allowed(folders, straight, tmp_path):
    shutil.copytree(straight, tmp_path / "run")
    lines = []
    changed = replace(TINY, batch_size=4, sisdr_weight=0.2, steps=10, allow_changes=True)
    assert run(*folders, tmp_path / "run", changed, log=lines.append).step == 10
    assert "changed: batch_size 6 -> 4" in lines and "changed: sisdr_weight 0.0 -> 0.2" in lines
    with (tmp_path / "run" / "history.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["hours"]) == pytest.approx((8 * 6 + 2 * 4) * 24 / 360000, rel=1e-4)
    with pytest.raises(ValueError, match="started with sizes"):
        wider = replace(changed, sizes=Sizes(32, 16, 16, 16, 16, 16))
        run(*folders, tmp_path / "run", wider, log=silent)


def test_shards_that_appear_are_used_and_each_mixture_so_often_at_most(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(train_module, "WAIT_SECONDS", 0.01)
    shutil.copytree(folders[0], tmp_path / "train")
    # two shards of twelve sequences of 60 hops: two crops of 24 each, so eight batches of six a hearing
    options = replace(TINY, steps=18, max_hearings=1)
    late = shard_path(tmp_path / "train", 7)
    lines = []

    def log(line):
        lines.append(line)
        if "waiting" in line and not late.exists():
            (tmp_path / "train" / "shard-00005.safetensors").write_bytes(b"nothing")
            write_shard(late, arrays(np.random.default_rng(8), 36, 48), {"seed": 8, "corpus": "numbers"})

    assert run(tmp_path / "train", folders[1], tmp_path / "run", options, log=log).finished
    assert sum("heard as often as it may be" in line for line in lines) == 1
    assert any("1 new shards, 0 are gone" in line for line in lines)
    assert sum("shard-00005.safetensors: not a safetensors file" in line for line in lines) == 1
    content = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    taken = content["sampler"]["taken"]
    assert [int(counts.max()) for counts in taken.values()] == [2, 2, 2]
    assert [int(counts.sum()) for counts in taken.values()] == [24, 24, 60]
    assert sum(int(counts.sum()) for counts in taken.values()) == 18 * 6
    with (tmp_path / "run" / "history.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["most_hearings"]) == 1.0
    assert float(last["hearings"]) == pytest.approx(18 * 6 * 24 / (24 * 60 + 36 * 48), rel=1e-4)
    # what is left is heard when it goes on, even if a shard is gone
    shard_path(tmp_path / "train", 0).unlink()
    (tmp_path / "train" / "shard-00005.safetensors").unlink()
    assert run(tmp_path / "train", folders[1], tmp_path / "run", replace(options, steps=20), log=log).step == 20


def test_a_wait_ends_with_a_share_of_new_sequences_not_with_the_first(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(train_module, "WAIT_SECONDS", 0.01)
    shutil.copytree(folders[0], tmp_path / "train")
    options = replace(TINY, steps=9, max_hearings=1)
    lines = []

    def log(line):
        lines.append(line)
        fresh = sum("1 new shards" in said for said in lines)
        if ("waiting" in line or "1 new shards" in line) and fresh < 2:
            # one sequence among 24, with enough crops for a step; then one more
            path = shard_path(tmp_path / "train", 7 + fresh)
            write_shard(path, arrays(np.random.default_rng(8), 1, 300), {"seed": 8, "corpus": "numbers"})

    assert run(tmp_path / "train", folders[1], tmp_path / "run", options, log=log).step == 9
    first = next(i for i, line in enumerate(lines) if "waiting" in line)
    assert ["1 new shards" in line for line in lines[first + 1 : first + 3]] == [True, True]


def test_waiting_for_shards_ends_with_a_signal(folders, tmp_path):
    options = replace(TINY, steps=20, max_hearings=1)

    def log(line):
        if "waiting" in line:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()

    result = run(*folders, tmp_path, options, log=log)
    assert (result.step, result.finished, result.signal) == (8, False, signal.SIGTERM)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["step"] == 8


PATIENCE = 400.0
"""Seconds that a process of a test may take on a busy machine."""

SCRIPT = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from percepnet_cli.network.graph import Sizes
from percepnet_cli.training.options import Options
from percepnet_cli.training.train import run
from percepnet_cli.training.trainer import Trainer
train, valid, out, steps, kill_at = sys.argv[1:]
options = Options(
    Sizes(16, 16, 16, 16, 16, 16, bidirectional=True), batch_size=6, sequence_length=48, tbptt_chunks=2, steps=8,
    seed=5, device="cpu", dropout=0.2, augment=True, pesq_weight=0.3, loud_band_weight=0.3, checkpoint_minutes=0.0,
)
update = Trainer.update
def killed(self, *arguments):
    if self.step == int(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)
    return update(self, *arguments)
Trainer.update = killed
stop_at = None if steps == "all" else int(steps)
run(train, valid, out, options, log=lambda line: None, stop_at=stop_at)
"""


def start(folders, out, steps="all", kill_at=-1, **environment):
    """Start a run in a process of its own; a rank of several if the environment says so."""
    arguments = [sys.executable, "-c", SCRIPT, *map(str, (*folders, out, steps, kill_at))]
    return subprocess.Popen(arguments, env=os.environ | {"OMP_NUM_THREADS": "1"} | environment)


def start_two(folders, out, steps="all", port=0):
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [start(folders, out, steps, RANK=str(rank), **meeting) for rank in (0, 1)]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_killed_run_goes_on_exactly(folders, tmp_path):
    assert start(folders, tmp_path / "straight").wait(PATIENCE) == 0
    assert start(folders, tmp_path / "killed", kill_at=5).wait(PATIENCE) == -signal.SIGKILL
    assert torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"] < 8
    assert start(folders, tmp_path / "killed").wait(PATIENCE) == 0
    assert_same(weights(tmp_path / "killed"), weights(tmp_path / "straight"))


def test_two_processes_train_as_one_and_take_over_from_each_other(folders, tmp_path):
    one = start(folders, tmp_path / "one")
    assert [process.wait(PATIENCE) for process in start_two(folders, tmp_path / "two", port=free_port())] == [0, 0]
    assert one.wait(PATIENCE) == 0
    # in the middle of sequences one goes on for two, and two for one
    assert [process.wait(PATIENCE) for process in start_two(folders, tmp_path / "mixed", 3, free_port())] == [0, 0]
    assert start(folders, tmp_path / "mixed", 5).wait(PATIENCE) == 0
    assert [process.wait(PATIENCE) for process in start_two(folders, tmp_path / "mixed", port=free_port())] == [0, 0]
    begun = Trainer(*map(Shards, folders), tmp_path / "new", replace(BOTH_WAYS, sequence_length=48, tbptt_chunks=2))
    begun.start()
    wanted = weights(tmp_path / "one")
    moved = torch.cat([(wanted[name] - x.detach()).flatten() for name, x in begun.model.named_parameters()])
    for name in ("two", "mixed"):
        found = weights(tmp_path / name)
        apart = torch.cat([(found[key] - wanted[key]).flatten() for key, _ in begun.model.named_parameters()])
        # products of other sizes round otherwise in bfloat16, and Adam's first steps turn on a gradient's sign
        assert float(apart.norm()) < 0.01 * float(moved.norm()), name
    histories = [(tmp_path / name / "history.csv").read_text().splitlines()[-1].split(",") for name in ("one", "two")]
    assert [float(histories[1][i]) for i in (0, 2, 4, 5)] == [float(histories[0][i]) for i in (0, 2, 4, 5)]
    assert float(histories[1][7]) == pytest.approx(float(histories[0][7]), rel=1e-3)
