"""Presets and amounts are other options; a dry run changes nothing."""

from __future__ import annotations

import json
import os

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from percepnet_cli import cli, denoise_file, denoise_files
from percepnet_cli.cli.presets import PRESETS_HELP, Percent
from percepnet_cli.dsp.presets import PRESETS, choose, limit_of_amount


@pytest.mark.parametrize(("percent", "limit_db"), [(0, 0.0), (50, 6.02), (90, 20.0), (99, 40.0), (100, None)])
def test_an_amount_is_a_limit(percent, limit_db):
    found = limit_of_amount(percent)
    assert found == limit_db if limit_db is None else found == pytest.approx(limit_db, abs=0.01)


@pytest.mark.parametrize(("text", "value"), [("50", 50), ("50%", 50), (" 12.5 % ", 12.5), ("0", 0), ("100", 100)])
def test_percent_signs_are_understood(text, value):
    assert Percent().convert(text, None, None) == value


@pytest.mark.parametrize("text", ["-1", "101", "nan", "inf", "half", "%"])
def test_other_amounts_are_refused(text):
    with pytest.raises(click.BadParameter):
        Percent().convert(text, None, None)


def test_amounts_from_python_are_0_to_100():
    assert choose(None, 0, None, None)["attenuation_limit_db"] == 0
    assert choose(None, 100, None, None)["attenuation_limit_db"] is None
    for amount in (-0.1, 100.1):
        with pytest.raises(ValueError, match="it must be 0 to 100"):
            choose(None, amount, None, None)


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_what_is_given_counts_before_the_preset(preset):
    expected = {"attenuation_limit_db": None, "post_filter": None} | PRESETS.get(preset, {})
    assert choose(preset, None, None, None) == expected
    assert choose(preset, None, 3.0, False) == {"attenuation_limit_db": 3.0, "post_filter": False}
    assert choose(preset, 100.0, None, None)["attenuation_limit_db"] is None
    with pytest.raises(ValueError, match="give one"):
        choose(preset, 50.0, 6.0, None)


def test_the_help_says_what_presets_set():
    for name, values in PRESETS.items():
        limit_db = values["attenuation_limit_db"]
        shown = "no limit" if limit_db is None else f"{limit_db:g}"
        assert any(part.strip().startswith(f"{name}:") and shown in part for part in PRESETS_HELP.split(";"))


def run(*arguments):
    return CliRunner().invoke(cli.main, ["denoise", *map(str, arguments)])


def test_a_dry_run_says_what_would_be_done(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "b.flac"):
        soundfile.write(tmp_path / "in" / name, np.zeros(480), 48000)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.flac").write_bytes(b"there")
    for options, fate in (((), "exists, so this fails"), (("--force",), "replaced"), (("--skip-existing",), "skipped")):
        result = run("--dry-run", *options, tmp_path / "in", tmp_path / "out")
        first, second = result.stdout.splitlines()
        assert result.exit_code == 0 and first == f"{tmp_path}/in/a.wav -> {tmp_path}/out/a.wav"
        assert second.startswith(f"{tmp_path}/in/b.flac -> {tmp_path}/out/b.flac ({fate}")
    assert os.listdir(tmp_path / "out") == ["b.flac"]


def test_a_report_goes_to_standard_output(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(480), 48000)
    result = run("--report", "-", "--preset", "gentle", tmp_path / "a.wav", tmp_path / "b.wav")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["files"]
    assert row["target"] == f"{tmp_path}/b.wav" and row["seconds"] == 0.01 and row["cpu_seconds"] > 0
    assert run("--report", "-", tmp_path / "a.wav", "-").exit_code == 2


def test_presets_and_amounts_from_python(tmp_path):
    rng = np.random.default_rng(1)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(24000), 48000, subtype="FLOAT")
    denoise_file(tmp_path / "a.wav", tmp_path / "limit.wav", model="lite", attenuation_limit_db=limit_of_amount(50))
    denoise_file(tmp_path / "a.wav", tmp_path / "amount.wav", model="lite", amount=50)
    denoise_files([tmp_path / "a.wav"], tmp_path / "out", model="lite", preset="gentle", duration_seconds=0.25)
    denoise_file(tmp_path / "a.wav", tmp_path / "gentle.wav", model="lite", attenuation_limit_db=9)
    limit, amount, gentle = (soundfile.read(tmp_path / name)[0] for name in ("limit.wav", "amount.wav", "gentle.wav"))
    np.testing.assert_array_equal(amount, limit)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "out" / "a.wav")[0], gentle[:12000])
    for options, said in (({"amount": 101}, "it must be 0 to 100"), ({"preset": "loud"}, "one of gentle, podcast")):
        with pytest.raises(ValueError, match=said):
            denoise_file(tmp_path / "a.wav", tmp_path / "b.wav", **options)
