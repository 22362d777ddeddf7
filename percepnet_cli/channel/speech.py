"""How likely speech is, from what the network says of the bands and from the voice's pitch.

The models have no output for it. A logistic regression of the gains, the filter strengths and the pitch correlation
stands in its place; ``tests/quality/speech_probability.py`` found its weights and measures it.
"""

from __future__ import annotations

import math

import numpy as np

from percepnet_cli.channel import speech_weights
from percepnet_cli.constants import LOOKAHEAD_HOPS, NUM_BANDS
from percepnet_cli.signal_path import Analysis

WEIGHTS = np.array(speech_weights.WEIGHTS, np.float32)
OFFSET = speech_weights.OFFSET

CONTEXT = 0.8
"""Share of the hops before in the log-odds of a hop: a syllable is longer than 10 ms."""


def features(gain: np.ndarray, strength: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Return what the weights work on, float32 [hops, 69].

    gain, strength: float32 [hops, 34], 0..1, as the network gave them; correlation: float32 [hops], 0..1.
    """
    return np.concatenate((gain, strength, correlation[:, None]), axis=1, dtype=np.float32)


def probability(gain: np.ndarray, strength: np.ndarray, correlation: float) -> float:
    """Return the probability of speech in one hop, 0..1, by this hop alone.

    gain, strength: float32 [34], 0..1, as the network gave them; correlation: 0..1.
    """
    bands = WEIGHTS[:NUM_BANDS] @ gain + WEIGHTS[NUM_BANDS:-1] @ strength
    odds = float(bands) + float(WEIGHTS[-1]) * correlation + OFFSET
    return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))


class SpeechProbability:
    """The probability of speech in one channel, hop by hop, each in the light of those before."""

    def __init__(self) -> None:
        self._odds = OFFSET

    def process(self, values: np.ndarray) -> np.ndarray:
        """Return the probability of speech in the next hops, float32 [hops], 0..1. values: ``features``."""
        odds = values @ WEIGHTS + OFFSET

        before = self._odds
        for hop, now in enumerate(odds):
            before = odds[hop] = CONTEXT * before + (1 - CONTEXT) * now
        self._odds = float(before)

        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -30, 30))), np.float32)


class SpeechListener:
    """Collects the probability of speech of a recording: the ``observer`` of a denoiser.

    channels: of the denoiser. The rows of a network that looks ahead begin as many later.
    """

    def __init__(self, channels: int) -> None:
        self._channels = [SpeechProbability() for _ in range(channels)]
        self._found: list[list[np.ndarray]] = [[] for _ in range(channels)]

    def __call__(self, channel: int, analysis: Analysis, gain: np.ndarray, strength: np.ndarray) -> None:
        """Take the next hops of a channel."""
        values = features(gain, strength, analysis.correlation)
        self._found[channel].append(self._channels[channel].process(values))

    def result(self) -> np.ndarray:
        """Return the highest of all channels, float32 [hops]; row l is the window whose middle is sample 480 l."""
        return np.max([np.concatenate(parts) for parts in self._found], axis=0)[LOOKAHEAD_HOPS:]
