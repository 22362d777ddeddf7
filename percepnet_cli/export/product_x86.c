/* The 8-bit product of 64-bit PCs, in the fastest form that the CPU has: what network/dot_extern.py calls. */

#include "cpu_x86.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef void product(const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vector, int32_t *sums);

static int32_t plain_row(const int8_t *weights, int64_t columns, const int8_t *vector) {
    int32_t sum = 0;
    for (int64_t column = 0; column < columns; column++) sum += weights[column] * vector[column];
    return sum;
}

static void product_plain(const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vector, int32_t *sums) {
    for (int64_t row = 0; row < rows; row++) sums[row] = plain_row(weights + row * columns, columns, vector);
}

/* --- 256 bits: eight rows at once share each activation that is read. What fills no vector goes the plain way. */

enum { LANES_256 = 32, ROWS_256 = 8 };
#define AVX2 __attribute__((target("avx2")))
#define AVX_VNNI __attribute__((target("avx2,avxvnni")))

/* Of each of eight vectors the sum of its lanes, in order. */
AVX2 static inline __m256i sums_of_8(const __m256i *v) {
    __m256i a = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

/* Eight rows are done: add the columns that fill no vector. */
static inline void add_rest(const int8_t *weights, int64_t columns, const int8_t *vector, int64_t whole,
                            int32_t *sums) {
    if (whole == columns) return;
    for (int i = 0; i < ROWS_256; i++) {
        sums[i] += plain_row(weights + i * columns + whole, columns - whole, vector + whole);
    }
}

/* Bytes become numbers of 16 bits; two neighbors' products are added at once, which a 32-bit sum takes. */
AVX2 static void product_avx2(const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vector,
                              int32_t *sums) {
    int64_t whole = columns / LANES_256 * LANES_256, row = 0;
    for (; row + ROWS_256 <= rows; row += ROWS_256, weights += ROWS_256 * columns) {
        __m256i v[ROWS_256];
        for (int i = 0; i < ROWS_256; i++) v[i] = _mm256_setzero_si256();
        for (int64_t column = 0; column < whole; column += LANES_256) {
            const __m128i *activations = (const void *)(vector + column);
            __m256i low = _mm256_cvtepi8_epi16(_mm_loadu_si128(activations));
            __m256i high = _mm256_cvtepi8_epi16(_mm_loadu_si128(activations + 1));
            for (int i = 0; i < ROWS_256; i++) {
                const __m128i *place = (const void *)(weights + i * columns + column);
                __m256i first = _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128(place)), low);
                __m256i second = _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128(place + 1)), high);
                v[i] = _mm256_add_epi32(v[i], _mm256_add_epi32(first, second));
            }
        }
        _mm256_storeu_si256((void *)(sums + row), sums_of_8(v));
        add_rest(weights, columns, vector, whole, sums + row);
    }
    product_plain(weights, rows - row, columns, vector, sums + row);
}

/* vpdpbusd sums four products of bytes. Its first factor has no sign, so weights get 128 more, which is the same as
   their highest bit turned over; 128 times the sum of the activations is taken off at the end. */
AVX_VNNI static void product_avx_vnni(const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vector,
                                      int32_t *sums) {
    const __m256i turn = _mm256_set1_epi8((char)0x80);
    int64_t whole = columns / LANES_256 * LANES_256, row = 0;
    int32_t extra = 0;
    for (int64_t column = 0; column < whole; column++) extra += 128 * vector[column];

    for (; row + ROWS_256 <= rows; row += ROWS_256, weights += ROWS_256 * columns) {
        __m256i v[ROWS_256];
        for (int i = 0; i < ROWS_256; i++) v[i] = _mm256_setzero_si256();
        for (int64_t column = 0; column < whole; column += LANES_256) {
            __m256i activations = _mm256_loadu_si256((const void *)(vector + column));
            for (int i = 0; i < ROWS_256; i++) {
                __m256i factor = _mm256_loadu_si256((const void *)(weights + i * columns + column));
                v[i] = _mm256_dpbusd_avx_epi32(v[i], _mm256_xor_si256(factor, turn), activations);
            }
        }
        _mm256_storeu_si256((void *)(sums + row), _mm256_sub_epi32(sums_of_8(v), _mm256_set1_epi32(extra)));
        add_rest(weights, columns, vector, whole, sums + row);
    }
    product_plain(weights, rows - row, columns, vector, sums + row);
}

/* --- 512 bits: the same with sixteen rows, and with masks, so that what fills no vector is as fast. */

enum { LANES_512 = 64, ROWS_512 = 16 };
#define AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

/* Of each of sixteen vectors the sum of its lanes, in order. */
AVX512_VNNI static inline __m512i sums_of_16(__m512i *v) {
    for (int i = 0; i < ROWS_512; i += 4) {
        __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(v[i], v[i + 1]), _mm512_unpackhi_epi32(v[i], v[i + 1]));
        __m512i cd =
            _mm512_add_epi32(_mm512_unpacklo_epi32(v[i + 2], v[i + 3]), _mm512_unpackhi_epi32(v[i + 2], v[i + 3]));
        v[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    }

    /* Each quarter of v[0], v[4], v[8] and v[12] now holds parts of four sums: add the quarters of each */
    __m512i low = _mm512_add_epi32(_mm512_shuffle_i32x4(v[0], v[4], 0x88), _mm512_shuffle_i32x4(v[0], v[4], 0xdd));
    __m512i high = _mm512_add_epi32(_mm512_shuffle_i32x4(v[8], v[12], 0x88), _mm512_shuffle_i32x4(v[8], v[12], 0xdd));
    return _mm512_add_epi32(_mm512_shuffle_i32x4(low, high, 0x88), _mm512_shuffle_i32x4(low, high, 0xdd));
}

AVX512_VNNI static void product_avx512_vnni(const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vector,
                                            int32_t *sums) {
    const __m512i turn = _mm512_set1_epi8((char)0x80);
    int64_t whole = columns / LANES_512 * LANES_512, row = 0;
    __mmask64 rest = ((__mmask64)1 << (columns - whole)) - 1;
    int32_t extra = 0;
    for (int64_t column = 0; column < columns; column++) extra += 128 * vector[column];

    for (; row + ROWS_512 <= rows; row += ROWS_512, weights += ROWS_512 * columns) {
        __m512i v[ROWS_512];
        for (int i = 0; i < ROWS_512; i++) v[i] = _mm512_setzero_si512();
        for (int64_t column = 0; column < whole; column += LANES_512) {
            __m512i activations = _mm512_loadu_si512(vector + column);
            for (int i = 0; i < ROWS_512; i++) {
                __m512i factor = _mm512_loadu_si512(weights + i * columns + column);
                v[i] = _mm512_dpbusd_epi32(v[i], _mm512_xor_si512(factor, turn), activations);
            }
        }
        if (rest != 0) {
            __m512i activations = _mm512_maskz_loadu_epi8(rest, vector + whole);
            for (int i = 0; i < ROWS_512; i++) {
                __m512i factor = _mm512_maskz_loadu_epi8(rest, weights + i * columns + whole);
                v[i] = _mm512_dpbusd_epi32(v[i], _mm512_xor_si512(factor, turn), activations);
            }
        }
        _mm512_storeu_si512(sums + row, _mm512_sub_epi32(sums_of_16(v), _mm512_set1_epi32(extra)));
    }

    for (; row < rows; row++, weights += columns) {
        __m512i factor = _mm512_maskz_loadu_epi8(rest, weights + whole);
        __m512i activations = _mm512_maskz_loadu_epi8(rest, vector + whole);
        __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_xor_si512(factor, turn), activations);
        for (int64_t column = 0; column < whole; column += LANES_512) {
            factor = _mm512_xor_si512(_mm512_loadu_si512(weights + column), turn);
            sum = _mm512_dpbusd_epi32(sum, factor, _mm512_loadu_si512(vector + column));
        }
        sums[row] = _mm512_reduce_add_epi32(sum) - extra;
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
                                  : product_plain;
        __atomic_store_n(&chosen, known, __ATOMIC_RELAXED);
    }
    return known;
}

void percepnet_matmul_int8(const int8_t *weights, int64_t rows, int64_t columns, const int8_t *vectors, int64_t hops,
                           int32_t *sums, int64_t sums_per_hop) {
    /* A stream brings one hop at a time */
    product *chosen = fastest();
    for (int64_t hop = 0; hop < hops; hop++) {
        chosen(weights, rows, columns, vectors + hop * columns, sums + hop * sums_per_hop);
    }
}
