"""Many files: the same bytes by any number of processes, after any kill; failures named, the rest finished."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from batch_files import digests, group_is_gone, kill_and_resume, make_files, run, start, wait_for
from click.testing import CliRunner

from percepnet_cli import denoise_file, denoise_files
from percepnet_cli.batch import report as reports
from percepnet_cli.batch import run as batch
from percepnet_cli.batch.inputs import Item
from percepnet_cli.batch.run import Outcome
from percepnet_cli.cli import main
from percepnet_cli.cli.progress import BatchBar, in_red
from percepnet_cli.constants import DEFAULT_FILE_MODEL
from percepnet_cli.errors import AudioError
from percepnet_cli.network.modelfile import load_file_model
from percepnet_cli.storage import atomic, remote

pytestmark = pytest.mark.service  # processes

FILES = 6


def denoise(*arguments):
    return CliRunner().invoke(main, ["denoise", *map(str, arguments)])


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("in"), FILES)


@pytest.fixture(scope="module")
def expected(recordings, tmp_path_factory):
    """What single runs make of the recordings."""
    folder = tmp_path_factory.mktemp("expected")
    for path in recordings.rglob("*.*"):
        target = folder / path.relative_to(recordings)
        target.parent.mkdir(parents=True, exist_ok=True)
        denoise_file(path, target)
    return digests(folder)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_batch_gives_what_single_runs_give(recordings, expected, tmp_path, jobs):
    result = denoise("--jobs", jobs, recordings, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"{FILES} files done, 0 there before, 0 failed; ")
    assert re.search(r"; \d+\.\d s of audio in \d+\.\d s", result.stderr)
    assert digests(tmp_path / "out") == expected


def test_a_file_goes_into_a_folder_that_exists(recordings, tmp_path):
    (tmp_path / "folder").mkdir()
    assert denoise(recordings / "0000.wav", tmp_path / "folder").exit_code == 0
    assert denoise(recordings / "0000.wav", f"{tmp_path}/new/").exit_code == 0
    assert os.listdir(tmp_path / "folder") == os.listdir(tmp_path / "new") == ["0000.wav"]


def test_failures_are_named_and_the_rest_is_done(recordings, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound\n")
    out = tmp_path / "out"
    report = tmp_path / "report.json"
    result = denoise("--jobs", 2, "--report", report, recordings / "0000.wav", broken, tmp_path / "none.wav", out)
    assert result.exit_code == 1
    summary, *errors = result.stderr.splitlines()
    assert summary.startswith("1 files done, 0 there before, 2 failed")
    assert sorted(errors) == [
        f"Error: {broken} is not a sound file that can be read",
        f"Error: {tmp_path / 'none.wav'} does not exist",
    ]
    assert os.listdir(out) == ["0000.wav"]
    rows = {row["source"]: row for row in json.loads(report.read_text())["files"]}
    assert rows[str(broken)]["status"] == "failed" and "not a sound file" in rows[str(broken)]["error"]


@pytest.mark.parametrize("name", ["report.json", "report.csv"])
def test_a_report_says_what_was_found_and_remembers(recordings, tmp_path, name):
    out, path = tmp_path / "out", tmp_path / name

    def rows():
        if name.endswith("json"):
            content = json.loads(path.read_text())
            assert content["model"]["name"] == DEFAULT_FILE_MODEL and len(content["model"]["sha256"]) == 64
            return content["files"]
        return list(csv.DictReader(path.read_text().splitlines()))

    first = [recordings / "0000.wav"]
    assert denoise("--report", path, *first, f"{out}/").exit_code == 0
    (row,) = rows()
    assert (row["source"], row["target"], row["status"]) == (str(first[0]), f"{out}/0000.wav", "done")
    assert (float(row["seconds"]), int(row["sample_rate"]), int(row["channels"])) == (1, 48000, 1)
    samples = soundfile.read(first[0])[0]
    assert float(row["input_level_db"]) == pytest.approx(10 * np.log10(np.mean(samples**2)), abs=0.01)
    cleaned = soundfile.read(out / "0000.wav")[0]
    assert float(row["output_level_db"]) == pytest.approx(10 * np.log10(np.mean(cleaned**2)), abs=0.02)
    assert 0 <= float(row["speech_share"]) <= 1 and -20 < float(row["snr_db"]) < 30
    assert 0 < float(row["gain_reduction_db"]) < 40 and float(row["elapsed_seconds"]) > 0
    assert float(row["cpu_seconds"]) > 0 and not row["error"]

    assert denoise("--report", path, *first, f"{out}/").exit_code == 1  # the report exists
    assert denoise("--skip-existing", "--report", path, *first, recordings / "one" / "0001.flac", out).exit_code == 0
    again, new = rows()
    assert again == row and new["status"] == "done"


@pytest.mark.parametrize(
    ("name", "sentence"), [("a.txt", "a report is a .json or a .csv"), ("no/a.csv", "no such folder")]
)
def test_a_report_that_cannot_be_written_is_said_before_the_work(recordings, tmp_path, name, sentence):
    result = denoise("--report", tmp_path / name, recordings, tmp_path / "out")
    assert result.exit_code == 1 and sentence in result.stderr
    assert os.listdir(tmp_path) == []


def test_results_that_exist_are_kept(recordings, expected, tmp_path):
    out = Path(shutil.copytree(recordings, tmp_path / "out"))
    before = digests(out)
    result = denoise("--jobs", 2, recordings, out)
    assert result.exit_code == 1 and result.stderr.count("already exists; use --force") == FILES
    result = denoise("--skip-existing", recordings, out)
    assert result.exit_code == 0 and f"0 files done, {FILES} there before" in result.stderr
    assert digests(out) == before
    (out / "0000.wav").unlink()
    assert denoise("--skip-existing", recordings, out).exit_code == 0
    assert {name for name, digest in digests(out).items() if before[name] != digest} == {"0000.wav"}
    assert denoise("--jobs", 2, "--force", recordings, out).exit_code == 0
    assert digests(out) == expected


def test_several_inputs_need_a_folder(recordings, tmp_path):
    files = sorted(recordings.rglob("*.*"))[:3]
    result = denoise(*files)
    assert result.exit_code == 1 and "is a file; with several inputs, give a folder" in result.stderr
    result = denoise(recordings, tmp_path / "out.wav")
    assert result.exit_code == 1 and "is a folder, not a sound file" in result.stderr


def test_a_broken_model_is_one_sentence(recordings, tmp_path):
    result = denoise("--model", "none", recordings, tmp_path / "out")
    assert result.exit_code == 1 and result.stderr.startswith("Error: there is no model 'none'")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs process groups")
def test_a_kill_leaves_whole_files_and_a_resumed_run_ends_with_the_same_bytes(recordings, expected, tmp_path):
    kill_and_resume(recordings, tmp_path / "out", expected, [(1, 0.0), (1, 0.002)])


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    source = make_files(tmp_path / "in", 300, seconds=3.0)
    assert run("--jobs", 2, "--quiet", source, tmp_path / "expected").returncode == 0
    rng = np.random.default_rng()
    kills = list(zip(rng.integers(1, 9, 20).tolist(), rng.uniform(0, 0.02, 20).tolist(), strict=True))
    kill_and_resume(source, tmp_path / "out", digests(tmp_path / "expected"), kills)


@pytest.mark.alone
@pytest.mark.skipif(sys.platform != "linux", reason="needs process groups and /proc")
@pytest.mark.parametrize("moment", [pytest.param("starting", marks=pytest.mark.slow), "working"])
def test_an_interruption_ends_all_within_a_second(tmp_path, moment):
    """While processes are starting (fails now and then on a busy machine, cause not found), and in long files."""
    source = make_files(tmp_path / "in", 2, seconds=8.0, channels=8)
    out = tmp_path / "out"
    process = start("--jobs", 2, "--report", tmp_path / "r.csv", source, out, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_for(out.exists if moment == "working" else children.read_text)
    os.killpg(process.pid, signal.SIGINT)
    begin = time.monotonic()
    process.wait()
    assert time.monotonic() - begin < 3.0  # a second, on a machine that has nothing else to do
    _, messages = process.communicate()
    assert process.returncode == 130
    assert messages in ("\n", "\n0 of 2 files are done; the same command with --skip-existing goes on\n")
    wait_for(lambda: group_is_gone(process.pid))
    assert not out.exists() or digests(out) == {}


def test_hidden_files_of_killed_writers_go_where_there_are_names_only(recordings, tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    target = tmp_path / "0000.wav"
    pending = atomic.PendingFile(target)
    assert pending.path.name in os.listdir(tmp_path)
    foreign = tmp_path / ".0001.wav.0123456789abcdef.part"
    foreign.touch()
    assert denoise(recordings / "0000.wav", tmp_path).exit_code == 0
    assert sorted(os.listdir(tmp_path)) == [foreign.name, "0000.wav"]


def test_what_a_killed_process_left_of_a_file_goes_when_another_has_done_it(recordings, tmp_path, monkeypatch):
    original = batch.denoise_file

    def after_a_kill(source, target, *arguments, **options):
        Path(target).with_name(f".{Path(target).name}.0123456789abcdef.part").touch()
        return original(source, target, *arguments, **options)

    monkeypatch.setattr(batch, "denoise_file", after_a_kill)
    out = tmp_path / "out"
    out.mkdir()
    assert denoise("--jobs", 1, recordings, out).exit_code == 0
    assert not [name for name in os.listdir(out) if name.startswith(".")]
    assert len(digests(out)) == FILES


def test_one_file_that_breaks_the_program_does_not_stop_the_others(recordings, tmp_path, monkeypatch):
    original = batch.denoise_file

    def fragile(source, *arguments, **options):
        if source.endswith("0000.wav"):
            raise ZeroDivisionError("a bug")
        return original(source, *arguments, **options)

    monkeypatch.setattr(batch, "denoise_file", fragile)
    result = denoise("--jobs", 1, recordings, tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [f"Error: {recordings}/0000.wav: unexpected ZeroDivisionError: a bug"]
    assert len(digests(tmp_path / "out")) == FILES - 1


def test_stores_of_fsspec(recordings, expected):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.put(str(recordings), "/shelf", recursive=True)
    result = denoise("--jobs", 1, "memory://shelf", "memory://clean")
    assert result.exit_code == 0, result.output
    found = {name.removeprefix("/clean/"): hashlib.sha256(store.cat(name)).hexdigest() for name in store.find("/clean")}
    assert found == expected
    assert denoise("--jobs", 1, "memory://shelf", "memory://clean").exit_code == 1
    result = denoise("--jobs", 1, "--skip-existing", "memory://shelf", "memory://clean")
    assert result.exit_code == 0 and f"{FILES} there before" in result.stderr
    result = denoise("--skip-existing", "memory://shelf/none.wav", "memory://clean/none.wav")
    assert result.exit_code == 1 and "memory://shelf/none.wav does not exist" in result.stderr


@pytest.mark.parametrize("count", [remote.MANY - 1, remote.MANY, 3 * remote.MANY])
def test_what_exists_is_found_one_by_one_and_by_listing(tmp_path, count):
    store = pytest.importorskip("fsspec").filesystem("memory")
    urls = [f"memory://there{count}/{'ab'[n % 2]}/{n}.wav" for n in range(count)]
    assert remote.existing(urls) == set()
    for url in urls[::3]:
        store.pipe(url, b"sound")
    here = [str(tmp_path / "a.wav"), f"file://{tmp_path}/b.wav", f"file://{tmp_path}/c.wav"]
    for name in "ab":
        (tmp_path / f"{name}.wav").touch()
    assert remote.existing(urls + here) == {*urls[::3], *here[:2]}


def test_work_that_is_done_again_replaces_what_the_first_attempt_left(recordings, expected, tmp_path, monkeypatch):
    """As after a worker that died when its file was whole."""

    attempts = []

    def twice(scheduler, function, context, pieces):
        for number, piece in enumerate(pieces):
            attempts[:] = ["first"]
            function(context, piece)
            attempts.append("second")
            yield number, function(context, piece)

    cluster = pytest.importorskip("percepnet_cli.parallel.cluster")
    monkeypatch.setattr(cluster, "run", twice)
    monkeypatch.setattr(cluster, "given_out_before", lambda: len(attempts) > 1)
    out = tmp_path / "out"
    assert denoise("--scheduler", "tcp://nowhere:1", recordings, out).exit_code == 0
    assert digests(out) == expected
    assert denoise("--scheduler", "tcp://nowhere:1", recordings, out).exit_code == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_that_appears_during_the_work_is_not_replaced(recordings, tmp_path, monkeypatch, jobs):
    out = tmp_path / "out"
    (out / "one").mkdir(parents=True)
    original = remote.existing

    def existing(paths):
        there = original(paths)
        (out / "0000.wav").write_text("PRECIOUS")
        return there

    monkeypatch.setattr(remote, "existing", existing)
    result = denoise("--jobs", jobs, recordings, out)
    assert result.exit_code == 1 and f"Error: {out / '0000.wav'} already exists" in result.stderr
    assert (out / "0000.wav").read_text() == "PRECIOUS" and len(digests(out)) == FILES


def test_what_a_process_died_over_replaces_what_it_left(recordings, expected, tmp_path):
    item = Item(str(recordings / "0000.wav"), str(tmp_path / "0000.wav"), 1)
    settings = batch.Settings(load_file_model(None))
    batch.do_item(settings, item)
    with pytest.raises(AudioError, match="already exists"):
        batch.do_item(settings, item)
    again = replace(item, again=True)
    assert batch.do_item(settings, again).status == batch.DONE and again == item
    assert digests(tmp_path) == {"0000.wav": expected["0000.wav"]}


@pytest.mark.parametrize("name", ["report.json", "report.csv"])
def test_a_report_that_cannot_be_read_costs_neither_itself_nor_the_new_one(recordings, tmp_path, name):
    path, out = tmp_path / name, tmp_path / "out"
    assert denoise("--jobs", 1, recordings / "0000.wav", f"{out}/").exit_code == 0
    path.write_text("[" * 10_000)
    (tmp_path / "junk.wav").write_text("junk")
    result = denoise("--skip-existing", "--report", path, recordings / "0000.wav", tmp_path / "junk.wav", out)
    assert result.exit_code == 1 and "junk.wav is not a sound file" in result.stderr
    assert f"it is kept as {path}.unreadable" in result.stderr
    assert (tmp_path / f"{name}.unreadable").read_text() == "[" * 10_000
    assert [row["status"] for row in reports.read(path).values()] == ["skipped", "failed"]


def test_a_report_that_cannot_be_written_at_the_end_costs_no_list_of_failures(recordings, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AudioError("r.csv cannot be written: No space left on device")

    monkeypatch.setattr(reports, "write", refuse)
    (tmp_path / "junk.wav").write_text("junk")
    inputs = (recordings / "0000.wav", tmp_path / "junk.wav")
    result = denoise("--jobs", 1, "--report", tmp_path / "r.csv", *inputs, tmp_path / "out")
    assert result.exit_code == 1 and "1 files done, 0 there before, 1 failed" in result.stderr
    assert "junk.wav is not a sound file" in result.stderr and "No space left" in result.stderr
    result = denoise("--jobs", 1, "--report", tmp_path / "r.csv", inputs[0], f"{tmp_path}/other/")
    assert result.exit_code == 1 and "No space left" in result.stderr


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file systems whose names are UTF-8")
@pytest.mark.parametrize("name", ["report.json", "report.csv"])
def test_reports_take_names_that_are_not_utf_8(tmp_path, name):
    item = Item(os.fsdecode(b"b\xff.wav"), os.fsdecode(b"out/b\xff.wav"), 1)
    row = reports.row(Outcome(item, batch.FAILED, error="it is broken"))
    assert row["cpu_seconds"] is None  # what failed does not say what it took
    reports.write(tmp_path / name, [row], {"name": "lite", "sha256": ""})
    (found,) = reports.read(tmp_path / name).values()
    columns = ("source", "target", "status", "error")
    assert [found[column] for column in columns] == [row[column] for column in columns]


def test_from_python(recordings, expected, tmp_path):
    outcomes = denoise_files([recordings, "none.wav"], tmp_path)
    assert [outcome.status for outcome in outcomes] == ["done"] * FILES + ["failed"]
    assert digests(tmp_path) == expected
    assert outcomes[0].report.seconds == 1


@pytest.mark.parametrize(("variable", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_color_is_for_terminals_that_want_it(monkeypatch, variable, colored):
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    assert in_red("no") == ("\x1b[31mno\x1b[0m" if colored else "no")
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: False))
    assert in_red("no") == "no"


def test_the_bar_counts_bytes_hours_and_files(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    items = [Item("a", "b", 1000), Item("c", "d", 3000)]
    bar = BatchBar(items, quiet=False)
    bar.progress(items[1], 0.5)
    assert bar._bar.n == pytest.approx(1500, abs=2)
    bar.progress(items[1], 0.25)  # tried again
    bar.finished(Outcome(items[1], "failed"))
    bar.finished(Outcome(items[0], "done"))
    bar.close()
    assert bar._bar.n == bar._bar.total == 4002
    assert "| 2/2 files [" in capsys.readouterr().err
