"""The panel that `percepnet live` shows on a terminal: plain ANSI sequences, drawn anew ten times per second.

It has the terminal's other screen to itself. So nothing scrolls, a change of size spoils nothing, and what was on
the terminal before is there again at the end.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING

from percepnet_cli.cli.meters import BLOCKS, LOWEST_DB, bar
from percepnet_cli.cli.printed import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from percepnet_cli.live.status import Status

LEVEL_CELLS = 40
STRIP = "▁▂▃▄▅▆▇█"
STRIP_DB = -40.0
"""Gain that has the lowest block."""

CLIP_DB = -0.1
"""A peak above this is as loud as can be: it was probably cut."""

HOLD_SECONDS = 1.5
FALL_DB_PER_SECOND = 20.0
"""A peak stays so long, then its mark falls."""

WARNING_SECONDS = 3.0
MESSAGES = 3

KEYS = "space bypass  +/- limit  p post-filter  m mute  r record  ? help  q quit"
HELP = (
    "space   bypass: you hear the input, with the same delay; again to go back",
    "+ -     attenuation limit: lower noise by 3 dB more or less; - begins at 24 dB",
    "p       post-filter: take noise that is left further down, or do not",
    "m       mute: silence goes out; again to go back",
    "r       record both sides to files here; again to end",
    "q       quit; Ctrl-C does the same",
    "",
    "in, out       level and peak; the mark holds the peak",
    "CLIPS         the input is cut off: turn the microphone down",
    "noise lowered what is taken from the noise: in pauses, and between the",
    "              harmonics of the voice",
    "gains         what the network lets through, from low to high frequencies",
    "late, xruns   blocks for which the denoiser, or the device, was too slow",
    "",
    "? ends this",
)


class PeakHold:
    """The highest of late, for the mark of a meter."""

    def __init__(self) -> None:
        self.db = LOWEST_DB
        self._since = 0.0
        self._looked_at = 0.0

    def update(self, now: float, db: float) -> float:
        """Take a peak, dB; return what is to be marked. now: seconds."""
        if db >= self.db:
            self.db, self._since = db, now
        elif now - self._since > HOLD_SECONDS:
            self.db = max(db, self.db - FALL_DB_PER_SECOND * (now - self._looked_at))
        self._looked_at = now
        return self.db


class Panel:
    """What is on the screen; it returns what to write.

    names: printed at the top, a line each.
    """

    def __init__(self, names: Sequence[str], ascii_only: bool = False) -> None:
        self.help = False
        self._names = list(names)
        self._ascii = ascii_only
        self._messages: list[str] = []
        self._peaks = (PeakHold(), PeakHold())
        self._clipped_at = -WARNING_SECONDS

    def begin(self) -> str:
        """Return what takes the other screen, without a cursor."""
        return "\x1b[?1049h\x1b[?25l\x1b[2J"

    def end(self) -> str:
        """Return what gives it back."""
        return "\x1b[?25h\x1b[?1049l"

    def say(self, message: str) -> None:
        """Show a message below the rest; the oldest goes."""
        self._messages = [*self._messages, printable(message)][-MESSAGES:]

    def frame(self, status: Status, now: float, size: tuple[int, int] | None = None) -> str:
        """Return what draws the panel. now: seconds; size: columns and lines of the terminal, None: as they are."""
        columns, lines = size or _terminal_size()
        rows = self.rows(status, now, columns)

        # The keys are always the last line; what does not fit above them is left out
        shown = [*rows[: max(0, lines - 1)], KEYS][-lines:]
        if self._ascii:
            shown = [as_ascii(row) for row in shown]
        body = "\r\n".join(row[: max(1, columns - 1)] + "\x1b[K" for row in shown)
        return f"\x1b[H{body}\x1b[J"

    def rows(self, status: Status, now: float, columns: int = 80) -> list[str]:
        """Return the lines above the keys, of 79 columns at most; names and messages are wrapped for the terminal."""
        minutes, seconds = divmod(int(status.seconds), 60)
        state = {
            "running": "on",
            "resting": "PASSING: the processor cannot follow",
            "waiting": "WAITING FOR THE DEVICE",
        }
        what = state[status.state]
        if status.state != "waiting" and (status.muted or status.bypass):
            what = "MUTED" if status.muted else "BYPASS"
        names = [line for name in self._names for line in _wrapped(printable(name), columns)]
        top = [f"percepnet live   {minutes}:{seconds:02d}   {what}", *names, ""]
        if self.help:
            return [*top, *HELP, ""]

        if status.input_peak_db > CLIP_DB:
            self._clipped_at = now
        clips = "  CLIPS" if now - self._clipped_at < WARNING_SECONDS else ""
        limit = "none" if status.attenuation_limit_db is None else f"{status.attenuation_limit_db:.0f} dB"
        lowered = "-" if status.reduction_db is None else f"{max(status.reduction_db, 0):.0f} dB"
        recording = f"   recording {printable(status.recording)}" if status.recording else ""
        latency = "-"
        if status.latency_ms is not None and status.device_ms is not None:
            latency = (
                f"{status.latency_ms:.0f} ms: denoiser {status.denoiser_ms:.0f}, "
                f"blocks {status.buffer_ms:.0f}, devices {status.device_ms:.0f}"
            )
        return [
            *top,
            f"in    {self._meter(0, status.input_db, status.input_peak_db, now)}{clips}",
            f"out   {self._meter(1, status.output_db, status.output_peak_db, now)}",
            "",
            f"noise lowered by {lowered:7}   speech {bar(status.speech, 10)} {100 * status.speech:3.0f} %",
            f"gains {strip(status.gains)}  20 Hz to 20 kHz",
            "",
            *_wrapped(f"limit {limit}   post-filter {'on' if status.post_filter else 'off'}{recording}", columns),
            f"latency {latency}",
            f"cpu {status.cpu_percent:.1f} % of a core   xruns {status.xruns}   late {status.late_blocks}"
            f"   reopened {status.reopened}",
            "",
            *(line for message in self._messages for line in _wrapped(message, columns)),
        ]

    def _meter(self, side: int, db: float, peak_db: float, now: float) -> str:
        """Draw a level with the mark of the peak, 59 columns."""
        held = self._peaks[side].update(now, peak_db)
        cells = list(bar(1 - db / LOWEST_DB, LEVEL_CELLS))
        at = min(LEVEL_CELLS - 1, round((1 - held / LOWEST_DB) * LEVEL_CELLS))
        if at >= 0 and held > LOWEST_DB:
            cells[at] = "|"
        return f"{''.join(cells)} {max(db, -99):4.0f} dB, peak {max(held, -99):4.0f}"


def _terminal_size() -> tuple[int, int]:
    """Return columns and lines of where the panel is; standard output may go elsewhere."""
    with suppress(OSError, ValueError):
        size = os.get_terminal_size(sys.stderr.fileno())
        if min(size) > 0:  # some terminals do not know
            return size
    return shutil.get_terminal_size()


def _wrapped(text: str, columns: int) -> list[str]:
    """Return a text as lines that a terminal of so many columns shows whole."""
    return textwrap.wrap(text, max(20, columns - 1), subsequent_indent="  ", break_on_hyphens=False) or [""]


def strip(gains: Sequence[float]) -> str:
    """Draw gains of 0..1, a block each."""
    shares = [1 - 20 * math.log10(max(gain, 1e-4)) / STRIP_DB for gain in gains]
    return "".join(STRIP[round(min(max(share, 0.0), 1.0) * (len(STRIP) - 1))] for share in shares)


def as_ascii(row: str) -> str:
    """Return a line for terminals that know ASCII only."""
    ramp = dict(zip(map(ord, STRIP), ".:-=+*%#", strict=True))
    return row.translate({**dict.fromkeys(map(ord, BLOCKS[1:]), "#"), **ramp}).encode("ascii", "replace").decode()
