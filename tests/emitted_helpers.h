/*
 * emitted_helpers.h: what test_emitted.c and test_native.c share: a plan of a cell run forward and backward, and the
 * comparison of what two plans of the same cell give.
 */
#ifndef EMITTED_HELPERS_H
#define EMITTED_HELPERS_H

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

static inline void *must(size_t count, size_t size) {
    void *block = car_allocate(NULL, count + 1, size);
    assert_non_null(block);
    return block;
}

static inline float *numbers(size_t rows, int size, uint32_t purpose) {
    car_random_key key = {.seed = 5, .purpose = purpose};
    float *x = must(rows * (size_t)car_padded(size), sizeof(float));
    for (size_t row = 0; row < rows; row++)
        for (int k = 0; k < size; k++)
            x[row * (size_t)car_padded(size) + (size_t)k] =
                2 * car_random_uniform(key, row, (uint64_t)k) - 1;
    return x;
}

static inline car_plan *make_plan_of(const struct car_cell *cell, int input, int units,
                                     const car_plan_options *options) {
    car_plan *plan;
    car_error error = {0};
    if (car_plan_create(cell, (car_shape){input, 1}, units, options, NULL, &plan, &error) != CAR_OK)
        fail_msg("%s", error.message);
    return plan;
}

static inline car_plan *make_plan(const struct car_cell *cell, bool training, int input, int units,
                                  const car_emitted_table *emitted,
                                  const car_emitted_table *native) {
    const car_plan_options options = {.emitted = emitted, .native = native, .training = training};
    return make_plan_of(cell, input, units, &options);
}

static inline float *make_weights(const car_plan *plan) {
    const struct car_cell *cell = car_plan_cell(plan);
    const int units = car_plan_units(plan);
    float *weights = must(car_plan_weight_floats(plan), sizeof(float));
    for (int p = 0; p < cell->parameter_count; p++) {
        int columns = car_plan_columns(plan, p);
        float *logical = must((size_t)units * (size_t)columns, sizeof(float));
        car_random_key key = {.seed = 9, .purpose = CAR_RANDOM_TEST, .layer = (uint32_t)p};
        for (int k = 0; k < units * columns; k++)
            logical[k] = car_random_uniform(key, 0, (uint64_t)k) - 0.5f;
        car_plan_pack(plan, p, logical, weights);
        car_release(NULL, logical);
    }
    return weights;
}

static inline outcome run(const car_plan *plan, const car_kernels *kernels) {
    int input = car_plan_input(plan).size, units = car_plan_units(plan);
    size_t rows = BATCH * STEPS;
    outcome out = {.y_count = rows * (size_t)car_padded(units),
                   .dx_count = rows * (size_t)car_padded(input),
                   .gradient_count = car_plan_weight_floats(plan)};
    float *weights = make_weights(plan);
    float *transposed = must(car_plan_transposed_floats(plan), sizeof(float));
    const car_weight_copies copies = {.transposed = transposed, .input = true};
    car_plan_copy(plan, kernels, weights, &copies, 0, 1);
    car_layer_shape shape = {BATCH, STEPS, true, false, 1, false};
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

static inline void free_outcome(outcome *out) {
    car_release(NULL, out->y);
    car_release(NULL, out->dx);
    car_release(NULL, out->gradient);
}

/* A plan with these tables has a function for every program and gives the bits of one without any. */
static inline void compare(const struct car_cell *cell, const car_kernels *kernels, int units,
                           const car_emitted_table *emitted, const car_emitted_table *native) {
    int input = cell->input_is_hidden ? units : units + 3, programs, compiled_programs;
    car_plan *compiled = make_plan(cell, true, input, units, emitted, native);
    car_plan *interpreted = make_plan(cell, true, input, units, NULL, NULL);
    car_plan_programs(compiled, &programs, &compiled_programs);
    assert_int_equal(programs, compiled_programs);
    car_plan_programs(interpreted, &programs, &compiled_programs);
    assert_int_equal(compiled_programs, 0);
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

/* What a layer runs on: weights, in bf16 rounded. */
static inline float *make_running(const car_plan *plan, const car_kernels *kernels,
                                  car_precision precision) {
    float *weights = make_weights(plan);
    if (precision == CAR_PRECISION_F32)
        return weights;
    float *running = must(car_plan_running_floats(plan), sizeof(float));
    car_plan_copy(plan, kernels, weights, &(car_weight_copies){.running = running}, 0, 1);
    car_release(NULL, weights);
    return running;
}

/* Outputs of so many calls of a layer that only runs forward, each going on where the one before ends. */
static inline float *run_forward(const car_plan *plan, const car_kernels *kernels,
                                 car_precision precision, const car_layer_shape *shape, int calls,
                                 size_t *count) {
    const size_t rows = (size_t)(shape->batch * shape->steps);
    const size_t each = rows * (size_t)car_padded(car_plan_units(plan));
    void *memory = must(1, car_layer_size(plan, shape));
    car_layer *layer = car_layer_place(plan, shape, kernels, memory);
    float *weights = make_running(plan, kernels, precision);
    float *x = numbers(rows, car_plan_input(plan).size, CAR_RANDOM_TEST);
    *count = (size_t)calls * each;
    float *y = must(*count, sizeof(float));
    for (int call = 0; call < calls; call++) {
        car_layer_forward(layer, shape->steps, x, weights);
        memcpy(y + (size_t)call * each, car_layer_output(layer, 0), each * sizeof(float));
        car_layer_carry(layer);
    }
    car_release(NULL, memory);
    car_release(NULL, weights);
    car_release(NULL, x);
    return y;
}

/* Two plans of a cell give the same outputs, over two calls. */
static inline void compare_shape(const car_plan *compiled, const car_plan *interpreted,
                                 const car_kernels *kernels, car_precision precision,
                                 const car_layer_shape *shape) {
    size_t count;
    float *a = run_forward(compiled, kernels, precision, shape, 2, &count);
    float *b = run_forward(interpreted, kernels, precision, shape, 2, &count);
    if (memcmp(a, b, count * sizeof(float)) != 0)
        fail_msg("%s %s n=%d, %d steps, %d threads%s: outputs differ",
                 car_plan_cell(compiled)->name, kernels->name, car_plan_units(compiled),
                 shape->steps, shape->threads, shape->reverse ? ", in reverse" : "");
    car_release(NULL, a);
    car_release(NULL, b);
}

/* The same of a sequence alone, at several shapes. */
static inline void compare_lone_of(const struct car_cell *cell, const car_kernels *kernels,
                                   int units, const car_plan_options *options) {
    const int input = cell->input_is_hidden ? units : 7;
    const car_plan_options none = {.precision = options->precision};
    car_plan *compiled = make_plan_of(cell, input, units, options);
    car_plan *interpreted = make_plan_of(cell, input, units, &none);
    for (int steps = 1; steps <= 5; steps += 4)
        for (int threads = 1; threads <= 2; threads++)
            for (int reverse = 0; reverse < 2; reverse++) {
                const car_layer_shape shape = {1, steps, false, reverse, threads, false};
                compare_shape(compiled, interpreted, kernels, options->precision, &shape);
            }
    car_plan_free(compiled);
    car_plan_free(interpreted);
}

static inline void compare_lone(const struct car_cell *cell, const car_kernels *kernels, int units,
                                const car_emitted_table *emitted, const car_emitted_table *native) {
    const car_plan_options options = {.emitted = emitted, .native = native};
    compare_lone_of(cell, kernels, units, &options);
}

#endif
