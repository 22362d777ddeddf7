"""The model file: read it, check every entry, write it.

A model is a safetensors file. Tensors are named as in the torch module; every matrix ``X`` is int8
with its float32 ``X_scale`` per output row. The metadata key ``percepnet`` holds JSON: format version,
kind, the constants it was trained for, the layer sizes and where it comes from. Nothing in it depends on the CPU.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from percepnet_cli.constants import (
    BAND_CENTERS,
    BIDIRECTIONAL_BLOCK_HOPS,
    BIDIRECTIONAL_FUTURE_HOPS,
    DEFAULT_FILE_MODEL,
    DEFAULT_MODEL,
    HOP_SIZE,
    LATENCY_SAMPLES,
    LOOKAHEAD_HOPS,
    NUM_BANDS,
    NUM_FEATURES,
    SAMPLE_RATE,
)
from percepnet_cli.errors import ModelError
from percepnet_cli.network.graph import Sizes, matrices
from percepnet_cli.storage import untrusted
from percepnet_cli.storage.packaged import packaged

FORMAT_VERSION = 1
METADATA_KEY = "percepnet"
LARGEST_WIDTH = 4096
"""Layer sizes above this are taken for damage."""


@dataclass(frozen=True, eq=False)
class Model:
    """A checked model, read-only: any number of streams share it."""

    name: str
    sizes: Sizes
    tensors: dict[str, np.ndarray]
    """See ``layout``."""
    metadata: dict[str, Any]
    digest: str
    """SHA-256 of the file, 64 hex digits."""

    @property
    def post_filter(self) -> float:
        """Share of the post-filter that the gains are meant for, 0..1: 0 if they were trained on what is heard."""
        return float(self.metadata.get("post_filter", True))

    @property
    def latency_hops(self) -> int:
        """Hops by which the network itself is late: 0 if it is causal, else what its blocks wait for."""
        return BIDIRECTIONAL_BLOCK_HOPS + BIDIRECTIONAL_FUTURE_HOPS - 1 if self.sizes.bidirectional else 0

    @property
    def latency_samples(self) -> int:
        """Samples at 48 kHz by which the whole path with this model is late."""
        return LATENCY_SAMPLES + self.latency_hops * HOP_SIZE

    @property
    def num_weights(self) -> int:
        """Number of weights, without biases: also the multiply-adds per hop, but for what blocks compute again."""
        return sum(math.prod(shape) for shape in matrices(self.sizes).values())


def layout(sizes: Sizes, kind: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return dtype and shape of every tensor of an ``int8`` or ``float`` model."""
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        "feature_mean": ("float32", (NUM_FEATURES,)),
        "feature_std": ("float32", (NUM_FEATURES,)),
    }
    for name, shape in matrices(sizes).items():
        tensors[name] = ("int8" if kind == "int8" else "float32", shape)
        tensors[name.replace("weight", "bias")] = ("float32", shape[:1])
        if kind == "int8":
            tensors[f"{name}_scale"] = ("float32", shape[:1])
    return tensors


def shipped_names() -> list[str]:
    """Return the names of the models that come with the program, sorted."""
    suffix = ".safetensors"
    files = packaged("models").iterdir()
    return sorted(path.name.removesuffix(suffix) for path in files if path.name.endswith(suffix))


def find_model(name: str | Path | None) -> tuple[str, Path]:
    """Return name and path of a shipped model, or of a file. Raises ModelError if there is none."""
    # A bare word is a shipped model's name first; a file of that name is taken if there is no such model
    shipped = packaged("models")
    if name is None or (isinstance(name, str) and Path(name).name == name and not Path(name).suffix):
        wanted = name or DEFAULT_MODEL
        path = Path(str(shipped / f"{wanted}.safetensors"))
        if os.path.isfile(path):
            return str(wanted), path
        if name is None or not os.path.exists(name):
            names = ", ".join(shipped_names()) or "none"
            raise ModelError(f"there is no model '{wanted}': shipped are {names}; or name a file")

    path = Path(str(name))
    if not os.path.isfile(path):
        raise ModelError(f"{path}: {_why_no_file(path)}")
    return path.stem, path


def _why_no_file(path: Path) -> str:
    """Return why there is no file at a path: the system's reason, where it does not let us look."""
    try:
        os.stat(path)
    except OSError as error:
        if error.strerror and error.errno not in (errno.ENOENT, errno.ENOTDIR):
            return error.strerror
    except ValueError:  # a name that no system takes
        pass
    return "no such model file"


def load_model(name: str | Path | None = None, kind: str = "int8") -> Model:
    """Read and check a model.

    name: a shipped model's name, a path, or None for the default. kind: ``int8``, or ``float`` for
    the trainer's, whose matrices may be float16 in the file. Raises ModelError, naming the file and the first
    thing that is wrong with it.
    """
    label, path = find_model(name)

    # What is no such file fails in one of many ways; safetensors runs no code, so a bad file can do no more
    try:
        data = path.read_bytes()
        entries = dict(deserialize(data))  # type: ignore[no-untyped-call]
        header = untrusted.parse(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = untrusted.parse(header["__metadata__"][METADATA_KEY])
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise ModelError(f"{path} is not a percepnet model, or it is damaged") from None

    # Every tensor that the sizes ask for, in the dtype and shape that they ask for
    sizes = _check_metadata(path, metadata, kind)
    tensors = {}
    for tensor, (dtype, shape) in layout(sizes, kind).items():
        entry = entries.pop(tensor, None)
        if entry is None:
            raise ModelError(f"{path}: {tensor} is missing")

        # Float models may come with matrices in float16
        half = kind == "float" and entry["dtype"] == "F16"
        if tuple(entry["shape"]) != shape or not (half or entry["dtype"] == {"int8": "I8", "float32": "F32"}[dtype]):
            raise ModelError(
                f"{path}: {tensor} is {entry['dtype']} {list(entry['shape'])}, expected {dtype} {list(shape)}"
            )

        array = np.frombuffer(entry["data"], np.float16 if half else dtype).reshape(shape).astype(dtype)
        if not np.isfinite(array).all():
            raise ModelError(f"{path}: {tensor} holds values that are not finite")
        tensors[tensor] = array

    # And nothing else
    if entries:
        raise ModelError(f"{path}: {sorted(entries)[0]} does not belong to a model of this shape")
    if not (tensors["feature_std"] > 0).all():
        raise ModelError(f"{path}: feature_std must be positive")
    return Model(label, sizes, tensors, metadata, hashlib.sha256(data).hexdigest())


def load_file_model(name: Model | str | os.PathLike[str] | None) -> Model:
    """Return the model for files: as given, of a name or path, or for None the default for files. Raises ModelError."""
    return name if isinstance(name, Model) else load_model(os.fspath(DEFAULT_FILE_MODEL if name is None else name))


def _check_metadata(path: Path, metadata: Any, kind: str) -> Sizes:
    """Return the layer sizes if the metadata fits this program and kind; raises ModelError otherwise."""
    if not isinstance(metadata, dict):
        raise ModelError(f"{path}: its description is not a JSON object")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"{path}: format version {metadata.get('format_version')}, this program reads {FORMAT_VERSION}"
        )
    if metadata.get("kind") != kind:
        hint = "; make it one with 'percepnet quantize'" if metadata.get("kind") == "float" else ""
        raise ModelError(f"{path} is a model of kind '{metadata.get('kind')}', not '{kind}'{hint}")

    # Features of another hop size or look-ahead would have the right shape and mean something else
    for key, expected in description().items():
        if metadata.get(key) != expected:
            raise ModelError(f"{path} was made for {key} {metadata.get(key)}, this program has {expected}")

    # Sizes are checked before anything is allocated by them
    try:
        sizes = Sizes(**metadata["sizes"])
    except (KeyError, TypeError):
        raise ModelError(f"{path}: its layer sizes are missing or incomplete") from None

    *widths, bidirectional = sizes
    sensible = all(isinstance(size, int) and 0 < size <= LARGEST_WIDTH for size in widths)
    if not sensible or not isinstance(bidirectional, bool):
        raise ModelError(f"{path}: its layer sizes make no sense: {list(sizes)}")

    # How the gains are used is the model's to say
    share = metadata.get("post_filter", True)
    if not isinstance(share, (bool, int, float)) or not 0 <= share <= 1:
        raise ModelError(f"{path}: its share of the post-filter is {str(share)[:40]}, it must be 0 to 1")
    return sizes


def description() -> dict[str, Any]:
    """Return the constants that a model is bound to."""
    return {
        "sample_rate": SAMPLE_RATE,
        "hop": HOP_SIZE,
        "bands": NUM_BANDS,
        "features": NUM_FEATURES,
        "lookahead_hops": LOOKAHEAD_HOPS,
    }


def model_bytes(tensors: dict[str, np.ndarray], sizes: Sizes, kind: str, origin: dict[str, Any]) -> bytes:
    """Return the content of a model file. origin: JSON values that say where the model comes from."""
    metadata = {"format_version": FORMAT_VERSION, "kind": kind, **description(), "sizes": sizes.to_json()}
    metadata |= {key: value for key, value in origin.items() if key not in metadata}
    metadata.setdefault("band_tips", list(BAND_CENTERS))
    return bytes(save(tensors, {METADATA_KEY: json.dumps(metadata, sort_keys=True)}))
