"""Training: batches from shards, the optimizer, checkpoints that resume exactly, curves.

A batch is a function of the seed, its number and what was heard before, which the checkpoint holds, and nothing else
is random after the start. So a run that is stopped, or killed, and started again ends with the same weights as one
that never stopped, if no shards came in between (same machine, same number of threads).
"""

from __future__ import annotations

import ctypes
import math
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.storage.atomic import remove_leftovers
from percepnet_cli.training.data.shards import Shards
from percepnet_cli.training.loudness import SPAN_HOPS
from percepnet_cli.training.options import Options
from percepnet_cli.training.pair_scores import PairScores
from percepnet_cli.training.stopper import Stopper
from percepnet_cli.training.trainer import HOPS_PER_HOUR, LOOK, LOSS, SAVE, STOP, Trainer

RESULTS = (
    *("checkpoint.pt", "model.safetensors", "model-float16.safetensors", "history.csv", "curves.png"),
    *("scored.safetensors", "scored.json"),
)
"""What a run writes."""

LOG_SECONDS = 30.0
"""Time between log lines when there is no progress bar."""

LOOK_SECONDS = 60.0
"""Time between looks for new shards."""

FRESH_SHARE = 0.05
"""Share of new sequences that ends such a wait: a single shard, heard as often as it may be in a row, would be
overfitted."""
WAIT_SECONDS = 10.0
"""The same while there is nothing left to train on."""


@dataclass
class Result:
    """How it ended: at which step, with which loss, and by which signal if by one."""

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


def _load(trainer: Trainer) -> list[str]:
    """Go on from the checkpoint. Raises ValueError, naming the file, whatever of it is missing or of another kind."""
    try:
        return trainer.load()
    except (LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{trainer.checkpoint}: not the checkpoint of such a run: something in it is missing or of another kind; "
            "--fresh starts anew"
        ) from error


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
        Folders of shards. Those that appear in the first while the run goes on are used too.
    out_dir
        Gets checkpoint.pt, the models, history.csv and curves.png; a run that
        is there already goes on unless ``options.fresh``.
    options
        The options of the run.
    log
        Gets one line at a time.
    stop_at
        Stop at this step as if asked to, with the schedule unchanged.

    Raises
    ------
    ValueError
        Shards, checkpoint or options do not fit; the message says which and how.
    """
    if options.minutes is not None and options.steps is not None:
        raise ValueError("give either --minutes or --steps, or neither for an open end")
    if options.decay_hours is not None and (options.minutes is not None or options.steps is not None):
        raise ValueError("--decay-hours ends a run without a budget; leave out --minutes and --steps")
    if options.sequence_length % options.tbptt_chunks:
        raise ValueError(f"{options.sequence_length} hops cannot be cut into {options.tbptt_chunks} chunks")
    if options.teacher is not None and not options.distill_weight:
        raise ValueError("--teacher counts for nothing without --distill-weight")
    if options.pesq_weight and options.sequence_length // options.tbptt_chunks < SPAN_HOPS:
        raise ValueError(f"--pesq-weight needs chunks of at least {SPAN_HOPS} hops")

    torch.set_num_threads(options.threads)
    keep_memory()
    # cuDNN would like all weights of a layer in one piece; ours have their own names
    warnings.filterwarnings("ignore", message="RNN module weights")

    # what there is to train on, and where the results go
    train = Shards(train_dir, 0.0 if options.teacher else options.distill_weight, options.distill_power)
    valid = Shards(valid_dir)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    _refuse_strange_results(out, options.fresh)
    trainer = Trainer(train, valid, out, options)
    group = trainer.group
    scorer = PairScores(options.score_pairs, out) if options.score_pairs is not None and group.leads else None

    # one process speaks for all
    if not group.leads:
        log = _silent
    log(
        f"{trainer.model.weight_count():,} weights; "
        f"{train.total_hops / HOPS_PER_HOUR:.1f} h in {train.sequences} sequences to train on, "
        f"{valid.total_hops / HOPS_PER_HOUR:.1f} h to validate; {trainer.device}"
        + (f"; {group.size} processes" if group.size > 1 else "")
    )

    # all processes see the shards that the leader sees, and go on from the same checkpoint
    train.update(group.from_leader(train.names()))
    if trainer.checkpoint.exists() and not options.fresh:
        for note in _load(trainer):
            log(f"changed: {note}")
        done = f"{100 * min(trainer.progress(), 1):.1f} % of the run" if trainer.has_end() else "an open end"
        log(f"going on at step {trainer.step}, {trainer.hours():.2f} h of audio, {done}")
    else:
        trainer.start()
        trainer.save()  # before any result, which would look strange without

    if group.leads:
        for name in RESULTS:
            remove_leftovers(out / name)
    try:
        return _loop(trainer, log, stop_at, scorer)
    finally:
        if scorer is not None:
            scorer.stop()
        group.close()


def _refuse_strange_results(out: Path, fresh: bool) -> None:
    """Raise ValueError if a folder holds files with the names of results, and no checkpoint of the run they are of."""
    found = [name for name in RESULTS if (out / name).exists()]
    if found and not fresh and not (out / "checkpoint.pt").exists():
        where = out / found[0]
        raise ValueError(f"{where} is of no run that could go on: give another folder, or --fresh to replace it")


def _silent(line: str) -> None:
    """Say nothing: the leader of several processes speaks for all."""


def _wait_for_shards(trainer: Trainer, say: Callable[[str], None], stopper: Stopper) -> bool:
    """Wait until there is enough to train on; return whether there is, or a wish to stop. All processes together."""
    trainer.save()
    enough = trainer.train.sequences * (1 + FRESH_SHARE)
    say("every mixture was heard as often as it may be; waiting for new shards")
    while True:
        until = time.monotonic() + WAIT_SECONDS
        while trainer.group.leads and stopper.wanted is None and time.monotonic() < until:
            time.sleep(0.2)
        if trainer.group.from_leader(stopper.wanted is not None):
            return False
        for line in trainer.look_for_shards():
            say(line)
        if trainer.train.sequences >= enough:
            return True


def _scores(trainer: Trainer, scorer: PairScores, wait: bool = False) -> list[str]:
    """Keep the scores that have come in since the last look; return a line about them, if there are any."""
    scores = scorer.result(wait)
    if scores is None:
        return []
    return [scores if isinstance(scores, str) else trainer.add_scores(scores)]


def _start_scores(trainer: Trainer, scorer: PairScores) -> None:
    """Begin to score the present mean weights."""
    trainer.write_model()
    scorer.start(trainer.out / "model.safetensors", {"step": float(trainer.step), "hours": trainer.hours()})


def _loop(
    trainer: Trainer, log: Callable[[str], None], stop_at: int | None, scorer: PairScores | None = None
) -> Result:
    """Do steps, and everything that is done every few minutes."""
    options, group = trainer.options, trainer.group
    validated = 60.0 * trainer.history[-1]["minutes"] if trainer.history else -math.inf
    saved = modeled = logged = looked = time.monotonic()
    scored = -math.inf
    logged_hops = trainer.hops
    loss = math.nan
    total = options.steps if options.steps is not None else round(60 * (options.minutes or 0.0)) or None
    on_terminal = sys.stderr.isatty() and group.leads
    bar = tqdm(total=total, unit="step" if options.steps else "s", disable=not on_terminal)
    say: Callable[[str], None] = bar.write if on_terminal else log

    with Stopper() as stopper, ThreadPoolExecutor(1) as pool, bar:
        upcoming = pool.submit(trainer.feeder.next)
        if not trainer.history:
            if group.leads:
                say(f"step 0: {trainer.validate()}")
            validated = trainer.seconds
        stop = False
        while trainer.progress() < 1.0 and not stop and trainer.step != stop_at:
            chunk = upcoming.result()
            if chunk is None:
                if not _wait_for_shards(trainer, say, stopper):
                    break
                upcoming = pool.submit(trainer.feeder.next)
                continue
            upcoming = pool.submit(trainer.feeder.next)

            # one step; what the leader's clock asks for is done behind it by all processes
            clock = time.monotonic()
            look = group.leads and clock - looked >= LOOK_SECONDS
            save = group.leads and clock - saved >= 60 * options.checkpoint_minutes
            numbers = trainer.update(chunk, stopper.wanted is not None, look, save)
            now = time.monotonic()
            trainer.last_seconds = now - clock
            loss = float(numbers[LOSS])
            if math.isfinite(loss):
                trainer.loss_sum += loss
                trainer.loss_count += 1
            stop = bool(numbers[STOP]) if group.size > 1 else stopper.wanted is not None
            if numbers[LOOK]:
                wait([upcoming])
                for line in trainer.look_for_shards():
                    say(line)
                looked = now
            if group.leads and trainer.seconds - validated >= 60 * options.validate_minutes and trainer.progress() < 1:
                say(f"step {trainer.step}: {trainer.validate()}")
                validated = trainer.seconds
            if numbers[SAVE]:
                trainer.save()
                saved = now
            if group.leads and now - modeled >= 60 * options.model_minutes:
                trainer.write_model(half=True)
                modeled = now
            if scorer is not None:
                for text in _scores(trainer, scorer):
                    say(text)
                if now - scored >= 60 * options.score_minutes:
                    _start_scores(trainer, scorer)
                    scored = now

            bar.n = trainer.step if options.steps else int(trainer.seconds)
            if on_terminal:
                bar.set_postfix(loss=f"{loss:.4f}", hours=f"{trainer.hours():.1f}", refresh=False)
                bar.update(0)
            elif now - logged >= LOG_SECONDS and trainer.loss_count:
                done = (trainer.hops - logged_hops) * HOP_SIZE / SAMPLE_RATE
                part = f"{100 * trainer.progress():.1f} %, " if trainer.has_end() else ""
                mean = trainer.loss_sum / trainer.loss_count
                log(
                    f"step {trainer.step}, {part}{trainer.hours():.2f} h of audio, loss {mean:.5f}, "
                    f"{done / (now - logged):.0f} s of audio per second"
                )
                logged, logged_hops = now, trainer.hops
        upcoming.cancel()
        finished = trainer.progress() >= 1.0
        if group.leads and finished and (not trainer.history or trainer.history[-1]["step"] != trainer.step):
            say(f"step {trainer.step}: {trainer.validate()}")
            trainer.write_model(half=True)
        if scorer is not None and finished:
            earlier = _scores(trainer, scorer, wait=True)
            _start_scores(trainer, scorer)
            for text in earlier + _scores(trainer, scorer, wait=True):
                say(text)
        wait([upcoming])
        trainer.save()
    if trainer.skipped:
        log(f"{trainer.skipped} steps were skipped: their gradients were not finite")
    return Result(trainer.step, finished, loss, stopper.wanted)
