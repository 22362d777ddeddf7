"""The recurrent layer in torch: fast on a CPU with bfloat16, torch's own on a GPU.

On a CPU it is :class:`Recurrence`: one product for the inputs of all hops, a loop over
the hops with one product for the whole batch and one pass of a compiled kernel over the
gates, and one product for each weight gradient at the end. Where the CPU multiplies
bfloat16 (AVX512-BF16, AMX) products and stored activations are bfloat16; states, gates
and all sums stay float32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from percepnet_cli.training.model.gru_gates import gates_backward, gates_forward
from percepnet_cli.training.model.products import as_array, product_with, transposed


class Recurrence(torch.autograd.Function):  # type: ignore[misc]
    """A recurrent layer (GRU, reset gate after the recurrent product) on a CPU.

    Inputs: x [hops, batch, in] in float32 or bfloat16, which decides the arithmetic;
    h0 float32 [batch, H]; the four parameters as in ``torch.nn.GRU``; whether it runs against time.
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
        against_time: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the hops in order."""
        dtype = x.dtype
        hops, batch, _ = x.shape
        H = weight_hh.shape[1]

        # Parameters are float32; products take the dtype of the input
        w_ih = weight_ih.detach().to(dtype)
        w_hh = weight_hh.detach().to(dtype)
        x = x.detach().contiguous()
        bias = torch.cat((bias_ih[: 2 * H] + bias_hh[: 2 * H], bias_ih[2 * H :], bias_hh[2 * H :]))

        # What the inputs give to the gates of all hops is one product; the gates then take its place
        gates = torch.mm(x.view(hops * batch, -1), w_ih.t()).view(hops, batch, 3 * H)
        candidate = torch.empty(hops, batch, H, dtype=dtype)
        output = torch.empty(hops + 1, batch, H, dtype=dtype)
        state = h0.detach().clone(memory_format=torch.contiguous_format)
        product = product_with(w_hh, batch)
        bias = bias.detach()
        fixed = [as_array(array) for array in (bias, gates, candidate, state, output)]

        # A layer that runs with time finds the state before hop t at output[t] and leaves its own at t + 1
        order, shift = (range(hops - 1, -1, -1), 1) if against_time else (range(hops), 0)
        output[hops if against_time else 0] = state
        rows = output.unbind(0)
        for t in order:
            gates_forward(t, t + 1 - shift, as_array(product(rows[t + shift])), *fixed)

        ctx.saved = [x, w_ih, w_hh, gates, candidate, output]
        ctx.against_time = against_time
        return output[1 - shift : hops + 1 - shift], state

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
        through = torch.zeros(batch, H, dtype=dtype)
        tensors = (grad_output, candidate, output, gates, grad_product, grad_state, grad_bias)
        fixed = [*(as_array(tensor) for tensor in tensors), np.empty((2, H), np.float32)]
        product = product_with(w_hh.t(), batch)
        rows = grad_product.unbind(0)

        # What comes through the recurrent weights of a hop belongs to the hop that was computed before it
        order, shift = (range(hops), 1) if ctx.against_time else (range(hops - 1, -1, -1), 0)
        for t in order:
            gates_backward(t, t + shift, as_array(through), *fixed)
            through = product(rows[t])
        grad_state += through

        # The weights' gradients: one product over all hops and sequences
        flat_gates = gates.view(hops * batch, 3 * H)
        flat_product = grad_product.view(hops * batch, 3 * H)
        flat_x = x.view(hops * batch, -1)
        before = output[shift : hops + shift].view(hops * batch, H)

        # Gradients of input and recurrent product differ in the part of n only, so only that is transposed again
        turned = transposed(flat_gates)
        grad_w_ih = torch.mm(turned, flat_x).float()
        grad_w_hh = torch.mm(transposed(flat_product, 2 * H, turned), before).float()
        grad_x = torch.mm(flat_gates, w_ih).view_as(x) if ctx.needs_input_grad[0] else None

        return (
            grad_x,
            grad_state,
            grad_w_ih,
            grad_w_hh,
            grad_bias[: 3 * H].clone(),
            torch.cat((grad_bias[: 2 * H], grad_bias[3 * H :])),
            None,
        )


class Recurrent(nn.Module):  # type: ignore[misc]
    """Parameters of a recurrent layer, named and ordered (r, z, n) as in ``torch.nn.GRU``."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(3 * width, inputs))
        self.weight_hh = nn.Parameter(torch.empty(3 * width, width))
        self.bias_ih = nn.Parameter(torch.zeros(3 * width))
        self.bias_hh = nn.Parameter(torch.zeros(3 * width))

        # Outputs vary as much as inputs; orthogonal recurrent weights neither blow states up nor let them fade
        bound = math.sqrt(3.0 / inputs)
        nn.init.uniform_(self.weight_ih, -bound, bound)
        for gate in self.weight_hh.detach().split(width):
            nn.init.orthogonal_(gate)

    def forward(
        self, x: torch.Tensor, h0: torch.Tensor, against_time: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all states [hops, batch, width] and the last one computed [batch, width]."""
        if x.device.type != "cpu":
            return self.plain(x, h0, against_time)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        states, last = Recurrence.apply(x, h0, *weights, against_time)
        return states, last

    def plain(self, x: torch.Tensor, h0: torch.Tensor, against_time: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same with torch's own layer, which is cuDNN's on a GPU."""
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        x = x.flip(0) if against_time else x
        states, last = torch.gru(x, h0.unsqueeze(0), weights, True, 1, 0.0, self.training, False, False)
        return states.flip(0) if against_time else states, last.squeeze(0)
