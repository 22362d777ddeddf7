/* The 8-bit product with WebAssembly's vector instructions: what network/dot_extern.py calls. */

#include <stdint.h>
#include <wasm_simd128.h>

enum { LANES = 16, ROWS = 4 };

/* The sum of 16 products for each of four lanes: two neighbors at a time, which a 32-bit sum takes. */
static v128_t add_products(v128_t sums, const int8_t *weights, v128_t low, v128_t high) {
    sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(weights), low));
    return wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(weights + LANES / 2), high));
}

/* The sums of the lanes of each of four vectors. */
static v128_t sums_of_lanes(v128_t a, v128_t b, v128_t c, v128_t d) {
    v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 1, 4, 5), wasm_i32x4_shuffle(a, b, 2, 3, 6, 7));
    v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(c, d, 0, 1, 4, 5), wasm_i32x4_shuffle(c, d, 2, 3, 6, 7));
    return wasm_i32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 2, 4, 6), wasm_i32x4_shuffle(ab, cd, 1, 3, 5, 7));
}

static int32_t plain_product(const int8_t *weights, const int8_t *vector, int columns) {
    int32_t sum = 0;
    for (int column = 0; column < columns; column++) sum += weights[column] * vector[column];
    return sum;
}

void percepnet_matmul_int8(const int8_t *weights, int64_t all_rows, int64_t all_columns, const int8_t *vectors,
                           int64_t hops, int32_t *sums, int64_t sums_per_hop) {
    /* 32 bits are what addresses have here */
    int columns = (int)all_columns, rows = (int)all_rows, whole = columns / LANES * LANES, row = 0;

    /* Four rows at once: they share each activation that is read and widened */
    for (; row + ROWS <= rows; row += ROWS) {
        const int8_t *first = weights + row * columns, *second = first + columns, *third = second + columns,
                     *fourth = third + columns;
        for (int hop = 0; hop < hops; hop++) {
            const int8_t *vector = vectors + hop * columns;
            v128_t a = wasm_i32x4_const_splat(0), b = a, c = a, d = a;
            for (int column = 0; column < whole; column += LANES) {
                v128_t low = wasm_i16x8_load8x8(vector + column);
                v128_t high = wasm_i16x8_load8x8(vector + column + LANES / 2);
                a = add_products(a, first + column, low, high);
                b = add_products(b, second + column, low, high);
                c = add_products(c, third + column, low, high);
                d = add_products(d, fourth + column, low, high);
            }

            /* The columns that fill no vector */
            const int8_t *rest = vector + whole;
            v128_t tail = wasm_i32x4_make(plain_product(first + whole, rest, columns - whole),
                                          plain_product(second + whole, rest, columns - whole),
                                          plain_product(third + whole, rest, columns - whole),
                                          plain_product(fourth + whole, rest, columns - whole));
            wasm_v128_store(sums + hop * sums_per_hop + row, wasm_i32x4_add(sums_of_lanes(a, b, c, d), tail));
        }
    }

    /* The rows that fill no four */
    for (; row < rows; row++) {
        for (int hop = 0; hop < hops; hop++) {
            sums[hop * sums_per_hop + row] = plain_product(weights + row * columns, vectors + hop * columns, columns);
        }
    }
}
