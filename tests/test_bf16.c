/*
 * Tests of the products in bf16: every level against plain loops, to the bit where the level has fma; and all
 * tables of level avx512 against each other.
 */
#include "kernel_helpers.h"

/* ---- Rounding ----------------------------------------------------------------------------------------- */

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The pair of one number and none, as a panel has it. */
static float pair_of(const car_kernels *kernels, float x) {
    static const car_product_block block = {0, 0};
    float row[CAR_BLOCK] = {x}, panel[CAR_PANEL];
    kernels->pack_pairs(row, CAR_BLOCK, 1, &block, 1, panel, 0, 1);
    return panel[0];
}

static void rounding_of_one(const car_kernels *kernels, uint32_t from, uint32_t wanted) {
    const float pair = pair_of(kernels, float_of(from));
    if (bits_of(pair) != wanted)
        fail_msg("%s: %08x became %08x, not %08x", kernels->name, from, bits_of(pair), wanted);
}

static void rounding(const car_kernels *kernels, stream *numbers) {
    rounding_of_one(kernels, 0x3f808000u, 0x3f800000u); /* a tie goes to the even neighbour */
    rounding_of_one(kernels, 0x3f818000u, 0x3f820000u);
    rounding_of_one(kernels, 0x3f808001u, 0x3f810000u);
    rounding_of_one(kernels, 0x3f807fffu, 0x3f800000u);
    rounding_of_one(kernels, 0x7f7fffffu, 0x7f800000u); /* beyond the largest: infinity */
    rounding_of_one(kernels, 0xff800000u, 0xff800000u);
    rounding_of_one(kernels, 0x7f800001u, 0x7fc00000u); /* NaN stays NaN */
    rounding_of_one(kernels, 0xffffffffu, 0xffff0000u);
    rounding_of_one(kernels, 0x80000000u, 0x80000000u);
    rounding_of_one(kernels, 0x807fffffu, 0x80000000u); /* a subnormal is 0 */
    rounding_of_one(kernels, 0x00800000u, 0x00800000u);
    for (int run = 0; run < 3000; run++) {
        const float x = float_of(next_number(numbers));
        rounding_of_one(kernels, bits_of(x), bits_of(pair_of(&car_kernels_plain, x)));
    }
}

/* A number and zeros, by ones: what a product makes of an operand, wherever it stands. */
static void rounding_of_operands(const car_kernels *kernels, stream *numbers) {
    enum { ROWS = 250 };
    static const car_product_block block[CAR_PANEL_BLOCKS] = {{0, CAR_FROM_ZERO}};
    for (int depth = 1; depth < 80; depth += 1 + depth / 3) {
        const size_t count = (size_t)(ROWS * depth), panel = (size_t)car_pairs(depth) * CAR_PANEL;
        const size_t scratch_count = car_bf16_scratch(true, ROWS, depth);
        float *a = guarded(count), *c = guarded(ROWS * CAR_BLOCK), *panels = guarded(panel);
        float *scratch = guarded(scratch_count);
        for (size_t i = 0; i < count; i++)
            a[i] = (int)(i / (size_t)depth) % depth == (int)(i % (size_t)depth)
                       ? float_of(next_number(numbers))
                       : 0.0f;
        for (size_t i = 0; i < panel; i++)
            panels[i] = float_of(0x3f803f80u);
        const car_product product = {.a = a,
                                     .a_row_stride = depth,
                                     .parts = 1,
                                     .part_length = depth,
                                     .panels = panels,
                                     .blocks = 1,
                                     .block = block,
                                     .c = c,
                                     .c_row_stride = CAR_BLOCK};
        kernels->product_bf16(&product, scratch, 0, ROWS - 1, 0, 1);
        kernels->product_bf16(&product, scratch, ROWS - 1, ROWS, 0, 1);
        for (int row = 0; row < ROWS; row++) {
            const float wanted = pair_of(&car_kernels_plain, a[row * depth + row % depth]);
            const float got = c[row * CAR_BLOCK];
            if (!(got == wanted || (isnan(got) && isnan(wanted))))
                fail_msg("%s: %a became %a, not %a", kernels->name,
                         (double)a[row * depth + row % depth], (double)got, (double)wanted);
        }
        release(a, count);
        release(c, ROWS * CAR_BLOCK);
        release(panels, panel);
        release(scratch, scratch_count);
    }
}

static void test_rounding(void **state) {
    (void)state;
    each_table(rounding);
    each_table(rounding_of_operands);
}

static void packing(const car_kernels *kernels, stream *numbers) {
    for (int blocks = 1; blocks <= 11; blocks++) {
        const int rows = 1 + next_below(numbers, 50);
        const int64_t stride = blocks * 2 * CAR_BLOCK + 3;
        const size_t count = (size_t)((blocks + 3) / 4 * car_pairs(rows) * CAR_PANEL);
        float *source = guarded_random(numbers, (size_t)(rows * stride), 1.0f);
        car_product_block block[11];
        for (int i = 0; i < blocks; i++)
            block[i] = (car_product_block){next_below(numbers, 2 * blocks - 1) * CAR_BLOCK, 0};
        float *plain = guarded(count), *fast = guarded(count), *cut = guarded(count);
        car_kernels_plain.pack_pairs(source, stride, rows, block, blocks, plain, 0, blocks);
        kernels->pack_pairs(source, stride, rows, block, blocks, fast, 0, blocks);
        int at = next_below(numbers, blocks + 1);
        kernels->pack_pairs(source, stride, rows, block, blocks, cut, at, blocks);
        kernels->pack_pairs(source, stride, rows, block, blocks, cut, 0, at);
        assert_memory_equal(fast, plain, count * sizeof *fast);
        assert_memory_equal(cut, plain, count * sizeof *cut);
        release(plain, count);
        release(fast, count);
        release(cut, count);
        release(source, (size_t)(rows * stride));
    }
}

static void transposing(const car_kernels *kernels, stream *numbers) {
    for (int i = 0; i < SIZES; i++)
        for (int j = 0; j < SIZES; j++) {
            const int rows = sizes[i], columns = 2 * car_pairs(sizes[j]), first = (i + j) % 2;
            const int64_t a_stride = columns + next_below(numbers, 3);
            const int64_t out_stride = rows + next_below(numbers, 3);
            const size_t a_count = (size_t)(car_pairs(first + rows) * a_stride),
                         count = (size_t)(columns / 2 * out_stride);
            float *a = guarded(a_count), *plain = guarded(count), *fast = guarded(count);
            for (size_t k = 0; k < a_count; k++)
                a[k] =
                    float_of(bits_of(pair_of(&car_kernels_plain, next_float(numbers, 1.0f))) |
                             bits_of(pair_of(&car_kernels_plain, next_float(numbers, 1.0f))) >> 16);
            car_kernels_plain.transpose_pairs(a, a_stride, first, rows, columns, plain, out_stride);
            kernels->transpose_pairs(a, a_stride, first, rows, columns, fast, out_stride);
            assert_memory_equal(fast, plain, count * sizeof *fast);
            release(a, a_count);
            release(plain, count);
            release(fast, count);
        }
}

static void test_packing(void **state) {
    (void)state;
    each_table(packing);
    each_table(transposing);
}

/* ---- Products ----------------------------------------------------------------------------------------- */

/* A product whose panels are rounded too; `panels` of x keeps the floats. */
typedef struct pair_case {
    product_case x;
    int depth;
    size_t pair_count, scratch_count;
    float *pairs, *scratch;
} pair_case;

static pair_case make_pairs(stream *numbers, int rows, int blocks, int halves, int parts,
                            int part_length, int kind) {
    pair_case made = {.x = make_product(numbers, rows, blocks, parts, part_length, kind),
                      .depth = parts * part_length};
    make_half(&made.x, halves);
    const int panels = (blocks + CAR_PANEL_BLOCKS - 1) / CAR_PANEL_BLOCKS;
    car_product_block *place = calloc((size_t)panels * CAR_PANEL_BLOCKS, sizeof *place);
    assert_non_null(place);
    for (int i = 0; i < panels * CAR_PANEL_BLOCKS; i++)
        place[i].c =
            i / CAR_PANEL_BLOCKS * made.depth * CAR_PANEL + i % CAR_PANEL_BLOCKS * CAR_BLOCK;
    made.pair_count = (size_t)panels * (size_t)car_pairs(made.depth) * CAR_PANEL;
    made.pairs = guarded(made.pair_count);
    car_kernels_plain.pack_pairs(made.x.panels, CAR_PANEL, made.depth, place,
                                 panels * CAR_PANEL_BLOCKS, made.pairs, 0,
                                 panels * CAR_PANEL_BLOCKS);
    made.scratch_count = car_bf16_scratch(true, rows, made.depth);
    made.scratch = guarded(made.scratch_count);
    made.x.product.panels = made.pairs;
    free(place);
    return made;
}

/* One product in bf16 of a table: in the order of f32, or of tiles. */
typedef enum pairs_order { IN_CHAINS, IN_TILES } pairs_order;

static void run_pairs(const car_kernels *kernels, pairs_order order, const pair_case *made,
                      const car_product *product, int row_begin, int row_end, int block_begin,
                      int block_end) {
    (order == IN_TILES ? kernels->product_tiles : kernels->product_bf16)(
        product, made->scratch, row_begin, row_end, block_begin, block_end);
}

static void free_pairs(pair_case *made) {
    release(made->pairs, made->pair_count);
    release(made->scratch, made->scratch_count);
    free_product(&made->x);
}

/* The output of one more run on a copy of c; kernels NULL: only the copy. */
static float *pair_copy(const pair_case *made, const car_kernels *kernels, pairs_order order,
                        car_product *product) {
    float *c = guarded_copy(made->x.c, made->x.c_count);
    *product = made->x.product;
    product->c = c;
    if (kernels)
        run_pairs(kernels, order, made, product, 0, made->x.rows, 0, made->x.blocks);
    return c;
}

static void compare_plain(const car_kernels *kernels, pairs_order order, const pair_case *made) {
    const size_t count = made->x.c_count;
    car_product product;
    float *plain = pair_copy(made, &car_kernels_plain, order, &product);
    float *fast = pair_copy(made, kernels, order, &product);
    if (has_fma(kernels)) {
        assert_same(fast, plain, count);
    } else {
        double depth = made->depth; /* as for f32: two roundings a step */
        for (size_t i = 0; i < count; i++)
            assert_near((double)fast[i], (double)plain[i], (depth + 1) * (depth + 1) * 0x1p-23);
    }
    release(plain, count);
    release(fast, count);
}

/* With whole blocks, and with halves of blocks at the end. */
static void check_pairs(const car_kernels *kernels, pairs_order order, stream *numbers, int rows,
                        int blocks, int parts, int part_length, int kind) {
    const int halves[] = {0, 1 + next_below(numbers, blocks)};
    for (int i = 0; i < 2; i++) {
        pair_case made = make_pairs(numbers, rows, blocks, halves[i], parts, part_length, kind);
        compare_plain(kernels, order, &made);
        free_pairs(&made);
    }
}

static void shapes(const car_kernels *kernels, pairs_order order, stream *numbers) {
    static const int depths[] = {0, 1, 2, 767, 1536, 1537, 3001};
    static const int parts[][2] = {{2, 1}, {3, 16}, {7, 17}, {40, 16}, {3, 385}, {4, 192}};
    for (int rows = 1; rows <= 14; rows++)
        for (int blocks = 1; blocks <= 9; blocks++)
            check_pairs(kernels, order, numbers, rows, blocks, 1, 1 + next_below(numbers, 40),
                        next_below(numbers, 4));
    for (int i = 0; i < SIZES; i++)
        check_pairs(kernels, order, numbers, sizes[i], 1 + next_below(numbers, 13), 1,
                    sizes[next_below(numbers, SIZES)], i % 4);
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        for (int rows = 1; rows <= 20; rows += 6)
            check_pairs(kernels, order, numbers, rows, 5, 1, depths[i], 3);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (int rows = 1; rows <= 17; rows += 8)
            check_pairs(kernels, order, numbers, rows, 6, parts[i][0], parts[i][1], 3);
    check_pairs(kernels, order, numbers, 100, 5, 1, 2800, 3); /* several groups of rows */
}

static void shapes_in_chains(const car_kernels *kernels, stream *numbers) {
    shapes(kernels, IN_CHAINS, numbers);
}

/* Against the exact product of the unrounded operands: each operand is off by 2^-9 of itself at most (and their
 * product by a little more than twice that), each of K sums by 2^-24 of what has been added so far. */
static void bound(const car_kernels *kernels, pairs_order order, stream *numbers) {
    const int rows = 20, depth = 650;
    pair_case made = make_pairs(numbers, rows, 5, 0, 1, depth, 0);
    car_product product;
    float *fast = pair_copy(&made, kernels, order, &product);
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < 5 * CAR_BLOCK; column++) {
            const exact_sum sum = exact_product(&made.x, row, column);
            float got =
                fast[row * product.c_row_stride + made.x.block[column / 16].c + column % 16];
            double roundings = has_fma(kernels) ? depth : 2 * depth;
            assert_near((double)got, sum.value, sum.size * (0x1.01p-8 + roundings * 0x1.02p-24));
        }
    release(fast, made.x.c_count);
    free_pairs(&made);
}

static void bound_of_chains(const car_kernels *kernels, stream *numbers) {
    bound(kernels, IN_CHAINS, numbers);
}

/* To the bit the f32 product of the rounded operands. */
static void equals_f32(const car_kernels *kernels, stream *numbers) {
    for (int depth = 1; depth < 900; depth += 1 + depth / 2) {
        pair_case made = make_pairs(numbers, 13, 7, 0, 1, depth, 3);
        car_product product, rounded;
        float *pairs = pair_copy(&made, kernels, IN_CHAINS, &product),
              *floats = pair_copy(&made, NULL, IN_CHAINS, &rounded);
        for (size_t i = 0; i < made.x.a_count; i++)
            made.x.a[i] = pair_of(kernels, made.x.a[i]);
        for (size_t i = 0; i < made.x.panel_count; i++)
            made.x.panels[i] = pair_of(kernels, made.x.panels[i]);
        rounded.panels = made.x.panels;
        kernels->product(&rounded, NULL, 0, made.x.rows, 0, made.x.blocks);
        assert_same(pairs, floats, made.x.c_count);
        release(pairs, made.x.c_count);
        release(floats, made.x.c_count);
        free_pairs(&made);
    }
}

/* Any cut of rows and blocks, any number of rows in a call: the same bits. */
static void splits(const car_kernels *kernels, pairs_order order, stream *numbers) {
    for (int run = 0; run < 30; run++) {
        int rows = 1 + next_below(numbers, 70), blocks = 1 + next_below(numbers, 14);
        int parts = 1 + next_below(numbers, 3), length = 1 + next_below(numbers, 400);
        const int halves = next_below(numbers, blocks + 1);
        pair_case made = make_pairs(numbers, rows, blocks, halves, parts, length, 3);
        car_product whole, cut, single;
        float *once = pair_copy(&made, kernels, order, &whole);
        float *pieces = pair_copy(&made, NULL, order, &cut),
              *alone = pair_copy(&made, NULL, order, &single);
        int row_cut = next_below(numbers, rows + 1), block_cut = next_below(numbers, blocks + 1);
        cut.descending = run % 2 == 1;
        single.descending = true;
        run_pairs(kernels, order, &made, &cut, 0, row_cut, 0, block_cut);
        run_pairs(kernels, order, &made, &cut, row_cut, rows, 0, block_cut);
        run_pairs(kernels, order, &made, &cut, 0, row_cut, block_cut, blocks);
        run_pairs(kernels, order, &made, &cut, row_cut, rows, block_cut, blocks);
        for (int row = 0; row < rows; row++)
            run_pairs(kernels, order, &made, &single, row, row + 1, 0, blocks);
        assert_same(pieces, once, made.x.c_count);
        assert_same(alone, once, made.x.c_count);
        release(once, made.x.c_count);
        release(pieces, made.x.c_count);
        release(alone, made.x.c_count);
        free_pairs(&made);
    }
}

/* A product and the one before it, at once or one by one, in either direction: the same bits. */
static void before(const car_kernels *kernels, stream *numbers) {
    for (int run = 0; run < 36; run++) {
        const int rows = run % 3 == 0 ? 1 + next_below(numbers, 60) : 1;
        const int blocks = 1 + next_below(numbers, 14), parts = 1 + next_below(numbers, 3);
        const int lengths[] = {1 + next_below(numbers, 90), 1 + next_below(numbers, 90)};
        const int halves = next_below(numbers, blocks + 1);
        pair_case x = make_pairs(numbers, rows, blocks, halves, parts, lengths[0], 3),
                  y = make_pairs(numbers, rows, blocks, halves, 1, lengths[1], 1);
        car_product first, second = y.x.product;
        float *one_by_one = pair_copy(&x, kernels, IN_CHAINS, &first),
              *at_once = guarded_copy(x.x.c, x.x.c_count);
        const size_t scratch_count =
            car_product_scratch(rows, x.depth) + car_product_scratch(rows, y.depth);
        float *scratch = guarded(scratch_count);
        second.c = one_by_one;
        kernels->product_bf16(&second, scratch, 0, rows, 0, blocks);
        first.c = second.c = at_once;
        second.before = &first;
        second.descending = run % 2 == 1;
        kernels->product_bf16(&second, scratch, 0, rows, 0, blocks);
        assert_same(at_once, one_by_one, x.x.c_count);
        release(one_by_one, x.x.c_count);
        release(at_once, x.x.c_count);
        release(scratch, scratch_count);
        free_pairs(&x);
        free_pairs(&y);
    }
}

static void splits_in_chains(const car_kernels *kernels, stream *numbers) {
    splits(kernels, IN_CHAINS, numbers);
}

static void test_products(void **state) {
    (void)state;
    each_table(shapes_in_chains);
    each_table(bound_of_chains);
    each_table(equals_f32);
}

static void test_splits(void **state) {
    (void)state;
    each_table(before);
    each_table(splits_in_chains);
}

/* AMX's order: the plain loops say how it sums, the CPU is held to it bit for bit; and the plain loops to the exact product. */
static void test_tiles(void **state) {
    (void)state;
    stream numbers = {0};
    bound(&car_kernels_plain, IN_TILES, &numbers);
    const car_kernels *kernels = kernels_with_amx();
    shapes(kernels, IN_TILES, &numbers);
    for (int rows = 1; rows <= 70; rows += 1 + rows / 12)
        check_pairs(kernels, IN_TILES, &numbers, rows, 7, 1, 1 + next_below(&numbers, 200), 3);
    splits(kernels, IN_TILES, &numbers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding), cmocka_unit_test(test_packing),
        cmocka_unit_test(test_products), cmocka_unit_test(test_splits),
        cmocka_unit_test(test_tiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
