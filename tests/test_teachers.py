"""Teachers: targets from other programs, heard at one level and kept beside the ideal ones."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_shards
from signals import RATE, noise, speech

from percepnet_cli.errors import PercepnetError
from percepnet_cli.training.data.generate import SEQUENCES_PER_SHARD, generate, make_plan
from percepnet_cli.training.data.mixture import Mixture
from percepnet_cli.training.data.recipe import RECIPE
from percepnet_cli.training.data.shard_file import shard_path, write_shard
from percepnet_cli.training.data.shards import Shards
from percepnet_cli.training.data.targets import example
from percepnet_cli.training.data.teachers import LEVEL_DB, teach, without_folders

PROGRAM = """
import sys
from pathlib import Path
import numpy as np, soundfile
*words, source, target = sys.argv[1:]
for path in sorted(Path(source).iterdir()):
    x, rate = soundfile.read(path, dtype="float32")
    {change}
    soundfile.write(Path(target) / path.name, x, rate, "FLOAT")
"""


@pytest.fixture
def teacher(tmp_path):
    """Write a teacher that does something to x; return its command."""
    made = []

    def make(change):
        path = tmp_path / f"teacher {len(made)}.py"
        path.write_text(PROGRAM.format(change=change))
        made.append(path)
        return f"{sys.executable} '{path}'"

    return make


def test_teachers_hear_one_level_and_respond_at_the_mixtures_own(rng, teacher):
    noisy = [noise(4800, rng, 0.001), noise(9600, rng, 0.3), np.zeros(4800, np.float32)]
    heard = teacher("x = np.full_like(x, np.sqrt(np.mean(x**2)))")
    half = teacher("x = x / 2")
    levels, halves = teach([heard, half], noisy)
    for signal, level, result in zip(noisy, levels, halves, strict=True):
        rms = np.sqrt(np.mean(signal**2))
        # heard at LEVEL_DB, brought back to the level of the mixture
        np.testing.assert_allclose(level, rms, rtol=1e-4)
        np.testing.assert_allclose(result, signal / 2, rtol=1e-5, atol=1e-9)
        assert result.dtype == np.float32
    assert teach([], noisy) == []
    command = teacher("assert len(x) != 4800 or not x.any() or abs(np.mean(x**2) - %r) < 1e-6" % 10 ** (LEVEL_DB / 10))
    teach([command], noisy)


@pytest.mark.service
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("raise SystemExit('out of memory')", "failed with code 1: out of memory"),
        ("sys.exit(3)", "failed with code 3"),
        ("x = x[:-1]", "made 4799 samples of 1 channels at 48000 Hz of 4800 samples"),
        ("x = np.stack((x, x), 1)", "of 2 channels"),
        ("rate = 16000", "at 16000 Hz"),
        ("continue", "left no result"),
    ],
)
def test_what_is_no_teacher_is_named(rng, teacher, change, words):
    with pytest.raises(ValueError, match=f"the teacher .*{words}"):
        teach([teacher(change)], [noise(4800, rng)])


@pytest.mark.parametrize("command", ["/nowhere/at/all", "'open quote"])
def test_a_command_that_cannot_run_is_named(rng, command):
    with pytest.raises(ValueError, match="cannot be run"):
        teach([command], [noise(4800, rng)])


def test_the_target_is_the_ideal_one_for_what_the_teacher_made(rng):
    clean = speech(48000, rng)[0].astype(np.float32)
    noisy = clean + noise(48000, rng, 0.05)
    mixture = Mixture(noisy, clean, RATE / 2, RATE / 2)
    alone = example(mixture, 0.5)
    assert alone.teacher_gain is None and alone.teacher_strength is None
    same = example(mixture, 0.5, [clean])
    for name in ("gain", "strength"):
        ideal, target = getattr(same, name), getattr(same, f"teacher_{name}")
        assert np.array_equal(ideal, getattr(alone, name))
        np.testing.assert_allclose(target, ideal, atol=1e-3)
    # a quarter and all of it: the mean of the roots, (0.5 + 1)^2 / 4
    quarter = example(mixture, 0.0, [noisy / 4, noisy])
    np.testing.assert_allclose(quarter.teacher_gain[2:-2], 0.5625, atol=2e-3)
    assert not quarter.teacher_strength[2:-2].astype(bool).any() or quarter.teacher_strength[2:-2].max() < 0.05


@pytest.mark.service
def test_shards_hold_targets_of_teachers_and_the_weight_blends_them(corpus, tmp_path, teacher):
    recipe = replace(RECIPE, seconds=0.3, delayed_start=0)
    sources = [[corpus / name] for name in ("speech", "noise", "rir")]
    plan = make_plan(*sources, "all", 5, recipe, [teacher("x = x / 4")])
    hours = SEQUENCES_PER_SHARD * 0.3 / 3600
    list(generate(plan, tmp_path / "teacher", hours, 1))
    list(generate(replace(plan, teachers=()), tmp_path / "plain", hours, 1))
    plain, distilling = (Shards(tmp_path / name) for name in ("plain", "teacher"))
    for name in ("features", "gain", "strength", "voice"):  # the mixtures are the same
        assert np.array_equal(plain.tensor(name, 7), distilling.tensor(name, 7))
    judged = distilling.tensor("gain_weight", 7).astype(bool)
    assert np.allclose(distilling.tensor("teacher_gain", 7)[judged], 0.25, atol=0.03)

    picks = [(7, 3), (20, 0)]
    ideal, blended, distilled = (Shards(tmp_path / "teacher", share).crops(picks, 20) for share in (0.0, 0.25, 1.0))
    assert np.array_equal(ideal.gain[:, 0], distilling.tensor("gain", 7)[3:23])
    target = np.stack([distilling.tensor("teacher_gain", n)[start : start + 20] for n, start in picks], 1)
    np.testing.assert_allclose(distilled.gain, target, atol=1e-3)
    root = 0.75 * np.sqrt(ideal.gain.astype(float)) + 0.25 * np.sqrt(target.astype(float))
    np.testing.assert_allclose(blended.gain, root**2, atol=1e-3)
    assert np.array_equal(blended.features, ideal.features)
    milder = Shards(tmp_path / "teacher", 1.0, 0.5).crops(picks, 20)
    np.testing.assert_allclose(milder.gain, np.sqrt(target.astype(float)), atol=1e-3)
    assert np.array_equal(milder.strength, distilled.strength)

    with pytest.raises(ValueError, match="plain: no shard was made with a teacher"):
        Shards(tmp_path / "plain", 0.5)
    with pytest.raises(ValueError, match="must be above 0, not 0"):
        Shards(tmp_path / "teacher", 0.5, 0)
    with pytest.raises(ValueError, match=r"made from other settings \(teachers\)"):
        list(generate(plan, tmp_path / "plain", hours, 1))
    broken = replace(plan, teachers=("false",))
    with pytest.raises(PercepnetError, match="the teacher 'false' failed with code 1"):
        list(generate(broken, tmp_path / "failed", hours, 1))
    assert list((tmp_path / "failed").iterdir()) == []


def test_a_model_does_not_say_where_its_teachers_lived():
    description = {"seed": 1, "teachers": ["/home/me/python '/opt/my teachers/dfn3.py' weights", "other"]}
    assert without_folders(description) == {"seed": 1, "teachers": ["python dfn3.py weights", "other"]}
    assert without_folders({"seed": 1}) == {"seed": 1}


def test_half_a_target_is_none(tmp_path):
    arrays = small_shards.arrays(np.random.default_rng(0), 2, 5)
    with pytest.raises(ValueError, match="no tensor named teacher_strength"):
        write_shard(shard_path(tmp_path, 0), arrays | {"teacher_gain": arrays["gain"]}, {})


def test_windows_of_the_tried_teachers_add_up_again(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "models" / "teachers")
    framing = importlib.import_module("framing")
    rng = np.random.default_rng(1)
    signals = [noise(14400, rng), noise(10073, rng)]
    hann = np.sin(np.pi * (np.arange(framing.WINDOW) + 0.5) / framing.WINDOW) ** 2
    pieces = framing.windows(signals) * hann
    assert pieces.shape == (2, 31, framing.WINDOW)
    for found, wanted in zip(framing.overlap_add(pieces, signals), signals, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
