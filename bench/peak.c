/*
 * peak.c: independent chains of fma in registers: no kernel can do more floating-point work than this.
 *
 * Twelve chains hide the latency of four to five cycles on two ports. Two FLOP for each fma and lane.
 */
#include "peak.h"
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CHAINS = 12, STEPS = 2000000 };

double bench_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

#if defined(__x86_64__)
/* The sum goes to *sink so that no chain is dropped. */
#define PEAK(name, isa, type, set, step, width)                                                    \
    __attribute__((target(isa))) static void name(volatile float *sink) {                          \
        type chain[CHAINS], x = set(0.999f), y = set(1e-4f);                                       \
        for (int i = 0; i < CHAINS; i++)                                                           \
            chain[i] = set((float)i);                                                              \
        for (int k = 0; k < STEPS; k++)                                                            \
            _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) chain[i] = step;             \
        float lanes[width];                                                                        \
        for (int i = 0; i < CHAINS; i++) {                                                         \
            memcpy(lanes, &chain[i], sizeof lanes);                                                \
            *sink += lanes[0];                                                                     \
        }                                                                                          \
    }
PEAK(peak_baseline, "sse2", __m128, _mm_set1_ps, _mm_add_ps(_mm_mul_ps(chain[i], x), y), 4)
PEAK(peak_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps(chain[i], x, y), 8)
PEAK(peak_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps(chain[i], x, y), 16)
#else
static void peak_baseline(volatile float *sink) {
    float chain[CHAINS] = {0};
    for (int k = 0; k < STEPS; k++)
        for (int i = 0; i < CHAINS; i++)
            chain[i] = chain[i] * 0.999f + 1e-4f;
    for (int i = 0; i < CHAINS; i++)
        *sink += chain[i];
}
#define peak_avx2   peak_baseline
#define peak_avx512 peak_baseline
#endif

static void peak_task(void *argument, car_team *team, int member, int members) {
    static void (*const chains[])(volatile float *) = {peak_baseline, peak_avx2, peak_avx512};
    volatile float sink = 0;
    (void)members;
    car_team_barrier(team, member);
    chains[*(car_cpu_level *)argument](&sink);
    car_team_barrier(team, member);
}

double bench_peak(car_cpu_level level, int threads) {
    static const double width[] = {4, 8, 16};
    double best = 0;
    for (int run = 0; run < 10; run++) {
        double start = bench_now();
        car_team_run(threads, peak_task, &level);
        double rate = 2.0 * CHAINS * STEPS * width[level] * threads / (bench_now() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}
