/*
 * vocabulary_json.c: a vocabulary as it stands in a model file's metadata, and back.
 *
 * In:  {"level":"byte|char|word","symbols":[...]}: numbers (bytes, code points) or strings (words).
 * Out: the same vocabulary. What is read may come from anywhere: keys, types, ranges, order,
 *      duplicates and UTF-8 are checked before anything is believed.
 */
#include "data.h"
#include <string.h>

enum { MOST_SYMBOLS = 1 << 24 };

void car_vocabulary_to_json(const car_vocabulary *vocabulary, car_text *text) {
    bool words = vocabulary->level == CAR_LEVEL_WORD;
    car_text_format(text, "{\"level\":\"%s\",\"symbols\":[", car_level_name(vocabulary->level));
    const char *separator = "";
    for (int id = 0; id < vocabulary->count; id++) {
        const char *symbol = vocabulary->pool + vocabulary->begin[id];
        size_t length = vocabulary->begin[id + 1] - vocabulary->begin[id];
        if (length == 0)
            continue;
        car_text_format(text, "%s", separator);
        separator = ",";
        uint32_t code = (unsigned char)symbol[0];
        if (words) {
            car_text_json_string(text, symbol, length);
            continue;
        }
        if (vocabulary->level == CAR_LEVEL_CHAR)
            car_utf8_decode(symbol, length, &code);
        car_text_format(text, "%u", code);
    }
    car_text_format(text, "]}");
}

/* The bytes of one symbol: a word, or a number above `previous`. 0: it is not one. */
static size_t symbol_bytes(const car_json *item, car_level level, double *previous, char number[4],
                           const char **bytes) {
    if (level == CAR_LEVEL_WORD) {
        if (item->kind != CAR_JSON_STRING)
            return 0;
        for (size_t i = 0; i < item->length; i++) {
            if (item->text[i] == ' ' || (item->text[i] >= '\t' && item->text[i] <= '\r'))
                return 0;
        }
        *bytes = item->text;
        return item->length;
    }
    double most = level == CAR_LEVEL_BYTE ? 255 : 0x10FFFF;
    if (item->kind != CAR_JSON_NUMBER || !item->whole || item->number <= *previous ||
        item->number > most)
        return 0;
    *previous = item->number;
    *bytes = number;
    if (level == CAR_LEVEL_CHAR)
        return (size_t)car_utf8_encode((uint32_t)item->number, number);
    number[0] = (char)(unsigned char)item->number;
    return 1;
}

/* Copies the symbols into the vocabulary's pool (which `pool_size` bytes are sure to hold). */
static car_status read_symbols(car_vocabulary *vocabulary, const car_json *symbols,
                               size_t pool_size, const char *origin, car_error *error) {
    int count = symbols->count;
    bool extra =
        vocabulary->level == CAR_LEVEL_CHAR || (vocabulary->level == CAR_LEVEL_BYTE && count < 256);
    vocabulary->count = count + extra;
    vocabulary->pool = car_allocate(vocabulary->allocator, pool_size, 1);
    vocabulary->begin =
        car_allocate(vocabulary->allocator, (size_t)vocabulary->count + 1, sizeof(uint32_t));
    if (!vocabulary->pool || !vocabulary->begin)
        return car_fail(error, CAR_MEMORY, "%.200s: no memory for its vocabulary", origin);
    uint32_t at = 0;
    int id = 0;
    double previous = -1;
    for (const car_json *item = symbols->first; item; item = item->next) {
        char number[4];
        const char *bytes = NULL;
        size_t length = symbol_bytes(item, vocabulary->level, &previous, number, &bytes);
        if (length == 0 || length > pool_size - at)
            return car_fail(error, CAR_MODEL,
                            "%.200s: symbol %d of its vocabulary is not a valid %s; the file is "
                            "damaged",
                            origin, id, car_level_name(vocabulary->level));
        vocabulary->begin[id++] = at;
        memcpy(vocabulary->pool + at, bytes, length);
        at += (uint32_t)length;
    }
    for (; id <= vocabulary->count; id++)
        vocabulary->begin[id] = at;
    vocabulary->unknown = extra ? count : -1;
    CAR_TRY(car_vocabulary_index(vocabulary, error));
    if (vocabulary->level == CAR_LEVEL_WORD &&
        (vocabulary->unknown < 0 || vocabulary->line_end < 0))
        return car_fail(error, CAR_MODEL, "%.200s: its vocabulary lacks <unk> or <eos>", origin);
    return CAR_OK;
}

static car_status read_json(const char *json, const char *origin, car_arena *arena,
                            car_vocabulary *vocabulary, car_error *error) {
    /* A number of n digits is at most n bytes of UTF-8, a string no longer than its JSON. */
    size_t length = strlen(json);
    const car_json *root = NULL;
    car_error cause;
    if (length > UINT32_MAX / 2)
        return car_fail(error, CAR_MODEL, "%.200s: its vocabulary is too long", origin);
    if (car_json_parse(json, length, "vocabulary", 2, MOST_SYMBOLS + 3, arena, &root, &cause) !=
        CAR_OK)
        return car_fail(error, cause.status == CAR_MEMORY ? CAR_MEMORY : CAR_MODEL,
                        "%.200s: its %.250s", origin, cause.message);
    const car_json *level = car_json_member(root, "level");
    const car_json *symbols = car_json_member(root, "symbols");
    if (!level || !symbols || root->count != 2 || level->kind != CAR_JSON_STRING ||
        symbols->kind != CAR_JSON_ARRAY || symbols->count < 2 ||
        car_level_parse(level->text, &vocabulary->level, NULL) != CAR_OK)
        return car_fail(error, CAR_MODEL,
                        "%.200s: its vocabulary is not {\"level\":...,\"symbols\":[...]} with two "
                        "symbols at least",
                        origin);
    return read_symbols(vocabulary, symbols, length + 4, origin, error);
}

car_status car_vocabulary_from_json(const char *json, const char *origin,
                                    const car_allocator *allocator, car_vocabulary **vocabulary,
                                    car_error *error) {
    *vocabulary = NULL;
    car_vocabulary *made = car_allocate(allocator, 1, sizeof *made);
    car_arena *arena = car_arena_create(allocator);
    car_status status = CAR_OK;
    if (!made || !arena)
        status = car_fail(error, CAR_MEMORY, "%.200s: no memory for its vocabulary", origin);
    if (status == CAR_OK) {
        made->allocator = allocator;
        status = read_json(json, origin, arena, made, error);
    }
    car_arena_free(arena);
    if (status == CAR_OK)
        *vocabulary = made;
    else
        car_vocabulary_free(made);
    return status;
}
