"""How a stage keeps the end of one call's data for the next call."""

from __future__ import annotations

import numpy as np


class DelayLine:
    """A delay line of rows: each call writes new ones behind the old ones that it still sees.

    The rows lie in a buffer with room for ``most`` new ones; the old ones move to its front only when it is full, so
    a stream of single hops moves nothing most of the time, and nothing is allocated.
    """

    def __init__(
        self, old: int, most: int, shape: tuple[int, ...] = (), dtype: type = np.float32, fill: float = 0
    ) -> None:
        self._old = self._end = old
        self._rows: np.ndarray = np.full((old + most, *shape), fill, dtype)

    def extend(self, new: int) -> np.ndarray:
        """Return the old rows followed by ``new`` ones to write, a view that is valid until the next call."""
        if self._end + new > len(self._rows):
            self._rows[: self._old] = self._rows[self._end - self._old : self._end]
            self._end = self._old
        view = self._rows[self._end - self._old : self._end + new]
        self._end += new
        return view
