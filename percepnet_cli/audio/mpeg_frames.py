"""The heads of MPEG audio frames (ISO 11172-3 and 13818-3), and the tags that stand beside them."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

MPEG_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""By the two bits of the version: 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5."""

MPEG_BITRATES = {
    (True, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}  # fmt: skip
"""kbit/s by MPEG 1 or not and the two bits of the layer (3 is layer I, 1 is layer III), from index 1 on."""


@dataclass(frozen=True)
class MpegFrame:
    """What four bytes at the head of a frame say."""

    size: int
    """Bytes."""
    samples: int
    sample_rate: int
    channels: int
    layer: int
    """By its two bits: 3 is layer I, 1 is layer III."""
    padding: int
    """Bytes by which it is longer than others of its bitrate."""
    side_bytes: int
    """Bytes of side information after the head."""


def mpeg_frame(head: bytes) -> MpegFrame | None:
    """Parse the head of a frame; None if it is none, or one of free format."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate_index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 0 or not 1 <= bitrate_index <= 14 or rate_index == 3:
        return None
    first = version == 3
    rate = MPEG_SAMPLE_RATES[version][rate_index]
    bits_per_second = 1000 * MPEG_BITRATES[first, layer][bitrate_index - 1]
    channels = 1 if head[3] >> 6 == 3 else 2
    if layer == 3:
        return MpegFrame((12 * bits_per_second // rate + padding) * 4, 384, rate, channels, layer, 4 * padding, 0)
    samples = 1152 if first or layer == 2 else 576
    side = ((17, 32) if first else (9, 17))[channels - 1]
    size = samples // 8 * bits_per_second // rate + padding
    return MpegFrame(size, samples, rate, channels, layer, padding, side)


def after_tag(data: mmap.mmap, position: int) -> int | None:
    """Return where a tag (ID3v2, ID3v1, APE) ends that begins here, None if none does."""
    head = data[position : position + 32]
    if head[:3] == b"ID3" and len(head) >= 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        return position + 10 + size + 10 * (head[5] >> 4 & 1)
    if head[:3] == b"TAG":
        return position + 128
    if head[:8] == b"APETAGEX" and len(head) == 32:
        is_header = head[23] >> 5 & 1
        return position + 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
    return None
