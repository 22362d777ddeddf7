"""Fast tanh and sigmoid, and rounding of activations to 8 bits.

``tests/test_layers.py`` compares them with NumPy's own functions: the errors that are stated below.
"""

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
    # Neither a table nor an exponential, so a loop over a layer becomes vector instructions
    x = min(max(x, -LIMIT), LIMIT)
    square = x * x
    value = x * ((N2 * square + N1) * square + N0) / ((D2 * square + D1) * square + D0)

    # The quotient passes 1 by up to 2 % near the limit, and 127 times that would wrap in 8 bits
    return min(max(value, -ONE), ONE)


@kernel
def sigmoid(x: np.float32) -> np.float32:
    """Return 1/(1 + exp(-x)) within 3.5e-5, in 0..1."""
    # 1/(1 + exp(-x)) = 1/2 + tanh(x/2)/2
    return HALF + HALF * tanh(HALF * x)


@kernel
def round8(x: np.float32) -> np.int8:
    """Round an activation to 8 bits: floor(127 x + 1/2), x in -1..1."""
    # Halves always go up: a plain floor, which every CPU has as a vector instruction
    return np.int8(np.floor(ACTIVATION_SCALE * x + HALF))
