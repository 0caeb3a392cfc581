/*
 * amx: the products that table car_kernels_amx adds to those of car_kernels_avx512.
 */
#ifndef CAR_AMX_H
#define CAR_AMX_H

#include "kernels.h"

/* product_tiles of kernels.h. Only where cpu.c has found AMX and the permission to use it. */
void car_product_amx(const car_product *product, float *scratch, int row_begin, int row_end,
                     int block_begin, int block_end);
/* product_split of kernels.h. */
void car_product_amx_split(const car_product *product, float *scratch, int row_begin, int row_end,
                           int block_begin, int block_end);

#endif
