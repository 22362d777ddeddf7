"""Single keys from a terminal, without waiting."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ARROWS = {"\x1b[D": "left", "\x1b[C": "right", "\x1bOD": "left", "\x1bOC": "right", "\xe0K": "left", "\xe0M": "right"}
"""What terminals send for arrows: ANSI, in their other mode, Windows."""


def named(keys: str) -> list[str]:
    """Return keys one by one, arrows by their names."""
    pattern = "|".join(re.escape(sequence) for sequence in ARROWS)
    return [ARROWS.get(key, key) for key in re.findall(rf"{pattern}|.", keys, re.DOTALL)]


@contextmanager
def key_reader() -> Iterator[Callable[[], str]]:
    """Yield a function that returns the keys pressed since its last call, "" if none; Ctrl-C stays what it is."""
    if not sys.stdin.isatty():
        yield lambda: ""
    elif sys.platform == "win32":
        import msvcrt

        def pressed() -> str:
            keys = ""
            while msvcrt.kbhit():
                keys += msvcrt.getwch()
            return keys

        yield pressed
    else:
        import os
        import select
        import termios
        import tty

        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)

        def typed() -> str:
            keys = b""
            while select.select([terminal], [], [], 0)[0]:
                more = os.read(terminal, 64)
                if not more:
                    break
                keys += more
            return keys.decode("ascii", "ignore")

        try:
            tty.setcbreak(terminal)
            yield typed
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
