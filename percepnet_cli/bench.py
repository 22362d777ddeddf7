"""How much of a core the denoiser takes: whole blocks, hop by hop, and stage by stage.

Everything is timed on the shipped ``Denoiser``; the stages are timed by putting a clock around
their functions while it runs.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from percepnet_cli import __version__
from percepnet_cli.constants import HOP_SIZE, LATENCY_SAMPLES, SAMPLE_RATE
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.dsp import bands, comb, features, gains, highpass, pitch, stft
from percepnet_cli.files import BLOCK_HOPS
from percepnet_cli.network import percepnet
from percepnet_cli.network.modelfile import Model, Sizes, layout, load_model, model_bytes
from percepnet_cli.network.quantize import quantize_tensors

HOP_MS = 1000 * HOP_SIZE / SAMPLE_RATE

STAGES: tuple[tuple[str, Any, str], ...] = (
    ("high-pass", highpass, "filter_hops"),
    ("window", stft, "window_hops"),
    ("transform", stft, "transform"),
    ("bands", bands, "energy"),
    ("bands", bands, "cross"),
    ("bands", bands, "coherence"),
    ("pitch", pitch.Tracker, "track"),
    ("comb", comb, "filter_hops"),
    ("features", features, "pack"),
    ("network", percepnet.State, "run"),
    ("post-filter", gains, "postfilter_hops"),
    ("mix and scale", gains.Renderer, "render"),
    ("synthesis", stft, "synthesize"),
)
"""Label, owner and name of every function that the signal path calls."""


@dataclass
class Report:
    """One measurement; times of one channel on one thread."""

    model: str
    digest: str
    weights: int
    seconds: float
    """Audio per run, s."""
    runs: int
    realtime_factor: float
    """Blocks: CPU seconds per second of audio, median of the runs."""
    times_realtime: float
    hop_us: dict[str, float]
    """Hop by hop: wall time of one hop, p50, p95, p99, max, us."""
    core_percent: float
    """Hop by hop: CPU time per hop over 10 ms."""
    stage_percent: dict[str, float]
    """Share of each stage in the time of a block run."""
    latency_ms: float
    peak_memory_mib: float | None
    noisy_machine: bool
    """Whether the runs differ by more than 10 %."""
    system: dict[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def random_model(sizes: Sizes, seed: int = 0) -> Model:
    """Make a model of a given shape from random weights, through the file format: for timing and tests only."""
    import tempfile
    from pathlib import Path

    rng = np.random.default_rng(seed)
    tensors = {}
    for name, (_, shape) in layout(sizes, "float").items():
        columns = int(np.prod(shape[1:])) or 1
        tensors[name] = (rng.standard_normal(shape) / np.sqrt(columns)).astype(np.float32)
    tensors["feature_std"] = np.ones_like(tensors["feature_std"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        path.write_bytes(model_bytes(quantize_tensors(tensors, sizes), sizes, "int8", {}))
        return load_model(path)


def measure(model: Model, samples: np.ndarray, runs: int) -> Report:
    """Time a model. samples: float32 [n] at 48 kHz, n at least 4800; runs: at least 1."""
    denoiser = Denoiser(model)
    _run_blocks(denoiser, samples[: 64 * HOP_SIZE])  # compile and warm up
    _run_hops(denoiser, samples[: 8 * HOP_SIZE])
    times = [_run_blocks(denoiser, samples) for _ in range(runs)]
    hops, hop_cpu = _run_hops(denoiser, samples)
    seconds = len(samples) // HOP_SIZE * HOP_SIZE / SAMPLE_RATE
    factor = statistics.median(times) / seconds
    p50, p95, p99, worst = np.percentile(hops, [50, 95, 99, 100]) / 1e3
    return Report(
        model=model.name,
        digest=model.digest[:12],
        weights=model.num_weights,
        seconds=seconds,
        runs=runs,
        realtime_factor=factor,
        times_realtime=1 / factor,
        hop_us={"p50": p50, "p95": p95, "p99": p99, "max": worst},
        core_percent=100 * hop_cpu / len(hops) / (HOP_MS / 1e3),
        stage_percent=_stage_shares(denoiser, samples),
        latency_ms=1000 * LATENCY_SAMPLES / SAMPLE_RATE,
        peak_memory_mib=_peak_memory_mib(),
        noisy_machine=max(times) > 1.1 * min(times),
        system={
            "percepnet": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "processor": _processor(),
        },
    )


def _run_blocks(denoiser: Denoiser, samples: np.ndarray) -> float:
    """Return the CPU seconds of a whole signal in blocks of 1.28 s, as a file is processed."""
    denoiser.reset()
    start = time.process_time()
    block = BLOCK_HOPS * HOP_SIZE
    for i in range(0, len(samples), block):
        denoiser.process(samples[i : i + block])
    return time.process_time() - start


def _run_hops(denoiser: Denoiser, samples: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the wall time of every hop by itself, ns, and the CPU seconds of all."""
    denoiser.reset()
    clock = time.perf_counter_ns
    times = np.zeros(len(samples) // HOP_SIZE)
    cpu = time.process_time()
    for hop in range(len(times)):
        start = clock()
        denoiser.process(samples[hop * HOP_SIZE : (hop + 1) * HOP_SIZE])
        times[hop] = clock() - start
    return times, time.process_time() - cpu


def _stage_shares(denoiser: Denoiser, samples: np.ndarray) -> dict[str, float]:
    """Return per cent of a block run by stage; what runs between them is called ``rest``."""
    spent: dict[str, float] = {}
    with _clocks(spent):
        start = time.perf_counter()
        _run_blocks(denoiser, samples)
        total = time.perf_counter() - start
    spent["rest"] = total - sum(spent.values())
    return {label: 100 * seconds / total for label, seconds in spent.items()}


@contextmanager
def _clocks(spent: dict[str, float]) -> Iterator[None]:
    """Time the functions of STAGES; nested calls count for the inner one only."""
    inner = [0.0]

    def timed(label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            before, inner[0] = inner[0], 0.0
            start = time.perf_counter()
            result = function(*arguments)
            elapsed = time.perf_counter() - start
            spent[label] = spent.get(label, 0.0) + elapsed - inner[0]
            inner[0] = before + elapsed
            return result

        return call

    originals = [(owner, name, getattr(owner, name)) for _, owner, name in STAGES]
    try:
        for (label, owner, name), (_, _, function) in zip(STAGES, originals, strict=True):
            setattr(owner, name, timed(label, function))
        yield
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def _peak_memory_mib() -> float | None:
    """Return the process's largest resident size so far, or None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _processor() -> str:
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
