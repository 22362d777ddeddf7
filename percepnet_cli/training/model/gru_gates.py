"""The gates of a recurrent layer (GRU) for one hop of a batch, forwards and backwards, compiled.

Forwards, from what the inputs give (i) and what the last state h gives (s), each with its bias:

    r = sigmoid(i_r + s_r), z = sigmoid(i_z + s_z), m = s_n, n = tanh(i_n + r m), h' = n + z (h - n)

Backwards, from the gradient d of h', the gradients of what is inside the functions, and of h:

    dz = d (h - n) z (1 - z), dn = d (1 - z) (1 - n^2), dr = dn m r (1 - r), dm = dn r, dh = d z + (through s)

``tests/test_recurrence.py`` compares layer and gradients with ``torch.nn.GRU``.

bfloat16 arrives as uint16, its bits; ``two`` (two bytes per number) is known when ``gates_forward`` or
``gates_backward`` is compiled, so only one branch is left. Each part is a loop over so many ``units`` that touches few
arrays: LLVM turns a loop into vector instructions only if it can check cheaply that none overlap.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from percepnet_cli.compute.jit import fast_kernel, part

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


@fast_kernel
def widen(v: Any, two: bool) -> Any:
    """Return float32 from the bits of a bfloat16, or from a float32."""
    if two:
        return np.uint32(np.uint32(v) << SIXTEEN).view(np.float32)
    return np.float32(v)


@fast_kernel
def narrow(x: Any) -> Any:
    """Return the bits of the nearest bfloat16, ties to even."""
    # Add just below half of the last bit that is kept, and half if that bit is odd: ties become even
    u = np.float32(x).view(np.uint32)
    u = np.uint32(u + JUST_BELOW_HALF + ((u >> SIXTEEN) & LOWEST_BIT))
    return np.uint16(u >> SIXTEEN)


@fast_kernel
def exp2(y: Any) -> Any:
    """Return 2^y, y limited to +-40; relative error 2e-7."""
    y = min(max(y, -LIMIT), LIMIT)

    # 2^y = 2^k 2^f, k whole, f in -0.5..0.5
    k = np.int32(y + (HALF if y > 0 else -HALF))
    f = y - np.float32(k)

    # The series for 2^f; 2^k is written into the exponent of a float
    p = ONE + f * (E1 + f * (E2 + f * (E3 + f * (E4 + f * (E5 + f * E6)))))
    return p * np.int32((k + EXPONENT_BIAS) << MANTISSA_BITS).view(np.float32)


@fast_kernel
def sigmoid(x: Any) -> Any:
    """Return the logistic function."""
    return ONE / (ONE + exp2(-LOG2E * x))


@fast_kernel
def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent; absolute error 2e-7."""
    return ONE - TWO / (ONE + exp2(TWO * LOG2E * x))


@part
def reset_and_update(product: np.ndarray, bias: np.ndarray, gates: np.ndarray, units: int, two: bool) -> None:
    """Find r and z of one sequence: the logistic function of what inputs and state give together.

    product, bias: [2 H]; gates: [2 H], what the inputs give; gets r and z.
    """
    for j in range(units):
        v = sigmoid(widen(gates[j], two) + widen(product[j], two) + bias[j])
        if two:
            gates[j] = narrow(v)
        else:
            gates[j] = v


@part
def recurrent_part(product: np.ndarray, bias: np.ndarray, candidate: np.ndarray, units: int, two: bool) -> None:
    """Find m of one sequence: what the state gives to n, for the way back. product, bias, candidate: [H]."""
    for j in range(units):
        v = widen(product[j], two) + bias[j]
        if two:
            candidate[j] = narrow(v)
        else:
            candidate[j] = v


@part
def new_gate(
    reset: np.ndarray, candidate: np.ndarray, bias: np.ndarray, new: np.ndarray, units: int, two: bool
) -> None:
    """Find n = tanh(i_n + r m) of one sequence.

    reset, candidate, bias: [H]; new: [H], what the inputs give; gets n.
    """
    for j in range(units):
        v = tanh(widen(new[j], two) + bias[j] + widen(reset[j], two) * widen(candidate[j], two))
        if two:
            new[j] = narrow(v)
        else:
            new[j] = v


@part
def next_state(
    update: np.ndarray, new: np.ndarray, state: np.ndarray, output: np.ndarray, units: int, two: bool
) -> None:
    """Find h' = n + z (h - n) of one sequence. update, new, output: [H]; state: float32 [H], h, gets h'."""
    for j in range(units):
        v = widen(new[j], two)
        v = v + widen(update[j], two) * (state[j] - v)
        state[j] = v
        if two:
            output[j] = narrow(v)
        else:
            output[j] = v


@fast_kernel
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

    In a plain loop (``tests/test_recurrence.py``: ``test_tiles_give_the_layer_of_torch_and_its_gradients``),
    with p in three parts::

        for b, j in np.ndindex(batch, H):
            r = sigmoid(gates[t, b, j] + p_r[b, j] + bias_r[j])
            z = sigmoid(gates[t, b, H + j] + p_z[b, j] + bias_z[j])
            n = tanh(gates[t, b, 2 * H + j] + bias_n[j] + r * (p_n[b, j] + bias_m[j]))
            state[b, j] = n + z * (state[b, j] - n)

    Parameters
    ----------
    t
        Number of the hop.
    after
        Where its state goes in `output`: t + 1 in a layer that runs with time, t in one that runs against it.
    product
        p: last output times recurrent weights, [batch, 3 H], order r, z, n.
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
        reset_and_update(product[b, : 2 * H], bias_rz, gates[t, b, : 2 * H], 2 * H, two)
        recurrent_part(product[b, 2 * H :], bias_m, candidate[t, b], H, two)
        new_gate(gates[t, b, :H], candidate[t, b], bias_n, gates[t, b, 2 * H :], H, two)
        next_state(gates[t, b, H : 2 * H], gates[t, b, 2 * H :], state[b], output[after, b], H, two)


@part
def gather_gradient(through: np.ndarray, grad_output: np.ndarray, d: np.ndarray, units: int, two: bool) -> None:
    """Find d of one sequence: what came through z, and now through the recurrent weights and from above.

    through, grad_output: [H]; d: float32 [H], added to.
    """
    for j in range(units):
        d[j] = d[j] + widen(through[j], two) + widen(grad_output[j], two)


@part
def through_new(d: np.ndarray, update: np.ndarray, new: np.ndarray, dn: np.ndarray, units: int, two: bool) -> None:
    """Find dn = d (1 - z) (1 - n^2) of one sequence. update, new: [H]; d, dn: float32 [H], dn is written."""
    for j in range(units):
        v = widen(new[j], two)
        dn[j] = d[j] * (ONE - widen(update[j], two)) * (ONE - v * v)


@part
def through_update(
    d: np.ndarray, update: np.ndarray, new: np.ndarray, before: np.ndarray, dz: np.ndarray, units: int, two: bool
) -> None:
    """Find dz = d (h - n) z (1 - z) of one sequence. update, new, before: [H]; d, dz: float32 [H], dz is written."""
    for j in range(units):
        v = widen(update[j], two)
        dz[j] = d[j] * (widen(before[j], two) - widen(new[j], two)) * v * (ONE - v)


@part
def through_reset(
    dn: np.ndarray, reset: np.ndarray, candidate: np.ndarray, dr: np.ndarray, units: int, two: bool
) -> None:
    """Find dr = dn m r (1 - r) of one sequence. reset, candidate: [H]; dn, dr: float32 [H], dr is written."""
    for j in range(units):
        v = widen(reset[j], two)
        dr[j] = dn[j] * widen(candidate[j], two) * v * (ONE - v)


@part
def keep_for_state(d: np.ndarray, update: np.ndarray, units: int, two: bool) -> None:
    """Keep d z of one sequence, what goes straight to the state before. update: [H]; d: float32 [H], updated."""
    for j in range(units):
        d[j] = d[j] * widen(update[j], two)


@part
def give_recurrent_part(
    dn: np.ndarray, reset: np.ndarray, grad_bias: np.ndarray, grad_product: np.ndarray, units: int, two: bool
) -> None:
    """Give dm = dn r of one sequence to the recurrent product and the bias.

    reset, grad_product: [H]; dn, grad_bias: float32 [H], grad_bias is added to.
    """
    for j in range(units):
        v = dn[j] * widen(reset[j], two)
        grad_bias[j] += v
        if two:
            grad_product[j] = narrow(v)
        else:
            grad_product[j] = v


@part
def give_inputs(values: np.ndarray, grad_bias: np.ndarray, gate: np.ndarray, units: int, two: bool) -> None:
    """Give a gradient of one sequence to the inputs and the bias: it takes the place of its gate.

    values, grad_bias: float32 [H], grad_bias is added to; gate: [H].
    """
    for j in range(units):
        v = values[j]
        grad_bias[j] += v
        if two:
            gate[j] = narrow(v)
        else:
            gate[j] = v


@part
def give_both(
    values: np.ndarray, grad_bias: np.ndarray, gate: np.ndarray, grad_product: np.ndarray, units: int, two: bool
) -> None:
    """Do as ``give_inputs``, and the same to the recurrent product: r and z are functions of the sum of both."""
    for j in range(units):
        v = values[j]
        grad_bias[j] += v
        if two:
            gate[j] = narrow(v)
            grad_product[j] = narrow(v)
        else:
            gate[j] = v
            grad_product[j] = v


@fast_kernel
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

    In a plain loop (``tests/test_recurrence.py``: ``test_tiles_give_the_layer_of_torch_and_its_gradients``),
    for one unit of one sequence, with its own r, z, n, m and the h before::

        d = grad_state + product + grad_output
        dn = d * (1 - z) * (1 - n**2)
        dz = d * (h - n) * z * (1 - z)
        dr = dn * m * r * (1 - r)
        gates = dr, dz, dn
        grad_product = dr, dz, dn * r
        grad_state = d * z

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
    dn = scratch[0]
    dz_or_dr = scratch[1]

    for b in range(grad_state.shape[0]):
        d = grad_state[b]
        r = gates[t, b, :H]
        z = gates[t, b, H : 2 * H]
        n = gates[t, b, 2 * H :]
        m = candidate[t, b]
        h = output[before, b]

        # Everything that needs z and n, before their places get gradients
        gather_gradient(product[b], grad_output[t, b], d, H, two)
        through_new(d, z, n, dn, H, two)
        through_update(d, z, n, h, dz_or_dr, H, two)
        keep_for_state(d, z, H, two)
        give_both(dz_or_dr, bias_z, z, grad_product[t, b, H : 2 * H], H, two)

        # And what needs r
        through_reset(dn, r, m, dz_or_dr, H, two)
        give_recurrent_part(dn, r, bias_m, grad_product[t, b, 2 * H :], H, two)
        give_inputs(dn, bias_n, n, H, two)
        give_both(dz_or_dr, bias_r, r, grad_product[t, b, :H], H, two)
