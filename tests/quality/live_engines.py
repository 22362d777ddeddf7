"""Work in a thread against work in the callback: dropouts, delay and load of both, over real PortAudio.

python tests/quality/live_engines.py --engine worker --seconds 600 [--load 1] [--device-latency MS]

Starts a PulseAudio daemon of its own, plays the example recording into its virtual microphone, runs a live session
and compares what its virtual speaker played, hop by hop, with the denoised recording. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import pulse  # noqa: E402

from percepnet_cli.audio.whole import read_mono  # noqa: E402
from percepnet_cli.constants import HOP_SIZE  # noqa: E402
from percepnet_cli.denoiser import Denoiser  # noqa: E402
from percepnet_cli.live import exchange, portaudio  # noqa: E402
from percepnet_cli.live.priority import frozen_garbage  # noqa: E402
from percepnet_cli.live.session import Session  # noqa: E402
from percepnet_cli.live.settings import Settings  # noqa: E402

BUSY = "while True: sum(range(1000))"


class CallbackSession(Session):
    """Works in PortAudio's callback, in Python: no thread, no portion to wait for."""

    def _open_stream(self, engine, seconds):
        ring = self._ring
        ffi = portaudio.sounddevice._ffi

        @ffi.callback("PaStreamCallback")
        def callback(source, target, frames, times, flags, userdata):
            exchange.count(ring.address, frames, int(ffi.cast("intptr_t", times)), flags)
            exchange.take_input(ring.address, int(ffi.cast("intptr_t", source)), frames)
            while engine.step():
                pass
            exchange.give_output(ring.address, int(ffi.cast("intptr_t", target)), frames)
            return 0

        self._keep = callback
        return portaudio.Stream(
            self.source,
            self.target,
            self._channels,
            self.sample_rate,
            self.block_frames,
            seconds,
            int(ffi.cast("intptr_t", callback)),
            ring.address,
        )


def dropouts(room, recorded, clean, first):
    """Compare the speaker with what it should have played: hops that differ, and delays.

    room: float32 [n, 2], both sides of the room; recorded, clean: float32 [m], what the session heard and its answer;
    first: frames to leave out at the start.
    """
    delays, bad, looked = [], 0, 0
    step = 100 * HOP_SIZE
    for start in range(first, len(recorded) - 2 * step, step):
        part = slice(start, start + step)
        if np.mean(clean[part] ** 2) < 1e-7:
            continue
        near = max(0, start - pulse.RATE)
        heard = near + pulse.place(recorded[part], room[near : start + 8 * pulse.RATE, 0])
        played = heard + pulse.place(clean[part], room[heard : heard + step + pulse.RATE, 1])
        delays.append(played - heard)
        error = (room[played : played + step, 1] - clean[part]).reshape(-1, HOP_SIZE)
        wrong = np.sqrt(np.mean(error**2, axis=1)) > 1e-3
        bad += int(np.sum(wrong))
        looked += len(wrong)
    return delays, bad, looked


def run():
    """Measure one engine."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", choices=["worker", "callback"], required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--load", type=int, default=1, help="busy processes beside it")
    parser.add_argument("--device-latency", type=float)
    parser.add_argument("--block", type=int)
    arguments = parser.parse_args()
    kind = {"worker": Session, "callback": CallbackSession}[arguments.engine]
    samples = read_mono(ROOT / "examples" / "street.flac")
    samples = np.tile(samples, int(arguments.seconds * pulse.RATE / len(samples)) + 3)

    with pulse.Server() as server:
        os.environ.update(server.env)
        portaudio.refresh()
        settings = Settings("mic", "speaker", block_frames=arguments.block, device_latency_ms=arguments.device_latency)
        session = kind(Denoiser(), settings, record=True)
        recording = server.capture()
        player = server.play(samples)
        load = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(arguments.load)]
        time.sleep(1)
        pairs, loads, stated = [], [], []
        try:
            with frozen_garbage(), session:
                begin = reported = time.monotonic()
                session.status()
                while time.monotonic() - begin < arguments.seconds:
                    time.sleep(0.1)
                    message = session.tick()
                    if message:
                        print(message, file=sys.stderr)
                    while session.recorded:
                        pairs.append(session.recorded.popleft())
                    if time.monotonic() - reported > 1:
                        reported = time.monotonic()
                        status = session.status()
                        loads.append(status.cpu_percent)
                        stated.append(status.latency_ms)
                wait_ms = int(session._ring.control[exchange.LONGEST_WAIT]) * exchange.WAIT_MICROSECONDS / 1000
        finally:
            for process in (*load, player):
                process.kill()
        room = pulse.captured(recording)

    noisy, clean = (np.concatenate([pair[side] for pair in pairs])[:, 0] for side in (0, 1))
    stated = [ms for ms in stated[2:] if ms is not None]
    delays, bad, looked = dropouts(room, noisy, clean, 2 * pulse.RATE)
    ms = np.array(delays) * 1000 / pulse.RATE
    report = {
        "engine": arguments.engine,
        "seconds": round(status.seconds, 1),
        "busy_processes": arguments.load,
        "xruns": status.xruns,
        "late_blocks": status.late_blocks,
        "longest_wait_ms": wait_ms,
        "overloads": status.overloads,
        "reopened": status.reopened,
        "wrong_hops": bad,
        "hops": looked,
        "latency_stated_ms": [round(float(np.median(stated)), 2), round(min(stated), 2), round(max(stated), 2)],
        "latency_measured_ms": [round(float(np.median(ms)), 2), round(ms.min(), 2), round(ms.max(), 2)],
        "cpu_percent": round(float(np.median(loads)), 2),
        "load_average": os.getloadavg()[0],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    run()
