/*
 * inspect: a cell and what goes on in it, for a person to look at. Stands on network, train and report.
 *
 *   figure.c   graph of one step -> parts: layers, elementwise steps, merges, states      figure.h  what these share
 *   layout.c   parts -> places: states as straight belts, layers in a row beneath
 *   route.c    places -> wires: cheapest ways through a grid, around everything else
 *   arrange.c  the best of many layouts                       picture.c  parts, places, wires -> a scene
 *   reading.c  a model that reads -> the values inside it    survey.c   ... counted over a text: gates, memory
 *   survey_page.c  a survey as an HTML page
 */
#ifndef CAR_INSPECT_H
#define CAR_INSPECT_H

#include "network.h"
#include "report.h"

/* ---- figure.c, layout.c, route.c, arrange.c, picture.c -------------------------------------------------- */

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

/* ---- reading.c ------------------------------------------------------------------------------------------ */

/* A model that is run a step at a time, every named value to be read after each. It lives in the arena but for what
 * car_probe_close releases; the model is borrowed. CAR_USAGE: no embed, a `bi` layer. */
typedef struct car_probe car_probe;
car_status car_probe_open(const car_model *model, car_arena *arena, car_probe **probe,
                          car_error *error) CAR_CHECK_RESULT;
void car_probe_close(car_probe *probe); /* NULL is legal */
car_status car_probe_step(car_probe *probe, int32_t id, car_error *error) CAR_CHECK_RESULT;
/* The number of a value by its equation's name ("f", "c'"), -1: there is none; its value in a unit after the step. */
int car_probe_find(const car_probe *probe, int layer, const char *name);
double car_probe_value(const car_probe *probe, int layer, int tap, int unit);

/* Runs a model over ids (at least one) and reads the equations of a layer (from 0) at the last of them. The readings
 * live in the arena; their names belong to the model. CAR_USAGE: no embed, a `bi` layer, a layer that is no cell. */
car_status car_model_read_step(const car_model *model, int layer, const int32_t *ids, size_t count,
                               car_arena *arena, const car_reading **readings, int *reading_count,
                               car_error *error) CAR_CHECK_RESULT;

/* ---- survey.c ------------------------------------------------------------------------------------------- */

enum { CAR_SURVEY_BINS = 40 };
typedef struct car_gate_survey {
    const char *name;
    double mean, closed, open;      /* over steps and units; shares below 0.1, above 0.9 */
    double shares[CAR_SURVEY_BINS]; /* of the values in equal parts of [0, 1]; what lies outside counts to the ends */
    double *unit_mean, *unit_closed, *unit_open; /* [units] */
} car_gate_survey;
/* A state on a belt: what the belt multiplies it with in a step is how much of it stays. */
typedef struct car_memory_survey {
    const char *name;
    double *half_life; /* [units] steps until half is left, if nothing is added: ln 2 / -mean(ln factor); may be infinite */
    double low, median, high; /* quartiles over the units; may be infinite */
    double beyond_hundred;    /* share of the units above 100 steps */
} car_memory_survey;
typedef struct car_layer_survey {
    int layer, units; /* layer from 0 */
    const struct car_cell *cell;
    int gate_count, memory_count;
    car_gate_survey *gates;
    car_memory_survey *memories;
} car_layer_survey;
typedef struct car_survey {
    int layer_count; /* layers that are cells */
    car_layer_survey *layers;
    int64_t steps;
} car_survey;
/* Runs a model over ids, at least one, and counts; everything lives in the arena. A state has no memory survey when
 * its belt does more than multiply by values with names (or 1 - such a value) and add. Errors as car_probe_open. */
car_status car_model_survey(const car_model *model, const int32_t *ids, size_t count, car_arena *arena,
                            car_survey *survey, car_error *error) CAR_CHECK_RESULT;

/* ---- survey_page.c -------------------------------------------------------------------------------------- */

typedef struct car_survey_words {
    const char *model, *text; /* names of the files */
    bool chinese;
} car_survey_words;
/* The survey as an HTML page; `fresh` is that of the same net before training. CAR_DATA: the page is too large. */
car_status car_survey_page(const car_survey *survey, const car_survey *fresh, const car_survey_words *words,
                           const car_allocator *allocator, car_text *html, car_error *error) CAR_CHECK_RESULT;

#endif
