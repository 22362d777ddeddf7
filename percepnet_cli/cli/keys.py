"""Single keys from a terminal, without waiting."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
