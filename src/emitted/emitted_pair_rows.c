/*
 * emitted_pair_rows: the zoo's loops as functions for steps of one row in bf16, for CPUs with AVX512_BF16.
 *
 * In:  the text that emit_zoo wrote; compiler flags of this file alone (meson.build). Out: car_emitted_pair_rows, whose programs
 * have such functions and no others.
 */
#include "levels_emitted.h"

#define CAR_VECTOR_WIDTH 16
#define ROW_PAIRS        1

#include "vector.inc"

#include "math.inc"

#include "functions.inc"

#include "row.inc"

#include "emitted_zoo.inc"

const car_emitted_table car_emitted_pair_rows = {
    CAR_CPU_AVX512, (int)(sizeof programs / sizeof *programs), programs};
