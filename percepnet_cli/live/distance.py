"""How much sound should wait in the output of a sound server, and what to do when it is more or less.

Too little, and each delay of the computer is heard as a gap; all of it is latency. No number fits all computers, so the
distance begins small, grows with each gap, and shrinks again when the computer has been calm for long.
"""

from __future__ import annotations

import math
from collections import deque

START_SECONDS = 0.02
"""Sound that waits in the output at the start, beside the block that is played; more after each gap."""

STEP_SECONDS = 0.005
LARGEST_SECONDS = 0.3
"""By how much the distance grows when the output ran dry, and up to how much."""

PAUSE_SECONDS = 0.25
"""No two corrections come within this time: the first must have been played to be seen."""

STEADY_LOOKS = 6
STEADY_BLOCKS = 2
"""What waits is steady if so many looks in a row differ by so many blocks at most: a block is written at once,
and so it goes up and down by one between two looks. Before that, the server has yet to begin."""

SETTLED_SECONDS = 1.0
"""After so long without a gap, with as much waiting as wanted, the start is over."""

LOOKS = 40
"""A small difference shows only in the least of so many looks."""

CALM_SECONDS = 60.0
LONGEST_CALM_SECONDS = 3600.0
"""After so long without a gap the distance shrinks; each time that this is answered by a gap it takes four times
as long, up to the longest."""


class Distance:
    """Keeps the sound that waits in an output at what does without gaps.

    Parameters
    ----------
    block_seconds : float
        Length of a block, which is the unit of what can be left out.
    fixed_seconds : float or None
        The distance that the user wants, which gaps do not change; None: as little as does without gaps.

    Attributes
    ----------
    wanted : float
        The distance now, seconds.
    settled : bool
        Whether what waits was steady once, as much as wanted, and enough.
    """

    def __init__(self, block_seconds: float, fixed_seconds: float | None = None) -> None:
        self._block = block_seconds
        self._adapts = fixed_seconds is None
        self.wanted = START_SECONDS if fixed_seconds is None else fixed_seconds
        self.settled = False
        self._gaps = 0
        self._changed_at = self._dry_at = self._shrunk_at = -math.inf
        self._calm = CALM_SECONDS
        self._looks: deque[float] = deque(maxlen=LOOKS)

    def correct(self, now: float, waiting: float, gaps: int) -> tuple[float, int]:
        """Return how much silence to write, seconds, and how many blocks to leave out, after one look at the output.

        now: seconds of a clock; waiting: seconds of sound in the output that the server has not taken, negative if
        what is written next comes too late; gaps: how often the output ran dry since it was opened.
        """
        dry, self._gaps = gaps > self._gaps, gaps
        if dry:
            self._dry_at = now
        if now - self._changed_at < PAUSE_SECONDS:
            return 0.0, 0

        self._looks.append(waiting)
        more, fewer_blocks = 0.0, 0
        if self._is_late():
            # The input began late, or paused: from now on all that is written would come too late
            more = self.wanted - waiting
        elif dry and self._adapts and self.wanted < LARGEST_SECONDS:
            more = max(self._grow(now), self.wanted - waiting)
        else:
            self._shrink(now)
            spare = self._spare(now)
            if spare < -self.wanted / 2:
                more = -spare
            elif spare > self._block:
                fewer_blocks = int(spare / self._block)

        if more or fewer_blocks:
            self._looks.clear()
            self._changed_at = now
        return more, fewer_blocks

    def _is_late(self) -> bool:
        """Return whether two looks one after the other found that the server waits for more than a block."""
        return len(self._looks) > 1 and all(self._looks[i] < -self._block for i in (-1, -2))

    def _grow(self, now: float) -> float:
        """Return what to add after a gap, seconds; remember whether the distance had shrunk too far."""
        if now - self._shrunk_at < self._calm:
            self._calm = min(4 * self._calm, LONGEST_CALM_SECONDS)
        self._shrunk_at = -math.inf
        self.wanted += STEP_SECONDS
        return STEP_SECONDS

    def _shrink(self, now: float) -> None:
        """Take half of what gaps have added, once it has been calm for long."""
        added = self.wanted - START_SECONDS
        if not self._adapts or added <= 0.0 or now - max(self._dry_at, self._shrunk_at) < self._calm:
            return
        self.wanted = START_SECONDS + (0.5 * added if added > STEP_SECONDS else 0.0)
        self._shrunk_at = now

    def _spare(self, now: float) -> float:
        """Return by how much the least of the looks exceeds the distance, seconds; 0 until that is known."""
        waits = list(self._looks)
        spare = min(waits) - self.wanted
        if len(waits) == LOOKS:
            # Clocks drift apart, and the distance changes
            self._looks.clear()
            return spare

        # When the output begins, and after a pause, far more may wait than is needed
        recent = waits[-STEADY_LOOKS:]
        if len(recent) < STEADY_LOOKS or max(recent) - min(recent) > STEADY_BLOCKS * self._block:
            return 0.0
        spare = min(recent) - self.wanted
        if spare > STEADY_BLOCKS * self._block:
            return spare
        self.settled |= now - self._dry_at > SETTLED_SECONDS
        return 0.0
