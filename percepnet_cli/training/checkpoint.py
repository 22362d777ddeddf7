"""The checkpoint of a run: written so that a kill at any moment leaves one, read back with checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from percepnet_cli.storage.atomic import write_atomically
from percepnet_cli.training import renamed
from percepnet_cli.training.options import hyperparameters_of_format_2

FORMAT_VERSION = 3
"""Version of the checkpoint. Format 2, whose options had other names and whose batches followed from the number of
the step alone, is read too."""


def write_checkpoint(path: Path, hyperparameters: dict[str, Any], content: dict[str, Any]) -> None:
    """Write a checkpoint; ``hyperparameters`` are what must not change between two starts."""
    everything = {"format_version": FORMAT_VERSION, "hyperparameters": hyperparameters, **content}
    write_atomically(path, lambda part: torch.save(everything, part))


def read_checkpoint(
    path: Path, hyperparameters: dict[str, Any], device: torch.device, allow_changes: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Return the content of a checkpoint, its tensors on `device`, and which hyperparameters have changed since.

    Raises
    ------
    ValueError
        The file is damaged, or belongs to a run with other hyperparameters and those may not change.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if content["format_version"] == 2:
            found = hyperparameters_of_format_2(content["identity"])
        else:
            found = content["hyperparameters"]
        version = content["format_version"]
        if not isinstance(found, dict):
            raise TypeError("its hyperparameters are no table")
    except Exception as error:  # torch.load raises many types for a damaged file, and their words are Python's
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no checkpoint, or damaged"
        raise ValueError(f"{path}: cannot be read ({why}); --fresh starts a new run") from error
    if version not in (2, FORMAT_VERSION):
        raise ValueError(f"{path}: format version {version}, this program reads 2 and {FORMAT_VERSION}")

    changed = [key for key in hyperparameters if found.get(key) != hyperparameters[key]]
    before = [f"{key} {found.get(key)}" for key in changed]
    if "sizes" in changed or (changed and not allow_changes):
        raise ValueError(
            f"{path}: this run was started with {', '.join(before)}; give the same again, --allow-changes to go on "
            "with other options than sizes, or --fresh for a new run"
        )
    if version == 2:
        content = _from_format_2(content)
    return content, [f"{text} -> {hyperparameters[key]}" for key, text in zip(changed, before, strict=True)]


FORMAT_2_COLUMNS = (
    "step", "minutes", "hours", "learning_rate", "train", "valid", "valid_ema", "valid_ema_gain", "valid_ema_strength",
)  # fmt: skip
"""What a row of the history was in checkpoints of format 2."""


def _from_format_2(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a checkpoint of format 2 as one of today's.

    Its batches followed from the number of the step, which the sampler cannot go on with: it begins a new round, and
    a sequence of which the first chunks were trained on is left.
    """
    before = content["identity"]
    hops = content["step"] * before["batch"] * before["hops"] // before.get("pieces", 1)
    history = [dict(zip(FORMAT_2_COLUMNS, row, strict=True)) for row in content["history"]]
    replaced = {"optimizers": content[renamed.OPTIMIZERS], "hops": hops, "history": history}
    return content | replaced | {"decay_start": None, "state": None, "sampler": None, "draw": None}
