"""The benchmark times the shipped path and adds up."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from percepnet_cli.benchmark import machine, measure, profile
from percepnet_cli.benchmark import report as reports
from percepnet_cli.cli import main
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.errors import PlotError
from percepnet_cli.network.graph import Sizes

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def report() -> measure.Report:
    samples = np.random.default_rng(0).standard_normal(48000).astype(np.float32) * 0.1
    return measure.measure(measure.random_model(Sizes(16, 24, 24, 24, 24, 16)), samples, 2, 0.3)


def test_times_agree_with_each_other(report: measure.Report) -> None:
    assert report.seconds == 1.0
    assert report.times_realtime == pytest.approx(1 / report.realtime_factor)
    assert report.live_us is not None and report.live_core_percent is not None
    for us in (report.hop_us, report.live_us):
        assert 0 < us["p50"] <= us["p95"] <= us["p99"] <= us["p99.9"] <= us["max"]
    assert len(report.hop_times_us) == 30 and max(report.hop_times_us) == pytest.approx(report.live_us["max"], abs=0.1)
    assert report.hop_core_percent > 0 and report.live_core_percent > 0
    assert report.latency_ms == 30


def test_stages_are_all_there_and_add_up(report: measure.Report) -> None:
    for shares in (report.stage_percent, report.hop_stage_percent):
        assert list(shares) == list(profile.STAGES)
        assert sum(shares.values()) == pytest.approx(100)
        assert all(share > 0 for label, share in shares.items() if label != "rest")


def test_start_up_and_memory_are_those_of_processes_of_their_own(report: measure.Report) -> None:
    assert report.help_cpu_seconds is not None and report.start_cpu_seconds is not None
    assert 0.01 < report.help_cpu_seconds < report.start_cpu_seconds
    assert report.peak_memory_mib is not None and 60 < report.peak_memory_mib < 250


def test_limits_are_below_what_is_needed(report: measure.Report) -> None:
    limit = report.limit_us
    assert limit["read_gb_per_s"] > 1 and limit["rate_gmac_per_s"] > 0.5
    assert 0 < limit["live_us"] < 10_000
    recurrent = 4 * 72 * 24 + 48 * 16  # of the small model
    assert limit["recurrent_us"] == pytest.approx(recurrent / limit["read_gb_per_s"] / 1e3)


def test_memory_of_another_process_is_not_ours() -> None:
    ours = np.zeros(400 * 2**20, np.uint8) + 1  # 400 MiB, touched
    cost = machine.cost_of([sys.executable, "-c", "x = bytearray(50 * 2**20)"])
    assert cost is not None and 50 < cost.peak_memory_mib < 150 and ours.any()
    with pytest.raises(OSError, match="ended with 3"):
        machine.cost_of([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_clock_hears_of_every_stage_in_the_order_of_the_signal_path() -> None:
    model = measure.random_model(Sizes(16, 24, 24, 24, 24, 16))
    samples = np.random.default_rng(1).standard_normal(960).astype(np.float32)
    heard: list[str] = []
    Denoiser(model, clock=heard.append).process(samples)
    before = ["high-pass", "window", "transform", "bands", "pitch", "comb", "transform", "bands", "features"]
    assert heard == ["rest", *before, "network", "rest", "post-filter", "mix and scale", "synthesis"]
    assert set(heard) == set(profile.STAGES)


def test_clocked_run_gives_the_same_samples() -> None:
    model = measure.random_model(Sizes(16, 24, 24, 24, 24, 16))
    samples = np.random.default_rng(1).standard_normal(9600).astype(np.float32)
    clock = profile.StageClock()
    clocked = Denoiser(model, clock=clock).process(samples)
    assert np.array_equal(Denoiser(model).process(samples), clocked)
    assert all(seconds > 0 for seconds in clock.seconds.values())


def test_random_weights_of_the_published_shape_run_and_reports_json() -> None:
    result = CliRunner().invoke(
        main, ["bench", "--random-weights", "--seconds", "1", "--runs", "1", "--live", "0", "--json"]
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["weights"] == 7_948_288 and report["live_us"] is None and "hop_times_us" not in report


def test_text_holds_every_number(report: measure.Report) -> None:
    text = reports.text_of(report)
    for label, *_ in reports.ROWS:
        assert f"\n{label} " in text
    assert report.system["kernel"] in text and f"{report.times_realtime:.1f}" in text


def test_results_are_compared(report: measure.Report, tmp_path: Path) -> None:
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    values = report.json()
    first.write_text(json.dumps(values))
    other = values | {"times_realtime": 2 * values["times_realtime"], "live_us": None, "noisy_machine": True}
    second.write_text(json.dumps(other | {"system": values["system"] | {"kernel": "abacus"}}))
    result = CliRunner().invoke(main, ["bench", "--compare", str(first), str(second)])
    assert result.exit_code == 0, result.output
    lines = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert lines["file, times real time"].endswith("+100 %")
    assert f"kernel: {values['system']['kernel']}, then abacus" in result.stdout
    assert "busy with something else during the second" in result.stdout


@pytest.mark.parametrize("content", ["", "[]", '{"hours": []}'])
def test_a_wrong_result_is_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    result = CliRunner().invoke(main, ["bench", "--compare", str(path), str(path)])
    assert result.exit_code == 1 and result.stderr.startswith(f"Error: {path}") and result.stderr.count("\n") == 1
    result = CliRunner().invoke(main, ["bench", "--compare", str(tmp_path / "no"), str(path)])
    assert result.exit_code == 1 and "cannot be read" in result.stderr


def test_pictures_are_whole_or_not_there(report: measure.Report, tmp_path: Path) -> None:
    reports.draw(report, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    for wrong in (tmp_path / "a.abc", tmp_path / "no" / "a.png"):
        with pytest.raises(PlotError, match=r"a\.(abc|png)"):
            reports.draw(report, wrong)
    with pytest.raises(PlotError, match="already exists"):
        reports.draw(report, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("name", "sentence"), [("a.png", "already exists; use --force"), ("b.jpg", "a picture is"), ("no/a.png", "folder")]
)
def test_a_picture_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    monkeypatch.setattr(measure, "measure", None)
    (tmp_path / "a.png").write_text("PRECIOUS")
    result = CliRunner().invoke(main, ["bench", "--plot", str(tmp_path / name)])
    assert result.exit_code == 1 and sentence in result.stderr
    assert (tmp_path / "a.png").read_text() == "PRECIOUS"


def test_hours_cost_the_same_and_keep_no_memory() -> None:
    samples = (0.1 * np.random.default_rng(2).standard_normal(48000 * 4)).astype(np.float32)
    model = measure.random_model(Sizes(16, 24, 24, 24, 24, 16))
    found = measure.measure_hours(model, samples, 0.05)
    assert len(found) == 1 and found[0]["cpu_seconds"] is not None and 1 < found[0]["cpu_seconds"] < 1000
    again = measure.measure_hours(model, samples, 0.05)
    if found[0]["memory_mib"] is not None and again[0]["memory_mib"] is not None:
        assert again[0]["memory_mib"] - found[0]["memory_mib"] < 5
