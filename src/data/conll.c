/*
 * conll.c: tagged text in columns.
 *
 * In:  a word a line, its tag in the last column (blanks or tabs between), an empty line between sentences; lines that
 *      begin with `#` followed by a blank and `-DOCSTART-` are passed over. Without labels the word alone is enough.
 * Out: a sequence a sentence. A word becomes its characters and then a symbol of its own, at which the tag is read:
 *
 *        the cat  ->  t h e [the] c a t [cat]        level both; word: [the] [cat]; char: t h e [?] c a t [?]
 *
 *      Symbols are named "wTEXT" and "cTEXT"; numbers 0 and 1 are the unknown word [?] and the unknown character.
 */
#include "sequences.h"
#include <string.h>

enum { FILE_LIMIT = 1 << 30, WORD_LIMIT = 1 << 10 };

typedef struct conll_reader {
    const char *origin;
    int line;
    bool known, words, characters;
    const car_sequences_options *options;
    car_sequences *set;
} conll_reader;

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static car_status fail(const conll_reader *reader, int column, const char *what, car_error *error) {
    return car_fail_at(error, CAR_DATA, reader->line, column, "%.200s:%d:%d: %s", reader->origin,
                       reader->line, column, what);
}

/* The number of a symbol: of the model's, else a new one. */
static int symbol_of(const conll_reader *reader, char kind, const char *text, size_t length) {
    char name[WORD_LIMIT + 1];
    name[0] = kind;
    memcpy(name + 1, text, length);
    if (!reader->known)
        return car_names_add(&reader->set->symbols, name, length + 1);
    int found = car_names_find(&reader->set->symbols, name, length + 1);
    return found >= 0 ? found : kind == 'w' ? CAR_UNKNOWN_WORD : CAR_UNKNOWN_CHARACTER;
}

static car_status add_symbol(const conll_reader *reader, int symbol, int32_t label,
                             car_error *error) {
    car_sequences *set = reader->set;
    if (symbol < 0)
        return car_fail(error, CAR_MEMORY, "%.200s: no memory for its words", reader->origin);
    CAR_TRY(car_sequences_add_rows(set, 1, reader->origin, NULL, error));
    set->ids[set->rows - 1] = symbol;
    set->labels[set->rows - 1] = label;
    return CAR_OK;
}

static car_status add_word(const conll_reader *reader, const char *word, size_t length, int column,
                           int32_t label, car_error *error) {
    if (length >= WORD_LIMIT)
        return fail(reader, column, "a word of more than 1,023 bytes; is this a text in columns?",
                    error);
    for (size_t at = 0; at < length;) {
        uint32_t point;
        int bytes = car_utf8_decode(word + at, length - at, &point);
        if (bytes < 1 || point == 0)
            return fail(reader, column, "not UTF-8 text; convert the file", error);
        if (reader->characters)
            CAR_TRY(
                add_symbol(reader, symbol_of(reader, 'c', word + at, (size_t)bytes), -1, error));
        at += (size_t)bytes;
    }
    int symbol = reader->words ? symbol_of(reader, 'w', word, length) : CAR_UNKNOWN_WORD;
    return add_symbol(reader, symbol, label, error);
}

/* Words stand where the tags are; their texts are kept for predictions. */
static car_status keep_text(const conll_reader *reader, const char *word, size_t length,
                            car_error *error) {
    car_sequences *set = reader->set;
    if (!reader->options->texts)
        return CAR_OK;
    int number = car_names_add(&set->names, word, length);
    if (number < 0)
        return car_fail(error, CAR_MEMORY, "%.200s: no memory for its words", reader->origin);
    set->labels[set->rows - 1] = number; /* without labels: which word stands here */
    return CAR_OK;
}

static car_status read_line(const conll_reader *reader, const char *line, size_t length,
                            car_error *error) {
    size_t begin = 0, end, tag, tag_end = length;
    int32_t label = -1;
    while (begin < length && is_blank(line[begin]))
        begin++;
    for (end = begin; end < length && !is_blank(line[end]); end++)
        continue;
    while (tag_end > end && is_blank(line[tag_end - 1]))
        tag_end--;
    for (tag = tag_end; tag > end && !is_blank(line[tag - 1]); tag--)
        continue;
    int column = (int)begin + 1;
    if (tag_end == end && !reader->options->unlabelled)
        return fail(reader, (int)end + 1, "the tag is missing: a word and its tag in a line",
                    error);
    if (!reader->options->unlabelled)
        CAR_TRY(car_sequences_class(reader->set, reader->options, reader->origin, reader->line,
                                    (int)tag + 1, line + tag, tag_end - tag, &label, error));
    CAR_TRY(add_word(reader, line + begin, end - begin, column, label, error));
    return keep_text(reader, line + begin, end - begin, error);
}

static car_status start_symbols(conll_reader *reader, car_error *error) {
    car_names *symbols = &reader->set->symbols;
    const car_sequences_options *options = reader->options;
    bool fine = true;
    reader->known = options->known_symbol_count > 0;
    for (int i = 0; reader->known && i < options->known_symbol_count && fine; i++)
        fine = car_names_add(symbols, options->known_symbols[i],
                             strlen(options->known_symbols[i])) == i;
    if (!reader->known)
        fine = car_names_add(symbols, "w", 1) == CAR_UNKNOWN_WORD &&
               car_names_add(symbols, "c", 1) == CAR_UNKNOWN_CHARACTER;
    return fine ? CAR_OK : car_fail(error, CAR_MEMORY, "%.200s: no memory", reader->origin);
}

car_status car_sequences_parse_conll(const char *data, size_t length, const char *origin,
                                     const car_sequences_options *options, car_sequences *set,
                                     car_error *error) {
    conll_reader reader = {.origin = origin,
                           .words = strcmp(options->level, "char") != 0,
                           .characters = strcmp(options->level, "word") != 0,
                           .options = options,
                           .set = set};
    set->each = true;
    CAR_TRY(start_symbols(&reader, error));
    size_t open = 0; /* where the sentence began */
    for (size_t at = 0; at < length;) {
        const char *line = data + at, *stop = memchr(line, '\n', length - at);
        size_t bytes = stop ? (size_t)(stop - line) : length - at;
        at += bytes + (stop != NULL);
        reader.line++;
        size_t blanks = 0;
        while (blanks < bytes && is_blank(line[blanks]))
            blanks++;
        bool comment = bytes > 1 && line[0] == '#' && line[1] == ' ';
        if (comment || (bytes >= 10 && memcmp(line, "-DOCSTART-", 10) == 0))
            continue;
        if (blanks < bytes) {
            CAR_TRY(read_line(&reader, line, bytes, error));
        } else if (set->rows > open) {
            CAR_TRY(car_sequences_end(set, -1, origin, error));
            open = set->rows;
        }
    }
    return set->rows > open ? car_sequences_end(set, -1, origin, error) : CAR_OK;
}

car_status car_sequences_read_conll(const char *path, const car_sequences_options *options,
                                    const car_allocator *allocator, car_sequences *set,
                                    car_error *error) {
    char *data = NULL;
    size_t length;
    *set = (car_sequences){0};
    CAR_TRY(car_file_read(path, FILE_LIMIT, allocator, &data, &length, error));
    car_status status = car_sequences_start(set, options, allocator, error);
    if (status == CAR_OK)
        status = car_sequences_parse_conll(data, length, path, options, set, error);
    if (status == CAR_OK)
        status = car_sequences_finish(set, options, path, error);
    car_release(allocator, data);
    if (status != CAR_OK)
        car_sequences_free(set);
    return status;
}
