"""A wider network that computes the same: a warm start for the large one (Net2Net, Chen et al. 2016).

A unit of the narrow network becomes one or more copies in the wide one. The copies compute the same,
and whatever read the unit reads its copies with weights that sum to the old one. The sum is split at random,
row by row, so that copies get different gradients and part ways.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.network.graph import BACKWARD, GRAPH, Sizes, outputs, units
from percepnet_cli.network.modelfile import layout

SHARES = (0.25, 0.75)
"""Range from which the shares of copies are drawn before they are made to sum to 1."""


def widen(tensors: dict[str, np.ndarray], old: Sizes, new: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Return the float tensors of a wider network with the same output.

    tensors: float32, as ``modelfile.layout`` names them. seed: of copies and shares. Raises ValueError if a layer
    would become narrower or a convolution longer.
    """
    if any(n < o for n, o in zip(new, old, strict=True)) or new[-3:] != old[-3:]:
        raise ValueError(f"a network of sizes {list(old)} cannot be widened to {list(new)}")

    # Which old unit each new one copies; what has a fixed width keeps it
    rng = np.random.default_rng(seed)
    copies = {
        layer: _copies(units(old, layer), units(new, layer), rng)
        for layer in GRAPH
        if layer not in ("gain", "strength")
    }

    result = {}
    for name, value in tensors.items():
        full_name, _, kind = name.partition(".")
        layer = full_name.removesuffix(BACKWARD)

        # Rows: copies compute what their unit did, in each of the three gates of a recurrent layer
        wide = value
        if layer in copies:
            chosen = copies[layer]
            width = units(old, layer)
            wide = wide[np.concatenate([gate * width + chosen for gate in range(len(value) // width)])]

        # Columns: what read a unit reads shares of it from its copies
        if kind == "weight_hh":
            wide = _split(wide, [copies[layer]], rng)
        elif kind.startswith("weight") and layer != "dense":
            wide = _split(wide, [part for source in GRAPH[layer][1] for part in _parts(source, copies, old)], rng)
        result[name] = np.ascontiguousarray(wide, np.float32)

    assert {name: array.shape for name, array in result.items()} == {
        name: shape for name, (_, shape) in layout(new, "float").items()
    }
    return result


def _parts(source: str, copies: dict[str, np.ndarray], sizes: Sizes) -> list[np.ndarray]:
    """Return the copies of a layer's outputs: of a recurrent one in both directions twice, one behind the other."""
    return [copies[source]] * (outputs(sizes, source) // units(sizes, source))


def _copies(old: int, new: int, rng: np.random.Generator) -> np.ndarray:
    """Return which old unit each new one copies, int [new]; every old unit comes first once."""
    extra = np.concatenate([rng.permutation(old) for _ in range(-(-(new - old) // old))] or [np.zeros(0, int)])
    return np.concatenate((np.arange(old), extra[: new - old])).astype(int)


def _split(weights: np.ndarray, sources: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Spread the columns [rows, old inputs, ...] over the copies of the inputs, which ``sources`` joins."""
    parts = []
    first = 0
    for chosen in sources:
        count = int(chosen.max()) + 1
        part = weights[:, first : first + count][:, chosen]

        # Random shares, divided by the sum over all copies of a unit: then those of each unit sum to 1
        share = rng.uniform(*SHARES, part.shape)
        of_unit = np.equal.outer(chosen, np.arange(count)).astype(np.float64)
        total = np.moveaxis(np.tensordot(share, of_unit, (1, 0)), -1, 1)
        parts.append(part * share / total[:, chosen])
        first += count
    return np.concatenate(parts, axis=1)
