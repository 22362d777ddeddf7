"""Shards of a problem that a tiny network learns in seconds."""

from __future__ import annotations

import numpy as np

from percepnet_cli.training.data.shard_file import shard_path, write_shard

SEQUENCES, HOPS = 12, 60


def arrays(rng, sequences=SEQUENCES, hops=HOPS):
    """Four hidden numbers per hop; gains follow from this hop's, strengths from the last one's."""
    hidden = rng.standard_normal((sequences, hops, 4))
    mixing = np.random.default_rng(99).standard_normal((3, 4, 70))
    mixing /= np.linalg.norm(mixing, axis=1, keepdims=True)
    before = np.concatenate((np.zeros((sequences, 1, 4)), hidden[:, :-1]), axis=1)
    features = hidden @ mixing[0]
    gain = 1 / (1 + np.exp(-4 * (hidden @ mixing[1])[:, :, :34]))
    strength = 1 / (1 + np.exp(-4 * (before @ mixing[2])[:, :, :34]))
    ones = np.ones((sequences, hops, 34), np.uint8)
    return {
        "features": (3 * features + 5).astype(np.float16),
        "gain": gain.astype(np.float16),
        "strength": strength.astype(np.float16),
        "gain_weight": ones,
        "strength_weight": ones.copy(),
        "voice": np.ones((sequences, hops), np.uint8),
    }


def write_folders(root):
    """Write two shards to train on and one to validate; return both folders."""
    rng = np.random.default_rng(3)
    for name, count in (("train", 2), ("valid", 1)):
        (root / name).mkdir()
        for index in range(count):
            description = {"seed": index, "corpus": "numbers"}
            write_shard(shard_path(root / name, index), arrays(rng), description)
    return root / "train", root / "valid"


def broken(change):
    data = arrays(np.random.default_rng(0), 2, 5)
    change(data)
    return data
