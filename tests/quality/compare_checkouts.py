"""Compare what two checkouts cost: CPU per file of a batch, CPU of the start, and speed of the bench.

    python tests/quality/compare_checkouts.py OLD NEW --rounds 7 --core 1 --limit 3

Both run in turns on one core, each with a warm cache of kernels of its own, and ratios are taken within a round: what
else the machine does then meets both. The median of the ratios counts. Exit code 1 if a cost grew by more than
``--limit`` percent. Linux; close other programs first.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

PR_SET_CHILD_SUBREAPER = 36
"""Linux: processes whose parent has ended become ours, and so does their CPU time."""

FILE_SECONDS = 0.5


def cpu_of(arguments: list[str], environment: dict[str, str], folder: Path) -> tuple[float, str]:
    """Run the command; return the CPU seconds of all its processes, and what it printed."""
    before = os.times()
    command = [sys.executable, "-m", "percepnet_cli", *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, text=True)
    with suppress(ChildProcessError):  # grandchildren, which are ours now
        while True:
            os.wait()
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, done.stdout


def measure(environment: dict[str, str], folder: Path, files: int) -> dict[str, float]:
    """Measure one checkout once."""

    def batch(name: str) -> float:
        out = folder / "out"
        cpu, _ = cpu_of(["denoise", "--quiet", "--jobs", "1", name, str(out)], environment, folder)
        made = len(list(out.iterdir()))
        shutil.rmtree(out)
        if made != len(list((folder / name).iterdir())):
            sys.exit(f"{made} results of {name}")
        return cpu

    one, many = batch("one"), batch("many")
    _, printed = cpu_of(["bench", "--json", "--seconds", "10", "--runs", "3", "--live", "0"], environment, folder)
    bench = json.loads(printed)
    return {
        "start-up and one file, CPU s": one,
        "each file more, CPU ms": 1000 * (many - one) / (files - 1),
        "bench, ms for a second of audio": 1000 / bench["times_realtime"],
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs=2, type=Path, metavar=("OLD", "NEW"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--files", type=int, default=100, help=f"in the batch, of {FILE_SECONDS} s each")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--limit", type=float, default=3.0, help="percent by which a cost may grow")
    parser.add_argument("--caches", type=Path, help="keep the compiled kernels here for the next time")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(1)
        for batch, count in (("one", 1), ("many", options.files)):
            (folder / batch).mkdir()
            for number in range(count):
                samples = 0.1 * rng.standard_normal(int(48000 * FILE_SECONDS))
                soundfile.write(folder / batch / f"{number:04d}.wav", samples, 48000, subtype="PCM_16")
        environments = [
            os.environ
            | {
                "PYTHONPATH": str(checkout.resolve()),
                "PERCEPNET_CACHE_DIR": str((options.caches or folder) / f"cache{number}"),
                "OMP_NUM_THREADS": "1",
            }
            for number, checkout in enumerate(options.checkouts)
        ]
        for environment in environments:  # the kernels are compiled
            measure(environment, folder, options.files)

        rounds = []
        for turn in range(options.rounds):
            order = (0, 1) if turn % 2 == 0 else (1, 0)
            found = {which: measure(environments[which], folder, options.files) for which in order}
            rounds.append((found[0], found[1]))
            print(f"round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)

    grown = []
    print("| | old | new | new / old, median (least to most) |\n| :-- | --: | --: | :-- |")
    for key in rounds[0][0]:
        ratios = sorted(new[key] / old[key] for old, new in rounds)
        old, new = (median(one[which][key] for one in rounds) for which in (0, 1))
        print(f"| {key} | {old:.3g} | {new:.3g} | {median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) |")
        if median(ratios) > 1 + options.limit / 100:
            grown.append(key)
    if grown:
        sys.exit(f"more than {options.limit:g} % above: {', '.join(grown)}")


if __name__ == "__main__":
    main()
