"""How far an MP3 or Ogg file really goes: its frames and pages counted, nothing decoded.

libsndfile takes the length of an MP3 from a header that may be missing or be of the first of several appended files,
reads only the first of chained Ogg streams, and loses its way in Opus files whose pages do not count their samples
exactly. What is counted here says when another decoder is needed.

The layouts are those of ISO 11172-3 and 13818-3 (MPEG audio), RFC 3533 (Ogg), 6716 and 7845 (Opus).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from percepnet_cli.audio import formats
from percepnet_cli.audio.formats import OPUS_SAMPLE_RATES
from percepnet_cli.audio.mpeg_frames import MpegFrame, after_tag, mpeg_frame
from percepnet_cli.audio.ogg_pages import FIRST_PAGE, LAST_PAGE, Page, pages

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
    damage: str | None = None
    """Where bytes are no sound that should be, as the end of a sentence."""
    parts: tuple[tuple[int, int], ...] = ()
    """First byte and number of bytes of each of several Ogg streams in a row, if libsndfile can read them apart."""

    @property
    def bits_per_second(self) -> float | None:
        """The mean bitrate."""
        return 8 * self.sound_bytes * self.sample_rate / self.frames if self.frames else None


def measure(path: Path) -> Extent | None:
    """Count what a file (no pipe) holds; None if it is no MP3 and no Ogg of a kind that libsndfile reads."""
    with open(path, "rb") as file:
        head = file.read(4)
        if head != b"OggS" and head[:3] != b"ID3" and mpeg_frame(head) is None and path.suffix.lower() != ".mp3":
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _measure_ogg(data) if head == b"OggS" else _measure_mpeg(data)


# --- MPEG audio --------------------------------------------------------------------------------


FrameAt = Callable[[int], "MpegFrame | None"]


def _measure_mpeg(data: mmap.mmap) -> Extent | None:
    known: dict[bytes, MpegFrame | None] = {}

    def frame_at(position: int) -> MpegFrame | None:
        head = data[position : position + 4]
        if head not in known:
            known[head] = mpeg_frame(head)
        return known[head]

    position = 0
    while (after := after_tag(data, position)) is not None:
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
    end, damage_s, was_tag = len(data), [], False
    while position < end:
        frame = frame_at(position)
        if frame is None:
            after = after_tag(data, position)
            position = after or _next_mpeg_frame(data, position + 1, frame_at, end)
            # there may be room for more after a tag, and anything after the last frame
            if after is None and not was_tag and position < end:
                damage_s.append(_mpeg_seconds(counts))
            was_tag = after is not None
            continue
        was_tag = False
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

    total = round(_mpeg_seconds(counts) * first.sample_rate)
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
        damage=formats.damaged(damage_s),
    )


def _mpeg_seconds(counts: dict[tuple[int, int], int]) -> float:
    """Return the length of frames that are counted by their samples and rates."""
    return sum(count * samples / rate for (samples, rate), count in counts.items())


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
    next_page: int | None = None
    """Number of the page that is to follow; None if that is not known."""

    @property
    def seconds(self) -> float:
        """Length so far."""
        return max(0, self.position - self.skipped) / self.clock_hz


def _measure_ogg(data: mmap.mmap) -> Extent | None:
    streams: list[_Stream] = []
    by_serial: dict[bytes, _Stream | None] = {}
    starts: list[int] = []  # of the parts
    heard, beginning, sound_bytes, number_of_streams = False, False, 0, 0
    damage_s, intact = [], True
    for page in pages(data):
        stream = by_serial.get(page.serial)
        lost = not page.intact or (stream is not None and _is_page_missing(stream, page))
        if lost and intact:  # else it is the same place
            damage_s.append(sum(one.seconds for one in streams))
        intact = page.intact
        if page.flags & FIRST_PAGE:
            if not beginning:  # the streams of one part begin together, before any other page
                starts.append(page.start)
                heard, beginning = False, True
            number_of_streams += 1
            by_serial[page.serial] = stream = None if heard else _ogg_stream(data[page.body : page.end])
            if stream is not None:  # the first one with sound is the one that is read
                streams.append(stream)
                heard = True
            continue
        beginning = False
        if stream is None:
            continue
        stream.next_page = page.number + 1 if page.intact else None
        whole = page.end <= len(data)
        stream.finished = bool(page.flags & LAST_PAGE) and whole
        if page.granule > 0:  # headers have the position 0
            sound_bytes += sum(page.segments)
        if stream.subtype == "OPUS":
            if whole:
                _count_opus_page(stream, data, page.segments, page.body)
                _check_opus_position(stream, page.granule, bool(page.flags & LAST_PAGE))
        elif page.granule >= 0:
            stream.position = page.granule
    if not streams:
        return None

    first, trouble = streams[0], None
    lengths = [one.seconds for one in streams]
    if len(starts) > 1:
        trouble = f"goes on after the {lengths[0]:.1f} s of its first part"
    elif not all(one.regular for one in streams):
        trouble = "does not count its samples exactly"
    frames = round(sum(lengths) * first.sample_rate)

    # Intact parts of one stream each, all of one kind, can be read one by one
    kinds = {(one.subtype, one.sample_rate, one.channels) for one in streams}
    alike = number_of_streams == len(starts) == len(streams) > len(kinds) == 1
    apart = alike and not damage_s and all(one.regular for one in streams)
    ends = (*starts[1:], len(data))
    parts = [(start, end - start) for start, end, length in zip(starts, ends, lengths, strict=False) if length > 0]
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
        damage=formats.damaged(damage_s),
        parts=tuple(parts) if apart else (),
    )


def _is_page_missing(stream: _Stream, page: Page) -> bool:
    """Return whether a page of sound does not follow the one before; that of a broadcast need not follow its head."""
    begins = bool(page.flags & FIRST_PAGE) or stream.position == 0
    return not begins and stream.next_page not in (None, page.number)


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
