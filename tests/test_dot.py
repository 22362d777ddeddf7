"""The 8-bit products are exact: the very integers that NumPy finds in 64 bits, on every ISA that this CPU has."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from percepnet_cli.compute import cpu
from percepnet_cli.network import dot, dot_tiles


def product(weights, vectors):
    """Both kernels' results, int32 [hops, rows], from memory that held something else."""
    found = []
    for pack, kernel, width in (
        (dot.pack, dot.matmul_int8, dot.padded(len(weights))),
        (dot.plain_pack, dot.plain_matmul_int8, len(weights)),
    ):
        out = np.full((len(vectors), width), -7, np.int32)
        kernel(pack(weights), vectors, out)
        found.append(out[:, : len(weights)])
    return found


def check(weights, vectors):
    expected = vectors.astype(np.int64) @ weights.T.astype(np.int64)
    for found in product(weights, vectors):
        assert np.array_equal(found, expected)
    alone = [product(weights, vectors[hop : hop + 1]) for hop in range(min(len(vectors), 3))]
    for hop, both in enumerate(alone):
        for found in both:
            assert np.array_equal(found[0], expected[hop])


@given(
    rows=st.integers(1, 110),
    columns=st.integers(1, 200),
    hops=st.integers(1, 21),
    seed=st.integers(0, 10**6),
    extreme=st.booleans(),
)
@example(rows=1, columns=1, hops=1, seed=0, extreme=False)
@example(rows=33, columns=127, hops=7, seed=1, extreme=True)
@example(rows=49, columns=64, hops=13, seed=1, extreme=True)
@settings(max_examples=120, deadline=None)
def test_any_shape_is_exact(rows, columns, hops, seed, extreme):
    rng = np.random.default_rng(seed)
    values = np.array([-128, -127, 127], np.int8) if extreme else np.arange(-128, 128).astype(np.int8)
    check(rng.choice(values, (rows, columns)), rng.choice(values, (hops, columns)))


@pytest.mark.parametrize(
    ("rows", "columns"), [(1536, 512), (512, 640), (512, 1536), (34, 2560), (384, 1024), (34, 128), (128, 70)]
)
def test_shapes_of_the_published_network_are_exact(rng, rows, columns):
    weights = rng.integers(-127, 128, (rows, columns), dtype=np.int8)
    check(weights, rng.integers(-127, 128, (13, columns), dtype=np.int8))


@pytest.mark.parametrize("columns", [1, 2, 3, 63, 64, 65, 2560, 12288])
@pytest.mark.parametrize(("weight", "value"), [(127, 127), (127, -127), (-127, -127), (-127, 127)])
def test_the_largest_sums_do_not_saturate(columns, weight, value):
    check(np.full((9, columns), weight, np.int8), np.full((5, columns), value, np.int8))


def test_each_row_and_column_reaches_its_own_output(rng):
    weights = np.zeros((140, 90), np.int8)
    vectors = rng.integers(-127, 128, (15, 90), dtype=np.int8)
    place = rng.integers(0, 90, 140)
    weights[np.arange(140), place] = 1
    for found in product(weights, vectors):
        assert np.array_equal(found, vectors[:, place])


def test_part_of_a_buffer_is_written_and_no_more(rng):
    weights = rng.integers(-127, 128, (12, 33), dtype=np.int8)
    vectors = rng.integers(-127, 128, (8, 33), dtype=np.int8)
    out = np.full((8, dot.padded(12)), 5, np.int32)
    dot.matmul_int8(dot.pack(weights), vectors[:3], out[:3])
    assert np.all(out[3:] == 5) and np.array_equal(out[:3, :12], product(weights, vectors)[0][:3])


def test_a_cpu_with_an_instruction_for_it_uses_that():
    """The plain loop would find the same sums, and nobody would hear that it is slower."""
    plain = (dot.plain_pack, dot.plain_matmul_int8)
    expected = plain if cpu.isa() == "portable" else (dot_tiles.pack, dot_tiles.matmul_int8)
    assert (dot.pack, dot.matmul_int8) == expected


@pytest.mark.service
@pytest.mark.parametrize("isa", [name for name in cpu.available() if name != cpu.isa()])
def test_every_other_form_that_this_cpu_has_is_exact(isa):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not service and not slow",
        __file__,
    ]
    done = subprocess.run(command, env=os.environ | {cpu.VARIABLE: isa}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


CHECKSUM = """
import sys
from pathlib import Path

import numpy as np

from percepnet_cli import Denoiser, load_model
from percepnet_cli.compute import cpu

rng = np.random.default_rng(5)
samples = (rng.standard_normal(70 * 480) / 10).astype(np.float32)
out = Denoiser(load_model(Path(sys.argv[1]))).process(samples)
print(cpu.isa(), out.tobytes().hex()[-4000:])
"""


@pytest.mark.slow
def test_every_form_gives_the_same_samples(make_models, tmp_path):
    from percepnet_cli.network.modelfile import model_bytes

    model = make_models()[0]
    path = tmp_path / "model.safetensors"
    path.write_bytes(model_bytes(model.tensors, model.sizes, "int8", {}))
    found = {}
    for isa in cpu.available():
        command = [sys.executable, "-c", CHECKSUM, str(path)]
        done = subprocess.run(
            command, env=os.environ | {cpu.VARIABLE: isa}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        used, samples = done.stdout.split()
        assert used == isa
        found[isa] = samples
    assert len(set(found.values())) == 1
