"""The signal path and its memory as LLVM text that fits any machine: ``python -m percepnet_cli.export.portable ...``.

A process of its own writes it, since numba decides when it is imported what it compiles for: without optimizations, for
a plain CPU and with a C function for the 8-bit product (see ``ENVIRONMENT``).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from percepnet_cli.compute.cpu import VARIABLE
from percepnet_cli.errors import KernelError, os_sentence

ENVIRONMENT = {
    "NUMBA_OPT": "0",
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "+extern",
    VARIABLE: "extern",
}
"""Without ``NUMBA_OPT=0`` the text holds what this machine's CPU has: counters of references, vectors of its width."""

DATA = "data.ll"


class Code(NamedTuple):
    """A module of LLVM text."""

    text: str
    function: str
    """Name in the text of what others call."""


class Portable(NamedTuple):
    """All that a library is made of, as LLVM text."""

    code: dict[str, Code]
    """By the names that the functions get: ``signal_path.process`` and ``pair.process_pair``, and what they call."""
    data: str
    """Constants and the memory that a stream begins with: see ``native.image_text``."""


def portable(folder: Path, model: str) -> Portable:
    """Return the texts for a model, by its name or file.

    folder: for the process's files. Raises KernelError if numba cannot do it.
    """
    environment = os.environ | ENVIRONMENT
    command = [sys.executable, "-m", __name__, model, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise KernelError(f"the signal path cannot be compiled: {done.stderr.strip().rpartition(chr(10))[2]}")

    def read(name: str) -> str:
        return (folder / name).read_text("utf-8")

    functions = dict(line.split() for line in done.stdout.splitlines())
    return Portable({name: Code(read(f"{name}.ll"), function) for name, function in functions.items()}, read(DATA))


def main(name: str, folder: Path) -> None:
    """Write the texts to files, and to standard output each function's name and that in its text."""
    from numba import types

    from percepnet_cli.compute.jit import compiled_anew
    from percepnet_cli.export.image import image_of
    from percepnet_cli.export.native import image_text
    from percepnet_cli.export.pair import process_pair
    from percepnet_cli.network.modelfile import load_model
    from percepnet_cli.network.percepnet import State
    from percepnet_cli.signal_path import Path as SignalPath
    from percepnet_cli.signal_path import process

    model = load_model(name)
    path = SignalPath(State(model, 1), 1)
    (folder / DATA).write_text(image_text(image_of(path), "analyzer.samples", "out", model.post_filter), "utf-8")

    settings = (types.int64, types.float32, types.float32)
    functions: list[tuple[Any, int]] = [(process, 1), (process_pair, 2)]
    for function, channels in functions:
        dispatcher = compiled_anew(function)
        dispatcher.compile((*[path._numba_type_] * channels, *settings))
        (compiled,) = dispatcher.overloads.values()
        (folder / f"{dispatcher.__name__}.ll").write_text(compiled.library.get_llvm_str(), "utf-8")
        print(dispatcher.__name__, compiled.fndesc.llvm_func_name)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except OSError as error:  # a full disk
        sys.exit(os_sentence(error))
