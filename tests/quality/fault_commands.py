"""Kill whole commands, or fill their disk, at many random points; count short results that are believed.

    python tests/quality/fault_commands.py --points 200

denoise, a batch with its report, train-targets (two shards of 16 sequences of 0.3 s) and train (a tiny network) run in
forked processes that have everything loaded, where all curves are one picture, drawn before. Each is killed with all
that it started at a random moment (SIGKILL), or none of its files may grow beyond some bytes (RLIMIT_FSIZE, which
stands for a full disk). Afterwards every file that has its name must be whole; a command that says that it is done must
have made all of them; and the same command, run once more, must end well and leave the whole. Linux.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch
import tqdm
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import small_shards  # noqa: E402

from percepnet_cli.batch import report  # noqa: E402
from percepnet_cli.cli import main as program  # noqa: E402
from percepnet_cli.network.modelfile import load_model  # noqa: E402
from percepnet_cli.training import curves  # noqa: E402
from percepnet_cli.training.data import generate  # noqa: E402
from percepnet_cli.training.data.recipe import RECIPE  # noqa: E402
from percepnet_cli.training.data.shard_file import ShardFile  # noqa: E402
from percepnet_cli.training.model.floatmodel import read_float_model  # noqa: E402

SEQUENCE_S = 0.3
SEQUENCES_PER_SHARD = 16
"""Fewer than usual: they take time to mix, and nothing is written before a shard is mixed."""

LOADED_LATE = ("matplotlib.backends.backend_agg", "matplotlib.figure", "torch._dynamo")
"""What the commands load on the way, loaded once here: a fork that loads it anew takes seconds longer."""


@dataclass
class Command:
    """One command, and how its results are checked."""

    run: Callable[[Path], object]
    """Writes into a folder."""
    again: Callable[[Path], object]
    """Goes on where a run was stopped."""
    same_bytes: bool
    """Whether two runs write the same bytes."""


def prepare(folder: Path) -> dict[str, Command]:
    """Make small inputs; return the commands on them."""
    rng = np.random.default_rng(3)
    recordings = folder / "recordings"
    for name in ("recordings", "speech/anna", "noise"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        soundfile.write(recordings / f"{number}.wav", 0.1 * rng.standard_normal(12_000), 48000, subtype="PCM_16")
    soundfile.write(folder / "speech" / "anna" / "a.wav", 0.1 * rng.standard_normal(48_000), 48000)
    soundfile.write(folder / "noise" / "a.wav", 0.1 * rng.standard_normal(48_000), 48000)
    shards = small_shards.write_folders(folder)
    recipe = replace(RECIPE, seconds=SEQUENCE_S, delayed_start=0)
    plan = generate.make_plan([folder / "speech"], [folder / "noise"], [], "all", 5, recipe)
    hours = 2 * SEQUENCES_PER_SHARD * SEQUENCE_S / 3600

    def call(*arguments: object) -> None:
        program.main([str(one) for one in arguments], prog_name="percepnet")

    def denoise(out: Path, *more: str) -> None:
        call("denoise", "--quiet", "--model", "lite", *more, recordings / "0.wav", out / "0.flac")

    def batch(out: Path, *more: str) -> None:
        report_file = out / "report.csv"
        call("denoise", "--quiet", "--model", "lite", "--jobs", 1, "--report", report_file, *more, recordings, out)

    def targets(out: Path) -> None:
        for _ in generate.generate(plan, out, hours, 1):
            pass

    def train(out: Path) -> None:
        sizes = ("--sizes", "8,8,8,8,8,8", "--batch-size", 4, "--sequence-length", 16, "--device", "cpu")
        call("train", *shards, out, *sizes, "--steps", 3, "--checkpoint-minutes", 0)

    return {
        "denoise": Command(denoise, lambda out: denoise(out, "--force"), same_bytes=True),
        "batch": Command(batch, lambda out: batch(out, "--skip-existing"), same_bytes=True),
        "train-targets": Command(targets, targets, same_bytes=True),
        "train": Command(train, train, same_bytes=False),
    }


def draw_once(folder: Path) -> None:
    """Let every figure be saved as one picture: drawing takes most of a tiny training, and writes nothing."""
    curves.write_history(folder, [{"step": 1, "hours": 1.0, "train": 1.0}])
    picture = (folder / "curves.png").read_bytes()
    Figure.savefig = lambda figure, file, **how: file.write(picture)  # type: ignore[method-assign]


def warm_up(command: Command, folder: Path) -> None:
    """Run a command in this process, that no fork has to load or compile anything."""
    folder.mkdir()
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), suppress(SystemExit):
        command.run(folder)


def start(task: Callable[[Path], object], out: Path, limit: int | None = None) -> int:
    """Begin a task in a process group of its own; return its number."""
    child = os.fork()
    if child:
        with suppress(PermissionError):
            os.setpgid(child, child)
        return child

    os.setpgid(0, 0)
    said = os.open(os.devnull if limit is not None else out.parent / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(said, number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    code = 0

    try:
        task(out)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        code = 1

    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def finish(child: int, kill_after: float | None = None) -> int:
    """Wait for a task, or kill it after some time with all that it started; return its exit code, -9 if killed."""
    if kill_after is not None:
        time.sleep(kill_after)
    with suppress(ProcessLookupError):
        if kill_after is not None:
            os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return code


def named(out: Path) -> dict[str, Path]:
    """Return the files that have their names; hidden ones are not finished."""
    return {path.name: path for path in out.iterdir() if not path.name.startswith(".")}


def is_whole(path: Path, like: Path, same_bytes: bool) -> bool:
    """Return whether a result is what an undisturbed run writes, or can be read from start to end."""
    try:
        if path.suffix == ".csv" and "history" not in path.name:
            return all(row["status"] for row in report.read(path).values())
        if path.suffix == ".pt":
            return bool(torch.load(path, weights_only=True))
        if path.suffix == ".safetensors" and not same_bytes:
            return read_float_model(path) is not None
        if path.suffix == ".safetensors":
            ShardFile(path)
        if path.suffix == ".png":
            return path.read_bytes().endswith(b"IEND\xaeB`\x82")
    except Exception:
        return False
    return not same_bytes or path.read_bytes() == like.read_bytes()


def series(name: str, command: Command, folder: Path, points: int, rng: random.Random) -> int:
    """Do so many points of each fault for a command; print a line; return how many results were believed."""
    whole, out = folder / f"whole-{name}", folder / f"out-{name}"
    whole.mkdir()
    warm_up(command, folder / f"warm-{name}")
    begin = time.monotonic()
    if finish(start(command.run, whole)) != 0:
        sys.exit(f"{name} fails without any fault: {(folder / 'said.txt').read_text()}")
    seconds = time.monotonic() - begin
    expected = named(whole)
    sizes = [path.stat().st_size for path in expected.values()]

    short = finished = refused = unfinished = 0
    for point in range(2 * points):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        full = point % 2 == 1
        limit = rng.randrange(rng.choice(sizes)) if full else None
        code = finish(start(command.run, out, limit), None if full else rng.uniform(0, 1.1 * seconds))
        found = named(out)
        bad = [one for one in found if one not in expected or not is_whole(found[one], whole / one, command.same_bytes)]
        if code == 0 and expected.keys() - found.keys():
            bad.append("nothing, though it is done")
        refused += full and code != 0
        finished += not full and code == 0

        # What is there must not keep the same command from making the whole
        again = finish(start(command.again, out))
        left = named(out)
        if again != 0 or not all(
            one in left and is_whole(left[one], whole / one, command.same_bytes) for one in expected
        ):
            unfinished += 1
            print(f"{name}: after {'a full disk' if full else 'a kill'} the command ends with {again}", flush=True)
        if bad:
            short += 1
            print(f"{name}: {'full disk' if full else 'killed'}, exit code {code}: {', '.join(bad)}", flush=True)
    print(f"| {name} | {points} | {finished} | {points} | {refused} | {short} | {unfinished} |", flush=True)
    return short + unfinished


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200, help="of each fault, for each command")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["denoise", "batch", "train-targets", "train"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    load_model("lite")
    for name in LOADED_LATE:
        importlib.import_module(name)

    # Loaded before, and small
    generate.SEQUENCES_PER_SHARD = SEQUENCES_PER_SHARD
    tqdm.tqdm.monitor_interval = 0  # no thread in what is forked

    believed = 0
    with tempfile.TemporaryDirectory() as name:
        draw_once(Path(name))
        commands = prepare(Path(name))
        print("| command | killed | done before | disk full | exit code not 0 | short | not made whole |")
        print("| :-- | --: | --: | --: | --: | --: | --: |", flush=True)
        for command in commands:
            if options.only in (None, command):
                rng = random.Random(f"{options.seed}:{command}")
                believed += series(command, commands[command], Path(name), options.points, rng)
    sys.exit(bool(believed))


if __name__ == "__main__":
    main()
