"""The network in float, layer by layer in NumPy: slow and obvious, what 8 bits and torch are compared with."""

from __future__ import annotations

import numpy as np

from percepnet_cli.constants import (
    BIDIRECTIONAL_BLOCK_HOPS,
    BIDIRECTIONAL_FUTURE_HOPS,
    FEATURE_CLIP,
    NUM_BANDS,
    NUM_FEATURES,
)
from percepnet_cli.network.graph import BACKWARD, GRAPH
from percepnet_cli.network.modelfile import Model


class FloatState:
    """One stream through a float model, as ``percepnet.State`` and ``blocks.BlockState`` are through an 8-bit one.

    Parameters
    ----------
    model : Model
        Of kind ``float``.
    block, future : int or None
        Hops that are computed at once, and those behind them that layers against time begin with. None: 1 and 0 for a
        causal model, where it makes no difference, and as in use for a bidirectional one. With a block as long as a
        recording and no future, the network sees it as in training: whole.

    Attributes
    ----------
    latency_hops : int
        Hops by which gains and strengths are behind the features.
    """

    def __init__(self, model: Model, block: int | None = None, future: int | None = None) -> None:
        two = model.sizes.bidirectional
        self._t, self._bidirectional = model.tensors, two
        self._block = (BIDIRECTIONAL_BLOCK_HOPS if two else 1) if block is None else block
        self._future = (BIDIRECTIONAL_FUTURE_HOPS if two else 0) if future is None else future
        self.latency_hops = self._block + self._future - 1

        # What each layer carries from block to block
        self._memory = {}
        for layer, (kind, _) in GRAPH.items():
            if kind == "convolution":
                _, columns, taps = self._t[f"{layer}.weight"].shape
                self._memory[layer] = np.zeros((taps - 1, columns), np.float32)
            elif kind == "recurrent":
                self._memory[layer] = np.zeros(self._t[f"{layer}.weight_hh"].shape[1], np.float32)

        self._window = np.zeros((0, NUM_FEATURES), np.float32)
        self._out = np.zeros((2, self.latency_hops, NUM_BANDS), np.float32)
        """Gains and strengths that wait to leave."""

    def run(self, features: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> None:
        """Predict as ``blocks.BlockState.run`` does, from the same features: float32 [hops, 70] -> [hops, 34]."""
        for hop in range(len(features)):
            # A full window gives a block; its future begins the next one
            self._window = np.concatenate((self._window, features[hop : hop + 1]))
            if len(self._window) == self._block + self._future:
                self._out = np.concatenate((self._out, self._run_window()), axis=1)
                self._window = self._window[self._block :]

            gain[hop], strength[hop] = self._out[:, 0]
            self._out = self._out[:, 1:]

    def end(self, gain: np.ndarray, strength: np.ndarray) -> None:
        """Predict the last hops as ``blocks.BlockState.end`` does: float32 [latency_hops, 34] each, written."""
        # What is left is one block without future
        if len(self._window):
            self._block = len(self._window)
            self._out = np.concatenate((self._out, self._run_window()), axis=1)
        gain[:], strength[:] = self._out

    def _run_window(self) -> np.ndarray:
        """Return gains and strengths of the block at the beginning of the window, float32 [2, block, 34]."""
        t = self._t
        x = (self._window - t["feature_mean"]) / t["feature_std"]
        values = {"features": np.clip(x, -FEATURE_CLIP, FEATURE_CLIP)}

        # Layer by layer in the order of the graph, so that what a layer reads is there
        for layer, (kind, sources) in GRAPH.items():
            inputs = np.concatenate([values[source] for source in sources], axis=1)
            if kind == "recurrent":
                values[layer] = self._recurrent(layer, inputs)
            elif kind == "convolution":
                values[layer] = self._convolution(layer, inputs)
            else:
                sums = _product(inputs, t[f"{layer}.weight"]) + t[f"{layer}.bias"]
                values[layer] = np.tanh(sums) if layer == "dense" else _sigmoid(sums)

        return np.stack((values["gain"], values["strength"]))[:, : self._block]

    def _convolution(self, layer: str, inputs: np.ndarray) -> np.ndarray:
        """Convolve causally over hops. inputs: [hops, columns] -> [hops, width]."""
        weight = self._t[f"{layer}.weight"]
        old = len(self._memory[layer])
        padded = np.concatenate((self._memory[layer], inputs))

        # The next window begins one block later, so this is what lies before it
        self._memory[layer] = padded[self._block : self._block + old]
        sums = self._t[f"{layer}.bias"] + sum(
            _product(padded[tap : tap + len(inputs)], weight[:, :, tap]) for tap in range(old + 1)
        )
        return np.asarray(np.tanh(sums))

    def _recurrent(self, layer: str, inputs: np.ndarray) -> np.ndarray:
        """Run a recurrent layer, both directions side by side. inputs: [hops, columns] -> [hops, outputs]."""
        with_time = self._states(layer, inputs, self._memory[layer])
        self._memory[layer] = with_time[self._block - 1]
        if not self._bidirectional:
            return with_time

        # Against time every window begins anew, with zeros at its end
        against_time = self._states(layer + BACKWARD, inputs[::-1], np.zeros_like(self._memory[layer]))[::-1]
        return np.concatenate((with_time, against_time), axis=1)

    def _states(self, name: str, inputs: np.ndarray, h: np.ndarray) -> np.ndarray:
        """Run a gated recurrent unit hop by hop from a state h. inputs: [hops, columns] -> [hops, width]."""
        states = []
        for x in inputs:
            from_inputs = _product(x, self._t[f"{name}.weight_ih"]) + self._t[f"{name}.bias_ih"]
            from_state = _product(h, self._t[f"{name}.weight_hh"]) + self._t[f"{name}.bias_hh"]
            (xr, xz, xn), (hr, hz, hn) = np.split(from_inputs, 3), np.split(from_state, 3)

            # Reset and update gate, candidate, and the mean of candidate and old state that z weighs
            r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
            n = np.tanh(xn + r * hn)
            h = n + z * (h - n)

            states.append(h)
        return np.array(states)


def _product(inputs: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Multiply inputs [..., columns] by weight [rows, columns] -> [..., rows]."""
    # OpenBLAS reads past short rows, whose garbage can raise flags that the sums do not deserve (numpy #24067)
    with np.errstate(all="ignore"):
        return np.asarray(inputs @ weight.T)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function."""
    return np.asarray(1 / (1 + np.exp(-x)))
