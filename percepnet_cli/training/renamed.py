"""Names that files of before have: shards, checkpoints. They are read under the names of today, and written no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OPTIONS = {
    "batch": "batch_size",
    "hops": "sequence_length",
    "pieces": "tbptt_chunks",
    "optimiser": "optimizer",
    "recolour": "augment",
    "level_weight": "loud_band_weight",
    "loudness_weight": "pesq_weight",
    "residue_weight": "sisdr_weight",
    "taught_share": "distill_weight",
    "taught_power": "distill_power",
}
"""Options of training in checkpoints of format 2."""

OPTIMIZERS = "optimisers"
"""The key of the states of the optimizers in checkpoints of format 2."""

LOSSES = {"gamma": "percepnet", "quarter": "rnnoise", "relative": "percepnet2021", "entropy": "bce"}
"""Likewise the values of the option ``loss``."""

TENSORS = {"taught_gain": "teacher_gain", "taught_strength": "teacher_strength"}
"""Tensors of a shard."""

DESCRIPTION = {
    "part": "split",
    "rooms": "rir",
    "room": "rir",
    "given_room": "given_rir",
    "room_on_noise": "rir_on_noise",
    "colour": "color",
}
"""Keys of the description of a shard, its recipe and its recordings."""

NOISES = {"coloured": "colored"}
"""Likewise kinds of synthetic noise in a recipe."""


def shard_description(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a shard says of itself, in the names of today. Raises AttributeError where it is no such thing."""
    result = _renamed(found)
    for name in ("recipe", "recordings"):
        if name in result:
            result[name] = _renamed(result[name])

    # each kind of noise with its share; the first shards hold bare shares
    recipe = result.get("recipe", {})
    if isinstance(kinds := recipe.get("synthetic_kinds"), list):
        recipe["synthetic_kinds"] = [
            [NOISES.get(kind[0], kind[0]), *kind[1:]] if isinstance(kind, list) else kind for kind in kinds
        ]
    return result


def _renamed(found: Mapping[str, Any]) -> dict[str, Any]:
    return {DESCRIPTION.get(key, key): value for key, value in found.items()}
