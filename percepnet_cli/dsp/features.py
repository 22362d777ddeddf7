"""The 70 numbers per hop that the network sees.

[Valin 2020] and [Valin 2021]: band energies with look-ahead, pitch coherences, period, pitch correlation.
Their scaling is not published; ours: log10 of the energies, the coherences as
they are, the period in octaves. The network's file holds the mean and deviation that
normalize them.
"""

from __future__ import annotations

import math

import numpy as np

from percepnet_cli.compute.jit import kernel
from percepnet_cli.constants import ENERGY_FLOOR, NUM_BANDS, PERIOD_MIN
from percepnet_cli.dsp.elementary import log2, log10

FLOOR = np.float32(ENERGY_FLOOR)
LOG2_PERIOD_MIN = np.float32(math.log2(PERIOD_MIN))


@kernel
def pack(E: np.ndarray, coherence: np.ndarray, period: np.ndarray, correlation: np.ndarray, out: np.ndarray) -> None:
    """Lay the features of each hop side by side.

    E: float32 [hops, 34], band energies of the newest windows (two ahead of the rest).
    coherence: float32 [hops, 34], 0..1, between window and comb-filtered window.
    period: int32 [hops], samples; correlation: float32 [hops], 0..1.
    out: float32 [hops, 70], written: log10(E + floor), coherence, log2(period / 96), correlation.
    """
    hops = out.shape[0]
    for hop in range(hops):
        # Energies of the newest window, coherences of the one behind
        for band in range(NUM_BANDS):
            out[hop, band] = log10(E[hop, band] + FLOOR)
            out[hop, NUM_BANDS + band] = coherence[hop, band]

        # Pitch: octaves above the shortest period, and how sure it is
        out[hop, 2 * NUM_BANDS] = log2(np.float32(period[hop])) - LOG2_PERIOD_MIN
        out[hop, 2 * NUM_BANDS + 1] = correlation[hop]
