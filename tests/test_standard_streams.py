"""Closed standard streams, names that are no text, URLs: the work is done, and nothing gets into the sound."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from batch_files import EXAMPLE, digests, make_files

pytestmark = [pytest.mark.service, pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")]

PROGRAM = f"'{sys.executable}' -m percepnet_cli"
NOT_UTF8 = os.fsdecode(b"caf\xe9.wav")


def shell(line: str) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", "-c", line], capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """An MP3 with rubbish in its middle, of which the decoder complains on standard error by itself."""
    path = tmp_path_factory.mktemp("noisy") / "noisy.mp3"
    samples, rate = soundfile.read(EXAMPLE, dtype="float32", frames=96000)
    soundfile.write(path, samples, rate)
    content = bytearray(path.read_bytes())
    content[8000:8200] = bytes(200)
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def expected(noisy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected")
    done = shell(f"{PROGRAM} denoise {noisy} {folder}/a.wav")
    assert done.returncode == 0, done.stderr
    return digests(folder)


@pytest.mark.parametrize("many", [False, True])
def test_damage_is_said_once_and_in_our_words(noisy, expected, tmp_path, many):
    source, target = (f"-j 2 {noisy.parent}/", f"{tmp_path}/out/") if many else (noisy, f"{tmp_path}/a.wav")
    done = shell(f"{PROGRAM} denoise --quiet {source} {target}")
    assert done.returncode == 0
    assert done.stderr.decode().splitlines() == [f"Warning: {noisy} is damaged after 0.9 s"]


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_nothing(noisy, expected, tmp_path, closed):
    done = shell(f"{PROGRAM} denoise {noisy} {tmp_path}/a.wav {closed}")
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert digests(tmp_path) == expected


def test_a_batch_without_streams(tmp_path):
    make_files(tmp_path / "in", 3, seconds=0.5)
    for name, closed in (("open", ""), ("closed", "<&- >&- 2>&-")):
        done = shell(f"{PROGRAM} denoise -j 2 {tmp_path}/in/ {tmp_path}/{name}/ {closed}")
        assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "closed") == digests(tmp_path / "open") != {}


def test_errors_without_streams_keep_their_exit_codes(tmp_path):
    assert shell(f"{PROGRAM} denoise none.wav {tmp_path}/a.wav <&- >&- 2>&-").returncode == 1
    assert shell(f"{PROGRAM} denoise --nonsense <&- >&- 2>&-").returncode == 2
    assert shell(f"{PROGRAM} --help <&- >&- 2>&-").returncode == 0
    assert os.listdir(tmp_path) == []


def test_sound_does_not_go_into_a_stream_that_is_closed(noisy, tmp_path):
    done = shell(f"{PROGRAM} denoise {noisy} - >&-")
    assert done.returncode == 2 and b"standard output is closed" in done.stderr
    done = shell(f"{PROGRAM} denoise - {tmp_path}/a.wav <&-")
    assert (done.returncode, done.stderr) == (1, b"Error: standard input is empty\n")


def test_names_that_are_not_utf8_come_out_as_they_are(tmp_path):
    folder = tmp_path / "in"
    make_files(folder, 1, seconds=0.5)
    (folder / "0000.wav").rename(folder / NOT_UTF8)
    inside = f"env PYTHONUTF8=1 {PROGRAM} denoise {folder}/ {tmp_path}/out/"
    name = os.fsencode(f"{folder}/{NOT_UTF8} -> {tmp_path}/out/{NOT_UTF8}\n")
    done = shell(f"{inside} --dry-run")
    assert (done.returncode, done.stdout) == (0, name), done.stderr

    done = shell(f"{inside} --report {tmp_path}/report.csv")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "report.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["source"], row["status"]) == (f"{folder}/{NOT_UTF8}", "done")
    assert os.listdir(tmp_path / "out") == [NOT_UTF8]
    done = shell(f"env PYTHONUTF8=1 {PROGRAM} info {folder}/*")
    assert done.returncode == 0 and done.stdout.startswith(os.fsencode(f"{folder}/{NOT_UTF8}\n"))


def test_warnings_are_sentences(tmp_path):
    """Of the program alone: who imports it keeps his own way."""
    (tmp_path / "percepnet").write_text(
        "import warnings\nfrom percepnet_cli.cli import main\n"
        "main(['models'], standalone_mode=False)\nwarnings.warn('no\\x07where', RuntimeWarning)\n"
    )
    shutil.copy(tmp_path / "percepnet", tmp_path / "other.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for name, shown in (
        ("percepnet", r"Warning: no\\x07where\n"),
        ("other.py", r".*RuntimeWarning: no\x07where\n(.*\n)?"),
    ):
        done = subprocess.run([sys.executable, tmp_path / name], capture_output=True, text=True, env=environment)
        assert done.returncode == 0 and re.fullmatch(shown, done.stderr), done.stderr


def test_urls_of_files(tmp_path):
    source = tmp_path / "my talk 100%.wav"
    shutil.copy(EXAMPLE, tmp_path / "talk.flac")
    soundfile.write(source, soundfile.read(EXAMPLE, frames=24000)[0], 48000)
    encoded = Path(source).as_uri()
    assert "%20" in encoded
    done = shell(f"{PROGRAM} denoise '{encoded}' 'file://localhost{tmp_path}/clean%C3%A9.wav'")
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "cleané.wav").frames == 24000
    done = shell(f"{PROGRAM} '{encoded}' && {PROGRAM} info '{encoded}'")
    assert done.returncode == 0 and (tmp_path / "my talk 100%-denoised.wav").exists()
    assert np.isclose(soundfile.info(tmp_path / "my talk 100%-denoised.wav").duration, 0.5)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full")
@pytest.mark.parametrize("command", ["info lite", "models --json", "--help", "--version", "denoise --help"])
def test_output_that_cannot_be_written_is_an_error(command):
    done = shell(f"{PROGRAM} {command} > /dev/full")
    assert done.returncode == 1 and b"No space left on device" in done.stderr and b"Exception" not in done.stderr


def test_input_that_cannot_be_read_is_named(tmp_path):
    done = shell(f"{PROGRAM} denoise - {tmp_path}/a.wav 0>/dev/null")
    assert (done.returncode, done.stderr) == (1, b"Error: standard input cannot be read: Bad file descriptor\n")
