"""What stands beside the samples of a WAV, RF64 or AIFF and goes along into the result."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from percepnet_cli.audio import riff
from percepnet_cli.version import __version__

NOT_KEPT = {
    b"JUNK", b"junk", b"PAD ", b"FLLR", b"filr", b"ds64", b"fmt ", b"data", b"fact", b"PEAK", b"levl", b"MD5 ",
    b"COMM", b"SSND", b"FVER",
}  # fmt: skip
"""Room for other chunks, what is written anew, and what was computed from the old samples."""

INFO_NAMES = {
    "title": b"INAM", "artist": b"IART", "album": b"IPRD", "comment": b"ICMT", "copyright": b"ICOP",
    "date": b"ICRD", "genre": b"IGNR", "tracknumber": b"ITRK", "software": b"ISFT",
}  # fmt: skip
"""Tags by soundfile's names -> chunks of a LIST/INFO."""

TAGS = {"id3", "ID3", "LIST/INFO", "NAME", "AUTH", "(c)", "ANNO"}
"""Kinds whose content becomes tags where chunks cannot be kept."""

AIFF_TEXTS = {b"NAME", b"AUTH", b"(c) ", b"ANNO", b"APPL"}
"""What libsndfile writes for tags."""

TIMED = {
    "cue", "smpl", "inst", "INST", "plst", "ltxt", "LIST/adtl", "MARK", "COMT", "iXML", "axml", "chna", "acid", "umid",
}  # fmt: skip
"""Kinds that name moments of the sound, which are others in an excerpt."""

LARGEST_BYTES = 2**26
"""Of all chunks together."""

TIME_REFERENCE = 338
"""Byte of a bext chunk that tells the time of its first sample, 64 bits of samples since midnight."""

CODING_HISTORY = 602
"""Byte of a bext chunk (EBU Tech 3285) at which the story of the sound begins."""


@dataclass
class Kept:
    """The chunks of one file."""

    subtype: str
    """Of the samples, by soundfile's name."""
    family: str
    """"WAVE" or "AIFF"."""
    format: bytes = b""
    """Content of the fmt chunk."""
    before: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Kind and content of what stands before the samples."""
    after: list[tuple[bytes, bytes]] = field(default_factory=list)
    """The same, behind them."""
    left_out: list[str] = field(default_factory=list)
    """Kinds that are too large."""

    @property
    def kinds(self) -> list[str]:
        """Their kinds, in the order of the file; a LIST with the kind of its content."""
        return [kind_of(chunk) for chunk in self.before + self.after]


def kind_of(chunk: tuple[bytes, bytes]) -> str:
    """Return the kind of a chunk, kind and content; a LIST with the kind of its content."""
    kind, content = chunk
    return f"LIST/{content[:4].decode('latin-1')}" if kind == b"LIST" else kind.decode("latin-1").strip()


def read(path: Path, subtype: str) -> Kept | None:
    """Read the chunks of a WAV, RF64 or AIFF beside its samples; None if it is none. Raises AudioError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            kept, start = Kept(subtype, "AIFF"), 0
            found = [chunk for chunk in riff.walk(file, 12, size, "big") if riff.is_plausible(chunk, size)]
        elif (wave := riff.read_wave(file, size)) is not None:
            kept, start, found = Kept(subtype, "WAVE", wave.format), wave.start, wave.chunks
        else:
            return None

        total = 0
        for chunk in found:
            if chunk.kind in NOT_KEPT:
                continue
            if total + chunk.size > LARGEST_BYTES:
                kept.left_out.append(chunk.kind.decode("latin-1"))
                continue
            total += chunk.size
            file.seek(chunk.start)
            content = file.read(chunk.size)
            (kept.before if chunk.start < start else kept.after).append((chunk.kind, content))
    return kept


def fit_excerpt(kept: Kept, first_frame: int) -> None:
    """Leave out what does not hold for an excerpt, and move the time of its first sample."""
    for chunks in (kept.before, kept.after):
        kept.left_out += [kind_of(chunk) for chunk in chunks if kind_of(chunk) in TIMED]
        chunks[:] = [chunk for chunk in chunks if kind_of(chunk) not in TIMED]
        for index, (kind, content) in enumerate(chunks):
            if kind == b"bext" and len(content) >= CODING_HISTORY:
                time = slice(TIME_REFERENCE, TIME_REFERENCE + 8)
                moved = int.from_bytes(content[time], "little") + first_frame
                moved_bytes = (moved % 2**64).to_bytes(8, "little")
                chunks[index] = (kind, content[: time.start] + moved_bytes + content[time.stop :])


def append_aiff(file: BinaryIO, kept: Kept) -> None:
    """Add chunks to an AIFF that is whole: those of another one, in place of what libsndfile made of tags."""
    size = file.seek(0, io.SEEK_END)
    own = [chunk for chunk in riff.walk(file, 12, size, "big") if chunk.kind in AIFF_TEXTS]
    for chunk in own if kept.family == "AIFF" else []:
        file.seek(chunk.start - 8)
        file.write(b"JUNK")  # players step over it
    file.seek(size)
    for kind, content in kept.after:
        file.write(kind + len(content).to_bytes(4, "big") + content + bytes(len(content) % 2))
    total = file.tell() - 8
    file.seek(4)
    file.write(total.to_bytes(4, "big"))


def info_list(tags: dict[str, str]) -> bytes:
    """Return the content of a LIST chunk that holds tags, UTF-8."""
    content = b"INFO"
    for name, text in tags.items():
        if name in INFO_NAMES and text:
            data = text.encode("utf-8", "replace") + b"\0"
            content += INFO_NAMES[name] + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return content


def add_history(kept: Kept, sample_rate: int, channels: int, bits: int) -> None:
    """Add our line to the coding history of a broadcast WAV, if it is one."""
    mode = {1: "mono", 2: "stereo"}.get(channels, "multitrack")
    line = f"A=PCM,F={sample_rate},W={bits},M={mode},T=percepnet {__version__}\r\n".encode("ascii")
    for chunks in (kept.before, kept.after):
        for index, (kind, content) in enumerate(chunks):
            if kind == b"bext" and len(content) >= CODING_HISTORY:
                history = content[CODING_HISTORY:].rstrip(b"\0")
                if history and not history.endswith(b"\n"):
                    history += b"\r\n"
                chunks[index] = (kind, content[:CODING_HISTORY] + history + line)
