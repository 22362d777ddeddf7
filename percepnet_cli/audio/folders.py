"""The one walk over a folder's sound files: what is taken, what is left out, and in which order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import NamedTuple

from percepnet_cli.audio.suffixes import SOUND_SUFFIXES
from percepnet_cli.errors import StorageError
from percepnet_cli.storage import remote


class Found(NamedTuple):
    """One sound file of a folder."""

    path: str
    """Path or URL."""
    name: str
    """Below the folder."""
    size: int
    """Bytes."""


def is_sound(name: str) -> bool:
    """Return whether a name has the extension of a sound file and is not hidden."""
    base = os.path.basename(name)
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in SOUND_SUFFIXES


def sound_files(folder: str, left_out: str | None = None) -> Iterator[Found]:
    """Find all sound files below a folder, or URL of one, in a fixed order: by name, files before folders.

    Hidden files and folders are left out, and so is the folder ``left_out``. A folder that several links lead to is
    searched once. Raises StorageError if a URL cannot be reached, or a folder cannot be opened.
    """
    if remote.is_url(folder):
        for url, name, size in remote.find(folder):
            if not name:  # the URL is that of a file
                yield Found(url, PurePosixPath(url).name, size)
            elif is_sound(name):
                yield Found(url, name, size)
    else:
        local = remote.local(folder)
        known = {os.path.realpath(local)}
        if left_out is not None and not remote.is_url(left_out):
            known.add(os.path.realpath(remote.local(left_out)))
        yield from _walk(local, local, known)


@contextmanager
def opened(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Yield what is in a folder. Raises StorageError if it cannot be opened."""
    try:
        with os.scandir(folder) as listed:
            yield listed
    except OSError as error:
        raise StorageError(f"{folder} cannot be opened: {error.strerror}") from None


def _walk(folder: str, top: str, known: set[str]) -> Iterator[Found]:
    """Go through one folder and those in it. known: real paths of folders that are not to be entered again."""
    with opened(folder) as listed:
        entries = [entry for entry in listed if not entry.name.startswith(".")]
    entries.sort(key=lambda entry: entry.name)

    for entry in entries:
        if is_sound(entry.name) and entry.is_file():
            yield Found(entry.path, os.path.relpath(entry.path, top), entry.stat().st_size)

    for entry in entries:
        if entry.is_dir() and (place := os.path.realpath(entry.path)) not in known:
            known.add(place)
            yield from _walk(entry.path, top, known)
