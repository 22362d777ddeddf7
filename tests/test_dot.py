"""The 8-bit products are exact: the very integers that NumPy finds in 64 bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from percepnet_cli.network import dot


def products(weights, vectors):
    """Both kernels' results, int32 [hops, rows] each, from memory that held something else."""
    together = np.full((len(vectors), len(weights)), -7, np.int32)
    dot.rows_times_vectors(weights, vectors, together)
    alone = np.full_like(together, -9)
    for hop, vector in enumerate(vectors):
        dot.rows_times_vector(weights, vector, alone[hop])
    return together, alone


def check(weights, vectors):
    expected = vectors.astype(np.int64) @ weights.T.astype(np.int64)
    for found in products(weights, vectors):
        assert np.array_equal(found, expected)


@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 200),
    hops=st.integers(1, 9),
    seed=st.integers(0, 10**6),
    extreme=st.booleans(),
)
@example(rows=1, columns=1, hops=1, seed=0, extreme=False)
@example(rows=33, columns=127, hops=7, seed=1, extreme=True)
@settings(max_examples=120, deadline=None)
def test_any_shape_is_exact(rows, columns, hops, seed, extreme):
    rng = np.random.default_rng(seed)
    values = np.array([-127, 127], np.int8) if extreme else np.arange(-127, 128, dtype=np.int8)
    check(rng.choice(values, (rows, columns)), rng.choice(values, (hops, columns)))


@pytest.mark.parametrize(
    ("rows", "columns"), [(1536, 512), (512, 640), (512, 1536), (34, 2560), (384, 1024), (34, 128), (128, 70)]
)
def test_shapes_of_the_article_s_network_are_exact(rng, rows, columns):
    weights = rng.integers(-127, 128, (rows, columns), dtype=np.int8)
    check(weights, rng.integers(-127, 128, (5, columns), dtype=np.int8))


@pytest.mark.parametrize("columns", [1, 2, 3, 63, 64, 65, 2560, 12288])
@pytest.mark.parametrize(("weight", "value"), [(127, 127), (127, -127), (-127, -127), (-127, 127)])
def test_the_largest_sums_do_not_saturate(columns, weight, value):
    check(np.full((9, columns), weight, np.int8), np.full((5, columns), value, np.int8))


def test_each_row_and_column_reaches_its_own_output(rng):
    weights = np.zeros((40, 90), np.int8)
    vectors = rng.integers(-127, 128, (6, 90), dtype=np.int8)
    place = rng.integers(0, 90, 40)
    weights[np.arange(40), place] = 1
    for found in products(weights, vectors):
        assert np.array_equal(found, vectors[:, place])


def test_part_of_a_buffer_is_written_and_no_more(rng):
    weights = rng.integers(-127, 128, (12, 33), dtype=np.int8)
    vectors = rng.integers(-127, 128, (8, 33), dtype=np.int8)
    out = np.full((8, 12), 5, np.int32)
    dot.rows_times_vectors(weights, vectors[:3], out[:3])
    assert np.all(out[3:] == 5) and np.array_equal(out[:3], products(weights, vectors)[0][:3])
