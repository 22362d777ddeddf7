"""What the tools and the house rules say about the sources: style, types, layers, doors, size, docstrings."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "percepnet_cli"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in FILES]

LONGEST_FILE = 330
"""Lines, without blank ones and comments: nobody shall save on those."""
LONG_FILES = {
    "training/trainer.py": "the state of a run and all that is done to it; to be parted into step and validation",
    "training/data/shards.py": "the format, its reader and its writer",
}
"""Files that may be longer, with the reason."""

DOORS = {
    "numba": ["compute/*.py", "network/dot_tiles.py", "live/atomics.py", "live/exchange.py"],
    "llvmlite": ["compute/*.py", "network/dot_tiles.py", "live/atomics.py"],
    "soundfile": ["audio/files.py"],
    "soxr": ["audio/resample.py"],
    "sounddevice": ["live/portaudio.py"],
    "distributed": ["parallel/cluster.py"],
    "fsspec": ["storage/remote.py"],
    "torch": [
        *(f"training/model/{name}.py" for name in ("torch_model", "recurrence", "products")),
        *(f"training/{name}.py" for name in ("losses", "loudness", "checkpoint", "trainer", "train")),
        *(f"training/{name}.py" for name in ("feeder", "sampler", "processes")),
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


def run(tool, *arguments):
    program = Path(sys.executable).parent / tool
    done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{tool} {' '.join(arguments)}\n{done.stdout}{done.stderr}"


def test_ruff_finds_nothing():
    run("ruff", "check")


def test_the_code_is_formatted():
    run("ruff", "format", "--check")


def test_mypy_finds_nothing():
    run("mypy")


def test_imports_go_one_way():
    run("lint-imports")


@pytest.mark.parametrize("name", NAMES)
def test_no_file_is_long(name):
    text = (PACKAGE / name).read_text("utf-8")
    lines = sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in text.splitlines())
    assert lines <= LONGEST_FILE or name in LONG_FILES
    assert lines > LONGEST_FILE or name not in LONG_FILES, "the exception is no longer needed"


def imported(tree):
    """Top-level names of the modules that a file imports, anywhere in it, other than for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("module", DOORS)
def test_third_party_modules_come_in_by_their_doors(module):
    users = [path for path in FILES if module in imported(ast.parse(path.read_text("utf-8")))]
    allowed = [path for pattern in DOORS[module] for path in PACKAGE.glob(pattern)]
    assert [str(p.relative_to(PACKAGE)) for p in users if p not in allowed] == []


def test_every_dependency_has_a_door_or_is_a_common_language():
    common = {"numpy", "safetensors", "percepnet_cli", *sys.stdlib_module_names}
    found = {name for path in FILES for name in imported(ast.parse(path.read_text("utf-8")))}
    assert found - common - set(DOORS) == set()


def public(tree):
    """Public functions, classes and methods with their names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from ((f"{node.name}.{name}", inner) for name, inner in public(node))


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_public_says_what_it_does(name):
    tree = ast.parse((PACKAGE / name).read_text("utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    silent = [
        label
        for label, node in public(tree)
        if not ast.get_docstring(node) and not any("overload" in ast.unparse(d) for d in node.decorator_list)
    ]
    assert silent == []


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
