/*
 * propose.c: which trial comes next.
 *
 * In:  a study. Out: a trial in its queue: with chance `again` a listed cell with new settings, else a mutation of a listed
 *      cell; all as likely each. Settings, seed and what a task must reach are in the row, so that it can be run again.
 *
 * All draws are keyed by the study's seed and the trial's number; what is known decides the rest. So with one worker, which
 * never proposes before the trial before is done, the whole study repeats.
 */
#include "store.h"
#include <math.h>
#include <string.h>

/* A cell that the first filter has dropped may come again, with another setting, so many times in all. */
enum { EARLY_TRIES = 3 };

uint64_t car_propose_seed(const car_search_settings *settings, int64_t number) {
    uint32_t words[4];
    car_random_block((car_random_key){(uint64_t)settings->seed, CAR_RANDOM_MUTATION, 2}, 0,
                     (uint64_t)number, words);
    return ((uint64_t)words[0] << 20) ^ words[1] >> 12;
}

/* ---- Settings ----------------------------------------------------------------------------------------- */

void car_propose_settings(const car_search_settings *settings, int64_t number, int count,
                          bool filtered, const double *least, car_text *text) {
    uint64_t drawn = (uint64_t)number * (CAR_SEARCH_TASKS + 1) * CAR_SEARCH_SETTINGS;
    uint64_t seed = (uint64_t)settings->seed;
    int layers = (int)settings->layers;
    car_text_format(text, "{\"memory\":");
    if (filtered && settings->memory_letters > 0) {
        car_setting_values one = car_setting_draw(seed, drawn++, settings->optimizer, layers);
        car_setting_to_json(&one, text);
    } else {
        car_text_format(text, "null");
    }
    car_text_format(text, ",\"settings\":[");
    for (int task = 0; task < settings->task_count; task++) {
        for (int i = 0; i < count; i++) {
            car_setting_values one = car_setting_draw(seed, drawn++, settings->optimizer, layers);
            car_text_format(text, "%s", i ? "," : task ? ",[" : "[");
            car_setting_to_json(&one, text);
        }
        car_text_format(text, "]");
    }
    car_text_format(text, "],\"least\":[");
    for (int task = 0; task < settings->task_count; task++) {
        car_text_format(text, "%s", task ? "," : "");
        car_text_json_number(text, least ? settings->least * least[task] : 0);
    }
    car_text_format(text, "]}");
}

/* ---- The next trial ----------------------------------------------------------------------------------- */

typedef struct car_proposer {
    const car_study *study;
    const car_study_view *view;
    car_arena *arena;
    int64_t number;
} car_proposer;

static car_status is_known(void *context, const car_cell *cell, bool *known, car_error *error) {
    const car_proposer *work = context;
    const char *key = car_study_key(cell, work->arena);
    if (!key)
        return car_fail(error, CAR_MEMORY, "search: out of memory");
    int at = car_study_find(work->view, key);
    const car_study_cell *found = at >= 0 ? &work->view->cells[at] : NULL;
    *known = found && (found->dropped_early < found->trials || found->trials >= EARLY_TRIES);
    return CAR_OK;
}

static int draw(const car_proposer *work, int place, int count) {
    uint32_t words[4];
    car_random_key key = {(uint64_t)work->study->settings.seed, CAR_RANDOM_MUTATION, 3};
    car_random_block(key, 0, (uint64_t)work->number, words);
    return (int)((uint64_t)words[place] * (uint64_t)count >> 32);
}

/* `cell` NULL: the parent once more. */
static car_status put(const car_proposer *work, const car_cell *parent, const char *parent_key,
                      const car_cell *cell, car_error *error) {
    const car_search_settings *settings = &work->study->settings;
    int64_t number;
    car_text text;
    car_text_start(&text, NULL);
    car_propose_settings(settings, work->number, (int)settings->settings, cell != NULL,
                         cell ? work->view->reference : NULL, &text);
    const car_proposal proposal = {.kind = cell ? "mutation" : "again",
                                   .cell = cell ? cell : parent,
                                   .parent = cell ? parent_key : NULL,
                                   .settings = text.data,
                                   .seed = car_propose_seed(settings, work->number)};
    car_status status = text.failed ? car_fail(error, CAR_MEMORY, "search: out of memory")
                                    : car_queue_put(work->study, &proposal, &number, error);
    car_text_free(&text);
    return status;
}

static car_status propose_from(car_proposer *work, const car_study_cell *chosen, bool again,
                               car_error *error) {
    car_cell *parent, *mutant = NULL;
    CAR_TRY(
        car_cell_compile(chosen->text, strlen(chosen->text), chosen->name, NULL, &parent, error));
    const car_mutant_filter filter = {work, is_known};
    car_status status = again ? CAR_OK
                              : car_mutate(parent, (uint64_t)work->study->settings.seed,
                                           (uint64_t)work->number, &filter, &mutant, error);
    if (status == CAR_OK)
        status = put(work, parent, chosen->key, mutant, error);
    car_cell_free(parent);
    car_cell_free(mutant);
    return status;
}

/* Are the results there that all others are measured by? */
static bool has_reference(const car_study *study, const car_study_view *view) {
    for (int i = 0; i < study->settings.task_count; i++)
        if (!(view->reference[i] > 0))
            return false;
    return view->listed > 0;
}

static car_status propose_on(const car_study *study, const car_study_view *view, int64_t number,
                             car_error *error) {
    const car_search_settings *settings = &study->settings;
    car_proposer work = {study, view, car_arena_create(NULL), number};
    if (!work.arena)
        return car_fail(error, CAR_MEMORY, "search: out of memory");
    int listed = view->listed < settings->list ? view->listed : (int)settings->list;
    bool again = draw(&work, 0, 1 << 30) < (int)(settings->again * (1 << 30));
    const car_study_cell *chosen = &view->cells[view->list[draw(&work, 1, listed)]];
    car_status status = propose_from(&work, chosen, again, error);
    car_arena_free(work.arena);
    return status;
}

/* Why there is nothing to measure by, and no trial that could still bring it. */
static car_status fail_without_reference(const car_study *study, const car_study_view *view,
                                         car_error *error) {
    for (int i = 0; i < view->trial_count; i++) {
        const car_study_trial *trial = &view->trials[i];
        if (strcmp(trial->key, study->reference) == 0 && trial->ended &&
            strcmp(trial->ended, "given up") == 0)
            return car_fail(error, CAR_FAILED,
                            "study %.60s: trial %lld, of the cell that the others are compared "
                            "with, was given up after %d workers had ended within it; begin "
                            "another study, and let a worker finish that trial",
                            study->name, (long long)trial->number, CAR_STUDY_TRIES);
    }
    return car_fail(error, CAR_FAILED,
                    "study %.60s: the cell that the others are compared with has no result above 0 "
                    "on every task; begin one with more --updates or other tasks",
                    study->name);
}

static car_status propose_within(const car_study *study, car_next *next, car_error *error) {
    int64_t trials, open;
    CAR_TRY(car_queue_lock(study, &trials, error));
    CAR_TRY(car_queue_open(study, &open, error));
    *next = open > 0 ? CAR_NEXT_WAIT : CAR_NEXT_END;
    if (trials >= study->settings.trials)
        return CAR_OK;
    car_study_view view;
    CAR_TRY(car_study_look_within(study, &view, error));
    car_status status = CAR_OK;
    if (has_reference(study, &view)) {
        status = propose_on(study, &view, trials + 1, error);
        *next = CAR_NEXT_PUT;
    } else if (open == 0) {
        status = fail_without_reference(study, &view, error);
    }
    car_study_view_free(&view);
    return status;
}

car_status car_propose(const car_study *study, car_next *next, car_error *error) {
    CAR_TRY(car_store_begin(study->store, error));
    return car_store_end(study->store, propose_within(study, next, error), error);
}
