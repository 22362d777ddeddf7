"""The 8-bit product at the heart of every layer: int8 rows times int8 vectors, summed in int32.

The plain loops below are what LLVM turns into multiply-add instructions of the CPU
(``vpmaddwd`` on AVX2 and AVX-512). The sums are exact, so any other way to compute them
gives the same bits.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.jit import kernel


@kernel
def rows_times_vector(weights: np.ndarray, vector: np.ndarray, out: np.ndarray) -> None:
    """Multiply a matrix by one vector.

    weights: int8 [rows, columns], C-contiguous; vector: int8 [columns]. out: int32 [rows], written.
    At most 2^31 / 127^2 = 133,000 columns fit the sums.
    """
    rows, columns = weights.shape
    for row in range(rows):
        total = np.int32(0)
        for column in range(columns):
            total += np.int32(weights[row, column]) * np.int32(vector[column])
        out[row] = total


@kernel
def rows_times_vectors(weights: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> None:
    """Multiply a matrix by the vectors of several hops; each weight is read from memory once.

    weights: int8 [rows, columns]; vectors: int8 [hops, columns]. out: int32 [hops, rows], written.
    """
    rows, columns = weights.shape
    for row in range(rows):
        for hop in range(vectors.shape[0]):
            total = np.int32(0)
            for column in range(columns):
                total += np.int32(weights[row, column]) * np.int32(vectors[hop, column])
            out[hop, row] = total
