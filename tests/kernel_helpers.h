/*
 * kernel_helpers.h: what test_kernels.c, test_bf16.c, test_split.c and test_int8.c share: random numbers, guarded arrays, products.
 *
 * Outputs stand between guard zones that must stay untouched.
 */
#ifndef KERNEL_HELPERS_H
#define KERNEL_HELPERS_H

#include "kernels.h"
#include "levels.h"
#include "plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Random numbers, guarded arrays, levels --------------------------------------------------------------- */

typedef struct stream {
    uint64_t place;
} stream;

static inline uint32_t next_number(stream *numbers) {
    uint32_t four[4];
    car_random_block((car_random_key){7, CAR_RANDOM_TEST, 0}, 0, numbers->place++, four);
    return four[0];
}

static inline int next_below(stream *numbers, int limit) {
    return (int)(next_number(numbers) % (uint32_t)limit);
}

static inline float next_float(stream *numbers, float size) {
    return ((float)(next_number(numbers) >> 8) * 0x1p-23f - 1.0f) * size;
}

enum { GUARD = 64 };
static const uint32_t guard_bits = 0x7fa5a5a5u; /* a NaN: reading it shows too */

/* `count` floats with GUARD floats of guard_bits on both sides. */
static __attribute__((noinline)) float *guarded(size_t count) {
    uint32_t *block = malloc((count + 2 * GUARD) * sizeof *block);
    assert_non_null(block);
    for (size_t i = 0; i < count + 2 * GUARD; i++)
        block[i] = guard_bits;
    return (float *)block + GUARD;
}

static inline float *guarded_random(stream *numbers, size_t count, float size) {
    float *x = guarded(count);
    for (size_t i = 0; i < count; i++)
        x[i] = next_float(numbers, size);
    return x;
}

static __attribute__((noinline)) float *guarded_copy(const float *from, size_t count) {
    float *x = guarded(count);
    memcpy(x, from, count * sizeof *x);
    return x;
}

static inline bool is_guard(const float *x) {
    return memcmp(x, &guard_bits, sizeof guard_bits) == 0;
}

/* Checks the guard zones and frees the array. */
static inline void release(float *x, size_t count) {
    for (int i = 0; i < GUARD; i++) {
        assert_true(is_guard(x - 1 - i));
        assert_true(is_guard(x + count + i));
    }
    free(x - GUARD);
}

static inline bool same_bits(float a, float b) {
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static inline void assert_same(const float *a, const float *b, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!same_bits(a[i], b[i]))
            fail_msg("place %zu of %zu: %.9g and %.9g", i, count, (double)a[i], (double)b[i]);
}

static inline void assert_near(double got, double wanted, double tolerance) {
    if (!(fabs(got - wanted) <= tolerance))
        fail_msg("%.9g is not within %.3g of %.9g", got, tolerance, wanted);
}

/* fma of this level; baseline has none. */
static inline bool has_fma(const car_kernels *kernels) {
    return kernels->level != CAR_CPU_BASELINE;
}

static inline void each_level(void (*test)(const car_kernels *kernels, stream *numbers)) {
    for (int level = 0; level < CAR_CPU_LEVELS; level++) {
        const car_kernels *kernels = car_kernels_of((car_cpu_level)level);
        if (!kernels)
            continue; /* test_choice prints why */
        stream numbers = {0};
        test(kernels, &numbers);
    }
}

/* Every level's table and, of level avx512, those that other CPUs run and this one can. */
static inline void each_table(void (*test)(const car_kernels *kernels, stream *numbers)) {
    each_level(test);
#if defined(__x86_64__)
    const car_kernels *own = car_kernels_of(CAR_CPU_AVX512);
    const car_kernels *const others[] = {&car_kernels_avx512, &car_kernels_avx512_vnni,
                                         &car_kernels_avx512_bf16, &car_kernels_zen5};
    const int count = !own                              ? 0
                      : own == &car_kernels_avx512      ? 1
                      : own == &car_kernels_avx512_vnni ? 2
                                                        : 4;
    for (int k = 0; k < count; k++) {
        stream numbers = {0};
        if (others[k] != own)
            test(others[k], &numbers);
    }
#endif
}

/* Level avx512 on a CPU with AMX; else the test is skipped. */
static inline const car_kernels *kernels_with_amx(void) {
    const car_kernels *kernels = car_kernels_of(CAR_CPU_AVX512);
    if (!kernels || !kernels->product_tiles) {
        print_message("no AMX here: its products are not tested\n");
        skip();
    }
    return kernels;
}

static const int sizes[] = {1, 2, 3, 15, 16, 17, 33, 63, 64, 65, 200};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* ---- Products ----------------------------------------------------------------------------------------- */

/* A product with everything it points to. */
typedef struct product_case {
    car_product product;
    int rows, blocks;
    size_t a_count, panel_count, initial_count, c_count;
    float *a, *panels, *initial, *c;
    car_product_block *block;
} product_case;

/* kind: how blocks start: 0 all from zero, 1 all from c, 2 all from initial, 3 mixed. */
static inline product_case make_product(stream *numbers, int rows, int blocks, int parts, int part_length,
                                 int kind) {
    product_case x = {.rows = rows, .blocks = blocks};
    const int depth = parts * part_length, gap = 5;
    const int64_t part_stride = part_length + 3, a_row_stride = parts * part_stride + 1;
    const int64_t c_row_stride = blocks * CAR_BLOCK + gap;
    x.a_count = (size_t)(rows * a_row_stride);
    x.panel_count = (size_t)((blocks + 3) / 4) * (size_t)depth * CAR_PANEL;
    x.initial_count = (size_t)blocks * CAR_BLOCK;
    x.c_count = (size_t)(rows * c_row_stride);
    x.a = guarded_random(numbers, x.a_count, 1.0f);
    x.panels = guarded_random(numbers, x.panel_count, 1.0f);
    x.initial = guarded_random(numbers, x.initial_count, 1.0f);
    x.c = guarded_random(numbers, x.c_count, 1.0f);
    x.block = calloc((size_t)blocks, sizeof *x.block);
    assert_non_null(x.block);
    for (int i = 0; i < blocks; i++) {
        int start = kind == 3 ? next_below(numbers, 3) : kind;
        /* columns in reverse order in c */
        x.block[i].c = (blocks - 1 - i) * CAR_BLOCK;
        x.block[i].initial = start == 0 ? CAR_FROM_ZERO : start == 1 ? CAR_FROM_C : i * CAR_BLOCK;
    }
    x.product = (car_product){.a = x.a,
                              .a_row_stride = a_row_stride,
                              .parts = parts,
                              .part_length = part_length,
                              .part_stride = part_stride,
                              .panels = x.panels,
                              .blocks = blocks,
                              .block = x.block,
                              .initial = x.initial,
                              .c = x.c,
                              .c_row_stride = c_row_stride};
    return x;
}

/* Makes the last `count` blocks halves of blocks: behind their first eight columns panels, start and c are 0. */
static inline void make_half(product_case *x, int count) {
    const int depth = x->product.parts * x->product.part_length;
    const size_t half = CAR_BLOCK / 2, bytes = half * sizeof(float);
    x->product.half_blocks = count;
    for (int i = x->blocks - count; i < x->blocks; i++) {
        float *panel = x->panels + (size_t)(i / CAR_PANEL_BLOCKS * depth) * CAR_PANEL +
                       (size_t)(i % CAR_PANEL_BLOCKS * CAR_BLOCK) + half;
        memset(x->initial + (size_t)i * CAR_BLOCK + half, 0, bytes);
        for (int k = 0; k < depth; k++)
            memset(panel + (size_t)k * CAR_PANEL, 0, bytes);
        for (int row = 0; row < x->rows; row++)
            memset(x->c + row * x->product.c_row_stride + x->block[i].c + half, 0, bytes);
    }
}

/* What a column of a row of floats is exactly, in one part, and the sum of the sizes of its terms. */
typedef struct exact_sum {
    double value, size;
} exact_sum;

static inline exact_sum exact_product(const product_case *x, int row, int column) {
    const int depth = x->product.part_length;
    exact_sum sum = {0};
    for (int k = 0; k < depth; k++) {
        const double term =
            (double)x->a[row * x->product.a_row_stride + k] *
            (double)x->panels[(column / CAR_PANEL * depth + k) * CAR_PANEL + column % CAR_PANEL];
        sum.value += term;
        sum.size += fabs(term);
    }
    return sum;
}

static inline void free_product(product_case *x) {
    release(x->a, x->a_count);
    release(x->panels, x->panel_count);
    release(x->initial, x->initial_count);
    release(x->c, x->c_count);
    free(x->block);
}

#endif
