"""The only door to numba: the ``kernel`` decorator, and where compiled code is kept.

numba keys its disk cache by the source file of a function alone, so an edited
constant or callee in another file would silently run old machine code. Here the
cache folder itself is named by a hash of every source file of the package, the
versions of numba and Python and the choices made from the CPU.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import njit

from percepnet_cli.compute.cpu import isa

Function = TypeVar("Function", bound=Callable[..., Any])

FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
"""Reordering and fused multiply-add are wanted; NaN and infinity keep their meaning."""


def _source_hash() -> str:
    """Return 16 hex digits that change with any source file, numba, Python, machine or ISA."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(path.read_bytes())
    for text in (numba.__version__, sys.version, platform.machine(), isa()):
        digest.update(text.encode())
    return digest.hexdigest()[:16]


def _cache_root() -> Path:
    """Return the folder in which one sub-folder per source hash lies."""
    override = os.environ.get("PERCEPNET_CACHE_DIR")
    if override:
        return Path(override)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "percepnet"


def _writable_cache_dir() -> Path | None:
    """Return the cache folder, made if needed, or None where nothing can be written."""
    try:
        folder = _cache_root() / _source_hash()
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    return folder


CACHE_DIR = _writable_cache_dir()
"""Folder of the compiled kernels, or None if they cannot be kept."""

if CACHE_DIR is None:
    warnings.warn(
        f"compiled code cannot be kept in {_cache_root()}; every run compiles anew "
        "(set PERCEPNET_CACHE_DIR to a writable folder)",
        RuntimeWarning,
        stacklevel=2,
    )


def is_cold() -> bool:
    """Return whether the next run has to compile: no kernel of this version is on disk yet."""
    return CACHE_DIR is None or not any(CACHE_DIR.rglob("*.nbi"))


def load_array_functions() -> None:
    """Import the part of numba that looks for SciPy, which it does when the first kernel is called at the latest."""
    importlib.import_module("numba.np.arraymath")


@contextmanager
def _kept() -> Iterator[None]:
    """Let numba keep what is compiled meanwhile in our folder."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = "" if CACHE_DIR is None else str(CACHE_DIR)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def kernel(function: Function) -> Function:
    """Compile a numerical loop on first call and keep the machine code on disk.

    The function gets contiguous, typed arrays: inputs, tables, state, outputs (last);
    it allocates nothing, raises nothing, prints nothing and releases the GIL.
    """
    with _kept():
        return njit(cache=CACHE_DIR is not None, nogil=True, error_model="numpy", fastmath=FASTMATH)(function)


def part(function: Function) -> Function:
    """Mark a step of a kernel that has a name of its own: it is compiled in the place of each call.

    So a kernel in parts is the machine code of one in one piece. Called from Python it works as ``kernel`` does.
    """
    with _kept():
        return njit(inline="always", nogil=True, error_model="numpy", fastmath=FASTMATH)(function)


def c_callback(signature: Any) -> Callable[[Function], Any]:
    """Compile a function that C code calls by its address; as ``kernel`` otherwise. Compiled when it is defined."""

    def compiled(function: Function) -> Any:
        with _kept():
            return numba.cfunc(signature, cache=CACHE_DIR is not None, error_model="numpy")(function)

    return compiled
