/*
 * emitted: the vector programs of the zoo as compiled functions. Stands on plan.
 *
 *   (tools/emit_zoo.c, run at build time, plans every cell of cells/ and writes their programs: plan/emit.c)
 *   functions.inc  what the written functions need beside the vector type and maths of kernels/
 *   emitted_*.c    the written functions, compiled once for each CPU level
 *   emitted.c      the table of a level
 *
 * No cell is named in the engine: a function is found by the digest of its program. The same bits as the
 * interpreter at the same level (tests/test_emitted.c).
 */
#ifndef CAR_EMITTED_H
#define CAR_EMITTED_H

#include "plan.h"

/* The functions for a CPU level; NULL when there are none, or the environment says CAROUSEL_NATIVE=0. */
const car_emitted_table *car_emitted_of(car_cpu_level level);

#endif
