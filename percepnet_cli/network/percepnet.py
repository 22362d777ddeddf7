"""The article's network: two convolutions, three recurrent layers, a head for gains and one for strengths."""

from __future__ import annotations

import numpy as np

from percepnet_cli.constants import FEATURE_CLIP, NUM_FEATURES
from percepnet_cli.jit import kernel
from percepnet_cli.network.activations import ACTIVATION_SCALE
from percepnet_cli.network.layers import Conv, Dense, Gru, Linear, float_dense
from percepnet_cli.network.modelfile import Model

CLIP = np.float32(FEATURE_CLIP)


@kernel
def normalize(features: np.ndarray, mean: np.ndarray, std: np.ndarray, out: np.ndarray) -> None:
    """Shift, scale and limit features. features, out: float32 [hops, 70]; mean, std: float32 [70]."""
    for hop in range(features.shape[0]):
        for i in range(features.shape[1]):
            value = (features[hop, i] - mean[i]) / std[i]
            out[hop, i] = min(max(value, -CLIP), CLIP)


def linear(model: Model, name: str, weight: str = "weight", unit: np.float32 = ACTIVATION_SCALE) -> Linear:
    """Prepare a matrix for the kernels: convolution taps side by side, the activations' unit in the scale."""
    weights = model.tensors[f"{name}.{weight}"]
    if weights.ndim == 3:  # [rows, columns, taps] to [rows, taps * columns], oldest tap first
        weights = weights.transpose(0, 2, 1)
    weights = np.ascontiguousarray(weights.reshape(len(weights), -1))
    scale = model.tensors[f"{name}.{weight}_scale"] / unit
    return Linear(weights, scale, model.tensors[f"{name}.{weight.replace('weight', 'bias')}"])


class State:
    """One stream through a model: the layers with their memories."""

    def __init__(self, model: Model, max_hops: int) -> None:
        sizes = model.sizes
        self._mean, self._std = model.tensors["feature_mean"], model.tensors["feature_std"]
        self._dense = linear(model, "dense", unit=np.float32(1))
        self._conv1 = Conv(linear(model, "conv1"), sizes.kernel1, max_hops)
        self._conv2 = Conv(linear(model, "conv2"), sizes.kernel2, max_hops)
        self._grus = [
            Gru(linear(model, name, "weight_ih"), linear(model, name, "weight_hh"), max_hops)
            for name in ("gru1", "gru2", "gru3", "gain_gru")
        ]
        self._strength_gru = Gru(
            linear(model, "strength_gru", "weight_ih"), linear(model, "strength_gru", "weight_hh"), max_hops
        )
        self._gain = Dense(linear(model, "gain"), max_hops)
        self._strength = Dense(linear(model, "strength"), max_hops)

        def buffer(width: int, dtype: type = np.int8) -> np.ndarray:
            return np.zeros((max_hops, width), dtype)

        self._normalized = buffer(NUM_FEATURES, np.float32)
        self._after_dense = buffer(sizes.dense)
        self._after_conv1 = buffer(sizes.conv1)
        self._after_conv2 = buffer(sizes.conv2)
        self._after_grus = [buffer(sizes.gru) for _ in range(3)] + [buffer(sizes.gain_gru)]
        self._after_strength_gru = buffer(sizes.strength_gru)
        self._for_gain = buffer(sizes.conv2 + 3 * sizes.gru + sizes.gain_gru)
        self._for_strength = buffer(sizes.conv2 + sizes.gru)

    def run(self, features: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> None:
        """Predict gains and strengths.

        features: float32 [hops, 70], as ``dsp.features`` packs them, hops up to max_hops.
        Written: gain, strength: float32 [hops, 34], 0..1.
        """
        hops = len(features)
        normalized, dense = self._normalized[:hops], self._after_dense[:hops]
        conv1, conv2 = self._after_conv1[:hops], self._after_conv2[:hops]
        grus = [buffer[:hops] for buffer in self._after_grus]
        normalize(features, self._mean, self._std, normalized)
        float_dense(normalized, self._dense.weights, self._dense.scale, self._dense.bias, dense)
        self._conv1.run(dense, conv1)
        self._conv2.run(conv1, conv2)
        inputs = conv2
        for gru, out in zip(self._grus, grus, strict=True):
            gru.run(inputs, out)
            inputs = out
        np.concatenate((conv2, *grus), axis=1, out=self._for_gain[:hops])
        self._gain.run(self._for_gain[:hops], gain)
        np.concatenate((conv2, grus[2]), axis=1, out=self._for_strength[:hops])
        self._strength_gru.run(self._for_strength[:hops], self._after_strength_gru[:hops])
        self._strength.run(self._after_strength_gru[:hops], strength)
