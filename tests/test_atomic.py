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


LONG = [pytest.param("a" * 251 + ".wav", id="ascii"), pytest.param("ü" * 125 + "a.wav", id="two bytes a letter")]


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("replace", [False, True])
def test_a_name_of_255_bytes_has_room_for_a_hidden_one(tmp_path, kind, name, replace):
    target = tmp_path / name
    if replace:
        target.write_bytes(b"old")
    pending = filled(target)
    pending.place(replace)
    pending.discard()
    write_atomically(tmp_path / name.replace("wav", "csv"), lambda part: part.write_bytes(b"rows"))
    assert target.read_bytes() == b"sound" and len(os.listdir(tmp_path)) == 2


def test_leftovers_of_long_names_are_found_and_only_those(tmp_path):
    target, like = tmp_path / ("a" * 246 + ".wav"), tmp_path / ("a" * 245 + "b.wav")
    for path in (target, like):
        atomic.hidden(path).touch()
        atomic.hidden(path).touch()
    atomic.remove_all_leftovers([target])
    assert len(os.listdir(tmp_path)) == 2
    atomic.remove_leftovers(like)
    assert os.listdir(tmp_path) == []


def test_a_replaced_file_keeps_its_extended_attributes(tmp_path, kind):
    target = tmp_path / "a.wav"
    target.write_bytes(b"old")
    try:
        os.setxattr(target, "user.source", "Röhre".encode())
    except (AttributeError, OSError):
        pytest.skip("no extended attributes here")
    pending = filled(target)
    pending.place(replace=True)
    pending.discard()
    assert target.read_bytes() == b"sound" and os.getxattr(target, "user.source").decode() == "Röhre"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_replaced_file_keeps_its_owner(tmp_path, kind):
    target = tmp_path / "a.wav"
    target.write_bytes(b"old")
    target.chmod(0o640)
    os.chown(target, 1234, 2345)
    pending = filled(target)
    pending.place(replace=True)
    pending.discard()
    found = target.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o640)


def test_what_cannot_be_kept_of_a_replaced_file_is_no_error(tmp_path, kind, monkeypatch):
    def refuse(*arguments, **settings):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    (tmp_path / "a.wav").write_bytes(b"old")
    for name in ("chown", "chmod", "setxattr", "listxattr"):
        monkeypatch.setattr(os, name, refuse, raising=False)
    pending = filled(tmp_path / "a.wav")
    pending.place(replace=True)
    pending.discard()
    assert (tmp_path / "a.wav").read_bytes() == b"sound"


def test_a_file_takes_the_time_of_another(tmp_path, kind):
    source = tmp_path / "source.wav"
    source.touch()
    os.utime(source, ns=(10**18, 1_234_567_890_123_456_789))
    pending = filled(tmp_path / "a.wav")
    pending.keep_time(source)
    pending.place(replace=False)
    pending.discard()
    assert (tmp_path / "a.wav").stat().st_mtime_ns == source.stat().st_mtime_ns


def test_a_file_that_appears_at_the_last_moment_is_not_replaced_either(tmp_path, kind):
    pending = filled(tmp_path / "a.wav")
    with pytest.raises(FileExistsError):
        pending.place(False, lambda file: (tmp_path / "a.wav").write_bytes(b"PRECIOUS"))
    pending.discard()
    assert (tmp_path / "a.wav").read_bytes() == b"PRECIOUS" and os.listdir(tmp_path) == ["a.wav"]


def test_where_there_are_no_links_files_get_their_names_too(tmp_path, kind, monkeypatch):
    def refuse(*arguments, **settings):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if kind == "hidden":
        monkeypatch.setattr(os, "link", refuse)
    pending = filled(tmp_path / "a.wav")
    pending.place(replace=False)
    pending.discard()
    assert (tmp_path / "a.wav").read_bytes() == b"sound" and os.listdir(tmp_path) == ["a.wav"]


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path, monkeypatch):
    """Even if somebody knew the name."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda count: "0" * 2 * count)
    victim, target = tmp_path / "victim", tmp_path / "a.wav"
    victim.write_bytes(b"PRECIOUS")
    for attempt in (lambda: write_atomically(target, lambda part: part.write_bytes(b"new")), lambda: filled(target)):
        atomic.hidden(target).symlink_to(victim)
        with pytest.raises(FileExistsError):
            attempt()
        atomic.hidden(target).unlink(missing_ok=True)
        assert victim.read_bytes() == b"PRECIOUS" and os.listdir(tmp_path) == ["victim"]


def test_temporary_names_are_not_to_be_guessed_and_are_found_by_who_cleans_up(tmp_path):
    names = {atomic.hidden(tmp_path / "a.wav") for _ in range(100)}
    assert len(names) == 100
    for name in names:
        name.touch()
    atomic.remove_leftovers(tmp_path / "a.wav")
    assert os.listdir(tmp_path) == []
