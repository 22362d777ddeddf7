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


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_two_inputs_that_land_in_one_place_by_a_link_are_refused(tree):
    for name in ("one", "two"):
        (tree / "in" / name).mkdir()
        (tree / "in" / name / "x.wav").touch()
    (tree / "out" / "one").mkdir(parents=True)
    (tree / "out" / "two").symlink_to(tree / "out" / "one")
    with pytest.raises(AudioError, match=r"in/one/x.wav and in/two/x.wav would both become out/two/x.wav"):
        collect(["in"], "out")


@pytest.mark.parametrize("pattern", ["**/*.wav", "./**/*.wav", "*/*.wav", "../{}/**/b.wav"])
def test_a_glob_leaves_out_its_own_results(tree, pattern):
    pattern = pattern.format(tree.name)
    before = pairs([pattern], "results")
    assert [source for source, _ in before if source.endswith("in/b.wav")]
    for _, target in before:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    (tree / "results" / "b.wav").touch()
    assert pairs([pattern], "results") == before
    assert pairs(["results/*.wav"], "results")  # named outright, it is meant


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
@pytest.mark.parametrize("pattern", ["in/**/*.wav", "in/**", "in/**/**/[ab].*", "**/b.wav"])
def test_a_glob_ends_in_circles_of_links(tree, pattern):
    expected = pairs([pattern], "out")
    assert expected
    for number in range(12):  # each doubles the ways to a file
        (tree / "in" / f"circle{number}").symlink_to(tree / "in")
        (tree / "in" / "deep" / f"circle{number}").symlink_to(tree / "in" / "deep")
    assert pairs([pattern], "out") == expected


@pytest.mark.parametrize("pattern", ["in/*/*.wav", "in/*/x.wav", "*/*/**/*.wav", "in/deep/*.wav"])
def test_a_folder_of_a_glob_that_cannot_be_opened_is_named(tree, close_folder, pattern):
    close_folder("deep")
    with pytest.raises(StorageError, match=r"in/deep cannot be opened: Permission denied"):
        collect([pattern], "out")


def test_stars_stand_for_folders_as_in_glob(tree):
    import glob

    for pattern in (
        "in/**/*.wav",
        "in/**",
        "**/deep/*.mp4",
        "**/*",
        "in/*/**/*.mp3",
        "i[n]/**/e?/c.*",
        "in/**/in/*.wav",
    ):
        sounds = [n for n in glob.glob(pattern, recursive=True) if os.path.isfile(n) and not n.endswith(".txt")]
        try:
            found = [source for source, _ in pairs([pattern], "out")]
        except AudioError:
            found = []
        assert sorted(found) == sorted(set(sounds)), pattern


@pytest.mark.parametrize("key", ["../../../escaped.wav", "b/../../x.wav", "..\\..\\x.wav"])
def test_names_of_stores_that_lead_out_of_the_folder_are_refused(tree, key):
    memory = pytest.importorskip("fsspec.implementations.memory")
    store = memory.MemoryFileSystem()
    store.pipe_file("/hostile/ok.wav", b"12345")
    path = f"/hostile/{key}"
    memory.MemoryFileSystem.store[path] = memory.MemoryFile(store, path, b"12345")
    try:
        with pytest.raises(StorageError, match="no name of a file below memory://hostile"):
            collect(["memory://hostile"], "out")
    finally:
        store.rm("/hostile", recursive=True)
        memory.MemoryFileSystem.store.pop(path, None)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:1/x/", "zip://a.wav::nope.zip"])
def test_what_cannot_be_reached_is_named_in_words(tree, url):
    pytest.importorskip("fsspec")
    with pytest.raises(StorageError, match=r"cannot be reached: (Connection refused|No such file or directory)$"):
        collect([url], "out")


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
