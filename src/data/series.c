/*
 * series.c: rows of a CSV file -> series in order of time.
 *
 * In:  rows of long format (id, time, value) or wide (time and several values). Out: for each series its values at evenly
 *      spaced stamps, and a report of all that was not so in the file. What is wanting is refused with its place unless
 *      an option says what to do; nothing is ever filled from a later value, so no forecast can profit from it.
 *
 *   rows ──read──► records ──sort──► duplicates ──► frequency ──► gaps ──► series
 */
#include "series.h"
#include "symbols.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One value as it stood in the file. */
typedef struct series_record {
    int64_t stamp;
    double value; /* NaN: missing */
    int64_t row;  /* in the order of the file */
    int series, line, column;
    bool ahead; /* no value yet, but known covariates */
} series_record;

enum { MOST_VALUE_COLUMNS = 4096 };

typedef struct series_reader {
    const car_allocator *allocator;
    const car_series_options *options;
    car_csv *csv;
    car_series_set *set;
    series_record *records;
    size_t count, capacity;
    int id_column, time_column, value_count, width, series_capacity;
    int value_columns[MOST_VALUE_COLUMNS];
    uint32_t *table; /* [table_size] index + 1 */
    uint32_t table_size;
    bool kind_known;
    car_stamp_kind kind;
    int covariate_columns[CAR_COVARIATE_LIMIT];
    double *extras; /* [records in the order of the file][covariates] */
    size_t extra_capacity;
    bool keeps_missing; /* a row without a value may hold known covariates */
} series_reader;

static car_status fail(const series_reader *reader, int line, int column, car_error *error,
                       const char *format, ...) __attribute__((format(printf, 5, 6)));
static car_status fail(const series_reader *reader, int line, int column, car_error *error,
                       const char *format, ...) {
    char message[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return car_fail_at(error, CAR_DATA, line, column, "%.200s:%d:%d: %s",
                       car_csv_origin(reader->csv), line, column, message);
}

static car_status no_memory(const series_reader *reader, car_error *error) {
    return car_fail(error, CAR_MEMORY, "%.200s: no memory for %zu values",
                    car_csv_origin(reader->csv), reader->count);
}

/* Doubles an array when it is full; false: no memory. */
static bool grow(const car_allocator *allocator, void **array, size_t used, size_t *capacity,
                 size_t size) {
    if (used < *capacity)
        return true;
    size_t wider = *capacity ? *capacity * 2 : 256;
    void *bigger = car_allocate(allocator, wider, size);
    if (!bigger)
        return false;
    if (used > 0)
        memcpy(bigger, *array, used * size);
    car_release(allocator, *array);
    *array = bigger;
    *capacity = wider;
    return true;
}

/* ---- the header --------------------------------------------------------------------------------------- */

static int column_named(const car_csv_field *fields, int count, const char *name, size_t length) {
    for (int i = 0; i < count; i++)
        if (fields[i].length == length && memcmp(fields[i].text, name, length) == 0)
            return i;
    return -1;
}

static car_status no_column(const series_reader *reader, const car_csv_field *fields, int count,
                            const char *option, const char *name, size_t length, car_error *error) {
    char list[200] = "";
    size_t used = 0;
    for (int i = 0; i < count && used < sizeof list - 40; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.30s", i ? ", " : "",
                                 fields[i].text);
    return fail(reader, fields[0].line, 1, error, "no column `%.*s` (--%s); the file has %s",
                (int)(length < 60 ? length : 60), name, option, list);
}

static car_status find_column(series_reader *reader, const car_csv_field *fields, int count,
                              const char *option, const char *name, const char *usual, int *column,
                              car_error *error) {
    const char *wanted = name ? name : usual;
    *column = column_named(fields, count, wanted, strlen(wanted));
    return *column < 0 && name ? no_column(reader, fields, count, option, name, strlen(name), error)
                               : CAR_OK;
}

/* Is this one of the names "A,B"? */
static bool is_listed(const char *names, const car_csv_field *field) {
    for (const char *at = names; at && *at;) {
        size_t length = strcspn(at, ",");
        if (length == field->length && memcmp(at, field->text, length) == 0)
            return true;
        at += length + (at[length] == ',');
    }
    return false;
}

static bool is_covariate(const series_reader *reader, const car_csv_field *field) {
    const car_series_options *options = reader->options;
    return is_listed(options->known, field) || is_listed(options->unknown, field) ||
           is_listed(options->constant, field);
}

static car_status find_values(series_reader *reader, const car_csv_field *fields, int count,
                              car_error *error) {
    const char *names = reader->options->value;
    if (!names && column_named(fields, count, "y", 1) >= 0)
        names = "y";
    if (!names) {
        int others = 0;
        for (int i = 0; i < count; i++)
            if (i != reader->time_column && i != reader->id_column &&
                !is_covariate(reader, &fields[i])) {
                reader->value_columns[0] = i;
                others++;
            }
        reader->value_count = 1;
        return others == 1
                   ? CAR_OK
                   : fail(reader, fields[0].line, 1, error,
                          "%d columns could hold the values; name one with --value NAME, or "
                          "several, each a series, with --value A,B",
                          others);
    }
    for (const char *at = names;; at++) {
        size_t length = strcspn(at, ",");
        int column = column_named(fields, count, at, length);
        if (column < 0)
            return no_column(reader, fields, count, "value", at, length, error);
        if (reader->value_count == MOST_VALUE_COLUMNS)
            return car_fail(error, CAR_USAGE, "--value: more than %d columns", MOST_VALUE_COLUMNS);
        reader->value_columns[reader->value_count++] = column;
        at += length;
        if (!*at)
            return CAR_OK;
    }
}

static car_status add_series(series_reader *reader, const char *id, size_t length, int *index,
                             car_error *error);

static car_status add_covariates(series_reader *reader, const car_csv_field *fields, int count,
                                 const char *option, const char *names, car_covariate_role role,
                                 car_error *error) {
    car_series_set *set = reader->set;
    for (const char *at = names; at && *at;) {
        size_t length = strcspn(at, ",");
        int column = column_named(fields, count, at, length);
        if (column < 0)
            return no_column(reader, fields, count, option, at, length, error);
        if (set->covariate_count == CAR_COVARIATE_LIMIT || length >= CAR_COVARIATE_NAME)
            return car_fail(error, CAR_USAGE,
                            "--%s: at most %d columns in all, with names of less than %d bytes",
                            option, CAR_COVARIATE_LIMIT, CAR_COVARIATE_NAME);
        reader->covariate_columns[set->covariate_count] = column;
        car_covariate *covariate = &set->covariates[set->covariate_count++];
        *covariate = (car_covariate){.role = role};
        memcpy(covariate->name, at, length);
        at += length + (at[length] == ',');
    }
    return CAR_OK;
}

static car_status find_covariates(series_reader *reader, const car_csv_field *fields, int count,
                                  car_error *error) {
    const car_series_options *options = reader->options;
    reader->set->covariates =
        car_arena_allocate(reader->set->arena, CAR_COVARIATE_LIMIT, sizeof(car_covariate));
    if (!reader->set->covariates)
        return no_memory(reader, error);
    reader->keeps_missing = options->known && *options->known;
    CAR_TRY(
        add_covariates(reader, fields, count, "known", options->known, CAR_COVARIATE_KNOWN, error));
    CAR_TRY(add_covariates(reader, fields, count, "unknown", options->unknown,
                           CAR_COVARIATE_UNKNOWN, error));
    return add_covariates(reader, fields, count, "static", options->constant,
                          CAR_COVARIATE_CONSTANT, error);
}

static car_status read_header(series_reader *reader, car_error *error) {
    const car_csv_field *fields;
    int count;
    CAR_TRY(car_csv_header(reader->csv, &fields, &count, error));
    const car_series_options *options = reader->options;
    CAR_TRY(find_column(reader, fields, count, "id", options->id, "unique_id", &reader->id_column,
                        error));
    CAR_TRY(find_column(reader, fields, count, "time", options->time, "ds", &reader->time_column,
                        error));
    if (reader->time_column < 0)
        reader->time_column = reader->id_column == 0 ? 1 : 0;
    if (reader->time_column >= count)
        return fail(reader, fields[0].line, 1, error, "no column of time; name it with --time");
    CAR_TRY(find_values(reader, fields, count, error));
    if (reader->id_column >= 0 && reader->value_count > 1)
        return car_fail(error, CAR_USAGE,
                        "--value with several columns is for files without a column of ids; name "
                        "one column");
    reader->width = count;
    CAR_TRY(find_covariates(reader, fields, count, error));
    for (int i = 0, index; reader->id_column < 0 && i < reader->value_count; i++) {
        const car_csv_field *field = &fields[reader->value_columns[i]];
        CAR_TRY(add_series(reader, field->text, field->length, &index, error));
        if (index != i)
            return fail(reader, field->line, field->column, error, "column `%.60s` is named twice",
                        field->text);
    }
    return CAR_OK;
}

/* ---- rows --------------------------------------------------------------------------------------------- */

/* The table of ids by hash, at most half full after one more; NULL: no memory. */
static uint32_t *widen_table(series_reader *reader) {
    car_series_set *set = reader->set;
    if (reader->table && reader->table_size >= 2 * (uint32_t)(set->count + 1))
        return reader->table;
    uint32_t size = reader->table_size ? reader->table_size * 2 : 64;
    uint32_t *table = car_allocate(reader->allocator, size, sizeof *table);
    if (!table)
        return NULL;
    for (int i = 0; i < set->count; i++) {
        const char *id = set->series[i].id;
        uint32_t slot = (uint32_t)car_symbol_hash(id, strlen(id)) & (size - 1);
        while (table[slot])
            slot = (slot + 1) & (size - 1);
        table[slot] = (uint32_t)i + 1;
    }
    car_release(reader->allocator, reader->table);
    reader->table = table;
    reader->table_size = size;
    return table;
}

/* The index of the series `id`, a new one if there is none. */
static car_status add_series(series_reader *reader, const char *id, size_t length, int *index,
                             car_error *error) {
    car_series_set *set = reader->set;
    uint32_t *table = widen_table(reader);
    if (!table)
        return no_memory(reader, error);
    uint32_t slot = (uint32_t)car_symbol_hash(id, length) & (reader->table_size - 1);
    for (; table[slot]; slot = (slot + 1) & (reader->table_size - 1)) {
        *index = (int)table[slot] - 1;
        const char *known = set->series[*index].id;
        if (strlen(known) == length && memcmp(known, id, length) == 0)
            return CAR_OK;
    }
    if (set->count >= CAR_SERIES_COUNT_LIMIT)
        return car_fail(error, CAR_DATA, "%.200s: more than %d series; is --id the right column?",
                        car_csv_origin(reader->csv), CAR_SERIES_COUNT_LIMIT);
    size_t capacity = (size_t)reader->series_capacity;
    if (!grow(reader->allocator, (void **)&set->series, (size_t)set->count, &capacity,
              sizeof *set->series))
        return no_memory(reader, error);
    reader->series_capacity = (int)capacity;
    char *copy = car_arena_copy(set->arena, id, length);
    if (!copy)
        return no_memory(reader, error);
    *index = set->count++;
    set->series[*index] = (car_one_series){.id = copy};
    table[slot] = (uint32_t)*index + 1;
    return CAR_OK;
}

static bool is_missing(const car_csv_field *field) {
    static const char *const words[] = {"", "NA", "N/A", "NaN", "nan", "null", "NULL", "."};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(field->text, words[i]) == 0)
            return true;
    return false;
}

/* The number of a word of a constant column; a new one if it was not there. */
static car_status category_of(series_reader *reader, car_covariate *covariate,
                              const car_csv_field *field, double *value, car_error *error) {
    for (int k = 0; k < covariate->category_count; k++)
        if (strcmp(covariate->categories[k], field->text) == 0) {
            *value = k;
            return CAR_OK;
        }
    if (covariate->category_count == CAR_CATEGORY_LIMIT || field->length >= CAR_COVARIATE_NAME)
        return fail(reader, field->line, field->column, error,
                    "`%.40s`: column `%.40s` has more than %d words, or longer ones than %d bytes",
                    field->text, covariate->name, CAR_CATEGORY_LIMIT, CAR_COVARIATE_NAME - 1);
    memcpy(covariate->categories[covariate->category_count], field->text, field->length + 1);
    *value = covariate->category_count++;
    return CAR_OK;
}

static car_status read_covariate(series_reader *reader, int index, const car_csv_field *field,
                                 double *value, car_error *error) {
    car_covariate *covariate = &reader->set->covariates[index];
    bool words = covariate->category_count > 0;
    *value = NAN;
    if (is_missing(field)) {
        reader->set->report.missing++;
        if (reader->options->missing == CAR_MISSING_REFUSE &&
            covariate->role != CAR_COVARIATE_UNKNOWN)
            return fail(reader, field->line, field->column, error,
                        "no value in column `%.40s`; --missing last takes the one before",
                        covariate->name);
        return CAR_OK;
    }
    if (!words && car_number_parse(field->text, field->length, value))
        return CAR_OK;
    if (covariate->role == CAR_COVARIATE_CONSTANT && (words || reader->count == 0))
        return category_of(reader, covariate, field, value, error);
    return fail(reader, field->line, field->column, error,
                "`%.40s` is no number; column `%.40s` needs digits and a decimal point",
                field->text, covariate->name);
}

/* The covariates of the record that comes next. */
static car_status read_covariates(series_reader *reader, const car_csv_field *fields,
                                  car_error *error) {
    size_t width = (size_t)reader->set->covariate_count;
    if (width == 0)
        return CAR_OK;
    if (!grow(reader->allocator, (void **)&reader->extras, reader->count, &reader->extra_capacity,
              width * sizeof *reader->extras))
        return no_memory(reader, error);
    for (size_t i = 0; i < width; i++)
        CAR_TRY(read_covariate(reader, (int)i, &fields[reader->covariate_columns[i]],
                               &reader->extras[reader->count * width + i], error));
    return CAR_OK;
}

static car_status add_value(series_reader *reader, const car_csv_field *field, int series,
                            int64_t stamp, car_error *error) {
    double value = NAN;
    if (is_missing(field) && !reader->keeps_missing) {
        if (reader->options->missing == CAR_MISSING_REFUSE)
            return fail(reader, field->line, field->column, error,
                        "no value (`%.20s`); --missing last takes the one before, --missing drop "
                        "leaves the row out",
                        field->text);
        reader->set->report.missing++;
        if (reader->options->missing == CAR_MISSING_DROP) {
            reader->set->report.dropped++;
            return CAR_OK;
        }
    } else if (!is_missing(field) && !car_number_parse(field->text, field->length, &value)) {
        return fail(reader, field->line, field->column, error,
                    "`%.40s` is no number; values need digits and a decimal point", field->text);
    }
    if (reader->count >= CAR_SERIES_VALUE_LIMIT)
        return fail(reader, field->line, field->column, error,
                    "more than %d values are more than fits; cut the file into parts",
                    CAR_SERIES_VALUE_LIMIT);
    if (!grow(reader->allocator, (void **)&reader->records, reader->count, &reader->capacity,
              sizeof *reader->records))
        return no_memory(reader, error);
    reader->records[reader->count] = (series_record){.stamp = stamp,
                                                     .value = value,
                                                     .row = (int64_t)reader->count,
                                                     .series = series,
                                                     .line = field->line,
                                                     .column = field->column};
    reader->count++;
    return CAR_OK;
}

static car_status read_stamp(series_reader *reader, const car_csv_field *field, int64_t *stamp,
                             car_error *error) {
    car_stamp_kind kind = CAR_STAMP_INTEGER;
    if (!car_stamp_parse(field->text, field->length, &kind, stamp))
        return fail(reader, field->line, field->column, error,
                    "`%.40s` is no time stamp; write 1949, 1949-01, 1949-01-31 or 1949-01-31 13:00",
                    field->text);
    if (reader->kind_known && kind != reader->kind)
        return fail(reader, field->line, field->column, error,
                    "`%.40s` is written otherwise than the stamps before it; write all in one way",
                    field->text);
    reader->kind = kind;
    reader->kind_known = true;
    return CAR_OK;
}

static car_status read_rows(series_reader *reader, car_error *error) {
    const car_csv_field *fields;
    int count, series;
    int64_t stamp = 0;
    for (;;) {
        CAR_TRY(car_csv_row(reader->csv, &fields, &count, error));
        if (count == 0)
            return CAR_OK;
        if (count != reader->width)
            return fail(reader, fields[0].line, 1, error, "%d fields where the header has %d",
                        count, reader->width);
        reader->set->report.rows++;
        CAR_TRY(read_stamp(reader, &fields[reader->time_column], &stamp, error));
        for (int i = 0; i < reader->value_count; i++) {
            series = i;
            if (reader->id_column >= 0)
                CAR_TRY(add_series(reader, fields[reader->id_column].text,
                                   fields[reader->id_column].length, &series, error));
            CAR_TRY(read_covariates(reader, fields, error));
            CAR_TRY(add_value(reader, &fields[reader->value_columns[i]], series, stamp, error));
        }
    }
}

/* ---- order, duplicates, missing values ---------------------------------------------------------------- */

static int by_place(const void *a, const void *b) {
    const series_record *left = a, *right = b;
    if (left->series != right->series)
        return left->series < right->series ? -1 : 1;
    if (left->stamp != right->stamp)
        return left->stamp < right->stamp ? -1 : 1;
    return (left->row > right->row) - (left->row < right->row);
}

static int by_row(const void *a, const void *b) {
    const series_record *left = a, *right = b;
    if (left->series != right->series)
        return left->series < right->series ? -1 : 1;
    return (left->row > right->row) - (left->row < right->row);
}

static car_status put_in_order(series_reader *reader, car_error *error) {
    series_record *records = reader->records;
    if (reader->count == 0)
        return CAR_OK;
    qsort(records, reader->count, sizeof *records, by_row);
    for (size_t i = 1; i < reader->count; i++) {
        if (records[i].series != records[i - 1].series || records[i].stamp >= records[i - 1].stamp)
            continue;
        reader->set->report.moved++;
        if (!reader->options->sort)
            return fail(reader, records[i].line, 1, error,
                        "series `%.40s` goes back in time here; --sort puts the rows in order",
                        reader->set->series[records[i].series].id);
    }
    qsort(records, reader->count, sizeof *records, by_place);
    return CAR_OK;
}

/* Leaves one of the records [begin, end) with the same stamp. */
static void merge(const series_reader *reader, series_record *kept, size_t begin, size_t end) {
    const series_record *records = reader->records;
    double sum = 0;
    int known = 0;
    *kept = records[reader->options->duplicates == CAR_DUPLICATES_LAST ? end - 1 : begin];
    for (size_t i = begin; i < end; i++)
        if (!isnan(records[i].value)) {
            sum += records[i].value;
            known++;
        }
    if (reader->options->duplicates == CAR_DUPLICATES_MEAN)
        kept->value = known ? sum / known : NAN;
}

static car_status merge_duplicates(series_reader *reader, car_error *error) {
    series_record *records = reader->records, kept;
    size_t written = 0;
    for (size_t begin = 0, end; begin < reader->count; begin = end) {
        for (end = begin + 1; end < reader->count && records[end].series == records[begin].series &&
                              records[end].stamp == records[begin].stamp;)
            end++;
        if (end - begin > 1 && reader->options->duplicates == CAR_DUPLICATES_REFUSE)
            return fail(
                reader, records[end - 1].line, records[end - 1].column, error,
                "series `%.40s` has this time stamp in line %d already; --duplicates first, "
                "last or mean keeps one",
                reader->set->series[records[begin].series].id, records[begin].line);
        reader->set->report.duplicates += end - begin - 1;
        merge(reader, &kept, begin, end);
        records[written++] = kept;
    }
    reader->count = written;
    return CAR_OK;
}

/* Rows without a value at the end of a series, which hold known covariates. */
static void mark_ahead(const series_reader *reader) {
    series_record *records = reader->records;
    for (size_t i = reader->count; i-- > 0 && reader->keeps_missing;) {
        bool last = i + 1 == reader->count || records[i + 1].series != records[i].series;
        records[i].ahead = isnan(records[i].value) && (last || records[i + 1].ahead);
    }
}

/* Missing values become the one before; those at the start of a series are dropped. */
static car_status fill_missing(series_reader *reader, car_error *error) {
    series_record *records = reader->records;
    car_series_report *report = &reader->set->report;
    car_missing missing = reader->options->missing;
    size_t written = 0;
    for (size_t i = 0; i < reader->count; i++) {
        bool first = written == 0 || records[written - 1].series != records[i].series;
        if (isnan(records[i].value) && !records[i].ahead) {
            report->missing += reader->keeps_missing;
            if (missing == CAR_MISSING_REFUSE)
                return fail(reader, records[i].line, records[i].column, error,
                            "no value; --missing last takes the one before, --missing drop leaves "
                            "the row out");
            bool drop = first || missing == CAR_MISSING_DROP;
            report->dropped += drop;
            report->filled += !drop;
            if (drop)
                continue;
            records[i].value = records[written - 1].value;
        }
        records[written++] = records[i];
    }
    reader->count = written;
    return CAR_OK;
}

/* ---- the grid of time --------------------------------------------------------------------------------- */

/* The frequency of the series with most values; all others must fit it. */
static car_status find_frequency(series_reader *reader, car_error *error) {
    const series_record *records = reader->records;
    size_t best_begin = 0, best_end = 0;
    for (size_t begin = 0, end; begin < reader->count; begin = end) {
        for (end = begin; end < reader->count && records[end].series == records[begin].series;)
            end++;
        if (end - begin > best_end - best_begin) {
            best_begin = begin;
            best_end = end;
        }
    }
    size_t count = best_end - best_begin;
    int64_t *stamps = car_allocate(reader->allocator, count, sizeof *stamps);
    if (!stamps)
        return no_memory(reader, error);
    for (size_t i = 0; i < count; i++)
        stamps[i] = records[best_begin + i].stamp;
    int64_t odd =
        car_frequency_find(reader->kind, stamps, count, reader->allocator, &reader->set->frequency);
    car_release(reader->allocator, stamps);
    (void)odd; /* whether each stamp fits is seen when it is placed */
    return CAR_OK;
}

static car_status check_step(series_reader *reader, const series_record *record, int64_t steps,
                             car_error *error) {
    char name[32];
    const char *id = reader->set->series[record->series].id;
    car_frequency_name(&reader->set->frequency, name);
    if (reader->options->gaps == CAR_GAPS_CLOSE)
        return CAR_OK;
    if (steps < 0)
        return fail(
            reader, record->line, 1, error,
            "series `%.40s` is %s, but this stamp lies between two steps; mixed frequencies "
            "need a file each (or --gaps close: rows count, not time)",
            id, name);
    if (steps > 1 && reader->options->gaps == CAR_GAPS_REFUSE)
        return fail(reader, record->line, 1, error,
                    "series `%.40s` is %s, but %lld stamp%s missing before this row; --gaps last "
                    "takes the value before, --gaps close counts rows, not time",
                    id, name, (long long)steps - 1, steps == 2 ? " is" : "s are");
    return CAR_OK;
}

/* A step's covariates; what is missing is as it was the step before. */
static void place_covariates(const series_reader *reader, const series_record *from, size_t step,
                             car_one_series *series) {
    size_t width = (size_t)reader->set->covariate_count;
    for (size_t i = 0; i < width; i++) {
        double value = reader->extras[(size_t)from->row * width + i];
        if (isnan(value) && step > 0)
            value = series->covariates[(step - 1) * width + i];
        series->covariates[step * width + i] = value;
    }
}

/* Counts a series' values on the grid, and writes them when `series` has memory. */
static car_status place_values(series_reader *reader, size_t begin, size_t end,
                               car_one_series *series, car_error *error) {
    const car_frequency *frequency = &reader->set->frequency;
    size_t count = 0, ahead = 0;
    for (size_t i = begin; i < end; i++) {
        const series_record *record = &reader->records[i];
        int64_t steps = 1;
        if (i > begin) {
            steps = car_frequency_steps(frequency, record[-1].stamp, record->stamp);
            CAR_TRY(check_step(reader, record, steps, error));
            if (reader->options->gaps == CAR_GAPS_CLOSE)
                steps = 1;
        }
        if (steps > CAR_SERIES_VALUE_LIMIT ||
            count > (size_t)CAR_SERIES_VALUE_LIMIT - (size_t)steps)
            return fail(reader, record->line, 1, error,
                        "the gap before this row is %lld steps long; is the year right?",
                        (long long)steps);
        for (int64_t k = 1; k <= steps; k++, count++) {
            const series_record *from = k == steps ? record : &record[-1];
            if (!series->values)
                continue;
            if (!record->ahead) {
                series->values[count] = from->value;
                series->stamps[count] =
                    k == steps ? record->stamp : car_frequency_add(frequency, from->stamp, k);
            }
            place_covariates(reader, from, count, series);
        }
        ahead += record->ahead ? (size_t)steps : 0;
        reader->set->report.gaps += series->values ? (size_t)(steps - 1) : 0;
    }
    series->count = count - ahead;
    series->ahead = ahead;
    return CAR_OK;
}

static car_status make_series(series_reader *reader, car_error *error) {
    car_series_set *set = reader->set;
    size_t total = 0;
    for (size_t begin = 0, end; begin < reader->count; begin = end) {
        car_one_series *series = &set->series[reader->records[begin].series];
        for (end = begin;
             end < reader->count && reader->records[end].series == reader->records[begin].series;)
            end++;
        CAR_TRY(place_values(reader, begin, end, series, error));
        size_t steps = series->count + series->ahead, width = (size_t)set->covariate_count;
        total += steps;
        if (total > CAR_SERIES_VALUE_LIMIT)
            return car_fail(error, CAR_DATA, "%.200s: with its gaps filled more than %d values",
                            car_csv_origin(reader->csv), CAR_SERIES_VALUE_LIMIT);
        series->values = car_arena_allocate(set->arena, series->count, sizeof *series->values);
        series->stamps = car_arena_allocate(set->arena, series->count, sizeof *series->stamps);
        series->covariates =
            car_arena_allocate(set->arena, steps, (width + 1) * sizeof *series->covariates);
        if (!series->values || !series->stamps || !series->covariates)
            return no_memory(reader, error);
        CAR_TRY(place_values(reader, begin, end, series, error));
    }
    for (int i = 0; i < set->count; i++)
        if (set->series[i].count == 0)
            return car_fail(error, CAR_DATA, "%.200s: series `%.60s` has no value at all",
                            car_csv_origin(reader->csv), set->series[i].id);
    return CAR_OK;
}

/* The series' own array moves to the arena, where all of the set lives. */
static car_status settle(series_reader *reader, car_error *error) {
    car_series_set *set = reader->set;
    car_one_series *kept = car_arena_allocate(set->arena, (size_t)set->count, sizeof *kept);
    if (kept)
        memcpy(kept, set->series, (size_t)set->count * sizeof *kept);
    car_release(reader->allocator, set->series);
    set->series = kept;
    return kept ? CAR_OK : no_memory(reader, error);
}

static car_status read_all(series_reader *reader, car_error *error) {
    CAR_TRY(read_header(reader, error));
    CAR_TRY(read_rows(reader, error));
    CAR_TRY(put_in_order(reader, error));
    CAR_TRY(merge_duplicates(reader, error));
    mark_ahead(reader);
    CAR_TRY(fill_missing(reader, error));
    if (reader->count == 0)
        return car_fail(error, CAR_DATA, "%.200s: %zu row%s and no value in any of them",
                        car_csv_origin(reader->csv), reader->set->report.rows,
                        reader->set->report.rows == 1 ? "" : "s");
    CAR_TRY(find_frequency(reader, error));
    return make_series(reader, error);
}

car_status car_series_read(car_csv *csv, const car_series_options *options,
                           const car_allocator *allocator, car_series_set *set, car_error *error) {
    *set = (car_series_set){.arena = car_arena_create(allocator)};
    series_reader *reader = car_allocate(allocator, 1, sizeof *reader);
    car_status status = CAR_OK;
    if (!set->arena || !reader) {
        status = car_fail(error, CAR_MEMORY, "%.200s: out of memory", car_csv_origin(csv));
    } else {
        *reader = (series_reader){
            .allocator = allocator, .options = options, .csv = csv, .set = set, .id_column = -1};
        status = read_all(reader, error);
        if (status == CAR_OK)
            status = settle(reader, error);
        else
            car_release(allocator, set->series);
        car_release(allocator, reader->records);
        car_release(allocator, reader->table);
        car_release(allocator, reader->extras);
    }
    car_release(allocator, reader);
    if (status != CAR_OK) {
        car_arena_free(set->arena);
        *set = (car_series_set){0};
    }
    return status;
}

void car_series_free(car_series_set *set) {
    car_arena_free(set->arena);
    *set = (car_series_set){0};
}
