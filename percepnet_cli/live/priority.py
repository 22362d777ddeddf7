"""What must not wait for its turn, and what must not come in between."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

REALTIME_PRIORITY = 5
"""Of 1..99; sound servers take 5 to 20 themselves."""

LOWEST_PRIORITY = 19
"""What "nice" calls so."""


def threads() -> set[int]:
    """Return the numbers of this process's threads on Linux; elsewhere none."""
    return {int(name) for name in os.listdir("/proc/self/task")} if sys.platform.startswith("linux") else set()


def hurry(thread: int = 0) -> None:
    """Ask Linux to run a thread as soon as it wakes: allowed with "rtprio" in limits.conf, or to root.

    Not for PortAudio's own threads: through the ALSA plug-in for PulseAudio they may spin, and would starve the
    very server that they wait for.

    thread: its number, as in ``threads``; 0 is the calling one.
    """
    if sys.platform.startswith("linux"):
        with suppress(OSError):
            os.sched_setscheduler(thread, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME_PRIORITY))


def give_way() -> None:
    """Let the calling thread, on Linux, and what it starts leave the processor to all others that want it."""
    if sys.platform.startswith("linux"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)


@contextmanager
def frozen_garbage() -> Iterator[None]:
    """Leave all objects that exist out of garbage collection, and collect nothing meanwhile."""
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
