"""What is not whole, or no sound, is said by every command that reads recordings, in a sentence."""

from __future__ import annotations

import csv
import os
import shutil

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from percepnet_cli.cli import main


def pair(folder):
    """Write a recording of four seconds, and the same cut in half; return both paths."""
    whole, half = folder / "whole.wav", folder / "half.wav"
    soundfile.write(whole, 0.1 * np.random.default_rng(8).standard_normal(64000), 16000)
    shutil.copy(whole, half)
    os.truncate(half, whole.stat().st_size // 2)
    return whole, half


READERS = {
    "plot": (["plot", "half.wav", "--output", "p.png"], "matplotlib"),
    "evaluate": (["evaluate", "half.wav", "whole.wav", "--no-wer", "--no-dnsmos", "--compare", "x=whole.wav"], None),
    "oracle": (["oracle", "whole.wav", "half.wav", "stages"], None),
    "bench": (["bench", "--audio", "half.wav", "--seconds", "1", "--runs", "1", "--live", "0"], None),
    "info": (["info", "half.wav"], None),
}
"""Commands that read recordings, and what they need."""


def prepared(name, folder, monkeypatch):
    """Go to a folder with the two recordings; return the command of a name, if what it needs is there."""
    command, package = READERS[name]
    if package:
        pytest.importorskip(package)
    monkeypatch.chdir(folder)
    pair(folder)
    return command


@pytest.mark.parametrize("name", READERS)
def test_other_commands_tell_of_it_too(tmp_path, monkeypatch, name):
    command = prepared(name, tmp_path, monkeypatch)
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0 and done.output.count("ends early, after 2.0 s of 4.0 s") == 1
    assert name == "info" or "Warning: half.wav ends early, after 2.0 s of 4.0 s\n" in done.stderr


def test_scores_hold_what_is_not_whole_in_columns_of_their_own(tmp_path):
    whole, half = pair(tmp_path)
    sentence = f"{half} ends early, after 2.0 s of 4.0 s"
    for clean, noisy, key in ((whole, half, "warning"), (half, whole, "clean_warning")):
        table = tmp_path / f"{key}.csv"
        arguments = ["evaluate", str(clean), str(noisy), "--model", "lite", "--no-wer", "--no-dnsmos"]
        assert CliRunner().invoke(main, [*arguments, "--csv", str(table)]).exit_code == 0
        with table.open(newline="") as file:
            assert [row[key] for row in csv.DictReader(file)] == [sentence, sentence]


@pytest.mark.parametrize("name", ["plot", "oracle", "evaluate", "bench"])
def test_samples_far_beyond_full_scale_are_no_traceback(tmp_path, monkeypatch, name):
    command = prepared(name, tmp_path, monkeypatch)
    samples, rate = soundfile.read("whole.wav")
    soundfile.write("half.wav", 32768 * samples, rate, subtype="FLOAT")
    done = CliRunner().invoke(main, command)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    refused = name in ("plot", "oracle")
    assert done.exit_code == refused and ("half.wav has samples up to" in done.stderr) == refused
