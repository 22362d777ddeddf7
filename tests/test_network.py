"""The graph of layers: 8 bits against float, float against torch, and any cut of the stream."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from conftest import SMALL, random_tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from percepnet_cli.constants import BIDIRECTIONAL_BLOCK_HOPS, BIDIRECTIONAL_FUTURE_HOPS
from percepnet_cli.network.blocks import BlockState
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


@pytest.mark.parametrize("bidirectional", [False, True])
def test_float_twin_equals_torch_on_whole_sequences(make_models, rng, bidirectional):
    torch = pytest.importorskip("torch")
    from percepnet_cli.training.model import torch_model

    sizes = Sizes(*SMALL, bidirectional=bidirectional)
    tensors = random_tensors(sizes, 1)
    network = torch_model.PercepNet(sizes)
    network.precision = torch.float32
    assert set(network.state_dict()) == set(tensors)
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    features = random_features(rng, 120)
    with torch.no_grad():
        expected = [x[:, 0].numpy() for x in network(torch.from_numpy(features)[:, None])[:2]]
    exact = make_models(sizes)[1]
    for found, wanted in zip(run_whole(exact, features), expected, strict=True):
        assert np.std(wanted) > 0.05
        assert np.abs(found - wanted).max() < 1e-4
    if not bidirectional:  # hop by hop is the same
        for found, wanted in zip(run(FloatState(exact), features), expected, strict=True):
            assert np.abs(found - wanted).max() < 1e-4


def run_all(state, features, cuts=()):
    """Gains and strengths of all hops of a stream that ends."""
    parts = run(state, features, cuts)
    last = np.full((2, state.latency_hops, 34), np.nan, np.float32)
    state.end(*last)
    return [np.concatenate(both)[state.latency_hops :] for both in zip(parts, last, strict=True)]


def run_whole(model, features):
    """Gains and strengths of a recording that the float network sees at once."""
    return run_all(FloatState(model, len(features), 0), features)


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


@pytest.mark.parametrize("kind", ["small_models", "two_way_models"])
def test_every_tensor_matters(request, rng, kind):
    """Scaling the values of any one tensor changes the output: none is forgotten, none used for another."""
    exact = request.getfixturevalue(kind)[1]
    features = random_features(rng, 20)
    plain = run_whole(exact, features)
    for name in exact.tensors:
        tensors = dict(exact.tensors)
        tensors[name] = tensors[name] * np.float32(1.5)
        model = type(exact)(exact.name, exact.sizes, tensors, exact.metadata, exact.digest)
        changed = run_whole(model, features)
        moved = [np.abs(a - b).max() > 1e-4 for a, b in zip(plain, changed, strict=True)]
        only = {
            "gain": [True, False],
            "gain_gru": [True, False],
            "strength": [False, True],
            "strength_gru": [False, True],
        }
        assert moved == only.get(name.split(".")[0].removesuffix("_backward"), [True, True]), name


def test_normalization_shifts_scales_and_limits(rng):
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


BLOCK, WINDOW = BIDIRECTIONAL_BLOCK_HOPS, BIDIRECTIONAL_BLOCK_HOPS + BIDIRECTIONAL_FUTURE_HOPS
LATENCY = WINDOW - 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_directions_in_8_bits_stay_near_float(make_models, rng, seed):
    quantized, exact = make_models((*SMALL, 5, 3, True), seed=seed)
    features = random_features(rng, 420)
    assert not any(values[:LATENCY].any() for values in run(BlockState(quantized, 64), features))
    found, expected = run_all(BlockState(quantized, 64), features), run_all(FloatState(exact), features)
    for actual, wanted in zip(found, expected, strict=True):
        assert len(actual) == 420 and actual.min() > 0 and actual.max() < 1
        assert np.std(wanted) > 0.05
        # no hop is further away than the others: none is missing, none in another's place
        assert np.mean(np.abs(actual - wanted), axis=1).max() < 0.06
        assert np.mean(np.abs(actual - wanted)) < 0.02


def test_both_directions_with_other_kernels_widths_and_blocks(make_models, rng):
    quantized, exact = make_models((9, 13, 11, 7, 15, 5, 3, 1, True), seed=4)
    features = random_features(rng, 100)
    for block, future in ((1, 0), (1, 7), (7, 1), (30, 0), (20, 20), (10, 30)):
        found = run(BlockState(quantized, 8, block, future), features)
        assert all(np.array_equal(x.any(axis=1), np.arange(100) >= block + future - 1) for x in found)
        found = run_all(BlockState(quantized, 8, block, future), features)
        expected = run_all(FloatState(exact, block, future), features)
        for actual, wanted in zip(found, expected, strict=True):
            assert len(actual) == 100 and actual.min() > 0 and np.mean(np.abs(actual - wanted)) < 0.02


@given(cuts=st.lists(st.integers(1, 359), max_size=12, unique=True), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_any_cut_gives_the_same_bits_in_both_directions(two_way_model, cuts, seed):
    features = random_features(np.random.default_rng(seed), 360)
    whole = run_all(BlockState(two_way_model, 360), features)
    parts = run_all(BlockState(two_way_model, 64), features, sorted(cuts))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, parts, strict=True))
    assert all(len(values) == 360 and values.all() for values in whole)


def test_a_block_knows_its_past_and_its_own_future_and_no_more(two_way_model, rng):
    features = random_features(rng, 3 * BLOCK + WINDOW)
    before = run(BlockState(two_way_model, 64), features)

    def moved(hop):
        """The first and the last hop whose gains and strengths change with the features of one hop."""
        changed = features.copy()
        changed[hop] += 3 * np.repeat([2.0, 0.3], [34, 36]).astype(np.float32)
        after = run(BlockState(two_way_model, 64), changed)
        hops = [np.flatnonzero((a != b).any(axis=1)) - LATENCY for a, b in zip(before, after, strict=True)]
        return min(h[0] for h in hops), max(h[-1] for h in hops)

    # in the block and what is its future, all the way back to the block's begin, never beyond
    first, last = moved(2 * BLOCK + 10)
    assert BLOCK <= first < 2 * BLOCK + 10 <= last  # hop 10 of the third block is future of the second
    assert moved(2 * BLOCK + 70)[0] >= 2 * BLOCK  # hop 70 is not
    assert moved(2 * BLOCK - 1)[0] < 2 * BLOCK - 1


@pytest.mark.parametrize("hops", [1, 2, 50, BLOCK, WINDOW - 1])
def test_what_is_shorter_than_a_window_is_seen_whole(two_way_models, rng, hops):
    quantized, exact = two_way_models
    features = random_features(rng, hops)
    for found, wanted in zip(run_all(BlockState(quantized, 64), features), run_whole(exact, features), strict=True):
        assert len(found) == hops and np.abs(found - wanted).mean() < 0.02 and np.abs(found - wanted).max() < 0.1


@pytest.mark.parametrize("hops", [WINDOW, WINDOW + 1, 2 * BLOCK + 49, 2 * BLOCK + 50, 3 * BLOCK])
def test_the_last_block_is_near_float_wherever_the_stream_ends(two_way_models, rng, hops):
    quantized, exact = two_way_models
    features = random_features(rng, hops)
    for found, wanted in zip(
        run_all(BlockState(quantized, 64), features), run_all(FloatState(exact), features), strict=True
    ):
        assert len(found) == hops and np.mean(np.abs(found - wanted), axis=1).max() < 0.06


def test_a_stream_of_nothing_ends(two_way_models):
    for state in (BlockState(two_way_models[0], 64), FloatState(two_way_models[1])):
        assert all(values.shape == (0, 34) for values in run_all(state, np.zeros((0, 70), np.float32)))
