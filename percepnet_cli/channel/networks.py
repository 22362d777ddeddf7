"""The networks of a denoiser's channels, and how many of them can work at a time."""

from __future__ import annotations

import os
from collections.abc import Callable

from percepnet_cli.channel.predictor import Predictor
from percepnet_cli.network.blocks import BlockState
from percepnet_cli.network.modelfile import Model
from percepnet_cli.network.percepnet import State


def networks(max_hops: int) -> Callable[[Model], Predictor]:
    """Return what makes the network of a channel."""

    def state(model: Model) -> Predictor:
        return (BlockState if model.sizes.bidirectional else State)(model, max_hops)

    return state


def usable_cpus() -> int:
    """Return how many CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
