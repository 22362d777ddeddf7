"""How a stage keeps the end of one call's data for the next call."""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import kernel, part
from percepnet_cli.compute.struct import Struct


class DelayLine(Struct):
    """A delay line of rows: each call writes new ones behind the old ones that it still sees.

    The rows lie in a buffer with room for ``most`` new ones; the old ones move to its front only when it is full, so
    a stream of single hops moves nothing most of the time, and nothing is allocated.
    """

    rows: np.ndarray
    """[old + most, ...]."""
    memory: np.ndarray
    """uint8: all bytes of the rows, whatever lies in them."""
    row_bytes: int
    """Of a row."""
    end: np.ndarray
    """int64 [1]: where the newest row ends."""
    old: int
    """Rows that are kept."""

    def __init__(
        self, old: int, most: int, shape: tuple[int, ...] = (), dtype: type = np.float32, fill: float = 0
    ) -> None:
        rows: np.ndarray = np.full((old + most, *shape), fill, dtype)
        memory = rows.view(np.uint8).reshape(-1)
        row_bytes = memory.size // len(rows)
        super().__init__(rows=rows, memory=memory, row_bytes=row_bytes, end=np.full(1, old, np.int64), old=old)

    def extend(self, new: int) -> np.ndarray:
        """Return the old rows followed by ``new`` ones to write, a view that is valid until the next call."""
        make_room(self, new)
        end = int(self.end[0])
        return self.rows[end - new - self.old : end]

    def last(self, count: int) -> np.ndarray:
        """Return ``count`` rows, those that lie ``old`` rows behind the newest."""
        end = int(self.end[0]) - self.old
        return self.rows[end - count : end]


@kernel
def make_room(line: DelayLine, new: int) -> None:
    """Count new rows in; if the buffer has no room for them, move the old ones to its front first."""
    old, end, memory = line.old, line.end[0], line.memory
    if end + new > line.rows.shape[0]:
        # In pieces no longer than their way: they do not overlap, so LLVM's vector instructions can move them
        way, size, start = (end - old) * line.row_bytes, old * line.row_bytes, 0
        while start < size:
            stop = min(start + way, size)
            piece, behind = memory[start:stop], memory[start + way : stop + way]
            for i in range(piece.shape[0]):
                piece[i] = behind[i]
            start = stop
        end = old

    line.end[0] = end + new


@part
def extend(line: DelayLine, new: int) -> np.ndarray:
    """Do what ``DelayLine.extend`` does, in compiled functions only: nothing keeps the memory for Python."""
    make_room(line, new)
    end = line.end[0]
    return line.rows[end - new - line.old : end]


@part
def last(line: DelayLine, count: int) -> np.ndarray:
    """Do what ``DelayLine.last`` does, in compiled functions only."""
    end = line.end[0] - line.old
    return line.rows[end - count : end]
