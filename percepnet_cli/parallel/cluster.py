"""Work spread over a Dask cluster: the only door to distributed (extra ``cluster``)."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from distributed import Client, KilledWorker, WorkerPlugin, as_completed, get_worker
from distributed.utils import sync

from percepnet_cli.errors import ClusterError
from percepnet_cli.version import __version__

WAIT_SECONDS = 30
"""How long the scheduler may take to answer, and the first worker to be there."""

AHEAD = 3
"""tasks per thread that are handed to the scheduler before their time."""

contexts: dict[str, Any] = {}
"""In a worker: what is the same for all tasks of a run, by the run's key."""


class Context(WorkerPlugin):  # type: ignore[misc]
    """Brings what all tasks share to every worker, also to those that join later."""

    def __init__(self, key: str, context: Any) -> None:
        self.name = f"percepnet-{key}"
        self._key, self._context = key, context

    def setup(self, worker: Any) -> None:
        """Keep the context in the worker's process."""
        contexts[self._key] = self._context

    def teardown(self, worker: Any) -> None:
        """Forget it."""
        contexts.pop(self._key, None)


def _call(function: Callable[[Any, Any], Any], key: str, version: tuple[str, str], task: Any) -> Any:
    """Do one task, in a worker."""
    if version != own_version():
        raise ClusterError(
            f"the worker has percepnet {own_version()[0]} and this is {version[0]}, or their sources differ: "
            "install the same everywhere"
        )
    return function(contexts[key], task)


def given_out_before() -> bool:
    """Return, in a worker, whether the task that it is at was given to another one before, which then was gone.

    The scheduler remembers that; should it not answer, nothing is known to have gone before.
    """
    worker = get_worker()
    try:
        story = sync(worker.loop, worker.scheduler.get_story, keys_or_stimuli=[worker.get_current_task()])
    except Exception:  # of whatever kind the connection has
        return False
    # (key, state before, state after, ...): work that led to no result, or to one that is gone with its worker
    return any(
        change[1] == "memory" or (change[1] == "processing" and change[2] not in ("memory", "erred"))
        for change in story
    )


@cache
def own_version() -> tuple[str, str]:
    """Return the version and a hash of the sources: other sources may give other results."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return __version__, digest.hexdigest()


def run(
    address: str, function: Callable[[Any, Any], Any], context: Any, tasks: Sequence[Any]
) -> Iterator[tuple[int, Any]]:
    """Do all tasks on a cluster; yield (number of the task, result) as they come.

    A task whose worker dies is done again by another; if that happens too often, or it cannot be done, its result is
    a sentence (str).

    Parameters
    ----------
    address : str
        Of the scheduler, such as "tcp://host:8786".
    function : callable
        (context, task) -> result; a function of a module that the workers have, too.
    context : object
        What is the same for all tasks.
    tasks : sequence
        Small, picklable.

    Raises
    ------
    ClusterError
        If there is no scheduler, no worker, or the connection is lost.
    """
    if not tasks:
        return
    try:
        client = Client(address, timeout=WAIT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(f"{address}: no Dask scheduler there ({_sentence(error)})") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WAIT_SECONDS)
        except TimeoutError:
            raise ClusterError(f"{address}: the scheduler has no workers") from None
        plugin = Context(secrets.token_hex(8), context)
        client.register_plugin(plugin)
        try:
            yield from _run(client, function, plugin, tasks)
        finally:
            if client.status == "running":
                client.unregister_worker_plugin(plugin.name)


def _run(
    client: Client, function: Callable[[Any, Any], Any], plugin: Context, tasks: Sequence[Any]
) -> Iterator[tuple[int, Any]]:
    numbers: dict[Any, int] = {}
    waiting = iter(enumerate(tasks))

    def submit(count: int) -> list[Any]:
        new = []
        for number, task in itertools.islice(waiting, count):
            future = client.submit(_call, function, plugin._key, own_version(), task, pure=False)
            numbers[future] = number
            new.append(future)
        return new

    finished = as_completed(submit(_room(client)), loop=client.loop, raise_errors=False)
    for future in finished:
        if future.status in ("lost", "pending"):  # its worker died, and the result with it: it is computed anew
            finished.add(future)
            continue

        number = numbers.pop(future)
        for new in submit(max(0, _room(client) - len(numbers))):
            finished.add(new)
        error = future.exception() if future.status == "error" else None
        if future.status == "finished":
            yield number, future.result()
        elif isinstance(error, ClusterError):
            raise error
        elif isinstance(error, KilledWorker):
            yield number, "every worker that took it died"
        elif error is not None:
            yield number, _sentence(error)
        else:
            raise ClusterError("the connection to the scheduler was lost; the same command goes on")


def _room(client: Client) -> int:
    """Return how many tasks may be with the scheduler at a time."""
    return AHEAD * max(1, sum(client.nthreads().values()))


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
