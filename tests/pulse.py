"""Sound without hardware: a PulseAudio daemon of our own whose virtual microphone and speaker share one clock.

One null sink with two channels is the room: what is played into ``feed`` is heard on its left by the microphone
``mic``; what is played into ``speaker`` comes out on its right. A recording of both channels therefore shows
how much later a sound comes out than it went in, to the sample.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np

RATE = 48000
NEEDED = ("pulseaudio", "pactl", "pacat", "parec")

ROOM = """
load-module module-null-sink sink_name=room rate={rate} channels=2 format=float32le channel_map=front-left,front-right
load-module module-remap-sink sink_name=feed master=room {left}
load-module module-remap-sink sink_name=speaker master=room {right}
load-module module-remap-source source_name=mic master=room.monitor {left}
"""
CABLE = """
load-module module-null-sink sink_name=hw rate={rate}
load-module module-remap-source source_name=mic master=hw.monitor
set-default-source mic
"""
"""A microphone that hears what is played into ``hw``: a null sink, which sleeps while nobody plays or listens."""

SIDE = "channels=1 channel_map=mono master_channel_map=front-{} remix=no"


@cache
def missing():
    """What keeps the tests from running, or None."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"not installed: {' '.join(absent)}"
    try:
        from percepnet_cli.live import portaudio  # noqa: F401
    except Exception as error:  # sounddevice or PortAudio is not there
        return str(error)
    plugin = "alsa-lib/libasound_module_pcm_pulse.so"
    found = any(any(Path("/").glob(f"{folder}/{plugin}")) for folder in ("usr/lib", "usr/lib64", "usr/lib/*"))
    return None if found else "not installed: ALSA's plug-in for PulseAudio (libasound2-plugins)"


class Server:
    """A PulseAudio daemon in a folder of its own; a context manager."""

    def __init__(self, rate=RATE, room=ROOM):
        self.rate = rate
        text = room.format(rate=rate, left=SIDE.format("left"), right=SIDE.format("right"))
        self.room = [line.split() for line in text.strip().splitlines()]
        self.folder = Path(tempfile.mkdtemp(prefix="pa"))  # short: names of sockets have 107 characters at most
        self.folder.chmod(0o700)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("PULSE_")}
        self.env |= {"XDG_RUNTIME_DIR": str(self.folder), "HOME": str(self.folder)}
        self.daemon = None
        self.clients = []

    def start(self):
        command = ["pulseaudio", "-n", "-L", "module-native-protocol-unix", "--exit-idle-time=-1", "--use-pid-file=no"]
        command += ["--daemonize=no", f"--log-target=file:{self.folder}/log"]
        self.daemon = subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_for("pulseaudio")
        self.plug()

    def wait_for(self, name):
        """Wait until a server of this name answers."""
        for _ in range(200):
            if name in self.pactl("info", check=False).lower():
                return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def unplug(self):
        """Take the sound card away; the daemon stays."""
        for line in reversed(self.pactl("list", "short", "modules").splitlines()):
            number, name = line.split()[:2]
            if "sink" in name or "source" in name:
                self.pactl("unload-module", number, check=False)

    def plug(self):
        """Put the sound card back."""
        for line in self.room:
            self.pactl(*line)

    def stop(self):
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
            self.daemon = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        for client in self.clients:
            client.kill()
            client.communicate()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pactl(self, *arguments, check=True):
        done = subprocess.run(["pactl", *arguments], env=self.env, capture_output=True, text=True, timeout=10)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def popen(self, command, **options):
        self.clients.append(subprocess.Popen(command, env=self.env, **options))
        return self.clients[-1]

    def play(self, samples, device="feed", latency_ms=100):
        """Begin to play float32 [n] at 48 kHz."""
        path = self.folder / f"play-{time.monotonic_ns()}.raw"
        np.asarray(samples, np.float32).tofile(path)
        command = ["pacat", "-p", "-d", device, "--format=float32le", f"--rate={RATE}", "--channels=1", "--raw"]
        with path.open("rb") as file:
            return self.popen([*command, f"--latency-msec={latency_ms}"], stdin=file)

    def capture(self, name="room.raw", latency_ms=1):
        """Begin to record both channels of the room; end it with ``captured``."""
        path = self.folder / name
        command = ["parec", "-d", "room.monitor", "--format=float32le", f"--rate={self.rate}", "--channels=2", "--raw"]
        with path.open("wb") as file:
            process = self.popen([*command, f"--latency-msec={latency_ms}"], stdout=file)
        return process, path


def captured(recording):
    """End a recording and return float32 [n, 2]: what the microphone heard, what the speaker played."""
    process, _ = recording
    process.terminate()
    process.wait()
    return stored(recording)


def stored(recording):
    """Return what a recording has stored so far, as ``captured`` does."""
    samples = np.fromfile(recording[1], np.float32)
    return samples[: len(samples) // 2 * 2].reshape(-1, 2)


def place(part, whole):
    """Return where ``part`` lies in ``whole``, in samples: the peak of their correlation over the local level."""
    size = 1 << (len(part) + len(whole) - 1).bit_length()
    spectrum = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size))
    places = len(whole) - len(part) + 1
    energy = np.cumsum(np.concatenate(([0.0], np.asarray(whole, np.float64) ** 2)))
    energy = energy[len(part) :] - energy[: len(energy) - len(part)]
    return int(np.argmax(np.fft.irfft(spectrum, size)[:places] / np.sqrt(energy + 1e-6 * energy.max() + 1e-12)))


def si_sdr_db(estimate, reference):
    """Scale-invariant signal-to-distortion ratio of two aligned signals, dB."""
    estimate, reference = np.asarray(estimate, np.float64), np.asarray(reference, np.float64)
    target = reference * (estimate @ reference) / (reference @ reference)
    return 10 * np.log10((target @ target) / max(float((estimate - target) @ (estimate - target)), 1e-30))
