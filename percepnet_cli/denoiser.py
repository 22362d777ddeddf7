"""Streams of samples through the signal path and the network, channel by channel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from percepnet_cli.audio.arrays import check_sample_rate, from_float, read_array, to_float
from percepnet_cli.audio.level import raised
from percepnet_cli.channel.networks import networks, usable_cpus
from percepnet_cli.channel.predictor import Predictor
from percepnet_cli.channel.stream import ChannelStream, Newest
from percepnet_cli.constants import HOP_SIZE, LATENCY_SAMPLES, SAMPLE_RATE
from percepnet_cli.dsp.link import link
from percepnet_cli.dsp.presets import choose
from percepnet_cli.network.modelfile import Model, load_file_model, load_model
from percepnet_cli.signal_path import MAX_HOPS, Analysis, Clock

THREADED_HOPS = 8
"""Fewer hops of several channels are done on one thread."""

FULL_BLOCK_CHANNELS = 16
"""Up to so many channels work in blocks of MAX_HOPS; more share the working space of these, in shorter blocks."""

LEAST_BLOCK_HOPS = 4
"""The shortest blocks, however many channels there are."""


class Denoiser:
    """Cleans a stream of samples at 48 kHz.

    Parameters
    ----------
    model : Model, str, Path or None
        What ``load_model`` returns, or what it takes.
    channels : int
        At least 1.
    post_filter : bool, float or None
        How far to push down what the network left in noisy bands: 1 or True is the envelope post-filter of [Valin
        2020], 0 or False none, a number between a milder one; None: as the model's file says. The attribute of this
        name, a number, may be set any time.
    attenuation_limit_db : float or None
        Take noise down by at most this, 0 or more; None: as far as it goes.
    linked : bool
        Give all channels the same gains, so that the stereo image stays; else each its own.
    threads : int or None
        Channels that are worked on at the same time, 1 or more; None: as many as there are CPUs to run on. The
        samples do not depend on it.
    predictor : callable or None
        Makes what takes the network's place, of the model, for each channel and each new stream; None: the network.
    observer : callable or None
        Called for each channel and block with the number of the channel, the ``Analysis`` of its windows and their
        gain and strength, float32 [hops, 34], as the network gave them. All are valid during the call only.

    clock : callable or None
        Called with the name of each stage when it is done (see ``signal_path.Clock``; the network is ``network``), to
        measure what each takes. With several channels it is called from several threads.

    Raises
    ------
    ModelError
        If the model cannot be read.
    ValueError
        If an argument is out of range.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        *,
        channels: int = 1,
        post_filter: float | None = None,
        attenuation_limit_db: float | None = None,
        linked: bool = True,
        threads: int | None = None,
        predictor: Callable[[Model], Predictor] | None = None,
        observer: Callable[[int, Analysis, np.ndarray, np.ndarray], object] | None = None,
        clock: Clock | None = None,
    ) -> None:
        for name, value in (("channels", channels), ("threads", threads)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, it must be at least 1")
        self.model = model if isinstance(model, Model) else load_model(None if model is None else os.fspath(model))
        self._max_hops = min(MAX_HOPS, max(LEAST_BLOCK_HOPS, MAX_HOPS * FULL_BLOCK_CHANNELS // channels))
        self._new_predictor = predictor or networks(self._max_hops)
        self._observer, self._clock = observer, clock
        self.channels = channels
        self.post_filter = self.model.post_filter if post_filter is None else post_filter
        self.attenuation_limit_db = attenuation_limit_db
        self._linked = linked and channels > 1
        workers = min(channels, threads or usable_cpus())
        self._pool = ThreadPoolExecutor(workers, "percepnet") if workers > 1 else None
        self._channels: list[ChannelStream] = []
        self.reset()

    def __repr__(self) -> str:
        named = (f"{name}={getattr(self, name)!r}" for name in ("channels", "post_filter", "attenuation_limit_db"))
        return f"Denoiser({self.model.name!r}, {', '.join(named)}, linked={self._linked!r})"

    @property
    def latency(self) -> int:
        """Samples by which the output is behind the input: 1440 = 30 ms, and what the model looks ahead beyond that."""
        return LATENCY_SAMPLES + self._channels[0].latency_hops * HOP_SIZE

    @property
    def post_filter(self) -> float:
        """Share of the post-filter, 0..1; a change takes effect with the next hop."""
        return self._post_filter

    @post_filter.setter
    def post_filter(self, share: float) -> None:
        """Set it; raises ValueError as the constructor does."""
        if not 0 <= share <= 1:
            raise ValueError(f"post_filter is {share}, it must be True, False or 0 to 1")
        self._post_filter = float(share)

    @property
    def attenuation_limit_db(self) -> float | None:
        """As given; a change takes effect with the next hop, faded in. ``dry``: the share of the input it leaves."""
        return self._attenuation_limit_db

    @attenuation_limit_db.setter
    def attenuation_limit_db(self, limit_db: float | None) -> None:
        """Set it; raises ValueError as the constructor does."""
        if limit_db is not None and not limit_db >= 0:
            raise ValueError(f"attenuation_limit_db is {limit_db}, it must be 0 or more")
        self._attenuation_limit_db = limit_db
        self.dry = 0.0 if limit_db is None else 10 ** (-limit_db / 20)

    @property
    def only_channel(self) -> ChannelStream | None:
        """The stream of the only channel until ``reset``; None if there are more, or more to do than one call of it."""
        first = self._channels[0]
        return first if self.channels == 1 and self._observer is None and first.is_one_call else None

    @property
    def newest(self) -> Newest:
        """What is known of the newest hop that was put out; the first channel's.

        Made when it is asked for: a thread that asks while another one works may get some of the next hop's.
        """
        return self._channels[0].newest()

    @property
    def speech_probability(self) -> float:
        """Probability of speech in the newest hop that was put out, 0..1; the channel where it is highest.

        A small network (``channel.speech``) listens from the first time on that this is asked.
        """
        return max(stream.speech_probability() for stream in self._channels)

    @property
    def voicing(self) -> float:
        """Pitch correlation of the newest hop that was put out, 0..1; the channel where it is highest."""
        return max(stream.newest().correlation for stream in self._channels)

    def reset(self) -> None:
        """Forget the stream: what follows is treated as a new one."""
        for number in range(self.channels):  # one takes the place of another: all of both would be twice the memory
            channel = ChannelStream(self._new_predictor(self.model), self._clock, self._max_hops)
            self._channels[number : number + 1] = [channel]
        self._pending = np.zeros((0, self.channels), np.float32)
        self._flat = self.channels == 1

    def process(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples and return what is ready.

        Parameters
        ----------
        samples : ndarray
            float32 [n] (one channel) or [n, channels], any n; NaN and infinity count as 0.

        Returns
        -------
        ndarray
            float32 [m, channels] ([m] if the input had one axis), m a multiple of 480: the input delayed by
            ``latency``. What does not fill a hop waits for the next call.

        Raises
        ------
        ValueError
            If the number of channels is wrong.
        TypeError
            If it is an array of anything but floats.
        """
        given = np.asarray(samples)
        if given.dtype.kind != "f" and (given.dtype.kind != "i" or hasattr(samples, "dtype")):
            raise TypeError(f"a stream takes float samples with full scale +-1, not {given.dtype}; denoise() scales")
        self._flat = given.ndim == 1
        array = (given[:, None] if self._flat else given).astype(np.float32, copy=False)
        self._check_channels(array, given.shape)
        if len(self._pending):
            array = np.concatenate((self._pending, array))

        # Whole hops now, as many at once as the stages have room for; the rest with the next call
        hops = len(array) // HOP_SIZE
        out = np.empty((hops * HOP_SIZE, self.channels), np.float32)
        for start in range(0, hops, self._max_hops):
            part = slice(start * HOP_SIZE, min(start + self._max_hops, hops) * HOP_SIZE)
            self._process_hops(array[part], out[part])
        self._pending = array[hops * HOP_SIZE :].copy()

        return out[:, 0] if self._flat else out

    def flush(self) -> np.ndarray:
        """End the stream and return the rest, shaped as ``process`` does.

        All output together is then ``latency`` samples longer than the input.
        """
        flat, waiting, latency = self._flat, len(self._pending), self.latency

        # What the signal path holds back comes out with zeros, what the network holds back when it knows the end
        padded = -(-(waiting + LATENCY_SAMPLES) // HOP_SIZE) * HOP_SIZE
        tail = self.process(np.zeros((padded - waiting, self.channels), np.float32))
        tail = np.concatenate((tail, self._finish()))[: waiting + latency]
        self.reset()
        return tail[:, 0] if flat else tail

    def denoise(self, samples: Any, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
        """Clean a whole recording; a stream that has begun is forgotten.

        Parameters
        ----------
        samples : array_like
            [n] or [n, channels]: floats with full scale +-1 (NaN and infinity count as 0), or int16, int32, int8 or
            uint8; a NumPy array, a tensor of torch on the CPU, a list.
        sample_rate : int
            Hz, 8000 to 192000. Other rates than 48000 are resampled, there and back.

        Returns
        -------
        ndarray
            The same shape, without the delay. Integers come back in their type, rounded and clipped; else float32.

        Raises
        ------
        ValueError
            If the shape, the rate or the scale of floats is not that of sound.
        TypeError
            If the samples are complex numbers, text, or integers without a full scale.

        Examples
        --------
        >>> Denoiser(channels=2).denoise(np.zeros((1600, 2), np.int16), 16000).dtype
        dtype('int16')
        """
        rate, array = check_sample_rate(sample_rate), read_array(samples)
        found = array[:, None] if array.ndim == 1 else array
        self._check_channels(found, array.shape)
        self.reset()

        # What is much too soft for the network is raised, and lowered again at the end, as files are
        samples, gain = raised(np.ascontiguousarray(to_float(found)), rate)
        if rate == SAMPLE_RATE:
            cleaned = self._denoise_whole(samples)
        else:
            from percepnet_cli.audio.resample import Resampler

            # As files are; both conversions round the length up, so samples can only be too many
            upward, downward = (
                Resampler(*rates, self.channels) for rates in ((rate, SAMPLE_RATE), (SAMPLE_RATE, rate))
            )
            cleaned = self._denoise_whole(np.concatenate((upward.process(samples), upward.flush())))
            cleaned = np.concatenate((downward.process(cleaned), downward.flush()))[: len(found)]
        return from_float(cleaned if gain == 1 else cleaned / np.float32(gain), array.dtype).reshape(array.shape)

    def _denoise_whole(self, samples: np.ndarray) -> np.ndarray:
        """Run float32 [n, channels] at 48 kHz through a fresh stream; return as many, without the delay."""
        return np.concatenate((self.process(samples), self.flush()))[self.latency :]

    def _check_channels(self, array: np.ndarray, shape: tuple[int, ...]) -> None:
        """Raise ValueError unless an array is [n, channels]. shape: what the user gave."""
        if array.ndim != 2 or array.shape[1] != self.channels:
            turned = len(shape) == 2 and shape[0] == self.channels
            hint = ": transpose them, samples.T" if turned else ""
            raise ValueError(f"samples have shape {shape}, expected [n, {self.channels}]{hint}")

    def _each(self, hops: int) -> Callable[..., Iterable[Any]]:
        """Return ``map``, or the like that works on threads."""
        # The kernels run without the lock of the interpreter; for a few hops a thread costs more than it brings
        return self._pool.map if self._pool is not None and hops >= THREADED_HOPS else map

    def _process_hops(self, samples: np.ndarray, out: np.ndarray) -> None:
        """Run up to ``_max_hops`` whole hops. samples, out: float32 [hops * 480, channels]."""
        channels, each = range(self.channels), self._each(len(samples) // HOP_SIZE)

        # Channels that need nothing of each other, and nobody who looks on: all in one compiled call
        if not self._linked and self._observer is None and self._channels[0].is_one_call:

            def process(channel: int) -> None:
                out[:, channel] = self._channels[channel].process(samples[:, channel], self.post_filter, self.dry)

            list(each(process, channels))
            return

        def analyze(channel: int) -> tuple[Analysis, np.ndarray, np.ndarray]:
            return self._channels[channel].analyze(samples[:, channel])

        self._render(list(each(analyze, channels)), out)

    def _finish(self) -> np.ndarray:
        """Return what waits for the end of the stream, float32 [n, channels]; nothing if the network is causal."""
        hops = self._channels[0].latency_hops

        out = np.empty((hops * HOP_SIZE, self.channels), np.float32)
        if hops:
            ends = list(self._each(hops)(ChannelStream.end, self._channels))

            # More than the stages have room for, so in turns
            for start in range(0, hops, self._max_hops):
                rows = slice(start, min(start + self._max_hops, hops))
                parts = [
                    (Analysis(*(x[rows] for x in waited)), gain[rows], strength[rows])
                    for waited, gain, strength in ends
                ]
                self._render(parts, out[rows.start * HOP_SIZE : rows.stop * HOP_SIZE])
        return out

    def _render(self, analyzed: list[tuple[Analysis, np.ndarray, np.ndarray]], out: np.ndarray) -> None:
        """Turn what is known of each channel, and its gain and strength, into samples.

        out: float32 [hops * 480, channels], written, up to ``_max_hops`` hops.
        """
        channels, each = range(self.channels), self._each(len(out) // HOP_SIZE)

        # What the network gave each channel, before they are linked
        if self._observer is not None:
            for channel in channels:
                self._observer(channel, *analyzed[channel])
        for stream, found in zip(self._channels, analyzed, strict=True):
            stream.keep(*found)

        # Link of channels: one gain and strength for all, and the post-filter weighs bands by their energy in all
        energies = [analysis.E for analysis, _, _ in analyzed]
        if self._linked:
            gain, strength = (np.stack([one[part] for one in analyzed]) for part in (1, 2))
            linked = link(np.stack(energies), gain, strength)
            energies = [np.sum(energies, axis=0)] * self.channels
            analyzed = [(analysis, *linked) for analysis, _, _ in analyzed]

        # Post-filter, mix, synthesis
        def render(channel: int) -> None:
            found = (*analyzed[channel], energies[channel])
            out[:, channel] = self._channels[channel].render(*found, self.post_filter, self.dry)

        list(each(render, channels))


def denoise(
    samples: Any,
    sample_rate: int,
    *,
    model: Model | str | os.PathLike[str] | None = None,
    post_filter: float | None = None,
    attenuation_limit_db: float | None = None,
    amount: float | None = None,
    preset: str | None = None,
    linked: bool = True,
    threads: int | None = None,
) -> np.ndarray:
    """Clean a whole recording in one call; for many, make one ``Denoiser`` and call its ``denoise``.

    Parameters
    ----------
    samples : array_like
        [n] or [n, channels], as ``Denoiser.denoise`` takes them.
    sample_rate : int
        Hz, 8000 to 192000.
    model, post_filter, attenuation_limit_db, linked, threads
        See ``Denoiser``; the default model is that of files.
    amount, preset
        See ``denoise_file``.

    Returns
    -------
    ndarray
        The same shape, rate and alignment; integers in their type, else float32.

    Raises
    ------
    ModelError
        If the model cannot be read.
    ValueError, TypeError
        As ``Denoiser`` and ``Denoiser.denoise`` raise them; if an amount is not 0 to 100, or a preset is unknown.

    Examples
    --------
    >>> from percepnet_cli import denoise
    >>> clean = denoise(np.zeros(800, np.int16), 16000, attenuation_limit_db=12)
    >>> clean.dtype, clean.shape
    (dtype('int16'), (800,))
    """
    check_sample_rate(sample_rate)
    array = read_array(samples)
    denoiser = Denoiser(
        load_file_model(model),
        channels=array.shape[1] if array.ndim == 2 else 1,
        **choose(preset, amount, attenuation_limit_db, post_filter),
        linked=linked,
        threads=threads,
    )
    return denoiser.denoise(array, sample_rate)
