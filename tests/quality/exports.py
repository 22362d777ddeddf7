"""Denoise recordings with Python and with every export that runs here, and compare: bits, SNR and latency.

    python tests/quality/exports.py --pairs PAIRS lite percepnet

The integer sums of the network are the same if the bits of the result are. Emulated CPUs get the beginning of each
recording. The exit code is 1 if a result is less than 60 dB above its difference from Python's, or late.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from exported import artifacts  # noqa: E402
from signals import snr_db  # noqa: E402

from percepnet_cli import Denoiser  # noqa: E402
from percepnet_cli.audio.whole import read_mono  # noqa: E402
from percepnet_cli.constants import LATENCY_SAMPLES  # noqa: E402

BAR_DB = 60.0
RATE = 48000


def denoise(model: str, samples: np.ndarray) -> np.ndarray:
    """Return what a stream of Python's makes of samples. Exports are streams, which raise no soft recordings."""
    denoiser = Denoiser(model)
    return np.concatenate((denoiser.process(samples), denoiser.flush()))[LATENCY_SAMPLES:]


def main() -> int:
    """Print a line for each model and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["lite", "percepnet"])
    parser.add_argument("--pairs", type=Path, required=True, help="folder whose noisy/ holds recordings")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each recording, for emulated CPUs")
    arguments = parser.parse_args()

    recordings = [read_mono(path) for path in sorted((arguments.pairs / "noisy").iterdir())]
    if not recordings:
        parser.error(f"{arguments.pairs}/noisy holds no recordings")

    print("| model | export | recordings | seconds each | same bits | least SNR dB | latency, samples |")
    print("| :-- | :-- | --: | --: | --: | --: | --: |")
    failed = False
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as place:
            for artifact in artifacts(Path(place), model):
                length = round(arguments.seconds * RATE) if artifact.emulated else None
                given = [samples[:length] for samples in recordings]
                pairs = [(denoise(model, samples), artifact.denoise(samples)) for samples in given]

                same = sum(np.array_equal(expected, out) for expected, out in pairs)
                least = min(snr_db(expected, out) for expected, out in pairs)
                seconds = np.mean([len(samples) for samples in given]) / RATE
                shown = f"{len(pairs)} | {seconds:.1f} | {same} | {least:.1f} | {artifact.latency_samples}"
                print(f"| {model} | {artifact.name} | {shown} |", flush=True)
                failed |= least < BAR_DB
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
