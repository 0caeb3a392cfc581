/*
 * data: from files to batches of token ids. Stands on base; knows no network.
 *
 *   corpus.c      files (or standard input) -> one checked text; where a training part ends
 *   vocabulary.c  text -> symbols; text <-> ids            vocabulary_json.c  vocabulary <-> JSON
 *   stream.c      ids -> lanes -> batches [steps][lanes]
 *   ngram.c       unigram and interpolated modified Kneser-Ney, the baselines of a language model
 *   demo.c        the C headers of this machine as a corpus
 *   idx.c         images and labels (MNIST's files, or a CSV file)
 *
 *   files --car_corpus_read--> bytes --car_vocabulary_encode--> ids --car_stream_batch--> input,
 * target
 *
 * Everything returned is owned by the caller and released with the allocator it was made with.
 */
#ifndef CAR_DATA_H
#define CAR_DATA_H

#include "base.h"

/* ---- levels: what one token is
 * ------------------------------------------------------------------------ */

typedef enum car_level {
    CAR_LEVEL_BYTE, /* one byte; any file */
    CAR_LEVEL_CHAR, /* one UTF-8 code point */
    CAR_LEVEL_WORD  /* words between white space; a line end is the word <eos> (the Penn Treebank's
                       way) */
} car_level;
const char *car_level_name(car_level level);
car_status car_level_parse(const char *name, car_level *level, car_error *error); /* CAR_USAGE */

/* ---- corpus.c
 * ----------------------------------------------------------------------------------------- */

typedef struct car_corpus_file {
    char *path; /* as given; "-" is standard input */
    size_t begin, length;
    char sha256[65];
} car_corpus_file;

/* Several files one after the other, byte for byte as `cat` would. */
typedef struct car_corpus {
    const car_allocator *allocator;
    char *data; /* [length], a NUL behind it */
    size_t length;
    int file_count;
    car_corpus_file *files;
} car_corpus;

/* CAR_IO: cannot be read. CAR_DATA: all files empty; above 2 GiB together; and at char and word
 * level the first invalid UTF-8 or NUL byte, with its file, byte offset, line and column. */
car_status car_corpus_read(const char *const *paths, int count, car_level level,
                           const car_allocator *allocator, car_corpus *corpus,
                           car_error *error) CAR_CHECK_RESULT;
void car_corpus_free(car_corpus *corpus); /* a zeroed one is legal */

/* The check that car_corpus_read makes, for a text from elsewhere. */
car_status car_level_check(car_level level, const char *data, size_t length, const char *origin,
                           car_error *error) CAR_CHECK_RESULT;

/* Bytes of the training part when the last `fraction` of the text is held out: the cut is exact at
 * byte level, moved back to a whole code point at char level and to a whole line (else word) at
 * word level. */
size_t car_corpus_cut(car_level level, const char *data, size_t length, double fraction);

/* ---- vocabulary.c
 * ------------------------------------------------------------------------------------- */

/* Symbols are numbered 0 .. count-1.
 * byte:  the bytes seen in the training text, in rising order, then <unk> for the others when not
 * all 256 were seen. A model never sees <unk> in training; in evaluation it is a token like any
 * other, and counted. char:  the code points seen, in rising order, then <unk>. word:  the most
 * frequent words (ties: the one seen first); <unk> and <eos> always belong to them. */
typedef struct car_vocabulary {
    const car_allocator *allocator;
    car_level level;
    int count;
    int unknown;     /* id of <unk>; -1: none (all 256 bytes seen) */
    int line_end;    /* id of <eos>, or of the line feed at byte and char level; -1: none */
    char *pool;      /* the symbols' bytes, one after the other */
    uint32_t *begin; /* [count + 1] in pool; <unk> of byte and char level is empty */
    uint32_t *table; /* [table_size] open addressing, id + 1 */
    uint32_t table_size;
} car_vocabulary;

/* `limit`: most words at word level, <unk> and <eos> included. CAR_DATA: fewer than two symbols
 * seen. */
car_status car_vocabulary_build(car_level level, const char *data, size_t length, int limit,
                                const car_allocator *allocator, car_vocabulary **vocabulary,
                                car_error *error) CAR_CHECK_RESULT;
void car_vocabulary_free(car_vocabulary *vocabulary);
/* The bytes of a symbol; "<unk>" where it has none, "\n" for <eos>. Not NUL-terminated. */
const char *car_vocabulary_symbol(const car_vocabulary *vocabulary, int id, size_t *length);
int car_vocabulary_find(const car_vocabulary *vocabulary, const char *symbol,
                        size_t length); /* -1: unknown */

/* A text as ids; the text has passed car_level_check. At word level a last line without a line feed
 * gets its <eos> when `end_line` is set. */
typedef struct car_tokens {
    const car_allocator *allocator;
    int32_t *ids;
    size_t count;
    size_t unknown;    /* how many are <unk> */
    size_t characters; /* of the text: bytes at byte level, code points at char and word level */
} car_tokens;
car_status car_vocabulary_encode(const car_vocabulary *vocabulary, const char *data, size_t length,
                                 bool end_line, const car_allocator *allocator, car_tokens *tokens,
                                 car_error *error) CAR_CHECK_RESULT;
void car_tokens_free(car_tokens *tokens); /* a zeroed one is legal */

/* {"level":"char","symbols":[10,32,...]}: bytes or code points in rising order, <unk> behind them
 * not written; at word level strings. `origin` names the file that the JSON came from; anything
 * wrong in it is CAR_MODEL. */
void car_vocabulary_to_json(const car_vocabulary *vocabulary, car_text *text);
car_status car_vocabulary_from_json(const char *json, const char *origin,
                                    const car_allocator *allocator, car_vocabulary **vocabulary,
                                    car_error *error) CAR_CHECK_RESULT;
/* For builders: symbols in `pool`/`begin` -> table, line_end, checks for duplicates (CAR_MODEL). */
car_status car_vocabulary_index(car_vocabulary *vocabulary, car_error *error) CAR_CHECK_RESULT;

/* ---- stream.c
 * ----------------------------------------------------------------------------------------- */

/* A text cut into `lanes` contiguous pieces that run side by side; the state is carried from batch
 * to batch. for training: lanes of floor(count / lanes) tokens; an epoch is floor((lane - 1) /
 * steps) whole batches, so fewer than steps + lanes tokens a lane at the end are left out. for
 * judging:  every token but the first is a target exactly once; rows beyond a lane have target -1.
 */
typedef struct car_stream {
    const int32_t *ids; /* borrowed */
    size_t count;
    int lanes, steps;
    size_t stride; /* tokens from one lane's start to the next */
    size_t length; /* targets a lane */
    int64_t batches;
} car_stream;
car_stream car_stream_for_training(const int32_t *ids, size_t count, int lanes,
                                   int steps); /* 0 batches: too short */
car_stream car_stream_for_judging(const int32_t *ids, size_t count, int lanes, int steps);
/* input, target [steps][lanes]; returns the rows in time that the batch has (<= steps). */
int car_stream_batch(const car_stream *stream, int64_t index, int32_t *input, int32_t *target);

/* ---- ngram.c
 * ------------------------------------------------------------------------------------------ */

/* Interpolated modified Kneser-Ney (Chen & Goodman 1998), orders up to CAR_NGRAM_ORDER; the lowest
 * order falls back on 1/vocabulary, so that all probabilities are above 0 and sum to 1. About 50
 * bytes a distinct n-gram. */
#define CAR_NGRAM_ORDER 5
typedef struct car_ngram car_ngram;
car_status car_ngram_train(const int32_t *ids, size_t count, int vocabulary, int order,
                           const car_allocator *allocator, car_ngram **ngram,
                           car_error *error) CAR_CHECK_RESULT;
void car_ngram_free(car_ngram *ngram);
/* P(token | the last `order - 1` of context[0 .. length-1]). */
double car_ngram_probability(const car_ngram *ngram, const int32_t *context, size_t length,
                             int32_t token);
/* -log P summed over ids[1 .. count-1], each given what stands before it: the targets that a model
 * is judged on. */
double car_ngram_nats(const car_ngram *ngram, const int32_t *ids, size_t count);
/* The same for token frequencies alone (add-one) of `train`. */
car_status car_unigram_nats(const int32_t *train, size_t train_count, int vocabulary,
                            const int32_t *ids, size_t count, const car_allocator *allocator,
                            double *nats, car_error *error) CAR_CHECK_RESULT;

/* ---- demo.c
 * ------------------------------------------------------------------------------------------- */

/* C headers (*.h, regular files, valid UTF-8 without NUL, 512 bytes to 64 KiB, no line above 1,000
 * bytes, no two with the same content) below `root`, in the order of a hash of their path, until
 * `limit` bytes. The same machine gives the same corpus. Whole files at the end are held out. */
typedef struct car_demo_text {
    const car_allocator *allocator;
    char *data;
    size_t length;
    size_t train_length; /* about 90 % */
    int files, train_files;
} car_demo_text;
/* CAR_DATA when there is not enough to learn from (below 64 KiB). */
car_status car_demo_corpus(const char *root, size_t limit, const car_allocator *allocator,
                           car_demo_text *text, car_error *error) CAR_CHECK_RESULT;
void car_demo_text_free(car_demo_text *text);

/* ---- idx.c -------------------------------------------------------------------------------------------- */

typedef struct car_images {
    const car_allocator *allocator;
    int count, rows, columns, classes; /* classes: greatest label + 1 */
    const uint8_t *pixels;             /* [count][rows][columns] */
    const uint8_t *labels;             /* [count] */
    char *image_file, *label_file;     /* what pixels and labels point into */
} car_images;

/* Without labels_path a CSV file of square images, their classes last. CAR_IO: cannot be read. CAR_DATA: no idx file, cut
 * short, too long, not as many labels as images; a line that is no image. CAR_USAGE: gzip in a build without zlib. At most 512 MB a file, 256 pixels a side. */
car_status car_images_read(const char *images_path, const char *labels_path,
                           const car_allocator *allocator, car_images *images,
                           car_error *error) CAR_CHECK_RESULT;
bool car_images_are_csv(const char *path); /* by its name: .csv, .csv.gz */
void car_images_free(car_images *images); /* a zeroed one is legal */

#endif
