"""Write pairs of noisy and clean recordings from the part of a corpus that no training hears.

    held_out.py --speech TABLE --noise TABLE --rir TABLE --out DIR [--count N] [--seed N]

Recorded noise at -5 to 15 dB, as in most mixtures of `train-targets --recipe recorded`, without clipping, drop-outs and
low-pass. ``DIR/noisy`` and ``DIR/clean`` are what `percepnet evaluate` and ``dev_table.py`` read.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.training.data.generate import make_plan
from percepnet_cli.training.data.mixture import Sources, draw
from percepnet_cli.training.data.recipe import RECORDED

RECIPE = replace(
    RECORDED,
    usual_snr=1.0,
    usual_snr_db=(-5.0, 15.0),
    speech_only=0.0,
    noise_only=0.0,
    clip=0.0,
    dropout=0.0,
    low_pass=0.0,
)


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for source in ("speech", "noise", "rir"):
        parser.add_argument(f"--{source}", type=Path, required=True, action="append")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--seed", type=int, default=77)
    args = parser.parse_args()
    plan = make_plan(args.speech, args.noise, args.rir, "validation", args.seed, RECIPE)
    sources = Sources(plan.speech, plan.noise, plan.rirs)
    for part in ("noisy", "clean"):
        (args.out / part).mkdir(parents=True, exist_ok=True)
    for number in range(args.count):
        mixture = draw(sources, np.random.default_rng((args.seed, number)), RECIPE)
        peak = max(float(np.abs(samples).max()) for samples in (mixture.noisy, mixture.clean))
        for part, samples in (("noisy", mixture.noisy), ("clean", mixture.clean)):
            path = args.out / part / f"{number:03d}.wav"
            soundfile.write(path, samples / max(peak, 1e-9) * 0.9, SAMPLE_RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
