/*
 * test_tasks.c: language models from text to sample.
 *
 * In:  small texts from a grammar, written to a temporary folder.
 * Out: what training, resuming, judging, scoring and sampling promise; refusals of what cannot work.
 */
#include "tasks.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct folder {
    char path[64];
    char text[96], model[96], last[128];
    char *content;
    size_t length;
} folder;

/* ---- helpers ------------------------------------------------------------------------------------------ */

#define assert_fine(expression)                                                                    \
    do {                                                                                           \
        car_status assert_status = (expression);                                                   \
        if (assert_status != CAR_OK)                                                               \
            print_error("%s\n", error.message);                                                    \
        assert_int_equal(assert_status, CAR_OK);                                                   \
    } while (0)

static void write_file(const char *path, const void *data, size_t length) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* English-like text: sentences of a small grammar, drawn with the library's counter. */
static char *grammar_text(size_t sentences, uint64_t seed, size_t *length) {
    static const char *const nouns[] = {"cat", "dog", "old man", "r\xC3\xADo", "house", "child"};
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

static int make_folder(void **state) {
    folder *at = calloc(1, sizeof *at);
    assert_non_null(at);
    strcpy(at->path, "/tmp/carousel-tasks-XXXXXX");
    assert_non_null(mkdtemp(at->path));
    snprintf(at->text, sizeof at->text, "%s/text.txt", at->path);
    snprintf(at->model, sizeof at->model, "%s/m.safetensors", at->path);
    snprintf(at->last, sizeof at->last, "%s.last", at->model);
    at->content = grammar_text(500, 1, &at->length);
    write_file(at->text, at->content, at->length);
    *state = at;
    return 0;
}

static int remove_folder(void **state) {
    folder *at = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", at->path);
    int code = system(command);
    car_release(NULL, at->content);
    free(at);
    return code;
}

static car_lm_options small_options(const folder *at) {
    car_lm_options options = car_lm_defaults();
    options.hidden = 32;
    options.embed = 16;
    options.batch = 8;
    options.unroll = 16;
    options.rate = 0.01;
    options.updates = 150;
    options.threads = 2;
    options.output = at->model;
    return options;
}

/* Trains on the folder's text. */
static car_lm_result train(const folder *at, const car_lm_options *options,
                           const car_lm_watch *watch) {
    car_error error = {0};
    car_lm_data data;
    car_lm_result result;
    const char *paths[] = {at->text};
    assert_fine(car_lm_data_read(options, paths, 1, NULL, NULL, &data, &error));
    assert_fine(car_lm_train(options, &data, NULL, watch, NULL, &result, &error));
    car_lm_data_free(&data);
    return result;
}

static car_lm load(const char *path) {
    car_error error = {0};
    car_lm lm;
    assert_fine(car_lm_load(path, NULL, &lm, &error));
    return lm;
}

static car_lm_score judge(const car_lm *lm, const char *text, size_t length, int lanes) {
    car_error error = {0};
    car_tokens tokens;
    car_lm_score score;
    assert_fine(car_vocabulary_encode(lm->vocabulary, text, length, false, NULL, &tokens, &error));
    assert_fine(car_lm_judge(lm, &tokens, lanes, 1, &score, &error));
    car_tokens_free(&tokens);
    return score;
}

/* ---- settings ----------------------------------------------------------------------------------------- */

static void test_options_round_trip(void **state) {
    (void)state;
    car_error error = {0};
    car_lm_options options = car_lm_defaults(), again;
    assert_fine(car_lm_options_check(&options, &error));
    options.net = "embed 8 | gru 16 | softmax";
    options.rate = 0.1;
    options.seed = INT64_C(9000000000000000);
    options.valid = "a \"name\"\n";
    car_text json, second;
    car_text_start(&json, NULL);
    car_text_start(&second, NULL);
    car_lm_options_to_json(&options, &json);
    car_arena *arena = car_arena_create(NULL);
    assert_fine(car_lm_options_from_json(json.data, "test", arena, &again, &error));
    car_lm_options_to_json(&again, &second);
    assert_string_equal(json.data, second.data);
    assert_true(again.rate == options.rate && again.seed == options.seed);
    assert_string_equal(again.valid, options.valid);
    assert_null(again.init);

    assert_int_equal(car_lm_options_from_json("{}", "test", arena, &again, &error), CAR_MODEL);
    char *place = strstr(json.data, "\"batch\":32");
    assert_non_null(place);
    place[9] = '-'; /* "batch":3- */
    assert_int_equal(car_lm_options_from_json(json.data, "test", arena, &again, &error), CAR_MODEL);
    place[8] = '-';
    place[9] = '1'; /* "batch":-1 */
    assert_int_equal(car_lm_options_from_json(json.data, "test", arena, &again, &error), CAR_MODEL);
    car_arena_free(arena);
    car_text_free(&json);
    car_text_free(&second);
}

static void test_options_are_checked(void **state) {
    (void)state;
    car_error error;
    car_lm_options options = car_lm_defaults();
    options.hidden = 0;
    assert_int_equal(car_lm_options_check(&options, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "--hidden"));
    options = car_lm_defaults();
    options.rate = NAN;
    assert_int_equal(car_lm_options_check(&options, &error), CAR_USAGE);
    options = car_lm_defaults();
    options.optimizer = "ada";
    assert_int_equal(car_lm_options_check(&options, &error), CAR_USAGE);
    assert_non_null(strstr(error.message, "adam|adamw"));
    options = car_lm_defaults();
    options.batch = options.unroll = 65536;
    assert_int_equal(car_lm_options_check(&options, &error), CAR_USAGE);
}

/* ---- what cannot be trained --------------------------------------------------------------------------- */

static void test_short_texts(void **state) {
    const folder *at = *state;
    static const struct {
        const char *text;
        const char *level;
    } cases[] = {{"", "byte"},       {"a", "byte"},        {"aaaaaaaaaaaa", "byte"},
                 {"a", "char"},      {"ab\n", "char"},     {"one two three\n", "word"},
                 {"\n\n\n", "word"}, {"\xFF\xFE", "char"}, {"\x80", "word"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        car_lm_options options = small_options(at);
        options.level = cases[i].level;
        write_file(at->text, cases[i].text, strlen(cases[i].text));
        const char *paths[] = {at->text};
        car_lm_data data;
        car_error error = {0};
        assert_int_equal(car_lm_data_read(&options, paths, 1, NULL, NULL, &data, &error), CAR_DATA);
        assert_null(strchr(error.message, '\n'));
        assert_non_null(strchr(error.message, ';')); /* a next step */
    }
}

static void test_text_of_one_update(void **state) {
    const folder *at = *state;
    car_lm_options options = small_options(at);
    options.level = "byte";
    options.valid_fraction = 0;
    const char *paths[] = {at->text};
    car_lm_data data;
    car_error error;
    write_file(at->text, at->content, 8 * 17 - 1);
    assert_int_equal(car_lm_data_read(&options, paths, 1, NULL, NULL, &data, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "136"));
    write_file(at->text, at->content, 8 * 17);
    assert_fine(car_lm_data_read(&options, paths, 1, NULL, NULL, &data, &error));
    assert_int_equal(data.train.count, 136);
    assert_int_equal(data.valid.count, 0);
    car_lm_data_free(&data);
}

static void test_nets_that_are_refused(void **state) {
    const folder *at = *state;
    static const struct {
        const char *net;
        const char *reason;
    } cases[] = {{"embed 8 | lstm 8 bi | softmax", "bi"},
                 {"embed 8 | lstm 8 | softmax last", "last"},
                 {"embed 8 | lstm 8 | softmax mean", "mean"},
                 {"embed 8 | lstm 8 | linear", "softmax"},
                 {"lstm 8 | softmax", "embed"}};
    const char *paths[] = {at->text};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        car_error error = {0};
        car_lm_options options = small_options(at);
        options.net = cases[i].net;
        car_lm_data data;
        car_lm_result result;
        car_lm_watch watch = {0};
        assert_fine(car_lm_data_read(&options, paths, 1, NULL, NULL, &data, &error));
        assert_int_equal(car_lm_train(&options, &data, NULL, &watch, NULL, &result, &error),
                         CAR_USAGE);
        assert_non_null(strstr(error.message, cases[i].reason));
        assert_int_equal(access(at->model, F_OK), -1);
        car_lm_data_free(&data);
    }
}

static void test_output_is_tried_first(void **state) {
    const folder *at = *state;
    car_lm_options options = small_options(at);
    options.output = "/proc/no/such/folder/m.safetensors";
    const char *paths[] = {at->text};
    car_error error = {0};
    car_lm_data data;
    car_lm_result result;
    car_lm_watch watch = {0};
    assert_fine(car_lm_data_read(&options, paths, 1, NULL, NULL, &data, &error));
    assert_int_equal(car_lm_train(&options, &data, NULL, &watch, NULL, &result, &error), CAR_IO);
    assert_int_equal(result.fit.updates, 0);
    car_lm_data_free(&data);
}

/* ---- training ----------------------------------------------------------------------------------------- */

static void learns(const folder *at, const char *level, const char *cell) {
    car_error error = {0};
    car_lm_options options = small_options(at);
    options.level = level;
    options.cell = cell;
    car_lm_data data;
    car_lm_result result;
    car_lm_watch watch = {0};
    const char *paths[] = {at->text};
    assert_fine(car_lm_data_read(&options, paths, 1, NULL, NULL, &data, &error));
    double unigram;
    assert_fine(car_unigram_nats(data.train.ids, data.train.count, data.vocabulary->count,
                                 data.valid.ids, data.valid.count, NULL, &unigram, &error));
    unigram /= (double)(data.valid.count - 1);
    assert_fine(car_lm_train(&options, &data, NULL, &watch, NULL, &result, &error));
    assert_true(result.saved);
    assert_int_equal(result.fit.updates, 150);
    assert_true(result.fit.best_validation < 0.7 * unigram);
    car_lm lm = load(at->model);
    assert_non_null(car_model_metadata(lm.model, "lm.record"));
    assert_null(car_model_metadata(lm.model, "lm.data")); /* no paths in a finished model */
    car_lm_score score;
    assert_fine(car_lm_judge(&lm, &data.valid, 8, 1, &score, &error));
    assert_int_equal(score.tokens, data.valid.count - 1);
    assert_float_equal(score.nats / (double)score.tokens, result.fit.best_validation, 1e-4);
    car_lm_free(&lm);
    car_lm_data_free(&data);
}

static void test_learns_bytes(void **state) {
    learns(*state, "byte", "lstm");
}

static void test_learns_chars(void **state) {
    learns(*state, "char", "gru");
}

static void test_learns_words(void **state) {
    learns(*state, "word", "lstm");
}

static void test_own_cell_from_a_file(void **state) {
    folder *at = *state;
    static const char cell[] =
        "cell leaky(x) -> h\nstate h\nh' = 0.9*h + 0.1*tanh(W@x + U@h + b)\n";
    char path[128];
    snprintf(path, sizeof path, "%s/my.cell", at->path);
    write_file(path, cell, strlen(cell));
    car_lm_options options = small_options(at);
    options.cell = path;
    options.updates = 3;
    car_lm_watch watch = {0};
    train(at, &options, &watch);
    car_lm lm = load(at->model);
    assert_non_null(strstr(car_model_net(lm.model), "leaky"));
    car_lm_free(&lm);
}

/* A file's tensors, byte for byte. */
static void assert_same_weights(const char *left, const char *right) {
    car_error error = {0};
    car_container *a, *b;
    assert_fine(car_container_load(left, NULL, &a, &error));
    assert_fine(car_container_load(right, NULL, &b, &error));
    int count = car_container_tensor_count(a);
    assert_true(count > 3);
    assert_int_equal(count, car_container_tensor_count(b));
    for (int i = 0; i < count; i++) {
        const car_tensor *one = car_container_tensor(a, i);
        const car_tensor *other = car_container_find(b, one->name);
        assert_non_null(other);
        assert_int_equal(one->bytes, other->bytes);
        assert_memory_equal(one->data, other->data, one->bytes);
    }
    car_container_free(a);
    car_container_free(b);
}

/* Raises the flag after an update of its choice, as a signal handler would. */
typedef struct test_stop {
    volatile sig_atomic_t stop;
    int64_t after;
} test_stop;

static void stop_after(void *context, const car_fit_progress *progress) {
    test_stop *stopper = context;
    if (progress->update >= stopper->after)
        stopper->stop = 1;
}

static void test_resumed_is_uninterrupted(void **state) {
    folder *at = *state;
    car_lm_options options = small_options(at);
    options.updates = 60;
    options.validate_every = 25;
    options.dropout = 0.2;
    options.layers = 2;
    car_lm_watch watch = {0};
    char whole[128];
    snprintf(whole, sizeof whole, "%s/whole.safetensors", at->path);
    options.output = whole;
    car_lm_result expected = train(at, &options, &watch);

    options.output = at->model;
    test_stop stopper = {.after = 31};
    car_lm_watch stopping = {.context = &stopper, .progress = stop_after, .stop = &stopper.stop};
    car_lm_result first = train(at, &options, &stopping);
    assert_true(first.fit.stopped_by_signal);
    assert_string_equal(first.output, at->model);
    assert_int_equal(first.fit.updates, 31);
    car_lm_result second;
    car_error error = {0};
    car_training_changes changes = {.minutes = -1, .epochs = -1, .updates = -1, .threads = 1};
    assert_fine(car_lm_resume(at->last, &changes, &watch, NULL, &second, &error));
    assert_int_equal(second.fit.updates, 60);
    assert_string_equal(second.output, at->model);
    assert_true(second.fit.best_validation == expected.fit.best_validation);
    assert_int_equal(second.fit.best_update, expected.fit.best_update);
    assert_same_weights(whole, at->model);

    changes.updates = 70; /* a finished run may be given more */
    assert_fine(car_lm_resume(at->last, &changes, &watch, NULL, &second, &error));
    assert_int_equal(second.fit.updates, 70);
}

static void test_resume_refuses(void **state) {
    folder *at = *state;
    car_lm_options options = small_options(at);
    options.updates = 5;
    car_lm_watch watch = {0};
    train(at, &options, &watch);
    car_lm_result result;
    car_error error;
    car_training_changes changes = {.minutes = -1, .epochs = -1, .updates = 8, .threads = -1};
    assert_int_equal(car_lm_resume(at->model, &changes, &watch, NULL, &result, &error), CAR_MODEL);
    at->content[0] ^= 1;
    write_file(at->text, at->content, at->length);
    assert_int_equal(car_lm_resume(at->last, &changes, &watch, NULL, &result, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "changed"));
    at->content[0] ^= 1;
    write_file(at->text, at->content, at->length);
    assert_fine(car_lm_resume(at->last, &changes, &watch, NULL, &result, &error));
    assert_int_equal(unlink(at->text), 0);
    changes.updates = 9;
    assert_int_equal(car_lm_resume(at->last, &changes, &watch, NULL, &result, &error), CAR_IO);
}

static void test_fine_tuning(void **state) {
    folder *at = *state;
    car_error error = {0};
    car_lm_options options = small_options(at);
    car_lm_watch watch = {0};
    car_lm_result first = train(at, &options, &watch), second;
    car_lm lm = load(at->model);
    car_lm_data data;
    const char *paths[] = {at->text};
    options.updates = 1;
    assert_fine(car_lm_data_read(&options, paths, 1, lm.vocabulary, NULL, &data, &error));
    assert_fine(car_lm_train(&options, &data, lm.model, &watch, NULL, &second, &error));
    assert_true(second.fit.best_validation < first.fit.best_validation + 0.3);
    car_lm_data_free(&data);
    car_lm_free(&lm);
}

/* ---- judging and sampling ----------------------------------------------------------------------------- */

static void judging_agrees(const folder *at, const char *level) {
    car_error error = {0};
    car_lm_options options = small_options(at);
    options.level = level;
    options.updates = 40;
    car_lm_watch watch = {0};
    train(at, &options, &watch);
    car_lm lm = load(at->model);
    static const char framed[] = "\nthe dog likes the cat again.\n";
    car_lm_score whole = judge(&lm, framed, strlen(framed), 1), line, start;
    assert_fine(car_lm_score_line(&lm, framed + 1, strlen(framed) - 2, true, &line, &error));
    assert_true(whole.nats == line.nats);
    assert_int_equal(whole.tokens, line.tokens);
    assert_fine(car_lm_score_line(&lm, framed + 1, strlen(framed) - 2, false, &start, &error));
    assert_int_equal(start.tokens, line.tokens - 1);
    assert_true(start.nats < line.nats);
    assert_fine(car_lm_score_line(&lm, "", 0, false, &start, &error));
    assert_int_equal(start.tokens, 0);

    /* A likely line against the same words out of order; every target counts once whatever the lanes. */
    static const char mixed[] = "cat the again. likes the dog";
    assert_fine(car_lm_score_line(&lm, mixed, strlen(mixed), true, &start, &error));
    assert_true(start.nats > line.nats);
    for (int lanes = 1; lanes <= 5; lanes += 2) {
        car_lm_score pieces = judge(&lm, at->content, 1000, lanes);
        assert_float_equal(pieces.nats / judge(&lm, at->content, 1000, 1).nats, 1, 0.1);
        assert_int_equal(pieces.tokens, judge(&lm, at->content, 1000, 1).tokens);
    }
    car_tokens one = {.count = 1};
    assert_int_equal(car_lm_judge(&lm, &one, 1, 1, &line, &error), CAR_DATA);
    car_lm_free(&lm);
}

static void test_judging_chars(void **state) {
    judging_agrees(*state, "char");
}

static void test_judging_words(void **state) {
    judging_agrees(*state, "word");
}

static bool collect(void *context, const char *text, size_t length) {
    car_text_add(context, text, length);
    return true;
}

static car_text sample(const car_lm *lm, const char *prompt, double temperature, double top_p,
                       uint64_t seed) {
    car_error error = {0};
    car_text text;
    car_text_start(&text, NULL);
    car_lm_sample_options options = {.prompt = prompt,
                                     .prompt_length = strlen(prompt),
                                     .temperature = temperature,
                                     .top_p = top_p,
                                     .length = 300,
                                     .seed = seed};
    assert_fine(car_lm_sample(lm, &options, collect, &text, &error));
    assert_false(text.failed);
    return text;
}

static void test_sampling(void **state) {
    const folder *at = *state;
    car_lm_options options = small_options(at);
    options.level = "byte";
    car_lm_watch watch = {0};
    train(at, &options, &watch);
    car_lm lm = load(at->model);
    car_text first = sample(&lm, "the ", 1, 1, 7), again = sample(&lm, "the ", 1, 1, 7);
    car_text other = sample(&lm, "the ", 1, 1, 8);
    assert_string_equal(first.data, again.data);
    assert_string_not_equal(first.data, other.data);
    car_text greedy = sample(&lm, "the ", 0, 1, 7), narrow = sample(&lm, "the ", 1, 1e-9, 9);
    assert_string_equal(greedy.data, narrow.data); /* the likeliest token alone */
    car_text wild = sample(&lm, "\xC3", 50, 1, 3); /* half a character, then noise */
    size_t length = wild.length;
    for (size_t i = 0; i < length;) {
        uint32_t code_point;
        int bytes = car_utf8_decode(wild.data + i, length - i, &code_point);
        assert_true(bytes > 0);
        i += (size_t)bytes;
    }
    assert_non_null(strstr(wild.data, "\xEF\xBF\xBD"));
    car_text *texts[] = {&first, &again, &other, &greedy, &narrow, &wild};
    for (int i = 0; i < 6; i++)
        car_text_free(texts[i]);
    car_lm_free(&lm);
}

static void test_sampling_words(void **state) {
    const folder *at = *state;
    car_lm_options options = small_options(at);
    options.level = "word";
    car_lm_watch watch = {0};
    train(at, &options, &watch);
    car_lm lm = load(at->model);
    car_text text = sample(&lm, "the cat", 1, 1, 1);
    assert_int_equal(text.data[0], ' ');
    assert_null(strstr(text.data, "<unk>"));
    assert_null(strstr(text.data, "<eos>"));
    assert_null(strstr(text.data, " \n"));
    assert_null(strstr(text.data, "\n "));
    assert_non_null(strstr(text.data, "\nthe "));
    car_text_free(&text);
    car_lm_free(&lm);
}

static void test_sampling_refuses(void **state) {
    const folder *at = *state;
    car_lm_options options = small_options(at);
    options.updates = 1;
    car_lm_watch watch = {0};
    train(at, &options, &watch);
    car_lm lm = load(at->model);
    car_error error;
    car_text text;
    car_text_start(&text, NULL);
    car_lm_sample_options bad[] = {
        {.temperature = -1, .top_p = 1, .length = 1}, {.temperature = NAN, .top_p = 1, .length = 1},
        {.temperature = 1, .top_p = 0, .length = 1},  {.temperature = 1, .top_p = 1.5, .length = 1},
        {.temperature = 1, .top_p = 1, .length = -1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(car_lm_sample(&lm, &bad[i], collect, &text, &error), CAR_USAGE);
    car_lm_sample_options binary = {
        .prompt = "\xFF", .prompt_length = 1, .temperature = 1, .top_p = 1, .length = 1};
    assert_int_equal(car_lm_sample(&lm, &binary, collect, &text, &error), CAR_DATA);
    assert_int_equal(text.length, 0);
    car_text_free(&text);
    car_lm_free(&lm);
}

/* ---- model files -------------------------------------------------------------------------------------- */

static void test_models_that_are_none(void **state) {
    const folder *at = *state;
    car_error error = {0};
    car_lm lm;
    assert_int_equal(car_lm_load(at->text, NULL, &lm, &error), CAR_MODEL);
    assert_int_equal(car_lm_load("/no/such/file", NULL, &lm, &error), CAR_IO);

    static const char *const vocabularies[] = {
        NULL, "{}", "{\"level\":\"byte\",\"symbols\":[1,2,3]}" /* four symbols for three ids */};
    for (int i = 0; i < 3; i++) {
        car_net *net;
        car_model *model;
        car_model_options sizes = {.input_size = 3, .output_size = 3, .seed = 1};
        assert_fine(car_net_parse("embed 4 | lstm 4 | softmax", NULL, 0, NULL, &net, &error));
        assert_fine(car_model_create(net, &sizes, NULL, &model, &error));
        if (vocabularies[i])
            assert_fine(car_model_set_metadata(model, "lm.vocabulary", vocabularies[i], &error));
        assert_fine(car_model_save(model, at->model, &error));
        assert_int_equal(car_lm_load(at->model, NULL, &lm, &error), CAR_MODEL);
        assert_null(lm.model);
        car_model_free(model);
        car_net_free(net);
    }
}

#define FOLDER_TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_round_trip),
        cmocka_unit_test(test_options_are_checked),
        FOLDER_TEST(test_short_texts),
        FOLDER_TEST(test_text_of_one_update),
        FOLDER_TEST(test_nets_that_are_refused),
        FOLDER_TEST(test_output_is_tried_first),
        FOLDER_TEST(test_learns_bytes),
        FOLDER_TEST(test_learns_chars),
        FOLDER_TEST(test_learns_words),
        FOLDER_TEST(test_own_cell_from_a_file),
        FOLDER_TEST(test_resumed_is_uninterrupted),
        FOLDER_TEST(test_resume_refuses),
        FOLDER_TEST(test_fine_tuning),
        FOLDER_TEST(test_judging_chars),
        FOLDER_TEST(test_judging_words),
        FOLDER_TEST(test_sampling),
        FOLDER_TEST(test_sampling_words),
        FOLDER_TEST(test_sampling_refuses),
        FOLDER_TEST(test_models_that_are_none),
    };
    return cmocka_run_group_tests_name("tasks", tests, NULL, NULL);
}
