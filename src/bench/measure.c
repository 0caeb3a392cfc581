/*
 * measure.c: runs something again and again.
 *
 * In:  a piece of work and seconds. Out: its best time, median and 99th percentile.
 *
 *   percentile p of n sorted times: the one at index min(n - 1, floor(p * n))
 */
#include "bench.h"
#include <stdlib.h>

enum { FEWEST_RUNS = 3, MOST_RUNS = 1 << 18 };

static car_status collect(car_bench_work work, void *context, double seconds, double *times,
                          int *runs, car_error *error) {
    CAR_TRY(work(context, error));
    double start = car_seconds(), end = start + seconds;
    for (*runs = 0; *runs < FEWEST_RUNS || (start < end && *runs < MOST_RUNS); ++*runs) {
        CAR_TRY(work(context, error));
        double now = car_seconds();
        times[*runs] = now - start;
        start = now;
    }
    return CAR_OK;
}

car_status car_bench_measure(car_bench_work work, void *context, double seconds,
                             car_bench_times *times, car_error *error) {
    double *all = car_allocate(NULL, MOST_RUNS, sizeof *all);
    if (!all)
        return car_fail(error, CAR_MEMORY, "bench: out of memory");
    int runs = 0;
    car_status status = collect(work, context, seconds, all, &runs, error);
    if (status == CAR_OK) {
        qsort(all, (size_t)runs, sizeof *all, car_order_doubles);
        *times = (car_bench_times){runs, all[0], all[runs / 2], all[(int)(0.99 * runs)]};
    }
    car_release(NULL, all);
    return status;
}
