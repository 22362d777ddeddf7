"""Layers on 8-bit weights. They know nothing of PercepNet.

All take several hops at a time; what a hop gives never depends on how many came
along. Weights are int8 with one float32 scale per output row: w = scale * int8. Activations
between layers are int8, 127 standing for 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from percepnet_cli.jit import kernel
from percepnet_cli.network.activations import quantize, round8, sigmoid, tanh
from percepnet_cli.network.dot import rows_times_vector, rows_times_vectors

ONE = np.float32(1)
ZERO = np.float32(0)


class Linear(NamedTuple):
    """A matrix with its bias, as the kernels want it."""

    weights: np.ndarray
    """int8 [rows, columns], C-contiguous."""
    scale: np.ndarray
    """float32 [rows]: value of one unit of (int8 weight x int8 activation), so row scale / 127."""
    bias: np.ndarray
    """float32 [rows]."""


@kernel
def float_dense(inputs: np.ndarray, weights: np.ndarray, scale: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """Fully connected layer with tanh, on float inputs (the features, which have no bound).

    inputs: float32 [hops, columns]; weights: int8 [rows, columns]; scale: float32 [rows], of the weights
    alone; bias: float32 [rows]. out: int8 [hops, rows], written.
    """
    rows, columns = weights.shape
    for hop in range(inputs.shape[0]):
        for row in range(rows):
            total = ZERO
            for column in range(columns):
                total += np.float32(weights[row, column]) * inputs[hop, column]
            value = tanh(scale[row] * total + bias[row])
            out[hop, row] = round8(value)


@kernel
def tanh_rows(sums: np.ndarray, scale: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """Finish a layer: scale, bias, tanh, 8 bits. sums: int32 [hops, rows]; out: int8 [hops, rows], written."""
    for hop in range(sums.shape[0]):
        for row in range(sums.shape[1]):
            value = tanh(scale[row] * np.float32(sums[hop, row]) + bias[row])
            out[hop, row] = round8(value)


@kernel
def sigmoid_rows(sums: np.ndarray, scale: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """Finish a layer: scale, bias, sigmoid. sums: int32 [hops, rows]; out: float32 [hops, rows], written."""
    for hop in range(sums.shape[0]):
        for row in range(sums.shape[1]):
            out[hop, row] = sigmoid(scale[row] * np.float32(sums[hop, row]) + bias[row])


@kernel
def gru_hops(
    input_sums: np.ndarray,
    input_scale: np.ndarray,
    input_bias: np.ndarray,
    weights: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    state: np.ndarray,
    state8: np.ndarray,
    sums: np.ndarray,
    out: np.ndarray,
) -> None:
    """Run a gated recurrent unit over the hops.

    Gates in the order reset, update, new, the reset gate after the recurrent product, as in PyTorch:
    r = s(Wx + Uh), z = s(Wx + Uh), n = tanh(Wx + r (Uh + b)), h' = n + z (h - n).
    input_sums: int32 [hops, 3 width], the input products; input_scale, input_bias: float32 [3 width]; weights: int8
    [3 width, width], scale, bias: the recurrent matrix. state: float32 [width], updated; state8: int8 [width], the
    state in 8 bits, updated. sums: int32 [3 width], working space. out: int8 [hops, width], written.
    """
    width = state.shape[0]
    for hop in range(input_sums.shape[0]):
        rows_times_vector(weights, state8, sums)
        for i in range(width):
            j = i + width
            k = j + width
            r = sigmoid(
                input_scale[i] * np.float32(input_sums[hop, i])
                + input_bias[i]
                + scale[i] * np.float32(sums[i])
                + bias[i]
            )
            z = sigmoid(
                input_scale[j] * np.float32(input_sums[hop, j])
                + input_bias[j]
                + scale[j] * np.float32(sums[j])
                + bias[j]
            )
            n = tanh(
                input_scale[k] * np.float32(input_sums[hop, k])
                + input_bias[k]
                + r * (scale[k] * np.float32(sums[k]) + bias[k])
            )
            state[i] = n + z * (state[i] - n)
        quantize(state, state8)
        for i in range(width):
            out[hop, i] = state8[i]


class Dense:
    """Fully connected layer with a sigmoid."""

    def __init__(self, linear: Linear, max_hops: int) -> None:
        self._linear = linear
        self._sums = np.zeros((max_hops, len(linear.bias)), np.int32)

    def run(self, inputs: np.ndarray, out: np.ndarray) -> None:
        """Compute the layer. inputs: int8 [hops, columns]; out: float32 [hops, rows], 0..1, written."""
        sums = self._sums[: len(inputs)]
        rows_times_vectors(self._linear.weights, inputs, sums)
        sigmoid_rows(sums, self._linear.scale, self._linear.bias, out)


class Conv:
    """Causal convolution over hops with tanh; remembers the inputs that the next hop needs."""

    def __init__(self, linear: Linear, kernel_hops: int, max_hops: int) -> None:
        self._linear = linear
        self._old = kernel_hops - 1
        columns = linear.weights.shape[1] // kernel_hops
        self._inputs = np.zeros((self._old + max_hops, columns), np.int8)
        self._stacked = np.zeros((max_hops, kernel_hops * columns), np.int8)
        self._sums = np.zeros((max_hops, len(linear.bias)), np.int32)

    def run(self, inputs: np.ndarray, out: np.ndarray) -> None:
        """Compute the layer. inputs: int8 [hops, columns]; out: int8 [hops, rows], written."""
        hops = len(inputs)
        old, columns = self._old, inputs.shape[1]
        self._inputs[old : old + hops] = inputs
        for tap in range(old + 1):  # oldest first
            self._stacked[:hops, tap * columns : (tap + 1) * columns] = self._inputs[tap : tap + hops]
        sums = self._sums[:hops]
        rows_times_vectors(self._linear.weights, self._stacked[:hops], sums)
        tanh_rows(sums, self._linear.scale, self._linear.bias, out)
        self._inputs[:old] = self._inputs[hops : hops + old].copy()


class Gru:
    """Gated recurrent unit with its state."""

    def __init__(self, inputs: Linear, recurrent: Linear, max_hops: int) -> None:
        self._input = inputs
        self._recurrent = recurrent
        width = recurrent.weights.shape[1]
        self._state = np.zeros(width, np.float32)
        self._state8 = np.zeros(width, np.int8)
        self._input_sums = np.zeros((max_hops, 3 * width), np.int32)
        self._sums = np.zeros(3 * width, np.int32)

    def run(self, inputs: np.ndarray, out: np.ndarray) -> None:
        """Compute the layer. inputs: int8 [hops, columns]; out: int8 [hops, width], written."""
        sums = self._input_sums[: len(inputs)]
        rows_times_vectors(self._input.weights, inputs, sums)
        gru_hops(
            sums,
            self._input.scale,
            self._input.bias,
            self._recurrent.weights,
            self._recurrent.scale,
            self._recurrent.bias,
            self._state,
            self._state8,
            self._sums,
            out,
        )
