/* The 8-bit product of 64-bit ARM, in the fastest form that the CPU has: what network/dot_extern.py calls. */

#include <arm_neon.h>
#include <stdint.h>

#ifdef __linux__
#include <sys/auxv.h>
#endif

enum { LANES = 16, ROWS = 8 };

typedef void product(const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vector, int32_t *sums);

static int32_t plain_row(const int8_t *weights, int64_t columns, const int8_t *vector) {
    int32_t sum = 0;
    for (int64_t column = 0; column < columns; column++) sum += weights[column] * vector[column];
    return sum;
}

/* Eight rows are done: write the sums of their lanes, with the columns that fill no vector. */
static inline void write_sums(const int32x4_t *v, const int8_t *weights, int64_t columns, const int8_t *vector,
                              int64_t whole, int32_t *sums) {
    for (int i = 0; i < ROWS; i++) {
        sums[i] = vaddvq_s32(v[i]) + plain_row(weights + i * columns + whole, columns - whole, vector + whole);
    }
}

static void product_rest(const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vector, int32_t *sums) {
    for (int64_t row = 0; row < rows; row++) sums[row] = plain_row(weights + row * columns, columns, vector);
}

/* What every such CPU has: products of 16 bits, two neighbors added to a sum of 32. */
static void product_neon(const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vector, int32_t *sums) {
    int64_t whole = columns / LANES * LANES, row = 0;
    for (; row + ROWS <= rows; row += ROWS, weights += ROWS * columns) {
        int32x4_t v[ROWS];
        for (int i = 0; i < ROWS; i++) v[i] = vdupq_n_s32(0);
        for (int64_t column = 0; column < whole; column += LANES) {
            int8x16_t activations = vld1q_s8(vector + column);
            for (int i = 0; i < ROWS; i++) {
                int8x16_t factor = vld1q_s8(weights + i * columns + column);
                v[i] = vpadalq_s16(v[i], vmull_s8(vget_low_s8(factor), vget_low_s8(activations)));
                v[i] = vpadalq_s16(v[i], vmull_high_s8(factor, activations));
            }
        }
        write_sums(v, weights, columns, vector, whole, sums + row);
    }
    product_rest(weights, rows - row, columns, vector, sums + row);
}

/* sdot sums four products of bytes. */
__attribute__((target("dotprod"))) static void product_dotprod(const int8_t *weights, int64_t rows, int64_t columns,
                                                               const int8_t *vector, int32_t *sums) {
    int64_t whole = columns / LANES * LANES, row = 0;
    for (; row + ROWS <= rows; row += ROWS, weights += ROWS * columns) {
        int32x4_t v[ROWS];
        for (int i = 0; i < ROWS; i++) v[i] = vdupq_n_s32(0);
        for (int64_t column = 0; column < whole; column += LANES) {
            int8x16_t activations = vld1q_s8(vector + column);
            for (int i = 0; i < ROWS; i++) {
                v[i] = vdotq_s32(v[i], vld1q_s8(weights + i * columns + column), activations);
            }
        }
        write_sums(v, weights, columns, vector, whole, sums + row);
    }
    product_rest(weights, rows - row, columns, vector, sums + row);
}

static int has_dotprod(void) {
#ifdef __linux__
    return (getauxval(AT_HWCAP) & 1 << 20) != 0; /* HWCAP_ASIMDDP */
#else
    return 1; /* all of Apple's CPUs that macOS 11 runs on */
#endif
}

void percepnet_matmul_int8(const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vectors, int64_t hops,
                           int32_t *sums, int64_t sums_per_hop) {
    /* A stream brings one hop at a time */
    product *chosen = has_dotprod() ? product_dotprod : product_neon;
    for (int64_t hop = 0; hop < hops; hop++) {
        chosen(weights, rows, columns, vectors + hop * columns, sums + hop * sums_per_hop);
    }
}
