"""A channel's stream, in one compiled call where the network is causal, else in three."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from percepnet_cli.channel.predictor import AnalysisDelay, Predictor
from percepnet_cli.channel.speech import SpeechProbability
from percepnet_cli.compute.jit import address_of
from percepnet_cli.constants import HOP_SIZE, NUM_BANDS
from percepnet_cli.network.percepnet import State
from percepnet_cli.signal_path import MAX_HOPS, Analysis, Clock, Ends, Path, analyze, finish, predict_gains, process

NO_BANDS = np.zeros(NUM_BANDS, np.float32)


class Newest(NamedTuple):
    """What is known of the newest hop that was put out."""

    gain: np.ndarray = NO_BANDS
    """The network's, float32 [34], 0..1."""
    strength: np.ndarray = NO_BANDS
    """The network's, float32 [34], 0..1."""
    correlation: float = 0.0
    """At the pitch period, 0..1."""
    energy: np.ndarray = NO_BANDS
    """Of each band, float32 [34]."""
    noise_gain: float = 1.0
    """Energy gain of the comb filter for white noise."""

    @classmethod
    def of(cls, analysis: Analysis, gain: np.ndarray, strength: np.ndarray) -> Newest:
        """Take it from the last hop of several."""
        return cls(
            gain[-1].copy(),
            strength[-1].copy(),
            float(analysis.correlation[-1]),
            analysis.E[-1].copy(),
            float(analysis.noise_gain[-1]),
        )


class Call(NamedTuple):
    """How compiled code does what ``ChannelStream.process`` does."""

    address: int
    """Of ``signal_path.process``, see ``callback.call``."""
    path: Path
    """Its first argument; the network's gains and strengths and the energies lie in it."""
    samples: np.ndarray
    """Where the hops go in, float32 [max_hops, 480]."""
    out: np.ndarray
    """Where they come out, float32 [max_hops, 480]."""
    correlation: np.ndarray
    """At the pitch period, float32 [max_hops]."""


class ChannelStream:
    """One channel of a stream: the stages around a network, with their memories and working space.

    max_hops: the most that one call may bring.
    """

    def __init__(self, predictor: Predictor, clock: Clock | None = None, max_hops: int = MAX_HOPS) -> None:
        self._predictor, self._clock = predictor, clock
        self.latency_hops = predictor.latency_hops
        self._path = Path(predictor, max_hops, clock) if isinstance(predictor, State) else None
        self._ends = Ends(max_hops, clock) if self._path is None else self._path
        self._delay = AnalysisDelay(self.latency_hops, max_hops) if self.latency_hops else None
        self._newest: Newest | None = Newest()
        self._speech: SpeechProbability | None = None
        self._hops = 0

    @property
    def is_one_call(self) -> bool:
        """Whether ``process`` can do it."""
        return self._path is not None

    def process(self, samples: np.ndarray, post_filter: float, dry: float) -> np.ndarray:
        """Do all in one compiled call, for a channel that is linked with no other.

        samples: float32 [hops * 480], any stride; post_filter: share of it, 0..1; dry: share of the input left in,
        0..1. Returns the samples, float32 [hops * 480], valid until the next call.
        """
        assert self._path is not None
        hops = self._take(samples)
        process(self._path, hops, np.float32(post_filter), np.float32(dry))
        self._newest = None
        if self._speech is not None:
            analyzer = self._ends.analyzer
            heard = analyzer.correlation[:hops], analyzer.E.last(hops)
            self._speech.take(self._path.gain[:hops], self._path.strength[:hops], *heard)
        return self._path.out[:hops].reshape(-1)

    def call(self) -> Call:
        """Return what ``process`` calls, for compiled code that does it itself and then tells by ``called``."""
        path = self._path
        assert path is not None
        address = address_of(process, path, 1, np.float32(0), np.float32(0))
        return Call(address, path, path.analyzer.samples, path.out, path.analyzer.correlation)

    def called(
        self, hops: int, gain: np.ndarray, strength: np.ndarray, correlation: np.ndarray, energy: np.ndarray
    ) -> None:
        """Take note of calls that compiled code has made.

        hops: of the last one; gain, strength, energy: float32 [n, 34], correlation: float32 [n], of all hops.
        """
        self._hops = hops
        self._newest = None
        if self._speech is not None:
            self._speech.take(gain, strength, correlation, energy)

    def keep(self, analysis: Analysis, gain: np.ndarray, strength: np.ndarray) -> None:
        """Note what ``newest`` is to return, before ``render`` is given the gains of linked channels."""
        self._newest = Newest.of(analysis, gain, strength)
        if self._speech is not None:
            self._speech.take(gain, strength, analysis.correlation, analysis.E)

    def newest(self) -> Newest:
        """Return what was kept; after ``process``, what lies there of its newest hop: few ask, and hops are many."""
        return self._newest or Newest.of(*self._analyzed())

    def speech_probability(self) -> float:
        """Return the probability of speech in the newest hop; from the first time on, all hops are listened to."""
        if self._speech is None:
            self._speech = SpeechProbability()
            if self._hops:
                newest = self.newest()
                correlation = np.array([newest.correlation], np.float32)
                self._speech.take(newest.gain[None], newest.strength[None], correlation, newest.energy[None])
        return self._speech.newest()

    def _analyzed(self) -> tuple[Analysis, np.ndarray, np.ndarray]:
        """Return what is known of the hops of the last ``process``, gain and strength."""
        ends, hops = self._ends, self._hops
        return ends.analyzer.newest(hops), ends.gain[:hops], ends.strength[:hops]

    def analyze(self, samples: np.ndarray) -> tuple[Analysis, np.ndarray, np.ndarray]:
        """Take float32 [hops * 480], any stride; return what is known, gain and strength, float32 [hops, 34]."""
        hops, ends = self._take(samples), self._ends
        gain, strength = ends.gain[:hops], ends.strength[:hops]
        if self._path is not None:
            predict_gains(self._path, hops)
            return ends.analyzer.newest(hops), gain, strength

        # A network that looks ahead answers for earlier hops: their analyses have waited for that
        analyze(ends.analyzer, hops)
        analysis = ends.analyzer.newest(hops)
        self._predictor.run(analysis.features, gain, strength)
        if self._clock is not None:
            self._clock("network")
        if self._delay is not None:
            analysis = self._delay.exchange(analysis)
        return analysis, gain, strength

    def _take(self, samples: np.ndarray) -> int:
        """Put samples where the analyzer finds them; return how many hops they are."""
        hops = len(samples) // HOP_SIZE
        self._ends.analyzer.samples[:hops].reshape(-1)[:] = samples
        self._hops = hops
        return hops

    def end(self) -> tuple[Analysis, np.ndarray, np.ndarray]:
        """Return the analyses that wait for the end of the stream with gain and strength, float32 [hops, 34]."""
        assert self._delay is not None
        gain, strength = np.zeros((2, self.latency_hops, NUM_BANDS), np.float32)
        self._predictor.end(gain, strength)
        return self._delay.rest(), gain, strength

    def render(
        self,
        analysis: Analysis,
        gain: np.ndarray,
        strength: np.ndarray,
        energy: np.ndarray,
        post_filter: float,
        dry: float,
    ) -> np.ndarray:
        """Return the samples, float32 [hops * 480], valid until the next call.

        gain, strength: float32 [hops, 34]; energy: float32 [hops, 34], what the post-filter weighs bands by;
        post_filter: share of it, 0..1; dry: share of the input left in, 0..1.
        """
        ends, hops = self._ends, len(gain)
        out = ends.out[:hops]
        if self._path is None:
            ends.synthesizer.synthesize(analysis, gain, strength, dry, out, post_filter, energy)
        else:
            ends.gain[:hops], ends.strength[:hops] = gain, strength
            if post_filter:
                ends.energy[:hops] = energy
            finish(self._path, hops, np.float32(post_filter), np.float32(dry))
        return out.reshape(-1)
