"""What stands in the network's place, and what waits for one that looks ahead."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from percepnet_cli.compute.delay_line import DelayLine
from percepnet_cli.signal_path import MAX_HOPS, Analysis


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
            self._lines = [DelayLine(self._hops, self._max_hops, rows.shape[1:], rows.dtype.type) for rows in analysis]
        delayed = []
        for line, new in zip(self._lines, analysis, strict=True):
            rows = line.extend(len(new))
            rows[self._hops :] = new
            delayed.append(rows[: len(new)])
        return Analysis(*delayed)

    def rest(self) -> Analysis:
        """Return the last ``hops`` windows, which have not come back yet."""
        return Analysis(*(line.extend(0) for line in self._lines))
