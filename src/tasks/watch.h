/*
 * watch: a trained classifier on streams of rows as they come.
 *
 *   watch.c  a row at a time: state, running means, answers; state as a file
 *
 *   row ──► scaled ──► one step of a session ──► outputs ──► probabilities of the class so far
 *
 * A net with `each` answers for the row itself. `last` answers as if the sequence ended here, `mean` from the mean over
 * the rows so far: the head is linear, so the mean of its outputs is its output for the mean, up to rounding.
 */
#ifndef CAR_WATCH_H
#define CAR_WATCH_H

#include "classify.h"

typedef struct car_watch car_watch;

/* One sequence that goes on. Its numbers live in the watch. */
typedef struct car_watch_stream {
    const char *id;
    int64_t steps;
    float *state; /* [state] */
    double *sums; /* [classes] of the outputs; `mean` */
} car_watch_stream;

/* Borrows the classifier. CAR_USAGE: a net with `bi`, or a tagger, with the reason. */
car_status car_watch_create(const car_classifier *classifier, const car_allocator *allocator,
                            car_watch **watch, car_error *error) CAR_CHECK_RESULT;
void car_watch_free(car_watch *watch); /* NULL is legal */
/* The stream of an id, new or known. CAR_DATA: more than a million. */
car_status car_watch_find(car_watch *watch, const char *id, size_t length,
                          car_watch_stream **stream, car_error *error) CAR_CHECK_RESULT;
void car_watch_restart(car_watch *watch, car_watch_stream *stream); /* a new sequence begins */
/* A row of values [channels], not yet scaled, to probabilities [classes]. No allocation. */
car_status car_watch_step(car_watch *watch, car_watch_stream *stream, const float *values,
                          float *probabilities, car_error *error) CAR_CHECK_RESULT;
int car_watch_stream_count(const car_watch *watch);

/* All streams in one safetensors file. Loading: CAR_MODEL when it is damaged or another model's. */
car_status car_watch_save(const car_watch *watch, const char *path,
                          car_error *error) CAR_CHECK_RESULT;
car_status car_watch_load(car_watch *watch, const char *path, car_error *error) CAR_CHECK_RESULT;

#endif
