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
    car_run *run;
    car_task_score check;
    double measure;
    int setting;
} contestant;

typedef struct car_contest {
    car_task *task;
    const car_run_tick *tick;
    contestant
        *of; /* [count] those that are still in come first, the best at the front once judged */
    int count, in;
} car_contest;

/* Keeps the better `in` of those that are in, in their order; ties go to the earlier setting. */
static void keep_better(car_contest *contest, int in) {
    for (int i = 1; i < contest->in; i++) {
        contestant moved = contest->of[i];
        int at = i;
        for (; at > 0 && contest->of[at - 1].measure < moved.measure; at--)
            contest->of[at] = contest->of[at - 1];
        contest->of[at] = moved;
    }
    contest->in = in;
}

static car_status train_all(car_contest *contest, int64_t updates, bool *stopped,
                            car_error *error) {
    for (int i = 0; i < contest->in && !*stopped; i++) {
        contestant *one = &contest->of[i];
        CAR_TRY(car_run_train(one->run, updates, contest->tick, stopped, error));
        if (*stopped || car_run_diverged(one->run)) {
            one->measure = 0;
            continue;
        }
        CAR_TRY(
            car_run_judge(one->run, CAR_PROBE_CHECK, contest->tick, stopped, &one->check, error));
        one->measure = car_task_measure(contest->task, &one->check);
    }
    return CAR_OK;
}

static car_status hold(car_contest *contest, const car_evaluate_options *options, bool *stopped,
                       car_error *error) {
    int64_t updates = options->run.updates;
    if (options->halving && contest->in > 1) {
        CAR_TRY(train_all(contest, updates / 4, stopped, error));
        keep_better(contest, (contest->in + 1) / 2);
        if (!*stopped)
            CAR_TRY(train_all(contest, updates / 2, stopped, error));
        keep_better(contest, (contest->in + 1) / 2);
    }
    if (!*stopped)
        CAR_TRY(train_all(contest, updates, stopped, error));
    keep_better(contest, 1);
    return CAR_OK;
}

static car_status enter_all(car_contest *contest, const car_cell *cell,
                            const car_setting_values *settings, const car_evaluate_options *options,
                            const car_allocator *allocator, car_error *error) {
    for (int i = 0; i < contest->count; i++) {
        car_run_options run = options->run;
        run.seed += (uint64_t)i;
        contest->of[i].setting = i;
        CAR_TRY(car_run_open(contest->task, cell, &settings[i], &run, allocator,
                             &contest->of[i].run, error));
    }
    return CAR_OK;
}

car_status car_evaluate(car_task *task, const car_cell *cell, const car_setting_values *settings,
                        int count, const car_evaluate_options *options, const car_run_tick *tick,
                        const car_allocator *allocator, bool *stopped, car_evaluation *evaluation,
                        car_error *error) {
    car_contest contest = {.task = task, .tick = tick, .count = count, .in = count};
    *stopped = false;
    *evaluation = (car_evaluation){0};
    contest.of = car_allocate(allocator, (size_t)count, sizeof *contest.of);
    if (!contest.of)
        return car_fail(error, CAR_MEMORY, "%s: no memory for %d runs", task->name, count);
    car_status status = enter_all(&contest, cell, settings, options, allocator, error);
    if (status == CAR_OK)
        status = hold(&contest, options, stopped, error);
    const contestant *best = &contest.of[0];
    bool known = status == CAR_OK && !*stopped;
    if (known)
        *evaluation = (car_evaluation){.check = best->check,
                                       .measure = best->measure,
                                       .best = best->setting,
                                       .units = car_run_units(best->run),
                                       .run = best->run};
    for (int i = 0; i < count; i++) {
        car_run *run = contest.of[i].run;
        if (run && known) {
            evaluation->updates += car_run_updates(run);
            evaluation->diverged += car_run_diverged(run);
        }
        if (i > 0 || !known)
            car_run_free(run);
    }
    car_release(allocator, contest.of);
    return status;
}
