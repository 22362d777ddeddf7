"""Files that somebody else wrote: JSON without bounds, odd shards, tables, checkpoints, names; one sentence each."""

from __future__ import annotations

import ast
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from safetensors.numpy import save

from percepnet_cli.batch import report as batch_report
from percepnet_cli.benchmark import report as bench
from percepnet_cli.cli import main
from percepnet_cli.errors import AudioError, BenchError, ModelError, os_sentence
from percepnet_cli.network.modelfile import find_model, load_model
from percepnet_cli.storage import untrusted
from percepnet_cli.training.data.corpus import find
from percepnet_cli.training.data.shard_file import ShardFile

NESTED = "[" * 100_000 + "]" * 100_000
LONG = "A" * 300


def test_json_is_read_within_bounds(monkeypatch):
    deep = "[" * untrusted.MAX_DEPTH + "]" * untrusted.MAX_DEPTH
    assert untrusted.parse(deep) == json.loads(deep)
    assert untrusted.parse('{"a": [1, {"b": -2.5}], "c": null}') == {"a": [1, {"b": -2.5}], "c": None}
    for text in (NESTED, f"[{deep}]", '{"a":' * 500 + "1" + "}" * 500, "9" * 400, "[", b"\xff\xfe\xfd"):
        with pytest.raises(ValueError):
            untrusted.parse(text)
    monkeypatch.setattr(untrusted, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="more than 10"):
        untrusted.parse(" " * 11)


def test_json_of_others_has_one_reader():
    """The other places read what the program itself made, or what a program of the system says."""
    package = Path(__file__).parent.parent / "percepnet_cli"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.loads", "json.load")
    }
    ours = {"training/data/generate.py", "training/pair_scores.py", "network/shipped.py", "benchmark/machine.py"}
    assert found == {"storage/untrusted.py", "audio/ffmpeg.py", "live/pactl.py"} | ours


def test_a_file_is_not_read_beyond_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted, "MAX_BYTES", 100)
    (tmp_path / "big").write_bytes(b"1" * 1_000_000)
    with pytest.raises(ValueError, match="it has 101 bytes"):
        untrusted.read(tmp_path / "big")


def test_nested_json_is_no_model_report_or_measurement(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(save({"a": np.zeros(1, np.float32)}, {"percepnet": NESTED}))
    with pytest.raises(ModelError, match="not a percepnet model"):
        load_model(path)
    with pytest.raises(ValueError, match=r"x\.safetensors: not a safetensors file"):
        ShardFile(path)
    (tmp_path / "x.json").write_text(NESTED)
    with pytest.raises(AudioError, match="not a report"):
        batch_report.read(tmp_path / "x.json")
    with pytest.raises(BenchError, match="holds no JSON"):
        bench.read(tmp_path / "x.json")


@pytest.mark.parametrize("system", [None, "text", [1]])
def test_measurements_of_another_kind(tmp_path, system):
    (tmp_path / "x.json").write_text(json.dumps({"times_realtime": 1, "system": system}))
    with pytest.raises(BenchError, match="no result of"):
        bench.read(tmp_path / "x.json")


def test_measurements_with_odd_values_can_be_shown():
    odd = {"times_realtime": 1, "system": {"processor": "\ud800"}}
    assert "processor: ?, then " in bench.compared(odd, {"times_realtime": 2, "system": {"processor": "x"}})


def shard_with(tmp_path, entry):
    header = json.dumps({"__metadata__": {"percepnet": '{"kind": "targets", "format_version": 1}'}, "features": entry})
    path = tmp_path / "shard-00000.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    return path


@pytest.mark.parametrize(
    "entry",
    [
        None,
        7,
        [],
        {},
        {"dtype": "F16", "shape": 3, "data_offsets": [0, 1]},
        {"dtype": "F16", "shape": ["x"], "data_offsets": [0, 1]},
        {"dtype": "F16", "shape": [1, -1, 70], "data_offsets": [0, 1]},
        {"dtype": [], "shape": [1, 1, 70], "data_offsets": [0, 1]},
        {"dtype": "F16", "shape": [1, 1, 70], "data_offsets": [0]},
        {"dtype": "F16", "shape": [1, 1, 70], "data_offsets": None},
    ],
)
def test_odd_shards_are_named(tmp_path, entry):
    with pytest.raises(ValueError, match=r"shard-00000\.safetensors: not a safetensors file .what it says of features"):
        ShardFile(shard_with(tmp_path, entry))


@pytest.mark.parametrize(
    "header", ["[]", "null", '"text"', '{"__metadata__": [1]}', '{"__metadata__": {"percepnet": 1}}']
)
def test_shards_without_a_header_are_named(tmp_path, header):
    path = tmp_path / "shard-00000.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(ValueError, match=r"shard-00000\.safetensors: not a") as raised:
        ShardFile(path)
    assert "object" not in str(raised.value)  # words of Python's


@pytest.mark.parametrize(
    "content", ["path\n" + "x" * 200_000, "path\na\0b.wav", b"path\n\xff\xfe.wav".decode("latin1")]
)
def test_odd_tables_are_named(tmp_path, content):
    (tmp_path / "table.csv").write_text(content, "latin1")
    with pytest.raises(ValueError, match=r"table\.csv"):
        find(tmp_path / "table.csv")


@pytest.mark.parametrize(
    "content",
    [
        [1],
        {"format_version": 2, "identity": None},
        {"format_version": 2, "identity": {}},
        {"format_version": 3, "hyperparameters": None},
        {"format_version": 3, "hyperparameters": 7},
    ],
)
def test_odd_checkpoints_are_named(tmp_path, content):
    torch = pytest.importorskip("torch")
    from percepnet_cli.training.checkpoint import read_checkpoint

    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: cannot be read \(no checkpoint, or damaged\); --fresh"):
        read_checkpoint(tmp_path / "checkpoint.pt", {}, torch.device("cpu"))


@pytest.mark.parametrize("error", [TypeError, AttributeError, KeyError, IndexError, RuntimeError])
def test_a_checkpoint_that_does_not_fit_speaks_no_python(tmp_path, error):
    """Whatever is raised where its parts are put in their places."""
    pytest.importorskip("torch")
    from percepnet_cli.training.train import _load

    class Trainer:
        checkpoint = tmp_path / "checkpoint.pt"

        def load(self):
            raise error("'NoneType' object has no attribute 'items'")

    with pytest.raises(ValueError, match=r"checkpoint\.pt: not the checkpoint of such a run") as said:
        _load(Trainer())
    assert "NoneType" not in str(said.value)


def test_names_that_are_too_long():
    for name in (LONG, f"{LONG}.safetensors", f"folder/{LONG}"):
        with pytest.raises(ModelError, match=r"File name too long|no such model file|there is no model"):
            find_model(name)
    with pytest.raises(BenchError, match="cannot be read"):
        bench.read(Path(f"{LONG}.json"))


def test_a_model_that_cannot_be_reached_is_not_said_to_be_missing(tmp_path):
    """A folder that is locked, links in a circle: there may well be such a file."""
    circle = tmp_path / "circle.safetensors"
    try:
        circle.symlink_to(circle)
    except OSError:
        pytest.skip("needs links")
    with pytest.raises(ModelError) as said:
        find_model(circle)
    assert str(said.value) == f"{circle}: {os.strerror(errno.ELOOP)}"
    for name in ("missing.safetensors", "missing/a.safetensors", "a\0b.safetensors"):
        with pytest.raises(ModelError, match="no such model file"):
            find_model(tmp_path / name)


def test_what_the_system_refuses_is_a_sentence(monkeypatch):
    assert os_sentence(OSError(36, "File name too long", "a.wav")) == "a.wav: File name too long"
    assert os_sentence(OSError(18, "Invalid cross-device link", "a", None, "b")) == "a, b: Invalid cross-device link"
    assert os_sentence(OSError("nothing more")) == "nothing more"

    def refuse(*arguments, **settings):
        raise PermissionError(13, "Permission denied", "locked/x")

    monkeypatch.setattr("percepnet_cli.network.modelfile.shipped_names", refuse)
    monkeypatch.setattr("percepnet_cli.cli.models.models.callback", refuse)
    done = CliRunner().invoke(main, ["models"])
    assert done.exit_code == 1 and done.output == "Error: locked/x: Permission denied\n"


def numpys_error():
    """As NumPy raises it: advice on many lines around what the loader said."""
    error = ImportError("\n\nIMPORTANT: PLEASE READ THIS\n\nOriginal error was: libx.so: failed to map\n")
    error.__cause__ = ImportError("libx.so: failed to map\n segment")
    return error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "there is not enough memory"),
        (numpys_error(), "a package cannot be loaded: libx.so: failed to map segment"),
        (ModuleNotFoundError("No module named 'abc'", name="abc"), "a package cannot be loaded: No module named 'abc'"),
    ],
)
def test_what_cannot_be_loaded_or_held_is_a_sentence(monkeypatch, error, sentence):
    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr("percepnet_cli.cli.models.models.callback", fail)
    done = CliRunner().invoke(main, ["models"])
    assert (done.exit_code, done.output) == (1, f"Error: {sentence}\n")


def test_an_import_of_our_own_that_fails_is_a_bug(monkeypatch):
    def fail(*arguments, **settings):
        raise ImportError("cannot import name 'a' from 'percepnet_cli.b'", name="percepnet_cli.b")

    monkeypatch.setattr("percepnet_cli.cli.models.models.callback", fail)
    assert isinstance(CliRunner().invoke(main, ["models"]).exception, ImportError)


@pytest.mark.service
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limits mean other things")
@pytest.mark.parametrize(("name", "limit"), [("AS", 60e6), ("AS", 120e6), ("AS", 300e6), ("NOFILE", 6)])
def test_tiny_limits_give_the_whole_result_or_a_sentence(tmp_path, name, limit):
    """C libraries may say what they want when there is no memory; Python's traceback is for bugs."""
    import resource

    soundfile.write(tmp_path / "a.wav", np.zeros(9600), 48000)
    command = [sys.executable, "-m", "percepnet_cli", "denoise", "--quiet", "--model", "lite", "a.wav", "b.wav"]
    kind = getattr(resource, f"RLIMIT_{name}")
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(kind, (int(limit), int(limit))),
    )
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav"] + ["b.wav"] * (done.returncode == 0)
    assert done.returncode == 0 or done.stderr.strip()


@pytest.mark.service
def test_no_command_shows_a_traceback_for_a_long_name(tmp_path):
    """One process for them all: start-up is what takes the time."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom percepnet_cli.cli import main\n"
        "for line in sys.stdin.read().splitlines():\n"
        "    done = CliRunner().invoke(main, line.split())\n"
        "    print(done.exit_code, type(done.exception).__name__, line[:40])\n"
    )
    lines = [
        f"denoise --model {LONG}.safetensors in.wav c.wav", f"denoise --report {LONG}.csv in.wav c.wav",
        f"denoise {LONG}.wav c.wav", f"info {LONG}.safetensors", f"info {LONG}.wav", f"quantize {LONG} b.safetensors",
        f"bench --compare {LONG}.json {LONG}.json", f"evaluate {LONG} {LONG}", f"plot {LONG}.wav p.png",
        f"oracle {LONG}.wav {LONG}.wav out",
    ]  # fmt: skip
    (tmp_path / "in.wav").write_bytes(b"RIFF")
    done = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(lines), cwd=tmp_path, capture_output=True, text=True, timeout=500
    )
    found = done.stdout.splitlines()
    assert len(found) == len(lines), done.stderr
    assert [line for line in found if line.split()[1] != "SystemExit" or line.split()[0] not in ("1", "2")] == []


INTERRUPTED = """
import os, signal, sys
sys.argv = [{program!r}]
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
import percepnet_cli.cli
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("module", ["click", "percepnet_cli.errors", "percepnet_cli.cli.options"])
def test_interrupted_while_it_is_loaded_it_leaves_in_silence(module):
    code = INTERRUPTED.format(program="/usr/bin/percepnet", module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_other_programs_keep_their_handler():
    code = INTERRUPTED.format(program="other.py", module="click")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert "KeyboardInterrupt" in done.stderr
