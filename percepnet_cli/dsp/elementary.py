"""Logarithms, powers and the sine, the same on every machine: those of C libraries differ in the last bit.

``tests/test_elementary.py`` compares them with NumPy's in float64: the errors that are stated below.
"""

from __future__ import annotations

import math

import numpy as np

from percepnet_cli.compute.jit import kernel

HALF = np.float32(0.5)
ONE = np.float32(1)
TWO = np.float32(2)
LOG2_E = np.float32(1 / math.log(2))
LOG10_2 = np.float32(math.log10(2))
HALF_PI = np.float32(math.pi / 2)
LN_2 = np.float32(math.log(2))

# Of the series of log((1 + s) / (1 - s)) / (2 s) and of sin(t) / t, in s^2 and t^2, and of exp(u)
L1, L2, L3, L4 = (np.float32(1 / k) for k in (3, 5, 7, 9))
S1, S2, S3, S4, S5 = (np.float32((-1) ** k / math.factorial(2 * k + 1)) for k in range(1, 6))
E2, E3, E4, E5, E6 = (np.float32(1 / math.factorial(k)) for k in range(2, 7))

MANTISSA_BITS = 23
EXPONENT_BIAS = 127
ROOT_HALF_BITS = np.int32(np.array(math.sqrt(0.5), np.float32).view(np.int32))
"""The smallest mantissa, as it lies in memory: they are taken from sqrt(1/2) to sqrt(2), around 1."""


@kernel
def log2(x: np.float32) -> np.float32:
    """Return log2(x) within 3e-7 of its magnitude or 1.5e-7; x is a normal number above 0."""
    # x = 2^exponent m
    bits = np.int32(np.float32(x).view(np.int32))
    exponent = (bits - ROOT_HALF_BITS) >> MANTISSA_BITS
    m = np.int32(bits - (exponent << MANTISSA_BITS)).view(np.float32)

    # log(m) = 2 (s + s^3/3 + s^5/5 + ...), s = (m - 1) / (m + 1), at most 0.172
    s = (m - ONE) / (m + ONE)
    square = s * s
    series = ONE + square * (L1 + square * (L2 + square * (L3 + square * L4)))
    return np.float32(exponent) + (TWO * s) * series * LOG2_E


@kernel
def log10(x: np.float32) -> np.float32:
    """Return log10(x) within 2e-7 of its magnitude or 1.5e-7; x is a normal number above 0."""
    return log2(x) * LOG10_2


@kernel
def exp2(x: np.float32) -> np.float32:
    """Return 2^x within 2.5e-7 of it; x is -126..127."""
    # 2^x = 2^whole e^u, u at most 0.347 either way
    whole = np.floor(x + HALF)
    u = (x - whole) * LN_2
    series = ONE + u * (ONE + u * (E2 + u * (E3 + u * (E4 + u * (E5 + u * E6)))))
    return series * np.int32((np.int32(whole) + EXPONENT_BIAS) << MANTISSA_BITS).view(np.float32)


@kernel
def quarter_sine(x: np.float32) -> np.float32:
    """Return sin(pi x / 2) within 2.5e-7, x in 0..1."""
    t = HALF_PI * x
    square = t * t
    return t * (ONE + square * (S1 + square * (S2 + square * (S3 + square * (S4 + square * S5)))))
