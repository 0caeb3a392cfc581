/*
 * watch_state.c: all streams of a watch as a file.
 *
 * In, out: a safetensors file: in the metadata the ids, how many rows each has had, and a digest of the model; the states of
 * the session and the other numbers (doubles, as their 64 bits). The state of another model is refused.
 */
#include "watch.h"
#include <math.h>
#include <string.h>

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

static void pack(const car_watch *watch, float *states, double *numbers) {
    for (int i = 0; i < watch->ids.count; i++) {
        const car_watch_stream *stream = watch->streams[i];
        memcpy(states + (size_t)i * watch->state, stream->state, watch->state * sizeof *states);
        memcpy(numbers + (size_t)i * watch->numbers, stream->numbers,
               watch->numbers * sizeof *numbers);
    }
}

static car_status write_state(const car_watch *watch, const char *path, const char *json,
                              const float *states, const double *numbers, car_error *error) {
    size_t count = (size_t)watch->ids.count;
    const car_tensor tensors[] = {{.name = "state",
                                   .dtype = CAR_F32,
                                   .rank = 2,
                                   .shape = {count, watch->state},
                                   .data = states,
                                   .bytes = count * watch->state * sizeof *states},
                                  {.name = "numbers",
                                   .dtype = CAR_I64,
                                   .rank = 2,
                                   .shape = {count, watch->numbers},
                                   .data = numbers,
                                   .bytes = count * watch->numbers * sizeof *numbers}};
    car_container_builder *builder;
    CAR_TRY(car_container_builder_create(watch->allocator, &builder, error));
    car_status status = car_container_builder_metadata(builder, "watch.state", json, error);
    for (int i = 0; i < 2 && status == CAR_OK; i++)
        if (tensors[i].bytes > 0)
            status = car_container_builder_tensor(builder, &tensors[i], error);
    if (status == CAR_OK)
        status = car_container_builder_save(builder, path, error);
    car_container_builder_free(builder);
    return status;
}

car_status car_watch_save(const car_watch *watch, const char *path, car_error *error) {
    size_t count = (size_t)watch->ids.count;
    float *states = car_allocate(watch->allocator, count * watch->state + 1, sizeof *states);
    double *numbers = car_allocate(watch->allocator, count * watch->numbers + 1, sizeof *numbers);
    car_text text;
    car_text_start(&text, watch->allocator);
    describe(watch, &text);
    car_watch_put_away(watch);
    if (states && numbers)
        pack(watch, states, numbers);
    car_status status = states && numbers && !text.failed
                            ? write_state(watch, path, text.data, states, numbers, error)
                            : car_fail(error, CAR_MEMORY, "%.200s: no memory to save", path);
    car_text_free(&text);
    car_release(watch->allocator, states);
    car_release(watch->allocator, numbers);
    return status;
}

static car_status damaged(const char *path, car_error *error) {
    return car_fail(error, CAR_MODEL, "%.200s: no state of `carousel watch`, or damaged", path);
}

/* The tensor of that many numbers; *fits false: it is missing or another one. NULL where there are none. */
static const void *numbers_of(const car_container *container, const char *name, car_dtype dtype,
                              size_t bytes, bool *fits) {
    const car_tensor *tensor = car_container_find(container, name);
    if (bytes == 0)
        return NULL;
    if (!tensor || tensor->dtype != dtype || tensor->bytes != bytes) {
        *fits = false;
        return NULL;
    }
    return tensor->data;
}

static bool finite_numbers(const double *numbers, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(numbers[i]))
            return false;
    return true;
}

static car_status take_streams(car_watch *watch, const char *path, const car_json *root,
                               const car_container *container, car_error *error) {
    const car_json *ids = car_json_member(root, "ids"), *steps = car_json_member(root, "steps");
    bool fits = ids && steps && ids->kind == CAR_JSON_ARRAY && steps->kind == CAR_JSON_ARRAY &&
                ids->count == steps->count && ids->count <= CAR_WATCH_STREAM_LIMIT;
    if (!fits)
        return damaged(path, error);
    size_t count = (size_t)ids->count;
    const float *states =
        numbers_of(container, "state", CAR_F32, count * watch->state * sizeof *states, &fits);
    const double *numbers =
        numbers_of(container, "numbers", CAR_I64, count * watch->numbers * sizeof *numbers, &fits);
    if (!fits || (numbers && !finite_numbers(numbers, count * watch->numbers)))
        return damaged(path, error);
    const car_json *id = ids->first, *step = steps->first;
    for (size_t i = 0; i < count; i++, id = id->next, step = step->next) {
        car_watch_stream *stream;
        if (id->kind != CAR_JSON_STRING || step->kind != CAR_JSON_NUMBER || !step->whole ||
            step->number < 0 || car_names_find(&watch->ids, id->text, id->length) >= 0)
            return damaged(path, error);
        CAR_TRY(car_watch_find(watch, id->text, id->length, &stream, error));
        if (states)
            memcpy(stream->state, states + i * watch->state, watch->state * sizeof *states);
        if (numbers)
            memcpy(stream->numbers, numbers + i * watch->numbers, watch->numbers * sizeof *numbers);
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
