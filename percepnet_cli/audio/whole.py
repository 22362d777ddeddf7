"""Whole recordings in memory, at the rate of the signal path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from percepnet_cli.audio.arrays import LOUDEST
from percepnet_cli.audio.files import open_reader, open_writer
from percepnet_cli.audio.formats import Source
from percepnet_cli.audio.resample import Resampler
from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.errors import AudioError

Warn = Callable[[str], object]
"""Gets a sentence about a file that can be read and is not whole: it ends early, is damaged or holds NaN."""


def read_mono(
    path: str | Path,
    start_seconds: float = 0.0,
    seconds: float | None = None,
    warn: Warn | None = None,
    any_scale: bool = True,
) -> np.ndarray:
    """Read a file as the mean of its channels at 48 kHz, float32 [n]. Raises AudioError.

    start_seconds, seconds: the segment that is wanted, which may be shorter or nothing if the file ends; None is to the
    end. No more than that is kept in memory. any_scale: take samples far beyond full scale, too.
    """
    with open_reader(path) as reader:
        resampler = Resampler(reader.sample_rate, SAMPLE_RATE, 1)
        first = round(start_seconds * reader.sample_rate)
        end = None if seconds is None else first + round(seconds * reader.sample_rate)
        parts, done = [], reader.seek(first) if first and reader.seeks_exactly else 0
        for block in reader.blocks(10 * SAMPLE_RATE):
            if end is not None and done >= end:
                break
            kept = block[max(0, first - done) : None if end is None else end - done]
            done += len(block)
            mono = np.ascontiguousarray(kept.mean(axis=1, keepdims=True), np.float32)
            parts.append(resampler.process(mono).copy())
        parts.append(resampler.flush())
        _warn(path, reader, warn)
    samples = np.concatenate(parts)[:, 0]
    if not any_scale:
        _refuse_wrong_scale(path, samples)
    return samples


def _warn(path: str | Path, reader: Source, warn: Warn | None) -> None:
    if warn is not None and reader.warning is not None:
        warn(f"{path} {reader.warning}")


def _refuse_wrong_scale(path: str | Path, samples: np.ndarray) -> None:
    loudest = float(np.max(np.abs(samples), initial=0.0))
    if loudest > LOUDEST:
        raise AudioError(f"{path} has samples up to {loudest:.6g}, where full scale is 1")


def read(path: Path, warn: Warn | None = None) -> tuple[np.ndarray, Source]:
    """Read a whole file at 48 kHz, float32 [n, channels]; also what it says of itself. Raises AudioError."""
    with open_reader(path) as reader:
        resampler = Resampler(reader.sample_rate, SAMPLE_RATE, reader.channels)
        parts = [resampler.process(block).copy() for block in reader.blocks(10 * SAMPLE_RATE)]
        parts.append(resampler.flush())
        _warn(path, reader, warn)
    samples = np.concatenate(parts)
    _refuse_wrong_scale(path, samples)
    if not len(samples):
        raise AudioError(f"{path} holds no samples")
    return samples, reader


def write(samples: np.ndarray, path: Path, like: Source, force: bool) -> None:
    """Write float32 [n, channels] at 48 kHz as a file of the rate of ``like``. Raises AudioError."""
    resampler = Resampler(SAMPLE_RATE, like.sample_rate, samples.shape[1])
    with open_writer(path, like, force) as writer:
        for start in range(0, len(samples), 10 * SAMPLE_RATE):
            writer.write(resampler.process(np.ascontiguousarray(samples[start : start + 10 * SAMPLE_RATE])))
        writer.write(resampler.flush())
