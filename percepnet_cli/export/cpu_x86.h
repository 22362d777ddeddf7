/* What the CPU of a 64-bit PC has, asked by itself: zig's run-time library answers no to __builtin_cpu_supports. */

#ifndef PERCEPNET_CPU_X86_H
#define PERCEPNET_CPU_X86_H

#include <cpuid.h>

static int has_bits(unsigned value, unsigned bits) { return (value & bits) == bits; }

/* x86-64-v3 of the System V ABI: AVX2 and what came with it, and a system that keeps the wide registers. */
static int has_x86_64_v3(void) {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_bits(c, bit_FMA | bit_MOVBE | bit_POPCNT | bit_OSXSAVE | bit_AVX | bit_F16C))
        return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (!has_bits(low, 6)) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has_bits(b, bit_AVX2 | bit_BMI | bit_BMI2)) return 0;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && has_bits(c, bit_LZCNT);
}

#endif
