/*
 * test_data.c: texts, vocabularies, streams, n-grams and the demo corpus.
 *
 * In:  small texts made here, written to a temporary folder where a file is needed.
 * Out: exact round trips, sums of probabilities, and the refusals of bad input.
 */
#include "data.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char german[] = "Die Katze, die m\xC3\xBC"
                             "de war,\nschlief. \xE2\x82\xAC 5\n";

/* ---- helpers ------------------------------------------------------------------------------------------ */

typedef struct folder {
    char path[64];
} folder;

static int make_folder(void **state) {
    folder *made = calloc(1, sizeof *made);
    assert_non_null(made);
    strcpy(made->path, "/tmp/carousel-data-XXXXXX");
    assert_non_null(mkdtemp(made->path));
    *state = made;
    return 0;
}

static int remove_folder(void **state) {
    folder *made = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", made->path);
    int code = system(command);
    free(made);
    return code;
}

static void write_file(const char *path, const void *data, size_t length) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static car_vocabulary *build(car_level level, const char *text, size_t length, int limit) {
    car_vocabulary *vocabulary;
    car_error error = {0};
    car_status status = car_vocabulary_build(level, text, length, limit, NULL, &vocabulary, &error);
    if (status != CAR_OK)
        print_error("%s\n", error.message);
    assert_int_equal(status, CAR_OK);
    return vocabulary;
}

static car_tokens encode(const car_vocabulary *vocabulary, const char *text, size_t length) {
    car_tokens tokens;
    assert_int_equal(car_vocabulary_encode(vocabulary, text, length, true, NULL, &tokens, NULL),
                     CAR_OK);
    return tokens;
}

/* English-like text: sentences of a small grammar, drawn with the library's counter. */
static char *grammar_text(size_t sentences, uint64_t seed, size_t *length) {
    static const char *const nouns[] = {"cat", "dog", "old man", "river", "house", "child"};
    static const char *const verbs[] = {"sees", "follows", "forgets", "likes"};
    static const char *const ends[] = {" at night.\n", " again.\n", ".\n"};
    car_text text;
    car_text_start(&text, NULL);
    car_random_key key = {.seed = seed, .purpose = CAR_RANDOM_TEST};
    for (size_t i = 0; i < sentences; i++) {
        uint32_t r[4];
        car_random_block(key, 0, i, r);
        car_text_format(&text, "the %s %s the %s%s", nouns[r[0] % 6], verbs[r[1] % 4],
                        nouns[r[2] % 6], ends[r[3] % 3]);
    }
    assert_false(text.failed);
    *length = text.length;
    return text.data;
}

/* ---- corpus ------------------------------------------------------------------------------------------- */

static void test_files_are_joined(void **state) {
    const folder *at = *state;
    char first[96], second[96];
    snprintf(first, sizeof first, "%s/a.txt", at->path);
    snprintf(second, sizeof second, "%s/b.txt", at->path);
    write_file(first, "abc", 3);
    write_file(second, "de\n", 3);
    const char *paths[] = {first, second, first};
    car_corpus corpus;
    assert_int_equal(car_corpus_read(paths, 3, CAR_LEVEL_CHAR, NULL, &corpus, NULL), CAR_OK);
    assert_int_equal(corpus.length, 9);
    assert_string_equal(corpus.data, "abcde\nabc");
    assert_int_equal(corpus.file_count, 3);
    assert_int_equal(corpus.files[1].begin, 3);
    assert_string_equal(corpus.files[0].sha256, corpus.files[2].sha256);
    /* FIPS 180-4's own example */
    assert_string_equal(corpus.files[0].sha256,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    car_corpus_free(&corpus);
}

static car_error read_fails(const char *path, car_level level, car_status expected) {
    car_corpus corpus;
    car_error error = {0};
    assert_int_equal(car_corpus_read(&path, 1, level, NULL, &corpus, &error), expected);
    assert_null(corpus.data);
    assert_null(strchr(error.message, '\n'));
    return error;
}

static void test_bad_files(void **state) {
    const folder *at = *state;
    char path[96];
    snprintf(path, sizeof path, "%s/bad", at->path);
    write_file(path, "", 0);
    read_fails(path, CAR_LEVEL_BYTE, CAR_DATA);

    write_file(path, "ok\nab\xFF", 6);
    car_error error = read_fails(path, CAR_LEVEL_CHAR, CAR_DATA);
    assert_int_equal(error.line, 2);
    assert_int_equal(error.column, 3);
    assert_non_null(strstr(error.message, "byte 5"));
    assert_non_null(strstr(error.message, "--level byte"));
    read_fails(path, CAR_LEVEL_WORD, CAR_DATA);

    write_file(path, "a\0b", 3);
    error = read_fails(path, CAR_LEVEL_CHAR, CAR_DATA);
    assert_non_null(strstr(error.message, "NUL"));
    const char *name = path;
    car_corpus corpus;
    assert_int_equal(car_corpus_read(&name, 1, CAR_LEVEL_BYTE, NULL, &corpus, NULL), CAR_OK);
    assert_int_equal(corpus.length, 3);
    car_corpus_free(&corpus);

    assert_int_equal(unlink(path), 0);
    read_fails(path, CAR_LEVEL_BYTE, CAR_IO);
    read_fails(at->path, CAR_LEVEL_BYTE, CAR_IO);
}

static void test_cut(void **state) {
    (void)state;
    assert_int_equal(car_corpus_cut(CAR_LEVEL_BYTE, "0123456789", 10, 0.1), 9);
    assert_int_equal(car_corpus_cut(CAR_LEVEL_BYTE, "0123456789", 10, 0.11), 8);
    assert_int_equal(car_corpus_cut(CAR_LEVEL_BYTE, "0123456789", 10, 0), 10);
    assert_int_equal(car_corpus_cut(CAR_LEVEL_BYTE, "0123456789", 10, 1), 0);
    assert_int_equal(car_corpus_cut(CAR_LEVEL_CHAR, "ab\xE2\x82\xAC", 5, 0.2), 2);
    assert_int_equal(car_corpus_cut(CAR_LEVEL_WORD, "a b\nc d\ne f\n", 12, 0.3), 8);
    assert_int_equal(car_corpus_cut(CAR_LEVEL_WORD, "aa bb cc dd", 11, 0.3), 6);
}

/* ---- vocabularies ------------------------------------------------------------------------------------- */

static void round_trip(car_level level, const char *text, size_t length) {
    car_vocabulary *vocabulary = build(level, text, length, 1000);
    car_tokens tokens = encode(vocabulary, text, length);
    assert_int_equal(tokens.unknown, 0);
    car_text back;
    car_text_start(&back, NULL);
    for (size_t i = 0; i < tokens.count; i++) {
        size_t bytes;
        const char *symbol = car_vocabulary_symbol(vocabulary, tokens.ids[i], &bytes);
        car_text_add(&back, symbol, bytes);
    }
    assert_int_equal(back.length, length);
    assert_memory_equal(back.data, text, length);
    car_text_free(&back);
    car_tokens_free(&tokens);
    car_vocabulary_free(vocabulary);
}

static void test_text_round_trips(void **state) {
    (void)state;
    char all[512];
    for (int i = 0; i < 512; i++)
        all[i] = (char)(i * 7);
    round_trip(CAR_LEVEL_BYTE, all, sizeof all);
    round_trip(CAR_LEVEL_BYTE, german, strlen(german));
    round_trip(CAR_LEVEL_CHAR, german, strlen(german));
}

static void test_levels(void **state) {
    (void)state;
    car_vocabulary *chars = build(CAR_LEVEL_CHAR, german, strlen(german), 0);
    car_tokens tokens = encode(chars, german, strlen(german));
    assert_int_equal(tokens.count, strlen(german) - 3); /* 2-byte and 3-byte code points */
    assert_int_equal(tokens.characters, tokens.count);
    assert_int_equal(chars->line_end, 0);
    assert_int_equal(chars->unknown, chars->count - 1);
    car_tokens_free(&tokens);
    tokens = encode(chars, "Katz\xC3\xA4", 6);
    assert_int_equal(tokens.count, 5);
    assert_int_equal(tokens.unknown, 1);
    assert_int_equal(tokens.ids[4], chars->unknown);
    car_tokens_free(&tokens);
    car_vocabulary_free(chars);

    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    car_vocabulary *bytes = build(CAR_LEVEL_BYTE, all, sizeof all, 0);
    assert_int_equal(bytes->count, 256);
    assert_int_equal(bytes->unknown, -1);
    assert_int_equal(bytes->line_end, 10);
    car_vocabulary_free(bytes);
}

static void test_words(void **state) {
    (void)state;
    const char text[] = " b a \t b c\r\n b a\n\nc d";
    car_vocabulary *words = build(CAR_LEVEL_WORD, text, strlen(text), 100);
    assert_int_equal(words->count, 6); /* b <eos> a c d <unk> */
    assert_int_equal(car_vocabulary_find(words, "b", 1), 0);
    assert_int_equal(words->line_end, 1);
    assert_int_equal(car_vocabulary_find(words, "a", 1), 2);
    assert_int_equal(car_vocabulary_find(words, "c", 1), 3);
    car_tokens tokens = encode(words, text, strlen(text));
    const int32_t expected[] = {0, 2, 0, 3, 1, 0, 2, 1, 1, 3, 4, 1};
    assert_int_equal(tokens.count, 12);
    assert_memory_equal(tokens.ids, expected, sizeof expected);
    car_tokens_free(&tokens);
    tokens = encode(words, "b x\n", 4);
    assert_int_equal(tokens.count, 3);
    assert_int_equal(tokens.ids[1], words->unknown);
    assert_int_equal(tokens.unknown, 1);
    car_tokens_free(&tokens);
    car_vocabulary_free(words);

    words = build(CAR_LEVEL_WORD, text, strlen(text), 4);
    assert_int_equal(words->count, 4); /* b <eos> a <unk>: the rest is unknown */
    assert_true(words->unknown >= 0 && words->line_end >= 0);
    assert_int_equal(car_vocabulary_find(words, "c", 1), -1);
    tokens = encode(words, text, strlen(text));
    assert_int_equal(tokens.unknown, 3);
    car_tokens_free(&tokens);
    car_vocabulary_free(words);

    const char marked[] = "x <unk> y <unk> <unk>\n"; /* a text that has its own <unk> */
    words = build(CAR_LEVEL_WORD, marked, strlen(marked), 100);
    assert_int_equal(words->count, 4);
    assert_int_equal(words->unknown, 0);
    car_vocabulary_free(words);
}

static void test_too_few_symbols(void **state) {
    (void)state;
    car_vocabulary *vocabulary;
    car_error error;
    assert_int_equal(car_vocabulary_build(CAR_LEVEL_BYTE, "aaaa", 4, 0, NULL, &vocabulary, &error),
                     CAR_DATA);
    assert_null(vocabulary);
    assert_int_equal(car_vocabulary_build(CAR_LEVEL_CHAR, "", 0, 0, NULL, &vocabulary, &error),
                     CAR_DATA);
    assert_int_equal(
        car_vocabulary_build(CAR_LEVEL_WORD, "\n\n\n", 3, 10, NULL, &vocabulary, &error), CAR_DATA);
    assert_int_equal(car_vocabulary_build(CAR_LEVEL_WORD, "a b", 3, 2, NULL, &vocabulary, &error),
                     CAR_USAGE);
}

static void json_round_trip(car_level level, const char *text, size_t length) {
    car_vocabulary *vocabulary = build(level, text, length, 1000), *again = NULL;
    car_text json, second;
    car_text_start(&json, NULL);
    car_text_start(&second, NULL);
    car_vocabulary_to_json(vocabulary, &json);
    car_error error = {0};
    car_status status = car_vocabulary_from_json(json.data, "test", NULL, &again, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, CAR_OK);
    car_vocabulary_to_json(again, &second);
    assert_string_equal(json.data, second.data);
    assert_int_equal(vocabulary->count, again->count);
    assert_int_equal(vocabulary->unknown, again->unknown);
    assert_int_equal(vocabulary->line_end, again->line_end);
    car_tokens before = encode(vocabulary, text, length), after = encode(again, text, length);
    assert_int_equal(before.count, after.count);
    assert_memory_equal(before.ids, after.ids, before.count * sizeof *before.ids);
    car_tokens_free(&before);
    car_tokens_free(&after);
    car_text_free(&json);
    car_text_free(&second);
    car_vocabulary_free(vocabulary);
    car_vocabulary_free(again);
}

static void test_json_round_trips(void **state) {
    (void)state;
    json_round_trip(CAR_LEVEL_BYTE, "\0\xFF\n\"", 4);
    json_round_trip(CAR_LEVEL_CHAR, german, strlen(german));
    json_round_trip(CAR_LEVEL_WORD, german, strlen(german));
    json_round_trip(CAR_LEVEL_WORD, "a\"b \\ \x01 \x7F\n", 10);
}

static void test_hostile_json(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"level\":\"byte\",\"symbols\":[1]}",
        "{\"level\":\"byte\",\"symbols\":[1,256]}",
        "{\"level\":\"byte\",\"symbols\":[-1,2]}",
        "{\"level\":\"byte\",\"symbols\":[2,1]}",
        "{\"level\":\"byte\",\"symbols\":[2,2]}",
        "{\"level\":\"byte\",\"symbols\":[1.5,2]}",
        "{\"level\":\"byte\",\"symbols\":[\"1\",\"2\"]}",
        "{\"level\":\"byte\",\"symbols\":[1,2],\"x\":0}",
        "{\"level\":\"byte\",\"level\":\"byte\",\"symbols\":[1,2]}",
        "{\"level\":\"syllable\",\"symbols\":[1,2]}",
        "{\"level\":\"char\",\"symbols\":[65,55296]}",
        "{\"level\":\"char\",\"symbols\":[65,1114112]}",
        "{\"level\":\"char\",\"symbols\":[65,[[[[[]]]]]]}",
        "{\"level\":\"word\",\"symbols\":[\"a\",\"b\"]}",
        "{\"level\":\"word\",\"symbols\":[\"<unk>\",\"<eos>\",\"a\",\"a\"]}",
        "{\"level\":\"word\",\"symbols\":[\"<unk>\",\"<eos>\",\"\"]}",
        "{\"level\":\"word\",\"symbols\":[\"<unk>\",\"<eos>\",\"a b\"]}",
        "{\"level\":\"word\",\"symbols\":[\"<unk>\",\"<eos>\",\"a\\u0000\"]}",
        "{\"level\":\"word\",\"symbols\":[\"<unk>\",\"<eos>\",3]}",
        "{\"level\":\"word\",\"symbols\":[\"<unk>\",\"<eos>\"",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        car_vocabulary *vocabulary;
        car_error error = {0};
        car_status status = car_vocabulary_from_json(bad[i], "test", NULL, &vocabulary, &error);
        if (status != CAR_MODEL)
            print_error("accepted or misjudged: %s\n", bad[i]);
        assert_int_equal(status, CAR_MODEL);
        assert_null(vocabulary);
        assert_true(strlen(error.message) > 0);
    }
}

/* ---- streams ------------------------------------------------------------------------------------------ */

static void test_training_stream(void **state) {
    (void)state;
    int32_t ids[23], input[6], target[6];
    for (int i = 0; i < 23; i++)
        ids[i] = i;
    car_stream stream = car_stream_for_training(ids, 23, 2, 3); /* lanes of 11: 3 batches of 3 */
    assert_int_equal(stream.batches, 3);
    for (int u = 0; u < 3; u++) {
        assert_int_equal(car_stream_batch(&stream, u, input, target), 3);
        for (int t = 0; t < 3; t++) {
            for (int b = 0; b < 2; b++) {
                assert_int_equal(input[t * 2 + b], b * 11 + u * 3 + t);
                assert_int_equal(target[t * 2 + b], input[t * 2 + b] + 1);
            }
        }
    }
    assert_int_equal(car_stream_for_training(ids, 7, 2, 3).batches, 0);
    assert_int_equal(car_stream_for_training(ids, 8, 2, 3).batches, 1);
    assert_int_equal(car_stream_for_training(ids, 0, 2, 3).batches, 0);
    assert_int_equal(car_stream_for_training(ids, 1, 2, 3).batches, 0);
}

static void test_judging_stream(void **state) {
    (void)state;
    int32_t ids[40], input[20], target[20];
    for (int i = 0; i < 40; i++)
        ids[i] = i;
    for (int count = 0; count <= 40; count++) {
        for (int lanes = 1; lanes <= 5; lanes++) {
            int seen[40] = {0};
            car_stream stream = car_stream_for_judging(ids, (size_t)count, lanes, 4);
            for (int64_t u = 0; u < stream.batches; u++) {
                int rows = car_stream_batch(&stream, u, input, target);
                assert_true(rows >= 1 && rows <= 4);
                for (int i = 0; i < rows * lanes; i++) {
                    if (target[i] >= 0) {
                        assert_int_equal(target[i], input[i] + 1);
                        seen[target[i]]++;
                    }
                }
            }
            for (int i = 0; i < 40; i++)
                assert_int_equal(seen[i], i >= 1 && i < count);
        }
    }
}

/* ---- n-grams ------------------------------------------------------------------------------------------ */

static void test_probabilities_sum_to_one(void **state) {
    (void)state;
    enum { VOCABULARY = 7, COUNT = 400 };
    int32_t ids[COUNT];
    car_random_key key = {.seed = 3, .purpose = CAR_RANDOM_TEST};
    for (int i = 0; i < COUNT; i++) {
        float r = car_random_uniform(key, 0, (uint64_t)i);
        ids[i] = (int32_t)(r * r * 6); /* token 6 is never seen */
    }
    for (int order = 1; order <= CAR_NGRAM_ORDER; order++) {
        for (int count = 1; count <= COUNT; count = count * 3 + 1) {
            car_ngram *ngram;
            assert_int_equal(
                car_ngram_train(ids, (size_t)count, VOCABULARY, order, NULL, &ngram, NULL), CAR_OK);
            for (int trial = 0; trial < 60; trial++) {
                int32_t context[6];
                for (int i = 0; i < 6; i++)
                    context[i] =
                        trial < 30
                            ? ids[(trial * 5 + i) % COUNT]
                            : (int32_t)(car_random_uniform(key, 1, (uint64_t)(trial * 6 + i)) * 7);
                double sum = 0;
                for (int token = 0; token < VOCABULARY; token++) {
                    double p = car_ngram_probability(ngram, context, (size_t)(trial % 7), token);
                    assert_true(p > 0 && p < 1);
                    sum += p;
                }
                assert_float_equal(sum, 1, 1e-12);
            }
            car_ngram_free(ngram);
        }
    }
}

/* Order 2 against the formula worked out with plain counts. */
static void test_bigram_by_hand(void **state) {
    (void)state;
    /* a b a b a c b b: counts ab 2, ba 2, ac 1, cb 1, bb 1, and so on; discounts from counts of counts */
    const int32_t ids[] = {0, 1, 0, 1, 0, 2, 1, 1};
    car_ngram *ngram;
    assert_int_equal(car_ngram_train(ids, 8, 3, 2, NULL, &ngram, NULL), CAR_OK);
    double n1 = 3, n2 = 2; /* bigrams ac, cb, bb; ab, ba */
    double y = n1 / (n1 + 2 * n2), d1 = 1 - 2 * y * n2 / n1, d2 = 2;
    /* left neighbours: a {b}, b {a, c, b}, c {a}: counts 1, 3, 1; n1 = 2, n2 = 0, n3 = 1 */
    double u1 = 1, u3 = 3;
    double spread = 2 * u1 + u3;
    double p_b = (3 - u3 + spread / 3) / 5, p_c = (1 - u1 + spread / 3) / 5;
    const int32_t a = 0;
    /* after a: b twice, c once */
    double gamma = d2 + d1;
    assert_float_equal(car_ngram_probability(ngram, &a, 1, 1), (2 - d2 + gamma * p_b) / 3, 1e-12);
    assert_float_equal(car_ngram_probability(ngram, &a, 1, 2), (1 - d1 + gamma * p_c) / 3, 1e-12);
    car_ngram_free(ngram);
}

static void test_ngram_beats_unigram(void **state) {
    (void)state;
    size_t train_length, test_length;
    char *train_text = grammar_text(3000, 1, &train_length);
    char *test_text = grammar_text(300, 2, &test_length);
    car_vocabulary *vocabulary = build(CAR_LEVEL_CHAR, train_text, train_length, 0);
    car_tokens train = encode(vocabulary, train_text, train_length);
    car_tokens test = encode(vocabulary, test_text, test_length);
    double unigram, previous = INFINITY;
    assert_int_equal(car_unigram_nats(train.ids, train.count, vocabulary->count, test.ids,
                                      test.count, NULL, &unigram, NULL),
                     CAR_OK);
    for (int order = 1; order <= CAR_NGRAM_ORDER; order++) {
        car_ngram *ngram;
        assert_int_equal(
            car_ngram_train(train.ids, train.count, vocabulary->count, order, NULL, &ngram, NULL),
            CAR_OK);
        double nats = car_ngram_nats(ngram, test.ids, test.count);
        assert_true(nats < previous);
        if (order == 1)
            assert_float_equal(nats / unigram, 1, 0.01);
        else
            assert_true(nats < 0.75 * unigram);
        double sum = 0; /* the running sum against single probabilities */
        for (size_t i = 1; i < 200; i++)
            sum -= log(car_ngram_probability(ngram, test.ids, i, test.ids[i]));
        assert_float_equal(sum, car_ngram_nats(ngram, test.ids, 200), 1e-9);
        previous = nats;
        car_ngram_free(ngram);
    }
    car_tokens_free(&train);
    car_tokens_free(&test);
    car_vocabulary_free(vocabulary);
    car_release(NULL, train_text);
    car_release(NULL, test_text);
}

static void test_ngram_refuses(void **state) {
    (void)state;
    const int32_t ids[] = {0, 1};
    car_ngram *ngram;
    car_error error;
    assert_int_equal(car_ngram_train(ids, 0, 2, 5, NULL, &ngram, &error), CAR_USAGE);
    assert_int_equal(car_ngram_train(ids, 2, 2, 6, NULL, &ngram, &error), CAR_USAGE);
    assert_int_equal(car_ngram_train(ids, 2, 2, 0, NULL, &ngram, &error), CAR_USAGE);
}

/* ---- demo corpus -------------------------------------------------------------------------------------- */

static void test_demo_corpus(void **state) {
    const folder *at = *state;
    char path[160];
    snprintf(path, sizeof path, "%s/include", at->path);
    assert_int_equal(mkdir(path, 0700), 0);
    car_demo_text text;
    car_error error;
    assert_int_equal(car_demo_corpus(path, 1 << 20, NULL, &text, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "demo FILE"));
    for (int i = 0; i < 60; i++) {
        size_t length;
        char *content = grammar_text(60, (uint64_t)i, &length);
        snprintf(path, sizeof path, "%s/include/f%02d.h", at->path, i);
        write_file(path, content, length);
        snprintf(path, sizeof path, "%s/include/copy%02d.h", at->path, i);
        write_file(path, content, length); /* the same content again */
        snprintf(path, sizeof path, "%s/include/f%02d.txt", at->path, i);
        write_file(path, content, length); /* no header */
        car_release(NULL, content);
    }
    char binary[2000];
    memset(binary, 0xFF, sizeof binary);
    snprintf(path, sizeof path, "%s/include/binary.h", at->path);
    write_file(path, binary, sizeof binary);
    memset(binary, 'x', sizeof binary); /* one line of 2,000 bytes */
    snprintf(path, sizeof path, "%s/include/generated.h", at->path);
    write_file(path, binary, sizeof binary);

    snprintf(path, sizeof path, "%s/include", at->path);
    assert_int_equal(car_demo_corpus(path, 1 << 20, NULL, &text, &error), CAR_OK);
    assert_int_equal(text.files, 60);
    assert_true(text.train_files >= 50 && text.train_files < 60);
    assert_true(text.train_length < text.length);
    assert_int_equal(text.data[text.train_length - 1], '\n');
    car_demo_text again;
    assert_int_equal(car_demo_corpus(path, 1 << 20, NULL, &again, &error), CAR_OK);
    assert_int_equal(again.length, text.length);
    assert_memory_equal(again.data, text.data, text.length);
    car_demo_text_free(&again);
    assert_int_equal(car_demo_corpus(path, 1 << 17, NULL, &again, &error), CAR_OK);
    assert_true(again.length <= 1 << 17);
    assert_memory_equal(again.data, text.data, again.length);
    car_demo_text_free(&again);
    car_demo_text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_are_joined, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_bad_files, make_folder, remove_folder),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_text_round_trips),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_too_few_symbols),
        cmocka_unit_test(test_json_round_trips),
        cmocka_unit_test(test_hostile_json),
        cmocka_unit_test(test_training_stream),
        cmocka_unit_test(test_judging_stream),
        cmocka_unit_test(test_probabilities_sum_to_one),
        cmocka_unit_test(test_bigram_by_hand),
        cmocka_unit_test(test_ngram_beats_unigram),
        cmocka_unit_test(test_ngram_refuses),
        cmocka_unit_test_setup_teardown(test_demo_corpus, make_folder, remove_folder),
    };
    return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
