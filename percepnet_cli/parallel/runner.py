"""One way to have many tasks done: in this process, by several of this machine, or by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from percepnet_cli.errors import OUT_OF_MEMORY, PercepnetError, os_sentence
from percepnet_cli.parallel.pool import Crash, Pool

Progress = Callable[[int, float], object]
"""(number of the task, how far it is, 0..1) -> anything."""


@dataclass(frozen=True)
class Done:
    """A task that came to its end."""

    number: int
    result: Any


@dataclass(frozen=True)
class Failed:
    """A task that did not."""

    number: int
    reason: str
    """One sentence."""
    expected: bool = True
    """Whether the sentence is an error's own; else it tells of a bug or of a process that died."""


Function = Callable[[Any, Any, Callable[[float], object]], Any]
"""(context, task, progress) -> result; a function of a module. progress: call it with how far the task is, 0..1."""


def run(
    function: Function,
    context: Any,
    tasks: Sequence[Any],
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
    label: Callable[[Any], str] = str,
    again: Callable[[Any], Any] | None = None,
) -> Generator[Done | Failed, None, None]:
    """Do all tasks; yield what became of each as they come.

    One task that fails does not keep the others from being done. Leaving the iterator early stops the work at once.

    Parameters
    ----------
    function : callable
        See ``Function``.
    context : object
        What is the same for all tasks; handed over once per process.
    tasks : sequence
        Small, picklable.
    jobs : int
        Processes; with 1, or one task, this one does the work.
    scheduler : str or None
        Address of a Dask scheduler whose workers shall do the work instead.
    progress : callable or None
        See ``Progress``; a cluster reports none.
    label : callable
        (task) -> its name, put before a reason that does not say itself what it is about.
    again : callable or None
        (task) -> what is done instead after a process died over the task; None: the same. For a cluster, a function of
        a module.

    Raises
    ------
    OSError
        If processes cannot be started.
    ClusterError
        If the cluster cannot be used.
    """
    for number, result in _results((function, context), tasks, jobs, scheduler, progress, again):
        if isinstance(result, float):
            if progress is not None:
                progress(number, result)
        elif isinstance(result, Done):
            yield replace(result, number=number)
        else:
            reason = result.reason if isinstance(result, Failed | Crash) else str(result)
            expected = isinstance(result, Failed) and result.expected
            yield Failed(number, reason if expected else f"{label(tasks[number])}: {reason}", expected)


def _results(
    work: tuple[Function, Any],
    tasks: Sequence[Any],
    jobs: int,
    scheduler: str | None,
    progress: Progress | None,
    again: Callable[[Any], Any] | None,
) -> Iterator[tuple[int, Any]]:
    """Yield (number, result of ``_guarded`` | share | ``Crash`` | sentence) from whoever does the work."""
    if scheduler is not None:
        from percepnet_cli.parallel import cluster

        yield from cluster.run(scheduler, _in_cluster, (*work, again), tasks)
    elif min(jobs, len(tasks)) <= 1:
        for number, task in enumerate(tasks):
            yield number, _guarded(work, task, partial(progress or _ignore, number))
    else:
        yield from Pool(_guarded, work, jobs, again).run(tasks)


def _ignore(number: int, share: float) -> None:
    pass


def _guarded(
    work: tuple[Function, Any], task: Any, progress: Callable[[float], object] = lambda share: None
) -> Done | Failed:
    """Do one task; what goes wrong with it becomes a sentence. The number is the caller's affair."""
    function, context = work
    try:
        return Done(-1, function(context, task, progress))
    except (PercepnetError, ValueError) as error:
        return Failed(-1, str(error))
    except OSError as error:
        return Failed(-1, os_sentence(error))
    except MemoryError:
        return Failed(-1, OUT_OF_MEMORY)
    except Exception as error:  # one task must not end the others
        return Failed(-1, f"unexpected {type(error).__name__}: {error}", expected=False)


def _in_cluster(work: tuple[Function, Any, Callable[[Any], Any] | None], task: Any) -> Done | Failed:
    """Do one task in a worker. What fails may do so for what a worker left that died over the same task."""
    function, context, again = work
    result = _guarded((function, context), task)
    if isinstance(result, Failed) and again is not None:
        from percepnet_cli.parallel import cluster

        if cluster.given_out_before():
            return _guarded((function, context), again(task))
    return result
