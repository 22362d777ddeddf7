"""What the sound device's own thread does: hand samples in, wake the worker, take samples out.

All of it is machine code on one block of memory that was laid out beforehand: it allocates
nothing, takes no lock, not even Python's, and cannot raise. PortAudio calls it directly. For the worker it
waits as long as the device's own buffer allows, and not at all while the worker cannot follow.

The block holds int64 counters, float64 times, and two rings of float32 [frames, channels]: the input as it
came, and the clean samples as the worker made them. Both are indexed by the number of the input
frame, so that sample k of one belongs to sample k of the other; the output at frame p is k = p - delay.
"""

from __future__ import annotations

import ctypes
import sys

import numpy as np
from numba import carray, types

from percepnet_cli.compute.jit import c_callback, kernel
from percepnet_cli.live.atomics import load_acquire, pointer, store_release

# Counters of the block, as indices of int64; those that different threads write lie on different cache lines.
RING_FRAMES = 0
CHANNELS = 1
OUT_CHANNELS = 2
DELAY = 3
FADE = 4
WAITS = 5
WAKE = 6
MUTE = 7
LATE_BLOCKS = 8
LATE_FRAMES = 9
PASSING = 10
CALLS = 11
INPUT_UNDERFLOWS = 12
INPUT_OVERFLOWS = 13
OUTPUT_UNDERFLOWS = 14
OUTPUT_OVERFLOWS = 15
LARGEST_BLOCK = 16
LONGEST_WAIT = 17
WAS_MUTED = 18
WRITTEN = 24
READY = 32
START = 40
LEAVE = 41
WAIT_ON = 42
WOKEN = 43
DEVICE_DELAY = 48
DEVICE_DELAY_SUM = 49
DEVICE_DELAY_COUNT = 50
COUNTERS = 56
"""WAITS: how often to sleep WAIT_MICROSECONDS at most; WAKE: file to write to when samples came, -1: none;
MUTE: 1 to play silence; LEAVE: 1 for the worker to end; WAIT_ON: file to read from until samples come; WOKEN: what was
read there.
Indices below 8: settings; 8..: what the device's thread counts; 24: input frames so far; 32, 40: clean frames
that can be taken are START..READY; 48..: float64, seconds from a sample's capture to its playback."""

MAX_CHANNELS = 8
HEADER_FLOATS = 2 * COUNTERS + 2 * MAX_CHANNELS
"""float32 cells before the rings: counters, and the last frame played."""

FLAGS = ((1, INPUT_UNDERFLOWS), (2, INPUT_OVERFLOWS), (4, OUTPUT_UNDERFLOWS), (8, OUTPUT_OVERFLOWS))
"""PortAudio's paInputUnderflow..., and where they are counted."""

WAIT_MICROSECONDS = 250

POLL_MICROSECONDS = 1000
"""How often the worker looks for samples where the device's thread cannot wake it."""

ZERO = np.float32(0)
ONE = np.float32(1)


@kernel
def take_input(memory: int, source: int, frames: int) -> None:
    """Append a block of the device to the input ring. source: address of float32 [frames, channels], 0: silence."""
    control = carray(pointer(memory), (COUNTERS,), np.int64)
    ring_frames = control[RING_FRAMES]
    channels = control[CHANNELS]
    cells = carray(pointer(memory), (HEADER_FLOATS + 2 * ring_frames * channels,), np.float32)
    samples = carray(pointer(source), (frames * channels,), np.float32)
    position = control[WRITTEN]
    for i in range(frames):
        to = HEADER_FLOATS + ((position + i) & (ring_frames - 1)) * channels
        for c in range(channels):
            value = ZERO
            if source != 0:
                value = samples[i * channels + c]
                if not np.isfinite(value):
                    value = ZERO
            cells[to + c] = value
    store_release(memory + 8 * WRITTEN, position + frames)


@kernel
def give_output(memory: int, target: int, frames: int) -> None:
    """Play the frames that belong to the block just taken in; see ``give_frames``."""
    control = carray(pointer(memory), (COUNTERS,), np.int64)
    give_frames(memory, target, control[WRITTEN] - frames - control[DELAY], frames)


@kernel
def give_frames(memory: int, target: int, first: int, frames: int) -> None:
    """Play the frames from ``first`` on.

    target: address of float32 [frames, out_channels]. Where the clean samples are not there in time, the input
    with the same delay takes their place; the seam is smoothed on both sides.
    """
    control = carray(pointer(memory), (COUNTERS,), np.int64)
    ring_frames = control[RING_FRAMES]
    channels = control[CHANNELS]
    out_channels = control[OUT_CHANNELS]
    fade = control[FADE]
    mask = ring_frames - 1
    cells = carray(pointer(memory), (HEADER_FLOATS + 2 * ring_frames * channels,), np.float32)
    last = 2 * COUNTERS
    dry = HEADER_FLOATS
    wet = HEADER_FLOATS + ring_frames * channels
    samples = carray(pointer(target), (frames * out_channels,), np.float32)

    # Wait for the worker if it is only a little late
    before = control[PASSING]
    waits = 0
    passing = not is_ready(memory, first, frames)
    follows = not before or is_ready(memory, first, 0)  # the worker is not behind with what was before this block
    while passing and follows and waits < control[WAITS]:
        sleep(WAIT_MICROSECONDS)
        waits += 1
        passing = not is_ready(memory, first, frames)
    control[LONGEST_WAIT] = max(control[LONGEST_WAIT], waits)

    # Silence if that is wanted, whatever would be played: faded in and out over a block
    loud, slope = ONE - np.float32(control[WAS_MUTED]), np.float32(control[WAS_MUTED] - control[MUTE])
    control[WAS_MUTED] = control[MUTE]

    # Channel by channel, sample by sample, to every output that has this channel
    for c in range(channels):
        gap = ZERO  # between what was played last and what the input would have been
        if passing and not before:
            gap = cells[last + c] - cells[dry + ((first - 1) & mask) * channels + c]
        elif passing:
            gap = cells[last + MAX_CHANNELS + c]

        ramp = np.float32(0)
        value = ZERO
        for i in range(frames):
            at = ((first + i) & mask) * channels + c
            if passing:
                gap *= seam_decay(fade)
                value = cells[dry + at] + gap
            else:
                value = cells[wet + at]
                if before and i < fade:
                    ramp = np.float32(i + 1) / np.float32(fade + 1)
                    value = cells[dry + at] + ramp * (value - cells[dry + at])

            heard = value * (loud + slope * np.float32(i + 1) / np.float32(frames))
            for o in range(c, out_channels, channels):
                samples[i * out_channels + o] = heard

        cells[last + c] = value
        cells[last + MAX_CHANNELS + c] = gap

    if passing and first + frames > 0:
        control[LATE_BLOCKS] += 1
        control[LATE_FRAMES] += frames
    control[PASSING] = passing


@kernel
def is_ready(memory: int, first: int, frames: int) -> bool:
    """Return whether the clean samples of some frames can be taken."""
    ready = load_acquire(memory + 8 * READY)
    return ready >= first + frames and load_acquire(memory + 8 * START) <= first


@kernel
def seam_decay(fade: int) -> np.float32:
    """Factor per frame by which a seam fades: to a thousandth within 4 fades."""
    return np.float32(1) - np.float32(1.7) / np.float32(fade)


@kernel
def count(memory: int, frames: int, time: int, flags: int) -> None:
    """Note what the device reports. time: address of PaStreamCallbackTimeInfo, three doubles in seconds, or 0."""
    control = carray(pointer(memory), (COUNTERS,), np.int64)
    control[CALLS] += 1
    control[LARGEST_BLOCK] = max(control[LARGEST_BLOCK], frames)
    for bit, counter in FLAGS:
        if flags & bit:
            control[counter] += 1
    if time != 0:
        times = carray(pointer(time), (3,), np.float64)
        clocks = carray(pointer(memory), (COUNTERS,), np.float64)
        device_delay = times[2] - times[0]
        if 0.0 < device_delay < 10.0:  # some drivers leave a time out
            clocks[DEVICE_DELAY] = device_delay
            clocks[DEVICE_DELAY_SUM] += device_delay
            control[DEVICE_DELAY_COUNT] += 1


if sys.platform == "win32":
    _sleep_milliseconds = types.ExternalFunction("Sleep", types.void(types.uint32))

    @kernel
    def sleep(microseconds: int) -> None:
        """Sleep, at least 1 ms."""
        _sleep_milliseconds(np.uint32(max(microseconds // 1000, 1)))

    @kernel
    def wake(memory: int) -> None:
        """Do nothing: on Windows the worker looks by itself."""

    @kernel
    def wait(memory: int) -> None:
        """Let a moment pass: nobody wakes the worker."""
        sleep(POLL_MICROSECONDS)

else:
    _usleep = types.ExternalFunction("usleep", types.int32(types.uint32))
    _read = types.ExternalFunction("read", types.intp(types.int32, types.uintp, types.uintp))
    _write = types.ExternalFunction("write", types.intp(types.int32, types.uintp, types.uintp))

    @kernel
    def sleep(microseconds: int) -> None:
        """Sleep."""
        _usleep(np.uint32(microseconds))

    @kernel
    def wake(memory: int) -> None:
        """Write a byte, any one, to the pipe on which the worker waits; a full pipe does not matter."""
        control = carray(pointer(memory), (COUNTERS,), np.int64)
        if control[WAKE] >= 0:
            _write(np.int32(control[WAKE]), memory, 1)

    @kernel
    def wait(memory: int) -> None:
        """Read what ``wake`` has written, once it has."""
        control = carray(pointer(memory), (COUNTERS,), np.int64)
        _read(np.int32(control[WAIT_ON]), memory + 8 * WOKEN, 8)


ULONG = types.uint64 if ctypes.sizeof(ctypes.c_ulong) == 8 else types.uint32


@c_callback(types.int32(types.uintp, types.uintp, ULONG, types.uintp, ULONG, types.uintp))
def stream_callback(source: int, target: int, frames: int, time: int, flags: int, memory: int) -> int:
    """Be PortAudio's PaStreamCallback; the user data is the address of the block."""
    count(memory, frames, time, flags)
    take_input(memory, source, frames)
    wake(memory)
    if target != 0:
        give_output(memory, target, frames)
    return 0


@kernel
def read_counter(memory: int, index: int) -> int:
    """Return a counter that the other thread publishes."""
    return load_acquire(memory + 8 * index)


@kernel
def publish_counter(memory: int, index: int, value: int) -> None:
    """Publish a counter to the other thread."""
    store_release(memory + 8 * index, value)


@c_callback(types.void())
def nothing() -> None:
    """Be a C function that does nothing with whatever it is given."""
