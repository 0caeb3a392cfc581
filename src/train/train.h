/*
 * train: updates, their clock, and checkpoints. Stands on network.
 *
 *   trainer.c    one update: forward, loss, backward, norm, clip, optimizer; evaluation
 *   diverged.c   finds the first value that is not finite: layer, gate, time step (by plan taps)
 *   schedule.c   the learning rate at an update: constant, step, plateau, cosine, warm-up
 *   checkpoint.c trainer <-> safetensors, bit for bit
 *   fit.c        the loop: epochs, validation, early stop, budgets, best and last checkpoint, signals
 *
 * The clock counts updates, never seconds: --minutes is turned into a number of updates once, after a
 * measured warm-up, and stored.
 */
#ifndef CAR_TRAIN_H
#define CAR_TRAIN_H

#include "network.h"
#include <signal.h>

typedef enum car_schedule_kind {
    CAR_SCHEDULE_CONSTANT,
    CAR_SCHEDULE_STEP,    /* Zaremba et al. 2014: rate * factor^max(0, epoch - after), epochs from 1 */
    CAR_SCHEDULE_PLATEAU, /* rate *= factor when validation has not improved for `patience` validations */
    CAR_SCHEDULE_COSINE   /* down to `final` * rate at the last update (Loshchilov & Hutter 2017) */
} car_schedule_kind;
typedef struct car_schedule {
    car_schedule_kind kind;
    double rate, factor, after, patience, final;
    int64_t warmup; /* updates of linear warm-up, before and on top of the kind */
} car_schedule;
/* The rate of update `update` (from 0); `reductions`: how often the plateau has struck. */
double car_schedule_rate(const car_schedule *schedule, int64_t update, int64_t updates_per_epoch,
                         int64_t last_update, int reductions);

/* What a task gives the loop. */
typedef struct car_fit_source {
    void *context;
    int64_t updates_per_epoch;
    /* The batch of an update (0 .. updates_per_epoch-1 within epoch); a pure function of its arguments. */
    car_status (*batch)(void *context, int64_t epoch, int64_t index, car_batch *batch, car_error *error);
    /* Validation with the trainer's present weights: mean loss in nats. NULL: no validation. */
    car_status (*validate)(void *context, car_trainer *trainer, double *loss, car_error *error);
} car_fit_source;

typedef struct car_fit_progress {
    int64_t update, last_update; /* last_update: -1 until the budget is fixed */
    double epoch;
    double loss;            /* running mean of the training loss, nats */
    double validation, best; /* NaN: none yet */
    double rate, gradient_norm;
    int64_t clipped;        /* updates clipped so far */
    double seconds, seconds_left, tokens_per_second;
    bool validated;         /* a validation has just been made */
} car_fit_progress;

typedef struct car_fit_options {
    double minutes;  /* 0: no time budget */
    double epochs;   /* 0: no epoch budget */
    int64_t updates; /* 0: none; the smallest of the three wins */
    car_schedule schedule;
    int64_t validate_every; /* updates; 0: every epoch */
    int patience;           /* validations without improvement before stopping; 0: never */
    const char *best_path;  /* model with the best validation loss (or the last, without validation) */
    const char *last_path;  /* checkpoint for --resume; NULL: none */
    double checkpoint_seconds; /* how often the last checkpoint is written; 0: at validations only */
    const volatile sig_atomic_t *stop; /* set by a signal handler: finish the update, save, return */
    void (*progress)(void *context, const car_fit_progress *progress);
    void *progress_context;
} car_fit_options;

typedef struct car_fit_result {
    int64_t updates, clipped;
    double best_validation; /* NaN: none */
    int64_t best_update;
    bool stopped_by_signal, stopped_early;
} car_fit_result;

/* Trains until a budget, early stop or signal. Fit state (best, patience, plateau, the budget in updates) is part
 * of the checkpoint: a resumed run goes on bit for bit. */
car_status car_fit(car_trainer *trainer, const car_fit_source *source, const car_fit_options *options,
                   car_fit_result *result, car_error *error) CAR_CHECK_RESULT;

#endif
