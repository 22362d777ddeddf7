"""The checkpoint of a run: written so that a kill at any moment leaves one, read back with checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from percepnet_cli.storage.atomic import write_atomically

FORMAT_VERSION = 2
"""Version of the checkpoint."""


def write_checkpoint(path: Path, identity: dict[str, Any], content: dict[str, Any]) -> None:
    """Write a checkpoint; ``identity`` is what must not change between two sittings."""
    everything = {"format_version": FORMAT_VERSION, "identity": identity, **content}
    write_atomically(path, lambda part: torch.save(everything, part))


def read_checkpoint(path: Path, identity: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the content of a checkpoint, its tensors on `device`.

    Raises
    ------
    ValueError
        The file is damaged, or belongs to a run of another identity.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        found = content["identity"]
    except Exception as error:  # torch.load raises many types for a damaged file
        raise ValueError(f"{path}: cannot be read ({error}); --fresh starts a new run") from error
    changed = [f"{key} {found.get(key)}" for key in identity if found.get(key) != identity[key]]
    if changed:
        raise ValueError(
            f"{path}: this run was started with {', '.join(changed)}; give the same again, or --fresh for a new run"
        )
    return content
