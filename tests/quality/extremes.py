"""Clean speech must stay, noise alone must go: measure both ends on pairs of noisy and clean recordings.

    extremes.py --pairs DIR [--model NAME|FILE] [--post-filter|--no-post-filter]

Clean: ``DIR/clean`` is denoised and scored against itself (PESQ-wb); speech counts as lost where 100 ms that lie
within 30 dB of the loud ones come out more than 12 dB quieter. Noise: what ``DIR/noisy`` holds beyond ``DIR/clean``,
for pairs without a room (DIR.tsv beside the pairs says which), is denoised alone; the first second, in which the
network still listens, is left out.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli import Denoiser, load_model
from percepnet_cli.constants import SAMPLE_RATE as RATE
from percepnet_cli.metrics.scores import score_pair

BLOCK = RATE // 10
ACTIVE_DB, LOST_DB = 30.0, 12.0


def level_db(samples: np.ndarray) -> float:
    """RMS in dB of full scale, not below -120."""
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


def lost_blocks(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """Return how many blocks of 100 ms were lost, and how many held speech."""
    blocks = len(before) // BLOCK
    old, new = (np.square(x[: blocks * BLOCK].reshape(blocks, BLOCK)).mean(axis=1) + 1e-12 for x in (before, after))
    active = old > np.percentile(old, 95) * 10 ** (-ACTIVE_DB / 10)
    return int((active & (new < old * 10 ** (-LOST_DB / 10))).sum()), int(active.sum())


def dry_files(pairs: Path) -> set[str]:
    """Return the names of the pairs without a room: their noise is what noisy holds beyond clean."""
    with pairs.with_name(pairs.name + ".tsv").open(encoding="utf-8") as file:
        return {row["file"] for row in csv.DictReader(file, delimiter="\t") if row["room"] == "-"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--post-filter", action=argparse.BooleanOptionalAction)
    args = parser.parse_args()
    model = load_model(args.model)

    def denoise(samples: np.ndarray) -> np.ndarray:
        return Denoiser(model, post_filter=args.post_filter).denoise(samples.astype(np.float32))

    dry = dry_files(args.pairs)
    scores, lost, active, quieter = [], 0, 0, []
    for path in sorted((args.pairs / "clean").iterdir()):
        clean = soundfile.read(path)[0]
        kept = denoise(clean)
        scores.append(score_pair(clean, kept.astype(np.float64), RATE, ("PESQ",))["pesq_wb"])
        missing, speech = lost_blocks(clean, kept)
        lost, active = lost + missing, active + speech
        if path.name in dry:
            noise = soundfile.read(args.pairs / "noisy" / path.name)[0] - clean
            quieter.append(level_db(noise[RATE:]) - level_db(denoise(noise)[RATE:]))
    files = f"({len(scores)} recordings)"
    print(f"clean speech: PESQ-wb {np.mean(scores):.2f} on average, {np.min(scores):.2f} at least {files}")
    print(f"clean speech lost: {lost} of {active} segments of 100 ms")
    files = f"({len(quieter)} recordings)"
    print(f"noise alone: {np.mean(quieter):.1f} dB quieter on average, {np.min(quieter):.1f} at least {files}")


if __name__ == "__main__":
    main()
