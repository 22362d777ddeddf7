"""Training: batches from shards, the optimiser, checkpoints that resume exactly, curves.

A batch is a function of (seed, step) alone and nothing else is random after the start,
so a run that is stopped, or killed, and started again ends with the same weights as one
that never stopped (same machine, same number of threads).
"""

from __future__ import annotations

import ctypes
import math
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.storage.atomic import remove_leftovers
from percepnet_cli.training.data.shards import Shards
from percepnet_cli.training.loudness import SPAN_HOPS
from percepnet_cli.training.options import Options
from percepnet_cli.training.stopper import Stopper
from percepnet_cli.training.trainer import HOPS_PER_HOUR, Trainer

RESULTS = ("checkpoint.pt", "model.safetensors", "history.csv", "curves.png")
"""What a run writes."""

LOG_SECONDS = 30.0
"""Time between log lines when there is no progress bar."""


@dataclass
class Result:
    """How a sitting ended: at which step, with which loss, and by which signal if by one."""

    step: int
    finished: bool
    loss: float
    signal: int | None = None


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
    if options.hops % options.pieces:
        raise ValueError(f"{options.hops} hops cannot be cut into {options.pieces} pieces")
    if options.loudness_weight and options.hops // options.pieces < SPAN_HOPS:
        raise ValueError(f"--loudness-weight needs pieces of at least {SPAN_HOPS} hops")
    torch.set_num_threads(options.threads)
    keep_memory()
    # cuDNN would like all weights of a layer in one piece; ours have their own names
    warnings.filterwarnings("ignore", message="RNN module weights")
    train = Shards(train_dir, options.taught_share, options.taught_power)
    valid = Shards(valid_dir)
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
    for name in RESULTS:
        remove_leftovers(out / name)
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
    with Stopper() as stopper, ThreadPoolExecutor(1) as pool, bar:
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
            elif now - logged >= LOG_SECONDS and trainer.loss_count:
                hops = (trainer.step - logged_step) * options.batch * options.hops // options.pieces
                done = hops * HOP_SIZE / SAMPLE_RATE
                mean = trainer.loss_sum / trainer.loss_count
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
