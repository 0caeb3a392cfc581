/*
 * emitted_baseline: the zoo's vector programs as functions for the level "baseline".
 *
 * In:  the text that emit_zoo wrote; compiler flags of this file alone (meson.build). Out: car_emitted_baseline.
 */
#include "levels_emitted.h"

#define CAR_VECTOR_WIDTH 4

#include "vector.inc"

#include "math.inc"

#include "functions.inc"

#include "row.inc"

#include "emitted_zoo.inc"

const car_emitted_table car_emitted_baseline = {
    CAR_CPU_BASELINE, (int)(sizeof programs / sizeof *programs), programs};
