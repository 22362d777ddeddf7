"""The documentation says what the program does."""

from __future__ import annotations

import ast
import inspect
import json
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
from percepnet_cli.network.shipped import measured

ROOT = Path(__file__).resolve().parent.parent
OTHERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "models/README.md")]
PAGES = sorted([*OTHERS, *(ROOT / "docs").glob("*.md")])


def test_option_tables_are_up_to_date() -> None:
    result = subprocess.run(
        [sys.executable, "docs/generate.py", "--check", "options"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_the_table_beside_what_is_published_follows_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scripts of docs/ be imported."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))


def test_numbers_of_speed_and_quality_follow_the_records(scripts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import benchmarks
    import costs
    import quality

    changes = (
        (benchmarks, ("times_realtime", 4321)),
        (quality, ("clean_pesq_mean", 4.321)),
        (costs, ("input_mb", 4321)),
    )
    for module, change in changes:
        name, number = change
        changed = json.loads(re.sub(rf'"{name}": [\d.]+', f'"{name}": {number}', json.dumps(module.record())))
        before = [make() for make in module.BLOCKS.values()]
        monkeypatch.setattr(module, "record", lambda changed=changed: changed)
        after = [make() for make in module.BLOCKS.values()]
        assert before != after and any("432" in text for text in after)


def test_the_tables_of_speed_do_without_other_programs(scripts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import benchmarks
    import quality

    alone = {**benchmarks.record(), "beside": {}}
    monkeypatch.setattr(benchmarks, "record", lambda: alone)
    assert "RNNoise" not in benchmarks.speed_table()
    own = f"{alone['models'][constants.DEFAULT_FILE_MODEL]['times_realtime']:.0f}"
    assert f"| model `{constants.DEFAULT_FILE_MODEL}`, for files | {own} |" in benchmarks.speed_table()
    assert f"{own} times" in quality.three_numbers()
    assert "PEERS=" in benchmarks.beside_table()


def test_the_record_of_quality_agrees_with_that_of_the_models(scripts: None) -> None:
    import quality

    systems = quality.record()["systems"]
    for name, record in measured().items():
        other = "no post-filter" if record["post_filter"] else "with post-filter"
        for label, scores in ((f"model {name}", record["scores"]), (f"model {name}, {other}", record["otherwise"])):
            for score, value in systems[label]["mean"].items():
                assert value == pytest.approx(scores[score], abs=0.051), (label, score)


def test_no_page_is_read_to_make_another(scripts: None) -> None:
    import generate

    for path in (ROOT / "docs").glob("*.py"):
        read = re.findall(r'[\w/]+\.md"?\)?\.read_text', path.read_text("utf-8"))
        assert read == [], path.name
    assert "<!-- speed -->\n| |" in generate.renewed("<!-- speed -->\nold\n<!-- end -->")
    with pytest.raises(KeyError, match="nobody"):
        generate.renewed("<!-- nobody -->\n<!-- end -->")


def test_exit_codes_and_environment_stand_once() -> None:
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    for word in ("## Exit codes", "## Environment", "PERCEPNET_ISA", "| `130` |"):
        assert page.count(word) == 1, word


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
        assert used <= known | FOREIGN_OPTIONS | developers | {"--help", "--version"}, page.name


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
