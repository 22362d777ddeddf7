"""Denoise recordings one after the other as one stream, without a reset, and cut each out again.

    long_past.py --pairs DIR --out OUT [--model NAME|FILE]
    percepnet evaluate DIR/clean DIR/noisy --compare in-the-stream=OUT

The recordings of ``DIR/noisy`` have one channel at 48 kHz. They come in a random order that is always the same, and the
last eight come before the first, too, so that each has a past of other voices, rooms and noises.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli import Denoiser
from percepnet_cli.constants import SAMPLE_RATE

BEFORE = 8
"""Recordings before the first."""


def main() -> None:
    """Denoise and cut."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model")
    args = parser.parse_args()

    noisy = {p.stem: soundfile.read(p, dtype="float32")[0] for p in sorted((args.pairs / "noisy").iterdir())}
    names = list(noisy)
    np.random.default_rng(1).shuffle(names)
    order = names[-BEFORE:] + names
    cleaned = Denoiser(args.model).denoise(np.concatenate([noisy[name] for name in order]))

    args.out.mkdir(parents=True, exist_ok=True)
    parts = np.split(cleaned, np.cumsum([len(noisy[name]) for name in order])[:-1])
    for name, part in list(zip(order, parts, strict=True))[BEFORE:]:
        soundfile.write(args.out / f"{name}.wav", np.clip(part, -1, 1), SAMPLE_RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
