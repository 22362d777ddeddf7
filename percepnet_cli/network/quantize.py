"""From float weights to 8 bits: one scale per output row."""

from __future__ import annotations

import numpy as np

from percepnet_cli.constants import FEATURE_CLIP
from percepnet_cli.network.modelfile import Model, Sizes, matrices

LARGEST = 127
"""Magnitude of the largest 8-bit weight."""


def quantize_rows(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round a matrix to 8 bits row by row.

    weights: float32 [rows, ...]. Returns int8 of the same shape, -127..127, and float32 [rows], the scales:
    weights = scale * int8, within half a scale.
    """
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    scale = np.abs(flat).max(axis=1) / LARGEST
    scale[scale == 0] = 1.0
    rounded = np.rint(flat / scale[:, None]).astype(np.int8)
    return rounded.reshape(weights.shape), scale.astype(np.float32)


def quantize_tensors(tensors: dict[str, np.ndarray], sizes: Sizes) -> dict[str, np.ndarray]:
    """Return the tensors of the 8-bit model for those of a float one (see ``modelfile.layout``)."""
    result = {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}
    for name in matrices(sizes):
        result[name], result[f"{name}_scale"] = quantize_rows(result[name])
    return result


def restore_tensors(tensors: dict[str, np.ndarray], sizes: Sizes) -> dict[str, np.ndarray]:
    """Return float32 tensors that have the values of an 8-bit model's."""
    result = {name: tensor for name, tensor in tensors.items() if not name.endswith("_scale")}
    for name in matrices(sizes):
        scale = tensors[f"{name}_scale"]
        result[name] = tensors[name] * scale.reshape(-1, *[1] * (tensors[name].ndim - 1))
    return result


def half_tensors(tensors: dict[str, np.ndarray], sizes: Sizes) -> dict[str, np.ndarray]:
    """Return the tensors of a float model with matrices in float16: half the file, to train on from."""
    names = matrices(sizes)
    return {name: tensor.astype(np.float16) if name in names else tensor for name, tensor in tensors.items()}


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
