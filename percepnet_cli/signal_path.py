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

``analyze`` is all before the network, ``synthesize`` all after it, ``process`` the whole way, compiled into one
function without Python between the stages. They work on one channel and take any number of hops at a time; the result
never depends on how a stream was cut. What they remember lies in ``Analyzer``, ``Synthesizer`` and ``Path``.
``analyze_signal`` and ``synthesize_signal`` do a whole recording. The denoiser, training targets, the oracle and the
plots all use these.

When a hop has come in, the newest window ends with it. Its band energies are features at once; all else is done for
the window LOOKAHEAD_HOPS (2) before it, of which comb and pitch tracker then know the future. Overlap-add completes
the first half of that window: together 3 hops = 1440 samples of delay. docs/how.md has the formula of each box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from percepnet_cli.compute.callback import call_if as tick
from percepnet_cli.compute.callback import callback
from percepnet_cli.compute.delay_line import DelayLine, extend, last
from percepnet_cli.compute.jit import kernel, part
from percepnet_cli.compute.struct import Struct
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
from percepnet_cli.network.percepnet import State, predict

MAX_HOPS = 64
"""Hops that are processed at once; longer input is taken in turns. Large enough that a weight read from
memory serves many hops, small enough that a block's spectra stay in cache."""

HISTORY = (LOOKAHEAD_HOPS + 1) * HOP_SIZE + COMB_PERIODS * PERIOD_MAX
"""Samples kept before a new hop: the window lies 3 hops behind it, the comb 5 periods behind that."""


STAGES = (
    "high-pass",
    "window",
    "transform",
    "bands",
    "pitch",
    "comb",
    "features",
    "network",
    "post-filter",
    "mix and scale",
    "synthesis",
    "rest",
)
"""All that a clock hears of, in order; ``rest`` is what lies between the stages."""
HIGH_PASS, WINDOW, TRANSFORM, BANDS, PITCH, COMB, FEATURES, NETWORK = range(8)
POST_FILTER, MIX_AND_SCALE, SYNTHESIS, REST = range(8, 12)

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


class Analyzer(Struct):
    """Everything before the network, for one channel: the memories of the stages, and room for their results.

    max_hops: the most that one call may bring. clock: see ``Clock``.
    """

    highpass: np.ndarray
    signal: DelayLine
    Y: DelayLine
    E: DelayLine
    tracker: pitch.Tracker
    samples: np.ndarray
    windows: np.ndarray
    C: np.ndarray
    P: np.ndarray
    Ep: np.ndarray
    coherence: np.ndarray
    period: np.ndarray
    correlation: np.ndarray
    noise_gain: np.ndarray
    features: np.ndarray
    clock: int

    def __init__(self, max_hops: int = MAX_HOPS, clock: Clock | None = None) -> None:
        address, self._keep = callback(clock, STAGES)

        # What a stage keeps for the next call. Spectra and band energies wait for their look-ahead
        memories = {
            "highpass": highpass.new_state(),
            "signal": DelayLine(HISTORY, max_hops * HOP_SIZE),
            "Y": DelayLine(LOOKAHEAD_HOPS, max_hops, (NUM_BINS,), np.complex64),
            "E": DelayLine(LOOKAHEAD_HOPS, max_hops, (NUM_BANDS,)),
            "tracker": pitch.Tracker(max_hops),
        }

        # What comes in, and two that are used on the way: windows, and cross terms of Y and P per band
        working = {
            "samples": np.zeros((max_hops, HOP_SIZE), np.float32),
            "windows": np.zeros((max_hops, WINDOW_SIZE), np.float32),
            "C": np.zeros((max_hops, NUM_BANDS), np.float32),
        }

        results = {
            "P": np.zeros((max_hops, NUM_BINS), np.complex64),
            "Ep": np.zeros((max_hops, NUM_BANDS), np.float32),
            "coherence": np.zeros((max_hops, NUM_BANDS), np.float32),
            "period": np.zeros(max_hops, np.int32),
            "correlation": np.zeros(max_hops, np.float32),
            "noise_gain": np.zeros(max_hops, np.float32),
            "features": np.zeros((max_hops, NUM_FEATURES), np.float32),
        }
        super().__init__(**memories, **working, **results, clock=address)
        self.max_hops = max_hops

    def analyze(self, samples: np.ndarray) -> Analysis:
        """Take new hops and describe the windows LOOKAHEAD_HOPS behind them.

        samples: float32 [hops, 480], 1..max_hops hops.
        """
        hops = len(samples)
        self.samples[:hops] = samples
        analyze(self, hops)
        return self.newest(hops)

    def newest(self, hops: int) -> Analysis:
        """Return what the last call of ``analyze``, with so many hops, has found."""
        results = (self.Ep, self.coherence, self.period, self.correlation, self.noise_gain, self.features)
        return Analysis(self.Y.last(hops), self.P[:hops], self.E.last(hops), *(result[:hops] for result in results))


@part
def analyze(a: Analyzer, hops: int) -> None:
    """Describe the windows LOOKAHEAD_HOPS behind the newest hops.

    a: its ``samples`` hold the new hops, up to max_hops; the results are written into it, and ``Y``, ``E`` hold those
    windows in front of the newest ones.
    """
    tick(a.clock, REST)

    # High-pass: what all later stages see
    signal = extend(a.signal, hops * HOP_SIZE)
    highpass.filter_hops(a.samples[:hops], a.highpass, signal[HISTORY:])
    tick(a.clock, HIGH_PASS)

    # Windows, transform, band energies of the newest hops
    windows, Y, E = a.windows[:hops], extend(a.Y, hops), extend(a.E, hops)
    stft.window_hops(signal, HISTORY - HOP_SIZE, stft.WINDOW, windows)
    tick(a.clock, WINDOW)
    stft.transform(windows, Y[LOOKAHEAD_HOPS:])
    tick(a.clock, TRANSFORM)
    bands.energy(Y[LOOKAHEAD_HOPS:], E[LOOKAHEAD_HOPS:])
    tick(a.clock, BANDS)

    # Pitch: the path is followed back, so it describes the windows LOOKAHEAD_HOPS behind
    period, correlation = a.period[:hops], a.correlation[:hops]
    pitch.track(a.tracker, signal, HISTORY, hops, period, correlation)
    tick(a.clock, PITCH)

    # Comb filter on the windows LOOKAHEAD_HOPS behind, whose future is known by now
    P, noise_gain = a.P[:hops], a.noise_gain[:hops]
    comb.filter_hops(signal, HISTORY - LATENCY_SAMPLES, period, comb.TAPS, stft.WINDOW, windows, noise_gain)
    tick(a.clock, COMB)
    stft.transform(windows, P)
    tick(a.clock, TRANSFORM)

    # How periodic each band is: its coherence with its comb-filtered copy
    Ep, C, coherence = a.Ep[:hops], a.C[:hops], a.coherence[:hops]
    bands.energy(P, Ep)
    bands.cross(Y[:hops], P, C)
    bands.coherence(C, E[:hops], Ep, coherence)
    tick(a.clock, BANDS)

    # Features: energies of the newest windows, pitch and coherence of those behind
    features.pack(E[LOOKAHEAD_HOPS:], coherence, period, correlation, a.features[:hops])
    tick(a.clock, FEATURES)


class Synthesizer(Struct):
    """Everything after the network, for one channel: room for results, and half a window that waits for the next.

    max_hops: the most that one call may bring. clock: see ``Clock``.
    """

    renderer: gains.Renderer
    sharpened: np.ndarray
    spectra: np.ndarray
    windows: np.ndarray
    overlap: np.ndarray
    clock: int

    def __init__(self, max_hops: int = MAX_HOPS, clock: Clock | None = None) -> None:
        address, self._keep = callback(clock, STAGES)
        super().__init__(
            renderer=gains.Renderer(),
            sharpened=np.zeros((max_hops, NUM_BANDS), np.float32),
            spectra=np.zeros((max_hops, NUM_BINS), np.complex64),
            windows=np.zeros((max_hops, WINDOW_SIZE), np.float32),
            overlap=np.zeros(HOP_SIZE, np.float32),
            clock=address,
        )

    def synthesize(
        self,
        analysis: Analysis,
        gain: np.ndarray,
        strength: np.ndarray,
        dry: float,
        out: np.ndarray,
        post_filter: float = 0.0,
        post_filter_energy: np.ndarray | None = None,
    ) -> None:
        """Turn gains and strengths into samples.

        analysis: of this channel; gain, strength: float32 [hops, 34], 0..1; dry: share of the input left in, 0..1;
        out: float32 [hops, 480], written: LATENCY_SAMPLES behind the hops that were analyzed; post_filter: its share,
        0..1; post_filter_energy: float32 [hops, 34], the band energies by which it weighs, of all linked channels
        together; None is of this one.
        """
        a, energy = analysis, analysis.E if post_filter_energy is None else post_filter_energy
        share = np.float32(post_filter), np.float32(dry)
        synthesize(self, a.Y, a.P, a.E, a.noise_gain, gain, strength, energy, *share, out)


@part
def synthesize(
    s: Synthesizer,
    Y: np.ndarray,
    P: np.ndarray,
    E: np.ndarray,
    noise_gain: np.ndarray,
    gain: np.ndarray,
    strength: np.ndarray,
    post_filter_energy: np.ndarray,
    post_filter: np.float32,
    dry: np.float32,
    out: np.ndarray,
) -> None:
    """Turn gains and strengths into samples; arguments as those of ``Synthesizer.synthesize``."""
    hops = len(gain)
    tick(s.clock, REST)

    # Post-filter: bands that are mostly noise go further down
    if post_filter > 0:
        gains.postfilter_hops(gain, post_filter_energy, post_filter, s.sharpened[:hops])
        gain = s.sharpened[:hops]
    tick(s.clock, POST_FILTER)

    # Mix with the comb-filtered copy, scale the bands
    spectra = s.spectra[:hops]
    gains.render_hops(s.renderer, Y, P, E, noise_gain, gain, strength, dry, spectra)
    tick(s.clock, MIX_AND_SCALE)

    # Inverse transform, window, overlap-add
    stft.synthesize(spectra, s.overlap, s.windows[:hops], out)
    tick(s.clock, SYNTHESIS)


class Ends(Struct):
    """One channel's way from samples to samples but for the network: both ends, and room for what is between.

    max_hops: the most that one call may bring. clock: see ``Clock``.
    """

    analyzer: Analyzer
    synthesizer: Synthesizer
    gain: np.ndarray
    strength: np.ndarray
    energy: np.ndarray
    """What the post-filter weighs bands by: of one channel, or of all that are linked."""
    out: np.ndarray

    def __init__(self, max_hops: int = MAX_HOPS, clock: Clock | None = None, **more: Struct) -> None:
        per_band = {name: np.zeros((max_hops, NUM_BANDS), np.float32) for name in ("gain", "strength", "energy")}
        super().__init__(
            analyzer=Analyzer(max_hops, clock),
            synthesizer=Synthesizer(max_hops, clock),
            **per_band,
            out=np.zeros((max_hops, HOP_SIZE), np.float32),
            **more,
        )


class Path(Ends):
    """The whole way, through a causal network."""

    network: State

    def __init__(self, network: State, max_hops: int = MAX_HOPS, clock: Clock | None = None) -> None:
        super().__init__(max_hops, clock, network=network)


@kernel
def predict_gains(path: Path, hops: int) -> None:
    """Analyze new hops, which lie in the analyzer's ``samples``; write the network's gains, strengths and energies."""
    a = path.analyzer
    analyze(a, hops)
    predict(path.network, a.features[:hops], path.gain[:hops], path.strength[:hops])
    E = last(a.E, hops)
    for hop in range(hops):
        for band in range(NUM_BANDS):
            path.energy[hop, band] = E[hop, band]
    tick(a.clock, NETWORK)


@kernel
def finish(path: Path, hops: int, post_filter: np.float32, dry: np.float32) -> None:
    """Turn gains, strengths and energies, linked or not, into ``out``."""
    a, s, energy = path.analyzer, path.synthesizer, path.energy[:hops]
    Y, P, E, noise_gain = last(a.Y, hops), a.P[:hops], last(a.E, hops), a.noise_gain[:hops]
    gain, strength, out = path.gain[:hops], path.strength[:hops], path.out[:hops]
    synthesize(s, Y, P, E, noise_gain, gain, strength, energy, post_filter, dry, out)


@kernel
def process(path: Path, hops: int, post_filter: np.float32, dry: np.float32) -> None:
    """Do all for a channel of its own: from the analyzer's ``samples`` to ``out``, one call for any number of hops."""
    predict_gains(path, hops)
    finish(path, hops, post_filter, dry)


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
    analysis: Analysis, gain: np.ndarray, strength: np.ndarray, dry: float = 0.0, post_filter: float = 0.0
) -> np.ndarray:
    """Return the recording that ``analyze_signal`` analyzed with gains and strengths put in, float32 [hops * 480].

    gain, strength: float32 [hops + 1, 34], one row per window of the analysis; dry: share of the input left in, 0..1;
    post_filter: share of it, 0..1. Without the delay; as long as the recording in whole hops.
    """
    synthesizer = Synthesizer()
    out = np.zeros((len(gain), HOP_SIZE), np.float32)
    for start in range(0, len(gain), MAX_HOPS):
        rows = slice(start, start + MAX_HOPS)
        part = Analysis(*(array[rows] for array in analysis))
        synthesizer.synthesize(part, gain[rows], strength[rows], dry, out[rows], post_filter)
    return out[1:].reshape(-1)  # window 0 completes the hop before the recording
