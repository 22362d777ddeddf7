"""Ctrl-C while the program is still being loaded: it ends at once, in silence. Imported before everything else."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""

PROGRAMS = {"percepnet", "percepnet.exe", "percepnet-script.py"}
"""Names of what runs the command line; who imports it for other reasons keeps the handler that he has."""


def is_program() -> bool:
    """Return whether this process is the command line, and not one that only imports it."""
    folder, name = os.path.split(sys.argv[0])
    return name in PROGRAMS or (name == "__main__.py" and os.path.basename(folder) == "percepnet_cli")


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(EXIT_INTERRUPTED)  # nothing has been begun that would have to be cleaned up


def restore() -> None:
    """Give Ctrl-C its usual meaning, KeyboardInterrupt, from here on."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if (
    is_program()
    and threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _leave)
