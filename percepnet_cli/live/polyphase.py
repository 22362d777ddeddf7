"""Change of sample rate with as little delay as its filter needs.

``resample.Resampler`` works in blocks of its own and may hold back 20 to 170 ms; nobody hears that in a file. Here
a sample leaves as soon as the samples under its windowed sinc are known: about 0.8 ms from 44.1 to 48 kHz.
"""

from __future__ import annotations

import math

import numpy as np

from percepnet_cli.compute.jit import fast_kernel

HALF_WIDTH = 36
"""Samples on each side of the filter, at the lower of both rates: with KAISER_BETA 100 dB of rejection from 1.09 of its
Nyquist frequency on, flat to 0.91 of it (20 kHz at 44.1 kHz)."""

KAISER_BETA = 10.06
"""0.1102 (100 dB - 8.7): Kaiser's rule for the window."""


@fast_kernel
def convert(
    samples: np.ndarray, table: np.ndarray, first: int, up: int, down: int, offset: int, out: np.ndarray
) -> None:
    """Compute output frames ``first``... each as the product of one row of the table with the input around it.

    samples: float32 [n, channels], of which row 0 is input frame ``offset``; table: float32 [up, taps]; up / down:
    the ratio of the rates. out: float32 [m, channels], written.
    """
    taps = table.shape[1]
    for m in range(out.shape[0]):
        position = (first + m) * down
        start = position // up - taps // 2 + 1 - offset
        phase = position % up
        for c in range(out.shape[1]):
            total = np.float32(0)
            for k in range(taps):
                total += table[phase, k] * samples[start + k, c]
            out[m, c] = total


def design(up: int, down: int) -> np.ndarray:
    """Return the filter of every phase, float32 [up, taps]: output between samples i and i + 1 of the input.

    Row p weighs the input samples from i - taps/2 + 1 to i + taps/2 for an output at i + p/up.
    """
    dilation = max(1.0, down / up)  # going down, the filter is as long in time as the output rate wants
    half = math.ceil(HALF_WIDTH * dilation)
    distance = np.arange(-half + 1, half + 1)[None, :] - np.arange(up)[:, None] / up
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None))) / np.i0(KAISER_BETA)
    table = np.sinc(distance / dilation) * window
    return (table / table.sum(axis=1, keepdims=True)).astype(np.float32)


class Polyphase:
    """Converts a stream to another sample rate without shifting it, as early as possible.

    Output frame m lies at input frame m * rate_in / rate_out; before the first input there was silence.

    Parameters
    ----------
    rate_in, rate_out : int
        Hz; if they are equal, samples pass unchanged.
    channels : int
        At least 1.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        divisor = math.gcd(rate_in, rate_out)
        self._up, self._down = rate_out // divisor, rate_in // divisor
        self._table = design(self._up, self._down) if rate_in != rate_out else None
        self._half = 0 if self._table is None else self._table.shape[1] // 2
        self._channels = channels
        self.reset()

    def settled(self, frames_in: int) -> int:
        """Return how many output frames are settled once ``frames_in`` have come in since the beginning."""
        if self._table is None:
            return frames_in
        # output m needs the input up to frame m * down // up + half
        return max((frames_in - self._half) * self._up - 1, -1) // self._down + 1

    def reset(self) -> None:
        """Forget the stream."""
        self._kept = np.zeros((self._half, self._channels), np.float32)
        self._offset = -self._half
        self._frames_out = 0

    def process(self, block: np.ndarray) -> np.ndarray:
        """Convert the next samples, float32 [n, channels], any n; return what is settled, float32 [m, channels]."""
        if self._table is None:
            return block
        samples = np.concatenate((self._kept, block))
        ready = self.settled(self._offset + len(samples))
        out = np.empty((ready - self._frames_out, self._channels), np.float32)
        convert(samples, self._table, self._frames_out, self._up, self._down, self._offset, out)
        self._frames_out = ready
        used = ready * self._down // self._up - self._half + 1 - self._offset
        used = min(max(used, 0), len(samples))
        self._kept = samples[used:].copy()
        self._offset += used
        return out
