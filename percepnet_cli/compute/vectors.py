"""Kernels written as vector instructions, where LLVM does not make them from loops.

``Vectors`` writes arithmetic on vectors of 16 floats with an LLVM builder; LLVM cuts them into whatever the CPU
has. The code is straight, so the bits of a hop depend on nothing but its samples.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
INDEX = ir.IntType(64)
FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, LANES)
INTEGERS = ir.VectorType(ir.IntType(32), LANES)
FUSE = ("contract",)
"""A product and a sum may become one instruction, where the CPU has it: other bits."""

Value = ir.Value
Complex = tuple[ir.Value, ir.Value]
"""Real and imaginary parts of 16 values."""


class Vectors:
    """Writes arithmetic on vectors of complex numbers with an LLVM builder."""

    flags: tuple[str, ...] = ()
    """What LLVM may change in additions and products."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def constant(self, values: np.ndarray | float) -> ir.Constant:
        """Return float32 constants; one value is for all lanes."""
        spread = np.broadcast_to(np.asarray(values, np.float32), LANES)
        return ir.Constant(VECTOR, [ir.Constant(FLOAT, float(value)) for value in spread])

    def plus(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """Write x + y, real."""
        return self.builder.fadd(x, y, flags=self.flags)

    def minus(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """Write x - y, real."""
        return self.builder.fsub(x, y, flags=self.flags)

    def product(self, x: ir.Value, factor: np.ndarray | float) -> ir.Value:
        """Write x times constants, real."""
        return self.builder.fmul(x, self.constant(factor), flags=self.flags)

    def times_real(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """Write x times y, real."""
        return self.builder.fmul(x, y, flags=self.flags)

    def add(self, x: Complex, y: Complex) -> Complex:
        """Write x + y."""
        return self.plus(x[0], y[0]), self.plus(x[1], y[1])

    def sub(self, x: Complex, y: Complex) -> Complex:
        """Write x - y."""
        return self.minus(x[0], y[0]), self.minus(x[1], y[1])

    def add_i(self, x: Complex, y: Complex) -> Complex:
        """Write x + i y."""
        return self.minus(x[0], y[1]), self.plus(x[1], y[0])

    def sub_i(self, x: Complex, y: Complex) -> Complex:
        """Write x - i y."""
        return self.plus(x[0], y[1]), self.minus(x[1], y[0])

    def scale(self, x: Complex, factor: float) -> Complex:
        """Write x times a real constant."""
        return self.product(x[0], factor), self.product(x[1], factor)

    def times(self, x: Complex, factor: np.ndarray | complex) -> Complex:
        """Write x times complex constants."""
        re, im = np.real(factor), np.imag(factor)
        return (
            self.minus(self.product(x[0], re), self.product(x[1], im)),
            self.plus(self.product(x[0], im), self.product(x[1], re)),
        )

    def shuffle(self, x: ir.Value, y: ir.Value, lanes: np.ndarray) -> ir.Value:
        """Write a choice of lanes: 0..15 of x, 16..31 of y."""
        return self.builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes.tolist()))

    def reverse(self, x: ir.Value) -> ir.Value:
        """Write the lanes in the opposite order."""
        return self.shuffle(x, x, np.arange(LANES)[::-1])

    def at(self, base: ir.Value, offset: int | ir.Value) -> ir.Value:
        """Return float* base moved by so many floats."""
        return self.builder.gep(base, [INDEX(offset) if isinstance(offset, int) else offset])

    def place(self, base: ir.Value, offset: int | ir.Value) -> ir.Value:
        """Return the place of 16 floats. base: float*; offset: floats."""
        return self.builder.bitcast(self.at(base, offset), VECTOR.as_pointer())

    def stack(self, count: int) -> ir.Value:
        """Return room for so many floats on the stack, float*."""
        with self.builder.goto_entry_block():
            room = self.builder.alloca(FLOAT, count)
        room.align = 64
        return room

    def one(self, value: float) -> ir.Constant:
        """Return a single float32 constant."""
        return ir.Constant(FLOAT, float(np.float32(value)))

    def load_one(self, base: ir.Value, offset: int | ir.Value) -> ir.Value:
        """Read a single float."""
        return self.builder.load(self.at(base, offset))

    def store_one(self, value: ir.Value, base: ir.Value, offset: int | ir.Value) -> None:
        """Write a single float."""
        self.builder.store(value, self.at(base, offset))

    def product_one(self, x: ir.Value, factor: float) -> ir.Value:
        """Write a single float times a constant."""
        return self.builder.fmul(x, self.one(factor), flags=self.flags)

    @contextmanager
    def loop(self, count: int | ir.Value, step: int) -> Iterator[ir.Value]:
        """Repeat what is written inside for 0, step, 2 step, ... below count."""
        end = INDEX(count) if isinstance(count, int) else count
        with cgutils.for_range_slice(self.builder, INDEX(0), end, INDEX(step), inc=True) as (index, _):
            yield index

    def integers(self, values: np.ndarray) -> ir.Constant:
        """Return int32 constants."""
        return ir.Constant(INTEGERS, [ir.Constant(INTEGERS.element, int(value)) for value in values])

    def integers_everywhere(self, value: ir.Value) -> ir.Value:
        """Write one int64 to all lanes as int32."""
        single = self.builder.trunc(value, INTEGERS.element)
        vector = self.builder.insert_element(ir.Constant(INTEGERS, ir.Undefined), single, INTEGERS.element(0))
        return self.shuffle(vector, vector, np.zeros(LANES, int))

    def as_floats(self, integers: ir.Value) -> ir.Value:
        """Take the bits of int32 for floats, to store them."""
        return self.builder.bitcast(integers, VECTOR)

    def greater(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """Write x > y, lane by lane."""
        return self.builder.fcmp_ordered(">", x, y)

    def choose(self, condition: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
        """Write the lanes of x where the condition holds, else of y."""
        return self.builder.select(condition, x, y)

    def everywhere(self, value: ir.Value) -> ir.Value:
        """Write one float to all lanes."""
        single = self.builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, ir.IntType(32)(0))
        return self.shuffle(single, single, np.zeros(LANES, int))

    def load(self, base: ir.Value, offset: int | ir.Value) -> ir.Value:
        """Read 16 floats at any address."""
        loaded = self.builder.load(self.place(base, offset))
        loaded.align = 4
        return loaded

    def store(self, value: ir.Value, base: ir.Value, offset: int | ir.Value) -> None:
        """Write 16 floats to any address."""
        self.builder.store(value, self.place(base, offset)).align = 4

    def load_pairs(self, base: ir.Value, offset: int) -> Complex:
        """Read 16 complex numbers whose parts alternate in memory."""
        low, high = self.load(base, offset), self.load(base, offset + LANES)
        lanes = np.arange(0, 2 * LANES, 2)
        return self.shuffle(low, high, lanes), self.shuffle(low, high, lanes + 1)

    def store_pairs(self, x: Complex, base: ir.Value, offset: int) -> None:
        """Write 16 complex numbers with alternating parts."""
        lanes = np.stack((np.arange(LANES), LANES + np.arange(LANES)), axis=1).ravel()
        self.store(self.shuffle(*x, lanes[:LANES]), base, offset)
        self.store(self.shuffle(*x, lanes[LANES:]), base, offset + LANES)

    def sums(self, vectors: list[ir.Value]) -> ir.Value:
        """Add up the lanes of each of 16 vectors; lane i of the result is the sum of vector i.

        In a plain loop (``tests/test_bands.py``: ``test_cross_terms_and_energies_equal_the_reference``)::

            for i in range(16):
                result[i] = sum(vectors[i])

        Band energies are such sums.
        """
        # Halves of two vectors are folded into one: 16 vectors become 8, 4, 2, 1, and each addition does full work
        block = LANES // 2
        while block:
            lane = np.arange(LANES)
            low = np.where(lane & block == 0, lane, LANES + (lane ^ block))
            high = np.where(lane & block == 0, lane ^ block, LANES + lane)

            # Vector i and vector i + half meet: the first keeps the lanes without this bit, the second those with it
            half = len(vectors) // 2
            vectors = [
                self.plus(self.shuffle(a, b, low), self.shuffle(a, b, high))
                for a, b in zip(vectors[:half], vectors[half:], strict=True)
            ]
            block //= 2
        return vectors[0]

    def transpose(self, rows: list[ir.Value]) -> list[ir.Value]:
        """Transpose 16 vectors: ``result[i][j] = rows[j][i]``.

        ``tests/test_recurrence.py``: ``test_transposing_moves_every_number``.
        """
        # Blocks of 8, 4, 2, 1 beside the diagonal change places
        rows = list(rows)
        lane = np.arange(LANES)
        for block in (8, 4, 2, 1):
            low = np.where(lane & block == 0, lane, LANES + (lane ^ block))
            high = np.where(lane & block == 0, lane ^ block, LANES + lane)

            # Rows that differ in this bit: lanes with it in the one and lanes without it in the other change places
            for row in range(LANES):
                if row & block == 0:
                    a, b = rows[row], rows[row + block]
                    rows[row], rows[row + block] = self.shuffle(a, b, low), self.shuffle(a, b, high)
        return rows


class FusedVectors(Vectors):
    """The same where the last bits may differ from CPU to CPU."""

    flags = FUSE


def vector_function(write: Callable[..., None], *, scalars: int = 0, kind: type[Vectors] = Vectors) -> Any:
    """Return a numba function of arrays from a function that writes its code.

    ``write`` takes a Vectors, a float* for each array (of float32, int32 or complex64, C-contiguous), and the values of
    the last ``scalars`` arguments. The numba function returns nothing.
    """

    def build(typingctx: Any, *kinds: Any) -> Any:
        arrays = len(kinds) - scalars

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            values = [
                builder.bitcast(context.make_array(kind)(context, builder, argument).data, FLOAT.as_pointer())
                for kind, argument in zip(signature.args[:arrays], arguments[:arrays], strict=True)
            ]
            write(kind(builder), *values, *arguments[arrays:])
            return context.get_dummy_value()

        return types.void(*kinds), codegen

    # numba goes by the names of the parameters: those of ``write``, but for the Vectors
    names = list(inspect.signature(write).parameters)[1:]
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("typingctx", *names)]
    build.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(build)
