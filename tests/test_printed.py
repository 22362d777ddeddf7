"""What strangers wrote steers neither a terminal nor a spreadsheet, and no library prints into the sound."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from percepnet_cli.batch import report
from percepnet_cli.batch.inputs import Item
from percepnet_cli.batch.run import FAILED, Outcome
from percepnet_cli.cli import main
from percepnet_cli.cli.printed import printable
from percepnet_cli.evaluation.report import write_csv
from percepnet_cli.storage.spreadsheet import from_cell, text_cell

COMMANDS = Path(__file__).resolve().parents[1] / "percepnet_cli" / "cli"
EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp"


@given(st.text())
def test_nothing_that_steers_is_left_and_the_rest_stays(text):
    shown = printable(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    if not re.search("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", text):
        assert shown == text


def test_lines_stay_where_they_are_ours():
    assert printable("a\n\tb\r", lines=True) == "a\n\tb\\r" and printable("a\n\tb") == "a\\n\\tb"


def test_tags_and_names_reach_the_terminal_as_escapes(tmp_path):
    path = tmp_path / f"x{EVIL}.flac"
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        file.title = f"title{EVIL}\nfile   forged"
        file.write(np.zeros(1600, np.float32))
    done = CliRunner().invoke(main, ["info", str(path), str(tmp_path / f"none{EVIL}.wav")])
    assert done.exit_code == 1 and "title\\x1b]0;title\\x07" in done.stdout and "does not exist" in done.stderr
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.output)
    assert not any(line.startswith("file   forged") for line in done.output.splitlines())

    for arguments in (["denoise", "--dry-run", path, "out.wav"], ["denoise", tmp_path / "\x1b.wav", "out.wav"],
                      ["denoise", "--model", EVIL, path, tmp_path / "out.wav"], ["evaluate", tmp_path / EVIL, path],
                      ["denoise", f"--{EVIL}"], ["quantize", EVIL, "a"], ["\x1bx"]):  # fmt: skip
        done = CliRunner().invoke(main, list(map(str, arguments)))
        assert "\\x1b" in done.output and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.output), arguments


def test_commands_print_through_one_door():
    """Those that show only their own words, or move the cursor themselves, may print as they are."""
    own = {"printed.py", "live.py", "play.py", "models.py", "warmup.py", "__init__.py", "progress.py", "denoise.py"}
    assert {path.name for path in COMMANDS.glob("*.py") if "click.echo(" in path.read_text("utf-8")} <= own


@given(st.text() | st.text("-+='@.0e"))
@example("-0")
@example("-0\n")
@example("'-0")
def test_cells_are_no_formulas_and_come_back(text):
    cell = text_cell(text)
    assert from_cell(cell) == text
    number = re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", cell)  # a spreadsheet reads these as what they are
    assert number or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_reports_hold_no_formulas(tmp_path):
    names = ["=cmd|' /C calc'!A0.wav", "+1.wav", "-1.wav", "@SUM(1).wav", "\tx.wav", "'=x.wav", "plain.wav"]
    outcomes = [Outcome(Item(name, f"out/{name}", 0), FAILED, error=f"{name} does not exist") for name in names]
    report.write(tmp_path / "r.csv", map(report.row, outcomes), {})
    with (tmp_path / "r.csv").open(newline="") as file:
        cells = [cell for row in list(csv.reader(file))[1:] for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]
    assert list(report.read(tmp_path / "r.csv")) == names

    write_csv([{"file": name, "pesq": -0.5} for name in names], tmp_path / "e.csv")
    with (tmp_path / "e.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [from_cell(row["file"]) for row in rows] == names and {row["pesq"] for row in rows} == {"-0.5"}
    assert not [row for row in rows if row["file"].startswith(("=", "+", "-", "@", "\t"))]


PRINTING = """
import ctypes, os, sys
sys.argv = ["/usr/bin/percepnet"]
from percepnet_cli.cli import main
library = ctypes.CDLL(None)
library.puts(b"from a library")
sys.stdout.write("ours")
sys.stdout.flush()
library.fflush(None)
os.write(1, b"from below")
"""


@pytest.mark.skipif(os.name == "nt", reason="descriptors of POSIX")
def test_what_libraries_print_goes_to_standard_error():
    done = subprocess.run([sys.executable, "-c", PRINTING], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "ours")
    assert "from a library" in done.stderr and "from below" in done.stderr


@pytest.mark.service
@pytest.mark.skipif(os.name == "nt", reason="descriptors of POSIX")
def test_a_file_over_which_libsndfile_prints_leaves_the_sound_alone(tmp_path):
    """Its reader of MIDI sample dumps has debugging prints that it was delivered with."""
    soundfile.write(tmp_path / "a.sds", np.zeros(48000, np.float32), 48000, format="SDS", subtype="PCM_16")
    content = bytearray((tmp_path / "a.sds").read_bytes())
    content[21 + 127 * 5] = 0xB0  # where a block of samples should begin
    (tmp_path / "a.sds").write_bytes(content)
    command = [sys.executable, "-m", "percepnet_cli", "denoise", "--quiet", "--model", "lite", tmp_path / "a.sds", "-"]
    done = subprocess.run(command, capture_output=True, timeout=200)
    assert done.stdout[:4] == b"RIFF" and b"B0" in done.stderr
    assert not re.search(b"[A-Za-z ]{4}", done.stdout[68:])
