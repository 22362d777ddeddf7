"""PipeWire without hardware or a desktop: daemons of our own, a sink that ends nowhere, and filter-chains on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NEEDED = ("pipewire", "wireplumber", "dbus-daemon", "pw-cat", "pw-cli", "pw-dump", "pw-link")
SINK = "microphone"
"""What is played there is what a microphone would hear: chains record its monitor."""


def missing():
    """What keeps the tests from running, or None."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    return f"not installed: {' '.join(absent)}" if absent else None


class Server:
    """D-Bus, PipeWire and its session manager in a folder of their own; a context manager."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="pw"))  # short: names of sockets have 107 characters at most
        self.folder.chmod(0o700)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("PIPEWIRE_", "PULSE_", "DBUS_"))}
        self.env |= {"XDG_RUNTIME_DIR": str(self.folder), "HOME": str(self.folder)}
        self.env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={self.folder}/bus"
        self.processes = []

    def __enter__(self):
        try:
            self.popen("dbus-daemon", "--session", "--nofork", f"--address={self.env['DBUS_SESSION_BUS_ADDRESS']}")
            self.wait(lambda: (self.folder / "bus").exists())
            self.popen("pipewire")
            self.wait(lambda: (self.folder / "pipewire-0").exists())
            self.popen("wireplumber")
            sink = f"factory.name=support.null-audio-sink node.name={SINK} media.class=Audio/Sink object.linger=true"
            self.run("pw-cli", "create-node", "adapter", f"{{ {sink} audio.position=[MONO] }}")
            self.wait(lambda: SINK in self.nodes())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def popen(self, *command, **environment):
        """Start a program that goes on."""
        with open(self.folder / "log", "ab") as log:
            process = subprocess.Popen(
                list(map(str, command)), env=self.env | environment, cwd=self.folder, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def run(self, *command, timeout=30):
        """Run a program to its end; return what it printed."""
        done = subprocess.run(
            list(map(str, command)), env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait(self, condition, seconds=30):
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text("utf-8", "replace")[-2000:])
            time.sleep(0.1)

    def nodes(self):
        """Return the properties of each node by its name."""
        found = {}
        for thing in json.loads(self.run("pw-dump")):
            if thing.get("type") == "PipeWire:Interface:Node":
                properties = thing["info"]["props"]
                found[properties.get("node.name")] = properties
        return found

    def links(self):
        """Return the text of all links, node:port below node:port."""
        return self.run("pw-link", "--links")
