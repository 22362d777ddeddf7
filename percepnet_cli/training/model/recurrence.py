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


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's memory as an array; bfloat16 as uint16."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
        return np.asarray(tensor.numpy()).view(np.uint16)
    return np.asarray(tensor.numpy())


class Recurrence(torch.autograd.Function):  # type: ignore[misc]
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
        arrays = [as_array(array) for array in (product, bias.detach(), gates, candidate, state, output)]
        w_hh_t = w_hh.t()
        for t, before in enumerate(output[:-1].unbind(0)):
            torch.mm(before, w_hh_t, out=product)
            gates_forward(t, *arrays)
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
        arrays = [*(as_array(tensor) for tensor in tensors), np.empty((2, H), np.float32)]
        rows = grad_product.unbind(0)
        for t in range(hops - 1, -1, -1):
            gates_backward(t, *arrays)
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
        states, last = Recurrence.apply(x, h0, *weights)
        return states, last

    def plain(self, x: torch.Tensor, h0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same with torch's own layer, which is cuDNN's on a GPU."""
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        states, last = torch.gru(x, h0.unsqueeze(0), weights, True, 1, 0.0, self.training, False, False)
        return states, last.squeeze(0)
