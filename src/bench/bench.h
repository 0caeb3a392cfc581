/*
 * bench: how fast this machine is, and how near Carousel comes. Stands on train.
 *
 *   machine.c   what the machine can do: peak of fma, of bf16 dot and int8 quads, read bandwidth of every cache and of memory
 *   grid.c      the shapes that are measured
 *   measure.c   runs something again and again: median, percentiles
 *   nets.c      training, inference and streaming of nets of one cell; their FLOPs and their roofline
 *   products.c  packed matrix products alone
 *
 * Everything is measured through the calls that training and sessions use. Nothing here is a test: a time is
 * what this machine gave in this run.
 */
#ifndef CAR_BENCH_H
#define CAR_BENCH_H

#include "train.h"

/* ---- measure.c ---------------------------------------------------------------------------------------- */

typedef car_status (*car_bench_work)(void *context, car_error *error);
typedef struct car_bench_times {
    int runs;
    double best, median, p99; /* seconds of a run */
} car_bench_times;
/* Runs `work` once unmeasured, then for `seconds`, three times at least. */
car_status car_bench_measure(car_bench_work work, void *context, double seconds,
                             car_bench_times *times, car_error *error) CAR_CHECK_RESULT;

/* ---- machine.c ---------------------------------------------------------------------------------------- */

/* A rate of one core alone, and of all threads together. */
typedef struct car_bench_rate {
    double one, all;
} car_bench_rate;

enum { CAR_BENCH_MEMORIES = 4 }; /* L1, L2, L3, memory */
typedef struct car_bench_memory {
    const char *name;
    bool shared;  /* by all cores */
    size_t bytes; /* capacity, of one core or shared; SIZE_MAX: memory */
    car_bench_rate bytes_per_second;
} car_bench_memory;

typedef struct car_bench_machine {
    char processor[64]; /* as the CPU names itself; "" where it does not */
    const car_kernels *kernels;
    int threads;
    car_precision
        precision; /* what nets and products are measured in; the caller's to set, f32 before */
    car_bench_rate fma; /* FLOP/s, float32 (multiply and add at baseline) */
    car_bench_rate
        dot; /* FLOP/s, bf16 products summed in float32; 0: the CPU has no such instruction */
    car_bench_rate quad; /* the same of int8 products summed in 32 bits */
    car_bench_rate tiles; /* the same by AMX, on which bf16 is trained; 0: the CPU has none */
    car_bench_rate tile_quads; /* and of int8 */
    car_bench_memory memory[CAR_BENCH_MEMORIES];
} car_bench_machine;

/* `seconds` for each figure; all take about twelve times as long. CAR_MEMORY; CAR_USAGE for a bad CAROUSEL_CPU. */
car_status car_bench_machine_measure(int threads, double seconds, car_bench_machine *machine,
                                     car_error *error) CAR_CHECK_RESULT;
/* Least seconds in which one core, or all threads together, each its part, can read `bytes` again and again. */
double car_bench_read_seconds(const car_bench_machine *machine, bool one, double bytes);
/* The FLOP/s that bound products in the machine's precision, and the bytes of an element of their weights. Products alone
 * are measured as training runs them. */
double car_bench_peak(const car_bench_machine *machine, bool training, bool one);
double car_bench_element_bytes(const car_bench_machine *machine);

/* ---- grid.c ------------------------------------------------------------------------------------------- */

typedef enum car_bench_kind {
    CAR_BENCH_TRAINING, /* forward and backward with the gradients of all weights, and the refresh of the transposed
                            weights; with classes: one update of a whole language model */
    CAR_BENCH_INFERENCE, /* forward over a sequence */
    CAR_BENCH_STREAMING, /* one step of a session on the caller's thread */
    CAR_BENCH_PRODUCTS,  /* one packed product on one core */
    CAR_BENCH_KINDS
} car_bench_kind;

typedef struct car_bench_shape {
    car_bench_kind kind;
    int batch, steps, input, units,
        layers; /* of a product: `batch` rows, K = input, `units` columns */
    bool bidirectional;
    int classes; /* 0: layers alone; else embedding, layers, softmax over so many, clip and SGD */
} car_bench_shape;

const char *car_bench_kind_name(car_bench_kind kind);
const car_bench_shape *car_bench_grid(car_bench_kind kind, int *count);

/* ---- nets.c, products.c ------------------------------------------------------------------------------- */

typedef struct car_bench_result {
    int input;       /* as measured: cells that use x elementwise have as many inputs as units */
    double seconds;  /* median; of streaming, of a hundred steps, a step */
    double p50, p99; /* streaming: of single steps, the reading of the clock included; else 0 */
    double flop;     /* in products */
    double
        roofline; /* least seconds: in each part the larger of FLOP / peak and weights read / bandwidth */
} car_bench_result;

/* Measures a shape for `seconds`. CAR_USAGE when the shape does not fit the cell; CAR_MEMORY. */
car_status car_bench_net(const car_bench_machine *machine, const car_cell *cell,
                         const car_bench_shape *shape, double seconds, car_bench_result *result,
                         car_error *error) CAR_CHECK_RESULT;
car_status car_bench_product(const car_bench_machine *machine, const car_bench_shape *shape,
                             double seconds, car_bench_result *result,
                             car_error *error) CAR_CHECK_RESULT;

#endif
