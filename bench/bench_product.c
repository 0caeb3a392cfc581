/*
 * bench_product: speed of packed products, maths and a vector program on one core, at every level.
 *
 * In:  nothing, or the name of one level. Out: a table on stdout: GFLOP/s and the share of the peak that
 * independent fma chains reach in the same run (mul + add at baseline), then nanoseconds a unit.
 */
#include "peak.h"
#include <stdlib.h>
#include <string.h>

static float *numbers(size_t count) {
    float *x = car_allocate(NULL, count, sizeof *x);
    if (!x) {
        fprintf(stderr, "bench_product: out of memory\n");
        exit(CAR_MEMORY);
    }
    for (size_t i = 0; i < count; i++)
        x[i] = (float)((int)(i % 13) - 6) * 0.01f;
    return x;
}

/* rows x columns, K = depth: the best of the runs of half a second. */
static void bench_shape(const car_kernels *kernels, double peak, int rows, int columns, int depth,
                        int parts) {
    const int blocks = car_blocks(columns), padded = blocks * CAR_BLOCK;
    const int panels = (blocks + CAR_PANEL_BLOCKS - 1) / CAR_PANEL_BLOCKS;
    float *a = numbers((size_t)rows * (size_t)depth);
    float *b = numbers((size_t)panels * CAR_PANEL * (size_t)depth);
    float *c = numbers((size_t)rows * (size_t)padded);
    car_product_block *block = car_allocate(NULL, (size_t)blocks, sizeof *block);
    if (!block)
        exit(CAR_MEMORY);
    for (int i = 0; i < blocks; i++)
        block[i] = (car_product_block){i * CAR_BLOCK, CAR_FROM_C};
    const car_product product = {.a = a,
                                 .a_row_stride = depth,
                                 .parts = parts,
                                 .part_length = depth / parts,
                                 .part_stride = depth / parts,
                                 .panels = b,
                                 .blocks = blocks,
                                 .block = block,
                                 .c = c,
                                 .c_row_stride = padded};
    const double work = 2.0 * rows * padded * (depth / parts * parts);
    const int repeat = work < 2e6 ? 100 : 1;
    double best = 1e9;
    for (double end = bench_now() + 0.3; bench_now() < end;) {
        double start = bench_now();
        for (int i = 0; i < repeat; i++)
            kernels->product(&product, 0, rows, 0, blocks);
        double seconds = (bench_now() - start) / repeat;
        best = seconds < best ? seconds : best;
    }
    printf("%-9s %5d %5d %5d %3d %10.2f us %7.1f GFLOP/s %5.1f %%\n", kernels->name, rows, columns,
           depth, parts, best * 1e6, work / best * 1e-9, 100.0 * work / best * 1e-9 / peak);
    car_release(NULL, a);
    car_release(NULL, b);
    car_release(NULL, c);
    car_release(NULL, block);
}

static void bench_maths(const car_kernels *kernels) {
    enum { COUNT = 2048 };
    static const car_vector_op ops[] = {CAR_VECTOR_EXP, CAR_VECTOR_SIGMOID, CAR_VECTOR_TANH,
                                        CAR_VECTOR_LOG, CAR_VECTOR_SOFTPLUS};
    float *x = numbers(COUNT), *y = numbers(COUNT);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        double best = 1e9;
        for (int run = 0; run < 2000; run++) {
            double start = bench_now();
            kernels->map(ops[i], x, y, COUNT);
            double seconds = bench_now() - start;
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
        double start = bench_now();
        kernels->program(&program, slots, units, 0, rows, 0, car_blocks(units));
        double seconds = bench_now() - start;
        best = seconds < best ? seconds : best;
    }
    printf("%-9s lstm step elementwise, %2d x %4d: %8.3f us, %6.3f ns a unit\n", kernels->name,
           rows, units, best * 1e6, best / ((double)rows * padded) * 1e9);
    car_release(NULL, gates);
    car_release(NULL, state);
}

static void bench_level(const car_kernels *kernels) {
    static const int rows[] = {1, 2, 10, 20, 64, 700}, hidden[] = {64, 200, 650, 1500};
    const double peak = bench_peak(kernels->level, 1);
    printf("%s: peak %.1f GFLOP/s a core\n", kernels->name, peak);
    printf("level      rows  cols depth parts\n");
    bench_shape(kernels, peak, 1, 64, 16, 1);
    bench_shape(kernels, peak, 1, 128, 32, 1);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 6; j++)
            bench_shape(kernels, peak, rows[j], 4 * hidden[i], hidden[i], 1);
    bench_shape(kernels, peak, 650, 2624, 700, 1);
    bench_shape(kernels, peak, 20, 650, 2624, 1);
    bench_shape(kernels, peak, 20, 650, 2624, 41);
    bench_maths(kernels);
    bench_program(kernels, 1, 16);
    bench_program(kernels, 20, 16);
    bench_program(kernels, 1, 200);
    bench_program(kernels, 20, 200);
    bench_program(kernels, 20, 650);
}

int main(int argc, char **argv) {
    for (int level = CAR_CPU_LEVELS - 1; level >= 0; level--) {
        const car_kernels *kernels = car_kernels_of((car_cpu_level)level);
        if (kernels && (argc < 2 || strcmp(argv[1], kernels->name) == 0))
            bench_level(kernels);
    }
    return 0;
}
