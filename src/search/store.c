/*
 * store.c: what SQLite and PostgreSQL share.
 *
 * In:  a place (FILE.db, postgres://...), SQL with $1, $2 ... and values. Out: rows as text; transactions.
 */
#include "store.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Values ------------------------------------------------------------------------------------------- */

car_value car_value_whole(int64_t whole) {
    return (car_value){.kind = CAR_VALUE_WHOLE, .whole = whole};
}

car_value car_value_number(double number) {
    return (car_value){.kind = isnan(number) ? CAR_VALUE_NULL : CAR_VALUE_NUMBER, .number = number};
}

car_value car_value_text(const char *text) {
    return (car_value){.kind = text ? CAR_VALUE_TEXT : CAR_VALUE_NULL, .text = text};
}

const char *car_row_text(const car_rows_read *rows, int row, int column) {
    return rows->cells[(size_t)row * (size_t)rows->columns + (size_t)column];
}

int64_t car_row_whole(const car_rows_read *rows, int row, int column) {
    const char *text = car_row_text(rows, row, column);
    return text ? strtoll(text, NULL, 10) : 0;
}

double car_row_number(const car_rows_read *rows, int row, int column) {
    const char *text = car_row_text(rows, row, column);
    double value;
    return text && car_number_parse(text, strlen(text), &value) ? value : NAN;
}

void car_rows_free(car_rows_read *rows) {
    if (rows->arena)
        car_arena_free(rows->arena);
    *rows = (car_rows_read){0};
}

/* ---- Opening ------------------------------------------------------------------------------------------ */

static bool starts_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

bool car_store_is_served(const char *place) {
    return starts_with(place, "postgres://") || starts_with(place, "postgresql://");
}

static car_status choose_driver(car_store *store, car_error *error) {
    bool postgres = car_store_is_served(store->place);
#ifdef CAR_WITH_POSTGRES
    if (postgres)
        store->driver = &car_store_postgres;
#endif
#ifdef CAR_WITH_SQLITE
    if (!postgres)
        store->driver = &car_store_sqlite;
#endif
    if (store->driver)
        return CAR_OK;
    return car_fail(error, CAR_USAGE,
                    "%.200s: this carousel was built without %s; install %s and build it again",
                    store->place, postgres ? "PostgreSQL" : "SQLite",
                    postgres ? "libpq-dev" : "libsqlite3-dev");
}

static car_status open_place(car_store *store, const char *place, bool create, car_error *error) {
    size_t length = strlen(place);
    store->place = car_allocate(store->allocator, length + 1, 1);
    if (!store->place)
        return car_fail(error, CAR_MEMORY, "%.200s: out of memory", place);
    memcpy(store->place, place, length);
    CAR_TRY(choose_driver(store, error));
    CAR_TRY(store->driver->open(store, create, error));
    return car_schema_check(store, create, error);
}

car_status car_store_open(const char *place, bool create, const car_allocator *allocator,
                          car_store **store, car_error *error) {
    car_store *made = car_allocate(allocator, 1, sizeof *made);
    if (!made)
        return car_fail(error, CAR_MEMORY, "%.200s: out of memory", place);
    made->allocator = allocator;
    car_status status = open_place(made, place, create, error);
    if (status == CAR_OK)
        *store = made;
    else
        car_store_close(made);
    return status;
}

void car_store_close(car_store *store) {
    if (!store)
        return;
    if (store->handle)
        store->driver->close(store);
    car_release(store->allocator, store->place);
    car_release(store->allocator, store);
}

car_status car_store_reopen(car_store *store, car_error *error) {
    if (store->handle)
        store->driver->close(store);
    store->handle = NULL;
    return store->driver->open(store, false, error);
}

/* ---- Statements --------------------------------------------------------------------------------------- */

car_status car_store_query(car_store *store, const char *sql, const car_value *values, int count,
                           car_rows_read *rows, int64_t *changed, car_error *error) {
    store->away = false;
    if (rows)
        *rows = (car_rows_read){0};
    if (changed)
        *changed = 0;
    if (!store->handle) {
        store->away = true;
        return car_fail(error, CAR_IO, "%.200s: not connected", store->place);
    }
    if (rows) {
        rows->arena = car_arena_create(store->allocator);
        if (!rows->arena)
            return car_fail(error, CAR_MEMORY, "%.200s: out of memory", store->place);
    }
    car_status status = store->driver->query(store, sql, values, count, rows, changed, error);
    if (status != CAR_OK && rows)
        car_rows_free(rows);
    return status;
}

car_status car_store_begin(car_store *store, car_error *error) {
    return car_store_query(store, store->driver->begin, NULL, 0, NULL, NULL, error);
}

car_status car_store_commit(car_store *store, car_error *error) {
    return car_store_query(store, "COMMIT", NULL, 0, NULL, NULL, error);
}

void car_store_rollback(car_store *store) {
    bool away = store->away;
    car_status status = car_store_query(store, "ROLLBACK", NULL, 0, NULL, NULL, NULL);
    (void)status; /* what failed has been told already */
    store->away = away;
}

car_status car_store_end(car_store *store, car_status status, car_error *error) {
    if (status == CAR_OK)
        status = car_store_commit(store, error);
    if (status != CAR_OK)
        car_store_rollback(store);
    return status;
}
