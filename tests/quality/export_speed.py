"""What exported libraries cost: time to make and to load them, their size, hops back to back, and by the clock.

    python tests/quality/export_speed.py lite percepnet

By the clock a host runs a block of 480 samples every 10 ms; what a plug-in costs is the CPU time of this process less
that of the same host with a plug-in that copies. Python's kernels run the same hops back to back, in turns with the C
library's. For a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import ladspa_host  # noqa: E402

from percepnet_cli.network.modelfile import find_model, load_model  # noqa: E402
from percepnet_cli.network.percepnet import State  # noqa: E402
from percepnet_cli.signal_path import Path as SignalPath  # noqa: E402
from percepnet_cli.signal_path import process  # noqa: E402

HOP, HOP_SECONDS = 480, 0.01


def make(folder: Path, kind: str, model: str) -> float:
    """Export a model; return the seconds that took."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "percepnet_cli", "export", kind, "--force", "--model", model, str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def load_seconds(library: Path) -> float:
    """Return how long a process that has nothing of it needs to load a library and begin a stream."""
    script = (
        "import ctypes, time; start = time.perf_counter(); library = ctypes.CDLL({!r});"
        "library.percepnet_create.restype = ctypes.c_void_p; library.percepnet_create();"
        "print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", script.format(str(library))]
    times = [float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(9)]
    return statistics.median(times)


def back_to_back(library: Path, model: str, hops: np.ndarray) -> tuple[float, float]:
    """Return the least CPU seconds a hop of C and of Python's kernels: of 15 turns each."""
    c = ctypes.CDLL(str(library))
    c.percepnet_create.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(c.percepnet_create())
    c.percepnet_set_fixed_blocks(stream, 1)
    out = np.zeros(HOP, np.float32)
    to, size = ctypes.c_void_p(out.ctypes.data), ctypes.c_size_t(HOP)
    path = SignalPath(State(load_model(model), 1), 1)
    dry = np.float32(0)

    # A C program has addresses at hand
    places = [ctypes.c_void_p(hop.ctypes.data) for hop in hops]

    def in_c() -> None:
        for place in places:
            c.percepnet_process(stream, place, to, size)

    def in_python() -> None:
        for hop in hops:
            path.analyzer.samples[0] = hop
            process(path, 1, np.float32(0), dry)
            out[:] = path.out[0]

    best = {}
    for turn in range(16):
        for way in (in_c, in_python):
            start = time.thread_time()
            way()
            if turn:  # the first one warms up
                best[way] = min(best.get(way, np.inf), time.thread_time() - start)
    return best[in_c] / len(hops), best[in_python] / len(hops)


def by_the_clock(plugin: ladspa_host.Plugin, hops: np.ndarray, seconds: float) -> float:
    """Return the CPU seconds of this process in which a block of 480 samples comes every 10 ms."""
    out = np.zeros(HOP, np.float32)
    plugin.connect(plugin.outputs[0], out)
    begun, start = time.process_time(), time.perf_counter()
    for number in range(round(seconds / HOP_SECONDS)):
        time.sleep(max(0.0, start + number * HOP_SECONDS - time.perf_counter()))
        plugin.connect(plugin.inputs[0], hops[number % len(hops)])
        plugin.descriptor.run(plugin.handle, HOP)
    return time.process_time() - begun


def copy_plugin(folder: Path) -> ladspa_host.Plugin:
    """Build and return the plug-in that copies."""
    here = Path(__file__).parent
    command = [sys.executable, "-m", "ziglang", "cc", "-O2", "-fPIC", "-shared", here / "copy_plugin.c"]
    command += ["-I", ROOT / "percepnet_cli" / "export", "-o", folder / "copy.so"]
    subprocess.run([str(part) for part in command], check=True)
    return ladspa_host.Plugin(ladspa_host.descriptors(folder / "copy.so")["copy"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["lite", "percepnet"])
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run by the clock")
    parser.add_argument("--runs", type=int, default=3, help="by the clock, of which the median counts")
    arguments = parser.parse_args()

    rng = np.random.default_rng(1)
    hops = (0.05 * rng.standard_normal((500, HOP))).astype(np.float32)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        copy = copy_plugin(folder)
        for model in arguments.models:
            made = [make(folder / kind / model, kind, model) for kind in ("c", "ladspa")]
            library = folder / "c" / model / "libpercepnet.so"
            plugin_file = folder / "ladspa" / model / "percepnet_ladspa.so"
            weights = os.path.getsize(find_model(model)[1])
            print(f"{model}: made in {made[0]:.0f} s (c) and {made[1]:.0f} s (ladspa)")
            for file in (library, plugin_file):
                print(f"  {file.name}: {(file.stat().st_size - weights) / 1e6:.2f} MB beside {weights / 1e6:.2f} MB")
            print(f"  loaded, with a stream begun, in {1e3 * load_seconds(library):.1f} ms")

            in_c, in_python = back_to_back(library, model, hops)
            print(f"  hop after hop: C {1e6 * in_c:.1f} us, Python's kernels {1e6 * in_python:.1f} us")

            plugin = ladspa_host.Plugin(ladspa_host.descriptors(plugin_file)["percepnet_mono"])
            costs = []
            for _ in range(arguments.runs):
                effect, host = (by_the_clock(one, hops, arguments.seconds) for one in (plugin, copy))
                costs.append((effect - host) / arguments.seconds)
            plugin.close()
            print(f"  by the clock: {100 * statistics.median(costs):.2f} % of a core beside the host's own", flush=True)


if __name__ == "__main__":
    main()
