"""What a training run is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from percepnet_cli.network.modelfile import Sizes


@dataclass(frozen=True)
class Options:
    """What a run is told; see ``percepnet train --help``.

    `minutes` is a budget of trained time over all sittings; exactly one of `minutes`
    and `steps` is given.
    """

    sizes: Sizes
    batch: int = 64
    hops: int = 400
    rate: float = 1e-3
    minutes: float | None = None
    steps: int | None = None
    threads: int = 1
    device: str = "auto"
    optimiser: str = "adamw"
    loss: str = "gamma"
    strength_weight: float = 0.5
    strength_asymmetry: float = 1.0
    level_weight: float = 0.0
    loudness_weight: float = 0.0
    residue_weight: float = 0.0
    recolour: bool = False
    dropout: float = 0.0
    pieces: int = 1
    taught_share: float = 0.0
    taught_power: float = 1.0
    seed: int = 0
    checkpoint_minutes: float = 3.0
    validate_minutes: float = 4.0
    init: Path | None = None
    fresh: bool = False

    def identity(self) -> dict[str, Any]:
        """Return what must not change between two sittings."""
        identity: dict[str, Any] = {
            "sizes": list(self.sizes),
            "batch": self.batch,
            "hops": self.hops,
            "optimiser": self.optimiser,
            "loss": self.loss,
            "strength_weight": self.strength_weight,
            "level_weight": self.level_weight,
            "recolour": self.recolour,
            "dropout": self.dropout,
            "seed": self.seed,
        }
        if self.strength_asymmetry != 1:
            identity["strength_asymmetry"] = self.strength_asymmetry
        if self.pieces > 1:
            identity["pieces"] = self.pieces
        if self.loudness_weight:
            identity["loudness_weight"] = self.loudness_weight
        if self.residue_weight:
            identity["residue_weight"] = self.residue_weight
        if self.taught_share:
            identity["taught_share"] = self.taught_share
        if self.taught_power != 1:
            identity["taught_power"] = self.taught_power
        return identity
