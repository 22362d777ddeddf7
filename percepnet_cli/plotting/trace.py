"""The signal path watched at work: what the analysis finds and the network answers, hop by hop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from percepnet_cli.constants import HOP_SIZE, LOOKAHEAD_HOPS
from percepnet_cli.denoiser import Denoiser

if TYPE_CHECKING:
    from percepnet_cli.network.modelfile import Model


class Sight(NamedTuple):
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

    def after(self, hops: int) -> Sight:
        """Return the same without its first hops."""
        return Sight._make((*(part[hops:] for part in self[:-1]), self.output[hops * HOP_SIZE :]))


class _Watched:
    """A channel of a ``Denoiser`` that keeps a copy of what it is told."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.seen: list[tuple[np.ndarray, ...]] = []

    def understand(self, samples: np.ndarray) -> Any:
        analysis, gain, strength = self._channel.understand(samples)
        parts = (gain, strength, analysis.coherence, analysis.period, analysis.correlation)
        self.seen.append(tuple(part.copy() for part in parts))
        return analysis, gain, strength

    def render(self, *arguments: Any) -> Any:
        return self._channel.render(*arguments)


def watch(samples: np.ndarray, model: Model | None = None, post_filter: bool | None = None) -> Sight:
    """Denoise one channel, float32 [n] at 48 kHz, and return what was seen on the way."""
    denoiser = Denoiser(model, post_filter=post_filter)
    watched = _Watched(denoiser._channels[0])
    denoiser._channels[0] = watched  # type: ignore[call-overload]
    output = np.concatenate((denoiser.process(samples), denoiser.flush()))[denoiser.latency :]
    # the first windows lie before the recording
    parts = [np.concatenate(part)[LOOKAHEAD_HOPS:] for part in zip(*watched.seen, strict=True)]
    return Sight._make((*parts, output))
