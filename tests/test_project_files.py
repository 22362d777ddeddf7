"""The files that tools of others read: they parse, and say what the project says."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
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


def test_the_workflow_tries_the_lowest_versions_and_looks_for_known_holes():
    jobs = load(".github/workflows/tests.yml")["jobs"]
    run = {name: " ; ".join(step.get("run", "") for step in job["steps"]) for name, job in jobs.items()}
    python = [step["with"]["python-version"] for step in jobs["lowest"]["steps"] if "setup-python" in str(step)]
    assert python == [re.search(r'^requires-python = ">=([\d.]+)"$', PYPROJECT, re.MULTILINE)[1]]
    assert "--resolution lowest-direct .[test]" in run["lowest"] and "-m pytest" in run["lowest"]
    assert "pip_audit ." in run["audit"]
    assert "make test" in run["everything"] and "make dist" in run["everything"]

    # The lowest versions are tried only of what has one
    needed = re.search(r"^dependencies = \[\n(.*?)^\]", PYPROJECT, re.MULTILINE | re.DOTALL)[1]
    assert all(re.fullmatch(r'  "[\w-]+>=[\d.]+",', line) for line in needed.splitlines()), needed


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


def script(path):
    """Import a script of the project; return its module."""
    spec = importlib.util.spec_from_file_location(f"project_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup_script():
    """setup.py, which does nothing when it is imported."""
    return script(ROOT / "setup.py")


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
    hash_pairs = script(ROOT / "tests" / "quality" / "hash_pairs.py")
    contents = {"clean/B.flac": b"1", "clean/a.flac": b"2", "noisy/B.flac": b"3", "noisy/a.flac": b""}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    # what LC_ALL=C sha256sum clean/* noisy/* prints
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    assert hash_pairs.pairs_sha256(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()

    (tmp_path / "noisy" / "a.flac").unlink()
    with pytest.raises(ValueError, match="recordings of the same names"):
        hash_pairs.pairs_sha256(tmp_path)
    page = (ROOT / "docs" / "references.md").read_text("utf-8")
    assert re.search(r"^\| `dev36` \|.*\| `[0-9a-f]{64}` \|$", page, re.MULTILINE)


def test_the_root_of_a_checkout_hides_no_model(tmp_path):
    """Python finds the package there first, beside an installed wheel too, but not the models in it."""
    packages = sysconfig.get_path("purelib")  # as a path, which leaves out editable installs
    environment = os.environ | {"PYTHONPATH": packages, "PERCEPNET_CACHE_DIR": str(tmp_path)}
    for arguments in (["--version"], ["models", "--json"]):
        command = [sys.executable, "-S", "-m", "percepnet_cli", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and "percepnet" in done.stdout, done.stderr


@pytest.mark.service
def test_two_builds_have_the_same_bytes_and_no_program_of_the_examples(tmp_path):
    """From folders with other modes, in other zones; the second wheel is built from the source archive."""

    def build(kind, source, zone):
        out = Path(tempfile.mkdtemp(dir=tmp_path))
        code = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000", "TZ": zone}
        subprocess.run(
            [sys.executable, "-c", code, str(out)], cwd=source, env=environment, check=True, capture_output=True
        )
        (made,) = out.iterdir()
        return made

    sources = tmp_path / "a", tmp_path / "other"
    for source in sources:
        source.mkdir()
        for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        for name in ("percepnet_cli", "models", "examples", "tests"):
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    (sources[1] / "LICENSE").chmod(0o600)
    (sources[1] / "percepnet_cli" / "py.typed").chmod(0o755)

    archive, again = build("sdist", sources[0], "UTC"), build("sdist", sources[1], "Asia/Kathmandu")
    assert archive.name == again.name and archive.read_bytes() == again.read_bytes()
    with tarfile.open(archive) as opened:
        names = {Path(*Path(member.name).parts[1:]).as_posix() for member in opened}
        opened.extractall(tmp_path, filter="data")
    assert not any(name.startswith(("tests", "docs")) for name in names)

    wheel = build("wheel", sources[1], "Asia/Kathmandu")
    assert build("wheel", tmp_path / archive.name.removesuffix(".tar.gz"), "UTC").read_bytes() == wheel.read_bytes()
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if "/examples/" in name}
    assert held == {f"percepnet_cli/examples/{name}" for name in ("README.md", "waves.opus")}


def test_the_bill_of_materials_follows_what_is_needed():
    pytest.importorskip("packaging")
    distribution = script(ROOT / "tests" / "distribution.py")
    packages = distribution.needed()
    assert {"click", "numba", "soundfile"} < set(packages["percepnet-cli"])
    assert "cffi" in packages["soundfile"] and "llvmlite" in packages["numba"]
    assert set(packages) == {"percepnet-cli"}.union(*packages.values())
    assert "torch" not in packages and "pytest" not in packages  # of extras

    bill = distribution.bill(packages)
    references = {part["bom-ref"] for part in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert len(references) == len(packages)
    for entry in bill["dependencies"]:
        assert entry["ref"] in references and set(entry["dependsOn"]) <= references
    stated = {part["name"]: part["licenses"] for part in bill["components"]}
    assert "LGPL" in str(stated["soxr"]) and "BSD" in str(stated["numba"])
    table = distribution.licenses(packages)
    assert table.count("\n") == len(packages) + 2 and "not stated" not in table
    assert set(distribution.LIBRARIES) <= set(packages)
