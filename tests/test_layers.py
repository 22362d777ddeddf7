"""8-bit layers and activations against float64."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import snr_db

from percepnet_cli.compute.jit import kernel
from percepnet_cli.network import activations, layers
from percepnet_cli.network.layers import linear


@kernel
def _each(x: np.ndarray, tanh: np.ndarray, sigmoid: np.ndarray) -> None:
    for i in range(x.shape[0]):
        tanh[i] = activations.tanh(x[i])
        sigmoid[i] = activations.sigmoid(x[i])


@kernel
def _round(x: np.ndarray, out: np.ndarray) -> None:
    for i in range(x.shape[0]):
        out[i] = activations.round8(x[i])


def activate(x):
    x = np.asarray(x, np.float32)
    tanh, sigmoid = np.full_like(x, np.nan), np.full_like(x, np.nan)
    _each(x, tanh, sigmoid)
    return tanh, sigmoid


def random_linear(rng, rows, columns):
    """An 8-bit matrix and the float64 matrix of exactly its values."""
    weights = rng.integers(-127, 128, (rows, columns), dtype=np.int8)
    scale = (rng.uniform(0.5, 2, rows) * 2 / (127 * np.sqrt(columns))).astype(np.float32)
    bias = (0.3 * rng.standard_normal(rows)).astype(np.float32)
    return linear(weights, scale / np.float32(127), bias), weights * scale[:, None].astype(float)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_activations_are_within_their_stated_errors():
    x = np.linspace(-12, 12, 480_001, dtype=np.float32)
    tanh, sig = activate(x)
    assert np.abs(tanh - np.tanh(x.astype(float))).max() < 6.5e-5
    assert np.abs(sig - sigmoid(x.astype(float))).max() < 3.5e-5


def test_activations_keep_their_limits_symmetry_and_order():
    x = np.linspace(-12, 12, 480_001, dtype=np.float32)
    tanh, sig = activate(x)
    assert tanh.min() == -1 and tanh.max() == 1 and sig.min() >= 0 and sig.max() <= 1
    assert np.array_equal(tanh, -tanh[::-1])
    assert np.diff(tanh).min() > -1e-6 and np.diff(sig).min() > -1e-6
    assert activate([0.0])[0][0] == 0 and activate([0.0])[1][0] == 0.5


def test_activations_of_large_arguments_stay_at_their_limits():
    x = np.array([20, 1e3, 1e6, 1e9, 1e12, 1e25, 3e38])
    tanh, sig = activate(np.concatenate((x, -x)))
    assert np.array_equal(tanh, np.repeat([1, -1], 7))
    assert np.abs(sig - np.repeat([1, 0], 7)).max() < 1e-6


def test_rounding_of_activations_is_to_the_nearest():
    values = np.linspace(-1, 1, 20_001, dtype=np.float32)
    out = np.zeros(20_001, np.int8)
    _round(values, out)
    assert out.min() == -127 and out.max() == 127
    assert np.abs(out - 127 * values.astype(float)).max() <= 0.5 + 1e-5
    exact = np.arange(-127, 128, dtype=np.int8)
    back = np.empty(255, np.int8)
    _round(exact / np.float32(127), back)
    assert np.array_equal(back, exact)


@given(rows=st.integers(1, 40), columns=st.integers(1, 90), hops=st.integers(1, 6), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_dense_layer_equals_float64(rows, columns, hops, seed):
    rng = np.random.default_rng(seed)
    matrix, weights = random_linear(rng, rows, columns)
    inputs = rng.integers(-127, 128, (hops, columns), dtype=np.int8)
    out = np.full((hops, rows), np.nan, np.float32)
    layers.run_dense(layers.Dense(matrix, 6), inputs, out)
    assert np.abs(out - sigmoid(inputs / 127 @ weights.T + matrix.bias)).max() < 4e-5


def test_first_layer_takes_floats_and_gives_8_bits(rng):
    weights = rng.integers(-127, 128, (32, 70), dtype=np.int8)
    scale = (rng.uniform(0.5, 2, 32) * 2 / (127 * np.sqrt(70))).astype(np.float32)
    bias = (0.3 * rng.standard_normal(32)).astype(np.float32)
    inputs = rng.uniform(-6, 6, (20, 70)).astype(np.float32)
    out = np.zeros((20, 32), np.int8)
    layers.run_float_dense(layers.FloatDense(weights, scale, bias), inputs, out)
    exact = 127 * np.tanh(inputs @ (weights * scale[:, None].astype(float)).T + bias)
    assert np.abs(out - exact).max() < 0.51
    assert len(np.unique(out)) > 50


@given(taps=st.integers(1, 5), cuts=st.lists(st.integers(1, 7), min_size=1, max_size=5), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_convolution_equals_float64_over_any_cut(taps, cuts, seed):
    rng = np.random.default_rng(seed)
    matrix, weights = random_linear(rng, 11, taps * 9)
    hops = sum(cuts)
    inputs = rng.integers(-127, 128, (hops, 9), dtype=np.int8)
    conv = layers.Conv(matrix, taps, 7)
    out = np.zeros((hops, 11), np.int8)
    edges = np.cumsum([0, *cuts])
    for a, b in pairwise(edges):
        layers.run_conv(conv, inputs[a:b], out[a:b])
    padded = np.concatenate((np.zeros((taps - 1, 9)), inputs / 127))
    exact = [
        127 * np.tanh(sum(weights[:, 9 * k : 9 * k + 9] @ padded[hop + k] for k in range(taps)) + matrix.bias)
        for hop in range(hops)
    ]
    assert np.abs(out - np.array(exact)).max() < 0.51


def slow_gru(wi, wh, bi, bh, inputs, rounded):
    """A GRU in float64, reset gate after the product; the recurrent input rounded to 8 bits or not."""
    h = np.zeros(wh.shape[1])
    out = []
    for x in inputs:
        seen = np.floor(127 * h + 0.5) / 127 if rounded else h
        (xr, xz, xn), (hr, hz, hn) = np.split(wi @ x + bi, 3), np.split(wh @ seen + bh, 3)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        n = np.tanh(xn + r * hn)
        h = (1 - z) * n + z * h
        out.append(h)
    return np.array(out)


@pytest.fixture
def gru(rng):
    """Inputs of a recurrent layer, its 8-bit output, and the exact values of its weights and biases."""
    width, columns, hops = 24, 31, 300
    (input_linear, wi), (recurrent, wh) = (random_linear(rng, 3 * width, c) for c in (columns, width))
    inputs = rng.integers(-127, 128, (hops, columns), dtype=np.int8)
    layer = layers.Gru(input_linear, recurrent, 64)
    out = np.zeros((hops, width), np.int8)
    for start in range(0, hops, 50):
        layers.run_gru(layer, inputs[start : start + 50], out[start : start + 50])
    return inputs, out, (wi, wh, input_linear.bias.astype(float), recurrent.bias.astype(float))


def test_recurrent_layer_equals_float64_with_the_same_rounding(gru):
    inputs, out, weights = gru
    exact = slow_gru(*weights, inputs / 127, rounded=True)
    difference = np.abs(out - 127 * exact)
    assert np.std(exact) > 0.2
    assert difference.max() < 2.5 and np.mean(difference) < 0.27  # rounding alone: 0.25 on average


def test_recurrent_layer_equals_float64_without_rounding_within_a_few_units(gru):
    inputs, out, weights = gru
    exact = slow_gru(*weights, inputs / 127, rounded=False)
    assert np.abs(out / 127 - exact).max() < 0.03 and snr_db(exact, out / 127) > 38


def test_recurrent_layer_equals_torch(gru):
    torch = pytest.importorskip("torch")
    inputs, out, (wi, wh, bi, bh) = gru
    reference = torch.nn.GRU(inputs.shape[1], out.shape[1])
    with torch.no_grad():
        for name, values in (("weight_ih", wi), ("weight_hh", wh), ("bias_ih", bi), ("bias_hh", bh)):
            getattr(reference, f"{name}_l0").copy_(torch.tensor(values, dtype=torch.float32))
        expected = reference(torch.tensor(inputs / 127, dtype=torch.float32))[0].numpy()
    assert np.abs(out / 127 - expected).max() < 0.03 and snr_db(expected, out / 127) > 38
    assert snr_db(slow_gru(wi, wh, bi, bh, inputs / 127, rounded=False), expected) > 90


def test_recurrent_layer_gives_the_same_bits_over_any_cut(rng):
    (input_linear, _), (recurrent, _) = (random_linear(rng, 48, c) for c in (20, 16))
    inputs = rng.integers(-127, 128, (40, 20), dtype=np.int8)

    def run(cuts):
        layer, out = layers.Gru(input_linear, recurrent, 40), np.zeros((40, 16), np.int8)
        edges = np.cumsum([0, *cuts])
        for a, b in pairwise(edges):
            layers.run_gru(layer, inputs[a:b], out[a:b])
        return out, layer.state.copy()

    whole = run([40])
    for cuts in ([1] * 40, [3, 1, 30, 6]):
        out, state = run(cuts)
        assert np.array_equal(out, whole[0]) and state.tobytes() == whole[1].tobytes()


def test_two_directions_are_two_layers_of_which_one_sees_every_window_reversed(rng):
    width, columns, block, window = 16, 20, 10, 14
    pairs = [tuple(random_linear(rng, 3 * width, c)[0] for c in (columns, width)) for _ in range(2)]
    inputs = rng.integers(-127, 128, (3 * block + window, columns), dtype=np.int8)
    both = layers.BidirectionalGru(*pairs, block, window)
    with_time = np.zeros((len(inputs), width), np.int8)
    layers.run_gru(layers.Gru(*pairs[0], len(inputs)), inputs, with_time)
    for start, wanted in zip((0, block, 2 * block, 3 * block), (window, block, 12, window), strict=True):
        part = slice(start, start + window)
        against_time = np.zeros((window, width), np.int8)
        layers.run_gru(layers.Gru(*pairs[1], window), inputs[part][::-1].copy(), against_time)
        out = np.zeros((wanted, 2 * width), np.int8)
        both.run(inputs[part], out)
        assert np.array_equal(out[:, :width], with_time[start : start + wanted])
        assert np.array_equal(out[:, width:], against_time[::-1][:wanted])
