/*
 * Products of matrices that are not packed: a row-major right operand read as it lies, a transposed left one. Held against
 * the plain loops and, bit for bit, against the packed product of the same numbers, at every level.
 */
#include "plain.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* a is [depth][rows], b is [depth][stride] of which `columns` are used, c is [rows][columns]. */
typedef struct lying {
    int rows, columns, depth, a_stride, b_stride;
    float *a, *b, *c;
    car_product_block *block;
    car_product product;
} lying;

static float *numbers(size_t count, uint32_t layer) {
    const car_random_key key = {.seed = 7, .purpose = CAR_RANDOM_TEST, .layer = layer};
    float *x = car_allocate(NULL, count, sizeof *x);
    assert_non_null(x);
    for (size_t k = 0; k < count; k++)
        x[k] = 2 * car_random_uniform(key, 0, k) - 1;
    return x;
}

/* Behind the first eight columns of the last `halves` blocks b and c are 0. */
static lying make(int rows, int blocks, int halves, int depth) {
    lying x = {.rows = rows, .columns = blocks * CAR_BLOCK, .depth = depth};
    x.a_stride = rows + 3;
    x.b_stride = x.columns + 5;
    x.a = numbers((size_t)depth * (size_t)x.a_stride, 1);
    x.b = numbers((size_t)depth * (size_t)x.b_stride, 2);
    x.c = numbers((size_t)rows * (size_t)x.columns, 3);
    x.block = car_allocate(NULL, (size_t)blocks, sizeof *x.block);
    assert_non_null(x.block);
    for (int k = 0; k < blocks; k++)
        x.block[k] = (car_product_block){k * CAR_BLOCK, CAR_FROM_C};
    x.product = (car_product){.a = x.a,
                              .a_row_stride = 1,
                              .a_depth_stride = x.a_stride,
                              .parts = 1,
                              .part_length = depth,
                              .panels = x.b,
                              .panel_row_stride = x.b_stride,
                              .blocks = blocks,
                              .block = x.block,
                              .half_blocks = halves,
                              .c = x.c,
                              .c_row_stride = x.columns};
    const size_t half = CAR_BLOCK / 2, bytes = half * sizeof(float);
    for (int block = blocks - halves; block < blocks; block++) {
        const size_t place = (size_t)block * CAR_BLOCK + half;
        for (int k = 0; k < depth; k++)
            memset(x.b + (size_t)(k * x.b_stride) + place, 0, bytes);
        for (int row = 0; row < rows; row++)
            memset(x.c + (size_t)(row * x.columns) + place, 0, bytes);
    }
    return x;
}

static void release(lying *x) {
    car_release(NULL, x->a);
    car_release(NULL, x->b);
    car_release(NULL, x->c);
    car_release(NULL, x->block);
}

static float *run(const lying *x, const car_kernels *kernels, car_product product) {
    size_t count = (size_t)x->rows * (size_t)x->columns;
    float *c = car_allocate(NULL, count, sizeof *c);
    assert_non_null(c);
    memcpy(c, x->c, count * sizeof *c);
    product.c = c;
    kernels->product(&product, NULL, 0, x->rows, 0, product.blocks);
    return c;
}

/* The same numbers, packed and transposed by the level's own functions. */
static float *run_packed(const lying *x, const car_kernels *kernels) {
    size_t panels = (size_t)(x->product.blocks + CAR_PANEL_BLOCKS - 1) / CAR_PANEL_BLOCKS;
    float *b = numbers(panels * (size_t)x->depth * CAR_PANEL, 4);
    float *a = numbers((size_t)x->rows * (size_t)x->depth, 5);
    kernels->pack_rows(x->b, x->b_stride, x->depth, x->block, x->product.blocks, b, 0,
                       x->product.blocks);
    kernels->transpose(x->a, x->a_stride, x->depth, x->rows, a, x->depth);
    car_product product = x->product;
    product.a = a;
    product.a_row_stride = x->depth;
    product.a_depth_stride = 0;
    product.panels = b;
    product.panel_row_stride = 0;
    float *c = run(x, kernels, product);
    car_release(NULL, a);
    car_release(NULL, b);
    return c;
}

static void check(const car_kernels *kernels, int rows, int blocks, int halves, int depth) {
    lying x = make(rows, blocks, halves, depth);
    const size_t count = (size_t)rows * (size_t)x.columns;
    float *in_place = run(&x, kernels, x.product), *packed = run_packed(&x, kernels);
    float *plain = run(&x, &car_kernels_plain, x.product);
    assert_memory_equal(in_place, packed, count * sizeof *packed);
    /* Without fma each step rounds twice. */
    for (size_t k = 0; k < count; k++)
        assert_true(fabsf(in_place[k] - plain[k]) <=
                    (kernels->level == CAR_CPU_BASELINE ? 1e-6f * (float)(depth * depth + 9) : 0));
    car_release(NULL, in_place);
    car_release(NULL, packed);
    car_release(NULL, plain);
    release(&x);
}

static void test_in_place(void **state) {
    static const int depths[] = {1, 7, 255, 256, 257, 600};
    (void)state;
    for (int level = 0; level < CAR_CPU_LEVELS; level++) {
        const car_kernels *kernels = car_kernels_of((car_cpu_level)level);
        for (int k = 0; kernels && k < (int)(sizeof depths / sizeof *depths); k++)
            for (int blocks = 1; blocks <= 9; blocks++)
                for (int halves = 0; halves <= blocks; halves += 2)
                    check(kernels, 1 + (blocks * 5 + k * 3) % 23, blocks, halves, depths[k]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
