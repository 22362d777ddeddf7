"""The learning rate over a run: a rise, then half a cosine to a budget's end, or a constant with a late decay."""

from __future__ import annotations

import math

FINAL_RATE = 0.05
"""Learning rate at the end of a budget, as a part of the highest."""


def warmup(step: int, warmup_steps: int) -> float:
    """Return the factor of the first steps: from 0 up to 1 in a straight line."""
    return min(1.0, (step + 1) / warmup_steps)


def cosine(progress: float) -> float:
    """Return the factor for a budget of which `progress` (0..1) is used up: half a cosine from 1 down to 5 %."""
    half = 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return FINAL_RATE + (1.0 - FINAL_RATE) * half


def decay(progress: float) -> float:
    """Return the factor of a decay of which `progress` (0..1) is done: 1 - sqrt(progress), from 1 to 0.

    A constant rate and a short decay like this at the end come out as well as a cosine whose length was known
    beforehand (Hagele et al. 2024, "Scaling laws and compute-optimal training beyond fixed training durations").
    """
    return 1.0 - math.sqrt(min(max(progress, 0.0), 1.0))
