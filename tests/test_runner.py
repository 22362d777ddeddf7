"""One runner for all commands: the same outcomes here, by processes, and by a cluster that is played."""

from __future__ import annotations

import os
import signal

import pytest

from percepnet_cli.errors import AudioError
from percepnet_cli.parallel import runner
from percepnet_cli.parallel.runner import Done, Failed


def work(context, task, progress):
    progress(0.5)
    if task == 1:
        raise AudioError("b.wav is empty")
    if task == 2:
        raise ZeroDivisionError("a bug")
    return context, task


def deadly(context, task, progress):
    if task == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def by_number(results):
    return [result for _, result in sorted((result.number, result) for result in results)]


def label(task):
    return f"task {task}"


EXPECTED = [
    Done(0, ("same", 0)),
    Failed(1, "b.wav is empty"),
    Failed(2, "task 2: unexpected ZeroDivisionError: a bug", expected=False),
    Done(3, ("same", 3)),
]


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_becomes_of_each_task_does_not_depend_on_who_does_it(jobs):
    assert by_number(runner.run(work, "same", range(4), jobs, label=label)) == EXPECTED


def test_a_cluster_gives_the_same(monkeypatch):
    cluster = pytest.importorskip("percepnet_cli.parallel.cluster")

    def played(address, function, context, tasks):
        assert address == "tcp://there:1"
        yield from ((number, function(context, task)) for number, task in reversed(list(enumerate(tasks))))
        yield 0, "every worker that took it died"

    monkeypatch.setattr(cluster, "run", played)
    *results, lost = runner.run(work, "same", range(4), scheduler="tcp://there:1", label=label)
    assert by_number(results) == EXPECTED
    assert lost == Failed(0, "task 0: every worker that took it died", expected=False)


def test_progress_names_the_task():
    seen = []
    list(runner.run(work, None, range(4), progress=lambda number, share: seen.append((number, share))))
    assert seen == [(number, 0.5) for number in range(4)]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_process_that_dies_costs_its_task_alone():
    zero, one, two = by_number(runner.run(deadly, None, range(3), 2, label=label))
    assert (zero, two) == (Done(0, 0), Done(2, 2))
    assert not one.expected and one.reason.startswith("task 1: the process that worked on it died (SIGKILL")


def test_leaving_early_does_no_more():
    done = []
    results = runner.run(lambda context, task, progress: done.append(task), None, range(5))
    next(results)
    results.close()
    assert done == [0]
