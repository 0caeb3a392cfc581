/*
 * level_amx: the table of functions of level avx512 for CPUs that have AMX, and so AVX512_BF16, too.
 *
 * In:  the templates; compiler flags of this file alone (meson.build). Out: car_kernels_amx: the bits of
 * car_kernels_avx512, in int8 by tiles too (amx_int8.c), product_tiles (amx.c) and product_split (amx_split.c).
 * These CPUs take more than two cycles for a dot product of pairs, half the rate of fma: pairs are rounded by
 * AVX512_BF16 and widened for products. Their second-level caches hold 2 MiB; how far ahead lines are asked for was measured
 * (docs/speed.md).
 * Everything but the table is static, so that no other level can pick up this level's instructions.
 */
#include "amx.h"
#include "levels.h"

#define CAR_VECTOR_WIDTH 16
#define WIDEN_PAIRS
#define FETCH_DISTANCE 8
#define UNROLLED_DEPTH 128
#define BEYOND_CACHE   (1 << 19)
#define CACHED_WEIGHTS (1536 << 10)
#define LEVEL          CAR_CPU_AVX512
#define LEVEL_NAME     "amx"
#define LEVEL_TABLE    car_kernels_amx
#define PRODUCT_TILES  car_product_amx
#define PRODUCT_SPLIT  car_product_amx_split
#define WHOLE_TILES

#include "vector.inc"

#include "math.inc"

#include "matrix.inc"

#include "packing.inc"

#include "integer.inc"

#include "program.inc"

#include "rows.inc"

#include "optimize.inc"

#include "table.inc"
