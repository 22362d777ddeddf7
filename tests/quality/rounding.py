"""What 8 bits change in what is heard: PESQ-wb with float weights and with the rounded ones.

    rounding.py --pairs DIR --float FILE [--model NAME|FILE]

FILE is what `percepnet train` wrote, and the model what `percepnet quantize` made of it. Both denoise ``DIR/noisy``
by the same signal path, with as much of the post-filter as the model asks for, and are scored against ``DIR/clean``,
after a constant delay was taken out, as everywhere here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli import Denoiser, load_model
from percepnet_cli.constants import SAMPLE_RATE as RATE
from percepnet_cli.metrics.scores import score_pair
from percepnet_cli.network.float_reference import FloatState
from percepnet_cli.training.model.floatmodel import read_float_model


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--float", type=Path, required=True, dest="weights")
    parser.add_argument("--model")
    args = parser.parse_args()

    rounded, exact = load_model(args.model), read_float_model(args.weights)
    scores = []
    for path in sorted((args.pairs / "clean").iterdir()):
        clean = soundfile.read(path)[0]
        noisy = soundfile.read(args.pairs / "noisy" / path.name, dtype="float32")[0]
        row = []
        in_float = Denoiser(exact, predictor=FloatState, post_filter=rounded.post_filter)
        for denoiser in (in_float, Denoiser(rounded)):
            row.append(score_pair(clean, denoiser.denoise(noisy), RATE, ("PESQ",))["pesq_wb"])
        scores.append(row)

    float_mean, int8_mean = np.mean(scores, axis=0)
    most = np.abs(np.diff(scores, axis=1)).max()
    print(
        f"PESQ-wb of {len(scores)} recordings: float {float_mean:.4f}, 8 bits {int8_mean:.4f}, {most:.3f} apart at most"
    )


if __name__ == "__main__":
    main()
