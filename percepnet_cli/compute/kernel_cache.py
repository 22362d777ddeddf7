"""Compiled kernels on disk: one file per kernel and types, believed only if it is whole and this user's.

A cache is a convenience. What cannot be loaded is deleted and compiled again; what
cannot be saved is skipped with one warning. Machine code is unpickled, so a file
that another user wrote would run as this user: folder and file have to belong to
this user, nobody else may write into them, and a checksum comes before the pickle.

    bytes 0..7     b"pncache1"
    bytes 8..39    SHA-256 of what follows
    bytes 40..     pickle of what numba needs to rebuild the function
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import secrets
import stat
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

SUFFIX = ".nbi"
"""Ending of the files in the cache folder."""

MAGIC = b"pncache1"
DIGEST_SIZE = hashlib.sha256().digest_size

_warned: set[str] = set()
_waiting: list[Callable[[], object]] = []
"""What is called before the next kernel is compiled."""


def before_compiling(say: Callable[[], object]) -> None:
    """Call this once, when the next kernel is not on disk or cannot be used: compiling takes seconds."""
    _waiting[:] = [say]


def warn_once(text: str) -> None:
    """Warn about the cache, once in a process: the reason is the same for every kernel."""
    if not _warned:
        _warned.add(text)
        warnings.warn(text, RuntimeWarning, stacklevel=2)


def is_own(status: os.stat_result) -> bool:
    """Return whether this user owns a file or folder and nobody else can write into it."""
    if not hasattr(os, "geteuid"):
        return True  # Windows: folders of a user's profile are the user's
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def private_folder(folder: Path) -> Path | None:
    """Make a folder that only this user can enter, if it is not there yet.

    Returns
    -------
    Path or None
        The folder; None if it is another user's, a link, or others can write into it.

    Raises
    ------
    OSError
        If it cannot be made, or nothing can be written into it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)

    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        if stat.S_ISLNK(status.st_mode):
            return None
        raise NotADirectoryError(f"{folder} is not a folder")
    if not is_own(status):
        return None

    if stat.S_IMODE(status.st_mode) != 0o700 and hasattr(os, "geteuid"):
        folder.chmod(0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is read-only")
    return folder


def temporary_root() -> Path:
    """Return the place for this user's folder where the wanted one is another user's."""
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    return Path(tempfile.gettempdir()) / f"percepnet-{user}"


def read(path: Path) -> Any:
    """Return what was saved in a file; None if there is none, or if it was damaged (then it is deleted)."""
    try:
        with open(path, "rb", opener=_open_itself) as file:
            status = os.fstat(file.fileno())
            believed = stat.S_ISREG(status.st_mode) and is_own(status)
            content = file.read() if believed else b""
        body = memoryview(content)[len(MAGIC) + DIGEST_SIZE :]
        if content[: len(MAGIC) + DIGEST_SIZE] == MAGIC + hashlib.sha256(body).digest():
            return pickle.loads(body)
    except FileNotFoundError:
        return None
    except Exception:  # a link, a folder, no memory: whatever is wrong with an entry, it is made anew
        pass
    _delete(path)
    return None


def _open_itself(path: str, flags: int) -> int:
    """Open a file for reading, but not what a link points to, nor wait for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def write(path: Path, data: Any) -> None:
    """Save data under a name; it is there whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    body = dumps(data)
    content = MAGIC + hashlib.sha256(body).digest() + body
    temporary = path.with_name(f".{secrets.token_hex(16)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

    descriptor = os.open(temporary, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        _delete(temporary)
        raise


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


class KernelCache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """What numba asks for compiled code of one function (takes the place of its own ``FunctionCache``).

    Parameters
    ----------
    function : callable
        The Python function.
    folder : Path
        Where its files lie; made by :func:`private_folder`.
    """

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        # numba's own __init__ looks for folders and writes a trial file in each: it is not called.
        self._py_func = function
        self._cache_path = str(folder)
        self._folder = folder
        code = function.__code__
        self._name = f"{function.__module__}.{function.__qualname__}-{code.co_firstlineno}"

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        """Return the machine code for a signature, or None if there is none that can be used."""
        code = self._load(self._path(sig, target_context.codegen()), target_context)
        if code is None and _waiting:
            _waiting.pop()()
        return code

    def _load(self, path: Path, target_context: Any) -> CompileResult | None:
        """Return the machine code in a file, or None if it cannot be used."""
        data = read(path)
        if data is None:
            return None
        try:
            # Ready machine code needs only the functions that count references to arrays. numba's own caches set up
            # the whole compiler here (and import SciPy), which takes longer than a second of audio.
            rtsys.initialize(target_context)
            return CompileResult._rebuild(target_context, *data)
        except Exception:  # whole, and still of no use: compiled anew
            _delete(path)
            return None

    def save_overload(self, sig: Any, data: CompileResult) -> None:
        """Keep the machine code for a signature, if it can be kept."""
        if any(not lifted.can_cache for lifted in data.lifted) or data.library.has_dynamic_globals:
            return
        try:
            write(self._path(sig, data.codegen), data._reduce())
        except OSError as error:
            warn_once(f"compiled code cannot be kept in {self._folder} ({error.strerror}); the next run compiles anew")

    def flush(self) -> None:
        """Delete what is kept of this function."""
        for path in self._folder.glob(f"{self._name}-*{SUFFIX}"):
            _delete(path)

    def _path(self, sig: Any, codegen: Any) -> Path:
        """Return the file's name: of the function, its code, its types and the CPU."""
        key = hashlib.sha256(repr(self._index_key(sig, codegen)).encode()).hexdigest()[:16]
        return self._folder / f"{self._name}-{key}{SUFFIX}"
