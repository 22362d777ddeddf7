"""How loud it is before and after, for the meters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from percepnet_cli.compute.jit import kernel


@dataclass
class Levels:
    """What went through of late: sums of squares of both sides and of the noise in them, peaks, frames."""

    frames: int = 0
    noisy_energy: float = 0.0
    heard_energy: float = 0.0
    speech: float = 0.0
    noise_before: float = 0.0
    noise_after: float = 0.0
    noisy_peak: float = 0.0
    heard_peak: float = 0.0

    def add(self, noisy: np.ndarray, heard: np.ndarray, first: int, frames: int) -> None:
        """Add frames that lie in two rings, float32 [2**k, channels], from frame number ``first`` on."""
        found = np.zeros((2, 2))
        for ring, row in zip((noisy, heard), found, strict=True):
            measure(ring, first, frames, row)
        self.frames += frames
        self.noisy_energy += float(found[0, 0])
        self.heard_energy += float(found[1, 0])
        self.noisy_peak = max(self.noisy_peak, float(found[0, 1]))
        self.heard_peak = max(self.heard_peak, float(found[1, 1]))


@kernel
def measure(ring: np.ndarray, first: int, frames: int, out: np.ndarray) -> None:
    """Write the energy of some frames, a mean over the channels, and their highest magnitude to ``out``, float64 [2].

    ring: float32 [2**k, channels]; first: number of the first frame.
    """
    mask, channels = ring.shape[0] - 1, ring.shape[1]
    energy, peak = 0.0, np.float32(0)
    for frame in range(first, first + frames):
        for channel in range(channels):
            value = ring[frame & mask, channel]
            energy += np.float64(value) * value
            peak = max(peak, abs(value))
    out[0], out[1] = energy / channels, peak
