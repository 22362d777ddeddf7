"""Work spread over processes of this machine: start-up once per process, nothing lost when one dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, forkserver, get_context, parent_process, resource_tracker
from typing import Any

AHEAD = 2
"""tasks that a process has at hand, so that it need not wait for us."""

ATTEMPTS = 2
"""How often a task is tried if the process dies over it."""

NOTICE_SECONDS = 0.2
"""Shortest time between two messages about the progress of one task."""

Function = Callable[[Any, Any, Callable[[float], None]], Any]
"""(context, task, progress) -> result; a function of a module, that raises nothing."""


_FORKS = sys.platform == "linux"
"""Whether processes are forked from one that has loaded everything; elsewhere, libraries of the system do not survive
a fork."""


def _context() -> Any:
    return get_context("forkserver" if _FORKS else "spawn")


def prepare(module: str) -> None:
    """Begin to import a module in the process from which those of a ``Pool`` will be forked, where that is possible.

    Returns at once, so that it can be done before anything else; the import is paid once, not by each process. Has no
    effect when there have been pools before.
    """
    if _FORKS:
        _context().set_forkserver_preload([module])
        _ensure_server()


def _ensure_server() -> None:
    with uninterrupted():
        forkserver.ensure_running()


def abandon() -> None:
    """End the process that others are forked from at once, whatever it is importing or compiling."""
    server: Any = forkserver._forkserver
    if _FORKS and server._forkserver_pid is not None:
        with suppress(OSError):
            os.kill(server._forkserver_pid, signal.SIGKILL)
            server._stop()


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Crash:
    """Takes the place of the result of a task over which its process died, again and again."""

    def __init__(self, exit_code: int | None) -> None:
        self.reason = f"the process that worked on it died ({_cause(exit_code)})"


class Pool:
    """A number of processes that all run one function.

    Parameters
    ----------
    function : callable
        See ``Function``.
    context : object
        What is the same for all tasks; handed over once per process.
    jobs : int
        Number of processes.
    again : callable or None
        (task) -> what is given out instead when the process that had begun the task has died; None: the same.
    """

    def __init__(self, function: Function, context: Any, jobs: int, again: Callable[[Any], Any] | None = None) -> None:
        self._work = (function, context)
        self._jobs = jobs
        self._again = again
        self._workers: dict[connection.Connection, _Worker] = {}

    def run(self, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Do all tasks; yield (number of the task, result) as they come.

        A float as result is the progress of the task, 0..1; a ``Crash``, that it cannot be done. Leaving early, by an
        exception or ``close``, ends all processes at once. Raises OSError if processes cannot be started.
        """
        waiting = deque(enumerate(tasks))
        open_tasks = dict(waiting)
        attempts: dict[int, int] = {}
        try:
            for _ in range(min(self._jobs, len(waiting))):
                self._start()

            while open_tasks:
                for worker in self._workers.values():
                    while waiting and len(worker.tasks) < AHEAD:
                        worker.give(*waiting.popleft())

                # Whoever has a result, progress, or has died
                for ready in connection.wait(list(self._workers)):
                    worker = self._workers[ready]  # type: ignore[index]
                    try:
                        number, result = worker.pipe.recv()
                    except (EOFError, OSError):
                        del self._workers[worker.pipe]
                        exit_code = worker.end()
                        if not worker.started:
                            raise OSError(f"a process could not be started ({_cause(exit_code)})") from None

                        # Its tasks are done again; the one it was at may be what killed it, or may be all but done
                        if self._again is not None:
                            open_tasks |= {number: self._again(open_tasks[number]) for number in worker.tasks[:1]}
                        waiting.extend((number, open_tasks[number]) for number in worker.tasks)
                        for number in worker.tasks[:1]:  # the others it had not begun
                            attempts[number] = attempts.get(number, 0) + 1
                            if attempts[number] == ATTEMPTS:
                                waiting = deque(task for task in waiting if task[0] != number)
                                del open_tasks[number]
                                yield number, Crash(exit_code)

                        if waiting:
                            self._start()
                        break  # the list that we go through is no longer true

                    worker.started = True
                    if number is None:
                        continue
                    if not isinstance(result, float):
                        worker.tasks.remove(number)
                        del open_tasks[number]
                    yield number, result
        finally:
            for worker in self._workers.values():
                worker.process.kill()
            for worker in self._workers.values():
                worker.end()
            if open_tasks:
                abandon()

    def _start(self) -> None:
        if _FORKS:  # it may take as long as the import, and who is not known to us leaves when his pipe is closed
            _ensure_server()
            worker = _Worker(self._work)
            self._workers[worker.pipe] = worker
            return
        with uninterrupted():  # or one might come before we know the process, and it would be left behind
            worker = _Worker(self._work)
            self._workers[worker.pipe] = worker


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self, work: tuple[Function, Any]) -> None:
        ours, theirs = _context().Pipe()
        self.pipe = ours
        self.tasks: list[int] = []
        self.started = False
        self.process = _context().Process(target=_serve, args=(theirs, *work), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, number: int, task: Any) -> None:
        """Hand over a task; if the process has died, ``tasks`` says what it had."""
        self.tasks.append(number)
        with suppress(OSError):  # noticed by the next look at the pipe
            self.pipe.send((number, task))

    def end(self) -> int | None:
        """Wait for the end of the process; return its exit code."""
        self.pipe.close()
        self.process.join()
        return self.process.exitcode


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put SIGINT off. A process started meanwhile never gets it: Ctrl-C on the terminal is for the parent alone."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows: _serve ignores them, a moment later
        yield
        return
    resource_tracker.ensure_running()  # it would lift the block when first needed
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Leave when the parent is gone, however it went: nobody else would end this process."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _serve(pipe: connection.Connection, function: Function, context: Any) -> None:
    """Be a process of a pool."""
    if sys.platform == "win32":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="percepnet end", daemon=True).start()
    with suppress(EOFError, OSError):
        pipe.send((None, None))
        while True:
            number, task = pipe.recv()
            pipe.send((number, function(context, task, _Progress(pipe, number))))


class _Progress:
    """Reports to the parent how far a task is, now and then."""

    def __init__(self, pipe: connection.Connection, number: int) -> None:
        self._pipe, self._number = pipe, number
        self._last = time.monotonic()

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self._last >= NOTICE_SECONDS:
            self._last = now
            self._pipe.send((self._number, float(share)))


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
        return f"{name}; out of memory?" if name == "SIGKILL" else name
    return f"exit code {exit_code}"
