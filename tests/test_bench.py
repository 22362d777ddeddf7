"""The benchmark times the shipped path and adds up."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from percepnet_cli import bench
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.dsp import stft
from percepnet_cli.network.modelfile import Sizes


@pytest.fixture(scope="module")
def report() -> bench.Report:
    samples = np.random.default_rng(0).standard_normal(48000).astype(np.float32) * 0.1
    return bench.measure(bench.random_model(Sizes(16, 24, 24, 24, 24, 16)), samples, 2)


def test_times_agree_with_each_other(report: bench.Report) -> None:
    assert report.seconds == 1.0
    assert report.times_realtime == pytest.approx(1 / report.realtime_factor)
    us = report.hop_us
    assert 0 < us["p50"] <= us["p95"] <= us["p99"] <= us["max"]
    assert report.latency_ms == 30


def test_stages_are_all_there_and_add_up(report: bench.Report) -> None:
    assert set(report.stage_percent) == {label for label, _, _ in bench.STAGES} | {"rest"}
    assert sum(report.stage_percent.values()) == pytest.approx(100)
    assert all(share > 0 for label, share in report.stage_percent.items() if label != "rest")


def test_clocks_are_taken_off_again() -> None:
    before = stft.transform
    with bench._clocks({}):
        assert stft.transform is not before
    assert stft.transform is before


def test_clocked_run_gives_the_same_samples() -> None:
    model = bench.random_model(Sizes(16, 24, 24, 24, 24, 16))
    samples = np.random.default_rng(1).standard_normal(9600).astype(np.float32)
    plain = Denoiser(model).process(samples)
    spent: dict[str, float] = {}
    with bench._clocks(spent):
        clocked = Denoiser(model).process(samples)
    assert np.array_equal(plain, clocked)
    assert spent["network"] > 0


def test_article_shape_runs_and_reports_json() -> None:
    from percepnet_cli.cli import main

    result = CliRunner().invoke(main, ["bench", "--article", "--seconds", "1", "--runs", "1", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["weights"] == 7_948_288
