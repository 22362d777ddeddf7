"""How a stage keeps the end of one call's data for the next call."""

from __future__ import annotations

import numpy as np


def keep_last(array: np.ndarray, count: int, new: int) -> None:
    """Move the ``count`` rows that come before row ``new + count`` to the front.

    array: any dtype, [count + at least ``new``, ...]: ``count`` old rows followed by ``new`` new ones, updated.
    """
    tail = array[new : new + count]
    array[:count] = tail.copy() if new < count else tail
