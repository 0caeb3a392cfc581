/*
 * bench_training: a training step of a stack of cells, against the peak of this machine in the same run.
 *
 * In:  [THREADS [CELL]]. Out: a line a shape: milliseconds forward and backward (weight and input gradients
 * included, no softmax, no optimizer), GFLOP/s and the share of the fma peak.
 *
 *   FLOP = 3 * 2 * (all matrix elements) * T * B      forward, and twice as much backward
 */
#include "peak.h"
#include "plan.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_LAYERS = 2 };

typedef struct bench_layer {
    car_plan *plan;
    car_layer *layer;
    float *weights, *transposed, *gradient, *input_gradient;
} bench_layer;

typedef struct bench_shape {
    int batch, steps, input, units, layers;
} bench_shape;

static void *take(size_t count, size_t size) {
    void *block = car_allocate(NULL, count, size);
    if (!block) {
        fprintf(stderr, "bench_training: out of memory\n");
        exit(CAR_MEMORY);
    }
    return block;
}

static void check(car_status status, const car_error *error) {
    if (status == CAR_OK)
        return;
    fprintf(stderr, "bench_training: %s\n", error->message);
    exit((int)status);
}

static float *numbers(size_t rows, int size, int padded) {
    car_random_key key = {.seed = 1, .purpose = CAR_RANDOM_TEST};
    float *x = take(rows * (size_t)padded, sizeof(float));
    for (size_t row = 0; row < rows; row++)
        for (int k = 0; k < size; k++)
            x[row * (size_t)padded + (size_t)k] = car_random_uniform(key, row, (uint64_t)k) - 0.5f;
    return x;
}

static double open_layer(bench_layer *bench, const struct car_cell *cell,
                         const car_kernels *kernels, const bench_shape *shape, int input,
                         int threads) {
    car_plan_options options = {.training = true};
    car_error error = {0};
    double elements = 0;
    check(car_plan_create(cell, (car_shape){input, 1}, shape->units, &options, NULL, &bench->plan,
                          &error),
          &error);
    bench->weights = take(car_plan_weight_floats(bench->plan), sizeof(float));
    bench->gradient = take(car_plan_weight_floats(bench->plan), sizeof(float));
    bench->transposed = take(car_plan_transposed_floats(bench->plan), sizeof(float));
    for (int p = 0; p < cell->parameter_count; p++) {
        int columns = car_plan_columns(bench->plan, p);
        float *logical = numbers((size_t)shape->units, columns, columns);
        for (int k = 0; k < shape->units * columns; k++)
            logical[k] *= 0.1f;
        car_plan_pack(bench->plan, p, logical, bench->weights);
        elements += cell->parameters[p].kind == CAR_MATRIX ? (double)shape->units * columns : 0;
        car_release(NULL, logical);
    }
    car_plan_transpose(bench->plan, kernels, bench->weights, bench->transposed, 0, 1);
    car_layer_shape layer = {shape->batch, shape->steps, true, false, threads};
    size_t size = car_layer_size(bench->plan, &layer);
    bench->layer = car_layer_place(bench->plan, &layer, kernels, take(1, size));
    bench->input_gradient = take((size_t)shape->steps * (size_t)shape->batch,
                                 (size_t)car_padded(input) * sizeof(float));
    return elements;
}

static void forward(bench_layer *bench, const bench_shape *shape, const float *x) {
    for (int k = 0; k < shape->layers; k++)
        car_layer_forward(bench[k].layer, shape->steps,
                          k ? car_layer_output(bench[k - 1].layer) : x, bench[k].weights);
}

static void backward(bench_layer *bench, const bench_shape *shape, const float *x,
                     const float *dy) {
    for (int k = shape->layers - 1; k >= 0; k--)
        car_layer_backward(bench[k].layer, shape->steps,
                           k ? car_layer_output(bench[k - 1].layer) : x, bench[k].weights,
                           bench[k].transposed,
                           k + 1 < shape->layers ? bench[k + 1].input_gradient : dy,
                           bench[k].input_gradient, bench[k].gradient, false);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run_shape(const struct car_cell *cell, const car_kernels *kernels,
                      const bench_shape *shape, int threads, double peak) {
    enum { MOST_RUNS = 400 };
    bench_layer bench[MOST_LAYERS];
    double elements = 0, forwards[MOST_RUNS], totals[MOST_RUNS];
    for (int k = 0; k < shape->layers; k++)
        elements +=
            open_layer(&bench[k], cell, kernels, shape, k ? shape->units : shape->input, threads);
    size_t rows = (size_t)shape->steps * (size_t)shape->batch;
    float *x = numbers(rows, shape->input, car_padded(shape->input));
    float *dy = numbers(rows, shape->units, car_padded(shape->units));
    int runs = 0;
    for (double end = bench_now() + 2; runs < 5 || (bench_now() < end && runs < MOST_RUNS);
         runs++) {
        double start = bench_now();
        forward(bench, shape, x);
        forwards[runs] = bench_now() - start;
        backward(bench, shape, x, dy);
        totals[runs] = bench_now() - start;
    }
    qsort(forwards, (size_t)runs, sizeof(double), by_size);
    qsort(totals, (size_t)runs, sizeof(double), by_size);
    double rate = 6 * elements * (double)rows / totals[runs / 2] * 1e-9;
    printf("%-14s B%-3d T%-4d I%-4d H%-4d L%d %9.3f ms forward %9.3f ms step %7.1f GFLOP/s %5.1f "
           "%% of peak\n",
           cell->name, shape->batch, shape->steps, shape->input, shape->units, shape->layers,
           forwards[runs / 2] * 1e3, totals[runs / 2] * 1e3, rate, 100 * rate / peak);
    fflush(stdout);
    for (int k = 0; k < shape->layers; k++) {
        car_release(NULL, bench[k].layer);
        car_release(NULL, bench[k].weights);
        car_release(NULL, bench[k].transposed);
        car_release(NULL, bench[k].gradient);
        car_release(NULL, bench[k].input_gradient);
        car_plan_free(bench[k].plan);
    }
    car_release(NULL, x);
    car_release(NULL, dy);
}

int main(int argc, char **argv) {
    static const bench_shape shapes[] = {{20, 35, 200, 200, 2},   {20, 35, 650, 650, 2},
                                         {20, 35, 1500, 1500, 2}, {64, 100, 128, 512, 1},
                                         {32, 100, 64, 64, 1},    {16, 1000, 8, 32, 1}};
    static const char *const cells[] = {"lstm", "gru", "rnn"};
    const car_kernels *kernels;
    car_error error = {0};
    check(car_kernels_choose(&kernels, &error), &error);
    int threads = car_thread_count(argc > 1 ? atoi(argv[1]) : 0);
    double peak = bench_peak(kernels->level, threads);
    printf("%s, %d threads, fma peak %.1f GFLOP/s\n", kernels->name, threads, peak);
    for (size_t c = 0; c < sizeof cells / sizeof *cells; c++) {
        const char *name = argc > 2 ? argv[2] : cells[c], *text = car_zoo_text(name);
        struct car_cell *cell;
        if (!text) {
            fprintf(stderr, "bench_training: no cell '%s'\n", name);
            return CAR_USAGE;
        }
        check(car_cell_compile(text, strlen(text), name, NULL, &cell, &error), &error);
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            run_shape(cell, kernels, &shapes[s], threads, peak);
        car_cell_free(cell);
        if (argc > 2)
            break;
    }
    return 0;
}
