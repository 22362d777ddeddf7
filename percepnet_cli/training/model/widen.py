"""A wider network that computes the same: a head start for the large one (Net2Net, Chen et al. 2016).

A unit of the narrow network becomes one or more copies in the wide one. The copies compute the same,
and whatever read the unit reads its copies with weights that sum to the old one. The sum is split at random,
row by row, so that copies get different gradients and part ways.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.network.modelfile import Sizes, layout

SHARES = (0.25, 0.75)
"""Range from which the shares of copies are drawn before they are made to sum to 1."""


def widen(tensors: dict[str, np.ndarray], old: Sizes, new: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Return the float tensors of a wider network with the same output.

    tensors: float32, as ``modelfile.layout`` names them. seed: of copies and shares. Raises ValueError if a layer
    would become narrower or a convolution longer.
    """
    if any(n < o for n, o in zip(new, old, strict=True)) or new[-2:] != old[-2:]:
        raise ValueError(f"a network of sizes {list(old)} cannot be widened to {list(new)}")
    rng = np.random.default_rng(seed)
    copies = {name: _copies(getattr(old, name), getattr(new, name), rng) for name in Sizes._fields[:3]}
    for layer, width in (("gru1", "gru"), ("gru2", "gru"), ("gru3", "gru"), ("gain_gru",) * 2, ("strength_gru",) * 2):
        copies[layer] = _copies(getattr(old, width), getattr(new, width), rng)
    inputs = {
        "conv1": ("dense",),
        "conv2": ("conv1",),
        "gru1": ("conv2",),
        "gru2": ("gru1",),
        "gru3": ("gru2",),
        "gain_gru": ("gru3",),
        "strength_gru": ("conv2", "gru3"),
        "gain": ("conv2", "gru1", "gru2", "gru3", "gain_gru"),
        "strength": ("strength_gru",),
    }
    result = {}
    for name, value in tensors.items():
        layer, _, kind = name.partition(".")
        wide = value
        if layer in copies:
            units = copies[layer]
            gates = range(len(value) // (int(units.max()) + 1))
            wide = wide[np.concatenate([gate * (int(units.max()) + 1) + units for gate in gates])]
        if kind == "weight_hh":
            wide = _split(wide, [copies[layer]], rng)
        elif kind.startswith("weight") and layer in inputs:
            wide = _split(wide, [copies[source] for source in inputs[layer]], rng)
        result[name] = np.ascontiguousarray(wide, np.float32)
    assert {name: array.shape for name, array in result.items()} == {
        name: shape for name, (_, shape) in layout(new, "float").items()
    }
    return result


def _copies(old: int, new: int, rng: np.random.Generator) -> np.ndarray:
    """Return which old unit each new one copies, int [new]; every old unit comes first once."""
    extra = np.concatenate([rng.permutation(old) for _ in range(-(-(new - old) // old))] or [np.zeros(0, int)])
    return np.concatenate((np.arange(old), extra[: new - old])).astype(int)


def _split(weights: np.ndarray, sources: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Spread the columns [rows, old inputs, ...] over the copies of the inputs, which ``sources`` joins."""
    parts = []
    first = 0
    for units in sources:
        count = int(units.max()) + 1
        part = weights[:, first : first + count][:, units]
        share = rng.uniform(*SHARES, part.shape)
        of_unit = np.equal.outer(units, np.arange(count)).astype(np.float64)
        total = np.moveaxis(np.tensordot(share, of_unit, (1, 0)), -1, 1)
        parts.append(part * share / total[:, units])
        first += count
    return np.concatenate(parts, axis=1)
