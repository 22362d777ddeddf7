"""Compiled kernels on disk: damaged, foreign, full, in the way; the program runs on and believes nothing foreign."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

from percepnet_cli.compute import jit, kernel_cache

pytestmark = pytest.mark.service  # machine code and processes

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes of POSIX")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")

ONES = np.ones(3, np.float32)


@pytest.fixture(autouse=True)
def no_warning_yet(monkeypatch):
    monkeypatch.setattr(kernel_cache, "_warned", set())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A new cache folder that kernels of this test are kept in."""
    folder = kernel_cache.private_folder(tmp_path / "cache")
    monkeypatch.setattr(jit, "CACHE_DIR", folder)
    return folder


def doubled():
    """A kernel as a new process has it: nothing compiled in memory yet."""

    @jit.kernel
    def twice(values, out):
        for i in range(len(values)):
            out[i] = 2 * values[i]

    return twice


def run(kernel):
    """Run the kernel; return whether its machine code came from the disk."""
    out = np.zeros(3, np.float32)
    kernel(ONES, out)
    assert list(out) == [2, 2, 2]
    return sum(kernel.stats.cache_hits.values()) == 1


def entry(folder):
    (path,) = folder.glob("*.nbi")
    return path


def with_checksum(body):
    return kernel_cache.MAGIC + hashlib.sha256(body).digest() + body


class Bomb:
    """Something whose pickle leaves a mark when it is believed."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, "w")


def test_what_was_compiled_is_loaded(folder):
    assert not run(doubled())
    assert run(doubled())
    assert entry(folder).stat().st_mode & 0o777 == 0o600 or os.name == "nt"


def test_a_process_that_loaded_machine_code_can_compile(tmp_path):
    # Loading leaves numba's compiler as it is, not set up; new types of the same kernel, in a second process, need it
    code = (
        "import sys, numpy\nfrom percepnet_cli.compute.jit import kernel\n"
        "@kernel\ndef total(values, out):\n    out[0] = values.sum()\n"
        "for kind in sys.argv[1:]:\n"
        "    values, out = numpy.arange(5, dtype=kind), numpy.zeros(1, kind)\n"
        "    total(values, out)\n    assert out[0] == 10\n"
        "print(sum(total.stats.cache_hits.values()), sum(total.stats.cache_misses.values()))"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    counts = []
    for kinds in (["f4"], ["f4", "f8"]):
        command = [sys.executable, str(script), *kinds]
        environment = os.environ | {"PERCEPNET_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        counts.append(done.stdout.split())
    assert counts == [["0", "1"], ["1", "1"]]


DAMAGES = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "garbage": lambda content: b"\x80garbage" * 100,
    "one bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "no checksum": lambda content: content[len(kernel_cache.MAGIC) + 32 :],
    "another content": lambda content: with_checksum(pickle.dumps("whole, but no machine code")),
    "no pickle": lambda content: with_checksum(b"whole, but no pickle"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_deleted_and_compiled_again(folder, damage):
    run(doubled())
    whole = entry(folder).read_bytes()
    entry(folder).write_bytes(DAMAGES[damage](whole))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not run(doubled())
    assert run(doubled())


@posix
@pytest.mark.parametrize("way", ["no checksum", "writable by others", "a link"])
def test_foreign_entries_are_never_unpickled(folder, tmp_path, way):
    run(doubled())
    bomb = pickle.dumps(Bomb(tmp_path / "mark"))
    path = entry(folder)
    if way == "no checksum":
        path.write_bytes(bomb)
    elif way == "writable by others":
        path.write_bytes(with_checksum(bomb))
        path.chmod(0o666)
    else:
        (tmp_path / "elsewhere").write_bytes(with_checksum(bomb))
        path.unlink()
        path.symlink_to(tmp_path / "elsewhere")
    assert not run(doubled())
    assert not (tmp_path / "mark").exists()
    assert run(doubled())


@as_root
def test_an_entry_of_another_user_is_not_unpickled(folder, tmp_path):
    run(doubled())
    entry(folder).write_bytes(with_checksum(pickle.dumps(Bomb(tmp_path / "mark"))))
    os.chown(entry(folder), 65534, 65534)
    assert not run(doubled()) and not (tmp_path / "mark").exists()


@posix
def test_a_temporary_name_that_is_there_is_not_written_through(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_cache.secrets, "token_hex", lambda count: "guessed")
    (tmp_path / "precious").write_text("precious")
    (folder / ".guessed.tmp").symlink_to(tmp_path / "precious")
    with pytest.warns(RuntimeWarning, match="cannot be kept"):
        run(doubled())
    assert (tmp_path / "precious").read_text() == "precious"


def test_what_cannot_be_saved_is_skipped_with_one_warning(folder):
    """Every write fails as on a full disk: the file size limit of this process is 100 bytes."""
    pytest.importorskip("resource")
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "import numpy as np\nfrom percepnet_cli.dsp import highpass\nfrom percepnet_cli.compute import transpose\n"
        "out = np.zeros(480, np.float32)\n"
        "highpass.filter_hops(np.ones((1, 480), np.float32), highpass.new_state(), out)\n"
        "print(out[0] == np.float32(highpass.B0))\n"
        "import percepnet_cli.live.exchange\n"
    )
    environment = os.environ | {"PERCEPNET_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and done.stdout.strip() == "True", done.stderr
    assert done.stderr.count("RuntimeWarning") == 1 and "File too large" in done.stderr
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_a_folder_in_the_place_of_an_entry_costs_a_warning_only(folder):
    run(doubled())
    path = entry(folder)
    path.unlink()
    (path / "full").mkdir(parents=True)
    with pytest.warns(RuntimeWarning, match="cannot be kept"):
        assert not run(doubled())


@posix
def test_only_own_private_folders_are_used(tmp_path):
    made = kernel_cache.private_folder(tmp_path / "a" / "made")
    assert made.stat().st_mode & 0o777 == 0o700

    (tmp_path / "readable").mkdir(mode=0o755)
    assert kernel_cache.private_folder(tmp_path / "readable").stat().st_mode & 0o777 == 0o700

    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert kernel_cache.private_folder(tmp_path / "open") is None

    (tmp_path / "link").symlink_to(made)
    assert kernel_cache.private_folder(tmp_path / "link") is None

    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        kernel_cache.private_folder(tmp_path / "file")


@as_root
def test_a_folder_of_another_user_is_not_used(tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 65534, 65534)
    assert kernel_cache.private_folder(tmp_path / "theirs") is None


@posix
def test_instead_of_a_refused_folder_a_private_one_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("PERCEPNET_CACHE_DIR", str(tmp_path / "shared"))
    monkeypatch.setattr(kernel_cache.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "shared" / "hash").mkdir(parents=True)
    (tmp_path / "shared" / "hash").chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others can write there"):
        folder = jit.kept_folder("hash")
    assert folder == tmp_path / f"percepnet-{os.geteuid()}" / "hash" and folder.stat().st_mode & 0o777 == 0o700

    folder.parent.chmod(0o777)
    kernel_cache._warned.clear()
    with pytest.warns(RuntimeWarning, match="every run compiles anew"):
        assert jit.kept_folder("hash") is None
