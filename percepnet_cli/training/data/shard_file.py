"""The file of a shard: features and targets of many sequences, computed once and read many times.

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from percepnet_cli.constants import NUM_BANDS, NUM_FEATURES
from percepnet_cli.storage import untrusted
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

_DTYPE_CODES: dict[str, np.dtype[Any]] = {"F16": np.dtype(np.float16), "U8": np.dtype(np.uint8)}


def shard_path(folder: str | Path, index: int) -> Path:
    """Return the file name of shard number `index` of a folder."""
    return Path(folder) / f"shard-{index:05d}.safetensors"


def check(where: str, found: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> tuple[int, int]:
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
    check(str(path), {name: (array.dtype, array.shape) for name, array in arrays.items()})
    for name in (FEATURES, GAIN, STRENGTH, *TEACHER.values()):
        if name in arrays and not np.isfinite(arrays[name]).all():
            raise ValueError(f"{path}: {name} holds values that are not finite")
    text = json.dumps({**description, "format_version": FORMAT_VERSION, "kind": KIND}, sort_keys=True)
    tensors = {name: np.ascontiguousarray(arrays[name]) for name in LAYOUT if name in arrays}
    data = save(tensors, metadata={METADATA_KEY: text})
    write_atomically(path, lambda part: part.write_bytes(data))


def read_description(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """Return what the metadata of a file say, {} for none. Raises ValueError or AttributeError if that is no JSON."""
    return renamed.shard_description(untrusted.parse((metadata or {}).get(METADATA_KEY, "{}")))


def _kind(path: Path, name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of a tensor as the header has them. Raises ValueError if it says no such thing."""
    try:
        numbers = [*entry["shape"], *entry["data_offsets"]]
        sensible = all(type(number) is int and number >= 0 for number in numbers) and len(entry["data_offsets"]) == 2
        if sensible:
            return _DTYPE_CODES.get(entry["dtype"], np.dtype(object)), tuple(entry["shape"])
    except (KeyError, TypeError):
        pass
    raise ValueError(f"{path}: not a safetensors file (what it says of {name} makes no sense)")


class ShardFile:
    """One file, mapped into memory.

    Attributes
    ----------
    name
        Of the file, without its folder.
    key
        Its name, and a hash of what it says it holds.
    description
        What its metadata say.
    sequences, hops
        How many there are, and how long each is.
    tensors
        Views of the file by name, as in the table above.

    Raises
    ------
    ValueError
        It is no such file, or not whole; the message names it.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                raise ValueError(f"{path}: not a safetensors file")

            # The header is JSON; what follows it is not read before it is asked for
            try:
                text = file.read(length)
                header = {renamed.TENSORS.get(name, name): entry for name, entry in untrusted.parse(text).items()}
                metadata = header.pop("__metadata__", {})
                self.description = read_description(metadata)
            except (ValueError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}: not a safetensors file (its header makes no sense)") from error

        self.name = path.name
        self.key = f"{path.stem} {hashlib.sha256(text).hexdigest()[:8]}"
        if self.description.get("kind") != KIND:
            kind = self.description.get("kind", "nothing")
            raise ValueError(f"{path}: not a shard of {KIND}, it calls itself {kind}")
        if self.description.get("format_version") != FORMAT_VERSION:
            version = self.description.get("format_version")
            raise ValueError(f"{path}: format version {version}, this program reads {FORMAT_VERSION}")

        # Shapes before data: a tensor of another kind is named by what it is
        found = {name: _kind(path, name, entry) for name, entry in header.items()}
        self.sequences, self.hops = check(str(path), found)

        # Views of the mapped file, once it is sure that it holds them
        data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
        self.tensors: dict[str, np.ndarray] = {}
        for name in LAYOUT:
            if name not in found:
                continue
            dtype, shape = found[name]
            start, stop = header[name]["data_offsets"]
            if not 0 <= start <= stop <= data.size or stop - start != dtype.itemsize * int(np.prod(shape)):
                raise ValueError(f"{path}: cut short, {name} ends outside the file")

            self.tensors[name] = np.asarray(data[start:stop]).view(dtype).reshape(shape)
