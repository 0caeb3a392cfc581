/*
 * bench_onednn: our packed products beside oneDNN's dnnl_sgemm on one core, in turns in the same run.
 *
 * In:  nothing, or how many rounds. Out: a line a shape: GFLOP/s of ours and its share of the roofline (bench.h), GFLOP/s of
 * dnnl_sgemm with weights [K][N] and with weights [N][K] (transposed), and its time divided by ours; medians of the rounds'
 * medians. Our weights stand packed already, as they do in a model; dnnl_sgemm takes them as they are, as the recurrent nets
 * built on it do.
 *
 * Built where meson finds oneDNN (Debian: libdnnl-dev): ninja -C build bench/bench_onednn
 */
#include "bench.h"
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>

enum { MOST_ROUNDS = 99, WAYS = 3 };
static const double SECONDS = 0.1;

typedef struct peer {
    char transposed;
    dnnl_dim_t rows, columns, depth;
    float *a, *b, *c;
} peer;

static car_status multiply(void *context, car_error *error) {
    peer *x = context;
    bool whole = x->transposed == 'N';
    if (dnnl_sgemm('N', x->transposed, x->rows, x->columns, x->depth, 1, x->a, x->depth, x->b,
                   whole ? x->columns : x->depth, 0, x->c, x->columns) != dnnl_success)
        return car_fail(error, CAR_FAILED, "dnnl_sgemm failed");
    return CAR_OK;
}

static float *numbers(size_t count) {
    float *x = car_allocate(NULL, count, sizeof *x);
    for (size_t k = 0; x && k < count; k++)
        x[k] = (float)((int)(k % 13) - 6) * 0.01f;
    return x;
}

static car_status compare(const car_bench_machine *machine, const car_bench_shape *shape,
                          int rounds, car_error *error) {
    double seconds[WAYS][MOST_ROUNDS], flop = 0, roofline = 0;
    peer x = {.rows = shape->batch, .columns = shape->units, .depth = shape->input};
    x.a = numbers((size_t)shape->batch * (size_t)shape->input);
    x.b = numbers((size_t)shape->units * (size_t)shape->input);
    x.c = numbers((size_t)shape->batch * (size_t)shape->units);
    if (!x.a || !x.b || !x.c)
        return car_fail(error, CAR_MEMORY, "out of memory");
    for (int round = 0; round < rounds; round++) {
        car_bench_result ours;
        car_bench_times theirs;
        CAR_TRY(car_bench_product(machine, shape, SECONDS, &ours, error));
        seconds[0][round] = ours.seconds;
        flop = ours.flop;
        roofline = ours.roofline;
        for (int way = 1; way < WAYS; way++) {
            x.transposed = way == 1 ? 'N' : 'T';
            CAR_TRY(car_bench_measure(multiply, &x, SECONDS, &theirs, error));
            seconds[way][round] = theirs.median;
        }
    }
    for (int way = 0; way < WAYS; way++)
        qsort(seconds[way], (size_t)rounds, sizeof(double), car_order_doubles);
    const int middle = rounds / 2;
    const double ours = seconds[0][middle], plain = seconds[1][middle], turned = seconds[2][middle];
    printf("| %d | %d | %d | %.1f | %.0f %% | %.1f | %.1f | %.2f | %.2f |\n", shape->batch,
           shape->input, shape->units, flop / ours * 1e-9, 100 * roofline / ours,
           flop / plain * 1e-9, flop / turned * 1e-9, plain / ours, turned / ours);
    fflush(stdout);
    car_release(NULL, x.a);
    car_release(NULL, x.b);
    car_release(NULL, x.c);
    return CAR_OK;
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 5, count;
    car_bench_machine machine;
    car_error error = {0};
    if (rounds < 1 || rounds > MOST_ROUNDS) {
        fprintf(stderr, "bench_onednn: rounds: 1 to %d\n", MOST_ROUNDS);
        return CAR_USAGE;
    }
    omp_set_num_threads(1);
    car_status status = car_bench_machine_measure(1, SECONDS, &machine, &error);
    const car_bench_shape *shapes = car_bench_grid(CAR_BENCH_PRODUCTS, &count);
    const dnnl_version_t *version = dnnl_version();
    if (status == CAR_OK)
        printf("%s, one core, peak %.1f GFLOP/s; oneDNN %d.%d.%d\n\n"
               "| rows | depth | columns | ours | of roofline | dnnl_sgemm | transposed | ratio | "
               "transposed |\n"
               "|---|---|---|---|---|---|---|---|---|\n",
               machine.processor, machine.fma.one * 1e-9, version->major, version->minor,
               version->patch);
    for (int k = 0; k < count && status == CAR_OK; k++)
        status = compare(&machine, &shapes[k], rounds, &error);
    if (status != CAR_OK)
        fprintf(stderr, "bench_onednn: %s\n", error.message);
    return (int)status;
}
