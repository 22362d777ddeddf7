"""C library and LADSPA plug-in: the compiled path, its memory and C sources, put together by zig for a target."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from percepnet_cli.export.native import data_object, path_object
from percepnet_cli.export.portable import portable
from percepnet_cli.export.targets import TARGETS
from percepnet_cli.export.workshop import deliver, exportable, workshop, zig
from percepnet_cli.network.modelfile import Model

STATIC = "libpercepnet.a"
LADSPA = "percepnet_ladspa"
HEADERS = ("percepnet.h", "cpu_x86.h", "ladspa_api.h", "product.h")
SOURCES = (*HEADERS, "percepnet.c", "ladspa.c", "product_x86.c", "product_arm.c", "windows.c")

FIRST_ID, IDS = 0x800000, 0x800000
"""LADSPA knows plug-ins by numbers of 24 bits. Ours are not registered; the upper half is all but empty."""


def _shared(kind: str, target: str) -> str:
    """Return the name of what programs load."""
    shared = TARGETS[target].shared
    return LADSPA + Path(shared).suffix if kind == "ladspa" else shared


def results(kind: str, target: str) -> list[str]:
    """Return the names of the files that ``build`` makes."""
    shared = _shared(kind, target)
    return [shared] if kind == "ladspa" else ["percepnet.h", shared, STATIC]


def build(kind: str, folder: Path, name: str, target: str, force: bool = False) -> None:
    """Make the libraries of a model: ``c`` is a header, a shared and a static library, ``ladspa`` a plug-in.

    Parameters
    ----------
    kind
        One of the two.
    folder
        Where they go; has to be there.
    name
        Name or file of a causal model: its weights are in the libraries.
    target
        A name of ``TARGETS``.
    force
        Replace what has their names.

    Raises
    ------
    ExtraError
        If zig is not installed.
    ModelError
        If the model looks ahead.
    KernelError
        If something cannot be compiled.
    StorageError
        If a file cannot be written, or exists and may not be replaced.
    """
    model, chosen = exportable(name), TARGETS[target]
    with workshop(SOURCES) as work:
        # The memory of a stream, and the path for each kind of CPU
        made = portable(work, name)
        (work / "data.o").write_bytes(data_object(made.data, chosen.triple, chosen.base))
        objects = ["data.o"]
        for suffix, cpu in (("base", chosen.base), ("fast", chosen.fast), ("wide", chosen.wide)):
            if cpu is not None:
                content = path_object(made.code, suffix, chosen.triple, cpu)
                (work / f"{suffix}.o").write_bytes(content)
                objects.append(f"{suffix}.o")

        # zig compiles the C parts and links
        options = ["-target", chosen.zig, "-O2", "-fPIC", "-fvisibility=hidden"]
        options += ["-DPERCEPNET_FAST"] if chosen.fast is not None else []
        options += _ladspa_settings(model) if kind == "ladspa" else []

        def compiled(*sources: str) -> list[str]:
            for source in sources:
                zig(work, "cc", *options, "-c", source, "-o", f"{source}.o")
            return [f"{source}.o" for source in sources]

        objects += compiled("percepnet.c", chosen.product)
        outermost = compiled(*chosen.entry, *(["ladspa.c"] if kind == "ladspa" else []))
        linked = [*objects, *outermost, *chosen.libraries, "-o", _shared(kind, target)]
        zig(work, "cc", "-target", chosen.zig, "-shared", "-s", *linked)
        if kind == "c":
            zig(work, "ar", "rcs", STATIC, *objects)

        deliver(work, folder, results(kind, target), force)


def _ladspa_settings(model: Model) -> list[str]:
    """Return what ``ladspa.c`` wants to know of a model, as arguments of a compiler."""
    # Two plug-ins a model, whose numbers follow each other; hosts that go by numbers then tell models apart
    name = re.sub(r"[^\w .+-]", "_", model.name, flags=re.ASCII)
    number = FIRST_ID + 2 * (zlib.crc32(name.encode()) % (IDS // 2))
    values = {
        "PERCEPNET_API": "",
        "PERCEPNET_MODEL": f'"{name}"',
        "PERCEPNET_ID": number,
        "PERCEPNET_POST_FILTER": f"{model.post_filter}f",
        "PERCEPNET_LICENSE": '"BSD-3-Clause"',
    }
    return [f"-D{key}={value}" for key, value in values.items()]
