"""Signals that ask a run to stop, kept until it is ready to."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Stopper:
    """Turns Ctrl-C, SIGTERM and SIGHUP into a wish to stop; a second one stops at once."""

    def __init__(self) -> None:
        self.wanted: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopper:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                ignored = number is not None and signal.getsignal(number) is signal.SIG_IGN
                if number is not None and not (ignored and name == "SIGHUP"):  # nohup ignores it
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.wanted = number
        self._restore()
