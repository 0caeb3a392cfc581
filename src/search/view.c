/*
 * view.c: all that is known of a study, read at once.
 *
 * In:  a study. Out: its cells with their best results and scores, trials, results; the list.
 */
#include "store.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static car_status no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY, "search: no memory for what is known of the study");
}

static const char *keep(car_study_view *view, const car_rows_read *rows, int row, int column,
                        bool *memory) {
    const char *text = car_row_text(rows, row, column);
    const char *kept = text ? car_arena_copy(view->arena, text, strlen(text)) : NULL;
    *memory = *memory && (!text || kept);
    return kept;
}

/* A value that is never missing in a database of ours. */
static const char *keep_text(car_study_view *view, const car_rows_read *rows, int row, int column,
                             bool *memory) {
    const char *kept = keep(view, rows, row, column, memory);
    return kept ? kept : "";
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

static car_status take_cells(const car_rows_read *rows, car_study_view *view, car_error *error) {
    bool memory = true;
    view->cell_count = rows->count;
    view->cells = car_arena_allocate(view->arena, (size_t)rows->count + 1, sizeof *view->cells);
    view->list = car_arena_allocate(view->arena, (size_t)rows->count + 1, sizeof *view->list);
    if (!view->cells || !view->list)
        return no_memory(error);
    for (int i = 0; i < rows->count; i++) {
        car_study_cell *cell = &view->cells[i];
        *cell = (car_study_cell){.key = keep_text(view, rows, i, 0, &memory),
                                 .name = keep_text(view, rows, i, 1, &memory),
                                 .text = keep_text(view, rows, i, 2, &memory),
                                 .parent = keep(view, rows, i, 3, &memory),
                                 .first = car_row_whole(rows, i, 4),
                                 .score = NAN};
        for (int t = 0; t < CAR_SEARCH_TASKS; t++)
            cell->best[t] = cell->accuracy[t] = cell->nats[t] = cell->ratio[t] = NAN;
    }
    return memory ? CAR_OK : no_memory(error);
}

typedef struct key_place {
    const char *key;
    int cell;
} key_place;

static int compare_keys(const void *a, const void *b) {
    return strcmp(((const key_place *)a)->key, ((const key_place *)b)->key);
}

static car_status take_trials(const car_rows_read *rows, car_study_view *view, car_error *error) {
    bool memory = true;
    view->trial_count = rows->count;
    view->trials = car_arena_allocate(view->arena, (size_t)rows->count + 1, sizeof *view->trials);
    key_place *places =
        car_arena_allocate(view->arena, (size_t)view->cell_count + 1, sizeof *places);
    if (!view->trials || !places)
        return no_memory(error);
    for (int i = 0; i < view->cell_count; i++)
        places[i] = (key_place){view->cells[i].key, i};
    qsort(places, (size_t)view->cell_count, sizeof *places, compare_keys);
    for (int i = 0; i < rows->count && memory; i++) {
        car_study_trial *trial = &view->trials[i];
        *trial = (car_study_trial){.number = car_row_whole(rows, i, 0),
                                   .key = keep_text(view, rows, i, 1, &memory),
                                   .kind = keep_text(view, rows, i, 2, &memory),
                                   .proposal = keep_text(view, rows, i, 3, &memory),
                                   .seed = car_row_whole(rows, i, 4),
                                   .state = keep_text(view, rows, i, 5, &memory),
                                   .worker = keep(view, rows, i, 6, &memory),
                                   .fence = car_row_whole(rows, i, 7),
                                   .tries = car_row_whole(rows, i, 8),
                                   .lease = car_row_number(rows, i, 9),
                                   .ended = keep(view, rows, i, 10, &memory),
                                   .message = keep(view, rows, i, 11, &memory),
                                   .updates = car_row_whole(rows, i, 12),
                                   .seconds = car_row_number(rows, i, 13),
                                   .finished = car_row_number(rows, i, 14),
                                   .score = NAN};
        if (!memory)
            break;
        const key_place wanted = {trial->key, 0};
        const key_place *place =
            bsearch(&wanted, places, (size_t)view->cell_count, sizeof *places, compare_keys);
        if (!place)
            return car_fail(error, CAR_DATA, "trial %lld: its cell is missing; restore a copy",
                            (long long)trial->number);
        trial->cell = place->cell;
    }
    return memory ? CAR_OK : no_memory(error);
}

static car_status take_results(const car_rows_read *rows, car_study_view *view, car_error *error) {
    bool memory = true;
    int trial = 0;
    view->result_count = rows->count;
    view->results = car_arena_allocate(view->arena, (size_t)rows->count + 1, sizeof *view->results);
    if (!view->results)
        return no_memory(error);
    for (int i = 0; i < rows->count; i++) {
        int64_t number = car_row_whole(rows, i, 0);
        while (trial < view->trial_count && view->trials[trial].number < number)
            trial++;
        if (trial == view->trial_count || view->trials[trial].number != number)
            return car_fail(error, CAR_DATA,
                            "results of trial %lld, which is not there; restore a copy",
                            (long long)number);
        view->results[i] = (car_study_result){.trial = trial,
                                              .task = keep_text(view, rows, i, 1, &memory),
                                              .measure = car_row_number(rows, i, 2),
                                              .accuracy = car_row_number(rows, i, 3),
                                              .nats = car_row_number(rows, i, 4),
                                              .setting = keep_text(view, rows, i, 5, &memory),
                                              .updates = car_row_whole(rows, i, 6),
                                              .units = car_row_whole(rows, i, 7),
                                              .diverged = car_row_whole(rows, i, 8)};
    }
    return memory ? CAR_OK : no_memory(error);
}

typedef car_status take_rows(const car_rows_read *rows, car_study_view *view, car_error *error);

static car_status read_table(const car_study *study, const char *sql, take_rows *take,
                             car_study_view *view, car_error *error) {
    car_rows_read rows;
    const car_value name = car_value_text(study->name);
    CAR_TRY(car_store_query(study->store, sql, &name, 1, &rows, NULL, error));
    car_status status = take(&rows, view, error);
    car_rows_free(&rows);
    return status;
}

static car_status take_clock(const car_rows_read *rows, car_study_view *view, car_error *error) {
    (void)error;
    view->now = car_row_number(rows, 0, 0);
    return CAR_OK;
}

static car_status read_all(const car_study *study, car_study_view *view, car_error *error) {
    char clock[160];
    snprintf(clock, sizeof clock, "SELECT %s WHERE $1 <> ''", study->store->driver->now);
    CAR_TRY(read_table(study, clock, take_clock, view, error));
    CAR_TRY(read_table(study,
                       "SELECT key, name, text, parent, first FROM carousel_cells WHERE study = $1"
                       " ORDER BY first",
                       take_cells, view, error));
    CAR_TRY(read_table(study,
                       "SELECT number, key, kind, proposal, seed, state, worker, fence, tries,"
                       " lease, ended, message, updates, seconds, finished FROM carousel_trials"
                       " WHERE study = $1 ORDER BY number",
                       take_trials, view, error));
    return read_table(study,
                      "SELECT number, task, measure, accuracy, nats, setting, updates, units,"
                      " diverged FROM carousel_results WHERE study = $1 ORDER BY number, task",
                      take_results, view, error);
}

/* ---- Scores ------------------------------------------------------------------------------------------- */

static int task_index(const car_search_settings *settings, const char *task) {
    for (int i = 0; i < settings->task_count; i++)
        if (strcmp(settings->tasks[i], task) == 0)
            return i;
    return -1; /* the first filter's */
}

static void count_trials(car_study_view *view) {
    for (int i = 0; i < view->trial_count; i++) {
        const car_study_trial *trial = &view->trials[i];
        car_study_cell *cell = &view->cells[trial->cell];
        const char *ended = trial->ended ? trial->ended : "";
        cell->trials++;
        cell->done += strcmp(trial->state, "done") == 0;
        cell->dropped_early += strcmp(ended, "memory") == 0;
        cell->complete = cell->complete || strcmp(ended, "finished") == 0;
    }
}

static void find_best(const car_search_settings *settings, car_study_view *view) {
    for (int i = 0; i < view->result_count; i++) {
        const car_study_result *result = &view->results[i];
        int task = task_index(settings, result->task);
        car_study_cell *cell = &view->cells[view->trials[result->trial].cell];
        if (task >= 0 && !(result->measure <= cell->best[task])) {
            cell->best[task] = result->measure;
            cell->accuracy[task] = result->accuracy;
            cell->nats[task] = result->nats;
        }
    }
}

static void score_cells(const car_study *study, car_study_view *view) {
    int tasks = study->settings.task_count;
    for (int t = 0; t < CAR_SEARCH_TASKS; t++)
        view->reference[t] = NAN;
    for (int i = 0; i < view->cell_count; i++)
        if (strcmp(view->cells[i].key, study->reference) == 0)
            memcpy(view->reference, view->cells[i].best, sizeof view->reference);
    for (int i = 0; i < view->cell_count; i++) {
        car_study_cell *cell = &view->cells[i];
        double least = INFINITY;
        for (int t = 0; t < tasks; t++) {
            cell->ratio[t] = cell->best[t] / view->reference[t];
            least = cell->ratio[t] < least || isnan(cell->ratio[t]) ? cell->ratio[t] : least;
        }
        cell->score = cell->complete ? least : NAN;
    }
}

static void score_trials(const car_study *study, car_study_view *view) {
    for (int i = 0; i < view->result_count; i++) {
        const car_study_result *result = &view->results[i];
        int task = task_index(&study->settings, result->task);
        car_study_trial *trial = &view->trials[result->trial];
        if (task < 0 || !trial->ended || strcmp(trial->ended, "finished") != 0)
            continue;
        double ratio = result->measure / view->reference[task];
        trial->score = trial->score <= ratio ? trial->score : ratio;
    }
}

/* Insertion into a sorted list; ties go to the earlier cell. */
static void make_list(car_study_view *view) {
    for (int i = 0; i < view->cell_count; i++) {
        double score = view->cells[i].score;
        if (isnan(score))
            continue;
        int at = view->listed++;
        for (; at > 0 && view->cells[view->list[at - 1]].score < score; at--)
            view->list[at] = view->list[at - 1];
        view->list[at] = i;
    }
}

car_status car_study_look_within(const car_study *study, car_study_view *view, car_error *error) {
    *view = (car_study_view){.arena = car_arena_create(study->store->allocator)};
    if (!view->arena)
        return no_memory(error);
    car_status status = read_all(study, view, error);
    if (status != CAR_OK) {
        car_study_view_free(view);
        return status;
    }
    count_trials(view);
    find_best(&study->settings, view);
    score_cells(study, view);
    score_trials(study, view);
    make_list(view);
    return CAR_OK;
}

car_status car_study_look(const car_study *study, car_study_view *view, car_error *error) {
    car_store *store = study->store;
    *view = (car_study_view){0};
    CAR_TRY(car_store_query(store, store->driver->snapshot, NULL, 0, NULL, NULL, error));
    car_status status = car_store_end(store, car_study_look_within(study, view, error), error);
    if (status != CAR_OK)
        car_study_view_free(view);
    return status;
}

void car_study_view_free(car_study_view *view) {
    if (view->arena)
        car_arena_free(view->arena);
    *view = (car_study_view){0};
}

int car_study_find(const car_study_view *view, const char *name) {
    for (int i = 0; i < view->cell_count; i++)
        if (strcmp(view->cells[i].name, name) == 0 || strcmp(view->cells[i].key, name) == 0)
            return i;
    char *end;
    long place = strtol(name, &end, 10);
    return *name && !*end && place >= 1 && place <= view->listed ? view->list[place - 1] : -1;
}
