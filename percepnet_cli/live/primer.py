"""Keeping a sink of a sound server awake while the real stream begins.

An idle sink without hardware, as PulseAudio's null sink is, has rendered up to 2 s of silence ahead. What is played
into it waits for the end of that; the input that comes in meanwhile is then late for good. So silence is played until
the sink is under way, and on until the real stream is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from percepnet_cli.live import exchange, portaudio
from percepnet_cli.live.devices import Device, DeviceError
from percepnet_cli.live.engine import Ring

START_SECONDS = 4.0
"""How long a sink may take until it is under way."""

FLOW_SECONDS = 0.1
"""So much beyond twice the buffer's length must have been taken: then it is not only the buffer that was filled."""


@contextmanager
def under_way(
    target: Device | None, channels: int, sample_rate: int, block_frames: int, latency_seconds: float
) -> Iterator[None]:
    """Play silence into a sink of a sound server; nothing is done for other devices, which one stream may own.

    channels, sample_rate (Hz), block_frames, latency_seconds: as the real stream will have them. Returns once the sink
    takes samples as time goes by; what keeps it from opening is left to the real stream to tell.
    """
    if target is None or not target.server_name:
        yield
        return
    ring = Ring(1, channels, sample_rate, 0)
    try:
        stream = portaudio.Stream(
            None,
            target,
            (0, channels),
            sample_rate,
            block_frames,
            latency_seconds,
            exchange.stream_callback.address,
            ring.address,
        )
    except DeviceError:
        yield
        return
    try:
        flowing = (2 * latency_seconds + FLOW_SECONDS) * sample_rate
        deadline = time.monotonic() + START_SECONDS
        while ring.control[exchange.CALLS] * block_frames < flowing and time.monotonic() < deadline:
            time.sleep(0.01)
        yield
    finally:
        stream.close()
