/*
 * level_baseline: the table of functions for every CPU (on x86-64: SSE2), four floats at a time.
 *
 * In:  the templates; compiler flags of this file alone (meson.build). Out: car_kernels_baseline.
 * Everything but the table is static, so that no other level can pick up this level's instructions.
 */
#include "levels.h"

#define CAR_VECTOR_WIDTH 4
#define LEVEL            CAR_CPU_BASELINE
#define LEVEL_NAME       "baseline"
#define LEVEL_TABLE      car_kernels_baseline

#include "vector.inc"

#include "math.inc"

#include "matrix.inc"

#include "packing.inc"

#include "integer.inc"

#include "program.inc"

#include "rows.inc"

#include "optimize.inc"

#include "table.inc"
