"""What an array's type and rate cost: PESQ-wb of the same recordings as float32 at 48 kHz, as int16 and at 16 kHz.

    arrays.py --pairs DIR [--model NAME|FILE]

Each recording of ``DIR/noisy`` is given to ``denoise`` four times and scored against ``DIR/clean``. At 16 kHz it has
less to hear: the half of the spectrum that PESQ-wb does not judge is missing in what the network sees, too.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import soundfile
import soxr

from percepnet_cli import Denoiser
from percepnet_cli.audio.arrays import from_float
from percepnet_cli.metrics.scores import score_pair

NARROW_RATE = 16000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model")
    args = parser.parse_args()
    denoiser = Denoiser(args.model)
    twins = list(product((48000, NARROW_RATE), (np.float32, np.int16)))
    scores = []
    for path in sorted((args.pairs / "clean").iterdir()):
        clean, rate = soundfile.read(path)
        noisy = soundfile.read(args.pairs / "noisy" / path.name, dtype="float32")[0]
        row = []
        for other, kind in twins:
            twin = noisy if other == rate else soxr.resample(noisy, rate, other)
            cleaned = denoiser.denoise(from_float(twin, np.dtype(kind)), other)
            if kind is np.int16:
                cleaned = cleaned / np.float32(32768)
            reference = clean if other == rate else soxr.resample(clean, rate, other)
            row.append(score_pair(reference, cleaned, other, ("PESQ",))["pesq_wb"])
        scores.append(row)

    means = np.mean(scores, axis=0)
    print(f"{len(scores)} recordings")
    for (rate, kind), mean in zip(twins, means, strict=True):
        print(f"{np.dtype(kind).name} at {rate} Hz: PESQ-wb {mean:.3f}, {mean - means[0]:+.3f}")


if __name__ == "__main__":
    main()
