/* emitted.c: the built-in table of emitted functions for a CPU level. */
#include "emitted.h"
#include "levels_emitted.h"
#include <stdlib.h>
#include <string.h>

bool car_native_is_off(void) {
    const char *native = getenv("CAROUSEL_NATIVE");
    return native && strcmp(native, "0") == 0;
}

const car_emitted_table *car_emitted_of(car_cpu_level level) {
    if (car_native_is_off())
        return NULL;
    switch (level) {
    case CAR_CPU_BASELINE:
        return &car_emitted_baseline;
#if defined(__x86_64__)
    case CAR_CPU_AVX2:
        return &car_emitted_avx2;
    case CAR_CPU_AVX512:
        return &car_emitted_avx512;
#endif
    default:
        return NULL;
    }
}

const car_emitted_table *car_emitted_pair_rows_of(const car_kernels *kernels) {
#if defined(__x86_64__)
    if (kernels->pair_dot && !car_native_is_off())
        return &car_emitted_pair_rows;
#endif
    (void)kernels;
    return NULL;
}
