"""Processes that share work: all of it done once, none lost with a process, none left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from percepnet_cli.parallel.pool import Crash, Pool

pytestmark = pytest.mark.service  # processes

sys.path.insert(0, str(Path(__file__).parent))


def square(context, piece, progress):
    return context, piece * piece, os.getpid()


def slow(context, piece, progress):
    for step in range(10):
        time.sleep(0.05)
        progress(step / 10)
    return piece


def fatal(folder, piece, progress):
    """Die over piece 3 always, over piece 5 once."""
    mark = Path(folder) / str(piece)
    if piece == 3 or (piece == 5 and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return piece


class Unloadable:
    """A context that a process cannot receive."""

    def __reduce__(self):
        return os._exit, (7,)


def test_every_task_is_done_once_by_the_processes():
    results = dict(Pool(square, "same", 2).run(range(40)))
    assert {number: result[:2] for number, result in results.items()} == {n: ("same", n * n) for n in range(40)}
    assert os.getpid() not in {result[2] for result in results.values()}
    assert not multiprocessing.active_children()


def test_no_tasks_no_processes():
    assert list(Pool(square, None, 2).run([])) == []


def test_progress_is_reported():
    reported = [result for _, result in Pool(slow, None, 1).run([7])]
    assert reported[-1] == 7
    assert 1 <= len(reported[:-1]) <= 3 and reported[:-1] == sorted(reported[:-1])


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_deadly_task_costs_only_itself(tmp_path):
    results = dict(Pool(fatal, str(tmp_path), 2).run(range(8)))
    crash = results.pop(3)
    assert isinstance(crash, Crash) and "SIGKILL; out of memory?" in crash.reason
    assert results == {n: n for n in range(8) if n != 3}


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_only_what_a_process_died_over_is_given_out_as_such(tmp_path):
    def again(task):
        asked.append(task)
        return task

    asked = []
    results = dict(Pool(fatal, str(tmp_path), 2, again).run(range(8)))
    assert len(results) == 8 and sorted(asked) == [3, 3, 5]


def test_a_process_that_cannot_start_ends_the_run():
    with pytest.raises(OSError, match=r"could not be started .exit code 7"):
        list(Pool(square, Unloadable(), 2).run(range(3)))
    assert not multiprocessing.active_children()


@pytest.mark.alone
def test_leaving_early_ends_the_processes_at_once():
    run = Pool(slow, None, 2).run(range(8))
    next(run)
    begin = time.monotonic()
    run.close()
    assert time.monotonic() - begin < 0.4
    assert not multiprocessing.active_children()
