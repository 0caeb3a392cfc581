/*
 * Tests of the kernels: every function of the table at every level this CPU has, against plain loops.
 *
 * Set CAR_TEST_ALL_FLOATS=1 to run the maths over all 2^32 floats instead of every 257th.
 */
#include "kernel_helpers.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* The output of one more run on a copy of c. */
static float *product_copy(const product_case *x, const car_kernels *kernels,
                           car_product *product) {
    float *c = guarded_copy(x->c, x->c_count);
    *product = x->product;
    product->c = c;
    if (kernels)
        kernels->product(product, NULL, 0, x->rows, 0, x->blocks);
    return c;
}

/* Against the plain chain: the same bits with fma, within the bound of K roundings without. */
static void compare_plain(const car_kernels *kernels, const product_case *x) {
    car_product product;
    float *plain = product_copy(x, &car_kernels_plain, &product);
    float *fast = product_copy(x, kernels, &product);
    if (has_fma(kernels)) {
        assert_same(fast, plain, x->c_count);
    } else {
        /* |a b| <= 1, the sum stays below K+1: two roundings a step */
        double depth = x->product.parts * x->product.part_length;
        for (size_t i = 0; i < x->c_count; i++)
            assert_near((double)fast[i], (double)plain[i], (depth + 1) * (depth + 1) * 0x1p-23);
    }
    release(plain, x->c_count);
    release(fast, x->c_count);
}

/* With whole blocks, and with halves of blocks at the end. */
static void check_product(const car_kernels *kernels, stream *numbers, int rows, int blocks,
                          int parts, int part_length, int kind) {
    product_case x = make_product(numbers, rows, blocks, parts, part_length, kind);
    compare_plain(kernels, &x);
    make_half(&x, 1 + next_below(numbers, blocks));
    compare_plain(kernels, &x);
    free_product(&x);
}

static void product_shapes(const car_kernels *kernels, stream *numbers) {
    for (int rows = 1; rows <= 14; rows++)
        for (int blocks = 1; blocks <= 9; blocks++)
            check_product(kernels, numbers, rows, blocks, 1, 1 + next_below(numbers, 40),
                          next_below(numbers, 4));
    for (int i = 0; i < SIZES; i++)
        for (int kind = 0; kind < 4; kind++)
            check_product(kernels, numbers, sizes[i], 1 + next_below(numbers, 13), 1,
                          sizes[next_below(numbers, SIZES)], kind);
}

static void product_depths(const car_kernels *kernels, stream *numbers) {
    static const int depths[] = {0, 1, 383, 384, 385, 768, 769, 1500, 3001};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        for (int rows = 1; rows <= 20; rows += 6)
            check_product(kernels, numbers, rows, 5, 1, depths[i], 3);
    check_product(kernels, numbers, 150, 9, 1, 2800, 3);
}

static void product_parts(const car_kernels *kernels, stream *numbers) {
    static const int shapes[][2] = {{2, 1},   {2, 200}, {3, 16},  {7, 17},  {40, 16},
                                    {50, 16}, {2, 500}, {3, 385}, {4, 192}, {1, 5}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int rows = 1; rows <= 17; rows += 8)
            check_product(kernels, numbers, rows, 6, shapes[i][0], shapes[i][1], 3);
}

static void product_bound(const car_kernels *kernels, stream *numbers) {
    const int rows = 20, depth = 650;
    product_case x = make_product(numbers, rows, 5, 1, depth, 0);
    car_product product;
    float *fast = product_copy(&x, kernels, &product);
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < 5 * CAR_BLOCK; column++) {
            const exact_sum sum = exact_product(&x, row, column);
            float got = fast[row * product.c_row_stride + x.block[column / 16].c + column % 16];
            double roundings = has_fma(kernels) ? depth : 2 * depth;
            assert_near((double)got, sum.value, sum.size * roundings * 0x1p-24);
        }
    release(fast, x.c_count);
    free_product(&x);
}

/* Any cut of rows and panels, in either direction, any number of rows in a call: the same bits. */
static void product_splits(const car_kernels *kernels, stream *numbers) {
    for (int run = 0; run < 40; run++) {
        int rows = 1 + next_below(numbers, 70), blocks = 1 + next_below(numbers, 14);
        int parts = 1 + next_below(numbers, 3), length = 1 + next_below(numbers, 400);
        product_case x = make_product(numbers, rows, blocks, parts, length, 3);
        make_half(&x, next_below(numbers, blocks + 1));
        car_product whole, cut, single;
        float *once = product_copy(&x, kernels, &whole);
        float *pieces = product_copy(&x, NULL, &cut), *alone = product_copy(&x, NULL, &single);
        int row_cut = next_below(numbers, rows + 1);
        int block_cut = next_below(numbers, blocks + 1);
        cut.descending = run % 2 == 1;
        single.descending = true;
        kernels->product(&cut, NULL, 0, row_cut, 0, block_cut);
        kernels->product(&cut, NULL, row_cut, rows, 0, block_cut);
        kernels->product(&cut, NULL, 0, row_cut, block_cut, blocks);
        kernels->product(&cut, NULL, row_cut, rows, block_cut, blocks);
        for (int row = 0; row < rows; row++)
            kernels->product(&single, NULL, row, row + 1, 0, blocks);
        assert_same(pieces, once, x.c_count);
        assert_same(alone, once, x.c_count);
        release(once, x.c_count);
        release(pieces, x.c_count);
        release(alone, x.c_count);
        free_product(&x);
    }
}

/* Panels from far, asked for in advance, in either direction. */
static void product_descending(const car_kernels *kernels, stream *numbers) {
    product_case x = make_product(numbers, 130, 10, 1, 1100, 3);
    car_product up, down;
    float *once = product_copy(&x, kernels, &up), *again = product_copy(&x, NULL, &down);
    down.descending = true;
    kernels->product(&down, NULL, 0, 130, 0, 10);
    assert_same(again, once, x.c_count);
    release(once, x.c_count);
    release(again, x.c_count);
    free_product(&x);
}

/* K cut in two calls, the second going on from c: the same bits as one call. */
static void product_depth_split(const car_kernels *kernels, stream *numbers) {
    const int rows = 13, blocks = 4, depth = 500, first = 123;
    product_case x = make_product(numbers, rows, blocks, 1, depth, 2);
    car_product whole, half;
    float *once = product_copy(&x, kernels, &whole), *twice = product_copy(&x, NULL, &half);
    half.part_length = first;
    kernels->product(&half, NULL, 0, rows, 0, blocks);
    half.part_length = depth - first;
    half.a += first;
    half.panels += first * CAR_PANEL;
    for (int i = 0; i < blocks; i++)
        x.block[i].initial = CAR_FROM_C;
    kernels->product(&half, NULL, 0, rows, 0, blocks);
    assert_same(twice, once, x.c_count);
    release(once, x.c_count);
    release(twice, x.c_count);
    free_product(&x);
}

/* A product and the one before it, at once or one by one, in either direction: the same bits. */
static void product_before(const car_kernels *kernels, stream *numbers) {
    static const int rows_of[] = {1, 1, 1, 2, 7, 60};
    for (int run = 0; run < 36; run++) {
        const int rows = rows_of[run % 6], blocks = 1 + next_below(numbers, 14);
        const int parts = 1 + next_below(numbers, 3);
        product_case x = make_product(numbers, rows, blocks, parts, 1 + next_below(numbers, 90), 3),
                     y = make_product(numbers, rows, blocks, 1, 1 + next_below(numbers, 90), 1);
        const int halves = next_below(numbers, blocks + 1);
        make_half(&x, halves);
        make_half(&y, halves);
        car_product first, second;
        float *one_by_one = product_copy(&x, kernels, &first),
              *at_once = guarded_copy(x.c, x.c_count);
        second = y.product;
        second.c = one_by_one;
        kernels->product(&second, NULL, 0, rows, 0, blocks);
        first.c = second.c = at_once;
        first.descending = second.descending = run % 2 == 1;
        second.before = &first;
        const int cut = next_below(numbers, blocks + 1);
        kernels->product(&second, NULL, 0, rows, cut, blocks);
        kernels->product(&second, NULL, 0, rows, 0, cut);
        assert_same(at_once, one_by_one, x.c_count);
        release(one_by_one, x.c_count);
        release(at_once, x.c_count);
        free_product(&x);
        free_product(&y);
    }
}

static void test_product(void **state) {
    (void)state;
    each_table(product_shapes);
    each_table(product_depths);
    each_table(product_parts);
    each_table(product_bound);
}

static void test_product_splits(void **state) {
    (void)state;
    each_table(product_splits);
    each_table(product_descending);
    each_table(product_depth_split);
    each_table(product_before);
}

static void packing(const car_kernels *kernels, stream *numbers) {
    for (int blocks = 1; blocks <= 11; blocks++) {
        const int rows = 1 + next_below(numbers, 50);
        const int64_t stride = blocks * 2 * CAR_BLOCK + 3;
        const size_t count = (size_t)((blocks + 3) / 4 * rows * CAR_PANEL);
        float *source = guarded_random(numbers, (size_t)(rows * stride), 1.0f);
        car_product_block block[11];
        for (int i = 0; i < blocks; i++)
            block[i] = (car_product_block){next_below(numbers, 2 * blocks - 1) * CAR_BLOCK, 0};
        float *plain = guarded(count), *fast = guarded(count), *cut = guarded(count);
        car_kernels_plain.pack_rows(source, stride, rows, block, blocks, plain, 0, blocks);
        kernels->pack_rows(source, stride, rows, block, blocks, fast, 0, blocks);
        int at = next_below(numbers, blocks + 1);
        kernels->pack_rows(source, stride, rows, block, blocks, cut, at, blocks);
        kernels->pack_rows(source, stride, rows, block, blocks, cut, 0, at);
        assert_same(fast, plain, count);
        assert_same(cut, plain, count);
        release(plain, count);
        release(fast, count);
        release(cut, count);
        release(source, (size_t)(rows * stride));
    }
}

static void transposing(const car_kernels *kernels, stream *numbers) {
    for (int i = 0; i < SIZES; i++)
        for (int j = 0; j < SIZES; j++) {
            const int rows = sizes[i], columns = sizes[j];
            const int64_t a_stride = columns + next_below(numbers, 3);
            const int64_t out_stride = rows + next_below(numbers, 3);
            const size_t a_count = (size_t)(rows * a_stride),
                         count = (size_t)(columns * out_stride);
            float *a = guarded_random(numbers, a_count, 1.0f);
            float *plain = guarded(count), *fast = guarded(count);
            car_kernels_plain.transpose(a, a_stride, rows, columns, plain, out_stride);
            kernels->transpose(a, a_stride, rows, columns, fast, out_stride);
            assert_memory_equal(fast, plain, count * sizeof *fast);
            release(a, a_count);
            release(plain, count);
            release(fast, count);
        }
}

static void test_packing(void **state) {
    (void)state;
    each_level(packing);
    each_level(transposing);
}

/* ---- Maths over all floats ---------------------------------------------------------------------------- */

static double exact(car_vector_op op, double x) {
    switch (op) {
    case CAR_VECTOR_EXP:
        return exp(x);
    case CAR_VECTOR_LOG:
        return log(x);
    case CAR_VECTOR_TANH:
        return tanh(x);
    case CAR_VECTOR_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case CAR_VECTOR_SQRT:
        return sqrt(x);
    case CAR_VECTOR_SOFTPLUS:
        return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
    default:
        return NAN;
    }
}

/* Units in the last place of a float result near `wanted`. Where that is below FLT_MIN, anything of its sign
 * up to FLT_MIN will do. */
static double ulps(float got, double wanted) {
    if (isnan(wanted) || isnan(got))
        return isnan(wanted) && isnan(got) ? 0.0 : INFINITY;
    double value = isinf(got) ? copysign(0x1p128, (double)got) : (double)got;
    if (isinf(wanted))
        return isinf(got) && (got > 0) == (wanted > 0) ? 0.0 : INFINITY;
    if (fabs(wanted) > 0x1p128)
        wanted = copysign(0x1p128, wanted);
    int exponent;
    frexp(wanted, &exponent);
    if (fabs(wanted) < (double)FLT_MIN)
        return value * wanted >= 0.0 && fabsf(got) <= FLT_MIN ? 0.0 : INFINITY;
    if (exponent > FLT_MAX_EXP)
        exponent = FLT_MAX_EXP;
    return fabs(value - wanted) / ldexp(1.0, exponent - FLT_MANT_DIG);
}

typedef struct worst {
    double error;
    float at;
} worst;

static void measure(car_vector_op op, uint32_t step, worst found[CAR_CPU_LEVELS]) {
    enum { BATCH = 4096 };
    float x[BATCH], out[BATCH];
    double wanted[BATCH];
    for (uint64_t first = 0; first <= UINT32_MAX;) {
        int count = 0;
        for (; count < BATCH && first <= UINT32_MAX; count++, first += step) {
            uint32_t bits = (uint32_t)first;
            memcpy(&x[count], &bits, sizeof bits);
            wanted[count] = exact(op, (double)x[count]);
        }
        for (int level = 0; level < CAR_CPU_LEVELS; level++) {
            const car_kernels *kernels = car_kernels_of((car_cpu_level)level);
            if (!kernels)
                continue;
            kernels->map(op, x, out, (size_t)count);
            for (int i = 0; i < count; i++) {
                /* correctly rounded: the usual case, and below every bound */
                double error = out[i] == (float)wanted[i] ? 0.5 : ulps(out[i], wanted[i]);
                if (error > found[level].error)
                    found[level].error = error, found[level].at = x[i];
            }
        }
    }
}

static void test_maths(void **state) {
    (void)state;
    static const car_vector_op ops[] = {CAR_VECTOR_EXP,     CAR_VECTOR_LOG,  CAR_VECTOR_TANH,
                                        CAR_VECTOR_SIGMOID, CAR_VECTOR_SQRT, CAR_VECTOR_SOFTPLUS};
    const char *all = getenv("CAR_TEST_ALL_FLOATS");
    const uint32_t step = all && *all ? 1 : 257;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        worst found[CAR_CPU_LEVELS] = {{0}};
        measure(ops[i], step, found);
        for (int level = 0; level < CAR_CPU_LEVELS; level++) {
            if (!car_kernels_of((car_cpu_level)level))
                continue;
            print_message("%-8s %-8s worst %.3f ulp at %.9g\n", car_vector_op_text(ops[i]),
                          car_kernels_of((car_cpu_level)level)->name, found[level].error,
                          (double)found[level].at);
            assert_true(found[level].error <= 3.0);
        }
    }
}

static void special_values(const car_kernels *kernels, stream *numbers) {
    (void)numbers;
    static const struct {
        car_vector_op op;
        int count;
        float x[7], y[7];
    } table[] = {{CAR_VECTOR_EXP,
                  6,
                  {0.0f, -0.0f, INFINITY, 100.0f, -INFINITY, -200.0f},
                  {1.0f, 1.0f, INFINITY, INFINITY, 0.0f, 0.0f}},
                 {CAR_VECTOR_LOG,
                  6,
                  {0.0f, -0.0f, 1.0f, -1.0f, -INFINITY, INFINITY},
                  {-INFINITY, -INFINITY, 0.0f, NAN, NAN, INFINITY}},
                 {CAR_VECTOR_TANH,
                  7,
                  {0.0f, -0.0f, 30.0f, -30.0f, INFINITY, -INFINITY, FLT_MAX},
                  {0.0f, -0.0f, 1.0f, -1.0f, 1.0f, -1.0f, 1.0f}},
                 {CAR_VECTOR_SIGMOID,
                  5,
                  {0.0f, 40.0f, -200.0f, INFINITY, -INFINITY},
                  {0.5f, 1.0f, 0.0f, 1.0f, 0.0f}},
                 {CAR_VECTOR_SOFTPLUS, 3, {INFINITY, -INFINITY, 50.0f}, {INFINITY, 0.0f, 50.0f}},
                 {CAR_VECTOR_RELU, 3, {-1.0f, 2.5f, -INFINITY}, {0.0f, 2.5f, 0.0f}},
                 {CAR_VECTOR_SQRT, 2, {-1.0f, 0.0f}, {NAN, 0.0f}},
                 {CAR_VECTOR_ABS, 2, {-3.0f, -INFINITY}, {3.0f, INFINITY}},
                 {CAR_VECTOR_NEGATE, 2, {0.0f, 1.0f}, {-0.0f, -1.0f}}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        float y[7];
        kernels->map(table[i].op, table[i].x, y, (size_t)table[i].count);
        assert_same(y, table[i].y, (size_t)table[i].count);
    }
    for (int op = CAR_VECTOR_NEGATE; op <= CAR_VECTOR_ABS; op++) {
        float x = NAN, y = 0.0f;
        kernels->map((car_vector_op)op, &x, &y, 1);
        assert_true(isnan(y));
    }
}

/* A subnormal is itself or 0, as the thread's mode has it. */
static void subnormals_flushed(const car_kernels *kernels, stream *numbers) {
    (void)numbers;
#if defined(__x86_64__)
    const unsigned mode = _mm_getcsr();
    float x[2] = {1e-40f, -1e-40f}, exp_y[2], tanh_y[2], sigmoid_y[2], log_y[2], softplus_y[1];
    const float low = -90.0f;
    _mm_setcsr(mode | 0x8040u);
    kernels->map(CAR_VECTOR_EXP, x, exp_y, 2);
    kernels->map(CAR_VECTOR_TANH, x, tanh_y, 2);
    kernels->map(CAR_VECTOR_SIGMOID, x, sigmoid_y, 2);
    kernels->map(CAR_VECTOR_LOG, x, log_y, 2);
    kernels->map(CAR_VECTOR_SOFTPLUS, &low, softplus_y, 1);
    _mm_setcsr(mode);
    for (int i = 0; i < 2; i++) {
        assert_true(exp_y[i] == 1.0f && sigmoid_y[i] == 0.5f);
        assert_true(fabsf(tanh_y[i]) <= 1e-40f);
    }
    assert_true(log_y[0] < -87.0f);
    assert_true(softplus_y[0] >= 0.0f && softplus_y[0] < FLT_MIN);
#else
    (void)kernels;
#endif
}

static void map_lengths(const car_kernels *kernels, stream *numbers) {
    for (int i = 0; i < SIZES; i++) {
        const size_t count = (size_t)sizes[i];
        float *x = guarded_random(numbers, count, 4.0f);
        for (int op = 0; op < CAR_VECTOR_OP_COUNT; op++) {
            if (car_vector_op_operands((car_vector_op)op) != 1 || op == CAR_VECTOR_STORE)
                continue;
            float *whole = guarded(count), *single = guarded(count);
            kernels->map((car_vector_op)op, x, whole, count);
            for (size_t j = 0; j < count; j++)
                kernels->map((car_vector_op)op, x + j, single + j, 1);
            assert_same(whole, single, count);
            release(whole, count);
            release(single, count);
        }
        release(x, count);
    }
}

static void test_maths_special(void **state) {
    (void)state;
    each_level(special_values);
    each_level(subnormals_flushed);
    each_level(map_lengths);
}

/* ---- Vector programs ---------------------------------------------------------------------------------- */

enum { SLOTS = 8, LOADED = 5 };

/* Slots 0-4 are read, 5-7 written; 7 is also read before it is written. */
typedef struct program_case {
    car_vector_program program;
    car_vector_instruction code[CAR_VECTOR_REGISTERS + 32];
    car_vector_slot slots[SLOTS];
    size_t counts[SLOTS];
    int rows, units;
} program_case;

static void make_slots(program_case *x, stream *numbers) {
    const int blocks = car_blocks(x->units);
    for (int i = 0; i < SLOTS; i++) {
        car_vector_slot *slot = &x->slots[i];
        /* gates side by side, whole rows, rows with a gap; 3: one row for all; 4: one value a row */
        slot->block_stride = i == 4 ? 0 : CAR_BLOCK * (1 + next_below(numbers, 4));
        slot->row_stride = blocks * slot->block_stride + next_below(numbers, 2) * 7;
        if (i == 3)
            slot->row_stride = 0;
        if (i == 4)
            slot->row_stride = 1 + next_below(numbers, 3);
        x->counts[i] = (size_t)((x->rows - 1) * slot->row_stride +
                                (blocks - 1) * slot->block_stride + CAR_BLOCK);
        slot->base = guarded_random(numbers, x->counts[i], 3.0f);
    }
}

static car_vector_instruction random_arithmetic(stream *numbers, int registers, bool maths,
                                                bool fma) {
    for (;;) {
        int op = CAR_VECTOR_CONSTANT + next_below(numbers, CAR_VECTOR_OP_COUNT - 2);
        bool is_maths = op == CAR_VECTOR_SIGMOID || op == CAR_VECTOR_TANH || op == CAR_VECTOR_EXP ||
                        op == CAR_VECTOR_LOG || op == CAR_VECTOR_SOFTPLUS;
        bool is_fma = op == CAR_VECTOR_FMA || op == CAR_VECTOR_TANH_GRADIENT;
        if ((is_maths && !maths) || (is_fma && !fma))
            continue;
        return (car_vector_instruction){.op = (uint8_t)op,
                                        .out = (uint8_t)next_below(numbers, registers),
                                        .a = (uint8_t)next_below(numbers, registers),
                                        .b = (uint8_t)next_below(numbers, registers),
                                        .c = (uint8_t)next_below(numbers, registers),
                                        .value = next_float(numbers, 2.0f)};
    }
}

static void make_program(program_case *x, stream *numbers, int registers, bool maths, bool fma) {
    x->program = (car_vector_program){0, registers, x->code};
    int *count = &x->program.count;
    for (int i = 0; i < registers; i++) {
        int slot = i < LOADED ? i : i == LOADED ? 7 : next_below(numbers, LOADED);
        x->code[(*count)++] = (car_vector_instruction){
            .op = CAR_VECTOR_LOAD, .out = (uint8_t)i, .slot = (uint16_t)slot};
    }
    for (int i = 0; i < 20; i++)
        x->code[(*count)++] = random_arithmetic(numbers, registers, maths, fma);
    for (int slot = LOADED; slot < SLOTS; slot++) {
        x->code[(*count)++] = (car_vector_instruction){.op = CAR_VECTOR_STORE,
                                                       .a = (uint8_t)next_below(numbers, registers),
                                                       .slot = (uint16_t)slot};
        x->code[(*count)++] = random_arithmetic(numbers, registers, maths, fma);
    }
}

/* Copies of the written slots, so that the same program can run again. */
static void copy_slots(const program_case *x, car_vector_slot slots[SLOTS]) {
    memcpy(slots, x->slots, sizeof x->slots);
    for (int i = LOADED; i < SLOTS; i++)
        slots[i].base = guarded_copy(x->slots[i].base, x->counts[i]);
}

static void compare_slots(const program_case *x, const car_vector_slot *a,
                          const car_vector_slot *b) {
    for (int i = LOADED; i < SLOTS; i++)
        assert_same(a[i].base, b[i].base, x->counts[i]);
}

static void release_written(const program_case *x, const car_vector_slot slots[SLOTS]) {
    for (int i = LOADED; i < SLOTS; i++)
        release(slots[i].base, x->counts[i]);
}

static void check_program(const car_kernels *kernels, stream *numbers, int rows, int units,
                          int registers) {
    const int blocks = car_blocks(units);
    for (int maths = 0; maths < 2; maths++) {
        program_case x = {.rows = rows, .units = units};
        make_slots(&x, numbers);
        make_program(&x, numbers, registers, maths, has_fma(kernels));
        car_vector_slot once[SLOTS], pieces[SLOTS], plain[SLOTS];
        copy_slots(&x, once);
        copy_slots(&x, pieces);
        copy_slots(&x, plain);
        kernels->program(&x.program, once, units, 0, rows, 0, blocks);
        int row = next_below(numbers, rows + 1), block = next_below(numbers, blocks + 1);
        kernels->program(&x.program, pieces, units, 0, row, 0, block);
        kernels->program(&x.program, pieces, units, row, rows, 0, block);
        kernels->program(&x.program, pieces, units, 0, rows, block, blocks);
        compare_slots(&x, once, pieces);
        car_kernels_plain.program(&x.program, plain, units, 0, rows, 0, blocks);
        if (!maths)
            compare_slots(&x, once, plain);
        for (int i = LOADED; i < SLOTS; i++)
            for (int j = units % CAR_BLOCK; j > 0 && j < CAR_BLOCK; j++)
                assert_true(once[i].base[(blocks - 1) * once[i].block_stride + j] == 0.0f);
        release_written(&x, once);
        release_written(&x, pieces);
        release_written(&x, plain);
        for (int i = 0; i < SLOTS; i++)
            release(x.slots[i].base, x.counts[i]);
    }
}

static void programs(const car_kernels *kernels, stream *numbers) {
    for (int i = 0; i < SIZES; i++)
        for (int rows = 1; rows <= 40; rows = rows * 3 + 1)
            check_program(kernels, numbers, rows, sizes[i], 6 + next_below(numbers, 27));
    check_program(kernels, numbers, 3, 1500, CAR_VECTOR_REGISTERS);
}

/* Each operation of one operand within a program gives what map gives. */
static void program_maths(const car_kernels *kernels, stream *numbers) {
    enum { UNITS = 333 };
    const size_t count = (size_t)car_padded(UNITS);
    float *x = guarded_random(numbers, count, 10.0f);
    for (int op = 0; op < CAR_VECTOR_OP_COUNT; op++) {
        if (car_vector_op_operands((car_vector_op)op) != 1 || op == CAR_VECTOR_STORE)
            continue;
        float *mapped = guarded(count), *run = guarded(count);
        car_vector_instruction code[] = {{.op = CAR_VECTOR_LOAD, .out = 1, .slot = 0},
                                         {.op = (uint8_t)op, .out = 0, .a = 1},
                                         {.op = CAR_VECTOR_STORE, .a = 0, .slot = 1}};
        car_vector_slot slots[] = {{x, (int64_t)count, CAR_BLOCK},
                                   {run, (int64_t)count, CAR_BLOCK}};
        car_vector_program program = {3, 2, code};
        kernels->program(&program, slots, UNITS, 0, 1, 0, car_blocks(UNITS));
        kernels->map((car_vector_op)op, x, mapped, count);
        assert_same(run, mapped, UNITS);
        release(mapped, count);
        release(run, count);
    }
    release(x, count);
}

static void test_programs(void **state) {
    (void)state;
    each_level(programs);
    each_level(program_maths);
}

/* ---- Rows --------------------------------------------------------------------------------------------- */

static void softmax_rows(const car_kernels *kernels, stream *numbers) {
    for (int i = 0; i < SIZES; i++) {
        enum { ROWS = 7 };
        const int classes = sizes[i];
        const int64_t stride = car_padded(classes) + 16;
        const size_t count = ROWS * (size_t)stride;
        float *x = guarded_random(numbers, count, 30.0f), scale = 0.25f;
        int32_t targets[ROWS];
        for (int row = 0; row < ROWS; row++)
            targets[row] = row == 3 ? -1 : next_below(numbers, classes);
        float *fast = guarded_copy(x, count), *cut = guarded_copy(x, count);
        float *plain = guarded_copy(x, count), *still = guarded_copy(x, count);
        float *loss = guarded(ROWS), *cut_loss = guarded(ROWS), plain_loss[ROWS];
        kernels->softmax_loss(fast, stride, classes, targets, scale, true, loss, 0, ROWS);
        kernels->softmax_loss(cut, stride, classes, targets, scale, true, cut_loss, 2, ROWS);
        kernels->softmax_loss(cut, stride, classes, targets, scale, true, cut_loss, 0, 2);
        assert_same(cut, fast, count);
        assert_same(cut_loss, loss, ROWS);
        car_kernels_plain.softmax_loss(plain, stride, classes, targets, scale, true, plain_loss, 0,
                                       ROWS);
        for (size_t j = 0; j < count; j++)
            assert_near((double)fast[j], (double)plain[j], 4e-7);
        for (int row = 0; row < ROWS; row++)
            assert_near((double)loss[row], (double)plain_loss[row], 1e-5);
        kernels->softmax_loss(still, stride, classes, targets, scale, false, cut_loss, 0, ROWS);
        assert_same(still, x, count);
        assert_same(cut_loss, loss, ROWS);
        kernels->softmax(still, stride, classes, 0.7f, 0, ROWS);
        memcpy(plain, x, count * sizeof *x);
        car_kernels_plain.softmax(plain, stride, classes, 0.7f, 0, ROWS);
        for (size_t j = 0; j < count; j++)
            assert_near((double)still[j], (double)plain[j], 2e-5 * fabs((double)plain[j]) + 1e-12);
        release(x, count);
        release(fast, count);
        release(cut, count);
        release(plain, count);
        release(still, count);
        release(loss, ROWS);
        release(cut_loss, ROWS);
    }
}

/* Large, infinite and undefined logits. */
static void softmax_extremes(const car_kernels *kernels, stream *numbers) {
    (void)numbers;
    const int32_t target = 1;
    float large[16] = {-1e30f, 1e30f, 3.0f}, loss = -1.0f;
    kernels->softmax_loss(large, 16, 3, &target, 1.0f, true, &loss, 0, 1);
    assert_true(loss == 0.0f && large[0] == 0.0f && large[1] == 0.0f && large[2] == 0.0f);
    float one_infinite[16] = {-INFINITY, 0.0f};
    kernels->softmax_loss(one_infinite, 16, 2, &target, 1.0f, true, &loss, 0, 1);
    assert_true(loss == 0.0f && one_infinite[0] == 0.0f);
    float undefined[16] = {1.0f, 2.0f, NAN};
    kernels->softmax_loss(undefined, 16, 3, &target, 1.0f, true, &loss, 0, 1);
    assert_true(isnan(loss));
    float infinite[16] = {1.0f, 2.0f, INFINITY};
    kernels->softmax_loss(infinite, 16, 3, &target, 1.0f, true, &loss, 0, 1);
    assert_false(isfinite(loss));
}

/* Those of a row's three numbers whose bits are set. */
static car_row_means row_means(const float *weight, float *out, int wanted) {
    return (car_row_means){.weight = weight,
                           .mean = wanted & 1 ? out : NULL,
                           .variance = wanted & 2 ? out + 1 : NULL,
                           .inverse = wanted & 4 ? out + 2 : NULL,
                           .epsilon = 1e-5f,
                           .stride = 3};
}

static void means_and_sums(const car_kernels *kernels, stream *numbers) {
    for (int i = 0; i < SIZES; i++) {
        const int units = sizes[i], rows = 1 + next_below(numbers, 20), blocks = car_blocks(units);
        car_vector_slot slot = {NULL, blocks * 32 + 5, 32};
        const size_t count = (size_t)(rows * slot.row_stride);
        const size_t width = (size_t)car_padded(units);
        slot.base = guarded_random(numbers, count, 1.0f);
        float *fast = guarded((size_t)rows * 3), *plain = guarded((size_t)rows * 3);
        int row_cut = next_below(numbers, rows + 1), block_cut = next_below(numbers, blocks + 1);
        float *weights = guarded_random(numbers, width, 1.0f);
        static const int numbers_wanted[] = {1, 3, 7, 2, 6};
        for (int k = 0; k < 10; k++) {
            const int wanted = numbers_wanted[k / 2];
            const float *weight = k % 2 ? weights : NULL;
            const car_row_means out = row_means(weight, fast, wanted),
                                same = row_means(weight, plain, wanted);
            kernels->row_mean(&slot, units, row_cut, rows, &out);
            kernels->row_mean(&slot, units, 0, row_cut, &out);
            car_kernels_plain.row_mean(&slot, units, 0, rows, &same);
            assert_memory_equal(fast, plain, (size_t)rows * 3 * sizeof *fast);
        }
        float *sum = guarded_random(numbers, width, 1.0f), *plain_sum = guarded_copy(sum, width);
        for (int from_zero = 1; from_zero >= 0; from_zero--) {
            kernels->column_sum(&slot, rows, 0, block_cut, sum, from_zero);
            kernels->column_sum(&slot, rows, block_cut, blocks, sum, from_zero);
            car_kernels_plain.column_sum(&slot, rows, 0, blocks, plain_sum, from_zero);
            assert_same(sum, plain_sum, width);
        }
        release(fast, (size_t)rows * 3);
        release(plain, (size_t)rows * 3);
        release(weights, width);
        release(sum, width);
        release(plain_sum, width);
        release(slot.base, count);
    }
}

static void dropout(const car_kernels *kernels, stream *numbers) {
    for (int i = 0; i < SIZES; i++) {
        const int units = sizes[i];
        const size_t count = (size_t)car_padded(units);
        const car_random_key key = {next_number(numbers), CAR_RANDOM_DROPOUT, 3};
        const uint64_t time = (uint64_t)next_number(numbers) << 20, lane = next_number(numbers);
        static const float probabilities[] = {0.0f, 0.3f, 0.5f, 1.0f};
        for (int j = 0; j < 4; j++) {
            float *fast = guarded(count), *plain = guarded(count);
            kernels->dropout_mask(key, time, lane, probabilities[j], units, fast);
            car_kernels_plain.dropout_mask(key, time, lane, probabilities[j], units, plain);
            assert_same(fast, plain, count);
            release(fast, count);
            release(plain, count);
        }
    }
    float mask[16000];
    kernels->dropout_mask((car_random_key){1, CAR_RANDOM_DROPOUT, 0}, 5, 6, 0.25f, 16000, mask);
    int dropped = 0;
    for (int i = 0; i < 16000; i++)
        dropped += mask[i] == 0.0f;
    /* 8 standard deviations of a binomial */
    assert_true(abs(dropped - 4000) < 440);
}

/* Against the textbook's order of the same sums; and the same bits as the baseline. */
static void orthonormal_rows(const car_kernels *kernels, stream *numbers) {
    static const size_t shapes[][2] = {{1, 1}, {3, 3}, {4, 9}, {17, 17}, {30, 64}, {61, 130}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const size_t count = shapes[s][0], length = shapes[s][1], all = count * length;
        double *fast = calloc(3 * all, sizeof *fast), *plain = fast + all, *base = plain + all;
        for (size_t k = 0; k < all; k++)
            base[k] = plain[k] = fast[k] = (double)next_number(numbers) / 0x1p31 - 1;
        kernels->orthonormalize(fast, count, length);
        car_kernels_plain.orthonormalize(plain, count, length);
        car_kernels_of(CAR_CPU_BASELINE)->orthonormalize(base, count, length);
        assert_memory_equal(fast, base, all * sizeof *fast);
        for (size_t k = 0; k < all; k++)
            assert_true(fabs(fast[k] - plain[k]) < 1e-10);
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j <= i; j++) {
                double sum = 0;
                for (size_t k = 0; k < length; k++)
                    sum += fast[i * length + k] * fast[j * length + k];
                assert_true(fabs(sum - (i == j)) < 1e-11);
            }
        free(fast);
    }
}

static void test_rows(void **state) {
    (void)state;
    each_level(orthonormal_rows);
    each_level(softmax_rows);
    each_level(softmax_extremes);
    each_level(means_and_sums);
    each_level(dropout);
}

/* ---- Optimizers and flat arrays ----------------------------------------------------------------------- */

typedef struct arrays {
    float *weights, *gradient, *first, *second;
} arrays;

static arrays copy_arrays(const arrays *from, size_t count) {
    arrays x = {guarded_copy(from->weights, count), guarded_copy(from->gradient, count),
                guarded_copy(from->first, count), guarded_copy(from->second, count)};
    return x;
}

static void release_arrays(arrays *x, size_t count) {
    release(x->weights, count);
    release(x->gradient, count);
    release(x->first, count);
    release(x->second, count);
}

static void assert_arrays(const arrays *a, const arrays *b, size_t count, double tolerance) {
    for (size_t i = 0; i < count; i++) {
        assert_near((double)a->weights[i], (double)b->weights[i], tolerance);
        assert_near((double)a->first[i], (double)b->first[i], tolerance);
        assert_near((double)a->second[i], (double)b->second[i], tolerance);
    }
}

static void run_update(const car_kernels *kernels, car_update update, const arrays *x, size_t begin,
                       size_t end) {
    update.weights = x->weights;
    update.gradient = x->gradient;
    update.first = update.kind == CAR_OPTIMIZER_RMSPROP ? NULL : x->first;
    update.second = update.kind == CAR_OPTIMIZER_SGD ? NULL : x->second;
    kernels->update(&update, begin, end);
}

static void check_update(const car_kernels *kernels, stream *numbers, car_update update,
                         size_t count) {
    arrays x = {guarded_random(numbers, count, 1.0f), guarded_random(numbers, count, 1.0f),
                guarded_random(numbers, count, 1.0f), guarded_random(numbers, count, 1.0f)};
    for (size_t i = 0; i < count; i++) {
        x.second[i] = fabsf(x.second[i]) + 0.01f;
        if (i % 5 == 0)
            x.weights[i] = x.gradient[i] = x.first[i] = x.second[i] = 0.0f;
    }
    arrays once = copy_arrays(&x, count), cut = copy_arrays(&x, count);
    arrays plain = copy_arrays(&x, count);
    run_update(kernels, update, &once, 0, count);
    size_t at = (size_t)next_below(numbers, (int)count + 1);
    run_update(kernels, update, &cut, at, count);
    run_update(kernels, update, &cut, 0, at);
    run_update(&car_kernels_plain, update, &plain, 0, count);
    assert_arrays(&once, &cut, count, 0.0);
    assert_arrays(&once, &plain, count, 2e-6);
    for (size_t i = 0; i < count; i += 5)
        assert_true(once.weights[i] == 0.0f && once.first[i] == 0.0f && once.second[i] == 0.0f);
    release_arrays(&x, count);
    release_arrays(&once, count);
    release_arrays(&cut, count);
    release_arrays(&plain, count);
}

static void updates(const car_kernels *kernels, stream *numbers) {
    for (int kind = CAR_OPTIMIZER_SGD; kind <= CAR_OPTIMIZER_RMSPROP; kind++)
        for (int i = 0; i < SIZES; i++)
            for (int variant = 0; variant < 4; variant++) {
                car_update update = {.kind = (car_optimizer_kind)kind,
                                     .rate = 0.01f,
                                     .momentum = variant & 1 ? 0.9f : 0.0f,
                                     .beta1 = 0.9f,
                                     .beta2 = 0.999f,
                                     .epsilon = variant & 1 ? 1e-8f : 0.0f,
                                     .decay = variant & 1 ? 0.1f : 0.0f,
                                     .gradient_scale = variant & 1 ? 0.5f : 1.0f,
                                     .clip_value = variant & 2 ? 0.2f : 0.0f,
                                     .correction1 = 0.19f,
                                     .correction2 = 0.002f};
                check_update(kernels, numbers, update, (size_t)sizes[i]);
            }
}

/* SGD without momentum needs no moments. */
static void plain_gradient_descent(const car_kernels *kernels, stream *numbers) {
    enum { COUNT = 37 };
    float *weights = guarded_random(numbers, COUNT, 1.0f);
    float *gradient = guarded_random(numbers, COUNT, 1.0f), *before = guarded_copy(weights, COUNT);
    car_update update = {.kind = CAR_OPTIMIZER_SGD,
                         .rate = 0.5f,
                         .gradient_scale = 1.0f,
                         .weights = weights,
                         .gradient = gradient};
    kernels->update(&update, 0, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_near((double)weights[i], (double)before[i] - 0.5 * (double)gradient[i], 2e-7);
    release(weights, COUNT);
    release(gradient, COUNT);
    release(before, COUNT);
}

static void flat_arrays(const car_kernels *kernels, stream *numbers) {
    for (int i = 0; i < SIZES; i++) {
        const size_t count = (size_t)sizes[i];
        float *x = guarded_random(numbers, count, 1.0f),
              *mask = guarded_random(numbers, count, 1.0f);
        float *fast = guarded_random(numbers, count, 1.0f), *plain = guarded_copy(fast, count);
        kernels->add(fast, x, count);
        car_kernels_plain.add(plain, x, count);
        assert_same(fast, plain, count);
        kernels->multiply(fast, x, mask, count);
        car_kernels_plain.multiply(plain, x, mask, count);
        assert_same(fast, plain, count);
        assert_true(kernels->square_sum(x, count) == car_kernels_plain.square_sum(x, count));
        assert_true(kernels->all_finite(x, count));
        for (size_t at = 0; at < count; at++) {
            const float kept = x[at], bad[] = {NAN, INFINITY, -INFINITY};
            for (int j = 0; j < 3; j++) {
                x[at] = bad[j];
                assert_false(kernels->all_finite(x, count));
            }
            x[at] = kept;
        }
        release(x, count);
        release(mask, count);
        release(fast, count);
        release(plain, count);
    }
    assert_true(kernels->all_finite(NULL, 0));
}

static void test_flat_arrays(void **state) {
    (void)state;
    each_level(updates);
    each_level(plain_gradient_descent);
    each_level(flat_arrays);
}

/* ---- The choice of a level ---------------------------------------------------------------------------- */

static void test_choice(void **state) {
    (void)state;
    const car_kernels *kernels = NULL;
    car_error error = {0};
    unsetenv("CAROUSEL_CPU");
    assert_int_equal(car_kernels_choose(&kernels, &error), CAR_OK);
    assert_int_equal(kernels->level, car_cpu_highest());
    setenv("CAROUSEL_CPU", "baseline", 1);
    assert_int_equal(car_kernels_choose(&kernels, &error), CAR_OK);
    assert_int_equal(kernels->level, CAR_CPU_BASELINE);
    setenv("CAROUSEL_CPU", "avx512", 1);
    assert_int_equal(car_kernels_choose(&kernels, &error), CAR_OK);
    assert_int_equal(kernels->level, car_cpu_highest());
    setenv("CAROUSEL_CPU", "fast", 1);
    assert_int_equal(car_kernels_choose(&kernels, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "fast"));
    unsetenv("CAROUSEL_CPU");
    for (int level = 0; level <= (int)car_cpu_highest(); level++)
        assert_int_equal(car_kernels_of((car_cpu_level)level)->level, level);
    car_text text;
    car_text_start(&text, NULL);
    car_cpu_describe(&text);
    assert_false(text.failed);
    print_message("%s", text.data);
    assert_non_null(strstr(text.data, "baseline: available\n"));
    car_text_free(&text);
}

static void test_operations(void **state) {
    (void)state;
    assert_string_equal(car_vector_op_text(CAR_VECTOR_TANH_GRADIENT), "tanh_gradient");
    assert_int_equal(car_vector_op_operands(CAR_VECTOR_FMA), 3);
    assert_int_equal(car_vector_op_operands(CAR_VECTOR_LOAD), 0);
    for (int op = 0; op < CAR_VECTOR_OP_COUNT; op++)
        for (int other = 0; other < op; other++)
            assert_string_not_equal(car_vector_op_text((car_vector_op)op),
                                    car_vector_op_text((car_vector_op)other));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),        cmocka_unit_test(test_operations),
        cmocka_unit_test(test_product),       cmocka_unit_test(test_product_splits),
        cmocka_unit_test(test_packing),       cmocka_unit_test(test_programs),
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_flat_arrays),
        cmocka_unit_test(test_maths_special), cmocka_unit_test(test_maths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
