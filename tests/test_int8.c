/*
 * Tests of the products with int8 weights: every level against plain loops, to the bit where the level has fma; the whole
 * numbers the same at every level; and all tables of level avx512 against each other.
 */
#include "kernel_helpers.h"

/* A product with weights in int8, packed as kernels.h says. */
typedef struct quad_case {
    product_case x;
    int depth, panels;
    size_t quad_count, scratch_count;
    float *quads, *scratch;
} quad_case;

static int8_t next_weight(stream *numbers) {
    return (int8_t)(next_below(numbers, 2 * CAR_INTEGER_MOST + 1) - CAR_INTEGER_MOST);
}

/* worst: every weight and operand as large as can be, and of one sign. */
static quad_case make_quads(stream *numbers, int rows, int blocks, int parts, int part_length,
                            int kind, bool worst) {
    quad_case made = {.x = make_product(numbers, rows, blocks, parts, part_length, kind),
                      .depth = parts * part_length,
                      .panels = (blocks + CAR_PANEL_BLOCKS - 1) / CAR_PANEL_BLOCKS};
    made.x.product.bounded = next_below(numbers, 2);
    made.quad_count = car_quad_floats(made.panels, made.depth);
    made.quads = guarded(made.quad_count);
    memset(made.quads, 0, made.quad_count * sizeof *made.quads);
    const size_t panel = (size_t)car_quads(made.depth) * CAR_PANEL;
    const size_t columns = (size_t)made.panels * CAR_PANEL;
    float *scales = made.quads + (size_t)made.panels * panel;
    int32_t *offsets = (int32_t *)(void *)(scales + columns);
    for (size_t column = 0; column < columns; column++) {
        int8_t *values = (int8_t *)(void *)(made.quads + column / CAR_PANEL * panel);
        int32_t sum = 0;
        for (int k = 0; k < made.depth; k++) {
            int8_t weight = worst ? CAR_INTEGER_MOST : next_weight(numbers);
            values[car_quad_place(k, (int)(column % CAR_PANEL))] = weight;
            sum += weight;
        }
        scales[column] = 0.001f + fabsf(next_float(numbers, 0.01f));
        offsets[column] = -128 * sum;
    }
    for (size_t i = 0; worst && i < made.x.a_count; i++)
        made.x.a[i] = 1.0f;
    made.scratch_count = car_integer_scratch(rows, made.depth);
    made.scratch = guarded(made.scratch_count);
    made.x.product.panels = made.quads;
    return made;
}

static void free_quads(quad_case *made) {
    release(made->quads, made->quad_count);
    release(made->scratch, made->scratch_count);
    free_product(&made->x);
}

static void run(const quad_case *made, const car_kernels *kernels, const car_product *product,
                int row_begin, int row_end, int block_begin, int block_end) {
    kernels->product_int8(product, made->scratch, row_begin, row_end, block_begin, block_end);
}

/* The output of one more run on a copy of c; kernels NULL: only the copy. */
static float *quad_copy(const quad_case *made, const car_kernels *kernels, car_product *product) {
    float *c = guarded_copy(made->x.c, made->x.c_count);
    *product = made->x.product;
    product->c = c;
    if (kernels)
        run(made, kernels, product, 0, made->x.rows, 0, made->x.blocks);
    return c;
}

/* To the bit; without fma the product is rounded before it is added. */
static void compare(const car_kernels *kernels, const quad_case *made, const float *fast,
                    const float *plain) {
    if (has_fma(kernels))
        assert_same(fast, plain, made->x.c_count);
    for (size_t i = 0; i < made->x.c_count; i++)
        if (!is_guard(&plain[i]))
            assert_near((double)fast[i], (double)plain[i],
                        0x1p-23 * (fabs((double)plain[i]) + 1.0 + made->depth * 1.4));
}

static void check_quads(const car_kernels *kernels, stream *numbers, int rows, int blocks,
                        int parts, int part_length, int kind, bool worst) {
    quad_case made = make_quads(numbers, rows, blocks, parts, part_length, kind, worst);
    car_product product;
    float *plain = quad_copy(&made, &car_kernels_plain, &product);
    float *fast = quad_copy(&made, kernels, &product);
    compare(kernels, &made, fast, plain);
    release(plain, made.x.c_count);
    release(fast, made.x.c_count);
    free_quads(&made);
}

static void shapes(const car_kernels *kernels, stream *numbers) {
    static const int depths[] = {0, 1, 2, 3, 4, 767, 1537, 3001};
    static const int parts[][2] = {{2, 1}, {3, 16}, {7, 17}, {40, 16}, {3, 385}, {4, 192}};
    for (int rows = 1; rows <= 14; rows++)
        for (int blocks = 1; blocks <= 9; blocks++)
            check_quads(kernels, numbers, rows, blocks, 1, 1 + next_below(numbers, 40),
                        next_below(numbers, 4), false);
    for (int i = 0; i < SIZES; i++)
        check_quads(kernels, numbers, sizes[i], 1 + next_below(numbers, 13), 1,
                    sizes[next_below(numbers, SIZES)], i % 4, false);
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        for (int rows = 1; rows <= 20; rows += 6)
            check_quads(kernels, numbers, rows, 5, 1, depths[i], 3, false);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (int rows = 1; rows <= 17; rows += 8)
            check_quads(kernels, numbers, rows, 6, parts[i][0], parts[i][1], 3, false);
    check_quads(kernels, numbers, 130, 1, 1, 2800, 3, false); /* several groups of rows */
}

/* Sums as large as 32 bits hold, where pairs of 16 bits that saturate would show. */
static void largest(const car_kernels *kernels, stream *numbers) {
    check_quads(kernels, numbers, 3, 5, 1, 1001, 3, true);
    check_quads(kernels, numbers, 1, 5, 1, CAR_INTEGER_DEPTH, 0, true);
}

/* From zero and with scales of 1 the output is the rounded whole number times the row's scale: the same bits at a level
 * without fma, hence the sums too. */
static void same_sums(const car_kernels *kernels, stream *numbers) {
    for (int depth = 1; depth < 3000; depth += 1 + depth / 2) {
        quad_case made = make_quads(numbers, 7, 5, 1, depth, 0, false);
        float *scales = made.quads + (size_t)(made.panels * car_quads(depth)) * CAR_PANEL;
        for (int column = 0; column < made.panels * CAR_PANEL; column++)
            scales[column] = 1.0f;
        car_product product;
        float *plain = quad_copy(&made, &car_kernels_plain, &product);
        float *fast = quad_copy(&made, kernels, &product);
        assert_same(fast, plain, made.x.c_count);
        release(plain, made.x.c_count);
        release(fast, made.x.c_count);
        free_quads(&made);
    }
}

/* Against the exact product: each operand is off by half a step of its scale. */
static void bound(const car_kernels *kernels, stream *numbers) {
    const int rows = 20, depth = 650;
    quad_case made = make_quads(numbers, rows, 5, 1, depth, 0, false);
    const float *scales = made.quads + (size_t)(made.panels * car_quads(depth)) * CAR_PANEL;
    car_product product;
    float *fast = quad_copy(&made, kernels, &product);
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < 5 * CAR_BLOCK; column++) {
            const int8_t *panel =
                (const int8_t *)(made.quads + column / CAR_PANEL * car_quads(depth) * CAR_PANEL);
            double sum = 0.0, weights = 0.0;
            for (int k = 0; k < depth; k++) {
                double weight =
                    panel[car_quad_place(k, column % CAR_PANEL)] * (double)scales[column];
                sum += (double)made.x.a[row * product.a_row_stride + k] * weight;
                weights += fabs(weight);
            }
            float got =
                fast[row * product.c_row_stride + made.x.block[column / 16].c + column % 16];
            assert_near((double)got, sum, weights * (0.5 / 127 * 1.001));
        }
    release(fast, made.x.c_count);
    free_quads(&made);
}

/* Any cut of rows and blocks, any number of rows in a call: the same bits. */
static void splits(const car_kernels *kernels, stream *numbers) {
    for (int i = 0; i < 30; i++) {
        int rows = 1 + next_below(numbers, 70), blocks = 1 + next_below(numbers, 14);
        int parts = 1 + next_below(numbers, 3), length = 1 + next_below(numbers, 400);
        quad_case made = make_quads(numbers, rows, blocks, parts, length, 3, false);
        car_product whole, cut, single;
        float *once = quad_copy(&made, kernels, &whole);
        float *pieces = quad_copy(&made, NULL, &cut), *alone = quad_copy(&made, NULL, &single);
        int row_cut = next_below(numbers, rows + 1), block_cut = next_below(numbers, blocks + 1);
        run(&made, kernels, &cut, 0, row_cut, 0, block_cut);
        run(&made, kernels, &cut, row_cut, rows, 0, block_cut);
        run(&made, kernels, &cut, 0, row_cut, block_cut, blocks);
        run(&made, kernels, &cut, row_cut, rows, block_cut, blocks);
        for (int row = 0; row < rows; row++)
            run(&made, kernels, &single, row, row + 1, 0, blocks);
        assert_same(pieces, once, made.x.c_count);
        assert_same(alone, once, made.x.c_count);
        release(once, made.x.c_count);
        release(pieces, made.x.c_count);
        release(alone, made.x.c_count);
        free_quads(&made);
    }
}

/* Rows of zeros, of numbers too small to divide by, beyond the bound, and of what is no number. */
static void odd_rows(const car_kernels *kernels, stream *numbers) {
    static const float odd[] = {0.0f, 0x1p-120f, 0x1p100f, INFINITY, -INFINITY, NAN, 3.0f};
    enum { ODD = sizeof odd / sizeof *odd };
    for (int i = 0; i < 4 * ODD; i++) {
        const int depth = i % 2 ? 301 : 37; /* enough for tiles, or too little */
        quad_case made = make_quads(numbers, 3, 5, 1, depth, 2, false);
        made.x.product.bounded = i >= 2 * ODD;
        for (int k = 0; k < depth; k++)
            if (i % ODD < 3 || k == 20)
                made.x.a[made.x.product.a_row_stride + k] = odd[i % ODD];
        car_product product;
        float *plain = quad_copy(&made, &car_kernels_plain, &product);
        float *fast = quad_copy(&made, kernels, &product);
        if (has_fma(kernels))
            assert_same(fast, plain, made.x.c_count);
        const float *row = fast + product.c_row_stride;
        for (int column = 0; column < 5 * CAR_BLOCK; column++) {
            float start = made.x.initial[(4 - column / CAR_BLOCK) * CAR_BLOCK + column % CAR_BLOCK];
            if (i % ODD < 2)
                assert_same(&row[column], &start, 1);
            else if (i % ODD == 3 || i % ODD == 4 || i % ODD == 5)
                assert_true(isnan(row[column]));
            else
                assert_true(isfinite(row[column]));
        }
        release(plain, made.x.c_count);
        release(fast, made.x.c_count);
        free_quads(&made);
    }
}

static void test_products(void **state) {
    (void)state;
    each_table(shapes);
    each_table(largest);
    each_table(same_sums);
    each_table(bound);
}

static void test_splits(void **state) {
    (void)state;
    each_table(splits);
}

static void test_odd_rows(void **state) {
    (void)state;
    each_table(odd_rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_odd_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
