"""What joins input and output: a stream of PortAudio, or one of a sound server."""

from __future__ import annotations

import sys
from typing import Protocol

from percepnet_cli.live import exchange, portaudio
from percepnet_cli.live.devices import Device
from percepnet_cli.live.engine import Ring
from percepnet_cli.live.settings import Settings, channels_of, is_served


class Stream(Protocol):
    """What joins input and output: of PortAudio, or of a sound server."""

    @property
    def settled(self) -> bool:
        """Whether its delay is what it stays."""

    @property
    def active(self) -> bool:
        """Whether it runs."""

    def keep_up(self) -> None:
        """Note how long sound takes, if the device's thread does not; called some times per second."""

    def close(self) -> None:
        """Stop at once and free the devices."""


def open_stream(
    source: Device,
    target: Device | None,
    sample_rate: int,
    block_frames: int,
    seconds: float,
    settings: Settings,
    ring: Ring,
) -> Stream:
    """Open the devices and begin: samples go into the ring, and what is to be played comes from there.

    sample_rate: Hz; block_frames: per block; seconds: buffer to ask of a device of PortAudio. Raises DeviceError if
    they cannot be opened.
    """
    if is_served(source, target):
        from percepnet_cli.live import pulseaudio

        wanted_ms = settings.device_latency_ms
        distance = None if wanted_ms is None else wanted_ms / 1000
        return pulseaudio.Stream(source, target, sample_rate, block_frames, distance, ring)
    return portaudio.Stream(
        source,
        target,
        channels_of(source, target, int(ring.control[exchange.CHANNELS])),
        sample_rate,
        block_frames,
        seconds,
        exchange.stream_callback.address,
        ring.address,
    )


def silent_sentence(source: Device) -> str:
    """Return what to say of an input that is open and silent, and what to look at."""
    if source.server_name:
        look = f"see with `pactl list sources` that {source.server_name} is not suspended"
    elif sys.platform == "darwin":
        look = "allow the terminal to use the microphone: System Settings, Privacy & Security, Microphone"
    elif sys.platform == "win32":
        look = "allow programs to use the microphone: Settings, Privacy, Microphone"
    else:
        look = "see with `fuser -v /dev/snd/*` whether another program holds it"
    return f"device {source} delivers no samples: {look}; then try another with --input (percepnet devices lists them)"
