/*
 * level_zen5: the table of functions of level avx512 for AMD's CPUs from Zen 5 on.
 *
 * In:  the templates; compiler flags of this file alone (meson.build). Out: car_kernels_zen5: what
 * car_kernels_avx512_bf16 does, to the same bits.
 * These CPUs' own prefetchers bring the panels of a product: lines that a tile asks for cost 1 to 3 % of training. One row
 * takes a panel at a time from 128 KiB of them on, so that fewer of them pass through the first-level cache at once
 * (docs/speed.md).
 * Everything but the table is static, so that no other level can pick up this level's instructions.
 */
#include "levels.h"

#define CAR_VECTOR_WIDTH 16
#define LEVEL            CAR_CPU_AVX512
#define LEVEL_NAME       "avx512"
#define LEVEL_TABLE      car_kernels_zen5
#define FETCH_DISTANCE   0
#define SINGLE_PANELS    2048

#include "vector.inc"

#include "math.inc"

#include "matrix.inc"

#include "packing.inc"

#include "integer.inc"

#include "program.inc"

#include "rows.inc"

#include "optimize.inc"

#include "table.inc"
