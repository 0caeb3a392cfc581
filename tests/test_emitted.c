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

static int row_calls;

static void count_row_call(const car_row_call *restrict call, const car_vector_slot *slots,
                           const car_row_range *range) {
    (void)call;
    (void)slots;
    row_calls += range->steps;
}

/* How many steps run by a function for steps of one row, at the highest level. */
static int steps_by_rows(const char *name, bool training, int batch, int units) {
    const car_kernels *kernels = car_kernels_of(car_cpu_highest());
    const car_emitted_table *built_in = car_emitted_of(kernels->level);
    const size_t count = (size_t)built_in->count;
    car_emitted_program *programs = must(count, sizeof *programs);
    memcpy(programs, built_in->programs, count * sizeof *programs);
    for (size_t k = 0; k < count; k++)
        if (programs[k].row)
            programs[k].row = count_row_call;
    const car_emitted_table table = {built_in->level, built_in->count, programs};
    const char *text = car_zoo_text(name);
    struct car_cell *cell;
    assert_int_equal(car_cell_compile(text, strlen(text), name, NULL, &cell, NULL), CAR_OK);
    car_plan *plan = make_plan(cell, training, 8, units, &table, NULL);
    const car_layer_shape shape = {batch, STEPS, false, false, 1, false};
    size_t outputs;
    row_calls = 0;
    car_release(NULL, run_forward(plan, kernels, &shape, 1, &outputs));
    car_release(NULL, programs);
    car_plan_free(plan);
    car_cell_free(cell);
    return row_calls;
}

static void a_sequence_alone_runs_by_rows(void **state) {
    (void)state;
    if (car_cpu_highest() == CAR_CPU_BASELINE)
        skip();
    static const char *const cells[] = {"lstm", "gru", "rnn"};
    for (size_t k = 0; k < sizeof cells / sizeof *cells; k++) {
        assert_int_equal(steps_by_rows(cells[k], false, 1, 24), STEPS);
        assert_int_equal(steps_by_rows(cells[k], false, 2, 24), 0);
    }
    assert_int_equal(steps_by_rows("rnn", true, 1, 24), 0);
    assert_int_equal(steps_by_rows("lstm", false, 1, 300), 0); /* 360,000 weights */
    assert_int_equal(steps_by_rows("layernorm-lstm", false, 1, 24), 0);
}

static void the_environment_turns_them_off(void **state) {
    (void)state;
    assert_non_null(car_emitted_of(CAR_CPU_BASELINE));
    assert_int_equal(setenv("CAROUSEL_NATIVE", "0", 1), 0);
    assert_null(car_emitted_of(CAR_CPU_BASELINE));
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
        cmocka_unit_test(a_sequence_alone_runs_by_rows),
        cmocka_unit_test(the_environment_turns_them_off),
        cmocka_unit_test(another_level_uses_the_interpreter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
