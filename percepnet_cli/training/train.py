"""Training: batches from shards, the optimiser, checkpoints that resume exactly, curves.

A batch is a function of (seed, step) alone and nothing else is random after the start,
so a run that is stopped, or killed, and started again ends with the same weights as one
that never stopped (same machine, same number of threads).
"""

from __future__ import annotations

import csv
import ctypes
import json
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save
from tqdm import tqdm

from percepnet_cli.constants import HOP_SIZE, LOOKAHEAD_HOPS, NUM_BANDS, NUM_FEATURES, SAMPLE_RATE
from percepnet_cli.training.shards import METADATA_KEY, Batch, Shards, open_shards
from percepnet_cli.training.torch_model import PercepNet, Sizes, losses, tensors_of

FORMAT_VERSION = 1
"""Version of the checkpoint and of the float model file."""

KIND = "float"
"""What a model file with float32 weights calls itself."""

HOPS_PER_HOUR = 3600 * SAMPLE_RATE // HOP_SIZE
"""Hops in an hour of audio."""

BETAS = (0.9, 0.98)
"""Decay of the optimiser's two means."""

WEIGHT_DECAY = 0.01
"""Shrinks weight matrices by lr times this per step; our choice, keeps rows fit for 8 bits."""

WARMUP_STEPS = 200
"""Steps over which the learning rate rises from 0."""

FINAL_RATE = 0.05
"""Learning rate at the end, as a part of the highest."""

MAX_GRADIENT_NORM = 1.0
"""Longer gradients are shortened to this."""

EMA_DECAY = 0.999
"""Decay of the running mean of the weights, once it is warm."""

VALIDATION_SEQUENCES = 128
"""Sequences of the validation set that are used, always the same."""

VALIDATION_BATCH = 64
"""Sequences per forward pass of the validation."""

LOG_SECONDS = 30.0
"""Time between log lines when there is no progress bar."""

HISTORY_COLUMNS = (
    "step",
    "minutes",
    "hours",
    "learning_rate",
    "train",
    "valid",
    "valid_ema",
    "valid_ema_gain",
    "valid_ema_strength",
)
"""Columns of history.csv: minutes of training, hours of audio, total losses unless named."""


@dataclass(frozen=True)
class Options:
    """What a run is told; see ``percepnet train --help``.

    `minutes` is a budget of trained time over all sittings; exactly one of `minutes`
    and `steps` is given.
    """

    sizes: Sizes
    batch: int = 64
    hops: int = 400
    rate: float = 1e-3
    minutes: float | None = None
    steps: int | None = None
    threads: int = 1
    device: str = "auto"
    loss: str = "gamma"
    strength_weight: float = 0.5
    seed: int = 0
    checkpoint_minutes: float = 3.0
    validate_minutes: float = 4.0
    init: Path | None = None
    fresh: bool = False

    def identity(self) -> dict[str, Any]:
        """Return what must not change between two sittings."""
        return {
            "sizes": list(self.sizes),
            "batch": self.batch,
            "hops": self.hops,
            "loss": self.loss,
            "strength_weight": self.strength_weight,
            "seed": self.seed,
        }


@dataclass
class Result:
    """How a sitting ended: at which step, with which loss, and by which signal if by one."""

    step: int
    finished: bool
    loss: float
    signal: int | None = None


# --- files ---------------------------------------------------------------------------------


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then put it in place in one move.

    Whoever is killed at any moment leaves the old file or the new one, never a part.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_float_model(path: Path) -> tuple[Sizes, dict[str, np.ndarray], dict[str, Any]]:
    """Return sizes, tensors and description of a model file written by :func:`export`."""
    try:
        with safe_open(str(path), framework="np") as file:
            description = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except Exception as error:  # safetensors has an exception type of its own
        raise ValueError(f"{path}: not a model file ({error})") from error
    if description.get("kind") != KIND or description.get("format_version") != FORMAT_VERSION:
        kind, version = description.get("kind", "nothing"), description.get("format_version")
        raise ValueError(f"{path}: not a float model of version {FORMAT_VERSION} (found {kind}, {version})")
    return Sizes(**description["sizes"]), tensors, description


def export(path: Path, model: PercepNet, training: dict[str, Any]) -> None:
    """Write a model file: float32 weights, normalisation, and where they come from."""
    description = {
        "format_version": FORMAT_VERSION,
        "kind": KIND,
        "sample_rate": SAMPLE_RATE,
        "hop": HOP_SIZE,
        "bands": NUM_BANDS,
        "features": NUM_FEATURES,
        "lookahead_hops": LOOKAHEAD_HOPS,
        "sizes": model.sizes._asdict(),
        "training": training,
    }
    metadata = {METADATA_KEY: json.dumps(description, sort_keys=True)}
    data = save(dict(tensors_of(model)), metadata=metadata)
    write_atomically(path, lambda part: part.write_bytes(data))


def write_history(folder: Path, history: list[list[float]]) -> None:
    """Write history.csv and, where matplotlib is installed, curves.png."""

    def table(part: Path) -> None:
        with part.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HISTORY_COLUMNS)
            writer.writerows([[int(row[0]), *(f"{value:.6g}" for value in row[1:])] for row in history])

    write_atomically(folder / "history.csv", table)
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    columns = dict(zip(HISTORY_COLUMNS, np.array(history, dtype=float).T, strict=True))
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, label in (
        ("train", "training"),
        ("valid", "validation"),
        ("valid_ema", "validation, mean weights"),
    ):
        axes.plot(columns["hours"], columns[name], label=label, marker=".", markersize=3)
    axes.set(xlabel="hours of audio", ylabel="loss", yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    write_atomically(folder / "curves.png", lambda part: figure.savefig(part, format="png", dpi=110))


# --- pieces --------------------------------------------------------------------------------


def to_device(batch: Batch, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return the five tensors of a batch as float32 on `device`."""
    return tuple(torch.from_numpy(array).to(device).float() for array in batch)


def learning_rate(options: Options, step: int, progress: float) -> float:
    """Return the rate: a linear rise, then half a cosine down to 5 % at progress 1."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return options.rate * warm * (FINAL_RATE + (1.0 - FINAL_RATE) * cosine)


class Trainer:
    """A run between its checkpoints.

    Parameters
    ----------
    train, valid
        The shards.
    out
        Folder of the checkpoint and the results.
    options
        What the run is told.
    """

    def __init__(self, train: Shards, valid: Shards, out: Path, options: Options) -> None:
        train.require(options.hops)
        self.train = train
        self.out = out
        self.options = options
        self.device = torch.device(pick_device(options.device))
        torch.manual_seed(options.seed)
        self.model = PercepNet(options.sizes).to(self.device)
        self.ema = PercepNet(options.sizes).to(self.device).requires_grad_(False)
        self.ema.precision = torch.float32  # what is exported is judged as it is
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() == 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}],
            lr=options.rate,
            betas=BETAS,
            eps=1e-8,
            fused=True,
        )
        self.step = 0
        self.seconds = 0.0
        self.history: list[list[float]] = []
        self.loss_sum = 0.0
        self.loss_count = 0
        self.skipped = 0
        hops = min(valid.hops, max(options.hops, 400))
        self.valid = valid.even_batch(VALIDATION_SEQUENCES, hops)
        self.checkpoint = out / "checkpoint.pt"

    def start(self) -> None:
        """Set the weights and the normalisation of a new run."""
        if self.options.init is None:
            mean, std = self.train.feature_statistics()
            self.model.feature_mean.copy_(torch.from_numpy(mean))
            self.model.feature_std.copy_(torch.from_numpy(std))
        else:
            sizes, tensors, _ = read_float_model(self.options.init)
            if sizes != self.options.sizes:
                raise ValueError(
                    f"{self.options.init}: sizes {list(sizes)}, the run has {list(self.options.sizes)}"
                )
            self.model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        self.ema.load_state_dict(self.model.state_dict())

    def save(self) -> None:
        """Write the checkpoint."""
        content = {
            "format_version": FORMAT_VERSION,
            "identity": self.options.identity(),
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "loss_sum": self.loss_sum,
            "loss_count": self.loss_count,
        }
        write_atomically(self.checkpoint, lambda part: torch.save(content, part))

    def load(self) -> None:
        """Go on from the checkpoint."""
        try:
            content = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            identity = content["identity"]
        except Exception as error:  # torch.load raises many types for a damaged file
            raise ValueError(
                f"{self.checkpoint}: cannot be read ({error}); --fresh starts a new run"
            ) from error
        wanted = self.options.identity()
        changed = [f"{key} {identity.get(key)}" for key in wanted if identity.get(key) != wanted[key]]
        if changed:
            raise ValueError(
                f"{self.checkpoint}: this run was started with {', '.join(changed)}; "
                "give the same again, or --fresh for a new run"
            )
        self.model.load_state_dict(content["model"])
        self.ema.load_state_dict(content["ema"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.step = content["step"]
        self.seconds = content["seconds"]
        self.history = content["history"]
        self.loss_sum = content["loss_sum"]
        self.loss_count = content["loss_count"]

    def progress(self) -> float:
        """Return how much of the run is done, 0..1."""
        if self.options.steps is not None:
            return self.step / max(self.options.steps, 1)
        return self.seconds / max(60.0 * (self.options.minutes or 0.0), 1e-9)

    def hours(self) -> float:
        """Return hours of audio trained."""
        return self.step * self.options.batch * self.options.hops / HOPS_PER_HOUR

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, a function of (seed, step) alone."""
        rng = np.random.default_rng((self.options.seed, step))
        return self.train.random_batch(rng, self.options.batch, self.options.hops)

    def update(self, batch: Batch) -> torch.Tensor:
        """Do one step; return its loss, not yet waited for."""
        rate = learning_rate(self.options, self.step, self.progress())
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        features, *targets = to_device(batch, self.device)
        gain, strength, _ = self.model(features)
        gain_loss, strength_loss = losses(gain, strength, tuple(targets), self.options.loss)
        loss = gain_loss + self.options.strength_weight * strength_loss
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        if not torch.isfinite(norm):  # one bad batch must not end a long run
            self.skipped += 1
            if self.skipped >= 20:
                raise ValueError(f"the gradient was not finite 20 times, last at step {self.step}")
        else:
            self.optimiser.step()
            decay = min(EMA_DECAY, (1.0 + self.step) / (10.0 + self.step))
            with torch.no_grad():
                for mean, value in zip(self.ema.parameters(), self.model.parameters(), strict=True):
                    mean.lerp_(value, 1.0 - decay)
        self.step += 1
        return loss.detach()

    def evaluate(self, model: PercepNet) -> tuple[float, float]:
        """Return the validation losses of gain and strength, in float32."""
        precision, model.precision = model.precision, torch.float32
        sums = np.zeros(4)
        with torch.no_grad():
            for first in range(0, self.valid.gain.shape[1], VALIDATION_BATCH):
                part = Batch(*(array[:, first : first + VALIDATION_BATCH] for array in self.valid))
                features, *targets = to_device(part, self.device)
                gain, strength, _ = model(features)
                found = losses(gain, strength, tuple(targets), self.options.loss)
                for index, (loss, weight) in enumerate(zip(found, targets[2:], strict=True)):
                    count = float(weight.sum())
                    sums[2 * index : 2 * index + 2] += float(loss) * count, count
        model.precision = precision
        return float(sums[0] / max(sums[1], 1.0)), float(sums[2] / max(sums[3], 1.0))

    def validate(self) -> str:
        """Judge both sets of weights, write model, history and curves; return a line about it."""
        weight = self.options.strength_weight
        gain, strength = self.evaluate(self.model)
        ema_gain, ema_strength = self.evaluate(self.ema)
        train = self.loss_sum / self.loss_count if self.loss_count else math.nan
        self.loss_sum, self.loss_count = 0.0, 0
        rate = learning_rate(self.options, self.step, self.progress())
        valid, ema = gain + weight * strength, ema_gain + weight * ema_strength
        row = [self.step, self.seconds / 60.0, self.hours(), rate, train, valid, ema, ema_gain, ema_strength]
        self.history.append([float(value) for value in row])
        training = {
            "steps": self.step,
            "hours": round(self.hours(), 3),
            "minutes": round(self.seconds / 60.0, 1),
            "loss": None if math.isnan(train) else train,
            "loss_kind": self.options.loss,
            "validation": ema,
            "validation_gain": ema_gain,
            "validation_strength": ema_strength,
            "data": self.train.description,
        }
        export(self.out / "model.safetensors", self.ema, training)
        write_history(self.out, self.history)
        parts = f"gain {ema_gain:.5f}, strength {ema_strength:.5f}"
        return f"validation {valid:.5f}, mean weights {ema:.5f} ({parts})"


def pick_device(name: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``; say so if there is no CUDA device."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError("no CUDA device was found; use --device cpu")
    return ("cuda" if available else "cpu") if name == "auto" else name


def keep_memory() -> None:
    """Let the C library keep freed memory instead of giving it back to the system.

    A step frees and asks again for a gigabyte in large pieces; getting them cleared by
    the kernel each time costs a sixth of the time (measured). glibc only.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)


class _Stopper:
    """Turns Ctrl-C, SIGTERM and SIGHUP into a wish to stop; a second one stops at once."""

    def __init__(self) -> None:
        self.wanted: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stopper:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                ignored = number is not None and signal.getsignal(number) is signal.SIG_IGN
                if number is not None and not (ignored and name == "SIGHUP"):  # nohup ignores it
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.wanted = number
        self._restore()


def run(
    train_dir: str | Path,
    valid_dir: str | Path,
    out_dir: str | Path,
    options: Options,
    log: Callable[[str], None] = print,
    stop_at: int | None = None,
) -> Result:
    """Train until the budget is used up or someone asks to stop.

    Parameters
    ----------
    train_dir, valid_dir
        Folders of shards.
    out_dir
        Gets checkpoint.pt, model.safetensors, history.csv and curves.png; a run that
        is there already goes on unless ``options.fresh``.
    options
        What the run is told.
    log
        Gets one line at a time.
    stop_at
        Stop at this step as if asked to, with the schedule unchanged.

    Raises
    ------
    ValueError
        Shards, checkpoint or options do not fit; the message says which and how.
    """
    if (options.minutes is None) == (options.steps is None):
        raise ValueError("give either --minutes or --steps")
    torch.set_num_threads(options.threads)
    keep_memory()
    # cuDNN would like all weights of a layer in one piece; ours have their own names
    warnings.filterwarnings("ignore", message="RNN module weights")
    train, valid = open_shards(train_dir), open_shards(valid_dir)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(train, valid, out, options)
    log(
        f"{trainer.model.weight_count():,} weights; "
        f"{train.total_hops / HOPS_PER_HOUR:.1f} h in {train.sequences} sequences to train on, "
        f"{valid.total_hops / HOPS_PER_HOUR:.1f} h to validate; {trainer.device}"
    )
    if trainer.checkpoint.exists() and not options.fresh:
        trainer.load()
        log(f"going on at step {trainer.step}, {100 * min(trainer.progress(), 1):.1f} % of the run")
    else:
        trainer.start()
    return _loop(trainer, log, stop_at)


def _loop(trainer: Trainer, log: Callable[[str], None], stop_at: int | None) -> Result:
    """Do steps, and everything that is done every few minutes."""
    options = trainer.options
    last = trainer.history[-1][1] * 60.0 if trainer.history else -math.inf
    saved = logged = time.monotonic()
    logged_step = trainer.step
    loss = math.nan
    total = options.steps if options.steps is not None else round(60 * (options.minutes or 0.0))
    on_terminal = sys.stderr.isatty()
    bar = tqdm(total=total, unit="step" if options.steps else "s", disable=not on_terminal)
    say: Callable[[str], None] = bar.write if on_terminal else log
    with _Stopper() as stopper, ThreadPoolExecutor(1) as pool, bar:
        upcoming = pool.submit(trainer.batch, trainer.step)
        if not trainer.history:
            say(f"step 0: {trainer.validate()}")
            last = trainer.seconds
        clock = time.monotonic()
        while trainer.progress() < 1.0 and stopper.wanted is None and trainer.step != stop_at:
            batch = upcoming.result()
            upcoming = pool.submit(trainer.batch, trainer.step + 1)
            loss = float(trainer.update(batch))
            if math.isfinite(loss):
                trainer.loss_sum += loss
                trainer.loss_count += 1
            now = time.monotonic()
            trainer.seconds += now - clock
            clock = now
            if trainer.seconds - last >= 60 * options.validate_minutes and trainer.progress() < 1.0:
                say(f"step {trainer.step}: {trainer.validate()}")
                last = trainer.seconds
            if now - saved >= 60 * options.checkpoint_minutes:
                trainer.save()
                saved = now
            bar.n = min(trainer.step if options.steps else int(trainer.seconds), total)
            if on_terminal:
                bar.set_postfix(loss=f"{loss:.4f}", hours=f"{trainer.hours():.1f}", refresh=False)
                bar.update(0)
            elif now - logged >= LOG_SECONDS:
                done = (trainer.step - logged_step) * options.batch * options.hops * HOP_SIZE / SAMPLE_RATE
                mean = trainer.loss_sum / max(trainer.loss_count, 1)
                log(
                    f"step {trainer.step}, {100 * trainer.progress():.1f} %, "
                    f"{trainer.hours():.2f} h of audio, loss {mean:.5f}, "
                    f"{done / (now - logged):.0f} s of audio per second"
                )
                logged, logged_step = now, trainer.step
        upcoming.cancel()
        finished = trainer.progress() >= 1.0
        if finished and (not trainer.history or trainer.history[-1][0] != trainer.step):
            say(f"step {trainer.step}: {trainer.validate()}")
        trainer.save()
    if trainer.skipped:
        log(f"{trainer.skipped} steps were skipped: their gradients were not finite")
    return Result(trainer.step, finished, loss, stopper.wanted)
