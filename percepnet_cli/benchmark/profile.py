"""The share of every stage in the time of the signal path: a clock that the denoiser tells what is done."""

from __future__ import annotations

import time

from percepnet_cli.signal_path import STAGES


class StageClock:
    """Adds up the time of each stage: ``Denoiser(model, clock=StageClock())``. For one channel."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        """Count the time since the last call for a stage."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._last
        self._last = now

    def shares(self) -> dict[str, float]:
        """Return per cent of the time since the last reset, by stage."""
        self("rest")
        total = sum(self.seconds.values())
        return {stage: 100 * seconds / total for stage, seconds in self.seconds.items()}
