"""The recipe of docs/live.md by the clock: delay, load and dropouts on PulseAudio and on PipeWire.

    live_rooms.py [--server pulseaudio|pipewire] [--seconds S] [--starts N] [--busy N] [--listener] [--model NAME]

Runs `percepnet live --virtual-mic --json` as often as is said, on a server of its own whose microphone hears the
example recording, beside so many busy processes. Prints a line of JSON for each start: the latency that is stated at
the end, its least and most, median load, and what went wrong after the first two seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import pipewire  # noqa: E402
import pulse  # noqa: E402

from percepnet_cli.audio.whole import read_mono  # noqa: E402

SERVERS = {"pulseaudio": pulse.Server, "pipewire": pipewire.Server}
BUSY = "while True: sum(range(1000))"
COUNTS = ("xruns", "late_blocks", "overloads", "reopened")


def measure(server, seconds, arguments):
    """Run one session; return what it said of itself."""
    command = [sys.executable, "-m", "percepnet_cli", "live", "--virtual-mic", "--json", *arguments]
    process = server.popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    reports = []
    for text in process.stdout:
        reports.append(json.loads(text))
        if reports[-1]["seconds"] >= seconds:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    settled = [one for one in reports if one["seconds"] > 2 and one["latency_ms"] is not None]
    latencies = [one["latency_ms"] for one in settled]
    return {
        "seconds": reports[-1]["seconds"],
        "latency_ms": latencies[-1],
        "latency_range_ms": [min(latencies), max(latencies)],
        "cpu_percent": round(float(np.median([one["cpu_percent"] for one in settled])), 2),
        **{name: settled[-1][name] - settled[0][name] for name in COUNTS},
        "load_average": os.getloadavg()[0],
    }


def main():
    """Start servers, players, listeners and busy processes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--server", choices=SERVERS, action="append")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--listener", action="store_true")
    parser.add_argument("--model", default="percepnet")
    arguments = parser.parse_args()
    samples = read_mono(ROOT / "examples" / "street.flac")
    samples = np.tile(samples, 2 + int(arguments.starts * (arguments.seconds + 30) * pulse.RATE / len(samples)))
    load = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(arguments.busy)]

    try:
        for name in arguments.server or SERVERS:
            with SERVERS[name](room=pulse.CABLE) as server:
                server.play(samples, "hw")
                if arguments.listener:
                    server.pactl("load-module", "module-null-sink", "sink_name=percepnet", "rate=48000", "channels=2")
                    command = ["parec", "-d", "percepnet.monitor", "--latency-msec=20"]
                    server.popen(command, stdout=subprocess.DEVNULL)
                for start in range(arguments.starts):
                    found = measure(server, arguments.seconds, ["--model", arguments.model])
                    print(json.dumps({"server": name, "start": start, "busy": arguments.busy} | found), flush=True)
    finally:
        for process in load:
            process.kill()


if __name__ == "__main__":
    main()
