/* The 8-bit product of 64-bit PCs, in the fastest form that the CPU has: what network/dot_extern.py calls. */

#include "cpu_x86.h"
#include "product.h"

#include <immintrin.h>
#include <stddef.h>

/* --- What every such CPU has: bytes become numbers of 16 bits, and two neighbors' products are added at once. Twice as
   many lanes as rows are one third of a panel here: more does not fit the registers. */

enum { PART = 16, LANES = 4, SUMS = 2 * PART / LANES };

static inline __m128i low_to_16_bits(__m128i bytes) { return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8); }

static inline __m128i high_to_16_bits(__m128i bytes) { return _mm_srai_epi16(_mm_unpackhi_epi8(bytes, bytes), 8); }

/* The sums of neighbors, of two vectors. */
static inline __m128i add_neighbors(__m128i a, __m128i b) {
    __m128 first = _mm_castsi128_ps(a), second = _mm_castsi128_ps(b);
    __m128i even = _mm_castps_si128(_mm_shuffle_ps(first, second, 0x88));
    __m128i odd = _mm_castps_si128(_mm_shuffle_ps(first, second, 0xdd));
    return _mm_add_epi32(even, odd);
}

static void product_part(const int8_t *weights, int64_t columns, const int8_t *vector, int32_t *sums) {
    __m128i v[SUMS];
    for (int i = 0; i < SUMS; i++) v[i] = _mm_setzero_si128();
    for (int64_t column = 0; column < columns; column += GROUP, weights += GROUP_BYTES) {
        __m128i activations = low_to_16_bits(_mm_set1_epi32(four(vector + column)));
        for (int i = 0; i < SUMS; i += 2) {
            __m128i factor = _mm_loadu_si128((const void *)(weights + i / 2 * sizeof factor));
            v[i] = _mm_add_epi32(v[i], _mm_madd_epi16(low_to_16_bits(factor), activations));
            v[i + 1] = _mm_add_epi32(v[i + 1], _mm_madd_epi16(high_to_16_bits(factor), activations));
        }
    }
    for (int i = 0; i < SUMS; i += 2) _mm_storeu_si128((void *)(sums + LANES * i / 2), add_neighbors(v[i], v[i + 1]));
}

static void product_sse2(const int8_t *weights, int64_t panels, int64_t columns, const int8_t *vector, int32_t *sums) {
    for (int64_t panel = 0; panel < panels; panel++, weights += PANEL * columns, sums += PANEL) {
        for (int row = 0; row < PANEL; row += PART) product_part(weights + GROUP * row, columns, vector, sums + row);
    }
}

/* --- 256 bits: the same, a panel at once. */

enum { LANES_256 = 8, SUMS_256 = 2 * PANEL / LANES_256, REGISTERS_256 = PANEL / LANES_256 };
#define AVX2 __attribute__((target("avx2")))
#define AVX_VNNI __attribute__((target("avx2,avxvnni")))

AVX2 static void product_avx2(const int8_t *weights, int64_t panels, int64_t columns, const int8_t *vector,
                              int32_t *sums) {
    for (int64_t panel = 0; panel < panels; panel++, sums += PANEL) {
        __m256i v[SUMS_256];
        for (int i = 0; i < SUMS_256; i++) v[i] = _mm256_setzero_si256();
        for (int64_t column = 0; column < columns; column += GROUP, weights += GROUP_BYTES) {
            __m256i activations = _mm256_cvtepi8_epi16(_mm_set1_epi32(four(vector + column)));
            for (int i = 0; i < SUMS_256; i++) {
                __m256i factor = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(weights + 16 * i)));
                v[i] = _mm256_add_epi32(v[i], _mm256_madd_epi16(factor, activations));
            }
        }

        /* Neighbors are added within halves of registers, so quarters have to change places */
        for (int i = 0; i < SUMS_256; i += 2) {
            __m256i added = _mm256_permute4x64_epi64(_mm256_hadd_epi32(v[i], v[i + 1]), 0xd8);
            _mm256_storeu_si256((void *)(sums + LANES_256 * i / 2), added);
        }
    }
}

/* --- vpdpbusd sums four products of bytes. Its first factor has no sign, so weights get 128 more, which is the same as
   their highest bit turned over; 128 times the sum of the activations is taken off at the end. */

static inline int32_t too_much(int64_t columns, const int8_t *vector) {
    int32_t sum = 0;
    for (int64_t column = 0; column < columns; column++) sum += vector[column];
    return 128 * sum;
}

AVX_VNNI static void product_avx_vnni(const int8_t *weights, int64_t panels, int64_t columns, const int8_t *vector,
                                      int32_t *sums) {
    const __m256i turn = _mm256_set1_epi8((char)0x80), extra = _mm256_set1_epi32(too_much(columns, vector));
    for (int64_t panel = 0; panel < panels; panel++, sums += PANEL) {
        __m256i v[REGISTERS_256];
        for (int i = 0; i < REGISTERS_256; i++) v[i] = _mm256_setzero_si256();
        for (int64_t column = 0; column < columns; column += GROUP, weights += GROUP_BYTES) {
            __m256i activations = _mm256_set1_epi32(four(vector + column));
            for (int i = 0; i < REGISTERS_256; i++) {
                __m256i factor = _mm256_loadu_si256((const void *)(weights + 32 * i));
                v[i] = _mm256_dpbusd_avx_epi32(v[i], _mm256_xor_si256(factor, turn), activations);
            }
        }
        for (int i = 0; i < REGISTERS_256; i++) {
            _mm256_storeu_si256((void *)(sums + LANES_256 * i), _mm256_sub_epi32(v[i], extra));
        }
    }
}

/* --- The same in 512 bits. A panel has only three sums here: four groups of columns have sums of their own, so that
   the CPU need not wait for one product before it begins the next. */

enum { LANES_512 = 16, REGISTERS_512 = PANEL / LANES_512, UNROLLED = 4 };
#define AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

AVX512_VNNI static inline void add_group(__m512i *v, const int8_t *weights, int32_t activations) {
    const __m512i turn = _mm512_set1_epi8((char)0x80);
    for (int i = 0; i < REGISTERS_512; i++) {
        __m512i factor = _mm512_xor_si512(_mm512_loadu_si512(weights + 64 * i), turn);
        v[i] = _mm512_dpbusd_epi32(v[i], factor, _mm512_set1_epi32(activations));
    }
}

AVX512_VNNI static void product_avx512_vnni(const int8_t *weights, int64_t panels, int64_t columns,
                                            const int8_t *vector, int32_t *sums) {
    const __m512i extra = _mm512_set1_epi32(too_much(columns, vector));
    int64_t unrolled = columns / (UNROLLED * GROUP) * (UNROLLED * GROUP);
    for (int64_t panel = 0; panel < panels; panel++, sums += PANEL) {
        __m512i v[UNROLLED][REGISTERS_512];
        memset(v, 0, sizeof v);

        int64_t column = 0;
        while (column < unrolled) {
            for (int i = 0; i < UNROLLED; i++, column += GROUP, weights += GROUP_BYTES) {
                add_group(v[i], weights, four(vector + column));
            }
        }
        for (; column < columns; column += GROUP, weights += GROUP_BYTES) {
            add_group(v[0], weights, four(vector + column));
        }

        for (int i = 0; i < REGISTERS_512; i++) {
            __m512i all = _mm512_add_epi32(_mm512_add_epi32(v[0][i], v[1][i]), _mm512_add_epi32(v[2][i], v[3][i]));
            _mm512_storeu_si512(sums + LANES_512 * i, _mm512_sub_epi32(all, extra));
        }
    }
}

/* --- The choice: made once, and the same whichever thread is first. */

static product *fastest(void) {
    static product *chosen;
    product *known = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (known == NULL) {
        known = has_avx512_vnni() ? product_avx512_vnni
                : has_avx_vnni()  ? product_avx_vnni
                : has_x86_64_v3() ? product_avx2
                                  : product_sse2;
        __atomic_store_n(&chosen, known, __ATOMIC_RELAXED);
    }
    return known;
}

void percepnet_matmul_int8(const int8_t *weights, int64_t panels, int64_t columns, const int8_t *vector,
                           int32_t *sums) {
    multiply(fastest(), weights, panels, columns, vector, sums);
}
