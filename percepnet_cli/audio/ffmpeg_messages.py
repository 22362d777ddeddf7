"""What ffmpeg says of files that it reads all the same: that they are cut short, or damaged."""

from __future__ import annotations

SAYS_EARLY = ("File ended prematurely", ": partial file")
"""What ffmpeg says of containers that are cut short."""

SAYS_DAMAGED = (
    "Error while decoding", "Error submitting packet", "error decoding the audio block", "Header missing",
    "CRC mismatch", "CRC error", "invalid as first byte of an EBML number", "exceeds containing master element",
    "Error parsing frame sizes", "Error applying parameter changes", "packet_obj_size",
)  # fmt: skip
"""What it says of damage that it goes on after. Much else that it calls an error is none of the sound."""


def says_early(said: str) -> bool:
    """Return whether a file is cut short by all that ffmpeg said of it."""
    return any(words in said for words in SAYS_EARLY)


def damage(said: str) -> str | None:
    """Return what ffmpeg said of damage, as the end of a sentence; None if it said nothing of that.

    >>> damage("[ogg @ 0x56] CRC mismatch!")
    "is damaged: ffmpeg says 'CRC mismatch!'"
    """
    for line in said.splitlines():
        if any(words in line for words in SAYS_DAMAGED):
            return f"is damaged: ffmpeg says '{line.rpartition('] ')[2].strip()}'"
    return None
