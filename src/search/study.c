/*
 * study.c: a study and all that is known of it.
 *
 * In:  a store. Out: a new study with its first trials; a study that is there; a view of it: cells, trials, results, and
 *
 *   score(cell) = min over the tasks of (the cell's best measure / the reference cell's best measure)   (the paper's Eq. 1)
 *
 * and the list of the complete cells, the best first.
 */
#include "store.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Keys --------------------------------------------------------------------------------------------- */

const char *car_study_key(const car_cell *cell, car_arena *arena) {
    car_text text;
    car_text_start(&text, NULL);
    car_text_format(&text, "%s", cell->fingerprint);
    for (int i = 0; i < cell->parameter_count; i++) {
        const car_parameter *parameter = &cell->parameters[i];
        double usual = parameter->kind == CAR_VECTOR ? 1 : 0;
        bool plain = parameter->kind == CAR_MATRIX ? parameter->init.kind == CAR_INIT_DEFAULT
                                                   : parameter->init.kind == CAR_INIT_NUMBER &&
                                                         parameter->init.value == usual;
        if (plain)
            continue;
        car_text_format(&text, " %s=", parameter->name);
        car_init_print(&text, parameter->init);
    }
    for (int i = 0; i < cell->state_count; i++)
        if (cell->state_init[i].value != 0)
            car_text_format(&text, " %s=%.17g", cell->state_names[i], cell->state_init[i].value);
    const char *key = text.failed ? NULL : car_arena_copy(arena, text.data, text.length);
    car_text_free(&text);
    return key;
}

/* ---- Beginning ---------------------------------------------------------------------------------------- */

static car_status no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY, "search: out of memory");
}

static car_status put_seed(const car_study *study, const car_cell *cell, car_error *error) {
    car_text settings;
    int64_t number, trials;
    car_text_start(&settings, NULL);
    CAR_TRY(car_queue_lock(study, &trials, error));
    car_propose_settings(&study->settings, trials + 1, (int)study->settings.first_settings, false,
                         NULL, &settings);
    const car_proposal proposal = {
        .kind = "seed",
        .cell = cell,
        .settings = settings.data,
        .seed = car_propose_seed(&study->settings, trials + 1),
    };
    car_status status =
        settings.failed ? no_memory(error) : car_queue_put(study, &proposal, &number, error);
    car_text_free(&settings);
    return status;
}

car_status car_study_check_cells(const car_cell *const *cells, int count, car_error *error) {
    const char *keys[CAR_STUDY_SEEDS];
    car_status status = CAR_OK;
    car_arena *arena = car_arena_create(NULL);
    if (!arena)
        return no_memory(error);
    for (int i = 0; i < count && status == CAR_OK; i++) {
        keys[i] = car_study_key(cells[i], arena);
        if (!keys[i])
            status = no_memory(error);
        for (int j = 0; j < i && status == CAR_OK; j++)
            if (strcmp(keys[i], keys[j]) == 0)
                status = car_fail(error, CAR_USAGE, "%s and %s are the same cell; give it once",
                                  car_cell_name(cells[j]), car_cell_name(cells[i]));
    }
    car_arena_free(arena);
    return status;
}

static car_status make_study(car_study *study, const car_cell *const *cells, int count,
                             car_error *error) {
    car_text json;
    CAR_TRY(car_study_check_cells(cells, count, error));
    study->reference = car_study_key(cells[0], study->arena);
    if (!study->reference)
        return no_memory(error);
    car_text_start(&json, NULL);
    car_search_settings_to_json(&study->settings, &json);
    const car_value values[] = {car_value_text(study->name), car_value_text(json.data),
                                car_value_text(study->reference)};
    car_status status =
        json.failed
            ? no_memory(error)
            : car_store_query(study->store, "INSERT INTO carousel_studies VALUES ($1, $2, $3, 0)",
                              values, 3, NULL, NULL, error);
    car_text_free(&json);
    for (int i = 0; i < count && status == CAR_OK; i++)
        status = put_seed(study, cells[i], error);
    return status;
}

static car_status names_of(car_store *store, car_rows_read *rows, car_error *error) {
    return car_store_query(store, "SELECT name FROM carousel_studies ORDER BY name", NULL, 0, rows,
                           NULL, error);
}

static bool is_there(const car_rows_read *rows, const char *name) {
    for (int i = 0; i < rows->count; i++)
        if (strcmp(car_row_text(rows, i, 0), name) == 0)
            return true;
    return false;
}

static car_status start_if_free(car_study *study, const car_cell *const *cells, int count,
                                car_error *error) {
    car_rows_read names;
    CAR_TRY(names_of(study->store, &names, error));
    bool taken = is_there(&names, study->name);
    car_rows_free(&names);
    if (taken)
        return car_fail(error, CAR_USAGE,
                        "%.200s has a study called %.60s; carousel search work goes on with it, "
                        "--name makes another",
                        study->store->place, study->name);
    return make_study(study, cells, count, error);
}

car_status car_study_start(car_store *store, const char *name, const car_search_settings *settings,
                           const car_cell *const *cells, int count, car_error *error) {
    car_study study = {.store = store, .name = name, .settings = *settings};
    study.arena = car_arena_create(store->allocator);
    if (!study.arena)
        return no_memory(error);
    car_status status = car_store_begin(store, error);
    if (status == CAR_OK)
        status = car_store_end(store, start_if_free(&study, cells, count, error), error);
    car_arena_free(study.arena);
    return status;
}

/* ---- Opening ------------------------------------------------------------------------------------------ */

static car_status no_such_study(car_store *store, const char *name, car_error *error) {
    car_rows_read names;
    CAR_TRY(names_of(store, &names, error));
    car_text text;
    car_text_start(&text, store->allocator);
    for (int i = 0; i < names.count && i < 10; i++)
        car_text_format(&text, "%s%.40s", i ? ", " : "", car_row_text(&names, i, 0));
    car_status status =
        car_fail(error, CAR_USAGE, "%.200s has no study called %.60s; %s%s", store->place, name,
                 names.count ? "--name chooses one of: " : "carousel search start makes one",
                 text.failed ? "" : text.data);
    car_text_free(&text);
    car_rows_free(&names);
    return status;
}

static car_status take_study(const car_rows_read *rows, const char *name, car_study *study,
                             car_error *error) {
    const char *reference = car_row_text(rows, 0, 1);
    study->name = car_arena_copy(study->arena, name, strlen(name));
    study->reference = car_arena_copy(study->arena, reference, strlen(reference));
    if (!study->name || !study->reference)
        return no_memory(error);
    return car_search_settings_from_json(car_row_text(rows, 0, 0), study->arena, &study->settings,
                                         error);
}

car_status car_study_open(car_store *store, const char *name, car_study *study, car_error *error) {
    car_rows_read rows;
    const car_value value = car_value_text(name);
    *study = (car_study){.store = store};
    CAR_TRY(car_store_query(store,
                            "SELECT settings, reference FROM carousel_studies WHERE name = $1",
                            &value, 1, &rows, NULL, error));
    car_status status = CAR_OK;
    if (rows.count == 0) {
        status = no_such_study(store, name, error);
    } else {
        study->arena = car_arena_create(store->allocator);
        status = study->arena ? take_study(&rows, name, study, error) : no_memory(error);
    }
    car_rows_free(&rows);
    if (status != CAR_OK)
        car_study_close(study);
    return status;
}

void car_study_close(car_study *study) {
    if (study->arena)
        car_arena_free(study->arena);
    *study = (car_study){0};
}
