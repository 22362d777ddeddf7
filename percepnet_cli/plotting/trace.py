"""The signal path traced: what the analysis finds and the network predicts, hop by hop."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from percepnet_cli.constants import HOP_SIZE
from percepnet_cli.denoiser import Denoiser
from percepnet_cli.signal_path import Analysis

if TYPE_CHECKING:
    from percepnet_cli.network.modelfile import Model


class Trace(NamedTuple):
    """What was seen of one channel; row l belongs to the window whose middle is at 480 l samples."""

    gain: np.ndarray
    """The network's gains, before the post-filter, float32 [hops, 34], 0..1."""
    strength: np.ndarray
    """Strengths of the comb filter, float32 [hops, 34], 0..1."""
    coherence: np.ndarray
    """Of each band with its comb-filtered copy, float32 [hops, 34], 0..1."""
    period: np.ndarray
    """Pitch period, int32 [hops], samples at 48 kHz."""
    correlation: np.ndarray
    """At that period, float32 [hops], 0..1."""
    output: np.ndarray
    """What came out, in its place, float32 [n]."""

    def after(self, hops: int) -> Trace:
        """Return the same without its first hops."""
        return Trace._make((*(part[hops:] for part in self[:-1]), self.output[hops * HOP_SIZE :]))


def trace(samples: np.ndarray, model: Model | None = None, post_filter: float | None = None) -> Trace:
    """Denoise one channel, float32 [n] at 48 kHz, and return what was seen on the way."""
    seen: list[tuple[np.ndarray, ...]] = []

    def observe(channel: int, analysis: Analysis, gain: np.ndarray, strength: np.ndarray) -> None:
        parts = (gain, strength, analysis.coherence, analysis.period, analysis.correlation)
        seen.append(tuple(part.copy() for part in parts))

    denoiser = Denoiser(model, post_filter=post_filter, observer=observe)
    output = denoiser.denoise(samples)
    # the first windows lie before the recording; the latency is theirs and a hop of overlap-add
    before = denoiser.latency // HOP_SIZE - 1
    parts = [np.concatenate(part)[before:] for part in zip(*seen, strict=True)]
    return Trace._make((*parts, output))
