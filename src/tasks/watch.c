/*
 * watch.c: a classifier on streams.
 *
 * In:  rows of values, each of a stream. Out: probabilities of the classes after every row; all streams' states as a file.
 *
 * One session of one lane serves all streams: the state of the stream whose row comes is put into it, if it is not there.
 * The state file holds, beside the numbers, a digest of the model's weights: states of another model are refused.
 */
#include "watch.h"
#include <string.h>

enum { STREAM_LIMIT = 1 << 20 };

struct car_watch {
    const car_allocator *allocator;
    const car_classifier *classifier;
    car_model *model; /* a copy whose head answers at every step */
    car_session *session;
    car_arena *arena; /* streams and ids */
    car_names ids;
    car_watch_stream **streams; /* [capacity], by number of the id */
    int capacity;
    const car_watch_stream *present; /* whose state is in the session; NULL: nobody's */
    size_t state;
    float *scaled, *outputs; /* [channels], [classes] */
    char digest[65];
};

/* ---- making ------------------------------------------------------------------------------------------- */

static car_status check(const car_classifier *classifier, car_error *error) {
    if (classifier->symbols > 0)
        return car_fail(error, CAR_USAGE,
                        "a tagger reads whole sentences and cannot be watched; use `tag predict`");
    if (classifier->model->net->bidirectional)
        return car_fail(error, CAR_USAGE,
                        "the net `%.200s` has a `bi` layer: it reads each sequence from its end "
                        "too, which is not there yet; train with --direction forward",
                        car_model_net(classifier->model));
    return CAR_OK;
}

static void digest_weights(const car_model *model, char digest[65]) {
    car_sha256 hash;
    car_sha256_start(&hash);
    car_sha256_add(&hash, car_model_net(model), strlen(car_model_net(model)));
    car_sha256_add(&hash, model->weights, model->weight_floats * sizeof *model->weights);
    car_sha256_finish(&hash, digest);
}

static car_status make(car_watch *watch, car_error *error) {
    const car_classifier *classifier = watch->classifier;
    CAR_TRY(car_model_convert(classifier->model, car_model_precision(classifier->model),
                              watch->allocator, &watch->model, error));
    (void)car_model_attach_native(watch->model, false, NULL);
    watch->model->net->pool = CAR_POOL_EACH;
    CAR_TRY(car_session_create(watch->model, NULL, watch->allocator, &watch->session, error));
    watch->state = car_session_state_size(watch->session);
    watch->arena = car_arena_create(watch->allocator);
    watch->scaled = car_allocate(watch->allocator, (size_t)classifier->channels, sizeof(float));
    watch->outputs = car_allocate(watch->allocator, (size_t)classifier->classes, sizeof(float));
    if (!watch->arena || !watch->scaled || !watch->outputs)
        return car_fail(error, CAR_MEMORY, "no memory to watch");
    car_names_start(&watch->ids, watch->arena, watch->allocator);
    digest_weights(classifier->model, watch->digest);
    return CAR_OK;
}

car_status car_watch_create(const car_classifier *classifier, const car_allocator *allocator,
                            car_watch **watch, car_error *error) {
    *watch = NULL;
    CAR_TRY(check(classifier, error));
    car_watch *made = car_allocate(allocator, 1, sizeof *made);
    if (!made)
        return car_fail(error, CAR_MEMORY, "no memory to watch");
    *made = (car_watch){.allocator = allocator, .classifier = classifier};
    car_status status = make(made, error);
    if (status == CAR_OK)
        *watch = made;
    else
        car_watch_free(made);
    return status;
}

void car_watch_free(car_watch *watch) {
    if (!watch)
        return;
    car_session_free(watch->session);
    car_model_free(watch->model);
    car_names_free(&watch->ids);
    car_arena_free(watch->arena);
    car_release(watch->allocator, watch->streams);
    car_release(watch->allocator, watch->scaled);
    car_release(watch->allocator, watch->outputs);
    car_release(watch->allocator, watch);
}

/* ---- streams ------------------------------------------------------------------------------------------ */

int car_watch_stream_count(const car_watch *watch) {
    return watch->ids.count;
}

static car_status no_memory(const car_watch *watch, car_error *error) {
    return car_fail(error, CAR_MEMORY, "no memory for stream %d", watch->ids.count + 1);
}

static car_status grow(car_watch *watch, car_error *error) {
    int capacity = watch->capacity > 0 ? 2 * watch->capacity : 16;
    car_watch_stream **grown = car_allocate(watch->allocator, (size_t)capacity, sizeof *grown);
    if (!grown)
        return no_memory(watch, error);
    if (watch->capacity > 0)
        memcpy(grown, watch->streams, (size_t)watch->capacity * sizeof(car_watch_stream *));
    car_release(watch->allocator, watch->streams);
    watch->streams = grown;
    watch->capacity = capacity;
    return CAR_OK;
}

void car_watch_restart(car_watch *watch, car_watch_stream *stream) {
    car_session_reset(watch->session, -1);
    car_session_get_state(watch->session, 0, stream->state);
    watch->present = stream;
    stream->steps = 0;
    memset(stream->sums, 0, (size_t)watch->classifier->classes * sizeof *stream->sums);
}

/* Keeps the state of the stream that is in the session. */
static void put_away(const car_watch *watch) {
    if (watch->present)
        car_session_get_state(watch->session, 0, watch->present->state);
}

car_status car_watch_find(car_watch *watch, const char *id, size_t length,
                          car_watch_stream **stream, car_error *error) {
    int number = car_names_find(&watch->ids, id, length);
    if (number >= 0) {
        *stream = watch->streams[number];
        return CAR_OK;
    }
    if (watch->ids.count >= STREAM_LIMIT)
        return car_fail(error, CAR_DATA, "more than %d streams; is this the column of ids?",
                        STREAM_LIMIT);
    if (watch->ids.count == watch->capacity)
        CAR_TRY(grow(watch, error));
    car_watch_stream *made = car_arena_allocate(watch->arena, 1, sizeof *made);
    if (!made)
        return no_memory(watch, error);
    made->state = car_arena_allocate(watch->arena, watch->state + 1, sizeof *made->state);
    made->sums =
        car_arena_allocate(watch->arena, (size_t)watch->classifier->classes, sizeof *made->sums);
    number = made->state && made->sums ? car_names_add(&watch->ids, id, length) : -1;
    if (number < 0)
        return no_memory(watch, error);
    made->id = watch->ids.names[number];
    watch->streams[number] = made;
    put_away(watch);
    car_watch_restart(watch, made);
    *stream = made;
    return CAR_OK;
}

car_status car_watch_step(car_watch *watch, car_watch_stream *stream, const float *values,
                          float *probabilities, car_error *error) {
    const car_classifier *classifier = watch->classifier;
    if (watch->present != stream) {
        put_away(watch);
        car_session_set_state(watch->session, 0, stream->state);
        watch->present = stream;
    }
    for (int c = 0; c < classifier->channels; c++)
        watch->scaled[c] = (values[c] - classifier->mean[c]) / classifier->deviation[c];
    CAR_TRY(car_session_step(watch->session, watch->scaled, watch->outputs, error));
    stream->steps++;
    bool mean = classifier->model->net->pool == CAR_POOL_MEAN;
    for (int c = 0; c < classifier->classes; c++) {
        stream->sums[c] += mean ? (double)watch->outputs[c] : 0;
        probabilities[c] =
            mean ? (float)(stream->sums[c] / (double)stream->steps) : watch->outputs[c];
    }
    car_soften(probabilities, 1, classifier->classes, classifier->temperature);
    return CAR_OK;
}

/* ---- the state as a file ------------------------------------------------------------------------------ */

/* {"model":digest,"ids":[...],"steps":[...]} */
static void describe(const car_watch *watch, car_text *text) {
    car_text_format(text, "{\"model\":\"%s\",\"ids\":[", watch->digest);
    for (int i = 0; i < watch->ids.count; i++) {
        car_text_format(text, "%s", i ? "," : "");
        car_text_json_string(text, watch->streams[i]->id, strlen(watch->streams[i]->id));
    }
    car_text_format(text, "],\"steps\":[");
    for (int i = 0; i < watch->ids.count; i++)
        car_text_format(text, "%s%lld", i ? "," : "", (long long)watch->streams[i]->steps);
    car_text_format(text, "]}");
}

/* Sums are doubles: stored as two floats, the nearest and what is left. */
static void pack(const car_watch *watch, float *states, float *sums) {
    size_t classes = (size_t)watch->classifier->classes;
    for (int i = 0; i < watch->ids.count; i++) {
        const car_watch_stream *stream = watch->streams[i];
        memcpy(states + (size_t)i * watch->state, stream->state, watch->state * sizeof *states);
        for (size_t c = 0; c < classes; c++) {
            float *pair = sums + ((size_t)i * classes + c) * 2;
            pair[0] = (float)stream->sums[c];
            pair[1] = (float)(stream->sums[c] - (double)pair[0]);
        }
    }
}

static car_status write_state(const car_watch *watch, const char *path, const char *json,
                              float *numbers, car_error *error) {
    size_t count = (size_t)watch->ids.count, classes = (size_t)watch->classifier->classes;
    const car_tensor tensors[] = {{.name = "state",
                                   .dtype = CAR_F32,
                                   .rank = 2,
                                   .shape = {count, watch->state},
                                   .data = numbers,
                                   .bytes = count * watch->state * sizeof *numbers},
                                  {.name = "sums",
                                   .dtype = CAR_F32,
                                   .rank = 3,
                                   .shape = {count, classes, 2},
                                   .data = numbers + count * watch->state,
                                   .bytes = count * classes * 2 * sizeof *numbers}};
    car_container_builder *builder;
    CAR_TRY(car_container_builder_create(watch->allocator, &builder, error));
    car_status status = car_container_builder_metadata(builder, "watch.state", json, error);
    for (int i = 0; i < 2 && status == CAR_OK; i++)
        status = car_container_builder_tensor(builder, &tensors[i], error);
    if (status == CAR_OK)
        status = car_container_builder_save(builder, path, error);
    car_container_builder_free(builder);
    return status;
}

car_status car_watch_save(const car_watch *watch, const char *path, car_error *error) {
    size_t count = (size_t)watch->ids.count;
    size_t row = watch->state + 2 * (size_t)watch->classifier->classes;
    float *numbers = car_allocate(watch->allocator, count * row + 1, sizeof *numbers);
    car_text text;
    car_text_start(&text, watch->allocator);
    describe(watch, &text);
    put_away(watch);
    if (numbers)
        pack(watch, numbers, numbers + count * watch->state);
    car_status status = numbers && !text.failed
                            ? write_state(watch, path, text.data, numbers, error)
                            : car_fail(error, CAR_MEMORY, "%.200s: no memory to save", path);
    car_text_free(&text);
    car_release(watch->allocator, numbers);
    return status;
}

static car_status damaged(const char *path, car_error *error) {
    return car_fail(error, CAR_MODEL, "%.200s: no state of `carousel watch`, or damaged", path);
}

static car_status take_streams(car_watch *watch, const char *path, const car_json *root,
                               const car_container *container, car_error *error) {
    const car_json *ids = car_json_member(root, "ids"), *steps = car_json_member(root, "steps");
    const car_tensor *state = car_container_find(container, "state");
    const car_tensor *sums = car_container_find(container, "sums");
    size_t classes = (size_t)watch->classifier->classes;
    if (!ids || !steps || ids->kind != CAR_JSON_ARRAY || steps->kind != CAR_JSON_ARRAY ||
        ids->count != steps->count || ids->count > STREAM_LIMIT || !state || !sums)
        return damaged(path, error);
    size_t count = (size_t)ids->count;
    if (state->dtype != CAR_F32 || sums->dtype != CAR_F32 ||
        state->bytes != count * watch->state * sizeof(float) ||
        sums->bytes != count * classes * 2 * sizeof(float))
        return damaged(path, error);
    const float *states = state->data, *pairs = sums->data;
    const car_json *id = ids->first, *step = steps->first;
    for (size_t i = 0; i < count; i++, id = id->next, step = step->next) {
        car_watch_stream *stream;
        if (id->kind != CAR_JSON_STRING || step->kind != CAR_JSON_NUMBER || !step->whole ||
            step->number < 0 || car_names_find(&watch->ids, id->text, id->length) >= 0)
            return damaged(path, error);
        CAR_TRY(car_watch_find(watch, id->text, id->length, &stream, error));
        memcpy(stream->state, states + i * watch->state, watch->state * sizeof *states);
        for (size_t c = 0; c < classes; c++)
            stream->sums[c] =
                (double)pairs[(i * classes + c) * 2] + (double)pairs[(i * classes + c) * 2 + 1];
        stream->steps = (int64_t)step->number;
        watch->present = NULL;
    }
    return CAR_OK;
}

car_status car_watch_load(car_watch *watch, const char *path, car_error *error) {
    car_container *container;
    const car_json *root = NULL, *model = NULL;
    car_error cause;
    CAR_TRY(car_container_load(path, watch->allocator, &container, error));
    const char *json = car_container_metadata(container, "watch.state");
    car_status status = CAR_OK;
    if (!json || car_json_parse(json, strlen(json), "watch.state", 3, 1 << 22, watch->arena, &root,
                                &cause) != CAR_OK)
        status = damaged(path, error);
    else if (!(model = car_json_member(root, "model")) || model->kind != CAR_JSON_STRING)
        status = damaged(path, error);
    else if (strcmp(model->text, watch->digest) != 0)
        status = car_fail(error, CAR_MODEL, "%.200s: the state of another model", path);
    if (status == CAR_OK)
        status = take_streams(watch, path, root, container, error);
    car_container_free(container);
    return status;
}
