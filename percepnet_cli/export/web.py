"""The folder for web pages: the compiled path as WebAssembly, and JavaScript around it, ready for npm."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from percepnet_cli.export.native import data_object, path_object
from percepnet_cli.export.portable import portable
from percepnet_cli.export.targets import CPU
from percepnet_cli.export.workshop import deliver, exportable, workshop, zig
from percepnet_cli.version import __version__

TRIPLE = "wasm32-unknown-unknown"
BROWSER = CPU("generic", "+simd128,+bulk-memory,+sign-ext,+nontrapping-fptoint,+mutable-globals")
"""What all browsers have since 2023."""

WASM = "percepnet.wasm"
SCRIPTS = ("index.js", "index.d.ts", "stream.js", "worklet.js", "package.json", "README.md")
SOURCES = ("percepnet.c", "percepnet.h", "product.h", "product_wasm.c", "freestanding.c")

STACK_BYTES = 1 << 20
EXPORTED = (
    "malloc",
    "free",
    "percepnet_create",
    "percepnet_destroy",
    "percepnet_flush",
    "percepnet_latency",
    "percepnet_process",
    "percepnet_reset",
    "percepnet_set_attenuation_limit",
    "percepnet_set_fixed_blocks",
    "percepnet_set_post_filter",
)
"""What JavaScript calls."""


def results() -> list[str]:
    """Return the names of the files that ``build`` makes."""
    return [WASM, *SCRIPTS]


def build(folder: Path, name: str, force: bool = False) -> None:
    """Make the folder of a model.

    Parameters
    ----------
    folder
        Where the files go; has to be there.
    name
        Name or file of a causal model: its weights are in ``percepnet.wasm``.
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
    exportable(name)
    with workshop(SOURCES) as work:
        for script in SCRIPTS:
            text = resources.files("percepnet_cli.export").joinpath("javascript", script).read_text("utf-8")
            (work / script).write_text(text.replace('"VERSION"', f'"{__version__}"'), "utf-8")

        # The memory of a stream, and the path
        made = portable(work, name)
        (work / "data.o").write_bytes(data_object(made.data, TRIPLE, BROWSER))
        (work / "path.o").write_bytes(path_object(made.code, "base", TRIPLE, BROWSER))

        # The C parts: the declarations of a C library are taken from zig's, its code is not
        objects = ["data.o", "path.o"]
        options = ["-target", "wasm32-wasi", "-O3", "-msimd128", "-mbulk-memory"]
        for source in SOURCES:
            if source.endswith(".c"):
                objects.append(f"{source}.o")
                zig(work, "cc", *options, "-c", source, "-o", objects[-1])
        wanted = [f"--export={function}" for function in EXPORTED]
        stack = ["--stack-first", "-z", f"stack-size={STACK_BYTES}"]
        zig(work, "wasm-ld", "--no-entry", "--strip-all", *stack, *wanted, *objects, "-o", WASM)

        deliver(work, folder, results(), force)
