"""The fixed cases of the fuzzer, and that it sees what it is for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

fuzzing = pytest.importorskip("fuzzing")
pytestmark = [pytest.mark.service, pytest.mark.skipif(sys.platform != "linux", reason="forks and limits of Linux")]

PROGRAM = Path(fuzzing.__file__)


def fuzz(*arguments):
    """Run it in a process of its own: it forks, and pytest has threads and open files."""
    command = [sys.executable, PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_two_thousand_cases():
    done = fuzz("--number", 2000, "--seed", 1)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert done.stdout.startswith("2000 cases of seed 1, 0 failures")


def test_a_case_is_given_by_its_three_numbers():
    kinds = fuzzing.kinds()
    again = fuzzing.kinds()
    for name, kind in kinds.items():
        contents = [fuzzing.content_of(kind, name, 3, number) for number in range(20)]
        assert contents == [fuzzing.content_of(again[name], name, 3, number) for number in range(20)]
        assert len(set(contents)) > 15
    done = fuzz("--case", "wav-PCM_16:1:5")
    assert done.returncode == 0 and done.stdout.endswith("nothing is wrong\n")


def test_seeds_are_read_as_they_are(tmp_path):
    """A seed that no reader takes would test nothing behind its first check."""
    for name, kind in fuzzing.kinds().items():
        for seed in kind.seeds:
            path = tmp_path / f"seed{kind.suffix}"
            path.write_bytes(seed)
            if name not in ("model", "shard", "htk-PCM_16"):
                kind.read(path)


BROKEN = {
    "raises": "raise IndexError('x')",
    "dies": "os.kill(os.getpid(), 9)",
    "hangs": "time.sleep(100)",
    "eats": "np.ones(2 * 2**30, np.uint8)",
    "talks": "raise PercepnetError('two\\nlines')",
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_wrong_is_seen(how):
    """In every third case: the others are done all the same."""
    code = f"""
import os, sys, time
import numpy as np
sys.path.insert(0, {str(PROGRAM.parent)!r})
import fuzzing
from percepnet_cli.errors import PercepnetError
fuzzing.MOST_SECONDS = 2
def read(path):
    if path.read_bytes()[0] % 3 == 0:
        {BROKEN[how]}
fuzzing.kinds = lambda: {{"x": fuzzing.Kind((b"x",), ".x", read)}}
fuzzing.content_of = lambda kind, name, seed, number: bytes([number])
failures = fuzzing.run(1, 7)
print([(one.kind, one.seed, one.number) for one in failures])
print(failures[0].what)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)

    assert done.stdout.startswith("[('x', 1, 0), ('x', 1, 3), ('x', 1, 6)]\n"), done.stderr
    said = {"raises": "IndexError", "dies": "died", "hangs": "no end", "eats": "MemoryError", "talks": "one sentence"}
    assert said[how] in done.stdout
    assert os.path.exists(PROGRAM)
