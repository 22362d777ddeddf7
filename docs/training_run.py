"""Make what docs/training.md tells of a training: sizes, times and losses, from docs/training_run.json."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def record() -> dict[str, Any]:
    """Return what was measured."""
    found: dict[str, Any] = json.loads((ROOT / "docs" / "training_run.json").read_text("utf-8"))
    return found


def _item(text: str) -> str:
    """Return an item of a list in lines of 100 columns."""
    return textwrap.fill(f"- {text}", 100, subsequent_indent="  ")


def mixing_item() -> str:
    """Return what step 2 costs."""
    found = record()
    return _item(
        "*Time*: a minute for every hour of mixtures and core. *Size*: "
        f"{found['mixtures_mb'] / found['mixtures_hours']:.0f} MB for every hour."
    )


def loss_item() -> str:
    """Return how the loss of step 3 falls."""
    losses = record()["validation_loss"]
    (_, first), *later = losses
    then = ", ".join(f"{loss:.2f} after {hours:.0f}" for hours, loss in later)
    return _item(
        "*Loss*: the validation loss must fall. Its size depends on the options, so compare it with itself. In a "
        f"short run of this command it began at {first:.2f}. In hours of audio that were heard, it was {then}."
    )


def rounding_text() -> str:
    """Return what step 4 says of the network of step 3."""
    return textwrap.fill(
        "This takes a second. The last column says how far the 8-bit network is from the float one, in dB. It was "
        f"{record()['rounding_snr_db']:.0f} for this network on the example recording. More is better.",
        100,
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "cost of mixing": mixing_item,
    "losses of a training": loss_item,
    "what rounding changes": rounding_text,
}
"""Blocks of the page, and what makes them."""
