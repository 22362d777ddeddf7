"""Pitch tracker: normalized correlation of the whitened, decimated signal, then dynamic programming.

[Valin 2020] names a correlation-based search with dynamic programming (after RAPT) that
uses the look-ahead; its details are not public. Ours, per hop of 10 ms:

1. decimate to 12 kHz and whiten (``whitening``);
2. correlate the newest 10 ms with the past at every lag, and keep the result: the correlation of a
   30 ms window is the sum of three such blocks;
3. interpolate the correlation to lags of one sample at 48 kHz and normalize it;
4. gather the best lag of each cell of a grid of equal musical intervals (48 to the octave),
   and find the path through cells and hops that scores best (Viterbi);
5. the period is the best lag inside the cell on that path.
"""

from __future__ import annotations

import math

import numpy as np

from percepnet_cli.compute.delay_line import DelayLine, extend
from percepnet_cli.compute.jit import kernel
from percepnet_cli.compute.struct import Struct
from percepnet_cli.compute.vectors import LANES, Value, Vectors, vector_function
from percepnet_cli.constants import LOOKAHEAD_HOPS, PERIOD_MAX, PERIOD_MIN
from percepnet_cli.dsp.whitening import BLOCK, DECIMATION, Whitener, decimate_and_whiten

GUARD = 4
"""Lags computed beyond both ends of the range, for the interpolation."""
LAG_FIRST = PERIOD_MIN // DECIMATION - GUARD
LAG_LAST = PERIOD_MAX // DECIMATION + GUARD
NUM_LAGS = LAG_LAST - LAG_FIRST + 1
RESIDUAL_HISTORY = LAG_LAST
"""Residual samples that must be known before the newest block."""

WINDOW_BLOCKS = 3
"""Blocks of 10 ms that a correlation is summed over: the two of the window and the next one."""
TRACE_HOPS = LOOKAHEAD_HOPS - (WINDOW_BLOCKS - 2)
"""Hops that the path is followed back: what the look-ahead leaves after the third block."""

CELLS_PER_OCTAVE = 48
NUM_CELLS = round(math.log2(PERIOD_MAX / PERIOD_MIN) * CELLS_PER_OCTAVE) + 1
"""Cells of the grid: 3 octaves, 145."""
NUM_PERIODS = PERIOD_MAX - PERIOD_MIN + 1

REACH = 8
"""Cells that a path may move in one hop by gliding: a sixth of an octave."""
GLIDE_COST = 0.009
"""Cost of a move by d cells: GLIDE_COST d^2, in units of correlation."""
JUMP_COST = 0.75
"""Cost of a move to any cell."""
OCTAVE_BIAS = 0.05
"""Cost of a longer period, per octave: of two periods that explain the signal alike the shorter is right."""

ZERO = np.float32(0)
ONE = np.float32(1)
TINY = np.float32(1e-9)


def interpolator() -> np.ndarray:
    """Return windowed-sinc weights for the lag fractions 0, 1/4, 1/2, 3/4: float32 [4, 8].

    Tap j of phase p weighs the correlation at lag floor + j - 3.
    """
    phase = np.arange(DECIMATION)[:, None] / DECIMATION
    distance = np.arange(8)[None, :] - 3 - phase
    taps = np.sinc(distance) * np.cos(np.pi * distance / 10) ** 2
    return (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)


def cell_edges() -> np.ndarray:
    """Return, for each cell and one past the last, its first period index: int32 [146].

    Cell c is centered at PERIOD_MIN 2^(c/48); index 0 is PERIOD_MIN samples. Cells narrower
    than a sample hold the nearest period.
    """
    edge = PERIOD_MIN * 2.0 ** ((np.arange(NUM_CELLS + 1) - 0.5) / CELLS_PER_OCTAVE)
    index = np.ceil(edge).astype(np.int32) - PERIOD_MIN
    index[0], index[-1] = 0, NUM_PERIODS
    return index


INTERPOLATOR = interpolator()
CELL_EDGES = cell_edges()
GLIDE = (GLIDE_COST * np.arange(-REACH, REACH + 1, dtype=np.float64) ** 2).astype(np.float32)
CELL_BIAS = (OCTAVE_BIAS * np.arange(NUM_CELLS) / CELLS_PER_OCTAVE).astype(np.float32)


@kernel
def correlate(residual: np.ndarray, work: np.ndarray, dot: np.ndarray, past: np.ndarray, now: np.ndarray) -> None:
    """Correlate every block with itself at every lag.

    The products in plain loops (``tests/test_pitch.py``: ``test_block_correlations_equal_slow_ones``); here eight
    samples at a time, for all lags beside each other::

        for lag in range(LAG_FIRST, LAG_LAST + 1):
            for n in range(120):
                dot[lag - LAG_FIRST] += residual[first + n] * residual[first + n - lag]

    residual: float32 [196 + hops * 120], 196 old samples first; work: float32 [lags], working space. Written,
    float32: dot [hops, lags] = <e(n), e(n - lag)>, past [hops, lags] = |e(n - lag)|^2, now [hops] = |e(n)|^2.
    """
    hops, lags = dot.shape
    for hop in range(hops):
        first = RESIDUAL_HISTORY + hop * BLOCK
        oldest = first - LAG_LAST

        # <e(n), e(n - lag)>
        for i in range(lags):
            work[i] = ZERO
        for n in range(0, BLOCK, 8):  # side by side for all lags, the longest first, eight samples at a time
            x0 = residual[first + n]
            x1 = residual[first + n + 1]
            x2 = residual[first + n + 2]
            x3 = residual[first + n + 3]
            x4 = residual[first + n + 4]
            x5 = residual[first + n + 5]
            x6 = residual[first + n + 6]
            x7 = residual[first + n + 7]
            source = oldest + n
            for i in range(lags):
                work[i] += (
                    x0 * residual[source + i]
                    + x1 * residual[source + i + 1]
                    + x2 * residual[source + i + 2]
                    + x3 * residual[source + i + 3]
                    + x4 * residual[source + i + 4]
                    + x5 * residual[source + i + 5]
                    + x6 * residual[source + i + 6]
                    + x7 * residual[source + i + 7]
                )

        # The work lies longest lag first, the result shortest first
        for i in range(lags):
            dot[hop, i] = work[lags - 1 - i]

        # |e(n - lag)|^2 at every lag, and |e(n)|^2
        energy = 0.0  # of the block at the longest lag; then one sample leaves and one comes, exact in float64
        for n in range(BLOCK):
            sample = np.float64(residual[oldest + n])
            energy += sample * sample
        for i in range(lags):
            past[hop, lags - 1 - i] = np.float32(max(energy, 0.0))
            leaving = np.float64(residual[oldest + i])
            coming = np.float64(residual[oldest + i + BLOCK])
            energy += coming * coming - leaving * leaving

        total = ZERO
        for n in range(BLOCK):
            total += residual[first + n] * residual[first + n]
        now[hop] = total


@kernel
def score(
    dot: np.ndarray,
    past: np.ndarray,
    now: np.ndarray,
    phases: np.ndarray,
    edges: np.ndarray,
    work: np.ndarray,
    fine: np.ndarray,
    best: np.ndarray,
    best_period: np.ndarray,
) -> None:
    """Normalize the correlation of a window and keep the best period of each cell.

    dot, past: float32 [3 - 1 + hops, lags]; now: float32 [3 - 1 + hops]: the blocks, two old ones first.
    phases: float32 [4, 8]; edges: int32 [cells + 1]; work: float32 [lags], fine: float32 [4, lags], working space.
    Written: best float32 [hops, cells], 0..1; best_period int32 [hops, cells], samples at 48 kHz.
    """
    hops, cells = best.shape
    lags = dot.shape[1]
    for hop in range(hops):
        # Sum three blocks to 30 ms and normalize
        energy = ZERO
        for block in range(WINDOW_BLOCKS):
            energy += now[hop + block]
        for lag in range(lags):
            total = (dot[hop, lag] + dot[hop + 1, lag]) + dot[hop + 2, lag]
            squares = (past[hop, lag] + past[hop + 1, lag]) + past[hop + 2, lag]
            # the mean of both energies, not their geometric mean, punishes level changes
            work[lag] = total / (np.float32(0.5) * (energy + squares) + TINY)

        # Between the lags of 12 kHz: windowed-sinc interpolation to lags of 48 kHz
        for phase in range(DECIMATION):
            p0 = phases[phase, 0]
            p1 = phases[phase, 1]
            p2 = phases[phase, 2]
            p3 = phases[phase, 3]
            p4 = phases[phase, 4]
            p5 = phases[phase, 5]
            p6 = phases[phase, 6]
            p7 = phases[phase, 7]
            for lag in range(lags - 7):
                fine[phase, lag] = (
                    p0 * work[lag]
                    + p1 * work[lag + 1]
                    + p2 * work[lag + 2]
                    + p3 * work[lag + 3]
                    + p4 * work[lag + 4]
                    + p5 * work[lag + 5]
                    + p6 * work[lag + 6]
                    + p7 * work[lag + 7]
                )

        # The best lag of each cell
        for cell in range(cells):
            top = np.float32(-1)
            where = edges[cell]
            for index in range(edges[cell], edges[cell + 1]):
                value = fine[index % DECIMATION, GUARD - 3 + index // DECIMATION]
                where = index if value > top else where
                top = max(value, top)
            best[hop, cell] = min(max(top, ZERO), ONE)
            best_period[hop, cell] = PERIOD_MIN + where


def write_extend(v: Vectors, path: Value, best: Value, work: Value, origin: Value, top: Value, top_cell: Value) -> None:
    """Write the code that extends the best path into every cell, 16 cells at a time.

    In plain loops (``tests/test_pitch.py``: ``test_path_is_the_best_one_by_exhaustive_dynamic_programming``)::

        for c in range(145):
            work[c], origin[c] = -JUMP_COST, top_cell  # a jump from the best cell
            for move in range(-8, 9):  # or a glide from a near one
                candidate = path[c + move] - top - GLIDE_COST * move**2
                if candidate > work[c]:
                    work[c], origin[c] = candidate, c + move
            work[c] += best[c] - CELL_BIAS[c]

    path, best: float*, 145; work: float*, 145, written; origin: int32*, 145, written; top: float, the best score
    in path; top_cell: int64, its cell.
    """
    # The path with nothing on both sides, so that a glide may look beyond the ends
    padded = v.stack(NUM_CELLS + 2 * REACH)
    blocks = (*range(0, NUM_CELLS - LANES, LANES), NUM_CELLS - LANES)  # the last two overlap
    nothing = v.constant(-1e30)
    for edge in (0, NUM_CELLS + 2 * REACH - LANES):
        v.store(nothing, padded, edge)
    for first in blocks:
        v.store(v.load(path, first), padded, REACH + first)

    # The best way into each cell
    everywhere, jumped = v.everywhere(top), v.integers_everywhere(top_cell)
    for first in blocks:
        value, source = v.constant(-JUMP_COST), jumped
        for move in range(-REACH, REACH + 1):
            # relative to the best path, so that scores stay small for ever
            candidate = v.minus(v.load(padded, first + REACH + move), everywhere)
            candidate = v.minus(candidate, v.constant(float(GLIDE[move + REACH])))
            better = v.greater(candidate, value)
            value = v.choose(better, candidate, value)
            source = v.choose(better, v.integers(first + move + np.arange(LANES)), source)
        value = v.minus(v.plus(value, v.load(best, first)), v.constant(CELL_BIAS[first : first + LANES]))
        v.store(value, work, first)
        v.store(v.as_floats(source), origin, first)


_extend = vector_function(write_extend, scalars=2)


@kernel
def follow(
    best: np.ndarray,
    best_period: np.ndarray,
    path: np.ndarray,
    work: np.ndarray,
    origin: np.ndarray,
    period: np.ndarray,
    correlation: np.ndarray,
) -> None:
    """Extend the best path into every cell and read the period where it was TRACE_HOPS ago.

    best, best_period: [TRACE_HOPS + hops, cells], old rows first. path: float32 [cells], score of the best path
    into each cell, updated. work: float32 [cells]. origin: int32 [TRACE_HOPS + hops, cells], where that path came
    from, the new rows written. Written: period int32 [hops]; correlation float32 [hops].
    """
    rows, cells = best.shape
    hops = rows - TRACE_HOPS
    for hop in range(hops):
        # The best cell so far: where a jump would come from
        row = TRACE_HOPS + hop
        top_cell = 0
        for cell in range(cells):
            if path[cell] > path[top_cell]:
                top_cell = cell
        top = path[top_cell]

        _extend(path, best[row], work, origin[row], top, np.int64(top_cell))

        # The best cell now
        cell = 0
        for c in range(cells):
            path[c] = work[c]
            if path[c] > path[cell]:
                cell = c

        # Follow its path back
        for back in range(TRACE_HOPS):
            cell = origin[row - back, cell]
        period[hop] = best_period[row - TRACE_HOPS, cell]
        correlation[hop] = best[row - TRACE_HOPS, cell]


class Tracker(Struct):
    """The memory of one channel's pitch search, for blocks of up to ``max_hops`` hops."""

    whitener: Whitener
    residual: DelayLine
    dot: DelayLine
    past: DelayLine
    now: DelayLine
    best: DelayLine
    best_period: DelayLine
    origin: DelayLine
    path: np.ndarray
    lag_work: np.ndarray
    fine: np.ndarray
    cell_work: np.ndarray

    def __init__(self, max_hops: int) -> None:
        blocks = WINDOW_BLOCKS - 1
        super().__init__(
            whitener=Whitener(max_hops),
            residual=DelayLine(RESIDUAL_HISTORY, max_hops * BLOCK),
            # Correlations of the blocks of a window
            dot=DelayLine(blocks, max_hops, (NUM_LAGS,)),
            past=DelayLine(blocks, max_hops, (NUM_LAGS,)),
            now=DelayLine(blocks, max_hops),
            # Cells of the grid, as far as the path is followed back
            best=DelayLine(TRACE_HOPS, max_hops, (NUM_CELLS,)),
            best_period=DelayLine(TRACE_HOPS, max_hops, (NUM_CELLS,), np.int32, PERIOD_MIN),
            origin=DelayLine(TRACE_HOPS, max_hops, (NUM_CELLS,), np.int32),
            path=np.zeros(NUM_CELLS, np.float32),
            # Working space
            lag_work=np.zeros(NUM_LAGS, np.float32),
            fine=np.zeros((DECIMATION, NUM_LAGS), np.float32),
            cell_work=np.zeros(NUM_CELLS, np.float32),
        )


@kernel
def track(
    tracker: Tracker, signal: np.ndarray, start: int, hops: int, period: np.ndarray, correlation: np.ndarray
) -> None:
    """Find the pitch of the windows that lie LOOKAHEAD_HOPS behind the newest samples.

    signal: float32 [samples] at 48 kHz; start: first sample of the first new hop, 48 samples before it are
    read. Written: period int32 [hops], 96..768 samples; correlation float32 [hops], 0..1.
    """
    # 1. Decimate and whiten
    residual = extend(tracker.residual, hops * BLOCK)
    decimate_and_whiten(tracker.whitener, signal, start, residual[RESIDUAL_HISTORY:])

    # 2. Correlate the newest blocks
    dot, past, now = extend(tracker.dot, hops), extend(tracker.past, hops), extend(tracker.now, hops)
    blocks = WINDOW_BLOCKS - 1
    correlate(residual, tracker.lag_work, dot[blocks:], past[blocks:], now[blocks:])

    # 3. and 4. Normalize, interpolate, best lag of each cell
    best, best_period = extend(tracker.best, hops), extend(tracker.best_period, hops)
    score(
        dot,
        past,
        now,
        INTERPOLATOR,
        CELL_EDGES,
        tracker.lag_work,
        tracker.fine,
        best[TRACE_HOPS:],
        best_period[TRACE_HOPS:],
    )

    # 4. and 5. The path, and the period on it
    origin = extend(tracker.origin, hops)
    follow(best, best_period, tracker.path, tracker.cell_work, origin, period, correlation)
