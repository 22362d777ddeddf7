"""The documentation says what the program does."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import soundfile

import percepnet_cli
from percepnet_cli import constants
from percepnet_cli.cli import COMMANDS, main
from percepnet_cli.cli.options import as_options

ROOT = Path(__file__).resolve().parent.parent
OTHERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "models/README.md")]
PAGES = sorted([*OTHERS, *(ROOT / "docs").glob("*.md")])


def test_option_tables_are_up_to_date() -> None:
    result = subprocess.run(
        [sys.executable, "docs/generate.py", "--check", "options"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_the_table_beside_the_paper_follows_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import claims

    page = (ROOT / "docs" / "paper.md").read_text("utf-8")
    assert claims.table() in page
    assert all(claim.command.startswith("`") for claim in claims.claims())
    records = claims.measured()
    for record in records.values():
        record["scores"]["pesq_wb"] = 4.44
    monkeypatch.setattr(claims, "measured", lambda: records)
    assert "4.44" in claims.table() and "4.44" not in page


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_section(name: str) -> None:
    assert f"## percepnet {name}\n" in (ROOT / "docs" / "commands.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
        drawn = target.startswith("images/how/")  # while the site is built
        assert drawn or (page.parent / target).exists(), f"{page.name} links to {target}"


FOREIGN_OPTIONS = {"--nthreads"}
"""Options in sentences that other programs have."""


def test_options_in_sentences_exist() -> None:
    context = click.Context(main)
    commands = [main.get_command(context, name) for name in COMMANDS]
    known = {option for command in commands for p in command.params for option in (*p.opts, *p.secondary_opts)}
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        used = set(re.findall(r"`(--[a-z][\w-]*)[^`]*`", text))
        developers = set(re.findall(r"python [^`\n]*(--[a-z][\w-]*)", text)) | {"--engine", "--peers"}
        assert used <= known | FOREIGN_OPTIONS | developers | {"--version"}, page.name


def test_extras_exist() -> None:
    extras = set(re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        used = re.findall(r"pip install [^`\n\[]*\[([\w,-]+)\]", page.read_text("utf-8"))
        assert {name for names in used for name in names.split(",")} <= extras, page.name


def sentences() -> list[str]:
    """Return every text in the program's sources, joined over lines; what varies is an ellipsis."""
    found = []
    for path in (ROOT / "percepnet_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(parts))
    return found


def test_messages_in_troubleshooting_are_the_programs_own() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    cells = re.findall(r"^\| (`[^|]+`) \|", page, re.MULTILINE)
    known = [as_options(sentence) for sentence in sentences()]
    assert len(cells) > 25
    for cell in cells:
        words = [part.strip(" :`") for part in re.split("…", cell)]
        pattern = ".*".join(re.escape(part) for part in words if part)
        assert any(re.search(pattern, sentence, re.DOTALL) for sentence in known), cell


NOT_INSTALLED = {"dask_kubernetes", "dask_jobqueue"}
"""Packages of examples that are compiled only: they need a cluster."""
OPTIONAL = {"librosa", "torch"}
"""Packages whose examples run if they are there."""


def python_blocks() -> list[tuple[str, str]]:
    """Return page and code of every Python block."""
    pattern = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(page.name, code) for page in PAGES for code in pattern.findall(page.read_text("utf-8"))]


@pytest.mark.filterwarnings("ignore:.* is deprecated and slated for removal:DeprecationWarning")  # of librosa's imports
@pytest.mark.parametrize(("page", "code"), python_blocks(), ids=lambda text: text[:40])
def test_python_in_pages_runs(page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = compile(code, page, "exec")
    if NOT_INSTALLED & set(re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE)):
        return
    for package in OPTIONAL & set(re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE)):
        pytest.importorskip(package)
    samples, rate = soundfile.read(ROOT / "examples" / "street.flac", frames=96000, dtype="float32")
    soundfile.write(tmp_path / "noisy.wav", samples, rate)
    monkeypatch.chdir(tmp_path)
    exec(compiled, {"samples": samples})


def test_every_exported_name_is_explained() -> None:
    assert all(getattr(percepnet_cli, name) for name in percepnet_cli.__all__)
    for name in set(percepnet_cli.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(percepnet_cli, name)), name


def test_stated_latency_is_the_constant() -> None:
    assert constants.LATENCY_SAMPLES == 1440
    assert "latency = 1440 samples" in (ROOT / "README.md").read_text("utf-8")
