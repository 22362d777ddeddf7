"""How far an MP3 or Ogg file really goes: its frames and pages counted, nothing decoded.

libsndfile takes the length of an MP3 from a header that may be missing or be of the first of several appended files,
reads only the first of chained Ogg streams, and loses its way in Opus files whose pages do not count their samples
exactly. What is counted here says when another decoder is needed.

The layouts are those of ISO 11172-3 and 13818-3 (MPEG audio), RFC 3533 (Ogg), 6716 and 7845 (Opus).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from percepnet_cli.audio import formats
from percepnet_cli.audio.formats import OPUS_SAMPLE_RATES

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

VBRI_OFFSET = 32
"""Bytes from the head of a first frame to Fraunhofer's description of the file."""

MISCOUNTED = 2
"""Frames by which the header of a whole MP3 may be wrong."""

DECODER_DELAY = 529
"""Samples that a decoder of MP3 gives before the first one of its encoder."""

SEARCHED_BYTES = 65536
"""In which a first frame is looked for, after tags."""

LARGEST_VORBIS_BLOCK = 8192
"""Samples."""

OPUS_CLOCK_HZ = 48000
"""Samples a second that Opus counts, whatever was recorded."""

FIRST_PAGE, LAST_PAGE = 2, 4
"""Flags of an Ogg page."""


@dataclass(frozen=True)
class Extent:
    """What the framing of a file says."""

    format: str
    subtype: str
    """By soundfile's names."""
    sample_rate: int
    """Hz, of the first part, as libsndfile would give it."""
    channels: int
    frames: int
    """Samples of one channel in all parts, at that rate."""
    trouble: str | None
    """What libsndfile would do wrong with it, as the end of a sentence."""
    slack: int
    """Samples by which decoders may differ from ``frames``: what they leave out at the ends."""
    sound_bytes: int
    """Bytes without tags."""
    ends_early: str | None = None
    """How it ends before it should, as the end of a sentence."""

    @property
    def bits_per_second(self) -> float | None:
        """The mean bitrate."""
        return 8 * self.sound_bytes * self.sample_rate / self.frames if self.frames else None


def measure(path: Path) -> Extent | None:
    """Count what a file (no pipe) holds; None if it is no MP3 and no Ogg of a kind that libsndfile reads."""
    with open(path, "rb") as file:
        head = file.read(4)
        if head != b"OggS" and head[:3] != b"ID3" and _mpeg_frame(head) is None and path.suffix.lower() != ".mp3":
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _measure_ogg(data) if head == b"OggS" else _measure_mpeg(data)


# --- MPEG audio --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _MpegFrame:
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


def _mpeg_frame(head: bytes) -> _MpegFrame | None:
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
        return _MpegFrame((12 * bits_per_second // rate + padding) * 4, 384, rate, channels, layer, 4 * padding, 0)
    samples = 1152 if first or layer == 2 else 576
    side = ((17, 32) if first else (9, 17))[channels - 1]
    size = samples // 8 * bits_per_second // rate + padding
    return _MpegFrame(size, samples, rate, channels, layer, padding, side)


FrameAt = Callable[[int], "_MpegFrame | None"]


def _measure_mpeg(data: mmap.mmap) -> Extent | None:
    known: dict[bytes, _MpegFrame | None] = {}

    def frame_at(position: int) -> _MpegFrame | None:
        head = data[position : position + 4]
        if head not in known:
            known[head] = _mpeg_frame(head)
        return known[head]

    position = 0
    while (after := _after_mpeg_tag(data, position)) is not None:
        position = after
    first = frame_at(position)
    if first is None:
        position = _next_mpeg_frame(data, position, frame_at, position + SEARCHED_BYTES)
        first = frame_at(position)
        if first is None:
            return None

    # the first frame may describe the file and hold no sound
    declared, delay, padding = _description(data, position, first.side_bytes)
    if declared is not None:
        position += first.size
    counts: dict[tuple[int, int], int] = {}  # (samples of a frame, Hz) -> frames
    sizes, sound_bytes, cut_frame, number = set(), 0, False, 0
    end = len(data)
    while position < end:
        frame = frame_at(position)
        if frame is None:
            position = _after_mpeg_tag(data, position) or _next_mpeg_frame(data, position + 1, frame_at, end)
            continue
        # so may the first frame of a file that was appended
        if declared and number >= declared and _description(data, position, frame.side_bytes)[0] is not None:
            position += frame.size
            continue
        kind = (frame.samples, frame.sample_rate)
        counts[kind] = counts.get(kind, 0) + 1
        number += 1
        sizes.add(frame.size - frame.padding)
        sound_bytes += frame.size
        position += frame.size
        cut_frame = position > end

    total = sum(count * samples * first.sample_rate // rate for (samples, rate), count in counts.items())
    cut, trouble = delay + padding, None
    if declared and number > declared + 1:
        cut = delay + DECODER_DELAY if delay else 0  # ffmpeg, which will read it, keeps what is padded within
        trouble = f"goes on after the {declared * first.samples / first.sample_rate:.1f} s that its header declares"
    elif not declared and len(sizes) > 1:
        trouble = "has a variable bitrate, and no header that tells its length"
    layer = ("III", "II", "I")[first.layer - 1]
    ends_early = None
    if cut_frame or number + MISCOUNTED < (declared or 0):
        seconds = total / first.sample_rate
        expected = seconds * declared / number if declared and 0 < number < declared else None
        ends_early = formats.early(seconds, expected)
    return Extent(
        "MP3",
        f"MPEG_LAYER_{layer}",
        first.sample_rate,
        first.channels,
        max(0, total - cut),
        trouble,
        slack=2 * first.samples,
        sound_bytes=sound_bytes,
        ends_early=ends_early,
    )


def _description(data: mmap.mmap, start: int, side_bytes: int) -> tuple[int | None, int, int]:
    """Read what may stand in a first frame.

    Returns the number of frames, 0 if it is not told, None if the frame is one of sound; and the samples that the
    encoder added in front and at the end.
    """
    at = start + 4 + side_bytes
    if data[at : at + 4] not in (b"Xing", b"Info"):
        vbri = start + 4 + VBRI_OFFSET
        if data[vbri : vbri + 4] == b"VBRI":
            return int.from_bytes(data[vbri + 14 : vbri + 18], "big"), 0, 0
        return None, 0, 0
    flags = int.from_bytes(data[at + 4 : at + 8], "big")
    frames = int.from_bytes(data[at + 8 : at + 12], "big") if flags & 1 else 0
    # frames, bytes, table of contents and quality come before the encoder's own part, each if its bit is set
    sizes = (4, 4, 100, 4)
    encoder = at + 8 + sum(size for bit, size in enumerate(sizes) if flags >> bit & 1)
    if data[encoder : encoder + 4] not in (b"LAME", b"Lavf", b"Lavc"):
        return frames, 0, 0
    both = int.from_bytes(data[encoder + 21 : encoder + 24], "big")
    return frames, both >> 12, both & 0xFFF


def _after_mpeg_tag(data: mmap.mmap, position: int) -> int | None:
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


def _next_mpeg_frame(data: mmap.mmap, position: int, frame_at: FrameAt, end: int) -> int:
    """Return where the next frame begins that another one follows, or the end."""
    while (position := data.find(b"\xff", position, end)) >= 0:
        frame = frame_at(position)
        if frame is not None and frame_at(position + frame.size) is not None:
            return position
        position += 1
    return end


# --- Ogg ---------------------------------------------------------------------------------------


@dataclass
class _Stream:
    """One logical stream of an Ogg file, as far as it has been read."""

    subtype: str
    clock_hz: int
    """By which its positions count."""
    sample_rate: int
    """Hz, as libsndfile gives it."""
    channels: int
    skipped: int = 0
    """Samples at its start that are not played."""
    position: int = 0
    """Samples so far."""
    counted: int = 0
    """Samples in the packets so far (Opus only)."""
    headers_left: int = 0
    """Packets to come that hold no sound."""
    pending: int = 0
    """Samples of the packet that has begun."""
    open_packet: bool = False
    """Whether the last page ended within a packet."""
    finished: bool = False
    """Whether its last page, marked as such, is all there."""
    regular: bool = True
    """Whether the positions on its pages are what their packets add up to."""


def _measure_ogg(data: mmap.mmap) -> Extent | None:
    streams: list[_Stream] = []
    by_serial: dict[bytes, _Stream | None] = {}
    parts, heard, beginning, sound_bytes = 0, False, False, 0
    for flags, granule, serial, segments, body in _ogg_pages(data):
        if flags & FIRST_PAGE:
            if not beginning:  # the streams of one part begin together, before any other page
                parts, heard, beginning = parts + 1, False, True
            by_serial[serial] = stream = None if heard else _ogg_stream(data[body : body + sum(segments)])
            if stream is not None:  # the first one with sound is the one that is read
                streams.append(stream)
                heard = True
            continue
        beginning = False
        stream = by_serial.get(serial)
        if stream is None:
            continue
        whole = body + sum(segments) <= len(data)
        stream.finished = bool(flags & LAST_PAGE) and whole
        if granule > 0:  # headers have the position 0
            sound_bytes += sum(segments)
        if stream.subtype == "OPUS":
            if whole:
                _count_opus_page(stream, data, segments, body)
                _check_opus_position(stream, granule, bool(flags & LAST_PAGE))
        elif granule >= 0:
            stream.position = granule
    if not streams:
        return None

    first, trouble = streams[0], None
    lengths = [max(0, one.position - one.skipped) / one.clock_hz for one in streams]
    if parts > 1:
        trouble = f"goes on after the {lengths[0]:.1f} s of its first part"
    elif not all(one.regular for one in streams):
        trouble = "does not count its samples exactly"
    frames = round(sum(lengths) * first.sample_rate)
    return Extent(
        "OGG",
        first.subtype,
        first.sample_rate,
        first.channels,
        frames,
        trouble,
        slack=LARGEST_VORBIS_BLOCK,
        sound_bytes=sound_bytes,
        ends_early=None if all(one.finished for one in streams) else "ends early, without its last page",
    )


def _ogg_pages(data: mmap.mmap) -> Iterator[tuple[int, int, bytes, bytes, int]]:
    """Yield flags, position, serial number, segment sizes and the place of the body of every page."""
    at, end = 0, len(data)
    while at + 27 <= end:
        head = data[at : at + 27]
        if head[:4] != b"OggS":
            at = data.find(b"OggS", at + 1)
            if at < 0:
                return
            continue
        segments = data[at + 27 : at + 27 + head[26]]
        body = at + 27 + head[26]
        yield head[5], int.from_bytes(head[6:14], "little", signed=True), head[14:18], segments, body
        at = body + sum(segments)


def _ogg_stream(packet: bytes) -> _Stream | None:
    """Return a stream by its first packet, None if it is no sound that libsndfile knows."""
    if packet[:7] == b"\x01vorbis" and len(packet) >= 16:
        rate = int.from_bytes(packet[12:16], "little") or 1
        return _Stream("VORBIS", rate, rate, packet[11])
    if packet[:8] == b"OpusHead" and len(packet) >= 19:
        skipped, recorded = int.from_bytes(packet[10:12], "little"), int.from_bytes(packet[12:16], "little")
        fitting = [rate for rate in OPUS_SAMPLE_RATES if 0 < recorded <= rate]
        return _Stream("OPUS", OPUS_CLOCK_HZ, (fitting or [OPUS_CLOCK_HZ])[0], packet[9], skipped, headers_left=1)
    return None


def _count_opus_page(stream: _Stream, data: mmap.mmap, segments: bytes, body: int) -> None:
    """Add the samples of the packets that end on a page."""
    at, begins = body, not stream.open_packet
    for segment in segments:
        if begins:
            stream.pending = _opus_packet_samples(data[at : at + 2]) if segment else 0
        at += segment
        begins = segment < 255
        if begins and stream.headers_left:
            stream.headers_left -= 1
        elif begins:
            stream.counted += stream.pending
    stream.open_packet = not begins


def _opus_packet_samples(head: bytes) -> int:
    """Return the samples of a packet by its first two bytes (RFC 6716, section 3.1)."""
    config, kind = head[0] >> 3, head[0] & 3
    if config < 12:  # SILK
        frame = (480, 960, 1920, 2880)[config % 4]
    elif config < 16:  # SILK below 8 kHz, CELT above
        frame = (480, 960)[config % 2]
    else:  # CELT
        frame = (120, 240, 480, 960)[config % 4]
    frames = (1, 2, 2, head[1] & 63 if len(head) > 1 else 0)[kind]
    return frame * frames


def _check_opus_position(stream: _Stream, granule: int, last: bool) -> None:
    """Note whether a page's position is what its packets add up to; the last one may cut its packet."""
    if granule < 0 or not stream.counted:
        return
    stream.position = min(granule, stream.counted)
    if granule > stream.counted or (granule < stream.counted and not last):
        stream.regular = False
