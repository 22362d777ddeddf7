"""The real transform of a window, 960 samples to 481 bins, and its inverse.

960 real samples are 480 complex ones (the even ones real, the odd ones imaginary), 480 = 30 * 16: sample
16 i + j in row i and column j. Transforms of length 30 run down the columns, 16 columns beside each other in
a register (5 and 6 are coprime, so 30 = 5 * 6 needs no twiddle factors between them: Good and Thomas); then twiddle
factors, a transposition, and transforms of length 16 = 4 * 4 likewise. A last pass separates what even and odd
samples gave.
"""

from __future__ import annotations

import numpy as np

from percepnet_cli.compute.jit import kernel
from percepnet_cli.compute.vectors import LANES, Complex, Value, Vectors, vector_function

ROWS = 30
SIZE = ROWS * LANES
"""Points of the complex transform: 480."""


def dft3(v: Vectors, a: Complex, b: Complex, c: Complex) -> tuple[Complex, ...]:
    """Transform three values."""
    both, difference = v.add(b, c), v.scale(v.sub(b, c), float(np.sin(np.pi / 3)))
    rest = v.sub(a, v.scale(both, 0.5))
    return v.add(a, both), v.sub_i(rest, difference), v.add_i(rest, difference)


def dft4(v: Vectors, a: Complex, b: Complex, c: Complex, d: Complex) -> tuple[Complex, ...]:
    """Transform four values."""
    even, even_half, odd, odd_half = v.add(a, c), v.sub(a, c), v.add(b, d), v.sub(b, d)
    return v.add(even, odd), v.sub_i(even_half, odd_half), v.sub(even, odd), v.add_i(even_half, odd_half)


def dft5(v: Vectors, a: Complex, b: Complex, c: Complex, d: Complex, e: Complex) -> tuple[Complex, ...]:
    """Transform five values."""
    p, m, q, n = v.add(b, e), v.sub(b, e), v.add(c, d), v.sub(c, d)
    c1, c2 = (float(np.cos(2 * np.pi * k / 5)) for k in (1, 2))
    s1, s2 = (float(np.sin(2 * np.pi * k / 5)) for k in (1, 2))

    # Winograd's grouping: cosines meet the sums, sines the differences
    even1 = v.add(v.add(a, v.scale(p, c1)), v.scale(q, c2))
    even2 = v.add(v.add(a, v.scale(p, c2)), v.scale(q, c1))
    odd1 = v.add(v.scale(m, s1), v.scale(n, s2))
    odd2 = v.sub(v.scale(m, s2), v.scale(n, s1))
    first = v.add(v.add(a, p), q)
    return first, v.sub_i(even1, odd1), v.sub_i(even2, odd2), v.add_i(even2, odd2), v.add_i(even1, odd1)


def dft6(v: Vectors, x: list[Complex]) -> list[Complex]:
    """Transform six values as two by three: value 3 a + 2 b goes to a and b, results 3 a and 4 b meet at their sum."""
    even, odd = dft3(v, x[0], x[2], x[4]), dft3(v, x[3], x[5], x[1])
    out = {}
    for k in range(3):
        out[4 * k % 6], out[(4 * k + 3) % 6] = v.add(even[k], odd[k]), v.sub(even[k], odd[k])
    return [out[k] for k in range(6)]


def dft30(v: Vectors, x: list[Complex]) -> list[Complex]:
    """Transform thirty values as five by six: value 6 a + 5 b, result 6 a + 25 b (modulo 30)."""
    fives = [dft5(v, *(x[(6 * a + 5 * b) % 30] for a in range(5))) for b in range(6)]
    out = {}
    for a in range(5):
        for b, value in enumerate(dft6(v, [five[a] for five in fives])):
            out[(6 * a + 25 * b) % 30] = value
    return [out[k] for k in range(30)]


def dft16(v: Vectors, x: list[Complex]) -> list[Complex]:
    """Transform sixteen values as four by four."""
    fours = [dft4(v, *(x[j + 4 * i] for i in range(4))) for j in range(4)]
    out = {}
    for q in range(4):
        turned = [v.times(fours[j][q], np.exp(-2j * np.pi * j * q / 16)) if j * q else fours[j][q] for j in range(4)]
        for p, value in enumerate(dft4(v, *turned)):
            out[q + 4 * p] = value
    return [out[k] for k in range(16)]


def dft480(v: Vectors, rows: list[Complex], re: Value, im: Value) -> None:
    """Transform 30 rows of 16 values; write the parts of the 480 results to re and im, float*."""
    # Length 30 down the columns, then twiddle factors
    columns = dft30(v, rows)
    for k in range(1, ROWS):
        columns[k] = v.times(columns[k], np.exp(-2j * np.pi * k * np.arange(LANES) / SIZE))

    # Transposed in two halves of 16 rows, length 16 along the rows
    for first in (0, ROWS - LANES):  # the two halves overlap in two results, which are the same
        half = columns[first : first + LANES]
        parts = [v.transpose([column[part] for column in half]) for part in (0, 1)]
        for k, value in enumerate(dft16(v, list(zip(*parts, strict=True)))):
            v.store(value[0], re, ROWS * k + first)
            v.store(value[1], im, ROWS * k + first)


def write_forward(v: Vectors, samples: Value, bins: Value) -> None:
    """Write the code of the real transform.

    In plain loops (``tests/reference.py``: ``dft_matrix``)::

        for k in range(481):
            for n in range(960):
                bins[k] += samples[n] * exp(-2j * pi * k * n / 960)

    samples: float*, 960; bins: float*, 481 complex numbers, written.
    """
    # Even samples as real, odd ones as imaginary parts of 480 complex numbers
    re, im = v.stack(SIZE), v.stack(SIZE)
    dft480(v, [v.load_pairs(samples, 2 * LANES * row) for row in range(ROWS)], re, im)

    # The first and the last bin are real
    first_re, first_im = v.load_one(re, 0), v.load_one(im, 0)
    for offset, value in ((0, v.plus(first_re, first_im)), (2 * SIZE, v.minus(first_re, first_im))):
        v.store_one(value, bins, offset)
        v.store_one(v.one(0.0), bins, offset + 1)

    # Bin k and its mirror together: what even and odd samples gave, the odd ones turned by half a sample
    for k in range(1, SIZE // 2, LANES):
        mirror = SIZE - k - LANES + 1
        a = v.load(re, k), v.load(im, k)
        b = v.reverse(v.load(re, mirror)), v.reverse(v.load(im, mirror))
        even = v.scale((v.plus(a[0], b[0]), v.minus(a[1], b[1])), 0.5)
        odd = v.scale((v.plus(a[1], b[1]), v.minus(b[0], a[0])), 0.5)
        odd = v.times(odd, np.exp(-2j * np.pi * (k + np.arange(LANES)) / (2 * SIZE)))
        v.store_pairs(v.add(even, odd), bins, 2 * k)
        upper = v.minus(even[0], odd[0]), v.minus(odd[1], even[1])
        v.store_pairs((v.reverse(upper[0]), v.reverse(upper[1])), bins, 2 * mirror)


def write_inverse(v: Vectors, bins: Value, samples: Value) -> None:
    """Write the code that undoes the transform. bins: float*, 481 complex numbers; samples: float*, 960, written.

    In plain loops (``tests/reference.py``: ``time_windows``)::

        for n in range(960):
            for k in range(960):  # bins 481.. are the conjugates of 479..1
                samples[n] += (bins[k] * exp(2j * pi * k * n / 960)).real / 960

    The imaginary parts of the first and last bin count as zero. Exchanging real and imaginary parts before and
    after turns the forward transform into the inverse one.
    """
    # Join what even and odd samples gave
    re, im = v.stack(SIZE), v.stack(SIZE)
    norm = 1 / (2 * SIZE)
    first, last = v.load_one(bins, 0), v.load_one(bins, 2 * SIZE)
    v.store_one(v.product_one(v.plus(first, last), norm), re, 0)
    v.store_one(v.product_one(v.minus(first, last), norm), im, 0)
    for k in range(1, SIZE // 2, LANES):
        mirror = SIZE - k - LANES + 1
        a, reversed_b = v.load_pairs(bins, 2 * k), v.load_pairs(bins, 2 * mirror)
        b = v.reverse(reversed_b[0]), v.reverse(reversed_b[1])
        even = v.scale((v.plus(a[0], b[0]), v.minus(a[1], b[1])), norm)
        odd = v.scale((v.minus(a[0], b[0]), v.plus(a[1], b[1])), norm)
        odd = v.times(odd, np.exp(2j * np.pi * (k + np.arange(LANES)) / (2 * SIZE)))
        lower, upper = v.add_i(even, odd), (v.plus(even[0], odd[1]), v.minus(odd[0], even[1]))
        for base, part in ((re, 0), (im, 1)):
            v.store(v.reverse(upper[part]), base, mirror)
            v.store(lower[part], base, k)

    # The inverse of length 480: real and imaginary parts exchanged
    out_re, out_im = v.stack(SIZE), v.stack(SIZE)
    rows = [(v.load(im, LANES * row), v.load(re, LANES * row)) for row in range(ROWS)]
    dft480(v, rows, out_im, out_re)
    for row in range(ROWS):
        v.store_pairs((v.load(out_re, LANES * row), v.load(out_im, LANES * row)), samples, 2 * LANES * row)


_forward = vector_function(write_forward)
_inverse = vector_function(write_inverse)


@kernel
def forward(windows: np.ndarray, out: np.ndarray) -> None:
    """Transform windows, without scaling. windows: float32 [hops, 960]. out: complex64 [hops, 481], written."""
    for hop in range(windows.shape[0]):
        _forward(windows[hop], out[hop])


@kernel
def inverse(spectra: np.ndarray, out: np.ndarray) -> None:
    """Undo ``forward``. spectra: complex64 [hops, 481]. out: float32 [hops, 960], written."""
    for hop in range(spectra.shape[0]):
        _inverse(spectra[hop], out[hop])
