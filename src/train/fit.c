/*
 * The loop. In: a trainer (new, or loaded from a checkpoint), what the task gives (batches, validation), budgets
 * and a schedule. Out: a trained trainer, the best model and the last checkpoint on disk.
 *
 * Where the loop stands is a function of the number of updates alone (car_fit_state), never of the clock: time
 * only decides when checkpoints are written and, once, how many updates --minutes buys:
 *
 *   updates = (minutes - spent - one validation) / (seconds an update + seconds a validation / validate_every)
 *
 * measured over the first updates (20 and 3 s at least) and one trial validation. So a run that was interrupted,
 * even killed, goes on from its last checkpoint to the same bits.
 */
#include "train.h"
#include <math.h>

enum { MEASURED_UPDATES = 20, LOSS_WINDOW = 100 };
static const double measured_seconds_least = 3;

typedef struct loop {
    car_trainer *trainer;
    const car_fit_source *source;
    const car_fit_options *options;
    car_fit_state *state;
    double started, spent_before; /* seconds on the clock; seconds of the runs before this one */
    double saved;                 /* when the last checkpoint was written */
    double update_seconds,
        validation_seconds;         /* this run's updates but the first; latest validation */
    int64_t updates, timed_updates; /* of this run; in update_seconds */
    int64_t timed_tokens;
    double rate, gradient_norm;
} loop;

static double spent(const loop *run) {
    return run->spent_before + car_seconds() - run->started;
}

static int64_t validation_interval(const loop *run) {
    return run->options->validate_every > 0 ? run->options->validate_every
                                            : run->source->updates_per_epoch;
}

/* ---- Telling and saving ------------------------------------------------------------------------------- */

static double seconds_left(const loop *run) {
    const car_fit_state *state = run->state;
    if (state->last_update < 0)
        return fmax(0, run->options->minutes * 60 - spent(run));
    if (run->timed_updates == 0)
        return NAN;
    int64_t updates = state->last_update - state->update;
    int64_t validations = run->source->validate ? updates / validation_interval(run) + 1 : 0;
    return (double)updates * run->update_seconds / (double)run->timed_updates +
           (double)validations * run->validation_seconds;
}

static void tell(const loop *run, bool validated) {
    const car_fit_state *state = run->state;
    if (!run->options->progress)
        return;
    car_fit_progress progress = {
        .update = state->update,
        .last_update = state->last_update,
        .epoch = (double)state->update / (double)state->updates_per_epoch,
        .loss = state->loss,
        .validation = state->validation,
        .best = state->best_validation,
        .rate = run->rate,
        .gradient_norm = run->gradient_norm,
        .clipped = state->clipped,
        .seconds = spent(run),
        .seconds_left = seconds_left(run),
        .tokens_per_second =
            run->update_seconds > 0 ? (double)run->timed_tokens / run->update_seconds : 0,
        .validated = validated};
    run->options->progress(run->options->progress_context, &progress);
}

static car_status save_last(loop *run, car_error *error) {
    run->state->seconds = spent(run);
    if (run->options->last_path)
        CAR_TRY(car_trainer_save(run->trainer, run->options->last_path, error));
    run->saved = car_seconds();
    return CAR_OK;
}

static car_status save_best(loop *run, car_error *error) {
    if (!run->options->best_path)
        return CAR_OK;
    return car_trainer_save_model(run->trainer, run->options->best_path, error);
}

/* ---- Budgets ------------------------------------------------------------------------------------------ */

/* What --epochs and --updates allow; -1: they are not given. */
static int64_t counted_limit(const loop *run) {
    int64_t limit = -1;
    if (run->options->epochs > 0)
        limit = (int64_t)ceil(run->options->epochs * (double)run->source->updates_per_epoch);
    if (run->options->updates > 0 && (limit < 0 || run->options->updates < limit))
        limit = run->options->updates;
    return limit;
}

/* Times a validation without letting its result count. */
static car_status try_validation(loop *run, car_error *error) {
    double loss, begin = car_seconds();
    if (run->source->validate && run->validation_seconds == 0) {
        CAR_TRY(run->source->validate(run->source->context, run->trainer, &loss, error));
        run->validation_seconds = car_seconds() - begin;
    }
    return CAR_OK;
}

/* Turns --minutes into a number of updates as soon as the speed is known. */
static car_status fix_budget(loop *run, car_error *error) {
    car_fit_state *state = run->state;
    int64_t limit = counted_limit(run);
    double budget = run->options->minutes * 60;
    if (state->last_update >= 0)
        return CAR_OK;
    if (budget == 0 || (limit >= 0 && state->update >= limit)) {
        state->last_update = limit;
        return CAR_OK;
    }
    bool measured =
        run->timed_updates >= MEASURED_UPDATES && run->update_seconds >= measured_seconds_least;
    if (!measured && spent(run) < budget)
        return CAR_OK;
    int64_t more = 0;
    if (spent(run) < budget) {
        CAR_TRY(try_validation(run, error));
        double a_validation = run->validation_seconds / (double)validation_interval(run);
        double an_update = run->update_seconds / (double)run->timed_updates;
        double left = budget - spent(run) - run->validation_seconds;
        more = left > 0 ? (int64_t)fmin(left / (an_update + a_validation), 1e15) : 0;
    }
    state->last_update = state->update + more;
    if (limit >= 0 && limit < state->last_update)
        state->last_update = limit;
    return save_last(run, error);
}

static car_status check_options(const car_fit_source *source, const car_fit_options *options,
                                car_error *error) {
    CAR_TRY(car_schedule_check(&options->schedule, error));
    if (!source->batch || source->updates_per_epoch < 1)
        return car_fail(error, CAR_DATA, "fit: the data gives no batch; give more of it");
    if (!(options->minutes >= 0 && options->minutes < 1e9) ||
        !(options->epochs >= 0 && options->epochs < 1e9) || options->updates < 0)
        return car_fail(error, CAR_USAGE, "fit: a budget below 0 or above 1e9; give a smaller one");
    if (options->minutes == 0 && options->epochs == 0 && options->updates == 0)
        return car_fail(error, CAR_USAGE, "fit: no budget; give minutes, epochs or updates");
    if (options->validate_every < 0 || options->patience < 0)
        return car_fail(error, CAR_USAGE, "fit: validate_every and patience must be 0 or more");
    bool watches = options->patience > 0 || options->schedule.kind == CAR_SCHEDULE_PLATEAU;
    if (watches && !source->validate)
        return car_fail(error, CAR_USAGE,
                        "fit: patience and the plateau schedule look at validations; give "
                        "validation data");
    return CAR_OK;
}

/* A new state, or the checkpoint's held against what is asked now. */
static car_status begin_fit(loop *run, car_error *error) {
    car_fit_state *state = run->state;
    const car_fit_options *options = run->options;
    if (state->begun && state->updates_per_epoch != run->source->updates_per_epoch)
        return car_fail(
            error, CAR_DATA,
            "fit: the data makes %lld updates an epoch, the checkpoint's made %lld; resume "
            "with the same data",
            (long long)run->source->updates_per_epoch, (long long)state->updates_per_epoch);
    bool same = state->begun && state->budget_minutes == options->minutes &&
                state->budget_epochs == options->epochs &&
                state->budget_updates == options->updates;
    if (!same) {
        state->finished = state->stopped_early = false;
        state->unimproved = 0;
        state->last_update = -1;
        state->budget_minutes = options->minutes;
        state->budget_epochs = options->epochs;
        state->budget_updates = options->updates;
    }
    state->begun = true;
    state->updates_per_epoch = run->source->updates_per_epoch;
    run->started = run->saved = car_seconds();
    run->spent_before = state->seconds;
    return CAR_OK;
}

/* ---- Validations and updates -------------------------------------------------------------------------- */

static bool validation_is_due(const loop *run) {
    const car_fit_state *state = run->state;
    return run->source->validate && state->update > 0 && state->validated_update != state->update &&
           (state->update % validation_interval(run) == 0 || state->update == state->last_update);
}

static void count_unimproved(loop *run) {
    car_fit_state *state = run->state;
    const car_schedule *schedule = &run->options->schedule;
    state->unimproved++;
    state->plateau_unimproved++;
    if (schedule->kind == CAR_SCHEDULE_PLATEAU &&
        (double)state->plateau_unimproved >= schedule->patience) {
        state->plateau_unimproved = 0;
        state->reductions++;
    }
    if (run->options->patience > 0 && state->unimproved >= run->options->patience)
        state->finished = state->stopped_early = true;
}

static car_status validate(loop *run, car_error *error) {
    car_fit_state *state = run->state;
    double loss, begin = car_seconds();
    CAR_TRY(run->source->validate(run->source->context, run->trainer, &loss, error));
    run->validation_seconds = car_seconds() - begin;
    if (!isfinite(loss))
        return car_fail(error, CAR_DIVERGED,
                        "validation after update %lld: the loss is not finite; lower the learning "
                        "rate or look at the validation data",
                        (long long)state->update);
    state->validation = loss;
    state->validated_update = state->update;
    if (isnan(state->best_validation) || loss < state->best_validation) {
        state->best_validation = loss;
        state->best_update = state->update;
        state->unimproved = state->plateau_unimproved = 0;
        CAR_TRY(save_best(run, error));
    } else {
        count_unimproved(run);
    }
    tell(run, true);
    return save_last(run, error);
}

static car_status update(loop *run, car_error *error) {
    car_fit_state *state = run->state;
    int64_t per_epoch = state->updates_per_epoch;
    int reductions = state->reductions < 10000 ? (int)state->reductions : 10000;
    car_batch batch = {0};
    car_step_result step;
    double begin = car_seconds();
    CAR_TRY(run->source->batch(run->source->context, state->update / per_epoch,
                               state->update % per_epoch, &batch, error));
    run->rate = car_schedule_rate(&run->options->schedule, state->update, per_epoch,
                                  state->last_update, reductions);
    CAR_TRY(car_trainer_step(run->trainer, &batch, (float)run->rate, &step, error));
    state->update++;
    state->clipped += step.clipped;
    state->loss += (step.loss - state->loss) /
                   (double)(state->update < LOSS_WINDOW ? state->update : LOSS_WINDOW);
    run->gradient_norm = step.gradient_norm;
    if (run->updates++ > 0) {
        run->update_seconds += car_seconds() - begin;
        run->timed_updates++;
        run->timed_tokens += step.counted;
    }
    tell(run, false);
    return CAR_OK;
}

static bool checkpoint_is_due(const loop *run) {
    return run->options->last_path && run->options->checkpoint_seconds > 0 &&
           car_seconds() - run->saved >= run->options->checkpoint_seconds;
}

/* Up to the end or the signal. */
static car_status run_loop(loop *run, bool *stopped, car_error *error) {
    car_fit_state *state = run->state;
    while (!state->finished) {
        *stopped = run->options->stop && *run->options->stop;
        if (*stopped)
            break;
        CAR_TRY(fix_budget(run, error));
        if (validation_is_due(run))
            CAR_TRY(validate(run, error));
        if (state->last_update >= 0 && state->update >= state->last_update)
            state->finished = true;
        if (state->finished)
            break;
        if (checkpoint_is_due(run))
            CAR_TRY(save_last(run, error));
        CAR_TRY(update(run, error));
    }
    if (!run->source->validate)
        CAR_TRY(save_best(run, error));
    return save_last(run, error);
}

car_status car_fit(car_trainer *trainer, const car_fit_source *source,
                   const car_fit_options *options, car_fit_result *result, car_error *error) {
    bool stopped = false;
    loop run = {.trainer = trainer, .source = source, .options = options, .state = &trainer->fit};
    CAR_TRY(check_options(source, options, error));
    CAR_TRY(begin_fit(&run, error));
    car_status status = CAR_OK;
    if (!run.state->finished)
        status = run_loop(&run, &stopped, error);
    *result = (car_fit_result){.updates = run.state->update,
                               .clipped = run.state->clipped,
                               .best_validation = run.state->best_validation,
                               .best_update = run.state->best_update,
                               .stopped_by_signal = stopped,
                               .stopped_early = run.state->stopped_early};
    return status;
}
