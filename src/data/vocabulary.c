/*
 * vocabulary.c: which symbols there are, and text <-> ids.
 *
 * In:  a text that has passed car_level_check.
 * Out: symbols numbered 0 .. count-1, and the text as a row of these numbers.
 *
 * Symbols are byte strings in one pool, found by open addressing over their FNV-1a hash. Bytes and
 * code points stand in rising order; words by falling frequency, ties by first appearance.
 */
#include "data.h"
#include "symbols.h"
#include <stdlib.h>
#include <string.h>

static const char unknown_word[] = "<unk>", line_end_word[] = "<eos>";

static bool is_space(char byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* ---- pieces of text ------------------------------------------------------------------------- */

/* The next token of a text, and where the one after it starts. A word-level line end is <eos>. */
typedef struct piece {
    const char *data;
    size_t length;
} piece;

static bool next_piece(car_level level, const char *data, size_t length, size_t *at, piece *next) {
    if (level == CAR_LEVEL_WORD) {
        while (*at < length && is_space(data[*at]) && data[*at] != '\n')
            ++*at;
    }
    if (*at >= length)
        return false;
    next->data = data + *at;
    if (level == CAR_LEVEL_BYTE) {
        next->length = 1;
    } else if (level == CAR_LEVEL_CHAR) {
        uint32_t code_point;
        int bytes = car_utf8_decode(data + *at, length - *at, &code_point);
        next->length = bytes > 0 ? (size_t)bytes : 1;
    } else if (data[*at] == '\n') {
        *next = (piece){line_end_word, sizeof line_end_word - 1};
        ++*at;
        return true;
    } else {
        size_t end = *at;
        while (end < length && !is_space(data[end]))
            end++;
        next->length = end - *at;
    }
    *at += next->length;
    return true;
}

/* ---- counting ------------------------------------------------------------------------------- */

typedef struct counted {
    const char *data; /* in the text, or a literal */
    size_t length;
    uint64_t count;
    uint32_t order; /* of first appearance */
} counted;

typedef struct symbol_counts {
    const car_allocator *allocator;
    counted *items;
    uint32_t count, capacity;
    uint32_t *table; /* index + 1 */
    uint32_t table_size;
} symbol_counts;

static void counter_free(symbol_counts *counter) {
    car_release(counter->allocator, counter->items);
    car_release(counter->allocator, counter->table);
}

static bool counter_grow(symbol_counts *counter) {
    uint32_t capacity = counter->capacity ? counter->capacity * 2 : 1024;
    if (capacity > UINT32_C(1) << 29)
        return false;
    counted *items = car_allocate(counter->allocator, capacity, sizeof *items);
    uint32_t *table = car_allocate(counter->allocator, (size_t)capacity * 2, sizeof *table);
    if (!items || !table) {
        car_release(counter->allocator, items);
        car_release(counter->allocator, table);
        return false;
    }
    if (counter->count > 0)
        memcpy(items, counter->items, counter->count * sizeof *items);
    for (uint32_t i = 0; i < counter->count; i++) {
        uint32_t slot = car_symbol_hash(items[i].data, items[i].length) & (capacity * 2 - 1);
        while (table[slot])
            slot = (slot + 1) & (capacity * 2 - 1);
        table[slot] = i + 1;
    }
    counter_free(counter);
    counter->items = items;
    counter->table = table;
    counter->capacity = capacity;
    counter->table_size = capacity * 2;
    return true;
}

/* Counts `times` more of a symbol; false: out of memory. */
static bool counter_add(symbol_counts *counter, piece symbol, uint64_t times) {
    if (counter->count == counter->capacity && !counter_grow(counter))
        return false;
    uint32_t slot = car_symbol_hash(symbol.data, symbol.length) & (counter->table_size - 1);
    for (; counter->table[slot]; slot = (slot + 1) & (counter->table_size - 1)) {
        counted *item = &counter->items[counter->table[slot] - 1];
        if (item->length == symbol.length && !memcmp(item->data, symbol.data, symbol.length)) {
            item->count += times;
            return true;
        }
    }
    counter->items[counter->count] = (counted){symbol.data, symbol.length, times, counter->count};
    counter->table[slot] = ++counter->count;
    return true;
}

static int by_frequency(const void *left, const void *right) {
    const counted *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* The byte order of UTF-8 is the order of the code points. */
static int by_bytes(const void *left, const void *right) {
    const counted *a = left, *b = right;
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->data, b->data, shorter);
    return order ? order : a->length < b->length ? -1 : a->length > b->length;
}

/* ---- building ------------------------------------------------------------------------------- */

static bool is_literal(const counted *item, const char *literal) {
    return item->length == strlen(literal) && !memcmp(item->data, literal, item->length);
}

/* Moves <unk> and <eos> (which are counted, if only 0 times) within the first `limit`; returns how
 * many stay. */
static uint32_t keep_most_frequent(symbol_counts *counter, uint32_t limit) {
    qsort(counter->items, counter->count, sizeof *counter->items, by_frequency);
    if (counter->count <= limit)
        return counter->count;
    uint32_t kept = limit;
    for (uint32_t i = limit; i < counter->count; i++) {
        counted *item = &counter->items[i];
        if (is_literal(item, unknown_word) || is_literal(item, line_end_word)) {
            do {
                kept--;
            } while (is_literal(&counter->items[kept], unknown_word) ||
                     is_literal(&counter->items[kept], line_end_word));
            counter->items[kept] = *item;
        }
    }
    return limit;
}

/* Lays the chosen symbols down in a pool; with `extra` an empty one (<unk>) behind them. */
static car_status lay_down(car_vocabulary *vocabulary, const counted *items, uint32_t count,
                           bool extra, car_error *error) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += items[i].length;
    vocabulary->count = (int)(count + extra);
    vocabulary->pool = car_allocate(vocabulary->allocator, bytes + 1, 1);
    vocabulary->begin =
        car_allocate(vocabulary->allocator, (size_t)count + extra + 1, sizeof(uint32_t));
    if (!vocabulary->pool || !vocabulary->begin || bytes > UINT32_MAX)
        return car_fail(error, CAR_MEMORY, "vocabulary: no memory for %u symbols", count);
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        vocabulary->begin[i] = at;
        memcpy(vocabulary->pool + at, items[i].data, items[i].length);
        at += (uint32_t)items[i].length;
    }
    for (uint32_t i = count; i <= count + extra; i++)
        vocabulary->begin[i] = at;
    vocabulary->unknown = extra ? (int)count : -1;
    return car_vocabulary_index(vocabulary, error);
}

static car_status count_text(symbol_counts *counter, car_level level, const char *data,
                             size_t length, car_error *error) {
    piece symbol;
    bool enough = true;
    for (size_t at = 0; enough && next_piece(level, data, length, &at, &symbol);)
        enough = counter_add(counter, symbol, 1);
    if (enough && counter->count < 2)
        return car_fail(error, CAR_DATA,
                        "the text has %s; a language model needs at least two different "
                        "tokens: give a longer text%s",
                        counter->count ? "only one symbol, again and again" : "no token",
                        level == CAR_LEVEL_WORD ? " or --level char" : "");
    if (enough && level == CAR_LEVEL_WORD)
        enough = counter_add(counter, (piece){unknown_word, sizeof unknown_word - 1}, 0) &&
                 counter_add(counter, (piece){line_end_word, sizeof line_end_word - 1}, 0);
    return enough ? CAR_OK : car_fail(error, CAR_MEMORY, "vocabulary: no memory for its symbols");
}

car_status car_vocabulary_build(car_level level, const char *data, size_t length, int limit,
                                const car_allocator *allocator, car_vocabulary **vocabulary,
                                car_error *error) {
    *vocabulary = NULL;
    if (level == CAR_LEVEL_WORD && limit < 3)
        return car_fail(error, CAR_USAGE,
                        "a vocabulary of %d words is too small; <unk>, <eos> and one word make 3",
                        limit);
    symbol_counts counter = {.allocator = allocator};
    car_vocabulary *made = car_allocate(allocator, 1, sizeof *made);
    car_status status = made ? count_text(&counter, level, data, length, error)
                             : car_fail(error, CAR_MEMORY, "vocabulary: out of memory");
    if (status == CAR_OK) {
        made->allocator = allocator;
        made->level = level;
        uint32_t kept = counter.count;
        if (level == CAR_LEVEL_WORD)
            kept = keep_most_frequent(&counter, (uint32_t)limit);
        else
            qsort(counter.items, kept, sizeof *counter.items, by_bytes);
        bool extra = level == CAR_LEVEL_CHAR || (level == CAR_LEVEL_BYTE && kept < 256);
        status = lay_down(made, counter.items, kept, extra, error);
    }
    if (counter.table)
        counter_free(&counter);
    if (status == CAR_OK)
        *vocabulary = made;
    else
        car_vocabulary_free(made);
    return status;
}

car_status car_vocabulary_index(car_vocabulary *vocabulary, car_error *error) {
    uint32_t size = 64;
    while (size < (uint32_t)vocabulary->count * 2)
        size *= 2;
    vocabulary->table = car_allocate(vocabulary->allocator, size, sizeof(uint32_t));
    if (!vocabulary->table)
        return car_fail(error, CAR_MEMORY, "vocabulary: no memory for its index");
    vocabulary->table_size = size;
    for (int id = 0; id < vocabulary->count; id++) {
        uint32_t begin = vocabulary->begin[id], length = vocabulary->begin[id + 1] - begin;
        if (length == 0)
            continue;
        if (car_vocabulary_find(vocabulary, vocabulary->pool + begin, length) >= 0)
            return car_fail(error, CAR_MODEL, "vocabulary: symbol %d occurs twice", id);
        uint32_t slot = car_symbol_hash(vocabulary->pool + begin, length) & (size - 1);
        while (vocabulary->table[slot])
            slot = (slot + 1) & (size - 1);
        vocabulary->table[slot] = (uint32_t)id + 1;
    }
    bool words = vocabulary->level == CAR_LEVEL_WORD;
    const char *line_end = words ? line_end_word : "\n";
    vocabulary->line_end = car_vocabulary_find(vocabulary, line_end, strlen(line_end));
    if (words)
        vocabulary->unknown =
            car_vocabulary_find(vocabulary, unknown_word, sizeof unknown_word - 1);
    return CAR_OK;
}

void car_vocabulary_free(car_vocabulary *vocabulary) {
    if (!vocabulary)
        return;
    car_release(vocabulary->allocator, vocabulary->pool);
    car_release(vocabulary->allocator, vocabulary->begin);
    car_release(vocabulary->allocator, vocabulary->table);
    car_release(vocabulary->allocator, vocabulary);
}

/* ---- use ------------------------------------------------------------------------------------ */

int car_vocabulary_find(const car_vocabulary *vocabulary, const char *symbol, size_t length) {
    uint32_t mask = vocabulary->table_size - 1;
    uint32_t slot = car_symbol_hash(symbol, length) & mask;
    for (; vocabulary->table[slot]; slot = (slot + 1) & mask) {
        uint32_t id = vocabulary->table[slot] - 1;
        uint32_t begin = vocabulary->begin[id];
        if (vocabulary->begin[id + 1] - begin == length &&
            !memcmp(vocabulary->pool + begin, symbol, length))
            return (int)id;
    }
    return -1;
}

const char *car_vocabulary_symbol(const car_vocabulary *vocabulary, int id, size_t *length) {
    if (vocabulary->level == CAR_LEVEL_WORD && id == vocabulary->line_end) {
        *length = 1;
        return "\n";
    }
    if (id == vocabulary->unknown) {
        *length = sizeof unknown_word - 1;
        return unknown_word;
    }
    *length = vocabulary->begin[id + 1] - vocabulary->begin[id];
    return vocabulary->pool + vocabulary->begin[id];
}

static size_t count_characters(car_level level, const char *data, size_t length) {
    if (level == CAR_LEVEL_BYTE)
        return length;
    size_t characters = 0;
    for (size_t i = 0; i < length; i++)
        characters += ((unsigned char)data[i] & 0xC0) != 0x80;
    return characters;
}

/* Fills ids when it is not NULL; returns how many there are. */
static size_t encode(const car_vocabulary *vocabulary, const char *data, size_t length,
                     int32_t *ids, size_t *unknown) {
    size_t count = 0;
    piece symbol;
    for (size_t at = 0; next_piece(vocabulary->level, data, length, &at, &symbol); count++) {
        if (!ids)
            continue;
        int id = car_vocabulary_find(vocabulary, symbol.data, symbol.length);
        if (id < 0)
            id = vocabulary->unknown;
        *unknown += id == vocabulary->unknown;
        ids[count] = id;
    }
    return count;
}

car_status car_vocabulary_encode(const car_vocabulary *vocabulary, const char *data, size_t length,
                                 bool end_line, const car_allocator *allocator, car_tokens *tokens,
                                 car_error *error) {
    *tokens = (car_tokens){.allocator = allocator};
    size_t count = encode(vocabulary, data, length, NULL, NULL);
    bool add_end =
        end_line && vocabulary->level == CAR_LEVEL_WORD && length > 0 && data[length - 1] != '\n';
    tokens->ids = car_allocate(allocator, count + add_end, sizeof *tokens->ids);
    if (!tokens->ids)
        return car_fail(error, CAR_MEMORY, "no memory for %zu tokens", count);
    encode(vocabulary, data, length, tokens->ids, &tokens->unknown);
    if (add_end)
        tokens->ids[count] = vocabulary->line_end;
    tokens->count = count + add_end;
    tokens->characters = count_characters(vocabulary->level, data, length) + add_end;
    return CAR_OK;
}

void car_tokens_free(car_tokens *tokens) {
    car_release(tokens->allocator, tokens->ids);
    *tokens = (car_tokens){0};
}
