/*
 * bench_kernels: maths and a vector program on one core, at every level, for work on the kernels; and how long a cell's
 * text takes to become a plan for training.
 *
 * In:  nothing, or the name of one level. Out: nanoseconds a float, or a unit; microseconds a cell; the best of many runs.
 * Products, layers and the machine's peak: `carousel bench`.
 */
#include "bench.h"
#include "language.h"
#include "plan.h"
#include <stdlib.h>
#include <string.h>

static float *numbers(size_t count) {
    float *x = car_allocate(NULL, count, sizeof *x);
    if (!x) {
        fprintf(stderr, "bench_kernels: out of memory\n");
        exit(CAR_MEMORY);
    }
    for (size_t i = 0; i < count; i++)
        x[i] = (float)((int)(i % 13) - 6) * 0.01f;
    return x;
}

static void bench_maths(const car_kernels *kernels) {
    enum { COUNT = 2048 };
    static const car_vector_op ops[] = {CAR_VECTOR_EXP, CAR_VECTOR_SIGMOID, CAR_VECTOR_TANH,
                                        CAR_VECTOR_LOG, CAR_VECTOR_SOFTPLUS};
    float *x = numbers(COUNT), *y = numbers(COUNT);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        double best = 1e9;
        for (int run = 0; run < 2000; run++) {
            double start = car_seconds();
            kernels->map(ops[i], x, y, COUNT);
            double seconds = car_seconds() - start;
            best = seconds < best ? seconds : best;
        }
        printf("%-9s %-10s %6.3f ns a float\n", kernels->name, car_vector_op_text(ops[i]),
               best / COUNT * 1e9);
    }
    car_release(NULL, x);
    car_release(NULL, y);
}

/* The elementwise part of an lstm step: c' = f c + i g, h' = o tanh(c'). */
static void bench_program(const car_kernels *kernels, int rows, int units) {
    car_vector_instruction code[] = {
        {CAR_VECTOR_LOAD, 0, 0, 0, 0, 0, 0},     {CAR_VECTOR_LOAD, 1, 0, 0, 0, 1, 0},
        {CAR_VECTOR_LOAD, 2, 0, 0, 0, 2, 0},     {CAR_VECTOR_LOAD, 3, 0, 0, 0, 3, 0},
        {CAR_VECTOR_LOAD, 4, 0, 0, 0, 4, 0},     {CAR_VECTOR_SIGMOID, 0, 0, 0, 0, 0, 0},
        {CAR_VECTOR_SIGMOID, 1, 1, 0, 0, 0, 0},  {CAR_VECTOR_TANH, 2, 2, 0, 0, 0, 0},
        {CAR_VECTOR_SIGMOID, 3, 3, 0, 0, 0, 0},  {CAR_VECTOR_MULTIPLY, 0, 0, 2, 0, 0, 0},
        {CAR_VECTOR_FMA, 0, 1, 4, 0, 0, 0},      {CAR_VECTOR_TANH, 1, 0, 0, 0, 0, 0},
        {CAR_VECTOR_MULTIPLY, 1, 3, 1, 0, 0, 0}, {CAR_VECTOR_STORE, 0, 0, 0, 0, 5, 0},
        {CAR_VECTOR_STORE, 0, 1, 0, 0, 6, 0}};
    const car_vector_program program = {sizeof code / sizeof *code, 5, code};
    const int padded = car_padded(units);
    float *gates = numbers((size_t)rows * (size_t)padded * 4);
    float *state = numbers((size_t)rows * (size_t)padded * 3);
    car_vector_slot slots[7];
    for (int i = 0; i < 4; i++)
        slots[i] = (car_vector_slot){gates + i * CAR_BLOCK, padded * 4, 4 * CAR_BLOCK};
    for (int i = 4; i < 7; i++)
        slots[i] = (car_vector_slot){state + (i - 4) * rows * padded, padded, CAR_BLOCK};
    double best = 1e9;
    for (int run = 0; run < 2000; run++) {
        double start = car_seconds();
        kernels->program(&program, slots, units, 0, rows, 0, car_blocks(units));
        double seconds = car_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    printf("%-9s lstm step elementwise, %2d x %4d: %8.3f us, %6.3f ns a unit\n", kernels->name,
           rows, units, best * 1e6, best / ((double)rows * padded) * 1e9);
    car_release(NULL, gates);
    car_release(NULL, state);
}

static void bench_level(const car_kernels *kernels) {
    bench_maths(kernels);
    bench_program(kernels, 1, 16);
    bench_program(kernels, 20, 16);
    bench_program(kernels, 1, 200);
    bench_program(kernels, 20, 200);
    bench_program(kernels, 20, 650);
}

/* Text -> graph, gradient graph -> plan for training, all programs by the interpreter. */
static double compile_seconds(const char *text) {
    const car_plan_options options = {.training = true};
    double start = car_seconds();
    struct car_cell *cell = NULL;
    car_plan *plan = NULL;
    car_error error = {0};
    if (car_cell_compile(text, strlen(text), "bench", NULL, &cell, &error) ||
        car_plan_create(cell, (car_shape){128, 1}, 128, &options, NULL, &plan, &error)) {
        fprintf(stderr, "bench_kernels: %s\n", error.message);
        exit(1);
    }
    double seconds = car_seconds() - start;
    car_plan_free(plan);
    car_cell_free(cell);
    return seconds;
}

static void bench_compiling(void) {
    for (int i = 0; car_zoo_name(i); i++) {
        double best = 1e9;
        for (int run = 0; run < 50; run++) {
            double seconds = compile_seconds(car_zoo_text(car_zoo_name(i)));
            best = seconds < best ? seconds : best;
        }
        printf("%-16s from text to plan %7.1f us\n", car_zoo_name(i), best * 1e6);
    }
}

int main(int argc, char **argv) {
    for (int level = CAR_CPU_LEVELS - 1; level >= 0; level--) {
        const car_kernels *kernels = car_kernels_of((car_cpu_level)level);
        if (kernels && (argc < 2 || strcmp(argv[1], kernels->name) == 0))
            bench_level(kernels);
    }
    bench_compiling();
    return 0;
}
