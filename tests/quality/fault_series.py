"""Kill what writes, or fill its disk, at many random points; count the short results that have their names.

    python tests/quality/fault_series.py --points 200

A process that has everything loaded is forked for each point. It denoises a file into each format, writes a report, a
shard of training data or a checkpoint, and is killed at a random moment (SIGKILL), or may write only so many bytes
(RLIMIT_FSIZE, which stands for a full disk). Afterwards there must be nothing, or the whole result. Linux.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

from percepnet_cli.batch import report
from percepnet_cli.file_denoiser import denoise_file
from percepnet_cli.network.modelfile import load_model
from percepnet_cli.storage.atomic import write_atomically

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "street.flac"
REFUSED = 3
"""Exit code of a process that was told that its disk is full."""


def tasks(source: Path) -> dict[str, Callable[[Path], object]]:
    """Return what writes one result to a path, by the name of the result."""
    model = load_model("lite")
    table = [dict.fromkeys(report.COLUMNS, "text") for _ in range(2000)]
    arrays = np.random.default_rng(1).standard_normal(200_000).astype(np.float16).tobytes()
    weights = {"weights": torch.zeros(200_000)}

    def denoise(target: Path) -> None:
        denoise_file(source, target, model=model, threads=1)

    return {
        **{f"sound.{suffix}": denoise for suffix in ("wav", "flac", "ogg", "opus", "mp3", "aiff", "caf", "w64")},
        "report.csv": lambda path: report.write(path, table, {}),
        "report.json": lambda path: report.write(path, table, {}),
        "shard.safetensors": lambda path: write_atomically(path, lambda part: part.write_bytes(arrays)),
        "checkpoint.pt": lambda path: write_atomically(path, lambda part: torch.save(weights, part)),
    }


def attempt(task: Callable[[Path], object], path: Path, limit: int | None, kill_after: float | None) -> int:
    """Let a process write a result; return how it ended, as ``os.waitpid`` tells it."""
    child = os.fork()
    if child == 0:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            task(path)
        except Exception:  # the sentence is for tests; here it counts that it was noticed
            os._exit(REFUSED)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def as_expected(path: Path, whole: Path) -> bool:
    """Return whether a result is the whole one; Ogg files carry a random number, of them the samples count."""
    if path.suffix in (".ogg", ".opus"):
        found, expected = (soundfile.read(one)[0] for one in (path, whole))
        return np.array_equal(found, expected)
    if path.suffix == ".pt":  # an archive in which its temporary name stands
        try:
            return torch.equal(torch.load(path)["weights"], torch.load(whole)["weights"])
        except (RuntimeError, EOFError):
            return False
    return path.read_bytes() == whole.read_bytes()


def series(points: int, seed: int, only: str) -> int:
    """Do so many points of each fault for each result; print a table; return how many results were believed."""
    rng, believed = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder, whole = Path(name, "out"), Path(name, "whole")
        whole.mkdir()
        samples, rate = soundfile.read(EXAMPLE, dtype="float32", frames=24_000)
        soundfile.write(Path(name, "in.wav"), samples, rate)
        works = tasks(Path(name, "in.wav"))
        print(f"{'result':<18} {'killed':>7} {'whole':>6} {'full':>6} {'refused':>8} {'short':>6}")
        for result, task in works.items():
            if only not in result:
                continue
            folder.mkdir(exist_ok=True)
            task(whole / result)
            begin = time.monotonic()
            attempt(task, folder / result, None, None)
            seconds = time.monotonic() - begin
            size = (whole / result).stat().st_size
            (folder / result).unlink()

            short = finished = refused = 0
            for point in range(2 * points):
                path = folder / result
                full = point % 2 == 1
                limit = rng.choice((rng.randrange(size), size - 1 - rng.randrange(min(size, 4096)))) if full else None
                status = attempt(task, path, limit, None if full else rng.uniform(0, 1.1 * seconds))
                refused += full and os.WIFEXITED(status) and os.WEXITSTATUS(status) == REFUSED
                if path.exists():
                    finished += not full
                    short += not as_expected(path, whole / result)
                    path.unlink()
                elif status == 0:
                    short += 1  # it says that it is done, and there is nothing
            print(f"{result:<18} {points:>7} {finished:>6} {points:>6} {refused:>8} {short:>6}", flush=True)
            believed += short
    return believed


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200, help="of each fault, for each result")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="results with this in their names")
    options = parser.parse_args()
    believed = series(options.points, options.seed, options.only)
    print(f"{believed} short results that are believed")
    sys.exit(bool(believed))


if __name__ == "__main__":
    main()
