/*
 * classify_model.c: a trained classifier.
 *
 * In:  a model file with `classify.model` in its metadata; sequences. Out: outputs of whole sequences or of their steps.
 *
 * Sequences run side by side in batches of about equal work; a lane's outputs do not depend on its neighbours.
 */
#include "classify.h"
#include <math.h>
#include <string.h>

enum { LANES = 64, ROWS_AT_ONCE = 1 << 14, JSON_VALUES = 1 << 22 };

void car_classifier_free(car_classifier *classifier) {
    car_model_free(classifier->model);
    car_arena_free(classifier->arena);
    *classifier = (car_classifier){0};
}

/* ---- metadata ----------------------------------------------------------------------------------------- */

static void add_texts(car_text *text, const char *key, const char *const *texts, int count) {
    car_text_format(text, ",\"%s\":[", key);
    for (int i = 0; i < count; i++) {
        car_text_format(text, "%s", i ? "," : "");
        car_text_json_string(text, texts[i], strlen(texts[i]));
    }
    car_text_format(text, "]");
}

static void add_numbers(car_text *text, const char *key, const float *numbers, int count) {
    car_text_format(text, ",\"%s\":[", key);
    for (int i = 0; i < count; i++)
        car_text_format(text, "%s%.9g", i ? "," : "", (double)numbers[i]);
    car_text_format(text, "]");
}

void car_classifier_to_json(const car_classifier *classifier, car_text *text) {
    car_text_format(text, "{\"each\":%s,\"majority\":%d,\"temperature\":%.17g,\"channels\":%d",
                    classifier->each ? "true" : "false", classifier->majority,
                    classifier->temperature, classifier->channels);
    add_texts(text, "classes", classifier->class_names, classifier->classes);
    if (classifier->channel_names)
        add_texts(text, "names", classifier->channel_names, classifier->channels);
    if (classifier->symbols > 0) {
        add_texts(text, "symbols", classifier->symbol_names, classifier->symbols);
        car_text_format(text, ",\"level\":\"%s\",\"usual\":[", classifier->level);
        for (int s = 0; s < classifier->symbols; s++)
            car_text_format(text, "%s%d", s ? "," : "", (int)classifier->usual[s]);
        car_text_format(text, "]");
    }
    if (classifier->differences)
        car_text_format(text, ",\"differences\":true");
    add_numbers(text, "mean", classifier->mean, car_classifier_inputs(classifier));
    add_numbers(text, "deviation", classifier->deviation, car_classifier_inputs(classifier));
    car_text_format(text, "}");
}

static bool read_whole(const car_json *root, const char *name, double most, int *value) {
    const car_json *number = car_json_member(root, name);
    if (!number || number->kind != CAR_JSON_NUMBER || !number->whole || number->number < 0 ||
        number->number > most)
        return false;
    *value = (int)number->number;
    return true;
}

static const char **read_texts(const car_json *root, const char *name, car_arena *arena,
                               int *count) {
    const car_json *array = car_json_member(root, name);
    if (!array || array->kind != CAR_JSON_ARRAY || array->count < 1)
        return NULL;
    const char **texts = car_arena_allocate(arena, (size_t)array->count, sizeof *texts);
    *count = 0;
    for (const car_json *item = array->first; texts && item; item = item->next) {
        if (item->kind != CAR_JSON_STRING)
            return NULL;
        texts[(*count)++] = item->text;
    }
    return texts;
}

static float *read_numbers(const car_json *root, const char *name, car_arena *arena, int count) {
    const car_json *array = car_json_member(root, name);
    if (!array || array->kind != CAR_JSON_ARRAY || array->count != count)
        return NULL;
    float *numbers = car_arena_allocate(arena, (size_t)count + 1, sizeof *numbers);
    int at = 0;
    for (const car_json *item = array->first; numbers && item; item = item->next) {
        if (item->kind != CAR_JSON_NUMBER || !(fabs(item->number) < 3e38))
            return NULL;
        numbers[at++] = (float)item->number;
    }
    return numbers;
}

/* Of a tagger: symbols, their usual classes, the level. */
static bool read_symbols(const car_json *root, car_classifier *classifier) {
    const car_json *usual = car_json_member(root, "usual"), *level = car_json_member(root, "level");
    if (classifier->channels > 0)
        return true;
    classifier->symbol_names = read_texts(root, "symbols", classifier->arena, &classifier->symbols);
    if (!classifier->symbol_names || classifier->symbols < CAR_FIRST_SYMBOL || !usual ||
        usual->kind != CAR_JSON_ARRAY || usual->count != classifier->symbols || !level ||
        level->kind != CAR_JSON_STRING ||
        (strcmp(level->text, "both") != 0 && strcmp(level->text, "word") != 0 &&
         strcmp(level->text, "char") != 0))
        return false;
    int32_t *classes =
        car_arena_allocate(classifier->arena, (size_t)classifier->symbols, sizeof *classes);
    int at = 0;
    for (const car_json *item = usual->first; classes && item; item = item->next) {
        if (item->kind != CAR_JSON_NUMBER || !item->whole || item->number < 0 ||
            item->number >= classifier->classes)
            return false;
        classes[at++] = (int32_t)item->number;
    }
    classifier->usual = classes;
    classifier->level = level->text;
    return classes != NULL;
}

static bool read_shape(const car_json *root, car_classifier *classifier) {
    const car_json *each = car_json_member(root, "each");
    const car_json *temperature = car_json_member(root, "temperature");
    const car_json *differences = car_json_member(root, "differences"); /* may be missing */
    int names = 0;
    if (!each || each->kind != CAR_JSON_BOOL || !temperature ||
        (differences && differences->kind != CAR_JSON_BOOL) ||
        temperature->kind != CAR_JSON_NUMBER || !(temperature->number > 0) ||
        !(temperature->number < 1e6) ||
        !read_whole(root, "channels", CAR_SEQUENCE_CHANNEL_LIMIT, &classifier->channels))
        return false;
    classifier->each = each->truth;
    classifier->differences = differences && differences->truth;
    classifier->temperature = temperature->number;
    classifier->class_names = read_texts(root, "classes", classifier->arena, &classifier->classes);
    classifier->channel_names = read_texts(root, "names", classifier->arena, &names);
    int inputs = car_classifier_inputs(classifier);
    classifier->mean = read_numbers(root, "mean", classifier->arena, inputs);
    classifier->deviation = read_numbers(root, "deviation", classifier->arena, inputs);
    if (!classifier->class_names || !classifier->mean || !classifier->deviation ||
        (classifier->channel_names && names != classifier->channels) ||
        !read_whole(root, "majority", classifier->classes - 1, &classifier->majority))
        return false;
    for (int c = 0; c < inputs; c++)
        if (!(classifier->deviation[c] > 0))
            return false;
    return read_symbols(root, classifier);
}

static bool net_fits(const car_classifier *classifier) {
    const car_model *model = classifier->model;
    bool embed = model->net->layers[0].kind == CAR_LAYER_EMBED;
    return model->net->head == CAR_HEAD_SOFTMAX && model->output_size == classifier->classes &&
           classifier->each == (model->net->pool == CAR_POOL_EACH) &&
           embed == (classifier->channels == 0) &&
           model->input_size == (embed ? classifier->symbols : car_classifier_inputs(classifier));
}

static car_status read_metadata(const char *path, car_classifier *classifier, car_error *error) {
    const char *json = car_model_metadata(classifier->model, "classify.model");
    const car_json *root = NULL;
    car_error cause;
    classifier->arena = car_arena_create(classifier->allocator);
    if (!classifier->arena)
        return car_fail(error, CAR_MEMORY, "%.200s: no memory", path);
    if (!json)
        return car_fail(error, CAR_MODEL,
                        "%.200s: not a classifier; make one with `carousel classify train`", path);
    car_status status = car_json_parse(json, strlen(json), "classify.model", 3, JSON_VALUES,
                                       classifier->arena, &root, &cause);
    if (status == CAR_MEMORY)
        return car_fail(error, CAR_MEMORY, "%.200s: %.250s", path, cause.message);
    if (status != CAR_OK || !read_shape(root, classifier) || !net_fits(classifier))
        return car_fail(error, CAR_MODEL,
                        "%.200s: what it says about its classes is damaged; train it again", path);
    return CAR_OK;
}

car_status car_classifier_make(car_model *model, const char *origin, const car_allocator *allocator,
                               car_classifier *classifier, car_error *error) {
    *classifier = (car_classifier){.allocator = allocator, .model = model};
    car_status status = read_metadata(origin, classifier, error);
    if (status != CAR_OK)
        car_classifier_free(classifier);
    return status;
}

car_status car_classifier_load(const char *path, const car_allocator *allocator,
                               car_classifier *classifier, car_error *error) {
    car_model *model;
    *classifier = (car_classifier){0};
    CAR_TRY(car_model_load(path, allocator, &model, error));
    return car_classifier_make(model, path, allocator, classifier, error);
}

car_status car_classifier_read(const car_classifier *classifier, const char *path,
                               car_sequences_options options, const car_allocator *allocator,
                               car_sequences *set, car_error *error) {
    car_text columns;
    car_text_start(&columns, allocator);
    for (int i = 0; classifier->channel_names && !options.value && i < classifier->channels; i++)
        car_text_format(&columns, "%s%s", i ? "," : "", classifier->channel_names[i]);
    options.each = classifier->each;
    options.known_classes = classifier->class_names;
    options.known_class_count = classifier->classes;
    options.known_channels = classifier->channels;
    if (columns.length > 0)
        options.value = columns.data;
    options.level = classifier->level;
    options.known_symbols = classifier->symbol_names;
    options.known_symbol_count = classifier->symbols;
    car_status status = columns.failed ? car_fail(error, CAR_MEMORY, "no memory for columns")
                        : classifier->symbols > 0
                            ? car_sequences_read_conll(path, &options, allocator, set, error)
                            : car_sequences_read(path, &options, allocator, set, error);
    car_text_free(&columns);
    return status;
}

/* ---- what the net reads -------------------------------------------------------------------------------- */

int car_classifier_inputs(const car_classifier *classifier) {
    return classifier->channels * (classifier->differences ? 2 : 1);
}

void car_classifier_scale(const car_classifier *classifier, const float *values,
                          const float *before, float *inputs) {
    const float *mean = classifier->mean, *deviation = classifier->deviation;
    int channels = classifier->channels;
    for (int c = 0; c < channels; c++)
        inputs[c] = (values[c] - mean[c]) / deviation[c];
    for (int c = 0, d = channels; classifier->differences && c < channels; c++, d++)
        inputs[d] = ((before ? values[c] - before[c] : 0) - mean[d]) / deviation[d];
}

/* ---- running ------------------------------------------------------------------------------------------ */

typedef struct batch_run {
    const car_classifier *classifier;
    const car_part *part;
    int lanes, longest;
    car_stack *stack;
    void *memory;
    float *values;  /* [longest][lanes][inputs]; text: NULL */
    int32_t *ids;   /* [longest][lanes] */
    int *lengths;   /* [lanes] */
    float *outputs; /* [longest][lanes][classes]; last, mean: [lanes][classes] */
} batch_run;

static int longest_of(const car_part *part) {
    size_t longest = 0;
    for (int i = 0; i < part->count; i++) {
        int index = part->index ? part->index[i] : i;
        size_t steps = part->set->begin[index + 1] - part->set->begin[index];
        longest = steps > longest ? steps : longest;
    }
    return (int)longest;
}

/* Sequences first .. first + lanes - 1 of the part into the lanes. */
static void fill_lanes(const batch_run *run, int first) {
    const car_sequences *set = run->part->set;
    size_t channels = (size_t)set->channels, lanes = (size_t)run->lanes;
    size_t inputs = (size_t)car_classifier_inputs(run->classifier);
    for (int lane = 0; lane < run->lanes; lane++) {
        run->lengths[lane] = 0;
        if (first + lane >= run->part->count)
            continue;
        int index = run->part->index ? run->part->index[first + lane] : first + lane;
        size_t begin = set->begin[index];
        run->lengths[lane] = (int)(set->begin[index + 1] - begin);
        const float *from = set->values + begin * channels;
        for (size_t t = 0; t < (size_t)run->lengths[lane]; t++) {
            size_t row = t * lanes + (size_t)lane;
            if (run->ids)
                run->ids[row] = set->ids[begin + t];
            else
                car_classifier_scale(run->classifier, from + t * channels,
                                     t > 0 ? from + (t - 1) * channels : NULL,
                                     run->values + row * inputs);
        }
        if (run->values)
            run->lengths[lane] =
                car_fill_patch(run->values + (size_t)lane * inputs, run->lengths[lane], (int)inputs,
                               run->classifier->model->net->patch, lanes * inputs);
    }
}

/* The lanes' outputs, sequence by sequence, to `out`; returns where the next go. */
static float *take_outputs(const batch_run *run, float *out) {
    size_t classes = (size_t)run->classifier->classes, lanes = (size_t)run->lanes;
    for (size_t lane = 0; lane < lanes; lane++) {
        size_t steps = (size_t)run->lengths[lane];
        size_t items = run->classifier->each ? steps : steps > 0;
        for (size_t t = 0; t < items; t++, out += classes)
            memcpy(out, run->outputs + (t * lanes + lane) * classes, classes * sizeof *out);
    }
    return out;
}

static car_status make_run(batch_run *run, int threads, car_error *error) {
    const car_classifier *classifier = run->classifier;
    const car_allocator *allocator = classifier->allocator;
    int patch = classifier->model->net->patch;
    run->longest = longest_of(run->part);
    run->longest += (patch - run->longest % patch) % patch;
    run->lanes = run->part->count < LANES ? run->part->count : LANES;
    while (run->lanes > 1 && (size_t)run->lanes * (size_t)run->longest > ROWS_AT_ONCE)
        run->lanes /= 2;
    const car_stack_shape shape = {
        .batch = run->lanes, .steps = run->longest, .threads = car_thread_count(threads)};
    size_t bytes = car_stack_size(classifier->model, &shape);
    size_t rows = (size_t)run->lanes * (size_t)run->longest;
    size_t items = classifier->each ? rows : (size_t)run->lanes;
    run->memory = bytes > 0 ? car_allocate(allocator, bytes, 1) : NULL;
    run->lengths = car_allocate(allocator, (size_t)run->lanes, sizeof *run->lengths);
    run->outputs =
        car_allocate(allocator, items, (size_t)classifier->classes * sizeof *run->outputs);
    if (classifier->channels > 0)
        run->values = car_allocate(allocator, rows,
                                   (size_t)car_classifier_inputs(classifier) * sizeof *run->values);
    else
        run->ids = car_allocate(allocator, rows, sizeof *run->ids);
    if (!run->memory || !run->lengths || !run->outputs || (!run->values && !run->ids))
        return car_fail(error, CAR_MEMORY, "no memory for %d sequences of %d steps", run->lanes,
                        run->longest);
    run->stack = car_stack_place(classifier->model, &shape, run->memory);
    return CAR_OK;
}

car_status car_classifier_run(const car_classifier *classifier, const car_part *part, int threads,
                              float *outputs, car_error *error) {
    batch_run run = {.classifier = classifier, .part = part};
    if (part->count == 0)
        return CAR_OK;
    car_status status = make_run(&run, threads, error);
    for (int first = 0; first < part->count && status == CAR_OK; first += run.lanes) {
        fill_lanes(&run, first);
        car_stack_reset(run.stack, -1);
        const void *input = run.ids ? (const void *)run.ids : run.values;
        status = car_stack_forward(run.stack, run.longest, run.lengths, input, NULL, 0, error);
        if (status == CAR_OK) {
            car_stack_outputs(run.stack, run.outputs);
            outputs = take_outputs(&run, outputs);
        }
    }
    void *const blocks[] = {run.memory, run.lengths, run.outputs, run.values, run.ids};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        car_release(classifier->allocator, blocks[i]);
    return status;
}
