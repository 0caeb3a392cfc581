/*
 * level_avx2: the table of functions for CPUs with AVX2 and FMA, eight floats at a time.
 *
 * In:  the templates; compiler flags of this file alone (meson.build). Out: car_kernels_avx2.
 * A tile takes a slice of a row, and rows apart lie on pages of which these CPUs keep few addresses at hand: where rows are longer
 * than ROW_IN_PLACE a packed copy costs less (docs/speed.md).
 * Everything but the table is static, so that no other level can pick up this level's instructions.
 */
#include "levels.h"

#define CAR_VECTOR_WIDTH 8
#define LEVEL            CAR_CPU_AVX2
#define LEVEL_NAME       "avx2"
#define LEVEL_TABLE      car_kernels_avx2
#define ROW_IN_PLACE     300
#define HALF_TILES       1

#include "vector.inc"

#include "math.inc"

#include "matrix.inc"

#include "packing.inc"

#include "integer.inc"

#include "program.inc"

#include "rows.inc"

#include "optimize.inc"

#include "table.inc"
