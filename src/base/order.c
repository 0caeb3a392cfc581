/* order.c: what comes first, for qsort. */
#include "base.h"

int car_order_doubles(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}
