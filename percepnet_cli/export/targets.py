"""The machines that libraries are made for."""

from __future__ import annotations

from typing import NamedTuple


class CPU(NamedTuple):
    """What code may use, in LLVM's words."""

    name: str
    features: str


class Target(NamedTuple):
    """A kind of machine."""

    zig: str
    """zig's name of machine, system and oldest C library."""
    triple: str
    """LLVM's name."""
    base: CPU
    """What every such machine has."""
    fast: CPU | None
    """What most have; chosen when the program runs."""
    wide: CPU | None
    """What those with vectors of 512 bits have; likewise."""
    product: str
    """C source of the 8-bit product."""
    shared: str
    """Name of the shared library."""
    entry: tuple[str, ...] = ()
    """C sources that a shared library begins with where the C library's own beginning is left out."""
    libraries: tuple[str, ...] = ("-lm",)
    """What a shared library needs of the system: options of the linker."""


TARGETS = {
    "x86_64-linux": Target(
        "x86_64-linux-gnu.2.17",
        "x86_64-unknown-linux-gnu",
        CPU("x86-64", ""),
        CPU("x86-64-v3", ""),
        CPU("x86-64-v4", ""),
        "product_x86.c",
        "libpercepnet.so",
    ),
    "aarch64-linux": Target(
        "aarch64-linux-gnu.2.17",
        "aarch64-unknown-linux-gnu",
        CPU("generic", "+neon"),
        None,
        None,
        "product_arm.c",
        "libpercepnet.so",
    ),
    "x86_64-windows": Target(
        "x86_64-windows-gnu",
        "x86_64-w64-windows-gnu",
        CPU("x86-64", ""),
        CPU("x86-64-v3", ""),
        CPU("x86-64-v4", ""),
        "product_x86.c",
        "percepnet.dll",
        ("windows.c",),
        # zig would compile all of MinGW, a minute's work, to begin a library that needs no beginning
        ("-nostdlib", *(f"-lapi-ms-win-crt-{part}-l1-1-0" for part in ("heap", "math", "private", "string"))),
    ),
    "aarch64-macos": Target(
        "aarch64-macos",
        "arm64-apple-macosx11.0.0",
        CPU("apple-m1", ""),
        None,
        None,
        "product_arm.c",
        "libpercepnet.dylib",
    ),
}
"""By the names of ``--target``."""
