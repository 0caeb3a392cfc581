/*
 * Tests of the products that split floats into three bf16: plain loops against the exact product, and against the chain
 * of fma; AMX against the plain loops, to the bit.
 */
#include "kernel_helpers.h"

/* The output of one run on a copy of c, in the parts that the cuts make. */
typedef struct cuts {
    int row, block; /* 0: no cut */
} cuts;

static float *split_copy(const product_case *x, const car_kernels *kernels, cuts at) {
    const size_t scratch_count =
        car_split_scratch(x->rows, x->product.parts * x->product.part_length);
    float *c = guarded_copy(x->c, x->c_count), *scratch = guarded(scratch_count);
    car_product product = x->product;
    product.c = c;
    kernels->product_split(&product, scratch, 0, at.row, 0, at.block);
    kernels->product_split(&product, scratch, at.row, x->rows, 0, at.block);
    kernels->product_split(&product, scratch, 0, at.row, at.block, x->blocks);
    kernels->product_split(&product, scratch, at.row, x->rows, at.block, x->blocks);
    release(scratch, scratch_count);
    return c;
}

/* ---- Plain loops -------------------------------------------------------------------------------------- */

static double distance(const product_case *x, const float *c, int row, int column, double from) {
    const int place = x->block[column / CAR_BLOCK].c + column % CAR_BLOCK;
    return fabs((double)c[row * x->product.c_row_stride + place] - from);
}

/* Three products of parts are left out, 2^-23 of a term together at most; each of six additions for 32 values of k, and 16
 * fma and an addition before them, round by 2^-24 of what has been added so far. */
static void test_bound(void **state) {
    (void)state;
    stream numbers = {0};
    for (int depth = 1; depth < 900; depth += 1 + depth / 2) {
        product_case x = make_product(&numbers, 9, 5, 1, depth, 0);
        float *c = split_copy(&x, &car_kernels_plain, (cuts){0});
        const double roundings = 6 * ((depth + 31) / 32) + 17;
        for (int row = 0; row < x.rows; row++)
            for (int column = 0; column < x.blocks * CAR_BLOCK; column++) {
                const exact_sum sum = exact_product(&x, row, column);
                assert_near(distance(&x, c, row, column, sum.value), 0.0,
                            sum.size * 1.01 * (0x1p-23 + roundings * 0x1p-24));
            }
        release(c, x.c_count);
        free_product(&x);
    }
}

/* In the mean nearer to the exact product than a chain of fma, of operands of all sizes. */
static void test_nearer_than_a_chain(void **state) {
    (void)state;
    stream numbers = {0};
    for (int depth = 96; depth < 900; depth += 201) {
        product_case x = make_product(&numbers, 12, 6, 1, depth, 0);
        for (size_t i = 0; i < x.a_count; i++)
            x.a[i] = ldexpf(x.a[i], -next_below(&numbers, 30));
        float *split = split_copy(&x, &car_kernels_plain, (cuts){0});
        double of_split = 0, of_chain = 0;
        car_kernels_plain.product(&x.product, NULL, 0, x.rows, 0, x.blocks);
        for (int row = 0; row < x.rows; row++)
            for (int column = 0; column < x.blocks * CAR_BLOCK; column++) {
                const exact_sum sum = exact_product(&x, row, column);
                of_split += pow(distance(&x, split, row, column, sum.value) / sum.size, 2);
                of_chain += pow(distance(&x, x.c, row, column, sum.value) / sum.size, 2);
            }
        if (!(of_split < of_chain))
            fail_msg("depth %d: split %.3g, chain %.3g", depth, of_split, of_chain);
        release(split, x.c_count);
        free_product(&x);
    }
}

/* ---- AMX ---------------------------------------------------------------------------------------------- */

static void check(const car_kernels *kernels, const product_case *x, cuts at) {
    float *plain = split_copy(x, &car_kernels_plain, (cuts){0}), *fast = split_copy(x, kernels, at);
    assert_same(fast, plain, x->c_count);
    release(plain, x->c_count);
    release(fast, x->c_count);
}

static void check_shape(const car_kernels *kernels, stream *numbers, int rows, int blocks,
                        int parts, int part_length) {
    product_case x = make_product(numbers, rows, blocks, parts, part_length, 3);
    check(kernels, &x, (cuts){0});
    free_product(&x);
}

static void test_shapes(void **state) {
    (void)state;
    const car_kernels *kernels = kernels_with_amx();
    stream numbers = {0};
    static const int depths[] = {0, 1, 16, 31, 32, 33, CAR_SPLIT_DEPTH, CAR_SPLIT_DEPTH + 1, 1700};
    static const int parts[][2] = {{2, 1}, {3, 16}, {7, 17}, {40, 16}, {3, 385}};
    for (int rows = 1; rows <= 70; rows += 1 + rows / 12)
        check_shape(kernels, &numbers, rows, 1 + next_below(&numbers, 9), 1,
                    1 + next_below(&numbers, 100));
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        check_shape(kernels, &numbers, 19, 5, 1, depths[i]);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        check_shape(kernels, &numbers, 17, 6, parts[i][0], parts[i][1]);
    check_shape(kernels, &numbers, 2 * CAR_SPLIT_ROWS + 40, 5, 1, 70); /* groups of rows */
    check_shape(kernels, &numbers, 300, 9, 1, 900); /* the more rows, the shorter the pieces of K */
}

/* Any cut of rows and blocks: the same bits. */
static void test_cuts(void **state) {
    (void)state;
    const car_kernels *kernels = kernels_with_amx();
    stream numbers = {0};
    for (int run = 0; run < 20; run++) {
        const int rows = 1 + next_below(&numbers, 70), blocks = 1 + next_below(&numbers, 10);
        product_case x = make_product(&numbers, rows, blocks, 1, 1 + next_below(&numbers, 300), 3);
        check(kernels, &x,
              (cuts){next_below(&numbers, rows + 1), next_below(&numbers, blocks + 1)});
        free_product(&x);
    }
}

/* Numbers at the ends: what is not a number, or has no bf16, shows in every sum that it is part of, and in no other. */
static void test_ends(void **state) {
    (void)state;
    const car_kernels *kernels = kernels_with_amx();
    stream numbers = {0};
    static const uint32_t ends[] = {0x7f800000u, 0xff800000u, 0x7fc00000u, 0x7fffffffu,
                                    0xff800001u, 0x7f7fffffu, 0x00000001u, 0x807fffffu,
                                    0x00800000u, 0x0f800001u, 0x7f000001u};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        product_case x = make_product(&numbers, 20, 5, 1, 50, 0);
        memcpy(&x.a[3 * x.product.a_row_stride + 7], &ends[i], sizeof *ends);
        check(kernels, &x, (cuts){0});
        float *c = split_copy(&x, kernels, (cuts){0});
        for (int row = 0; row < x.rows; row++)
            for (int column = 0; column < x.blocks * CAR_BLOCK; column++)
                assert_int_equal(isnan(c[row * x.product.c_row_stride + column]),
                                 row == 3 && i < 6);
        release(c, x.c_count);
        free_product(&x);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bound),  cmocka_unit_test(test_nearer_than_a_chain),
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
