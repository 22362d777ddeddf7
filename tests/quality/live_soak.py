"""`percepnet live` for an hour, or as long as is said: memory, load and counts, once a minute.

python tests/quality/live_soak.py --seconds 3600 [--load 0] > soak.jsonl

Starts a PulseAudio daemon of its own whose virtual microphone hears the example recording again and again. Linux only.
The last line tells by how much memory grew from the fifth minute (or the first tenth) to the end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import pulse  # noqa: E402

from percepnet_cli.audio.whole import read_mono  # noqa: E402


def rss_mib(pid):
    """Return the resident memory of a process, MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def feed(process, samples):
    """Write the recording to a player until it is gone."""
    with suppress(BrokenPipeError):
        while True:
            process.stdin.write(samples)


def run():
    """Run, print a line per minute and one at the end."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--load", type=int, default=0, help="busy processes beside it")
    arguments = parser.parse_args()
    samples = np.asarray(read_mono(ROOT / "examples" / "street.flac"), np.float32).tobytes()
    command = [sys.executable, "-m", "percepnet_cli", "live", "--input", "mic", "--output", "speaker", "--json"]
    play = ["pacat", "-p", "-d", "feed", "--format=float32le", f"--rate={pulse.RATE}", "--channels=1", "--raw"]
    load = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(1000))"]) for _ in range(arguments.load)]
    memory, cpu = [], []

    with pulse.Server() as server:
        player = server.popen([*play, "--latency-msec=100"], stdin=subprocess.PIPE)
        threading.Thread(target=feed, args=(player, samples), daemon=True).start()
        live = server.popen(
            [*command, "--seconds", str(arguments.seconds)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for number, line in enumerate(live.stdout):
            status = json.loads(line)
            cpu.append(status["cpu_percent"])
            with suppress(OSError, ValueError, IndexError):  # it may have ended
                memory.append(rss_mib(live.pid))
            if number % 60 == 59:
                print(json.dumps({"rss_mib": round(memory[-1], 2)} | status), flush=True)
        player.kill()
        for process in load:
            process.kill()

    begin = min(300, len(memory) // 10)
    third = max(1, (len(memory) - begin) // 3)
    report = {
        "seconds": status["seconds"],
        "rss_mib_at_first": round(float(np.median(memory[begin : begin + third])), 2),
        "rss_mib_at_last": round(float(np.median(memory[-third:])), 2),
        "rss_mib_highest": round(max(memory[begin:]), 2),
        "cpu_percent_median": round(float(np.median(cpu[5:])), 2),
    }
    report |= {name: status[name] for name in ("xruns", "late_blocks", "overloads", "reopened", "latency_ms")}
    print(json.dumps(report))
    raise SystemExit(live.wait())


if __name__ == "__main__":
    run()
