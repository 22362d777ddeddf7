"""``pactl``: what a PulseAudio or PipeWire server has, and modules of its own; the only door to that program."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import Any, NamedTuple

from percepnet_cli.errors import DeviceError

ANSWER_SECONDS = 5.0
"""A server that says nothing for this long is not there."""


class Module(NamedTuple):
    """A module that a server has loaded: its number, its name, what it was given."""

    number: int
    name: str
    arguments: str


def is_installed() -> bool:
    """Return whether there is such a program."""
    return shutil.which("pactl") is not None


def query(*arguments: str) -> Any:
    """Return what ``pactl`` answers as JSON. Raises DeviceError if no server answers."""
    try:
        return json.loads(_run("--format=json", *arguments))
    except ValueError:
        raise DeviceError("pactl gives no JSON: it is older than PulseAudio 16") from None


def modules() -> list[Module]:
    """Return the modules that the server has loaded. Raises DeviceError if no server answers."""
    lines = _run("list", "short", "modules").splitlines()
    found = [re.fullmatch(r"(\d+)\t(\S+)(?:\t(.*))?", line) for line in lines]  # arguments may go on for many lines
    return [Module(int(match[1]), match[2], match[3] or "") for match in found if match]


def load(name: str, *arguments: str) -> int:
    """Load a module; return its number. Raises DeviceError if the server refuses."""
    return int(_run("load-module", name, *arguments))


def unload(number: int) -> None:
    """Unload a module. Raises DeviceError if it is not there."""
    _run("unload-module", str(number))


def _run(*arguments: str) -> str:
    if not is_installed():
        raise DeviceError("pactl is not installed; on Debian and Ubuntu: sudo apt install pulseaudio-utils")
    environment = os.environ | {"LC_ALL": "C.UTF-8"}  # in other languages its JSON has commas in numbers
    try:
        done = subprocess.run(
            ["pactl", *arguments], capture_output=True, text=True, timeout=ANSWER_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"the sound server does not answer for {ANSWER_SECONDS:.0f} s") from None
    if done.returncode:
        words = " ".join(done.stderr.split())
        if words.startswith("Connection failure"):
            raise DeviceError("no sound server answers: start PipeWire (with pipewire-pulse) or PulseAudio")
        raise DeviceError(f"the sound server refuses 'pactl {arguments[0]}': {words}")
    return done.stdout
