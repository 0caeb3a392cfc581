/*
 * amx: the products that table car_kernels_amx adds to those of car_kernels_avx512.
 */
#ifndef CAR_AMX_H
#define CAR_AMX_H

#include "kernels.h"

/* product_tiles of kernels.h. Only where cpu.c has found AMX and the permission to use it. */
car_product_function car_product_amx;
/* product_split of kernels.h. */
car_product_function car_product_amx_split;

#endif
