"""``percepnet train``: what it prints and how it ends."""

import json
import sys

import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file
from small_shards import broken

from percepnet_cli.cli.train import train as command
from percepnet_cli.network.graph import Sizes
from percepnet_cli.training.data.shard_file import shard_path

torch = pytest.importorskip("torch")

from percepnet_cli.training.model.floatmodel import read_float_model  # noqa: E402

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("one_torch_thread")]


def invoke(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_what_the_system_refuses_is_a_sentence(folders, tmp_path):
    (tmp_path / "file").touch()
    options = ("--sizes", "8,8,8,8,8,8", "--batch-size", 4, "--sequence-length", 16, "--device", "cpu", "--steps", 1)
    result = invoke(*folders, tmp_path / "file" / "out", *options)
    assert result.exit_code == 1 and result.stderr == f"Error: {tmp_path / 'file' / 'out'}: Not a directory\n"


def test_the_command_trains(folders, tmp_path):
    arguments = [
        *folders,
        tmp_path,
        "--sizes",
        "8,8,8,8,8,8",
        "--batch-size",
        4,
        "--sequence-length",
        16,
        "--device",
        "cpu",
    ]
    result = invoke(*arguments, "--steps", 2)
    assert result.exit_code == 0, result.output
    assert "Finished after 2 steps" in result.output
    result = invoke(*folders, tmp_path, "--init", tmp_path / "model.safetensors", "--steps", 1, "--fresh",
                    "--batch-size", 4, "--sequence-length", 16)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert read_float_model(tmp_path / "model.safetensors").sizes == Sizes(8, 8, 8, 8, 8, 8)


def test_results_of_no_known_run_are_not_replaced(folders, tmp_path):
    given = tmp_path / "model.safetensors"
    given.write_bytes(b"somebody's")
    result = invoke(
        *folders, tmp_path, "--sizes", "8,8,8,8,8,8", "--batch-size", 4, "--sequence-length", 16, "--steps", 1
    )
    assert result.exit_code == 1 and result.stderr.startswith(f"Error: {given} is of no run that could go on")
    assert list(tmp_path.iterdir()) == [given] and given.read_bytes() == b"somebody's"


def test_errors_are_one_sentence(folders, tmp_path, monkeypatch):
    valid = folders[1]
    bad = tmp_path / "bad"
    bad.mkdir()
    meta = {"percepnet": json.dumps({"kind": "targets", "format_version": 1})}
    data = broken(lambda d: d.update(gain=d["gain"][:, :, :32].copy()))
    save_file(data, shard_path(bad, 0), metadata=meta)
    out = tmp_path / "out"

    for arguments, words in (
        ((tmp_path / "none", valid, out, "--steps", 1), "none: no such folder"),
        ((bad, valid, out, "--steps", 1), "gain has shape [2, 5, 32], expected [2, 5, 34]"),
        ((*folders, out, "--steps", 1, "--sequence-length", 100), "sequences have 60 hops, 100 are asked for"),
        ((*folders, out, "--minutes", 1, "--steps", 1), "give either --minutes or --steps"),
        ((*folders, out, "--steps", 1, "--decay-hours", 1), "leave out --minutes and --steps"),
        ((*folders, out, "--steps", 1, "--bidirectional"), "--bidirectional goes with --sizes"),
        ((*folders, out, "--steps", 1, "--sizes", "1,2"), "six positive whole numbers"),
        ((*folders, out, "--steps", 1, "--init", tmp_path / "x"), "x: no such file"),
        ((*folders, out, "--steps", 1, "--sizes", "8,8,8,8,8,8", "--preset", "lite"), "--preset or --sizes"),
    ):
        result = invoke(*arguments)
        assert result.exit_code != 0
        assert words in result.output
        assert "Traceback" not in result.output
        assert isinstance(result.exception, SystemExit)

    if not torch.cuda.is_available():
        assert (
            "no CUDA device" in invoke(*folders, out, "--steps", 1, "--sequence-length", 20, "--device", "cuda").output
        )

    monkeypatch.setitem(sys.modules, "torch", None)
    result = invoke(*folders, out, "--steps", 1)

    assert result.exit_code == 1
    assert result.output == "Error: training needs torch: pip install torch\n"
