/*
 * ts.c: the .ts files of the UEA and UCR archives of time series.
 *
 * In:  lines `# comment`, `@word value`, `@data`, then a sequence a line: the values of a channel between commas, channels
 *      between colons, the class behind the last colon:
 *        @classLabel true a b
 *        @data
 *        1.0,2.0,3.0:0.1,0.2,0.3:a
 * Out: rows [time][channel]. Missing values, time stamps and channels of different length in one sequence are refused.
 */
#include "sequences.h"
#include <string.h>
#include <strings.h>

enum { FILE_LIMIT = 1 << 30 };

typedef struct ts_reader {
    const char *origin;
    const char *at, *end; /* of the text */
    int line;
    bool labelled, declared; /* @classLabel true; it was there at all */
    const car_sequences_options *options;
    car_sequences *set;
} ts_reader;

/* A piece of the present line. */
typedef struct ts_piece {
    const char *data;
    size_t length;
} ts_piece;

static car_status fail(const ts_reader *reader, int column, const char *what, car_error *error) {
    return car_fail_at(error, CAR_DATA, reader->line, column, "%.200s:%d:%d: %s", reader->origin,
                       reader->line, column, what);
}

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static ts_piece trimmed(ts_piece piece) {
    while (piece.length > 0 && is_blank(piece.data[0])) {
        piece.data++;
        piece.length--;
    }
    while (piece.length > 0 && is_blank(piece.data[piece.length - 1]))
        piece.length--;
    return piece;
}

static bool next_line(ts_reader *reader, ts_piece *line) {
    if (reader->at >= reader->end)
        return false;
    const char *stop = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
    stop = stop ? stop : reader->end;
    *line = (ts_piece){reader->at, (size_t)(stop - reader->at)};
    reader->at = stop + (stop < reader->end);
    reader->line++;
    return true;
}

/* Cuts `rest` at the next `separator`; false: there was nothing left. */
static bool next_part(ts_piece *rest, char separator, ts_piece *part) {
    if (!rest->data)
        return false;
    const char *stop = memchr(rest->data, separator, rest->length);
    *part = *rest;
    if (!stop) {
        rest->data = NULL;
        return true;
    }
    part->length = (size_t)(stop - rest->data);
    rest->length -= part->length + 1;
    rest->data = stop + 1;
    return true;
}

static bool is_word(ts_piece piece, const char *word) {
    return piece.length == strlen(word) && strncasecmp(piece.data, word, piece.length) == 0;
}

/* ---- header ------------------------------------------------------------------------------------------- */

/* @classLabel true a b c: the classes, unless a model brings its own. */
static car_status read_classes(ts_reader *reader, ts_piece rest, car_error *error) {
    ts_piece word;
    reader->declared = true;
    bool first = true;
    while (next_part(&rest, ' ', &word)) {
        word = trimmed(word);
        if (word.length == 0)
            continue;
        if (first)
            reader->labelled = is_word(word, "true");
        else if (reader->options->known_class_count == 0 && !reader->options->unlabelled &&
                 car_names_add(&reader->set->classes, word.data, word.length) < 0)
            return car_fail(error, CAR_MEMORY, "%.200s: no memory for classes", reader->origin);
        first = false;
    }
    if (!reader->labelled && !reader->options->unlabelled)
        return fail(reader, 1, "the file says that it has no class labels", error);
    return CAR_OK;
}

static car_status read_header(ts_reader *reader, ts_piece line, bool *data, car_error *error) {
    ts_piece rest = line, word;
    (void)next_part(&rest, ' ', &word);
    word = trimmed(word);
    rest = rest.data ? trimmed(rest) : (ts_piece){"", 0};
    if (is_word(word, "@data"))
        *data = true;
    else if (is_word(word, "@classLabel"))
        return read_classes(reader, rest, error);
    else if (is_word(word, "@targetLabel") && is_word(rest, "true"))
        return fail(reader, 1, "a file for regression (@targetLabel); there are no classes in it",
                    error);
    else if (is_word(word, "@timeStamps") && is_word(rest, "true"))
        return fail(reader, 1, "values with time stamps are not read; write plain values", error);
    else if (line.data[0] != '@')
        return fail(reader, 1, "neither #, @word nor @data; is this a .ts file?", error);
    return CAR_OK;
}

/* ---- sequences ---------------------------------------------------------------------------------------- */

static int column_of(ts_piece line, const char *at) {
    return (int)(at - line.data) + 1;
}

static size_t count_parts(ts_piece piece, char separator) {
    size_t count = 1;
    for (size_t i = 0; i < piece.length; i++)
        count += piece.data[i] == separator;
    return count;
}

/* One channel into its column of the rows. */
static car_status read_channel(ts_reader *reader, ts_piece line, ts_piece channel, size_t steps,
                               float *values, car_error *error) {
    ts_piece part;
    size_t step = 0, stride = (size_t)reader->set->channels;
    int start = column_of(line, channel.data);
    if (count_parts(channel, ',') != steps)
        return fail(reader, start, "this channel has another number of values than the first",
                    error);
    while (next_part(&channel, ',', &part)) {
        part = trimmed(part);
        CAR_TRY(car_sequences_number(reader->origin, reader->line, column_of(line, part.data),
                                     part.data, part.length, values + stride * step++, error));
    }
    return CAR_OK;
}

static car_status check_channels(ts_reader *reader, size_t channels, car_error *error) {
    const car_sequences_options *options = reader->options;
    car_sequences *set = reader->set;
    int known = set->channels > 0 ? set->channels : options->known_channels;
    if (channels < 1 || channels > CAR_SEQUENCE_CHANNEL_LIMIT)
        return fail(reader, 1, "no channel, or more than 4096, or no class behind a colon", error);
    if (known > 0 && known != (int)channels)
        return car_fail_at(
            error, CAR_DATA, reader->line, 1,
            "%.200s:%d:1: %zu channels, %s %d; is the class there?", reader->origin, reader->line,
            channels, set->channels > 0 ? "the sequences before have" : "the model reads", known);
    set->channels = (int)channels;
    return CAR_OK;
}

static car_status read_sequence(ts_reader *reader, ts_piece line, car_error *error) {
    size_t parts = count_parts(line, ':'), channels = parts - (reader->labelled && parts > 0);
    ts_piece rest = line, part;
    float *values = NULL;
    int32_t label = -1;
    CAR_TRY(check_channels(reader, channels, error));
    size_t steps = 0;
    for (size_t c = 0; c < channels && next_part(&rest, ':', &part); c++) {
        if (trimmed(part).length == 0)
            return fail(reader, column_of(line, part.data), "an empty sequence", error);
        if (c == 0) {
            steps = count_parts(part, ',');
            CAR_TRY(car_sequences_add_rows(reader->set, steps, reader->origin, &values, error));
        }
        CAR_TRY(read_channel(reader, line, part, steps, values + c, error));
    }
    if (reader->labelled && next_part(&rest, ':', &part)) {
        int column = column_of(line, part.data), classes = reader->set->classes.count;
        part = trimmed(part);
        CAR_TRY(car_sequences_class(reader->set, reader->options, reader->origin, reader->line,
                                    column, part.data, part.length, &label, error));
        if (reader->set->classes.count > classes && classes > 1)
            return fail(reader, column, "a class that @classLabel does not name", error);
    }
    return car_sequences_end(reader->set, label, reader->origin, error);
}

car_status car_sequences_parse_ts(const char *data, size_t length, const char *origin,
                                  const car_sequences_options *options, car_sequences *set,
                                  car_error *error) {
    ts_reader reader = {
        .origin = origin, .at = data, .end = data + length, .options = options, .set = set};
    ts_piece line;
    bool body = false;
    if (memchr(data, '\0', length))
        return car_fail(error, CAR_DATA, "%.200s: a NUL byte; this is no .ts file", origin);
    while (next_line(&reader, &line)) {
        line = trimmed(line);
        if (line.length == 0 || line.data[0] == '#')
            continue;
        CAR_TRY(body ? read_sequence(&reader, line, error)
                     : read_header(&reader, line, &body, error));
        if (body && !reader.declared && !options->unlabelled)
            return fail(&reader, 1, "no @classLabel before @data", error);
    }
    return body ? CAR_OK
                : car_fail(error, CAR_DATA, "%.200s: no @data line; is this a .ts file?", origin);
}

car_status car_sequences_read_ts(const char *path, const car_sequences_options *options,
                                 car_sequences *set, car_error *error) {
    char *data;
    size_t length;
    CAR_TRY(car_file_read(path, FILE_LIMIT, set->allocator, &data, &length, error));
    car_status status = car_sequences_parse_ts(data, length, path, options, set, error);
    car_release(set->allocator, data);
    return status;
}
