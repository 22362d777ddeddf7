"""What the machine is, what a process takes of it, and what it can do at most."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from percepnet_cli.compute.cpu import isa
from percepnet_cli.compute.jit import kernel
from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.network import dot
from percepnet_cli.network.graph import matrices
from percepnet_cli.network.modelfile import Model
from percepnet_cli.version import __version__

SMALLEST_HUGE = 4 << 20
"""Bytes from which on NumPy asks for huge pages."""


class Cost(NamedTuple):
    """What a process took."""

    cpu_seconds: float
    wall_seconds: float
    peak_memory_mib: float


def describe() -> dict[str, str]:
    """Return names and versions of what a measurement depends on."""
    return {
        "percepnet": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "processor": processor(),
        "kernel": isa(),
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def resident_mib() -> float | None:
    """Return the memory that this process holds now, or None where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError):
        return None


MEASURE = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, used.ru_utime + used.ru_stime, time.perf_counter() - start, used.ru_maxrss]))
"""
"""A small process that starts the one to be measured: Linux counts the memory of who starts a process as its own."""


def cost_of(command: list[str]) -> Cost | None:
    """Run a command to its end and return what it took; None where the system does not tell.

    Raises OSError if it fails.
    """
    if sys.platform == "win32":
        return None
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=True)
    code, cpu_seconds, wall_seconds, peak = json.loads(done.stdout)
    if code:
        raise OSError(f"'{' '.join(command)}' ended with {code}")
    return Cost(cpu_seconds, wall_seconds, peak / (2**20 if sys.platform == "darwin" else 2**10))


@kernel
def _read_all(words: np.ndarray, out: np.ndarray) -> None:
    """Read everything once. words: int64 [n]; out: int64 [1], written."""
    total = np.int64(0)
    for i in range(words.shape[0]):
        total ^= words[i]
    out[0] = total


class Limit(NamedTuple):
    """What this machine would need at least for the 8-bit products of one hop in blocks, us."""

    recurrent_us: float
    """Weights that must be read anew for every hop, over the speed at which the largest such matrix can be read."""
    batched_us: float
    """Products that serve many hops, over the rate of the kernel with all its data in the first cache."""
    read_gb_per_s: float
    rate_gmac_per_s: float
    live_us: float
    """CPU time of sleeping until the next hop by the clock and then reading all weights once, nothing else."""


def limit_of(model: Model) -> Limit:
    """Measure the machine's two rates and divide the model's weights by them."""
    sizes = {name: int(np.prod(shape)) for name, shape in matrices(model.sizes).items()}
    recurrent = sum(size for name, size in sizes.items() if name.endswith("weight_hh"))
    batched = sum(sizes.values()) - recurrent - sizes["dense.weight"]
    largest = max(size for name, size in sizes.items() if name.endswith("weight_hh"))
    words, out = np.zeros(max(1, largest // 8), np.int64), np.zeros(1, np.int64)
    read = 8 * len(words) / _best_seconds(lambda: _read_all(words, out))
    rows, columns, hops = 48, 256, 64
    packed, vectors = dot.pack(np.ones((rows, columns), np.int8)), np.ones((hops, columns), np.int8)
    sums = np.zeros((hops, dot.padded(rows)), np.int32)
    rate = rows * columns * hops / _best_seconds(lambda: dot.matmul_int8(packed, vectors, sums))
    live = _live_seconds(sum(sizes.values()))
    return Limit(1e6 * recurrent / read, 1e6 * batched / rate, read / 1e9, rate / 1e9, 1e6 * live)


def _live_seconds(size: int) -> float:
    """Return the CPU seconds per hop of reading so many bytes every 10 ms by the clock, over half a second."""
    buffer = np.zeros(max(size, SMALLEST_HUGE), np.uint8)  # on huge pages, as the weights are
    words, out = buffer[: size // 8 * 8].view(np.int64), np.zeros(1, np.int64)
    _read_all(words, out)
    hops, hop_seconds = 50, HOP_SIZE / SAMPLE_RATE
    begin, cpu = time.perf_counter(), time.process_time()
    for hop in range(hops):
        time.sleep(max(0.0, begin + hop * hop_seconds - time.perf_counter()))
        _read_all(words, out)
    return (time.process_time() - cpu) / hops


def _best_seconds(function: Callable[[], object]) -> float:
    """Return the shortest time of a call, from 20 series of calls of some 2 ms."""
    function()
    start = time.perf_counter()
    function()
    calls = max(1, int(2e-3 / max(time.perf_counter() - start, 1e-7)))
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        best = min(best, (time.perf_counter() - start) / calls)
    return best
