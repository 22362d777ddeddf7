"""Bars, and lines that are kept up to date on a terminal."""

from __future__ import annotations

LOWEST_DB = -60.0
"""Where the meters begin."""

CELLS = 20
BLOCKS = " ▏▎▍▌▋▊▉█"


def bar(value: float, cells: int = CELLS) -> str:
    """Draw a bar of a length 0..1."""
    eighths = round(min(max(value, 0.0), 1.0) * cells * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (BLOCKS[rest] if rest else "")).ljust(cells)


class Display:
    """Redraws lines in place on a terminal that understands ANSI sequences."""

    def __init__(self) -> None:
        self._shown = 0

    def frame(self, new: list[str]) -> str:
        """Return what to write to replace the lines shown before."""
        up = f"\x1b[{self._shown}A" if self._shown else ""
        self._shown = len(new)
        return up + "".join(f"\r\x1b[2K{line}\n" for line in new)

    def message(self, text: str) -> str:
        """Return what to write to put a line above the meters; they are drawn below it next."""
        up = f"\x1b[{self._shown}A" if self._shown else ""
        self._shown = 0
        return f"{up}\r\x1b[0J{text}\n"
