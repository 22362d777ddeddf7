"""The network in torch, for training: fast on a CPU with bfloat16, plain on a GPU.

The shape is the paper's: a dense layer, two causal convolutions, three recurrent
layers in a row, then one recurrent layer each for the gains and for the strength of
the comb filter. Everything inside runs time first: [hops, batch, width].

On a CPU the recurrent layers are :class:`_Recurrence`: one product for the inputs of
all hops, a loop over the hops with one product for the whole batch and one pass of a
compiled kernel over the gates, and one product for each weight gradient at the end.
Where the CPU multiplies bfloat16 (AVX512-BF16, AMX) products and stored activations
are bfloat16; states, gates and all sums stay float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from percepnet_cli.constants import NUM_BANDS, NUM_FEATURES
from percepnet_cli.jit import kernel

FEATURE_CLIP = 6.0
"""Normalised features are limited to this many standard deviations; our choice."""


class Sizes(NamedTuple):
    """Widths of the layers and lengths of the two convolutions (in hops)."""

    dense: int
    conv1: int
    conv2: int
    gru: int
    gain_gru: int
    strength_gru: int
    kernel1: int = 5
    kernel2: int = 3


PRESETS = {
    "lite": Sizes(128, 192, 192, 192, 192, 96),
    "percepnet": Sizes(128, 512, 512, 512, 512, 128),
}
"""Named sizes; ``percepnet`` is the paper's network of 8 M weights."""


class State(NamedTuple):
    """What the network remembers between two pieces of a stream, float32 each.

    The convolutions keep their last inputs, [kernel - 1, batch, width]; the recurrent
    layers their last output, [batch, width].
    """

    conv1: torch.Tensor
    conv2: torch.Tensor
    gru1: torch.Tensor
    gru2: torch.Tensor
    gru3: torch.Tensor
    gain_gru: torch.Tensor
    strength_gru: torch.Tensor


# --- the gates, compiled -------------------------------------------------------------------
# bfloat16 arrives as uint16, its bits; `two` (two bytes per number) is known when a kernel
# is compiled, so only one branch is left. Loops are short and touch few arrays: LLVM
# turns a loop into vector instructions only if it can check cheaply that none overlap.

_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_HALF = np.float32(0.5)
_LOG2E = np.float32(1.0 / math.log(2.0))
_LIMIT = np.float32(40.0)
_E1, _E2, _E3, _E4, _E5, _E6 = (
    np.float32(math.log(2.0) ** k / math.factorial(k)) for k in range(1, 7)
)  # series of 2^f at 0; on -0.5..0.5 its error is 1.2e-7
_EXPONENT_BIAS = np.int32(127)
_MANTISSA_BITS = np.int32(23)
_SIXTEEN = np.uint32(16)
_LOWEST_BIT = np.uint32(1)
_JUST_BELOW_HALF = np.uint32(0x7FFF)


@kernel
def _widen(v: Any, two: bool) -> Any:
    """Return float32 from the bits of a bfloat16, or from a float32."""
    if two:
        return np.uint32(np.uint32(v) << _SIXTEEN).view(np.float32)
    return np.float32(v)


@kernel
def _narrow(x: Any) -> Any:
    """Return the bits of the nearest bfloat16, ties to even."""
    u = np.float32(x).view(np.uint32)
    u = np.uint32(u + _JUST_BELOW_HALF + ((u >> _SIXTEEN) & _LOWEST_BIT))
    return np.uint16(u >> _SIXTEEN)


@kernel
def _exp2(y: Any) -> Any:
    """Return 2^y, y limited to +-40; relative error 2e-7."""
    y = min(max(y, -_LIMIT), _LIMIT)
    k = np.int32(y + (_HALF if y > 0 else -_HALF))
    f = y - np.float32(k)
    p = _ONE + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
    return p * np.int32((k + _EXPONENT_BIAS) << _MANTISSA_BITS).view(np.float32)


@kernel
def _sigmoid(x: Any) -> Any:
    """Return the logistic function."""
    return _ONE / (_ONE + _exp2(-_LOG2E * x))


@kernel
def _tanh(x: Any) -> Any:
    """Return the hyperbolic tangent; absolute error 2e-7."""
    return _ONE - _TWO / (_ONE + _exp2(_TWO * _LOG2E * x))


@kernel
def _gates_forward(
    t: int,
    product: np.ndarray,
    bias: np.ndarray,
    gates: np.ndarray,
    candidate: np.ndarray,
    state: np.ndarray,
    output: np.ndarray,
) -> None:
    """One hop of a recurrent layer for the whole batch.

    Parameters
    ----------
    t
        Number of the hop.
    product
        Last output times recurrent weights, [batch, 3 H], order r, z, n.
    bias
        float32 [4 H]: sums for r and z, input bias of n, recurrent bias of n.
    gates
        [hops, batch, 3 H]: holds the inputs times input weights, gets r, z and n.
    candidate
        [hops, batch, H]: gets the recurrent part of n, before it is multiplied by r.
    state
        float32 [batch, H]: the output of the last hop, gets that of this hop.
    output
        [hops + 1, batch, H]: gets the state at `t` + 1.
    """
    two = gates.itemsize == 2
    H = state.shape[1]
    bias_rz = bias[: 2 * H]
    bias_n = bias[2 * H : 3 * H]
    bias_m = bias[3 * H :]
    for b in range(state.shape[0]):
        g = gates[t, b, : 2 * H]
        p = product[b, : 2 * H]
        for j in range(2 * H):
            v = _sigmoid(_widen(g[j], two) + _widen(p[j], two) + bias_rz[j])
            if two:
                g[j] = _narrow(v)
            else:
                g[j] = v
        m = candidate[t, b]
        p = product[b, 2 * H :]
        for j in range(H):
            v = _widen(p[j], two) + bias_m[j]
            if two:
                m[j] = _narrow(v)
            else:
                m[j] = v
        r = gates[t, b, :H]
        n = gates[t, b, 2 * H :]
        for j in range(H):
            v = _tanh(_widen(n[j], two) + bias_n[j] + _widen(r[j], two) * _widen(m[j], two))
            if two:
                n[j] = _narrow(v)
            else:
                n[j] = v
        z = gates[t, b, H : 2 * H]
        h = state[b]
        o = output[t + 1, b]
        for j in range(H):
            v = _widen(n[j], two)
            v = v + _widen(z[j], two) * (h[j] - v)
            h[j] = v
            if two:
                o[j] = _narrow(v)
            else:
                o[j] = v


@kernel
def _gates_backward(
    t: int,
    product: np.ndarray,
    grad_output: np.ndarray,
    candidate: np.ndarray,
    output: np.ndarray,
    gates: np.ndarray,
    grad_product: np.ndarray,
    grad_state: np.ndarray,
    grad_bias: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """One hop backwards; shapes as in :func:`_gates_forward`.

    `gates` holds r, z, n and gets the gradient of the input product; `grad_product`
    gets that of the recurrent product (it differs in n only, by the factor r).
    `product` is the part of the state's gradient that came through the recurrent
    weights of the next hop, `grad_state` the part that came through z; float32
    `grad_bias` [4 H] is added to. `scratch` is float32 [2, H].
    """
    two = gates.itemsize == 2
    H = grad_state.shape[1]
    bias_r = grad_bias[:H]
    bias_z = grad_bias[H : 2 * H]
    bias_n = grad_bias[2 * H : 3 * H]
    bias_m = grad_bias[3 * H :]
    a = scratch[0]
    c = scratch[1]
    for b in range(grad_state.shape[0]):
        d = grad_state[b]
        p = product[b]
        o = grad_output[t, b]
        for j in range(H):
            d[j] = d[j] + _widen(p[j], two) + _widen(o[j], two)
        r = gates[t, b, :H]
        z = gates[t, b, H : 2 * H]
        n = gates[t, b, 2 * H :]
        m = candidate[t, b]
        before = output[t, b]
        for j in range(H):
            v = _widen(n[j], two)
            a[j] = d[j] * (_ONE - _widen(z[j], two)) * (_ONE - v * v)
        for j in range(H):
            v = _widen(z[j], two)
            c[j] = d[j] * (_widen(before[j], two) - _widen(n[j], two)) * v * (_ONE - v)
        for j in range(H):
            d[j] = d[j] * _widen(z[j], two)
        g = grad_product[t, b, H : 2 * H]
        for j in range(H):
            v = c[j]
            bias_z[j] += v
            if two:
                z[j] = _narrow(v)
                g[j] = _narrow(v)
            else:
                z[j] = v
                g[j] = v
        for j in range(H):
            v = _widen(r[j], two)
            c[j] = a[j] * _widen(m[j], two) * v * (_ONE - v)
        g = grad_product[t, b, 2 * H :]
        for j in range(H):
            v = a[j] * _widen(r[j], two)
            bias_m[j] += v
            if two:
                g[j] = _narrow(v)
            else:
                g[j] = v
        for j in range(H):
            v = a[j]
            bias_n[j] += v
            if two:
                n[j] = _narrow(v)
            else:
                n[j] = v
        g = grad_product[t, b, :H]
        for j in range(H):
            v = c[j]
            bias_r[j] += v
            if two:
                r[j] = _narrow(v)
                g[j] = _narrow(v)
            else:
                r[j] = v
                g[j] = v


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's memory as an array; bfloat16 as uint16."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
        return np.asarray(tensor.numpy()).view(np.uint16)
    return np.asarray(tensor.numpy())


class _Recurrence(torch.autograd.Function):  # type: ignore[misc]
    """A recurrent layer (GRU, reset gate after the recurrent product) on a CPU.

    Inputs: x [hops, batch, in] in float32 or bfloat16, which decides the arithmetic;
    h0 float32 [batch, H]; the four parameters as in ``torch.nn.GRU``.
    Outputs: all states [hops, batch, H] in the dtype of x, the last one float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        h0: torch.Tensor,
        weight_ih: torch.Tensor,
        weight_hh: torch.Tensor,
        bias_ih: torch.Tensor,
        bias_hh: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the hops in order."""
        dtype = x.dtype
        hops, batch, _ = x.shape
        H = weight_hh.shape[1]
        w_ih = weight_ih.detach().to(dtype)
        w_hh = weight_hh.detach().to(dtype)
        x = x.detach().contiguous()
        bias = torch.cat((bias_ih[: 2 * H] + bias_hh[: 2 * H], bias_ih[2 * H :], bias_hh[2 * H :]))
        gates = torch.mm(x.view(hops * batch, -1), w_ih.t()).view(hops, batch, 3 * H)
        candidate = torch.empty(hops, batch, H, dtype=dtype)
        output = torch.empty(hops + 1, batch, H, dtype=dtype)
        state = h0.detach().clone(memory_format=torch.contiguous_format)
        output[0] = state
        product = torch.empty(batch, 3 * H, dtype=dtype)
        arrays = [_numpy(array) for array in (product, bias.detach(), gates, candidate, state, output)]
        w_hh_t = w_hh.t()
        for t, before in enumerate(output[:-1].unbind(0)):
            torch.mm(before, w_hh_t, out=product)
            _gates_forward(t, *arrays)
        ctx.saved = [x, w_ih, w_hh, gates, candidate, output]
        return output[1:], state

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Run the hops in reverse order; overwrites what forward kept, so it works once."""
        if ctx.saved is None:
            raise RuntimeError("this recurrent layer has been differentiated already")
        x, w_ih, w_hh, gates, candidate, output = ctx.saved
        ctx.saved = None
        dtype = x.dtype
        hops, batch, H = candidate.shape
        grad_output = grads[0].detach().to(dtype).contiguous()
        grad_state = grads[1].detach().clone(memory_format=torch.contiguous_format)
        grad_product = torch.empty_like(gates)
        grad_bias = torch.zeros(4 * H)
        product = torch.zeros(batch, H, dtype=dtype)
        tensors = (product, grad_output, candidate, output, gates, grad_product, grad_state, grad_bias)
        arrays = [*(_numpy(tensor) for tensor in tensors), np.empty((2, H), np.float32)]
        rows = grad_product.unbind(0)
        for t in range(hops - 1, -1, -1):
            _gates_backward(t, *arrays)
            torch.mm(rows[t], w_hh, out=product)
        grad_state += product
        flat_gates = gates.view(hops * batch, 3 * H)
        grad_w_ih = torch.mm(flat_gates.t(), x.view(hops * batch, -1)).float()
        flat_product = grad_product.view(hops * batch, 3 * H)
        grad_w_hh = torch.mm(flat_product.t(), output[:-1].view(hops * batch, H)).float()
        grad_x = torch.mm(flat_gates, w_ih).view_as(x) if ctx.needs_input_grad[0] else None
        return (
            grad_x,
            grad_state,
            grad_w_ih,
            grad_w_hh,
            grad_bias[: 3 * H].clone(),
            torch.cat((grad_bias[: 2 * H], grad_bias[3 * H :])),
        )


# --- layers --------------------------------------------------------------------------------


def has_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware."""
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        supported = getattr(torch.cpu, name, None)
        if supported is not None and supported():
            return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


class Layer(nn.Module):  # type: ignore[misc]
    """Weight and bias of a dense layer [out, in] or a convolution [out, in, kernel]."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0]))
        bound = math.sqrt(3.0 / math.prod(shape[1:]))  # output variance = input variance
        nn.init.uniform_(self.weight, -bound, bound)


class Recurrent(nn.Module):  # type: ignore[misc]
    """Parameters of a recurrent layer, named and ordered (r, z, n) as in ``torch.nn.GRU``."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(3 * width, inputs))
        self.weight_hh = nn.Parameter(torch.empty(3 * width, width))
        self.bias_ih = nn.Parameter(torch.zeros(3 * width))
        self.bias_hh = nn.Parameter(torch.zeros(3 * width))
        bound = math.sqrt(3.0 / inputs)
        nn.init.uniform_(self.weight_ih, -bound, bound)
        for gate in self.weight_hh.detach().split(width):
            nn.init.orthogonal_(gate)

    def forward(self, x: torch.Tensor, h0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all states [hops, batch, width] and the last one [batch, width]."""
        if x.device.type != "cpu":
            return self.plain(x, h0)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        states, last = _Recurrence.apply(x, h0, *weights)
        return states, last

    def plain(self, x: torch.Tensor, h0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same with torch's own layer, which is cuDNN's on a GPU."""
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        states, last = torch.gru(x, h0.unsqueeze(0), weights, True, 1, 0.0, self.training, False, False)
        return states, last.squeeze(0)


class PercepNet(nn.Module):  # type: ignore[misc]
    """The network: features in, gains and comb-filter strengths of 34 bands out.

    Parameters
    ----------
    sizes
        Widths of the layers.

    Attributes
    ----------
    precision
        dtype of products and activations on a CPU; bfloat16 if it is fast there.
        A GPU always computes in float32.
    feature_mean, feature_std
        float32 [70]: normalisation of the raw features, part of the saved model.
    """

    feature_mean: torch.Tensor
    feature_std: torch.Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.precision = torch.bfloat16 if has_bfloat16() else torch.float32
        s = sizes
        self.dense = Layer(s.dense, NUM_FEATURES)
        self.conv1 = Layer(s.conv1, s.dense, s.kernel1)
        self.conv2 = Layer(s.conv2, s.conv1, s.kernel2)
        self.gru1 = Recurrent(s.conv2, s.gru)
        self.gru2 = Recurrent(s.gru, s.gru)
        self.gru3 = Recurrent(s.gru, s.gru)
        self.gain_gru = Recurrent(s.gru, s.gain_gru)
        self.gain = Layer(NUM_BANDS, s.conv2 + 3 * s.gru + s.gain_gru)
        self.strength_gru = Recurrent(s.conv2 + s.gru, s.strength_gru)
        self.strength = Layer(NUM_BANDS, s.strength_gru)
        self.register_buffer("feature_mean", torch.zeros(NUM_FEATURES))
        self.register_buffer("feature_std", torch.ones(NUM_FEATURES))

    def weight_count(self) -> int:
        """Return the number of weights without biases."""
        return sum(p.numel() for p in self.parameters() if p.dim() > 1)

    def initial_state(self, batch: int) -> State:
        """Return the state at the start of a stream: zeros."""
        s = self.sizes
        device = self.feature_mean.device

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, device=device)

        return State(
            zeros(s.kernel1 - 1, batch, s.dense),
            zeros(s.kernel2 - 1, batch, s.conv1),
            zeros(batch, s.gru),
            zeros(batch, s.gru),
            zeros(batch, s.gru),
            zeros(batch, s.gain_gru),
            zeros(batch, s.strength_gru),
        )

    def forward(
        self, features: torch.Tensor, state: State | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, State]:
        """Run a piece of a stream.

        Parameters
        ----------
        features
            Raw features, float [hops, batch, 70].
        state
            What the last call returned; None at the start of a stream.

        Returns
        -------
        gain, strength, state
            float32 [hops, batch, 34] in 0..1 twice, and the state behind the last hop.
        """
        if state is None:
            state = self.initial_state(features.shape[1])
        dtype = self.precision if features.device.type == "cpu" else torch.float32
        x = (features.float() - self.feature_mean) / self.feature_std
        x = x.clamp(-FEATURE_CLIP, FEATURE_CLIP).to(dtype)
        dense = torch.tanh(_linear(x, self.dense))
        conv1, memory1 = _convolve(dense, state.conv1, self.conv1)
        conv2, memory2 = _convolve(conv1, state.conv2, self.conv2)
        gru1, last1 = self.gru1(conv2, state.gru1)
        gru2, last2 = self.gru2(gru1, state.gru2)
        gru3, last3 = self.gru3(gru2, state.gru3)
        gain_gru, last_gain = self.gain_gru(gru3, state.gain_gru)
        gain = _linear(torch.cat((conv2, gru1, gru2, gru3, gain_gru), dim=-1), self.gain)
        strength_in = torch.cat((conv2, gru3), dim=-1)
        strength_gru, last_strength = self.strength_gru(strength_in, state.strength_gru)
        strength = _linear(strength_gru, self.strength)
        after = State(memory1, memory2, last1, last2, last3, last_gain, last_strength)
        return torch.sigmoid(gain.float()), torch.sigmoid(strength.float()), after


def _linear(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Return the dense layer's output in the dtype of its input."""
    return functional.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


def _convolve(x: torch.Tensor, memory: torch.Tensor, layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tanh of a causal convolution over the hops, and its memory behind the last hop.

    One product with the taps side by side: the last tap meets the present hop.
    """
    hops = x.shape[0]
    taps = layer.weight.shape[2]
    padded = torch.cat((memory.to(x.dtype), x))
    side_by_side = torch.cat([padded[k : k + hops] for k in range(taps)], dim=-1)
    weight = layer.weight.permute(0, 2, 1).flatten(1).to(x.dtype)
    out = torch.tanh(functional.linear(side_by_side, weight, layer.bias.to(x.dtype)))
    return out, padded[hops:].float()


# --- losses --------------------------------------------------------------------------------

EPS = 1e-4
"""Added before a power below 1, whose slope at 0 is infinite."""

GAMMA = 0.5
"""Power that brings gains near to loudness (paper)."""

C4 = 10.0
"""Weight of the fourth power of the gain error (paper)."""

RELATIVE_POWER = 0.6
"""2c with c = 0.3 (Valin et al. 2021)."""

RELATIVE_EPS = 1e-3
"""Added to the larger gain in the relative loss; our choice."""


def losses(
    gain_hat: torch.Tensor,
    strength_hat: torch.Tensor,
    targets: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    kind: str = "gamma",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses of gain and strength, each a mean over the bands that can be judged.

    Parameters
    ----------
    gain_hat, strength_hat
        Output of the network, [hops, batch, 34].
    targets
        gain, strength, gain_weight, strength_weight, float32 of the same shape.
    kind
        ``gamma``: the paper's, sum w (d^2 + 10 d^4) with d = g^0.5 - g_hat^0.5;
        ``relative``: D + 10 D^2 with D = (g^0.6 - g_hat^0.6)^2 / max(g^0.6, g_hat^0.6)
        (Valin et al. 2021), which punishes lost speech and leaks in silence.
    """
    gain, strength, gain_weight, strength_weight = targets
    if kind == "gamma":
        error = torch.sqrt(gain + EPS) - torch.sqrt(gain_hat + EPS)
        square = error * error
    elif kind == "relative":
        wanted = (gain + EPS) ** RELATIVE_POWER
        found = (gain_hat + EPS) ** RELATIVE_POWER
        square = (wanted - found) ** 2 / (torch.maximum(wanted, found) + RELATIVE_EPS)
    else:
        raise ValueError(f"unknown loss {kind}")
    gain_loss = (gain_weight * (square + C4 * square * square)).sum() / gain_weight.sum().clamp(min=1.0)
    error = torch.sqrt(1.0 - strength + EPS) - torch.sqrt(1.0 - strength_hat + EPS)
    total = strength_weight.sum().clamp(min=1.0)
    return gain_loss, (strength_weight * error * error).sum() / total


def tensors_of(model: PercepNet) -> Mapping[str, np.ndarray]:
    """Return the model's tensors by name as float32 arrays, as they go into a file."""
    return {
        name: np.ascontiguousarray(value.detach().cpu().float().numpy())
        for name, value in model.state_dict().items()
    }
