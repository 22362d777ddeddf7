"""How single samples are stored: bytes to float32 and back, integers rounded to the nearest."""

from __future__ import annotations

from functools import cache

import numpy as np

ENCODINGS = {
    "u8": ("PCM_U8", "u1"), "s8": ("PCM_S8", "i1"),
    "s16le": ("PCM_16", "<i2"), "s16be": ("PCM_16", ">i2"),
    "s24le": ("PCM_24", "<i3"), "s24be": ("PCM_24", ">i3"),
    "s32le": ("PCM_32", "<i4"), "s32be": ("PCM_32", ">i4"),
    "f32le": ("FLOAT", "<f4"), "f32be": ("FLOAT", ">f4"),
    "f64le": ("DOUBLE", "<f8"), "f64be": ("DOUBLE", ">f8"),
}  # fmt: skip
"""ffmpeg's names -> soundfile's name, and numpy's type ("i3" is not one: packed 24 bits)."""


def decode(data: bytes, encoding: str) -> np.ndarray:
    """Turn the bytes of whole samples into float32 [n], as libsndfile does: integers by their full scale."""
    kind = ENCODINGS[encoding][1]
    if kind[1:] == "i3":
        packed = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(packed), 4), np.uint8)
        wide[:, 1:] = packed if kind[0] == "<" else packed[:, ::-1]
        return wide.view("<i4")[:, 0].astype(np.float32) * np.float32(2**-31)
    samples = np.frombuffer(data, kind)
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    if kind == "u1":
        return (samples.astype(np.float32) - np.float32(128)) * np.float32(2**-7)
    return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * samples.itemsize))


def encode(samples: np.ndarray, encoding: str) -> bytes:
    """Turn float32 samples into bytes: clipped at full scale and rounded to the nearest."""
    kind = ENCODINGS[encoding][1]
    if kind[-2] == "f":
        return samples.astype(kind).tobytes()
    size = int(kind[-1])
    integers = rounded(samples, 8 * size)
    if kind == "u1":
        return (integers + 128).astype("u1").tobytes()
    if size == 3:
        low = integers.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3]
        return (low if kind[0] == "<" else low[:, ::-1]).tobytes()
    return integers.astype(kind).tobytes()


def rounded(samples: np.ndarray, bits: int) -> np.ndarray:
    """Return the nearest integers of so many bits, int32 in the shape of ``samples``; +-1 is full scale.

    The place of a clipped sample is the last below full scale. There is no dither: see docs/decisions.md.
    """
    scale = 2.0 ** (bits - 1)
    integers: np.ndarray = np.clip(np.rint(samples.astype(np.float64) * scale), -scale, scale - 1).astype(np.int32)
    return integers


# --- the companded samples of telephones (ITU-T G.711) --------------------------------------------


@cache
def _companding(subtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of all bytes in rising order, float64 [n], and the bytes, uint8 [n]."""
    codes = np.arange(256)
    if subtype == "ULAW":
        bits = ~codes & 0xFF
        exponent, mantissa = bits >> 4 & 7, bits & 15
        size = ((2 * mantissa + 33) << exponent) - 33  # of 8159
        values = np.where(bits & 0x80, -size, size) * 4 / 32768
    else:
        bits = codes ^ 0x55
        exponent, mantissa = bits >> 4 & 7, bits & 15
        size = np.where(exponent, (2 * mantissa + 33) << np.maximum(exponent - 1, 0), 2 * mantissa + 1)  # of 4096
        values = np.where(bits & 0x80, size, -size) * 8 / 32768
    # two bytes mean 0: the positive one is written
    order = np.lexsort((codes if subtype == "ULAW" else -codes, values))
    values, codes = values[order], codes[order].astype(np.uint8)
    kept = np.append(np.diff(values) > 0, True)
    return values[kept], codes[kept]


def compand(samples: np.ndarray, subtype: str) -> bytes:
    """Turn float32 samples into the nearest of "ULAW" or "ALAW"."""
    values, codes = _companding(subtype)
    borders = (values[1:] + values[:-1]) / 2
    return codes[np.searchsorted(borders, samples.astype(np.float64).ravel())].tobytes()
