"""How sure a mean over files is: percentile intervals of the bootstrap (Efron and Tibshirani, 1993, ch. 13)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DRAWS = 2000
"""Times that as many files are drawn, with replacement, as there are."""

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A mean, and where it lies with the confidence of 95 %."""

    mean: float
    low: float
    high: float


def interval(values: np.ndarray, weights: np.ndarray | None = None, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Return the mean of some files' values with its interval.

    values: float [files] or [files, 2], at least one file. With two columns the difference of their means, second
    minus first, is estimated from files drawn together: paired. weights: float like ``values``, such as the words of a
    file when the values are its errors; the estimate is then sum(values) / sum(weights). None is a plain mean.
    The same seed gives the same interval. One file has none: its ends are NaN.
    """
    columns = np.asarray(values, np.float64).reshape(len(values), -1)
    parts = np.ones_like(columns) if weights is None else np.asarray(weights, np.float64).reshape(columns.shape)
    if len(columns) == 1:
        return Estimate(_difference(columns, parts), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    estimates = np.empty(draws)
    for draw in range(draws):
        chosen = rng.integers(0, len(columns), len(columns))
        estimates[draw] = _difference(columns[chosen], parts[chosen])
    estimates = estimates[np.isfinite(estimates)]  # draws without any word
    edge = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(estimates, [edge, 100 - edge]) if len(estimates) else (np.nan, np.nan)
    return Estimate(_difference(columns, parts), float(low), float(high))


def _difference(values: np.ndarray, weights: np.ndarray) -> float:
    """Last column's weighted mean, less the first's if there are two."""
    total = weights.sum(axis=0)
    if not total.all():
        return float("nan")
    means = values.sum(axis=0) / total
    return float(means[-1] - means[0]) if len(means) > 1 else float(means[0])
