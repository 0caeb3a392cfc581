/*
 * levels: the tables that the level files and plain.c define; cpu.c alone hands them out.
 */
#ifndef CAR_LEVELS_H
#define CAR_LEVELS_H

#include "kernels.h"

extern const car_kernels car_kernels_baseline;
extern const car_kernels car_kernels_avx2;
extern const car_kernels car_kernels_avx512;
extern const car_kernels car_kernels_avx512_vnni; /* the same level */
extern const car_kernels car_kernels_avx512_bf16; /* the same level, with VNNI too */
extern const car_kernels car_kernels_zen5;        /* and again */
extern const car_kernels car_kernels_amx;         /* and again */

#endif
