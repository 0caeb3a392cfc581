/*
 * quads: int8 weights to and from the packed form that the products read (kernels.h).
 *
 * In:  a column: K whole numbers and their scale. Out: its bytes in a panel, its scale, and -128 times its sum behind the
 * panels; and back.
 */
#include "kernels.h"

/* Where a column stands. */
typedef struct quad_column {
    size_t panel; /* in floats */
    int column;   /* of the panel */
    size_t scale, offset;
} quad_column;

static quad_column place_of(int panels, int depth, int column) {
    const size_t panel = (size_t)car_quads(depth) * CAR_PANEL, behind = (size_t)panels * panel;
    return (quad_column){(size_t)(column / CAR_PANEL) * panel, column % CAR_PANEL,
                         behind + (size_t)column, behind + (size_t)(panels * CAR_PANEL + column)};
}

void car_quads_set(float *packed, int panels, int depth, int column, const int8_t *values,
                   float scale) {
    const quad_column at = place_of(panels, depth, column);
    int8_t *panel = (int8_t *)(void *)(packed + at.panel);
    int32_t *offset = (int32_t *)(void *)(packed + at.offset);
    int32_t sum = 0;
    for (int k = 0; k < depth; k++) {
        panel[car_quad_place(k, at.column)] = values[k];
        sum += values[k];
    }
    packed[at.scale] = scale;
    *offset = -128 * sum;
}

const int8_t *car_quads_at(const float *packed, int panels, int depth, int column, float *scale) {
    const quad_column at = place_of(panels, depth, column);
    *scale = packed[at.scale];
    return (const int8_t *)(const void *)(packed + at.panel) + car_quad_place(0, at.column);
}

void car_quads_get(const float *packed, int panels, int depth, int column, int8_t *values,
                   float *scale) {
    const int8_t *first = car_quads_at(packed, panels, depth, column, scale);
    for (int k = 0; values && k < depth; k++)
        values[k] = first[car_quad_place(k, 0)];
}
