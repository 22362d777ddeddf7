"""What is said while files are being denoised, and after it."""

from __future__ import annotations

import io
import sys

import pytest

from percepnet_cli.batch.inputs import Item
from percepnet_cli.batch.run import DONE, FAILED, Outcome
from percepnet_cli.cli import progress
from percepnet_cli.compute import kernel_cache
from percepnet_cli.file_denoiser import FileReport
from percepnet_cli.metrics.blind import Measures

MEASURES = Measures(input_level_db=-25.0, output_level_db=-27.0, snr_db=4.6, speech_share=0.7, gain_reduction_db=21.4)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def report(seconds, measures=MEASURES):
    return FileReport("in.wav", "out.wav", seconds, 48000, 1, measures, 3.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (8, "8.0 s"), (59.96, "1 min 0 s"), (200, "3 min 20 s"), (3599.7, "1.0 h"), (9000, "2.5 h")],
)
def test_lengths_are_said_as_people_do(seconds, text):
    assert progress.length(seconds) == text


def test_a_file_has_one_line():
    assert progress.summary("a.wav", report(8.0), 44.7) == (
        "a.wav: 8.0 s, noise lowered by 21 dB, estimated SNR 5 dB, 45 x real time"
    )
    assert progress.summary("a.wav", report(8.0, Measures(None, None, None, None, None))) == "a.wav: 8.0 s"


def test_speed_does_not_count_the_start(clock):
    speed = progress.Speed()
    speed.done(0.0)
    assert speed.value() is None
    clock[0] += 20  # compiling
    speed.done(2.0)
    assert speed.value() is None
    clock[0] += 1
    speed.done(42.0)
    assert speed.value() == 40


@pytest.mark.parametrize("quiet", [False, True])
def test_a_batch_has_a_line_for_each_file_and_no_stray_comma(monkeypatch, clock, quiet):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    items = [Item(f"{name}.wav", f"out/{name}.wav", 100) for name in "abc"]
    bar = progress.BatchBar(items, quiet)
    bar.finished(Outcome(items[0], DONE, report(8.0)))
    clock[0] += 2
    bar.finished(Outcome(items[1], FAILED, error="b.wav is damaged"))
    bar.finished(Outcome(items[2], DONE, report(80.0)))
    bar.close()
    text = terminal.getvalue()
    if quiet:
        assert text == ""
    else:
        assert "out/a.wav: 8.0 s, noise lowered by 21 dB" in text and "out/b.wav" not in text
        assert "3/3 files, 1 min 28 s, 40 x real time [" in text and "| ," not in text
    assert bar.summary() == "1 min 28 s of audio in 2.0 s, 40 x real time"
    assert bar.interrupted() == "3 of 3 files are done; the same command with --skip-existing goes on"


@pytest.mark.parametrize(
    ("stream", "quiet", "said"), [(Terminal, False, True), (io.StringIO, False, False), (Terminal, True, False)]
)
def test_missing_kernels_are_told_of_on_a_terminal(monkeypatch, stream, quiet, said):
    monkeypatch.setattr("percepnet_cli.compute.jit.is_cold", lambda: False)
    monkeypatch.setattr(kernel_cache, "_waiting", [])
    monkeypatch.setattr(sys, "stderr", stream())
    progress.prepare(quiet)
    for say in kernel_cache._waiting:
        say()
    expected = "\r\x1b[2Kcompiling kernels that were not used before ...\n" if said else ""
    assert sys.stderr.getvalue() == expected
