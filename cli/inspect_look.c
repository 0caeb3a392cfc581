/*
 * inspect_look.c: looks into a language model over a text: gates, memory, gradients, frozen gates, units.
 *
 * In: a model, its tokens. Out: an inspect_sight.
 */
#include "inspect_parts.h"
#include <math.h>
#include <string.h>

enum { WINDOWS = 16, FREEZE_STEPS = 64, COLORED_TOKENS = 1200 };
static const double FOLLOWS = 0.3; /* a correlation below is not worth a coloured text */

static car_status no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY, "no memory to look into the model");
}

/* ---- Before training ------------------------------------------------------------------------------------- */

/* The same net with the weights that its training began with: a function of seed and schemes. */
static car_status survey_fresh(const car_model *model, const inspect_record *record,
                               const int32_t *ids, size_t count, car_arena *arena,
                               car_survey *survey, car_error *error) {
    car_model *fresh;
    const car_model_options options = {.input_size = car_model_input_size(model),
                                       .output_size = car_model_output_size(model),
                                       .seed = (uint64_t)record->seed,
                                       .init = record->init,
                                       .bias_init = record->bias_init,
                                       .precision = car_model_precision(model)};
    CAR_TRY(car_model_create(model->net, &options, NULL, &fresh, error));
    car_status status = car_model_survey(fresh, ids, count, arena, survey, error);
    car_model_free(fresh);
    return status;
}

/* ---- Gradients ------------------------------------------------------------------------------------------- */

/* Windows of the text, evenly over it, side by side; the loss is that of the token behind each. */
static car_status look_back(const inspect_call *call, const car_model *model, const int32_t *ids,
                            size_t count, car_arena *arena, car_flow *flow, car_error *error) {
    size_t steps = (size_t)call->back < count - 1 ? (size_t)call->back : count - 1;
    size_t places = count - steps, lanes = places < WINDOWS ? places : WINDOWS;
    int32_t *input = car_arena_allocate(arena, (steps + 1) * lanes, sizeof *input);
    if (!input)
        return no_memory(error);
    int32_t *target = input + steps * lanes;
    for (size_t lane = 0; lane < lanes; lane++) {
        size_t first = lanes > 1 ? lane * (places - 1) / (lanes - 1) : 0;
        for (size_t step = 0; step < steps; step++)
            input[step * lanes + lane] = ids[first + step];
        target[lane] = ids[first + steps];
    }
    const car_batch batch = {.steps = (int)steps, .reset = true, .input = input, .target = target};
    return car_model_flow(model, &batch, (int)lanes, arena, flow, error);
}

typedef struct training_text {
    car_stream stream;
    int32_t *ids, *targets; /* [steps][lanes] */
} training_text;

static car_status training_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                                 car_error *error) {
    const training_text *text = context;
    (void)epoch;
    (void)error;
    *batch = (car_batch){.reset = index == 0, .input = text->ids, .target = text->targets};
    batch->steps = car_stream_batch(&text->stream, index, text->ids, text->targets);
    return CAR_OK;
}

/* As many lanes as in training, fewer where the text is short. */
static car_status look_at_norms(const car_model *model, const inspect_record *record,
                                const car_tokens *tokens, car_arena *arena, car_clipping *clipping,
                                car_error *error) {
    int steps = record->unroll > 0 ? (int)record->unroll : 64;
    int lanes = record->batch > 0 ? (int)record->batch : 32;
    training_text text = {.stream =
                              car_stream_for_training(tokens->ids, tokens->count, lanes, steps)};
    while (text.stream.batches == 0 && lanes > 1) {
        lanes = (lanes + 1) / 2;
        text.stream = car_stream_for_training(tokens->ids, tokens->count, lanes, steps);
    }
    size_t rows = (size_t)lanes * (size_t)steps;
    text.ids = car_arena_allocate(arena, 2 * rows, sizeof *text.ids);
    if (!text.ids)
        return no_memory(error);
    text.targets = text.ids + rows;
    const car_fit_source source = {
        .context = &text, .updates_per_epoch = text.stream.batches, .batch = training_batch};
    return cli_inspect_norms(model, record, &source, lanes, steps, clipping, error);
}

/* ---- Frozen gates ---------------------------------------------------------------------------------------- */

typedef struct judged_text {
    car_stream stream;
    int32_t input[FREEZE_STEPS], target[FREEZE_STEPS];
} judged_text;

static car_status next_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                             car_error *error) {
    judged_text *text = context;
    (void)epoch;
    (void)error;
    *batch = (car_batch){.reset = index == 0, .input = text->input, .target = text->target};
    batch->steps = car_stream_batch(&text->stream, index, text->input, text->target);
    return CAR_OK;
}

static car_status look_at_frozen(const car_model *model, const int32_t *ids, size_t count,
                                 car_arena *arena, car_freezing *freezing, car_error *error) {
    judged_text text = {.stream = car_stream_for_judging(ids, count, 1, FREEZE_STEPS)};
    const car_fit_source source = {
        .context = &text, .updates_per_epoch = text.stream.batches, .batch = next_batch};
    return car_model_freeze(model, &source, 1, FREEZE_STEPS, arena, freezing, error);
}

/* ---- Units ----------------------------------------------------------------------------------------------- */

/* The tokens as text and where each ends; between words stands a blank. */
static bool write_tokens(const car_vocabulary *vocabulary, const int32_t *ids, size_t count,
                         car_text *text, size_t *ends) {
    bool words = vocabulary->level == CAR_LEVEL_WORD;
    for (size_t i = 0; i < count; i++) {
        size_t length;
        const char *symbol = car_vocabulary_symbol(vocabulary, ids[i], &length);
        car_text_add(text, symbol, length);
        if (words && !(length == 1 && *symbol == '\n'))
            car_text_add(text, " ", 1);
        ends[i] = text->length;
    }
    return !text->failed;
}

/* The second half of the text, or the beginning of that, in the colours of a unit. */
static car_status color_text(const car_lm *lm, const int32_t *ids, size_t count,
                             const car_unit_choice *unit, int pattern, car_arena *arena,
                             inspect_sight *sight, car_error *error) {
    size_t begin = count / 2,
           shown = count - begin < COLORED_TOKENS ? count - begin : COLORED_TOKENS;
    float *values = car_arena_allocate(arena, begin + shown, sizeof *values);
    size_t *ends = car_arena_allocate(arena, shown, sizeof *ends);
    int *levels = car_arena_allocate(arena, shown, sizeof *levels);
    car_text text;
    if (!values || !ends || !levels)
        return no_memory(error);
    CAR_TRY(car_model_unit_values(lm->model, ids, begin + shown, unit, arena, values, error));
    car_color_levels(values + begin, shown, levels);
    car_text_start(&text, NULL);
    bool whole = write_tokens(lm->vocabulary, ids + begin, shown, &text, ends);
    const char *kept = whole ? car_arena_copy(arena, text.data, text.length) : NULL;
    car_text_free(&text);
    if (!kept)
        return no_memory(error);
    sight->colored[sight->colored_count++] = (car_colored){.pattern = pattern,
                                                           .unit = *unit,
                                                           .text = kept,
                                                           .ends = ends,
                                                           .levels = levels,
                                                           .count = shown};
    return CAR_OK;
}

/* LAYER.STATE.UNIT, from 1. */
static car_status read_unit(const char *text, car_arena *arena, car_unit_choice *unit,
                            car_error *error) {
    const char *state = strchr(text, '.'), *number = state ? strchr(state + 1, '.') : NULL;
    int64_t layer = 0, index = 0;
    char *first = state ? car_arena_copy(arena, text, (size_t)(state - text)) : NULL;
    if (!number || !first || !cli_read_int(first, &layer) || !cli_read_int(number + 1, &index) ||
        layer < 1 || layer > 256 || index < 1 || index > 1 << 20)
        return car_fail(error, CAR_USAGE, "--unit %.60s: give LAYER.STATE.UNIT, as in 2.c.17",
                        text);
    *unit =
        (car_unit_choice){.layer = (int)layer - 1,
                          .state = car_arena_copy(arena, state + 1, (size_t)(number - state - 1)),
                          .unit = (int)index - 1};
    return unit->state ? CAR_OK : no_memory(error);
}

static car_status look_at_units(const inspect_call *call, const car_lm *lm, const int32_t *ids,
                                size_t count, car_arena *arena, inspect_sight *sight,
                                car_error *error) {
    car_text text;
    car_unit_choice unit;
    size_t *ends = car_arena_allocate(arena, count, sizeof *ends);
    float(*patterns)[CAR_PATTERN_COUNT] = car_arena_allocate(arena, count, sizeof *patterns);
    if (!ends || !patterns)
        return no_memory(error);
    car_text_start(&text, NULL);
    bool whole = write_tokens(lm->vocabulary, ids, count, &text, ends);
    if (whole)
        car_patterns_of(text.data, ends, count, patterns);
    car_text_free(&text);
    if (!whole)
        return no_memory(error);
    CAR_TRY(car_model_followers(lm->model, ids, (const float(*)[CAR_PATTERN_COUNT])patterns, count,
                                arena, sight->followers, error));
    if (call->unit) {
        CAR_TRY(read_unit(call->unit, arena, &unit, error));
        return color_text(lm, ids, count, &unit, -1, arena, sight, error);
    }
    for (int p = 0; p < CAR_PATTERN_COUNT; p++) {
        const car_follower *found = &sight->followers[p];
        if (found->layer < 0 || !(fabs(found->tested) >= FOLLOWS))
            continue;
        unit = (car_unit_choice){found->layer, found->state, found->unit};
        CAR_TRY(color_text(lm, ids, count, &unit, p, arena, sight, error));
    }
    return CAR_OK;
}

/* ---- All of it ------------------------------------------------------------------------------------------- */

car_status cli_inspect_look(const inspect_call *call, const car_lm *lm, const car_tokens *tokens,
                            size_t count, car_arena *arena, inspect_sight *sight,
                            car_error *error) {
    const car_model *model = lm->model;
    *sight = (inspect_sight){.record = cli_inspect_record(model, "lm.record", arena)};
    CAR_TRY(car_model_survey(model, tokens->ids, count, arena, &sight->survey, error));
    CAR_TRY(survey_fresh(model, &sight->record, tokens->ids, count, arena, &sight->fresh, error));
    CAR_TRY(look_back(call, model, tokens->ids, count, arena, &sight->flow, error));
    CAR_TRY(look_at_norms(model, &sight->record, tokens, arena, &sight->clipping, error));
    CAR_TRY(look_at_frozen(model, tokens->ids, count, arena, &sight->freezing, error));
    return look_at_units(call, lm, tokens->ids, count, arena, sight, error);
}
