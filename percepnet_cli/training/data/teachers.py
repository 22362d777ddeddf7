"""Other denoisers as teachers: what they make of the mixtures is a second target of the network.

The ideal gain of a mixture is known exactly, but from what the network hears it cannot be derived exactly: to the
network it is the best estimate plus chance. A trained denoiser gives no more than can be heard, so there is less chance
in it to learn through (distillation, Hinton et al. 2015), and two that err differently are better than each.

A teacher is a command that is given two more arguments, a folder of WAV files and an empty folder, and writes the
denoised files under the same names into the second: as long as they were, no later, 48 kHz, mono.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from percepnet_cli.audio.files import open_reader, open_writer
from percepnet_cli.audio.formats import Layout
from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.errors import AudioError

LEVEL_DB = -26.0
"""Teachers hear every mixture at this RMS level: not every program takes a whisper for speech."""


def without_folders(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what shards say of themselves with their teachers' commands without folders.

    A model is passed on: folders say much of a machine and nothing of a teacher.
    """
    if "teachers" not in description:
        return dict(description)
    commands = (shlex.split(command) for command in description["teachers"])
    return {**description, "teachers": [" ".join(Path(word).name for word in words) for words in commands]}


def teach(commands: Sequence[str], noisy: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Return what each command makes of each signal: float32 [samples], commands first.

    noisy: float32 [samples] each. Raises ValueError if a command cannot be run, fails, or does not do what a teacher
    must; OSError if there is no room for the files.
    """
    with tempfile.TemporaryDirectory(prefix="percepnet-") as folder:
        source = Path(folder) / "noisy"
        source.mkdir()
        scales = []
        for index, signal in enumerate(noisy):
            rms = float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))
            scales.append(np.float32(10 ** (LEVEL_DB / 20) / rms if rms > 0 else 1))
            like = Layout(SAMPLE_RATE, 1, len(signal), "WAV", "FLOAT")
            with open_writer(_name(source, index), like) as writer:
                writer.write((signal * scales[-1])[:, None])
        results = []
        for number, command in enumerate(commands):
            target = Path(folder) / f"teacher-{number}"
            target.mkdir()
            _run(command, source, target)
            heard = (_read(command, _name(target, index), len(signal)) for index, signal in enumerate(noisy))
            results.append([signal / scale for signal, scale in zip(heard, scales, strict=True)])
        return results


def _name(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.wav"


def _run(command: str, source: Path, target: Path) -> None:
    """Run a teacher; say what it said last if it fails."""
    try:
        done = subprocess.run(
            [*shlex.split(command), str(source), str(target)], stdin=subprocess.DEVNULL, capture_output=True
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"the teacher '{command}' cannot be run: {error}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ValueError(f"the teacher '{command}' failed with code {done.returncode}: {said[-1] if said else ''}")


def _read(command: str, path: Path, size: int) -> np.ndarray:
    """Return the samples that a teacher wrote, float32 [size]."""
    try:
        with open_reader(path) as reader:
            rate, channels = reader.sample_rate, reader.channels
            blocks = list(reader.blocks(size + 1))
    except (AudioError, OSError) as error:
        raise ValueError(f"the teacher '{command}' left no result: {error}") from None
    samples = np.concatenate([np.zeros((0, channels), np.float32), *blocks])
    if (rate, samples.shape) != (SAMPLE_RATE, (size, 1)):
        raise ValueError(
            f"the teacher '{command}' made {samples.shape[0]} samples of {channels} channels at {rate} Hz of {size} "
            f"samples of one channel at {SAMPLE_RATE} Hz"
        )
    return np.ascontiguousarray(samples[:, 0])
