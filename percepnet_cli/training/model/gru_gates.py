"""The gates of a recurrent layer for one hop of a batch, forwards and backwards, compiled.

bfloat16 arrives as uint16, its bits; ``two`` (two bytes per number) is known when a kernel
is compiled, so only one branch is left. Loops are short and touch few arrays: LLVM
turns a loop into vector instructions only if it can check cheaply that none overlap.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from percepnet_cli.compute.jit import kernel

ONE = np.float32(1.0)
TWO = np.float32(2.0)
HALF = np.float32(0.5)
LOG2E = np.float32(1.0 / math.log(2.0))
LIMIT = np.float32(40.0)
E1, E2, E3, E4, E5, E6 = (
    np.float32(math.log(2.0) ** k / math.factorial(k)) for k in range(1, 7)
)  # series of 2^f at 0; on -0.5..0.5 its error is 1.2e-7
EXPONENT_BIAS = np.int32(127)
MANTISSA_BITS = np.int32(23)
SIXTEEN = np.uint32(16)
LOWEST_BIT = np.uint32(1)
JUST_BELOW_HALF = np.uint32(0x7FFF)


@kernel
def widen(v: Any, two: bool) -> Any:
    """Return float32 from the bits of a bfloat16, or from a float32."""
    if two:
        return np.uint32(np.uint32(v) << SIXTEEN).view(np.float32)
    return np.float32(v)


@kernel
def narrow(x: Any) -> Any:
    """Return the bits of the nearest bfloat16, ties to even."""
    u = np.float32(x).view(np.uint32)
    u = np.uint32(u + JUST_BELOW_HALF + ((u >> SIXTEEN) & LOWEST_BIT))
    return np.uint16(u >> SIXTEEN)


@kernel
def exp2(y: Any) -> Any:
    """Return 2^y, y limited to +-40; relative error 2e-7."""
    y = min(max(y, -LIMIT), LIMIT)
    k = np.int32(y + (HALF if y > 0 else -HALF))
    f = y - np.float32(k)
    p = ONE + f * (E1 + f * (E2 + f * (E3 + f * (E4 + f * (E5 + f * E6)))))
    return p * np.int32((k + EXPONENT_BIAS) << MANTISSA_BITS).view(np.float32)


@kernel
def sigmoid(x: Any) -> Any:
    """Return the logistic function."""
    return ONE / (ONE + exp2(-LOG2E * x))


@kernel
def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent; absolute error 2e-7."""
    return ONE - TWO / (ONE + exp2(TWO * LOG2E * x))


@kernel
def gates_forward(
    t: int,
    after: int,
    product: np.ndarray,
    bias: np.ndarray,
    gates: np.ndarray,
    candidate: np.ndarray,
    state: np.ndarray,
    output: np.ndarray,
) -> None:
    """One hop of a recurrent layer for the whole batch.

    Parameters
    ----------
    t
        Number of the hop.
    after
        Where its state goes in `output`: t + 1 in a layer that runs with time, t in one that runs against it.
    product
        Last output times recurrent weights, [batch, 3 H], order r, z, n.
    bias
        float32 [4 H]: sums for r and z, input bias of n, recurrent bias of n.
    gates
        [hops, batch, 3 H]: holds the inputs times input weights, gets r, z and n.
    candidate
        [hops, batch, H]: gets the recurrent part of n, before it is multiplied by r.
    state
        float32 [batch, H]: the output of the last hop, gets that of this hop.
    output
        [hops + 1, batch, H]: gets the state at `after`.
    """
    two = gates.itemsize == 2
    H = state.shape[1]
    bias_rz = bias[: 2 * H]
    bias_n = bias[2 * H : 3 * H]
    bias_m = bias[3 * H :]
    for b in range(state.shape[0]):
        g = gates[t, b, : 2 * H]
        p = product[b, : 2 * H]
        for j in range(2 * H):
            v = sigmoid(widen(g[j], two) + widen(p[j], two) + bias_rz[j])
            if two:
                g[j] = narrow(v)
            else:
                g[j] = v
        m = candidate[t, b]
        p = product[b, 2 * H :]
        for j in range(H):
            v = widen(p[j], two) + bias_m[j]
            if two:
                m[j] = narrow(v)
            else:
                m[j] = v
        r = gates[t, b, :H]
        n = gates[t, b, 2 * H :]
        for j in range(H):
            v = tanh(widen(n[j], two) + bias_n[j] + widen(r[j], two) * widen(m[j], two))
            if two:
                n[j] = narrow(v)
            else:
                n[j] = v
        z = gates[t, b, H : 2 * H]
        h = state[b]
        o = output[after, b]
        for j in range(H):
            v = widen(n[j], two)
            v = v + widen(z[j], two) * (h[j] - v)
            h[j] = v
            if two:
                o[j] = narrow(v)
            else:
                o[j] = v


@kernel
def gates_backward(
    t: int,
    before: int,
    product: np.ndarray,
    grad_output: np.ndarray,
    candidate: np.ndarray,
    output: np.ndarray,
    gates: np.ndarray,
    grad_product: np.ndarray,
    grad_state: np.ndarray,
    grad_bias: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """One hop backwards; shapes as in :func:`gates_forward`.

    `before` is where `output` holds the state that this hop began with.
    `gates` holds r, z, n and gets the gradient of the input product; `grad_product`
    gets that of the recurrent product (it differs in n only, by the factor r).
    `product` is the part of the state's gradient that came through the recurrent
    weights of the next hop, `grad_state` the part that came through z; float32
    `grad_bias` [4 H] is added to. `scratch` is float32 [2, H].
    """
    two = gates.itemsize == 2
    H = grad_state.shape[1]
    bias_r = grad_bias[:H]
    bias_z = grad_bias[H : 2 * H]
    bias_n = grad_bias[2 * H : 3 * H]
    bias_m = grad_bias[3 * H :]
    a = scratch[0]
    c = scratch[1]
    for b in range(grad_state.shape[0]):
        d = grad_state[b]
        p = product[b]
        o = grad_output[t, b]
        for j in range(H):
            d[j] = d[j] + widen(p[j], two) + widen(o[j], two)
        r = gates[t, b, :H]
        z = gates[t, b, H : 2 * H]
        n = gates[t, b, 2 * H :]
        m = candidate[t, b]
        h = output[before, b]
        for j in range(H):
            v = widen(n[j], two)
            a[j] = d[j] * (ONE - widen(z[j], two)) * (ONE - v * v)
        for j in range(H):
            v = widen(z[j], two)
            c[j] = d[j] * (widen(h[j], two) - widen(n[j], two)) * v * (ONE - v)
        for j in range(H):
            d[j] = d[j] * widen(z[j], two)
        g = grad_product[t, b, H : 2 * H]
        for j in range(H):
            v = c[j]
            bias_z[j] += v
            if two:
                z[j] = narrow(v)
                g[j] = narrow(v)
            else:
                z[j] = v
                g[j] = v
        for j in range(H):
            v = widen(r[j], two)
            c[j] = a[j] * widen(m[j], two) * v * (ONE - v)
        g = grad_product[t, b, 2 * H :]
        for j in range(H):
            v = a[j] * widen(r[j], two)
            bias_m[j] += v
            if two:
                g[j] = narrow(v)
            else:
                g[j] = v
        for j in range(H):
            v = a[j]
            bias_n[j] += v
            if two:
                n[j] = narrow(v)
            else:
                n[j] = v
        g = grad_product[t, b, :H]
        for j in range(H):
            v = c[j]
            bias_r[j] += v
            if two:
                r[j] = narrow(v)
                g[j] = narrow(v)
            else:
                r[j] = v
                g[j] = v
