import numpy as np
import pytest

torch = pytest.importorskip("torch")

from percepnet_cli.training import torch_model  # noqa: E402
from percepnet_cli.training.torch_model import (  # noqa: E402
    PRESETS,
    PercepNet,
    Recurrent,
    Sizes,
    has_bfloat16,
    losses,
)

SMALL = Sizes(12, 20, 16, 16, 24, 8)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    yield
    torch.set_num_threads(threads)


def small_network():
    net = PercepNet(SMALL)
    net.precision = torch.float32
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() == 1:
                parameter.normal_(0, 0.3)
    net.feature_mean.normal_(0, 1)
    net.feature_std.uniform_(0.5, 2)
    return net


def test_the_papers_network_has_eight_million_weights():
    with torch.device("meta"):
        counts = {name: PercepNet(sizes).weight_count() for name, sizes in PRESETS.items()}
    assert counts["percepnet"] == 7_948_288
    assert counts["first"] == 1_301_312


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


def test_recurrent_matrices_start_orthogonal():
    for gate in Recurrent(8, 24).weight_hh.detach().split(24):
        torch.testing.assert_close(gate @ gate.T, torch.eye(24), atol=1e-5, rtol=0)


def run_layer(function, layer, x, h0, seed_states, seed_last):
    x, h0 = x.clone().requires_grad_(), h0.clone().requires_grad_()
    layer.zero_grad()
    states, last = function(x, h0)
    ((states.float() * seed_states).sum() + (last.float() * seed_last).sum()).backward()
    gradients = {name: p.grad.clone() for name, p in layer.named_parameters()}
    return {"states": states.detach(), "last": last.detach(), "x": x.grad, "h0": h0.grad, **gradients}


def both_layers(width, dtype, scale=1.0):
    hops, batch, inputs = 23, 3, 10
    layer = Recurrent(inputs, width)
    with torch.no_grad():
        layer.bias_ih.normal_(0, 0.5)
        layer.bias_hh.normal_(0, 0.5)
    x = scale * torch.randn(hops, batch, inputs)
    h0 = torch.rand(batch, width) * 2 - 1
    seeds = torch.randn(hops, batch, width), torch.randn(batch, width)
    reference = torch.nn.GRU(inputs, width)
    with torch.no_grad():
        for name, value in layer.named_parameters():
            getattr(reference, f"{name}_l0").copy_(value)

    def torch_layer(x, h0):
        states, last = reference(x, h0.unsqueeze(0))
        return states, last.squeeze(0)

    wanted = run_layer(torch_layer, reference, x, h0, *seeds)
    wanted = {name.removesuffix("_l0"): value for name, value in wanted.items()}
    plain = run_layer(layer.plain, layer, x, h0, *seeds)
    ours = run_layer(lambda x, h0: layer(x.to(dtype), h0), layer, x, h0, *seeds)
    return wanted, plain, ours


@pytest.mark.parametrize(("width", "scale"), [(5, 1.0), (16, 1.0), (37, 20.0)])
def test_recurrent_layer_and_its_gradients_are_those_of_torch(width, scale):
    wanted, plain, ours = both_layers(width, torch.float32, scale)
    for name, value in wanted.items():
        size = float(value.abs().max())
        torch.testing.assert_close(plain[name], value, atol=1e-5 * size, rtol=1e-5, msg=name)
        torch.testing.assert_close(ours[name], value, atol=1e-5 * size, rtol=1e-5, msg=name)


def test_bfloat16_is_close_to_float32():
    wanted, _, ours = both_layers(32, torch.bfloat16)
    assert float((ours["states"].float() - wanted["states"]).abs().max()) < 0.03
    for name, value in wanted.items():
        a, b = value.flatten().double(), ours[name].flatten().double()
        assert float(a @ b / (a.norm() * b.norm())) > 0.9995, name


def test_a_layer_can_be_differentiated_once():
    states, _ = Recurrent(4, 6)(torch.randn(3, 2, 4), torch.zeros(2, 6))
    total = states.sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="already"):
        total.backward()


def test_gate_functions_and_rounding():
    x = np.linspace(-60, 60, 20001).astype(np.float32)
    exact = x.astype(np.float64)
    assert max(abs(torch_model._tanh(v) - np.tanh(e)) for v, e in zip(x, exact, strict=True)) < 1e-6
    sigmoid = 1 / (1 + np.exp(-exact))
    assert max(abs(torch_model._sigmoid(v) - e) for v, e in zip(x, sigmoid, strict=True)) < 1e-6
    rounded = torch.from_numpy(x).bfloat16()
    bits = np.array([torch_model._narrow(v) for v in x], np.uint16)
    assert np.array_equal(bits, torch_model._numpy(rounded))
    assert np.array_equal([torch_model._widen(v, True) for v in bits], rounded.float().numpy())


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


def test_features_are_normalised_and_clipped():
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


# --- losses --------------------------------------------------------------------------------


def targets(gain=0.5, strength=0.5, hops=4):
    ones = torch.ones(hops, 2, 34)
    return gain * ones, strength * ones, ones.clone(), ones.clone()


@pytest.mark.parametrize("kind", ["gamma", "relative"])
@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize("found", [0.0, 1.0])
def test_losses_and_slopes_are_finite_at_the_ends(kind, target, found):
    gain = torch.full((4, 2, 34), found, requires_grad=True)
    strength = torch.full((4, 2, 34), found, requires_grad=True)
    both = losses(gain, strength, targets(target, target), kind)
    sum(both).backward()
    assert all(torch.isfinite(loss) for loss in both)
    assert torch.isfinite(gain.grad).all()
    assert torch.isfinite(strength.grad).all()
    assert all((loss.item() < 1e-6) == (found == target) for loss in both)


def test_loss_values():
    half = torch.full((4, 2, 34), 0.25)
    gain, strength = losses(half, half, targets(1.0, 0.0))
    error = 1.0 - 0.5
    assert float(gain) == pytest.approx(error**2 + 10 * error**4, rel=1e-3)
    assert float(strength) == pytest.approx((1 - 0.75**0.5) ** 2, rel=1e-3)
    with pytest.raises(ValueError, match="unknown loss square"):
        losses(half, half, targets(), "square")


@pytest.mark.parametrize("kind", ["gamma", "relative"])
def test_masked_bands_do_not_matter(kind):
    gain, strength, gain_weight, strength_weight = targets()
    gain_hat, strength_hat = torch.rand(4, 2, 34), torch.rand(4, 2, 34)
    gain_weight[:, :, 20:] = 0
    strength_weight[1:] = 0
    first = losses(gain_hat, strength_hat, (gain, strength, gain_weight, strength_weight), kind)
    gain, strength, gain_hat, strength_hat = (t.clone() for t in (gain, strength, gain_hat, strength_hat))
    for tensor in (gain, gain_hat):
        tensor[:, :, 20:] = torch.rand(4, 2, 14)
    for tensor in (strength, strength_hat):
        tensor[1:] = torch.rand(3, 2, 34)
    second = losses(gain_hat, strength_hat, (gain, strength, gain_weight, strength_weight), kind)
    assert [float(a) for a in first] == [float(b) for b in second]
    # the mean is over what counts: fewer bands of the same error give the same loss
    alone = losses(gain_hat[:, :, :20], strength_hat, (gain[:, :, :20], *targets()[1:2], *(
        weight for weight in (gain_weight[:, :, :20], strength_weight))), kind)  # fmt: skip
    assert float(alone[0]) == pytest.approx(float(second[0]), rel=1e-5)
    nothing = torch.zeros(4, 2, 34)
    empty = losses(gain_hat, strength_hat, (gain, strength, nothing, nothing), kind)
    assert [float(loss) for loss in empty] == [0.0, 0.0]
