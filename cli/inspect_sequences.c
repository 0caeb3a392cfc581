/*
 * inspect_sequences.c: looks into a model of `classify train` or `tag train` over sequences of a file.
 *
 * In:  a model, a file with labels, read as in training. Out: an inspect_sight without what only a running text has.
 *
 *   gates, memory, frozen gates   LANES whole sequences, evenly over the file; the loss is that of the task
 *   clipping                      sequences drawn as in training, without what --warp and its like do to them
 *   gradients                     the loss of the last class alone, back through the last steps before it, as many as half
 *                                 of the sequences have; not for nets with `bi` layers
 */
#include "inspect_parts.h"
#include <stdlib.h>
#include <string.h>

enum { LANES = 64, MOST_ROWS = 1 << 18 };

typedef struct sequence_sight {
    const car_classifier *classifier;
    const car_sequences *set;
    car_arena *arena;
    int count, *chosen; /* [count] sequences */
} sequence_sight;

static car_status no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY, "no memory to look into the model");
}

static int steps_of(const car_sequences *set, int sequence) {
    return (int)(set->begin[sequence + 1] - set->begin[sequence]);
}

/* A multiple of the net's `patch`. */
static int filled_up(const sequence_sight *sight, int steps) {
    int patch = sight->classifier->model->net->patch;
    return (steps + patch - 1) / patch * patch;
}

/* Evenly over the file; fewer where they are long. */
static car_status choose(sequence_sight *sight, car_error *error) {
    const car_sequences *set = sight->set;
    size_t most = MOST_ROWS / (size_t)set->longest, all = (size_t)set->count;
    size_t count = all < LANES ? all : LANES;
    count = count > most ? most > 0 ? most : 1 : count;
    sight->chosen = car_arena_allocate(sight->arena, count, sizeof *sight->chosen);
    if (!sight->chosen)
        return no_memory(error);
    sight->count = (int)count;
    for (size_t i = 0; i < count; i++)
        sight->chosen[i] = count > 1 ? (int)(i * (all - 1) / (count - 1)) : 0;
    return CAR_OK;
}

/* Step `step` of a sequence into a row: its id, or its values as the net reads them. Beyond its end, where `patch` fills it
 * up, stands the last step again. */
static void fill_row(const sequence_sight *sight, int sequence, int step, void *input, size_t row) {
    const car_sequences *set = sight->set;
    int last = steps_of(set, sequence) - 1, at = step < last ? step : last;
    size_t from = set->begin[sequence] + (size_t)at, channels = (size_t)set->channels;
    if (set->ids) {
        ((int32_t *)input)[row] = set->ids[from];
        return;
    }
    const float *values = set->values + from * channels;
    car_classifier_scale(sight->classifier, values, at > 0 ? values - channels : NULL,
                         (float *)input + row * (size_t)car_classifier_inputs(sight->classifier));
}

/* Ids are as large as values. */
static void *make_input(const sequence_sight *sight, int steps, int lanes) {
    size_t width = sight->set->ids ? 1 : (size_t)car_classifier_inputs(sight->classifier);
    return car_arena_allocate(sight->arena, (size_t)steps * (size_t)lanes * width, sizeof(float));
}

/* ---- Whole sequences ------------------------------------------------------------------------------------- */

/* Room for sequences side by side. */
typedef struct sequence_lanes {
    const sequence_sight *sight;
    int lanes, longest;
    int *lengths;     /* [lanes] */
    void *input;      /* [longest][lanes], or with the values of a row */
    int32_t *targets; /* [lanes], or [longest][lanes] */
} sequence_lanes;

static car_status make_lanes(const sequence_sight *sight, int lanes, int longest,
                             sequence_lanes *room, car_error *error) {
    size_t rows = (size_t)longest * (size_t)lanes;
    *room = (sequence_lanes){.sight = sight, .lanes = lanes, .longest = longest};
    room->lengths = car_arena_allocate(sight->arena, (size_t)lanes, sizeof *room->lengths);
    room->input = make_input(sight, longest, lanes);
    room->targets = car_arena_allocate(sight->arena, sight->set->each ? rows : (size_t)lanes,
                                       sizeof *room->targets);
    return room->lengths && room->input && room->targets ? CAR_OK : no_memory(error);
}

/* A sequence into a lane, its labels too: [lanes], or [steps][lanes]. */
static void fill_lane(const sequence_lanes *room, int lane, int sequence) {
    const car_sequences *set = room->sight->set;
    size_t lanes = (size_t)room->lanes, own = (size_t)steps_of(set, sequence);
    room->lengths[lane] = filled_up(room->sight, (int)own);
    for (int t = 0; t < room->lengths[lane]; t++)
        fill_row(room->sight, sequence, t, room->input, (size_t)t * lanes + (size_t)lane);
    if (!set->each)
        room->targets[lane] = set->labels[sequence];
    for (size_t t = 0; set->each && t < own; t++)
        room->targets[t * lanes + (size_t)lane] = set->labels[set->begin[sequence] + t];
}

static car_batch batch_of(const sequence_lanes *room) {
    return (car_batch){.steps = room->longest,
                       .reset = true,
                       .input = room->input,
                       .lengths = room->lengths,
                       .target = room->targets};
}

static car_status fill_whole(const sequence_sight *sight, inspect_batches *given,
                             car_error *error) {
    sequence_lanes room;
    int longest = 0;
    for (int i = 0; i < sight->count; i++) {
        int steps = filled_up(sight, steps_of(sight->set, sight->chosen[i]));
        longest = steps > longest ? steps : longest;
    }
    CAR_TRY(make_lanes(sight, sight->count, longest, &room, error));
    for (int lane = 0; lane < sight->count; lane++)
        fill_lane(&room, lane, sight->chosen[lane]);
    given->lanes = sight->count;
    given->whole = batch_of(&room);
    return CAR_OK;
}

/* ---- Updates --------------------------------------------------------------------------------------------- */

/* Sequences drawn from the whole file, as often as it comes; nothing is moved or warped. */
static car_status training_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                                 car_error *error) {
    const sequence_lanes *room = context;
    const car_random_key key = {.seed = 1, .purpose = CAR_RANDOM_SAMPLE};
    double count = room->sight->set->count;
    (void)epoch;
    (void)error;
    for (int lane = 0; lane < room->lanes; lane++)
        fill_lane(room, lane,
                  (int)(count * (double)car_random_uniform(key, (uint64_t)index, (uint64_t)lane)));
    *batch = batch_of(room);
    return CAR_OK;
}

/* As many lanes as in training, fewer where sequences are long or few. */
static car_status prepare_training(const sequence_sight *sight, const inspect_record *record,
                                   inspect_batches *given, car_error *error) {
    int longest = filled_up(sight, (int)sight->set->longest);
    int lanes = record->batch > 0 ? (int)record->batch : 16, most = MOST_ROWS / longest;
    lanes = lanes < sight->set->count ? lanes : sight->set->count;
    lanes = lanes < most ? lanes : most > 0 ? most : 1;
    sequence_lanes *room = car_arena_allocate(sight->arena, 1, sizeof *room);
    if (!room)
        return no_memory(error);
    CAR_TRY(make_lanes(sight, lanes, longest, room, error));
    given->training_lanes = lanes;
    given->training_steps = longest;
    given->training = (car_fit_source){
        .context = room, .updates_per_epoch = INSPECT_UPDATES, .batch = training_batch};
    return CAR_OK;
}

/* ---- Windows: what stands before the last class ---------------------------------------------------------- */

/* Steps up to the last one with a class, filled up for `patch`; 0: there is none. */
static int steps_to_class(const sequence_sight *sight, int sequence, int32_t *label) {
    const car_sequences *set = sight->set;
    int steps = steps_of(set, sequence);
    *label = -1;
    if (!set->each)
        *label = set->labels[sequence];
    for (; set->each && steps > 0 && *label < 0; steps -= *label < 0)
        *label = set->labels[set->begin[sequence] + (size_t)steps - 1];
    return *label < 0 ? 0 : filled_up(sight, steps);
}

static int compare(const void *left, const void *right) {
    return *(const int *)left - *(const int *)right;
}

static car_status fill_windows(const sequence_sight *sight, inspect_batches *given,
                               car_error *error) {
    int32_t label;
    size_t count = (size_t)sight->count;
    int *sorted = car_arena_allocate(sight->arena, count, sizeof *sorted);
    int32_t *targets = car_arena_allocate(sight->arena, count, sizeof *targets);
    if (!sorted || !targets)
        return no_memory(error);
    for (size_t i = 0; i < count; i++)
        sorted[i] = steps_to_class(sight, sight->chosen[i], &label);
    qsort(sorted, count, sizeof *sorted, compare);
    int steps = sorted[count / 2], lanes = 0;
    for (size_t i = 0; i < count; i++)
        lanes += steps > 0 && sorted[i] >= steps;
    void *input = make_input(sight, steps, lanes);
    if (lanes == 0)
        return CAR_OK;
    if (!input)
        return no_memory(error);
    int lane = 0;
    for (size_t i = 0; i < count; i++) {
        int end = steps_to_class(sight, sight->chosen[i], &label);
        if (end < steps)
            continue;
        for (int t = 0; t < steps; t++)
            fill_row(sight, sight->chosen[i], end - steps + t, input, (size_t)(t * lanes + lane));
        targets[lane++] = label;
    }
    given->window_lanes = lanes;
    given->window = (car_batch){.steps = steps, .reset = true, .input = input, .target = targets};
    return CAR_OK;
}

/* ---- The look -------------------------------------------------------------------------------------------- */

/* Read as in training; the paths of other files are not kept. */
static car_sequences_options reading_of(const car_json *options) {
    const car_json *channels = car_json_member(options, "channels");
    const char *format = cli_inspect_word(options, "format"),
               *layout = cli_inspect_word(options, "layout");
    return (car_sequences_options){
        .format = format ? format : "auto",
        .layout = layout ? layout : "auto",
        .id = cli_inspect_word(options, "id"),
        .step = cli_inspect_word(options, "step"),
        .label = cli_inspect_word(options, "label"),
        .channels = channels && channels->kind == CAR_JSON_NUMBER ? (int)channels->number : 0};
}

static car_status look(const car_classifier *classifier, const car_sequences *set, const char *path,
                       car_arena *arena, inspect_sight *sight, car_error *error) {
    sequence_sight sequences = {.classifier = classifier, .set = set, .arena = arena};
    inspect_batches given = {.lanes = 0};
    if (set->count == 0 || !set->labels)
        return car_fail(error, CAR_DATA, "%.200s: no sequence with a label", path);
    CAR_TRY(choose(&sequences, error));
    CAR_TRY(fill_whole(&sequences, &given, error));
    CAR_TRY(fill_windows(&sequences, &given, error));
    CAR_TRY(prepare_training(&sequences, &sight->record, &given, error));
    sight->from_both_ends = classifier->model->net->bidirectional;
    return cli_inspect_batches(classifier->model, &given, arena, sight, error);
}

car_status cli_inspect_sequences(const char *model, const char *path, car_arena *arena,
                                 car_classifier *classifier, inspect_sight *sight,
                                 car_error *error) {
    car_sequences set = {0};
    CAR_TRY(car_classifier_load(model, NULL, classifier, error));
    *sight =
        (inspect_sight){.reads = CAR_READS_SEQUENCES,
                        .record = cli_inspect_record(classifier->model, "classify.record", arena)};
    car_status status =
        car_classifier_read(classifier, path, reading_of(sight->record.options), NULL, &set, error);
    if (status == CAR_OK)
        status = look(classifier, &set, path, arena, sight, error);
    car_sequences_free(&set);
    return status;
}
