/*
 * level_avx512_bf16: the table of functions of level avx512 for CPUs that have AVX512_BF16 and AVX512_VNNI too.
 *
 * In:  the templates; compiler flags of this file alone (meson.build). Out: car_kernels_avx512_bf16: the bits of
 * car_kernels_avx512, with products of bf16 at twice the speed and those of int8 at several times it. Up to how many k four go a
 * turn was measured on a Zen 4 (docs/speed.md).
 * Everything but the table is static, so that no other level can pick up this level's instructions.
 */
#include "levels.h"

#define CAR_VECTOR_WIDTH 16
#define LEVEL            CAR_CPU_AVX512
#define LEVEL_NAME       "avx512"
#define UNROLLED_DEPTH   64
#define HALF_TILES       1
#define LEVEL_TABLE      car_kernels_avx512_bf16

#include "vector.inc"

#include "math.inc"

#include "matrix.inc"

#include "packing.inc"

#include "integer.inc"

#include "program.inc"

#include "rows.inc"

#include "optimize.inc"

#include "table.inc"
