/* The 8-bit product of 64-bit ARM, in the fastest form that the CPU has: what network/dot_extern.py calls. */

#include "product.h"

#include <arm_neon.h>

#ifdef __linux__
#include <sys/auxv.h>
#endif

enum { LANES = 4, REGISTERS = PANEL / LANES, REGISTER_BYTES = GROUP * LANES };

/* What every such CPU has: products of 16 bits, two neighbors added to a sum of 32. So a row has two sums; those
   of two rows lie side by side. */
static void product_neon(const int8_t *weights, int64_t panels, int64_t columns, const int8_t *vector, int32_t *sums) {
    for (int64_t panel = 0; panel < panels; panel++, sums += PANEL) {
        int32x4_t low[REGISTERS], high[REGISTERS];
        for (int i = 0; i < REGISTERS; i++) low[i] = high[i] = vdupq_n_s32(0);
        for (int64_t column = 0; column < columns; column += GROUP, weights += GROUP_BYTES) {
            int8x16_t activations = vreinterpretq_s8_s32(vdupq_n_s32(four(vector + column)));
            for (int i = 0; i < REGISTERS; i++) {
                int8x16_t factor = vld1q_s8(weights + REGISTER_BYTES * i);
                low[i] = vpadalq_s16(low[i], vmull_s8(vget_low_s8(factor), vget_low_s8(activations)));
                high[i] = vpadalq_s16(high[i], vmull_high_s8(factor, activations));
            }
        }
        for (int i = 0; i < REGISTERS; i++) vst1q_s32(sums + LANES * i, vpaddq_s32(low[i], high[i]));
    }
}

/* sdot sums four products of bytes. */
__attribute__((target("dotprod"))) static void product_dotprod(const int8_t *weights, int64_t panels, int64_t columns,
                                                               const int8_t *vector, int32_t *sums) {
    for (int64_t panel = 0; panel < panels; panel++, sums += PANEL) {
        int32x4_t v[REGISTERS];
        for (int i = 0; i < REGISTERS; i++) v[i] = vdupq_n_s32(0);
        for (int64_t column = 0; column < columns; column += GROUP, weights += GROUP_BYTES) {
            int8x16_t activations = vreinterpretq_s8_s32(vdupq_n_s32(four(vector + column)));
            for (int i = 0; i < REGISTERS; i++) {
                v[i] = vdotq_s32(v[i], vld1q_s8(weights + REGISTER_BYTES * i), activations);
            }
        }
        for (int i = 0; i < REGISTERS; i++) vst1q_s32(sums + LANES * i, v[i]);
    }
}

static int has_dotprod(void) {
#ifdef __linux__
    return (getauxval(AT_HWCAP) & 1 << 20) != 0; /* HWCAP_ASIMDDP */
#else
    return 1; /* all of Apple's CPUs that macOS 11 runs on */
#endif
}

void percepnet_matmul_int8(const int8_t *weights, int64_t panels, int64_t columns, const int8_t *vector,
                           int32_t *sums) {
    multiply(has_dotprod() ? product_dotprod : product_neon, weights, panels, columns, vector, sums);
}
