"""What stands beside the samples of a WAV, RF64 or AIFF and goes along into the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from percepnet_cli.audio import riff
from percepnet_cli.version import __version__

NOT_KEPT = {
    b"JUNK", b"junk", b"PAD ", b"FLLR", b"filr", b"ds64", b"fmt ", b"data", b"fact", b"PEAK", b"levl", b"MD5 ",
}  # fmt: skip
"""Room for other chunks, what is written anew, and what was computed from the old samples."""

LARGEST_BYTES = 2**26
"""Of all chunks together."""

CODING_HISTORY = 602
"""Byte of a bext chunk (EBU Tech 3285) at which the story of the sound begins."""


@dataclass
class Kept:
    """The chunks of one file."""

    subtype: str
    """Of the samples, by soundfile's name."""
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
        return [
            f"LIST/{content[:4].decode('latin-1')}" if kind == b"LIST" else kind.decode("latin-1").strip()
            for kind, content in self.before + self.after
        ]


def read(path: Path, subtype: str) -> Kept | None:
    """Read the chunks of a WAV or RF64 beside its samples; None if it is none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        wave = riff.read_wave(file, size)
        if wave is None:
            return None
        kept, total = Kept(subtype, wave.format), 0
        for chunk in wave.chunks:
            if chunk.kind in NOT_KEPT:
                continue
            if total + chunk.size > LARGEST_BYTES:
                kept.left_out.append(chunk.kind.decode("latin-1"))
                continue
            total += chunk.size
            file.seek(chunk.start)
            content = file.read(chunk.size)
            (kept.before if chunk.start < wave.start else kept.after).append((chunk.kind, content))
    return kept


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
