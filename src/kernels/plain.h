/*
 * plain: the table of plain scalar loops that every level is tested against. Slow; never chosen to run.
 */
#ifndef CAR_PLAIN_H
#define CAR_PLAIN_H

#include "kernels.h"

/* Level and name are those of baseline. Products and vector programs use fmaf and libm in double. */
extern const car_kernels car_kernels_plain;

#endif
