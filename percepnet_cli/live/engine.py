"""The work between input and output: a thread that cleans what the device's thread has taken in.

The two share a block of memory (``live.exchange``) and nothing else. If the work is late, the device's thread
plays the input with the same delay; if it stays late, the work stops for a while, so that the
call goes on without stutter.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections import deque

import numpy as np

from percepnet_cli.channel.stream import Newest
from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.live import exchange
from percepnet_cli.live.chain import Chain
from percepnet_cli.live.levels import Levels
from percepnet_cli.live.noise_meter import LOOK_SECONDS, NoiseMeter
from percepnet_cli.live.priority import hurry
from percepnet_cli.live.worker import MOST_HOPS, Worker

RING_SECONDS = 2
FADE_SECONDS = 0.005
"""How long the change between clean and passed audio takes."""

BYPASS_FADE_SECONDS = 0.02

BACKLOG_SECONDS = 0.5
"""Work that is this late is given up: the processor cannot follow."""

REST_SECONDS = 1.0
LONGEST_REST_SECONDS = 16.0
"""Audio passes for this long after work was given up; twice as long each time it happens again soon."""

CALM_SECONDS = 10.0
"""After this long without overload the next rest is a short one again."""

NEVER = 2**62

MAX_STEP_SECONDS = MOST_HOPS * HOP_SIZE / SAMPLE_RATE
"""Work done in one go at most."""


class Ring:
    """The block of memory that both threads see.

    Parameters
    ----------
    channels, out_channels : int
        Of the input and the clean stream; of the device's output.
    sample_rate : int
        Hz.
    delay : int
        Frames from input to output.
    """

    def __init__(self, channels: int, out_channels: int, sample_rate: int, delay: int) -> None:
        frames = 1 << math.ceil(math.log2(RING_SECONDS * sample_rate + delay))
        cells = exchange.HEADER_FLOATS + 2 * frames * channels

        raw = np.zeros(4 * cells + 64, np.uint8)  # 64: to begin on a cache line
        skip = -raw.ctypes.data % 64
        self._raw = raw
        memory = raw[skip : skip + 4 * cells]
        self.address = raw.ctypes.data + skip
        self.frames = frames

        # Counters and times lie in the same cells: each is one of both
        self.control = memory[: 8 * exchange.COUNTERS].view(np.int64)
        self.clocks = memory[: 8 * exchange.COUNTERS].view(np.float64)

        rings = memory[4 * exchange.HEADER_FLOATS :].view(np.float32).reshape(2, frames, channels)
        self.noisy, self.clean = rings

        # What the callback needs to know: it reads this memory and nothing else
        self.control[exchange.RING_FRAMES] = frames
        self.control[exchange.CHANNELS] = channels
        self.control[exchange.OUT_CHANNELS] = out_channels
        self.control[exchange.DELAY] = delay
        self.control[exchange.FADE] = max(1, int(FADE_SECONDS * sample_rate))
        self.control[exchange.WAKE] = -1
        self.begin_clean(-NEVER)  # the silence before the first frame is as clean as the input

    @property
    def written(self) -> int:
        """Frames that the device has delivered."""
        return exchange.read_counter(self.address, exchange.WRITTEN)

    def read(self, ring: np.ndarray, first: int, frames: int) -> np.ndarray:
        """Return a copy of frames of ``noisy`` or ``clean``, float32 [frames, channels]."""
        at = first & (self.frames - 1)
        end = at + frames
        if end <= self.frames:
            return ring[at:end].copy()
        return np.concatenate((ring[at:], ring[: end - self.frames]))

    def write_clean(self, first: int, samples: np.ndarray) -> None:
        """Store clean frames and publish them. samples: float32 [frames, channels]."""
        at = first & (self.frames - 1)
        head = min(len(samples), self.frames - at)
        self.clean[at : at + head] = samples[:head]
        self.clean[: len(samples) - head] = samples[head:]
        exchange.publish_counter(self.address, exchange.READY, first + len(samples))

    def begin_clean(self, first: int) -> None:
        """Say that nothing before this frame can be taken; ``NEVER``: nothing at all."""
        exchange.publish_counter(self.address, exchange.START, first)


class Engine:
    """Cleans the frames of a ring, by a thread of its own or step by step.

    Parameters
    ----------
    chain : Chain
        With nobody else using it.
    ring : Ring
        Shared with the device's thread.
    batch_frames : int
        Work is done in multiples of this.
    bypass : bool
        Whether to begin with the input passing.
    record : deque or None
        Gets (noisy, clean) pairs of float32 [n, channels].
    block_frames : int
        What is played begins at multiples of this; so does the work, after a rest.

    Attributes
    ----------
    bypass : bool
        Set it any time: the change is faded.
    record : deque or None
        As given; set it any time.
    levels : Levels
        Replace it by a new one to begin anew.
    overloads : int
        How often work was given up.
    resting : bool
        Whether audio passes because the processor could not follow.
    cpu_seconds : float
        What the thread has used.
    failure : BaseException or None
        What ended the thread, if it was not told to.
    """

    def __init__(
        self,
        chain: Chain,
        ring: Ring,
        batch_frames: int,
        bypass: bool = False,
        record: deque[tuple[np.ndarray, np.ndarray]] | None = None,
        block_frames: int = 1,
    ) -> None:
        self.bypass = bypass
        self.levels = Levels()
        self.overloads = 0
        self.resting = False
        self.cpu_seconds = 0.0
        self.failure: BaseException | None = None

        self._chain = chain
        self._ring = ring
        self._batch = batch_frames
        self._block = block_frames
        self.record = record
        self._noise = NoiseMeter()

        # Share of the clean signal in the output; frames taken from the ring and given to it
        self._wet = 0.0 if bypass else 1.0
        self._taken = self._given = self._measured = ring.written

        # When it gives up, and for how long
        self._rest_seconds = REST_SECONDS
        self._rest_until = 0.0
        self._calm_from = -CALM_SECONDS
        self._most = max(1, int(MAX_STEP_SECONDS * chain.sample_rate) // batch_frames) * batch_frames
        self._look_frames = int(LOOK_SECONDS * chain.sample_rate)
        self._backlog = int(BACKLOG_SECONDS * chain.sample_rate)

        # Compiled before anything waits for it
        self._worker = self._new_worker()
        Levels().add(ring.noisy, ring.clean, 0, 0)
        NoiseMeter().measure(Newest(), 0.0)

        self._pipe: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._run, name="percepnet", daemon=True)

    def start(self) -> None:
        """Begin to work in a thread."""
        if sys.platform != "win32":
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            self._ring.control[exchange.WAIT_ON], self._ring.control[exchange.WAKE] = self._pipe
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it. The device's thread must have ended, or ended to be listened to."""
        self._ring.control[exchange.WAKE] = -1
        exchange.publish_counter(self._ring.address, exchange.LEAVE, 1)
        if self._pipe is not None:
            os.write(self._pipe[1], b"!")
        if self._thread.is_alive():
            self._thread.join()
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None

    def _run(self) -> None:
        hurry()
        try:
            while not self._ring.control[exchange.LEAVE]:
                if not (self._work() or self.step() or self._ring.control[exchange.LEAVE]):
                    exchange.wait(self._ring.address)
                self.cpu_seconds = time.thread_time()
        except BaseException as error:
            self._ring.begin_clean(NEVER)  # the input passes
            self.failure = error

    def _new_worker(self) -> Worker | None:
        """Return what does the usual work; None if there is none for such a chain."""
        stream = self._chain.only_channel
        if stream is None or self._batch % HOP_SIZE or self._batch > MOST_HOPS * HOP_SIZE:
            return None
        return Worker(self._ring.address, stream, math.ceil(self._look_frames / HOP_SIZE))

    def _work(self) -> bool:
        """Do the usual work until there is something to look at; return whether any was done."""
        chain, worker = self._chain, self._worker
        plain = self._wet == 1.0 and not (self.bypass or self.resting) and self.record is None
        if worker is None or not plain or chain.is_early:
            return False

        denoiser = chain.denoiser
        frames = worker.run(self._taken, self._batch, self._backlog, denoiser.post_filter, denoiser.dry)
        self._taken += frames
        self._given += frames
        self._look()
        return frames > 0

    def step(self) -> bool:
        """Do what is there to do, at most MAX_STEP_SECONDS of audio; return whether there was any."""
        written = self._ring.written
        waiting = written - self._taken
        if self.resting:
            self._taken = written
            if time.monotonic() >= self._rest_until:
                self._resume(-(-written // self._block) * self._block)
            return False
        if waiting > self._backlog:
            self._give_up()
            return True
        frames = min(waiting // self._batch * self._batch, self._most)
        if frames <= 0:
            return False
        block = self._ring.read(self._ring.noisy, self._taken, frames)
        self._taken += frames
        clean = self._chain.process(block)
        if len(clean):
            self._deliver(clean)
        return True

    def _deliver(self, clean: np.ndarray) -> None:
        """Fade between clean and noisy as wanted, hand over, measure. clean: float32 [n, channels], n > 0."""
        heard, wanted, record = clean, 0.0 if self.bypass else 1.0, self.record
        if self._wet != wanted or wanted == 0.0 or record is not None:
            noisy = self._ring.read(self._ring.noisy, self._given, len(clean))

        if self._wet != wanted:
            step = math.copysign(1 / (BYPASS_FADE_SECONDS * self._chain.sample_rate), wanted - self._wet)
            wet = np.clip(self._wet + step * np.arange(1, len(clean) + 1, dtype=np.float32), 0, 1)[:, None]
            heard = noisy + wet * (clean - noisy)
            self._wet = float(wet[-1, 0])
        elif wanted == 0.0:
            heard = noisy

        self._ring.write_clean(self._given, heard)
        self._given += len(clean)
        if record is not None:
            record.append((noisy, heard))

        self._look()

    def _look(self) -> None:
        """Add to the levels what was put out since the last look; the rings still hold it."""
        # Everything is cold after a pause of a hop, and what meters need costs as much as the network: now and then
        if self._given - self._measured < self._look_frames:
            return
        ring, frames = self._ring, self._given - self._measured
        levels = self.levels
        levels.add(ring.noisy, ring.clean, self._measured, frames)
        self._measured = self._given

        # The newest hop stands for those since the last look
        denoiser = self._chain.denoiser
        levels.speech += denoiser.speech_probability * frames
        before, after = self._noise.measure(denoiser.newest, denoiser.dry)
        levels.noise_before += before
        levels.noise_after += after

    def _give_up(self) -> None:
        """Let the audio pass for a while: the processor cannot follow."""
        now = time.monotonic()
        recent = now - self._calm_from < CALM_SECONDS
        self._rest_seconds = min(2 * self._rest_seconds, LONGEST_REST_SECONDS) if recent else REST_SECONDS
        self.overloads += 1
        self.resting = True
        self._rest_until = now + self._rest_seconds
        self._ring.begin_clean(NEVER)

    def _resume(self, frame: int) -> None:
        """Work again, from a frame of the input on."""
        self.resting = False
        self._calm_from = time.monotonic()
        self._chain.reset()
        self._worker = self._new_worker()
        self._taken = self._given = self._measured = frame
        self._ring.begin_clean(frame)
