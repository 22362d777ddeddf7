"""The signal path: all stages and their order. This is the only place where the order is written.

::

    samples [hops, 480] at 48 kHz
      |  high-pass              dsp.highpass                constant out, NaN out
      |  windows, transform     dsp.stft                    Y [hops, 481]
      |  band energies          dsp.bands                   E [hops, 34]
      |  pitch                  dsp.whitening, dsp.pitch    period, correlation
      |  comb filter            dsp.comb, dsp.stft          P [hops, 481], band coherence q [hops, 34]
      |  features               dsp.features                [hops, 70]
      v
    network                     network                     gain g, strength r [hops, 34]
      |  link of channels       dsp.link                    one g and r for all, if ``Denoiser`` has several
      |  post-filter            dsp.gains                   g sharpened
      |  mix, scale             dsp.gains                   (1 - r) Y + r P, each band to g Y, some input left in
      |  synthesis              dsp.stft                    samples, 1440 behind
      v

``Analyzer`` is all before the network, ``Synthesizer`` all after it, for one channel. Both take any number of hops at
a time; the result never depends on how a stream was cut. ``analyze_signal`` and ``synthesize_signal`` do a whole
recording. The denoiser, training targets, the oracle and the plots all use these.

When a hop has come in, the newest window ends with it. Its band energies are features at once; all else is done for
the window LOOKAHEAD_HOPS (2) before it, of which comb and pitch tracker then know the future. Overlap-add completes
the first half of that window: together 3 hops = 1440 samples of delay. docs/how.md has the formula of each box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

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


Clock = Callable[[str], object]
"""Called with the name of a stage whenever one is done, and with ``rest`` before the first one, to measure
what each takes. A path that has none is not slower for it."""


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
    """Normalized correlation at that period, float32 [hops], 0..1."""
    noise_gain: np.ndarray
    """Energy gain of the comb for white noise, float32 [hops], 0.125..1."""
    features: np.ndarray
    """Input of the network, float32 [hops, 70]."""


class Analyzer:
    """Everything before the network, for one channel: the memories of the stages, and room for their results.

    max_hops: the most that one call may bring. clock: see ``Clock``.
    """

    def __init__(self, max_hops: int = MAX_HOPS, clock: Clock | None = None) -> None:
        self.max_hops = max_hops
        self._clock = clock

        # What a stage keeps for the next call. Spectra and band energies wait for their look-ahead
        self._highpass = highpass.new_state()
        self._signal = DelayLine(HISTORY, max_hops * HOP_SIZE)
        self._Y = DelayLine(LOOKAHEAD_HOPS, max_hops, (NUM_BINS,), np.complex64)
        self._E = DelayLine(LOOKAHEAD_HOPS, max_hops, (NUM_BANDS,))
        self._pitch = pitch.Tracker(max_hops)

        # Results, and two that are used on the way: windows, and cross terms of Y and P per band
        self._windows = np.zeros((max_hops, WINDOW_SIZE), np.float32)
        self._C = np.zeros((max_hops, NUM_BANDS), np.float32)
        self._P = np.zeros((max_hops, NUM_BINS), np.complex64)
        self._Ep = np.zeros((max_hops, NUM_BANDS), np.float32)
        self._coherence = np.zeros((max_hops, NUM_BANDS), np.float32)
        self._period = np.zeros(max_hops, np.int32)
        self._correlation = np.zeros(max_hops, np.float32)
        self._noise_gain = np.zeros(max_hops, np.float32)
        self._features = np.zeros((max_hops, NUM_FEATURES), np.float32)

    def analyze(self, samples: np.ndarray, period: np.ndarray | None = None) -> Analysis:
        """Take new hops and describe the windows LOOKAHEAD_HOPS behind them.

        samples: float32 [hops, 480], 1..max_hops hops, C-contiguous. period: int32 [hops], to filter by a
        given period instead of the tracked one (experiments only).
        """
        hops, done = len(samples), self._clock
        newest = slice(LOOKAHEAD_HOPS, None)
        done and done("rest")

        # High-pass: what all later stages see
        signal = self._signal.extend(hops * HOP_SIZE)
        highpass.filter_hops(samples, self._highpass, signal[HISTORY:].reshape(hops, HOP_SIZE))
        done and done("high-pass")

        # Windows, transform, band energies of the newest hops
        windows = self._windows[:hops]
        Y, E = self._Y.extend(hops), self._E.extend(hops)
        stft.window_hops(signal, HISTORY - HOP_SIZE, stft.WINDOW, windows)
        done and done("window")
        stft.transform(windows, Y[newest])
        done and done("transform")
        bands.energy(Y[newest], E[newest])
        done and done("bands")

        # Pitch: the path is followed back, so it describes the windows LOOKAHEAD_HOPS behind
        self._pitch.track(signal, HISTORY, hops, self._period[:hops], self._correlation[:hops])
        if period is not None:
            self._period[:hops] = period
        done and done("pitch")

        # Comb filter on the windows LOOKAHEAD_HOPS behind, whose future is known by now
        P = self._P[:hops]
        comb.filter_hops(
            signal,
            HISTORY - LATENCY_SAMPLES,
            self._period[:hops],
            comb.TAPS,
            stft.WINDOW,
            windows,
            self._noise_gain[:hops],
        )
        done and done("comb")
        stft.transform(windows, P)
        done and done("transform")

        # How periodic each band is: its coherence with its comb-filtered copy
        newest_E, Y, E = E[newest], Y[:hops], E[:hops]
        bands.energy(P, self._Ep[:hops])
        bands.cross(Y, P, self._C[:hops])
        bands.coherence(self._C[:hops], E, self._Ep[:hops], self._coherence[:hops])
        done and done("bands")

        # Features: energies of the newest windows, pitch and coherence of those behind
        features.pack(
            newest_E,
            self._coherence[:hops],
            self._period[:hops],
            self._correlation[:hops],
            self._features[:hops],
        )
        done and done("features")

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
    """Everything after the network, for one channel: room for results, and half a window that waits for the next.

    max_hops: the most that one call may bring. clock: see ``Clock``.
    """

    def __init__(self, max_hops: int = MAX_HOPS, clock: Clock | None = None) -> None:
        self._clock = clock
        self._renderer = gains.Renderer()
        self._sharpened = np.zeros((max_hops, NUM_BANDS), np.float32)
        self._spectra = np.zeros((max_hops, NUM_BINS), np.complex64)
        self._windows = np.zeros((max_hops, WINDOW_SIZE), np.float32)
        self._overlap = np.zeros(HOP_SIZE, np.float32)

    def synthesize(
        self,
        analysis: Analysis,
        gain: np.ndarray,
        strength: np.ndarray,
        dry: float,
        out: np.ndarray,
        post_filter_energy: np.ndarray | None = None,
    ) -> None:
        """Turn gains and strengths into samples.

        analysis: of this channel; gain, strength: float32 [hops, 34], 0..1; dry: share of the input left in, 0..1;
        out: float32 [hops, 480], written: LATENCY_SAMPLES behind the hops that were analyzed; post_filter_energy:
        float32 [hops, 34], the band energies by which the post-filter weighs, of all linked channels together; None is
        without post-filter.
        """
        hops, done = len(gain), self._clock
        done and done("rest")

        # Post-filter: bands that are mostly noise go further down
        if post_filter_energy is not None:
            gains.postfilter_hops(gain, post_filter_energy, self._sharpened[:hops])
            gain = self._sharpened[:hops]
        done and done("post-filter")

        # Mix with the comb-filtered copy, scale the bands
        spectra = self._spectra[:hops]
        self._renderer.render(analysis.Y, analysis.P, analysis.E, analysis.noise_gain, gain, strength, dry, spectra)
        done and done("mix and scale")

        # Inverse transform, window, overlap-add
        stft.synthesize(spectra, self._overlap, self._windows[:hops], out)
        done and done("synthesis")


def analyze_blocks(samples: np.ndarray) -> Iterator[Analysis]:
    """Yield the analyses of a whole recording, a block at a time, each valid until the next is asked for.

    samples: float32 [n] at 48 kHz. The recording is continued with zeros until its last sample has left the path, so
    the blocks have ceil(n / 480) + 3 rows in all; the first LOOKAHEAD_HOPS are windows before its start.
    """
    padded = np.zeros((-(-len(samples) // HOP_SIZE) + LATENCY_SAMPLES // HOP_SIZE, HOP_SIZE), np.float32)
    padded.reshape(-1)[: len(samples)] = samples
    analyzer = Analyzer()
    for start in range(0, len(padded), MAX_HOPS):
        yield analyzer.analyze(padded[start : start + MAX_HOPS])


def analyze_signal(samples: np.ndarray) -> Analysis:
    """Analyze a whole recording, float32 [n] at 48 kHz.

    Returns arrays of their own with ceil(n / 480) + 1 rows; row l is the window whose middle is sample 480 l. A second
    of audio takes 0.8 MB; ``analyze_blocks`` is for long recordings.
    """
    blocks = [[part.copy() for part in analysis] for analysis in analyze_blocks(samples)]
    return Analysis(*(np.concatenate(parts)[LOOKAHEAD_HOPS:] for parts in zip(*blocks, strict=True)))


def synthesize_signal(
    analysis: Analysis, gain: np.ndarray, strength: np.ndarray, dry: float = 0.0, post_filter: bool = False
) -> np.ndarray:
    """Return the recording that ``analyze_signal`` analyzed with gains and strengths put in, float32 [hops * 480].

    gain, strength: float32 [hops + 1, 34], one row per window of the analysis; dry: share of the input left in, 0..1.
    Without the delay; as long as the recording in whole hops.
    """
    synthesizer = Synthesizer()
    out = np.zeros((len(gain), HOP_SIZE), np.float32)
    for start in range(0, len(gain), MAX_HOPS):
        rows = slice(start, start + MAX_HOPS)
        part = Analysis(*(array[rows] for array in analysis))
        energy = part.E if post_filter else None
        synthesizer.synthesize(part, gain[rows], strength[rows], dry, out[rows], energy)
    return out[1:].reshape(-1)  # window 0 completes the hop before the recording


class Predictor(Protocol):
    """Something that turns features into gains and strengths: the network, or its float twin."""

    @property
    def latency_hops(self) -> int:
        """Hops by which gains and strengths are behind the features."""

    def run(self, features: np.ndarray, gain: np.ndarray, strength: np.ndarray) -> None:
        """Read features, float32 [hops, 70]; write gain and strength, float32 [hops, 34], 0..1.

        Those of the hops ``latency_hops`` back, and anything for hops before the first.
        """

    def end(self, gain: np.ndarray, strength: np.ndarray) -> None:
        """Write gain and strength of the stream's last hops, float32 [latency_hops, 34]; not called if those are 0."""


class AnalysisDelay:
    """Keeps analyses until a network that looks ahead has their gains, in memory that does not grow."""

    def __init__(self, hops: int, max_hops: int = MAX_HOPS) -> None:
        self._hops, self._max_hops = hops, max_hops
        self._lines: list[DelayLine] = []

    def exchange(self, analysis: Analysis) -> Analysis:
        """Take the next windows and return as many, those of ``hops`` before; zeros before the first."""
        if not self._lines:
            self._lines = [DelayLine(self._hops, self._max_hops, part.shape[1:], part.dtype.type) for part in analysis]
        delayed = []
        for line, part in zip(self._lines, analysis, strict=True):
            rows = line.extend(len(part))
            rows[self._hops :] = part
            delayed.append(rows[: len(part)])
        return Analysis(*delayed)

    def rest(self) -> Analysis:
        """Return the last ``hops`` windows, which have not come back yet."""
        return Analysis(*(line.extend(0) for line in self._lines))


class ChannelStream:
    """One channel of a stream: the stages around a network, with their memories and working space.

    max_hops: the most that one call may bring.
    """

    def __init__(self, predictor: Predictor, clock: Clock | None = None, max_hops: int = MAX_HOPS) -> None:
        self._analyzer, self._synthesizer = Analyzer(max_hops, clock), Synthesizer(max_hops, clock)
        self._predictor, self._clock = predictor, clock
        self.latency_hops = predictor.latency_hops
        self._delay = AnalysisDelay(self.latency_hops, max_hops) if self.latency_hops else None
        self._hops = np.zeros((max_hops, HOP_SIZE), np.float32)
        self._out = np.zeros((max_hops, HOP_SIZE), np.float32)
        self._gain, self._strength = np.zeros((2, max_hops, NUM_BANDS), np.float32)

    def analyze(self, samples: np.ndarray) -> tuple[Analysis, np.ndarray, np.ndarray]:
        """Take float32 [hops * 480], any stride; return what is known, gain and strength, float32 [hops, 34]."""
        hops = self._hops[: len(samples) // HOP_SIZE]
        hops.reshape(-1)[:] = samples
        analysis = self._analyzer.analyze(hops)

        # A network that looks ahead answers for earlier hops: their analyses have waited for that
        gain, strength = self._gain[: len(hops)], self._strength[: len(hops)]
        self._predictor.run(analysis.features, gain, strength)
        if self._clock is not None:
            self._clock("network")
        if self._delay is not None:
            analysis = self._delay.exchange(analysis)
        return analysis, gain, strength

    def end(self) -> tuple[Analysis, np.ndarray, np.ndarray]:
        """Return the analyses that wait for the end of the stream with gain and strength, float32 [hops, 34]."""
        assert self._delay is not None
        gain, strength = np.zeros((2, self.latency_hops, NUM_BANDS), np.float32)
        self._predictor.end(gain, strength)
        return self._delay.rest(), gain, strength

    def render(
        self, analysis: Analysis, gain: np.ndarray, strength: np.ndarray, energy: np.ndarray | None, dry: float
    ) -> np.ndarray:
        """Return the samples, float32 [hops * 480], valid until the next call.

        gain, strength: float32 [hops, 34]; energy: float32 [hops, 34], what the post-filter weighs bands by; None is
        without post-filter. dry: share of the input left in, 0..1.
        """
        out = self._out[: len(gain)]
        self._synthesizer.synthesize(analysis, gain, strength, dry, out, energy)
        return out.reshape(-1)
