/*
 * evaluate.c: a cell with many settings on a task; what counts is the best.
 *
 *   all at once   every setting is trained through its budget
 *   halving       all to a quarter of it; the better half of them to a half; the better half of those to the end
 *                 (successive halving, Jamieson & Talwalkar 2016), counted in updates
 *
 * In:  task, cell, settings, seed. Out: the best on the check set, and its run, whose weights can be tested.
 */
#include "search.h"

typedef struct contestant {
    car_run *run; /* NULL: not begun, or dropped */
    car_task_score check;
    double measure;
    int setting;
} contestant;

typedef struct car_contest {
    car_task *task;
    const car_cell *cell;
    const car_setting_values *settings;
    const car_evaluate_options *options;
    const car_run_tick *tick;
    const car_allocator *allocator;
    contestant *of;          /* [count] those that are still in come first */
    int count, in, diverged; /* diverged, updates: of those that have been dropped */
    int64_t updates;
} car_contest;

static void drop(car_contest *contest, contestant *one) {
    if (!one->run)
        return;
    contest->updates += car_run_updates(one->run);
    contest->diverged += car_run_diverged(one->run);
    car_run_free(one->run);
    one->run = NULL;
}

/* Keeps the better `in` of those that are in, the best first; ties go to the earlier setting. */
static void keep_better(car_contest *contest, int in) {
    for (int i = 1; i < contest->in; i++) {
        contestant moved = contest->of[i];
        int at = i;
        for (; at > 0 && contest->of[at - 1].measure < moved.measure; at--)
            contest->of[at] = contest->of[at - 1];
        contest->of[at] = moved;
    }
    for (int i = in; i < contest->in; i++)
        drop(contest, &contest->of[i]);
    contest->in = in;
}

static car_status begin(const car_contest *contest, contestant *one, car_error *error) {
    car_run_options run = contest->options->run;
    run.seed += (uint64_t)one->setting;
    return car_run_open(contest->task, contest->cell, &contest->settings[one->setting], &run,
                        contest->allocator, &one->run, error);
}

/* All that are in, up to `updates`. `last`: only the best of them is kept, so that one net more is in memory at most. */
static car_status train_all(car_contest *contest, int64_t updates, bool last, bool *stopped,
                            car_error *error) {
    contestant *best = &contest->of[0];
    for (int i = 0; i < contest->in && !*stopped; i++) {
        contestant *one = &contest->of[i];
        if (!one->run)
            CAR_TRY(begin(contest, one, error));
        CAR_TRY(car_run_train(one->run, updates, contest->tick, stopped, error));
        one->measure = 0;
        if (!*stopped && !car_run_diverged(one->run)) {
            CAR_TRY(car_run_judge(one->run, CAR_PROBE_CHECK, contest->tick, stopped, &one->check,
                                  error));
            one->measure = car_task_measure(contest->task, &one->check);
        }
        if (!last || one == best)
            continue;
        bool better = one->measure > best->measure;
        drop(contest, better ? best : one);
        best = better ? one : best;
    }
    return CAR_OK;
}

static car_status hold(car_contest *contest, bool *stopped, car_error *error) {
    int64_t updates = contest->options->run.updates;
    if (contest->options->halving && contest->in > 1) {
        CAR_TRY(train_all(contest, updates / 4, false, stopped, error));
        keep_better(contest, (contest->in + 1) / 2);
        if (!*stopped)
            CAR_TRY(train_all(contest, updates / 2, false, stopped, error));
        keep_better(contest, (contest->in + 1) / 2);
    }
    if (!*stopped)
        CAR_TRY(train_all(contest, updates, true, stopped, error));
    keep_better(contest, 1);
    return CAR_OK;
}

car_status car_evaluate(car_task *task, const car_cell *cell, const car_setting_values *settings,
                        int count, const car_evaluate_options *options, const car_run_tick *tick,
                        const car_allocator *allocator, bool *stopped, car_evaluation *evaluation,
                        car_error *error) {
    car_contest contest = {.task = task,
                           .cell = cell,
                           .settings = settings,
                           .options = options,
                           .tick = tick,
                           .allocator = allocator,
                           .count = count,
                           .in = count};
    *stopped = false;
    *evaluation = (car_evaluation){0};
    contest.of = car_allocate(allocator, (size_t)count, sizeof *contest.of);
    if (!contest.of)
        return car_fail(error, CAR_MEMORY, "%s: no memory for %d runs", task->name, count);
    for (int i = 0; i < count; i++)
        contest.of[i].setting = i;
    car_status status = hold(&contest, stopped, error);
    contestant *best = &contest.of[0];
    if (status == CAR_OK && !*stopped) {
        *evaluation = (car_evaluation){.check = best->check,
                                       .measure = best->measure,
                                       .best = best->setting,
                                       .units = car_run_units(best->run),
                                       .diverged = contest.diverged + car_run_diverged(best->run),
                                       .updates = contest.updates + car_run_updates(best->run),
                                       .run = best->run};
        best->run = NULL;
    }
    for (int i = 0; i < count; i++)
        drop(&contest, &contest.of[i]);
    car_release(allocator, contest.of);
    return status;
}
