"""What the user wants of a session, and what the devices make of it."""

from __future__ import annotations

from dataclasses import dataclass

from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.errors import DeviceError
from percepnet_cli.live import portaudio
from percepnet_cli.live.devices import Device


@dataclass(frozen=True)
class Settings:
    """What the user wants.

    Attributes
    ----------
    source, target : str or None
        Index or part of the name of input and output; None: the defaults.
    monitor : bool
        Whether to play anything.
    sample_rate : int or None
        Hz of both devices; None: 48 kHz if they take it, else their own.
    hop_ms : int
        Audio per piece of work, a multiple of 10.
    block_frames : int or None
        Frames per block of the device; None: as much as a hop.
    device_latency_ms : float or None
        Buffer to ask of the devices; None: six blocks.
    bypass : bool
        Begin with the input passing.
    """

    source: str | None = None
    target: str | None = None
    monitor: bool = True
    sample_rate: int | None = None
    hop_ms: int = 10
    block_frames: int | None = None
    device_latency_ms: float | None = None
    bypass: bool = False


def channels_of(source: Device, target: Device | None, channels: int) -> tuple[int, int]:
    """Return the channels of input and output to open; one clean channel goes to both sides of a pair.

    channels: those that are denoised. Raises DeviceError if a device has fewer.
    """
    if source.inputs < channels:
        raise DeviceError(f"device {source} has only {source.inputs} input channel, not {channels}")
    if target is None:
        return channels, 0
    if target.outputs < channels:
        raise DeviceError(f"device {target} has only {target.outputs} output channel, not {channels}")
    return channels, min(max(2, channels), target.outputs)


def rate_of(source: Device, target: Device | None, channels: tuple[int, int], sample_rate: int | None) -> int:
    """Return the rate to open the devices at, Hz: as asked, else 48 kHz, else what they call their own.

    channels: of input and output. Raises DeviceError if they take none of these.
    """
    own = [device.sample_rate for device in (source, target) if device is not None]
    wanted = [sample_rate] if sample_rate else [SAMPLE_RATE, *own]
    for rate in wanted:
        if portaudio.supports(source, target, channels, rate):
            return rate
    where = f"{source} and {target}" if target is not None else f"{source}"
    rates = " or ".join(str(rate) for rate in dict.fromkeys(wanted))
    raise DeviceError(f"device {where} does not take {channels[0]} channel(s) at {rates} Hz")
