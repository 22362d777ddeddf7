"""The targets of the network: ideal gain and strength of every band, and where that is known.

Both signals of a mixture go through the very ``Analyzer`` of inference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from percepnet_cli.constants import BAND_HZ, HOP_SIZE, NUM_BANDS
from percepnet_cli.ideal import band_targets
from percepnet_cli.signal_path import Analysis, analyze_signal
from percepnet_cli.training.data.mixture import Mixture
from percepnet_cli.training.data.shards import mean_by_roots
from percepnet_cli.training.data.voices import Voice

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
    teacher_gain: np.ndarray | None = None
    """float16 [hops, 34], 0..1: the teachers' target of the gain, if there are any."""
    teacher_strength: np.ndarray | None = None
    """float16 [hops, 34], 0..1: likewise the strength."""


class Sharing:
    """Analyzes the clean speech of mixtures, once for all in a row that share a voice and differ in its level alone.

    Energies are scaled; the rest is that of speech at full level, where its pitch is found best.
    """

    def __init__(self) -> None:
        self._voice: Voice | None = None
        self._analysis: Analysis | None = None

    def analyze(self, mixture: Mixture) -> Analysis:
        """Return the analysis of the clean speech of a mixture, of which ``Y`` and ``P`` have a level of their own."""
        if mixture.source is None:
            return analyze_signal(mixture.clean)
        voice, gain = mixture.source
        if self._analysis is None or self._voice is not voice:
            self._voice, self._analysis = voice, analyze_signal(voice.clean)
        return self._analysis._replace(E=self._analysis.E * np.float32(gain * gain))


def _first(hops: int, analysis: Analysis) -> Analysis:
    """Return the first windows of an analysis."""
    return Analysis(*(array[:hops] for array in analysis))


def example(
    mixture: Mixture, attenuation_power: float, enhanced: Sequence[np.ndarray] = (), clean: Analysis | None = None
) -> Example:
    """Analyze a mixture and its clean speech side by side.

    attenuation_power: how much of the attenuation goes into the gain, 0 (none) .. 1 [Valin 2020]. enhanced: what
    teachers made of the mixture, float32 [hops * 480] each; their target is the one that would be ideal if that were
    the clean speech. clean: the analysis of the clean speech, if it is known (``Sharing``).

    Hop l of the result is the window whose middle is sample 480 l of the mixture.
    """
    hops = len(mixture.noisy) // HOP_SIZE
    noisy = _first(hops, analyze_signal(mixture.noisy))
    ideals = [analyze_signal(mixture.clean) if clean is None else clean, *map(analyze_signal, enhanced)]

    # The targets that are ideal for the clean speech, and for what each teacher made of the mixture
    targets = []
    for ideal in ideals:
        gain, attenuation, strength = band_targets(noisy, _first(hops, ideal))
        targets.append((gain * attenuation**attenuation_power, strength))
    (gain, strength), *rest = targets

    # Speech is active in windows within 40 dB of its loud ones
    Ex = ideals[0].E[:hops]
    total = Ex.sum(axis=1)
    positive = total[total > QUIET * NUM_BANDS]
    loud = np.percentile(positive, 90) if len(positive) else math.inf
    voice = total > loud * ACTIVE_RANGE

    # A gain is known where there is something, and where both recordings tell what was there
    band_hz = np.array(BAND_HZ)
    beyond_recording = 0.97 * mixture.bandwidth_hz < band_hz
    beyond_both = 0.97 * mixture.cutoff_hz < band_hz
    gain_weight = (noisy.E > QUIET) & ~beyond_both & ~(beyond_recording & voice[:, None])

    # A strength matters in bands of active speech that can be heard beside the others
    audible = Ex > AUDIBLE_RANGE * Ex.max(axis=1, keepdims=True)
    strength_weight = gain_weight & voice[:, None] & audible & ~beyond_recording

    return Example(
        noisy.features.astype(np.float16),
        gain.astype(np.float16),
        strength.astype(np.float16),
        gain_weight.astype(np.uint8),
        strength_weight.astype(np.uint8),
        voice.astype(np.uint8),
        *(mean_by_roots(parts).astype(np.float16) for parts in zip(*rest, strict=True)),
    )
