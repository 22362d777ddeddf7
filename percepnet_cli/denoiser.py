"""The signal path: the only place where the order of the stages is written.

``Analyzer`` turns hops into everything that can be seen of them; training targets use
it as it is. ``Denoiser`` adds the network and the way back to samples. Both take any
number of hops at a time, and the result never depends on how a stream was cut.
"""

from __future__ import annotations

import os
from typing import NamedTuple, Protocol

import numpy as np

from percepnet_cli.constants import (
    COMB_PERIODS,
    HOP_SIZE,
    LATENCY_SAMPLES,
    LOOKAHEAD_HOPS,
    NUM_BANDS,
    NUM_BINS,
    NUM_FEATURES,
    PERIOD_MAX,
    SILENCE_ENERGY,
    WINDOW_SIZE,
)
from percepnet_cli.dsp import bands, comb, features, gains, highpass, pitch, stft
from percepnet_cli.dsp.memory import keep_last
from percepnet_cli.network.modelfile import Model, load_model
from percepnet_cli.network.percepnet import State, Weights

MAX_HOPS = 64
"""Hops that are processed at once; longer input is taken in turns. Large enough that a weight read from
memory serves many hops, small enough that a block's spectra stay in cache."""

HISTORY = (LOOKAHEAD_HOPS + 1) * HOP_SIZE + COMB_PERIODS * PERIOD_MAX
"""Samples kept before a new hop: the window lies 3 hops behind it, the comb 5 periods behind that."""


class Analysis(NamedTuple):
    """What is known of the windows that lie LOOKAHEAD_HOPS behind the newest hops.

    All are views into the analyzer's memory, valid until its next call.
    """

    Y: np.ndarray
    """Spectrum, complex64 [hops, 481]."""
    P: np.ndarray
    """Spectrum of the comb-filtered window, complex64 [hops, 481]."""
    E: np.ndarray
    """Band energies of Y, float32 [hops, 34]."""
    Ep: np.ndarray
    """Band energies of P, float32 [hops, 34]."""
    coherence: np.ndarray
    """q between Y and P per band, float32 [hops, 34], 0..1."""
    period: np.ndarray
    """Pitch period, int32 [hops], 96..768 samples."""
    correlation: np.ndarray
    """Normalised correlation at that period, float32 [hops], 0..1."""
    noise_gain: np.ndarray
    """Energy gain of the comb for white noise, float32 [hops], 0.125..1."""
    features: np.ndarray
    """Input of the network, float32 [hops, 70]."""


class Analyzer:
    """Everything before the network, for one channel."""

    def __init__(self, max_hops: int = MAX_HOPS) -> None:
        self.max_hops = max_hops
        self._highpass = highpass.new_state()
        self._signal = np.zeros(HISTORY + max_hops * HOP_SIZE, np.float32)
        self._filtered = np.zeros((max_hops, HOP_SIZE), np.float32)
        self._windows = np.zeros((max_hops, WINDOW_SIZE), np.float32)
        self._Y = np.zeros((LOOKAHEAD_HOPS + max_hops, NUM_BINS), np.complex64)
        self._P = np.zeros((max_hops, NUM_BINS), np.complex64)
        self._E = np.zeros((LOOKAHEAD_HOPS + max_hops, NUM_BANDS), np.float32)
        self._Ep = np.zeros((max_hops, NUM_BANDS), np.float32)
        self._C = np.zeros((max_hops, NUM_BANDS), np.float32)
        self._coherence = np.zeros((max_hops, NUM_BANDS), np.float32)
        self._period = np.zeros(max_hops, np.int32)
        self._correlation = np.zeros(max_hops, np.float32)
        self._noise_gain = np.zeros(max_hops, np.float32)
        self._features = np.zeros((max_hops, NUM_FEATURES), np.float32)
        self._pitch = pitch.Tracker(max_hops)
        self._past_hops = 0

    def analyze(self, samples: np.ndarray, period: np.ndarray | None = None) -> Analysis:
        """Take new hops and describe the windows LOOKAHEAD_HOPS behind them.

        samples: float32 [hops, 480], 1..max_hops hops, C-contiguous. period: int32 [hops], to filter by a
        given period instead of the tracked one (experiments only).
        """
        hops = len(samples)
        self._past_hops, past = hops, self._past_hops
        keep_last(self._Y, LOOKAHEAD_HOPS, past)
        keep_last(self._E, LOOKAHEAD_HOPS, past)
        keep_last(self._signal, HISTORY, past * HOP_SIZE)

        new = slice(HISTORY, HISTORY + hops * HOP_SIZE)
        highpass.filter_hops(samples, self._highpass, self._filtered[:hops])
        self._signal[new] = self._filtered[:hops].ravel()

        windows = self._windows[:hops]
        newest = slice(LOOKAHEAD_HOPS, LOOKAHEAD_HOPS + hops)
        stft.window_hops(self._signal, HISTORY - HOP_SIZE, stft.WINDOW, windows)
        stft.transform(windows, self._Y[newest])
        bands.energy(self._Y[newest], self._E[newest])

        self._pitch.track(self._signal, HISTORY, hops, self._period[:hops], self._correlation[:hops])
        if period is not None:
            self._period[:hops] = period
        comb.filter_hops(
            self._signal,
            HISTORY - LATENCY_SAMPLES,
            self._period[:hops],
            comb.TAPS,
            stft.WINDOW,
            windows,
            self._noise_gain[:hops],
        )
        P = self._P[:hops]
        stft.transform(windows, P)

        Y, E = self._Y[:hops], self._E[:hops]
        bands.energy(P, self._Ep[:hops])
        bands.cross(Y, P, self._C[:hops])
        bands.coherence(self._C[:hops], E, self._Ep[:hops], self._coherence[:hops])
        features.pack(
            self._E[newest],
            self._coherence[:hops],
            self._period[:hops],
            self._correlation[:hops],
            self._features[:hops],
        )
        return Analysis(
            Y,
            P,
            E,
            self._Ep[:hops],
            self._coherence[:hops],
            self._period[:hops],
            self._correlation[:hops],
            self._noise_gain[:hops],
            self._features[:hops],
        )


class Synthesizer:
    """Everything after the network, for one channel."""

    def __init__(self, max_hops: int = MAX_HOPS) -> None:
        self._renderer = gains.Renderer()
        self._spectra = np.zeros((max_hops, NUM_BINS), np.complex64)
        self._windows = np.zeros((max_hops, WINDOW_SIZE), np.float32)
        self._overlap = np.zeros(HOP_SIZE, np.float32)

    def synthesize(
        self, analysis: Analysis, gain: np.ndarray, strength: np.ndarray, dry: float, out: np.ndarray
    ) -> None:
        """Turn gains and strengths into samples.

        analysis: of this channel; gain: float32 [hops, 34], after the post-filter; strength: float32 [hops, 34],
        0..1; dry: share of the input left in, 0..1. out: float32 [hops, 480], written: LATENCY_SAMPLES
        behind the hops that were analyzed.
        """
        hops = len(gain)
        spectra = self._spectra[:hops]
        self._renderer.render(analysis.Y, analysis.P, analysis.E, analysis.noise_gain, gain, strength, dry, spectra)
        stft.synthesize(spectra, self._overlap, self._windows[:hops], out)


class Predictor(Protocol):
    """Something that turns features into gains and strengths: ``network.percepnet.State``, or its float twin."""

    def run(self, features: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> None:
        """Read features, float32 [hops, 70]; write gain and strength, float32 [hops, 34], 0..1."""


class Denoiser:
    """Cleans a stream of samples at 48 kHz.

    Parameters
    ----------
    model : Model, str, Path or None
        What ``load_model`` returns, or what it takes.
    channels : int
        At least 1.
    post_filter : bool
        Whether to push down what the network left in noisy bands (paper's envelope post-filter).
    attenuation_limit_db : float or None
        Take noise down by at most this, 0 or more; None: as far as it goes.
    linked : bool
        Give all channels the same gains, so that the stereo image stays; else each its own.

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
        post_filter: bool = True,
        attenuation_limit_db: float | None = None,
        linked: bool = True,
    ) -> None:
        if channels < 1:
            raise ValueError(f"channels is {channels}, it must be at least 1")
        if attenuation_limit_db is not None and not attenuation_limit_db >= 0:
            raise ValueError(f"attenuation_limit_db is {attenuation_limit_db}, it must be 0 or more")
        self.model = model if isinstance(model, Model) else load_model(None if model is None else os.fspath(model))
        self._weights: Weights | None = None
        self.channels = channels
        self._post_filter = post_filter
        self._dry = 0.0 if attenuation_limit_db is None else 10 ** (-attenuation_limit_db / 20)
        self._linked = linked and channels > 1
        self.reset()

    @property
    def latency(self) -> int:
        """Samples by which the output is behind the input: 1440 = 30 ms."""
        return LATENCY_SAMPLES

    def _predictor(self) -> Predictor:
        if self._weights is None:
            self._weights = Weights(self.model)
        return State(self._weights, MAX_HOPS)

    def reset(self) -> None:
        """Forget the stream: what follows is treated as a new one."""
        self._analyzers = [Analyzer() for _ in range(self.channels)]
        self._networks = [self._predictor() for _ in range(self.channels)]
        self._synthesizers = [Synthesizer() for _ in range(self.channels)]
        shape = (self.channels, MAX_HOPS, NUM_BANDS)
        self._gain = np.zeros(shape, np.float32)
        self._strength = np.zeros(shape, np.float32)
        self._wanted = np.zeros(shape, np.float32)
        self._hops = np.zeros((MAX_HOPS, HOP_SIZE), np.float32)
        self._out = np.zeros((MAX_HOPS, HOP_SIZE), np.float32)
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
        """
        array = np.asarray(samples, np.float32)
        self._flat = array.ndim == 1
        if self._flat:
            array = array[:, None]
        if array.ndim != 2 or array.shape[1] != self.channels:
            raise ValueError(f"samples have shape {np.shape(samples)}, expected [n, {self.channels}]")
        if len(self._pending):
            array = np.concatenate((self._pending, array))
        hops = len(array) // HOP_SIZE
        out = np.empty((hops * HOP_SIZE, self.channels), np.float32)
        for start in range(0, hops, MAX_HOPS):
            part = slice(start * HOP_SIZE, min(start + MAX_HOPS, hops) * HOP_SIZE)
            self._process_hops(array[part], out[part])
        self._pending = array[hops * HOP_SIZE :].copy()
        return out[:, 0] if self._flat else out

    def flush(self) -> np.ndarray:
        """End the stream and return the rest, shaped as ``process`` does.

        All output together is then ``latency`` samples longer than the input.
        """
        waiting = len(self._pending)
        total = waiting + LATENCY_SAMPLES
        padded = -(-total // HOP_SIZE) * HOP_SIZE
        shape = (padded - waiting,) if self._flat else (padded - waiting, self.channels)
        tail = self.process(np.zeros(shape, np.float32))[:total]
        self.reset()
        return tail

    def _process_hops(self, samples: np.ndarray, out: np.ndarray) -> None:
        """Run up to MAX_HOPS whole hops. samples, out: float32 [hops * 480, channels]."""
        hops = len(samples) // HOP_SIZE
        analyses = []
        for channel in range(self.channels):
            self._hops[:hops] = samples[:, channel].reshape(hops, HOP_SIZE)
            analysis = self._analyzers[channel].analyze(self._hops[:hops])
            self._networks[channel].run(analysis.features, self._gain[channel, :hops], self._strength[channel, :hops])
            analyses.append(analysis)
        gain, strength = self._gain[:, :hops], self._strength[:, :hops]
        energies = [analysis.E for analysis in analyses]
        if self._linked:
            gain[:], strength[:] = link(np.stack(energies), gain, strength)
            energies = [np.sum(energies, axis=0)] * self.channels
        for channel, analysis in enumerate(analyses):
            wanted = gain[channel]
            if self._post_filter:
                wanted = self._wanted[channel, :hops]
                gains.postfilter_hops(gain[channel], energies[channel], wanted)
            self._synthesizers[channel].synthesize(analysis, wanted, strength[channel], self._dry, self._out[:hops])
            out[:, channel] = self._out[:hops].ravel()


def link(E: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find one gain and strength for all channels.

    The gain keeps the energy that the channels' own gains would have kept in all: the root of the mean of g^2
    weighted by band energies; the strength is the mean weighted likewise.
    E, gain, strength: float32 [channels, hops, 34]. Returns two arrays float32 [hops, 34].
    """
    weight = E + np.float32(SILENCE_ENERGY)
    weight /= weight.sum(axis=0)
    return np.sqrt((weight * gain * gain).sum(axis=0)), (weight * strength).sum(axis=0)
