"""The delay line: whatever the calls, the old rows are the last ones written."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from percepnet_cli.compute.delay_line import DelayLine


@given(old=st.integers(0, 9), most=st.integers(1, 8), calls=st.lists(st.integers(1, 8), max_size=20))
@settings(max_examples=200, deadline=None)
def test_old_rows_are_the_last_that_were_written(old, most, calls):
    line = DelayLine(old, most, (2,), np.int32, fill=-1)
    written = np.full((old, 2), -1)
    for number, call in enumerate(calls):
        new = min(call, most)
        rows = line.extend(new)
        assert rows.shape == (old + new, 2) and rows.dtype == np.int32 and rows.flags.c_contiguous
        assert np.array_equal(rows[:old], written[len(written) - old :])
        rows[old:] = np.arange(2 * new).reshape(new, 2) + 100 * number
        written = np.concatenate((written, rows[old:]))


def test_single_rows_are_not_moved_until_the_buffer_is_full():
    line = DelayLine(5, 64)
    places = [line.extend(1).__array_interface__["data"][0] for _ in range(130)]
    steps = np.diff(places)
    assert np.sum(steps != 4) == 2 and np.flatnonzero(steps != 4).tolist() == [63, 127]
