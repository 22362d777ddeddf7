"""Which models can run live: those that hear nothing in advance beyond the signal path's 30 ms."""

from __future__ import annotations

from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.errors import ModelError
from percepnet_cli.network.modelfile import Model

REALTIME_MODELS = ("percepnet", "lite")
"""Shipped models that can."""


def require_realtime(model: Model) -> None:
    """Raise ModelError, naming others, if a model looks ahead."""
    if model.latency_hops:
        seconds = model.latency_samples / SAMPLE_RATE
        raise ModelError(f"{model.name} looks ahead {seconds:.1f} s; use {' or '.join(REALTIME_MODELS)}")
