"""The 8-bit product at the heart of every layer: int8 rows times int8 vectors, summed in int32.

The sums are exact, so every way to compute them gives the same bits, and the CPU decides which one is
used (``cpu``): the plain loop below, which LLVM turns into multiply-add instructions (``vpmaddwd`` on
AVX2 and AVX-512), the tiles of ``dot_tiles``, or, outside Python, the C function of ``dot_extern``.
``tests/test_dot.py`` compares the first two with NumPy in 64 bits.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.cpu import isa
from percepnet_cli.compute.jit import kernel
from percepnet_cli.network import dot_tiles


def plain_pack(weights: np.ndarray) -> np.ndarray:
    """Return a matrix as the plain loop wants it: int8 [rows, columns], C-contiguous."""
    return np.ascontiguousarray(weights)


@kernel
def plain_matmul_int8(weights: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> None:
    """Multiply a matrix by the vectors of several hops; each weight is read from memory once.

    weights: int8 [rows, columns]; vectors: int8 [hops, columns]. out: int32 [hops, rows or more], written.
    At most 2^31 / 127^2 = 133,000 columns fit the sums.
    """
    rows, columns = weights.shape

    # Rows outside, hops inside: a row of weights stays in the cache while all hops use it
    for row in range(rows):
        for hop in range(vectors.shape[0]):
            # int32 before the product, or it would wrap in 8 bits
            total = np.int32(0)
            for column in range(columns):
                total += np.int32(weights[row, column]) * np.int32(vectors[hop, column])
            out[hop, row] = total


# Chosen once, when the module is imported: compiled layers hold the machine code of their product
if isa() == "portable":
    pack, matmul_int8 = plain_pack, plain_matmul_int8
    PANEL = 1
elif isa() == "extern":
    from percepnet_cli.network import dot_extern

    pack, matmul_int8 = dot_extern.pack, dot_extern.extern_matmul_int8
    PANEL = dot_extern.PANEL
else:
    pack, matmul_int8 = dot_tiles.pack, dot_tiles.matmul_int8
    PANEL = dot_tiles.PANEL
"""``pack(weights)``: a matrix, int8 [rows, columns], in the layout of this CPU's kernel.
``matmul_int8(packed, vectors, out)``: its products with int8 [hops, columns], into int32 [hops, padded(rows)].
"""


def padded(rows: int) -> int:
    """Return how many sums per hop the kernel writes for a matrix of so many rows."""
    return -(-rows // PANEL) * PANEL
