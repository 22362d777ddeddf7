"""Measure a batch of many small files: speed-up by processes, CPU per file above the audio work.

python tests/quality/batch_scale.py --files 1000

Audio work is what a ``Denoiser`` takes for the same samples when they are in memory and it is running.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli import Denoiser

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "street.flac"
SECONDS = 3
PR_SET_CHILD_SUBREAPER = 36
"""Linux: processes whose parent has ended become ours, and so does their CPU time."""


def make_files(folder: Path, count: int) -> np.ndarray:
    """Write ``count`` cuts of the example as 16-bit WAV; return the samples of 20 of them, float32 [20, n]."""
    samples, rate = soundfile.read(EXAMPLE, dtype="float32")
    rng = np.random.default_rng(0)
    folder.mkdir()
    cuts = []
    for number in range(count):
        start = rng.integers(0, len(samples) - SECONDS * rate)
        cuts.append(samples[start : start + SECONDS * rate])
        soundfile.write(folder / f"{number:05d}.wav", cuts[-1], rate, subtype="PCM_16")
    return np.stack(cuts[:20])


def audio_work(cuts: np.ndarray) -> float:
    """Return the CPU seconds that one cut takes in memory."""
    denoiser = Denoiser()
    times = []
    for cut in cuts:
        begin = time.process_time()
        denoiser.process(cut)
        denoiser.flush()
        times.append(time.process_time() - begin)
    return float(np.median(times))


def run(source: Path, target: Path, jobs: int) -> tuple[float, float]:
    """Denoise a folder; return wall and CPU seconds of all processes together."""
    before = os.times()
    begin = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "percepnet_cli",
        "denoise",
        "--quiet",
        "--jobs",
        str(jobs),
        str(source),
        str(target),
    ]
    subprocess.run(command, check=True)
    wall = time.perf_counter() - begin

    with suppress(ChildProcessError):  # grandchildren, which are ours now
        while True:
            os.wait()

    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    shutil.rmtree(target)
    return wall, cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cuts = make_files(folder / "in", arguments.files)
        (folder / "one").mkdir()
        shutil.copy(folder / "in" / "00000.wav", folder / "one")
        run(folder / "one", folder / "out", 1)  # compiles what is not compiled yet
        start_wall, start_cpu = run(folder / "one", folder / "out", 1)
        work = audio_work(cuts)
        print(f"one file: {start_wall:.2f} s, CPU {start_cpu:.2f} s; audio work {1000 * work:.1f} ms a file")
        first = None
        for jobs in arguments.jobs:
            wall, cpu = run(folder / "in", folder / "out", jobs)
            first = first or wall
            print(
                f"{jobs} jobs, {arguments.files} files: {wall:.1f} s ({first / wall:.2f} times as fast), "
                f"{SECONDS * arguments.files / wall:.0f} x real time, "
                f"CPU {1000 * cpu / arguments.files:.1f} ms a file, "
                f"{1000 * (cpu / arguments.files - work):.1f} ms of it above the audio work"
            )


if __name__ == "__main__":
    main()
