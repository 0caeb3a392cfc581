/*
 * watch.c: streams of rows, and a classifier on them.
 *
 * In:  rows of values, each of a stream. Out: probabilities of the classes after every row.
 *
 * One session of one lane serves all streams: the state of the stream whose row comes is put into it, if it is not there.
 */
#include "watch.h"
#include <string.h>

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

void car_watch_digest(car_sha256 *hash, const car_model *model) {
    car_sha256_add(hash, car_model_net(model), strlen(car_model_net(model)));
    if (model->weights)
        car_sha256_add(hash, model->weights, model->weight_floats * sizeof *model->weights);
    else
        car_sha256_add(hash, model->rounded, model->rounded_floats * sizeof *model->rounded);
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
    watch->scaled = car_allocate(watch->allocator, (size_t)car_classifier_inputs(classifier),
                                 2 * sizeof(float));
    watch->outputs = car_allocate(watch->allocator, (size_t)classifier->classes, sizeof(float));
    if (!watch->arena || !watch->scaled || !watch->outputs)
        return car_fail(error, CAR_MEMORY, "no memory to watch");
    car_names_start(&watch->ids, watch->arena, watch->allocator);
    watch->numbers =
        (size_t)classifier->classes + (size_t)(classifier->differences ? classifier->channels : 0);
    car_sha256 hash;
    car_sha256_start(&hash);
    car_watch_digest(&hash, classifier->model);
    car_sha256_finish(&hash, watch->digest);
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
    car_release(watch->allocator, watch->point);
    car_release(watch->allocator, watch->quantiles);
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
    if (watch->session) {
        car_session_reset(watch->session, -1);
        car_session_get_state(watch->session, 0, stream->state);
        watch->present = stream;
    }
    stream->steps = 0;
    memset(stream->numbers, 0, watch->numbers * sizeof *stream->numbers);
}

void car_watch_put_away(const car_watch *watch) {
    if (watch->session && watch->present)
        car_session_get_state(watch->session, 0, watch->present->state);
}

car_status car_watch_find(car_watch *watch, const char *id, size_t length,
                          car_watch_stream **stream, car_error *error) {
    int number = car_names_find(&watch->ids, id, length);
    if (number >= 0) {
        *stream = watch->streams[number];
        return CAR_OK;
    }
    if (watch->ids.count >= CAR_WATCH_STREAM_LIMIT)
        return car_fail(error, CAR_DATA, "more than %d streams; is this the column of ids?",
                        CAR_WATCH_STREAM_LIMIT);
    if (watch->ids.count == watch->capacity)
        CAR_TRY(grow(watch, error));
    car_watch_stream *made = car_arena_allocate(watch->arena, 1, sizeof *made);
    if (!made)
        return no_memory(watch, error);
    made->state = car_arena_allocate(watch->arena, watch->state + 1, sizeof *made->state);
    made->numbers = car_arena_allocate(watch->arena, watch->numbers, sizeof *made->numbers);
    number = made->state && made->numbers ? car_names_add(&watch->ids, id, length) : -1;
    if (number < 0)
        return no_memory(watch, error);
    made->id = watch->ids.names[number];
    watch->streams[number] = made;
    car_watch_put_away(watch);
    car_watch_restart(watch, made);
    *stream = made;
    return CAR_OK;
}

/* The row as the net reads it; it becomes the row before. */
static void scale(const car_watch *watch, car_watch_stream *stream, const float *values) {
    const car_classifier *classifier = watch->classifier;
    double *last = stream->numbers + classifier->classes;
    float *before = watch->scaled + car_classifier_inputs(classifier);
    for (int c = 0; classifier->differences && c < classifier->channels; c++) {
        before[c] = (float)last[c];
        last[c] = (double)values[c];
    }
    car_classifier_scale(classifier, values, stream->steps > 0 ? before : NULL, watch->scaled);
}

car_status car_watch_step(car_watch *watch, car_watch_stream *stream, const float *values,
                          float *probabilities, car_error *error) {
    const car_classifier *classifier = watch->classifier;
    if (watch->present != stream) {
        car_watch_put_away(watch);
        car_session_set_state(watch->session, 0, stream->state);
        watch->present = stream;
    }
    scale(watch, stream, values);
    CAR_TRY(car_session_step(watch->session, watch->scaled, watch->outputs, error));
    stream->steps++;
    bool mean = classifier->model->net->pool == CAR_POOL_MEAN;
    for (int c = 0; c < classifier->classes; c++) {
        stream->numbers[c] += mean ? (double)watch->outputs[c] : 0;
        probabilities[c] =
            mean ? (float)(stream->numbers[c] / (double)stream->steps) : watch->outputs[c];
    }
    car_soften(probabilities, 1, classifier->classes, classifier->temperature);
    return CAR_OK;
}
