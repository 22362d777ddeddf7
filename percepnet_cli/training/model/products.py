"""Products of matrices on a CPU where torch is slow: many with the same weights, and those of weight gradients.

A weight gradient is the product G^T X of two tall matrices, with a row for each hop and sequence. torch's product
transposes G number by number, which takes three times as long as the product itself. With a transposed G it is as fast
as any.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import numpy as np
import torch

from percepnet_cli.compute.transpose import COLUMNS, ROWS, transpose_blocks


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's memory as an array; bfloat16 as uint16."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
        return np.asarray(tensor.numpy()).view(np.uint16)
    return np.asarray(tensor.numpy())


@functools.cache
def can_pack() -> bool:
    """Return whether this torch and CPU multiply by bfloat16 weights that were packed before."""
    amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    if amx is None or not amx():
        return False

    # Private functions of torch, so try them once and compare
    try:
        x = torch.arange(-32.0, 32.0).view(2, 32).bfloat16()
        weight = torch.eye(32, dtype=torch.bfloat16)
        return torch.equal(_packed_product(weight, 2)(x), x)
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False


def _packed_product(weight: torch.Tensor, rows: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function x -> x weight^T on weights laid out for oneDNN."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


def product_with(weight: torch.Tensor, rows: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function x -> x weight^T, [rows, in] -> [rows, out], for many calls with the same weights.

    torch lays the weights out anew for the CPU at every product; on a CPU with AMX that takes as long as the product
    of a hop itself, so it is done once here.
    """
    if weight.dtype == torch.bfloat16 and can_pack():
        return _packed_product(weight, rows)
    transposed = weight.t()
    return lambda x: torch.mm(x, transposed)


def transposed(x: torch.Tensor, first: int = 0, out: torch.Tensor | None = None) -> torch.Tensor:
    """Return a matrix transposed, [rows, columns] -> [columns, rows]; a view where that is as good.

    first, out: what an earlier call returned for a matrix that differs from this one in the columns from `first` on:
    only these are transposed anew, into it.
    """
    rows, columns = x.shape
    fast = x.device.type == "cpu" and x.dtype == torch.bfloat16 and sys.byteorder == "little"
    if not fast or not x.is_contiguous() or rows % ROWS or columns % COLUMNS or first % COLUMNS:
        return x.t()

    # Columns before ``first`` are in ``out`` already
    if out is None or first >= columns:
        out, first = torch.empty(columns, rows, dtype=x.dtype), 0
    transpose_blocks(as_array(x), first, as_array(out[first:]))
    return out


def weight_gradient(g: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return G^T X as float32 [n, m]. g, x: [rows, n] and [rows, m], of one dtype."""
    return torch.mm(transposed(g), x).float()
