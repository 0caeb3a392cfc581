/*
 * inspect: a cell and what goes on in it, for a person to look at. Stands on network, train and report.
 *
 *   figure.c   graph of one step -> parts: layers, elementwise steps, merges, states      figure.h  what these share
 *   layout.c   parts -> places: states as straight belts, layers in a row beneath
 *   route.c    places -> wires: cheapest ways through a grid, around everything else
 *   arrange.c  the best of many layouts                       picture.c  parts, places, wires -> a scene
 *   reading.c  a model and a step of its input -> what the values of a layer are there
 */
#ifndef CAR_INSPECT_H
#define CAR_INSPECT_H

#include "network.h"
#include "report.h"

/* A value at one step of a layer, over its units. */
typedef struct car_reading {
    const char *name;     /* of the equation, or "c'" */
    double mean, size;    /* of the values; of their absolute values */
    double closed, open;  /* shares below 0.1 and above 0.9 */
} car_reading;

typedef struct car_picture_options {
    int unroll;                /* steps side by side; 0: 1; at most CAR_UNROLL_LIMIT */
    int reading_count;         /* numbers to be written on the parts; 0: none */
    const car_reading *readings;
    const char *note;          /* said beneath the picture, beside what the cell itself says; may be NULL */
} car_picture_options;
enum { CAR_UNROLL_LIMIT = 8, CAR_PART_LIMIT = 120 };

/* The unit as a drawing, from its graph alone. Starts `scene`, which is to be freed in any case. CAR_DATA: more than
 * CAR_PART_LIMIT parts; CAR_MEMORY. Cost: tenths of a second for the largest. */
car_status car_cell_picture(const struct car_cell *cell, const car_picture_options *options,
                            const car_allocator *allocator, car_scene *scene,
                            car_error *error) CAR_CHECK_RESULT;

/* Runs a model over ids (at least one) and reads the equations of a layer (from 0) at the last of them. The readings
 * live in the arena; their names belong to the model. CAR_USAGE: no embed, a `bi` layer, a layer that is no cell. */
car_status car_model_read_step(const car_model *model, int layer, const int32_t *ids, size_t count,
                               car_arena *arena, const car_reading **readings, int *reading_count,
                               car_error *error) CAR_CHECK_RESULT;

#endif
