/*
 * machine.c: what the machine can do, whatever runs on it.
 *
 * In:  a number of threads. Out: the best of many short runs, on one core and on all threads:
 *
 *   fma, dot    twelve independent chains in registers hide the latency of four or five cycles on two ports; no
 *               kernel can do more. FLOP a step: 2 a lane (fma), 4 a lane (dot: two products of bf16, two sums), 8 a
 *               lane (quad: four products of int8, four sums)
 *   tiles       four tiles of sums in registers, 16 x 16 x 32 products of bf16 a step, 16 x 16 x 64 of int8
 *   bandwidth   eight sums over a buffer that fills half of a cache, or several times the last one
 *
 * The sizes of the caches are Linux's for the first core; where it says none, 32 KiB, 1 MiB and 32 MiB. Of the last one 32 MiB at
 * most count: a guest is told of all that its host has, hundreds of MiB, and finds some of it.
 */
#include "bench.h"
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

enum { CHAINS = 12, STEPS = 500000, TILE_STEPS = 1000000, SUMS = 8, LEAST_READ = 4 << 20 };

typedef void (*chain_function)(volatile float *sink);
typedef void (*read_function)(const float *x, size_t count, volatile float *sink);

/* ---- The loops, one set a CPU level ------------------------------------------------------------------- */

#if defined(__x86_64__)
/* The sums go to *sink so that no chain is dropped. */
#define CHAIN(name, isa, type, set, step)                                                          \
    __attribute__((target(isa))) static void name(volatile float *sink) {                          \
        type chain[CHAINS], x = set(0.999f), y = set(1e-4f);                                       \
        for (int i = 0; i < CHAINS; i++)                                                           \
            chain[i] = set((float)i);                                                              \
        for (int k = 0; k < STEPS; k++)                                                            \
            _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) chain[i] = step;             \
        for (int i = 0; i < CHAINS; i++) {                                                         \
            float lane;                                                                            \
            memcpy(&lane, &chain[i], sizeof lane);                                                 \
            *sink += lane;                                                                         \
        }                                                                                          \
    }
CHAIN(fma_baseline, "sse2", __m128, _mm_set1_ps, _mm_add_ps(_mm_mul_ps(chain[i], x), y))
CHAIN(fma_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps(chain[i], x, y))
CHAIN(fma_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps(chain[i], x, y))
CHAIN(dot_avx512, "avx512f,avx512bf16", __m512, _mm512_set1_ps,
      _mm512_dpbf16_ps(chain[i], (__m512bh)_mm512_castps_si512(x),
                       (__m512bh)_mm512_castps_si512(y)))
CHAIN(quad_avx512, "avx512f,avx512vnni", __m512, _mm512_set1_ps,
      _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(chain[i]), _mm512_castps_si512(x),
                                              _mm512_castps_si512(y))))
#define TARGET(isa) __attribute__((target(isa)))
TARGET("amx-tile") static void shape_tiles(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        shape.rows[i] = 16;
        shape.row_bytes[i] = 64;
    }
    const void *at = &shape;
    __asm__ volatile(""
                     : "+r"(at)
                     :
                     : "memory"); /* gcc does not know that the next call reads it */
    _tile_loadconfig(at);
}
/* Tiles of zeros: their multiplication takes as long as any. */
#define TILES(name, isa, multiply)                                                                 \
    TARGET(isa) static void name(volatile float *sink) {                                           \
        (void)sink;                                                                                \
        shape_tiles();                                                                             \
        for (int k = 0; k < TILE_STEPS; k += 4) {                                                  \
            multiply(0, 4, 6);                                                                     \
            multiply(1, 4, 7);                                                                     \
            multiply(2, 5, 6);                                                                     \
            multiply(3, 5, 7);                                                                     \
        }                                                                                          \
        _tile_release();                                                                           \
    }
TILES(tiles_amx, "amx-tile,amx-bf16", _tile_dpbf16ps)
TILES(tile_quads_amx, "amx-tile,amx-int8", _tile_dpbusd)
#else
static void fma_baseline(volatile float *sink) {
    float chain[CHAINS] = {0};
    for (int k = 0; k < STEPS; k++)
        for (int i = 0; i < CHAINS; i++)
            chain[i] = chain[i] * 0.999f + 1e-4f;
    for (int i = 0; i < CHAINS; i++)
        *sink += chain[i];
}
#define TARGET(isa)
#endif

/* `count` is a multiple of SUMS * lanes. */
#define READ(name, isa, lanes)                                                                     \
    TARGET(isa) static void name(const float *x, size_t count, volatile float *sink) {             \
        typedef float vector __attribute__((vector_size((lanes) * sizeof(float)), may_alias));     \
        vector sum[SUMS] = {{0}};                                                                  \
        const vector *at = (const vector *)x;                                                      \
        for (size_t k = 0; k < count / (lanes); k += SUMS)                                         \
            _Pragma("GCC unroll 8") for (int i = 0; i < SUMS; i++) sum[i] += at[k + (size_t)i];    \
        for (int i = 0; i < SUMS; i++)                                                             \
            *sink += sum[i][0];                                                                    \
    }
READ(read_baseline, "sse2", 4)
#if defined(__x86_64__)
READ(read_avx2, "avx2", 8)
READ(read_avx512, "avx512f", 16)
static const chain_function fma_of[] = {fma_baseline, fma_avx2, fma_avx512};
static const read_function read_of[] = {read_baseline, read_avx2, read_avx512};
static chain_function dot_of(car_cpu_level level) {
    return level == CAR_CPU_AVX512 && __builtin_cpu_supports("avx512bf16") ? dot_avx512 : NULL;
}
static chain_function tiles_of(const car_kernels *kernels, bool quads) {
    return !kernels->product_tiles ? NULL : quads ? tile_quads_amx : tiles_amx;
}
static chain_function quad_of(car_cpu_level level) {
    return level == CAR_CPU_AVX512 && __builtin_cpu_supports("avx512vnni") ? quad_avx512 : NULL;
}
#else
static const chain_function fma_of[CAR_CPU_LEVELS] = {fma_baseline};
static const read_function read_of[CAR_CPU_LEVELS] = {read_baseline};
static chain_function dot_of(car_cpu_level level) {
    (void)level;
    return NULL;
}
static chain_function tiles_of(const car_kernels *kernels, bool quads) {
    (void)kernels, (void)quads;
    return NULL;
}
static chain_function quad_of(car_cpu_level level) {
    (void)level;
    return NULL;
}
#endif

/* ---- Timing them --------------------------------------------------------------------------------------- */

/* What all threads do at the same time, and how long the slowest took. */
typedef struct burst {
    chain_function chain;
    read_function read; /* NULL: the chain */
    const float *data;  /* [threads][floats] */
    size_t floats;
    int repeats;
    double seconds;
} burst;

static void burst_task(void *argument, car_team *team, int member, int members) {
    burst *work = argument;
    volatile float sink = 0;
    (void)members;
    car_team_barrier(team, member);
    double start = car_seconds();
    if (work->read)
        for (int k = 0; k < work->repeats; k++)
            work->read(work->data + (size_t)member * work->floats, work->floats, &sink);
    else
        work->chain(&sink);
    car_team_barrier(team, member);
    if (member == 0)
        work->seconds = car_seconds() - start;
}

/* The best of the runs of `seconds`: how often a second the burst could be had. */
static double bursts_per_second(burst *work, int threads, double seconds) {
    double best = 0, end = car_seconds() + seconds;
    int runs = 0;
    do {
        car_team_run(threads, burst_task, work);
        best = 1 / work->seconds > best ? 1 / work->seconds : best;
    } while (++runs < 3 || car_seconds() < end);
    return best;
}

static car_bench_rate chain_rate(chain_function chain, double flop, int threads, double seconds) {
    burst work = {.chain = chain};
    if (!chain)
        return (car_bench_rate){0, 0};
    double one = flop * bursts_per_second(&work, 1, seconds);
    double all = threads > 1 ? flop * threads * bursts_per_second(&work, threads, seconds) : one;
    return (car_bench_rate){one, all};
}

/* `data` holds `floats` for each thread, or for all of them together when the memory is shared. */
static car_bench_rate read_rate(const car_bench_machine *machine, const car_bench_memory *memory,
                                const float *data, size_t floats, double seconds) {
    const size_t whole = (size_t)SUMS * CAR_BLOCK;
    car_bench_rate rate = {0, 0};
    for (int all = 0; all < 2; all++) {
        int threads = all ? machine->threads : 1;
        size_t each = floats / (memory->shared ? (size_t)threads : 1) / whole * whole;
        size_t bytes = each * sizeof(float);
        burst work = {.read = read_of[machine->kernels->level],
                      .data = data,
                      .floats = each,
                      .repeats = bytes < LEAST_READ ? (int)(LEAST_READ / bytes) : 1};
        double found =
            (double)bytes * threads * work.repeats * bursts_per_second(&work, threads, seconds);
        *(all ? &rate.all : &rate.one) = found;
    }
    return rate;
}

/* ---- The machine --------------------------------------------------------------------------------------- */

/* "AMD EPYC (family 25, model 17)": leaves 0x80000002 to 4 of CPUID, and leaf 1. */
static void name_processor(char name[64]) {
    name[0] = '\0';
#if defined(__x86_64__)
    unsigned brand[13] = {0}, a = 0, b, c, d;
    for (unsigned leaf = 0; leaf < 3; leaf++) {
        unsigned *at = brand + (size_t)leaf * 4;
        if (!__get_cpuid(0x80000002u + leaf, &at[0], &at[1], &at[2], &at[3]))
            return;
    }
    __get_cpuid(1, &a, &b, &c, &d);
    unsigned base = a >> 8 & 15, family = base == 15 ? base + (a >> 20 & 255) : base;
    unsigned model = (a >> 4 & 15) | (base == 6 || base == 15 ? a >> 12 & 0xf0 : 0);
    const char *text = (const char *)brand;
    text += strspn(text, " ");
    int length = (int)strlen(text);
    while (length > 0 && text[length - 1] == ' ')
        length--;
    snprintf(name, 64, "%.*s (family %u, model %u)", length < 34 ? length : 34, text, family,
             model);
#endif
}

/* What Linux says of the first core's data or unified cache of a level; `otherwise` where it does not. */
static size_t cache_bytes(int level, size_t otherwise) {
    for (int index = 0; index < 8; index++) {
        static const char *const files[] = {"level", "type", "size"};
        char path[96], text[3][32] = {"", "", ""};
        for (int k = 0; k < 3; k++) {
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index,
                     files[k]);
            FILE *file = fopen(path, "re");
            if (!file)
                return otherwise;
            if (!fgets(text[k], sizeof text[k], file))
                text[k][0] = '\0';
            fclose(file);
        }
        long kilobytes = strtol(text[2], NULL, 10); /* "1024K" */
        if (text[0][0] == '0' + level && text[1][0] != 'I' && kilobytes > 0)
            return (size_t)kilobytes << 10;
    }
    return otherwise;
}

enum { MOST_LAST = 32 << 20 };

static void find_memories(car_bench_memory *memory) {
    const size_t last = cache_bytes(3, MOST_LAST);
    memory[0] = (car_bench_memory){"L1", false, cache_bytes(1, 32 << 10), {0, 0}};
    memory[1] = (car_bench_memory){"L2", false, cache_bytes(2, 1 << 20), {0, 0}};
    memory[2] = (car_bench_memory){"L3", true, last < MOST_LAST ? last : MOST_LAST, {0, 0}};
    memory[3] = (car_bench_memory){"memory", true, SIZE_MAX, {0, 0}};
}

car_status car_bench_machine_measure(int threads, double seconds, car_bench_machine *machine,
                                     car_error *error) {
    static const double width[] = {4, 8, 16};
    *machine = (car_bench_machine){.threads = car_thread_count(threads)};
    CAR_TRY(car_kernels_choose(&machine->kernels, error));
    car_cpu_level level = machine->kernels->level;
    name_processor(machine->processor);
    find_memories(machine->memory);
    size_t most = machine->memory[2].bytes / sizeof(float) * 8;
    size_t near = machine->memory[1].bytes / sizeof(float) * (size_t)machine->threads;
    most = most > near ? most : near;
    float *data = car_allocate(NULL, most, sizeof *data);
    if (!data)
        return car_fail(error, CAR_MEMORY, "bench: no memory for a buffer of %zu MiB",
                        most * sizeof *data >> 20);
    /* pages that nobody has written are one page of zeros, in which every cache would find them all */
    for (size_t k = 0; k < most; k++)
        data[k] = 1;
    double flop = 2.0 * CHAINS * STEPS * width[level];
    machine->fma = chain_rate(fma_of[level], flop, machine->threads, seconds);
    machine->dot = chain_rate(dot_of(level), 2 * flop, machine->threads, seconds);
    const double tile_flop = 2.0 * 16 * 16 * 32 * TILE_STEPS;
    machine->tiles =
        chain_rate(tiles_of(machine->kernels, false), tile_flop, machine->threads, seconds);
    machine->tile_quads =
        chain_rate(tiles_of(machine->kernels, true), 2 * tile_flop, machine->threads, seconds);
    machine->quad = chain_rate(quad_of(level), 4 * flop, machine->threads, seconds);
    for (int k = 0; k < CAR_BENCH_MEMORIES; k++) {
        car_bench_memory *memory = &machine->memory[k];
        size_t floats = memory->bytes == SIZE_MAX ? most : memory->bytes / sizeof(float) / 2;
        memory->bytes_per_second =
            read_rate(machine, memory, data, floats < most ? floats : most, seconds);
    }
    car_release(NULL, data);
    return CAR_OK;
}

double car_bench_peak(const car_bench_machine *machine, bool training, bool one) {
    const car_bench_rate *rate = &machine->fma;
    if (machine->precision == CAR_PRECISION_BF16 && machine->dot.one > 0)
        rate = training && machine->tiles.one > 0 ? &machine->tiles : &machine->dot;
    if (machine->precision == CAR_PRECISION_INT8 && machine->quad.one > 0)
        rate = machine->tile_quads.one > 0 ? &machine->tile_quads : &machine->quad;
    return one ? rate->one : rate->all;
}

double car_bench_element_bytes(const car_bench_machine *machine) {
    static const double bytes[CAR_PRECISIONS] = {4, 2, 1};
    return bytes[machine->precision];
}

double car_bench_read_seconds(const car_bench_machine *machine, bool one, double bytes) {
    const int threads = one ? 1 : machine->threads;
    int k = 0;
    for (; k < CAR_BENCH_MEMORIES - 1; k++) {
        const car_bench_memory *memory = &machine->memory[k];
        if (bytes / (memory->shared ? 1 : threads) <= (double)memory->bytes)
            break;
    }
    const car_bench_rate *rate = &machine->memory[k].bytes_per_second;
    return bytes / (one ? rate->one : rate->all);
}
