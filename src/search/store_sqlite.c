/*
 * store_sqlite.c: a study in a file.
 *
 * In:  SQL with values. Out: rows. The journal is a write-ahead log, which needs memory shared by all processes: on a network
 * file system it would be damaged, so those are refused. A writer waits BUSY_MS for another.
 */
#include "store.h"
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

enum { BUSY_MS = 20000, PATH_ROOM = 4096 };

/* Of linux/magic.h and the file systems' own sources: NFS, SMB, CIFS, SMB2, 9P, AFS (two), Ceph, Coda, Lustre, GPFS, OCFS2,
 * BeeGFS, GFS2. */
bool car_store_is_network(long type) {
    static const uint32_t network[] = {0x6969,     0x517B,     0xFF534D42, 0xFE534D42, 0x01021997,
                                       0x5346414F, 0x6B414653, 0x00C36400, 0x73757245, 0x0BD00BD0,
                                       0x47504653, 0x7461636F, 0x19830326, 0x01161970};
    for (size_t i = 0; i < sizeof network / sizeof *network; i++)
        if ((uint32_t)type == network[i])
            return true;
    return false;
}

/* *fresh: there is no file, or an empty one. */
static car_status check_place(const char *path, bool create, bool *fresh, car_error *error) {
    char folder[PATH_ROOM];
    struct statfs system;
    struct stat file;
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    if (length >= sizeof folder)
        return car_fail(error, CAR_USAGE, "%.100s...: the path is too long", path);
    memcpy(folder, path, length);
    folder[length] = '\0';
    if (statfs(length ? folder : ".", &system) != 0)
        return car_fail(error, CAR_IO, "%.200s: %s", path, strerror(errno));
    if (car_store_is_network((long)system.f_type))
        return car_fail(error, CAR_USAGE,
                        "%.200s is on a network file system, where SQLite's files get damaged; put "
                        "it on a local disk, or take postgres://HOST/DATABASE",
                        path);
    bool there = stat(path, &file) == 0;
    if (!there && !(errno == ENOENT && create))
        return car_fail(error, CAR_IO, "%.200s: %s; carousel search start makes a study", path,
                        strerror(errno));
    *fresh = !there || file.st_size == 0;
    return CAR_OK;
}

/* What SQLite's code means for the caller. */
static car_status fail(car_store *store, const char *doing, car_error *error) {
    sqlite3 *database = store->handle;
    int code = sqlite3_errcode(database) & 0xff;
    const char *message = sqlite3_errmsg(database);
    store->away = code == SQLITE_BUSY || code == SQLITE_LOCKED;
    if (code == SQLITE_NOTADB)
        return car_fail(error, CAR_DATA,
                        "%.200s is no database of carousel search; name another file",
                        store->place);
    if (code == SQLITE_CORRUPT)
        return car_fail(error, CAR_DATA,
                        "%.200s is damaged (%.100s); restore a copy, or save what can be read with "
                        "sqlite3's .recover",
                        store->place, message);
    if (code == SQLITE_FULL)
        return car_fail(error, CAR_IO,
                        "%.200s: the disk is full; what was stored before is safe: make room and "
                        "go on",
                        store->place);
    if (code == SQLITE_NOMEM)
        return car_fail(error, CAR_MEMORY, "%.200s: out of memory", store->place);
    return car_fail(error, CAR_IO, "%.200s: %s: %.200s", store->place, doing, message);
}

static car_status open_sqlite(car_store *store, bool create, car_error *error) {
    sqlite3 *database = NULL;
    bool fresh;
    CAR_TRY(check_place(store->place, create, &fresh, error));
    int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(store->place, &database, flags, NULL);
    store->handle = database;
    if (!database)
        return car_fail(error, CAR_MEMORY, "%.200s: out of memory", store->place);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(database, BUSY_MS);
    if (code == SQLITE_OK && fresh) /* kept in the file; another program's is left as it is */
        code = sqlite3_exec(database, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    return code == SQLITE_OK ? CAR_OK : fail(store, "cannot be opened", error);
}

static void close_sqlite(car_store *store) {
    sqlite3_close(store->handle);
}

static int bind(sqlite3_stmt *statement, int index, const car_value *value) {
    switch (value->kind) {
    case CAR_VALUE_WHOLE:
        return sqlite3_bind_int64(statement, index, value->whole);
    case CAR_VALUE_NUMBER:
        return sqlite3_bind_double(statement, index, value->number);
    case CAR_VALUE_TEXT:
        return sqlite3_bind_text(statement, index, value->text, -1, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(statement, index);
    }
}

static int bind_all(sqlite3_stmt *statement, const car_value *values, int count) {
    int code = SQLITE_OK;
    for (int i = 0; i < count && code == SQLITE_OK; i++) {
        char name[16];
        snprintf(name, sizeof name, "$%d", i + 1);
        int index = sqlite3_bind_parameter_index(statement, name);
        if (index > 0)
            code = bind(statement, index, &values[i]);
    }
    return code;
}

static const char *copy_cell(sqlite3_stmt *statement, int column, car_arena *arena, bool *memory) {
    char number[40];
    const char *text = number, *copy;
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return NULL;
    if (sqlite3_column_type(statement, column) == SQLITE_FLOAT)
        snprintf(number, sizeof number, "%.17g", sqlite3_column_double(statement, column));
    else
        text = (const char *)sqlite3_column_text(statement, column);
    copy = text ? car_arena_copy(arena, text, strlen(text)) : NULL;
    *memory = *memory && copy != NULL;
    return copy;
}

/* Appends a row; false: out of memory. */
static bool take_row(sqlite3_stmt *statement, int *capacity, car_rows_read *rows) {
    bool memory = true;
    rows->columns = sqlite3_column_count(statement);
    if (rows->count == *capacity) {
        int larger = *capacity ? 2 * *capacity : 16;
        const char **cells =
            car_arena_allocate(rows->arena, (size_t)larger * (size_t)rows->columns, sizeof *cells);
        if (!cells)
            return false;
        if (rows->count > 0)
            memcpy(cells, rows->cells, (size_t)rows->count * (size_t)rows->columns * sizeof *cells);
        rows->cells = cells;
        *capacity = larger;
    }
    const char **row = rows->cells + (size_t)rows->count++ * (size_t)rows->columns;
    for (int i = 0; i < rows->columns; i++)
        row[i] = copy_cell(statement, i, rows->arena, &memory);
    return memory;
}

static car_status query_sqlite(car_store *store, const char *sql, const car_value *values,
                               int count, car_rows_read *rows, int64_t *changed, car_error *error) {
    sqlite3 *database = store->handle;
    sqlite3_stmt *statement = NULL;
    int capacity = 0;
    bool memory = true;
    int code = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = bind_all(statement, values, count);
    if (code == SQLITE_OK)
        while ((code = sqlite3_step(statement)) == SQLITE_ROW && memory)
            memory = !rows || take_row(statement, &capacity, rows);
    car_status status = CAR_OK;
    if (!memory)
        status = car_fail(error, CAR_MEMORY, "%.200s: out of memory", store->place);
    else if (code != SQLITE_DONE)
        status = fail(store, "cannot be used", error);
    else if (changed)
        *changed = sqlite3_changes(database);
    sqlite3_finalize(statement);
    return status;
}

const car_store_driver car_store_sqlite = {
    .now = "((julianday('now') - 2440587.5) * 86400.0)",
    .begin = "BEGIN IMMEDIATE",
    .snapshot = "BEGIN",
    .for_update = "",
    .skip_locked = "",
    .has_table = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1",
    .any_table = "SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'carousel%'"
                 " AND name NOT LIKE 'sqlite%'",
    .open = open_sqlite,
    .close = close_sqlite,
    .query = query_sqlite,
};
