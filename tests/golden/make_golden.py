"""Renew the golden files after a wanted change of sound; CHANGELOG.md then needs a line that says why.

python tests/golden/make_golden.py

`clean.flac` is the speech of 1.5 s of examples/street.flac without the noise; it stays as it is. `denoised.flac`
is what the shipped model makes of the noisy recording there, `features.npz` what the network sees.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from percepnet_cli.constants import HOP_SIZE, LOOKAHEAD_HOPS
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.signal_path import analyze_signal

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent.parent / "examples" / "street.flac"
START, SIZE = 160 * HOP_SIZE, 150 * HOP_SIZE
"""The segment of the example that is compared: 1.5 s, in which the speech begins."""


def noisy() -> np.ndarray:
    """Return the segment with all that comes before it, float32 [n]."""
    return soundfile.read(EXAMPLE, frames=START + SIZE, dtype="float32")[0]


def whole() -> np.ndarray:
    """Return what the shipped model makes of all that, float32 [n]."""
    return Denoiser().denoise(noisy())


def denoised() -> np.ndarray:
    """Return the segment of it that is compared, float32 [SIZE]."""
    return whole()[START:]


def features() -> np.ndarray:
    """Return the features of the segment, float32 [150, 70]."""
    return analyze_signal(noisy()).features[START // HOP_SIZE - LOOKAHEAD_HOPS : -1 - LOOKAHEAD_HOPS]


if __name__ == "__main__":
    soundfile.write(HERE / "denoised.flac", denoised(), 48000, subtype="PCM_24")
    np.savez_compressed(HERE / "features.npz", features=features())
