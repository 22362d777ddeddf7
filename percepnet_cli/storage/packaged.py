"""Files that come with the program: the models, and the recording that ``percepnet demo`` plays."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def packaged(folder: str) -> resources.abc.Traversable:
    """Return a folder of the program, ``models`` or ``examples``.

    A wheel has it in the package, a checkout beside it. Python started in a checkout's root takes the package from
    there, even where a wheel is installed.
    """
    try:
        return resources.files(f"percepnet_cli.{folder}")
    except ModuleNotFoundError:
        return Path(__file__).resolve().parents[2] / folder
