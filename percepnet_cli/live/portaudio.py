"""PortAudio: which devices there are, and streams between them; the only door to sounddevice."""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
from contextlib import suppress

import numpy as np

from percepnet_cli.errors import DeviceError
from percepnet_cli.live.devices import VIRTUAL, Device, pulse_devices

try:
    import sounddevice
except OSError as error:  # the wheels for Linux come without the library itself
    raise DeviceError(
        f"PortAudio is not installed ({error}); on Debian and Ubuntu: sudo apt install libportaudio2"
    ) from None

PULSE_PLUGINS = ("pulse", "pipewire", "default")
"""Names of the ALSA devices that lead to a PulseAudio or PipeWire server."""

NO_PORT = -1
"""Instead of PortAudio's number, where it has no way to a device."""

OUTPUT_SECONDS = 0.2
"""Buffer of what is only played: keys are heard so much later."""

DRAIN_SECONDS = 0.6
"""Silence behind the end: what the buffer holds, and a sound server behind it."""

FAILURES = (sounddevice.PortAudioError, ValueError, OSError)


def list_devices() -> list[Device]:
    """Return all devices, PortAudio's own first, then what a PulseAudio server offers."""
    apis = sounddevice.query_hostapis()
    devices = []
    for raw in sounddevice.query_devices():
        api = apis[raw["hostapi"]]
        number = raw["index"]
        devices.append(
            Device(
                index=number,
                name=raw["name"],
                host_api=api["name"],
                inputs=raw["max_input_channels"],
                outputs=raw["max_output_channels"],
                sample_rate=round(raw["default_samplerate"]),
                input_latency_ms=(1e3 * raw["default_low_input_latency"], 1e3 * raw["default_high_input_latency"]),
                output_latency_ms=(1e3 * raw["default_low_output_latency"], 1e3 * raw["default_high_output_latency"]),
                default_input=number == sounddevice.default.device[0],
                default_output=number == sounddevice.default.device[1],
                virtual=VIRTUAL.search(raw["name"]) is not None,
                port=number,
            )
        )

    # The sound server's own devices: PortAudio reaches them through a plug-in of ALSA, `live.pulseaudio` without
    plugins = [d for name in PULSE_PLUGINS for d in devices if d.name == name and d.host_api == "ALSA"]
    devices += pulse_devices(len(devices), plugins[0].port if plugins else NO_PORT)

    return devices


def refresh() -> None:
    """Look for devices anew: PortAudio only does so when it starts. No stream may be open."""
    with suppress(*FAILURES):
        sounddevice._terminate()
    with suppress(*FAILURES):
        sounddevice._initialize()


def leave_stuck() -> None:
    """Do not tidy up when the program ends: a stream whose driver does not return would hold it for ever."""
    atexit.unregister(sounddevice._exit_handler)


def supports(source: Device, target: Device | None, channels: tuple[int, int], sample_rate: int) -> bool:
    """Return whether both devices can be opened at a rate, Hz. channels: of input and output."""
    try:
        sounddevice.check_input_settings(source.port, channels[0], "float32", samplerate=sample_rate)
        if target is not None:
            sounddevice.check_output_settings(target.port, channels[1], "float32", samplerate=sample_rate)
    except FAILURES:
        return False
    return True


class Stream:
    """A running stream whose callback is a C function.

    Parameters
    ----------
    source, target : Device, Device or None
        Where samples come from and go to.
    channels : tuple of int
        Of input and output.
    sample_rate : int
        Hz.
    block_frames : int
        Frames per callback.
    latency : float or str
        Seconds of buffer that the device should have, "low" or "high".
    callback : int
        Address of a PaStreamCallback.
    userdata : int
        Address that the callback gets.

    Raises
    ------
    DeviceError
        If it cannot be opened.
    """

    settled = True

    def __init__(
        self,
        source: Device,
        target: Device | None,
        channels: tuple[int, int],
        sample_rate: int,
        block_frames: int,
        latency: float | str,
        callback: int,
        userdata: int,
    ) -> None:
        _silence_alsa()

        _lead_to(source, target)
        self._userdata = sounddevice._ffi.cast("void *", userdata)
        function = sounddevice._ffi.cast("PaStreamCallback *", callback)

        duplex = target is not None
        try:
            # The class for library authors: other than sounddevice.Stream it takes C functions.
            self._stream = sounddevice._StreamBase(
                kind="duplex" if duplex else "input",
                samplerate=sample_rate,
                blocksize=block_frames,
                device=(source.port, target.port) if target is not None else source.port,
                channels=channels if duplex else channels[0],
                dtype="float32",
                latency=latency,
                callback=function,
                userdata=self._userdata,
            )
        except FAILURES as error:
            where = f"{source} and {target}" if target is not None else f"{source}"
            raise DeviceError(f"device {where} cannot be opened at {sample_rate} Hz: {_reason(error)}") from None
        try:
            self._stream.start()
        except FAILURES as error:
            self.close()
            raise DeviceError(f"device {source} cannot be started: {_reason(error)}") from None

    @property
    def active(self) -> bool:
        """Whether PortAudio believes that it runs."""
        try:
            return bool(self._stream.active)
        except FAILURES:
            return False

    def keep_up(self) -> None:
        """Do nothing: the callback is told how long sound takes."""

    def close(self) -> None:
        """Stop at once and free the device."""
        with suppress(*FAILURES):
            self._stream.abort(ignore_errors=True)
        with suppress(*FAILURES):
            self._stream.close(ignore_errors=True)


class Output:
    """A running stream that plays what is written to it, and lets the writer wait; a context manager.

    Parameters
    ----------
    target : Device
        Where samples go to.
    channels : int
        As many as there are at most; the device may have fewer.
    sample_rate : int
        Hz that are wanted; the device may have others.

    Raises
    ------
    DeviceError
        If it cannot be opened.

    Attributes
    ----------
    channels, sample_rate : int
        What ``write`` takes.
    """

    def __init__(self, target: Device, channels: int, sample_rate: int) -> None:
        _silence_alsa()
        _lead_to(None, target)
        self.target = target
        self.channels = min(channels, target.outputs)
        self.sample_rate = sample_rate
        if target.port == NO_PORT:
            raise DeviceError(
                f"PortAudio has no way to device {target}; on Debian: sudo apt install libasound2-plugins"
            )

        # At the rate that is wanted, else at the device's own
        try:
            sounddevice.check_output_settings(target.port, self.channels, "float32", samplerate=sample_rate)
        except FAILURES:
            self.sample_rate = target.sample_rate

        try:
            self._stream = sounddevice.OutputStream(
                samplerate=self.sample_rate,
                device=target.port,
                channels=self.channels,
                dtype="float32",
                latency=OUTPUT_SECONDS,
            )
            self._stream.start()
        except FAILURES as error:
            raise DeviceError(f"device {target} cannot be opened: {_reason(error)}") from None

    def write(self, block: np.ndarray) -> None:
        """Play float32 [n, channels]; return when there is room for more. Raises DeviceError if the device has gone."""
        try:
            self._stream.write(block)
        except FAILURES as error:
            raise DeviceError(f"device {self.target} has stopped: {_reason(error)}") from None

    def drain(self) -> None:
        """Wait until all is played: until as much silence has found room as buffers hold, here and in a server."""
        self.write(np.zeros((round(DRAIN_SECONDS * self.sample_rate), self.channels), np.float32))

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(*FAILURES):
            self._stream.abort(ignore_errors=True)
        with suppress(*FAILURES):
            self._stream.close(ignore_errors=True)


def _lead_to(source: Device | None, target: Device | None) -> None:
    """Name the server's devices in the environment, where the plug-in looks when a stream is opened."""
    for variable, device in (("PULSE_SOURCE", source), ("PULSE_SINK", target)):
        if device is not None and device.server_name:
            os.environ[variable] = device.server_name


def _reason(error: BaseException) -> str:
    """Return PortAudio's own words, without what sounddevice puts around them."""
    text = str(error.args[0]) if error.args else str(error)
    return text.removeprefix("Error opening Stream: ").removeprefix("Error starting stream: ")


def _silence_alsa() -> None:
    """Keep libasound from writing its complaints across the terminal; what matters reaches us by other ways."""
    if sys.platform.startswith("linux"):
        from percepnet_cli.live.exchange import nothing

        with suppress(OSError):
            ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(ctypes.c_void_p(nothing.address))
