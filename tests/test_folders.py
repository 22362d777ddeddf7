"""All commands find the same sound files in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from percepnet_cli.audio.folders import is_sound, sound_files
from percepnet_cli.batch.inputs import collect
from percepnet_cli.errors import StorageError
from percepnet_cli.evaluation.score import recordings
from percepnet_cli.training.data.corpus import find


@pytest.fixture
def tree(tmp_path):
    for name in ("b.wav", "a.FLAC", "z/c.mp3", "z/y/d.wav", "m/e.m4a", "notes.txt", ".h.wav", ".git/x.wav", "wav"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(len(name)))
    (tmp_path / "in" / "folder.wav").mkdir()
    return tmp_path / "in"


EXPECTED = ["a.FLAC", "b.wav", "m/e.m4a", "z/c.mp3", "z/y/d.wav"]


def test_files_come_before_folders_by_name_and_hidden_ones_not_at_all(tree):
    assert [(found.name, found.size) for found in sound_files(str(tree))] == [(n, len(n)) for n in EXPECTED]
    assert [found.path for found in sound_files(f"file://{tree}")] == [str(tree / name) for name in EXPECTED]
    assert [found.name for found in sound_files(str(tree), str(tree / "z"))] == EXPECTED[:3]


def test_linked_folders_are_searched_once_and_circles_end(tree, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "f.wav").touch()
    (elsewhere / "circle").symlink_to(elsewhere)
    (tree / "l1").symlink_to(elsewhere)
    (tree / "l2").symlink_to(elsewhere)
    (tree / "top").symlink_to(tree)
    (tree / "broken.wav").symlink_to(tree / "nowhere")
    assert [found.name for found in sound_files(str(tree))] == [*EXPECTED[:2], "l1/f.wav", *EXPECTED[2:]]


def test_a_folder_that_cannot_be_opened_is_named(tree, close_folder):
    close_folder("z")
    with pytest.raises(StorageError, match="z cannot be opened: Permission denied"):
        list(sound_files(str(tree)))


def test_all_commands_find_the_same(tree, tmp_path):
    expected = sorted(str(tree / name) for name in EXPECTED)
    assert sorted(item.source for item in collect([str(tree)], str(tmp_path / "out"))) == expected
    assert sorted(map(str, recordings(tree).values())) == expected
    assert [recording.path for recording in find(tree)] == sorted(expected, key=Path)


def test_the_extension_decides():
    assert is_sound("x/A.WAV") and is_sound("a.opus")
    assert not is_sound(".a.wav") and not is_sound("wav") and not is_sound("a.txt")
