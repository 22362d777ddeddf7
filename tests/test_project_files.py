"""The files that tools of others read: they parse, and say what the project says."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import pytest

import percepnet_cli

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
FORMS = sorted(set((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) - {ROOT / ".github/ISSUE_TEMPLATE/config.yml"})


def load(path):
    """Return what a YAML file of the project holds."""
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
def test_issue_forms_have_what_a_form_needs(form):
    content = load(form)
    assert content["name"] and content["description"]
    fields = [part for part in content["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in fields}) == len(fields) > 0
    assert all(part["attributes"]["label"] for part in fields)
    assert isinstance(load(form.with_name("config.yml"))["blank_issues_enabled"], bool)


def test_the_workflow_tries_the_oldest_and_the_newest_python_everywhere():
    workflow = load(".github/workflows/tests.yml")
    matrix = workflow["jobs"]["check"]["strategy"]["matrix"]
    oldest = re.search(r'^requires-python = ">=([\d.]+)"$', PYPROJECT, re.MULTILINE)[1]
    assert matrix["python"][0] == oldest
    systems = " ".join(matrix["os"])
    assert all(name in systems for name in ("ubuntu-latest", "-arm", "macos", "windows"))


def test_the_workflow_runs_what_make_runs():
    steps = [step.get("run", "") for step in load(".github/workflows/tests.yml")["jobs"]["check"]["steps"]]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    parallel = re.search(r"^PARALLEL = \$\(BIN\)/(.*)$", makefile, re.MULTILINE)[1]
    quick = re.search(r"^check:.*\n\t\$\(PARALLEL\) (.*)$", makefile, re.MULTILINE)[1]
    assert f"{parallel} {quick}".replace("'", '"') in steps


def test_a_commit_is_checked_by_the_tools_of_make_lint():
    hooks = [hook for repository in load(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    tools = {hook["entry"].split()[0] for hook in hooks}
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[1]
    assert tools == {f".venv/bin/{tool}" for tool in re.findall(r"\$\(BIN\)/([\w-]+)", lint)}


def test_the_citation_has_this_version_and_license():
    citation = load("CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and citation["title"] and citation["message"] and citation["authors"]
    assert citation["version"] == percepnet_cli.__version__
    assert f'license = "{citation["license"]}"' in PYPROJECT
    (publication,) = citation["references"]
    assert publication["authors"][0]["family-names"] == "Valin" and publication["year"] == 2020


def test_paths_in_the_guide_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    paths = [path for path in re.findall(r"`([\w./-]+/[\w./-]*)`", text) if not path.startswith(".")]
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_names_in_the_guide_exist():
    from percepnet_cli.evaluation.report import COLUMNS
    from percepnet_cli.metrics.scores import NEEDED, SCORES
    from percepnet_cli.training.options import Options

    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert all(f"`{name}`" in text for name in ("COLUMNS", "NEEDED", "SCORES", "Options"))
    assert COLUMNS and NEEDED and SCORES and Options


@pytest.fixture
def setup_script():
    """setup.py, which does nothing when it is imported."""
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_package_index_gets_a_readme_without_relative_links(setup_script):
    readme = (ROOT / "README.md").read_text("utf-8")
    relative = r"\]\((?!https?:)"
    assert re.search(relative, readme)

    plain = setup_script.description(readme, PYPROJECT.replace("# [project.urls]", ""))
    assert not re.search(relative, plain) and "![" not in plain and "listening page" in " ".join(plain.split())

    project = PYPROJECT + '\n[project.urls]\nHome = "https://other.example"\nSource = "https://example.org/p/"\n'
    linked = setup_script.description(readme, project)
    assert not re.search(relative, linked)
    assert "](https://example.org/p/raw/main/docs/images/before-after.png)" in linked
    assert "](https://example.org/p/raw/main/examples/street.flac)" in linked
    assert "](https://example.org/p/blob/main/docs/live.md)" in linked
    assert linked.count("](https://example.org/p/") == len(re.findall(relative, readme))
    # The rest stays as it is.
    assert re.sub(r"\([^)]*\)", "", linked) == re.sub(r"\([^)]*\)", "", readme)


def test_a_test_set_is_named_by_the_hash_that_a_shell_gives(tmp_path):
    spec = importlib.util.spec_from_file_location("hash_pairs", ROOT / "tests" / "quality" / "hash_pairs.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    contents = {"clean/B.flac": b"1", "clean/a.flac": b"2", "noisy/B.flac": b"3", "noisy/a.flac": b""}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    # what LC_ALL=C sha256sum clean/* noisy/* prints
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    assert script.pairs_sha256(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()

    (tmp_path / "noisy" / "a.flac").unlink()
    with pytest.raises(ValueError, match="recordings of the same names"):
        script.pairs_sha256(tmp_path)
    page = (ROOT / "docs" / "references.md").read_text("utf-8")
    assert re.search(r"^\| `dev36` \|.*\| `[0-9a-f]{64}` \|$", page, re.MULTILINE)
