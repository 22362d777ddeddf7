"""What is shown while files are being denoised, on standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from percepnet_cli.batch.inputs import Item
    from percepnet_cli.batch.run import Outcome


def prepare(quiet: bool = False) -> None:
    """Load numba, and say why the first run takes longer."""
    _load_numba_without_scipy()
    from percepnet_cli.compute.jit import is_cold

    if is_cold() and not quiet:
        click.echo("compiling the kernels (first run only, some 10 s) ...", err=True)


def _load_numba_without_scipy() -> None:
    """Import numba, but hide SciPy from it meanwhile: it would take 0.3 s for matrix products that no kernel uses."""
    if "scipy" in sys.modules or "numba" in sys.modules:
        return
    sys.modules["scipy"] = None  # type: ignore[assignment]  # what the import system takes for "not there"
    try:
        from percepnet_cli.compute.jit import load_array_functions

        load_array_functions()
    finally:
        del sys.modules["scipy"]


def in_red(text: str) -> str:
    """Return a text in red, if it goes to a terminal that shows colors and NO_COLOR (no-color.org) is not set."""
    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return click.style(text, fg="red") if colors else text


@contextmanager
def one_file(quiet: bool) -> Iterator[Callable[[float, float | None], None]]:
    """Yield a function that shows seconds of audio done and expected on a terminal."""
    bar: Any = None

    def show(done: float, total: float | None) -> None:
        nonlocal bar
        if done == 0:
            prepare(quiet)
        if quiet:
            return
        if not sys.stderr.isatty():
            return
        if bar is None:
            from tqdm import tqdm

            counts = "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]" if total else None
            bar = tqdm(total=total or None, unit="s", bar_format=counts)
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


class BatchBar:
    """One bar over all files: share of the bytes, hours of audio done, speed, time left.

    Bytes, because lengths are not known before a file is read, and sizes are.
    """

    def __init__(self, items: list[Item], quiet: bool) -> None:
        from tqdm import tqdm

        self._count = len(items)
        self._files = 0
        self._audio_seconds = 0.0
        self._begin = time.monotonic()
        self._under_way: dict[Item, float] = {}
        self._bar = tqdm(
            total=sum(_weight(item) for item in items),
            disable=quiet or not sys.stderr.isatty(),
            bar_format="{percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]",
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
        self._show()

    def _show(self) -> None:
        if self._bar.disable:
            return
        text = f"{self._files}/{self._count} files, {self._audio_seconds / 3600:.2f} h, {self.speed():.0f} x real time"
        self._bar.set_postfix_str(text, refresh=False)

    def speed(self) -> float:
        """Return the seconds of audio done per second."""
        return self._audio_seconds / max(time.monotonic() - self._begin, 1e-3)

    def summary(self) -> str:
        """Return what was done in one line."""
        elapsed = time.monotonic() - self._begin
        return f"{self._audio_seconds / 3600:.2f} h of audio in {elapsed:.0f} s, {self.speed():.0f} x real time"

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def _weight(item: Item) -> int:
    return item.size + 1  # so that files of unknown size count, too
