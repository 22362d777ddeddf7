"""Which instruction set (ISA) the 8-bit product uses: the CPU's fastest, or the one that the environment names.

The name is part of the key under which compiled code is kept (``jit``): numba's own key does not
know what an intrinsic decided.
"""

from __future__ import annotations

import functools
import os

import llvmlite.binding as llvm
from numba import config

from percepnet_cli.errors import KernelError

VARIABLE = "PERCEPNET_ISA"
"""Environment variable that names an ISA, for tests and for comparisons."""

ISAS: dict[str, frozenset[str]] = {
    "avx512-vnni": frozenset({"avx512f", "avx512vnni"}),
    "avx512vl-vnni": frozenset({"avx512vl", "avx512vnni"}),
    "avx-vnni": frozenset({"avxvnni"}),
    "neon-dotprod": frozenset({"neon", "dotprod"}),
    "extern": frozenset({"extern"}),
    "portable": frozenset(),
}
"""ISA and the CPU features, in LLVM's names, that it needs; the fastest first. No CPU has "extern": only ``export``
asks for it, which brings the product along as a C function."""


def features() -> frozenset[str]:
    """Return the features of the CPU that numba compiles for."""
    if not config.ENABLE_AVX:
        return frozenset()
    if config.CPU_FEATURES is not None:
        named = config.CPU_FEATURES.split(",")
        return frozenset(name[1:] for name in named if name.startswith("+"))
    if config.CPU_NAME not in (None, "host"):
        return frozenset()  # numba then takes that CPU's features, which are not listed anywhere
    try:
        return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)
    except RuntimeError:  # LLVM does not know this system
        return frozenset()


def available() -> list[str]:
    """Return the ISAs that this CPU has, the fastest first."""
    present = features()
    return [name for name, needed in ISAS.items() if needed <= present]


@functools.cache
def isa() -> str:
    """Return the ISA in use: what the environment names, else the fastest. Raises KernelError if it cannot be had."""
    fastest, wanted = available(), os.environ.get(VARIABLE)
    if not wanted:
        return fastest[0]
    if wanted not in fastest:
        raise KernelError(f"{VARIABLE} is '{wanted}'; this CPU has {', '.join(fastest)}")
    return wanted
