/*
 * queue.c: trials put in, claimed, kept alive, given back, finished.
 *
 *   waiting ──claim: fence + 1, try + 1, lease──► running ──finish, with the fence of the claim──► done
 *      ▲                                            │
 *      └── given back (the try does not count), lease run out, process dead ──┘   after CAR_STUDY_TRIES: done, "given up"
 *
 * In:  a study, proposals, a worker's name. Out: claims; results that count exactly once, because the fence is compared in the
 *      transaction that writes them. Clocks are the database's own, whatever those of the machines say.
 */
#include "store.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SQL_ROOM = 512 };

static car_status run(const car_study *study, const char *sql, const car_value *values, int count,
                      int64_t *changed, car_error *error) {
    return car_store_query(study->store, sql, values, count, NULL, changed, error);
}

/* ---- Workers ------------------------------------------------------------------------------------------ */

void car_worker_name(char *name, size_t size) {
    char host[256] = "unknown", space[64] = "-";
    ssize_t length = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[length > 0 ? length : 1] = '\0';
    if (gethostname(host, sizeof host - 1) != 0)
        snprintf(host, sizeof host, "unknown");
    snprintf(name, size, "%s %s %ld", host, space, (long)getpid());
}

/* Is it a process of this machine and name space that is no more? */
static bool is_dead(const char *worker, const char *me) {
    const char *number = strrchr(worker, ' '), *mine = strrchr(me, ' ');
    if (!number || number - worker != mine - me ||
        strncmp(worker, me, (size_t)(number - worker)) != 0)
        return false;
    long process = strtol(number + 1, NULL, 10);
    return process > 0 && kill((pid_t)process, 0) != 0 && errno == ESRCH;
}

/* ---- Putting in --------------------------------------------------------------------------------------- */

car_status car_queue_lock(const car_study *study, int64_t *trials, car_error *error) {
    char sql[SQL_ROOM];
    car_rows_read rows;
    const car_value name = car_value_text(study->name);
    snprintf(sql, sizeof sql, "SELECT trials FROM carousel_studies WHERE name = $1%s",
             study->store->driver->for_update);
    CAR_TRY(car_store_query(study->store, sql, &name, 1, &rows, NULL, error));
    *trials = rows.count > 0 ? car_row_whole(&rows, 0, 0) : 0;
    car_rows_free(&rows);
    return CAR_OK;
}

static car_status put_cell(const car_study *study, const car_proposal *proposal, const char *key,
                           int64_t number, car_error *error) {
    const car_value values[] = {car_value_text(study->name),
                                car_value_text(key),
                                car_value_text(car_cell_name(proposal->cell)),
                                car_value_text(car_cell_text(proposal->cell)),
                                car_value_text(proposal->parent),
                                car_value_whole(number)};
    return run(study,
               "INSERT INTO carousel_cells VALUES ($1, $2, $3, $4, $5, $6)"
               " ON CONFLICT (study, key) DO NOTHING",
               values, 6, NULL, error);
}

static car_status put_trial(const car_study *study, const car_proposal *proposal, const char *key,
                            int64_t number, car_error *error) {
    const car_value values[] = {car_value_text(study->name),
                                car_value_whole(number),
                                car_value_text(key),
                                car_value_text(proposal->kind),
                                car_value_text(proposal->settings),
                                car_value_whole((int64_t)proposal->seed)};
    CAR_TRY(run(study,
                "INSERT INTO carousel_trials (study, number, key, kind, proposal, seed, state,"
                " fence, tries) VALUES ($1, $2, $3, $4, $5, $6, 'waiting', 0, 0)",
                values, 6, NULL, error));
    return run(study, "UPDATE carousel_studies SET trials = $2 WHERE name = $1", values, 2, NULL,
               error);
}

car_status car_queue_put(const car_study *study, const car_proposal *proposal, int64_t *number,
                         car_error *error) {
    int64_t trials;
    CAR_TRY(car_queue_lock(study, &trials, error));
    *number = trials + 1;
    car_arena *arena = car_arena_create(study->store->allocator);
    const char *key = arena ? car_study_key(proposal->cell, arena) : NULL;
    car_status status = key ? CAR_OK : car_fail(error, CAR_MEMORY, "search: out of memory");
    if (status == CAR_OK)
        status = put_cell(study, proposal, key, *number, error);
    if (status == CAR_OK)
        status = put_trial(study, proposal, key, *number, error);
    if (arena)
        car_arena_free(arena);
    return status;
}

/* ---- Claiming ----------------------------------------------------------------------------------------- */

/* A running trial whose worker will not finish it: waiting again, or given up. */
static car_status put_back(const car_study *study, int64_t number, int64_t fence, int64_t tries,
                           car_error *error) {
    const car_value values[] = {car_value_text(study->name), car_value_whole(number),
                                car_value_whole(fence)};
    return run(study,
               tries < CAR_STUDY_TRIES
                   ? "UPDATE carousel_trials SET state = 'waiting' WHERE study = $1 AND number = $2"
                     " AND fence = $3 AND state = 'running'"
                   : "UPDATE carousel_trials SET state = 'done', ended = 'given up', message ="
                     " 'its workers died or fell silent' WHERE study = $1 AND number = $2"
                     " AND fence = $3 AND state = 'running'",
               values, 3, NULL, error);
}

static car_status put_back_lost(const car_study *study, const char *worker, car_error *error) {
    char sql[SQL_ROOM];
    car_rows_read rows;
    const car_value name = car_value_text(study->name);
    snprintf(sql, sizeof sql,
             "SELECT number, fence, tries, worker, CASE WHEN lease < %s THEN 1 ELSE 0 END"
             " FROM carousel_trials WHERE study = $1 AND state = 'running' ORDER BY number",
             study->store->driver->now);
    CAR_TRY(car_store_query(study->store, sql, &name, 1, &rows, NULL, error));
    car_status status = CAR_OK;
    for (int i = 0; i < rows.count && status == CAR_OK; i++) {
        const char *runs_it = car_row_text(&rows, i, 3) ? car_row_text(&rows, i, 3) : "";
        /* One of my own: the answer to my claim was lost with the connection. */
        bool lost =
            car_row_whole(&rows, i, 4) || strcmp(runs_it, worker) == 0 || is_dead(runs_it, worker);
        if (lost)
            status = put_back(study, car_row_whole(&rows, i, 0), car_row_whole(&rows, i, 1),
                              car_row_whole(&rows, i, 2), error);
    }
    car_rows_free(&rows);
    return status;
}

/* The waiting trial of the least number that no one else is claiming. */
static car_status find_waiting(const car_study *study, car_rows_read *rows, car_error *error) {
    char sql[SQL_ROOM];
    const car_value name = car_value_text(study->name);
    snprintf(sql, sizeof sql,
             "SELECT number, fence, key, proposal, seed, kind FROM carousel_trials"
             " WHERE study = $1 AND state = 'waiting' ORDER BY number LIMIT 1%s",
             study->store->driver->skip_locked);
    return car_store_query(study->store, sql, &name, 1, rows, NULL, error);
}

/* NULL: out of memory, or a database that was tampered with. */
static const char *keep(car_claim *claim, const char *text) {
    return text ? car_arena_copy(claim->arena, text, strlen(text)) : NULL;
}

static car_status read_text(const car_study *study, car_claim *claim, car_error *error) {
    car_rows_read rows;
    const car_value values[] = {car_value_text(study->name), car_value_text(claim->key)};
    CAR_TRY(car_store_query(study->store,
                            "SELECT text FROM carousel_cells WHERE study = $1 AND key = $2", values,
                            2, &rows, NULL, error));
    car_status status = CAR_OK;
    if (rows.count == 0)
        status = car_fail(error, CAR_DATA, "trial %lld: its cell is missing; restore a copy",
                          (long long)claim->number);
    else
        claim->text = keep(claim, car_row_text(&rows, 0, 0));
    car_rows_free(&rows);
    if (status == CAR_OK && !claim->text)
        return car_fail(error, CAR_MEMORY, "search: out of memory");
    return status;
}

static car_status take(const car_study *study, const car_rows_read *rows, const char *worker,
                       double lease, car_claim *claim, car_error *error) {
    char sql[SQL_ROOM];
    claim->number = car_row_whole(rows, 0, 0);
    claim->fence = car_row_whole(rows, 0, 1) + 1;
    claim->key = keep(claim, car_row_text(rows, 0, 2));
    claim->proposal = keep(claim, car_row_text(rows, 0, 3));
    claim->seed = (uint64_t)car_row_whole(rows, 0, 4);
    claim->kind = keep(claim, car_row_text(rows, 0, 5));
    if (!claim->key || !claim->proposal || !claim->kind)
        return car_fail(error, CAR_MEMORY, "search: out of memory");
    CAR_TRY(read_text(study, claim, error));
    snprintf(sql, sizeof sql,
             "UPDATE carousel_trials SET state = 'running', worker = $3, fence = $4,"
             " tries = tries + 1, lease = %s + $5 WHERE study = $1 AND number = $2",
             study->store->driver->now);
    const car_value values[] = {car_value_text(study->name), car_value_whole(claim->number),
                                car_value_text(worker), car_value_whole(claim->fence),
                                car_value_number(lease)};
    return run(study, sql, values, 5, NULL, error);
}

static car_status claim_within(const car_study *study, const char *worker, double lease, bool *got,
                               car_claim *claim, car_error *error) {
    car_rows_read rows;
    CAR_TRY(put_back_lost(study, worker, error));
    CAR_TRY(find_waiting(study, &rows, error));
    *got = rows.count > 0;
    car_status status = *got ? take(study, &rows, worker, lease, claim, error) : CAR_OK;
    car_rows_free(&rows);
    return status;
}

car_status car_queue_claim(const car_study *study, const char *worker, double lease, bool *got,
                           car_claim *claim, car_error *error) {
    *got = false;
    *claim = (car_claim){.arena = car_arena_create(study->store->allocator)};
    if (!claim->arena)
        return car_fail(error, CAR_MEMORY, "search: out of memory");
    car_status status = car_store_begin(study->store, error);
    if (status == CAR_OK)
        status = car_store_end(study->store, claim_within(study, worker, lease, got, claim, error),
                               error);
    if (status != CAR_OK || !*got)
        car_claim_free(claim);
    return status;
}

void car_claim_free(car_claim *claim) {
    if (claim->arena)
        car_arena_free(claim->arena);
    *claim = (car_claim){0};
}

car_status car_queue_open(const car_study *study, int64_t *open, car_error *error) {
    car_rows_read rows;
    const car_value name = car_value_text(study->name);
    CAR_TRY(car_store_query(study->store,
                            "SELECT count(*) FROM carousel_trials WHERE study = $1"
                            " AND state <> 'done'",
                            &name, 1, &rows, NULL, error));
    *open = car_row_whole(&rows, 0, 0);
    car_rows_free(&rows);
    return CAR_OK;
}

/* ---- With a claim ------------------------------------------------------------------------------------- */

car_status car_queue_keep(const car_study *study, const car_claim *claim, double lease, bool *ours,
                          car_error *error) {
    char sql[SQL_ROOM];
    int64_t changed;
    snprintf(sql, sizeof sql,
             "UPDATE carousel_trials SET lease = %s + $4 WHERE study = $1 AND number = $2"
             " AND fence = $3 AND state = 'running'",
             study->store->driver->now);
    const car_value values[] = {car_value_text(study->name), car_value_whole(claim->number),
                                car_value_whole(claim->fence), car_value_number(lease)};
    CAR_TRY(run(study, sql, values, 4, &changed, error));
    *ours = changed > 0;
    return CAR_OK;
}

car_status car_queue_return(const car_study *study, const car_claim *claim, car_error *error) {
    const car_value values[] = {car_value_text(study->name), car_value_whole(claim->number),
                                car_value_whole(claim->fence)};
    return run(study,
               "UPDATE carousel_trials SET state = 'waiting', tries = tries - 1 WHERE study = $1"
               " AND number = $2 AND fence = $3 AND state = 'running'",
               values, 3, NULL, error);
}

static car_status put_result(const car_study *study, const car_claim *claim,
                             const car_trial_result *result, car_error *error) {
    car_text setting;
    car_text_start(&setting, NULL);
    if (result->setting.layers > 0)
        car_setting_to_json(&result->setting, &setting);
    else
        car_text_format(&setting, "null");
    const car_value values[] = {
        car_value_text(study->name),        car_value_whole(claim->number),
        car_value_text(result->task),       car_value_number(result->measure),
        car_value_number(result->accuracy), car_value_number(result->nats),
        car_value_text(setting.data),       car_value_whole(result->updates),
        car_value_whole(result->units),     car_value_whole(result->diverged)};
    car_status status =
        setting.failed
            ? car_fail(error, CAR_MEMORY, "search: out of memory")
            : run(study,
                  "INSERT INTO carousel_results VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                  values, 10, NULL, error);
    car_text_free(&setting);
    return status;
}

/* Had an earlier attempt to finish, whose answer was lost, come through? */
static car_status was_finished(const car_study *study, const car_claim *claim, bool *counted,
                               car_error *error) {
    car_rows_read rows;
    const car_value values[] = {car_value_text(study->name), car_value_whole(claim->number),
                                car_value_whole(claim->fence)};
    CAR_TRY(car_store_query(study->store,
                            "SELECT count(*) FROM carousel_trials WHERE study = $1 AND number = $2"
                            " AND fence = $3 AND state = 'done' AND ended <> 'given up'",
                            values, 3, &rows, NULL, error));
    *counted = car_row_whole(&rows, 0, 0) > 0;
    car_rows_free(&rows);
    return CAR_OK;
}

static car_status finish_within(const car_study *study, const car_claim *claim,
                                const car_trial_outcome *outcome, bool *counted, car_error *error) {
    char sql[SQL_ROOM];
    int64_t changed;
    snprintf(sql, sizeof sql,
             "UPDATE carousel_trials SET state = 'done', ended = $4, message = $5, updates = $6,"
             " seconds = $7, finished = %s WHERE study = $1 AND number = $2 AND fence = $3"
             " AND state = 'running'",
             study->store->driver->now);
    const car_value values[] = {car_value_text(study->name),
                                car_value_whole(claim->number),
                                car_value_whole(claim->fence),
                                car_value_text(outcome->ended),
                                car_value_text(outcome->message[0] ? outcome->message : NULL),
                                car_value_whole(outcome->updates),
                                car_value_number(outcome->seconds)};
    CAR_TRY(run(study, sql, values, 7, &changed, error));
    if (changed == 0)
        return was_finished(study, claim, counted, error);
    for (int i = 0; i < outcome->count; i++)
        CAR_TRY(put_result(study, claim, &outcome->results[i], error));
    *counted = true;
    return CAR_OK;
}

car_status car_queue_finish(const car_study *study, const car_claim *claim,
                            const car_trial_outcome *outcome, bool *counted, car_error *error) {
    *counted = false;
    CAR_TRY(car_store_begin(study->store, error));
    return car_store_end(study->store, finish_within(study, claim, outcome, counted, error), error);
}
