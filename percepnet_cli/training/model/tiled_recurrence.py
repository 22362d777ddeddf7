"""A recurrent layer in one or both directions on a CPU with AMX: the fast one of two with the same results.

Both directions share the product of the inputs, and their outputs lie side by side from the start. See ``recurrence``
for the one that runs anywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from percepnet_cli.compute.tiles import CONFIGURATION, DEPTH, SIDE, available, pack
from percepnet_cli.training.model.gru_passes import BLOCK, backward_pass, forward_pass
from percepnet_cli.training.model.products import as_array, transposed


def can_tile(x: torch.Tensor, width: int) -> bool:
    """Return whether :class:`TiledRecurrence` takes this input, [hops, batch, in], in a layer of this width."""
    shaped = x.shape[1] % SIDE == 0 and width % DEPTH == 0
    return shaped and x.device.type == "cpu" and x.dtype == torch.bfloat16 and available()


def _packed(weight: torch.Tensor) -> np.ndarray:
    """Return a matrix as tiles, flat, as ``gru_passes`` reads it."""
    return pack(as_array(weight.contiguous())).reshape(-1)


class TiledRecurrence(torch.autograd.Function):  # type: ignore[misc]
    """A recurrent layer (GRU, reset gate after the recurrent product), in bfloat16 with float32 sums and states.

    Inputs: x bfloat16 [hops, batch, in]; h0 float32 [batch, H], for the direction with time, the other one begins with
    zeros; the four parameters of each direction, one or two, as in ``torch.nn.GRU``.
    Outputs: all states bfloat16 [hops, batch, directions * H], and float32 [batch, H], the last one with time.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, h0: torch.Tensor, *parameters: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the hops in order."""
        directions = [parameters[i : i + 4] for i in range(0, len(parameters), 4)]
        hops, batch, inputs = x.shape
        batch, H = h0.shape
        count = len(directions)
        x = x.detach().contiguous()

        # What the inputs give to the gates of all directions
        w_ih = torch.cat([one[0].detach() for one in directions]).to(x.dtype)
        gates = torch.mm(x.view(hops * batch, inputs), w_ih.t()).view(hops, batch, count * 3 * H)

        # Room for what the way back needs; states before the first hop and, against time, behind the last one
        candidate = torch.empty(hops, batch, count * H, dtype=x.dtype)
        output = torch.empty(hops + 2, batch, count * H, dtype=x.dtype)
        output[0], output[-1] = 0, 0
        output[0, :, :H] = h0.detach()

        last = h0.detach().clone(memory_format=torch.contiguous_format)
        before, sums = np.zeros(64, np.uint8), np.empty(BLOCK * 3 * H, np.float32)
        w_hh = [one[1].detach().to(x.dtype) for one in directions]
        for number, (_, _, bias_ih, bias_hh) in enumerate(directions):
            # r and z see the sum of both biases; in n the reset gate stands between them
            bias = torch.cat((bias_ih[: 2 * H] + bias_hh[: 2 * H], bias_ih[2 * H :], bias_hh[2 * H :])).detach()
            state = last if number == 0 else torch.zeros_like(last)
            forward_pass(
                number == 1,
                number,
                _packed(w_hh[number]),
                as_array(bias),
                CONFIGURATION,
                before,
                sums,
                *(as_array(one) for one in (gates, candidate, state, output)),
            )

        ctx.saved = [x, w_ih, w_hh, gates, candidate, output]
        return output[1:-1], last

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Run the hops in reverse order; overwrites what forward kept, so it works once."""
        if ctx.saved is None:
            raise RuntimeError("this recurrent layer has been differentiated already")
        x, w_ih, w_hh, gates, candidate, output = ctx.saved
        ctx.saved = None
        hops, batch, width = candidate.shape
        count = len(w_hh)
        H = width // count

        # Gates and candidate become their gradients
        grad_output = grads[0].detach().to(x.dtype).contiguous()
        grad_first = grads[1].detach().clone(memory_format=torch.contiguous_format)
        grad_bias = torch.zeros(count, 4 * H)
        before = np.zeros(64, np.uint8)
        for number in range(count):
            grad_state = grad_first if number == 0 else torch.zeros_like(grad_first)
            backward_pass(
                number == 1,
                number,
                _packed(w_hh[number].t()),
                CONFIGURATION,
                before,
                *(as_array(one) for one in (grad_output, output, gates, candidate, grad_state, grad_bias[number])),
            )

        # One product for the input weights of both directions; the recurrent ones have r and z in common with it
        rows = hops * batch
        flat_gates, flat_candidate = gates.view(rows, count * 3 * H), candidate.view(rows, width)
        flat_x = x.view(rows, -1)
        turned, turned_candidate = transposed(flat_gates), transposed(flat_candidate)
        grad_w_ih = torch.mm(turned, flat_x).float()
        gradients: list[torch.Tensor] = []
        for number in range(count):
            units = slice(number * H, (number + 1) * H)
            past = (output[2:] if number == 1 else output[:-2]).view(rows, width)[:, units]

            # r and z: the gradients that the inputs have; n: those before the reset gate, kept in candidate
            part = turned[number * 3 * H : number * 3 * H + 2 * H]
            grad_w_hh = torch.cat((torch.mm(part, past), torch.mm(turned_candidate[units], past))).float()

            bias = grad_bias[number]
            gradients += [
                grad_w_ih[number * 3 * H : (number + 1) * 3 * H],
                grad_w_hh,
                bias[: 3 * H],
                torch.cat((bias[: 2 * H], bias[3 * H :])),
            ]

        grad_x = torch.mm(flat_gates, w_ih).view_as(x) if ctx.needs_input_grad[0] else None
        return (grad_x, grad_first, *gradients)
