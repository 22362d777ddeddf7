"""Streams on a PulseAudio or PipeWire server: the only door to libpulse.

PortAudio reaches such a server through ALSA and its plug-in, and can say nothing of how often the server should work.
A null sink then works in chunks of two seconds. Here both streams ask for the latency that they need, so that
a virtual cable is as quick as a sound card, whether anybody listens to it or not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int64, c_long, c_uint8, c_uint32, c_uint64, c_void_p
from types import SimpleNamespace

import numpy as np

from percepnet_cli.errors import DeviceError
from percepnet_cli.live import exchange
from percepnet_cli.live import pulse_callback as line
from percepnet_cli.live.devices import Device
from percepnet_cli.live.distance import Distance
from percepnet_cli.live.engine import Ring
from percepnet_cli.live.priority import hurry, threads

CONNECT_SECONDS = 5.0
"""How long the server and the streams may take to be there."""

# enums of libpulse (pulse/def.h, pulse/sample.h)
READY, FAILED, TERMINATED = 4, 5, 6
STREAM_READY, STREAM_FAILED, STREAM_TERMINATED = 2, 3, 4
NO_AUTOSPAWN = 0x0001
ADJUST_LATENCY = 0x2000
FLOAT32 = 5 if sys.byteorder == "little" else 6


class SampleSpec(Structure):
    """pa_sample_spec."""

    _fields_ = [("format", c_int), ("rate", c_uint32), ("channels", c_uint8)]


class BufferAttributes(Structure):
    """pa_buffer_attr, bytes; 2**32 - 1: the server chooses."""

    _fields_ = [(name, c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")]


class TimingInfo(Structure):
    """pa_timing_info: what the server said of a stream, and when."""

    _fields_ = [
        ("seconds", c_long),
        ("microseconds", c_long),
        ("synchronized_clocks", c_int),
        ("sink_usec", c_uint64),
        ("source_usec", c_uint64),
        ("transport_usec", c_uint64),
        ("playing", c_int),
        ("write_index_corrupt", c_int),
        ("write_index", c_int64),
        ("read_index_corrupt", c_int),
        ("read_index", c_int64),
        ("configured_sink_usec", c_uint64),
        ("configured_source_usec", c_uint64),
        ("since_underrun", c_int64),
    ]


SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "threaded_mainloop_new": (c_void_p, []),
    "threaded_mainloop_get_api": (c_void_p, [c_void_p]),
    "threaded_mainloop_start": (c_int, [c_void_p]),
    "threaded_mainloop_stop": (None, [c_void_p]),
    "threaded_mainloop_free": (None, [c_void_p]),
    "threaded_mainloop_lock": (None, [c_void_p]),
    "threaded_mainloop_unlock": (None, [c_void_p]),
    "context_new": (c_void_p, [c_void_p, c_char_p]),
    "context_connect": (c_int, [c_void_p, c_char_p, c_int, c_void_p]),
    "context_get_state": (c_int, [c_void_p]),
    "context_disconnect": (None, [c_void_p]),
    "context_unref": (None, [c_void_p]),
    "context_errno": (c_int, [c_void_p]),
    "strerror": (c_char_p, [c_int]),
    "stream_new": (c_void_p, [c_void_p, c_char_p, POINTER(SampleSpec), c_void_p]),
    "stream_get_state": (c_int, [c_void_p]),
    "stream_set_read_callback": (None, [c_void_p, c_void_p, c_void_p]),
    "stream_set_underflow_callback": (None, [c_void_p, c_void_p, c_void_p]),
    "stream_set_overflow_callback": (None, [c_void_p, c_void_p, c_void_p]),
    "stream_connect_record": (c_int, [c_void_p, c_char_p, POINTER(BufferAttributes), c_int]),
    "stream_connect_playback": (
        c_int,
        [c_void_p, c_char_p, POINTER(BufferAttributes), c_int, c_void_p, c_void_p],
    ),
    "stream_disconnect": (c_int, [c_void_p]),
    "stream_unref": (None, [c_void_p]),
    "stream_update_timing_info": (c_void_p, [c_void_p, c_void_p, c_void_p]),
    "stream_get_timing_info": (POINTER(TimingInfo), [c_void_p]),
    "operation_unref": (None, [c_void_p]),
}


def _functions() -> SimpleNamespace:
    """Return the functions of libpulse that are used, without their prefix."""
    found = {name: getattr(line.library, f"pa_{name}") for name in SIGNATURES}
    for name, (result, arguments) in SIGNATURES.items():
        found[name].restype, found[name].argtypes = result, arguments
    return SimpleNamespace(**found)


pa = _functions()


class Stream:
    """Input and output on one server, joined by the callback in ``pulse_callback``.

    Parameters
    ----------
    source, target : Device, Device or None
        Both with the server's name.
    sample_rate : int
        Hz; the server converts.
    block_frames : int
        Frames per block.
    distance_seconds : float or None
        Sound that waits in the output when a block is written; None: as little as does without gaps.
    ring : Ring
        Where samples go to and come from.

    Raises
    ------
    DeviceError
        If the server or a device cannot be reached.
    """

    def __init__(
        self,
        source: Device,
        target: Device | None,
        sample_rate: int,
        block_frames: int,
        distance_seconds: float | None,
        ring: Ring,
    ) -> None:
        self._ring, self._rate, self._block = ring, sample_rate, block_frames
        self._distance = Distance(block_frames / sample_rate, distance_seconds)
        self._has_output = target is not None
        self._closed = False

        # The cells that the callback works with, and room for two blocks
        channels = int(ring.control[exchange.CHANNELS])
        out_channels = int(ring.control[exchange.OUT_CHANNELS])
        self._cells = np.zeros(line.CELLS, np.int64)
        self._scratch = np.zeros((2, block_frames * out_channels), np.float32)
        self._cells[line.RING] = ring.address
        self._cells[line.BLOCK] = block_frames
        self._cells[line.SCRATCH] = self._scratch.ctypes.data
        self._cells[line.INSERT] = round(self._distance.wanted * sample_rate)

        self._loop = pa.threaded_mainloop_new()
        self._context = pa.context_new(pa.threaded_mainloop_get_api(self._loop), b"percepnet live")
        self._playback = self._record = None
        try:
            if pa.context_connect(self._context, None, NO_AUTOSPAWN, None) < 0:
                raise DeviceError(f"the sound server cannot be reached: {self._reason()}")
            self._start_loop()
            self._wait(lambda: pa.context_get_state(self._context), READY, "the sound server cannot be reached")
            if target is not None:
                self._open_playback(target, out_channels)
            self._open_record(source, channels)
        except DeviceError:
            self.close()
            raise

    def _start_loop(self) -> None:
        """Start libpulse's thread. What it takes in and gives out waits for it: it must not wait for its turn."""
        before = threads()
        pa.threaded_mainloop_start(self._loop)
        for thread in threads() - before:
            hurry(thread)

    def _open_playback(self, target: Device, channels: int) -> None:
        """Open the output; nothing is written yet."""
        frame = 4 * channels
        block = frame * self._block
        spec = SampleSpec(FLOAT32, self._rate, channels)

        # The server gives its device half of what lies between tlength and twice minreq: one block. Nothing is
        # waited for at the start, and what comes too late is left out: a gap moves nothing behind it.
        attributes = BufferAttributes(2**32 - 1, 3 * block, 0, block // 2 // frame * frame, 2**32 - 1)
        with self._locked():
            stream = pa.stream_new(self._context, b"denoised", byref(spec), None)
            self._playback = stream
            pa.stream_set_underflow_callback(stream, line.ran_dry.address, self._ring.address)
            pa.stream_connect_playback(
                stream, target.server_name.encode(), byref(attributes), ADJUST_LATENCY, None, None
            )
        self._wait(lambda: pa.stream_get_state(stream), STREAM_READY, f"device {target} cannot be opened")
        self._cells[line.PLAYBACK] = stream

    def _open_record(self, source: Device, channels: int) -> None:
        """Open the input; samples come from then on."""
        spec = SampleSpec(FLOAT32, self._rate, channels)
        attributes = BufferAttributes(2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1, 4 * channels * self._block)
        with self._locked():
            stream = pa.stream_new(self._context, b"microphone", byref(spec), None)
            self._record = stream
            pa.stream_set_read_callback(stream, line.received.address, self._cells.ctypes.data)
            pa.stream_set_overflow_callback(stream, line.ran_over.address, self._ring.address)
            pa.stream_connect_record(stream, source.server_name.encode(), byref(attributes), ADJUST_LATENCY)
        self._wait(lambda: pa.stream_get_state(stream), STREAM_READY, f"device {source} cannot be opened")

    def _locked(self) -> _Lock:
        """Return what holds libpulse's thread between two of its steps."""
        return _Lock(self._loop)

    def _wait(self, state: Callable[[], int], wanted: int, failure: str) -> None:
        """Wait until the server or a stream is there; raise DeviceError if it never will be."""
        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            with self._locked():
                now = state()
            if now == wanted:
                return
            if now > wanted:
                raise DeviceError(f"{failure}: {self._reason()}")
            if time.monotonic() > deadline:
                raise DeviceError(f"{failure}: no answer for {CONNECT_SECONDS:.0f} s")
            time.sleep(0.005)

    def _reason(self) -> str:
        """Return libpulse's words for what failed last."""
        return str((pa.strerror(pa.context_errno(self._context)) or b"").decode().lower())

    @property
    def settled(self) -> bool:
        """Whether what waits in the output was brought to its distance once."""
        return self._distance.settled or not self._has_output

    @property
    def active(self) -> bool:
        """Whether the server and both streams are there."""
        if self._closed:
            return False
        with self._locked():
            return pa.context_get_state(self._context) == READY and all(
                pa.stream_get_state(stream) == STREAM_READY
                for stream in (self._playback, self._record)
                if stream is not None
            )

    def keep_up(self) -> None:
        """Note how long sound takes, and keep the distance to the output; call it some times per second."""
        if not self.active:
            return
        with self._locked():
            playback, record = (self._timing(stream) for stream in (self._playback, self._record))
            sent, consumed = int(self._cells[line.SENT]), int(self._cells[line.CONSUMED])
            held = bool(self._cells[line.HELD] or self._cells[line.INSERT])
            now = time.time()
        if playback is None or record is None or held or not sent:
            return

        # When frame 0 of the input was captured, and when frame 0 of the output is played: seconds of one clock
        frame_in = 4 * int(self._ring.control[exchange.CHANNELS]) * self._rate
        frame_out = 4 * int(self._ring.control[exchange.OUT_CHANNELS]) * self._rate
        captured = _time(record) + (record.sink_usec - record.source_usec) / 1e6 - record.write_index / frame_in
        rendered = _time(playback) - playback.read_index / frame_out
        played = rendered + playback.sink_usec / 1e6

        age = played - captured + (sent - consumed) / self._rate
        if 0.0 < age < 10.0:
            clocks = self._ring.clocks
            clocks[exchange.DEVICE_DELAY] = age
            clocks[exchange.DEVICE_DELAY_SUM] += age
            self._ring.control[exchange.DEVICE_DELAY_COUNT] += 1
        waiting, gaps = sent / self._rate - (now - rendered), int(self._ring.control[exchange.OUTPUT_UNDERFLOWS])
        more, fewer_blocks = self._distance.correct(time.monotonic(), waiting, gaps)
        if more or fewer_blocks:
            with self._locked():
                self._cells[line.INSERT] += round(more * self._rate)
                self._cells[line.DROP] += fewer_blocks

    def _timing(self, stream: int | None) -> TimingInfo | None:
        """Return the server's last word on a stream, once, and ask for the next; None if there is none."""
        if stream is None:
            return None
        info = pa.stream_get_timing_info(stream)
        copy = TimingInfo.from_buffer_copy(info.contents) if info else None
        operation = pa.stream_update_timing_info(stream, None, None)
        if operation:
            pa.operation_unref(operation)
        return copy

    def close(self) -> None:
        """Stop at once and free the streams."""
        if self._closed:
            return
        self._closed = True
        pa.threaded_mainloop_stop(self._loop)
        for stream in (self._record, self._playback):
            if stream is not None:
                pa.stream_disconnect(stream)
                pa.stream_unref(stream)
        pa.context_disconnect(self._context)
        pa.context_unref(self._context)
        pa.threaded_mainloop_free(self._loop)


class _Lock:
    """Holds libpulse's thread between two of its steps; a context manager."""

    def __init__(self, loop: int) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        pa.threaded_mainloop_lock(self._loop)

    def __exit__(self, *exception: object) -> None:
        pa.threaded_mainloop_unlock(self._loop)


def _time(info: TimingInfo) -> float:
    """Return when the server said so, seconds as time.time()."""
    return float(info.seconds + info.microseconds / 1e6)
