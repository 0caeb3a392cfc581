/*
 * watch: a trained classifier or forecasting model on streams of rows as they come.
 *
 *   watch.c           streams; a classifier's answer to a row
 *   watch_forecast.c  a forecasting model's: the values to come, and how far this one was from what was expected
 *   watch_state.c     all streams as a file
 *
 *   row ──► scaled ──► one step of a session ──► outputs ──► probabilities of the class so far
 *   value ──► the last `context` values ──► window ──► net ──► points and quantiles
 *
 * A net with `each` answers for the row itself. `last` answers as if the sequence ended here, `mean` from the mean over
 * the rows so far: the head is linear, so the mean of its outputs is its output for the mean, up to rounding.
 */
#ifndef CAR_WATCH_H
#define CAR_WATCH_H

#include "classify.h"
#include "forecast.h"

typedef struct car_watch car_watch;

/* One sequence that goes on. Its numbers live in the watch. */
typedef struct car_watch_stream {
    const char *id;
    int64_t steps;
    float *state;    /* [state] of the session */
    double *numbers; /* [numbers] classifier: sums of the outputs, the last values; forecast: see watch_forecast.c */
} car_watch_stream;

/* Borrows the classifier. CAR_USAGE: a net with `bi`, or a tagger, with the reason. */
car_status car_watch_create(const car_classifier *classifier, const car_allocator *allocator,
                            car_watch **watch, car_error *error) CAR_CHECK_RESULT;
void car_watch_free(car_watch *watch); /* NULL is legal */
/* The stream of an id, new or known. CAR_DATA: more than a million. */
car_status car_watch_find(car_watch *watch, const char *id, size_t length,
                          car_watch_stream **stream, car_error *error) CAR_CHECK_RESULT;
void car_watch_restart(car_watch *watch, car_watch_stream *stream); /* a new sequence begins */
/* Borrows the forecasting model; values one at a time then. */
car_status car_watch_create_forecast(const car_forecast *forecast, const car_allocator *allocator,
                                     car_watch **watch, car_error *error) CAR_CHECK_RESULT;
/* A row of values [channels], not yet scaled, to probabilities [classes]. No allocation. */
car_status car_watch_step(car_watch *watch, car_watch_stream *stream, const float *values,
                          float *probabilities, car_error *error) CAR_CHECK_RESULT;
int car_watch_stream_count(const car_watch *watch);

/* ---- watch_forecast.c --------------------------------------------------------------------------------- */

typedef struct car_watch_answer {
    bool expected;           /* the value before was enough for a forecast of this one */
    double median, residual; /* value - median */
    double
        score; /* |residual| in halves of the interval between the outer quantiles; NaN: it has none */
    bool outside;            /* of that interval */
    bool ready;              /* there are values enough for a forecast of those to come: */
    const double *point;     /* [horizon] */
    const double *quantiles; /* [horizon][levels] */
} car_watch_answer;
/* The next value of a stream. CAR_DATA: a value that has no logarithm, where the model works on those. */
car_status car_watch_value(car_watch *watch, car_watch_stream *stream, double value,
                           car_watch_answer *answer, car_error *error) CAR_CHECK_RESULT;

/* ---- watch_state.c ------------------------------------------------------------------------------------ */

/* All streams in one safetensors file. Loading: CAR_MODEL when it is damaged or another model's. */
car_status car_watch_save(const car_watch *watch, const char *path,
                          car_error *error) CAR_CHECK_RESULT;
car_status car_watch_load(car_watch *watch, const char *path, car_error *error) CAR_CHECK_RESULT;

/* ---- Inside the room ---------------------------------------------------------------------------------- */

enum { CAR_WATCH_STREAM_LIMIT = 1 << 20 };

struct car_watch {
    const car_allocator *allocator;
    const car_classifier *classifier; /* or */
    const car_forecast *forecast;
    car_model *model;     /* a copy of the classifier's whose head answers at every step */
    car_session *session; /* of one lane, for all streams */
    car_arena *arena;     /* streams and ids */
    car_names ids;
    car_watch_stream **streams; /* [capacity], by number of the id */
    int capacity;
    const car_watch_stream *present; /* whose state is in the session; NULL: nobody's */
    size_t state, numbers;           /* of a stream */
    float *scaled, *outputs; /* [inputs] and the row before, [classes] */
    double *point, *quantiles;       /* [horizon], [horizon][levels] */
    size_t keep;                     /* values that a forecast's stream holds */
    char digest[65];                 /* of the model */
};
/* Adds a model to a digest: a state belongs to one model. */
void car_watch_digest(car_sha256 *hash, const car_model *model);
/* Keeps the state of the stream that is in the session. */
void car_watch_put_away(const car_watch *watch);

#endif
