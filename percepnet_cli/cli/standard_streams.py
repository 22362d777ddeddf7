"""Standard streams that are closed, and names that are not text. Imported before anything is opened.

A stream that was closed (``2>&-``) leaves its number to the next file that is opened: a result, say, into which a C
library would then write its warnings. Here such numbers lead to nothing. Some libraries print to standard output by
themselves, where our results may go: they are given standard error for it.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

from percepnet_cli.cli.interrupts import is_program

closed: set[int] = set()
"""Descriptors that were closed when the program began."""


def _open_what_is_closed() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            closed.add(number)
            found = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, thus this one
            if found != number:
                os.dup2(found, number)
                os.close(found)
            os.set_inheritable(number, True)

    # Python has none where a descriptor was closed
    sys.stdin = sys.stdin or open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115


def _keep_output_to_ourselves() -> None:
    """Give standard output another number; what C libraries print goes to standard error, and never into the sound."""
    sys.stdout.flush()
    ours = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = io.TextIOWrapper(ours, sys.stdout.encoding, sys.stdout.errors, line_buffering=ours.isatty())


def give_up_output() -> None:
    """Let what cannot be written to standard output go nowhere, or Python would fail over it once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


if is_program():
    _open_what_is_closed()
    _keep_output_to_ourselves()
    if sys.stdout.errors == "strict":  # a name of a file that is not UTF-8 comes out as the bytes that it is
        sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
