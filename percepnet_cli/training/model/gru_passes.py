"""A recurrent layer's hops in order, forwards or backwards, on a CPU with tiles: product and gates in one kernel.

The product of 32 sequences' states with the packed recurrent weights stays in the cache until the gates have read it,
in float32. Batches are multiples of 16, widths of 32. ``tests/test_recurrence.py`` compares the whole layer with
``torch.nn.GRU`` and with :class:`~percepnet_cli.training.model.recurrence.Recurrence`.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.gates import gates_backward_16, gates_forward_16
from percepnet_cli.compute.jit import fast_kernel
from percepnet_cli.compute.tiles import (
    DEPTH,
    PAIRS,
    SIDE,
    add_11,
    add_12,
    add_21,
    add_22,
    load_configuration,
    multiply_11,
    multiply_12,
    multiply_21,
    multiply_22,
    store_configuration,
)

BLOCK = 2 * SIDE
"""Sequences whose product is made at once."""


@fast_kernel
def multiply(
    a: np.ndarray, first: int, stride: int, rows: int, b: np.ndarray, columns: int, steps: int, c: np.ndarray
) -> None:
    """Multiply 16 or 32 rows by packed weights.

    In plain loops (``tests/test_recurrence.py``: ``test_packed_tiles_multiply``)::

        for i in range(rows):
            for j in range(columns):
                c[i * columns + j] = sum(a[first + i * stride + k] * weights[j, k] for k in range(32 * steps))

    a: uint16, bfloat16; its first number and how far apart rows are; b: uint32, as ``tiles.pack`` gives it, flat, of a
    matrix with `columns` rows, a multiple of 16, and 32 `steps` columns. c: float32 [rows * columns], written.
    """
    # Two by two tiles of sums at once use every tile of a and b twice; at the edges there is only one
    panel = steps * PAIRS
    for tile in range(0, columns // SIDE, 2):
        two = tile + 1 < columns // SIDE
        if rows == BLOCK and two:
            multiply_22(a, first, stride, b, tile * panel, panel, steps, c, tile * SIDE, columns)
        elif rows == BLOCK:
            multiply_21(a, first, stride, b, tile * panel, panel, steps, c, tile * SIDE, columns)
        elif two:
            multiply_12(a, first, stride, b, tile * panel, panel, steps, c, tile * SIDE, columns)
        else:
            multiply_11(a, first, stride, b, tile * panel, panel, steps, c, tile * SIDE, columns)


@fast_kernel
def add_multiplied(
    a: np.ndarray,
    first: int,
    stride: int,
    rows: int,
    b: np.ndarray,
    columns: int,
    depth: int,
    begin: int,
    steps: int,
    c: np.ndarray,
    place: int,
) -> None:
    """Add the product of 16 or 32 rows with a part of packed weights.

    In plain loops (``tests/test_recurrence.py``: ``test_tiles_give_the_layer_of_torch_and_its_gradients``)::

        for i in range(rows):
            for j in range(columns):
                for k in range(32 * steps):
                    c[place + i * columns + j] += a[first + i * stride + k] * weights[j, 32 * begin + k]

    As :func:`multiply`; the weights have `depth` tiles in depth, of which `steps` from `begin` on are taken.
    """
    # As above, but in each panel of weights only the tiles from ``begin`` on
    panel = depth * PAIRS
    skip = begin * PAIRS
    for tile in range(0, columns // SIDE, 2):
        two = tile + 1 < columns // SIDE
        if rows == BLOCK and two:
            add_22(a, first, stride, b, tile * panel + skip, panel, steps, c, place + tile * SIDE, columns)
        elif rows == BLOCK:
            add_21(a, first, stride, b, tile * panel + skip, panel, steps, c, place + tile * SIDE, columns)
        elif two:
            add_12(a, first, stride, b, tile * panel + skip, panel, steps, c, place + tile * SIDE, columns)
        else:
            add_11(a, first, stride, b, tile * panel + skip, panel, steps, c, place + tile * SIDE, columns)


@fast_kernel
def forward_pass(
    against_time: bool,
    number: int,
    weights: np.ndarray,
    bias: np.ndarray,
    configuration: np.ndarray,
    before: np.ndarray,
    sums: np.ndarray,
    gates: np.ndarray,
    candidate: np.ndarray,
    state: np.ndarray,
    output: np.ndarray,
) -> None:
    """All hops of one direction of a layer.

    In a plain loop (``tests/test_recurrence.py``: ``test_tiles_give_the_layer_of_torch_and_its_gradients``), with
    ``gates_forward`` of ``gru_gates``::

        for t in range(hops):  # or from the last one to the first
            sums = output[before t] @ weights.T
            gates_forward(t, sums, bias, gates, candidate, state, output)

    Parameters
    ----------
    against_time
        Whether the last hop comes first.
    number
        Which direction this is: the place of its units beside the others', 0 or 1.
    weights
        Packed recurrent weights [3 H, H], flat.
    bias
        float32 [4 H]: sums for r and z, input bias of n, recurrent bias of n.
    configuration, before
        ``tiles.CONFIGURATION``, and uint8 [64] for what was configured before.
    sums
        float32 [32 * 3 H], scratch.
    gates
        uint16 [hops, batch, directions * 3 H]: what the inputs give; gets r, z and n.
    candidate
        uint16 [hops, batch, directions * H]: gets the recurrent part of n.
    state
        float32 [batch, H]: the state at the start, gets that at the end.
    output
        uint16 [hops + 2, batch, directions * H]: the state behind hop t at t + 1; before the first hop at 0, or at
        hops + 1 against time.
    """
    hops, batch, columns = gates.shape
    H = state.shape[1]
    row = output.shape[2]
    flat_gates, flat_candidate = gates.reshape(-1), candidate.reshape(-1)
    flat_state, flat_output = state.reshape(-1), output.reshape(-1)

    # The tiles belong to the thread, and torch may have them configured in its own way
    store_configuration(before)
    load_configuration(configuration)

    for step in range(hops):
        t = hops - 1 - step if against_time else step
        source = t + 2 if against_time else t

        # 32 sequences at a time: their sums stay in the cache until the gates have read them
        for first in range(0, batch, BLOCK):
            rows = min(BLOCK, batch - first)
            place = (source * batch + first) * row + number * H
            multiply(flat_output, place, row, rows, weights, 3 * H, H // DEPTH, sums)

            # Where hop and sequence lie in gates, candidate and output, which hold both directions side by side
            for b in range(rows):
                at = t * batch + first + b
                gate = at * columns + number * 3 * H
                cell = at * row + number * H
                out = cell + batch * row
                for unit in range(0, H, SIDE):
                    gates_forward_16(
                        sums,
                        b * 3 * H + unit,
                        bias,
                        unit,
                        H,
                        flat_gates,
                        gate + unit,
                        flat_candidate,
                        cell + unit,
                        flat_state,
                        (first + b) * H + unit,
                        flat_output,
                        out + unit,
                    )

    load_configuration(before)


@fast_kernel
def backward_pass(
    against_time: bool,
    number: int,
    weights: np.ndarray,
    configuration: np.ndarray,
    before: np.ndarray,
    grad_output: np.ndarray,
    output: np.ndarray,
    gates: np.ndarray,
    candidate: np.ndarray,
    grad_state: np.ndarray,
    grad_bias: np.ndarray,
) -> None:
    """All hops of one direction backwards, the last computed one first; shapes as in :func:`forward_pass`.

    In a plain loop (``tests/test_recurrence.py``: ``test_tiles_give_the_layer_of_torch_and_its_gradients``), with
    ``gates_backward`` of ``gru_gates``::

        for t in reversed(range(hops)):  # or from the first one to the last
            gates_backward(t, grad_output, candidate, output, gates, grad_state, grad_bias)
            grad_state += gates[t, :, : 2 * H] @ weights[:, : 2 * H].T + candidate[t] @ weights[:, 2 * H :].T

    weights: packed [H, 3 H], the transposed recurrent weights, flat. grad_output: uint16 [hops, batch, directions * H].
    gates: r, z, n; gets the gradients of what the inputs give. candidate gets the gradient of the recurrent part of n.
    grad_state: float32 [batch, H]: the gradient of the last state, gets that of the first. grad_bias: float32 [4 H],
    added to.
    """
    hops, batch, columns = gates.shape
    H = grad_state.shape[1]
    row = output.shape[2]
    flat_gates, flat_candidate = gates.reshape(-1), candidate.reshape(-1)
    flat_grad, flat_output = grad_output.reshape(-1), output.reshape(-1)
    flat_state = grad_state.reshape(-1)

    # As in the forward pass
    store_configuration(before)
    load_configuration(configuration)

    for step in range(hops):
        t = step if against_time else hops - 1 - step
        source = t + 2 if against_time else t

        for first in range(0, batch, BLOCK):
            rows = min(BLOCK, batch - first)

            # Gates and candidate become their own gradients; what goes to the state through z stays in grad_state
            for b in range(rows):
                at = t * batch + first + b
                gate = at * columns + number * 3 * H
                cell = at * row + number * H
                last = (source * batch + first + b) * row + number * H
                for unit in range(0, H, SIDE):
                    gates_backward_16(
                        flat_gates,
                        gate + unit,
                        H,
                        flat_candidate,
                        cell + unit,
                        flat_output,
                        last + unit,
                        flat_grad,
                        cell + unit,
                        flat_state,
                        (first + b) * H + unit,
                        grad_bias,
                        unit,
                    )

            # What goes to the state before through the weights: by way of r and z, and of the recurrent part of n
            top = t * batch + first
            place = top * columns + number * 3 * H
            depth = 3 * H // DEPTH
            add_multiplied(
                flat_gates, place, columns, rows, weights, H, depth, 0, 2 * H // DEPTH, flat_state, first * H
            )
            place = top * row + number * H
            add_multiplied(
                flat_candidate, place, row, rows, weights, H, depth, 2 * H // DEPTH, H // DEPTH, flat_state, first * H
            )

    load_configuration(before)
