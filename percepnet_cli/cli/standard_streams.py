"""Standard streams that are closed, and names that are not text. Imported before anything is opened.

A stream that was closed (``2>&-``) leaves its number to the next file that is opened: a result, say, into which a C
library would then write its warnings. Here such numbers lead to nothing.
"""

from __future__ import annotations

import os
import sys

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


if is_program():
    _open_what_is_closed()
    if sys.stdout.errors == "strict":  # a name of a file that is not UTF-8 comes out as the bytes that it is
        sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
