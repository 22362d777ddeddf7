/* What C code expects of a system, for WebAssembly without one: memory, and powers. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 65536, ALIGNED = 16 };

/* --- Memory: blocks lie behind each other. One that is free serves the next request of exactly its size: streams and
   their buffers are of few sizes, so what is made and closed in turns never needs more. */

typedef struct block {
    _Alignas(ALIGNED) size_t size;
    struct block *next;
} block;

extern unsigned char __heap_base;
static uintptr_t end;
static block *unused;

void *malloc(size_t size) {
    if (size > SIZE_MAX / 2) return NULL;
    size = (size + ALIGNED - 1) / ALIGNED * ALIGNED;
    for (block **at = &unused; *at != NULL; at = &(*at)->next) {
        block *found = *at;
        if (found->size == size) {
            *at = found->next;
            return found + 1;
        }
    }

    if (end == 0) end = ((uintptr_t)&__heap_base + ALIGNED - 1) / ALIGNED * ALIGNED;
    size_t there = __builtin_wasm_memory_size(0) * PAGE - end, wanted = sizeof(block) + size;
    if (wanted > there) {
        size_t pages = (wanted - there + PAGE - 1) / PAGE;
        if (__builtin_wasm_memory_grow(0, pages) == SIZE_MAX) return NULL;
    }
    block *made = (block *)end;
    made->size = size;
    end += wanted;
    return made + 1;
}

void *calloc(size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) return NULL;
    void *made = malloc(count * size);
    return made == NULL ? NULL : memset(made, 0, count * size);
}

void free(void *place) {
    if (place == NULL) return;
    block *freed = (block *)place - 1;
    freed->next = unused;
    unused = freed;
}

/* --- Mathematics: series in 64 bits, whose rests are far below the last bit of the 32 that become of the result. */

static double log2_of(double x) {
    if (x == 0) return -HUGE_VAL;
    if (!(x > 0) || x == HUGE_VAL) return x < 0 ? NAN : x;

    /* x = m 2^e with m in sqrt(1/2)..sqrt(2) */
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int e = (int)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffff) | (uint64_t)1023 << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) m /= 2, e++;

    /* ln m = 2 artanh s = 2 (s + s^3 / 3 + s^5 / 5 + ...) with s = (m - 1) / (m + 1), below 0.172 */
    double s = (m - 1) / (m + 1), power = s, sum = 0;
    for (int k = 1; k <= 17; k += 2, power *= s * s) sum += power / k;
    return e + 2 * 1.4426950408889634 * sum;
}

/* Of positive x. */
double pow(double x, double y) {
    double power = y * log2_of(x), whole = __builtin_rint(power);
    if (power != power) return NAN;
    if (whole < -1000 || whole > 1000) return whole < 0 ? 0 : HUGE_VAL;

    /* 2^whole e^(f ln 2), f at most a half */
    double step = (power - whole) * 0.69314718055994531, term = 1, sum = 0;
    for (int k = 1; k <= 16; k++, term *= step / (k - 1)) sum += term;
    uint64_t bits = (uint64_t)(1023 + (int)whole) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}
