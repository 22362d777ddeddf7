"""The signal path of one channel but for the network: the only place where the order of the stages is written.

``Analyzer`` turns hops into everything that can be seen of them; training targets use it as it is.
``Synthesizer`` is the way back to samples. Both take any number of hops at a time, and the result never
depends on how a stream was cut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from percepnet_cli.compute.delay_line import DelayLine
from percepnet_cli.constants import (
    COMB_PERIODS,
    HOP_SIZE,
    LATENCY_SAMPLES,
    LOOKAHEAD_HOPS,
    NUM_BANDS,
    NUM_BINS,
    NUM_FEATURES,
    PERIOD_MAX,
    WINDOW_SIZE,
)
from percepnet_cli.dsp import bands, comb, features, gains, highpass, pitch, stft

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
        self._signal = DelayLine(HISTORY, max_hops * HOP_SIZE)
        self._windows = np.zeros((max_hops, WINDOW_SIZE), np.float32)
        self._Y = DelayLine(LOOKAHEAD_HOPS, max_hops, (NUM_BINS,), np.complex64)
        self._P = np.zeros((max_hops, NUM_BINS), np.complex64)
        self._E = DelayLine(LOOKAHEAD_HOPS, max_hops, (NUM_BANDS,))
        self._Ep = np.zeros((max_hops, NUM_BANDS), np.float32)
        self._C = np.zeros((max_hops, NUM_BANDS), np.float32)
        self._coherence = np.zeros((max_hops, NUM_BANDS), np.float32)
        self._period = np.zeros(max_hops, np.int32)
        self._correlation = np.zeros(max_hops, np.float32)
        self._noise_gain = np.zeros(max_hops, np.float32)
        self._features = np.zeros((max_hops, NUM_FEATURES), np.float32)
        self._pitch = pitch.Tracker(max_hops)

    def analyze(self, samples: np.ndarray, period: np.ndarray | None = None) -> Analysis:
        """Take new hops and describe the windows LOOKAHEAD_HOPS behind them.

        samples: float32 [hops, 480], 1..max_hops hops, C-contiguous. period: int32 [hops], to filter by a
        given period instead of the tracked one (experiments only).
        """
        hops = len(samples)
        signal = self._signal.extend(hops * HOP_SIZE)
        highpass.filter_hops(samples, self._highpass, signal[HISTORY:].reshape(hops, HOP_SIZE))

        windows = self._windows[:hops]
        Y, E = self._Y.extend(hops), self._E.extend(hops)
        newest = slice(LOOKAHEAD_HOPS, None)
        stft.window_hops(signal, HISTORY - HOP_SIZE, stft.WINDOW, windows)
        stft.transform(windows, Y[newest])
        bands.energy(Y[newest], E[newest])

        self._pitch.track(signal, HISTORY, hops, self._period[:hops], self._correlation[:hops])
        if period is not None:
            self._period[:hops] = period
        comb.filter_hops(
            signal,
            HISTORY - LATENCY_SAMPLES,
            self._period[:hops],
            comb.TAPS,
            stft.WINDOW,
            windows,
            self._noise_gain[:hops],
        )
        P = self._P[:hops]
        stft.transform(windows, P)

        newest_E, Y, E = E[newest], Y[:hops], E[:hops]
        bands.energy(P, self._Ep[:hops])
        bands.cross(Y, P, self._C[:hops])
        bands.coherence(self._C[:hops], E, self._Ep[:hops], self._coherence[:hops])
        features.pack(
            newest_E,
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
