"""What no tool says about the sources: doors, sizes, packages. `make lint` says the rest."""

from __future__ import annotations

import ast
import os
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "percepnet_cli"
FILES = sorted(PACKAGE.rglob("*.py"))

MOST_ROOT_MODULES = 9
LONGEST_FILE = 330
"""Lines, without blank ones and comments: nobody shall save on those."""
DOORS = {
    "numba": [
        "compute/*.py",
        "network/dot_extern.py",
        "network/dot_tiles.py",
        "live/atomics.py",
        "live/exchange.py",
        "live/worker.py",
        "live/pulse_callback.py",
        "export/portable.py",
    ],
    "llvmlite": [
        "compute/*.py",
        "network/dot_extern.py",
        "network/dot_tiles.py",
        "live/atomics.py",
        "export/native.py",
    ],
    "soundfile": ["audio/sndfile.py", "audio/sndfile_encoder.py"],
    "mutagen": ["audio/tags.py"],
    "soxr": ["audio/resample.py"],
    "sounddevice": ["live/portaudio.py"],
    "distributed": ["parallel/cluster.py"],
    "fsspec": ["storage/remote.py"],
    "torch": [
        *(f"training/model/{name}.py" for name in ("torch_model", "recurrence", "tiled_recurrence", "products")),
        *(f"training/{name}.py" for name in ("losses", "loudness", "checkpoint", "trainer", "train")),
        *(f"training/{name}.py" for name in ("feeder", "sampler", "processes")),
        *(f"training/{name}.py" for name in ("objective", "optimizers", "validation")),
        "cli/train.py",
    ],
    "matplotlib": ["plotting/figure.py"],
    "pesq": ["metrics/perceptual.py"],
    "pystoi": ["metrics/perceptual.py"],
    "speechmos": ["metrics/perceptual.py"],
    "pocketsphinx": ["metrics/recognition.py"],
    "click": ["cli/*.py"],
    "tqdm": ["cli/*.py", "training/train.py"],
    "scipy": [],
}
"""Third-party modules and the files that may import them."""


def test_few_modules_lie_at_the_root_of_the_package():
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert len(modules) <= MOST_ROOT_MODULES, sorted(modules)


def test_every_folder_is_a_package_that_is_built(monkeypatch):
    setuptools = pytest.importorskip("setuptools")
    built = []
    monkeypatch.setattr(setuptools, "setup", lambda packages, **settings: built.extend(packages))
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py", run_name="__main__")
    folders = {path.parent.relative_to(ROOT) for path in FILES}
    outside = ["percepnet_cli.examples", "percepnet_cli.models"]
    assert sorted(built) == sorted([*(".".join(folder.parts) for folder in folders), *outside])


def test_no_file_is_long():
    lines = {}
    for path in FILES:
        stripped = (line.strip() for line in path.read_text("utf-8").splitlines())
        lines[str(path.relative_to(PACKAGE))] = sum(bool(line) and not line.startswith("#") for line in stripped)
    assert {name for name, count in lines.items() if count > LONGEST_FILE} == set()


@cache
def tree(path):
    return ast.parse(path.read_text("utf-8"))


@cache
def imported(path):
    """Top-level names of the modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("module", DOORS)
def test_third_party_modules_come_in_by_their_doors(module):
    users = [path for path in FILES if module in imported(path)]
    allowed = [path for pattern in DOORS[module] for path in PACKAGE.glob(pattern)]
    assert [str(p.relative_to(PACKAGE)) for p in users if p not in allowed] == []


def test_nothing_is_patched():
    """Attributes are set by name for layers of torch and tags of a file, not to replace functions."""
    users = [path for path in FILES if "setattr" in {getattr(n, "id", "") for n in ast.walk(tree(path))}]
    assert {str(p.relative_to(PACKAGE)) for p in users} == {"audio/sndfile_encoder.py", "training/model/torch_model.py"}


def test_every_dependency_has_a_door_or_is_a_common_language():
    common = {"numpy", "safetensors", "percepnet_cli", *sys.stdlib_module_names}
    found = {name for path in FILES for name in imported(path)}
    assert found - common - set(DOORS) == set()


def test_a_bare_import_loads_nothing_heavy():
    code = (
        "import sys, percepnet_cli\nprint(*(m for m in ('numpy', 'numba', 'torch', 'soundfile') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == ""


def test_denoising_needs_nothing_of_what_trains():
    heavy = ("torch", "matplotlib", "tqdm", "click", "sounddevice", "soundfile")
    code = f"import sys, percepnet_cli.denoiser\nprint(*(m for m in {heavy} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() == ""


def test_every_module_of_the_signal_path_and_the_network_has_tests_for_its_mutants():
    """Those that ``tests/quality/mutants.py`` runs, and there are such tests."""
    script = (PACKAGE.parent / "tests" / "quality" / "mutants.py").read_text("utf-8")
    found = next(
        ast.literal_eval(node.value)
        for node in ast.parse(script).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "TESTS"
    )
    modules = {f"{folder}/{path.stem}" for folder in ("dsp", "network") for path in (PACKAGE / folder).glob("*.py")}
    assert set(found) == {name for name in modules if not name.endswith("__init__")}
    tests = {path.stem for path in (PACKAGE.parent / "tests").glob("test_*.py")}
    assert {name for names in found.values() for name in names} <= tests
