/*
 * inspect_parts.h: what the files of `carousel inspect` share.
 *
 *   inspect.c         reads the call             inspect_record.c   what the model says of its training
 *   inspect_look.c    looks into a language model that reads a text
 *   inspect_series.c  a forecasting model, windows of a series; inspect_sequences.c  a classifier or tagger, sequences
 *   inspect_batch.c   what these two see alike   inspect_norms.c    what clipping takes in updates as in training
 *   inspect_show.c    writes what was seen
 */
#ifndef CAR_INSPECT_PARTS_H
#define CAR_INSPECT_PARTS_H

#include "classify.h"
#include "cli.h"
#include "forecast.h"
#include "inspect.h"
#include "tasks.h"

typedef struct inspect_call {
    const char *report, *language, *plot, *chart, *unit;
    int64_t tokens, back;
    bool json;
} inspect_call;

/* What is known of how the model was trained; zeros where the model does not say. */
typedef struct inspect_record {
    bool known;
    int64_t seed, batch, unroll;
    double clip;
    const char *init, *bias_init;
    const car_json *options; /* NULL: not known */
} inspect_record;

typedef struct inspect_sight {
    car_reads reads;      /* but for a text: no followers */
    bool from_both_ends;  /* `bi` layers: no flow */
    inspect_record record;
    car_survey survey, fresh; /* fresh: the same net with its first weights */
    car_flow flow;
    car_clipping clipping;
    car_freezing freezing;
    car_follower followers[CAR_PATTERN_COUNT];
    car_colored colored[CAR_PATTERN_COUNT];
    int colored_count;
} inspect_sight;

enum { INSPECT_UPDATES = 8 };
/* Norms of up to INSPECT_UPDATES updates of `source`, batches of at most `steps` steps of `lanes` lanes. */
car_status cli_inspect_norms(const car_model *model, const inspect_record *record,
                             const car_fit_source *source, int lanes, int steps,
                             car_clipping *clipping, car_error *error) CAR_CHECK_RESULT;
/* Looks at `count` tokens (the clipping at more, where there are more). Everything lives in the arena. */
car_status cli_inspect_look(const inspect_call *call, const car_lm *lm, const car_tokens *tokens,
                            size_t count, car_arena *arena, inspect_sight *sight,
                            car_error *error) CAR_CHECK_RESULT;
/* The record under this key; it lives in the arena. A text among its options; NULL: there is none. */
inspect_record cli_inspect_record(const car_model *model, const char *key, car_arena *arena);
const char *cli_inspect_word(const car_json *options, const char *name);

/* Sequences side by side, to be judged; windows of one length with the target behind each, to go back through. */
typedef struct inspect_batches {
    car_batch whole, window;
    int lanes, window_lanes;      /* window_lanes 0: none */
    car_fit_source training;      /* INSPECT_UPDATES batches as training has them */
    int training_lanes, training_steps;
} inspect_batches;
car_status cli_inspect_batches(const car_model *model, inspect_batches *given, car_arena *arena,
                               inspect_sight *sight, car_error *error) CAR_CHECK_RESULT;
/* What such a model does over a file; the sight speaks of the model, which is to be freed after it. */
car_status cli_inspect_series(const char *model, const char *path, car_arena *arena,
                              car_forecast *forecast, inspect_sight *sight,
                              car_error *error) CAR_CHECK_RESULT;
car_status cli_inspect_sequences(const char *model, const char *path, car_arena *arena,
                                 car_classifier *classifier, inspect_sight *sight,
                                 car_error *error) CAR_CHECK_RESULT;
void cli_inspect_text(const inspect_sight *sight, car_text *text);
void cli_inspect_json(const inspect_sight *sight, car_text *text);

#endif
