"""Another microphone for a sequence that is already in features: random level and smooth random filter.

A filter that changes slowly over frequency scales the band energies and leaves ideal gains, strengths, coherences
and pitch as they are, so one computed mixture serves as many.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.constants import ENERGY_FLOOR, NUM_BANDS

LEVEL_DB = 8.0
"""Standard deviation of the change of level."""
TILT_DB = 4.0
"""Standard deviation of the change from the middle of the bands to their end."""
KNOT_DB = 2.5
"""Standard deviation of a smooth random shape at its knots."""
KNOTS = 7
LARGEST_DB = 20.0


def random_filters(sequences: int, rng: np.random.Generator) -> np.ndarray:
    """Return what a random microphone does to the band energies of each sequence: float32 [sequences, 34], factors."""
    band = np.linspace(-1, 1, NUM_BANDS)
    change_db = LEVEL_DB * rng.standard_normal((sequences, 1)) + TILT_DB * rng.standard_normal((sequences, 1)) * band
    knots = np.linspace(-1, 1, KNOTS)
    change_db += [np.interp(band, knots, KNOT_DB * rng.standard_normal(KNOTS)) for _ in range(sequences)]
    factors: np.ndarray = 10 ** (np.clip(change_db, -LARGEST_DB, LARGEST_DB) / 10)
    return factors.astype(np.float32)


def augment(features: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return features of the same sequences, each through its own filter.

    features: float [hops, batch, 70], not normalized; factors: float32 [batch, 34] of ``random_filters``. Returns
    float32 of the same shape as the features; digital silence stays.
    """
    out = features.astype(np.float32)
    energy = np.maximum(np.float32(10) ** out[..., :NUM_BANDS] - np.float32(ENERGY_FLOOR), 0)
    out[..., :NUM_BANDS] = np.log10(energy * factors + np.float32(ENERGY_FLOOR))
    return out
