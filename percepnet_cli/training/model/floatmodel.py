"""The trained network as a model file of float32 weights, written and read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from percepnet_cli.errors import ModelError
from percepnet_cli.network.modelfile import Model, load_model, model_bytes
from percepnet_cli.network.quantize import half_tensors, restore_tensors
from percepnet_cli.storage.atomic import write_atomically
from percepnet_cli.training.model.torch_model import PercepNet

KIND = "float"
"""What a model file with float32 weights calls itself."""


def write_float_model(
    path: Path, model: PercepNet, training: dict[str, Any], post_filter: float = True, half: bool = False
) -> None:
    """Write a model file: weights, normalization, where they come from, and how they are used.

    half: matrices in float16 instead of float32.
    """
    tensors = {
        name: np.ascontiguousarray(value.detach().cpu().float().numpy()) for name, value in model.state_dict().items()
    }
    if half:
        tensors = half_tensors(tensors, model.sizes)

    data = model_bytes(tensors, model.sizes, KIND, {"training": training, "post_filter": post_filter})
    write_atomically(path, lambda part: part.write_bytes(data))


def read_float_model(path: Path) -> Model:
    """Return a checked model; a ValueError says what is wrong with the file."""
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    try:
        return load_model(path, KIND)
    except ModelError as error:
        raise ValueError(f"not a float model: {error}") from error


def read_weights(path: Path) -> Model:
    """Return a model of either kind as float32 weights, to fine-tune from. A ValueError says what is wrong."""
    # Of what is neither, the reader of float models says what is wrong
    try:
        return read_float_model(path)
    except ValueError as error:
        try:
            model = load_model(path)
        except ModelError:
            raise error from None
    return replace(model, tensors=restore_tensors(model.tensors, model.sizes))
