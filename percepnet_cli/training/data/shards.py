"""A folder of shards as one numbered list of sequences, and the batches that are cut from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from percepnet_cli.constants import NUM_BANDS, NUM_FEATURES
from percepnet_cli.training.data.shard_file import (
    FEATURES,
    GAIN,
    GAIN_WEIGHT,
    LAYOUT,
    STRENGTH,
    STRENGTH_WEIGHT,
    TEACHER,
    VOICE,
    ShardFile,
)

BATCH_TENSORS = (FEATURES, GAIN, STRENGTH, GAIN_WEIGHT, STRENGTH_WEIGHT)
"""What a training batch begins with, in the order of :class:`Batch`."""


class Batch(NamedTuple):
    """Crops of equal length, time first: [hops, batch, width], in the dtypes of the file.

    `ideal` is the gain without the teachers' target. `energy` is what the losses of PESQ and SI-SDR need,
    float32 [hops, batch, 26] of ``loudness.heard_energy``; its width is 0 where there is neither.
    """

    features: np.ndarray
    gain: np.ndarray
    strength: np.ndarray
    gain_weight: np.ndarray
    strength_weight: np.ndarray
    ideal: np.ndarray
    energy: np.ndarray


class Pick(NamedTuple):
    """A crop: the key of its shard, which sequence there, and its first hop."""

    shard: str
    row: int
    start: int


def mean_by_roots(targets: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """Return the mean of several targets of one shape by their roots, which are what the loss compares.

    targets: gains or strengths, 0..1, float16 or float32, any shape. weights: one for each, or None: all alike.
    """
    root: np.ndarray = np.average(np.sqrt(targets, dtype=np.float32), axis=0, weights=weights)
    return np.square(root)


class Shards:
    """All shards of a folder, as one numbered list of sequences.

    Parameters
    ----------
    folder
        Where ``shard-*.safetensors`` lie.

    Attributes
    ----------
    sequences
        Number of sequences in all shards.
    hops
        Length of the shortest sequence.
    description
        The JSON of the first shard.
    distill_weight
        How much the teachers' target counts beside the ideal one in what :meth:`crops` gives, 0..1: the two are
        averaged by their roots. Shards without a teacher's target give the ideal one.
    distill_power
        Above 0; the teachers' targets of the gain are raised to this power first. Below 1 they are milder.

    Raises
    ------
    ValueError
        The folder is missing or empty, a file does not hold what it should, the power is not above 0, or teachers
        are asked for and no shard has any; the message names the file and the mismatch.
    """

    def __init__(self, folder: str | Path, distill_weight: float = 0.0, distill_power: float = 1.0) -> None:
        folder = Path(folder)
        if distill_power <= 0:
            raise ValueError(f"the power of the teachers' gains must be above 0, not {distill_power}")
        self.distill_weight = distill_weight
        self.distill_power = distill_power
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder")
        paths = sorted(folder.glob("shard-*.safetensors"))
        if not paths:
            raise ValueError(f"{folder}: no shards here (files named shard-*.safetensors)")
        self.folder = folder
        self._use([ShardFile(path) for path in paths])
        self.description = self._shards[0].description
        self._refused: set[str] = set()
        if distill_weight and not any(TEACHER[GAIN] in shard.tensors for shard in self._shards):
            raise ValueError(f"{folder}: no shard was made with a teacher")

    def _use(self, shards: list[ShardFile]) -> None:
        """Take these shards, in this order."""
        self._shards = shards
        self._first = np.cumsum([0, *(shard.sequences for shard in shards)])
        self._index = {shard.key: number for number, shard in enumerate(shards)}
        self.sequences = int(self._first[-1])
        self.hops = min(shard.hops for shard in shards)
        self.total_hops = sum(shard.sequences * shard.hops for shard in shards)
        self.sequence_hops = np.repeat([shard.hops for shard in shards], [shard.sequences for shard in shards])

    def contents(self) -> list[tuple[str, int]]:
        """Return key and number of sequences of each shard. A key is its name and a hash of what it says it holds."""
        return [(shard.key, shard.sequences) for shard in self._shards]

    def place(self, sequence: int) -> tuple[str, int]:
        """Return the key of a sequence's shard, and its number there."""
        shard = self._number(sequence)
        return self._shards[shard].key, sequence - int(self._first[shard])

    def names(self) -> list[str]:
        """Return the names of the files."""
        return [shard.name for shard in self._shards]

    def look(self, hops: int) -> tuple[list[str], list[str]]:
        """Return the names of the shards that are in the folder now, and what is wrong with those that cannot be used.

        Such a one, which cannot be read or has sequences of less than `hops` hops, is left out, and complained of once.
        """
        found, complaints = [], []
        known = set(self.names())
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            if path.name in known:
                found.append(path.name)
            elif path.name not in self._refused:
                try:
                    shard = ShardFile(path)
                    if shard.hops < hops:
                        raise ValueError(f"{path}: sequences have {shard.hops} hops, {hops} are asked for")
                except (ValueError, OSError) as error:
                    self._refused.add(path.name)
                    complaints.append(str(error))
                else:
                    found.append(path.name)
        return found, complaints

    def update(self, names: Sequence[str]) -> tuple[int, int]:
        """Use the shards of these names alone, new ones behind the others; return how many came and how many went.

        If all of them are gone, the ones in use stay.
        """
        wanted = set(names)
        kept = [shard for shard in self._shards if shard.name in wanted]
        new = [ShardFile(self.folder / name) for name in names if name not in set(self.names())]
        gone = len(self._shards) - len(kept)
        if not kept and not new:
            return 0, 0
        if new or gone:
            self._use(kept + new)
        return len(new), gone

    def arrange(self, keys: Sequence[str]) -> None:
        """Put shards into the order of `keys`, those that it lacks behind them; it may name more."""
        place = {key: number for number, key in enumerate(keys)}
        self._use(sorted(self._shards, key=lambda shard: place.get(shard.key, len(place))))

    def locate(self, picks: Sequence[Pick]) -> list[tuple[int, int]]:
        """Return the picks as (sequence, first hop), which :meth:`crops` takes."""
        return [(int(self._first[self._index[pick.shard]]) + pick.row, pick.start) for pick in picks]

    def has(self, name: str, sequence: int) -> bool:
        """Return whether the shard of a sequence has a tensor of this name."""
        return name in self._shards[self._number(sequence)].tensors

    def _number(self, sequence: int) -> int:
        return int(np.searchsorted(self._first, sequence, side="right")) - 1

    def tensor(self, name: str, sequence: int) -> np.ndarray:
        """Return one tensor of one sequence, [hops, width], as a view of the file."""
        shard = self._number(sequence)
        view: np.ndarray = self._shards[shard].tensors[name][sequence - self._first[shard]]
        return view

    def crops(self, picks: list[tuple[int, int]], hops: int) -> Batch:
        """Return the crops (sequence, first hop) of `hops` hops each, time first."""
        out = {}
        ideal = np.empty((hops, len(picks), NUM_BANDS), np.float16)
        for name in BATCH_TENSORS:
            dtype, width = LAYOUT[name]
            array = np.empty((hops, len(picks), width or 1), dtype)
            for column, (sequence, start) in enumerate(picks):
                part = slice(start, start + hops)
                array[:, column] = self.tensor(name, sequence)[part]
                if name == GAIN:
                    ideal[:, column] = array[:, column]
                if self.distill_weight and name in TEACHER and self.has(TEACHER[name], sequence):
                    teacher = self.tensor(TEACHER[name], sequence)[part]
                    if name == GAIN:
                        teacher = teacher.astype(np.float32) ** np.float32(self.distill_power)
                    both = array[:, column], teacher
                    array[:, column] = mean_by_roots(both, (1 - self.distill_weight, self.distill_weight))
            out[name] = array
        return Batch(**out, ideal=ideal, energy=np.empty((hops, len(picks), 0), np.float32))

    def random_batch(self, rng: np.random.Generator, size: int, hops: int) -> Batch:
        """Return `size` random crops; no sequence occurs twice if there are enough of them."""
        self.require(hops)
        chosen = rng.choice(self.sequences, size, replace=size > self.sequences)
        picks = []
        for sequence in chosen:
            length = self.tensor(VOICE, int(sequence)).shape[0]
            picks.append((int(sequence), int(rng.integers(length - hops + 1))))
        return self.crops(picks, hops)

    def even_batch(self, size: int, hops: int) -> Batch:
        """Return the beginnings of up to `size` sequences spread evenly over all shards."""
        self.require(hops)
        count = min(size, self.sequences)
        chosen = np.linspace(0, self.sequences - 1, count).round().astype(int)
        return self.crops([(int(sequence), 0) for sequence in chosen], hops)

    def require(self, hops: int) -> None:
        """Raise ValueError if some sequence is shorter than `hops`."""
        if hops > self.hops:
            raise ValueError(f"{self.folder}: sequences have {self.hops} hops, {hops} are asked for")

    def feature_statistics(self, sequences: int = 400) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the features, float32 [70] each.

        Up to `sequences` sequences are read, spread evenly. A feature that never moves
        gets a deviation of 1e-3, so that the division by it stays harmless.
        """
        chosen = np.linspace(0, self.sequences - 1, min(sequences, self.sequences)).round().astype(int)
        total = np.zeros(NUM_FEATURES)
        squares = np.zeros(NUM_FEATURES)
        count = 0
        for sequence in chosen:
            block = self.tensor(FEATURES, int(sequence)).astype(np.float64)
            if not np.isfinite(block).all():
                raise ValueError(f"{self.folder}: features of sequence {sequence} are not finite")
            total += block.sum(axis=0)
            squares += (block * block).sum(axis=0)
            count += len(block)
        mean = total / count
        variance = np.maximum(squares / count - mean * mean, 0.0)
        return mean.astype(np.float32), np.maximum(np.sqrt(variance), 1e-3).astype(np.float32)
