/* levels_emitted.h: the tables that emitted_*.c define, one a CPU level; only emitted.c may read them. */
#ifndef CAR_LEVELS_EMITTED_H
#define CAR_LEVELS_EMITTED_H

#include "emitted.h"

extern const car_emitted_table car_emitted_baseline;
#if defined(__x86_64__)
extern const car_emitted_table car_emitted_avx2, car_emitted_avx512, car_emitted_pair_rows;
#endif

#endif
