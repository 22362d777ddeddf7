"""Fast tanh and sigmoid, and rounding of activations to 8 bits."""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import kernel

ACTIVATION_SCALE = np.float32(127)
"""Activations lie in -1..1 and are kept as round(127 x): their bound is known, so one scale serves all."""

ONE = np.float32(1)
HALF = np.float32(0.5)
LIMIT = np.float32(9)
"""Beyond it the quotient is 1, and far beyond it would overflow."""
N0 = np.float32(952.52801514)
N1 = np.float32(96.39235687)
N2 = np.float32(0.60863042)
D0 = np.float32(952.72399902)
D1 = np.float32(413.36801147)
D2 = np.float32(11.88600922)


@kernel
def tanh(x: np.float32) -> np.float32:
    """Return tanh(x) within 6.5e-5, in -1..1: a quotient of polynomials (RNNoise ``vec_avx.h``)."""
    x = min(max(x, -LIMIT), LIMIT)
    square = x * x
    value = x * ((N2 * square + N1) * square + N0) / ((D2 * square + D1) * square + D0)
    return min(max(value, -ONE), ONE)


@kernel
def sigmoid(x: np.float32) -> np.float32:
    """Return 1/(1 + exp(-x)) within 3.5e-5, in 0..1."""
    return HALF + HALF * tanh(HALF * x)


@kernel
def round8(x: np.float32) -> np.int8:
    """Round an activation to 8 bits: floor(127 x + 1/2), x in -1..1."""
    return np.int8(np.floor(ACTIVATION_SCALE * x + HALF))
