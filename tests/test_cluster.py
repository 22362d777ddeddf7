"""A Dask scheduler and workers in processes of their own, on this machine: the same bytes, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from batch_files import count, digests, make_files, run, start, wait_for
from click.testing import CliRunner
from test_generate import SHARD_HOURS, plan_of

from percepnet_cli.cli import main
from percepnet_cli.training.data.generate import generate

pytest.importorskip("distributed")
from percepnet_cli.errors import ClusterError
from percepnet_cli.parallel import cluster as module
from percepnet_cli.parallel import runner

pytestmark = pytest.mark.service

WORKERS = 3


class Cluster:
    """A scheduler and its workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # a worker that is gone is noticed by its connection; nobody's home folder is asked for settings
        modules = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
        self._environment = {
            **os.environ,
            "PYTHONPATH": modules,
            "DASK_CONFIG": str(folder / "none.yaml"),
            "PYTHONWARNINGS": "default",
        }
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", folder / "scheduler.json")
        self.workers: list[subprocess.Popen] = []
        self.address = wait_for(self._published_address)

    def _start(self, kind: str, *arguments: object) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(str, arguments)]
        command += ["--host", "127.0.0.1", "--no-dashboard"]
        with (self.folder / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(command, env=self._environment, cwd=self.folder, stdout=log, stderr=log)

    def _published_address(self) -> str | None:
        """Return what the scheduler's file says, once it is there and whole."""
        try:
            return json.loads((self.folder / "scheduler.json").read_text())["address"]
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def add_workers(self, number: int) -> None:
        for _ in range(number):
            self.workers.append(self._start("worker", self.address, "--nthreads", "1", "--no-nanny"))

    def kill_a_worker(self) -> None:
        worker = self.workers.pop(0)
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    cluster.add_workers(WORKERS)
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("in"), 24)


@pytest.fixture(scope="module")
def expected(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected")
    assert run("--jobs", 2, recordings, folder).returncode == 0
    return digests(folder)


def test_a_result_that_is_lost_again_is_waited_for(monkeypatch):
    """Its worker died between the end of the task and the moment when somebody looks."""
    states = {"a": ["lost", "finished"], "b": ["finished"], "c": ["pending", "lost", "finished"]}

    class Future:
        def __init__(self, task):
            self.task, self.status = task, ""

        def result(self):
            return self.task.upper()

    class Completed(list):
        add = list.append

        def __iter__(self):
            while self:
                future = self.pop(0)
                future.status = states[future.task].pop(0)
                yield future

    class OneCore:
        loop = None

        def nthreads(self):
            return {"worker": 1}

        def submit(self, call, function, key, version, task, pure):
            return Future(task)

    monkeypatch.setattr(module, "as_completed", lambda futures, **options: Completed(futures))
    found = dict(module._run(OneCore(), None, module.Context("key", None), "abc"))
    assert found == {0: "A", 1: "B", 2: "C"} and not any(states.values())


def test_a_killed_worker_changes_nothing(cluster, recordings, expected, tmp_path):
    out, report = tmp_path / "out", tmp_path / "report.json"
    process = start("--scheduler", cluster.address, "--report", report, recordings, f"file://{out}")
    wait_for(lambda: count(out) >= 2)
    cluster.kill_a_worker()
    assert count(out) < len(expected), "the kill came too late to tell anything"
    assert process.wait(120) == 0
    assert digests(out) == expected
    rows = json.loads(report.read_text())["files"]
    assert {row["status"] for row in rows} == {"done"} and len(rows) == len(expected)


def test_a_file_that_appears_during_the_work_is_not_replaced(cluster, recordings, expected, tmp_path):
    """Even if a worker dies; and what the dead one had written and not told of is done again."""
    cluster.add_workers(1)
    out = tmp_path / "out"
    process = start("--scheduler", cluster.address, recordings, out)
    wait_for(lambda: count(out) >= 2, 200)
    last = sorted(expected)[-1]
    assert not (out / last).exists(), "too late to tell anything"
    (out / last).parent.mkdir(parents=True, exist_ok=True)
    (out / last).write_bytes(b"PRECIOUS")
    cluster.kill_a_worker()
    assert process.wait(300) == 1
    assert (out / last).read_bytes() == b"PRECIOUS"
    found = digests(out)
    assert {name for name in expected if found.get(name) != expected[name]} == {last}


def take(context, task, progress):
    """A task that makes its file and dies, all before anybody knows."""
    path, again = task
    if path.exists() and not again:
        raise ValueError("already exists")
    first = not path.exists()
    path.write_text("again" if again else "first")
    if first and path.name == "dies":
        os._exit(1)
    return path.name


def once_more(task):
    return (task[0], True)


def test_only_what_was_given_out_before_is_done_otherwise(cluster, tmp_path):
    cluster.add_workers(1)
    (tmp_path / "there").write_text("PRECIOUS")
    tasks = [(tmp_path / name, False) for name in ("dies", "there", "new")]
    results = runner.run(take, None, tasks, scheduler=cluster.address, again=once_more)
    done = {result.number: result for result in results}
    assert done[0] == runner.Done(0, "dies") and (tmp_path / "dies").read_text() == "again"
    assert isinstance(done[1], runner.Failed) and (tmp_path / "there").read_text() == "PRECIOUS"
    assert done[2] == runner.Done(2, "new") and (tmp_path / "new").read_text() == "first"


def test_failures_come_back_as_sentences(cluster, recordings, expected, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound\n")
    out = tmp_path / "out"
    done = run("--scheduler", cluster.address, "--skip-existing", broken, tmp_path / "none.wav", recordings, out)
    assert done.returncode == 1
    summary, *errors = done.stderr.splitlines()
    assert summary.startswith(f"{len(expected)} files done, 0 there before, 2 failed")
    assert [error.removeprefix(f"Error: {tmp_path}/") for error in sorted(errors)] == [
        "broken.wav is not a sound file that can be read",
        "none.wav does not exist",
    ]
    assert digests(out) == expected


def test_targets_for_training_are_the_same(cluster, corpus, tmp_path):
    for folder, scheduler in (("here", None), ("there", cluster.address)):
        steps = list(generate(plan_of(corpus), f"file://{tmp_path / folder}", 3 * SHARD_HOURS, 1, None, scheduler))
        assert len(steps) == 4
    assert digests(tmp_path / "here") == digests(tmp_path / "there") != {}
    assert len(list(generate(plan_of(corpus), tmp_path / "there", 3 * SHARD_HOURS, 1, None, cluster.address))) == 1


@pytest.mark.slow
def test_a_killed_worker_does_not_change_targets_for_training(cluster, corpus, tmp_path):
    cluster.add_workers(1)
    command = [sys.executable, "-m", "percepnet_cli", "train-targets", "--split", "all", "--hours", "1.5"]
    command += [f"--{name}={corpus / name}" for name in ("speech", "noise")]
    process = subprocess.Popen([*command, "--scheduler", cluster.address, tmp_path / "there"])
    wait_for(lambda: count(tmp_path / "there") >= 1)
    cluster.kill_a_worker()
    assert process.wait(600) == 0
    subprocess.run([*command, tmp_path / "here"], check=True)
    assert digests(tmp_path / "here") == digests(tmp_path / "there") != {}


def test_other_sources_are_refused(cluster, monkeypatch):
    monkeypatch.setattr(module, "own_version", lambda: ("0.0.9", "other"))
    with pytest.raises(ClusterError, match=r"the worker has percepnet .* and this is 0.0.9.*install the same"):
        list(module.run(cluster.address, print, None, [1]))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_no_scheduler_is_one_sentence(recordings, tmp_path, monkeypatch, address):
    monkeypatch.setattr(module, "WAIT_SECONDS", 2)
    arguments = ["denoise", "--quiet", "--scheduler", address, str(recordings), str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {address}: no Dask scheduler there (") and result.stderr.count("\n") == 1


def test_without_workers_it_does_not_wait_for_ever(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WAIT_SECONDS", 2)
    empty = Cluster(tmp_path)
    try:
        with pytest.raises(ClusterError, match="the scheduler has no workers"):
            list(module.run(empty.address, print, None, [1]))
    finally:
        empty.close()
