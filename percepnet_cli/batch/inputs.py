"""From what is named on a command line to pairs of files: folders, globs, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache

from percepnet_cli.audio.folders import is_sound, opened, sound_files
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
    again: bool = field(default=False, compare=False, repr=False)
    """Whether a process died over it: its result may be there already, and is replaced."""


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
        If a folder or glob holds no sound files, or two results would have the same name (by links, too).
    StorageError
        If a folder cannot be opened, or a store cannot be reached.
    """
    found: dict[str, tuple[str, int]] = {}  # a file may be named twice
    for path in map(remote.local, inputs):
        sources = {source: (relative, size) for source, relative, size in _find(path, folder)}
        if not sources:
            raise AudioError(f"{path}: no sound files there")
        found |= sources
    items = {}
    taken: dict[str, str] = {}
    real = cache(os.path.realpath)

    def place_of(target: str) -> str:
        """Return the one name of a place that links may give several; a link itself is replaced, not followed."""
        if remote.is_url(target):
            return target
        return os.path.join(real(os.path.dirname(target)), os.path.basename(target))

    # names that stay have precedence over those that change
    for source, (relative, size) in sorted(found.items(), key=lambda entry: _changes(entry[1][0], suffix)):
        stem, old = os.path.splitext(relative)
        new = _suffix(old, suffix)
        target = remote.join(folder, stem + new)
        if place_of(target) in taken and _changes(relative, suffix):
            target = remote.join(folder, relative + new)
        place = place_of(target)
        if place in taken:
            raise AudioError(f"{taken[place]} and {source} would both become {target}")
        taken[place] = source
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
        for name in _matching(path, base, output):
            yield name, os.path.relpath(name, base), os.path.getsize(name)
    else:
        yield path, os.path.basename(path), os.path.getsize(path) if os.path.isfile(path) else 0


def _matching(pattern: str, base: str, output: str) -> list[str]:
    """Return the sound files of a glob, sorted: each once however many links lead to it, and no earlier results.

    base: its fixed part. output: the folder of the results; what is in it is left out, unless the glob lies in it.
    """
    results = None if remote.is_url(output) else os.path.realpath(remote.local(output))
    if results is not None and _inside(os.path.realpath(base), results):
        results = None

    # The way to a file with the fewest folders comes first and is kept
    kept: dict[str, str] = {}
    for found in sorted(_candidates(pattern, output), key=lambda name: (name.count(os.sep), name)):
        folder = os.path.realpath(os.path.dirname(found) or ".")
        if results is None or not _inside(folder, results):
            kept.setdefault(os.path.join(folder, os.path.basename(found)), found)
    return sorted(kept.values())


def _candidates(pattern: str, output: str) -> Iterator[str]:
    """Yield the sound files that fit a glob. Below "**" folders are walked once, which glob itself does not heed."""
    parts = pattern.replace(os.sep, "/").split("/")
    _refuse_closed_folders(parts[: parts.index("**")] if "**" in parts else parts)
    if "**" not in parts:
        yield from (name for name in glob.glob(pattern) if os.path.isfile(name) and is_sound(name))
        return
    first = parts.index("**")
    head, tail = os.sep.join(parts[:first]), parts[first:]
    for top in glob.glob(head) if head else [os.sep if pattern.startswith("/") else "."]:
        if os.path.isdir(top):
            for found in sound_files(top, output):
                if _fits(found.name.split(os.sep), tail):
                    yield found.path if top != "." else found.name


def _refuse_closed_folders(parts: Sequence[str]) -> None:
    """Raise StorageError if a folder in which a glob looks cannot be opened: glob itself would pass it by."""
    first = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    for number in range(first, len(parts)):
        head = os.sep.join(parts[:number])
        for folder in glob.glob(head) if head else [os.sep if number else "."]:
            if os.path.isdir(folder):
                with opened(folder):
                    pass


def _fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Return whether the names of folders and a file fit the parts of a glob; "**" stands for any number of them."""
    if not patterns or not names:
        return not names and all(pattern == "**" for pattern in patterns)
    if patterns[0] == "**":
        return _fits(names, patterns[1:]) or _fits(names[1:], patterns)
    return fnmatchcase(names[0], patterns[0]) and _fits(names[1:], patterns[1:])


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
