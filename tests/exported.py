"""Exports, made and run: what each of them makes of a recording, on this machine's CPU and on emulated ones."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import ladspa_host
import numpy as np
from click.testing import CliRunner
from javascript import in_node

from percepnet_cli import cli

EXAMPLE = Path(__file__).resolve().parents[1] / "examples/c/denoise.c"
HOP = 480

EMULATED = {
    "x86-64 of 2008, SSE4": ("qemu-x86_64", "-cpu", "Nehalem"),
    "x86-64 of 2013, AVX2": ("qemu-x86_64", "-cpu", "Haswell"),
    "aarch64 of 2012, NEON": ("qemu-aarch64", "-cpu", "cortex-a57"),
    "aarch64 of 2018, sdot": ("qemu-aarch64", "-cpu", "neoverse-n1"),
}
"""CPUs that the library has forms of the path and of the product for. QEMU 7.2 knows no AVX-512 and no AVX-VNNI."""

Denoise = Callable[[np.ndarray], np.ndarray]
"""float32 [n] at 48 kHz to as much, without delay."""


class Artifact(NamedTuple):
    """An export that runs here."""

    name: str
    latency_samples: int
    """As it states it."""
    emulated: bool
    denoise: Denoise


def export(folder: Path, kind: str, model: str, *options: str) -> Path:
    """Export a model into a folder; return it."""
    result = CliRunner().invoke(cli.main, ["export", kind, "--model", model, *options, str(folder)])
    assert result.exit_code == 0, result.output + result.stderr
    return folder


def build_program(folder: Path, name: str, library: list[str], *options: str) -> Path:
    """Compile the example in a folder that holds an exported C library; return the program."""
    command = [sys.executable, "-m", "ziglang", "cc", "-O2", "-Wall", "-Werror", "-I.", *options]
    subprocess.run([*command, "-o", name, EXAMPLE, *library], cwd=folder, check=True, timeout=600)
    return folder / name


def run_program(program: Path, samples: np.ndarray, *arguments: object, emulator: tuple[str, ...] = ()) -> np.ndarray:
    """Return what the example makes of samples. arguments: its own; emulator: a command that runs it."""
    command = [*emulator, f"./{program.name}", *map(str, arguments)]
    done = subprocess.run(command, cwd=program.parent, input=samples.tobytes(), capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return np.frombuffer(done.stdout, np.float32)


def build_for_arm(folder: Path, model: str) -> Path:
    """Return the example for 64-bit ARM, with nothing that it needs from the system."""
    export(folder, "c", model, "--target", "aarch64-linux")
    static = ("-target", "aarch64-linux-musl", "-static")
    return build_program(folder, "arm", ["libpercepnet.a", "-lm"], *static)


def artifacts(folder: Path, model: str) -> Iterator[Artifact]:
    """Yield what runs here, made in a folder, one after the other."""
    # The C library: on this CPU, and with what others have
    c = export(folder / "c", "c", model)
    program = build_program(c, "static", ["libpercepnet.a", "-lm"])
    library = ctypes.CDLL(str(c / "libpercepnet.so"))
    library.percepnet_create.restype = ctypes.c_void_p
    late = library.percepnet_latency(ctypes.c_void_p(library.percepnet_create()))
    yield Artifact("C, this CPU", late, False, lambda samples: run_program(program, samples))

    # On emulated CPUs the program skips what the library says there
    arm = build_for_arm(folder / "arm", model) if shutil.which("qemu-aarch64") is not None else None
    for name, emulator in EMULATED.items():
        emulated = arm if "aarch64" in name else program
        if emulated is None or shutil.which(emulator[0]) is None:
            continue

        def denoise(samples: np.ndarray, emulated: Path = emulated, emulator: tuple[str, ...] = emulator) -> np.ndarray:
            return run_program(emulated, samples, emulator=emulator)

        yield Artifact(f"C, {name}", late, True, denoise)

    # The plug-in, in blocks of whole hops and others
    plugin_file = export(folder / "ladspa", "ladspa", model) / "percepnet_ladspa.so"
    plugin = ladspa_host.Plugin(ladspa_host.descriptors(plugin_file)["percepnet_mono"])
    for sizes in ([HOP], [441]):

        def through_plugin(samples: np.ndarray, sizes: list[int] = sizes) -> np.ndarray:
            plugin.descriptor.activate(plugin.handle)
            plugin.run_blocks(np.zeros((1, sizes[0]), np.float32), sizes)
            late = plugin.latency
            plugin.descriptor.activate(plugin.handle)
            padded = np.zeros(len(samples) + late + sizes[0], np.float32)
            padded[: len(samples)] = samples
            padded = padded[: len(padded) // sizes[0] * sizes[0]]
            return plugin.run_blocks(padded[None], sizes)[0, late : late + len(samples)]

        through_plugin(np.zeros(HOP, np.float32))
        yield Artifact(f"LADSPA, blocks of {sizes[0]}", plugin.latency, False, through_plugin)
    plugin.close()

    # The web module
    if shutil.which("node") is not None:
        web = export(folder / "wasm", "wasm", model)

        def in_web(samples: np.ndarray) -> np.ndarray:
            script = "await write('out', await (await load(wasm)).denoise(await read('noisy')));"
            return in_node(web, folder, script, noisy=samples).written["out"]

        latency = in_node(web, folder, "return (await load(wasm)).createStream({wholeHops: true}).latency;").value
        yield Artifact("WebAssembly, Node", latency, False, in_web)
