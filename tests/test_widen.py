"""A widened network gives what the narrow one gave, and its copies do not stay alike."""

import numpy as np
import pytest
from conftest import random_tensors

from percepnet_cli.network.float_reference import FloatState
from percepnet_cli.network.graph import Sizes
from percepnet_cli.network.modelfile import Model, layout
from percepnet_cli.training.model.widen import widen

OLD = Sizes(6, 5, 8, 7, 6, 5)


def predictions(tensors, sizes, features):
    out = np.zeros((2, len(features), 34), np.float32)
    FloatState(Model("test", sizes, tensors, {}, "")).run(features, *out)
    return out


@pytest.mark.parametrize("new", [Sizes(6, 5, 8, 7, 6, 5), Sizes(13, 11, 9, 16, 20, 6), Sizes(6, 5, 8, 22, 6, 5)])
def test_the_wide_network_computes_the_same(rng, new):
    tensors = random_tensors(OLD, 5)
    features = rng.normal(0, 1, (40, 70)).astype(np.float32)
    wide = widen(tensors, OLD, new, 3)
    assert {name: value.shape for name, value in wide.items()} == {n: s for n, (_, s) in layout(new, "float").items()}
    assert np.abs(predictions(wide, new, features) - predictions(tensors, OLD, features)).max() < 1e-5
    again = widen(tensors, OLD, new, 3)
    assert all(np.array_equal(wide[name], again[name]) for name in wide)
    if new == OLD:
        assert all(np.allclose(wide[name], tensors[name], rtol=1e-6) for name in wide)


def test_copies_are_read_with_different_weights():
    wide = widen(random_tensors(OLD, 5), OLD, Sizes(6, 5, 8, 14, 6, 5), 0)
    columns = wide["gru2.weight_ih"].T
    assert len(np.unique(columns.round(6), axis=0)) == len(columns)


def test_a_bidirectional_network_is_widened_too(rng):
    torch = pytest.importorskip("torch")
    from percepnet_cli.training.model.torch_model import PercepNet

    old, new = OLD._replace(bidirectional=True), Sizes(7, 9, 9, 16, 13, 6, bidirectional=True)
    tensors = random_tensors(old, 5)
    features = torch.from_numpy(rng.normal(0, 1, (40, 1, 70)).astype(np.float32))
    found = []
    for sizes, values in ((old, tensors), (new, widen(tensors, old, new, 3))):
        net = PercepNet(sizes)
        net.precision = torch.float32
        net.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()})
        with torch.no_grad():
            found.append(torch.stack(net(features)[:2]))
    assert float((found[0] - found[1]).abs().max()) < 1e-5


def test_a_causal_network_becomes_a_bidirectional_one_that_computes_the_same(rng):
    torch = pytest.importorskip("torch")
    from percepnet_cli.training.model.torch_model import PercepNet

    new = Sizes(7, 9, 9, 16, 13, 6, bidirectional=True)
    narrow = random_tensors(OLD, 5)
    wide = widen(narrow, OLD, new, 3)
    features = rng.normal(0, 1, (40, 70)).astype(np.float32)
    net = PercepNet(new)
    net.precision = torch.float32
    net.load_state_dict({name: torch.from_numpy(value) for name, value in wide.items()})
    with torch.no_grad():
        found = torch.stack(net(torch.from_numpy(features)[:, None])[:2])[:, :, 0]
    assert np.abs(found.numpy() - predictions(narrow, OLD, features)).max() < 1e-5

    # The layers against time are heard as soon as training moves the weights that read them
    assert not wide["gru2.weight_ih"][:, 16:].any()
    assert np.ptp(wide["gru1_backward.weight_hh"]) > 0.4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OLD, Sizes(5, 5, 8, 7, 6, 5)),
        (OLD, Sizes(6, 5, 8, 7, 6, 5, kernel1=7)),
        (OLD._replace(bidirectional=True), OLD),
    ],
)
def test_what_cannot_be_widened_is_refused(old, new):
    with pytest.raises(ValueError, match="cannot be widened"):
        widen(random_tensors(old, 5), old, new, 0)
