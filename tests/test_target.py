"""Where a result may go is decided in one place, by one sentence, before any work."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from conftest import SMALL, random_tensors

from percepnet_cli.cli import main
from percepnet_cli.errors import AudioError, StorageError
from percepnet_cli.export.workshop import deliver
from percepnet_cli.network.graph import Sizes
from percepnet_cli.network.modelfile import model_bytes
from percepnet_cli.storage.atomic import PendingFile
from percepnet_cli.storage.target import check_file, check_folder, make_folder, write_file


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


RESULTS = {
    "model": ("m.safetensors", ["quantize", "float.safetensors", "m.safetensors"]),
    "scores": ("s.csv", ["evaluate", "a.wav", "--compare", "x=a.wav", "--no-wer", "--no-dnsmos", "--csv", "s.csv"]),
    "numbers": ("s.json", ["evaluate", "a.wav", "--compare", "x=a.wav", "--no-wer", "--no-dnsmos", "--json", "s.json"]),
    "picture": ("p.png", ["plot", "a.wav", "--output", "p.png"]),
    "where speech is": ("v.csv", ["denoise", "--vad", "v.csv", "a.wav", "b.wav"]),
    "report": ("r.csv", ["denoise", "--report", "r.csv", "a.wav", "b.wav"]),
    "report of many": ("r.json", ["denoise", "--jobs", "1", "--report", "r.json", "a.wav", "out/"]),
}
"""What writes a result beside the sound: its name, and the command."""


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = Sizes(*SMALL)
    (tmp_path / "float.safetensors").write_bytes(model_bytes(random_tensors(sizes, 1), sizes, "float", {}))
    soundfile.write("a.wav", 0.1 * np.random.default_rng(1).standard_normal(24000), 48000)
    return tmp_path


@pytest.mark.parametrize("kind", RESULTS)
def test_what_appears_during_the_work_is_not_replaced(inputs, monkeypatch, kind):
    name, command = RESULTS[kind]
    if kind == "picture":
        pytest.importorskip("matplotlib")
    original = PendingFile.__init__

    def begin(self, target, *more, **options):
        original(self, target, *more, **options)
        if target.name == name:
            target.write_text("PRECIOUS")

    monkeypatch.setattr(PendingFile, "__init__", begin)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1 and f"{name} already exists; use --force to replace it" in result.stderr
    assert (inputs / name).read_text() == "PRECIOUS"


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
@pytest.mark.parametrize("kind", RESULTS)
def test_a_private_file_that_is_replaced_stays_private(inputs, kind):
    name, command = RESULTS[kind]
    if kind == "picture":
        pytest.importorskip("matplotlib")
    (inputs / name).write_text("old")
    (inputs / name).chmod(0o600)
    assert CliRunner().invoke(main, [*command, "--force"]).exit_code == 0
    assert (inputs / name).read_bytes() != b"old" and stat.S_IMODE((inputs / name).stat().st_mode) == 0o600


def test_an_export_replaces_what_it_may(place):
    (place / "work").mkdir()
    (place / "work" / "there.csv").write_text("new")
    with pytest.raises(StorageError, match="already exists"):
        deliver(place / "work", place, ["there.csv"], force=False)
    assert (place / "there.csv").read_text() == "x"
    deliver(place / "work", place, ["there.csv"], force=True)
    assert (place / "there.csv").read_text() == "new"


def test_what_cannot_be_written_after_all_leaves_nothing(place):
    def fail(part):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"there\.csv cannot be written: No space left on device"):
        write_file(place / "there.csv", fail, True)
    assert sorted(os.listdir(place)) == ["folder", "there.csv"] and (place / "there.csv").read_text() == "x"
