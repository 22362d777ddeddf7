"""The only door to numba: the ``kernel`` decorator, and where compiled code is kept.

numba keys its disk cache by the source file of a function alone, so an edited
constant or callee in another file would silently run old machine code. Here the
cache folder itself is named by a hash of every source file of the package, the
versions of numba and Python and the choices made from the CPU.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import njit, typeof
from numba.core import sigutils
from numba.core.ccallback import CFunc

from percepnet_cli.compute.cpu import isa
from percepnet_cli.compute.kernel_cache import SUFFIX, KernelCache, private_folder, temporary_root, warn_once

Function = TypeVar("Function", bound=Callable[..., Any])

FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
"""Reordering and fused multiply-add are allowed; NaN and infinity keep their meaning."""


STRICT: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}
"""What ``kernel`` asks numba for. Without the last, a kernel that is compiled because a fast one calls it would become
fast itself, and be kept so for the signal path."""


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


def kept_folder(name: str) -> Path | None:
    """Return this user's own folder of that name for compiled code, or None where none can be kept; warn if so."""
    root = None
    try:
        root = _cache_root()
        if folder := private_folder(root / name):
            return folder
        if private := _replacement(name):
            warn_once(
                f"{root / name} belongs to another user, or others can write there; compiled code is kept in {private}"
            )
            return private
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        pass
    warn_once(
        f"compiled code cannot be kept in {root or 'the home folder'}; every run compiles anew "
        "(set PERCEPNET_CACHE_DIR to a writable folder)"
    )
    return None


def _replacement(name: str) -> Path | None:
    """Return a folder for this user alone below the one for temporary files; None if it is another user's, too."""
    root = private_folder(temporary_root())
    return None if root is None else private_folder(root / name)


CACHE_DIR = kept_folder(_source_hash())
"""Folder of the compiled kernels, or None if they cannot be kept."""


def is_cold() -> bool:
    """Return whether the next run has to compile: no kernel of this version is on disk yet."""
    return CACHE_DIR is None or not any(CACHE_DIR.glob(f"*{SUFFIX}"))


def _keep(compiled: Any, function: Callable[..., Any]) -> None:
    """Let numba look for a function's machine code in our folder, and keep it there."""
    if CACHE_DIR is not None:
        compiled._cache = KernelCache(function, CACHE_DIR)


def kernel(function: Function) -> Function:
    """Compile a numerical loop on first call and keep the machine code on disk.

    The function gets contiguous, typed arrays: inputs, tables, state, outputs (last);
    it allocates nothing, raises nothing, prints nothing and releases the GIL. Floats are added in the order that is
    written, each result rounded (IEEE 754): so every CPU, and what ``percepnet export`` makes, gives the same bits.
    A sum over a vector is then slow as a plain loop: ``vectors`` adds it up in lanes.
    """
    compiled = njit(**STRICT)(function)
    _keep(compiled, function)
    return compiled


def compiled_anew(compiled: Any) -> Any:
    """Return a kernel anew, neither compiled nor kept: what comes from the disk has no LLVM text any more."""
    return njit(**STRICT)(compiled.py_func)


def fast_kernel(function: Function) -> Function:
    """Compile as ``kernel`` does where the last bits may differ from CPU to CPU: nothing of the signal path."""
    compiled = njit(nogil=True, error_model="numpy", fastmath=FASTMATH)(function)
    _keep(compiled, function)
    return compiled


def address_of(compiled: Any, *arguments: Any) -> int:
    """Return the address under which a kernel, compiled for such arguments, is a C function.

    ``callback.call`` calls it. A kernel that calls another by its name has a copy of its code, optimized once more:
    for one as large as the signal path that takes as long as the path itself.
    """
    types = tuple(typeof(argument) for argument in arguments)
    compiled.compile(types)
    made = compiled.overloads[types]
    return int(made.library.get_pointer_to_function(made.fndesc.llvm_cfunc_wrapper_name))


def part(function: Function) -> Function:
    """Mark a step of a kernel that has a name of its own: it is compiled in the place of each call.

    So a kernel in parts is the machine code of one in one piece, and LLVM optimizes it once, not again with every
    kernel that calls it. Called from Python it works as ``kernel`` does.
    """
    compiled = njit(inline="always", **STRICT)(function)
    _keep(compiled, function)
    return compiled


def c_callback(signature: Any) -> Callable[[Function], Any]:
    """Compile a function that C code calls by its address; as ``kernel`` otherwise. Compiled when it is defined."""

    def compiled(function: Function) -> Any:
        # As numba.cfunc does it, which compiles at once and would know no other cache than its own.
        callback = CFunc(function, sigutils.normalize_signature(signature), locals={}, options={"error_model": "numpy"})
        _keep(callback, function)
        callback.compile()
        return callback

    return compiled
