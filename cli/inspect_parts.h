/*
 * inspect_parts.h: what the files of `carousel inspect` share: inspect.c reads the call, inspect_look.c looks into the
 * model, inspect_show.c writes what was seen (inspect_series.c looks where it reads numbers).
 */
#ifndef CAR_INSPECT_PARTS_H
#define CAR_INSPECT_PARTS_H

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
} inspect_record;

typedef struct inspect_sight {
    bool values; /* read windows of numbers, not a text: no clipping, no followers */
    inspect_record record;
    car_survey survey, fresh; /* fresh: the same net with its first weights */
    car_flow flow;
    car_clipping clipping;
    car_freezing freezing;
    car_follower followers[CAR_PATTERN_COUNT];
    car_colored colored[CAR_PATTERN_COUNT];
    int colored_count;
} inspect_sight;

/* Looks at `count` tokens (the clipping at more, where there are more). Everything lives in the arena. */
car_status cli_inspect_look(const inspect_call *call, const car_lm *lm, const car_tokens *tokens,
                            size_t count, car_arena *arena, inspect_sight *sight,
                            car_error *error) CAR_CHECK_RESULT;
/* inspect_series.c: is this a model of `forecast train`? What such a model does over windows of a CSV file; the sight
 * speaks of the forecast, which is to be freed after it. */
bool cli_inspect_is_forecast(const char *path);
car_status cli_inspect_series(const char *model, const char *path, car_arena *arena,
                              car_forecast *forecast, inspect_sight *sight,
                              car_error *error) CAR_CHECK_RESULT;
void cli_inspect_text(const inspect_sight *sight, car_text *text);
void cli_inspect_json(const inspect_sight *sight, car_text *text);

#endif
