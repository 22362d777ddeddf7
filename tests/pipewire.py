"""Sound without hardware on PipeWire: a daemon of our own with its PulseAudio side, and a null sink as microphone.

The counterpart of ``pulse.Server``: what is played into ``hw`` is heard by the microphone ``hw.monitor``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import pulse

REALTIME_PRIORITY = 88
"""What PipeWire's threads ask for."""

NEEDED = ("pipewire", "wireplumber", "pipewire-pulse", "dbus-run-session", "pactl", "pacat", "parec")


def missing():
    """What keeps the tests from running, or None."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    return f"not installed: {' '.join(absent)}" if absent else None


class Server(pulse.Server):
    """A PipeWire daemon, its session manager and its PulseAudio server in a folder of their own; a context manager."""

    def start(self):
        # Desktops let it run in real time (rtkit); here it may where the tests run as root
        may = f"ulimit -r {REALTIME_PRIORITY} 2>/dev/null"
        script = f"{may}; pipewire & sleep 0.5; wireplumber & sleep 0.5; exec pipewire-pulse"
        with (self.folder / "log").open("w") as log:
            self.daemon = subprocess.Popen(
                ["dbus-run-session", "--", "sh", "-c", script],
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_for("pipewire")
        self.plug()

    def stop(self):
        if self.daemon is not None:
            os.killpg(self.daemon.pid, signal.SIGTERM)
            self.daemon.wait()
            self.daemon = None
