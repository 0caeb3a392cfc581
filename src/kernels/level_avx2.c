/*
 * level_avx2: the table of functions for CPUs with AVX2 and FMA, eight floats at a time.
 *
 * In:  the templates; compiler flags of this file alone (meson.build). Out: car_kernels_avx2.
 * Everything but the table is static, so that no other level can pick up this level's instructions.
 */
#include "levels.h"

#define CAR_VECTOR_WIDTH 8
#define LEVEL            CAR_CPU_AVX2
#define LEVEL_NAME       "avx2"
#define LEVEL_TABLE      car_kernels_avx2

#include "vector.inc"

#include "math.inc"

#include "matrix.inc"

#include "packing.inc"

#include "integer.inc"

#include "program.inc"

#include "rows.inc"

#include "optimize.inc"

#include "table.inc"
