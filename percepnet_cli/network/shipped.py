"""The shipped models: what each costs and how good it was measured to be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from percepnet_cli.constants import DEFAULT_FILE_MODEL, DEFAULT_MODEL, HOP_SIZE, SAMPLE_RATE
from percepnet_cli.network.modelfile import find_model, load_model, shipped_names
from percepnet_cli.storage.packaged import packaged

DEFAULTS = {"files": DEFAULT_FILE_MODEL, "streams": DEFAULT_MODEL}
"""Which shipped model is used for what unless another is asked for."""

SCORES = "scores.json"
"""Written beside the models by tests/quality/model_table.py."""


@dataclass(frozen=True)
class Entry:
    """One shipped model."""

    name: str
    default_for: tuple[str, ...]
    """``files`` or ``streams``, both or none: what it is used for unless another is asked for."""
    num_weights: int
    """Multiply-adds per hop."""
    latency_ms: float
    """Milliseconds by which the output is behind the input."""
    file_bytes: int
    sha256: str
    scores: dict[str, float]
    """Means over the pairs it was measured on: pesq_wb, stoi, si_sdr (dB), dnsmos_ovrl and others; empty if this very
    file was never measured."""

    @property
    def multiply_adds_per_second(self) -> int:
        """Multiply-adds of the network for a second of one channel."""
        return self.num_weights * SAMPLE_RATE // HOP_SIZE

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {**vars(self), "multiply_adds_per_second": self.multiply_adds_per_second}


def measured() -> dict[str, dict[str, Any]]:
    """Return what was measured of each shipped model: ``sha256`` of its file, ``scores`` and more."""
    file = packaged("models").joinpath(SCORES)
    records: dict[str, dict[str, Any]] = json.loads(file.read_text("utf-8"))
    return records


def shipped() -> list[Entry]:
    """Return the shipped models, the defaults first, then by weights. Raises ModelError if one is damaged."""
    records = measured()
    entries = []
    for name in shipped_names():
        model = load_model(name)
        record = records.get(name, {})

        # Scores belong to the very file that was measured: another one of that name has none yet
        scores = record["scores"] if record.get("sha256") == model.digest else {}
        size = find_model(name)[1].stat().st_size
        latency_ms = 1000 * model.latency_samples / SAMPLE_RATE
        default_for = tuple(use for use, default in DEFAULTS.items() if default == name)
        entries.append(Entry(name, default_for, model.num_weights, latency_ms, size, model.digest, scores))

    return sorted(entries, key=lambda entry: (not entry.default_for, -entry.num_weights))
