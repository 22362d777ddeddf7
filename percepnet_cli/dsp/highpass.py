"""Input conditioning: remove DC and what lies below hearing, and keep values that would poison the state out."""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import kernel
from percepnet_cli.constants import HIGHPASS_A, HIGHPASS_B

B0, B1, B2 = HIGHPASS_B
_, A1, A2 = HIGHPASS_A

ZERO = np.float64(0)
LARGEST = np.float64(1e6)
"""Samples are limited to this magnitude (full scale is 1): band energies then stay finite in float32."""

SMALLEST = 1e-15
"""Results below this (-300 dB) become zero, so that decaying tails never reach denormal numbers."""


def new_state() -> np.ndarray:
    """Return the filter memory of a stream that starts in silence: float64 [2]."""
    return np.zeros(2, np.float64)


@kernel
def filter_hops(samples: np.ndarray, state: np.ndarray, out: np.ndarray) -> None:
    """Apply the second-order high-pass (transposed direct form II, in float64).

    samples: float32 [hops, 480]; NaN and infinity count as 0.
    state: float64 [2], updated. out: float32 [hops * 480], written.
    """
    hops, size = samples.shape
    s0 = state[0]
    s1 = state[1]
    for hop in range(hops):
        for n in range(size):
            # What is no number is silence; what is far beyond full scale is limited
            x = np.float64(samples[hop, n])
            x = min(max(x, -LARGEST), LARGEST) if np.isfinite(x) else ZERO

            # One step of the recursion
            y = B0 * x + s0
            s0 = B1 * x - A1 * y + s1
            s1 = B2 * x - A2 * y
            out[hop * size + n] = np.float32(y) if abs(y) > SMALLEST else np.float32(0.0)

        # A decayed state becomes exactly zero: denormal numbers are slow
        if abs(s0) < SMALLEST and abs(s1) < SMALLEST:
            s0 = 0.0
            s1 = 0.0

    state[0] = s0
    state[1] = s1
