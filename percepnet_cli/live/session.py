"""A live session: open the devices, watch them, open them again, report what happens."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from percepnet_cli.constants import HOP_SIZE, SAMPLE_RATE
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.errors import DeviceError
from percepnet_cli.live import exchange, portaudio
from percepnet_cli.live.chain import Chain
from percepnet_cli.live.devices import Device, find
from percepnet_cli.live.engine import Engine, Ring
from percepnet_cli.live.levels import Levels
from percepnet_cli.live.models import require_realtime
from percepnet_cli.live.noise_meter import Reduction
from percepnet_cli.live.settings import Settings, channels_of, devices_of, is_served, rate_of
from percepnet_cli.live.status import Status, decibels
from percepnet_cli.live.streams import Stream, open_stream, silent_sentence

DEVICE_BLOCKS = 6
"""Blocks of buffer asked of the device if nothing else is said."""

SERVER_SECONDS = 0.03
"""Buffer that is reckoned with where a sound server has the devices; the stream chooses its own."""

STALL_SECONDS = 1.5
"""A device that delivers nothing for this long has gone."""

BEHIND_SECONDS = 2.0
LONGEST_BEHIND_SECONDS = 64.0
"""A device whose delay is far longer than asked for during this time is opened anew; twice as long after each time."""

START_SECONDS = 5.0
"""How long a device may take until it delivers something."""

CLOSE_SECONDS = 3.0
"""Closing a device that has gone may block; after this long it is left to itself."""

REOPEN_SECONDS = 1.0
"""How often a device that has gone is looked for."""

SETTLING_CALLS = 50
"""What happens in the device's first blocks is not counted: buffers fill."""

WAIT_SHARE = 0.5
"""The callback waits for the worker for this share of the device's buffer at most."""

LATENCY_SECONDS = 2.0
"""The device's delay is its mean over this long: single reports jitter by some ms."""


XRUNS = (
    exchange.INPUT_UNDERFLOWS,
    exchange.INPUT_OVERFLOWS,
    exchange.OUTPUT_UNDERFLOWS,
    exchange.OUTPUT_OVERFLOWS,
)


class Session:
    """Microphone to speaker; a context manager. ``tick`` must be called some times per second.

    Parameters
    ----------
    denoiser : Denoiser
        Its channels are those that are opened.
    settings : Settings
        What the user wants.
    record : bool
        Whether to collect (noisy, clean) pairs of float32 [n, channels] in ``recorded``; take them out often.
    devices : tuple or None
        Input and output, if ``devices_of`` has found them already.
    restore : callable or None
        Called before devices that have gone are looked for: makes again what a server has forgotten.

    Raises
    ------
    DeviceError
        If the devices cannot be found or opened.
    ModelError
        If the denoiser's network looks ahead.

    Attributes
    ----------
    source, target : Device, Device or None
        Those in use.
    sample_rate, block_frames : int
        Hz; frames per callback.
    recorded : deque or None
        See ``record``.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        settings: Settings,
        record: bool = False,
        devices: tuple[Device, Device | None] | None = None,
        restore: Callable[[], None] | None = None,
    ) -> None:
        require_realtime(denoiser.model)
        self.denoiser = denoiser
        self.settings = settings
        self._restore = restore
        self.recorded: deque[tuple[np.ndarray, np.ndarray]] | None = deque() if record else None
        self._recording = record

        # Devices, and the rate and blocks that they and the settings agree on
        self.source, self.target = devices or devices_of(settings, denoiser.channels)
        self._channels = channels_of(self.source, self.target, denoiser.channels)
        self.sample_rate = rate_of(self.source, self.target, self._channels, settings.sample_rate)
        self.block_frames = settings.block_frames or max(1, round(settings.hop_ms * self.sample_rate / 1000))

        # How the denoiser is fed, and by how much its output is late
        # (a part of a hop says nothing yet, but at other rates than 48 kHz hops end anywhere)
        hops = settings.hop_ms // 10
        whole = hops > 1 or self.sample_rate == SAMPLE_RATE
        self._batch = hops * HOP_SIZE * self.sample_rate // SAMPLE_RATE if whole else 1
        self._chain = Chain(denoiser, self.sample_rate)
        self._lag = self._chain.fit(self.block_frames, self._batch)
        self._chain.warm_up(self.block_frames)

        self._bypass = settings.bypass
        self._muted = False
        self._new_engine()  # compiles, before devices are opened
        self._reduction = Reduction()
        self._stream: Stream | None = None
        self._engine: Engine | None = None
        self._abandoned: list[tuple[threading.Thread, object]] = []

        # What happened before devices were opened anew
        self._past: Counter[str] = Counter()
        self._reopened = 0
        self._patience_seconds = BEHIND_SECONDS
        self._try_at = 0.0
        self._looked_at = time.monotonic()
        self._cpu = time.process_time()

    def __enter__(self) -> Session:
        self._open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def bypass(self) -> bool:
        """Whether the input passes; the change is faded."""
        return self._bypass

    @bypass.setter
    def bypass(self, wanted: bool) -> None:
        """Set it."""
        self._bypass = wanted
        if self._engine is not None:
            self._engine.bypass = wanted

    @property
    def muted(self) -> bool:
        """Whether silence is played; the change is faded."""
        return self._muted

    @muted.setter
    def muted(self, wanted: bool) -> None:
        """Set it."""
        self._muted = wanted
        if self._engine is not None:
            self._ring.control[exchange.MUTE] = wanted

    def record(self, wanted: bool) -> None:
        """Begin or end to collect what comes in and goes out in ``recorded``; what was collected stays there."""
        if wanted and self.recorded is None:
            self.recorded = deque()
        if self._engine is not None:
            self._engine.record = self.recorded if wanted else None
        self._recording = wanted

    def _open(self) -> None:
        """Open the devices and begin."""
        self._chain.reset()
        seconds = DEVICE_BLOCKS * self.block_frames / self.sample_rate
        if is_served(self.source, self.target):
            seconds = SERVER_SECONDS
        if self.settings.device_latency_ms is not None:
            seconds = self.settings.device_latency_ms / 1000

        engine = self._new_engine()
        self._ring.control[exchange.WAITS] = int(WAIT_SHARE * seconds * 1e6 / exchange.WAIT_MICROSECONDS)
        try:
            self._stream = self._open_stream(engine, seconds)
        except DeviceError:
            engine.stop()
            raise

        self._engine = engine
        self._levels = Levels()
        self._longest_ms = 1000 * max(4 * seconds, seconds + 0.4)
        self._settle()

    def _new_engine(self) -> Engine:
        """Return what cleans the samples of a new ring."""
        self._ring = Ring(self._channels[0], max(self._channels[1], 1), self.sample_rate, self._lag)
        self._ring.control[exchange.MUTE] = self._muted
        recorded = self.recorded if self._recording else None
        return Engine(self._chain, self._ring, self._batch, self._bypass, recorded, self.block_frames)

    def _open_stream(self, engine: Engine, seconds: float) -> Stream:
        """Begin to work, and open a stream that gives samples to the engine. seconds: buffer to ask of a device."""
        engine.start()
        return open_stream(
            self.source, self.target, self.sample_rate, self.block_frames, seconds, self.settings, self._ring
        )

    def _settle(self) -> None:
        """Wait until the device is under way, and forget what it reported meanwhile."""
        control = self._ring.control
        deadline = time.monotonic() + START_SECONDS
        stream = self._stream
        assert stream is not None
        while time.monotonic() < deadline and not (stream.settled and control[exchange.CALLS] >= SETTLING_CALLS):
            time.sleep(0.02)
            stream.keep_up()
        if control[exchange.CALLS] == 0:
            self._close_stream()
            raise DeviceError(silent_sentence(self.source))
        for counter in (*XRUNS, exchange.LATE_BLOCKS, exchange.LATE_FRAMES, exchange.LONGEST_WAIT):
            control[counter] = 0
        control[exchange.DEVICE_DELAY_COUNT] = self._ring.clocks[exchange.DEVICE_DELAY_SUM] = 0
        self._device_delays: deque[tuple[float, float, int]] = deque()
        self._calls, self._called_at = 0, time.monotonic()
        self._in_time_at = self._called_at

    def _close_stream(self) -> None:
        """Stop the stream, whether the device is still there or not, and the engine; keep the counts."""
        stream, engine = self._stream, self._engine
        if stream is not None:
            closer = threading.Thread(target=stream.close, daemon=True)
            closer.start()
            closer.join(CLOSE_SECONDS)
            if closer.is_alive():  # its thread may still use the memory
                self._abandoned.append((closer, self._ring))
                portaudio.leave_stuck()
        if engine is not None:
            engine.stop()
            self._past = self._counts()
        self._stream = self._engine = None

    def close(self) -> None:
        """End the session."""
        self._close_stream()

    def tick(self) -> str:
        """Watch the device; return a sentence if something has happened to it, else ""."""
        if self._engine is None:
            return self._try_again() if time.monotonic() >= self._try_at else ""
        if self._engine.failure is not None:
            raise self._engine.failure
        if self._stream is not None:
            self._stream.keep_up()

        calls = int(self._ring.control[exchange.CALLS])
        now = time.monotonic()
        if calls != self._calls:
            self._calls, self._called_at = calls, now

        reason = ""
        if self._stream is None or not self._stream.active:
            reason = "has stopped"
        elif now - self._called_at > STALL_SECONDS:
            reason = f"has delivered nothing for {STALL_SECONDS} s"
        elif self._falls_behind(now):
            # After a stall some drivers keep what has piled up, and with it its delay, for good.
            reason = f"is more than {self._longest_ms:.0f} ms behind"
        if not reason:
            return ""

        self._close_stream()
        self._try_at = now + REOPEN_SECONDS
        names = f"{self.source} or {self.target}" if self.target is not None else f"{self.source}"
        return f"device {names} {reason}: opening it anew"

    def _falls_behind(self, now: float) -> bool:
        """Return whether the device's delay has been too long for too long."""
        if is_served(self.source, self.target):
            return False  # the stream itself keeps up
        if 1000 * float(self._ring.clocks[exchange.DEVICE_DELAY]) <= self._longest_ms:
            self._in_time_at = now
        if now - self._in_time_at <= self._patience_seconds:
            return False
        self._patience_seconds = min(2 * self._patience_seconds, LONGEST_BEHIND_SECONDS)
        return True

    def _try_again(self) -> str:
        self._try_at = time.monotonic() + REOPEN_SECONDS
        if not any(closer.is_alive() for closer, _ in self._abandoned):  # else PortAudio would wait for it
            portaudio.refresh()
        with suppress(DeviceError):
            if self._restore is not None:
                self._restore()
            devices = portaudio.list_devices()
            source = find(devices, self.source)
            target = None if self.target is None else find(devices, self.target)
            if source is not None and (target is None) == (self.target is None):
                self.source, self.target = source, target
                self._open()
                self._reopened += 1
                return f"device {self.source} is back"
        return ""

    def _counts(self) -> Counter[str]:
        """Return what was counted since the session began."""
        counts = Counter(self._past)
        if self._engine is not None:
            control = self._ring.control
            counts["xruns"] += sum(int(control[i]) for i in XRUNS)
            counts["late_blocks"] += int(control[exchange.LATE_BLOCKS])
            counts["late_frames"] += int(control[exchange.LATE_FRAMES])
            counts["frames"] += int(control[exchange.WRITTEN])
            counts["overloads"] += self._engine.overloads
        return counts

    def _device_ms(self) -> float | None:
        """Return the devices' delay as they reported it over the last LATENCY_SECONDS."""
        now = time.monotonic()
        total = float(self._ring.clocks[exchange.DEVICE_DELAY_SUM])
        count = int(self._ring.control[exchange.DEVICE_DELAY_COUNT])
        delays = self._device_delays
        while len(delays) > 1 and now - delays[0][0] > LATENCY_SECONDS:
            delays.popleft()
        _, before, count_before = delays[0] if delays else (now, 0.0, 0)
        delays.append((now, total, count))
        return 1000 * (total - before) / (count - count_before) if count > count_before else None

    def status(self) -> Status:
        """Return what happened since the last call and since the start."""
        now, cpu = time.monotonic(), time.process_time()
        elapsed = max(now - self._looked_at, 1e-3)
        load = 100 * (cpu - self._cpu) / elapsed
        self._looked_at, self._cpu = now, cpu

        # What only open devices have
        levels, fresh, device_ms, latency_ms, state = Levels(), Levels(), None, None, "waiting"
        denoiser_ms, buffer_ms = 1000 * self.denoiser.latency / SAMPLE_RATE, 0.0
        if self._engine is not None:
            fresh, self._engine.levels = self._engine.levels, Levels()
            levels = self._levels = fresh if fresh.frames else self._levels  # it looks no more often than some ask
            state = "resting" if self._engine.resting else "running"
            buffer_ms = 1000 * int(self._ring.control[exchange.DELAY]) / self.sample_rate - denoiser_ms
            device_ms = self._device_ms()
            latency_ms = None if device_ms is None else denoiser_ms + buffer_ms + device_ms

        counts = self._counts()
        noisy_db = decibels(levels.noisy_energy, levels.frames)
        reduction_db = self._reduction.update(fresh.noise_before, fresh.noise_after, elapsed)

        return Status(
            state=state,
            seconds=counts["frames"] / self.sample_rate,
            input_db=noisy_db,
            output_db=decibels(levels.heard_energy, levels.frames),
            input_peak_db=decibels(levels.noisy_peak**2, 1),
            output_peak_db=decibels(levels.heard_peak**2, 1),
            reduction_db=reduction_db,
            voicing=self.denoiser.voicing,
            speech=levels.speech / max(levels.frames, 1),
            gains=tuple(float(gain) for gain in self.denoiser.newest.gain),
            cpu_percent=load,
            latency_ms=latency_ms,
            denoiser_ms=denoiser_ms,
            buffer_ms=buffer_ms,
            device_ms=device_ms,
            xruns=counts["xruns"],
            late_blocks=counts["late_blocks"],
            passed_ms=1000 * counts["late_frames"] / self.sample_rate,
            overloads=counts["overloads"],
            reopened=self._reopened,
            bypass=self._bypass,
            attenuation_limit_db=self.denoiser.attenuation_limit_db,
            post_filter=self.denoiser.post_filter > 0,
            muted=self._muted,
            recording="",
        )
