"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from glob import escape
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place.

    Whatever interrupts it, even SIGKILL or a power failure, ``path`` is the old file or the new one; other errors
    remove the temporary file and go on to the caller (OSError if the folder cannot be written).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        with temporary.open("rb+") as file:  # the content must be on the disk before the name is
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed writers of ``path`` left; nobody may be writing it now."""
    for temporary in path.parent.glob(f".{escape(path.name)}.*part"):
        temporary.unlink(missing_ok=True)
