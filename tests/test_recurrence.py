"""The recurrent layer: torch's own, faster."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from percepnet_cli.compute import tiles  # noqa: E402
from percepnet_cli.compute.jit import kernel  # noqa: E402
from percepnet_cli.compute.transpose import transpose_blocks  # noqa: E402
from percepnet_cli.training.model import gru_gates, gru_passes  # noqa: E402
from percepnet_cli.training.model.products import as_array, can_pack, product_with, weight_gradient  # noqa: E402
from percepnet_cli.training.model.recurrence import Recurrent  # noqa: E402
from percepnet_cli.training.model.tiled_recurrence import TiledRecurrence, can_tile  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_against_time_is_the_same_layer_on_the_reversed_sequence(dtype):
    layer = Recurrent(10, 32)
    x, h0 = torch.randn(23, 3, 10).to(dtype), torch.rand(3, 32) * 2 - 1
    seeds = torch.randn(23, 3, 32), torch.randn(3, 32)
    wanted = run_layer(lambda x, h0: layer(x.flip(0), h0), layer, x, h0, seeds[0].flip(0), seeds[1])
    found = run_layer(lambda x, h0: layer(x, h0, against_time=True), layer, x, h0, *seeds)
    wanted["states"] = wanted["states"].flip(0)
    plain = run_layer(lambda x, h0: layer.plain(x.float(), h0, True), layer, x, h0, *seeds)
    for name, value in wanted.items():
        size = float(value.abs().max())
        # weight gradients sum over the hops in another order
        slack = 1e-5 if dtype == torch.float32 else 2e-2
        torch.testing.assert_close(found[name], value, atol=slack * size, rtol=0, msg=name)
        torch.testing.assert_close(plain[name].to(value.dtype), value, atol=2 * slack * size, rtol=0, msg=name)


@pytest.mark.skipif(not can_pack(), reason="no AMX, or no packed weights in this torch")
def test_packed_weights_give_the_plain_product():
    weight, x = torch.randn(96, 64).bfloat16(), torch.randn(17, 64).bfloat16()
    for w, rows in ((weight, x), (weight.t()[:64], torch.randn(17, 96).bfloat16())):
        found = product_with(w, len(rows))(rows)
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), rows.float() @ w.float().t(), atol=1e-2, rtol=1e-2)


def test_bfloat16_is_close_to_float32():
    wanted, _, ours = both_layers(32, torch.bfloat16)
    assert float((ours["states"].float() - wanted["states"]).abs().max()) < 0.03
    for name, value in wanted.items():
        a, b = value.flatten().double(), ours[name].flatten().double()
        assert float(a @ b / (a.norm() * b.norm())) > 0.9995, name


def test_transposing_moves_every_number(rng):
    for rows, columns, first, count in ((32, 16, 0, 16), (96, 48, 0, 48), (64, 80, 16, 32)):
        x = rng.integers(0, 1 << 16, (rows, columns)).astype(np.uint16)
        out = as_array(torch.empty(count, rows, dtype=torch.bfloat16))
        transpose_blocks(x, first, out)
        assert np.array_equal(out, x[:, first : first + count].T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(64, 32, 48), (65, 32, 48), (64, 34, 20)])
def test_the_weight_gradient_is_the_product_of_the_transposed_matrix(dtype, shape):
    rows, n, m = shape
    g, x = torch.randn(rows, n).to(dtype), torch.randn(rows, m).to(dtype)
    wanted = g.double().t() @ x.double()
    found = weight_gradient(g, x)
    assert found.dtype == torch.float32 and found.shape == (n, m)
    slack = 1e-5 if dtype == torch.float32 else 2**-8
    torch.testing.assert_close(found.double(), wanted, atol=slack * float(wanted.abs().max()), rtol=0)


@pytest.mark.parametrize("hops", [32, 23])
def test_bfloat16_gradients_of_many_rows_are_those_of_float32(hops):
    layer = Recurrent(16, 16)
    x, h0 = torch.randn(hops, 4, 16), torch.zeros(4, 16)
    seeds = torch.randn(hops, 4, 16), torch.randn(4, 16)
    wanted = run_layer(lambda x, h0: layer(x, h0), layer, x, h0, *seeds)
    found = run_layer(lambda x, h0: layer(x.bfloat16(), h0), layer, x, h0, *seeds)
    for name, value in wanted.items():
        a, b = value.flatten().double(), found[name].flatten().double()
        assert float(a @ b / (a.norm() * b.norm())) > 0.9995, name


@pytest.mark.skipif(not tiles.available(), reason="no AMX")
def test_packed_tiles_multiply(rng):
    weight, x = torch.randn(48, 96).bfloat16(), torch.randn(32, 96).bfloat16()
    packed = tiles.pack(as_array(weight)).reshape(-1)
    wanted = (x.double() @ weight.double().t()).flatten().numpy()
    before, sums = np.zeros(64, np.uint8), np.ones(32 * 48, np.float32)
    for rows in (32, 16):
        tiles_product(as_array(x).reshape(-1), rows, packed, before, sums)
        assert np.allclose(sums[: rows * 48], wanted[: rows * 48], atol=1e-4)


@kernel
def tiles_product(x, rows, packed, before, sums):
    tiles.store_configuration(before)
    tiles.load_configuration(tiles.CONFIGURATION)
    gru_passes.multiply(x, 0, 96, rows, packed, 48, 3, sums)
    tiles.load_configuration(before)


@pytest.mark.skipif(not tiles.available(), reason="no AMX")
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("hops", "batch", "width"), [(23, 16, 32), (8, 48, 64), (5, 32, 96)])
def test_tiles_give_the_layer_of_torch_and_its_gradients(directions, hops, batch, width):
    layers = [Recurrent(24, width) for _ in range(directions)]
    with torch.no_grad():
        for layer in layers:
            for bias in (layer.bias_ih, layer.bias_hh):
                bias.normal_(0, 0.5)
            for weight in (layer.weight_ih, layer.weight_hh):  # what bfloat16 can say, so that only products round
                weight.copy_(weight.bfloat16())
    x = torch.randn(hops, batch, 24).bfloat16()
    h0 = torch.rand(batch, width) * 2 - 1
    seeds = torch.randn(hops, batch, directions * width).bfloat16().float(), torch.randn(batch, width)
    reference = torch.nn.GRU(24, width, bidirectional=directions == 2).double()
    with torch.no_grad():
        for layer, ending in zip(layers, ("", "_reverse"), strict=False):
            for name, value in layer.named_parameters():
                getattr(reference, f"{name}_l0{ending}").copy_(value)

    def torch_layer(x, h0):
        first = torch.stack([h0, torch.zeros_like(h0)][:directions])
        states, last = reference(x, first)
        return states, last[0]

    def tiled(x, h0):
        assert can_tile(x, width)
        return TiledRecurrence.apply(x, h0, *(weight for layer in layers for weight in layer.parameters()))

    both = torch.nn.ModuleList(layers)
    wanted = run_layer(torch_layer, reference, x.double(), h0.double(), *(seed.double() for seed in seeds))
    found = run_layer(tiled, both, x, h0, *seeds)
    renamed = {f"{i}.{name}": f"{name}_l0{('', '_reverse')[i]}" for i in range(directions) for name in dict(
        layers[0].named_parameters())}  # fmt: skip
    for name in found:
        a, b = wanted[renamed.get(name, name)].flatten().double(), found[name].flatten().double()
        assert float((a - b).norm() / a.norm()) < 0.01, name


def test_a_layer_can_be_differentiated_once():
    states, _ = Recurrent(4, 6)(torch.randn(3, 2, 4), torch.zeros(2, 6))
    total = states.sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="already"):
        total.backward()


def test_gate_functions_and_rounding():
    x = np.linspace(-60, 60, 20001).astype(np.float32)
    exact = x.astype(np.float64)
    assert max(abs(gru_gates.tanh(v) - np.tanh(e)) for v, e in zip(x, exact, strict=True)) < 1e-6
    sigmoid = 1 / (1 + np.exp(-exact))
    assert max(abs(gru_gates.sigmoid(v) - e) for v, e in zip(x, sigmoid, strict=True)) < 1e-6
    rounded = torch.from_numpy(x).bfloat16()
    bits = np.array([gru_gates.narrow(v) for v in x], np.uint16)
    assert np.array_equal(bits, as_array(rounded))
    assert np.array_equal([gru_gates.widen(v, True) for v in bits], rounded.float().numpy())
