/*
 * sequences.c: a growing set of labelled sequences, and which reader a file needs.
 *
 * In:  a file and how it is to be read. Out: car_sequences; classes that no model brings are numbered in order of their
 *      names, so that the order of the rows does not matter.
 */
#include "sequences.h"
#include "data.h"
#include <math.h>
#include <string.h>

/* ---- growing ------------------------------------------------------------------------------------------ */

car_status car_sequences_start(car_sequences *set, const car_sequences_options *options,
                               const car_allocator *allocator, car_error *error) {
    *set = (car_sequences){.allocator = allocator, .each = options->each};
    set->arena = car_arena_create(allocator);
    if (!set->arena)
        return car_fail(error, CAR_MEMORY, "no memory for sequences");
    car_names_start(&set->classes, set->arena, allocator);
    car_names_start(&set->names, set->arena, allocator);
    car_names_start(&set->symbols, set->arena, allocator);
    for (int i = 0; i < options->known_class_count; i++)
        if (car_names_add(&set->classes, options->known_classes[i],
                          strlen(options->known_classes[i])) < 0)
            return car_fail(error, CAR_MEMORY, "no memory for classes");
    return CAR_OK;
}

void car_sequences_free(car_sequences *set) {
    car_names_free(&set->classes);
    car_names_free(&set->names);
    car_names_free(&set->symbols);
    car_release(set->allocator, set->begin);
    car_release(set->allocator, set->values);
    car_release(set->allocator, set->ids);
    car_release(set->allocator, set->labels);
    car_arena_free(set->arena);
    *set = (car_sequences){0};
}

/* A larger block with the old one's first `bytes`; NULL: no memory, the old one is kept. */
static void *regrow(const car_sequences *set, void *old, size_t bytes, size_t count, size_t size) {
    void *grown = car_allocate(set->allocator, count, size);
    if (!grown)
        return NULL;
    if (bytes > 0)
        memcpy(grown, old, bytes);
    car_release(set->allocator, old);
    return grown;
}

static car_status too_large(const char *origin, car_error *error) {
    return car_fail(error, CAR_MEMORY, "%.200s: no memory for its sequences", origin);
}

static car_status grow_rows(car_sequences *set, size_t needed, const char *origin,
                            car_error *error) {
    size_t channels = set->channels > 0 ? (size_t)set->channels : 1, wanted, floats;
    size_t capacity = set->row_capacity > 0 ? set->row_capacity : 1024;
    if (!car_multiply(needed, channels, &wanted) || wanted > CAR_SEQUENCE_VALUE_LIMIT)
        return car_fail(error, CAR_DATA, "%.200s: more than %zu values; split the file", origin,
                        CAR_SEQUENCE_VALUE_LIMIT);
    while (capacity < needed)
        capacity *= 2;
    floats = capacity * channels;
    if (capacity == set->row_capacity)
        return CAR_OK;
    if (set->channels > 0) {
        float *values =
            regrow(set, set->values, set->rows * channels * sizeof *values, floats, sizeof *values);
        if (!values)
            return too_large(origin, error);
        set->values = values;
    } else {
        int32_t *ids = regrow(set, set->ids, set->rows * sizeof *ids, capacity, sizeof *ids);
        if (!ids)
            return too_large(origin, error);
        set->ids = ids;
    }
    if (set->each) {
        int32_t *labels =
            regrow(set, set->labels, set->rows * sizeof *labels, capacity, sizeof *labels);
        if (!labels)
            return too_large(origin, error);
        set->labels = labels;
    }
    set->row_capacity = capacity;
    return CAR_OK;
}

car_status car_sequences_add_rows(car_sequences *set, size_t rows, const char *origin,
                                  float **values, car_error *error) {
    if (rows > CAR_SEQUENCE_STEP_LIMIT)
        return car_fail(error, CAR_DATA, "%.200s: a sequence of %zu steps; at most %d", origin,
                        rows, CAR_SEQUENCE_STEP_LIMIT);
    CAR_TRY(grow_rows(set, set->rows + rows, origin, error));
    if (values)
        *values = set->values + set->rows * (size_t)set->channels;
    set->rows += rows;
    return CAR_OK;
}

car_status car_sequences_class(car_sequences *set, const car_sequences_options *options,
                               const char *origin, int line, int column, const char *text,
                               size_t length, int32_t *label, car_error *error) {
    *label = -1;
    if (options->unlabelled)
        return CAR_OK;
    if (length == 0)
        return car_fail_at(error, CAR_DATA, line, column, "%.200s:%d:%d: the label is missing",
                           origin, line, column);
    *label = car_names_find(&set->classes, text, length);
    if (*label >= 0)
        return CAR_OK;
    if (options->known_class_count > 0) {
        char list[200];
        car_names_list(options->known_classes, options->known_class_count, list, sizeof list);
        return car_fail_at(error, CAR_DATA, line, column,
                           "%.150s:%d:%d: class `%.*s` is unknown; there are %s", origin, line,
                           column, (int)(length < 60 ? length : 60), text, list);
    }
    if (set->classes.count >= CAR_SEQUENCE_CLASS_LIMIT)
        return car_fail_at(error, CAR_DATA, line, column,
                           "%.200s:%d:%d: more than %d classes; is this the column of labels?",
                           origin, line, column, CAR_SEQUENCE_CLASS_LIMIT);
    *label = car_names_add(&set->classes, text, length);
    return *label < 0 ? too_large(origin, error) : CAR_OK;
}

static car_status grow_count(car_sequences *set, const char *origin, car_error *error) {
    size_t count = (size_t)set->count, capacity = set->count_capacity;
    if (count + 1 < capacity)
        return CAR_OK;
    if (count >= CAR_SEQUENCE_COUNT_LIMIT)
        return car_fail(error, CAR_DATA, "%.200s: more than %d sequences; split the file", origin,
                        CAR_SEQUENCE_COUNT_LIMIT);
    capacity = capacity > 0 ? 2 * capacity : 64;
    size_t old = set->begin ? count + 1 : 0;
    size_t *begin = regrow(set, set->begin, old * sizeof *begin, capacity, sizeof *begin);
    if (!begin)
        return too_large(origin, error);
    set->begin = begin;
    if (!set->each) {
        int32_t *labels =
            regrow(set, set->labels, count * sizeof *labels, capacity, sizeof *labels);
        if (!labels)
            return too_large(origin, error);
        set->labels = labels;
    }
    set->count_capacity = capacity;
    return CAR_OK;
}

car_status car_sequences_end(car_sequences *set, int32_t label, const char *origin,
                             car_error *error) {
    CAR_TRY(grow_count(set, origin, error));
    size_t steps = set->rows - set->begin[set->count];
    if (steps > CAR_SEQUENCE_STEP_LIMIT)
        return car_fail(error, CAR_DATA, "%.200s: a sequence of %zu steps; at most %d", origin,
                        steps, CAR_SEQUENCE_STEP_LIMIT);
    if (!set->each)
        set->labels[set->count] = label;
    set->longest = (int)steps > set->longest ? (int)steps : set->longest;
    set->begin[++set->count] = set->rows;
    return CAR_OK;
}

car_status car_sequences_finish(car_sequences *set, const car_sequences_options *options,
                                const char *origin, car_error *error) {
    if (set->count == 0)
        return car_fail(error, CAR_DATA, "%.200s: no sequence in it", origin);
    if (options->known_class_count > 0 || options->unlabelled)
        return CAR_OK;
    if (set->classes.count < 2)
        return car_fail(error, CAR_DATA,
                        "%.200s: all its labels are `%.60s`; with a single class there is nothing "
                        "to tell apart",
                        origin, set->classes.names[0]);
    int *renumbered = car_allocate(set->allocator, (size_t)set->classes.count, sizeof *renumbered);
    if (!renumbered)
        return too_large(origin, error);
    for (int i = 0; i < set->classes.count; i++)
        renumbered[i] = i;
    car_names_sort(&set->classes, renumbered);
    size_t labels = set->each ? set->rows : (size_t)set->count;
    for (size_t i = 0; i < labels; i++)
        if (set->labels[i] >= 0)
            set->labels[i] = renumbered[set->labels[i]];
    car_release(set->allocator, renumbered);
    return CAR_OK;
}

car_status car_sequences_number(const char *origin, int line, int column, const char *text,
                                size_t length, float *value, car_error *error) {
    static const char *const missing[] = {"", "NA", "NaN", "nan", "null", "?"};
    double number;
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
        if (length == strlen(missing[i]) && memcmp(text, missing[i], length) == 0)
            return car_fail_at(error, CAR_DATA, line, column,
                               "%.200s:%d:%d: a value is missing; fill it or leave the row out",
                               origin, line, column);
    if (!car_number_parse(text, length, &number))
        return car_fail_at(error, CAR_DATA, line, column, "%.200s:%d:%d: `%.*s` is no number",
                           origin, line, column, (int)(length < 40 ? length : 40), text);
    if (!(fabs(number) < 3e38))
        return car_fail_at(error, CAR_DATA, line, column,
                           "%.200s:%d:%d: %g is too large for a 32-bit number", origin, line,
                           column, number);
    *value = (float)number;
    return CAR_OK;
}

car_status car_sequences_keep_symbols(car_sequences *set, const bool *keep, car_error *error) {
    car_names kept;
    int count = set->symbols.count;
    int *renumbered = car_allocate(set->allocator, (size_t)count, sizeof *renumbered);
    car_names_start(&kept, set->arena, set->allocator);
    bool fine = renumbered != NULL;
    for (int i = 0; i < count && fine; i++) {
        const char *name = set->symbols.names[i];
        renumbered[i] = name[0] == 'w' ? CAR_UNKNOWN_WORD : CAR_UNKNOWN_CHARACTER;
        if (keep[i] || i < CAR_FIRST_SYMBOL)
            renumbered[i] = car_names_add(&kept, name, strlen(name));
        fine = renumbered[i] >= 0;
    }
    for (size_t row = 0; row < set->rows && fine; row++)
        set->ids[row] = renumbered[set->ids[row]];
    car_release(set->allocator, renumbered);
    if (!fine) {
        car_names_free(&kept);
        return car_fail(error, CAR_MEMORY, "no memory for %d symbols", count);
    }
    car_names_free(&set->symbols);
    set->symbols = kept;
    return CAR_OK;
}

/* ---- images ------------------------------------------------------------------------------------------- */

/* "train-images-idx3-ubyte.gz" -> "train-labels-idx1-ubyte.gz". */
static car_status labels_path(const char *path, const car_sequences_options *options, char *out,
                              size_t size, car_error *error) {
    const char *at = options->labels ? NULL : strstr(path, "images-idx3");
    int length = at ? snprintf(out, size, "%.*slabels-idx1%s", (int)(at - path), path,
                               at + strlen("images-idx3"))
                    : snprintf(out, size, "%s", options->labels ? options->labels : "");
    if (length < 0 || (size_t)length >= size)
        return car_fail(error, CAR_USAGE, "%.200s: its name is too long", path);
    if (length == 0)
        return car_fail(error, CAR_USAGE, "%.200s: where are its labels? Give --labels FILE", path);
    return CAR_OK;
}

/* The label's name as text: its number. */
static car_status add_image(car_sequences *set, const car_sequences_options *options,
                            const car_images *images, int index, const char *origin,
                            car_error *error) {
    size_t pixels = (size_t)images->rows * (size_t)images->columns;
    const uint8_t *from = images->pixels + (size_t)index * pixels;
    float *values;
    int32_t label;
    char name[8];
    snprintf(name, sizeof name, "%d", images->labels[index]);
    CAR_TRY(
        car_sequences_class(set, options, origin, index + 1, 1, name, strlen(name), &label, error));
    CAR_TRY(car_sequences_add_rows(set, (size_t)images->rows, origin, &values, error));
    for (size_t i = 0; i < pixels; i++)
        values[i] = (float)from[i] / 255;
    return car_sequences_end(set, label, origin, error);
}

static car_status read_images(const char *path, const car_sequences_options *options,
                              car_sequences *set, car_error *error) {
    char labels[4096];
    car_images images;
    CAR_TRY(labels_path(path, options, labels, sizeof labels, error));
    CAR_TRY(car_images_read(path, labels, set->allocator, &images, error));
    car_status status = CAR_OK;
    set->channels = images.columns;
    if (options->known_channels > 0 && options->known_channels != images.columns)
        status = car_fail(error, CAR_DATA, "%.200s: images of %d columns, the model reads %d", path,
                          images.columns, options->known_channels);
    for (int i = 0; i < images.count && status == CAR_OK; i++)
        status = add_image(set, options, &images, i, path, error);
    car_images_free(&images);
    return status;
}

/* ---- which reader ------------------------------------------------------------------------------------- */

static const char *format_of(const char *path, const car_sequences_options *options) {
    size_t length = strlen(path);
    if (options->format && strcmp(options->format, "auto") != 0)
        return options->format;
    if (length > 3 && strcmp(path + length - 3, ".ts") == 0)
        return "ts";
    return options->labels || strstr(path, "idx3") ? "idx" : "csv";
}

static car_status check_options(const char *format, const car_sequences_options *options,
                                car_error *error) {
    if (options->each && strcmp(format, "csv") != 0)
        return car_fail(error, CAR_USAGE,
                        "a %s file has one label a sequence; a class a step (head `each`) needs a "
                        "CSV file with a step a row",
                        format);
    if (options->labels && strcmp(format, "idx") != 0)
        return car_fail(error, CAR_USAGE, "--labels goes with idx images, this is a %s file",
                        format);
    return CAR_OK;
}

car_status car_sequences_read(const char *path, const car_sequences_options *options,
                              const car_allocator *allocator, car_sequences *set,
                              car_error *error) {
    const char *format = format_of(path, options);
    *set = (car_sequences){0};
    CAR_TRY(check_options(format, options, error));
    car_status status = car_sequences_start(set, options, allocator, error);
    if (status == CAR_OK)
        status = strcmp(format, "ts") == 0    ? car_sequences_read_ts(path, options, set, error)
                 : strcmp(format, "idx") == 0 ? read_images(path, options, set, error)
                                              : car_sequences_read_csv(path, options, set, error);
    if (status == CAR_OK)
        status = car_sequences_finish(set, options, path, error);
    if (status != CAR_OK)
        car_sequences_free(set);
    return status;
}

void car_sequences_digest(const car_sequences *set, char hex[65]) {
    car_sha256 hash;
    car_sha256_start(&hash);
    car_sha256_add(&hash, set->begin, ((size_t)set->count + 1) * sizeof *set->begin);
    if (set->values)
        car_sha256_add(&hash, set->values, set->rows * (size_t)set->channels * sizeof *set->values);
    if (set->ids)
        car_sha256_add(&hash, set->ids, set->rows * sizeof *set->ids);
    if (set->labels)
        car_sha256_add(&hash, set->labels,
                       (set->each ? set->rows : (size_t)set->count) * sizeof *set->labels);
    for (int i = 0; i < set->classes.count; i++)
        car_sha256_add(&hash, set->classes.names[i], strlen(set->classes.names[i]) + 1);
    car_sha256_finish(&hash, hex);
}
