"""One training run in several processes: each takes its share of every batch, gradients are summed between them.

The processes find each other as those of ``torchrun`` do, by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the
environment; without these there is one process. They exchange gradients over gloo, or over NCCL on GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
from torch import nn

PATIENCE = timedelta(days=7)
"""How long a process waits for the others: the leader may wait for new shards. A dead one is noticed at once."""


class Group:
    """The processes of a run.

    Attributes
    ----------
    rank, size
        Number of this process, 0.., and how many there are.
    """

    def __init__(self, device: torch.device) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0")) if self.size > 1 else 0
        if self.size > 1 and not torch.distributed.is_initialized():
            backend = "nccl" if device.type == "cuda" else "gloo"
            torch.distributed.init_process_group(backend, timeout=PATIENCE)
        self.device = device

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Return which sequences of a batch this process takes."""
        if batch_size % self.size:
            raise ValueError(f"a batch of {batch_size} cannot be shared by {self.size} processes")
        each = batch_size // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def add_up(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all processes, in its place."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def from_leader(self, value: Any) -> Any:
        """Return what rank 0 passed here."""
        if self.size == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def columns_of_all(self, part: torch.Tensor, dim: int) -> torch.Tensor:
        """Return the shares of all processes side by side along `dim`."""
        if self.size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.size)]
        torch.distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts, dim)

    def close(self) -> None:
        """Leave the others."""
        if self.size > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def flatten(parameters: Iterable[nn.Parameter], gradients: bool = True, extra: int = 0) -> tuple[torch.Tensor, ...]:
    """Move parameters into one piece of memory, and their gradients into another.

    Parameters
    ----------
    parameters
        They become views of the piece.
    gradients
        Whether they get gradients, views too, which backward passes add to.
    extra
        Numbers behind the gradients, for what is to be summed with them.

    Returns
    -------
    values, gradients
        float32 [n] and float32 [n + extra], or the values alone.
    """
    listed = list(parameters)
    total = sum(one.numel() for one in listed)
    device = listed[0].device
    values = torch.empty(total, device=device)
    grads = torch.zeros(total + extra if gradients else 0, device=device)
    first = 0
    with torch.no_grad():
        for one in listed:
            part = slice(first, first + one.numel())
            values[part] = one.reshape(-1)
            one.data = values[part].view_as(one)
            if gradients:
                one.grad = grads[part].view_as(one)
            first += one.numel()
    return (values, grads) if gradients else (values,)
