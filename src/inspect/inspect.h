/*
 * inspect: a cell and what goes on in it, for a person to look at. Stands on network, train and report.
 *
 *   figure.c   graph of one step -> parts: layers, elementwise steps, merges, states      figure.h  what these share
 *   layout.c   parts -> places: states as straight belts, layers in a row beneath
 *   route.c    places -> wires: cheapest ways through a grid, around everything else
 *   arrange.c  the best of many layouts                       picture.c  parts, places, wires -> a scene
 *   reading.c  a model that reads -> the values inside it    survey.c   ... counted over a text: gates, memory
 *   flow.c     the loss's gradient at the states k steps before it     freeze.c   the loss with a gate held at 0 or 1
 *   units.c    units that follow quotes, brackets, comments, the line   looks_page.c  these three as charts and sections
 *   survey_page.c  all of it as an HTML page
 */
#ifndef CAR_INSPECT_H
#define CAR_INSPECT_H

#include "report.h"
#include "train.h"

/* ---- figure.c, layout.c, route.c, arrange.c, picture.c -------------------------------------------------- */

/* A value at one step of a layer, over its units. */
typedef struct car_reading {
    const char *name;     /* of the equation, or "c'" */
    double mean, size;    /* of the values; of their absolute values */
    double closed, open;  /* shares below 0.1 and above 0.9 */
} car_reading;

typedef struct car_picture_options {
    int unroll;                /* steps side by side; 0: 1; at most CAR_UNROLL_LIMIT */
    int reading_count;         /* numbers to be written on the parts of a step; 0: none */
    const car_reading *readings; /* [unroll][reading_count] */
    const char *const *inputs;   /* [unroll] what each step reads, in words; may be NULL */
    const char *note;          /* said beneath the picture, beside what the cell itself says; may be NULL */
    bool chinese;              /* the language of all other words */
} car_picture_options;
enum { CAR_UNROLL_LIMIT = 8, CAR_PART_LIMIT = 120 };

/* The unit as a drawing, from its graph alone. Starts `scene`, which is to be freed in any case. CAR_DATA: more than
 * CAR_PART_LIMIT parts; CAR_MEMORY. Cost: tenths of a second for the largest. */
car_status car_cell_picture(const struct car_cell *cell, const car_picture_options *options,
                            const car_allocator *allocator, car_scene *scene,
                            car_error *error) CAR_CHECK_RESULT;

/* ---- reading.c ------------------------------------------------------------------------------------------ */

/* A model that is run a step at a time, every named value to be read after each. It lives in the arena but for what
 * car_probe_close releases; the model is borrowed. CAR_USAGE: a `bi` layer, no embed. */
typedef struct car_probe car_probe;
car_status car_probe_open(const car_model *model, car_arena *arena, car_probe **probe,
                          car_error *error) CAR_CHECK_RESULT;
void car_probe_close(car_probe *probe); /* NULL is legal */
car_status car_probe_step(car_probe *probe, int32_t id, car_error *error) CAR_CHECK_RESULT;
/* For any net, `bi` layers too: reads sequences of up to `steps` steps at once (input [steps], or [steps][inputs]), each
 * from the initial state. Values are then those of the step and direction (1: backwards) that car_probe_look names. */
car_status car_probe_open_whole(const car_model *model, int steps, car_arena *arena, car_probe **probe,
                                car_error *error) CAR_CHECK_RESULT;
car_status car_probe_read_whole(car_probe *probe, const void *input, int steps, car_error *error) CAR_CHECK_RESULT;
void car_probe_look(car_probe *probe, int step, int direction);
/* The number of a value by its equation's name ("f", "c'"), -1: there is none; its value in a unit after the step. */
int car_probe_find(const car_probe *probe, int layer, const char *name);
double car_probe_value(const car_probe *probe, int layer, int tap, int unit);

/* Runs a model over ids (at least `steps`) and reads the equations of a layer (from 0) at the last `steps` of them:
 * readings [steps][reading_count]. They live in the arena; their names belong to the model. CAR_USAGE: no embed, a `bi`
 * layer, a layer that is no cell. */
car_status car_model_read_steps(const car_model *model, int layer, const int32_t *ids, size_t count,
                                int steps, car_arena *arena, const car_reading **readings,
                                int *reading_count, car_error *error) CAR_CHECK_RESULT;

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
    bool backwards;   /* the half of a `bi` layer that reads from the end */
    const struct car_cell *cell;
    int gate_count, memory_count;
    car_gate_survey *gates;
    car_memory_survey *memories;
} car_layer_survey;
typedef struct car_survey {
    int layer_count; /* layers that are cells; both halves of a `bi` layer */
    car_layer_survey *layers;
    int64_t steps;
} car_survey;
/* Runs a model over ids, at least one, and counts; everything lives in the arena. A state has no memory survey when
 * its belt does more than multiply by values with names (or 1 - such a value) and add. Errors as car_probe_open. */
car_status car_model_survey(const car_model *model, const int32_t *ids, size_t count, car_arena *arena,
                            car_survey *survey, car_error *error) CAR_CHECK_RESULT;
/* The same over the sequences of a batch, each from the initial state and, where batch->lengths are, so long; of nets with
 * `bi` layers too. survey->steps counts all steps, with `patch` those of the net. */
car_status car_model_survey_batch(const car_model *model, const car_batch *batch, int lanes, car_arena *arena,
                                  car_survey *survey, car_error *error) CAR_CHECK_RESULT;

/* ---- flow.c --------------------------------------------------------------------------------------------- */

/* |dL/ds| k steps before the loss, over the lanes. Index i: a state s is the one before the last i + 1 steps (k = i + 1);
 * the input x is the one read i steps before the last (k = i): the embedding's row, or the values. */
typedef struct car_flow_curve {
    int layer;        /* from 0 */
    const char *name; /* of the state; "x" for what was read */
    bool input;
    double *median, *low, *high; /* [distance]; low, high: quartiles */
} car_flow_curve;
typedef struct car_flow {
    int distance, lanes, curve_count;
    int patch;              /* steps of the data in a step of the net, in which distances count */
    car_flow_curve *curves; /* layer by layer, in the order of their states */
    double loss;            /* of the last steps */
} car_flow;
/* batch: `steps` steps of `lanes` sequences from their beginnings, target [lanes] (or [lanes][outputs]) that of the last step
 * alone; all lanes of one length, a multiple of the net's `patch`, whose steps are then the net's. Everything lives in the arena. CAR_USAGE: a `bi` layer. Cost: one update. */
car_status car_model_flow(const car_model *model, const car_batch *batch, int lanes,
                          car_arena *arena, car_flow *flow, car_error *error) CAR_CHECK_RESULT;

/* ---- freeze.c ------------------------------------------------------------------------------------------- */

typedef struct car_freeze {
    int layer;
    const char *gate;
    double loss[2]; /* with the gate held at 0, at 1 */
} car_freeze;
typedef struct car_freezing {
    double loss; /* as the model is: nats or squared error a target */
    int64_t targets;
    int count;
    car_freeze *gates; /* of all layers */
} car_freezing;
/* Judges the model on the batches 0 .. updates_per_epoch-1 of `source`, of at most `steps` steps of `lanes` lanes. */
car_status car_model_freeze(const car_model *model, const car_fit_source *source, int lanes,
                            int steps, car_arena *arena, car_freezing *freezing,
                            car_error *error) CAR_CHECK_RESULT;

/* ---- units.c -------------------------------------------------------------------------------------------- */

typedef enum car_pattern {
    CAR_PATTERN_QUOTES,
    CAR_PATTERN_BRACKETS,
    CAR_PATTERN_COMMENT, /* of C: slash-star or two slashes */
    CAR_PATTERN_LINE,    /* characters since the line began */
    CAR_PATTERN_COUNT
} car_pattern;
const char *car_pattern_name(car_pattern pattern); /* "quotes", "brackets", "comment", "line" */
/* The patterns after each of `count` tokens; token i ends at byte ends[i] of the text. */
void car_patterns_of(const char *text, const size_t *ends, size_t count,
                     float (*patterns)[CAR_PATTERN_COUNT]);
typedef struct car_follower {
    car_pattern pattern;
    int layer, unit; /* from 0; layer -1: the pattern does not occur */
    const char *state;
    double chosen, tested; /* correlation on the half it was chosen on, and on the other */
    double share;          /* mean of the pattern in the second half */
} car_follower;
/* The unit that goes with each pattern most. */
car_status car_model_followers(const car_model *model, const int32_t *ids,
                               const float (*patterns)[CAR_PATTERN_COUNT], size_t count,
                               car_arena *arena, car_follower followers[CAR_PATTERN_COUNT],
                               car_error *error) CAR_CHECK_RESULT;
typedef struct car_unit_choice {
    int layer;         /* from 0 */
    const char *state; /* or an equation */
    int unit;          /* from 0 */
} car_unit_choice;
/* values [count]: of one unit after each token. CAR_USAGE: there is no such unit. */
car_status car_model_unit_values(const car_model *model, const int32_t *ids, size_t count,
                                 const car_unit_choice *unit, car_arena *arena, float *values,
                                 car_error *error) CAR_CHECK_RESULT;

/* ---- looks_page.c --------------------------------------------------------------------------------------- */

/* Norms of gradients, as updates see them. */
typedef struct car_clipping {
    int updates;
    double threshold;    /* of the norm; 0: none is known */
    double median, most; /* of the norms */
    double clipped,
        lost; /* share of the updates above it; mean of 1 - threshold/norm over all (0 below it) */
} car_clipping;
/* A text in the colours of one unit. */
typedef struct car_colored {
    int pattern; /* that the unit follows; -1: asked for by name */
    car_unit_choice unit;
    const char *text;
    const size_t *ends;  /* [count] */
    int *levels; /* [count] */
    size_t count;
} car_colored;
/* values -> -CAR_PAGE_LEVELS .. CAR_PAGE_LEVELS, the largest size at the ends. */
void car_color_levels(const float *values, size_t count, int *levels);

/* What there is to show besides a survey; NULL: not looked at. All borrowed. */
typedef enum car_reads { CAR_READS_TEXT, CAR_READS_SERIES, CAR_READS_SEQUENCES } car_reads;
typedef struct car_looks {
    bool chinese;
    car_reads reads;
    bool from_both_ends;  /* `bi` layers: says why there is no flow */
    const car_flow *flow;
    const car_clipping *clipping;
    const car_freezing *freezing;
    const car_follower *followers; /* [CAR_PATTERN_COUNT] */
    int colored_count;
    const car_colored *colored;
} car_looks;
void car_looks_sections(const car_looks *looks, car_page *page, const car_allocator *allocator);
/* Each starts `scene`, which is to be freed; labels live in the arena. */
void car_flow_scene(const car_flow *flow, bool chinese, car_arena *arena,
                    const car_allocator *allocator, car_scene *scene);
void car_freezing_scene(const car_freezing *freezing, bool chinese, car_arena *arena,
                        const car_allocator *allocator, car_scene *scene);
void car_gates_scene(const car_survey *survey, bool chinese, car_arena *arena,
                     const car_allocator *allocator, car_scene *scene);

/* ---- survey_page.c -------------------------------------------------------------------------------------- */

typedef struct car_survey_words {
    const char *model, *text; /* names of the files */
    bool chinese;
} car_survey_words;
/* The survey as an HTML page; `fresh` is that of the same net before training; `looks` adds what else was looked at.
 * CAR_DATA: the page is too large. */
car_status car_survey_page(const car_survey *survey, const car_survey *fresh,
                           const car_looks *looks, const car_survey_words *words,
                           const car_allocator *allocator, car_text *html, car_error *error) CAR_CHECK_RESULT;

#endif
