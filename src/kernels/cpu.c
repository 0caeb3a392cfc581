/*
 * cpu: which levels this CPU and this operating system allow, and the choice among them.
 *
 * In:  CPUID leaves 0, 1 and 7 (subleaves 0 and 1), XCR0 (XGETBV), Linux's permission to use AMX, the environment variable
 * CAROUSEL_CPU. Out: a level, its table,
 * or the reason why a level is not available.
 *
 * An instruction set counts when the CPU has it and the operating system saves its registers: XCR0 bits 1-2
 * (XMM, YMM) for AVX2, bits 5-7 as well (mask registers, ZMM) for AVX-512, bits 17-18 (tiles) for AMX, whose registers a
 * process must also ask for: once, for all its threads.
 */
#include "levels.h"
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* What CAROUSEL_CPU may name: the levels, and the one after them. */
static const char *const level_names[CAR_CPU_LEVELS + 1] = {"baseline", "avx2", "avx512", "amx"};

#if defined(__x86_64__)
static uint64_t saved_registers(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Why the level cannot run here; NULL when it can. */
static const char *why_not(car_cpu_level level) {
    enum { YMM = 0x06, ZMM = 0xe0 };
    if (level == CAR_CPU_BASELINE)
        return NULL;
    unsigned a = 0, b = 0, c1 = 0, d = 0, b7 = 0, c7 = 0;
    if (!__get_cpuid(1, &a, &b, &c1, &d) || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d))
        return "the CPU has no AVX2";
    if (!(c1 & bit_OSXSAVE))
        return "the operating system does not save YMM registers";
    if (!(c1 & bit_AVX) || !(b7 & bit_AVX2))
        return "the CPU has no AVX2";
    if (!(c1 & bit_FMA))
        return "the CPU has no FMA";
    const uint64_t saved = saved_registers();
    if ((saved & YMM) != YMM)
        return "the operating system does not save YMM registers";
    if (level == CAR_CPU_AVX2)
        return NULL;
    const unsigned needed = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((b7 & needed) != needed)
        return "the CPU lacks one of AVX-512 F, BW, DQ, VL";
    if ((saved & ZMM) != ZMM)
        return "the operating system does not save ZMM registers";
    return NULL;
}

/* Where level avx512 runs: does the CPU multiply quads of int8? */
static bool has_vnni(void) {
    enum { AVX512_VNNI = 1 << 11 }; /* leaf 7, subleaf 0, ECX */
    unsigned a = 0, b = 0, c = 0, d = 0;
    return !why_not(CAR_CPU_AVX512) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & AVX512_VNNI);
}

/* And pairs of bf16? All that do have VNNI. */
static bool has_bf16(void) {
    enum { AVX512_BF16 = 1 << 5 }; /* leaf 7, subleaf 1, EAX */
    unsigned a = 0, b = 0, c = 0, d = 0;
    return has_vnni() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX512_BF16);
}

/* Is it one of AMD's of a family from Zen 5's on? */
static bool is_zen5(void) {
    enum { ZEN5 = 26 };
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx || c != signature_AMD_ecx ||
        d != signature_AMD_edx || !__get_cpuid(1, &a, &b, &c, &d))
        return false;
    const unsigned family = (a >> 8 & 15) + (a >> 20 & 255);
    return family >= ZEN5;
}

/* Where AVX512_BF16 is: why products do not run on tiles; NULL when they do. */
static const char *why_no_tiles(void) {
    enum { AMX = 1 << 22 | 1 << 24 | 1 << 25 }; /* leaf 7, EDX: bf16, tiles, int8 */
    enum { TILES = 0x60000 };
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!has_bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & AMX) != AMX)
        return "the CPU has no AMX for bf16 and int8";
    if ((saved_registers() & TILES) != TILES)
        return "the operating system does not save AMX tiles";
#if defined(__linux__)
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* arch_prctl(2), XCR0 */
    if (syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) != 0)
        return "Linux does not permit AMX (arch_prctl)";
    return NULL;
#else
    return "no permission for AMX is known on this system";
#endif
}
#else
static const char *why_not(car_cpu_level level) {
    return level == CAR_CPU_BASELINE ? NULL : "not an x86-64 CPU";
}

static bool has_vnni(void) {
    return false;
}

static bool has_bf16(void) {
    return false;
}

static const char *why_no_tiles(void) {
    return "not an x86-64 CPU";
}
#endif

car_cpu_level car_cpu_highest(void) {
    for (int level = CAR_CPU_LEVELS - 1; level > CAR_CPU_BASELINE; level--)
        if (!why_not((car_cpu_level)level))
            return (car_cpu_level)level;
    return CAR_CPU_BASELINE;
}

#if defined(__x86_64__)
static const car_kernels *without_tiles(void) {
    return has_bf16()   ? is_zen5() ? &car_kernels_zen5 : &car_kernels_avx512_bf16
           : has_vnni() ? &car_kernels_avx512_vnni
                        : &car_kernels_avx512;
}
#endif

const car_kernels *car_kernels_of(car_cpu_level level) {
    if (level >= CAR_CPU_LEVELS || why_not(level))
        return NULL;
#if defined(__x86_64__)
    if (level == CAR_CPU_AVX512)
        return !why_no_tiles() ? &car_kernels_amx : without_tiles();
    if (level == CAR_CPU_AVX2)
        return &car_kernels_avx2;
#endif
    return &car_kernels_baseline;
}

car_status car_kernels_choose(const car_kernels **kernels, car_error *error) {
    car_cpu_level level = car_cpu_highest();
    const char *wanted = getenv("CAROUSEL_CPU");
    if (wanted && *wanted) {
        int named = 0;
        while (named <= CAR_CPU_LEVELS && strcmp(wanted, level_names[named]) != 0)
            named++;
        if (named > CAR_CPU_LEVELS)
            return car_fail(
                error, CAR_USAGE,
                "CAROUSEL_CPU: unknown level '%.32s'; use baseline, avx2, avx512 or amx", wanted);
        if (named < (int)level)
            level = (car_cpu_level)named;
#if defined(__x86_64__)
        if (named == CAR_CPU_AVX512 && level == CAR_CPU_AVX512) {
            *kernels = without_tiles();
            return CAR_OK;
        }
#endif
    }
    *kernels = car_kernels_of(level);
    return CAR_OK;
}

void car_cpu_describe(car_text *text) {
    for (int level = 0; level < CAR_CPU_LEVELS; level++) {
        const char *reason = why_not((car_cpu_level)level);
        car_text_format(text, "%s: %s\n", level_names[level], reason ? reason : "available");
    }
    car_text_format(text, "bf16: %s\n",
                    has_bf16() ? "products by AVX512_BF16 at level avx512"
                               : "widened to f32 at every level");
    car_text_format(text, "int8: %s\n",
                    has_vnni() ? "products by AVX512_VNNI at level avx512"
                               : "widened to 16 bits at every level");
    const char *reason = why_no_tiles();
    car_text_format(text, "amx: %s\n",
                    reason ? reason
                           : "available: products of training in bf16, of wide gradients in f32");
}
