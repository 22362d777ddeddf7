"""What is heard of a run while it goes on: pairs of recordings, denoised with the present weights and scored.

The scores are those of ``percepnet evaluate``, which runs as a process of its own beside the training, so a step never
waits for PESQ.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from percepnet_cli.network.modelfile import model_bytes
from percepnet_cli.network.quantize import quantize_tensors
from percepnet_cli.storage.atomic import write_atomically
from percepnet_cli.training.model.floatmodel import read_float_model

SHOWN = ("pesq_wb", "stoi", "estoi", "si_sdr", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808")
"""Scores that are kept: means over the pairs."""

NICENESS = 10
"""The scores wait for the training, not the other way round."""

FOLDERS = ("clean", "noisy")
"""Where the pairs lie below the folder that is given."""


class PairScores:
    """Scores the weights of a run, one set of them at a time.

    Parameters
    ----------
    pairs
        Folder with ``clean/`` and ``noisy/``.
    out
        Folder of the run: gets the 8-bit model that is being scored, and the scores of each pair.

    Raises
    ------
    ValueError
        A folder is missing.
    """

    def __init__(self, pairs: Path, out: Path) -> None:
        for name in FOLDERS:
            if not (pairs / name).is_dir():
                raise ValueError(f"{pairs / name}: no such folder; pairs to score lie in clean/ and noisy/")
        self.pairs = pairs
        self.model = out / "scored.safetensors"
        self.report = out / "scored.json"
        self._process: subprocess.Popen[str] | None = None
        self._row: dict[str, float] = {}

    def start(self, float_model: Path, row: dict[str, float]) -> bool:
        """Begin to score a float model, unless the last one is not done; return whether it has begun.

        row: what the scores are of (step, hours), which is returned with them.
        """
        if self._process is not None:
            return False
        model = read_float_model(float_model)
        data = model_bytes(quantize_tensors(model.tensors, model.sizes), model.sizes, "int8", model.metadata)
        write_atomically(self.model, lambda part: part.write_bytes(data))

        clean, noisy = (self.pairs / name for name in FOLDERS)
        command = [sys.executable, "-m", "percepnet_cli", "evaluate", clean, noisy, "--model", self.model]
        command += ["--json", self.report, "--force", "--no-wer", "--quiet", "--jobs", "1"]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            env=_of_one_process(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the training, which ends this too
            start_new_session=True,
        )
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)
        self._row = row
        return True

    def result(self, wait: bool = False) -> dict[str, float] | str | None:
        """Return the row with its scores once they are there, None before; a sentence if they cannot be had.

        wait: until the process has ended, if one runs.
        """
        process = self._process
        if process is None or (not wait and process.poll() is None):
            return None
        _, errors = process.communicate()
        self._process = None
        if process.returncode:
            lines = errors.strip().splitlines() or [f"exit status {process.returncode}"]
            return f"the pairs could not be scored: {lines[-1].removeprefix('Error: ')}"
        return self._row | means(json.loads(self.report.read_text("utf-8")))

    def stop(self) -> None:
        """End the process, if one runs."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def means(report: dict[str, Any]) -> dict[str, float]:
    """Return the mean scores of the model in a report of ``percepnet evaluate``; NaN where there is none."""
    (system,) = (label for label in report["systems"] if label.startswith("model "))
    found = report["systems"][system]["mean"]
    values = {name: (found.get(name) or {}).get("mean") for name in SHOWN}
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


def _of_one_process() -> dict[str, str]:
    """Return the environment without what makes a process part of a group."""
    group = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in os.environ.items() if name not in group}
