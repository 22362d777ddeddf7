"""What other denoisers would do with our bands and comb filter: their results put in for the clean speech.

    python tests/quality/teacher_targets.py --pairs PAIRS --enhanced PEERS/NSNet2 "PEERS/DeepFilterNet 3" --out OUT/both
    python tests/quality/dev_table.py --pairs PAIRS --enhanced both=OUT/both

Gains and strengths are those that ``train-targets --teacher`` keeps; several programs are averaged. Without --enhanced
they are the ideal ones. No post-filter.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.signal_path import analyze_signal, synthesize_signal
from percepnet_cli.training.data.mixture import Mixture
from percepnet_cli.training.data.recipe import RECIPE
from percepnet_cli.training.data.targets import example


def read(path: Path, size: int) -> np.ndarray:
    """Return a mono recording, float32 [size], cut or continued with zeros."""
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != SAMPLE_RATE or samples.ndim != 1:
        raise SystemExit(f"{path}: recordings must be mono at {SAMPLE_RATE} Hz")
    return np.pad(samples, (0, max(size - len(samples), 0)))[:size]


def synthesize(noisy: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Return the noisy signal, float32 [hops * 480], with gains and strengths of its windows, float16 [hops, 34]."""
    g, r = (np.pad(values.astype(np.float32), ((0, 1), (0, 0))) for values in (gain, strength))
    return synthesize_signal(analyze_signal(noisy), g, r)


def main() -> None:
    """Write one file for each pair."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder with noisy/ and clean/, 48 kHz mono")
    parser.add_argument("--enhanced", type=Path, nargs="*", default=[], help="folders of results, not delayed")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for path in sorted((arguments.pairs / "noisy").iterdir()):
        size = soundfile.info(path).frames // HOP_SIZE * HOP_SIZE
        noisy, clean = (read(arguments.pairs / name / path.name, size) for name in ("noisy", "clean"))
        results = [read(next(folder.glob(f"{path.stem}.*")), size) for folder in arguments.enhanced]
        found = example(Mixture(noisy, clean, SAMPLE_RATE / 2, SAMPLE_RATE / 2), RECIPE.attenuation, results)
        gain, strength = (found.teacher_gain, found.teacher_strength) if results else (found.gain, found.strength)
        soundfile.write(arguments.out / f"{path.stem}.wav", synthesize(noisy, gain, strength), SAMPLE_RATE, "PCM_16")


if __name__ == "__main__":
    main()
