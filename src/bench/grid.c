/*
 * grid.c: the shapes that are measured.
 *
 * Training: language models of two layers (Zaremba et al. 2014), a wide and two narrow layers, a bidirectional one, and
 * a whole language model with its embedding, softmax, clipping and update. Inference: from a
 * thousand steps of 16 units to 1024 units. Streaming: one session, and 64 side by side. Products: what a step with
 * 4 gates needs, then a weight gradient and a backward step.
 */
#include "bench.h"

static const char *const names[CAR_BENCH_KINDS] = {"training", "inference", "streaming",
                                                   "products"};

const char *car_bench_kind_name(car_bench_kind kind) {
    return names[kind];
}

static const car_bench_shape training[] = {
    {CAR_BENCH_TRAINING, 20, 35, 200, 200, 2, false, 0},
    {CAR_BENCH_TRAINING, 20, 35, 650, 650, 2, false, 0},
    {CAR_BENCH_TRAINING, 20, 35, 1500, 1500, 2, false, 0},
    {CAR_BENCH_TRAINING, 64, 100, 128, 512, 1, false, 0},
    {CAR_BENCH_TRAINING, 32, 100, 64, 64, 1, false, 0},
    {CAR_BENCH_TRAINING, 16, 1000, 8, 32, 1, false, 0},
    {CAR_BENCH_TRAINING, 1, 200, 48, 128, 1, true, 0},
    {CAR_BENCH_TRAINING, 20, 35, 650, 650, 2, false, 10000},
};
static const car_bench_shape inference[] = {
    {CAR_BENCH_INFERENCE, 1, 1000, 1, 16, 1, false, 0},
    {CAR_BENCH_INFERENCE, 1, 1000, 40, 128, 1, false, 0},
    {CAR_BENCH_INFERENCE, 1, 200, 256, 512, 1, false, 0},
    {CAR_BENCH_INFERENCE, 1, 100, 1024, 1024, 1, false, 0},
    {CAR_BENCH_INFERENCE, 32, 100, 256, 256, 1, false, 0},
};
static const car_bench_shape streaming[] = {
    {CAR_BENCH_STREAMING, 1, 1, 16, 16, 1, false, 0},
    {CAR_BENCH_STREAMING, 1, 1, 32, 32, 1, false, 0},
    {CAR_BENCH_STREAMING, 1, 1, 64, 64, 1, false, 0},
    {CAR_BENCH_STREAMING, 1, 1, 128, 128, 1, false, 0},
    {CAR_BENCH_STREAMING, 1, 1, 256, 256, 1, false, 0},
    {CAR_BENCH_STREAMING, 64, 1, 64, 64, 1, false, 0},
};
static const car_bench_shape products[] = {
    {CAR_BENCH_PRODUCTS, 1, 1, 64, 256, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 2, 1, 64, 256, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 20, 1, 64, 256, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 700, 1, 64, 256, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 1, 1, 200, 800, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 20, 1, 200, 800, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 1, 1, 650, 2600, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 2, 1, 650, 2600, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 20, 1, 650, 2600, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 64, 1, 512, 2048, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 700, 1, 650, 2600, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 20, 1, 1500, 6000, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 650, 1, 700, 2600, 1, false, 0},
    {CAR_BENCH_PRODUCTS, 20, 1, 2600, 650, 1, false, 0},
};

const car_bench_shape *car_bench_grid(car_bench_kind kind, int *count) {
#define GRID(shapes) (*count = (int)(sizeof(shapes) / sizeof *(shapes)), shapes)
    switch (kind) {
    case CAR_BENCH_TRAINING:
        return GRID(training);
    case CAR_BENCH_INFERENCE:
        return GRID(inference);
    case CAR_BENCH_STREAMING:
        return GRID(streaming);
    default:
        return GRID(products);
    }
#undef GRID
}
