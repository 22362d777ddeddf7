"""Shards: what is written comes back, what is wrong is named."""

import json
import os

import numpy as np
import pytest
import small_shards
from safetensors.numpy import save_file
from small_shards import arrays, broken

from percepnet_cli.training.data.shard_file import shard_path, write_shard
from percepnet_cli.training.data.shards import Shards


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return small_shards.write_folders(tmp_path_factory.mktemp("shards"))


def test_a_shard_comes_back_as_it_was(tmp_path):
    written = arrays(np.random.default_rng(0), 3, 7)
    write_shard(shard_path(tmp_path, 0), written, {"corpus": "a"})
    write_shard(shard_path(tmp_path, 1), {k: v[:2] for k, v in written.items()}, {"corpus": "b"})
    assert sorted(os.listdir(tmp_path)) == ["shard-00000.safetensors", "shard-00001.safetensors"]
    reader = Shards(tmp_path)
    assert (reader.sequences, reader.hops, reader.total_hops) == (5, 7, 35)
    assert reader.description == {"corpus": "a", "format_version": 1, "kind": "targets"}
    for name, value in written.items():
        for sequence in range(5):
            assert np.array_equal(reader.tensor(name, sequence), value[sequence % 3])
    batch = reader.crops([(4, 2), (0, 1), (2, 0)], 5)
    assert batch.features.shape == (5, 3, 70)
    assert np.array_equal(batch.features[:, 0], written["features"][1, 2:7])
    assert np.array_equal(batch.strength_weight[:, 2], written["strength_weight"][2, :5])


def test_statistics_of_the_features(folders):
    mean, std = Shards(folders[0]).feature_statistics()
    assert mean.dtype == std.dtype == np.float32
    assert np.allclose(mean, 5, atol=0.4)
    assert np.allclose(std, 3, atol=0.3)


def test_batches_are_a_function_of_the_seed(folders):
    reader = Shards(folders[0])
    first, again, other = (reader.random_batch(np.random.default_rng((7, s)), 4, 20) for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.features, other.features)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("gain"), "no tensor named gain"),
        (lambda d: d.update(extra=d["gain"]), "unknown tensor extra"),
        (
            lambda d: d.update(gain=d["gain"][:, :, :32]),
            r"gain has shape \[2, 5, 32\], expected \[2, 5, 34\]",
        ),
        (lambda d: d.update(voice=d["voice"][:1]), r"voice has shape \[1, 5\], expected \[2, 5\]"),
        (
            lambda d: d.update(features=d["features"].astype(np.float32)),
            "features is float32, expected float16",
        ),
        (lambda d: d["strength"].fill(np.nan), "strength holds values that are not finite"),
    ],
)
def test_what_is_not_a_shard_is_not_written(tmp_path, change, words):
    with pytest.raises(ValueError, match=f"shard-00000.safetensors: {words}"):
        write_shard(shard_path(tmp_path, 0), broken(change), {})
    assert not os.listdir(tmp_path)


def test_a_failed_write_leaves_the_old_shard(tmp_path, monkeypatch):
    path = shard_path(tmp_path, 0)
    write_shard(path, broken(lambda d: None), {"corpus": "old"})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_shard(path, broken(lambda d: None), {"corpus": "new"})
    assert os.listdir(tmp_path) == [path.name]
    assert Shards(tmp_path).description["corpus"] == "old"


def test_errors_of_reading_name_the_file(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        Shards(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no shards here"):
        Shards(tmp_path)
    path = shard_path(tmp_path, 0)
    good = broken(lambda d: None)

    def metadata(**values):
        return {"percepnet": json.dumps({"kind": "targets", "format_version": 1, **values})}

    for data, meta, words in (
        (good, None, "calls itself nothing"),
        (good, metadata(kind="int8"), "calls itself int8"),
        (good, metadata(format_version=2), "format version 2, this program reads 1"),
        (broken(lambda d: d.pop("voice")), metadata(), "no tensor named voice"),
        (
            broken(lambda d: d.update(gain=d["gain"][:, :3].copy())),
            metadata(),
            r"gain has shape \[2, 3, 34\]",
        ),
        (broken(lambda d: d.update(gain=d["gain"].astype("f4"))), metadata(), "gain is .*, expected float16"),
    ):
        save_file(data, path, metadata=meta)
        with pytest.raises(ValueError, match=f"shard-00000.safetensors.*{words}"):
            Shards(tmp_path)
    path.write_bytes(b"RIFF....WAVEfmt ")
    with pytest.raises(ValueError, match=r"shard-00000.safetensors: not a safetensors file"):
        Shards(tmp_path)
    write_shard(path, good, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"shard-00000.safetensors: cut short"):
        Shards(tmp_path)
