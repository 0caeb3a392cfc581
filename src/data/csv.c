/*
 * csv.c: a CSV file, row by row.
 *
 * In:  bytes from a file, standard input or memory. Out: the fields of one row after the other, each with its line and
 *      column. Only one row is held, so the size of the file does not matter.
 */
#include "series.h"
#include <errno.h>
#include <string.h>

struct car_csv {
    const car_allocator *allocator;
    const char *origin;
    FILE *file;
    bool borrowed; /* standard input: not ours to close */
    int line, column;
    int pushed;  /* one byte read too far; EOF: none */
    char *bytes; /* [CAR_CSV_ROW_LIMIT + 1] */
    size_t used;
    car_csv_field *fields; /* [CAR_CSV_FIELD_LIMIT] */
    int count;
};

static car_status make(FILE *file, const char *origin, const car_allocator *allocator,
                       car_csv **out, car_error *error) {
    car_csv *csv = car_allocate(allocator, 1, sizeof *csv);
    if (csv) {
        csv->bytes = car_allocate(allocator, CAR_CSV_ROW_LIMIT + 1, 1);
        csv->fields = car_allocate(allocator, CAR_CSV_FIELD_LIMIT, sizeof *csv->fields);
    }
    if (!csv || !csv->bytes || !csv->fields) {
        if (csv) {
            car_release(allocator, csv->bytes);
            car_release(allocator, csv->fields);
            car_release(allocator, csv);
        }
        if (file != stdin)
            fclose(file);
        return car_fail(error, CAR_MEMORY, "%.200s: no memory for a row", origin);
    }
    csv->allocator = allocator;
    csv->origin = origin;
    csv->file = file;
    csv->borrowed = file == stdin;
    csv->line = csv->column = 1;
    csv->pushed = EOF;
    *out = csv;
    return CAR_OK;
}

car_status car_csv_open(const char *path, const car_allocator *allocator, car_csv **csv,
                        car_error *error) {
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rbe");
    if (!file)
        return car_fail(error, CAR_IO, "%.300s: %s", path, strerror(errno));
    return make(file, standard ? "standard input" : path, allocator, csv, error);
}

car_status car_csv_open_text(const char *text, size_t length, const char *origin,
                             const car_allocator *allocator, car_csv **csv, car_error *error) {
    if (length == 0)
        return car_fail(error, CAR_DATA, "%.200s: the file is empty; it needs a header and rows",
                        origin);
    FILE *file = fmemopen((void *)(uintptr_t)text, length, "rb");
    if (!file)
        return car_fail(error, CAR_MEMORY, "%.200s: %s", origin, strerror(errno));
    return make(file, origin, allocator, csv, error);
}

const char *car_csv_origin(const car_csv *csv) {
    return csv->origin;
}

void car_csv_free(car_csv *csv) {
    if (!csv)
        return;
    if (!csv->borrowed)
        fclose(csv->file);
    car_release(csv->allocator, csv->bytes);
    car_release(csv->allocator, csv->fields);
    car_release(csv->allocator, csv);
}

/* ---- bytes -------------------------------------------------------------------------------------------- */

static car_status fail(const car_csv *csv, int line, int column, const char *what,
                       car_error *error) {
    return car_fail_at(error, CAR_DATA, line, column, "%.200s:%d:%d: %s", csv->origin, line, column,
                       what);
}

static int next_byte(car_csv *csv) {
    int byte = csv->pushed;
    csv->pushed = EOF;
    if (byte == EOF)
        byte = getc(csv->file);
    if (byte == '\n') {
        csv->line++;
        csv->column = 1;
    } else if (byte != EOF && (byte & 0xc0) != 0x80) {
        csv->column++;
    }
    return byte;
}

/* What comes next, without taking it. */
static int peek_byte(car_csv *csv) {
    if (csv->pushed == EOF)
        csv->pushed = getc(csv->file);
    return csv->pushed;
}

static car_status keep(car_csv *csv, int byte, car_error *error) {
    if (byte == 0)
        return fail(csv, csv->line, csv->column, "a NUL byte; this is no text file", error);
    if (csv->used >= CAR_CSV_ROW_LIMIT)
        return fail(csv, csv->line, csv->column,
                    "a row of more than 1 MiB; is a quote open, or is this no CSV file?", error);
    csv->bytes[csv->used++] = (char)byte;
    return CAR_OK;
}

/* Takes a line end; false: the next byte begins none. */
static bool take_line_end(car_csv *csv) {
    if (peek_byte(csv) == '\r')
        next_byte(csv);
    if (peek_byte(csv) != '\n')
        return false;
    next_byte(csv);
    return true;
}

static bool at_end_of_field(car_csv *csv) {
    int byte = peek_byte(csv);
    return byte == EOF || byte == ',' || byte == '\n' || byte == '\r';
}

/* ---- fields ------------------------------------------------------------------------------------------- */

static car_status read_quoted(car_csv *csv, const car_csv_field *field, car_error *error) {
    next_byte(csv);
    for (;;) {
        int byte = next_byte(csv);
        if (byte == EOF)
            return fail(csv, field->line, field->column, "a quote opens here and never closes",
                        error);
        if (byte == '"') {
            if (peek_byte(csv) != '"')
                break;
            next_byte(csv);
        }
        CAR_TRY(keep(csv, byte, error));
    }
    while (peek_byte(csv) == ' ' || peek_byte(csv) == '\t')
        next_byte(csv);
    return at_end_of_field(csv) ? CAR_OK
                                : fail(csv, csv->line, csv->column,
                                       "text behind a closing quote; double a quote inside", error);
}

static car_status read_plain(car_csv *csv, car_error *error) {
    size_t begin = csv->used;
    while (!at_end_of_field(csv))
        CAR_TRY(keep(csv, next_byte(csv), error));
    while (csv->used > begin &&
           (csv->bytes[csv->used - 1] == ' ' || csv->bytes[csv->used - 1] == '\t'))
        csv->used--;
    return CAR_OK;
}

static car_status check_text(const car_csv *csv, const car_csv_field *field, const char *text,
                             size_t length, car_error *error) {
    uint32_t point;
    for (size_t at = 0; at < length;) {
        int bytes = car_utf8_decode(text + at, length - at, &point);
        if (bytes < 1)
            return fail(csv, field->line, field->column, "not UTF-8 text; convert the file", error);
        at += (size_t)bytes;
    }
    return CAR_OK;
}

static car_status read_field(car_csv *csv, car_error *error) {
    if (csv->count >= CAR_CSV_FIELD_LIMIT)
        return fail(csv, csv->line, csv->column, "more than 16384 fields in a row", error);
    while (peek_byte(csv) == ' ' || peek_byte(csv) == '\t')
        next_byte(csv);
    car_csv_field *field = &csv->fields[csv->count];
    *field = (car_csv_field){.line = csv->line, .column = csv->column};
    size_t begin = csv->used;
    field->quoted = peek_byte(csv) == '"';
    CAR_TRY(field->quoted ? read_quoted(csv, field, error) : read_plain(csv, error));
    field->length = csv->used - begin;
    CAR_TRY(check_text(csv, field, csv->bytes + begin, field->length, error));
    field->text = csv->bytes + begin;
    csv->bytes[csv->used] = '\0';
    csv->used += csv->used < CAR_CSV_ROW_LIMIT;
    csv->count++;
    return CAR_OK;
}

static void skip_byte_order_mark(car_csv *csv) {
    if (csv->line != 1 || csv->column != 1 || peek_byte(csv) != 0xef)
        return;
    next_byte(csv);
    next_byte(csv);
    next_byte(csv);
    csv->column = 1;
}

car_status car_csv_header(car_csv *csv, const car_csv_field **fields, int *count,
                          car_error *error) {
    CAR_TRY(car_csv_row(csv, fields, count, error));
    if (*count == 0)
        return fail(csv, 1, 1, "the file is empty; it needs a header and rows", error);
    if (*count == 1 && strpbrk((*fields)[0].text, ";\t"))
        return fail(
            csv, (*fields)[0].line, 1,
            "fields are separated by commas here, not by tabs or `;` (and numbers have a decimal "
            "point)",
            error);
    return CAR_OK;
}

car_status car_csv_row(car_csv *csv, const car_csv_field **fields, int *count, car_error *error) {
    csv->used = 0;
    csv->count = 0;
    *fields = csv->fields;
    *count = 0;
    skip_byte_order_mark(csv);
    while (take_line_end(csv))
        continue;
    if (peek_byte(csv) == EOF)
        return ferror(csv->file) ? car_fail(error, CAR_IO, "%.300s: cannot be read: %s",
                                            csv->origin, strerror(errno))
                                 : CAR_OK;
    for (;;) {
        CAR_TRY(read_field(csv, error));
        if (peek_byte(csv) != ',')
            break;
        next_byte(csv);
    }
    if (peek_byte(csv) != EOF && !take_line_end(csv))
        return fail(csv, csv->line, csv->column, "a carriage return inside a row; quote the field",
                    error);
    *count = csv->count;
    return CAR_OK;
}
