/*
 * sequences_csv.c: labelled sequences from a CSV file.
 *
 * In:  a header, then
 *        long  a step a row: an id, values, a label; the rows of a sequence stand together, in order of time
 *        row   a sequence a row: values from left to right, `channels` a step, a label; empty fields at the end: shorter
 * Out: car_sequences. A column that is none of id, step and label is a channel (long) or a place in time (row).
 */
#include "sequences.h"
#include "series.h"
#include <string.h>

typedef struct csv_reader {
    car_csv *csv;
    const char *origin;
    const car_sequences_options *options;
    car_sequences *set;
    bool row;                         /* layout row */
    int fields;                       /* of the header */
    int id, step, label;              /* columns; -1: none */
    int columns[CAR_CSV_FIELD_LIMIT]; /* of values */
    int column_count;
    /* long: the sequence that is being read */
    bool open;
    int line; /* where it began */
    int32_t class;
    double time; /* of its last row; with a step column */
} csv_reader;

/* ---- header ------------------------------------------------------------------------------------------- */

static int find_column(const car_csv_field *fields, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(fields[i].text, name) == 0)
            return i;
    return -1;
}

/* The column that is named, else the first of the usual names that is there. */
static car_status choose(const csv_reader *reader, const car_csv_field *fields, const char *named,
                         const char *const *usual, int *column, car_error *error) {
    *column = -1;
    for (int i = 0; !named && usual[i] && *column < 0; i++)
        *column = find_column(fields, reader->fields, usual[i]);
    if (!named)
        return CAR_OK;
    *column = find_column(fields, reader->fields, named);
    return *column >= 0 ? CAR_OK
                        : car_fail_at(error, CAR_DATA, 1, 1, "%.200s:1:1: no column `%.60s`",
                                      reader->origin, named);
}

static bool is_value(const csv_reader *reader, int column) {
    return column != reader->id && column != reader->step && column != reader->label;
}

/* --value a,b,c in that order, else all that are left. */
static car_status choose_values(csv_reader *reader, const car_csv_field *fields, car_error *error) {
    const char *at = reader->options->value;
    for (int i = 0; !at && i < reader->fields; i++)
        if (is_value(reader, i))
            reader->columns[reader->column_count++] = i;
    while (at && reader->column_count < CAR_CSV_FIELD_LIMIT) {
        size_t length = strcspn(at, ",");
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)(length < 255 ? length : 255), at);
        int column = find_column(fields, reader->fields, name);
        if (column < 0 || !is_value(reader, column))
            return car_fail_at(error, CAR_DATA, 1, 1, "%.200s:1:1: no column `%.60s` of values",
                               reader->origin, name);
        reader->columns[reader->column_count++] = column;
        at = at[length] == ',' ? at + length + 1 : NULL;
    }
    return reader->column_count > 0 ? CAR_OK
                                    : car_fail_at(error, CAR_DATA, 1, 1,
                                                  "%.200s:1:1: no column of values; there is the "
                                                  "id, the step and the label, and nothing else",
                                                  reader->origin);
}

static car_status name_channels(const csv_reader *reader, const car_csv_field *fields,
                                car_error *error) {
    car_sequences *set = reader->set;
    set->channel_names =
        car_arena_allocate(set->arena, (size_t)set->channels, sizeof *set->channel_names);
    for (int i = 0; set->channel_names && i < set->channels; i++) {
        const car_csv_field *field = &fields[reader->columns[i]];
        set->channel_names[i] = car_arena_copy(set->arena, field->text, field->length);
        if (!set->channel_names[i])
            set->channel_names = NULL;
    }
    return set->channel_names ? CAR_OK
                              : car_fail(error, CAR_MEMORY, "%.200s: no memory", reader->origin);
}

static car_status check_channels(const csv_reader *reader, car_error *error) {
    const car_sequences_options *options = reader->options;
    int channels = reader->set->channels;
    if (channels > CAR_SEQUENCE_CHANNEL_LIMIT)
        return car_fail(error, CAR_DATA, "%.200s: %d channels; at most %d%s", reader->origin,
                        channels, CAR_SEQUENCE_CHANNEL_LIMIT,
                        reader->id < 0 ? "" : "; is it a sequence a row? Then --layout row");
    if (options->known_channels > 0 && options->known_channels != channels)
        return car_fail_at(error, CAR_DATA, 1, 1,
                           "%.200s:1:1: %d channels, the model reads %d; name its columns with "
                           "--value",
                           reader->origin, channels, options->known_channels);
    return CAR_OK;
}

static car_status read_header(csv_reader *reader, car_error *error) {
    static const char *const ids[] = {"id", "unique_id", "sequence", NULL};
    static const char *const steps[] = {"step", "t", "time", NULL};
    static const char *const labels[] = {"label", "class", NULL};
    const car_sequences_options *options = reader->options;
    const car_csv_field *fields;
    CAR_TRY(car_csv_header(reader->csv, &fields, &reader->fields, error));
    CAR_TRY(choose(reader, fields, options->id, ids, &reader->id, error));
    CAR_TRY(choose(reader, fields, options->label, labels, &reader->label, error));
    reader->row = options->layout && strcmp(options->layout, "auto") != 0
                      ? strcmp(options->layout, "row") == 0
                      : reader->id < 0;
    reader->step = -1;
    if (!reader->row)
        CAR_TRY(choose(reader, fields, options->step, steps, &reader->step, error));
    if (!reader->row && reader->id < 0)
        return car_fail_at(error, CAR_DATA, 1, 1,
                           "%.200s:1:1: no column `id` that tells the sequences apart; name it "
                           "with --id",
                           reader->origin);
    if (reader->label < 0 && !options->unlabelled)
        return car_fail_at(error, CAR_DATA, 1, 1,
                           "%.200s:1:1: no column `label` or `class`; name it with --label",
                           reader->origin);
    if (reader->row && options->each)
        return car_fail(error, CAR_USAGE,
                        "%.200s: a class a step (head `each`) needs a step a row: an id, values, "
                        "a label",
                        reader->origin);
    CAR_TRY(choose_values(reader, fields, error));
    reader->set->channels = !reader->row                  ? reader->column_count
                            : options->known_channels > 0 ? options->known_channels
                            : options->channels > 0       ? options->channels
                                                          : 1;
    CAR_TRY(check_channels(reader, error));
    return reader->row ? CAR_OK : name_channels(reader, fields, error);
}

/* ---- rows --------------------------------------------------------------------------------------------- */

static car_status read_values(const csv_reader *reader, const car_csv_field *fields, int count,
                              float *values, car_error *error) {
    for (int i = 0; i < count; i++) {
        const car_csv_field *field = &fields[reader->columns[i]];
        CAR_TRY(car_sequences_number(reader->origin, field->line, field->column, field->text,
                                     field->length, &values[i], error));
    }
    return CAR_OK;
}

static car_status read_label(const csv_reader *reader, const car_csv_field *fields, int32_t *label,
                             car_error *error) {
    *label = -1;
    if (reader->label < 0)
        return CAR_OK;
    const car_csv_field *field = &fields[reader->label];
    return car_sequences_class(reader->set, reader->options, reader->origin, field->line,
                               field->column, field->text, field->length, label, error);
}

static car_status fail_at_field(const csv_reader *reader, const car_csv_field *field,
                                const char *what, int line, car_error *error) {
    return car_fail_at(error, CAR_DATA, field->line, field->column, "%.200s:%d:%d: %s %d",
                       reader->origin, field->line, field->column, what, line);
}

/* A sequence a row. */
static car_status add_sequence(csv_reader *reader, const car_csv_field *fields, car_error *error) {
    car_sequences *set = reader->set;
    int filled = reader->column_count;
    while (filled > 0 && fields[reader->columns[filled - 1]].length == 0)
        filled--;
    const car_csv_field *first = &fields[reader->columns[0]];
    if (filled == 0)
        return fail_at_field(reader, first, "an empty sequence in line", first->line, error);
    if (filled % set->channels != 0)
        return car_fail_at(error, CAR_DATA, first->line, first->column,
                           "%.200s:%d:%d: %d values are no whole steps of %d channels",
                           reader->origin, first->line, first->column, filled, set->channels);
    float *values;
    int32_t label;
    CAR_TRY(car_sequences_add_rows(set, (size_t)(filled / set->channels), reader->origin, &values,
                                   error));
    CAR_TRY(read_values(reader, fields, filled, values, error));
    CAR_TRY(read_label(reader, fields, &label, error));
    if (reader->id >= 0 && car_names_add(&set->names, fields[reader->id].text,
                                         fields[reader->id].length) != set->count)
        return fail_at_field(reader, &fields[reader->id], "this id was there before line",
                             first->line, error);
    return car_sequences_end(set, label, reader->origin, error);
}

static car_status close_sequence(csv_reader *reader, car_error *error) {
    if (!reader->open)
        return CAR_OK;
    reader->open = false;
    return car_sequences_end(reader->set, reader->class, reader->origin, error);
}

static bool is_name(const car_sequences *set, int index, const car_csv_field *field) {
    return index < set->names.count && strcmp(set->names.names[index], field->text) == 0;
}

/* Is this row the next of the open sequence? Else a new one begins. */
static car_status find_sequence(csv_reader *reader, const car_csv_field *fields, int32_t label,
                                car_error *error) {
    const car_csv_field *id = &fields[reader->id];
    car_sequences *set = reader->set;
    if (id->length == 0)
        return fail_at_field(reader, id, "the id is missing in line", id->line, error);
    if (reader->open && is_name(set, set->count, id)) {
        if (!set->each && label != reader->class)
            return fail_at_field(reader, &fields[reader->label],
                                 "the label changes within a sequence (for a class a step give "
                                 "--head each); it began in line",
                                 reader->line, error);
        return CAR_OK;
    }
    CAR_TRY(close_sequence(reader, error));
    int number = car_names_add(&set->names, id->text, id->length);
    if (number < 0)
        return car_fail(error, CAR_MEMORY, "%.200s: no memory for ids", reader->origin);
    if (number != set->count)
        return fail_at_field(reader, id,
                             "rows of one sequence must stand together, and this one has ended "
                             "before line",
                             id->line, error);
    reader->open = true;
    reader->line = id->line;
    reader->class = label;
    return CAR_OK;
}

static car_status check_time(csv_reader *reader, const car_csv_field *field, bool first,
                             car_error *error) {
    double time;
    if (!car_number_parse(field->text, field->length, &time))
        return CAR_OK; /* a stamp: the order of the rows is taken */
    if (!first && !(time > reader->time))
        return fail_at_field(reader, field,
                             "steps of a sequence must rise; sort them. It began in line",
                             reader->line, error);
    reader->time = time;
    return CAR_OK;
}

/* A step a row. */
static car_status add_step(csv_reader *reader, const car_csv_field *fields, car_error *error) {
    car_sequences *set = reader->set;
    float *values;
    int32_t label;
    int before = set->count;
    bool open = reader->open;
    CAR_TRY(read_label(reader, fields, &label, error));
    CAR_TRY(find_sequence(reader, fields, label, error));
    if (reader->step >= 0)
        CAR_TRY(check_time(reader, &fields[reader->step], !open || set->count != before, error));
    CAR_TRY(car_sequences_add_rows(set, 1, reader->origin, &values, error));
    if (set->each)
        set->labels[set->rows - 1] = label;
    return read_values(reader, fields, reader->column_count, values, error);
}

static car_status read_rows(csv_reader *reader, car_error *error) {
    const car_csv_field *fields;
    int count;
    for (;;) {
        CAR_TRY(car_csv_row(reader->csv, &fields, &count, error));
        if (count == 0)
            return close_sequence(reader, error);
        if (count != reader->fields)
            return car_fail_at(error, CAR_DATA, fields[0].line, 1,
                               "%.200s:%d:1: %d fields, the header has %d", reader->origin,
                               fields[0].line, count, reader->fields);
        CAR_TRY(reader->row ? add_sequence(reader, fields, error)
                            : add_step(reader, fields, error));
    }
}

car_status car_sequences_read_csv(const char *path, const car_sequences_options *options,
                                  car_sequences *set, car_error *error) {
    csv_reader *reader = car_allocate(set->allocator, 1, sizeof *reader);
    if (!reader)
        return car_fail(error, CAR_MEMORY, "%.200s: no memory to read it", path);
    *reader = (csv_reader){.options = options, .set = set};
    car_status status = car_csv_open(path, set->allocator, &reader->csv, error);
    if (status == CAR_OK) {
        reader->origin = car_csv_origin(reader->csv);
        status = read_header(reader, error);
    }
    if (status == CAR_OK)
        status = read_rows(reader, error);
    car_csv_free(reader->csv);
    car_release(set->allocator, reader);
    return status;
}
