"""The network in float, hop by hop in NumPy: slow and obvious, what 8 bits are compared with."""

from __future__ import annotations

import numpy as np

from percepnet_cli.constants import FEATURE_CLIP
from percepnet_cli.network.modelfile import Model


class FloatState:
    """A float model run hop by hop in NumPy: slow and obvious, what 8 bits are compared with."""

    def __init__(self, model: Model) -> None:
        self._t = model.tensors
        sizes = model.sizes
        self._taps1 = np.zeros((sizes.kernel1, sizes.dense), np.float32)
        self._taps2 = np.zeros((sizes.kernel2, sizes.conv1), np.float32)
        self._h = {
            name: np.zeros(self._t[f"{name}.weight_hh"].shape[1], np.float32)
            for name in ("gru1", "gru2", "gru3", "gain_gru", "strength_gru")
        }

    def _layer(self, name: str, x: np.ndarray) -> np.ndarray:
        return self._t[f"{name}.weight"].reshape(-1, x.size) @ x + self._t[f"{name}.bias"]

    def _conv(self, name: str, taps: np.ndarray, x: np.ndarray) -> np.ndarray:
        taps[:-1] = taps[1:].copy()
        taps[-1] = x
        weight = self._t[f"{name}.weight"]
        return np.tanh(np.einsum("oit,ti->o", weight, taps, optimize=False) + self._t[f"{name}.bias"])

    def _gru(self, name: str, x: np.ndarray) -> np.ndarray:
        h = self._h[name]
        inputs = self._t[f"{name}.weight_ih"] @ x + self._t[f"{name}.bias_ih"]
        recurrent = self._t[f"{name}.weight_hh"] @ h + self._t[f"{name}.bias_hh"]
        (xr, xz, xn), (hr, hz, hn) = np.split(inputs, 3), np.split(recurrent, 3)
        r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
        n = np.tanh(xn + r * hn)
        self._h[name] = n + z * (h - n)
        return self._h[name]

    def run(self, features: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> None:
        """Predict as ``percepnet.State.run`` does, from the same features: float32 [hops, 70] -> [hops, 34]."""
        for hop, raw in enumerate(features):
            x = np.clip((raw - self._t["feature_mean"]) / self._t["feature_std"], -FEATURE_CLIP, FEATURE_CLIP)
            dense = np.tanh(self._layer("dense", x))
            conv1 = self._conv("conv1", self._taps1, dense)
            conv2 = self._conv("conv2", self._taps2, conv1)
            gru1 = self._gru("gru1", conv2)
            gru2 = self._gru("gru2", gru1)
            gru3 = self._gru("gru3", gru2)
            gain_gru = self._gru("gain_gru", gru3)
            gain[hop] = _sigmoid(self._layer("gain", np.concatenate((conv2, gru1, gru2, gru3, gain_gru))))
            strength_gru = self._gru("strength_gru", np.concatenate((conv2, gru3)))
            strength[hop] = _sigmoid(self._layer("strength", strength_gru))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
