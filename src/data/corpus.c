/*
 * corpus.c: files become one checked text.
 *
 * In:  paths ("-": standard input) and the level at which the text will be read.
 * Out: the bytes of all files, one after the other, the SHA-256 of each, and the place to cut off
 * the part that is held out. At char and word level a text must be UTF-8 without NUL; the first
 * byte that is not is named with its file, offset, line and column.
 */
#include "data.h"
#include <limits.h>
#include <math.h>
#include <string.h>

static const size_t corpus_limit = (size_t)INT32_MAX;

const char *car_level_name(car_level level) {
    switch (level) {
    case CAR_LEVEL_BYTE:
        return "byte";
    case CAR_LEVEL_CHAR:
        return "char";
    case CAR_LEVEL_WORD:
        return "word";
    }
    return "?";
}

car_status car_level_parse(const char *name, car_level *level, car_error *error) {
    for (car_level candidate = CAR_LEVEL_BYTE; candidate <= CAR_LEVEL_WORD; candidate++) {
        if (strcmp(name, car_level_name(candidate)) == 0) {
            *level = candidate;
            return CAR_OK;
        }
    }
    return car_fail(error, CAR_USAGE, "level `%.40s` is unknown; use byte, char or word", name);
}

car_status car_level_check(car_level level, const char *data, size_t length, const char *origin,
                           car_error *error) {
    if (level == CAR_LEVEL_BYTE)
        return CAR_OK;
    int line = 1, column = 1;
    for (size_t at = 0; at < length;) {
        uint32_t code_point = 0;
        int bytes = car_utf8_decode(data + at, length - at, &code_point);
        if (bytes <= 0 || code_point == 0)
            return car_fail_at(error, CAR_DATA, line, column,
                               "%.200s: %s at byte %zu (line %d, column %d); is this text? "
                               "any file can be read with --level byte",
                               origin, bytes <= 0 ? "invalid UTF-8" : "a NUL byte", at, line,
                               column);
        at += (size_t)bytes;
        if (code_point == '\n') {
            line++;
            column = 1;
        } else {
            column++;
        }
    }
    return CAR_OK;
}

/* Copies one file's bytes behind those already there and notes its name and digest. */
static car_status append_file(car_corpus *corpus, const char *path, const char *bytes,
                              size_t length, car_error *error) {
    size_t total;
    if (!car_add(corpus->length, length, &total) || total > corpus_limit)
        return car_fail(error, CAR_DATA,
                        "%.200s: the files together are above 2 GiB; give fewer of them", path);
    char *grown = car_allocate(corpus->allocator, total + 1, 1);
    char *name = car_allocate(corpus->allocator, strlen(path) + 1, 1);
    if (!grown || !name) {
        car_release(corpus->allocator, grown);
        car_release(corpus->allocator, name);
        return car_fail(error, CAR_MEMORY, "%.200s: no memory for %zu bytes of text", path, total);
    }
    if (corpus->length > 0)
        memcpy(grown, corpus->data, corpus->length);
    if (length > 0)
        memcpy(grown + corpus->length, bytes, length);
    memcpy(name, path, strlen(path));
    car_release(corpus->allocator, corpus->data);
    corpus->data = grown;

    car_corpus_file *file = &corpus->files[corpus->file_count++];
    file->path = name;
    file->begin = corpus->length;
    file->length = length;
    car_sha256 hash;
    car_sha256_start(&hash);
    car_sha256_add(&hash, bytes, length);
    car_sha256_finish(&hash, file->sha256);
    corpus->length = total;
    return CAR_OK;
}

static car_status read_files(const char *const *paths, int count, car_level level,
                             car_corpus *corpus, car_error *error) {
    for (int i = 0; i < count; i++) {
        char *bytes = NULL;
        size_t length = 0;
        CAR_TRY(car_file_read(paths[i], corpus_limit, corpus->allocator, &bytes, &length, error));
        const char *origin = strcmp(paths[i], "-") == 0 ? "standard input" : paths[i];
        car_status status = car_level_check(level, bytes, length, origin, error);
        if (status == CAR_OK)
            status = append_file(corpus, paths[i], bytes, length, error);
        car_release(corpus->allocator, bytes);
        CAR_TRY(status);
    }
    if (corpus->length == 0)
        return car_fail(error, CAR_DATA, "%.200s: the file is empty; give a text to learn from",
                        paths[0]);
    return CAR_OK;
}

car_status car_corpus_read(const char *const *paths, int count, car_level level,
                           const car_allocator *allocator, car_corpus *corpus, car_error *error) {
    *corpus = (car_corpus){.allocator = allocator};
    if (count < 1)
        return car_fail(error, CAR_USAGE,
                        "no text is given; name one or more files, or - for a pipe");
    corpus->files = car_allocate(allocator, (size_t)count, sizeof *corpus->files);
    car_status status = corpus->files
                            ? read_files(paths, count, level, corpus, error)
                            : car_fail(error, CAR_MEMORY, "no memory for %d file names", count);
    if (status != CAR_OK)
        car_corpus_free(corpus);
    return status;
}

void car_corpus_free(car_corpus *corpus) {
    for (int i = 0; corpus->files && i < corpus->file_count; i++)
        car_release(corpus->allocator, corpus->files[i].path);
    car_release(corpus->allocator, corpus->files);
    car_release(corpus->allocator, corpus->data);
    *corpus = (car_corpus){0};
}

static bool is_space(char byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

size_t car_corpus_cut(car_level level, const char *data, size_t length, double fraction) {
    size_t cut = length - (size_t)ceil((double)length * fraction - 1e-9);
    if (cut > length)
        cut = length;
    if (cut == length || cut == 0 || level == CAR_LEVEL_BYTE)
        return cut;
    if (level == CAR_LEVEL_CHAR) {
        while (cut > 0 && ((unsigned char)data[cut] & 0xC0) == 0x80)
            cut--;
        return cut;
    }
    size_t line = cut, word = cut;
    while (line > 0 && data[line - 1] != '\n')
        line--;
    if (line > 0)
        return line;
    while (word > 0 && !is_space(data[word - 1]))
        word--;
    return word;
}
