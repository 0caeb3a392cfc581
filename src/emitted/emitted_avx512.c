/*
 * emitted_avx512: the zoo's vector programs as functions for the level "avx512".
 *
 * In:  the text that emit_zoo wrote; compiler flags of this file alone (meson.build). Out: car_emitted_avx512.
 */
#include "levels_emitted.h"

#define CAR_VECTOR_WIDTH 16

#include "vector.inc"

#include "math.inc"

#include "functions.inc"

#include "row.inc"

#include "emitted_zoo.inc"

const car_emitted_table car_emitted_avx512 = {CAR_CPU_AVX512,
                                              (int)(sizeof programs / sizeof *programs), programs};
