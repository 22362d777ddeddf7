"""What each thread of a live session takes of a core: the worker, the sound server's client, the meters.

    live_threads.py [--server pulseaudio|pipewire] [--seconds S] [--model NAME]

Runs `percepnet live --virtual-mic --json` on a server of its own whose microphone hears the example recording, and
reads from /proc what its threads have used. Prints a line of JSON: shares in percent, the largest first.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from live_rooms import ROOT, SERVERS, pulse

from percepnet_cli.audio.whole import read_mono

SETTLING_SECONDS = 4


def used(pid):
    """Return the CPU seconds of each thread of a process, by number, with its name."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds = int((task / "schedstat").read_text().split()[0])
        found[task.name] = nanoseconds / 1e9, (task / "comm").read_text().strip()
    return found


def measure(server, seconds, model):
    """Run one session; return what its threads took, and what it said of itself at the end."""
    command = [sys.executable, "-m", "percepnet_cli", "live", "--virtual-mic", "--json", "--model", model]
    process = server.popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    before, begin, said = None, 0.0, {}
    for text in process.stdout:
        said = json.loads(text)
        if before is None and said["seconds"] > SETTLING_SECONDS:
            before, begin = used(process.pid), time.monotonic()
        if before is not None and time.monotonic() - begin > seconds:
            break

    after, elapsed = used(process.pid), time.monotonic() - begin
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    shares = [(100 * (now - before.get(task, (0.0, ""))[0]) / elapsed, name) for task, (now, name) in after.items()]
    return {
        "threads_percent": [[round(share, 2), name] for share, name in sorted(shares, reverse=True)],
        "total_percent": round(sum(share for share, _ in shares), 2),
        **{name: said[name] for name in ("latency_ms", "late_blocks", "xruns")},
    }


def main():
    """Start a server and a player, and measure a session."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--server", choices=SERVERS, default="pulseaudio")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--model", default="percepnet")
    arguments = parser.parse_args()

    samples = read_mono(ROOT / "examples" / "street.flac")
    samples = np.tile(samples, 2 + int((arguments.seconds + 60) * pulse.RATE / len(samples)))
    with SERVERS[arguments.server](room=pulse.CABLE) as server:
        server.play(samples, "hw")
        print(json.dumps({"model": arguments.model} | measure(server, arguments.seconds, arguments.model)))


if __name__ == "__main__":
    main()
