"""What a network does to mixtures that it is not trained on: the losses, and what happens to speech and to noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from percepnet_cli.constants import BAND_HZ, ENERGY_FLOOR, NUM_BANDS
from percepnet_cli.metrics.cells import TREBLE_BANDS, CellLevels, Gains, cell_levels, mean_levels
from percepnet_cli.training.data.shards import Shards
from percepnet_cli.training.feeder import with_energy
from percepnet_cli.training.loudness import SPAN_HOPS, window_levels
from percepnet_cli.training.model.torch_model import PercepNet
from percepnet_cli.training.objective import objective, to_device
from percepnet_cli.training.options import Options

VALIDATION_SEQUENCES = 128
"""Sequences of the validation set that are used, always the same."""

VALIDATION_BATCH = 64
"""Sequences per forward pass of the validation."""

VALIDATION_HOPS = 400
"""Hops of each sequence that are used, if it has as many; more where the training has."""


class Judgment(NamedTuple):
    """How a network does on the validation set."""

    loss: float
    """What a run makes small."""
    gain_loss: float
    strength_loss: float
    levels: CellLevels


class Validation:
    """The validation set, and networks judged by it.

    Parameters
    ----------
    shards
        The shards of the set.
    options
        Those of the run: the loss is of the kind that is trained on.
    device
        Where to compute.

    Raises
    ------
    ValueError
        The shards are shorter than the loss needs.
    """

    def __init__(self, shards: Shards, options: Options, device: torch.device) -> None:
        if options.pesq_weight:
            shards.require(SPAN_HOPS)
        hops = min(shards.hops, max(options.sequence_length, VALIDATION_HOPS))
        self.batch = with_energy(shards.even_batch(VALIDATION_SEQUENCES, hops), options)
        self.options = options
        self.device = device

    def judge(self, model: PercepNet) -> Judgment:
        """Run a network over the set, in float32."""
        precision, model.precision = model.precision, torch.float32
        with torch.no_grad():
            batch = to_device(self.batch, self.device)
            found = [model(part)[:2] for part in batch[0].split(VALIDATION_BATCH, dim=1)]
            gain, strength = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
            total, gain_loss, strength_loss = objective(batch, gain, strength, self.options)
        model.precision = precision
        return Judgment(float(total), float(gain_loss), float(strength_loss), self._levels(gain.cpu().numpy()))

    def _levels(self, found: np.ndarray) -> CellLevels:
        """Return the levels of speech and noise with these gains, float32 [hops, sequences, 34]."""
        features = self.batch.features.astype(np.float32)
        energy = 10 ** window_levels(torch.from_numpy(features)).numpy() - ENERGY_FLOOR
        coherence = features[..., NUM_BANDS : 2 * NUM_BANDS]
        ideal, known = self.batch.ideal, self.batch.gain_weight
        arrays = (found, ideal, energy.clip(min=0), coherence, known)
        return mean_levels([cell_levels(Gains(*(a[:, n] for a in arrays))) for n in range(found.shape[1])])


def columns(levels: CellLevels) -> dict[str, float]:
    """Return the levels as columns of history.csv."""
    return {
        "speech_db": levels.speech_db,
        "speech_worst_db": levels.speech_worst_db,
        "noise_db": levels.noise_db,
        "harmonic_db": levels.harmonic_db,
        "onsets_cut": levels.onsets_cut / levels.onsets if levels.onsets else float("nan"),
        **{
            f"gain_error_{BAND_HZ[band]:.0f}hz": error
            for band, error in zip(TREBLE_BANDS, levels.treble_error, strict=True)
        },
    }
