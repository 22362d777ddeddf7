/* The 8-bit product with WebAssembly's vector instructions: what network/dot_extern.py calls. */

#include "product.h"

#include <wasm_simd128.h>

/* A third of a panel at once: browsers on PCs have sixteen registers for all. */
enum { PART = 16, LANES = 4, SUMS = 2 * PART / LANES };

/* Two neighbors' products are added at once: two sums a row, and both of two rows lie together. */
static void product_part(const int8_t *weights, int64_t columns, const int8_t *vector, int32_t *sums) {
    v128_t v[SUMS];
    for (int i = 0; i < SUMS; i++) v[i] = wasm_i32x4_const_splat(0);
    for (int64_t column = 0; column < columns; column += GROUP, weights += GROUP_BYTES) {
        v128_t activations = wasm_i16x8_extend_low_i8x16(wasm_v128_load32_splat(vector + column));
        for (int i = 0; i < SUMS; i++) {
            v128_t factor = wasm_i16x8_load8x8(weights + 2 * GROUP * i);
            v[i] = wasm_i32x4_add(v[i], wasm_i32x4_dot_i16x8(factor, activations));
        }
    }

    for (int i = 0; i < SUMS; i += 2) {
        v128_t even = wasm_i32x4_shuffle(v[i], v[i + 1], 0, 2, 4, 6);
        v128_t odd = wasm_i32x4_shuffle(v[i], v[i + 1], 1, 3, 5, 7);
        wasm_v128_store(sums + LANES * i / 2, wasm_i32x4_add(even, odd));
    }
}

static void product_simd(const int8_t *weights, int64_t panels, int64_t columns, const int8_t *vector, int32_t *sums) {
    for (int64_t panel = 0; panel < panels; panel++, weights += PANEL * columns, sums += PANEL) {
        for (int row = 0; row < PANEL; row += PART) product_part(weights + GROUP * row, columns, vector, sums + row);
    }
}

void percepnet_matmul_int8(const int8_t *weights, int64_t panels, int64_t columns, const int8_t *vector,
                           int32_t *sums) {
    multiply(product_simd, weights, panels, columns, vector, sums);
}
