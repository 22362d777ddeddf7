"""Denoise a stream of 24 hours, and see whether its last hour is as its first: state must not drift.

    python tests/quality/endless_stream.py --hours 24

A minute of speech in noise comes again and again. The network rounds its state to 8 bits, so a minute of the result is
not that before it, bit for bit; but the difference must stay as small, and levels the same. After a reset the first
minute must come out again, bit for bit.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from percepnet_cli.constants import SAMPLE_RATE  # noqa: E402
from percepnet_cli.denoiser import Denoiser  # noqa: E402

MINUTE = 60 * SAMPLE_RATE
MINUTES = 60
"""Of an hour."""

MOST_DIFFERENCE_DB = -40
"""Of a last minute of an hour from that of the first hour, below its level."""

MOST_LEVEL_DB = 0.05
"""By which the level of such a minute may be another one."""


def a_minute() -> np.ndarray:
    """Return a minute of the recorded street, again and again, float32 [MINUTE, 1]."""
    samples = soundfile.read(ROOT / "examples" / "street.flac", dtype="float32", always_2d=True)[0][:, :1]
    return np.resize(samples, (MINUTE, 1))


def level_db(samples: np.ndarray) -> float:
    """Return the root mean square of samples, dB of full scale."""
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-30))


def stream(denoiser: Denoiser, minute: np.ndarray, hours: int) -> bool:
    """Denoise a minute again and again, and print a line for each hour; return whether nothing drifts."""
    steady = True
    first = reference = denoiser.process(minute)
    print("| hour | level, dB | difference from hour 1, dB | CPU, s | memory, MiB |")
    print("| --: | --: | --: | --: | --: |", flush=True)

    for hour in range(1, hours + 1):
        begin = time.process_time()
        for _ in range(MINUTES - (hour == 1)):
            last = denoiser.process(minute)
        seconds = time.process_time() - begin

        # The last minute of each hour, beside that of the first
        if hour == 1:
            reference = last.copy()
        level = level_db(last)
        difference = level_db(last - reference) - level
        steady &= abs(level - level_db(reference)) <= MOST_LEVEL_DB and difference <= MOST_DIFFERENCE_DB
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"| {hour} | {level:.3f} | {difference:.1f} | {seconds:.1f} | {memory} |", flush=True)

    denoiser.reset()
    again = np.array_equal(denoiser.process(minute), first)
    print(f"after a reset the first minute is {'the same, bit for bit' if again else 'another'}")
    return steady and again


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--model", default="lite")
    options = parser.parse_args()
    sys.exit(not stream(Denoiser(options.model, channels=1), a_minute(), options.hours))


if __name__ == "__main__":
    main()
