"""Change of sample rate and of speed: the only door to soxr."""

from __future__ import annotations

import numpy as np
import soxr


class Resampler:
    """Converts a stream to another sample rate without shifting it.

    The total output is exactly ceil(input frames * rate_out / rate_in) frames, and its first one
    is in time with the first of the input. soxr's "very high quality" costs here what "high"
    costs, and errs less: 150 dB below the signal up to 12 kHz instead of 130.

    Parameters
    ----------
    rate_in, rate_out : int
        Hz; if they are equal, samples pass unchanged.
    channels : int
        At least 1.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        self._rates = (rate_in, rate_out)
        self._channels = channels
        self._frames_in = 0
        self._frames_out = 0
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="VHQ")

    def process(self, block: np.ndarray) -> np.ndarray:
        """Convert the next samples.

        Parameters
        ----------
        block : ndarray
            float32 [n, channels], any n.

        Returns
        -------
        ndarray
            float32 [m, channels], what is settled so far; later calls bring the rest.
        """
        if self._stream is None or len(block) == 0:
            return block
        converted: np.ndarray = self._stream.resample_chunk(block)
        self._frames_in += len(block)
        self._frames_out += len(converted)
        return converted

    def flush(self) -> np.ndarray:
        """Return the rest, float32 [m, channels]. The stream ends here."""
        rate_in, rate_out = self._rates
        missing = -(-self._frames_in * rate_out // rate_in) - self._frames_out
        rest = np.zeros((missing, self._channels), dtype=np.float32)
        if self._stream is not None and missing > 0:
            # soxr rounds the length to nearest, so add silence worth one more frame
            silence = np.zeros((-(-rate_in // rate_out), self._channels), dtype=np.float32)
            end = self._stream.resample_chunk(silence, last=True)[:missing]
            rest[: len(end)] = end
        return rest


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Play a recording faster: it becomes shorter and higher by the factor.

    samples: float32 [n]; factor: above 0. Returns float32 [about n / factor]; what would pass half the sample
    rate is filtered out.
    """
    changed: np.ndarray = soxr.resample(samples, factor, 1.0, quality="MQ")
    return changed


def resample(samples: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """Convert a whole recording. samples: float [n] or [n, channels]; returns the same type, [about n out / in]."""
    converted: np.ndarray = soxr.resample(samples, rate_in, rate_out)
    return converted
