"""The network's graph, written once: layers, their kinds, what they read, and how wide they are.

Model files, the runtime, the torch module and widening all follow from it. Nothing heavy is imported, so that a command
line can name sizes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from percepnet_cli.constants import NUM_BANDS, NUM_FEATURES


class Sizes(NamedTuple):
    """Widths of the layers, and lengths of the convolutions in hops.

    A bidirectional network has two recurrent layers in the place of each: one runs with time, one against it, each
    as wide as its number here says, and what follows reads both, the one with time first.
    """

    dense: int
    conv1: int
    conv2: int
    gru: int
    gain_gru: int
    strength_gru: int
    kernel1: int = 5
    kernel2: int = 3
    bidirectional: bool = False

    @property
    def directions(self) -> int:
        """How many recurrent layers stand in the place of one."""
        return 2 if self.bidirectional else 1

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; a causal network does not mention directions."""
        fields = self._asdict()
        if not self.bidirectional:
            del fields["bidirectional"]
        return fields


PRESETS = {
    "lite": Sizes(128, 192, 192, 192, 192, 96),
    "percepnet": Sizes(128, 512, 512, 512, 512, 128),
    "studio": Sizes(128, 384, 384, 320, 320, 96, bidirectional=True),
}
"""Named sizes; ``percepnet`` is the published network of 8 M weights, ``studio`` as large and for whole recordings."""

BACKWARD = "_backward"
"""Ends the name of a recurrent layer that runs against time."""

GRAPH: dict[str, tuple[str, tuple[str, ...]]] = {
    "dense": ("dense", ("features",)),
    "conv1": ("convolution", ("dense",)),
    "conv2": ("convolution", ("conv1",)),
    "gru1": ("recurrent", ("conv2",)),
    "gru2": ("recurrent", ("gru1",)),
    "gru3": ("recurrent", ("gru2",)),
    "gain_gru": ("recurrent", ("gru3",)),
    "gain": ("dense", ("conv2", "gru1", "gru2", "gru3", "gain_gru")),
    "strength_gru": ("recurrent", ("conv2", "gru3")),
    "strength": ("dense", ("strength_gru",)),
}
"""Layer -> its kind, and what it reads, side by side in this order. Checkpoints keep the order of the layers."""


def units(sizes: Sizes, layer: str) -> int:
    """Return how many outputs a layer of ``GRAPH`` has, in one direction if it is recurrent."""
    fixed = {"features": NUM_FEATURES, "gain": NUM_BANDS, "strength": NUM_BANDS}
    if layer in fixed:
        return fixed[layer]

    # The three recurrent layers of the trunk share one width; the others have a field of their own name
    width: int = getattr(sizes, "gru" if layer in ("gru1", "gru2", "gru3") else layer)
    return width


def outputs(sizes: Sizes, layer: str) -> int:
    """Return how many numbers a layer of ``GRAPH`` gives to the next, both directions together."""
    recurrent = layer in GRAPH and GRAPH[layer][0] == "recurrent"
    return units(sizes, layer) * (sizes.directions if recurrent else 1)


def matrices(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight matrix, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    kernels = {"conv1": sizes.kernel1, "conv2": sizes.kernel2}
    for layer, (kind, sources) in GRAPH.items():
        width = units(sizes, layer)
        columns = sum(outputs(sizes, source) for source in sources)

        # Three gates side by side (reset, update, new), as in torch.nn.GRU
        if kind == "recurrent":
            for name in (layer, layer + BACKWARD)[: sizes.directions]:
                shapes[f"{name}.weight_ih"] = (3 * width, columns)
                shapes[f"{name}.weight_hh"] = (3 * width, width)
        else:
            taps = (kernels[layer],) if kind == "convolution" else ()
            shapes[f"{layer}.weight"] = (width, columns, *taps)
    return shapes
