/*
 * store_postgres.c: studies in PostgreSQL, for workers on many machines.
 *
 * In:  postgres://USER:PASSWORD@HOST:PORT/DATABASE, or less of it; what is missing comes from the environment and ~/.pgpass as
 *      for psql. SQL with values, which travel apart from it.
 * Out: rows. `away` when the server cannot be reached, is starting or stopping, or has chosen this transaction to make way for
 *      another: it is worth trying again.
 */
#include "store.h"
#include <libpq-fe.h>
#include <string.h>

enum { NUMBER_ROOM = 40, MOST_VALUES = 16 };

static void be_silent(void *context, const char *message) {
    (void)context;
    (void)message;
}

/* libpq's messages have several lines; the first says it. */
static int first_line(const char *message) {
    return (int)strcspn(message, "\n");
}

/* The place without a password, for messages. */
static void write_place(const car_store *store, char *out, size_t size) {
    const char *at = strrchr(store->place, '@');
    snprintf(out, size, "postgres://%.150s", at ? at + 1 : strstr(store->place, "://") + 3);
}

static bool starts_with(const char *text, const char *start) {
    return text && strncmp(text, start, strlen(start)) == 0;
}

static car_status fail_connection(car_store *store, car_error *error) {
    char place[192];
    const char *message = PQerrorMessage(store->handle);
    write_place(store, place, sizeof place);
    store->away = true;
    return car_fail(error, CAR_IO, "%s: %.*s", place, first_line(message), message);
}

static car_status open_postgres(car_store *store, bool create, car_error *error) {
    (void)create; /* the database is there or not; its tables are schema.c's */
    static const char *const names[] = {"dbname",           "connect_timeout", "client_encoding",
                                        "application_name", "keepalives_idle", NULL};
    const char *const values[] = {store->place, "10", "UTF8", "carousel search", "30", NULL};
    PGconn *connection = PQconnectdbParams(names, values, 1);
    store->handle = connection;
    if (!connection)
        return car_fail(error, CAR_MEMORY, "%.20s...: out of memory", store->place);
    PQsetNoticeProcessor(connection, be_silent, NULL);
    return PQstatus(connection) == CONNECTION_OK ? CAR_OK : fail_connection(store, error);
}

static void close_postgres(car_store *store) {
    PQfinish(store->handle);
}

/* SQLSTATE: 08 connection, 57P0 shutting down or starting, 40 serialization and deadlock; 53100 disk full. */
static car_status fail_query(car_store *store, const PGresult *result, car_error *error) {
    char place[192];
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *message = result ? PQresultErrorMessage(result) : PQerrorMessage(store->handle);
    write_place(store, place, sizeof place);
    store->away = PQstatus(store->handle) != CONNECTION_OK || starts_with(state, "08") ||
                  starts_with(state, "57P0") || starts_with(state, "40");
    if (starts_with(state, "53100"))
        return car_fail(error, CAR_IO,
                        "%s: the server's disk is full; what was stored before is safe: make room "
                        "and go on",
                        place);
    return car_fail(error, CAR_IO, "%s: %.*s", place, first_line(message), message);
}

/* Values as text; room: where numbers are written. */
static const char *write_value(const car_value *value, char room[NUMBER_ROOM]) {
    if (value->kind == CAR_VALUE_TEXT)
        return value->text;
    if (value->kind == CAR_VALUE_NULL)
        return NULL;
    if (value->kind == CAR_VALUE_WHOLE)
        snprintf(room, NUMBER_ROOM, "%lld", (long long)value->whole);
    else
        snprintf(room, NUMBER_ROOM, "%.17g", value->number);
    return room;
}

static car_status copy_rows(const car_store *store, const PGresult *result, car_rows_read *rows,
                            car_error *error) {
    rows->count = PQntuples(result);
    rows->columns = PQnfields(result);
    size_t cells = (size_t)rows->count * (size_t)rows->columns;
    rows->cells = car_arena_allocate(rows->arena, cells + 1, sizeof *rows->cells);
    bool memory = rows->cells != NULL;
    for (int row = 0; row < rows->count && memory; row++) {
        for (int column = 0; column < rows->columns && memory; column++) {
            if (PQgetisnull(result, row, column))
                continue;
            const char *copy = car_arena_copy(rows->arena, PQgetvalue(result, row, column),
                                              (size_t)PQgetlength(result, row, column));
            rows->cells[(size_t)row * (size_t)rows->columns + (size_t)column] = copy;
            memory = copy != NULL;
        }
    }
    return memory ? CAR_OK : car_fail(error, CAR_MEMORY, "%.20s...: out of memory", store->place);
}

static car_status query_postgres(car_store *store, const char *sql, const car_value *values,
                                 int count, car_rows_read *rows, int64_t *changed,
                                 car_error *error) {
    char rooms[MOST_VALUES][NUMBER_ROOM];
    const char *texts[MOST_VALUES] = {0};
    for (int i = 0; i < count && i < MOST_VALUES; i++)
        texts[i] = write_value(&values[i], rooms[i]);
    PGresult *result = PQexecParams(store->handle, sql, count, NULL, texts, NULL, NULL, 0);
    ExecStatusType answer = PQresultStatus(result);
    car_status status = CAR_OK;
    int64_t number = 0;
    if (answer != PGRES_COMMAND_OK && answer != PGRES_TUPLES_OK)
        status = fail_query(store, result, error);
    else if (rows)
        status = copy_rows(store, result, rows, error);
    if (status == CAR_OK && changed) {
        for (const char *digit = PQcmdTuples(result); *digit >= '0' && *digit <= '9'; digit++)
            number = 10 * number + *digit - '0';
        *changed = number;
    }
    PQclear(result);
    return status;
}

const car_store_driver car_store_postgres = {
    .now = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)",
    .begin = "BEGIN",
    .snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    .for_update = " FOR UPDATE",
    .skip_locked = " FOR UPDATE SKIP LOCKED",
    .has_table = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
                 " AND tablename = $1",
    .any_table = NULL,
    .open = open_postgres,
    .close = close_postgres,
    .query = query_postgres,
};
