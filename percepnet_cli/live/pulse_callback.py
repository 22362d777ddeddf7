"""What libpulse's own thread does: take samples in, wake the worker, give samples out.

The counterpart of ``exchange.stream_callback`` for a PulseAudio or PipeWire server. There input and output are two
streams: each fragment of the input is handed on as it comes, and whole blocks are written to the output. What the
session may change while it runs, it writes to a few cells of memory, the line.
"""

from __future__ import annotations

import ctypes

import numpy as np
from numba import carray, types

from percepnet_cli.compute.jit import c_callback, kernel
from percepnet_cli.errors import DeviceError
from percepnet_cli.live import exchange
from percepnet_cli.live.atomics import pointer

# Cells of the line, as indices of int64
RING = 0
PLAYBACK = 1
BLOCK = 2
SCRATCH = 3
DATA = 4
BYTES = 5
INSERT = 8
DROP = 9
CONSUMED = 16
SENT = 17
HELD = 18
CELLS = 24
"""RING: address of the ring; PLAYBACK: the pa_stream to write to, 0: none; BLOCK: frames; SCRATCH: address of float32
[2, block, out_channels]; DATA, BYTES: what libpulse returns. INSERT: frames of silence to write before the next block;
DROP: blocks to leave out. CONSUMED, SENT: frames of the input that were answered, frames written
to the output; HELD: 1 while a block waits to be faded over to the next."""

try:
    # Compiled code finds the functions of libraries whose names are known to the whole process.
    library = ctypes.CDLL("libpulse.so.0", mode=ctypes.RTLD_GLOBAL)
except OSError as error:
    raise DeviceError(
        f"libpulse is not installed ({error}); on Debian and Ubuntu: sudo apt install libpulse0"
    ) from None

_peek = types.ExternalFunction("pa_stream_peek", types.int32(types.uintp, types.uintp, types.uintp))
_drop = types.ExternalFunction("pa_stream_drop", types.int32(types.uintp))
_write = types.ExternalFunction(
    "pa_stream_write",
    types.int32(types.uintp, types.uintp, types.uintp, types.uintp, types.int64, types.int32),
)


@kernel
def write_frames(line: int, frames: int) -> None:
    """Write the first frames of the scratch to the output, behind what is there."""
    cells = carray(pointer(line), (CELLS,), np.int64)
    control = carray(pointer(cells[RING]), (exchange.COUNTERS,), np.int64)
    _write(cells[PLAYBACK], cells[SCRATCH], 4 * frames * control[exchange.OUT_CHANNELS], 0, 0, np.int32(0))
    cells[SENT] += frames


@kernel
def send_block(line: int) -> None:
    """Answer one block of the input; insert silence or leave blocks out if that is wanted."""
    cells = carray(pointer(line), (CELLS,), np.int64)
    memory = cells[RING]
    control = carray(pointer(memory), (exchange.COUNTERS,), np.int64)
    block = cells[BLOCK]
    size = block * control[exchange.OUT_CHANNELS]
    scratch = carray(pointer(cells[SCRATCH]), (2, size), np.float32)

    # More distance to the output: silence, where there was a gap anyway
    while cells[INSERT] > 0:
        frames = min(cells[INSERT], block)
        for i in range(size):
            scratch[0, i] = np.float32(0)
        write_frames(line, frames)
        cells[INSERT] -= frames

    # Less distance: a block is held back, those between are left out, and it fades over to the one behind them
    if cells[HELD] and cells[DROP] > 0:
        cells[DROP] -= 1
        cells[CONSUMED] += block
        return

    # The clean block, or the noisy one if it is late
    exchange.give_frames(memory, cells[SCRATCH], cells[CONSUMED] - control[exchange.DELAY], block)
    cells[CONSUMED] += block

    if cells[HELD]:
        for i in range(size):
            share = np.float32(i + 1) / np.float32(size + 1)
            scratch[0, i] = scratch[1, i] + share * (scratch[0, i] - scratch[1, i])
        cells[HELD] = 0
    elif cells[DROP] > 0:
        for i in range(size):
            scratch[1, i] = scratch[0, i]
        cells[HELD] = 1
        cells[DROP] -= 1
        return

    write_frames(line, block)


@c_callback(types.void(types.uintp, types.uintp, types.uintp))
def received(stream: int, available: int, line: int) -> None:
    """Be the read callback of the input (pa_stream_request_cb_t); the user data is the address of the line."""
    cells = carray(pointer(line), (CELLS,), np.int64)
    memory = cells[RING]
    control = carray(pointer(memory), (exchange.COUNTERS,), np.int64)

    # All fragments that are there; one without data is a hole, which counts as silence
    while _peek(stream, line + 8 * DATA, line + 8 * BYTES) >= 0 and cells[BYTES] > 0:
        frames = cells[BYTES] // (4 * control[exchange.CHANNELS])
        exchange.count(memory, frames, 0, 0)
        exchange.take_input(memory, cells[DATA], frames)
        _drop(stream)
    exchange.wake(memory)

    # As many whole blocks as came in
    while control[exchange.WRITTEN] - cells[CONSUMED] >= cells[BLOCK]:
        if cells[PLAYBACK] != 0:
            send_block(line)
        else:
            cells[CONSUMED] += cells[BLOCK]


@c_callback(types.void(types.uintp, types.uintp))
def ran_dry(stream: int, memory: int) -> None:
    """Be the underflow callback of the output (pa_stream_notify_cb_t); the user data is the address of the ring."""
    control = carray(pointer(memory), (exchange.COUNTERS,), np.int64)
    control[exchange.OUTPUT_UNDERFLOWS] += 1


@c_callback(types.void(types.uintp, types.uintp))
def ran_over(stream: int, memory: int) -> None:
    """Be the overflow callback of the input (pa_stream_notify_cb_t); the user data is the address of the ring."""
    control = carray(pointer(memory), (exchange.COUNTERS,), np.int64)
    control[exchange.INPUT_OVERFLOWS] += 1
