"""The denoiser in a browser: how near to Python's result, how fast, its share of a core, and what it drops.

python tests/quality/browser_speed.py [--model lite] [--seconds 60] [--noisy FOLDER] [--package FOLDER]

Exports the model, unless --package names a folder that ``percepnet export wasm`` made, and runs it in headless
Chromium. Linux only: CPU times are read from /proc. --noisy: recordings whose results are compared with Python's; else
those of examples/. Prints one JSON object, with a bar beside each number that has one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from javascript import running, wait  # noqa: E402
from signals import snr_db  # noqa: E402

from percepnet_cli.audio.folders import is_sound  # noqa: E402
from percepnet_cli.audio.whole import read_mono  # noqa: E402
from percepnet_cli.denoiser import Denoiser  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")

RESULTS = """
const percepnet = await load();
for (const name of NAMES) await write(name, await percepnet.denoise(await read(name)));
"""

FILES = """
const minute = await read("minute"), percepnet = await load(), times = [];
for (let i = 0; i < 4; i++) {
  const began = performance.now();
  await percepnet.denoise(minute);
  times.push((performance.now() - began) / 1000);
}

// As the audio thread cuts it
const stream = percepnet.createStream(), block = new Float32Array(128), hops = [];
let hop = 0;
for (let place = 0; place + 128 <= minute.length; place += 128) {
  block.set(minute.subarray(place, place + 128));
  const began = performance.now();
  stream.processInto(block, block);
  hop += performance.now() - began;
}
return {times, stream: hop / 1000};
"""

LIVE = """
const percepnet = await load(), minute = await read("minute"), context = new AudioContext({sampleRate: 48000});
const worklets = `
  registerProcessor("copy", class extends AudioWorkletProcessor {
    process([[given]], [[made]]) {
      if (given) made.set(given);
      return true;
    }
  });
  registerProcessor("counter", class extends AudioWorkletProcessor {
    constructor() {
      super();
      this.calls = 0;
      this.port.onmessage = () => this.port.postMessage({calls: this.calls, frame: currentFrame});
    }
    process() {
      this.calls++;
      return true;
    }
  })`;
await context.audioWorklet.addModule(URL.createObjectURL(new Blob([worklets], {type: "text/javascript"})));
const buffer = new AudioBuffer({length: minute.length, sampleRate: 48000});
buffer.copyToChannel(minute, 0);
const source = new AudioBufferSourceNode(context, {buffer, loop: true});
const node = DENOISE ? await percepnet.createWorkletNode(context) : new AudioWorkletNode(context, "copy");
const counter = new AudioWorkletNode(context, "counter");
source.connect(node).connect(counter).connect(context.destination);
source.start();
await context.resume();
const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const count = () => new Promise((done) => {
  counter.port.onmessage = ({data}) => done({...data, now: performance.now()});
  counter.port.postMessage(null);
});
await wait(5);
const first = await count();
await write("ready", new Float32Array(1));
await wait(SECONDS);
const last = await count();
const stats = context.playoutStats ?? context.playbackStats;
await context.close();
return {
  quanta: last.calls - first.calls,
  frames: (last.frame - first.frame) / 128,
  seconds: (last.now - first.now) / 1000,
  stats: stats?.toJSON?.() ?? null,
};
"""


def family_seconds(parent: int) -> float:
    """Return the CPU seconds of a process and of all below it that live."""
    children: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        number = int(path.parent.name)
        children.setdefault(int(fields[1]), []).append(number)
        used[number] = (int(fields[11]) + int(fields[12])) / TICKS
    total, waiting = 0.0, [parent]
    while waiting:
        number = waiting.pop()
        total += used.get(number, 0.0)
        waiting += children.get(number, [])
    return total


def live(package: Path, work: Path, minute: np.ndarray, seconds: int, denoise: bool) -> dict:
    """Run the denoiser, or a copy, in the audio thread; return its counts and the browser's share of a core."""
    script = LIVE.replace("DENOISE", json.dumps(denoise)).replace("SECONDS", str(seconds))
    with running(package, work, script, minute=minute) as (state, process):
        with state.changed:
            if not state.changed.wait_for(lambda: "ready" in state.written or state.done, timeout=120):
                raise TimeoutError("the audio thread does not start")
        before, began = family_seconds(process.pid), time.monotonic()
        time.sleep(seconds - 1)
        share = (family_seconds(process.pid) - before) / (time.monotonic() - began)
        return wait(state, 120).value | {"percent_of_a_core": round(100 * share, 2)}


def run() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="lite")
    parser.add_argument("--seconds", type=int, default=60, help="length of each live run")
    parser.add_argument("--noisy", type=Path, default=ROOT / "examples")
    parser.add_argument("--package", type=Path, help="a folder that is there, instead of a new export")
    arguments = parser.parse_args()
    measured: dict[str, object] = {"model": arguments.model}

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        package = arguments.package or work / "percepnet"
        if arguments.package is None:
            began = time.monotonic()
            command = [sys.executable, "-m", "percepnet_cli", "export", "wasm", "--model", arguments.model]
            subprocess.run([*command, str(package)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            measured["export_seconds"] = {
                "by_the_clock": round(time.monotonic() - began, 1),
                "of_cpu": round(used.ru_utime + used.ru_stime, 1),
                "bar": 60,
            }
        measured["megabytes"] = round((package / "percepnet.wasm").stat().st_size / 1e6, 2)

        # How near to Python's result
        paths = sorted(path for path in arguments.noisy.iterdir() if is_sound(path.name))
        noisy = {path.stem: read_mono(path) for path in paths}
        script = RESULTS.replace("NAMES", json.dumps(list(noisy)))
        with running(package, work / "results", script, **noisy) as (state, _):
            made = wait(state, 600).written
        expected = {name: Denoiser(arguments.model).denoise(x) for name, x in noisy.items()}
        differ = [name for name in noisy if not np.array_equal(expected[name], made[name])]
        ratios = [snr_db(expected[name], made[name]) for name in differ]
        measured["results"] = {
            "files": len(noisy),
            "the_bits_of_python": len(noisy) - len(differ),
            "lowest_snr_db_of_others": round(min(ratios), 1) if ratios else None,
            "bar": 60,
        }

        # Files in the page
        minute = np.resize(np.concatenate(list(noisy.values())), 60 * 48000).astype(np.float32)
        with running(package, work / "files", FILES, minute=minute) as (state, _):
            done = wait(state, 600).value
        measured["files_times_real_time"] = {
            "first": round(60 / done["times"][0], 1),
            "then": round(60 / min(done["times"][1:]), 1),
            "bar": 10,
        }
        measured["stream_of_128_samples_percent_of_a_core"] = round(100 * done["stream"] / 60, 2)

        # Live, beside a copy in the place of the denoiser
        copied = live(package, work / "copy", minute, arguments.seconds, denoise=False)
        denoised = live(package, work / "live", minute, arguments.seconds, denoise=True)
        share = denoised["percent_of_a_core"] - copied["percent_of_a_core"]
        measured["live"] = {
            "percent_of_a_core_beyond_a_copy": round(share, 2),
            "bar": 15,
            "with_a_copy": copied,
            "with_the_denoiser": denoised,
            "quanta_dropped": denoised["frames"] - denoised["quanta"],
        }
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    run()
