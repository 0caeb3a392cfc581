/*
 * lm_data.c: the texts of a language model as ids.
 *
 * In:  files (or texts in memory), the level, what is to be held out.
 * Out: a vocabulary from the training part alone, the ids of both parts, and for the checkpoint which
 *      files they were: absolute path and SHA-256.
 */
#include "tasks.h"
#include <stdlib.h>
#include <string.h>

static car_status copy_vocabulary(const car_vocabulary *known, const car_allocator *allocator,
                                  car_vocabulary **copy, car_error *error) {
    car_text json;
    car_text_start(&json, allocator);
    car_vocabulary_to_json(known, &json);
    car_status status =
        json.failed ? car_fail(error, CAR_MEMORY, "no memory to copy the vocabulary")
                    : car_vocabulary_from_json(json.data, "vocabulary", allocator, copy, error);
    car_text_free(&json);
    return status;
}

static car_status check_lengths(const car_lm_options *options, const car_lm_data *data,
                                bool validates, car_error *error) {
    const char *unit = options->level;
    int64_t least = options->batch * (options->unroll + 1);
    if ((int64_t)data->train.count < least)
        return car_fail(error, CAR_DATA,
                        "the training text has %zu %ss, one update of --batch %lld x --unroll %lld "
                        "needs %lld; give more text or lower one of them",
                        data->train.count, unit, (long long)options->batch,
                        (long long)options->unroll, (long long)least);
    if (validates && data->valid.count < 2)
        return car_fail(error, CAR_DATA,
                        "the validation text has %zu %ss, 2 are the least; give a longer --valid, "
                        "a larger --valid-fraction, or --valid-fraction 0",
                        data->valid.count, unit);
    return CAR_OK;
}

static car_status fill(const car_lm_options *options, const char *train, size_t train_length,
                       const char *valid, size_t valid_length, const car_vocabulary *known,
                       car_lm_data *data, car_error *error) {
    car_level level;
    CAR_TRY(car_level_parse(options->level, &level, error));
    if (known)
        CAR_TRY(copy_vocabulary(known, data->allocator, &data->vocabulary, error));
    else
        CAR_TRY(car_vocabulary_build(level, train, train_length, (int)options->vocabulary,
                                     data->allocator, &data->vocabulary, error));
    CAR_TRY(car_vocabulary_encode(data->vocabulary, train, train_length, true, data->allocator,
                                  &data->train, error));
    CAR_TRY(car_vocabulary_encode(data->vocabulary, valid, valid_length, true, data->allocator,
                                  &data->valid, error));
    data->train_bytes = train_length;
    data->valid_bytes = valid_length;
    return check_lengths(options, data, valid_length > 0, error);
}

car_status car_lm_data_make(const car_lm_options *options, const char *train, size_t train_length,
                            const char *valid, size_t valid_length, const car_vocabulary *known,
                            const car_allocator *allocator, car_lm_data *data, car_error *error) {
    *data = (car_lm_data){.allocator = allocator};
    car_status status = fill(options, train, train_length, valid, valid_length, known, data, error);
    if (status != CAR_OK)
        car_lm_data_free(data);
    return status;
}

/* {"path":"/...","sha256":"..."}; false: standard input has no place to come back to. */
static bool describe_file(const car_corpus_file *file, car_text *text) {
    char *absolute = strcmp(file->path, "-") == 0 ? NULL : realpath(file->path, NULL);
    if (!absolute)
        return false;
    car_text_format(text, "{\"path\":");
    car_text_json_string(text, absolute, strlen(absolute));
    car_text_format(text, ",\"sha256\":\"%s\"}", file->sha256);
    free(absolute);
    return true;
}

static car_status describe_files(const car_corpus *train, const car_corpus *valid,
                                 car_lm_data *data, car_error *error) {
    car_text text;
    car_text_start(&text, data->allocator);
    car_text_format(&text, "{\"train\":[");
    bool known = true;
    for (int i = 0; i < train->file_count; i++) {
        car_text_format(&text, "%s", i ? "," : "");
        known = describe_file(&train->files[i], &text) && known;
    }
    car_text_format(&text, "],\"valid\":");
    if (valid->file_count == 0)
        car_text_format(&text, "null");
    else
        known = describe_file(&valid->files[0], &text) && known;
    car_text_format(&text, "}");
    if (text.failed) {
        car_text_free(&text);
        return car_fail(error, CAR_MEMORY, "no memory for the names of the texts");
    }
    if (known)
        data->files = text.data;
    else
        car_text_free(&text);
    return CAR_OK;
}

static car_status read_and_fill(const car_lm_options *options, const char *const *paths, int count,
                                const car_vocabulary *known, car_corpus *train, car_corpus *valid,
                                car_lm_data *data, car_error *error) {
    car_level level;
    CAR_TRY(car_level_parse(options->level, &level, error));
    CAR_TRY(car_corpus_read(paths, count, level, data->allocator, train, error));
    const char *held_out = train->data;
    size_t cut = train->length, held_length = 0;
    if (options->valid) {
        CAR_TRY(car_corpus_read(&options->valid, 1, level, data->allocator, valid, error));
        held_out = valid->data;
        held_length = valid->length;
    } else if (options->valid_fraction > 0) {
        cut = car_corpus_cut(level, train->data, train->length, options->valid_fraction);
        held_out = train->data + cut;
        held_length = train->length - cut;
    }
    if (cut == 0)
        return car_fail(error, CAR_DATA,
                        "%.200s: a text of %zu byte%s is too short to learn from; give more",
                        paths[0], train->length, train->length == 1 ? "" : "s");
    CAR_TRY(fill(options, train->data, cut, held_out, held_length, known, data, error));
    return describe_files(train, valid, data, error);
}

car_status car_lm_data_read(const car_lm_options *options, const char *const *paths, int count,
                            const car_vocabulary *known, const car_allocator *allocator,
                            car_lm_data *data, car_error *error) {
    *data = (car_lm_data){.allocator = allocator};
    car_corpus train = {0}, valid = {0};
    car_status status = read_and_fill(options, paths, count, known, &train, &valid, data, error);
    car_corpus_free(&train);
    car_corpus_free(&valid);
    if (status != CAR_OK)
        car_lm_data_free(data);
    return status;
}

void car_lm_data_free(car_lm_data *data) {
    car_vocabulary_free(data->vocabulary);
    car_tokens_free(&data->train);
    car_tokens_free(&data->valid);
    car_release(data->allocator, data->files);
    *data = (car_lm_data){0};
}
