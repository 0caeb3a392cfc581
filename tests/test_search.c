/*
 * test_search.c: the tasks of a search are what their definitions say; runs and their best give the same bits again.
 */
#include "search.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const car_task_options small = {
    .lanes = 3, .steps = 5, .vocabulary = 50, .checks = 4, .seed = 7};

static void check(car_status status, const car_error *error) {
    if (status != CAR_OK)
        fail_msg("%s", error->message);
}

static car_task *open_task(const char *text, const car_task_options *options) {
    car_task *task = NULL;
    car_error error = {0};
    check(car_task_open(text, options, NULL, &task, &error), &error);
    return task;
}

static void refuse_task(const char *text, car_status expected) {
    car_task *task;
    car_error error = {0};
    assert_int_equal(car_task_open(text, &small, NULL, &task, &error), expected);
    assert_true(strlen(error.message) > 20);
}

/* ---- Strings ------------------------------------------------------------------------------------------ */

/* Reads a string back without its distractors: the sum is right, and nothing but the answer counts. */
static void check_sum(const char *text, const int32_t *counted, int digits) {
    char clean[256] = "";
    size_t length = 0, equals = strcspn(text, "=");
    for (size_t i = 0; text[i]; i++) {
        assert_int_equal(counted[i], i > equals);
        if (!strchr("abcdefghijklmnopqrstuvwxyz", text[i]))
            clean[length++] = text[i];
        else
            assert_true(i < equals); /* none in the answer */
    }
    clean[length] = '\0';
    char *rest;
    long long first = strtoll(clean, &rest, 10);
    char sign = *rest;
    long long second = strtoll(rest + 1, &rest, 10);
    assert_true(sign == '+' || sign == '-');
    assert_int_equal(*rest, '=');
    long long limit = (long long)(pow(10, digits) + 0.5);
    assert_true(llabs(first) < limit && llabs(second) < limit);
    assert_int_equal(strtoll(rest + 1, &rest, 10), sign == '+' ? first + second : first - second);
    assert_string_equal(rest, ".");
}

static void test_arithmetic(void **state) {
    (void)state;
    for (int digits = 1; digits <= CAR_ARITHMETIC_DIGITS; digits++) {
        car_strings strings = {0};
        car_error error = {0};
        char text[256];
        int letters = 0, sums = 0;
        check(car_strings_arithmetic(digits, 3, CAR_PROBE_TRAIN, 20000, &strings, &error), &error);
        assert_true(strings.count >= 20000 && strings.count < 20100);
        for (size_t begin = 0, at = 0; at < strings.count; at++) {
            text[at - begin] = car_arithmetic_character(strings.ids[at]);
            letters += strings.ids[at] < 26;
            if (text[at - begin] != '.')
                continue;
            text[at - begin + 1] = '\0';
            check_sum(text, strings.counted + begin, digits);
            begin = at + 1;
            sums++;
        }
        assert_true(sums > 400 && letters > sums); /* 0.3 / 0.7 letters behind each character */
        car_strings_free(&strings);
    }
}

/* Tags close in the order of a stack; names have 2 to 10 letters. */
static void test_xml(void **state) {
    (void)state;
    car_strings strings = {0};
    car_error error = {0};
    char open[64][16], name[16];
    int depth = 0, deepest = 0;
    check(car_strings_xml(5, CAR_PROBE_TRAIN, 60000, &strings, &error), &error);
    for (size_t at = 0; at < strings.count;) {
        assert_int_equal(car_xml_character(strings.ids[at++]), '<');
        bool closes = car_xml_character(strings.ids[at]) == '/';
        at += closes;
        size_t length = 0;
        for (; car_xml_character(strings.ids[at]) != '>'; at++)
            name[length++] = car_xml_character(strings.ids[at]);
        name[length] = '\0';
        at++;
        assert_true(length >= 2 && length <= 10);
        if (closes)
            assert_string_equal(open[--depth], name);
        else
            snprintf(open[depth++], 16, "%s", name);
        deepest = depth > deepest ? depth : deepest;
    }
    assert_int_equal(depth, 0);
    assert_true(deepest >= 5 && deepest <= 50);
    car_strings_free(&strings);
}

static void test_sets_differ_and_repeat(void **state) {
    (void)state;
    car_error error = {0};
    car_strings strings[4] = {0};
    const car_probe_set sets[] = {CAR_PROBE_TRAIN, CAR_PROBE_TRAIN, CAR_PROBE_CHECK};
    for (int i = 0; i < 3; i++)
        check(car_strings_xml(5, sets[i], 1000, &strings[i], &error), &error);
    check(car_strings_xml(6, CAR_PROBE_TRAIN, 1000, &strings[3], &error), &error);
    assert_memory_equal(strings[0].ids, strings[1].ids, 1000 * sizeof(int32_t));
    assert_memory_not_equal(strings[0].ids, strings[2].ids, 1000 * sizeof(int32_t));
    assert_memory_not_equal(strings[0].ids, strings[3].ids, 1000 * sizeof(int32_t));
    for (int i = 0; i < 4; i++)
        car_strings_free(&strings[i]);
}

/* ---- Rolls -------------------------------------------------------------------------------------------- */

static car_status parse_roll(const char *text, car_roll *roll, car_error *error) {
    return car_roll_parse(text, strlen(text), "a.txt", NULL, roll, error);
}

static void test_rolls(void **state) {
    (void)state;
    car_roll roll;
    car_error error = {0};
    check(parse_roll("\n21 60 108\n-\n\n\n22\r\n85", &roll, &error), &error);
    assert_int_equal(roll.pieces, 2);
    assert_int_equal(roll.steps, 4);
    assert_int_equal(roll.begin[1], 2);
    assert_true(roll.notes[0][0] == (1 | 1ULL << 39) && roll.notes[0][1] == 1ULL << (87 - 64));
    assert_true(roll.notes[1][0] == 0 && roll.notes[1][1] == 0);
    assert_true(roll.notes[2][0] == 2 && roll.notes[3][1] == 1);
    car_roll_free(&roll);
    static const char *const wrong[] = {"20\n", "109\n",    "60 60\n", "60 50\n",
                                        "6o\n", "60  61\n", "60,61\n", "99999999",
                                        "-1\n", "",         "\n\n",    "60 -\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(parse_roll(wrong[i], &roll, &error), CAR_DATA);
    assert_int_equal(parse_roll("60\n\n61\n60 x\n", &roll, &error), CAR_DATA);
    assert_int_equal(error.line, 4);
}

static const char *write_file(const char *name, const char *text) {
    static char path[512];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/carousel-%s-%d", folder ? folder : "/tmp", name, (int)getpid());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Pieces of 1 + i steps; the pitch tells the step, so that a target is the step after its input. */
static void write_pieces(int pieces, char *text, size_t size) {
    size_t length = 0;
    for (int piece = 0; piece < pieces; piece++) {
        for (int step = 0; step < 2 + piece; step++)
            length +=
                (size_t)snprintf(text + length, size - length, "%d %d\n", 21 + step, 60 + piece);
        length += (size_t)snprintf(text + length, size - length, "\n");
    }
}

static int sounding(const float *values, int from, int to) {
    for (int p = from; p < to; p++)
        if (values[p] > 0)
            return p;
    return -1;
}

/* Every step of every piece but its first is a target once; the state begins anew with each group of pieces. */
static void test_music_batches(void **state) {
    (void)state;
    char text[8192], task_text[600];
    write_pieces(20, text, sizeof text);
    snprintf(task_text, sizeof task_text, "music:%s", write_file("roll", text));
    const car_task_options options = {.lanes = 3, .steps = 4, .checks = 100};
    car_task *task = open_task(task_text, &options);
    unlink(strchr(task_text, '/'));
    int targets = 0;
    for (int64_t i = 0; i < car_task_batches(task, CAR_PROBE_TRAIN); i++) {
        car_batch batch;
        car_task_fill(task, CAR_PROBE_TRAIN, i, &batch);
        const float *input = batch.input, *target = batch.target;
        for (int row = 0; row < batch.steps * 3; row++) {
            if (row / 3 >= batch.lengths[row % 3])
                continue;
            const float *in = input + (size_t)row * 88, *out = target + (size_t)row * 88;
            assert_int_equal(sounding(in, 0, 39) + 1, sounding(out, 0, 39));
            assert_int_equal(sounding(in, 39, 88), sounding(out, 39, 88));
            if (batch.reset && row < 3)
                assert_int_equal(sounding(in, 0, 39), 0);
            targets++;
        }
    }
    int expected = 0;
    for (int piece = 0; piece < 16; piece++)
        expected += 1 + piece;
    assert_int_equal(targets, expected);
    car_task_free(task);
}

/* ---- Tasks -------------------------------------------------------------------------------------------- */

static void test_tasks_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"",       "sums",       "arithmetic@9",  "arithmetic@0",
                                        "xml@3",  "xml:a",      "adding@1",      "adding@x",
                                        "words:", "words:a,b",  "words:a,b,c,d", "continual-reber",
                                        "rows",   "arithmetic@"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refuse_task(wrong[i], CAR_USAGE);
    refuse_task("words:/no/such/file", CAR_IO);
    refuse_task("music:/no/such/file", CAR_IO);
    char text[600];
    snprintf(text, sizeof text, "words:%s", write_file("short", "a few words\n"));
    refuse_task(text, CAR_DATA);
    unlink(strchr(text, '/'));
    snprintf(text, sizeof text, "music:%s", write_file("short", "60\n61\n\n60\n61\n"));
    refuse_task(text, CAR_DATA);
    unlink(strchr(text, '/'));
}

static void test_labels(void **state) {
    (void)state;
    static const char *const pairs[][2] = {{"xml", "xml"},
                                           {"arithmetic@3", "arithmetic@3"},
                                           {"words:/a/b/c.txt,/d/e.txt,f", "words:c.txt"},
                                           {"music:roll.txt", "music:roll.txt"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char label[48];
        car_task_label(pairs[i][0], label, sizeof label);
        assert_string_equal(label, pairs[i][1]);
    }
}

/* A lane reads on where it stopped, only answers are targets, and the text begins anew at its end. */
static void test_text_batches(void **state) {
    (void)state;
    car_task *task = open_task("arithmetic@3", &small);
    car_batch batch;
    car_task_fill(task, CAR_PROBE_TRAIN, 0, &batch);
    assert_true(batch.reset && batch.steps == 5);
    int32_t last = ((const int32_t *)batch.target)[4 * 3], targets = 0;
    car_task_fill(task, CAR_PROBE_TRAIN, 1, &batch);
    assert_false(batch.reset);
    assert_true(last == -1 || ((const int32_t *)batch.input)[0] == last);
    for (int i = 0; i < 200; i++) {
        car_task_fill(task, CAR_PROBE_TRAIN, i, &batch);
        for (int row = 0; row < 15; row++) {
            int32_t class = ((const int32_t *)batch.target)[row];
            assert_true(class < 0 || class >= 26); /* never a letter */
            targets += class >= 0;
        }
    }
    assert_true(targets > 300 && targets < 1500);
    car_task_free(task);
}

/* ---- Runs --------------------------------------------------------------------------------------------- */

static struct car_cell *zoo_cell(const char *name) {
    struct car_cell *cell;
    car_error error = {0};
    const char *text = car_zoo_text(name);
    check(car_cell_compile(text, strlen(text), name, NULL, &cell, &error), &error);
    return cell;
}

static car_evaluation evaluate(car_task *task, const car_cell *cell, bool halving, int count) {
    car_setting_values settings[8];
    car_evaluation evaluation;
    car_error error = {0};
    bool stopped;
    for (int i = 0; i < count; i++)
        settings[i] = car_setting_draw(3, (uint64_t)i, "sgd", 2);
    const car_evaluate_options options = {
        .run = {.optimizer = "sgd", .weights = 900, .updates = 40, .seed = 5}, .halving = halving};
    check(car_evaluate(task, cell, settings, count, &options, NULL, NULL, &stopped, &evaluation,
                       &error),
          &error);
    car_run_free(evaluation.run);
    return evaluation;
}

/* The same again gives the same bits; the best of several is no worse than any; halving trains fewer updates. */
static void test_evaluations(void **state) {
    (void)state;
    static const char *const tasks[] = {"arithmetic@2", "xml", "memorisation@3", "adding@10"};
    struct car_cell *cell = zoo_cell("mut1");
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        car_task *task = open_task(tasks[i], &small);
        car_evaluation one = evaluate(task, cell, false, 1), all = evaluate(task, cell, false, 8);
        car_evaluation again = evaluate(task, cell, false, 8),
                       halved = evaluate(task, cell, true, 8);
        assert_true(memcmp(&all.measure, &again.measure, sizeof all.measure) == 0);
        assert_true(memcmp(&all.check.nats, &again.check.nats, sizeof all.check.nats) == 0);
        assert_int_equal(all.best, again.best);
        assert_true(all.measure >= one.measure && all.measure >= halved.measure);
        if (all.diverged == 0)
            assert_int_equal(all.updates, 8 * 40);
        if (halved.diverged == 0)
            assert_int_equal(halved.updates, 8 * 10 + 4 * 10 + 2 * 20);
        car_task_free(task);
    }
    car_cell_free(cell);
}

static void test_settings_in_json(void **state) {
    (void)state;
    car_error error = {0};
    car_arena *arena = car_arena_create(NULL);
    car_text text;
    car_search_settings settings = car_search_defaults(), read;
    settings.tasks[settings.task_count++] = "xml";
    settings.tasks[settings.task_count++] = "words:a \"b\".txt";
    settings.least = 0.123456789012345678;
    settings.halving = true;
    car_text_start(&text, NULL);
    car_search_settings_to_json(&settings, &text);
    check(car_search_settings_from_json(text.data, arena, &read, &error), &error);
    assert_string_equal(read.tasks[1], settings.tasks[1]);
    assert_true(read.least == settings.least && read.halving && read.trials == settings.trials);
    text.data[text.length - 2] = 'x';
    assert_int_equal(car_search_settings_from_json(text.data, arena, &read, &error), CAR_DATA);
    assert_int_equal(car_search_settings_from_json("{}", arena, &read, &error), CAR_DATA);
    car_text_free(&text);
    car_arena_free(arena);
}

static void test_mean_interval(void **state) {
    (void)state;
    const double values[] = {1, 2, 3, 4};
    double mean, half;
    car_mean_interval(values, 4, &mean, &half);
    assert_true(mean == 2.5);
    assert_true(fabs(half - 3.182 * sqrt(5.0 / 3 / 4)) < 1e-12);
    car_mean_interval(values, 1, &mean, &half);
    assert_true(mean == 1 && isnan(half));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_xml),
        cmocka_unit_test(test_sets_differ_and_repeat),
        cmocka_unit_test(test_rolls),
        cmocka_unit_test(test_music_batches),
        cmocka_unit_test(test_tasks_refused),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_text_batches),
        cmocka_unit_test(test_evaluations),
        cmocka_unit_test(test_settings_in_json),
        cmocka_unit_test(test_mean_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
