"""What the user wants of a session, and what the devices make of it."""

from __future__ import annotations

from dataclasses import dataclass

from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.errors import DeviceError
from percepnet_cli.live import portaudio
from percepnet_cli.live.devices import Device, choose


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
    cable_source : str
        What a sound server calls the other end of the cable that is played into, "" if that is not known.
    """

    source: str | None = None
    target: str | None = None
    monitor: bool = True
    sample_rate: int | None = None
    hop_ms: int = 10
    block_frames: int | None = None
    device_latency_ms: float | None = None
    bypass: bool = False
    cable_source: str = ""


def devices_of(settings: Settings, channels: int) -> tuple[Device, Device | None]:
    """Find the devices that a user means, before anything is compiled or opened.

    channels: those that are denoised. Raises DeviceError if there are none, or if they have fewer channels.
    """
    devices = portaudio.list_devices()
    source, target = choose(devices, settings.source, settings.target, duplex=settings.monitor)
    if target is not None and heard_by(source, target, settings):
        what = "the default input is" if settings.source is None else f"'{settings.source}' is"
        raise DeviceError(
            f"{what} the other end of the output, {source}: name your microphone with --input "
            "(percepnet devices lists them)"
        )
    channels_of(source, target, channels)
    return source, target


def heard_by(source: Device, target: Device, settings: Settings) -> bool:
    """Return whether a source is the other end of a cable that is played into."""
    ends = {f"{target.server_name}.monitor", settings.cable_source}
    return bool(source.server_name) and source.server_name in ends


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


def is_served(source: Device, target: Device | None) -> bool:
    """Return whether both belong to a PulseAudio or PipeWire server, which is then spoken to without PortAudio."""
    return all(device is None or device.server_name for device in (source, target))


def rate_of(source: Device, target: Device | None, channels: tuple[int, int], sample_rate: int | None) -> int:
    """Return the rate to open the devices at, Hz: as asked, else 48 kHz, else what they call their own.

    channels: of input and output. Raises DeviceError if they take none of these.
    """
    if is_served(source, target):
        return sample_rate or SAMPLE_RATE  # the server converts
    own = [device.sample_rate for device in (source, target) if device is not None]
    wanted = [sample_rate] if sample_rate else [SAMPLE_RATE, *own]
    for rate in wanted:
        if portaudio.supports(source, target, channels, rate):
            return rate
    where = f"{source} and {target}" if target is not None else f"{source}"
    rates = " or ".join(str(rate) for rate in dict.fromkeys(wanted))
    raise DeviceError(f"device {where} does not take {channels[0]} channel(s) at {rates} Hz")
