/*
 * test_emitted.c: compiled vector programs give the same bits as the interpreter, for every cell of the zoo.
 *
 * Two plans of the same cell, one with the table of emitted functions and one without, run forward and backward over
 * odd sizes at every CPU level of this machine.
 */
#include "emitted.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 3, STEPS = 4 };

typedef struct outcome {
    float *y, *dx, *gradient;
    size_t y_count, dx_count, gradient_count;
} outcome;

static void *must(size_t count, size_t size) {
    void *block = car_allocate(NULL, count + 1, size);
    assert_non_null(block);
    return block;
}

static float *numbers(size_t rows, int size, uint32_t purpose) {
    car_random_key key = {.seed = 5, .purpose = purpose};
    float *x = must(rows * (size_t)car_padded(size), sizeof(float));
    for (size_t row = 0; row < rows; row++)
        for (int k = 0; k < size; k++)
            x[row * (size_t)car_padded(size) + (size_t)k] =
                2 * car_random_uniform(key, row, (uint64_t)k) - 1;
    return x;
}

static car_plan *make_plan(const struct car_cell *cell, int input, int units,
                           const car_emitted_table *emitted) {
    car_plan_options options = {.emitted = emitted, .training = true};
    car_plan *plan;
    car_error error = {0};
    if (car_plan_create(cell, (car_shape){input, 1}, units, &options, NULL, &plan, &error) !=
        CAR_OK)
        fail_msg("%s", error.message);
    return plan;
}

static outcome run(const car_plan *plan, const car_kernels *kernels) {
    const struct car_cell *cell = car_plan_cell(plan);
    int input = car_plan_input(plan).size, units = car_plan_units(plan);
    size_t rows = BATCH * STEPS;
    outcome out = {.y_count = rows * (size_t)car_padded(units),
                   .dx_count = rows * (size_t)car_padded(input),
                   .gradient_count = car_plan_weight_floats(plan)};
    float *weights = must(out.gradient_count, sizeof(float));
    float *transposed = must(car_plan_transposed_floats(plan), sizeof(float));
    for (int p = 0; p < cell->parameter_count; p++) {
        int columns = car_plan_columns(plan, p);
        float *logical = must((size_t)units * (size_t)columns, sizeof(float));
        car_random_key key = {.seed = 9, .purpose = CAR_RANDOM_TEST, .layer = (uint32_t)p};
        for (int k = 0; k < units * columns; k++)
            logical[k] = car_random_uniform(key, 0, (uint64_t)k) - 0.5f;
        car_plan_pack(plan, p, logical, weights);
        car_release(NULL, logical);
    }
    car_plan_transpose(plan, kernels, weights, transposed, 0, 1);
    car_layer_shape shape = {BATCH, STEPS, true, false, 1};
    void *memory = must(1, car_layer_size(plan, &shape));
    car_layer *layer = car_layer_place(plan, &shape, kernels, memory);
    float *x = numbers(rows, input, CAR_RANDOM_TEST), *dy = numbers(rows, units, CAR_RANDOM_SAMPLE);
    out.y = must(out.y_count, sizeof(float));
    out.dx = must(out.dx_count, sizeof(float));
    out.gradient = must(out.gradient_count, sizeof(float));
    car_layer_forward(layer, STEPS, x, weights);
    memcpy(out.y, car_layer_output(layer, 0), out.y_count * sizeof(float));
    car_layer_backward(layer, x, weights, transposed, dy, out.dx, out.gradient, false);
    car_release(NULL, memory);
    car_release(NULL, weights);
    car_release(NULL, transposed);
    car_release(NULL, x);
    car_release(NULL, dy);
    return out;
}

static void free_outcome(outcome *out) {
    car_release(NULL, out->y);
    car_release(NULL, out->dx);
    car_release(NULL, out->gradient);
}

static void compare(const struct car_cell *cell, const car_kernels *kernels, int units) {
    int input = cell->input_is_hidden ? units : units + 3, programs, emitted;
    car_plan *compiled = make_plan(cell, input, units, car_emitted_of(kernels->level));
    car_plan *interpreted = make_plan(cell, input, units, NULL);
    car_plan_programs(compiled, &programs, &emitted);
    assert_int_equal(programs, emitted);
    car_plan_programs(interpreted, &programs, &emitted);
    assert_int_equal(emitted, 0);
    outcome a = run(compiled, kernels), b = run(interpreted, kernels);
    if (memcmp(a.y, b.y, a.y_count * sizeof(float)) != 0)
        fail_msg("%s %s n=%d: outputs differ", cell->name, kernels->name, units);
    if (memcmp(a.dx, b.dx, a.dx_count * sizeof(float)) != 0)
        fail_msg("%s %s n=%d: input gradients differ", cell->name, kernels->name, units);
    if (memcmp(a.gradient, b.gradient, a.gradient_count * sizeof(float)) != 0)
        fail_msg("%s %s n=%d: weight gradients differ", cell->name, kernels->name, units);
    free_outcome(&a);
    free_outcome(&b);
    car_plan_free(compiled);
    car_plan_free(interpreted);
}

static void emitted_programs_give_the_interpreters_bits(void **state) {
    (void)state;
    static const int units[] = {1, 15, 16, 17, 40, 64};
    const car_zoo_entry *zoo;
    int count = car_zoo_entries(&zoo);
    for (int i = 0; i < count; i++) {
        struct car_cell *cell;
        assert_int_equal(
            car_cell_compile(zoo[i].text, strlen(zoo[i].text), zoo[i].name, NULL, &cell, NULL),
            CAR_OK);
        for (int level = 0; level < CAR_CPU_LEVELS; level++) {
            const car_kernels *kernels = car_kernels_of((car_cpu_level)level);
            for (size_t k = 0; kernels && k < sizeof units / sizeof *units; k++)
                compare(cell, kernels, units[k]);
        }
        car_cell_free(cell);
    }
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
    car_plan *highest = make_plan(cell, 20, 20, car_emitted_of(car_cpu_highest()));
    car_plan *none = make_plan(cell, 20, 20, NULL);
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
        cmocka_unit_test(the_environment_turns_them_off),
        cmocka_unit_test(another_level_uses_the_interpreter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
