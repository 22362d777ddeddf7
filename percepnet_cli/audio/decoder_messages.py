"""What a decoder writes to standard error by itself, held back until the file is done: most of it says nothing new."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

STANDARD_ERROR = 2

SILENT_THREADS = ("percepnet", "tqdm_monitor")
"""How the names of threads begin that write nothing to standard error: ours, and one that redraws a bar that stands."""

NOTICES = (b"Note:", b"Warning:")
"""Lines of libmpg123 about the bytes between frames, which ``framing`` finds by itself."""


class DecoderMessages:
    """Holds what libmpg123 says of one file: it says it on standard error, and has no other way.

    Where other threads of the user's may write there meanwhile, nothing is held back.
    """

    def __init__(self) -> None:
        self._held: BinaryIO | None = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep what is written to standard error within the block."""
        if self._held is None:
            self._held = tempfile.TemporaryFile()  # noqa: SIM115  (closed by end)
        with _redirected(self._held.fileno()):
            yield

    def end(self, drop: bool) -> None:
        """Write what was held, but for notices, unless it is to be dropped; doing it twice is harmless."""
        if self._held is None:
            return
        self._held.seek(0)
        lines = [] if drop else self._held.readlines()
        self._held.close()
        self._held = None
        for line in lines:
            if not line.startswith(NOTICES):
                with suppress(OSError):  # it is closed
                    os.write(STANDARD_ERROR, line)


@contextmanager
def silence() -> Iterator[None]:
    """Drop what is written to standard error within the block: where a decoder begins in the middle, it complains."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with _redirected(nowhere):
            yield
    finally:
        os.close(nowhere)


@contextmanager
def _redirected(descriptor: int) -> Iterator[None]:
    """Let an open file be standard error."""
    others = (thread for thread in threading.enumerate() if thread is not threading.current_thread())
    if not all(thread.name.startswith(SILENT_THREADS) for thread in others):
        yield
        return
    try:
        real = os.dup(STANDARD_ERROR)
    except OSError:  # it is closed
        yield
        return

    os.dup2(descriptor, STANDARD_ERROR)
    try:
        yield
    finally:
        os.dup2(real, STANDARD_ERROR)
        os.close(real)
