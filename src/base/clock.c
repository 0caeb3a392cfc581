/* clock.c: seconds of a clock that only goes forward, for durations. */
#include "base.h"
#include <time.h>

double car_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}
