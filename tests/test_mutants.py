"""The script of changed modules (``tests/quality/mutants.py``): what it says of a change is true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "quality" / "mutants.py"


@pytest.mark.service
@pytest.mark.skipif(sys.platform != "linux", reason="forks processes and waits for their descriptors")
def test_a_change_reaches_the_kernels_of_test_files(tmp_path):
    """The tests run without a change before: machine code that they kept would hide it, and later serve others."""
    command = [sys.executable, str(SCRIPT), "--module", "dsp/elementary", "--number", "12"]  # 7 to 8 in a series
    environment = {**os.environ, "PERCEPNET_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0 and done.stdout.endswith("{'noticed': 1}\n"), done.stdout + done.stderr
    assert not list(tmp_path.rglob("test_*"))
