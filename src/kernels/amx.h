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

/* amx_int8.c, for product_int8: two tiles of rows in quads and two blocks of a panel. */
enum { CAR_WHOLE_ROWS = 32, CAR_WHOLE_COLUMNS = 2 * CAR_BLOCK };
typedef struct car_whole_tile {
    const int32_t *rows;
    int64_t row_stride; /* quads to the next row, whole tiles */
    int count;          /* of the rows, up to CAR_WHOLE_ROWS */
    const int32_t *panel, *rest; /* [16 * whole][64]; [16][64], what is left of K and zeros, or NULL */
    int whole;
    const int32_t *offset; /* where the sum of a column starts from */
} car_whole_tile;
/* Between these two calls two tiles have so many rows. */
void car_tiles_begin(int count);
void car_tiles_end(void);
/* sums [count][CAR_WHOLE_COLUMNS] */
void car_tiles_sum_whole(const car_whole_tile *of, int32_t *sums);

#endif
