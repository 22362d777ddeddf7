"""Where a result may go is decided in one place, by one sentence, before any work."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner

from percepnet_cli.cli import main
from percepnet_cli.errors import AudioError, StorageError
from percepnet_cli.storage.target import check_file, check_folder, make_folder


@pytest.fixture
def place(tmp_path):
    (tmp_path / "there.csv").write_text("x")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder", "folder is a folder; give the name of a file"),
        ("none/x.csv", "x.csv cannot be written: there is no such folder"),
        ("there.csv/x.csv", "x.csv cannot be written: Not a directory"),
        ("x" * 300, "x cannot be written: File name too long"),
    ],
)
def test_what_cannot_be_written_is_said_whether_or_not_it_is_forced(place, name, sentence, force):
    with pytest.raises(StorageError) as caught:
        check_file(place / name, force)
    assert str(caught.value).endswith(sentence) and str(place / name) in str(caught.value)


def test_what_exists_needs_force_and_what_does_not_is_free(place):
    with pytest.raises(AudioError, match=r"there\.csv already exists; use force=True to replace it"):
        check_file(place / "there.csv", False, error=AudioError)
    check_file(place / "there.csv", True)
    check_file(place / "new.csv", False)
    assert sorted(os.listdir(place)) == ["folder", "there.csv"]


def test_a_link_is_a_file_even_if_it_leads_nowhere(place):
    (place / "link").symlink_to(place / "nowhere")
    with pytest.raises(StorageError, match="link already exists"):
        check_file(place / "link", False)
    check_file(place / "link", True)


def test_an_input_is_never_replaced(place):
    (place / "same.csv").hardlink_to(place / "there.csv")
    (place / "link.csv").symlink_to(place / "there.csv")
    for name in ("there.csv", "same.csv", "link.csv"):
        with pytest.raises(StorageError, match=f"{name} is an input; give the result another name"):
            check_file(place / name, True, inputs=[place / "none", place / "there.csv"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_what_is_no_file_is_never_replaced(place):
    os.mkfifo(place / "pipe")
    with pytest.raises(StorageError, match="pipe is no file that could be replaced"):
        check_file(place / "pipe", True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything can be written here")
def test_a_read_only_folder_is_found_before_the_work(place):
    (place / "folder").chmod(0o555)
    with pytest.raises(StorageError, match="its folder is read-only"):
        check_file(place / "folder" / "x.csv", False)


def test_folders_are_made_where_they_can_be(place):
    make_folder(place / "a" / "b")
    make_folder(place / "a" / "b")
    assert (place / "a" / "b").is_dir()
    for check in (check_folder, make_folder):
        with pytest.raises(StorageError, match=r"there\.csv is a file; give a folder for the results"):
            check(place / "there.csv")
    with pytest.raises(StorageError, match="cannot be made: Not a directory"):
        make_folder(place / "there.csv" / "a")


def test_a_model_is_not_quantized_into_itself(place):
    path = place / "model.safetensors"
    path.write_bytes(b"weights")
    result = CliRunner().invoke(main, ["quantize", "--force", str(path), str(path)])
    assert result.exit_code == 1 and result.stderr == f"Error: {path} is an input; give the result another name\n"
    assert path.read_bytes() == b"weights"
