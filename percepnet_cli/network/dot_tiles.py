"""The 8-bit product on instructions that sum four products of bytes per lane (``vpdpbusd``, ``sdot``).

Weights are packed so that one vector register holds four columns of ``lanes`` rows, and
the registers of a panel of three times as many rows follow each other in memory:
[panels, columns / 4, 3, lanes, 4]. Four activations, broadcast to all lanes, then serve a whole register.
A tile keeps the sums of one panel and up to eight hops in registers, so that a weight that is loaded serves
that many hops, and an activation three registers.

``vpdpbusd`` multiplies unsigned with signed bytes: weights are kept with 128 added, and the sums start at
-128 times the sum of the activations. All arithmetic is exact modulo 2^32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from percepnet_cli.compute.cpu import isa
from percepnet_cli.compute.jit import kernel

REGISTERS = 3
"""Vector registers of weights per column group and panel."""
GROUP = 4
"""Columns whose products one instruction sums."""

I8, I32, I64 = (ir.IntType(bits) for bits in (8, 32, 64))


class Instruction(NamedTuple):
    """One way of the CPU to sum products of bytes."""

    name: str
    """LLVM's name of the intrinsic function."""
    lanes: int
    """int32 sums per register."""
    takes_bytes: bool
    """Whether LLVM types the factors as bytes; else as the int32 that hold four of them."""
    offset: int
    """Added to the weights: 128 where they are unsigned."""
    wide_hops: int
    """Hops of the largest tile: as many sums as registers hold."""


INSTRUCTIONS = {
    "avx512-vnni": Instruction("llvm.x86.avx512.vpdpbusd.512", 16, False, 128, 8),
    "avx512vl-vnni": Instruction("llvm.x86.avx512.vpdpbusd.256", 8, False, 128, 8),
    "avx-vnni": Instruction("llvm.x86.avx512.vpdpbusd.256", 8, False, 128, 4),
    "neon-dotprod": Instruction("llvm.aarch64.neon.sdot.v4i32.v16i8", 4, True, 0, 8),
}
"""By ISA. LLVM makes the VEX form of AVX-VNNI from the 256-bit intrinsic where the CPU has no AVX-512."""

# Where the plain loop is used this module is imported all the same, and any entry will do
USED = INSTRUCTIONS.get(isa(), INSTRUCTIONS["avx512-vnni"])
OFFSET = np.int32(USED.offset)
LANES = USED.lanes
PANEL = REGISTERS * LANES
"""Rows of a panel."""
WIDE = USED.wide_hops
"""Hops of the largest tile."""


def pack(weights: np.ndarray, used: Instruction = USED) -> np.ndarray:
    """Lay a matrix out as above, filled up with zeros. int8 [rows, columns] to uint8 [panels, groups, panel, 4]."""
    rows, columns = weights.shape
    panel = REGISTERS * used.lanes
    panels, groups = -(-rows // panel), -(-columns // GROUP)

    # To bytes without sign where the instruction wants those: w + 128, modulo 256
    padded = np.full((panels * panel, groups * GROUP), used.offset, np.uint8)
    padded[:rows, :columns] = weights.view(np.uint8) ^ np.uint8(used.offset)

    # Four columns of a row are one number that moves: [panels, rows, groups] to [panels, groups, rows]
    fours = padded.view(np.uint32).reshape(panels, panel, groups)
    return np.ascontiguousarray(fours.transpose(0, 2, 1)).view(np.uint8).reshape(panels, groups, panel, GROUP)


class _TileWriter:
    """Writes the code of one tile, part by part; arguments as those of ``emit_tile``."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        used: Instruction,
        weights: ir.Value,
        vectors: ir.Value,
        stride: ir.Value,
        out: ir.Value,
        out_stride: ir.Value,
        hops: int,
    ) -> None:
        self.builder, self.used, self.hops = builder, used, hops
        self.weights, self.vectors, self.stride = weights, vectors, stride
        self.out, self.out_stride = out, out_stride

        # A register of sums, and one of factors: the same 32 or 64 bytes, whichever way LLVM types them
        self.vector = ir.VectorType(I32, used.lanes)
        self.factor = ir.VectorType(I8, GROUP * used.lanes) if used.takes_bytes else self.vector
        kind = ir.FunctionType(self.vector, [self.vector, self.factor, self.factor])
        self.multiply_add = cgutils.get_or_insert_function(builder.module, kind, used.name)

    def at(self, base: ir.Value, kind: ir.Type, *offsets: ir.Value) -> ir.Value:
        """Return a pointer to ``kind``, the sum of the offsets behind ``base``, in units of what base points to."""
        total = offsets[0]
        for offset in offsets[1:]:
            total = self.builder.add(total, offset)
        return self.builder.bitcast(self.builder.gep(base, [total]), kind.as_pointer())

    def load_weights(self, group: ir.Value) -> list[ir.Value]:
        """Load the registers of weights of one group of columns; they follow each other in memory."""
        size = GROUP * self.used.lanes
        first = self.builder.mul(group, I64(REGISTERS * size))
        loaded = []
        for register in range(REGISTERS):
            load = self.builder.load(self.at(self.weights, self.factor, first, I64(register * size)))
            load.align = 1  # an array of bytes may begin anywhere
            loaded.append(load)
        return loaded

    def broadcast_activations(self, hop: int, group: ir.Value) -> ir.Value:
        """Load the four activations of a hop that one group of columns is multiplied by, into every lane."""
        down, along = self.builder.mul(self.stride, I64(hop)), self.builder.mul(group, I64(GROUP))
        four = self.builder.load(self.at(self.vectors, I32, down, along))
        four.align = 1

        # One lane, then that lane everywhere: LLVM makes one broadcasting load of both
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), four, I32(0))
        lanes = ir.Constant(ir.VectorType(I32, self.used.lanes), [0] * self.used.lanes)
        return self.builder.bitcast(self.builder.shuffle_vector(one, one, lanes), self.factor)

    def add_group(self, sums: list[ir.Value], group: ir.Value) -> list[ir.Value]:
        """Return the sums with the products of one group of columns added."""
        weights = self.load_weights(group)
        result = []
        for hop in range(self.hops):
            activations = self.broadcast_activations(hop, group)
            for register in range(REGISTERS):
                total = sums[hop * REGISTERS + register]
                result.append(self.builder.call(self.multiply_add, [total, weights[register], activations]))
        return result

    def places(self) -> list[ir.Value]:
        """Return where the sums lie in ``out``: for each hop, its registers."""
        return [
            self.at(self.out, self.vector, self.builder.mul(self.out_stride, I64(hop)), I64(register * self.used.lanes))
            for hop in range(self.hops)
            for register in range(REGISTERS)
        ]

    def load_sums(self, places: list[ir.Value]) -> list[ir.Value]:
        """Load what ``out`` holds before."""
        loads = [self.builder.load(place) for place in places]
        for load in loads:
            load.align = 4
        return loads

    def store_sums(self, sums: list[ir.Value], places: list[ir.Value]) -> None:
        """Write the sums to ``out``."""
        for place, value in zip(places, sums, strict=True):
            self.builder.store(value, place).align = 4

    def loop(
        self, start: ir.Value, stop: ir.Value, stride_groups: int, sets: list[list[ir.Value]]
    ) -> list[list[ir.Value]]:
        """Go over the groups of columns, the i-th of each ``stride_groups`` to the i-th set of sums; return the sets.

        The sums are values that pass from turn to turn (phi nodes), so that LLVM keeps them in registers.
        """
        builder = self.builder
        entry = builder.block
        head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
        builder.branch(head)

        # Head: the index and the sums come from before the loop or from the turn before
        builder.position_at_end(head)
        index = builder.phi(I64)
        index.add_incoming(start, entry)
        phis = []
        for value in (value for one in sets for value in one):
            phi = builder.phi(self.vector)
            phi.add_incoming(value, entry)
            phis.append(phi)
        builder.cbranch(builder.icmp_signed("<", index, stop), body, end)

        # Body: one group of columns for each set
        builder.position_at_end(body)
        per_set = len(sets[0])
        parts = [phis[i * per_set : (i + 1) * per_set] for i in range(len(sets))]
        new: list[ir.Value] = []
        for i, part in enumerate(parts):
            new += self.add_group(part, builder.add(index, I64(i)))

        # Back to the head, with the index and the sums of this turn
        following = builder.add(index, I64(stride_groups))
        for phi, value in zip(phis, new, strict=True):
            phi.add_incoming(value, builder.block)
        index.add_incoming(following, builder.block)
        builder.branch(head)

        builder.position_at_end(end)
        return parts


def emit_tile(
    builder: ir.IRBuilder,
    used: Instruction,
    weights: ir.Value,
    vectors: ir.Value,
    stride: ir.Value,
    groups: ir.Value,
    out: ir.Value,
    out_stride: ir.Value,
    hops: int,
    unroll: int,
) -> None:
    """Write the code of one tile: the sums of a panel for ``hops`` hops, added to what ``out`` holds.

    In plain loops (``tests/test_dot.py``: ``check``)::

        for hop in range(hops):
            for row in range(3 * lanes):
                for column in range(4 * groups):
                    out[hop, row] += weights[row, column] * vectors[hop, column]

    weights, vectors: i8*, the panel and the first hop; stride: bytes from hop to hop; groups: groups of columns;
    out: i32*, the panel's first row of the first hop; out_stride: int32s from hop to hop. With ``unroll`` > 1 that
    many groups go to sums of their own, so that no sum waits for the one before.
    """
    tile = _TileWriter(builder, used, weights, vectors, stride, out, out_stride, hops)

    # The first set of sums goes on with what ``out`` holds, the others begin with zeros
    places = tile.places()
    sums = tile.load_sums(places)
    zero = ir.Constant(tile.vector, [0] * used.lanes)
    sets = [sums] + [[zero] * len(sums) for _ in range(unroll - 1)]

    # As many groups at once as there are sets, then the sets become one
    whole = builder.mul(builder.sdiv(groups, I64(unroll)), I64(unroll))
    sums, *others = tile.loop(I64(0), whole, unroll, sets)
    for other in others:
        sums = [builder.add(a, b) for a, b in zip(sums, other, strict=True)]

    # The groups that are left
    if unroll > 1:
        (sums,) = tile.loop(whole, groups, 1, [sums])
    tile.store_sums(sums, places)


def tile_intrinsic(hops: int, unroll: int) -> Any:
    """Return the numba function (weights, panel, vectors, hop, out) that adds one tile's products to ``out``.

    weights: as packed; panel: its index; vectors: int8 [hops, columns]; hop: the first one; out: int32
    [hops, padded rows], updated.
    """

    def tile(typingctx: Any, weights: Any, panel: Any, vectors: Any, hop: Any, out: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            packed, inputs, sums = (
                context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2, 4)
            )
            panel, hop = arguments[1], arguments[3]
            groups_kept = cgutils.unpack_tuple(builder, packed.shape)[1]
            columns = cgutils.unpack_tuple(builder, inputs.shape)[1]
            out_stride = cgutils.unpack_tuple(builder, sums.shape)[1]

            # Where the panel, the first hop and its sums begin
            panel_bytes = builder.mul(groups_kept, I64(PANEL * GROUP))
            first_row = builder.add(builder.mul(hop, out_stride), builder.mul(panel, I64(PANEL)))
            weights_at = builder.gep(packed.data, [builder.mul(panel, panel_bytes)])
            vectors_at = builder.gep(inputs.data, [builder.mul(hop, columns)])

            # A group that the columns only begin is left to the caller: the vectors end there
            groups = builder.sdiv(columns, I64(GROUP))
            out_at = builder.gep(sums.data, [first_row])
            emit_tile(builder, USED, weights_at, vectors_at, columns, groups, out_at, out_stride, hops, unroll)
            return context.get_dummy_value()

        return types.void(weights, types.int64, vectors, types.int64, out), codegen

    return intrinsic(tile)


tile_wide = tile_intrinsic(WIDE, 1)
tile_four = tile_intrinsic(4, 1)
tile_one = tile_intrinsic(1, 4)
"""A file's hops go through the wide one, what is left through the others. A single hop, live, has only three sums: it
goes over four groups of columns at once, so that the CPU need not wait for one product before it begins the next."""


@kernel
def matmul_int8(weights: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> None:
    """Multiply a matrix by the vectors of several hops.

    In plain loops (``dot.plain_matmul_int8``; ``tests/test_dot.py``: ``check``)::

        for hop in range(hops):
            for row in range(rows):
                out[hop, row] = 0
                for column in range(columns):
                    out[hop, row] += weights[row, column] * vectors[hop, column]

    weights: as ``pack`` returns; vectors: int8 [hops, columns]; out: int32 [hops, panels * panel rows], written.
    """
    hops, columns = vectors.shape
    whole = columns // GROUP * GROUP

    # Weights are kept as w + OFFSET, so begin with -OFFSET times the sum of the activations
    for hop in range(hops):
        total = np.int32(0)
        for column in range(whole):
            total += np.int32(vectors[hop, column])
        start = -OFFSET * total
        for row in range(out.shape[1]):
            out[hop, row] = start

    # Panel by panel, so that its weights are read from memory once and serve all hops from the cache
    for panel in range(weights.shape[0]):
        hop = 0
        while hop + WIDE <= hops:
            tile_wide(weights, panel, vectors, hop, out)
            hop += WIDE
        while hop + 4 <= hops:
            tile_four(weights, panel, vectors, hop, out)
            hop += 4
        while hop < hops:
            tile_one(weights, panel, vectors, hop, out)
            hop += 1

    # The columns that fill no group: a tile would read beyond the end of the vectors
    if whole < columns:
        for hop in range(hops):
            for row in range(out.shape[1]):
                for column in range(whole, columns):
                    weight = np.int32(weights[row // PANEL, whole // GROUP, row % PANEL, column - whole]) - OFFSET
                    out[hop, row] += weight * np.int32(vectors[hop, column])
