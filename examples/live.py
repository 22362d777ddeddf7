"""Microphone to speaker in a few lines: the denoiser in a sounddevice stream. `percepnet live` does more.

python examples/live.py            # the system's default devices; ends with its standard input
"""

from __future__ import annotations

import sys

import numpy as np
import sounddevice

from percepnet_cli import Denoiser

HOP = 480  # 10 ms: whole hops in, whole hops out, 30 ms later

denoiser = Denoiser(channels=1)
denoiser.process(np.zeros((100 * HOP, 1), np.float32))  # compile and warm up before anything plays
denoiser.reset()


def callback(
    heard: np.ndarray, played: np.ndarray, frames: int, time: object, status: sounddevice.CallbackFlags
) -> None:
    """Clean one block. heard, played: float32 [480, 1]."""
    played[:] = denoiser.process(heard)


with sounddevice.Stream(samplerate=48000, blocksize=HOP, channels=1, dtype="float32", latency=0.06, callback=callback):
    print("running; Ctrl-D or Enter ends", flush=True)
    sys.stdin.readline()
