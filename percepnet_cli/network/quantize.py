"""From float weights to 8 bits: one scale per output row."""

from __future__ import annotations

import numpy as np

from percepnet_cli.network.graph import Sizes, matrices

LARGEST = 127
"""Magnitude of the largest 8-bit weight."""


def quantize_rows(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round a matrix to 8 bits row by row.

    weights: float32 [rows, ...]. Returns int8 of the same shape, -127..127, and float32 [rows], the scales:
    weights = scale * int8, within half a scale.
    """
    flat = weights.reshape(len(weights), -1).astype(np.float64)

    # The largest weight of a row becomes 127; a row of zeros needs a scale that can be divided by
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
    """Return the tensors of a float model with matrices in float16: half the file, to fine-tune from."""
    names = matrices(sizes)
    return {name: tensor.astype(np.float16) if name in names else tensor for name, tensor in tensors.items()}
