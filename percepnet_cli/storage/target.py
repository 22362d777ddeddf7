"""The one check of where a result is to go, done before the work, and the sentences about it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from percepnet_cli.errors import PercepnetError, StorageError
from percepnet_cli.storage.atomic import write_atomically


def exists_sentence(path: str | Path) -> str:
    """Return what to say of a result that is there already."""
    return f"{path} already exists; use force=True to replace it"


def check_file(
    path: Path,
    force: bool,
    *,
    inputs: Iterable[Path] = (),
    error: type[PercepnetError] = StorageError,
    shown: Path | None = None,
) -> None:
    """Raise an error, with one sentence for the user, unless a file can be written under a name.

    Parameters
    ----------
    path : Path
        Where the result will be.
    force : bool
        Whether it may replace a file.
    inputs : iterable of Path
        Files that are read for it: it may not replace these, force or not.
    error : type
        What to raise.
    shown : Path or None
        What the user calls it; None: ``path``.
    """
    name = path if shown is None else shown
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        mode = None
    except OSError as problem:  # the name is too long, a folder of it is a file...
        raise error(f"{name} cannot be written: {problem.strerror}") from None

    if path.is_dir():
        raise error(f"{name} is a folder; give the name of a file")
    if mode is not None and not force:
        raise error(exists_sentence(name))

    # A result replaces what has its name, and that must never be a device, nor what it is made from
    if mode is not None and not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise error(f"{name} is no file that could be replaced")
    if path.exists() and any(source.exists() and source.samefile(path) for source in inputs):
        raise error(f"{name} is an input; give the result another name")

    if not path.parent.is_dir():
        raise error(f"{name} cannot be written: there is no such folder")
    if not os.access(path.parent, os.W_OK):
        raise error(f"{name} cannot be written: its folder is read-only")


def write_file(
    path: Path, write: Callable[[Path], object], force: bool, error: type[PercepnetError] = StorageError
) -> None:
    """Let ``write`` fill a file that appears whole or not at all; raise an error, with one sentence, if it cannot.

    force: replace a file of this name, even one that has appeared since ``check_file``.
    """
    try:
        write_atomically(path, write, force)
    except FileExistsError:
        raise error(exists_sentence(path)) from None
    except OSError as problem:
        raise error(f"{path} cannot be written: {problem.strerror or problem}") from None


def check_folder(path: Path, error: type[PercepnetError] = StorageError) -> None:
    """Raise an error unless a folder of results is there or can be made."""
    if path.exists() and not path.is_dir():
        raise error(f"{path} is a file; give a folder for the results")


def make_folder(path: Path, error: type[PercepnetError] = StorageError) -> None:
    """Make a folder for results unless it is there. Raises an error with one sentence."""
    check_folder(path, error)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise error(f"{path} cannot be made: {problem.strerror}") from None
