"""The network of [Amazon 2020]: two convolutions, three recurrent layers, a head for gains and one for strengths."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from percepnet_cli.compute.jit import kernel, part
from percepnet_cli.compute.struct import Struct
from percepnet_cli.constants import FEATURE_CLIP, NUM_FEATURES
from percepnet_cli.network.activations import ACTIVATION_SCALE
from percepnet_cli.network.graph import BACKWARD
from percepnet_cli.network.layers import (
    Conv,
    Dense,
    FloatDense,
    Gru,
    Linear,
    linear,
    run_conv,
    run_dense,
    run_float_dense,
    run_gru,
)
from percepnet_cli.network.modelfile import Model

CLIP = np.float32(FEATURE_CLIP)
CACHE_LINE, HUGE_PAGE, SMALLEST_HUGE = 64, 2 << 20, 4 << 20
"""Bytes."""
TRUNK = ("gru1", "gru2", "gru3", "gain_gru")
"""The recurrent layers that follow each other."""


@kernel
def normalize(features: np.ndarray, mean: np.ndarray, std: np.ndarray, out: np.ndarray) -> None:
    """Shift, scale and limit features. features, out: float32 [hops, 70]; mean, std: float32 [70].

    ``tests/test_network.py``: ``test_normalization_shifts_scales_and_limits``.
    """
    for hop in range(features.shape[0]):
        for i in range(features.shape[1]):
            # Limited, so that a recording unlike all that was trained on cannot drive the first layer anywhere
            value = (features[hop, i] - mean[i]) / std[i]
            out[hop, i] = min(max(value, -CLIP), CLIP)


def matrix(model: Model, name: str, weight: str = "weight") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, scale and bias of a matrix: convolution taps side by side, oldest first."""
    weights = model.tensors[f"{name}.{weight}"]
    if weights.ndim == 3:  # [rows, columns, taps] to [rows, taps * columns]
        weights = weights.transpose(0, 2, 1)
    weights = weights.reshape(len(weights), -1)
    return weights, model.tensors[f"{name}.{weight}_scale"], model.tensors[f"{name}.{weight.replace('weight', 'bias')}"]


class Weights:
    """A model's matrices in the layout that the kernels of this CPU want; any number of streams share them."""

    def __init__(self, model: Model) -> None:
        self.sizes = model.sizes
        self.mean, self.std = model.tensors["feature_mean"], model.tensors["feature_std"]
        self.dense = matrix(model, "dense")
        self.linear = {name: self._prepare(*matrix(model, name)) for name in ("conv1", "conv2", "gain", "strength")}

        # Recurrent layers have two matrices each, and twice as many in a bidirectional model
        endings = ("", BACKWARD)[: self.sizes.directions]
        self.gru = {
            name: (self._prepare(*matrix(model, name, "weight_ih")), self._prepare(*matrix(model, name, "weight_hh")))
            for name in (layer + ending for layer in (*TRUNK, "strength_gru") for ending in endings)
        }

        # All into one buffer, and each back into its place
        moved = iter(pack_contiguous([*self.linear.values(), *(one for pair in self.gru.values() for one in pair)]))
        self.linear = {name: next(moved) for name in self.linear}
        self.gru = {name: (next(moved), next(moved)) for name in self.gru}

    @staticmethod
    def _prepare(weights: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> Linear:
        # An int8 weight is worth ``scale``, an int8 activation 1/127, so their product is worth both
        return linear(weights, scale / ACTIVATION_SCALE, bias)


_laid_out: WeakKeyDictionary[Model, Weights] = WeakKeyDictionary()


def laid_out(model: Model) -> Weights:
    """Return a model's weights as the kernels want them, laid out once for as long as somebody holds the model."""
    weights = _laid_out.get(model)
    if weights is None:
        weights = _laid_out[model] = Weights(model)
    return weights


def pack_contiguous(matrices: list[Linear]) -> list[Linear]:
    """Move the weights of matrices into one buffer, one behind the other on cache lines, that can lie on huge pages.

    NumPy asks for those where it allocates 4 MiB or more. A hop that comes after a pause then finds its weights
    with a few address translations instead of two thousand: reading 8 MB takes a quarter less.
    """
    sizes = [-(-one.weights.nbytes // CACHE_LINE) * CACHE_LINE for one in matrices]

    # A huge page more than needed, so that the first matrix can begin with one
    buffer = np.zeros(max(sum(sizes), SMALLEST_HUGE) + HUGE_PAGE, np.uint8)
    place = -buffer.ctypes.data % HUGE_PAGE

    moved = []
    for one, size in zip(matrices, sizes, strict=True):
        weights = buffer[place : place + one.weights.nbytes].view(one.weights.dtype).reshape(one.weights.shape)
        weights[:] = one.weights
        moved.append(Linear(weights, one.columns, one.scale, one.bias))
        place += size
    return moved


class Encoder(Struct):
    """What comes before the recurrent layers, with its memories: normalization, dense layer, two convolutions."""

    constant = frozenset(("mean", "std"))
    mean: np.ndarray
    std: np.ndarray
    dense: FloatDense
    conv1: Conv
    conv2: Conv
    normalized: np.ndarray
    after_dense: np.ndarray
    after_conv1: np.ndarray

    def __init__(self, weights: Weights, max_hops: int) -> None:
        sizes = weights.sizes
        super().__init__(
            mean=weights.mean,
            std=weights.std,
            dense=FloatDense(*weights.dense),
            conv1=Conv(weights.linear["conv1"], sizes.kernel1, max_hops),
            conv2=Conv(weights.linear["conv2"], sizes.kernel2, max_hops),
            normalized=np.zeros((max_hops, NUM_FEATURES), np.float32),
            after_dense=np.zeros((max_hops, sizes.dense), np.int8),
            after_conv1=np.zeros((max_hops, sizes.conv1), np.int8),
        )


@part
def encode(encoder: Encoder, features: np.ndarray, out: np.ndarray) -> None:
    """Compute the layers before the recurrent ones. features: float32 [hops, 70]; out: int8 [hops, conv2], written."""
    hops = len(features)
    normalized, dense, conv1 = encoder.normalized[:hops], encoder.after_dense[:hops], encoder.after_conv1[:hops]

    # The convolutions run over hops: they see this one and those before, 7 in all with the usual 5 and 3 taps
    normalize(features, encoder.mean, encoder.std, normalized)
    run_float_dense(encoder.dense, normalized, dense)
    run_conv(encoder.conv1, dense, conv1)
    run_conv(encoder.conv2, conv1, out)


class State(Struct):
    """One stream through a causal model: the layers with their memories.

    Attributes
    ----------
    latency_hops : int
        Hops by which gains and strengths are behind the features: 0.
    """

    latency_hops = 0
    encoder: Encoder
    gru1: Gru
    gru2: Gru
    gru3: Gru
    gain_gru: Gru
    strength_gru: Gru
    gain: Dense
    strength: Dense
    after_conv2: np.ndarray
    after_gru1: np.ndarray
    after_gru2: np.ndarray
    after_gru3: np.ndarray
    after_gain_gru: np.ndarray
    after_strength_gru: np.ndarray
    for_gain: np.ndarray
    for_strength: np.ndarray

    def __init__(self, model: Model, max_hops: int) -> None:
        weights = laid_out(model)
        sizes = weights.sizes

        def buffer(width: int) -> np.ndarray:
            return np.zeros((max_hops, width), np.int8)

        super().__init__(
            encoder=Encoder(weights, max_hops),
            **{name: Gru(*weights.gru[name], max_hops) for name in (*TRUNK, "strength_gru")},
            gain=Dense(weights.linear["gain"], max_hops),
            strength=Dense(weights.linear["strength"], max_hops),
            after_conv2=buffer(sizes.conv2),
            after_gru1=buffer(sizes.gru),
            after_gru2=buffer(sizes.gru),
            after_gru3=buffer(sizes.gru),
            after_gain_gru=buffer(sizes.gain_gru),
            after_strength_gru=buffer(sizes.strength_gru),
            for_gain=buffer(sizes.conv2 + 3 * sizes.gru + sizes.gain_gru),
            for_strength=buffer(sizes.conv2 + sizes.gru),
        )

    def run(self, features: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> None:
        """Predict gains and strengths: see ``predict``."""
        predict(self, features, gain, strength)

    def end(self, gain: np.ndarray, strength: np.ndarray) -> None:
        """End the stream. Nothing waits for that: gain, strength: float32 [0, 34]."""


@part
def predict(state: State, features: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> None:
    """Predict gains and strengths.

    features: float32 [hops, 70], as ``dsp.features`` packs them, hops up to max_hops.
    Written: gain, strength: float32 [hops, 34], 0..1.
    """
    hops = len(features)
    conv2, gru1, gru2 = state.after_conv2[:hops], state.after_gru1[:hops], state.after_gru2[:hops]
    gru3, gain_gru = state.after_gru3[:hops], state.after_gain_gru[:hops]

    # Features, dense, conv1, conv2; then gru1, gru2, gru3, gain_gru: each reads the one before
    encode(state.encoder, features, conv2)
    run_gru(state.gru1, conv2, gru1)
    run_gru(state.gru2, gru1, gru2)
    run_gru(state.gru3, gru2, gru3)
    run_gru(state.gain_gru, gru3, gain_gru)

    # Gains read all layers from conv2 on
    for_gain = state.for_gain[:hops]
    first = np.intp(0)  # typed as the results are, so that one compilation serves all
    column = copy_columns(conv2, for_gain, first)
    column = copy_columns(gru1, for_gain, column)
    column = copy_columns(gru2, for_gain, column)
    column = copy_columns(gru3, for_gain, column)
    copy_columns(gain_gru, for_gain, column)
    run_dense(state.gain, for_gain, gain)

    # Strengths have a recurrent layer of their own, which reads conv2 and gru3
    for_strength, strength_gru = state.for_strength[:hops], state.after_strength_gru[:hops]
    copy_columns(gru3, for_strength, copy_columns(conv2, for_strength, first))
    run_gru(state.strength_gru, for_strength, strength_gru)
    run_dense(state.strength, strength_gru, strength)


@kernel
def copy_columns(values: np.ndarray, out: np.ndarray, first: int | np.intp) -> int:
    """Write a layer's values into columns of what the next one reads; return the column after them.

    values: int8 [hops, width]; out: int8 [hops, first + width or more].
    """
    for hop in range(values.shape[0]):
        for i in range(values.shape[1]):
            out[hop, first + i] = values[hop, i]
    return first + values.shape[1]
