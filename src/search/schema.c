/*
 * schema.c: the tables of a store and their version.
 *
 * In:  an open store. Out: one that has our tables, in this version; or why not.
 *
 *   carousel_schema   version
 *   carousel_studies  name, settings (JSON), reference (key of the cell that others are compared with), trials (so far)
 *   carousel_cells    study, key (fingerprint + init), name, text, parent (key), first (trial)
 *   carousel_trials   study, number, key, kind, proposal (JSON), seed | state waiting, running, done; worker, fence, tries, lease
 *                     | ended, message, updates, seconds, finished
 *   carousel_results  study, number, task, measure, accuracy, nats, setting (JSON), updates, units, diverged
 */
#include "store.h"

static const char *const tables[] = {
    "CREATE TABLE carousel_schema (version BIGINT NOT NULL)",
    "CREATE TABLE carousel_studies (name TEXT PRIMARY KEY, settings TEXT NOT NULL,"
    " reference TEXT NOT NULL, trials BIGINT NOT NULL)",
    "CREATE TABLE carousel_cells (study TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,"
    " text TEXT NOT NULL, parent TEXT, first BIGINT NOT NULL, PRIMARY KEY (study, key))",
    "CREATE TABLE carousel_trials (study TEXT NOT NULL, number BIGINT NOT NULL, key TEXT NOT NULL,"
    " kind TEXT NOT NULL, proposal TEXT NOT NULL, seed BIGINT NOT NULL, state TEXT NOT NULL,"
    " worker TEXT, fence BIGINT NOT NULL, tries BIGINT NOT NULL, lease DOUBLE PRECISION,"
    " ended TEXT, message TEXT, updates BIGINT, seconds DOUBLE PRECISION,"
    " finished DOUBLE PRECISION, PRIMARY KEY (study, number))",
    "CREATE INDEX carousel_trials_state ON carousel_trials (study, state, number)",
    "CREATE TABLE carousel_results (study TEXT NOT NULL, number BIGINT NOT NULL,"
    " task TEXT NOT NULL, measure DOUBLE PRECISION NOT NULL, accuracy DOUBLE PRECISION NOT NULL,"
    " nats DOUBLE PRECISION, setting TEXT NOT NULL, updates BIGINT NOT NULL,"
    " units BIGINT NOT NULL, diverged BIGINT NOT NULL, PRIMARY KEY (study, number, task))",
};

static car_status ask_number(car_store *store, const char *sql, const char *text, int64_t *number,
                             car_error *error) {
    car_rows_read rows;
    const car_value value = car_value_text(text);
    CAR_TRY(car_store_query(store, sql, &value, text ? 1 : 0, &rows, NULL, error));
    *number = rows.count > 0 ? car_row_whole(&rows, 0, 0) : 0;
    car_rows_free(&rows);
    return CAR_OK;
}

static car_status make_tables(car_store *store, car_error *error) {
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        CAR_TRY(car_store_query(store, tables[i], NULL, 0, NULL, NULL, error));
    const car_value version = car_value_whole(CAR_STORE_VERSION);
    return car_store_query(store, "INSERT INTO carousel_schema VALUES ($1)", &version, 1, NULL,
                           NULL, error);
}

static car_status check_version(car_store *store, car_error *error) {
    int64_t version;
    CAR_TRY(ask_number(store, "SELECT version FROM carousel_schema", NULL, &version, error));
    if (version == CAR_STORE_VERSION)
        return CAR_OK;
    return car_fail(error, CAR_DATA,
                    "%.200s has the tables of version %lld, this carousel those of %d; use the "
                    "carousel that made it, or begin a new one",
                    store->place, (long long)version, CAR_STORE_VERSION);
}

static car_status make_if_missing(car_store *store, bool create, car_error *error) {
    int64_t ours, others = 0;
    CAR_TRY(ask_number(store, store->driver->has_table, "carousel_schema", &ours, error));
    if (ours > 0)
        return check_version(store, error);
    if (store->driver->any_table)
        CAR_TRY(ask_number(store, store->driver->any_table, NULL, &others, error));
    if (others > 0)
        return car_fail(error, CAR_DATA,
                        "%.200s is the database of another program; name another file",
                        store->place);
    if (!create)
        return car_fail(error, CAR_DATA, "%.200s holds no study; carousel search start makes one",
                        store->place);
    return make_tables(store, error);
}

car_status car_schema_check(car_store *store, bool create, car_error *error) {
    if (!create)
        return make_if_missing(store, false, error);
    CAR_TRY(car_store_begin(store, error));
    return car_store_end(store, make_if_missing(store, true, error), error);
}
