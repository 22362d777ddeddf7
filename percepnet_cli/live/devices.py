"""Sound devices: what there is, and which one a user means."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from percepnet_cli.errors import DeviceError
from percepnet_cli.live import pactl

HOST_APIS = ("PulseAudio", "Core Audio", "Windows WASAPI", "ALSA", "JACK Audio Connection Kit")
"""Preferred in this order where one name is found under several."""

VIRTUAL = re.compile(
    r"blackhole|soundflower|loopback|vb-audio|vb-cable|\bcable (in|out)put|voicemeeter|virtual|null|monitor|\bdummy\b"
    r"|remap|pipe-?source",
    re.IGNORECASE,
)
"""What virtual cables have in their names, or PulseAudio in those of the modules behind them."""


@dataclass(frozen=True)
class Device:
    """A device as the user sees it.

    Attributes
    ----------
    index : int
        What to call it by.
    name, host_api : str
        As the system has them.
    inputs, outputs : int
        Channels.
    sample_rate : int
        Hz; its own.
    input_latency_ms, output_latency_ms : tuple of float, or None
        What it suggests for quick and for safe use; None if it does not say.
    default_input, default_output : bool
        Whether it is used if none is named.
    virtual : bool
        Whether it looks like a virtual cable.
    port : int
        PortAudio's number of it.
    server_name : str
        Name for the PulseAudio server behind it, "" for a device of PortAudio itself.
    """

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    sample_rate: int
    input_latency_ms: tuple[float, float] | None
    output_latency_ms: tuple[float, float] | None
    default_input: bool
    default_output: bool
    virtual: bool
    port: int
    server_name: str = ""

    def __str__(self) -> str:
        return f"{self.index} ({self.name}, {self.host_api})"


def choose(devices: list[Device], source: str | None, target: str | None, duplex: bool) -> tuple[Device, Device | None]:
    """Find the input and the output that a user means; both belong to one host API.

    Parameters
    ----------
    devices : list of Device
        All there are.
    source, target : str or None
        Index or part of the name, whatever the case; None: the default.
    duplex : bool
        Whether an output is wanted.

    Raises
    ------
    DeviceError
        If there is none, or more than one.
    """
    inputs = _candidates(devices, source, "input")
    if not duplex:
        return _single([(device, None) for device in inputs], source, "input")
    outputs = _candidates(devices, target, "output")
    pairs = [(i, o) for i in inputs for o in outputs if _same_server(i, o)]
    if not pairs:
        raise DeviceError(
            f"input {inputs[0]} and output {outputs[0]} belong to different sound systems; "
            "name two of one (percepnet devices lists them)"
        )
    return _single(pairs, source, "input", target)


def choose_output(devices: list[Device], target: str | None) -> Device:
    """Find the output that a user means; None: the default. Raises DeviceError if there is none, or more than one."""
    outputs = _candidates(devices, target, "output")
    return _single([(device, None) for device in outputs], target, "output")[0]


def _same_server(source: Device, target: Device) -> bool:
    """Return whether one stream can join the two: a PulseAudio device goes through an ALSA one."""
    return source.host_api == target.host_api or source.port == target.port


def _candidates(devices: list[Device], text: str | None, kind: str) -> list[Device]:
    usable = [d for d in devices if (d.inputs if kind == "input" else d.outputs) > 0]
    if text is None:
        found = [d for d in usable if (d.default_input if kind == "input" else d.default_output)]
        if not found:
            raise DeviceError(
                f"there is no default {kind} device; name one with --{kind} (percepnet devices lists them)"
            )
        return found

    # A number is the index of one device
    if text.isdigit():
        found = [d for d in devices if d.index == int(text)]
        if not found:
            raise DeviceError(f"there is no device {text}; percepnet devices lists them")
        if found[0] not in usable:
            raise DeviceError(f"device {found[0]} has no {kind}s")
        return found

    # A whole name goes before parts of names
    lower = text.lower()
    found = [d for d in usable if lower in (d.name.lower(), d.server_name.lower())]
    found = found or [d for d in usable if lower in d.name.lower() or lower in d.server_name.lower()]
    if not found:
        raise DeviceError(f"there is no {kind} device named like '{text}'; percepnet devices lists them")
    return found


def _single(
    pairs: list[tuple[Device, Device]] | list[tuple[Device, None]],
    source: str | None,
    kind: str,
    target: str | None = None,
) -> tuple[Device, Device | None]:
    """Pick the pair of the most preferred host API; there must be one only."""

    def rank(pair: tuple[Device, Device | None]) -> int:
        names = [device.host_api for device in pair if device is not None]
        return max(HOST_APIS.index(n) if n in HOST_APIS else len(HOST_APIS) for n in names)

    ranked = sorted(pairs, key=rank)
    best = [pair for pair in ranked if rank(pair) == rank(ranked[0])]
    for place, text in enumerate((source, target)):
        distinct = dict.fromkeys(pair[place] for pair in best)
        if text is not None and len(distinct) > 1:
            raise DeviceError(f"'{text}' could be any of {', '.join(map(str, distinct))}; name one by its index")
    return best[0]


def pulse_devices(first_index: int, port: int, rate: int = 48000) -> list[Device]:
    """List what a PulseAudio or PipeWire server offers, as ``pactl`` tells it; empty where there is none.

    first_index: index of the first; port: PortAudio's number of the ALSA plug-in that leads there; rate: unused if
    the server tells its own, Hz.
    """
    try:
        info = pactl.query("info")
        entries = [("input", e) for e in pactl.query("list", "sources")]
        entries += [("output", e) for e in pactl.query("list", "sinks")]
    except DeviceError:  # no server, or no such program
        return []

    devices: list[Device] = []
    for kind, entry in entries:
        name = str(entry.get("name"))
        description = str(entry.get("description") or name)
        channels, frequency = _specification(str(entry.get("sample_specification", "")), rate)

        # The environment goes before the server, as for every client of it
        default = name == (
            os.environ.get("PULSE_SOURCE") or info.get("default_source_name")
            if kind == "input"
            else os.environ.get("PULSE_SINK") or info.get("default_sink_name")
        )

        devices.append(
            Device(
                index=first_index + len(devices),
                name=description if description != "(null)" else name,
                host_api="PulseAudio",
                inputs=channels if kind == "input" else 0,
                outputs=channels if kind == "output" else 0,
                sample_rate=frequency,
                input_latency_ms=None,
                output_latency_ms=None,
                default_input=kind == "input" and default,
                default_output=kind == "output" and default,
                virtual=any(VIRTUAL.search(text) for text in (name, description, str(entry.get("driver", "")))),
                port=port,
                server_name=name,
            )
        )

    return devices


def _specification(text: str, rate: int) -> tuple[int, int]:
    """Read channels and Hz from PulseAudio's "s16le 2ch 48000Hz"."""
    match = re.search(r"(\d+)ch (\d+)Hz", text)
    return (int(match[1]), int(match[2])) if match else (2, rate)


def find(devices: list[Device], wanted: Device) -> Device | None:
    """Return the device of the same name, whatever its index is now."""
    identity = (wanted.name, wanted.host_api, wanted.server_name)
    return next((d for d in devices if (d.name, d.host_api, d.server_name) == identity), None)
