"""How likely speech is: a small recurrent network of its own, on what the large one says of the bands.

The models have no output for it. This one hears the gains, the filter strengths, the pitch correlation, and how loud
each band is when it is clean, beside the loudest sound of late. ``tests/quality/speech_probability.py`` trains and
measures it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from percepnet_cli.compute.jit import kernel, part
from percepnet_cli.compute.struct import Struct
from percepnet_cli.constants import LOOKAHEAD_HOPS, NUM_BANDS
from percepnet_cli.dsp.elementary import log10
from percepnet_cli.network.activations import sigmoid, tanh
from percepnet_cli.signal_path import Analysis

WEIGHTS = Path(__file__).with_name("speech.npz")

NUM_INPUTS = 3 * NUM_BANDS + 2
"""Gains, strengths, correlation, levels of the bands, level of all."""

ROOM_HOPS = 32
"""Hops that wait, until somebody asks, to be listened to together: each call of a live stream would cost more."""

LEAST_ENERGY = np.float32(1e-10)
LEAST_GAIN = np.float32(1e-3)
LEAST_LEVEL = np.float32(-6)
"""log10 of energy: levels are told down to 60 dB below the peak."""
FIRST_PEAK = np.float32(-9)
PEAK_DECAY = np.float32(0.001)
"""log10 of energy by which the peak falls per hop: 1 dB per second."""


class SpeechNetwork(Struct):
    """The weights: a layer of tanh, a gated recurrent unit with gates in PyTorch's order, one output."""

    constant = frozenset(("dense", "dense_bias", "ih", "ih_bias", "hh", "hh_bias", "out", "out_bias"))
    dense: np.ndarray
    """float32 [units, 104]; ``dense_bias`` [units]."""
    dense_bias: np.ndarray
    ih: np.ndarray
    """float32 [3 units, units], as ``hh``; ``ih_bias`` and ``hh_bias`` [3 units]."""
    ih_bias: np.ndarray
    hh: np.ndarray
    hh_bias: np.ndarray
    out: np.ndarray
    """float32 [units]; ``out_bias`` [1]."""
    out_bias: np.ndarray


@cache
def network() -> SpeechNetwork:
    """Return the network that is shipped, read once."""
    with np.load(WEIGHTS, allow_pickle=False) as stored:
        return SpeechNetwork(**{name: np.ascontiguousarray(stored[name], np.float32) for name in stored.files})


@part
def inputs(
    gain: np.ndarray,
    strength: np.ndarray,
    correlation: np.float32,
    energy: np.ndarray,
    peak: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write what the network hears of one hop.

    gain, strength, energy: float32 [34]; peak: float32 [1], log10 of the loudest energy of late, updated; out: float32
    [104], written.
    """
    # Energies of the bands as they are when they are clean, and of all
    total = np.float32(0)
    for band in range(NUM_BANDS):
        share = gain[band] + LEAST_GAIN
        clean = (energy[band] + LEAST_ENERGY) * (share * share)
        out[2 * NUM_BANDS + 1 + band] = log10(clean)
        total += clean
    level = log10(total + np.float32(1e-9))
    peak[0] = max(peak[0] - PEAK_DECAY, level)

    # Relative to the peak: soft speech is speech
    for band in range(NUM_BANDS):
        out[band] = gain[band]
        out[NUM_BANDS + band] = strength[band]
        place = 2 * NUM_BANDS + 1 + band
        out[place] = max(out[place] - peak[0], LEAST_LEVEL)
    out[2 * NUM_BANDS] = correlation
    out[3 * NUM_BANDS + 1] = max(level - peak[0], LEAST_LEVEL)


@part
def run_network(net: SpeechNetwork, heard: np.ndarray, state: np.ndarray, work: np.ndarray) -> np.float32:
    """Return the probability of speech in one hop. heard: float32 [104]; state: float32 [units], updated.

    work: float32 [7 units], working space.
    """
    units = len(state)
    hidden, from_input, from_state = work[:units], work[units : 4 * units], work[4 * units :]

    # Dense layer
    for i in range(units):
        hidden[i] = net.dense_bias[i]
        for k in range(len(heard)):
            hidden[i] += net.dense[i, k] * heard[k]
        hidden[i] = tanh(hidden[i])

    # Both products of the gated recurrent unit
    for i in range(3 * units):
        from_input[i], from_state[i] = net.ih_bias[i], net.hh_bias[i]
        for k in range(units):
            from_input[i] += net.ih[i, k] * hidden[k]
            from_state[i] += net.hh[i, k] * state[k]

    # Its next state, and the output
    odds = net.out_bias[0]
    for i in range(units):
        reset = sigmoid(from_input[i] + from_state[i])
        update = sigmoid(from_input[units + i] + from_state[units + i])
        new = tanh(from_input[2 * units + i] + reset * from_state[2 * units + i])
        state[i] = new + update * (state[i] - new)
        odds += net.out[i] * state[i]
    return sigmoid(odds)


@kernel
def run_hops(
    net: SpeechNetwork,
    gain: np.ndarray,
    strength: np.ndarray,
    correlation: np.ndarray,
    energy: np.ndarray,
    peak: np.ndarray,
    state: np.ndarray,
    work: np.ndarray,
    out: np.ndarray,
) -> None:
    """Find the probability of speech in the next hops, float32 [hops], written to ``out``."""
    heard = work[:NUM_INPUTS]
    for hop in range(len(out)):
        inputs(gain[hop], strength[hop], correlation[hop], energy[hop], peak, heard)
        out[hop] = run_network(net, heard, state, work[NUM_INPUTS:])


class SpeechProbability:
    """The probability of speech in one channel, hop by hop, each in the light of those before."""

    def __init__(self) -> None:
        self._network = network()
        units = len(self._network.out)
        self._peak = np.full(1, FIRST_PEAK)
        self._state = np.zeros(units, np.float32)
        self._work = np.zeros(NUM_INPUTS + 7 * units, np.float32)
        self._waiting = 0
        self._gain, self._strength, self._energy = np.zeros((3, ROOM_HOPS, NUM_BANDS), np.float32)
        self._correlation = np.zeros(ROOM_HOPS, np.float32)
        self._newest = 0.0

    def newest(self) -> float:
        """Return the probability in the last hop of all that were taken, 0..1."""
        self._listen()
        return self._newest

    def take(self, gain: np.ndarray, strength: np.ndarray, correlation: np.ndarray, energy: np.ndarray) -> None:
        """Take the next hops, as ``process`` does, to listen to them later: copies are kept."""
        hops = len(gain)
        if self._waiting + hops > ROOM_HOPS:
            self._listen()
        if hops > ROOM_HOPS:
            self.process(gain, strength, correlation, energy)
            return

        rows = slice(self._waiting, self._waiting + hops)
        self._gain[rows], self._strength[rows] = gain, strength
        self._correlation[rows], self._energy[rows] = correlation, energy
        self._waiting += hops

    def _listen(self) -> None:
        """Listen to what waits."""
        hops, self._waiting = self._waiting, 0
        if hops:
            self.process(self._gain[:hops], self._strength[:hops], self._correlation[:hops], self._energy[:hops])

    def process(
        self, gain: np.ndarray, strength: np.ndarray, correlation: np.ndarray, energy: np.ndarray
    ) -> np.ndarray:
        """Return the probability of speech in the next hops, float32 [hops], 0..1.

        gain, strength: float32 [hops, 34], 0..1, as the network gave them; correlation: float32 [hops], 0..1; energy:
        float32 [hops, 34], of the noisy bands.
        """
        found = np.zeros(len(gain), np.float32)
        run_hops(self._network, gain, strength, correlation, energy, self._peak, self._state, self._work, found)
        if len(found):
            self._newest = float(found[-1])
        return found


class SpeechListener:
    """Collects the probability of speech of a recording: the ``observer`` of a denoiser.

    channels: of the denoiser. The rows of a network that looks ahead begin as many later.
    """

    def __init__(self, channels: int) -> None:
        self._channels = [SpeechProbability() for _ in range(channels)]
        self._found: list[list[np.ndarray]] = [[] for _ in range(channels)]

    def __call__(self, channel: int, analysis: Analysis, gain: np.ndarray, strength: np.ndarray) -> None:
        """Take the next hops of a channel."""
        self._found[channel].append(self._channels[channel].process(gain, strength, analysis.correlation, analysis.E))

    def result(self) -> np.ndarray:
        """Return the highest of all channels, float32 [hops]; row l is the window whose middle is sample 480 l."""
        return np.max([np.concatenate(parts) for parts in self._found], axis=0)[LOOKAHEAD_HOPS:]
