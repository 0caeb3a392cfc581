/* peak.h: what this machine's cores can do at most, measured in the same run as what is held against it. */
#ifndef CAR_BENCH_PEAK_H
#define CAR_BENCH_PEAK_H

#include "kernels.h"

/* Seconds of a clock that only goes on. */
double bench_now(void);
/* GFLOP/s of independent chains of fma (mul + add at baseline) at `level`, on `threads` cores at once, added up;
 * the best of ten. */
double bench_peak(car_cpu_level level, int threads);

#endif
