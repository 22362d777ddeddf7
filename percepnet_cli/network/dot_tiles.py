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

USED = INSTRUCTIONS.get(isa(), INSTRUCTIONS["avx512-vnni"])
OFFSET = np.int32(USED.offset)
LANES = USED.lanes
PANEL = REGISTERS * LANES
"""Rows of a panel."""
WIDE = USED.wide_hops


def pack(weights: np.ndarray, used: Instruction = USED) -> np.ndarray:
    """Lay a matrix out as above, filled up with zeros. int8 [rows, columns] to uint8 [panels, groups, panel, 4]."""
    rows, columns = weights.shape
    panel = REGISTERS * used.lanes
    panels, groups = -(-rows // panel), -(-columns // GROUP)
    padded = np.full((panels * panel, groups * GROUP), used.offset, np.uint8)
    padded[:rows, :columns] = weights.view(np.uint8) ^ np.uint8(used.offset)  # + 128, modulo 256
    fours = padded.view(np.uint32).reshape(panels, panel, groups)
    return np.ascontiguousarray(fours.transpose(0, 2, 1)).view(np.uint8).reshape(panels, groups, panel, GROUP)


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

    weights, vectors: i8*, the panel and the first hop; stride: bytes from hop to hop; groups: groups of columns;
    out: i32*, the panel's first row of the first hop; out_stride: int32s from hop to hop. With ``unroll`` > 1 that
    many groups go to sums of their own, so that no sum waits for the one before.
    """
    i8, i32, i64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
    vector = ir.VectorType(i32, used.lanes)
    factor = ir.VectorType(i8, 4 * used.lanes) if used.takes_bytes else vector
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector, factor, factor]), used.name
    )
    size = 4 * used.lanes

    def at(base: ir.Value, kind: ir.Type, *offsets: ir.Value) -> ir.Value:
        total = offsets[0]
        for offset in offsets[1:]:
            total = builder.add(total, offset)
        return builder.bitcast(builder.gep(base, [total]), kind.as_pointer())

    def step(sums: list[ir.Value], group: ir.Value) -> list[ir.Value]:
        """Add the products of one group of columns."""
        first = builder.mul(group, i64(REGISTERS * size))
        loaded = []
        for register in range(REGISTERS):
            load = builder.load(at(weights, factor, first, i64(register * size)))
            load.align = 1
            loaded.append(load)
        result = []
        for hop in range(hops):
            four = builder.load(at(vectors, i32, builder.mul(stride, i64(hop)), builder.mul(group, i64(GROUP))))
            four.align = 1
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), four, i32(0))
            lanes = ir.Constant(ir.VectorType(i32, used.lanes), [0] * used.lanes)
            everywhere = builder.bitcast(builder.shuffle_vector(one, one, lanes), factor)
            for register in range(REGISTERS):
                total = sums[hop * REGISTERS + register]
                result.append(builder.call(function, [total, loaded[register], everywhere]))
        return result

    def places() -> list[ir.Value]:
        return [
            at(out, vector, builder.mul(out_stride, i64(hop)), i64(register * used.lanes))
            for hop in range(hops)
            for register in range(REGISTERS)
        ]

    def loop(start: ir.Value, stop: ir.Value, stride_groups: int, sets: list[list[ir.Value]]) -> list[list[ir.Value]]:
        """Go over groups of columns, the i-th of each ``stride_groups`` in the i-th set of sums."""
        entry = builder.block
        head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(i64)
        index.add_incoming(start, entry)
        phis = []
        for one in sets:
            for value in one:
                phi = builder.phi(vector)
                phi.add_incoming(value, entry)
                phis.append(phi)
        builder.cbranch(builder.icmp_signed("<", index, stop), body, end)
        builder.position_at_end(body)
        per_set = len(sets[0])
        new: list[ir.Value] = []
        for i in range(len(sets)):
            new += step(phis[i * per_set : (i + 1) * per_set], builder.add(index, i64(i)))
        following = builder.add(index, i64(stride_groups))
        for phi, value in zip(phis, new, strict=True):
            phi.add_incoming(value, builder.block)
        index.add_incoming(following, builder.block)
        builder.branch(head)
        builder.position_at_end(end)
        return [phis[i * per_set : (i + 1) * per_set] for i in range(len(sets))]

    targets = places()
    sums = []
    for place in targets:
        load = builder.load(place)
        load.align = 4
        sums.append(load)
    zero = ir.Constant(vector, [0] * used.lanes)
    whole = builder.mul(builder.sdiv(groups, i64(unroll)), i64(unroll))
    sets = loop(i64(0), whole, unroll, [sums] + [[zero] * len(sums) for _ in range(unroll - 1)])
    sums = sets[0]
    for other in sets[1:]:
        sums = [builder.add(a, b) for a, b in zip(sums, other, strict=True)]
    if unroll > 1:
        (sums,) = loop(whole, groups, 1, [sums])
    for place, value in zip(targets, sums, strict=True):
        builder.store(value, place).align = 4


def tile_intrinsic(hops: int, unroll: int) -> Any:
    """Return the numba function (weights, panel, vectors, hop, out) that adds one tile's products to ``out``.

    weights: as packed; panel: its index; vectors: int8 [hops, columns]; hop: the first one; out: int32
    [hops, padded rows], updated.
    """

    def tile(typingctx: Any, weights: Any, panel: Any, vectors: Any, hop: Any, out: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            i64 = ir.IntType(64)
            arrays = [context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2, 4)]
            packed, inputs, sums = arrays
            groups_kept = cgutils.unpack_tuple(builder, packed.shape)[1]
            columns = cgutils.unpack_tuple(builder, inputs.shape)[1]
            out_stride = cgutils.unpack_tuple(builder, sums.shape)[1]
            panel_bytes = builder.mul(groups_kept, i64(PANEL * GROUP))
            first_row = builder.add(builder.mul(arguments[3], out_stride), builder.mul(arguments[1], i64(PANEL)))
            emit_tile(
                builder,
                USED,
                builder.gep(packed.data, [builder.mul(arguments[1], panel_bytes)]),
                builder.gep(inputs.data, [builder.mul(arguments[3], columns)]),
                columns,
                builder.sdiv(columns, i64(GROUP)),
                builder.gep(sums.data, [first_row]),
                out_stride,
                hops,
                unroll,
            )
            return context.get_dummy_value()

        return types.void(weights, types.int64, vectors, types.int64, out), codegen

    return intrinsic(tile)


tile_wide = tile_intrinsic(WIDE, 1)
tile_four = tile_intrinsic(4, 1)
tile_one = tile_intrinsic(1, 4)


@kernel
def rows_times_vectors(weights: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> None:
    """Multiply a matrix by the vectors of several hops.

    weights: as ``pack`` returns; vectors: int8 [hops, columns]; out: int32 [hops, panels * panel rows], written.
    """
    hops, columns = vectors.shape
    whole = columns // GROUP * GROUP
    for hop in range(hops):
        total = np.int32(0)
        for column in range(whole):
            total += np.int32(vectors[hop, column])
        start = -OFFSET * total
        for row in range(out.shape[1]):
            out[hop, row] = start
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
    if whole < columns:  # the columns that fill no group
        for hop in range(hops):
            for row in range(out.shape[1]):
                for column in range(whole, columns):
                    weight = np.int32(weights[row // PANEL, whole // GROUP, row % PANEL, column - whole]) - OFFSET
                    out[hop, row] += weight * np.int32(vectors[hop, column])
