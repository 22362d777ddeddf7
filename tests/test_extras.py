"""Messages about packages that are not installed name a command that works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from percepnet_cli.extras import listed, missing, sentence
from percepnet_cli.metrics import scores

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = sorted({*(m for group in scores.NEEDED.values() for m in group), "distributed", "fsspec", "matplotlib",
                   "pocketsphinx", "torch"})  # fmt: skip


@pytest.mark.parametrize("module", OPTIONAL)
def test_a_module_has_the_name_of_its_package(module):
    extras = re.search(r"^\[project.optional-dependencies\]\n(.*?)^\[", (ROOT / "pyproject.toml").read_text("utf-8"),
                       re.MULTILINE | re.DOTALL)  # fmt: skip
    assert module in re.findall(r'"([\w-]+)>=', extras[1])


def test_the_sentence_ends_with_a_command():
    assert sentence("a picture", ["matplotlib"]) == "a picture needs matplotlib: pip install matplotlib"
    text = sentence("PESQ and STOI", ["pesq", "pystoi"])
    assert text == "PESQ and STOI need pesq and pystoi: pip install pesq pystoi"


def test_only_what_is_not_there_is_missing():
    assert missing("numpy", "no_such_module", "click") == ["no_such_module"]


def test_names_are_listed_as_in_a_sentence():
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_no_message_and_no_page_names_an_index_that_does_not_have_this_package():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "models").rglob("*.md")]
    assert len(pages) > 10
    for path in [*(ROOT / "percepnet_cli").rglob("*.py"), *pages]:
        assert not re.search(r"percepnet-cli\[|pip(x)? install ['\"]?percepnet", path.read_text("utf-8")), path
