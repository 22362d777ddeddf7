"""Shards by many processes: the same bytes from any number of them, and nothing half done or done twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from percepnet_cli.cli import main
from percepnet_cli.errors import PercepnetError
from percepnet_cli.training.data import generate as module
from percepnet_cli.training.data.corpus import Faults, Recording
from percepnet_cli.training.data.generate import SEQUENCES_PER_SHARD, Plan, generate, make_plan
from percepnet_cli.training.data.mixture import draw
from percepnet_cli.training.data.recipe import RECIPE, RECIPES
from percepnet_cli.training.data.shard_file import shard_path
from percepnet_cli.training.data.shards import Shards
from percepnet_cli.training.data.sources import Sources, draw_noise
from percepnet_cli.training.data.targets import Sharing, example
from percepnet_cli.training.data.voices import draw_voice

pytestmark = pytest.mark.service  # processes

RECIPE_S = replace(RECIPE, seconds=0.3, delayed_start=0)
SHARD_HOURS = SEQUENCES_PER_SHARD * 0.3 / 3600
SHARDS = 3

KILLED = """
import sys
from pathlib import Path
from dataclasses import replace
from percepnet_cli.training.data.generate import generate, make_plan
from percepnet_cli.training.data.recipe import RECIPE

if __name__ == "__main__":
    corpus, folder = map(Path, sys.argv[1:3])
    plan = make_plan(
        *([corpus / name] for name in ("speech", "noise", "rir")), "all", 5,
        replace(RECIPE, seconds=0.3, delayed_start=0),
    )
    for _ in generate(plan, folder, float(sys.argv[3]), 2):
        pass
"""


def plan_of(corpus, seed=5, recipe=RECIPE_S, split="all"):
    return make_plan([corpus / "speech"], [corpus / "noise"], [corpus / "rir"], split, seed, recipe)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("shard-*"))}


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    """A complete folder, made by one process, and the progress that it reported."""
    folder = tmp_path_factory.mktemp("shards") / "new" / "folder"
    progress = list(generate(plan_of(corpus), folder, SHARDS * SHARD_HOURS, 1))
    return folder, progress


@pytest.fixture
def copy(made, tmp_path):
    return Path(shutil.copytree(made[0], tmp_path / "copy"))


def test_progress_counts_shards(made):
    folder, progress = made
    assert [p.name for p in sorted(folder.iterdir())] == [f"shard-{n:05d}.safetensors" for n in range(SHARDS)]
    assert progress == [
        (pytest.approx(n * SHARD_HOURS), pytest.approx(SHARDS * SHARD_HOURS)) for n in range(SHARDS + 1)
    ]


def test_a_shard_holds_the_examples_of_its_seeds(made, corpus):
    shards = Shards(made[0])
    assert (shards.sequences, shards.hops) == (SHARDS * SEQUENCES_PER_SHARD, 30)
    assert shards.description["seed"] == 5 and shards.description["recipe"]["seconds"] == 0.3
    plan = plan_of(corpus)
    sources = Sources(plan.speech, plan.noise, plan.rirs)
    for index, sequence in ((0, 0), (2, 63)):
        rng, speech_rng, noise_rng = (
            np.random.default_rng(seed)
            for seed in ((5, index, sequence), (5, index, 0, sequence // 4), (5, index, 1, sequence % 16))
        )
        voice = draw_voice(sources, speech_rng, plan.recipe)
        noise = draw_noise(sources, 30 * 480, noise_rng, plan.recipe)
        mixture = draw(sources, rng, plan.recipe, voice, noise)
        for name, array in vars(example(mixture, plan.recipe.attenuation, (), Sharing().analyze(mixture))).items():
            if array is None:  # no teachers
                continue
            stored = shards.tensor(name, index * SEQUENCES_PER_SHARD + sequence)
            assert np.array_equal(stored.reshape(array.shape), array)
    assert 0.05 < np.mean([shards.tensor("gain", n).mean() for n in range(3 * 64)]) < 0.95


def test_no_two_mixtures_of_a_shard_hold_the_same_speech_and_noise(corpus, monkeypatch, tmp_path):
    seen = []

    def note(sources, rng, recipe, voice, noise):
        seen.append((id(voice), id(noise)))
        return draw(sources, rng, recipe, voice, noise)

    monkeypatch.setattr(module, "draw", note)
    module._make_shard(plan_of(corpus), (0, str(tmp_path / "shard.safetensors")))
    assert len(set(seen)) == len(seen) == SEQUENCES_PER_SHARD
    for part in zip(*seen, strict=True):
        assert set(Counter(part).values()) == {plan_of(corpus).recipe.reuse}


def test_only_what_is_missing_or_broken_is_made_again_the_same_by_any_number_of_processes(made, corpus, copy):
    shard_path(copy, 1).unlink()
    broken = shard_path(copy, 2)
    broken.write_bytes(broken.read_bytes()[:-1000])
    before = {p.name: p.stat().st_mtime_ns for p in copy.iterdir()}
    progress = list(generate(plan_of(corpus), copy, SHARDS * SHARD_HOURS, 2))
    assert [round(done / SHARD_HOURS) for done, _ in progress] == [1, 2, 3]
    after = {p.name: p.stat().st_mtime_ns for p in copy.iterdir()}
    changed = {name for name, when in after.items() if before.get(name) != when}
    assert changed == {shard_path("", n).name for n in (1, 2)}
    assert digests(copy) == digests(made[0])
    assert list(generate(plan_of(corpus), copy, SHARDS * SHARD_HOURS, 2)) == [progress[-1]]


def test_recordings_may_have_moved(made, corpus, copy, tmp_path):
    moved = Path(shutil.copytree(corpus, tmp_path / "elsewhere"))
    assert len(list(generate(plan_of(moved), copy, SHARDS * SHARD_HOURS, 1))) == 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seed": 6}, "seed"),
        ({"recipe": replace(RECIPE_S, level_db=(-40.0, -20.0))}, "recipe"),
        ({"split": "other"}, "split"),
        ({"noise": (Recording("/n/other.wav", "other.wav"),)}, "recordings"),
    ],
)
def test_shards_of_another_plan_are_not_touched(corpus, copy, change, word):
    before = digests(copy)
    with pytest.raises(ValueError, match=rf"shard-00000.*\({word}\)"):
        list(generate(replace(plan_of(corpus), **change), copy, SHARDS * SHARD_HOURS, 1))
    assert digests(copy) == before


def test_a_folder_begun_under_former_names_goes_on(made, corpus, copy):
    names = {"split": "part", "rir": "rooms"}
    recipe_names = {"rir": "room", "given_rir": "given_room", "rir_on_noise": "room_on_noise", "color": "colour"}
    for path in sorted(copy.iterdir())[:2]:
        with safe_open(path, "numpy") as file:
            text = file.metadata()["percepnet"]
        found = json.loads(text)
        recipe = {recipe_names.get(key, key): value for key, value in found.pop("recipe").items()}
        assert set(recipe) >= set(recipe_names.values())
        kinds = dict(recipe["synthetic_kinds"])
        recipe["synthetic_kinds"] = [["coloured", kinds.pop("colored")], *map(list, kinds.items())]
        recordings = {names.get(key, key): value for key, value in found.pop("recordings").items()}
        old = {names.get(key, key): value for key, value in found.items()}
        tensors = {name: np.array(array) for name, array in load_file(path).items()}
        save_file(tensors, path, {"percepnet": json.dumps(old | {"recipe": recipe, "recordings": recordings})})
        assert path.read_bytes().count(b"coloured") == 1
    shard_path(copy, 2).unlink()
    before = digests(copy)
    assert len(list(generate(plan_of(corpus), copy, SHARDS * SHARD_HOURS, 1))) == 2
    assert digests(copy) == before | {"shard-00002.safetensors": digests(made[0])["shard-00002.safetensors"]}
    assert Shards(copy).description == Shards(made[0]).description

    with pytest.raises(ValueError, match=r"shard-00000.*\(split\)"):
        list(generate(replace(plan_of(corpus), split="other"), copy, SHARDS * SHARD_HOURS, 1))


def test_a_folder_that_cannot_be_written_is_an_error(corpus, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PercepnetError, match="folder cannot be made: Not a directory"):
        list(generate(plan_of(corpus), tmp_path / "file" / "folder", SHARD_HOURS, 1))


def test_stopping_early_ends_the_processes_and_leaves_whole_shards(made, corpus, tmp_path):
    steps = generate(plan_of(corpus), tmp_path, SHARDS * SHARD_HOURS, 2)
    next(steps)
    next(steps)
    steps.close()
    assert not multiprocessing.active_children()
    found, expected = digests(tmp_path), digests(made[0])
    assert 1 <= len(found) < SHARDS
    assert all(expected[name] == digest for name, digest in found.items())


@pytest.fixture(scope="module")
def killed(corpus, tmp_path_factory):
    """A folder whose maker was killed when its first shard was there, and the maker's process group."""
    home = tmp_path_factory.mktemp("killed")
    script, folder = home / "make.py", home / "shards"
    script.write_text(KILLED)
    arguments = [sys.executable, script, corpus, folder, str(12 * SHARD_HOURS)]
    maker = subprocess.Popen(arguments, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not list(folder.glob("shard-*")) and time.monotonic() < deadline and maker.poll() is None:
            time.sleep(0.02)
        maker.kill()
        maker.wait()
        yield folder, maker.pid
    finally:
        end_group(maker.pid)


def end_group(leader):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def test_processes_do_not_outlive_a_killed_run(killed):
    deadline = time.monotonic() + 6
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(killed[1], 0)
            time.sleep(0.1)


def test_a_killed_run_leaves_whole_shards_and_is_completed_by_another(killed, made, corpus):
    folder, leader = killed
    end_group(leader)
    found, expected = digests(folder), digests(made[0])
    assert 1 <= len(found) < 12
    shutil.copy(shard_path(made[0], 0), shard_path(folder, 0))  # the first one that was ready may be another
    count = len(digests(folder)) + 1
    steps = list(generate(plan_of(corpus), folder, count * SHARD_HOURS, 1))
    assert steps[0][0] == pytest.approx((count - 1) * SHARD_HOURS)
    after = digests(folder)
    assert len(after) == count and all(after[name] == digest for name, digest in found.items())
    assert {name: after[name] for name in expected if name in after} == {
        n: d for n, d in expected.items() if n in after
    }
    assert Shards(folder).sequences == count * SEQUENCES_PER_SHARD


def test_plan_keeps_the_groups_of_its_split(corpus, tmp_path):
    plan = plan_of(corpus)
    assert [r.group for r in plan.noise] == ["hiss.wav", "key.wav", "short hiss.flac"]
    assert [r.group for r in plan.rirs] == ["office.wav"] and len(plan.speech) == 6
    with pytest.raises(ValueError, match="none of the 6 speech recordings belongs to the split 'validation'"):
        plan_of(corpus, split="validation")
    with pytest.raises(ValueError, match="no such file or folder"):
        plan_of(tmp_path)
    without = make_plan([corpus / "speech"], [], [], "all", 0, RECIPE_S)
    assert without.noise == without.rirs == ()


def test_equal_plans_describe_themselves_equally(corpus):
    assert plan_of(corpus).description() == plan_of(corpus).description()
    speech = plan_of(corpus).speech
    wider = (replace(speech[0], bandwidth_hz=8000.0), *speech[1:])
    assert replace(plan_of(corpus), speech=wider).description() != plan_of(corpus).description()
    assert Plan((), (), (), "all", 0).description()["recordings"]["speech"]["count"] == 0


def test_recordings_that_cannot_be_read_or_end_early_are_named(corpus, tmp_path):
    copy = Path(shutil.copytree(corpus, tmp_path / "corpus"))
    damaged = copy / "noise" / "damaged.wav"
    damaged.write_bytes(b"RIFF nothing like a sound")
    cut = sorted((copy / "noise").glob("*.wav"))[-1]
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    faults = Faults()
    list(generate(plan_of(copy), tmp_path / "out", SHARD_HOURS, 1, faults))
    assert faults.unreadable == {str(damaged)} and faults.unwhole == {str(cut)}


@pytest.mark.parametrize("name", ["balanced", "varied", "recorded"])
def test_the_command_takes_a_recipe_and_teachers(corpus, monkeypatch, tmp_path, name):
    seen = []
    monkeypatch.setattr(module, "generate", lambda plan, *_: seen.append(plan) or iter(()))
    arguments = [str(tmp_path), "--split", "all", "--recipe", name, "--teacher", "one", "--teacher", "two 2"]
    for option in ("speech", "noise"):
        arguments += [f"--{option}", str(corpus / option)]
    done = CliRunner().invoke(main, ["train-targets", *arguments])
    assert done.exit_code == 0, done.output
    assert seen[0].recipe is RECIPES[name] and seen[0].teachers == ("one", "two 2")
    assert RECIPES["recorded"].synthetic_noise < RECIPES["varied"].synthetic_noise


def test_music_is_told_from_other_noise(corpus):
    plan = make_plan([corpus / "speech"], [corpus / "noise" / "keys"], [], "all", 0, RECIPE_S, music=[corpus / "noise"])
    assert [r.kind for r in plan.noise] == ["", "music", "music", "music"]
    sources = Sources(plan.speech, plan.noise, plan.rirs)
    assert len(sources.noise.recordings) == 1 and len(sources.music.recordings) == 3


def test_speech_that_cannot_be_read_at_all_ends_the_work(corpus, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.wav").write_bytes(b"RIFF")
    plan = make_plan([broken], [corpus / "noise"], [], "all", 0, RECIPE_S)
    with pytest.raises(PercepnetError, match=r"none of 1 recordings can be read, .*a\.wav for one"):
        list(generate(plan, tmp_path / "out", SHARD_HOURS, 1))
    assert not list((tmp_path / "out").iterdir())
