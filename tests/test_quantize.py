"""From float matrices to 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import SMALL, random_tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from percepnet_cli.network.graph import Sizes, matrices
from percepnet_cli.network.modelfile import layout, load_model, model_bytes
from percepnet_cli.network.quantize import half_tensors, quantize_rows, quantize_tensors, restore_tensors

SIZES = Sizes(*SMALL)


@given(
    rows=st.integers(1, 20),
    shape=st.sampled_from([(1,), (7,), (70,), (16, 5), (3, 1)]),
    exponent=st.integers(-30, 30),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=80, deadline=None)
def test_rows_come_back_within_half_a_step(rows, shape, exponent, seed):
    rng = np.random.default_rng(seed)
    weights = (rng.standard_normal((rows, *shape)) * 10.0**exponent).astype(np.float32)
    integers, scale = quantize_rows(weights)
    assert integers.dtype == np.int8 and integers.shape == weights.shape
    assert scale.dtype == np.float32 and scale.shape == (rows,)
    each = scale.astype(float).reshape(-1, *[1] * len(shape))
    assert np.all(np.abs(integers * each - weights) <= each * (0.5 + 1e-5))
    axes = tuple(range(1, weights.ndim))
    assert np.all(np.abs(integers.astype(int)).max(axis=axes) == 127)  # every row uses its range, and no -128


def test_rows_of_zeros_stay_zero_and_have_a_usable_scale():
    weights = np.zeros((3, 5), np.float32)
    weights[1, 2] = -0.25
    integers, scale = quantize_rows(weights)
    assert np.all(integers[[0, 2]] == 0) and integers[1, 2] == -127
    assert np.all(np.isfinite(scale)) and np.all(scale > 0)


def test_a_large_row_does_not_coarsen_its_neighbor():
    weights = np.array([[100.0, -60.0], [0.001, 0.0006]], np.float32)
    integers, scale = quantize_rows(weights)
    assert integers.tolist() == [[127, -76], [127, 76]]
    assert scale == pytest.approx([100 / 127, 0.001 / 127])


def test_all_matrices_and_nothing_else_become_8_bits():
    tensors = random_tensors(SIZES, 5)
    before = {name: tensor.copy() for name, tensor in tensors.items()}
    result = quantize_tensors(tensors, SIZES)
    assert {name: (str(t.dtype), t.shape) for name, t in result.items()} == layout(SIZES, "int8")
    for name, tensor in tensors.items():
        assert np.array_equal(tensor, before[name])
        if name in matrices(SIZES):
            expected, scale = quantize_rows(tensor)
            assert np.array_equal(result[name], expected) and np.array_equal(result[f"{name}_scale"], scale)
        else:
            assert np.array_equal(result[name], tensor)


def test_weights_that_are_8_bit_numbers_come_back_exactly(rng):
    integers = rng.integers(-127, 128, (10, 40), dtype=np.int8)
    integers[:, 0] = 127
    scale = (2.0 ** rng.integers(-9, 0, 10)).astype(np.float32)
    again, found = quantize_rows(integers * scale[:, None])
    assert np.array_equal(again, integers) and np.array_equal(found, scale)


def test_restored_weights_are_those_that_run():
    tensors = random_tensors(SIZES, 6)
    small = quantize_tensors(tensors, SIZES)
    restored = restore_tensors(small, SIZES)
    assert {name: (str(t.dtype), t.shape) for name, t in restored.items()} == layout(SIZES, "float")
    again = quantize_tensors(restored, SIZES)
    assert all(np.allclose(again[name], small[name], rtol=1e-6, atol=1e-12) for name in small)


def test_float16_models_are_half_the_size_and_read_as_float(tmp_path):
    tensors = random_tensors(SIZES, 7)
    path = tmp_path / "half.safetensors"
    path.write_bytes(model_bytes(half_tensors(tensors, SIZES), SIZES, "float", {}))
    read = load_model(path, "float").tensors
    for name, tensor in tensors.items():
        assert read[name].dtype == np.float32
        assert np.allclose(read[name], tensor, rtol=2**-11 if name in matrices(SIZES) else 0, atol=1e-7)
    assert path.stat().st_size < 0.6 * len(model_bytes(tensors, SIZES, "float", {}))
