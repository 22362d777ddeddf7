"""Compiling ahead, and what start-up costs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from percepnet_cli.compute import cpu


def program(*arguments, **environment):
    command = [sys.executable, "-m", "percepnet_cli", *map(str, arguments)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    done.cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done


LIVE = """
import time
import numpy as np
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.live import exchange
from percepnet_cli.live.chain import Chain
from percepnet_cli.live.engine import Engine, Ring

chain = Chain(Denoiser("lite"), 48000)
chain.warm_up(480)
ring, block = Ring(1, 1, 48000, 1920), np.ones(480, np.float32)
engine = Engine(chain, ring, 480)
engine.start()
for number in range(90):
    engine.bypass = 30 <= number < 60
    exchange.stream_callback.ctypes(block.ctypes.data, block.ctypes.data, 480, 0, 0, ring.address)
    time.sleep(0.01)
engine.stop()
assert engine.failure is None and engine.levels.frames
"""


@pytest.mark.slow
def test_warmup_compiles_everything_that_denoising_needs(tmp_path):
    soundfile.write(tmp_path / "in.wav", np.random.default_rng(1).uniform(-0.1, 0.1, (48000, 2)), 44100)
    cache = str(tmp_path / "cache")
    first = program("warmup", PERCEPNET_CACHE_DIR=cache)
    assert first.returncode == 0 and first.stderr.startswith("compiling the kernels (first run only")
    assert f"{cpu.isa()}) compiled in" in first.stdout and cache in first.stdout
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nb?")}
    assert len(kept) > 20
    again = program("warmup", PERCEPNET_CACHE_DIR=cache)
    assert again.stderr == "" and "were compiled" in again.stdout
    done = subprocess.run([sys.executable, "-c", LIVE], env=os.environ | {"PERCEPNET_CACHE_DIR": cache}, timeout=60)
    assert done.returncode == 0
    for model in ("lite", "studio"):
        files = tmp_path / "in.wav", tmp_path / f"{model}.wav"
        done = program("denoise", "--model", model, *files, PERCEPNET_CACHE_DIR=cache)
        assert done.returncode == 0 and done.stderr == ""
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nb?")} == kept


@pytest.mark.slow
def test_warmup_fails_where_nothing_can_be_kept(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    done = program("warmup", PERCEPNET_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert done.returncode == 1 and "no folder to keep them in" in done.stderr


@pytest.mark.alone
def test_help_costs_little():
    # 0.06 s on the machine of docs/benchmarks.md; the best of three, with room for a slow and busy one
    assert min(program("--help").cpu_seconds for _ in range(3)) < 0.3


@pytest.mark.alone
def test_a_warm_run_costs_little_and_leaves_scipy_alone(tmp_path):
    pytest.importorskip("scipy")
    soundfile.write(tmp_path / "in.wav", np.random.default_rng(1).uniform(-0.1, 0.1, 48000), 48000)
    assert program("denoise", tmp_path / "in.wav", tmp_path / "out.wav").returncode == 0
    best = min(program("denoise", "--force", tmp_path / "in.wav", tmp_path / "out.wav").cpu_seconds for _ in range(3))
    assert best < 1.6  # 0.6 s on the machine of docs/benchmarks.md
    # numba looks at SciPy's version; its matrix products, which no kernel uses, would take 0.3 s
    code = (
        "import sys, numpy, percepnet_cli.denoiser\n"
        "percepnet_cli.denoiser.Denoiser().process(numpy.zeros(480, 'f'))\n"
        "assert 'scipy.linalg' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
