"""A wider network that computes the same: a warm start for the large one (Net2Net, Chen et al. 2016).

A unit of the narrow network becomes one or more copies in the wide one. The copies compute the same,
and whatever read the unit reads its copies with weights that sum to the old one. The sum is split at random,
row by row, so that copies get different gradients and part ways.

A causal network becomes a bidirectional one by layers that run against time and that nothing listens to yet: the
weights that read them are 0, and training lets them in.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.network.graph import BACKWARD, GRAPH, Sizes, outputs, units
from percepnet_cli.network.modelfile import layout

SHARES = (0.25, 0.75)
"""Range from which the shares of copies are drawn before they are made to sum to 1."""


def widen(tensors: dict[str, np.ndarray], old: Sizes, new: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Return the float tensors of a wider network with the same output.

    tensors: float32, as ``modelfile.layout`` names them. seed: of copies, shares and layers against time. Raises
    ValueError if a layer would become narrower, a convolution longer, or a bidirectional network causal.
    """
    if any(n < o for n, o in zip(new, old, strict=True)) or (new.kernel1, new.kernel2) != (old.kernel1, old.kernel2):
        raise ValueError(f"a network of sizes {list(old)} cannot be widened to {list(new)}")

    # Layers against time are added at their full width: copies of what is random would be wasted
    if new.bidirectional and not old.bidirectional:
        return _bidirectional(widen(tensors, old, new._replace(bidirectional=False), seed), new, seed)

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


def _bidirectional(tensors: dict[str, np.ndarray], sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Return the tensors of a causal network with layers against time that do not change its output."""
    rng = np.random.default_rng(seed)
    result = {}
    for name, (_, shape) in layout(sizes, "float").items():
        layer = name.split(".")[0]

        # A new layer begins as random as torch.nn.GRU would
        if layer.endswith(BACKWARD):
            bound = units(sizes, layer.removesuffix(BACKWARD)) ** -0.5
            result[name] = rng.uniform(-bound, bound, shape).astype(np.float32)
            continue

        # What is read of a recurrent layer stands first, and what is read of its twin is 0
        value = tensors[name]
        if value.shape != shape:
            value = np.zeros(shape, np.float32)
            first = old_first = 0
            for source in GRAPH[layer][1]:
                count = units(sizes, source)
                value[:, first : first + count] = tensors[name][:, old_first : old_first + count]
                first += outputs(sizes, source)
                old_first += count
        result[name] = value
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
