/*
 * products.c: one packed product on one core.
 *
 * In:  rows M, depth K, columns N. Out: its time, 2 M N K FLOP, and the roofline max(FLOP / peak, 4 N K / bandwidth; 2 N K in bf16, N K in int8): its
 * weights are read once, from the smallest cache that holds them, or from memory.
 */
#include "bench.h"
#include <math.h>

/* A small product is repeated until its time is long beside that of a clock's reading. */
static const double LEAST_FLOP = 4e6;

typedef struct product_bench {
    car_product product;
    car_product_function *multiply;
    float *scratch; /* of bf16 and int8 */
    int rows, repeats;
} product_bench;

static car_status run(void *context, car_error *error) {
    const product_bench *bench = context;
    (void)error;
    for (int k = 0; k < bench->repeats; k++)
        bench->multiply(&bench->product, bench->scratch, 0, bench->rows, 0, bench->product.blocks);
    return CAR_OK;
}

static void fill(float *x, size_t count) {
    for (size_t k = 0; k < count; k++)
        x[k] = (float)((int)(k % 13) - 6) * 0.01f;
}

car_status car_bench_product(const car_bench_machine *machine, const car_bench_shape *shape,
                             double seconds, car_bench_result *result, car_error *error) {
    const int blocks = car_blocks(shape->units);
    const size_t depth = (size_t)shape->input, columns = (size_t)blocks * CAR_BLOCK;
    const size_t panels = ((size_t)blocks + CAR_PANEL_BLOCKS - 1) / CAR_PANEL_BLOCKS;
    car_layout layout = {0};
    size_t a = car_layout_add(&layout, (size_t)shape->batch * depth, sizeof(float));
    size_t b = car_layout_add(&layout, panels * CAR_PANEL * (depth + 2), sizeof(float));
    size_t c = car_layout_add(&layout, (size_t)shape->batch * columns, sizeof(float));
    size_t block = car_layout_add(&layout, (size_t)blocks, sizeof(car_product_block));
    size_t scratch = car_layout_add(&layout,
                                    car_bf16_scratch(true, shape->batch, shape->input) +
                                        car_integer_scratch(shape->batch, shape->input),
                                    sizeof(float));
    char *memory = layout.overflow ? NULL : car_allocate(NULL, layout.size, 1);
    if (!memory)
        return car_fail(error, CAR_MEMORY, "bench: out of memory; take a smaller shape");
    fill((float *)(void *)(memory + a), (size_t)shape->batch * depth);
    fill((float *)(void *)(memory + b), panels * CAR_PANEL * depth);
    car_product_block *at = (car_product_block *)(void *)(memory + block);
    for (int k = 0; k < blocks; k++)
        at[k] = (car_product_block){k * CAR_BLOCK, CAR_FROM_ZERO};
    *result = (car_bench_result){.input = shape->input,
                                 .flop = 2.0 * shape->batch * shape->units * shape->input};
    product_bench bench = {
        .product = {.a = (const float *)(void *)(memory + a),
                    .a_row_stride = shape->input,
                    .parts = 1,
                    .part_length = shape->input,
                    .part_stride = shape->input,
                    .panels = (const float *)(void *)(memory + b),
                    .blocks = blocks,
                    .block = at,
                    .c = (float *)(void *)(memory + c),
                    .c_row_stride = (int64_t)columns,
                    .bounded = true},
        .multiply = car_product_of(machine->kernels, machine->precision, true),
        .scratch = (float *)(void *)(memory + scratch),
        .rows = shape->batch,
        .repeats = result->flop < LEAST_FLOP ? (int)ceil(LEAST_FLOP / result->flop) : 1};
    car_bench_times times;
    car_status status = car_bench_measure(run, &bench, seconds, &times, error);
    car_release(NULL, memory);
    result->seconds = status == CAR_OK ? times.median / bench.repeats : 0;
    result->roofline =
        fmax(result->flop / car_bench_peak(machine, true, true),
             car_bench_read_seconds(
                 machine, true, car_bench_element_bytes(machine) * shape->units * shape->input));
    return status;
}
