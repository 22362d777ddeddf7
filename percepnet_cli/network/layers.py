"""Layers on 8-bit weights. They know nothing of PercepNet.

All take several hops at a time; what a hop gives never depends on how many came
along. Weights are int8 with one float32 scale per output row: w = scale * int8. Activations
between layers are int8, 127 standing for 1.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.delay_line import DelayLine, extend
from percepnet_cli.compute.jit import kernel
from percepnet_cli.compute.struct import Struct
from percepnet_cli.network.activations import round8, sigmoid, tanh
from percepnet_cli.network.dot import matmul_int8, pack, padded

ONE = np.float32(1)
ZERO = np.float32(0)


class Linear(Struct):
    """A matrix with its bias, as the kernels want it."""

    constant = frozenset(("weights", "scale", "bias"))
    weights: np.ndarray
    """As ``dot.pack`` lays them out."""
    columns: int
    scale: np.ndarray
    """float32 [rows]: value of one unit of (int8 weight x int8 activation), so row scale / 127."""
    bias: np.ndarray
    """float32 [rows]."""

    def __init__(self, weights: np.ndarray, columns: int, scale: np.ndarray, bias: np.ndarray) -> None:
        super().__init__(
            weights=weights, columns=columns, scale=np.ascontiguousarray(scale), bias=np.ascontiguousarray(bias)
        )

    def sums(self, hops: int) -> np.ndarray:
        """Return space for the products of so many hops: int32 [hops, rows and some more]."""
        return np.zeros((hops, padded(len(self.bias))), np.int32)


def linear(weights: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> Linear:
    """Prepare a matrix. weights: int8 [rows, columns]; scale, bias: float32 [rows], see ``Linear``."""
    return Linear(pack(weights), weights.shape[1], scale, bias)


@kernel
def gates(
    input_sums: np.ndarray,
    input_scale: np.ndarray,
    input_bias: np.ndarray,
    sums: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    state: np.ndarray,
    work: np.ndarray,
    out: np.ndarray,
) -> None:
    """Find the next state of a gated recurrent unit from its products.

    In a plain loop (``tests/test_layers.py``: ``slow_gru``), x = W inputs + b and y = U state + c in three parts each,
    gates in the order reset, update, new, the reset gate after the recurrent product, as in PyTorch::

        for i in range(width):
            r, z = sigmoid(xr[i] + yr[i]), sigmoid(xz[i] + yz[i])
            n = tanh(xn[i] + r * yn[i])
            state[i] = n + z * (state[i] - n)
            out[i] = floor(127 * state[i] + 0.5)

    input_sums, sums: int32 [3 width or more], the products W inputs and U state; input_scale, input_bias, scale, bias:
    float32 [3 width]. state: float32 [width], updated; work: float32 [2 width], working space. out: int8 [width],
    written: the state in 8 bits.
    """
    # Four loops on few arrays each: LLVM makes vector instructions only if it can check that no arrays overlap
    width = state.shape[0]

    # r and z, beside each other in memory
    for i in range(2 * width):
        from_inputs = input_scale[i] * np.float32(input_sums[i]) + input_bias[i]
        work[i] = sigmoid(from_inputs + (scale[i] * np.float32(sums[i]) + bias[i]))

    # n, in the place of r, which nothing needs after it
    for i in range(width):
        k = i + 2 * width
        from_inputs = input_scale[k] * np.float32(input_sums[k]) + input_bias[k]
        work[i] = tanh(from_inputs + work[i] * (scale[k] * np.float32(sums[k]) + bias[k]))

    # h' = n + z (h - n): the state stays float, or it could not move by less than 1/127
    for i in range(width):
        state[i] = work[i] + work[i + width] * (state[i] - work[i])

    # What the next product and the next layer read
    for i in range(width):
        out[i] = round8(state[i])


class FloatDense(Struct):
    """Fully connected layer with tanh on float inputs."""

    constant = frozenset(("weights", "bias"))
    weights: np.ndarray
    """float32 [columns, rows]: scaled, and transposed: a row of the kernel's loop lies together."""
    bias: np.ndarray
    sums: np.ndarray

    def __init__(self, weights: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> None:
        """Prepare it. weights: int8 [rows, columns]; scale, bias: float32 [rows]."""
        super().__init__(
            weights=np.ascontiguousarray(weights.T * scale, np.float32),
            bias=np.ascontiguousarray(bias),
            sums=np.zeros(len(bias), np.float32),
        )


@kernel
def run_float_dense(layer: FloatDense, inputs: np.ndarray, out: np.ndarray) -> None:
    """Compute the layer on float inputs: the features, which have no bound.

    In plain loops (``tests/test_layers.py``: ``test_first_layer_takes_floats_and_gives_8_bits``)::

        for row in range(rows):
            total = bias[row]
            for column in range(columns):
                total += weights[column, row] * inputs[hop, column]
            out[hop, row] = floor(127 * tanh(total) + 0.5)

    inputs: float32 [hops, columns]. out: int8 [hops, rows], written.
    """
    weights, bias, sums = layer.weights, layer.bias, layer.sums
    columns, rows = weights.shape
    for hop in range(inputs.shape[0]):
        for row in range(rows):
            sums[row] = bias[row]

        # All rows side by side, column by column: each sum adds in the same order, whatever the vector's width
        for column in range(columns):
            value = inputs[hop, column]
            for row in range(rows):
                sums[row] += weights[column, row] * value

        for row in range(rows):
            out[hop, row] = round8(tanh(sums[row]))


class Dense(Struct):
    """Fully connected layer with a sigmoid."""

    linear: Linear
    sums: np.ndarray

    def __init__(self, linear: Linear, max_hops: int) -> None:
        super().__init__(linear=linear, sums=linear.sums(max_hops))


@kernel
def run_dense(layer: Dense, inputs: np.ndarray, out: np.ndarray) -> None:
    """Compute the layer.

    In plain loops (``tests/test_layers.py``: ``test_dense_layer_equals_float64``)::

        for row in range(rows):
            total = sum(weights[row, column] * inputs[hop, column] for column in range(columns))
            out[hop, row] = sigmoid(scale[row] * total + bias[row])

    inputs: int8 [hops, columns]. out: float32 [hops, rows], 0..1, written.
    """
    # The integer sums of all hops first: only there a weight that was read can serve several hops
    scale, bias, sums = layer.linear.scale, layer.linear.bias, layer.sums
    matmul_int8(layer.linear.weights, inputs, sums[: len(inputs)])

    # Gains and strengths stay float: what follows is not a product of 8 bits
    for hop in range(out.shape[0]):
        for row in range(out.shape[1]):
            out[hop, row] = sigmoid(scale[row] * np.float32(sums[hop, row]) + bias[row])


class Conv(Struct):
    """Causal convolution over hops with tanh; remembers the inputs that the next hop needs."""

    linear: Linear
    line: DelayLine
    stacked: np.ndarray
    sums: np.ndarray

    def __init__(self, linear: Linear, kernel_hops: int, max_hops: int) -> None:
        columns = linear.columns // kernel_hops
        super().__init__(
            linear=linear,
            line=DelayLine(kernel_hops - 1, max_hops, (columns,), np.int8),
            stacked=np.zeros((max_hops, kernel_hops * columns), np.int8),
            sums=linear.sums(max_hops),
        )


@kernel
def run_conv(layer: Conv, inputs: np.ndarray, out: np.ndarray) -> None:
    """Compute the layer.

    In plain loops (``tests/test_layers.py``: ``test_convolution_equals_float64_over_any_cut``)::

        for row in range(rows):
            total = 0
            for tap in range(taps):
                for column in range(columns):
                    total += weights[row, tap * columns + column] * inputs[hop - taps + 1 + tap, column]
            out[hop, row] = floor(127 * tanh(scale[row] * total + bias[row]) + 0.5)

    inputs: int8 [hops, columns]; those before the first call are zeros. out: int8 [hops, rows], written.
    """
    hops, columns = inputs.shape
    rows, old = extend(layer.line, hops), layer.line.old
    for hop in range(hops):
        for column in range(columns):
            rows[old + hop, column] = inputs[hop, column]

    # All taps of a hop side by side, oldest first, make the convolution one product
    stacked = layer.stacked[:hops]
    for hop in range(hops):
        for tap in range(old + 1):
            for column in range(columns):
                stacked[hop, tap * columns + column] = rows[hop + tap, column]

    # The integer sums of all hops, then tanh and 8 bits
    scale, bias, sums = layer.linear.scale, layer.linear.bias, layer.sums
    matmul_int8(layer.linear.weights, stacked, sums[:hops])
    for hop in range(out.shape[0]):
        for row in range(out.shape[1]):
            value = tanh(scale[row] * np.float32(sums[hop, row]) + bias[row])
            out[hop, row] = round8(value)


class Gru(Struct):
    """Gated recurrent unit with its state."""

    inputs: Linear
    recurrent: Linear
    state: np.ndarray
    """float32 [width]."""
    state8: np.ndarray
    """int8 [1, width]: the state in 8 bits."""
    input_sums: np.ndarray
    sums: np.ndarray
    work: np.ndarray

    def __init__(self, inputs: Linear, recurrent: Linear, max_hops: int) -> None:
        width = recurrent.columns
        super().__init__(
            inputs=inputs,
            recurrent=recurrent,
            state=np.zeros(width, np.float32),
            state8=np.zeros((1, width), np.int8),
            input_sums=inputs.sums(max_hops),
            sums=recurrent.sums(1),
            work=np.zeros(2 * width, np.float32),
        )

    @property
    def width(self) -> int:
        """Units."""
        return len(self.state)

    def memory(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a copy of the state, for ``recall``."""
        return self.state.copy(), self.state8.copy()

    def recall(self, memory: tuple[np.ndarray, np.ndarray]) -> None:
        """Go back to what ``memory`` returned."""
        self.state[:], self.state8[:] = memory

    def forget(self) -> None:
        """Go back to the state before the first hop: zeros."""
        self.state[:] = 0
        self.state8[:] = 0


@kernel
def run_gru(layer: Gru, inputs: np.ndarray, out: np.ndarray) -> None:
    """Run a gated recurrent unit: the input products of all hops at once, then hop by hop.

    In a plain loop (``tests/test_layers.py``: ``slow_gru``)::

        for hop in range(hops):
            state = gates(input_weights @ inputs[hop], weights @ state8, state)
            out[hop] = state8 = floor(127 * state + 0.5)

    inputs: int8 [hops, columns]. out: int8 [hops, width], written.
    """
    # Half of the products do not depend on the state, so all hops share each weight that is read for them
    first, recurrent, input_sums = layer.inputs, layer.recurrent, layer.input_sums
    matmul_int8(first.weights, inputs, input_sums[: len(inputs)])

    # The other half needs the state of the hop before
    state, state8, sums = layer.state, layer.state8, layer.sums
    for hop in range(out.shape[0]):
        matmul_int8(recurrent.weights, state8, sums)
        gates(
            input_sums[hop],
            first.scale,
            first.bias,
            sums[0],
            recurrent.scale,
            recurrent.bias,
            state,
            layer.work,
            out[hop],
        )
        for i in range(state.shape[0]):
            state8[0, i] = out[hop, i]


class BidirectionalGru:
    """Two gated recurrent units on the same inputs, one with time and one against it, block by block.

    Parameters
    ----------
    forward, backward : tuple of two Linear
        Input and recurrent matrix of each.
    block, window : int
        The stream is cut into blocks of ``block`` hops, and each is computed from a window that begins with it and
        sees some hops more, ``window`` in all. With time, the state at the end of the block is carried to the next
        one; against time, every window begins with zeros at its end.
    """

    def __init__(
        self, forward: tuple[Linear, Linear], backward: tuple[Linear, Linear], block: int, window: int
    ) -> None:
        self._forward, self._backward = Gru(*forward, window), Gru(*backward, window)
        self._block = block
        self._against_time = np.zeros((window, forward[0].columns), np.int8)
        self._states = np.zeros((2, window, self._forward.width), np.int8)

    def run(self, inputs: np.ndarray, out: np.ndarray) -> None:
        """Compute a window.

        inputs: int8 [window, columns]; fewer hops where the stream ends. out: int8 [hops, 2 width], written: the first
        hops of the window, at least ``block`` of them if it has as many, the unit with time first.
        """
        with_time, against_time = self._states[:, : len(inputs)]
        wanted, width = len(out), self._forward.width

        # With time: to the end of the block, where the next window begins, and on as far as wanted
        run_gru(self._forward, inputs[: self._block], with_time[: self._block])
        if wanted > self._block:
            memory = self._forward.memory()
            run_gru(self._forward, inputs[self._block : wanted], with_time[self._block : wanted])
            self._forward.recall(memory)

        # Against time: from zeros at the end of the window
        reverse = self._against_time[: len(inputs)]
        reverse[:] = inputs[::-1]
        self._backward.forget()
        run_gru(self._backward, reverse, against_time)

        out[:, :width] = with_time[:wanted]
        out[:, width:] = against_time[::-1][:wanted]
