/*
 * test_emitted.c: compiled vector programs give the same bits as the interpreter, for every cell of the zoo.
 *
 * Two plans of the same cell, one with the table of emitted functions and one without, run forward and backward over
 * odd sizes at every CPU level of this machine.
 */
#include "emitted_helpers.h"

typedef void comparison(const struct car_cell *cell, const car_kernels *kernels, int units,
                        const car_emitted_table *emitted, const car_emitted_table *native);

/* Every cell of the zoo at every level of this machine. */
static void compare_zoo(comparison *compare_cell, const int *units, size_t unit_count) {
    const car_zoo_entry *zoo;
    int count = car_zoo_entries(&zoo);
    for (int i = 0; i < count; i++) {
        struct car_cell *cell;
        assert_int_equal(
            car_cell_compile(zoo[i].text, strlen(zoo[i].text), zoo[i].name, NULL, &cell, NULL),
            CAR_OK);
        for (int level = 0; level < CAR_CPU_LEVELS; level++) {
            const car_kernels *kernels = car_kernels_of((car_cpu_level)level);
            for (size_t k = 0; kernels && k < unit_count; k++)
                compare_cell(cell, kernels, units[k], car_emitted_of(kernels->level), NULL);
        }
        car_cell_free(cell);
    }
}

static void emitted_programs_give_the_interpreters_bits(void **state) {
    (void)state;
    static const int units[] = {1, 15, 16, 17, 40, 64};
    compare_zoo(compare, units, sizeof units / sizeof *units);
}

/* From 100 units on, lstm's are shared by two threads. */
static void a_sequence_alone_gives_the_interpreters_bits(void **state) {
    (void)state;
    static const int units[] = {1, 16, 17, 40, 64, 100};
    compare_zoo(compare_lone, units, sizeof units / sizeof *units);
}

static void compare_lone_pairs(const struct car_cell *cell, const car_kernels *kernels, int units,
                               const car_emitted_table *emitted, const car_emitted_table *native) {
    const car_plan_options options = {.emitted = emitted,
                                      .native = native,
                                      .pair_rows = car_emitted_pair_rows_of(kernels),
                                      .precision = CAR_PRECISION_BF16};
    compare_lone_of(cell, kernels, units, &options);
}

static void a_sequence_alone_in_bf16_gives_the_interpreters_bits(void **state) {
    (void)state;
    static const int units[] = {1, 15, 16, 17, 40, 64, 200};
    compare_zoo(compare_lone_pairs, units, sizeof units / sizeof *units);
}

static int row_calls;

static void count_row_call(const car_row_call *restrict call, const car_vector_slot *slots,
                           const car_row_range *range) {
    (void)call;
    (void)slots;
    row_calls += range->steps;
}

/* A copy of the table whose functions for steps of one row only count these; `programs` to be released. */
static car_emitted_table counting(const car_emitted_table *table, car_emitted_program **programs) {
    const size_t count = (size_t)table->count;
    *programs = must(count, sizeof **programs);
    memcpy(*programs, table->programs, count * sizeof **programs);
    for (size_t k = 0; k < count; k++)
        if ((*programs)[k].row)
            (*programs)[k].row = count_row_call;
    return (car_emitted_table){table->level, table->count, *programs};
}

/* How many steps run by a function for steps of one row, at the highest level. */
static int steps_by_rows(const char *name, car_precision precision, bool training, int batch,
                         int units) {
    const car_kernels *kernels = car_kernels_of(car_cpu_highest());
    const car_emitted_table *built_in = car_emitted_of(kernels->level);
    const bool pairs = precision == CAR_PRECISION_BF16;
    car_emitted_program *programs;
    const car_emitted_table counted =
        counting(pairs ? car_emitted_pair_rows_of(kernels) : built_in, &programs);
    const car_plan_options options = {.emitted = pairs ? built_in : &counted,
                                      .pair_rows = pairs ? &counted : NULL,
                                      .training = training,
                                      .precision = precision};
    const char *text = car_zoo_text(name);
    struct car_cell *cell;
    assert_int_equal(car_cell_compile(text, strlen(text), name, NULL, &cell, NULL), CAR_OK);
    car_plan *plan = make_plan_of(cell, 8, units, &options);
    const car_layer_shape shape = {batch, STEPS, false, false, 1, false};
    size_t outputs;
    row_calls = 0;
    car_release(NULL, run_forward(plan, kernels, precision, &shape, 1, &outputs));
    car_release(NULL, programs);
    car_plan_free(plan);
    car_cell_free(cell);
    return row_calls;
}

/* `many`: units whose weights do not stay in the second-level cache. */
static void check_rows(car_precision precision, int many) {
    static const char *const cells[] = {"lstm", "gru", "rnn"};
    for (size_t k = 0; k < sizeof cells / sizeof *cells; k++) {
        assert_int_equal(steps_by_rows(cells[k], precision, false, 1, 24), STEPS);
        assert_int_equal(steps_by_rows(cells[k], precision, false, 2, 24), 0);
    }
    assert_int_equal(steps_by_rows("rnn", precision, true, 1, 24), 0);
    assert_int_equal(steps_by_rows("lstm", precision, false, 1, many), 0);
    assert_int_equal(steps_by_rows("layernorm-lstm", precision, false, 1, 24), 0);
}

static void a_sequence_alone_runs_by_rows(void **state) {
    (void)state;
    if (car_cpu_highest() == CAR_CPU_BASELINE)
        skip();
    check_rows(CAR_PRECISION_F32, 300); /* 360,000 weights */
    if (car_emitted_pair_rows_of(car_kernels_of(car_cpu_highest())))
        check_rows(CAR_PRECISION_BF16, 400); /* 640,000 in pairs */
    else
        print_message("no dot products of pairs here: steps of one row in bf16 are not counted\n");
}

static void the_environment_turns_them_off(void **state) {
    (void)state;
    assert_non_null(car_emitted_of(CAR_CPU_BASELINE));
    assert_int_equal(setenv("CAROUSEL_NATIVE", "0", 1), 0);
    assert_null(car_emitted_of(CAR_CPU_BASELINE));
    assert_null(car_emitted_pair_rows_of(car_kernels_of(car_cpu_highest())));
    assert_int_equal(unsetenv("CAROUSEL_NATIVE"), 0);
    assert_non_null(car_emitted_of(CAR_CPU_BASELINE));
}

/* A plan made for one level and run at another must not use the first one's functions. */
static void another_level_uses_the_interpreter(void **state) {
    (void)state;
    struct car_cell *cell;
    const char *text = car_zoo_text("gru-v1");
    assert_int_equal(car_cell_compile(text, strlen(text), "gru-v1", NULL, &cell, NULL), CAR_OK);
    car_plan *highest = make_plan(cell, true, 20, 20, car_emitted_of(car_cpu_highest()), NULL);
    car_plan *none = make_plan(cell, true, 20, 20, NULL, NULL);
    const car_kernels *baseline = car_kernels_of(CAR_CPU_BASELINE);
    outcome a = run(highest, baseline), b = run(none, baseline);
    assert_memory_equal(a.y, b.y, a.y_count * sizeof(float));
    assert_memory_equal(a.gradient, b.gradient, a.gradient_count * sizeof(float));
    free_outcome(&a);
    free_outcome(&b);
    car_plan_free(highest);
    car_plan_free(none);
    car_cell_free(cell);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emitted_programs_give_the_interpreters_bits),
        cmocka_unit_test(a_sequence_alone_gives_the_interpreters_bits),
        cmocka_unit_test(a_sequence_alone_in_bf16_gives_the_interpreters_bits),
        cmocka_unit_test(a_sequence_alone_runs_by_rows),
        cmocka_unit_test(the_environment_turns_them_off),
        cmocka_unit_test(another_level_uses_the_interpreter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
