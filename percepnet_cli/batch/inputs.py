"""From what is named on a command line to pairs of files: folders, globs, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from percepnet_cli.audio.folders import is_sound, sound_files
from percepnet_cli.audio.suffixes import CONTAINERS
from percepnet_cli.errors import AudioError
from percepnet_cli.storage import remote

SUFFIX_OF_OTHERS = ".wav"
"""Given to results if the input's own format cannot be written."""


@dataclass(frozen=True)
class Item:
    """One file to do."""

    source: str
    target: str
    size: int
    """Bytes of the source, 0 if not known."""


def collect(inputs: Iterable[str], folder: str, suffix: str | None = None) -> list[Item]:
    """Find all sound files of files, folders and globs, and a place in a folder for each result.

    Folders are searched recursively and their tree is mirrored, as is the tree below the fixed part of a glob; hidden
    files and the output folder itself are left out. Names that occur twice keep their old extension before the new.

    Parameters
    ----------
    inputs : iterable of str
        Paths or URLs (see ``remote``).
    folder : str
        Where the results go, path or URL.
    suffix : str or None
        Extension of the results, with its dot; None keeps the input's own where it can be written, else ".wav".

    Raises
    ------
    AudioError
        If a folder or glob holds no sound files, or two results would have the same name.
    """
    found: dict[str, tuple[str, int]] = {}  # a file may be named twice
    for path in map(remote.local, inputs):
        sources = {source: (relative, size) for source, relative, size in _find(path, folder)}
        if not sources:
            raise AudioError(f"{path}: no sound files there")
        found |= sources
    items = {}
    taken: dict[str, str] = {}
    # names that stay have precedence over those that change
    for source, (relative, size) in sorted(found.items(), key=lambda entry: _changes(entry[1][0], suffix)):
        stem, old = os.path.splitext(relative)
        new = _suffix(old, suffix)
        target = remote.join(folder, stem + new)
        if target in taken and _changes(relative, suffix):
            target = remote.join(folder, relative + new)
        if target in taken:
            raise AudioError(f"{taken[target]} and {source} would both become {target}")
        taken[target] = source
        items[source] = Item(source, target, size)
    return [items[source] for source in found]


def _suffix(old: str, wanted: str | None) -> str:
    return wanted or (old if old.lower() in CONTAINERS else SUFFIX_OF_OTHERS)


def _changes(name: str, wanted: str | None) -> bool:
    old = os.path.splitext(name)[1]
    return _suffix(old, wanted).lower() != old.lower()


def _find(path: str, output: str) -> Iterator[tuple[str, str, int]]:
    """Yield (source, name below the output folder, bytes) of what one input stands for, in a fixed order."""
    if remote.is_url(path) or os.path.isdir(path):
        yield from ((found.path, found.name, found.size) for found in sound_files(path, output))
    elif remote.is_pattern(path):
        base = remote.fixed_part(path.replace(os.sep, "/"))
        for found in sorted(glob.glob(path, recursive=True)):
            if os.path.isfile(found) and is_sound(found):
                yield found, os.path.relpath(found, base), os.path.getsize(found)
    else:
        yield path, os.path.basename(path), os.path.getsize(path) if os.path.isfile(path) else 0
