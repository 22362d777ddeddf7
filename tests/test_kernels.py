"""Compiled code: each kernel for one set of types, compiled once and kept, and never out of date."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from percepnet_cli.compute import cpu, jit

PACKAGE = Path(jit.__file__).parents[1]

pytestmark = pytest.mark.service

SESSION = """
import importlib, json, pkgutil, sys
from pathlib import Path

import numpy as np

import percepnet_cli
from percepnet_cli import Denoiser, load_model
from percepnet_cli.training.data import filters, noise_synthesis, tones
from percepnet_cli.training.data.mixture import Mixture
from percepnet_cli.training.data.targets import example

rng = np.random.default_rng(1)
samples = rng.standard_normal(70 * 480).astype(np.float32) / 10
model = load_model(Path(sys.argv[1]))
for channels in (1, 2):
    denoiser = Denoiser(model, channels=channels, attenuation_limit_db=20.0)
    for start, end in ((0, 100), (100, 480), (480, 480 * 66), (480 * 66, None)):
        denoiser.process(np.stack([samples[start:end]] * channels, axis=1))
    denoiser.flush()
example(Mixture(samples, samples / 2, 24000.0, 24000.0), 0.5)
noise_synthesis.cross_synthesis(samples, samples[::-1].copy())
filters.random_filter(samples, np.random.default_rng(5))
filters.active_rms(samples)
filters.convolve(samples, samples[:1000])
tones.horn(len(samples), np.random.default_rng(5))
coefficients = np.array([1.0, 0.5, 0.1])
filters.biquad(samples, coefficients, coefficients, np.empty_like(samples))

found = {}
for module in pkgutil.walk_packages(percepnet_cli.__path__, "percepnet_cli."):
    if module.name in sys.modules:
        for name, value in vars(sys.modules[module.name]).items():
            if hasattr(value, "signatures") and hasattr(value, "py_func"):
                kernel = f"{value.py_func.__module__}.{value.py_func.__name__}"
                hits, misses = (sum(c.values()) for c in (value.stats.cache_hits, value.stats.cache_misses))
                found[kernel] = {"signatures": [str(s) for s in value.signatures], "misses": misses, "hits": hits}
print(json.dumps(found))
"""


def session(model, **environment):
    """Run denoiser and targets in a process of their own; return what is known of each kernel."""
    command = [sys.executable, "-W", "error", "-c", SESSION, model]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def model(make_models, tmp_path_factory):
    from percepnet_cli.network.modelfile import model_bytes

    model = make_models()[0]
    path = tmp_path_factory.mktemp("kernels") / "model.safetensors"
    path.write_bytes(model_bytes(model.tensors, model.sizes, "int8", {}))
    return path


@pytest.fixture(scope="module")
def runs(model):
    """Two processes, one after the other, with the cache of the tests; the first one fills what it lacks."""
    return session(model), session(model)


def helpers(kernels):
    """Names of kernels that another kernel's source calls."""
    names = {name.rpartition(".")[2] for name in kernels}
    called = set()
    for path in PACKAGE.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef) and any(
                getattr(d, "id", None) in ("kernel", "fast_kernel", "part") for d in function.decorator_list
            ):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call):
                        called.add(getattr(node.func, "id", getattr(node.func, "attr", None)))
    return names & called


def test_every_kernel_is_compiled_for_one_set_of_types(runs):
    for kernels in runs:
        assert len(kernels) > 25
        several = {name.rpartition(".")[2] for name, k in kernels.items() if len(k["signatures"]) > 1}
        assert several <= {"make_room"}  # delay lines are of several types
        unused = {name.rpartition(".")[2] for name, k in kernels.items() if not k["signatures"]}
        others = {"plain_matmul_int8"} if cpu.isa() != "portable" else {"matmul_int8"}
        others.add("run_hops")  # of the speech probability, which nobody asked for
        assert unused <= helpers(kernels) | others  # those are part of their callers


def test_a_second_process_compiles_nothing(runs):
    second = runs[1]
    assert {name: k["misses"] for name, k in second.items() if k["misses"]} == {}
    assert sum(k["hits"] for k in second.values()) > 15


def python(code, *arguments, **environment):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)


USE_A_KERNEL = """
import numpy as np
from percepnet_cli.compute import cpu, jit
from percepnet_cli.dsp import highpass
out = np.zeros(480, np.float32)
highpass.filter_hops(np.ones((1, 480), np.float32), highpass.new_state(), out)
print(out[0] == np.float32(highpass.B0), jit.CACHE_DIR, jit.is_cold())
"""


def test_a_first_process_compiles_and_is_told_so(tmp_path):
    code = "from percepnet_cli.compute import jit\nprint(jit.is_cold())\n" + USE_A_KERNEL
    done = python(code, PERCEPNET_CACHE_DIR=str(tmp_path / "a" / "b"))
    assert done.stderr == "" and done.returncode == 0
    cold, (value, folder, still_cold) = done.stdout.splitlines()[0], done.stdout.splitlines()[1].split()
    assert (cold, value, still_cold) == ("True", "True", "False")
    assert Path(folder).parent == tmp_path / "a" / "b" and list(Path(folder).rglob("*filter_hops*.nbi"))
    assert not [p for p in (tmp_path / "a" / "b").rglob(".probe*")]


def test_what_waits_for_compiling_is_told_once_and_only_then(tmp_path):
    code = "from percepnet_cli.compute import kernel_cache\nkernel_cache.before_compiling(lambda: print('compiling'))\n"
    outputs = [python(code + USE_A_KERNEL, PERCEPNET_CACHE_DIR=str(tmp_path)).stdout for _ in range(2)]
    assert [output.split().count("compiling") for output in outputs] == [1, 0]


def test_what_a_fast_kernel_calls_stays_strict(tmp_path):
    """numba hands fast math down to what is compiled for a call, and the disk would keep it for the signal path."""
    code = """
import numpy as np
from percepnet_cli.dsp import bands
from percepnet_cli.training.data import noise_synthesis
samples = np.random.default_rng(1).standard_normal(4800).astype(np.float32)
noise_synthesis.cross_synthesis(samples, samples[::-1].copy())
(text,) = bands.interpolate.inspect_llvm().values()
print(" fmul " in text, [flag for flag in ("reassoc", "contract", "nsz", "arcp") if flag in text])
"""
    done = python(code, PERCEPNET_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True []"


def test_where_nothing_can_be_kept_it_works_with_a_warning(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    done = python(USE_A_KERNEL, PERCEPNET_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "None", "True"]
    assert done.stderr.count("RuntimeWarning") == 1 and "PERCEPNET_CACHE_DIR" in done.stderr
    assert str(tmp_path / "file" / "cache") in done.stderr


def test_the_user_s_own_numba_settings_are_left_alone(tmp_path):
    code = "import numba, percepnet_cli.dsp.highpass\nprint(numba.config.CACHE_DIR)"
    done = python(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.stdout.strip() == str(tmp_path) and not list(tmp_path.iterdir())


def test_the_cache_lies_below_the_user_s_cache_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("PERCEPNET_CACHE_DIR", str(tmp_path / "own"))
    assert jit._cache_root() == tmp_path / "own"
    monkeypatch.delenv("PERCEPNET_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert jit._cache_root() == tmp_path / "xdg" / "percepnet"


@pytest.fixture
def package_copy(tmp_path, monkeypatch):
    """The package's sources elsewhere, and the hash that names their cache folder."""
    copy = Path(shutil.copytree(PACKAGE, tmp_path / "percepnet_cli", ignore=shutil.ignore_patterns("__pycache__")))
    monkeypatch.setattr(jit, "__file__", str(copy / "compute" / "jit.py"))
    return copy, jit._source_hash()


def test_any_edit_of_any_source_gives_another_cache_folder(package_copy):
    copy, before = package_copy
    sources = sorted(copy.rglob("*.py"))
    assert copy / "constants.py" in sources and copy / "dsp" / "pitch.py" in sources
    for path in sources:
        text = path.read_text("utf-8")
        path.write_text(text + "\n", "utf-8")
        assert jit._source_hash() != before, path
        path.write_text(text, "utf-8")
    assert jit._source_hash() == before
    (copy / "dsp" / "new.py").touch()
    assert jit._source_hash() != before


def test_another_form_of_the_product_gives_another_cache_folder(package_copy, monkeypatch):
    monkeypatch.setattr(jit, "isa", lambda: "abacus")
    assert jit._source_hash() != package_copy[1]


def test_other_files_and_the_place_of_the_package_do_not_matter(package_copy):
    copy, before = package_copy
    (copy / "py.typed").write_text("x")
    (copy / "dsp" / "notes.txt").write_text("x")
    assert jit._source_hash() == before


def test_another_numba_gives_another_cache_folder(package_copy, monkeypatch):
    monkeypatch.setattr(jit.numba, "__version__", "0.0.0")
    assert jit._source_hash() != package_copy[1]


def test_kernels_keep_nan_and_infinity():
    @jit.kernel
    def check(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(x.shape[0]):
            out[i] = 1.0 if np.isnan(x[i]) else (2.0 if np.isinf(x[i]) else 3.0)

    out = np.zeros(3)
    check(np.array([np.nan, np.inf, 1.0]), out)
    assert out.tolist() == [1, 2, 3]
