"""The pages read well: short sentences, lines that fit, a README that is soon read; and the script that measures it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def script():
    """docs/sentences.py."""
    spec = importlib.util.spec_from_file_location("sentences", ROOT / "docs" / "sentences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_within_their_limits(script):
    assert script.faults() == []
    read = {path.relative_to(ROOT).as_posix() for path in script.pages()}
    assert {*script.READ_FIRST, "models/README.md", "docs/lab/README.md"} <= read


def test_limits_that_are_passed_are_told(script, monkeypatch, tmp_path):
    (tmp_path / "docs").mkdir()
    page = tmp_path / "README.md"
    page.write_text(f"{' '.join(['word'] * 30)}.\n" + "\n" * 200)
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "pages", lambda: [page])
    monkeypatch.setattr(script, "READ_FIRST", ("README.md",))
    mean, wide, long = script.faults()
    assert "30.0 words per sentence" in mean and wide.startswith("README.md:1 ") and "lines" in long

    page.write_text("A short sentence. Another one.\n")
    assert script.faults() == []


def test_the_script_answers(script):
    command = [sys.executable, "docs/sentences.py", "README.md"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("README.md: ") and " mean " in result.stdout


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One thing. Two things! Three?", ["One thing.", "Two things!", "Three?"]),
        ("One thing,\nover two lines.", ["One thing, over two lines."]),
        ("It takes 1.5 s, i.e. little. See e.g. Debian.", ["It takes 1.5 s, i.e. little.", "See e.g. Debian."]),
        ("Type `percepnet a.wav b.wav` now.", ["Type CODE now."]),
        ("It ends. `a.b` begins.", ["It ends.", "CODE begins."]),
        ("See [the page](a.md#b). ![A picture. Of words](c.png)", ["See the page."]),
        ("With $a. B$ it is **so. And** so.", ["With FORMULA it is so.", "And so."]),
        ("- one item\n  goes on\n- another\n1. third", ["one item goes on", "another", "third"]),
        ("# A heading\n\n| a | table |\n\n```sh\nsome code\n```\n\n    code\n\nText.", ["Text."]),
        ("<!-- a comment.\nIt goes on. -->\nText.", ["Text."]),
        ("- item\n\n    its second paragraph", ["item", "its second paragraph"]),
    ],
)
def test_sentences_are_found(script, text, sentences):
    assert script.read(text).sentences == sentences


def test_words_are_counted(script):
    assert script.count_words("a well-known 8-bit network - and `code`") == 6
    assert script.read("").mean == 0


def test_wide_lines_are_numbered(script):
    wide = " ".join(["word"] * 30)
    assert script.read(f"Short.\n\n{wide}\n").wide_lines == [3]
    assert script.read(f"```\n{wide}\n```\n\n    {wide}\n\n| {wide} |\n").wide_lines == []
    # what holds no space cannot be wrapped
    assert script.read("x" * 200).wide_lines == []
