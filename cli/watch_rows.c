/*
 * watch_rows.c: rows of numbers from standard input, as soon as each has come.
 *
 * In:  lines. Out: values and the stream's id, or a refusal with line and column.
 *
 *   a,b,id          CSV with a header (columns by name)     {"a": 1, "b": 2, "id": "x"}   JSON lines by name
 *   1,2,x           or without one (in order)               [1, 2]                        or in order
 *
 * Bytes are read by read(2) after poll(2), which a signal interrupts: a program that waits for a row can still be ended
 * with its state saved.
 */
#include "watch_rows.h"
#include "sequences.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { LINE_LIMIT = 1 << 20, MOST_FIELDS = CAR_SEQUENCE_CHANNEL_LIMIT + 64, JSON_VALUES = 1 << 13 };

static const char origin[] = "standard input";

struct cli_rows {
    cli_rows_options options;
    char *bytes; /* [LINE_LIMIT + 1] what has been read: line after line */
    size_t begin, used;
    bool ended;   /* nothing more will come */
    int line;     /* of the present row */
    bool started; /* the first row has been seen */
    bool json, header;
    int id_column, field_count; /* CSV; -1: no ids */
    int *columns;               /* [channels] CSV: where the values stand */
    char **fields;              /* [MOST_FIELDS] */
    double *values;             /* [channels] */
    char *id;                   /* [LINE_LIMIT + 1] of the row */
};

car_status cli_rows_open(const cli_rows_options *options, cli_rows **rows, car_error *error) {
    cli_rows *made = car_allocate(NULL, 1, sizeof *made);
    *rows = made;
    if (!made)
        return car_fail(error, CAR_MEMORY, "no memory for rows");
    made->options = *options;
    made->bytes = car_allocate(NULL, LINE_LIMIT + 1, 1);
    made->id = car_allocate(NULL, LINE_LIMIT + 1, 1);
    made->columns = car_allocate(NULL, (size_t)options->channels, sizeof *made->columns);
    made->fields = car_allocate(NULL, MOST_FIELDS, sizeof *made->fields);
    made->values = car_allocate(NULL, (size_t)options->channels, sizeof *made->values);
    if (!made->bytes || !made->id || !made->columns || !made->fields || !made->values)
        return car_fail(error, CAR_MEMORY, "no memory for rows");
    return CAR_OK;
}

void cli_rows_free(cli_rows *rows) {
    if (!rows)
        return;
    void *const blocks[] = {rows->bytes, rows->id, rows->columns, rows->fields, rows->values, rows};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        car_release(NULL, blocks[i]);
}

static car_status fail(const cli_rows *rows, int column, const char *what, car_error *error) {
    return car_fail_at(error, CAR_DATA, rows->line, column, "%s:%d:%d: %s", origin, rows->line,
                       column, what);
}

/* ---- lines -------------------------------------------------------------------------------------------- */

/* Waits for more bytes; false: the end, a signal, or no more room. */
static car_status read_more(cli_rows *rows, car_error *error) {
    if (rows->begin > 0) {
        memmove(rows->bytes, rows->bytes + rows->begin, rows->used - rows->begin);
        rows->used -= rows->begin;
        rows->begin = 0;
    }
    if (rows->used >= LINE_LIMIT)
        return fail(rows, 1, "a row of more than 1 MiB", error);
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (*cli_signal() || (poll(&input, 1, -1) < 0 && errno == EINTR)) {
        rows->ended = *cli_signal() != 0;
        return CAR_OK;
    }
    ssize_t got = read(STDIN_FILENO, rows->bytes + rows->used, LINE_LIMIT - rows->used);
    if (got < 0 && errno != EINTR)
        return car_fail(error, CAR_IO, "%s: cannot be read: %s", origin, strerror(errno));
    rows->ended = got == 0;
    rows->used += got > 0 ? (size_t)got : 0;
    return CAR_OK;
}

/* The next line, NUL-terminated, without its end; NULL: there is none. */
static car_status next_line(cli_rows *rows, char **line, car_error *error) {
    *line = NULL;
    for (;;) {
        char *start = rows->bytes + rows->begin;
        char *stop = memchr(start, '\n', rows->used - rows->begin);
        if (*cli_signal())
            return CAR_OK; /* a line that has come is lost to nobody: it was not answered */
        if (!stop && rows->ended && rows->used > rows->begin) {
            stop = rows->bytes + rows->used; /* the last line, without an end */
            rows->used++;
        }
        if (stop) {
            rows->begin = (size_t)(stop - rows->bytes) + 1;
            *stop = '\0';
            rows->line++;
            *line = start;
            if (memchr(start, '\0', (size_t)(stop - start)))
                return fail(rows, 1, "a NUL byte; this is no text", error);
            if (stop > start && stop[-1] == '\r')
                stop[-1] = '\0';
            return CAR_OK;
        }
        if (rows->ended)
            return CAR_OK;
        CAR_TRY(read_more(rows, error));
    }
}

/* ---- CSV ---------------------------------------------------------------------------------------------- */

/* Cuts a line at its commas, in place; fields in quotes lose them. */
static car_status split(cli_rows *rows, char *line, int *count, car_error *error) {
    char *at = line;
    for (*count = 0;; at++) {
        if (*count >= MOST_FIELDS)
            return fail(rows, 1, "too many fields", error);
        char *out = at, *from = at;
        rows->fields[(*count)++] = at;
        if (*from == '"') {
            for (from++; *from && !(*from == '"' && from[1] != '"'); from++) {
                from += *from == '"';
                *out++ = *from;
            }
            if (*from != '"')
                return fail(rows, (int)(at - line) + 1, "a quote that is not closed", error);
            from++;
        }
        while (*from && *from != ',')
            *out++ = *from++;
        bool last = *from == '\0';
        *out = '\0';
        at = from;
        if (last)
            return CAR_OK;
    }
}

static int find_field(const cli_rows *rows, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(rows->fields[i], name) == 0)
            return i;
    return -1;
}

static car_status check_count(const cli_rows *rows, int found, car_error *error) {
    if (found == rows->options.channels)
        return CAR_OK;
    return car_fail_at(error, CAR_DATA, rows->line, 1, "%s:%d:1: %d values, the model reads %d",
                       origin, rows->line, found, rows->options.channels);
}

/* The first line: names, or already values. */
static car_status read_header(cli_rows *rows, int count, car_error *error) {
    static const char *const ids[] = {"id", "unique_id", "sequence"};
    const cli_rows_options *options = &rows->options;
    rows->field_count = count;
    rows->id_column = -1;
    double number;
    for (int i = 0; i < count && !rows->header; i++)
        rows->header = !car_number_parse(rows->fields[i], strlen(rows->fields[i]), &number);
    if (options->id && rows->header)
        rows->id_column = find_field(rows, count, options->id);
    for (int i = 0; i < 3 && !options->id && rows->id_column < 0; i++)
        rows->id_column = find_field(rows, count, ids[i]);
    if (options->id && rows->id_column < 0)
        return car_fail_at(error, CAR_DATA, 1, 1, "%s:1:1: no column `%.60s`", origin, options->id);
    int found = 0;
    for (int i = 0; i < count && !(rows->header && options->names); i++) {
        if (i != rows->id_column && found < options->channels)
            rows->columns[found] = i;
        found += i != rows->id_column;
    }
    for (; rows->header && options->names && found < options->channels; found++) {
        rows->columns[found] = find_field(rows, count, options->names[found]);
        if (rows->columns[found] < 0)
            return car_fail_at(error, CAR_DATA, 1, 1, "%s:1:1: no column `%.60s`", origin,
                               options->names[found]);
    }
    return check_count(rows, found, error);
}

static car_status read_csv(cli_rows *rows, char *line, bool *row, car_error *error) {
    int count;
    bool first = !rows->started;
    CAR_TRY(split(rows, line, &count, error));
    if (first)
        CAR_TRY(read_header(rows, count, error));
    *row = !(first && rows->header);
    if (!*row)
        return CAR_OK;
    if (count != rows->field_count)
        return car_fail_at(error, CAR_DATA, rows->line, 1,
                           "%s:%d:1: %d fields, the first row has %d", origin, rows->line, count,
                           rows->field_count);
    for (int c = 0; c < rows->options.channels; c++) {
        const char *field = rows->fields[rows->columns[c]];
        field += strspn(field, " \t");
        size_t length = strcspn(field, " \t");
        float checked;
        CAR_TRY(car_sequences_number(origin, rows->line, (int)(field - line) + 1, field, length,
                                     &checked, error));
        (void)car_number_parse(field, length, &rows->values[c]);
    }
    const char *id = rows->id_column >= 0 ? rows->fields[rows->id_column] : "";
    memcpy(rows->id, id, strlen(id) + 1);
    return CAR_OK;
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

static car_status take_number(const cli_rows *rows, const car_json *value, const char *name,
                              double *out, car_error *error) {
    if (!value || value->kind != CAR_JSON_NUMBER || !(value->number < 3e38) ||
        !(value->number > -3e38))
        return car_fail_at(error, CAR_DATA, rows->line, 1, "%s:%d:1: `%.60s` is %s", origin,
                           rows->line, name, value ? "no number" : "missing");
    *out = value->number;
    return CAR_OK;
}

static car_status read_object(cli_rows *rows, const car_json *root, car_error *error) {
    static const char *const ids[] = {"id", "unique_id", "sequence"};
    const cli_rows_options *options = &rows->options;
    const car_json *id = options->id ? car_json_member(root, options->id) : NULL;
    for (int i = 0; i < 3 && !options->id && !id; i++)
        id = car_json_member(root, ids[i]);
    if (id && id->kind == CAR_JSON_STRING)
        memcpy(rows->id, id->text, id->length + 1);
    else if (id && id->kind == CAR_JSON_NUMBER)
        snprintf(rows->id, 32, "%.17g", id->number);
    else if (options->id)
        return car_fail_at(error, CAR_DATA, rows->line, 1, "%s:%d:1: `%.60s` is missing", origin,
                           rows->line, options->id);
    if (!options->names)
        return fail(rows, 1, "the model knows no names of channels; give arrays", error);
    for (int c = 0; c < options->channels; c++)
        CAR_TRY(take_number(rows, car_json_member(root, options->names[c]), options->names[c],
                            &rows->values[c], error));
    return CAR_OK;
}

static car_status read_json(cli_rows *rows, const char *line, car_error *error) {
    const car_json *root = NULL;
    car_error cause;
    car_arena *arena = car_arena_create(NULL);
    car_status status =
        arena ? car_json_parse(line, strlen(line), origin, 3, JSON_VALUES, arena, &root, &cause)
              : CAR_MEMORY;
    rows->id[0] = '\0';
    if (status == CAR_MEMORY)
        status = car_fail(error, CAR_MEMORY, "no memory for a row");
    else if (status != CAR_OK)
        status = car_fail_at(error, CAR_DATA, rows->line, cause.column, "%s:%d:%d: %.200s", origin,
                             rows->line, cause.column, cause.message);
    else if (root->kind == CAR_JSON_OBJECT)
        status = read_object(rows, root, error);
    else if (root->kind != CAR_JSON_ARRAY)
        status = fail(rows, 1, "neither an object nor an array", error);
    else
        status = check_count(rows, root->count, error);
    int c = 0;
    for (const car_json *item = root && root->kind == CAR_JSON_ARRAY ? root->first : NULL;
         item && status == CAR_OK; item = item->next)
        status = take_number(rows, item, "the value", &rows->values[c++], error);
    car_arena_free(arena);
    return status;
}

/* ---- rows --------------------------------------------------------------------------------------------- */

car_status cli_rows_next(cli_rows *rows, cli_row *row, car_error *error) {
    *row = (cli_row){.values = rows->values, .id = rows->id};
    for (bool found = false; !found;) {
        char *line;
        CAR_TRY(next_line(rows, &line, error));
        if (!line) {
            row->end = true;
            return CAR_OK;
        }
        line += strspn(line, " \t");
        if (*line == '\0') {
            row->restart = true;
            continue;
        }
        if (!rows->started)
            rows->json = *line == '{' || *line == '[';
        found = true;
        CAR_TRY(rows->json ? read_json(rows, line, error) : read_csv(rows, line, &found, error));
        rows->started = true;
    }
    return CAR_OK;
}
