"""Files that lie elsewhere, by URL: the only door to fsspec.

``s3://``, ``gs://``, ``az://``, ``sftp://``... what fsspec knows, given its package for it. ``file://`` is the local
disk and needs nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import has_magic
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from percepnet_cli.errors import StorageError
from percepnet_cli.extras import sentence
from percepnet_cli.storage.atomic import hidden

APPEARS_WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "r2", "memory"}
"""Stores where an object cannot be seen before it is complete."""

MANY = 8
"""From so many files on, one listing is quicker than asking for each."""


def is_url(path: str) -> bool:
    """Return whether a path is a URL of something other than the local disk."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.isalnum() and scheme not in ("file", "local")


def is_pattern(path: str) -> bool:
    """Return whether a name is meant as a glob: it has the signs of one, and there is no such file."""
    return has_magic(path) and (is_url(path) or not os.path.lexists(path))


def local(path: str) -> str:
    """Return the path of a file on the local disk, without its ``file://`` and what is percent-encoded in that."""
    if path.startswith("file://"):
        path = unquote(path.removeprefix("file://"), errors="surrogateescape")
        return path.removeprefix("localhost") if path.startswith("localhost/") else path
    return path.removeprefix("local://")


def join(folder: str, name: str) -> str:
    """Return the path or URL of a name (with "/" or the system's own separators) in a folder."""
    if is_url(folder):
        return f"{folder.rstrip('/')}/{name.replace(os.sep, '/')}"
    return os.path.join(local(folder), name)


def _filesystem(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it."""
    try:
        import fsspec
    except ImportError:
        raise StorageError(sentence(url, ["fsspec"])) from None
    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise StorageError(f"{url} cannot be reached: {_sentence(error)}") from None


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


@contextmanager
def _named(url: str, doing: str) -> Iterator[None]:
    """Turn what goes wrong over there into one sentence; every store has exceptions of its own."""
    try:
        yield
    except StorageError:
        raise
    except FileNotFoundError:
        raise StorageError(f"{url} does not exist") from None
    except Exception as error:
        raise StorageError(f"{url} cannot be {doing}: {_sentence(error)}") from error


def fixed_part(pattern: str) -> str:
    """Return the folders of a glob (with "/") before its first sign."""
    parts = pattern.split("/")
    fixed = next((number for number, part in enumerate(parts) if has_magic(part)), len(parts) - 1)
    return "/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else ".")


def find(url: str) -> list[tuple[str, str, int]]:
    """List files as (URL, name below the folder or the fixed part of the glob, bytes), sorted.

    The one file that the URL itself is has an empty name. Raises StorageError if the place cannot be reached.
    """
    system, path = _filesystem(url)
    with _named(url, "listed"):
        pattern = has_magic(path)
        found = system.glob(path, detail=True) if pattern else system.find(path, detail=True)
        base = fixed_part(path) if pattern else path.rstrip("/")
        listed = sorted(
            (system.unstrip_protocol(name), name.removeprefix(base).lstrip("/"), int(entry.get("size") or 0))
            for name, entry in found.items()
            if entry.get("type") != "directory"
        )

    # Stores take any text as a name; below a folder of results it must not lead out of it
    for address, name, _ in listed:
        if ".." in name.replace("\\", "/").split("/") or "\0" in name:
            raise StorageError(f"{address} is no name of a file below {url}: remove or rename it")
    return listed


def exists(path: str) -> bool:
    """Return whether there is such a file, here or elsewhere. Raises StorageError if the place cannot be reached."""
    if not is_url(path):
        return os.path.exists(local(path))
    system, inner = _filesystem(path)
    with _named(path, "looked at"):
        return bool(system.exists(inner))


def existing(paths: Sequence[str]) -> set[str]:
    """Return which of many files there are, here or elsewhere; many URLs cost one listing of their common folder.

    Raises StorageError if the place cannot be reached.
    """
    urls = [path for path in paths if is_url(path)]
    if len(urls) < MANY:
        return {path for path in paths if exists(path)}
    folder = os.path.commonprefix(urls).rpartition("/")[0]  # noqa: RUF071  (cut at a separator)
    system, inner = _filesystem(folder)
    listed: set[str] = set()
    with _named(folder, "listed"), suppress(FileNotFoundError):
        listed.update(system.find(inner))
    return {path for path in paths if (_filesystem(path)[1] in listed if is_url(path) else exists(path))}


def read_start(path: str, size: int) -> bytes:
    """Return the first bytes of a file, here or elsewhere. Raises StorageError."""
    system, inner = _filesystem(path)
    with _named(path, "read"):
        return bytes(system.cat_file(inner, start=0, end=size))


def size(path: str) -> int:
    """Return the bytes of a file elsewhere. Raises StorageError."""
    system, inner = _filesystem(path)
    with _named(path, "looked at"):
        return int(system.size(inner))


@contextmanager
def fetched(path: str) -> Iterator[str]:
    """Give a file a local name for the length of a ``with`` block. Raises StorageError."""
    if not is_url(path):
        yield local(path)
        return
    system, inner = _filesystem(path)
    with tempfile.TemporaryDirectory(prefix="percepnet-") as folder:
        copy = os.path.join(folder, os.path.basename(inner.rstrip("/")))
        with _named(path, "read"):
            if not system.isfile(inner):  # some make an empty copy of what is not there
                raise FileNotFoundError
            system.get_file(inner, copy)
        yield copy


@contextmanager
def stored(path: str) -> Iterator[str]:
    """Give a new file a local name, and put it in its place when the ``with`` block ends well.

    On the local disk the folder is made and the name is the file's own: the writer must see to it that it appears
    whole. Elsewhere the file replaces what is there. Raises StorageError.
    """
    if not is_url(path):
        target = local(path)
        try:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error.strerror}") from None
        yield target
        return

    # A copy on this machine, and its way there
    system, inner = _filesystem(path)
    with tempfile.TemporaryDirectory(prefix="percepnet-") as folder:
        copy = os.path.join(folder, os.path.basename(inner))
        yield copy
        with _named(path, "written"):
            parent = inner.rpartition("/")[0]
            system.makedirs(parent, exist_ok=True)
            if system.protocol in APPEARS_WHOLE or set(system.protocol) & APPEARS_WHOLE:
                system.put_file(copy, inner)
                return

            # Where a file appears piece by piece it gets another name until it is whole
            part = f"{parent}/{hidden(Path(inner)).name}"
            try:
                system.put_file(copy, part)
                system.mv(part, inner)
            except BaseException:
                with suppress(Exception):
                    system.rm_file(part)
                raise
