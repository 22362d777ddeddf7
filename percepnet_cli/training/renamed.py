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

LOSSES = {"gamma": "percepnet", "quarter": "rnnoise", "relative": "percepnet2021", "entropy": "bce"}
"""Likewise the values of the option ``loss``."""

DESCRIPTION = {"part": "split"}
"""Keys of the description of a shard."""


def shard_description(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a shard says of itself, in the names of today."""
    return {DESCRIPTION.get(key, key): value for key, value in found.items()}
