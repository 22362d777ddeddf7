"""The panel of `percepnet live`: all of it on 80 x 24, whatever happens to the terminal."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from percepnet_cli.cli.live import next_limit
from percepnet_cli.cli.panel import CLIP_DB, HELP, HOLD_SECONDS, KEYS, STRIP, Panel, PeakHold, as_ascii, strip
from percepnet_cli.live.status import Status

pyte = pytest.importorskip("pyte")

ROOT = Path(__file__).resolve().parents[1]
NAMES = ["3 (Built-in Audio, PulseAudio) -> 7 (PercepNet feed, PulseAudio)", "choose 'PercepNet'"]
STATUS = Status(
    state="running",
    seconds=83.0,
    input_db=-21.0,
    output_db=-28.0,
    input_peak_db=-9.0,
    output_peak_db=-12.0,
    reduction_db=23.0,
    voicing=0.9,
    speech=0.93,
    gains=tuple(i / 33 for i in range(34)),
    cpu_percent=4.2,
    latency_ms=52.0,
    denoiser_ms=30.0,
    buffer_ms=0.0,
    device_ms=22.0,
    xruns=3,
    late_blocks=5,
    passed_ms=50.0,
    overloads=0,
    reopened=1,
    bypass=False,
    attenuation_limit_db=12.0,
    post_filter=True,
    muted=False,
    recording="a.wav, b.wav",
)


class Terminal:
    """A terminal that shows what was written to it."""

    def __init__(self, columns=80, lines=24):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.Stream(self.screen)

    def show(self, panel, status=STATUS, now=0.0):
        self.stream.feed(panel.frame(status, now, (self.screen.columns, self.screen.lines)))
        return [line.rstrip() for line in self.screen.display]


def used(lines):
    """Return the lines up to the last that is not blank."""
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines


def test_everything_is_visible_on_80_by_24():
    panel = Panel(NAMES)
    panel.say("device 3 is back")
    lines = used(Terminal().show(panel))
    text = "\n".join(lines)

    for what in (
        "1:23   on",
        NAMES[0],
        NAMES[1],
        "-21 dB, peak   -9",
        "-28 dB, peak  -12",
        "noise lowered by 23 dB",
        "speech █████████▎  93 %",
        strip(STATUS.gains),
        "limit 12 dB   post-filter on   recording a.wav, b.wav",
        "latency 52 ms: denoiser 30, blocks 0, devices 22",
        "cpu 4.2 % of a core   xruns 3   late 5   reopened 1",
        "device 3 is back",
    ):
        assert what in text

    assert lines[-1] == KEYS
    assert len(lines) <= 24


LONG_NAMES = [
    "3 (Remapped Monitor of Null Output, PulseAudio) -> 7 (PercepNet feed, PulseAudio); 48000 Hz, blocks of 480 frames",
    "choose 'PercepNet' as the microphone in the call program",
]
LONG_MESSAGES = [
    f"device {LONG_NAMES[0].partition(';')[0]} has delivered nothing for {n} s: opening it anew" for n in "123"
]
LONG_RECORDING = "percepnet-2026-11-29-10-41-07-noisy.wav, percepnet-2026-11-29-10-41-07-clean.wav"


@pytest.mark.parametrize("columns", [80, 60])
def test_long_names_and_messages_are_whole(columns):
    panel = Panel(LONG_NAMES)
    for message in LONG_MESSAGES:
        panel.say(message)
    lines = used(Terminal(columns).show(panel, replace(STATUS, recording=LONG_RECORDING)))
    text = " ".join(" ".join(lines).split())
    if columns == 80:
        assert all(message in text for message in LONG_MESSAGES)
    assert all(words in text for words in (*LONG_NAMES, LONG_RECORDING, LONG_MESSAGES[0]))
    assert lines[-1] == KEYS[: columns - 1].rstrip()


def test_nothing_is_wider_than_79_columns():
    worst = replace(STATUS, input_db=-99.0, input_peak_db=0.0, cpu_percent=100.0, xruns=99999, late_blocks=99999)
    rows = Panel([]).rows(worst, 0.0)
    assert max(map(len, [*rows, *HELP, KEYS])) <= 79


@pytest.mark.parametrize("size", [(80, 24), (40, 8), (200, 60), (20, 2), (5, 1)])
def test_a_change_of_size_leaves_nothing_behind(size):
    """What was drawn for another size is gone, no line runs into the next, and the keys are the last line."""
    terminal, panel = Terminal(), Panel(NAMES)
    terminal.show(panel)
    columns, lines = size
    terminal.screen.resize(lines, columns)
    shown = used(terminal.show(panel))
    fresh = Terminal(columns, lines)
    assert shown == used(fresh.show(panel))
    assert shown[-1] == KEYS[: columns - 1].rstrip()


def test_the_size_is_that_of_the_terminal_it_is_drawn_on(monkeypatch):
    """Standard output may be a file."""
    pty, termios, fcntl = (pytest.importorskip(name) for name in ("pty", "termios", "fcntl"))
    leader, follower = pty.openpty()
    with open(leader, "rb"), open(follower, "w") as terminal, open(os.devnull, "w") as nowhere:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(sys, "stdout", nowhere)
        unknown = Panel(NAMES).frame(STATUS, 0.0)
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 7, 33, 0, 0))
        rows = Panel(NAMES).frame(STATUS, 0.0).split("\r\n")
    assert len(rows) == 7 and rows[-1].startswith(f"{KEYS[:32]}\x1b")
    assert unknown == Panel(NAMES).frame(STATUS, 0.0, shutil.get_terminal_size())


def test_help_and_back():
    terminal, panel = Terminal(), Panel(NAMES)
    before = terminal.show(panel)
    panel.help = True
    lines = terminal.show(panel)
    assert all(row in lines for row in HELP)
    panel.help = False
    assert terminal.show(panel) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bypass": True}, "BYPASS"),
        ({"muted": True, "bypass": True}, "MUTED"),
        ({"state": "resting"}, "PASSING"),
        ({"state": "waiting", "muted": True, "latency_ms": None}, "WAITING FOR THE DEVICE"),
        ({"reduction_db": None}, "noise lowered by -"),
        ({"attenuation_limit_db": None, "post_filter": False, "recording": ""}, "limit none   post-filter off"),
    ],
)
def test_states(change, words):
    assert any(words in line for line in Terminal().show(Panel(NAMES), replace(STATUS, **change)))


def test_clipping_is_said_for_a_while():
    panel = Panel(NAMES)
    loud = replace(STATUS, input_peak_db=CLIP_DB / 2)

    def warned(status, now):
        return any("CLIPS" in row and len(row) <= 100 for row in panel.rows(status, now))

    assert warned(loud, 10.0) and warned(STATUS, 12.9) and not warned(STATUS, 13.1)


def test_a_peak_is_held_then_falls():
    hold = PeakHold()
    assert hold.update(0.0, -5.0) == -5.0
    assert hold.update(HOLD_SECONDS, -30.0) == -5.0
    assert hold.update(HOLD_SECONDS + 0.5, -30.0) == -15.0
    assert hold.update(HOLD_SECONDS + 9.0, -30.0) == -30.0
    assert hold.update(HOLD_SECONDS + 9.1, -3.0) == -3.0


def test_the_strip_of_gains():
    assert strip([0.0, 0.01, 0.1, 1.0]) == STRIP[0] * 2 + STRIP[4] + STRIP[-1]
    assert as_ascii(strip(STATUS.gains)).isascii() and len(set(as_ascii(strip(STATUS.gains)))) > 4


def test_names_do_not_steer_the_terminal():
    panel = Panel(["\x1b[2J"])
    panel.say("\x1b[5m")
    assert "\x1b[2J" not in panel.frame(STATUS, 0.0, (80, 24)) and "\x1b[5m" not in panel.frame(STATUS, 0.0, (80, 24))


def test_the_limit_by_keys():
    limits = [None]
    for _ in range(10):
        limits.append(next_limit(limits[-1], more=False))
    assert limits[:4] == [None, 24.0, 21.0, 18.0] and limits[-1] == 0.0
    assert next_limit(24.0, more=True) is None and next_limit(12.0, more=True) == 15.0


def test_the_film_is_of_this_panel():
    """docs/live.cast shows every line that the panel has today; docs/terminal.py makes it anew."""
    header, *events = (ROOT / "docs" / "live.cast").read_text(encoding="utf-8").splitlines()
    header = json.loads(header)
    assert (header["width"], header["height"]) == (80, 24)
    terminal, seen = Terminal(), set()
    for when, kind, text in map(json.loads, events):
        assert kind == "o" and 0 <= when < 60
        terminal.stream.feed(text)
        seen |= {line.rstrip() for line in terminal.screen.display}
    labels = {row.split()[0] for row in Panel([]).rows(STATUS, 0.0) if row}
    assert {line.split()[0] for line in seen if line} >= labels
    assert KEYS in seen and set(HELP) - {""} <= seen
    assert any("BYPASS" in line for line in seen)

    page = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    picture = page.partition("<!-- picture of the terminal -->")[2].partition("<!-- end of the picture -->")[0]
    assert KEYS in picture and {line.split()[0] for line in picture.splitlines() if line} >= labels
