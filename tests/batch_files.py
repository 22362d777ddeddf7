"""Small recordings for tests of batches, and how to run and to kill a batch."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "street.flac"


def make_files(folder: Path, count: int, seconds: float = 1.0, channels: int = 1) -> Path:
    """Cut recordings of noisy speech out of the example, into a tree of folders and several formats."""
    samples, rate = soundfile.read(EXAMPLE, dtype="float32")
    length = int(seconds * rate)
    rng = np.random.default_rng(count)
    for number in range(count):
        start = rng.integers(0, len(samples) - length + 1)
        path = folder / ("", "one", "two/three")[number % 3] / f"{number:04d}.{('wav', 'flac')[number % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = np.stack([samples[start : start + length]] * channels, axis=1)
        soundfile.write(path, part, rate, subtype="PCM_16")
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all files below a folder, hidden ones, too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def start(*arguments: object, **options: object) -> subprocess.Popen:
    """Start ``percepnet denoise`` in a session of its own."""
    command = [sys.executable, "-m", "percepnet_cli", "denoise", *map(str, arguments)]
    return subprocess.Popen(command, start_new_session=True, **options)


def run(*arguments: object) -> subprocess.CompletedProcess:
    """Run ``percepnet denoise`` to its end."""
    process = start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, messages = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, out, messages)


def count(folder: Path) -> int:
    """Return the number of files below a folder."""
    return sum(len(names) for _, _, names in os.walk(folder))


def wait_for(condition, seconds: float = 60.0, every: float = 0.001):
    """Ask for something until it is true; return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)
    return found


def group_is_gone(leader: int) -> bool:
    """Return whether no process of a group is left."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    return False


def kill_group(process: subprocess.Popen) -> None:
    """Kill a process and all that it started, as a power cut would, and wait until the last one is gone."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: group_is_gone(process.pid))


def kill_and_resume(source: Path, target: Path, expected: dict[str, str], kills: list[tuple[int, float]]) -> None:
    """Kill a batch several times, checking what is there; then let it end.

    kills: for each, how many new files are waited for, and the time after the last of them, s.
    """
    for files, moment in kills:
        process = start("--jobs", 2, "--skip-existing", "--quiet", source, target)
        before = count(target)
        wait_for(lambda wanted=before + files: count(target) >= wanted)
        time.sleep(moment)
        assert process.poll() is None, "it ended before it could be killed"
        kill_group(process)
        found = digests(target)
        assert len(found) < len(expected)
        assert all(expected.get(name) == digest for name, digest in found.items()), "something is not whole"
    done = run("--jobs", 2, "--skip-existing", source, target)
    assert done.returncode == 0, done.stderr
    assert digests(target) == expected
