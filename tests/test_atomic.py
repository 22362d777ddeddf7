"""Files that appear whole or not at all: what is on the disk when the name is, and when the disk refuses."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from percepnet_cli.storage import atomic
from percepnet_cli.storage.atomic import PendingFile, write_atomically

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and folders of POSIX")


@pytest.fixture(params=["without a name", "hidden"])
def kind(request, monkeypatch):
    """Both ways in which a file is under way."""
    if request.param == "hidden":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return request.param


@pytest.fixture
def calls(monkeypatch):
    """What the system is asked for, in order: (call, kind of file)."""
    made = []

    def spied(name):
        original = getattr(os, name)

        def call(*arguments, **settings):
            what = stat.S_IFMT(os.fstat(arguments[0]).st_mode) if name == "fsync" else None
            made.append((name, {stat.S_IFDIR: "folder", stat.S_IFREG: "file"}.get(what, "name")))
            return original(*arguments, **settings)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "link", "replace"):
        spied(name)
    return made


def filled(target):
    pending = PendingFile(target)
    with pending.open() as file:
        file.write(b"sound")
    return pending


@pytest.mark.parametrize("replace", [False, True])
def test_content_is_on_the_disk_before_the_name_and_the_name_after(tmp_path, kind, calls, replace):
    target = tmp_path / "a.wav"
    if replace:
        target.write_bytes(b"old")
    pending = filled(target)
    pending.place(replace)
    pending.discard()
    assert target.read_bytes() == b"sound" and os.listdir(tmp_path) == ["a.wav"]
    assert calls[0] == ("fsync", "file") and calls[-1] == ("fsync", "folder")
    assert {name for name, _ in calls[1:-1]} <= {"link", "replace"} and len(calls) > 2


def test_reports_and_models_likewise(tmp_path, calls):
    write_atomically(tmp_path / "report.csv", lambda part: part.write_bytes(b"rows"))
    assert calls == [("fsync", "file"), ("replace", "name"), ("fsync", "folder")]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_what_does_not_get_to_the_disk_gets_no_name(tmp_path, kind, monkeypatch, code):
    def refuse(descriptor):
        raise OSError(code, os.strerror(code))

    (tmp_path / "kept.wav").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    for name, replace in (("new.wav", False), ("kept.wav", True)):
        pending = filled(tmp_path / name)
        with pytest.raises(OSError, match=os.strerror(code)):
            pending.place(replace)
        pending.discard()
    with pytest.raises(OSError, match=os.strerror(code)):
        write_atomically(tmp_path / "kept.wav", lambda part: part.write_bytes(b"new"))
    assert os.listdir(tmp_path) == ["kept.wav"] and (tmp_path / "kept.wav").read_bytes() == b"old"


def test_a_folder_that_cannot_be_synced_does_not_fail_what_has_its_name(tmp_path, kind, monkeypatch):
    original = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    pending = filled(tmp_path / "a.wav")
    pending.place(replace=False)
    pending.discard()
    assert os.listdir(tmp_path) == ["a.wav"]
    atomic.sync_folder(tmp_path / "none")


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, kind):
    pending = filled(tmp_path / "a.wav")
    (tmp_path / "a.wav").write_bytes(b"PRECIOUS")
    with pytest.raises(FileExistsError):
        pending.place(replace=False)
    pending.discard()
    assert (tmp_path / "a.wav").read_bytes() == b"PRECIOUS" and os.listdir(tmp_path) == ["a.wav"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_replaced_file_keeps_its_mode(tmp_path, kind, mode):
    (tmp_path / "a.wav").write_bytes(b"old")
    (tmp_path / "a.wav").chmod(mode)
    pending = filled(tmp_path / "a.wav")
    pending.place(replace=True)
    pending.discard()
    assert (tmp_path / "a.wav").read_bytes() == b"sound"
    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == mode
