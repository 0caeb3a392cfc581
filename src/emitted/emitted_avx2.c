/*
 * emitted_avx2: the zoo's vector programs as functions for the level "avx2".
 *
 * In:  the text that emit_zoo wrote; compiler flags of this file alone (meson.build). Out: car_emitted_avx2.
 */
#include "levels_emitted.h"

#define CAR_VECTOR_WIDTH 8

#include "vector.inc"

#include "math.inc"

#include "functions.inc"

#include "row.inc"

#include "emitted_zoo.inc"

const car_emitted_table car_emitted_avx2 = {CAR_CPU_AVX2, (int)(sizeof programs / sizeof *programs),
                                            programs};
