"""The graph of layers: 8 bits against float, float against torch, and any cut of the stream."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from conftest import SMALL, random_tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from percepnet_cli.network.float_reference import FloatState
from percepnet_cli.network.graph import Sizes
from percepnet_cli.network.percepnet import State, normalize


def random_features(rng, hops):
    """Features with the spread that the random models expect, moving slowly as those of sound do."""
    mean = np.repeat([-2.0, 0.5, 1.5, 0.5], [34, 34, 1, 1])
    std = np.repeat([2.0, 0.3, 0.8, 0.3], [34, 34, 1, 1])
    walk = np.zeros((hops, 70))
    step = rng.standard_normal((hops, 70))
    for hop in range(hops):
        walk[hop] = 0.8 * walk[hop - 1] + 0.6 * step[hop]
    return (mean + std * walk).astype(np.float32)


def run(state, features, cuts=()):
    gain, strength = np.full((2, len(features), 34), np.nan, np.float32)
    edges = [0, *cuts, len(features)]
    for a, b in pairwise(edges):
        state.run(features[a:b], gain[a:b], strength[a:b])
    return gain, strength


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_8_bits_stay_near_float(make_models, rng, seed):
    quantized, exact = make_models(seed=seed)
    features = random_features(rng, 300)
    found, expected = run(State(quantized, 300), features), run(FloatState(exact), features)
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.min() >= 0 and actual.max() <= 1
        assert np.std(wanted) > 0.05  # it is not that nothing happens
        assert np.mean(np.abs(actual - wanted)) < 0.02
        assert np.corrcoef(actual.ravel(), wanted.ravel())[0, 1] > 0.99


def test_8_bits_stay_near_float_with_other_kernels_and_widths(make_models, rng):
    quantized, exact = make_models((9, 13, 11, 7, 15, 5, 3, 1), seed=4)
    features = random_features(rng, 200)
    found, expected = run(State(quantized, 200), features), run(FloatState(exact), features)
    assert all(np.mean(np.abs(a - b)) < 0.02 for a, b in zip(found, expected, strict=True))


def test_float_twin_equals_torch(small_models, rng):
    torch = pytest.importorskip("torch")
    from percepnet_cli.training.model import torch_model

    tensors = random_tensors(Sizes(*SMALL), 1)
    network = torch_model.PercepNet(torch_model.Sizes(*SMALL))
    network.precision = torch.float32
    assert set(network.state_dict()) == set(tensors)
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    features = random_features(rng, 120)
    with torch.no_grad():
        expected = [x[:, 0].numpy() for x in network(torch.from_numpy(features)[:, None])[:2]]
    for found, wanted in zip(run(FloatState(small_models[1]), features), expected, strict=True):
        assert np.std(wanted) > 0.05
        assert np.abs(found - wanted).max() < 1e-4


@given(cuts=st.lists(st.integers(1, 79), max_size=12, unique=True), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_any_cut_gives_the_same_bits(random_model, cuts, seed):
    features = random_features(np.random.default_rng(seed), 80)
    whole = run(State(random_model, 80), features)
    parts = run(State(random_model, 80), features, sorted(cuts))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, parts, strict=True))


def test_gains_do_not_look_ahead_and_remember(random_model, rng):
    features = random_features(rng, 60)
    changed = features.copy()
    changed[30] += 3 * np.repeat([2.0, 0.3], [34, 36]).astype(np.float32)
    for before, after in zip(
        run(State(random_model, 60), features), run(State(random_model, 60), changed), strict=True
    ):
        assert np.array_equal(before[:30], after[:30])
        assert np.abs(before[30] - after[30]).max() > 0.01
        assert np.abs(before[36:] - after[36:]).max() > 0.001  # beyond the reach of the convolutions


def test_every_tensor_matters(small_models, rng):
    """Scaling the values of any one tensor changes the output: none is forgotten, none used for another."""
    exact = small_models[1]
    features = random_features(rng, 20)
    plain = run(FloatState(exact), features)
    for name in exact.tensors:
        tensors = dict(exact.tensors)
        tensors[name] = tensors[name] * np.float32(1.5)
        model = type(exact)(exact.name, exact.sizes, tensors, exact.metadata, exact.digest)
        changed = run(FloatState(model), features)
        moved = [np.abs(a - b).max() > 1e-4 for a, b in zip(plain, changed, strict=True)]
        only = {
            "gain": [True, False],
            "gain_gru": [True, False],
            "strength": [False, True],
            "strength_gru": [False, True],
        }
        assert moved == only.get(name.split(".")[0], [True, True]), name


def test_normalisation_shifts_scales_and_limits(rng):
    features = (5 * rng.standard_normal((9, 70))).astype(np.float32)
    mean, std = rng.standard_normal(70).astype(np.float32), rng.uniform(0.2, 2, 70).astype(np.float32)
    out = np.empty_like(features)
    normalize(features, mean, std, out)
    assert np.abs(out - np.clip((features - mean) / std, -6, 6)).max() < 1e-5
    assert np.sum(np.abs(out) == 6) > 10


def test_extreme_features_give_valid_output(random_model):
    features = np.full((8, 70), 38.0, np.float32)
    features[1::2] = -38.0
    for values in run(State(random_model, 8), features):
        assert np.all((values >= 0) & (values <= 1))


def test_weights_lie_in_one_buffer_and_are_what_they_were(random_model):
    from percepnet_cli.network import dot, percepnet

    weights = percepnet.Weights(random_model)
    for name, one in weights.linear.items():
        assert np.array_equal(one.weights, dot.pack(percepnet.matrix(random_model, name)[0]))
    for name, pair in weights.gru.items():
        for one, kind in zip(pair, ("weight_ih", "weight_hh"), strict=True):
            assert np.array_equal(one.weights, dot.pack(percepnet.matrix(random_model, name, kind)[0]))
            assert one.weights.flags.c_contiguous and one.weights.ctypes.data % 64 == 0
    places = [one.weights.ctypes.data for pair in weights.gru.values() for one in pair]
    assert max(places) - min(places) < 2**21
