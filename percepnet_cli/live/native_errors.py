"""What C libraries write to standard error, kept off the terminal: PortAudio and ALSA tell their troubles there."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

STANDARD_ERROR = 2


@contextmanager
def caught() -> Iterator[NativeErrors]:
    """Let Python's standard error go where it went, and what else is written there into a file meanwhile."""
    sys.stderr.flush()
    try:
        real = os.dup(STANDARD_ERROR)
    except OSError:  # there is none
        yield NativeErrors(None)
        return

    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), STANDARD_ERROR)
        before = sys.stderr
        mine: TextIO | None = None
        if _is_standard_error(before):
            mine = open(real, "w", buffering=1, encoding=before.encoding, errors=before.errors, closefd=False)  # noqa: SIM115
            sys.stderr = mine
        try:
            yield NativeErrors(file.fileno())
        finally:
            if mine is not None:
                with suppress(OSError):
                    mine.flush()
                sys.stderr = before
            os.dup2(real, STANDARD_ERROR)
            os.close(real)


def _is_standard_error(stream: TextIO) -> bool:
    try:
        return stream.fileno() == STANDARD_ERROR
    except (OSError, ValueError, AttributeError):  # of a test, or closed
        return False


class NativeErrors:
    """What was caught. file: the descriptor of where it is, None if nothing is caught."""

    def __init__(self, file: int | None) -> None:
        self._file = file

    def sentence(self) -> str:
        """Return what was written last in a few words, "" if nothing was."""
        if self._file is None:
            return ""
        size = os.fstat(self._file).st_size
        start = max(0, size - 4096)
        text = os.pread(self._file, size - start, start).decode("utf-8", "replace")
        return in_words(text)


def in_words(text: str) -> str:
    """Return the last line of ALSA or PortAudio without what only their authors need; "" if there is none.

    ``ALSA lib pcm.c:2666:(snd_pcm_open_noupdate) Unknown PCM nonsense`` becomes ``Unknown PCM nonsense``; the
    expressions of PortAudio's source that failed are left out.
    """
    for line in reversed(text.splitlines()):
        words = re.sub(r"^ALSA lib \S+:\d+:\(\w+\) ", "", line.strip())
        if words and not words.startswith("Expression '"):
            return words
    return ""
