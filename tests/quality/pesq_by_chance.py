"""Which recordings have a PESQ that is chance: it jumps when recording and reference are cut by the same few samples.

    pesq_by_chance.py --pairs DIR [--model NAME|FILE ...] [--least STEP]

Each model denoises ``DIR/noisy``. The result and the recording of ``DIR/clean`` are cut at the same place, shortly
after they begin, and scored. Printed: the recordings whose scores lie more than STEP apart, with all of their scores,
and the mean over all recordings after each cut.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli import Denoiser, load_model
from percepnet_cli.constants import SAMPLE_RATE as RATE
from percepnet_cli.metrics.scores import score_pair

CUTS = (0, 1, 16, 48, 480, 2400, 4800)
"""Samples at 48 kHz, up to 0.1 s."""


def scores(clean: np.ndarray, result: np.ndarray) -> list[float]:
    """Return the PESQ-wb of a recording after each of CUTS."""
    return [score_pair(clean[cut:], result[cut:], RATE, ("PESQ",))["pesq_wb"] for cut in CUTS]


def main() -> None:
    """Denoise, cut, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", action="append")
    parser.add_argument("--least", type=float, default=0.2)
    args = parser.parse_args()

    for name in args.model or [None]:
        model = load_model(name)
        print(f"{model.name}, samples cut: " + " ".join(str(cut) for cut in CUTS), flush=True)
        rows = []
        for path in sorted((args.pairs / "clean").iterdir()):
            clean = soundfile.read(path, dtype="float32")[0]
            noisy = soundfile.read(args.pairs / "noisy" / path.name, dtype="float32")[0]
            rows.append(scores(clean, Denoiser(model).denoise(noisy)))
            if max(rows[-1]) - min(rows[-1]) > args.least:
                print(f"  {path.stem}: " + " ".join(f"{score:.2f}" for score in rows[-1]), flush=True)

        print("  mean of all: " + " ".join(f"{score:.3f}" for score in np.mean(rows, axis=0)), flush=True)


if __name__ == "__main__":
    main()
