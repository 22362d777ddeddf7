"""What the network should have answered: ideal gain and strength of every band, and where that is known.

Both signals of a mixture go through the very ``Analyzer`` of inference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from percepnet_cli.constants import (
    BAND_HZ,
    HOP_SIZE,
    LOOKAHEAD_HOPS,
    NUM_BANDS,
)
from percepnet_cli.ideal import band_targets
from percepnet_cli.signal_path import MAX_HOPS, Analyzer
from percepnet_cli.training.data.mixture import Mixture
from percepnet_cli.training.data.shards import mean_by_roots

QUIET = np.float32(1e-7)
"""Band energies of the noisy signal below this are digital silence: no gain can be judged."""
ACTIVE_RANGE = 1e-4
"""Speech is active in windows within 40 dB of its loud ones."""
AUDIBLE_RANGE = 1e-3
"""A band's periodicity is judged within 30 dB of the window's strongest band."""


@dataclass(frozen=True)
class Example:
    """One sequence of a shard."""

    features: np.ndarray
    """float16 [hops, 70]."""
    gain: np.ndarray
    """float16 [hops, 34], 0..1."""
    strength: np.ndarray
    """float16 [hops, 34], 0..1."""
    gain_weight: np.ndarray
    """uint8 [hops, 34]: 1 where the gain is known."""
    strength_weight: np.ndarray
    """uint8 [hops, 34]: 1 where the strength matters and is known."""
    voice: np.ndarray
    """uint8 [hops]: 1 where the speech is active."""
    taught_gain: np.ndarray | None = None
    """float16 [hops, 34], 0..1: the gain in the opinion of the teachers, if there are any."""
    taught_strength: np.ndarray | None = None
    """float16 [hops, 34], 0..1: likewise the strength."""


def _join(rows: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Return the parts of a stream as wholes, without the windows before its start."""
    return tuple(np.concatenate(part)[LOOKAHEAD_HOPS:] for part in zip(*rows, strict=True))


def example(mixture: Mixture, attenuation_power: float, taught: Sequence[np.ndarray] = ()) -> Example:
    """Analyze a mixture and its clean speech side by side.

    attenuation_power: how much of the attenuation goes into the gain, 0 (none) .. 1 (the paper). taught: what teachers
    made of the mixture, float32 [hops * 480] each; their opinion is the answer that would be ideal if that were the
    clean speech.

    The analyzers see the stream from its start; the first LOOKAHEAD_HOPS windows, which lie before
    it, are dropped and the stream is continued with zeros, so hop l of the result is window l of the mixture.
    """
    hops = len(mixture.noisy) // HOP_SIZE
    pad = np.zeros(LOOKAHEAD_HOPS * HOP_SIZE, np.float32)
    noisy, *voices = (
        np.concatenate((signal, pad)).reshape(-1, HOP_SIZE) for signal in (mixture.noisy, mixture.clean, *taught)
    )
    noisy_analyzer, analyzers = Analyzer(), [Analyzer() for _ in voices]
    rows = []
    opinions: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in voices]
    for start in range(0, hops + LOOKAHEAD_HOPS, MAX_HOPS):
        a = noisy_analyzer.analyze(noisy[start : start + MAX_HOPS])
        energies = []
        for analyzer, voice, opinion in zip(analyzers, voices, opinions, strict=True):
            b = analyzer.analyze(voice[start : start + MAX_HOPS])
            energies.append(b.E)
            gain, attenuation, strength = band_targets(a, b)
            opinion.append((gain * attenuation**attenuation_power, strength))
        rows.append((a.features.copy(), a.E.copy(), energies[0].copy()))
    features, E, Ex = _join(rows)
    (gain, strength), *rest = (_join(opinion) for opinion in opinions)

    total = Ex.sum(axis=1)
    positive = total[total > QUIET * NUM_BANDS]
    loud = np.percentile(positive, 90) if len(positive) else math.inf
    voice = total > loud * ACTIVE_RANGE
    band_hz = np.array(BAND_HZ)
    beyond_recording = 0.97 * mixture.bandwidth_hz < band_hz
    beyond_both = 0.97 * mixture.cutoff_hz < band_hz
    gain_weight = (E > QUIET) & ~beyond_both & ~(beyond_recording & voice[:, None])
    audible = Ex > AUDIBLE_RANGE * Ex.max(axis=1, keepdims=True)
    strength_weight = gain_weight & voice[:, None] & audible & ~beyond_recording
    return Example(
        features.astype(np.float16),
        gain.astype(np.float16),
        strength.astype(np.float16),
        gain_weight.astype(np.uint8),
        strength_weight.astype(np.uint8),
        voice.astype(np.uint8),
        *(mean_by_roots(parts).astype(np.float16) for parts in zip(*rest, strict=True)),
    )
