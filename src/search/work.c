/*
 * work.c: a worker: claims a trial, runs it, writes its outcome, and so on until the study ends.
 *
 * In:  a study, a signal's flag. Out: trials done. While a trial runs, its lease is made longer every quarter of its length;
 *      when the lease was lost, the trial is dropped without a word. A signal gives the trial back. While the database is away
 *      the worker waits and tries again; what it has computed meanwhile is written when it is back, if it still counts.
 */
#include "store.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

typedef struct car_worker {
    car_study *study;
    const car_work_options *options;
    char name[400];
    const car_claim *claim;
    double next_beat;
    bool lost; /* the trial at hand is another's by now */
    bool told; /* that the database is away */
    double away_since;
} car_worker;

static bool interrupted(const car_worker *work) {
    return work->options->stop && *work->options->stop != 0;
}

/* ---- A database that is away -------------------------------------------------------------------------- */

static void sleep_for(double seconds) {
    usleep((useconds_t)(seconds * 1e6));
}

/* Is the call to be made again? Waits before it says so. */
static bool try_again(car_worker *work, car_status status, const car_error *error) {
    car_store *store = work->study->store;
    const car_work_options *options = work->options;
    if (status == CAR_OK) {
        work->told = false;
        return false;
    }
    if (!store->away || interrupted(work))
        return false;
    double now = car_seconds();
    if (!work->told) {
        work->told = true;
        work->away_since = now;
        if (options->away)
            options->away(options->context, error->message);
    }
    if (options->patience > 0 && now - work->away_since > options->patience)
        return false;
    sleep_for(0.25);
    car_error ignored;
    car_status reopened = car_store_reopen(store, &ignored);
    (void)reopened; /* the next call finds out */
    return true;
}

/* ---- While a trial runs ------------------------------------------------------------------------------- */

static bool goes_on(void *context) {
    car_worker *work = context;
    double now = car_seconds();
    if (interrupted(work))
        return false;
    if (now >= work->next_beat) {
        bool ours = true;
        car_error ignored;
        car_store *store = work->study->store;
        car_status status =
            car_queue_keep(work->study, work->claim, work->options->lease, &ours, &ignored);
        if (status != CAR_OK && store->away)
            status = car_store_reopen(store, &ignored);
        work->lost = status == CAR_OK && !ours;
        work->next_beat = now + work->options->lease / 4;
    }
    return !work->lost;
}

/* ---- One trial ---------------------------------------------------------------------------------------- */

static car_status finish(car_worker *work, const car_claim *claim, const car_trial_outcome *outcome,
                         bool *counted, car_error *error) {
    car_status status;
    do
        status = car_queue_finish(work->study, claim, outcome, counted, error);
    while (try_again(work, status, error));
    return status;
}

static void give_back(car_worker *work, const car_claim *claim) {
    car_error ignored;
    car_status status = car_queue_return(work->study, claim, &ignored);
    (void)status; /* else its lease runs out */
}

static car_status do_trial(car_worker *work, const car_trial_tasks *tasks, const car_claim *claim,
                           car_error *error) {
    const car_work_options *options = work->options;
    const car_run_tick tick = {work, goes_on};
    car_trial_outcome outcome;
    bool stopped, counted = false;
    work->claim = claim;
    work->lost = false;
    work->next_beat = car_seconds() + options->lease / 4;
    if (options->began)
        options->began(options->context, claim);
    car_status status = car_trial_run(&work->study->settings, tasks, claim->text, claim->proposal,
                                      claim->seed, &tick, &stopped, &outcome, error);
    if (status != CAR_OK || stopped) {
        if (!work->lost)
            give_back(work, claim);
        return status;
    }
    CAR_TRY(finish(work, claim, &outcome, &counted, error));
    if (options->ended)
        options->ended(options->context, claim, &outcome, counted);
    return CAR_OK;
}

/* ---- The loop ----------------------------------------------------------------------------------------- */

/* A claim, or a reason why there is none. */
static car_status next_claim(car_worker *work, bool *got, car_claim *claim, car_next *next,
                             car_error *error) {
    car_status status;
    do {
        *next = CAR_NEXT_PUT;
        status = car_queue_claim(work->study, work->name, work->options->lease, got, claim, error);
        if (status == CAR_OK && !*got)
            status = car_propose(work->study, next, error);
    } while (try_again(work, status, error));
    return status;
}

static car_status work_on(car_worker *work, const car_trial_tasks *tasks, car_error *error) {
    int64_t done = 0, most = work->options->trials;
    while (!interrupted(work) && (most == 0 || done < most)) {
        car_claim claim;
        car_next next;
        bool got;
        CAR_TRY(next_claim(work, &got, &claim, &next, error));
        if (!got && next == CAR_NEXT_END)
            return CAR_OK;
        if (!got && next == CAR_NEXT_WAIT)
            sleep_for(0.2);
        if (!got)
            continue;
        car_status status = do_trial(work, tasks, &claim, error);
        car_claim_free(&claim);
        CAR_TRY(status);
        done++;
    }
    return CAR_OK;
}

car_status car_work(car_study *study, const car_work_options *options, car_error *error) {
    car_trial_tasks tasks;
    car_worker work = {.study = study, .options = options};
    car_worker_name(work.name, sizeof work.name);
    CAR_TRY(car_trial_open(&study->settings, &tasks, error));
    car_status status = work_on(&work, &tasks, error);
    car_trial_close(&tasks);
    return status == CAR_OK || !interrupted(&work) ? status : CAR_OK;
}
