"""The 34 triangular ERB bands: energies, cross terms and coherences, and the way back to bins.

This is the shared vocabulary of the stages. Bin k between the centers e_i <= k < e_{i+1}
belongs to band i with weight 1 - f and to band i+1 with weight f, f = (k - e_i)/(e_{i+1} - e_i);
the weights of a bin sum to 1. The two end bands have only one flank and count double (RNNoise 0.1).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from percepnet_cli.compute.jit import kernel
from percepnet_cli.compute.vectors import LANES, Value, Vectors, vector_function
from percepnet_cli.constants import BAND_CENTERS, NUM_BANDS, NUM_BINS, SILENCE_ENERGY

SILENCE = np.float32(SILENCE_ENERGY)
ZERO = np.float32(0)
ONE = np.float32(1)


def _fractions() -> np.ndarray:
    """Return f of every bin (see above), float32 [481]; 0 from the last center on."""
    fraction = np.zeros(NUM_BINS, np.float64)
    for low, high in pairwise(BAND_CENTERS):
        fraction[low:high] = np.arange(high - low) / (high - low)
    return fraction.astype(np.float32)


FRACTION = _fractions()
"""Weight of the upper of a bin's two bands, float32 [481]."""


def triangles() -> np.ndarray:
    """Return the weight of every bin in every band, float64 [34, 481]; the bins above the last center have none."""
    weights = np.zeros((NUM_BANDS, NUM_BINS))
    for band, (low, high) in enumerate(pairwise(BAND_CENTERS)):
        weights[band, low:high] = 1 - np.arange(high - low) / (high - low)
        weights[band + 1, low:high] = np.arange(high - low) / (high - low)
    weights[-1, BAND_CENTERS[-1]] = 1
    weights[[0, -1]] *= 2
    return weights


def write_cross(v: Vectors, A: Value, B: Value, out: Value) -> None:
    """Write the code that sums Re{A* B} over each band.

    In plain loops (``tests/reference.py``: ``cross``)::

        for k in range(481):
            product = A[k].real * B[k].real + A[k].imag * B[k].imag
            out[band[k]] += (1 - FRACTION[k]) * product  # end bands count double
            out[band[k] + 1] += FRACTION[k] * product

    A, B: float*, 481 complex numbers; out: float*, 34, written.
    """
    weights = triangles()

    # 16 bins at a time; each adds to the bands that have a weight there
    sums: list[Value | None] = [None] * NUM_BANDS
    for first in range(0, BAND_CENTERS[-1] + 1, LANES):
        a, b = v.load_pairs(A, 2 * first), v.load_pairs(B, 2 * first)
        product = v.plus(v.times_real(a[0], b[0]), v.times_real(a[1], b[1]))
        for band in np.flatnonzero(weights[:, first : first + LANES].any(axis=1)):
            part = v.product(product, weights[band, first : first + LANES])
            before = sums[band]
            sums[band] = part if before is None else v.plus(before, part)

    # Each band's 16 partial sums become one number
    zero = v.constant(0.0)
    for first in (0, LANES, NUM_BANDS - LANES):  # the last two overlap; the bands in both are the same sums
        v.store(v.sums([one or zero for one in sums[first : first + LANES]]), out, first)


def write_interpolate(v: Vectors, values: Value, out: Value) -> None:
    """Write the code that spreads values over the bins.

    In a plain loop (``tests/reference.py``: ``interpolate``)::

        for k in range(481):
            low, high = values[band[k]], values[min(band[k] + 1, 33)]
            out[k] = low + FRACTION[k] * (high - low)

    values: float*, 34; out: float*, 481, written.
    """
    centers = np.array(BAND_CENTERS)
    band = np.searchsorted(centers, np.arange(NUM_BINS), side="right") - 1

    # 16 bins lie in at most 16 neighboring bands: one load, then a choice for each bin
    for first in (*range(0, NUM_BINS - LANES, LANES), NUM_BINS - LANES):
        lower = band[first : first + LANES]
        start = int(min(lower[0], NUM_BANDS - LANES))
        near = v.load(values, start)
        low = v.shuffle(near, near, lower - start)
        high = v.shuffle(near, near, np.minimum(lower + 1, NUM_BANDS - 1) - start)

        # Linear between the two
        step = v.product(v.minus(high, low), FRACTION[first : first + LANES])
        v.store(v.plus(low, step), out, first)


_cross = vector_function(write_cross)
_interpolate = vector_function(write_interpolate)


@kernel
def cross(A: np.ndarray, B: np.ndarray, out: np.ndarray) -> None:
    """Sum Re{A* B} over each band; with A = B, the band energies.

    A, B: complex64 [hops, 481]. out: float32 [hops, 34], written.
    """
    for hop in range(A.shape[0]):
        _cross(A[hop], B[hop], out[hop])


@kernel
def coherence(C: np.ndarray, Ea: np.ndarray, Eb: np.ndarray, out: np.ndarray) -> None:
    """Normalize cross terms: q = C / sqrt(Ea Eb), limited to 0..1; 0 where there is nothing.

    C, Ea, Eb: float32 [hops, 34]. out: float32 [hops, 34], written.
    """
    hops, bands = C.shape
    for hop in range(hops):
        for band in range(bands):
            ea = Ea[hop, band]
            eb = Eb[hop, band]

            # Two divisions: the product of two small energies could vanish
            q = ZERO
            if ea > SILENCE and eb > SILENCE:
                q = C[hop, band] / np.sqrt(ea) / np.sqrt(eb)
            out[hop, band] = min(max(q, ZERO), ONE)


@kernel
def interpolate(values: np.ndarray, out: np.ndarray) -> None:
    """Spread one value per band over the bins, linearly between centers, constant above the last.

    values: float32 [34]. out: float32 [481], written.
    """
    _interpolate(values, out)


@kernel
def energy(Y: np.ndarray, out: np.ndarray) -> None:
    """Band energies E_b = sum_k w_b(k) |Y(k)|^2.

    Y: complex64 [hops, 481]. out: float32 [hops, 34], written.
    """
    cross(Y, Y, out)
