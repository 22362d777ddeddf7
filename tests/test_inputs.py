"""From names to pairs of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from percepnet_cli.batch.inputs import Item, collect
from percepnet_cli.errors import AudioError, StorageError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/b.wav", "in/a.FLAC", "in/deep/er/c.mp3", "in/deep/film.mp4", "in/notes.txt", "in/.hidden.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(len(name)))
    (tmp_path / "in" / ".git").mkdir()
    (tmp_path / "in" / ".git" / "x.wav").touch()
    return tmp_path


def pairs(*arguments, **options):
    return [(item.source, item.target) for item in collect(*arguments, **options)]


def test_a_folder_is_mirrored_without_what_is_no_sound(tree):
    assert collect(["in"], "out") == [
        Item("in/a.FLAC", "out/a.FLAC", 9),
        Item("in/b.wav", "out/b.wav", 8),
        Item("in/deep/film.mp4", "out/deep/film.wav", 16),
        Item("in/deep/er/c.mp3", "out/deep/er/c.mp3", 16),
    ]
    assert pairs(["in/"], "out/") == pairs(["in"], "out")
    assert pairs(["file://in"], "file://out") == pairs(["in"], "out")


def test_one_extension_for_all(tree):
    assert {Path(target).suffix for _, target in pairs(["in"], "out", suffix=".ogg")} == {".ogg"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.wav", ["out/b.wav"]),
        ("in/**/*.mp*", ["out/deep/er/c.mp3", "out/deep/film.wav"]),
        ("i?/*", ["out/in/a.FLAC", "out/in/b.wav"]),
        ("*/b.wav", ["out/in/b.wav"]),
    ],
)
def test_a_glob_is_mirrored_below_its_fixed_part(tree, pattern, expected):
    assert [target for _, target in pairs([pattern], "out")] == expected
    absolute = pairs([str(tree / pattern)], "out")
    assert [target for _, target in absolute] == expected


def test_files_go_into_the_folder_itself(tree):
    assert pairs(["in/b.wav", "in/deep/er/c.mp3", "none.wav"], "out") == [
        ("in/b.wav", "out/b.wav"),
        ("in/deep/er/c.mp3", "out/c.mp3"),
        ("none.wav", "out/none.wav"),
    ]


def test_a_name_with_brackets_is_a_file_if_there_is_one(tree):
    (tree / "in" / "take[1].wav").touch()
    assert pairs(["in/take[1].wav"], "out") == [("in/take[1].wav", "out/take[1].wav")]


def test_the_output_folder_is_no_input(tree):
    before = pairs(["in"], "in/clean")
    (tree / "in" / "clean").mkdir()
    (tree / "in" / "clean" / "b.wav").touch()
    assert pairs(["in"], "in/clean") == before


def test_the_same_file_twice_is_done_once(tree):
    assert len(collect(["in", "in/b.wav", "in/*.wav"], "out")) == 4


def test_films_beside_their_sound_keep_both_extensions(tree):
    (tree / "in" / "deep" / "film.wav").touch()
    assert ("in/deep/film.mp4", "out/deep/film.mp4.wav") in pairs(["in"], "out")
    targets = [target for _, target in pairs(["in"], "out", suffix=".flac")]
    assert len(set(targets)) == 5 and "out/deep/film.wav.flac" in targets


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (["nothing"], "nothing: no sound files there"),
        (["in/*.ogg"], r"in/\*.ogg: no sound files there"),
        (["in", "nothing/b.wav"], "would both become out/b.wav"),
    ],
)
def test_what_cannot_be_collected(tree, inputs, sentence):
    (tree / "nothing").mkdir()
    with pytest.raises(AudioError, match=sentence):
        collect(inputs, "out")


def test_urls(tree):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    for name in ("/talks/a.wav", "/talks/b/c.flac", "/talks/b/notes.txt"):
        store.pipe_file(name, b"12345")
    assert collect(["memory://talks"], "memory://clean/") == [
        Item("memory:///talks/a.wav", "memory://clean/a.wav", 5),
        Item("memory:///talks/b/c.flac", "memory://clean/b/c.flac", 5),
    ]
    assert pairs(["memory://talks/**/*.flac"], "out") == [("memory:///talks/b/c.flac", os.path.join("out", "b/c.flac"))]
    assert pairs(["memory://talks/a.wav"], "out") == [("memory:///talks/a.wav", "out/a.wav")]
    with pytest.raises(AudioError, match="no sound files there"):
        collect(["memory://nowhere/"], "out")
    with pytest.raises(StorageError, match="carrier://x/ cannot be reached"):
        collect(["carrier://x/"], "out")
