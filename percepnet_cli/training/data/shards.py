"""Shards: files of features and targets, computed once and read many times.

A shard is a safetensors file with `sequences` segments of `hops` windows of 10 ms:

======================  =======  =======================  ========================================
tensor                  dtype    shape                    meaning
======================  =======  =======================  ========================================
``features``            float16  [sequences, hops, 70]    input of the network, not normalized
``gain``                float16  [sequences, hops, 34]    wanted gain, 0..1
``strength``            float16  [sequences, hops, 34]    wanted strength of the comb filter, 0..1
``gain_weight``         uint8    [sequences, hops, 34]    0 where a gain cannot be judged, else 1
``strength_weight``     uint8    [sequences, hops, 34]    the same for the strength
``voice``               uint8    [sequences, hops]        1 where there is speech
``teacher_gain``        float16  [sequences, hops, 34]    the teachers' target of the gain, 0..1; optional
``teacher_strength``    float16  [sequences, hops, 34]    likewise the strength; optional
======================  =======  =======================  ========================================

The metadata key ``percepnet`` holds JSON: ``format_version``, ``kind`` and whatever
tells where the data come from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save

from percepnet_cli.constants import NUM_BANDS, NUM_FEATURES
from percepnet_cli.storage.atomic import write_atomically
from percepnet_cli.training import renamed

FORMAT_VERSION = 1
"""Version of the layout above."""

METADATA_KEY = "percepnet"
"""Key of the JSON description in the metadata of a file."""

KIND = "targets"
"""What a shard calls itself."""

FEATURES = "features"
GAIN = "gain"
STRENGTH = "strength"
GAIN_WEIGHT = "gain_weight"
STRENGTH_WEIGHT = "strength_weight"
VOICE = "voice"
TEACHER = {GAIN: "teacher_gain", STRENGTH: "teacher_strength"}
"""What teachers have a target of their own for, and its name. A shard may lack it."""

LAYOUT: dict[str, tuple[str, int | None]] = {
    FEATURES: ("float16", NUM_FEATURES),
    GAIN: ("float16", NUM_BANDS),
    STRENGTH: ("float16", NUM_BANDS),
    GAIN_WEIGHT: ("uint8", NUM_BANDS),
    STRENGTH_WEIGHT: ("uint8", NUM_BANDS),
    VOICE: ("uint8", None),
    TEACHER[GAIN]: ("float16", NUM_BANDS),
    TEACHER[STRENGTH]: ("float16", NUM_BANDS),
}
"""Name -> (dtype, width); a width of None stands for one number per hop."""

BATCH_TENSORS = (FEATURES, GAIN, STRENGTH, GAIN_WEIGHT, STRENGTH_WEIGHT)
"""What a training batch begins with, in the order of :class:`Batch`."""

_DTYPE_CODES: dict[str, np.dtype[Any]] = {"F16": np.dtype(np.float16), "U8": np.dtype(np.uint8)}


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


def shard_path(folder: str | Path, index: int) -> Path:
    """Return the file name of shard number `index` of a folder."""
    return Path(folder) / f"shard-{index:05d}.safetensors"


def _check(where: str, found: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> tuple[int, int]:
    """Return (sequences, hops) of a set of tensors, or say what is wrong with it."""
    optional = () if any(name in found for name in TEACHER.values()) else TEACHER.values()
    missing = [name for name in LAYOUT if name not in found and name not in optional]
    if missing:
        raise ValueError(f"{where}: no tensor named {', '.join(missing)}")
    sequences, hops = (*found[FEATURES][1], 0, 0)[:2]
    if not sequences or not hops:
        raise ValueError(f"{where}: {FEATURES} is empty, its shape is {list(found[FEATURES][1])}")
    for name, (dtype, width) in LAYOUT.items():
        if name not in found:
            continue
        expected = (sequences, hops) if width is None else (sequences, hops, width)
        if found[name][1] != expected:
            raise ValueError(f"{where}: {name} has shape {list(found[name][1])}, expected {list(expected)}")
        if found[name][0] != np.dtype(dtype):
            raise ValueError(f"{where}: {name} is {found[name][0]}, expected {dtype}")
    return sequences, hops


def write_shard(path: str | Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Write one shard; a reader sees the whole file or none of it.

    Parameters
    ----------
    path
        File to write, normally from :func:`shard_path`.
    arrays
        The tensors of the table above, exactly these names, dtypes and shapes.
    description
        JSON values that say what the data are; ``format_version`` and ``kind`` are added.

    Raises
    ------
    ValueError
        A tensor is missing, unknown, of another shape or dtype, or not finite.
    """
    path = Path(path)
    unknown = [name for name in arrays if name not in LAYOUT]
    if unknown:
        raise ValueError(f"{path}: unknown tensor {', '.join(unknown)}")
    _check(str(path), {name: (array.dtype, array.shape) for name, array in arrays.items()})
    for name in (FEATURES, GAIN, STRENGTH, *TEACHER.values()):
        if name in arrays and not np.isfinite(arrays[name]).all():
            raise ValueError(f"{path}: {name} holds values that are not finite")
    text = json.dumps({**description, "format_version": FORMAT_VERSION, "kind": KIND}, sort_keys=True)
    tensors = {name: np.ascontiguousarray(arrays[name]) for name in LAYOUT if name in arrays}
    data = save(tensors, metadata={METADATA_KEY: text})
    write_atomically(path, lambda part: part.write_bytes(data))


def read_description(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """Return what the metadata of a file say, {} for none. Raises ValueError or AttributeError if that is no JSON."""
    return renamed.shard_description(json.loads((metadata or {}).get(METADATA_KEY, "{}")))


class _Shard:
    """One file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ValueError(f"{path}: not a safetensors file")
            try:
                text = file.read(length)
                header = {renamed.TENSORS.get(name, name): entry for name, entry in json.loads(text).items()}
                metadata = header.pop("__metadata__", {})
                self.description = read_description(metadata)
            except (ValueError, AttributeError) as error:
                raise ValueError(f"{path}: not a safetensors file ({error})") from error
        self.name = path.name
        self.key = f"{path.stem} {hashlib.sha256(text).hexdigest()[:8]}"
        if self.description.get("kind") != KIND:
            kind = self.description.get("kind", "nothing")
            raise ValueError(f"{path}: not a shard of {KIND}, it calls itself {kind}")
        if self.description.get("format_version") != FORMAT_VERSION:
            version = self.description.get("format_version")
            raise ValueError(f"{path}: format version {version}, this program reads {FORMAT_VERSION}")
        found = {
            name: (_DTYPE_CODES.get(entry["dtype"], np.dtype(object)), tuple(entry["shape"]))
            for name, entry in header.items()
        }
        self.sequences, self.hops = _check(str(path), found)
        data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
        self.tensors: dict[str, np.ndarray] = {}
        for name in LAYOUT:
            if name not in found:
                continue
            dtype, shape = found[name]
            start, stop = header[name]["data_offsets"]
            if stop > data.size or stop - start != dtype.itemsize * int(np.prod(shape)):
                raise ValueError(f"{path}: cut short, {name} ends outside the file")
            self.tensors[name] = np.asarray(data[start:stop]).view(dtype).reshape(shape)


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
        self._use([_Shard(path) for path in paths])
        self.description = self._shards[0].description
        self._refused: set[str] = set()
        if distill_weight and not any(TEACHER[GAIN] in shard.tensors for shard in self._shards):
            raise ValueError(f"{folder}: no shard was made with a teacher")

    def _use(self, shards: list[_Shard]) -> None:
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
                    shard = _Shard(path)
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
        new = [_Shard(self.folder / name) for name in names if name not in set(self.names())]
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
