"""A virtual microphone on a PulseAudio or PipeWire server: what is played into it, call programs hear."""

from __future__ import annotations

import re
import sys
from contextlib import suppress

from percepnet_cli.errors import DeviceError
from percepnet_cli.live import pactl

DEFAULT_NAME = "PercepNet"

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,38}[A-Za-z0-9])?")
"""Names that every server takes, and that need no quotes within quotes."""

SAMPLE_RATE = 48000


class VirtualMicrophone:
    """A sink for the denoised sound, and a source that gives it to call programs; a context manager.

    What an earlier session left behind is used, and taken away at the end like the rest.

    Parameters
    ----------
    name : str
        What call programs show: 1 to 40 letters, digits, blanks, dots, ``-`` and ``_``.

    Raises
    ------
    DeviceError
        If the name will not do, there is no server, or a running session uses this name.

    Attributes
    ----------
    name : str
        As given.
    sink_name, source_name : str
        What the server calls the two.
    """

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        if not NAME.fullmatch(name):
            raise DeviceError(
                f"'{name}' cannot name a virtual microphone: take up to 40 letters, digits, blanks, '.', '-', '_'"
            )
        if not sys.platform.startswith("linux"):
            raise DeviceError("a virtual microphone needs PulseAudio or PipeWire; docs/live.md says how else")
        self.name = name
        self.sink_name = re.sub(r"[^a-z0-9]+", "_", name.lower())
        self.source_name = f"{self.sink_name}_mic"

    def __enter__(self) -> VirtualMicrophone:
        if user := self._user():
            raise DeviceError(
                f"the virtual microphone '{self.name}' is in use by {user}; name another: --virtual-mic NAME"
            )
        try:
            self.ensure()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def ensure(self) -> None:
        """Make what is not there, as after a restart of the server. Raises DeviceError if the server refuses."""
        sink, source = self._loaded()
        if sink is None:
            pactl.load(
                "module-null-sink",
                f"sink_name={self.sink_name}",
                f"rate={SAMPLE_RATE}",
                "channels=2",
                f"sink_properties=\"device.description='{self.name} feed'\"",
            )
        if source is None:
            pactl.load(
                "module-remap-source",
                f"master={self.sink_name}.monitor",
                f"source_name={self.source_name}",
                f"source_properties=\"device.description='{self.name}'\"",
            )

    def remove(self) -> None:
        """Take both away; a server that has gone took them with it."""
        with suppress(DeviceError):
            sink, source = self._loaded()
            for number in (source, sink):
                if number is not None:
                    with suppress(DeviceError):
                        pactl.unload(number)

    def _loaded(self) -> tuple[int | None, int | None]:
        """Return the numbers of the modules of sink and source, None for those that are not there."""
        found: list[int | None] = [None, None]
        wanted = (
            ("module-null-sink", f"sink_name={self.sink_name}"),
            ("module-remap-source", f"source_name={self.source_name}"),
        )
        for module in pactl.modules():
            for place, (name, argument) in enumerate(wanted):
                if module.name == name and argument in module.arguments.split():
                    found[place] = module.number
        return found[0], found[1]

    def _user(self) -> str:
        """Return who plays into the sink, "" if nobody does."""
        numbers = {sink["index"] for sink in pactl.query("list", "sinks") if sink.get("name") == self.sink_name}
        for stream in pactl.query("list", "sink-inputs"):
            if stream.get("sink") in numbers:
                properties = stream.get("properties", {})
                who = properties.get("application.name") or "another program"
                number = properties.get("application.process.id")
                return f"'{who}'" + (f" (process {number})" if number else "")
        return ""
