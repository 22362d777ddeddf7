"""What is shown while files are being denoised, on standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from percepnet_cli.cli.printed import printable

if TYPE_CHECKING:
    from percepnet_cli.batch.inputs import Item
    from percepnet_cli.batch.run import Outcome
    from percepnet_cli.file_denoiser import FileReport


def prepare(quiet: bool = False) -> None:
    """Say why the first run takes longer, if this one is; on a terminal also when single kernels are missing."""
    from percepnet_cli.compute.jit import is_cold
    from percepnet_cli.compute.kernel_cache import before_compiling

    if is_cold() and not quiet:
        click.echo("compiling the kernels (first run only, half a minute) ...", err=True)
    elif sys.stderr.isatty() and not quiet:
        before_compiling(_say_that_some_are_missing)


def _say_that_some_are_missing() -> None:
    """Say it in the place of what stands in the line, a bar or what is being done."""
    click.echo("\r\x1b[2Kcompiling kernels that were not used before ...", err=True)


def in_red(text: str) -> str:
    """Return a text in red, if it goes to a terminal that shows colors and NO_COLOR (no-color.org) is not set."""
    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return click.style(text, fg="red") if colors else text


def length(seconds: float) -> str:
    """Return a length of audio as people say it: 8.0 s, 3 min 20 s, 2.5 h."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return "{} min {} s".format(*divmod(round(seconds), 60))
    return f"{seconds / 3600:.1f} h"


def summary(target: str, report: FileReport, speed: float | None = None) -> str:
    """Return one line about a file that is done: length, noise lowered by, estimated SNR, speed if it is known."""
    measures = report.measures
    parts = [length(report.seconds)]
    if measures.gain_reduction_db is not None:
        parts.append(f"noise lowered by {measures.gain_reduction_db:.0f} dB")
    if measures.snr_db is not None:
        parts.append(f"estimated SNR {measures.snr_db:.0f} dB")
    if report.loudness_lufs is not None:
        parts.append(f"{report.loudness_lufs:.1f} LUFS")
    if speed is not None:
        parts.append(f"{speed:.0f} x real time")
    return f"{printable(target)}: {', '.join(parts)}"


class Speed:
    """Seconds of audio per second, from the first audio that was done: loading and compiling are before that."""

    def __init__(self) -> None:
        self._begin: float | None = None
        self._first = 0.0
        self._last = 0.0

    def done(self, audio_seconds: float) -> None:
        """Take note that so much audio is done by now."""
        if self._begin is None and audio_seconds > 0:
            self._begin, self._first = time.monotonic(), audio_seconds
        self._last = audio_seconds

    def value(self) -> float | None:
        """Return the speed; None if nothing was done since the first audio."""
        if self._begin is None or self._last <= self._first:
            return None
        return (self._last - self._first) / max(time.monotonic() - self._begin, 1e-3)


class OneFile:
    """The progress of one file: a bar on a terminal, and a line when it is done."""

    def __init__(self, target: str, quiet: bool) -> None:
        self._target = target
        self._quiet = quiet
        self._bar: Any = None
        self._speed = Speed()

    def show(self, done: float, total: float | None) -> None:
        """Show seconds of audio done and expected."""
        if done == 0:
            prepare(self._quiet)
        self._speed.done(done)
        if self._quiet or not sys.stderr.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            counts = "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]" if total else None
            self._bar = tqdm(total=total or None, unit="s", bar_format=counts, leave=False)
        self._bar.update(done - self._bar.n)

    def finish(self, report: FileReport) -> None:
        """Say what was done, on a terminal."""
        speed = self._speed.value()
        self.close()
        if not self._quiet and sys.stderr.isatty():
            click.echo(summary(self._target, report, speed), err=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def one_file(target: str, quiet: bool) -> Iterator[OneFile]:
    """Yield what shows the progress of a file; say on Ctrl-C that nothing was written."""
    shown = OneFile(target, quiet)
    try:
        yield shown
    except KeyboardInterrupt:
        raise KeyboardInterrupt("" if quiet or target == "-" else f"{target} was not written") from None
    finally:
        shown.close()


class BatchBar:
    """One bar over all files: share of the bytes, audio done, speed, time left; a line for each file that is done.

    Bytes, because lengths are not known before a file is read, and sizes are.
    """

    def __init__(self, items: list[Item], quiet: bool) -> None:
        from tqdm import tqdm

        self._count = len(items)
        self._files = 0
        self._audio_seconds = 0.0
        self._begin = time.monotonic()
        self._speed = Speed()
        self._under_way: dict[Item, float] = {}
        self._bar = tqdm(
            total=sum(_weight(item) for item in items),
            disable=quiet or not sys.stderr.isatty(),
            bar_format="{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]",
        )
        self._show()

    def progress(self, item: Item, share: float) -> None:
        """Show that an item is done by a share, 0..1."""
        before = self._under_way.get(item, 0.0)
        self._under_way[item] = max(before, share)
        self._bar.update((self._under_way[item] - before) * _weight(item))

    def finished(self, outcome: Outcome) -> None:
        """Show that a file is done, or never will be."""
        self.progress(outcome.item, 1.0)
        del self._under_way[outcome.item]
        self._files += 1
        if outcome.report is not None:
            self._audio_seconds += outcome.report.seconds
            self._speed.done(self._audio_seconds)
            if not self._bar.disable:
                self._bar.write(summary(outcome.item.target, outcome.report), file=sys.stderr)
        self._show()

    def _show(self) -> None:
        if self._bar.disable:
            return
        parts = [f"{self._files}/{self._count} files"]
        if self._audio_seconds:
            parts.append(length(self._audio_seconds))
        if (speed := self._speed.value()) is not None:
            parts.append(f"{speed:.0f} x real time")
        self._bar.set_description_str(", ".join(parts), refresh=False)

    def summary(self) -> str:
        """Return what was done in one line."""
        text = f"{length(self._audio_seconds)} of audio in {length(time.monotonic() - self._begin)}"
        speed = self._speed.value()
        return text if speed is None else f"{text}, {speed:.0f} x real time"

    def interrupted(self) -> str:
        """Return what is done, and how to go on."""
        return f"{self._files} of {self._count} files are done; the same command with --skip-existing goes on"

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def _weight(item: Item) -> int:
    return item.size + 1  # so that files of unknown size count, too
