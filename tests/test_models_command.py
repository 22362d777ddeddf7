"""``percepnet models``: what is shipped, and scores only of the very file they were measured with."""

import json

import pytest
from click.testing import CliRunner

from percepnet_cli.cli import main
from percepnet_cli.constants import DEFAULT_FILE_MODEL, DEFAULT_MODEL
from percepnet_cli.network import shipped
from percepnet_cli.network.modelfile import load_model, shipped_names


def run(*arguments):
    result = CliRunner().invoke(main, ["models", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_every_shipped_model_is_listed_the_defaults_first():
    lines = run().splitlines()
    assert lines[0].split()[0] == "model" and len(lines) == 1 + len(shipped_names())
    for name, use in ((DEFAULT_FILE_MODEL, "files"), (DEFAULT_MODEL, "streams")):
        (line,) = (line for line in lines[1:3] if line.startswith(f"{name} (default: "))
        assert use in line.partition("(default: ")[2].partition(")")[0].split(", ")
    for name in shipped_names():
        model = load_model(name)
        (line,) = (line for line in lines if line.split()[0] == name)
        assert f"{model.num_weights / 1e6:.2f} M" in line and line.endswith(model.digest[:12])
        assert f"{model.num_weights / 1e4:.0f} M" in line  # 100 hops a second


def test_json_holds_the_same_and_more():
    entries = json.loads(run("--json"))
    assert {entry["name"] for entry in entries} == set(shipped_names())
    defaults = {use: entry["name"] for entry in entries for use in entry["default_for"]}
    assert defaults == {"files": DEFAULT_FILE_MODEL, "streams": DEFAULT_MODEL}
    assert all(entry["sha256"] == load_model(entry["name"]).digest for entry in entries)
    latencies = [load_model(entry["name"]).latency_samples / 48 for entry in entries]
    assert [entry["latency_ms"] for entry in entries] == pytest.approx(latencies)


@pytest.mark.parametrize("same", [True, False])
def test_scores_of_another_file_are_not_shown(monkeypatch, same):
    digest = load_model(DEFAULT_MODEL).digest if same else "0" * 64
    scores = {"pesq_wb": 1.234, "stoi": 0.5678, "si_sdr": 6.04, "dnsmos_ovrl": 2.555}
    monkeypatch.setattr(shipped, "measured", lambda: {DEFAULT_MODEL: {"sha256": digest, "scores": scores}})
    (shown,) = (line.split() for line in run().splitlines() if line.startswith(DEFAULT_MODEL))
    assert shown[-5:-1] == (["1.23", "0.568", "6.0", "2.56"] if same else ["-"] * 4)


def test_the_scores_that_ship_are_of_the_models_that_ship():
    records = shipped.measured()
    assert records.keys() == set(shipped_names())
    for name, record in records.items():
        assert record["sha256"] == load_model(name).digest, f"{name} was not measured since it changed"
        assert 1 < record["scores"]["pesq_wb"] < 4.7 and record["pairs"] > 0
