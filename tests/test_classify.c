/* Labelled sequences and classifiers: names, the .ts reader, scores and calibration against hand-computed values, what
 * augmentation may depend on, and metadata that cannot be. */
#include "classify.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void close_to(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.9g is not %.9g", value, expected);
}

/* ---- names -------------------------------------------------------------------------------------------- */

static void test_names(void **state) {
    (void)state;
    car_arena *arena = car_arena_create(NULL);
    car_names names;
    char text[16], list[64];
    int renumbered[1001];
    assert_non_null(arena);
    car_names_start(&names, arena, NULL);
    assert_int_equal(car_names_find(&names, "9", 1), -1);
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "%d", 999 - i);
        assert_int_equal(car_names_add(&names, text, strlen(text)), i);
        assert_int_equal(car_names_add(&names, text, strlen(text)), i);
    }
    car_names_sort(&names, renumbered);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(renumbered[i], 999 - i);
        assert_int_equal(atoi(names.names[i]), i); /* by size, not as text: 2 before 10 */
        assert_int_equal(car_names_find(&names, names.names[i], strlen(names.names[i])), i);
    }
    car_names_add(&names, "x", 1);
    car_names_sort(&names, renumbered);
    assert_string_equal(names.names[2], "10"); /* one that is no number: all as text */
    car_names_list(names.names, 1000, list, sizeof list);
    assert_true(strlen(list) < sizeof list && strstr(list, " ..."));
    car_names_free(&names);
    car_arena_free(arena);
}

/* ---- .ts ---------------------------------------------------------------------------------------------- */

static car_status parse(const char *text, car_sequences *set, car_error *error) {
    const car_sequences_options options = {0};
    car_status status = car_sequences_start(set, &options, NULL, error);
    if (status == CAR_OK)
        status = car_sequences_parse_ts(text, strlen(text), "t.ts", &options, set, error);
    if (status == CAR_OK)
        status = car_sequences_finish(set, &options, "t.ts", error);
    return status;
}

static void test_ts(void **state) {
    (void)state;
    car_sequences set;
    car_error error;
    const char *text = "#\r\n@CLASSLABEL TRUE b  a\r\n@Data\r\n"
                       " 1 , 2:10,20:b\r\n\r\n3:30:a";
    if (parse(text, &set, &error) != CAR_OK)
        fail_msg("%s", error.message);
    const float values[] = {1, 10, 2, 20, 3, 30};
    assert_int_equal(set.count, 2);
    assert_int_equal(set.channels, 2);
    assert_int_equal(set.longest, 2);
    assert_int_equal(set.begin[1], 2);
    assert_memory_equal(set.values, values, sizeof values);
    assert_string_equal(set.classes.names[0], "a");
    assert_int_equal(set.labels[0], 1);
    assert_int_equal(set.labels[1], 0);
    car_sequences_free(&set);
}

static void test_ts_refusals(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
        int line, column;
    } bad[] = {{"@classLabel true a b\n@data\n1:a\n2:c\n", "does not name", 4, 3},
               {"@classLabel true a b\n@data\n1:2:a\n2:b\n", "1 channels", 4, 1},
               {"@classLabel true a b\n@data\n1,:a\n", "missing", 3, 3},
               {"@classLabel true a b\n@data\n:\n", "empty", 3, 1},
               {"@classLabel true a b\n@data\n1\n", "no channel", 3, 1},
               {"@data\n", "no @classLabel", 1, 1},
               {"@classLabel false\n", "no class labels", 1, 1},
               {"@targetLabel true\n", "regression", 1, 1},
               {"@classLabel true a b\n@data\n1e60:a\n", "too large", 3, 1},
               {"@classLabel true a b\n@data\n", "no sequence", 0, 0},
               {"", "no @data", 0, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        car_sequences set;
        car_error error = {0};
        assert_int_equal(parse(bad[i].text, &set, &error), CAR_DATA);
        if (!strstr(error.message, bad[i].part))
            fail_msg("%zu: '%s' lacks '%s'", i, error.message, bad[i].part);
        assert_int_equal(error.line, bad[i].line);
        assert_int_equal(error.column, bad[i].column);
        car_sequences_free(&set);
    }
}

/* ---- scores ------------------------------------------------------------------------------------------- */

/* Five sequences of a step, in classes 0 0 1 1 2. */
static car_sequences five(int32_t labels[5], size_t begin[6]) {
    static const int32_t classes[] = {0, 0, 1, 1, 2};
    for (size_t i = 0; i < 6; i++)
        begin[i] = i;
    memcpy(labels, classes, sizeof classes);
    return (car_sequences){.count = 5, .rows = 5, .channels = 1, .labels = labels, .begin = begin};
}

static void test_scores(void **state) {
    (void)state;
    int32_t labels[5];
    size_t begin[6];
    const car_sequences set = five(labels, begin);
    const car_part part = {&set, 5, NULL};
    /* said: 0 0 1 0 1 */
    const float probabilities[] = {0.75F,  0.125F, 0.125F, 0.5F,  0.25F, 0.25F, 0.125F, 0.75F,
                                   0.125F, 0.5F,   0.25F,  0.25F, 0.25F, 0.5F,  0.25F};
    car_class_score score;
    car_error error;
    assert_int_equal(car_class_judge(&part, probabilities, 3, 0, NULL, &score, &error), CAR_OK);
    assert_int_equal(score.items, 5);
    assert_int_equal(score.right, 3);
    close_to(score.accuracy, 0.6, 1e-12);
    close_to(score.majority, 0.4, 1e-12);
    close_to(score.low, 0.2307, 1e-4); /* Wilson of 3 of 5 */
    close_to(score.high, 0.8824, 1e-4);
    close_to(score.figures[0].f1, 2.0 * 2 / (3 + 2), 1e-12);
    close_to(score.figures[1].f1, 2.0 * 1 / (2 + 2), 1e-12);
    close_to(score.figures[2].f1, 0, 1e-12);
    close_to(score.macro_f1, (0.8 + 0.5 + 0) / 3, 1e-12);
    assert_int_equal(score.confusion[1 * 3 + 0], 1);
    assert_int_equal(score.confusion[2 * 3 + 1], 1);
    close_to(score.nats, -(2 * log(0.75) + log(0.5) + 2 * log(0.25)) / 5, 1e-7);
    /* bin of 0.75: 2 right of 2; bin of 0.5: 1 right of 3 */
    close_to(score.calibration_error, (fabs(2 - 1.5) + fabs(1 - 1.5)) / 5, 1e-7);
    car_class_score_free(&score);
    for (int i = 0; i < 5; i++)
        labels[i] = -1;
    assert_int_equal(car_class_judge(&part, probabilities, 3, 0, NULL, &score, &error), CAR_DATA);
}

/* Outputs of +-3 that are right three times of four are twice too sure: softmax(6/T) = 3/4 at T = 6 / log 3. */
static void test_temperature(void **state) {
    (void)state;
    enum { COUNT = 4000 };
    int32_t *labels = calloc(COUNT, sizeof *labels);
    size_t *begin = calloc(COUNT + 1, sizeof *begin);
    float *outputs = calloc(2 * COUNT, sizeof *outputs);
    assert_true(labels && begin && outputs);
    for (int i = 0; i < COUNT; i++) {
        labels[i] = i % 4 == 0;
        begin[i + 1] = (size_t)i + 1;
        outputs[2 * i] = 3;
        outputs[2 * i + 1] = -3;
    }
    const car_sequences set = {.count = COUNT, .rows = COUNT, .labels = labels, .begin = begin};
    const car_part part = {&set, COUNT, NULL};
    double temperature = car_class_temperature(&part, outputs, 2);
    close_to(temperature, 6 / log(3), 0.02);
    car_soften(outputs, COUNT, 2, temperature);
    close_to((double)outputs[0], 0.75, 0.001);
    close_to((double)outputs[0] + (double)outputs[1], 1, 1e-6);
    /* Without a mistake the labels' doubt keeps it from 0. */
    for (int i = 0; i < COUNT; i++) {
        labels[i] = 0;
        outputs[2 * i] = 3;
        outputs[2 * i + 1] = -3;
    }
    assert_true(car_class_temperature(&part, outputs, 2) > 0.5);
    free(labels);
    free(begin);
    free(outputs);
}

/* ---- augmentation ------------------------------------------------------------------------------------- */

static void test_augmentation(void **state) {
    (void)state;
    enum { STEPS = 20, CHANNELS = 3, MOST = 30, STRIDE = 7 };
    float in[STEPS * CHANNELS], one[MOST * STRIDE], two[MOST * STRIDE];
    const car_augmentation none = {0}, all = {.noise = 0.1, .warp = 0.3, .shift = 4, .seed = 5};
    for (int i = 0; i < STEPS * CHANNELS; i++)
        in[i] = (float)i;
    memset(one, 0, sizeof one);
    assert_int_equal(car_augment(&none, 3, 8, in, STEPS, CHANNELS, MOST, one, STRIDE), STEPS);
    for (int t = 0; t < STEPS; t++)
        assert_memory_equal(one + t * STRIDE, in + t * CHANNELS, CHANNELS * sizeof *in);
    int lengths = 0, different = 0;
    for (int sequence = 0; sequence < 50; sequence++) {
        memset(one, 0, sizeof one);
        memset(two, 0, sizeof two);
        int a = car_augment(&all, 3, sequence, in, STEPS, CHANNELS, MOST, one, STRIDE);
        int b = car_augment(&all, 3, sequence, in, STEPS, CHANNELS, MOST, two, STRIDE);
        assert_int_equal(a, b);
        assert_memory_equal(one, two, sizeof one);
        assert_in_range(a, 1, MOST);
        lengths += a != STEPS;
        for (int t = 0; t < MOST; t++) /* nothing beyond the channels or the length is written */
            for (int c = t < a ? CHANNELS : 0; c < STRIDE; c++)
                assert_true(one[t * STRIDE + c] == 0);
        car_augment(&all, 4, sequence, in, STEPS, CHANNELS, MOST, two, STRIDE);
        different += memcmp(one, two, sizeof one) != 0;
    }
    assert_true(lengths > 25 && different == 50);
    const car_augmentation aside = {.shift_channels = 1, .seed = 1};
    int moved = 0;
    for (int sequence = 0; sequence < 30; sequence++) {
        car_augment(&aside, 0, sequence, in, STEPS, CHANNELS, MOST, one, STRIDE);
        assert_true(one[1] == 0 || one[1] == 1 || one[1] == 2);
        moved += one[1] != 1;
    }
    assert_in_range(moved, 10, 29);
}

/* ---- the model file ----------------------------------------------------------------------------------- */

static void test_damaged_metadata(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"each\":false,\"majority\":0,\"temperature\":1,\"channels\":2,\"classes\":[\"a\",\"b\"],"
        "\"mean\":[0],\"deviation\":[1,1]}",
        "{\"each\":false,\"majority\":2,\"temperature\":1,\"channels\":2,\"classes\":[\"a\",\"b\"],"
        "\"mean\":[0,0],\"deviation\":[1,1]}",
        "{\"each\":false,\"majority\":0,\"temperature\":0,\"channels\":2,\"classes\":[\"a\",\"b\"],"
        "\"mean\":[0,0],\"deviation\":[1,1]}",
        "{\"each\":false,\"majority\":0,\"temperature\":1,\"channels\":2,\"classes\":[\"a\",\"b\"],"
        "\"mean\":[0,0],\"deviation\":[1,0]}",
        "{\"each\":true,\"majority\":0,\"temperature\":1,\"channels\":2,\"classes\":[\"a\",\"b\"],"
        "\"mean\":[0,0],\"deviation\":[1,1]}",
        "{\"each\":false,\"majority\":0,\"temperature\":1,\"channels\":3,\"classes\":[\"a\",\"b\"],"
        "\"mean\":[0,0,0],\"deviation\":[1,1,1]}",
        "{\"each\":false,\"majority\":0,\"temperature\":1,\"channels\":2,\"classes\":[\"a\"],"
        "\"mean\":[0,0],\"deviation\":[1,1]}",
        "{\"each\":false,\"majority\":0,\"temperature\":1,\"channels\":2,\"classes\":[\"a\",\"b\"],"
        "\"differences\":true,\"mean\":[0,0,0,0],\"deviation\":[1,1,1,1]}",
        "{\"each\":false,\"majority\":0,\"temperature\":1,\"channels\":1,\"classes\":[\"a\",\"b\"],"
        "\"differences\":true,\"mean\":[0],\"deviation\":[1]}",
        "{\"each\":false,\"majority\":0,\"temperature\":1,\"channels\":1,\"classes\":[\"a\",\"b\"],"
        "\"differences\":1,\"mean\":[0,0],\"deviation\":[1,1]}"};
    const char *good =
        "{\"each\":false,\"majority\":1,\"temperature\":1.5,\"channels\":2,\"classes\":[\"a\","
        "\"b\"],\"mean\":[0,1],\"deviation\":[1,2],\"names\":[\"x\",\"y\"]}";
    for (size_t i = 0; i <= sizeof bad / sizeof *bad; i++) {
        car_net *net;
        car_model *model;
        car_error error;
        car_classifier classifier;
        const car_model_options sizes = {.input_size = 2, .output_size = 2};
        const char *text = i < sizeof bad / sizeof *bad ? bad[i] : good;
        assert_int_equal(car_net_parse("rnn 4 | softmax last", NULL, 0, NULL, &net, &error),
                         CAR_OK);
        assert_int_equal(car_model_create(net, &sizes, NULL, &model, &error), CAR_OK);
        car_net_free(net);
        assert_int_equal(car_model_set_metadata(model, "classify.model", text, &error), CAR_OK);
        car_status status = car_classifier_make(model, "m", NULL, &classifier, &error);
        if (status != (text == good ? CAR_OK : CAR_MODEL))
            fail_msg("%zu: %s", i, text);
        if (status == CAR_OK) {
            car_text again;
            car_text_start(&again, NULL);
            car_classifier_to_json(&classifier, &again);
            assert_non_null(strstr(again.data, "\"temperature\":1.5"));
            assert_non_null(strstr(again.data, "\"names\":[\"x\",\"y\"]"));
            car_text_free(&again);
            car_classifier_free(&classifier);
        }
    }
}

static void test_differences(void **state) {
    (void)state;
    float mean[] = {1, 2, 0.5F, 0}, deviation[] = {2, 1, 1, 4}, inputs[4];
    const car_classifier classifier = {
        .channels = 2, .differences = true, .mean = mean, .deviation = deviation};
    assert_int_equal(car_classifier_inputs(&classifier), 4);
    car_classifier_scale(&classifier, (const float[]){5, 3}, (const float[]){4, 11}, inputs);
    assert_memory_equal(inputs, ((const float[]){2, 1, 0.5F, -2}), sizeof inputs);
    car_classifier_scale(&classifier, (const float[]){5, 3}, NULL, inputs);
    assert_memory_equal(inputs, ((const float[]){2, 1, -0.5F, 0}), sizeof inputs);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_ts),
                                       cmocka_unit_test(test_ts_refusals),
                                       cmocka_unit_test(test_scores),
                                       cmocka_unit_test(test_temperature),
                                       cmocka_unit_test(test_augmentation),
                                       cmocka_unit_test(test_damaged_metadata),
                                       cmocka_unit_test(test_differences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
