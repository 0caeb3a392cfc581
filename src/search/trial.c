/*
 * trial.c: what a trial does.
 *
 *   first filter   `letters` of 26 to be kept and given back, one setting; too few right: ended "memory"
 *   each task      the best of its settings; below what the row asks for: ended there, by the task's name
 *   all passed     ended "finished"
 *
 * In:  a stored row (cell, settings, thresholds, seed), the study's tasks. Out: an outcome; the same row gives the same bits.
 */
#include "store.h"
#include <math.h>
#include <string.h>

car_status car_trial_open(const car_search_settings *settings, car_trial_tasks *tasks,
                          car_error *error) {
    car_task_options options = car_search_task_options(settings);
    char memory[48];
    car_status status = CAR_OK;
    *tasks = (car_trial_tasks){0};
    snprintf(memory, sizeof memory, "memorisation@%lld", (long long)settings->memory_letters);
    if (settings->memory_letters > 0)
        status = car_task_open(memory, &options, NULL, &tasks->memory, error);
    for (int i = 0; i < settings->task_count && status == CAR_OK; i++) {
        status = car_task_open(settings->tasks[i], &options, NULL, &tasks->tasks[i], error);
        tasks->count += status == CAR_OK;
    }
    if (status != CAR_OK)
        car_trial_close(tasks);
    return status;
}

void car_trial_close(car_trial_tasks *tasks) {
    car_task_free(tasks->memory);
    for (int i = 0; i < tasks->count; i++)
        car_task_free(tasks->tasks[i]);
    *tasks = (car_trial_tasks){0};
}

/* ---- The row ------------------------------------------------------------------------------------------ */

typedef struct trial_row {
    bool filtered;
    car_setting_values memory;
    int counts[CAR_SEARCH_TASKS];
    car_setting_values settings[CAR_SEARCH_TASKS][CAR_SEARCH_SETTINGS];
    double least[CAR_SEARCH_TASKS];
} trial_row;

static car_status bad_row(car_error *error) {
    return car_fail(error, CAR_DATA, "a proposal is damaged; restore a copy of the study");
}

static car_status read_settings(const car_json *list, trial_row *row, int task, car_error *error) {
    if (list->kind != CAR_JSON_ARRAY || list->count < 1 || list->count > CAR_SEARCH_SETTINGS)
        return bad_row(error);
    for (const car_json *one = list->first; one; one = one->next)
        CAR_TRY(car_setting_from_json(one, &row->settings[task][row->counts[task]++], error));
    return CAR_OK;
}

static car_status read_members(const car_json *root, int tasks, trial_row *row, car_error *error) {
    const car_json *memory = car_json_member(root, "memory");
    const car_json *settings = car_json_member(root, "settings");
    const car_json *least = car_json_member(root, "least");
    if (!memory || !settings || !least || settings->kind != CAR_JSON_ARRAY ||
        least->kind != CAR_JSON_ARRAY || settings->count != tasks || least->count != tasks)
        return bad_row(error);
    row->filtered = memory->kind == CAR_JSON_OBJECT;
    if (row->filtered)
        CAR_TRY(car_setting_from_json(memory, &row->memory, error));
    const car_json *list = settings->first, *number = least->first;
    for (int i = 0; i < tasks; i++, list = list->next, number = number->next) {
        CAR_TRY(read_settings(list, row, i, error));
        if (number->kind != CAR_JSON_NUMBER)
            return bad_row(error);
        row->least[i] = number->number;
    }
    return CAR_OK;
}

static car_status read_row(const char *proposal, int tasks, trial_row *row, car_error *error) {
    const car_json *root;
    car_arena *arena = car_arena_create(NULL);
    if (!arena)
        return car_fail(error, CAR_MEMORY, "search: out of memory");
    car_status status =
        car_json_parse(proposal, strlen(proposal), "a proposal", 6, 1 << 16, arena, &root, error);
    if (status == CAR_OK)
        status = read_members(root, tasks, row, error);
    car_arena_free(arena);
    return status;
}

/* ---- Running ------------------------------------------------------------------------------------------ */

typedef struct trial_work {
    const car_search_settings *settings;
    const car_cell *cell;
    const trial_row *row;
    const car_run_tick *tick;
    uint64_t seed;
    bool *stopped;
    car_trial_outcome *outcome;
} trial_work;

/* A task's part of the outcome. *measure: what is to be compared. */
static car_status run_task(const trial_work *trial, car_task *task, const char *name,
                           const car_setting_values *settings, int count, int64_t updates,
                           double *measure, car_error *error) {
    const car_evaluate_options options = {.run = {.optimizer = trial->settings->optimizer,
                                                  .weights = trial->settings->weights,
                                                  .updates = updates,
                                                  .seed = trial->seed},
                                          .halving = trial->settings->halving};
    car_trial_outcome *outcome = trial->outcome;
    car_evaluation found;
    *measure = NAN;
    CAR_TRY(car_evaluate(task, trial->cell, settings, count, &options, trial->tick, NULL,
                         trial->stopped, &found, error));
    if (*trial->stopped)
        return CAR_OK;
    car_run_free(found.run);
    *measure = found.measure;
    outcome->updates += found.updates;
    outcome->results[outcome->count++] =
        (car_trial_result){.task = name,
                           .accuracy = car_task_accuracy(&found.check),
                           .nats = car_task_nats(&found.check),
                           .measure = found.measure,
                           .updates = found.updates,
                           .units = found.units,
                           .diverged = found.diverged,
                           .setting = settings[found.best]};
    return CAR_OK;
}

static car_status run_all(const trial_work *trial, const car_trial_tasks *tasks, car_error *error) {
    const car_search_settings *settings = trial->settings;
    const trial_row *row = trial->row;
    double measure = 0;
    if (row->filtered && tasks->memory) {
        CAR_TRY(run_task(trial, tasks->memory, "memory", &row->memory, 1, settings->memory_updates,
                         &measure, error));
        trial->outcome->ended = "memory";
        if (*trial->stopped || !(measure >= settings->memory_least))
            return CAR_OK;
    }
    for (int i = 0; i < tasks->count; i++) {
        CAR_TRY(run_task(trial, tasks->tasks[i], settings->tasks[i], row->settings[i],
                         row->counts[i], settings->updates, &measure, error));
        trial->outcome->ended = settings->tasks[i];
        if (*trial->stopped || !(measure >= row->least[i]))
            return CAR_OK;
    }
    trial->outcome->ended = "finished";
    return CAR_OK;
}

/* What the cell itself is to blame for is a result; memory and files are not. */
static car_status judge_failure(car_status status, car_trial_outcome *outcome,
                                const car_error *error) {
    if (status == CAR_OK || status == CAR_MEMORY || status == CAR_IO)
        return status;
    outcome->ended = "failed";
    snprintf(outcome->message, sizeof outcome->message, "%.255s", error->message);
    return CAR_OK;
}

static car_status run_row(const car_search_settings *settings, const car_trial_tasks *tasks,
                          const char *cell_text, const trial_row *row, uint64_t seed,
                          const car_run_tick *tick, bool *stopped, car_trial_outcome *outcome,
                          car_error *error) {
    car_cell *cell;
    car_error why = {0};
    car_status status =
        car_cell_compile(cell_text, strlen(cell_text), "the trial's cell", NULL, &cell, &why);
    if (status == CAR_OK) {
        const trial_work trial = {settings, cell, row, tick, seed, stopped, outcome};
        status = run_all(&trial, tasks, &why);
        car_cell_free(cell);
    }
    status = judge_failure(status, outcome, &why);
    if (status != CAR_OK && error)
        *error = why;
    return status;
}

car_status car_trial_run(const car_search_settings *settings, const car_trial_tasks *tasks,
                         const char *cell_text, const char *proposal, uint64_t seed,
                         const car_run_tick *tick, bool *stopped, car_trial_outcome *outcome,
                         car_error *error) {
    trial_row *row = car_allocate(NULL, 1, sizeof *row);
    if (!row)
        return car_fail(error, CAR_MEMORY, "search: out of memory");
    double begun = car_seconds();
    *stopped = false;
    *outcome = (car_trial_outcome){0};
    car_status status = read_row(proposal, settings->task_count, row, error);
    if (status == CAR_OK)
        status = run_row(settings, tasks, cell_text, row, seed, tick, stopped, outcome, error);
    outcome->seconds = car_seconds() - begun;
    car_release(NULL, row);
    return status;
}
