/*
 * sequences: labelled sequences, from a file to rows of numbers.
 *
 *   sequences.c      the set itself: growing, classes in order, digest; which reader a file needs
 *   sequences_csv.c  CSV: a step a row (long), or a sequence a row
 *   ts.c             the .ts files of the UEA and UCR archives
 *   conll.c          tagged text in columns: sentences as characters and words
 *   names.c          names and their numbers (classes, ids)
 *   idx.c            images (data.h), read row by row
 *
 *   file ──car_sequences_read──► values [rows][channels], begin [count + 1], labels
 *
 * Sequence i is the rows begin[i] .. begin[i+1]-1, one at least. A label is a class a sequence or, with `each`, a step.
 */
#ifndef CAR_SEQUENCES_H
#define CAR_SEQUENCES_H

#include "base.h"

/* ---- names.c ------------------------------------------------------------------------------------------ */

/* Texts numbered in the order in which they were added. */
typedef struct car_names {
    const car_allocator *allocator;
    car_arena *arena; /* holds the texts; borrowed */
    int count, capacity;
    const char **names;  /* [count] */
    uint32_t *table;     /* [table_size] open addressing, number + 1 */
    uint32_t table_size; /* a power of two */
} car_names;
void car_names_start(car_names *names, car_arena *arena, const car_allocator *allocator);
int car_names_find(const car_names *names, const char *text, size_t length); /* -1: not there */
int car_names_add(car_names *names, const char *text,
                  size_t length); /* its number; -1: no memory */
void car_names_free(car_names *names);
/* Puts them in order, numbers by size if all are numbers; renumbered[old] = new, [count]. */
void car_names_sort(car_names *names, int *renumbered);
/* "`a`, `b`, `c` ..." for messages. */
void car_names_list(const char *const *names, int count, char *text, size_t size);

/* ---- sequences.c -------------------------------------------------------------------------------------- */

enum {
    CAR_SEQUENCE_STEP_LIMIT = 1 << 20,
    CAR_SEQUENCE_COUNT_LIMIT = 1 << 24,
    CAR_SEQUENCE_CHANNEL_LIMIT = 1 << 12,
    CAR_SEQUENCE_CLASS_LIMIT = 1 << 14
};
#define CAR_SEQUENCE_VALUE_LIMIT ((size_t)1 << 28) /* floats in all: 1 GiB */

typedef struct car_sequences {
    const car_allocator *allocator;
    car_arena *arena; /* texts */
    int count, channels, longest;
    bool each;                  /* labels are of steps */
    size_t rows;                /* of all sequences */
    size_t *begin;              /* [count + 1] */
    float *values;              /* [rows][channels] */
    int32_t *ids;               /* [rows] in place of values (channels 0): text; else NULL */
    int32_t *labels;            /* [count], or [rows] with `each`; -1: none; NULL: not asked for */
    car_names classes;          /* by number */
    car_names names;            /* of the sequences, count or 0 of them */
    car_names symbols;          /* text: what ids stand for */
    const char **channel_names; /* [channels]; NULL: none */
    size_t row_capacity, count_capacity;
} car_sequences;

typedef struct car_sequences_options {
    const char *format; /* "auto", "csv", "ts", "idx"; auto goes by the file's name */
    const char *
        layout; /* of CSV: "auto", "long" (a step a row), "row" (a sequence a row); auto: long with an id column */
    const char *id, *step,
        *label; /* columns of CSV; NULL: id, unique_id or sequence; step or t; label or class */
    const char *value;  /* columns a,b,c; NULL: all others */
    const char *labels; /* idx: the file of labels; NULL: by the name of the images' file */
    int channels;       /* layout row: values a step */
    bool each;          /* a label a step (CSV, long) */
    bool unlabelled;    /* labels are passed over and may be missing */
    const char *level;  /* text: "both", "word", "char" */
    bool texts; /* text without labels: labels are numbers in `names`, which holds the words */
    /* Of the model that is to read them; classes, symbols 0: any. */
    const char *const *known_classes;
    int known_class_count, known_channels;
    const char *const *known_symbols;
    int known_symbol_count;
} car_sequences_options;

/* CAR_DATA with file, line and column: text in a number column, missing values and labels, a class that is not known,
 * another number of channels, sequences without a step, rows of a sequence that do not stand together. */
car_status car_sequences_read(const char *path, const car_sequences_options *options,
                              const car_allocator *allocator, car_sequences *set,
                              car_error *error) CAR_CHECK_RESULT;
void car_sequences_free(car_sequences *set); /* a zeroed one is legal */
/* Of all numbers, labels and class names. */
void car_sequences_digest(const car_sequences *set, char hex[65]);

enum { CAR_UNKNOWN_WORD, CAR_UNKNOWN_CHARACTER, CAR_FIRST_SYMBOL };
/* Tagged text: a sequence a sentence, `each`, labels -1 but at words. CAR_DATA with line and column. */
car_status car_sequences_read_conll(const char *path, const car_sequences_options *options,
                                    const car_allocator *allocator, car_sequences *set,
                                    car_error *error) CAR_CHECK_RESULT;
car_status car_sequences_parse_conll(const char *data, size_t length, const char *origin,
                                     const car_sequences_options *options, car_sequences *set,
                                     car_error *error) CAR_CHECK_RESULT;
/* Keeps the symbols that `keep` [symbols.count] marks and renumbers ids; the others become unknown. Text alone. */
car_status car_sequences_keep_symbols(car_sequences *set, const bool *keep,
                                      car_error *error) CAR_CHECK_RESULT;

/* ---- Inside the room: growing a set ------------------------------------------------------------------- */

/* An empty set that knows the classes of `options`. */
car_status car_sequences_start(car_sequences *set, const car_sequences_options *options,
                               const car_allocator *allocator, car_error *error) CAR_CHECK_RESULT;
/* Room for `rows` more rows (`channels` is set): *values the first of them. */
car_status car_sequences_add_rows(car_sequences *set, size_t rows, const char *origin,
                                  float **values, car_error *error) CAR_CHECK_RESULT;
/* The number of a class, known or new; CAR_DATA with the place. */
car_status car_sequences_class(car_sequences *set, const car_sequences_options *options,
                               const char *origin, int line, int column, const char *text,
                               size_t length, int32_t *label, car_error *error) CAR_CHECK_RESULT;
/* The rows since the last call are a sequence; `label` is not looked at with `each`. */
car_status car_sequences_end(car_sequences *set, int32_t label, const char *origin,
                             car_error *error) CAR_CHECK_RESULT;
/* Sorts new classes; checks that there is something in it. */
car_status car_sequences_finish(car_sequences *set, const car_sequences_options *options,
                                const char *origin, car_error *error) CAR_CHECK_RESULT;
/* A finite number in float's range from a field; CAR_DATA with the place. */
car_status car_sequences_number(const char *origin, int line, int column, const char *text,
                                size_t length, float *value, car_error *error) CAR_CHECK_RESULT;

car_status car_sequences_read_csv(const char *path, const car_sequences_options *options,
                                  car_sequences *set, car_error *error) CAR_CHECK_RESULT;
car_status car_sequences_read_ts(const char *path, const car_sequences_options *options,
                                 car_sequences *set, car_error *error) CAR_CHECK_RESULT;
/* The same for a text in memory. */
car_status car_sequences_parse_ts(const char *data, size_t length, const char *origin,
                                  const car_sequences_options *options, car_sequences *set,
                                  car_error *error) CAR_CHECK_RESULT;

#endif
