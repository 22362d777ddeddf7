"""The two lines that `percepnet live` keeps up to date on a terminal."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from percepnet_cli.live.status import Status

LOWEST_DB = -60.0
"""Where the meters begin."""

CELLS = 20
BLOCKS = " ▏▎▍▌▋▊▉█"


def bar(value: float, cells: int = CELLS) -> str:
    """Draw a bar of a length 0..1."""
    eighths = round(min(max(value, 0.0), 1.0) * cells * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (BLOCKS[rest] if rest else "")).ljust(cells)


def level(db: float, cells: int = CELLS) -> str:
    """Draw a level in dB of full scale."""
    return f"{bar(1 - db / LOWEST_DB, cells)} {max(db, -99):4.0f} dB"


def lines(status: Status, ascii_only: bool = False) -> list[str]:
    """Return what is shown: levels, then counts and settings."""
    if status.state == "waiting":
        first = "waiting for the device"
    else:
        first = (
            f"in {level(status.input_db)}  out {level(status.output_db)}  "
            f"reduction {max(status.reduction_db, 0):2.0f} dB  voiced {bar(status.voicing, 5)}"
        )
    latency = "-" if status.latency_ms is None else f"{status.latency_ms:.0f} ms"
    limit = "none" if status.attenuation_limit_db is None else f"{status.attenuation_limit_db:.0f} dB"
    mode = "BYPASS" if status.bypass else "PASSING (overload)" if status.state == "resting" else "on"
    second = (
        f"cpu {status.cpu_percent:4.1f} %  latency {latency}  xruns {status.xruns}  late {status.late_blocks}  "
        f"limit {limit}  {mode}   [space] bypass  [+/-] attenuation  [q] quit"
    )
    width = shutil.get_terminal_size().columns - 1
    shown = [first[:width], second[:width]]
    if ascii_only:
        shown = [line.translate(dict.fromkeys(map(ord, BLOCKS[1:]), "#")) for line in shown]
    return shown


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
