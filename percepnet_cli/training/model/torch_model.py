"""The network in torch, for training.

The shape is that of [Valin 2020]: a dense layer, two causal convolutions, three recurrent
layers in a row, then one recurrent layer each for the gains and for the strength of
the comb filter. In a bidirectional network a second layer runs against time beside each
recurrent one. Everything inside runs time first: [hops, batch, width].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from percepnet_cli.constants import FEATURE_CLIP, NUM_FEATURES
from percepnet_cli.network.graph import BACKWARD, GRAPH, Sizes, outputs, units
from percepnet_cli.training.model.products import weight_gradient
from percepnet_cli.training.model.recurrence import Recurrent
from percepnet_cli.training.model.tiled_recurrence import TiledRecurrence, can_tile


class State(NamedTuple):
    """What the network remembers between two pieces of a stream, float32 each.

    The convolutions keep their last inputs, [kernel - 1, batch, width]; the recurrent
    layers their last output, [batch, width]. Layers that run against time begin each piece anew, from zeros.
    """

    conv1: torch.Tensor
    conv2: torch.Tensor
    gru1: torch.Tensor
    gru2: torch.Tensor
    gru3: torch.Tensor
    gain_gru: torch.Tensor
    strength_gru: torch.Tensor


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


class Dropout:
    """Switch off a share of the units of a layer, for each sequence its own and for all its hops the same ones.

    A network that cannot rely on any single unit overfits less to voices and noises (Srivastava et al. 2014;
    the same units over time: Gal and Ghahramani 2016). The kept ones are raised so that the mean stays.

    Parameters
    ----------
    share
        0..1, of the units.
    seed
        Decides which; the same seed switches off the same ones.
    batch, part
        If x is a part of a larger batch: its number of sequences, and which of them x has.
    """

    def __init__(self, share: float, seed: int, batch: int | None = None, part: slice = slice(None)) -> None:
        self.kept = 1.0 - share
        self.batch = batch
        self.part = part
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, [hops, batch, width], without those units."""
        shape = (1, self.batch or x.shape[1], x.shape[2])
        mask = torch.empty(shape).bernoulli_(self.kept, generator=self.generator)[:, self.part] / self.kept
        return x * mask.to(x.device, x.dtype)


def _all(x: torch.Tensor) -> torch.Tensor:
    return x


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
        float32 [70]: normalization of the raw features, part of the saved model.
    """

    feature_mean: torch.Tensor
    feature_std: torch.Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.precision = torch.bfloat16 if has_bfloat16() else torch.float32
        kernels = {"conv1": sizes.kernel1, "conv2": sizes.kernel2}
        for name, (kind, sources) in GRAPH.items():
            width, inputs = units(sizes, name), sum(outputs(sizes, source) for source in sources)
            if kind == "recurrent":
                setattr(self, name, Recurrent(inputs, width))
                if sizes.bidirectional:
                    setattr(self, name + BACKWARD, Recurrent(inputs, width))
            else:
                taps = (kernels[name],) if kind == "convolution" else ()
                setattr(self, name, Layer(width, inputs, *taps))
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
        self,
        features: torch.Tensor,
        state: State | None = None,
        drop: Callable[[torch.Tensor], torch.Tensor] = _all,
    ) -> tuple[torch.Tensor, torch.Tensor, State]:
        """Run a piece of a stream.

        Parameters
        ----------
        features
            Raw features, float [hops, batch, 70].
        state
            What the last call returned; None at the start of a stream.
        drop
            What happens to the outputs of the second convolution and of the recurrent layers; see `Dropout`.

        Returns
        -------
        gain, strength, state
            float32 [hops, batch, 34] in 0..1 twice, and the state behind the last hop.
        """
        if state is None:
            state = self.initial_state(features.shape[1])

        # Normalized features, limited as the runtime does
        dtype = self.precision if features.device.type == "cpu" else torch.float32
        x = (features.float() - self.feature_mean) / self.feature_std
        x = x.clamp(-FEATURE_CLIP, FEATURE_CLIP).to(dtype)

        # Dense layer and convolutions
        dense = torch.tanh(_linear(x, self.dense))
        conv1, memory1 = _convolve(dense, state.conv1, self.conv1)
        conv2, memory2 = _convolve(conv1, state.conv2, self.conv2)
        conv2 = drop(conv2)

        # Recurrent layers in a row
        gru1, last1 = self._recurrent("gru1", conv2, state.gru1)
        gru1 = drop(gru1)
        gru2, last2 = self._recurrent("gru2", gru1, state.gru2)
        gru2 = drop(gru2)
        gru3, last3 = self._recurrent("gru3", gru2, state.gru3)
        gru3 = drop(gru3)
        gain_gru, last_gain = self._recurrent("gain_gru", gru3, state.gain_gru)
        gain_gru = drop(gain_gru)

        # Gains read all layers from conv2 on; strengths have a recurrent layer of their own
        gain = _linear(torch.cat((conv2, gru1, gru2, gru3, gain_gru), dim=-1), self.gain)
        strength_in = torch.cat((conv2, gru3), dim=-1)
        strength_gru, last_strength = self._recurrent("strength_gru", strength_in, state.strength_gru)
        strength = _linear(drop(strength_gru), self.strength)

        after = State(memory1, memory2, last1, last2, last3, last_gain, last_strength)
        return torch.sigmoid(gain.float()), torch.sigmoid(strength.float()), after

    def _recurrent(self, name: str, x: torch.Tensor, h0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs of a recurrent layer, both directions side by side, and its state behind the last hop."""
        layers = [getattr(self, one) for one in (name, name + BACKWARD)[: self.sizes.directions]]

        # With AMX both directions are one function, which shares the product of the inputs
        if can_tile(x, h0.shape[1]):
            weights = [weight for layer in layers for weight in layer.parameters()]
            states, last = TiledRecurrence.apply(x, h0, *weights)
            return states, last

        # A layer against time begins each piece with zeros
        states, last = layers[0](x, h0)
        if self.sizes.bidirectional:
            backward, _ = layers[1](x, torch.zeros_like(h0), against_time=True)
            states = torch.cat((states, backward), dim=-1)
        return states, last


class Product(torch.autograd.Function):  # type: ignore[misc]
    """x weight^T + bias in the dtype of x, with a fast weight gradient: [rows, in] -> [rows, out]."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        weight = weight.to(x.dtype)
        ctx.save_for_backward(x, weight)
        return functional.linear(x, weight, bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of x, weight and bias, the last two in float32."""
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_x = torch.mm(grad, weight) if ctx.needs_input_grad[0] else None
        return grad_x, weight_gradient(grad, x), grad.sum(0, dtype=torch.float32)


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return x weight^T + bias for x [hops, batch, in]."""
    return Product.apply(x.flatten(0, 1), weight, bias).view(*x.shape[:2], len(bias))


def _linear(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Return the dense layer's output in the dtype of its input."""
    return _product(x, layer.weight, layer.bias)


def _convolve(x: torch.Tensor, memory: torch.Tensor, layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tanh of a causal convolution over the hops, and its memory behind the last hop.

    One product with the taps side by side: the last tap meets the present hop.
    """
    hops = x.shape[0]
    taps = layer.weight.shape[2]
    padded = torch.cat((memory.to(x.dtype), x))

    # Row t holds the inputs of hops t - taps + 1 .. t
    side_by_side = torch.cat([padded[k : k + hops] for k in range(taps)], dim=-1)
    out = torch.tanh(_product(side_by_side, layer.weight.permute(0, 2, 1).flatten(1), layer.bias))
    return out, padded[hops:].float()
