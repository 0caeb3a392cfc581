/*
 * level_avx512: the table of functions for CPUs with AVX-512 F, BW, DQ and VL, sixteen floats at a time.
 *
 * In:  the templates; compiler flags of this file alone (meson.build). Out: car_kernels_avx512.
 * Everything but the table is static, so that no other level can pick up this level's instructions.
 */
#include "levels.h"

#define CAR_VECTOR_WIDTH 16
#define LEVEL            CAR_CPU_AVX512
#define LEVEL_NAME       "avx512"
#define LEVEL_TABLE      car_kernels_avx512

#include "vector.inc"

#include "math.inc"

#include "matrix.inc"

#include "packing.inc"

#include "integer.inc"

#include "program.inc"

#include "rows.inc"

#include "optimize.inc"

#include "table.inc"
