"""Which crops make up each batch: every mixture is heard as often as the others, and at most so many times.

Each sequence of the shards holds so many crops side by side. All crops of all sequences, once for each hearing that
is allowed, are a deck of cards that batches are dealt from; so a shard that appears later, which has more cards left,
is heard more often until it has caught up.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
import torch

from percepnet_cli.training.data.shards import Pick, Shards


class Draw(NamedTuple):
    """The crops of one batch, in order."""

    number: int
    picks: list[Pick]


class Sampler:
    """Deals batches from the shards of a folder.

    Parameters
    ----------
    shards
        Where the sequences are; may grow between draws.
    seed
        Draw number n is a function of the seed, n, the shards and what was heard before, and of nothing else.
    max_hearings
        How often each mixture is heard at most; 0 for no limit.
    """

    def __init__(self, shards: Shards, seed: int, max_hearings: int = 0) -> None:
        self.shards = shards
        self.seed = seed
        self.max_hearings = max_hearings
        self.rounds = 1
        self.number = 0
        self._taken: dict[str, np.ndarray] = {}
        self._recent: deque[Draw] = deque(maxlen=8)

    def draw(self, size: int, length: int) -> Draw | None:
        """Return the next `size` crops of `length` hops; None if too few are left.

        Raises ValueError if some sequence is shorter than a crop.
        """
        self.shards.require(length)
        hops = self.shards.sequence_hops
        slots = hops // length
        taken = np.concatenate([self._counts(name, count) for name, count in self.shards.contents()])
        while True:
            left = np.maximum((self.max_hearings or self.rounds) * slots - taken, 0)
            last = np.cumsum(left)
            if last[-1] >= size:
                break
            if self.max_hearings:
                return None
            self.rounds += 1

        rng = np.random.default_rng((self.seed, self.number))
        cards = rng.choice(int(last[-1]), size, replace=False)
        chosen = np.searchsorted(last, cards, side="right")
        picks = []
        for sequence in chosen:
            shard, row = self.shards.place(int(sequence))
            counts = self._taken[shard]
            slot = int(counts[row]) % int(slots[sequence])
            counts[row] += 1
            slack = int(hops[sequence] - slots[sequence] * length)
            picks.append(Pick(shard, row, slot * length + int(rng.integers(slack + 1))))
        draw = Draw(self.number, picks)
        self.number += 1
        self._recent.append(draw)
        return draw

    def _counts(self, shard: str, sequences: int) -> np.ndarray:
        """Return how many crops were taken from each sequence of a shard."""
        counts = self._taken.get(shard)
        if counts is None or len(counts) != sequences:
            counts = self._taken[shard] = np.zeros(sequences, np.int64)
        return counts

    def _counts_behind(self, number: int) -> dict[str, np.ndarray]:
        """Return the counts as they were right behind draw `number`: batches are drawn before their time."""
        counts = {name: taken.copy() for name, taken in self._taken.items()}
        for draw in self._recent:
            if draw.number > number:
                for pick in draw.picks:
                    counts[pick.shard][pick.row] -= 1
        return counts

    def state(self, number: int) -> dict[str, Any]:
        """Return what :meth:`restore` takes, as it was right behind draw `number`, one of the last few."""
        counts = self._counts_behind(number)
        return {
            "number": number + 1,
            "rounds": self.rounds,
            "taken": {name: torch.from_numpy(taken) for name, taken in counts.items()},
            "shards": [name for name, _ in self.shards.contents()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state; shards that are gone are forgotten, those that are new come behind the others."""
        self.number = state["number"]
        self.rounds = state["rounds"]
        self._taken = {name: taken.numpy().copy() for name, taken in state["taken"].items()}
        self._recent.clear()
        self.shards.arrange(state["shards"])

    def hearings(self, length: int, number: int) -> tuple[float, float]:
        """Return how often the mixtures that are there were heard, on average and at most.

        length: hops of a crop; number: of the last draw that was trained on, one of the last few.
        """
        hops = self.shards.sequence_hops
        counts = self._counts_behind(number)
        taken = np.concatenate([counts.get(name, np.zeros(size)) for name, size in self.shards.contents()]) * length
        return float(taken.sum() / hops.sum()), float((taken / hops).max())
