"""The documentation says what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from percepnet_cli import constants
from percepnet_cli.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(p for p in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "models" / "README.md"])


def test_option_tables_are_up_to_date() -> None:
    result = subprocess.run(
        [sys.executable, "docs/generate.py", "--check", "options"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_section(name: str) -> None:
    assert f"## percepnet {name}\n" in (ROOT / "docs" / "commands.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
        drawn = target.startswith("images/how/")  # while the site is built
        assert drawn or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_commands_in_the_readme_parse() -> None:
    from percepnet_cli.cli import main

    text = (ROOT / "README.md").read_text("utf-8")
    commands = re.findall(r"^    percepnet (.+)$", text, re.MULTILINE)
    assert len(commands) >= 5
    for line in commands:
        name, *arguments = line.split()
        command = main.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None, name
        known = {option for parameter in command.params for option in parameter.opts}
        assert {a for a in arguments if a.startswith("--")} <= known, line


def test_stated_latency_is_the_constant() -> None:
    assert constants.LATENCY_SAMPLES == 1440
    assert "latency = 1440 samples" in (ROOT / "README.md").read_text("utf-8")
