/* What the CPU of a 64-bit PC has, asked by itself: zig's run-time library answers no to __builtin_cpu_supports. */

#ifndef PERCEPNET_CPU_X86_H
#define PERCEPNET_CPU_X86_H

#include <cpuid.h>

static inline int has_bits(unsigned value, unsigned bits) { return (value & bits) == bits; }

/* Whether the system keeps registers of these kinds: bits of XCR0. */
static inline int keeps(unsigned kinds) {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_bits(c, bit_OSXSAVE)) return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return has_bits(low, kinds);
}

/* x86-64-v3 of the System V ABI: AVX2 and what came with it, and a system that keeps the wide registers. */
static inline int has_x86_64_v3(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_bits(c, bit_FMA | bit_MOVBE | bit_POPCNT | bit_AVX | bit_F16C) ||
        !keeps(0x6))
        return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has_bits(b, bit_AVX2 | bit_BMI | bit_BMI2)) return 0;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && has_bits(c, bit_LZCNT);
}

/* x86-64-v4: AVX-512 F, DQ, CD, BW and VL. */
static inline int has_x86_64_v4(void) {
    unsigned a, b, c, d;
    return has_x86_64_v3() && keeps(0xe6) && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
           has_bits(b, 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31);
}

/* AVX-VNNI: sums of four products of bytes, in 256 bits. */
static inline int has_avx_vnni(void) {
    unsigned a, b, c, d;
    return has_x86_64_v3() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && has_bits(a, 1u << 4);
}

/* The same in 512 bits: AVX-512 F, BW and VNNI. */
static inline int has_avx512_vnni(void) {
    unsigned a, b, c, d;
    return keeps(0xe6) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && has_bits(b, 1u << 16 | 1u << 30) &&
           has_bits(c, 1u << 11);
}

#endif
