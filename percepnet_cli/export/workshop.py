"""Where an export is put together: a folder of its own, and zig, which compiles and links in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from percepnet_cli.compute.jit import kept_folder
from percepnet_cli.errors import ExtraError, KernelError, ModelError
from percepnet_cli.extras import missing, sentence
from percepnet_cli.network.modelfile import Model, load_model
from percepnet_cli.storage.target import write_file


def exportable(name: str) -> Model:
    """Return the model of a name or file, if it can be exported here.

    Raises
    ------
    ExtraError
        If zig is not installed.
    ModelError
        If the model cannot be read, or looks ahead.
    """
    if missing("ziglang"):
        raise ExtraError(sentence("exporting", ["ziglang"]))
    model = load_model(name)
    if model.sizes.bidirectional:
        raise ModelError(f"{name}: a network that looks ahead cannot be exported, only causal ones")
    return model


@contextmanager
def workshop(sources: Iterable[str]) -> Iterator[Path]:
    """Make a folder with C sources of this package in it; it goes at the end."""
    with tempfile.TemporaryDirectory(prefix="percepnet-export-") as place:
        work = Path(place)
        for source in sources:
            (work / source).write_bytes(resources.files("percepnet_cli.export").joinpath(source).read_bytes())
        yield work


def zig(work: Path, *arguments: str) -> None:
    """Run zig in a folder. Raises KernelError with its own words if it fails.

    What it makes of a system's libraries is kept for the next export, beside the compiled kernels.
    """
    kept = str(kept_folder("zig") or work / "zig")
    caches = {"ZIG_LOCAL_CACHE_DIR": str(work / "zig"), "ZIG_GLOBAL_CACHE_DIR": kept}
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", *arguments],
        cwd=work,
        env=os.environ | caches,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise KernelError(f"zig {arguments[0]} failed: {done.stderr.strip()}")


def deliver(work: Path, folder: Path, names: Iterable[str], force: bool) -> None:
    """Copy results to where they belong, each whole or not at all. Raises StorageError if one exists, without force."""
    for name in names:

        def copy(temporary: Path, result: Path = work / name) -> None:
            shutil.copyfile(result, temporary)

        write_file(folder / name, copy, force)
