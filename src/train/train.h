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
    CAR_SCHEDULE_STEP, /* Zaremba et al. 2014: rate * factor^max(0, epoch - after), epochs from 1 */
    CAR_SCHEDULE_PLATEAU, /* rate *= factor when validation has not improved for `patience` validations */
    CAR_SCHEDULE_COSINE /* down to `final` * rate at the last update (Loshchilov & Hutter 2017) */
} car_schedule_kind;
typedef struct car_schedule {
    car_schedule_kind kind;
    double rate, factor, after, patience, final;
    int64_t warmup; /* updates of linear warm-up, before and on top of the kind */
} car_schedule;
/* CAR_USAGE names the field that is out of range. */
car_status car_schedule_check(const car_schedule *schedule, car_error *error) CAR_CHECK_RESULT;
/* The rate of update `update` (from 0); `last_update`: how many updates there will be, -1: not known yet (cosine
 * stays at `rate`); `reductions`: how often the plateau has struck. The warm-up factor min(1, (update+1)/warmup)
 * multiplies every kind; the cosine begins where the warm-up ends. */
double car_schedule_rate(const car_schedule *schedule, int64_t update, int64_t updates_per_epoch,
                         int64_t last_update, int reductions);

/* What a task gives the loop. */
typedef struct car_fit_source {
    void *context;
    int64_t updates_per_epoch;
    /* The batch of an update (0 .. updates_per_epoch-1 within epoch); a pure function of its arguments. */
    car_status (*batch)(void *context, int64_t epoch, int64_t index, car_batch *batch,
                        car_error *error);
    /* Validation with the trainer's present weights: mean loss in nats. NULL: no validation. */
    car_status (*validate)(void *context, car_trainer *trainer, double *loss, car_error *error);
} car_fit_source;

typedef struct car_fit_progress {
    int64_t update, last_update; /* last_update: -1 until the budget is fixed */
    double epoch;
    double loss;             /* running mean of the training loss, nats */
    double validation, best; /* NaN: none yet */
    double rate, gradient_norm;
    int64_t clipped; /* updates clipped so far */
    double seconds, seconds_left, tokens_per_second;
    bool validated; /* a validation has just been made */
} car_fit_progress;

typedef struct car_fit_options {
    double minutes;  /* 0: no time budget; includes validations */
    double epochs;   /* 0: no epoch budget */
    int64_t updates; /* 0: none; the smallest of the three wins; one at least must be given */
    car_schedule schedule;
    int64_t validate_every; /* updates; 0: every epoch */
    int patience;           /* validations without improvement before stopping; 0: never */
    const char
        *best_path; /* model with the best validation loss (or the last, without validation) */
    const char *last_path; /* checkpoint for --resume; NULL: none */
    double
        checkpoint_seconds; /* how often the last checkpoint is written; 0: at validations only */
    const volatile sig_atomic_t
        *stop; /* set by a signal handler: finish the update, save, return */
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
 * of the checkpoint: a resumed run goes on bit for bit. Budgets that differ from the checkpoint's are fixed anew.
 * CAR_DIVERGED: neither file is touched. CAR_DATA: source->updates_per_epoch is not the checkpoint's. */
car_status car_fit(car_trainer *trainer, const car_fit_source *source,
                   const car_fit_options *options, car_fit_result *result,
                   car_error *error) CAR_CHECK_RESULT;

/* Where car_fit stands; saved and loaded with the trainer. */
typedef struct car_fit_state {
    bool begun, finished, stopped_early;
    int64_t updates_per_epoch;
    double budget_minutes, budget_epochs; /* the budgets that last_update was fixed from */
    int64_t budget_updates;
    int64_t update, last_update;        /* last_update: -1 until fixed */
    int64_t validated_update;           /* of the last validation; -1: none */
    double best_validation, validation; /* NaN: none */
    int64_t best_update;
    int64_t unimproved;         /* validations in a row without improvement, for patience */
    int64_t plateau_unimproved; /* the same since the last reduction */
    int64_t reductions;
    int64_t clipped;
    double loss;    /* running mean over the last 100 updates or so */
    double seconds; /* spent before this run */
} car_fit_state;

/* ---- Inside the room ---------------------------------------------------------------------------------- */

/* Floats that threads share out at a time: a multiple of 16, whatever the number of threads. */
enum { CAR_UPDATE_CHUNK = 16384 };

struct car_trainer {
    const car_allocator *allocator;
    struct car_model *model;     /* own copy */
    car_trainer_options options; /* defaults filled in; `optimizer` is a static text */
    car_optimizer_kind optimizer;
    int threads;
    car_shards *shards;     /* [steps][batch] */
    car_shards *evaluation; /* the same without backward, with a state of its own */
    float *gradient;        /* [weight_floats], packed, as `first` and `second` */
    float *first, *second;  /* moments; NULL where the optimizer has none */
    float *state;           /* [batch][state floats]: start state before a batch with `reset` */
    double *chunk_sums;     /* [chunks] */
    size_t weight_floats, state_floats;
    int chunks;
    int64_t updates;
    uint64_t time;      /* steps seen: the dropout's absolute time */
    double weight_norm; /* of the present weights */
    bool wary;          /* an update came near the limit of float: later ones are made on trial */
    car_fit_state fit;
};

/* Keeps `key` with the model and so in checkpoints and model files (the command line of the run, vocabulary). */
car_status car_trainer_set_metadata(car_trainer *trainer, const char *key, const char *value,
                                    car_error *error) CAR_CHECK_RESULT;
/* Makes a trainer around a model that it takes over (freed on failure too). */
car_status car_trainer_adopt(struct car_model *model, const car_trainer_options *options,
                             const car_allocator *allocator, car_trainer **trainer,
                             car_error *error) CAR_CHECK_RESULT;
/* car_model_save of the present weights; between updates the gradient's memory serves for it. */
car_status car_trainer_save_model(const car_trainer *trainer, const char *path,
                                  car_error *error) CAR_CHECK_RESULT;
car_random_key car_trainer_dropout_key(const car_trainer *trainer);
/* Returns CAR_DIVERGED with a message that names layer, gate and time step. To be called after a step whose loss
 * or gradient norm is not finite, while the shards' start state and the gradient are still that step's. */
car_status car_diverged_explain(const car_trainer *trainer, const car_batch *batch, double loss,
                                car_error *error);
/* Returns CAR_DIVERGED and names the tensor that an update has driven out of float's range. */
car_status car_diverged_weights(const car_trainer *trainer, float rate, car_error *error);

#endif
