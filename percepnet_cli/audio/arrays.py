"""Arrays as people have them: integers or floats, and their way to float32 and back."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from percepnet_cli.audio.formats import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from percepnet_cli.audio.samples import rounded

LOUDEST = 8.0
"""Float samples beyond this are no sound with full scale +-1."""

MOST_CHANNELS = 64
"""More columns than this and fewer rows than columns: the axes are the wrong way round."""

_FULL_SCALE_BITS = {"u1": 8, "i1": 8, "i2": 16, "i4": 32}
"""Integers that sound is kept in -> bits."""


def read_array(samples: Any) -> np.ndarray:
    """Return samples of any kind as an array of numbers that ``to_float`` takes.

    Parameters
    ----------
    samples : array_like
        [n] or [n, channels]: uint8, int8, int16, int32 or any float; a list of numbers counts as float.

    Raises
    ------
    TypeError
        If it holds no samples: complex numbers, text, booleans, integers without a full scale.
    ValueError
        If the shape is none of these, or floats are not scaled to +-1.
    """
    array = np.asarray(samples)
    if array.dtype.kind == "i" and not hasattr(samples, "dtype"):
        array = array.astype(np.float64)  # Python's whole numbers have no full scale
    kind = array.dtype.kind
    if kind in "US":
        raise TypeError("samples are text; denoise_file takes the names of files")
    if kind == "c":
        raise TypeError("samples are complex; a signal is real, so this may be its spectrum")
    if kind != "f" and f"{kind}{array.dtype.itemsize}" not in _FULL_SCALE_BITS:
        raise TypeError(f"samples are {array.dtype}; float, int16, int32, int8 and uint8 are samples")
    if array.ndim not in (1, 2):
        raise ValueError(f"samples have shape {array.shape}, expected [n] or [n, channels]")
    if array.ndim == 2 and array.shape[1] > max(MOST_CHANNELS, array.shape[0]):
        raise ValueError(f"samples have shape {array.shape}, expected [n, channels]: transpose them, samples.T")

    # NaN and infinity count as 0, as in a stream
    loudest = np.max(np.abs(array), where=np.isfinite(array), initial=0.0) if kind == "f" else 0.0
    if loudest > LOUDEST:
        raise ValueError(
            f"samples reach {loudest:.6g}, full scale is 1: is this int16 scaled to float? Divide by 32768"
        )
    return array


def to_float(array: np.ndarray) -> np.ndarray:
    """Return float32 of the same shape, full scale +-1: integers by their bits, uint8 around 128."""
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    bits = _FULL_SCALE_BITS[f"{array.dtype.kind}{array.dtype.itemsize}"]
    middle = 128 if array.dtype.kind == "u" else 0
    return (array.astype(np.float32) - np.float32(middle)) * np.float32(2.0 ** (1 - bits))


def from_float(samples: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return float32 samples in the type of what ``to_float`` was given: integers rounded and clipped, floats as is."""
    if dtype.kind == "f":
        return samples
    middle = 128 if dtype.kind == "u" else 0
    integers: np.ndarray = (rounded(samples, 8 * dtype.itemsize) + middle).astype(dtype)
    return integers


def check_sample_rate(sample_rate: Any) -> int:
    """Return a sample rate in Hz as an int. Raises TypeError or ValueError if it is none, or out of range."""
    whole = isinstance(sample_rate, float) and sample_rate.is_integer()
    try:
        rate = operator.index(int(sample_rate) if whole else sample_rate)
    except TypeError:
        raise TypeError(f"sample_rate is {sample_rate!r}, expected a whole number of Hz") from None
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise ValueError(f"sample_rate is {rate}, it must be {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz")
    return rate
