"""The gates of a recurrent layer (GRU) for 16 units of a sequence, as vector instructions with AVX-512 and bfloat16.

Forwards, from what the inputs give (i) and what the last state h gives (s), each with its bias:

    r = sigmoid(i_r + s_r), z = sigmoid(i_z + s_z), m = s_n, n = tanh(i_n + r m), h' = n + z (h - n)

``training.model.gru_gates`` does the same with plain loops, but for the last bits; what ``_forward`` and ``_backward``
write is what its docstrings show. ``tests/test_recurrence.py`` compares the layer that is built from these with
``torch.nn.GRU``. bfloat16 arrives as uint16.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from percepnet_cli.compute.vectors import INTEGERS, LANES, VECTOR, FusedVectors

I16, I32, I64 = (ir.IntType(bits) for bits in (16, 32, 64))
HALVES = ir.VectorType(I16, LANES)
LOG2E = 1.0 / math.log(2.0)
LIMIT = 40.0
SERIES = [math.log(2.0) ** k / math.factorial(k) for k in range(6)]
"""Of 2^f at 0; on -0.5..0.5 its relative error is 2.4e-6, a thousandth of what bfloat16 keeps."""


class _BFloat16(ir.Type):  # type: ignore[misc]
    """LLVM's type ``bfloat``, which llvmlite does not know."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat16)

    def __hash__(self) -> int:
        return hash(_BFloat16)


BFLOATS = ir.VectorType(_BFloat16(), LANES)


class Gates(FusedVectors):
    """Writes the arithmetic of gates."""

    def _function(self, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
        """Write a call of one of LLVM's own functions."""
        kind = ir.FunctionType(result, [one.type for one in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def fused(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """Write x y + z."""
        return self._function("llvm.fma.v16f32", VECTOR, x, y, z)

    def widened(self, base: ir.Value, offset: ir.Value) -> ir.Value:
        """Read 16 bfloat16. base: int16*."""
        load = self.builder.load(self.builder.bitcast(self.builder.gep(base, [offset]), HALVES.as_pointer()))
        load.align = 2

        # A bfloat16 is the upper half of a float
        wide = self.builder.shl(self.builder.zext(load, INTEGERS), ir.Constant(INTEGERS, [16] * LANES))
        return self.builder.bitcast(wide, VECTOR)

    def narrow(self, x: ir.Value, base: ir.Value, offset: ir.Value) -> None:
        """Write 16 floats as the nearest bfloat16. base: int16*."""
        near = self._function("llvm.x86.avx512bf16.cvtneps2bf16.512", BFLOATS, x)
        place = self.builder.bitcast(self.builder.gep(base, [offset]), HALVES.as_pointer())
        self.builder.store(self.builder.bitcast(near, HALVES), place).align = 2

    def exp2(self, y: ir.Value) -> ir.Value:
        """Write 2^y, y limited to +-40: 2^f by its series, f in -0.5..0.5, times a whole power of 2."""
        y = self._function("llvm.minnum.v16f32", VECTOR, y, self.constant(LIMIT))
        y = self._function("llvm.maxnum.v16f32", VECTOR, y, self.constant(-LIMIT))
        whole = self._function("llvm.rint.v16f32", VECTOR, y)
        f = self.minus(y, whole)

        # Horner's scheme, the highest power first
        power = self.constant(SERIES[5])
        for k in range(4, -1, -1):
            power = self.fused(power, f, self.constant(SERIES[k]))

        # The whole power is added to the exponent, which lies above 23 bits of mantissa
        exponent = self.builder.fptosi(whole, INTEGERS)
        bits = self.builder.shl(exponent, ir.Constant(INTEGERS, [23] * LANES))
        return self.builder.bitcast(self.builder.add(self.builder.bitcast(power, INTEGERS), bits), VECTOR)

    def inverse(self, x: ir.Value) -> ir.Value:
        """Write 1 / x: a guess good to 14 bits, and a step of Newton's."""
        everywhere = ir.Constant(I16, -1)
        guess = self._function(
            "llvm.x86.avx512.rcp14.ps.512", VECTOR, x, ir.Constant(VECTOR, [0.0] * LANES), everywhere
        )

        # Newton: g (2 - x g) has twice as many good bits as g
        rest = self.fused(x, self.builder.fneg(guess), self.constant(2.0))
        return self.times_real(guess, rest)

    def sigmoid(self, x: ir.Value) -> ir.Value:
        """Write the logistic function, 1 / (1 + exp(-x))."""
        return self.inverse(self.plus(self.constant(1.0), self.exp2(self.product(x, -LOG2E))))

    def tanh(self, x: ir.Value) -> ir.Value:
        """Write the hyperbolic tangent, 1 - 2 / (1 + exp(2 x))."""
        part = self.inverse(self.plus(self.constant(1.0), self.exp2(self.product(x, 2 * LOG2E))))
        return self.fused(part, self.constant(-2.0), self.constant(1.0))


def _pointers(context: Any, builder: ir.IRBuilder, kinds: Any, arguments: Any, places: tuple[int, ...]) -> list[Any]:
    """Return the addresses of the arrays among the arguments, at these places."""
    return [context.make_array(kinds[k])(context, builder, arguments[k]).data for k in places]


def _forward(
    typingctx: Any,
    sums: Any,
    place: Any,
    bias: Any,
    unit: Any,
    width: Any,
    gates: Any,
    gate: Any,
    candidate: Any,
    cell: Any,
    state: Any,
    memory: Any,
    output: Any,
    out: Any,
) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Gates(builder)
        sums, bias, gates, candidate, state, output = _pointers(
            context, builder, signature.args, arguments, (0, 2, 5, 7, 9, 11)
        )
        place, unit, width, gate, cell, memory, out = (arguments[k] for k in (1, 3, 4, 6, 8, 10, 12))

        def part(first: ir.Value, number: int) -> ir.Value:
            """Return the place of r, z, n or a fourth part, which lie ``width`` apart."""
            return builder.add(first, builder.mul(width, I64(number)))

        def total(number: int) -> ir.Value:
            """Return what the state gives to gate r, z or n, with the bias."""
            return v.plus(v.load(sums, part(place, number)), v.load(bias, part(unit, number if number < 2 else 3)))

        # r = sigmoid(i_r + s_r), z = sigmoid(i_z + s_z), m = s_n
        r = v.sigmoid(v.plus(v.widened(gates, part(gate, 0)), total(0)))
        z = v.sigmoid(v.plus(v.widened(gates, part(gate, 1)), total(1)))
        m = total(2)

        # n = tanh(i_n + r m), h' = n + z (h - n)
        n = v.plus(v.widened(gates, part(gate, 2)), v.load(bias, part(unit, 2)))
        n = v.tanh(v.fused(r, m, n))
        h = v.fused(z, v.minus(v.load(state, memory), n), n)

        # r, z, n and m in bfloat16 for the way back; the state goes on in float32
        for number, value in enumerate((r, z, n)):
            v.narrow(value, gates, part(gate, number))
        v.narrow(m, candidate, cell)
        v.store(h, state, memory)
        v.narrow(h, output, out)
        return context.get_dummy_value()

    index = types.int64
    return (
        types.void(sums, index, bias, index, index, gates, index, candidate, index, state, index, output, index),
        codegen,
    )


gates_forward_16 = intrinsic(_forward)
"""numba function (sums, place, bias, unit, width, gates, gate, candidate, cell, state, memory, output, out).

sums: float32, what the last state gives to r, at `place`, and `width` and 2 `width` behind it to z and n. bias: float32
[4 width]: sums for r and z, input bias of n, recurrent bias of n; `unit` is the first unit. gates: uint16: at `gate`
and 1 and 2 `width` behind it what the inputs give; gets r, z, n. candidate: uint16, gets m at `cell`. state: float32, h
at `memory`, gets h'. output: uint16, gets h' at `out`.
"""


def _backward(
    typingctx: Any,
    gates: Any,
    gate: Any,
    width: Any,
    candidate: Any,
    cell: Any,
    before: Any,
    last: Any,
    grad_output: Any,
    out: Any,
    grad_state: Any,
    memory: Any,
    grad_bias: Any,
    unit: Any,
) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Gates(builder)
        gates, candidate, before, grad_output, grad_state, grad_bias = _pointers(
            context, builder, signature.args, arguments, (0, 3, 5, 7, 9, 11)
        )
        gate, width, cell, last, out, memory, unit = (arguments[k] for k in (1, 2, 4, 6, 8, 10, 12))

        def part(first: ir.Value, number: int) -> ir.Value:
            """Return the place of r, z, n or a fourth part, which lie ``width`` apart."""
            return builder.add(first, builder.mul(width, I64(number)))

        r, z, n = (v.widened(gates, part(gate, number)) for number in range(3))
        m, h = v.widened(candidate, cell), v.widened(before, last)

        # d: the gradient of h', from later hops and from the layers above
        d = v.plus(v.load(grad_state, memory), v.widened(grad_output, out))
        one = v.constant(1.0)

        # h' = n + z (h - n), n = tanh(..) has the slope 1 - n^2, z and r = sigmoid(..) have z (1 - z) and r (1 - r)
        dz = v.times_real(v.times_real(d, v.minus(h, n)), v.times_real(z, v.minus(one, z)))
        keep = v.times_real(d, z)
        dn = v.times_real(v.minus(d, keep), v.fused(builder.fneg(n), n, one))
        dr = v.times_real(v.times_real(dn, m), v.times_real(r, v.minus(one, r)))
        dm = v.times_real(dn, r)

        # Gradients take the places of their gates
        for number, value in enumerate((dr, dz, dn)):
            v.narrow(value, gates, part(gate, number))
        v.narrow(dm, candidate, cell)
        v.store(keep, grad_state, memory)

        # Sums over hops and sequences
        for number, value in enumerate((dr, dz, dn, dm)):
            place = part(unit, number)
            v.store(v.plus(v.load(grad_bias, place), value), grad_bias, place)
        return context.get_dummy_value()

    index = types.int64
    places = [(gates, index), (index,), (candidate, index), (before, index), (grad_output, index), (grad_state, index)]
    return types.void(*(kind for pair in places for kind in pair), grad_bias, index), codegen


gates_backward_16 = intrinsic(_backward)
"""numba function (gates, gate, width, candidate, cell, before, last, grad_output, out, grad_state, memory, grad_bias,
unit).

gates: uint16, r, z, n as :data:`gates_forward_16` left them; gets the gradients of the input's parts. candidate:
uint16, m; gets the gradient of m. before: uint16, h. grad_output: uint16, the gradient of h'. grad_state: float32, the
part of that which comes through later states; gets what goes to h through z. grad_bias: float32 [4 width], added to.
"""
