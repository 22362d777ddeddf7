"""Pairs scored beside a training."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from percepnet_cli.constants import NUM_FEATURES, SAMPLE_RATE

torch = pytest.importorskip("torch")

from percepnet_cli.network.graph import Sizes  # noqa: E402
from percepnet_cli.training.curves import write_history  # noqa: E402
from percepnet_cli.training.model.floatmodel import write_float_model  # noqa: E402
from percepnet_cli.training.model.torch_model import PercepNet  # noqa: E402
from percepnet_cli.training.options import Options  # noqa: E402
from percepnet_cli.training.pair_scores import SHOWN, PairScores, means  # noqa: E402
from percepnet_cli.training.train import run  # noqa: E402

TINY = Options(Sizes(16, 16, 16, 16, 16, 16), batch_size=6, sequence_length=24, steps=3, seed=5, device="cpu")

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("one_torch_thread")]


@pytest.fixture
def pairs(tmp_path):
    """A folder with one pair: a modulated tone, and the same with noise."""
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    clean = 0.2 * np.sin(2 * np.pi * 200 * time) * (np.sin(2 * np.pi * 3 * time) > 0)
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(time))
    for name, samples in (("clean", clean), ("noisy", clean + noise)):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        soundfile.write(tmp_path / "pairs" / name / "one.wav", samples, SAMPLE_RATE)
    return tmp_path / "pairs"


def rows(out):
    with (out / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_scores_its_last_weights(folders, pairs, tmp_path):
    lines = []
    run(*folders, tmp_path / "run", replace(TINY, score_pairs=pairs, score_minutes=1e9), log=lines.append)
    scored = [row for row in rows(tmp_path / "run") if row["si_sdr"]]
    assert scored[-1]["step"] == "3"
    assert -50 < float(scored[-1]["si_sdr"]) < 50
    assert any(line.startswith("step 3") and "the pairs have PESQ" in line for line in lines)
    assert (tmp_path / "run" / "scored.safetensors").stat().st_size < 100_000

    # they are kept with the checkpoint
    run(*folders, tmp_path / "run", replace(TINY, steps=4), log=lines.append)
    assert [row["step"] for row in rows(tmp_path / "run") if row["si_sdr"]][-1] == "3"
    assert rows(tmp_path / "run")[-1]["step"] == "4"


def test_folders_that_are_missing_are_named(folders, tmp_path):
    with pytest.raises(ValueError, match=r"none/clean: no such folder; pairs to score lie in clean/ and noisy/"):
        run(*folders, tmp_path / "run", replace(TINY, score_pairs=tmp_path / "none"), log=lambda line: None)


def test_pairs_that_cannot_be_scored_end_no_run(folders, pairs, tmp_path):
    (pairs / "noisy" / "one.wav").write_bytes(b"no sound")
    lines = []
    result = run(*folders, tmp_path / "run", replace(TINY, score_pairs=pairs), log=lines.append)
    assert result.finished
    reports = [line for line in lines if line.startswith("the pairs could not be scored: ")]
    assert reports
    assert "one.wav" in reports[0]


def test_one_set_of_weights_is_scored_at_a_time(pairs, tmp_path):
    model = PercepNet(TINY.sizes)
    assert model.feature_mean.shape == (NUM_FEATURES,)
    write_float_model(tmp_path / "model.safetensors", model, {})
    scores = PairScores(pairs, tmp_path)
    assert scores.result(wait=True) is None
    assert scores.start(tmp_path / "model.safetensors", {"step": 1.0, "hours": 0.5})
    assert not scores.start(tmp_path / "model.safetensors", {"step": 2.0, "hours": 0.6})
    row = scores.result(wait=True)
    assert isinstance(row, dict)
    assert (row["step"], row["hours"]) == (1.0, 0.5)
    assert set(SHOWN) < set(row)

    # a process that runs is ended
    assert scores.start(tmp_path / "model.safetensors", {"step": 3.0, "hours": 0.7})
    scores.stop()
    assert scores.result(wait=True) is None


def test_means_of_a_report_without_some_scores():
    report = {"systems": {"noisy": {}, "model x": {"mean": {"stoi": {"mean": 0.5}, "pesq_wb": {"mean": None}}}}}
    found = means(report)
    assert found["stoi"] == 0.5
    assert np.isnan(found["pesq_wb"])
    assert np.isnan(found["dnsmos_p808"])


def test_history_holds_validations_and_scores_in_their_order(tmp_path):
    history = [{"step": 0.0, "hours": 0.0, "valid": 2.0}, {"step": 9.0, "hours": 1.0, "valid": 1.0}]
    write_history(tmp_path, history, [{"step": 5.0, "hours": 0.5, "stoi": 0.7}])
    found = rows(tmp_path)
    assert [row["step"] for row in found] == ["0", "5", "9"]
    assert [row["stoi"] for row in found] == ["", "0.7", ""]
    assert [row["valid"] for row in found] == ["2", "", "1"]
