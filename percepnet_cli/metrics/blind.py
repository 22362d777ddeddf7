"""What can be said of a recording from its sound before and after: levels, speech, noise, in constant memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

FRAME_SECONDS = 0.02
"""Length of the frames whose energies are looked at."""

SPEECH_MARGIN_DB = 15.9
"""Speech is active down to this far below its active level (ITU-T P.56)."""

KEPT_SHARE = 0.1
"""A frame of which the denoiser leaves less than this share of the energy holds no speech."""

LOWEST_DB, HIGHEST_DB = -90, 30
"""dBFS; quieter frames count as silence. Levels are counted in steps of 1 dB."""

LARGEST_SNR_DB = 60.0
"""Where so little was taken away that the estimate says nothing more."""

SMALLEST_PAUSE_SHARE = 0.05
"""Pauses tell the noise if they are at least this share of a recording."""

LOUDEST = np.float32(1e30)
"""Power of a sample above which no more is counted: sums of it stay finite."""

_SILENCE = 10 ** (LOWEST_DB / 10)


@dataclass(frozen=True)
class Measures:
    """The estimates need no clean reference; None where there is nothing to tell them from."""

    input_level_db: float | None
    """RMS over all channels, dBFS (full scale +-1)."""
    output_level_db: float | None
    snr_db: float | None
    """Active speech against noise in the input, estimated from what was kept and what was taken away."""
    speech_share: float | None
    """Share of the time with speech, 0..1."""
    gain_reduction_db: float | None
    """How much quieter the segments without speech became."""


class _Frames:
    """Mean power of the frames of a stream."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rest = np.zeros(0, np.float32)

    def add(self, block: np.ndarray) -> np.ndarray:
        """Take samples, float32 [n, channels]; return the mean powers of the frames that are complete, [frames]."""
        with np.errstate(over="ignore"):  # float32 holds samples whose squares it does not hold
            power = np.minimum(np.einsum("ij,ij->i", block, block), LOUDEST) * np.float32(1 / block.shape[1])
        power = np.concatenate((self._rest, power))
        whole = len(power) // self._size * self._size
        self._rest = power[whole:]
        return power[:whole].reshape(-1, self._size).mean(axis=1)

    def end(self) -> np.ndarray:
        """Return the mean power of the incomplete last frame, [0 or 1]."""
        rest, self._rest = self._rest, self._rest[:0]
        return rest.mean(keepdims=True) if len(rest) else rest


class BlindMetrics:
    """Compares the input with the output of the denoiser; the output may come any time later."""

    def __init__(self, sample_rate: int) -> None:
        size = max(1, round(FRAME_SECONDS * sample_rate))
        self._before, self._after = _Frames(size), _Frames(size)
        self._waiting = np.zeros(0, np.float32)
        # by whether the frame was kept and by output level: number of frames, power before, power after
        self._sums = np.zeros((3, 2, HIGHEST_DB - LOWEST_DB))

    def add_input(self, block: np.ndarray) -> None:
        """Take the next samples before denoising, float32 [n, channels]."""
        self._waiting = np.concatenate((self._waiting, self._before.add(block)))

    def add_output(self, block: np.ndarray) -> None:
        """Take the next samples after denoising, float32 [n, channels]."""
        self._count(self._after.add(block))

    def _count(self, after: np.ndarray) -> None:
        before, self._waiting = self._waiting[: len(after)], self._waiting[len(after) :]
        kept = after > KEPT_SHARE * before
        level = np.floor(10 * np.log10(np.maximum(after, _SILENCE))).astype(int) - LOWEST_DB
        cell = kept * self._sums.shape[2] + np.clip(level, 0, self._sums.shape[2] - 1)
        for row, weights in zip(self._sums, (None, before, after), strict=True):
            row += np.bincount(cell, weights, row.size).reshape(row.shape)

    def finish(self) -> Measures:
        """Return what was found, when input and output are complete."""
        self._waiting = np.concatenate((self._waiting, self._before.end()))
        self._count(self._after.end())
        frames, before, after = self._sums.sum(axis=(1, 2))
        if frames == 0:
            return Measures(None, None, None, None, None)
        active, active_before, active_after = self._sums[:, 1, self._first_active_level() :].sum(axis=1)
        snr_db = reduction_db = None
        pauses = frames - active
        # The network thins out speech as well, so that what was taken away is more than the noise;
        # the pauses are a better witness where there are enough of them.
        noise = max(before - after, 0.0) / frames
        if pauses > SMALLEST_PAUSE_SHARE * frames:
            noise = min(noise, (before - active_before) / pauses)

        if active:
            speech = max(active_before / active - noise, active_after / active, _SILENCE)
            snr_db = min(_db(speech / max(noise, _SILENCE)), LARGEST_SNR_DB)

        if before - active_before > _SILENCE * pauses:
            reduction_db = _db((before - active_before) / max(after - active_after, _SILENCE * pauses))
        levels_db = [_db(power / frames) if power > 0 else None for power in (before, after)]
        return Measures(levels_db[0], levels_db[1], snr_db, float(active / frames), reduction_db)

    def _first_active_level(self) -> int:
        """Return the lowest level that counts as speech, as the number of its cell (all, if there is no speech)."""
        frames, _, power = self._sums[:, 1]
        above = np.cumsum(frames[::-1])[::-1]
        for cell in range(1, len(frames)):
            threshold_db = cell + LOWEST_DB
            if above[cell] and _db(max(power.sum() / above[cell], _SILENCE)) - threshold_db <= SPEECH_MARGIN_DB:
                return cell
        return len(frames)


def _db(power: float) -> float:
    return 10 * math.log10(power)
