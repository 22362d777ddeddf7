"""The worker's usual work in one compiled loop: wait for a hop, clean it, hand it over.

After a pause of a hop the processor's caches have forgotten what Python needs, which costs more than the network. So
Python looks on only every LOOK_SECONDS, and does itself what is not usual: see ``live.engine``. Usual is one channel at
48 kHz that a causal network cleans, without bypass or recording.
"""

from __future__ import annotations

import numpy as np
from numba import carray

from percepnet_cli.channel.stream import Call, ChannelStream
from percepnet_cli.compute.callback import call
from percepnet_cli.compute.jit import kernel
from percepnet_cli.compute.struct import Struct
from percepnet_cli.constants import HOP_SIZE, LATENCY_SAMPLES, NUM_BANDS
from percepnet_cli.live import exchange
from percepnet_cli.live.atomics import load_acquire, pointer, store_release

MOST_HOPS = 32
"""Done in one call at most."""


class Heard(Struct):
    """What the network said of hops since Python looked last, and how many they are."""

    gain: np.ndarray
    """float32 [rows, 34], as ``strength`` and ``energy``."""
    strength: np.ndarray
    energy: np.ndarray
    correlation: np.ndarray
    """float32 [rows]."""
    hops: np.ndarray
    """int64 [2]: all, and those of the last call."""

    def __init__(self, rows: int) -> None:
        gain, strength, energy = np.zeros((3, rows, NUM_BANDS), np.float32)
        correlation, hops = np.zeros(rows, np.float32), np.zeros(2, np.int64)
        super().__init__(gain=gain, strength=strength, energy=energy, correlation=correlation, hops=hops)


class Way(Struct):
    """From the ring and back to it: the ring's address, and ``Call`` with what the network writes."""

    memory: int
    address: int
    path: int
    samples: np.ndarray
    out: np.ndarray
    gain: np.ndarray
    strength: np.ndarray
    energy: np.ndarray
    correlation: np.ndarray

    def __init__(self, memory: int, how: Call) -> None:
        self._keep, path = how, how.path
        super().__init__(
            memory=memory,
            address=how.address,
            path=path.address,
            samples=how.samples,
            out=how.out,
            gain=path.gain,
            strength=path.strength,
            energy=path.energy,
            correlation=how.correlation,
        )


@kernel
def clean_hops(
    way: Way,
    heard: Heard,
    first: int,
    batch: int,
    backlog: int,
    hops_wanted: int,
    post_filter: np.float32,
    dry: np.float32,
) -> None:
    """Clean hop after hop, as they come, until there were enough.

    way, heard: see there; first: frame of the input to begin with; batch: frames to wait for, a multiple of HOP_SIZE;
    backlog: return as soon as more frames wait; hops_wanted: return after so many; post_filter, dry: shares, 0..1.
    ``exchange.LEAVE`` ends it, too.
    """
    memory = way.memory
    control = carray(pointer(memory), (exchange.COUNTERS,), np.int64)
    frames_kept = control[exchange.RING_FRAMES]
    cells = carray(pointer(memory), (exchange.HEADER_FLOATS + 2 * frames_kept,), np.float32)
    noisy, clean = cells[exchange.HEADER_FLOATS :], cells[exchange.HEADER_FLOATS + frames_kept :]
    mask = frames_kept - 1

    while heard.hops[0] < hops_wanted and load_acquire(memory + 8 * exchange.LEAVE) == 0:
        waiting = load_acquire(memory + 8 * exchange.WRITTEN) - first
        if waiting > backlog:
            return
        hops = min(waiting, MOST_HOPS * HOP_SIZE) // batch * batch // HOP_SIZE
        if hops <= 0:
            exchange.wait(memory)
            continue

        # Through the signal path
        samples, out = way.samples[:hops].reshape(-1), way.out[:hops].reshape(-1)
        for i in range(hops * HOP_SIZE):
            samples[i] = noisy[(first + i) & mask]
        call(way.address, (way.path, hops, post_filter, dry))

        # What comes out belongs to frames of before
        given = first - LATENCY_SAMPLES
        for i in range(hops * HOP_SIZE):
            clean[(given + i) & mask] = out[i]
        store_release(memory + 8 * exchange.READY, given + hops * HOP_SIZE)
        first += hops * HOP_SIZE

        # For the meters
        row = heard.hops[0]
        for hop in range(hops):
            heard.correlation[row + hop] = way.correlation[hop]
            for band in range(NUM_BANDS):
                heard.gain[row + hop, band] = way.gain[hop, band]
                heard.strength[row + hop, band] = way.strength[hop, band]
                heard.energy[row + hop, band] = way.energy[hop, band]
        heard.hops[0], heard.hops[1] = row + hops, hops


class Worker:
    """Does the usual work on a ring, and tells the stream what it has done.

    memory: address of the ring; stream: of the only channel, with no part of a hop waiting; look_hops: how often to
    return to Python.
    """

    def __init__(self, memory: int, stream: ChannelStream, look_hops: int) -> None:
        self._stream = stream
        self._way = Way(memory, stream.call())
        self._heard = Heard(look_hops + MOST_HOPS)
        self._look_hops = look_hops
        self._clean(0, HOP_SIZE, 0, 0, 0.0, 0.0)  # compiles

    def run(self, first: int, batch: int, backlog: int, post_filter: float, dry: float) -> int:
        """Work for ``look_hops``, or until ``clean_hops`` gives up; return how many frames were done.

        The arguments are those of ``clean_hops``.
        """
        heard = self._heard
        heard.hops[:] = 0
        self._clean(first, batch, backlog, self._look_hops, post_filter, dry)
        done, newest = (int(hops) for hops in heard.hops)
        if done:
            rows = heard.gain, heard.strength, heard.correlation, heard.energy
            self._stream.called(newest, *(array[:done] for array in rows))
        return done * HOP_SIZE

    def _clean(self, first: int, batch: int, backlog: int, hops: int, post_filter: float, dry: float) -> None:
        shares = np.float32(post_filter), np.float32(dry)
        clean_hops(self._way, self._heard, first, batch, backlog, hops, *shares)
