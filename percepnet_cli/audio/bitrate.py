"""From a bitrate to what libsndfile calls the compression level of a lossy encoder."""

from __future__ import annotations

import numpy as np

LOSSY = {"MPEG_LAYER_III", "VORBIS", "OPUS"}

MOST_COMPRESSED = 0.99
"""libsndfile 1.2 refuses 1."""

MP3_KBPS = ((32000, 32, 320), (16000, 8, 160), (0, 8, 64))
"""From which sample rate on, Hz; kbit/s at the levels 1 and 0."""

OPUS_KBPS = (6, 256)
"""kbit/s of one channel at the levels 1 and 0."""

VORBIS_LEVELS = np.linspace(0, 1, 11)
VORBIS_BITS = (
    (32000, (5.7, 4.3, 3.3, 2.8, 2.2, 1.78, 1.47, 1.35, 1.25, 1.1, 0.95)),
    (16000, (4.4, 3.95, 3.55, 3.15, 2.75, 2.4, 2.0, 1.85, 1.65, 1.5, 1.45)),
    (0, (4.8, 4.45, 4.15, 3.85, 3.6, 3.3, 3.05, 2.75, 2.5, 2.2, 1.95)),
)
"""From which sample rate on, Hz; bits of one sample of a channel at these levels, measured on speech in a street."""


def compression_level(subtype: str, bits_per_second: float, sample_rate: int, channels: int) -> float:
    """Return the level, 0 (best) to 1, at which an encoder comes near a bitrate.

    subtype: one of ``LOSSY``; sample_rate: Hz.
    """
    kbps = bits_per_second / 1000
    if subtype == "VORBIS":
        bits = next(bits for rate, bits in VORBIS_BITS if sample_rate >= rate)
        # the table falls, interpolation wants it to rise
        level = float(np.interp(bits_per_second / sample_rate / channels, bits[::-1], VORBIS_LEVELS[::-1]))
    elif subtype == "OPUS":
        least, most = OPUS_KBPS
        level = (most - kbps / channels) / (most - least)
    else:
        _, least, most = next(row for row in MP3_KBPS if sample_rate >= row[0])
        level = (most - kbps) / (most - least)
    return float(np.clip(level, 0.0, MOST_COMPRESSED))
