"""The network in torch: names, causality, streaming, precision."""

import pytest

torch = pytest.importorskip("torch")

from percepnet_cli.network.graph import PRESETS, Sizes  # noqa: E402
from percepnet_cli.training.model import torch_model  # noqa: E402
from percepnet_cli.training.model.torch_model import Dropout, PercepNet, has_bfloat16  # noqa: E402

SMALL = Sizes(12, 20, 16, 16, 24, 8)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def small_network(sizes=SMALL):
    net = PercepNet(sizes)
    net.precision = torch.float32
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() == 1:
                parameter.normal_(0, 0.3)
    net.feature_mean.normal_(0, 1)
    net.feature_std.uniform_(0.5, 2)
    return net


def test_the_published_network_has_eight_million_weights():
    with torch.device("meta"):
        counts = {name: PercepNet(sizes).weight_count() for name, sizes in PRESETS.items()}
    assert counts["percepnet"] == 7_948_288
    assert counts["lite"] == 1_301_312
    assert counts["studio"] == 8_330_112


def test_names_and_shapes_of_the_tensors():
    shapes = {name: tuple(value.shape) for name, value in small_network().state_dict().items()}
    expected = {
        "feature_mean": (70,),
        "feature_std": (70,),
        "dense.weight": (12, 70),
        "dense.bias": (12,),
        "conv1.weight": (20, 12, 5),
        "conv1.bias": (20,),
        "conv2.weight": (16, 20, 3),
        "conv2.bias": (16,),
        "gain.weight": (34, 16 + 3 * 16 + 24),
        "gain.bias": (34,),
        "strength.weight": (34, 8),
        "strength.bias": (34,),
    }

    for name, inputs, width in (
        ("gru1", 16, 16),
        ("gru2", 16, 16),
        ("gru3", 16, 16),
        ("gain_gru", 16, 24),
        ("strength_gru", 32, 8),
    ):
        expected |= {
            f"{name}.weight_ih": (3 * width, inputs),
            f"{name}.weight_hh": (3 * width, width),
            f"{name}.bias_ih": (3 * width,),
            f"{name}.bias_hh": (3 * width,),
        }

    assert shapes == expected


def test_convolution_is_torchs_with_zeros_before():
    layer = torch_model.Layer(6, 4, 5)
    x = torch.randn(11, 2, 4)
    ours, memory = torch_model._convolve(x, torch.zeros(4, 2, 4), layer)
    padded = torch.nn.functional.pad(x.permute(1, 2, 0), (4, 0))
    wanted = torch.tanh(torch.nn.functional.conv1d(padded, layer.weight, layer.bias)).permute(2, 0, 1)
    torch.testing.assert_close(ours, wanted, atol=1e-6, rtol=1e-5)
    assert torch.equal(memory, x[-4:])


def test_output_does_not_depend_on_later_features():
    net = small_network()
    x = torch.randn(30, 2, 70)
    changed = x.clone()
    changed[17:] = torch.randn(13, 2, 70)
    with torch.no_grad():
        before, after = net(x), net(changed)
    for a, b in zip(before[:2], after[:2], strict=True):
        assert torch.equal(a[:17], b[:17])
        assert not torch.equal(a[17], b[17])


def test_pieces_give_what_the_whole_gives():
    net = small_network()
    x = torch.randn(30, 2, 70)
    with torch.no_grad():
        gain, strength, _ = net(x)
        state, gains, strengths = None, [], []
        for piece in x.split([1, 2, 1, 9, 17]):
            g, r, state = net(piece, state)
            gains.append(g)
            strengths.append(r)
    torch.testing.assert_close(torch.cat(gains), gain, atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.cat(strengths), strength, atol=1e-6, rtol=0)


BOTH_WAYS = SMALL._replace(bidirectional=True)


def test_both_directions_are_those_of_torch():
    net = small_network(BOTH_WAYS)
    x = torch.randn(19, 3, 70)

    reference = {}
    for name, sources in (
        ("gru1", ["conv2"]),
        ("gru2", ["gru1"]),
        ("gru3", ["gru2"]),
        ("gain_gru", ["gru3"]),
        ("strength_gru", ["conv2", "gru3"]),
    ):
        forward, backward = getattr(net, name), getattr(net, f"{name}_backward")
        width = forward.weight_hh.shape[1]
        layer = torch.nn.GRU(forward.weight_ih.shape[1], width, bidirectional=True)
        with torch.no_grad():
            for kind, _ in forward.named_parameters():
                getattr(layer, f"{kind}_l0").copy_(getattr(forward, kind))
                getattr(layer, f"{kind}_l0_reverse").copy_(getattr(backward, kind))
        reference[name] = layer, sources

    with torch.no_grad():
        gain, strength, _ = net(x)
        y = ((x - net.feature_mean) / net.feature_std).clamp(-6, 6)
        y = torch.tanh(torch.nn.functional.linear(y, net.dense.weight, net.dense.bias))
        for name in ("conv1", "conv2"):
            y, _ = torch_model._convolve(y, torch.zeros(len(getattr(net, name).weight[0, 0]) - 1, 3, y.shape[-1]),
                                         getattr(net, name))  # fmt: skip
        found = {"conv2": y}
        for name, (layer, sources) in reference.items():
            found[name] = layer(torch.cat([found[source] for source in sources], -1))[0]
        joined = torch.cat([found[name] for name in ("conv2", "gru1", "gru2", "gru3", "gain_gru")], -1)
        wanted = torch.sigmoid(torch.nn.functional.linear(joined, net.gain.weight, net.gain.bias))
        torch.testing.assert_close(gain, wanted, atol=1e-5, rtol=0)
        wanted = torch.sigmoid(
            torch.nn.functional.linear(found["strength_gru"], net.strength.weight, net.strength.bias)
        )
        torch.testing.assert_close(strength, wanted, atol=1e-5, rtol=0)


def test_a_piece_carries_the_forward_states_and_begins_the_backward_ones_anew():
    net = small_network(BOTH_WAYS)
    x = torch.randn(40, 2, 70)
    with torch.no_grad():
        whole = net(x)
        first = net(x[:25])
        second = net(x[25:], first[2])
        without = net(x[25:])
    # before the cut the backward layers do not know what follows, and the first hops hardly miss it
    missed = (whole[0][:25] - first[0]).abs().amax((1, 2))
    assert missed[-1] > 1e-3 and missed[0] < 0.1 * missed[-1]
    # behind it the past arrives through the states
    carried, fresh = (float((whole[0][25:] - part[0]).abs()[0].max()) for part in (second, without))
    assert carried < 0.5 * fresh


def test_features_are_normalized_and_clipped():
    net = small_network()
    wild = net.feature_mean + 1000 * net.feature_std * torch.ones(5, 1, 70)
    at_the_limit = net.feature_mean + 6 * net.feature_std * torch.ones(5, 1, 70)
    with torch.no_grad():
        torch.testing.assert_close(net(wild)[0], net(at_the_limit)[0], atol=1e-5, rtol=0)


@pytest.mark.skipif(not has_bfloat16(), reason="this CPU has no bfloat16")
def test_the_whole_network_in_bfloat16():
    net = small_network()
    x = torch.randn(50, 4, 70)
    with torch.no_grad():
        wanted = net(x)
        net.precision = torch.bfloat16
        ours = net(x)
    for a, b in zip(wanted[:2], ours[:2], strict=True):
        assert b.dtype == torch.float32
        assert float((a - b).abs().max()) < 0.05


def test_dropout_takes_the_same_units_over_all_hops_and_keeps_the_mean():
    x = torch.ones(5, 40, 50)
    out = Dropout(0.25, seed=3)(x)
    assert torch.equal(out, out[:1].expand_as(out))
    assert sorted(out.unique().tolist()) == pytest.approx([0.0, 4 / 3])
    assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=0.04)
    assert not torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out, Dropout(0.25, seed=3)(x)) and not torch.equal(out, Dropout(0.25, seed=4)(x))


def test_dropout_acts_on_every_layer_between():
    net, features, seen = small_network(), torch.randn(7, 2, 70), []
    plain = net(features)
    assert torch.equal(net(features, drop=lambda x: x)[0], plain[0])

    def drop(x):
        seen.append(x.shape[-1])
        return torch.zeros_like(x)

    gain, strength, _ = net(features, drop=drop)
    assert seen == [16, 16, 16, 16, 24, 8]
    assert torch.allclose(gain, torch.sigmoid(net.gain.bias).expand_as(gain))
    assert torch.allclose(strength, torch.sigmoid(net.strength.bias).expand_as(strength))
