"""How much of a core the denoiser takes: whole files, hop by hop, by the clock, and over many hours.

Everything is timed on what is shipped, the ``Denoiser`` and the worker of ``percepnet live``, one channel on one
thread.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from percepnet_cli.benchmark import machine
from percepnet_cli.benchmark.profile import StageClock
from percepnet_cli.constants import HOP_SIZE, LATENCY_SAMPLES, SAMPLE_RATE
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.file_denoiser import BLOCK_HOPS
from percepnet_cli.live import exchange
from percepnet_cli.live.chain import Chain
from percepnet_cli.live.engine import Engine, Ring
from percepnet_cli.network.graph import Sizes
from percepnet_cli.network.modelfile import Model, layout, load_model, model_bytes
from percepnet_cli.network.quantize import quantize_tensors

HOP_MS = 1000 * HOP_SIZE / SAMPLE_RATE
SETTLE_SECONDS = 0.5
"""Before the worker of live is measured: what it looks at first, such as the speech probability, is read then."""
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "p99.9": 99.9, "max": 100}
NOISY = 1.1
"""Runs that differ by more than this factor, or wait that much longer than they compute, mean a busy machine."""


@dataclass
class Report:
    """One measurement; times of one channel on one thread."""

    model: str
    digest: str
    weights: int
    """Number of weights = multiply-adds of the network per hop."""
    seconds: float
    """Audio per run, s."""
    runs: int
    realtime_factor: float
    """Files: CPU seconds per second of audio, median of the runs."""
    realtime_factor_runs: list[float]
    times_realtime: float
    hop_us: dict[str, float]
    """One hop after the other without pause: wall time of one, us."""
    hop_core_percent: float
    """The same: CPU time per hop over 10 ms."""
    live_seconds: float
    """How long a hop was given every 10 ms by the clock, s; 0: not at all, and the next two are None."""
    live_us: dict[str, float] | None
    """A hop from Python by the clock: wall time from its call to its result, us."""
    live_core_percent: float | None
    """A hop from the device by the clock: CPU time of the thread of ``percepnet live`` that cleans it, waking
    included, over the time."""
    stage_percent: dict[str, float]
    """Share of each stage in the time of a file run."""
    hop_stage_percent: dict[str, float]
    """The same, one hop after the other."""
    latency_ms: float
    help_cpu_seconds: float | None
    """CPU time of ``percepnet --help``."""
    start_cpu_seconds: float | None
    """CPU time of the program for a file of 1 s, kernels compiled before."""
    peak_memory_mib: float | None
    """The most memory that the program takes for that file."""
    limit_us: dict[str, float]
    """What the 8-bit products of one hop cost at least on this machine (``machine.Limit``)."""
    noisy_machine: bool
    """Whether something else kept the machine busy."""
    system: dict[str, str] = field(default_factory=dict)
    hop_times_us: list[float] = field(default_factory=list, repr=False)
    """Wall time of every hop: by the clock if that was measured, else without pause."""

    def json(self) -> dict[str, Any]:
        """Return the report as JSON values; without the single hops."""
        values = asdict(self)
        del values["hop_times_us"]
        return values


def random_model(sizes: Sizes, seed: int = 0) -> Model:
    """Make a model of a given shape from random weights, through the file format: for timing and tests only."""
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


def measure(
    model: Model, samples: np.ndarray, runs: int, live_seconds: float = 0.0, start_with: str | None = None
) -> Report:
    """Time a model.

    samples: float32 [n] at 48 kHz, n at least 4800; runs: at least 1, the median counts; live_seconds: how long to
    give hops by the clock, 0 is not at all; start_with: name or file of the model to time starts of the program with,
    None for what files take.
    """
    # Compile and warm up
    denoiser = Denoiser(model)
    _run_blocks(denoiser, samples[: 64 * HOP_SIZE])
    _run_hops(denoiser, samples[: 8 * HOP_SIZE])

    # Whole files, hops without pause, hops by the clock
    seconds = len(samples) // HOP_SIZE * HOP_SIZE / SAMPLE_RATE
    runs_cpu, runs_wall = zip(*(_run_blocks(denoiser, samples) for _ in range(runs)), strict=True)
    factors = [cpu / seconds for cpu in runs_cpu]
    hops, hop_cpu = _run_hops(denoiser, samples)
    live = _run_live(denoiser, samples, live_seconds) if live_seconds else None
    live_cpu = _run_worker(denoiser, samples, live_seconds) if live_seconds else None

    start_up = _start_up(start_with)
    factor = statistics.median(factors)
    return Report(
        model=model.name,
        digest=model.digest[:12],
        weights=model.num_weights,
        seconds=seconds,
        runs=runs,
        realtime_factor=factor,
        realtime_factor_runs=factors,
        times_realtime=1 / factor,
        hop_us=_percentiles(hops),
        hop_core_percent=100 * hop_cpu / len(hops) / (HOP_MS / 1e3),
        live_seconds=live_seconds,
        live_us=_percentiles(live) if live is not None else None,
        live_core_percent=100 * live_cpu if live_cpu is not None else None,
        stage_percent=_stage_percent(_run_blocks, model, samples),
        hop_stage_percent=_stage_percent(_run_hops, model, samples),
        latency_ms=1000 * denoiser.latency / SAMPLE_RATE,
        help_cpu_seconds=start_up[0],
        start_cpu_seconds=start_up[1],
        peak_memory_mib=start_up[2],
        limit_us=machine.limit_of(model)._asdict(),
        noisy_machine=max(factors) > NOISY * min(factors) or sum(runs_wall) > NOISY * sum(runs_cpu),
        system=machine.describe(),
        hop_times_us=(hops if live is None else live).round(1).tolist(),
    )


def _percentiles(times_us: np.ndarray) -> dict[str, float]:
    values = np.percentile(times_us, list(PERCENTILES.values()))
    return dict(zip(PERCENTILES, map(float, values), strict=True))


def _stage_percent(
    run: Callable[[Denoiser, np.ndarray], object], model: Model, samples: np.ndarray
) -> dict[str, float]:
    """Return the share of each stage in the time of a run."""
    clock = StageClock()
    denoiser = Denoiser(model, clock=clock)

    # Only the run counts, not what it takes to lay the weights out
    clock.reset()
    run(denoiser, samples)
    return clock.shares()


def _run_blocks(denoiser: Denoiser, samples: np.ndarray) -> tuple[float, float]:
    """Return the CPU and wall seconds of a whole signal in blocks of 1.28 s, as a file is processed."""
    denoiser.reset()
    wall, cpu = time.perf_counter(), time.process_time()
    block = BLOCK_HOPS * HOP_SIZE
    for i in range(0, len(samples), block):
        denoiser.process(samples[i : i + block])
    return time.process_time() - cpu, time.perf_counter() - wall


def _run_hops(denoiser: Denoiser, samples: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the wall time of every hop, one after the other, us, and the CPU seconds of all."""
    denoiser.reset()
    clock = time.perf_counter_ns
    times = np.zeros(len(samples) // HOP_SIZE)
    cpu = time.process_time()
    for hop in range(len(times)):
        start = clock()
        denoiser.process(samples[hop * HOP_SIZE : (hop + 1) * HOP_SIZE])
        times[hop] = clock() - start
    return times / 1e3, time.process_time() - cpu


def _clock_hops(samples: np.ndarray, seconds: float) -> Iterator[np.ndarray]:
    """Yield a hop of the samples every 10 ms by the clock, at least one, over and over: float32 [480]."""
    blocks = samples[: len(samples) // HOP_SIZE * HOP_SIZE].reshape(-1, HOP_SIZE)
    begin = time.perf_counter()
    for hop in range(max(1, round(1000 * seconds / HOP_MS))):
        wait = begin + hop * HOP_MS / 1000 - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        yield blocks[hop % len(blocks)]


def _run_live(denoiser: Denoiser, samples: np.ndarray, seconds: float) -> np.ndarray:
    """Give a hop every 10 ms by the clock; return the wall times, us."""
    denoiser.reset()
    times = []
    for block in _clock_hops(samples, seconds):
        start = time.perf_counter_ns()
        denoiser.process(block)
        times.append(time.perf_counter_ns() - start)
    return np.array(times) / 1e3


def _run_worker(denoiser: Denoiser, samples: np.ndarray, seconds: float) -> float:
    """Be a device that brings a hop every 10 ms to the worker of ``percepnet live``; return its CPU seconds per second.

    What the device's own thread does, to copy the samples and to wake the worker, is not counted.
    """
    chain = Chain(denoiser, SAMPLE_RATE)
    chain.warm_up(HOP_SIZE)
    ring = Ring(1, 1, SAMPLE_RATE, LATENCY_SAMPLES + HOP_SIZE)
    engine = Engine(chain, ring, HOP_SIZE)

    samples, played = np.ascontiguousarray(samples, np.float32), np.zeros(HOP_SIZE, np.float32)
    engine.start()
    for part in (SETTLE_SECONDS, seconds):  # the second one counts
        used, begin = engine.cpu_seconds, time.perf_counter()
        for block in _clock_hops(samples, part):
            exchange.stream_callback.ctypes(block.ctypes.data, played.ctypes.data, HOP_SIZE, 0, 0, ring.address)
    engine.stop()
    return (engine.cpu_seconds - used) / (time.perf_counter() - begin)


def _start_up(model: str | None) -> tuple[float | None, float | None, float | None]:
    """Return the CPU seconds of ``--help`` and of a file of 1 s, the median of three, and its peak memory, MiB."""
    program = [sys.executable, "-m", "percepnet_cli"]
    options = ["--force"] if model is None else ["--force", "--model", model]
    with tempfile.TemporaryDirectory() as folder:
        source, target = str(Path(folder) / "in.wav"), str(Path(folder) / "out.wav")
        with wave.open(source, "wb") as writer:
            writer.setparams((1, 2, SAMPLE_RATE, SAMPLE_RATE, "NONE", ""))
            noise = np.random.default_rng(0).integers(-2000, 2000, SAMPLE_RATE)
            writer.writeframes(noise.astype("<i2").tobytes())
        help_costs = [machine.cost_of([*program, "--help"]) for _ in range(3)]
        costs = [machine.cost_of([*program, "denoise", *options, source, target]) for _ in range(3)]
    if help_costs[0] is None or costs[0] is None:
        return None, None, None
    known = [cost for cost in costs if cost]
    return (
        statistics.median(cost.cpu_seconds for cost in help_costs if cost),
        statistics.median(cost.cpu_seconds for cost in known),
        max(cost.peak_memory_mib for cost in known),
    )


def measure_hours(model: Model, samples: np.ndarray, hours: float) -> list[dict[str, float | None]]:
    """Run one stream for many hours of audio, as files are processed, over and over the same samples.

    Returns for each hour its CPU seconds and the memory that the process held at its end, MiB.
    """
    denoiser = Denoiser(model)
    block = BLOCK_HOPS * HOP_SIZE
    samples = np.resize(samples, max(1, len(samples) // block) * block)
    denoiser.process(samples[:block])
    per_hour = 3600 * SAMPLE_RATE // block
    result: list[dict[str, float | None]] = []
    remaining = round(hours * per_hour)
    while remaining > 0:
        cpu, blocks = time.process_time(), min(per_hour, remaining)
        for i in range(blocks):
            at = i * block % len(samples)
            denoiser.process(samples[at : at + block])
        scale = per_hour / blocks
        result.append({"cpu_seconds": scale * (time.process_time() - cpu), "memory_mib": machine.resident_mib()})
        remaining -= blocks
    return result
