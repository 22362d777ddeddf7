"""What the device's thread does, called as PortAudio calls it."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

from percepnet_cli.live import exchange
from percepnet_cli.live.engine import NEVER, Ring

RATE = 48000
BLOCK = 480
DELAY = 1440

call = exchange.stream_callback.ctypes


class Device:
    """Calls the callback with blocks of a signal and keeps what is played."""

    def __init__(self, ring, signal, out_channels=1):
        self.ring = ring
        self.signal = np.ascontiguousarray(signal, np.float32).reshape(len(signal), -1)
        self.out_channels = out_channels
        self.position = 0
        self.played = []

    def block(self, frames=BLOCK, flags=0, times=None):
        part = np.ascontiguousarray(self.signal[self.position : self.position + frames])
        out = np.full((frames, self.out_channels), np.nan, np.float32)
        address = 0 if times is None else times.ctypes.data
        assert call(part.ctypes.data, out.ctypes.data, frames, address, flags, self.ring.address) == 0
        self.position += frames
        self.played.append(out)

    @property
    def output(self):
        return np.concatenate(self.played)


@pytest.fixture
def signal(rng):
    return np.cumsum(rng.standard_normal((RATE, 1)).astype(np.float32), axis=0) * np.float32(0.001)


def clean_in_time(ring, device, blocks, start=0):
    """Be a worker that is never late and whose answer is twice the input."""
    for _ in range(blocks):
        end = device.position + BLOCK - DELAY
        given = max(0, end - BLOCK)
        if end > 0:
            ring.write_clean(given, 2 * device.signal[given:end])
        device.block()


def test_what_is_clean_in_time_is_played_after_the_delay(signal):
    ring = Ring(1, 1, RATE, DELAY)
    device = Device(ring, signal)
    clean_in_time(ring, device, 40)
    out = device.output[:, 0]
    assert np.array_equal(out[:DELAY], np.zeros(DELAY))
    assert np.array_equal(out[DELAY:], 2 * signal[: len(out) - DELAY, 0])
    assert ring.control[exchange.LATE_BLOCKS] == 0


@pytest.mark.parametrize("frames", [BLOCK, 333, 64, 1024])
def test_without_a_worker_the_input_passes_with_the_same_delay(signal, frames):
    ring = Ring(1, 1, RATE, DELAY)
    device = Device(ring, signal)
    for _ in range(RATE // 1024):
        device.block(frames)
    out = device.output[:, 0]
    assert np.array_equal(out[DELAY:], signal[: len(out) - DELAY, 0])
    assert ring.control[exchange.LATE_FRAMES] >= len(out) - DELAY


def test_the_ring_goes_round(rng):
    signal = rng.standard_normal((8 * RATE, 1)).astype(np.float32)
    ring = Ring(1, 1, RATE, DELAY)
    device = Device(ring, signal)
    clean_in_time(ring, device, 8 * RATE // BLOCK)
    assert np.array_equal(device.output[DELAY:, 0], 2 * signal[: len(device.output) - DELAY, 0])


def test_a_late_worker_makes_no_click_and_is_counted():
    time_axis = np.arange(2 * RATE) / RATE
    signal = (0.25 * np.sin(2 * np.pi * 100 * time_axis)).astype(np.float32)[:, None]
    ring = Ring(1, 1, RATE, DELAY)
    device = Device(ring, signal)
    clean_in_time(ring, device, 50)
    for _ in range(5):
        device.block()
    clean_in_time(ring, device, 50)
    steepest = 2 * 0.25 * 2 * np.pi * 100 / RATE
    jumps = np.abs(np.diff(device.output[:, 0]))
    assert jumps.max() < 2.5 * steepest  # the seam decays over some ms; a click would be 0.25
    assert ring.control[exchange.LATE_BLOCKS] == 5 and ring.control[exchange.LATE_FRAMES] == 5 * BLOCK
    assert np.array_equal(
        device.output[-20 * BLOCK :, 0], 2 * signal[device.position - 20 * BLOCK - DELAY :][: 20 * BLOCK, 0]
    )


def test_it_waits_for_a_worker_that_follows(signal):
    ring = Ring(1, 1, RATE, 0)  # without a delay the block that comes in is the one to play
    ring.control[exchange.WAITS] = 2000
    device = Device(ring, signal)

    def work():
        for number in range(5):
            while ring.written < (number + 1) * BLOCK:
                time.sleep(0.0005)
            time.sleep(0.005)
            ring.write_clean(number * BLOCK, signal[number * BLOCK : (number + 1) * BLOCK])

    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(5):
        device.block()
    worker.join()
    assert ring.control[exchange.LATE_BLOCKS] == 0
    assert ring.control[exchange.LONGEST_WAIT] > 0


def test_it_waits_once_and_not_again_for_one_that_does_not_follow(signal):
    ring = Ring(1, 1, RATE, 0)
    ring.control[exchange.WAITS] = 40  # 10 ms
    device = Device(ring, signal)
    begin = time.perf_counter()
    device.block()
    first = time.perf_counter() - begin
    for _ in range(20):
        device.block()
    rest = time.perf_counter() - begin - first
    assert first >= 0.01 and rest < 0.01 * 20  # 20 waits more would be 0.2 s
    assert ring.control[exchange.LATE_BLOCKS] == 21


def test_nothing_is_taken_from_before_the_beginning_of_what_is_clean(signal):
    ring = Ring(1, 1, RATE, DELAY)
    device = Device(ring, signal)
    ring.begin_clean(NEVER)
    for _ in range(10):
        device.block()
        ring.write_clean(0, np.ones((device.position, 1), np.float32))
    assert np.array_equal(device.output[DELAY:, 0], signal[: 10 * BLOCK - DELAY, 0])


def test_silence_comes_for_what_is_not_a_number(signal):
    signal[100] = np.nan
    signal[200] = np.inf
    ring = Ring(1, 1, RATE, 0)
    device = Device(ring, signal)
    device.block()
    assert np.isfinite(device.output).all() and device.output[100] == device.output[200] == 0


def test_channels(rng):
    stereo = rng.standard_normal((4800, 2)).astype(np.float32)
    both = Device(Ring(2, 2, RATE, 0), stereo, out_channels=2)
    both.block(4800)
    assert np.array_equal(both.output, stereo)
    doubled = Device(Ring(1, 2, RATE, 0), stereo[:, 0], out_channels=2)
    doubled.block(4800)
    assert np.array_equal(doubled.output, np.repeat(stereo[:, :1], 2, axis=1))


def test_missing_buffers_are_silence_and_nothing():
    ring = Ring(1, 1, RATE, 0)
    out = np.ones(BLOCK, np.float32)
    assert call(0, out.ctypes.data, BLOCK, 0, 1, ring.address) == 0
    assert call(out.ctypes.data, 0, BLOCK, 0, 0, ring.address) == 0
    assert not out.any() and ring.written == 2 * BLOCK


def test_reports_of_the_device_are_counted(signal):
    ring = Ring(1, 1, RATE, DELAY)
    device = Device(ring, signal)
    for flags in (1, 2, 4, 8, 15, 16):  # 16: priming, no xrun
        device.block(flags=flags, times=np.array([10.0, 10.02, 10.05]))
    device.block(times=np.array([0.0, 0.0, 0.0]))
    control = ring.control
    counted = [int(control[i]) for _, i in exchange.FLAGS]
    assert counted == [2, 2, 2, 2] and control[exchange.CALLS] == 7
    assert control[exchange.DEVICE_DELAY_COUNT] == 6
    assert ring.clocks[exchange.DEVICE_DELAY_SUM] == pytest.approx(6 * 0.05)


@pytest.mark.skipif(os.name == "nt", reason="there the worker looks by itself")
def test_the_worker_is_woken_and_a_full_pipe_does_no_harm(signal):
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        ring = Ring(1, 1, RATE, DELAY)
        ring.control[exchange.WAKE] = write_end
        device = Device(ring, signal)
        device.block()
        assert len(os.read(read_end, 100)) == 1
        with pytest.raises(BlockingIOError):
            while True:
                os.write(write_end, bytes(4096))
        device.block()
        assert ring.written == 2 * BLOCK
    finally:
        os.close(read_end)
        os.close(write_end)
