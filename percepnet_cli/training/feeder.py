"""Batches in the order in which they are trained on: crops, augmented, cut into chunks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from percepnet_cli.training.augment import augment, random_filters
from percepnet_cli.training.data.shards import Batch, Shards
from percepnet_cli.training.loudness import heard_energy
from percepnet_cli.training.options import Options
from percepnet_cli.training.sampler import Draw, Sampler


class Chunk(NamedTuple):
    """A batch of one step: this process's share of chunk number `number`, 0.., of the sequences of a draw."""

    batch: Batch
    draw: Draw
    number: int


def with_energy(batch: Batch, options: Options) -> Batch:
    """Return the batch with the energies that the losses after PESQ and SI-SDR need, if there are such."""
    if not (options.pesq_weight or options.sisdr_weight):
        return batch
    features, ideal = (torch.from_numpy(array).float() for array in (batch.features, batch.ideal))
    return batch._replace(energy=heard_energy(features, ideal).numpy())


class Feeder:
    """Gives one chunk after the other.

    Parameters
    ----------
    shards
        Where crops are read.
    options
        The options of the run.
    part
        Which sequences of each batch this process takes.
    """

    def __init__(self, shards: Shards, options: Options, part: slice) -> None:
        self.sampler = Sampler(shards, options.seed, options.max_hearings)
        self.shards = shards
        self.options = options
        self.part = part
        self._draw: Draw | None = None
        self._sequences: Batch | None = None
        self._next = 0

    def next(self) -> Chunk | None:
        """Return the next chunk; None if all mixtures were heard as often as they may be."""
        options = self.options
        if self._draw is None or self._next >= options.tbptt_chunks:
            draw = self.sampler.draw(options.batch_size, options.sequence_length)
            if draw is None:
                return None
            self._read(draw)
            self._next = 0
        assert self._draw is not None and self._sequences is not None
        length = options.sequence_length // options.tbptt_chunks
        part = slice(self._next * length, (self._next + 1) * length)
        self._next += 1
        return Chunk(Batch(*(array[part] for array in self._sequences)), self._draw, self._next - 1)

    def go_on(self, draw: Draw, number: int) -> None:
        """Let the next chunk be this one of this draw."""
        self._read(draw)
        self._next = number

    def _read(self, draw: Draw) -> None:
        picks = self.shards.locate(draw.picks[self.part])
        batch = self.shards.crops(picks, self.options.sequence_length)
        if self.options.augment:
            # every process draws for all, so that the number of processes changes nothing
            rng = np.random.default_rng((self.options.seed, draw.number, 1))
            factors = random_filters(len(draw.picks), rng)[self.part]
            batch = batch._replace(features=augment(batch.features, factors))
        self._draw, self._sequences = draw, with_energy(batch, self.options)
