"""The 34 triangular ERB bands: energies, cross terms and coherences, and the way back to bins.

This is the shared vocabulary of the stages. Bin k between the tips e_i <= k < e_{i+1}
belongs to band i with weight 1 - f and to band i+1 with weight f, f = (k - e_i)/(e_{i+1} - e_i);
the weights of a bin sum to 1. The two end bands have only one flank and count double (RNNoise 0.1).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from percepnet_cli.constants import BAND_TIPS, NUM_BINS, SILENCE_ENERGY
from percepnet_cli.jit import kernel

TIPS = np.array(BAND_TIPS, np.int32)
"""Bins of the band tips, int32 [34]."""

SILENCE = np.float32(SILENCE_ENERGY)
ZERO = np.float32(0)
ONE = np.float32(1)
TWO = np.float32(2)


def _fractions() -> np.ndarray:
    """Return f of every bin (see above), float32 [481]; 0 from the last tip on."""
    fraction = np.zeros(NUM_BINS, np.float64)
    for low, high in pairwise(BAND_TIPS):
        fraction[low:high] = np.arange(high - low) / (high - low)
    return fraction.astype(np.float32)


FRACTION = _fractions()
"""Weight of the upper of a bin's two bands, float32 [481]."""


@kernel
def cross(A: np.ndarray, B: np.ndarray, tips: np.ndarray, fraction: np.ndarray, out: np.ndarray) -> None:
    """Sum Re{A* B} over each band; with A = B, the band energies.

    A, B: complex64 [hops, 481]; tips: int32 [34]; fraction: float32 [481].
    out: float32 [hops, 34], written.
    """
    hops = A.shape[0]
    last = tips.shape[0] - 1
    for hop in range(hops):
        carry = ZERO
        for band in range(last):
            lower = ZERO
            upper = ZERO
            for k in range(tips[band], tips[band + 1]):
                product = A[hop, k].real * B[hop, k].real + A[hop, k].imag * B[hop, k].imag
                lower += (ONE - fraction[k]) * product  # not total - upper: energies must not be negative
                upper += fraction[k] * product
            out[hop, band] = carry + lower
            carry = upper
        k = tips[last]
        carry += A[hop, k].real * B[hop, k].real + A[hop, k].imag * B[hop, k].imag
        out[hop, last] = TWO * carry
        out[hop, 0] *= TWO


@kernel
def coherence(C: np.ndarray, Ea: np.ndarray, Eb: np.ndarray, out: np.ndarray) -> None:
    """Normalise cross terms: q = C / sqrt(Ea Eb), limited to 0..1; 0 where there is nothing.

    C, Ea, Eb: float32 [hops, 34]. out: float32 [hops, 34], written.
    """
    hops, bands = C.shape
    for hop in range(hops):
        for band in range(bands):
            ea = Ea[hop, band]
            eb = Eb[hop, band]
            q = ZERO
            if ea > SILENCE and eb > SILENCE:
                q = C[hop, band] / np.sqrt(ea) / np.sqrt(eb)
            out[hop, band] = min(max(q, ZERO), ONE)


@kernel
def interpolate(values: np.ndarray, tips: np.ndarray, fraction: np.ndarray, out: np.ndarray) -> None:
    """Spread one value per band over the bins, linearly between tips, constant above the last.

    values: float32 [34]; tips: int32 [34]; fraction: float32 [481].
    out: float32 [481], written.
    """
    last = tips.shape[0] - 1
    for band in range(last):
        lower = values[band]
        step = values[band + 1] - lower
        for k in range(tips[band], tips[band + 1]):
            out[k] = lower + fraction[k] * step
    for k in range(tips[last], out.shape[0]):
        out[k] = values[last]


def energy(Y: np.ndarray, out: np.ndarray) -> None:
    """Band energies E_b = sum_k w_b(k) |Y(k)|^2.

    Y: complex64 [hops, 481]. out: float32 [hops, 34], written.
    """
    cross(Y, Y, TIPS, FRACTION, out)
