"""Recordings packed for a machine of its own, and the script that trains there; all on the CPU."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from percepnet_cli.constants import SAMPLE_RATE
from percepnet_cli.training.data import corpus

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "models" / "gpu"
GROUPS = 60
MIB = 0.6

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables of 60 voices and 60 noises of 1.5 s each, in two collections."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(2)
    time = np.arange(round(1.5 * SAMPLE_RATE)) / SAMPLE_RATE
    found = {}
    for kind in ("speech", "noise"):
        rows = []
        for number in range(GROUPS):
            samples = 0.05 * rng.standard_normal(len(time))
            if kind == "speech":
                tone = sum(np.sin(2 * np.pi * (100 + number) * k * time) / k for k in range(1, 20))
                samples = 0.02 * samples + 0.1 * tone * (np.sin(2 * np.pi * 2 * time) > -0.5)
            soundfile.write(folder / f"{kind}{number}.flac", samples, SAMPLE_RATE)
            rows.append((f"{kind}{number}.flac", f"{kind} {number}", f"collection {number % 2}"))
        found[kind] = folder / f"{kind}.tsv"
        with found[kind].open("w", newline="") as file:
            csv.writer(file, delimiter="\t").writerows([("path", "speaker", "collection"), *rows])
    return found


def packed(tables, out, mib=MIB):
    command = [sys.executable, FOLDER / "pack.py", out, "--mib", mib]
    command += [part for kind, table in tables.items() for part in (f"--{kind}", table)]
    return subprocess.run(list(map(str, command)), cwd=ROOT, text=True, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def pack(tables, tmp_path_factory):
    out = tmp_path_factory.mktemp("pack") / "pack"
    result = packed(tables, out)
    assert result.returncode == 0, result.stderr
    return out


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.suffix != ".tsv")


def test_a_pack_keeps_to_its_room_and_its_splits(tables, pack):
    assert 0.3 * MIB * 2**20 < size(pack) < MIB * 2**20
    groups = {}
    for split in ("train", "validation"):
        for kind, table in tables.items():
            wanted = {one.group for one in corpus.select_split(corpus.find(table), split)}
            found = corpus.find(pack / split / kind / "table.tsv")
            assert found
            groups[split, kind] = {one.group for one in found}
            assert groups[split, kind] <= wanted
            # every collection has its turn
            assert len({one.collection for one in found}) == min(2, len(found))
    assert not groups["train", "speech"] & groups["validation", "speech"]


def test_packed_recordings_are_heard_as_before(tables, pack):
    library = corpus.Library()
    before = {one.group: library.samples(one) for one in corpus.find(tables["speech"])}
    for one in corpus.find(pack / "train" / "speech" / "table.tsv"):
        wanted, found = before[one.group], library.samples(one)
        assert len(found) == len(wanted)
        error = np.mean((found - wanted) ** 2) / np.mean(wanted**2)
        assert error < 0.02, one.group


def test_the_same_arguments_give_the_same_pack(tables, pack, tmp_path):
    assert packed(tables, tmp_path / "again").returncode == 0
    for path in pack.rglob("*.tsv"):
        assert (tmp_path / "again" / path.relative_to(pack)).read_bytes() == path.read_bytes()


def test_an_old_pack_is_not_mixed_with_a_new_one(tables, pack):
    result = packed(tables, pack)
    assert result.returncode == 1
    assert result.stderr == f"{pack} exists; give the name of a new folder\n"


@pytest.mark.slow
def test_the_script_mixes_and_trains(pack, tmp_path):
    pytest.importorskip("torch")
    environment = {
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "DEVICE": "cpu",
        "JOBS": "1",
    }
    environment |= {"MINUTES": "0.05", "HOURS": "0.15", "VALID_HOURS": "0.1"}
    options = ("--sizes", "16,16,16,16,16,16", "--batch-size", "8", "--sequence-length", "100")
    command = [FOLDER / "train.sh", pack, tmp_path / "work", tmp_path / "out", *options]
    result = subprocess.run(
        list(map(str, command)), env=os.environ | environment, text=True, capture_output=True, timeout=900
    )
    assert result.returncode == 0, result.stderr
    assert "Finished after" in result.stdout
    assert (tmp_path / "out" / "model-float16.safetensors").is_file()
