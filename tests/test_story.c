/*
 * test_story.c: how the story judges: intervals, outcomes, verdicts; the table of rules; every word in both languages.
 */
#include "story.h"
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const car_story_rule above = {0, {"", ""}, true, 1, 2}, below = {0, {"", ""}, false, 1, 2};

/* Mean 3, standard deviation sqrt(2.5), t(4) = 2.776: 3 +- 2.776 * sqrt(2.5/5). */
static void test_interval(void **state) {
    (void)state;
    const double samples[] = {1, 2, 3, 4, 5, NAN};
    car_story_figure figure = car_story_judge(&above, samples, 6);
    assert_int_equal(figure.seeds, 5);
    assert_true(fabs(figure.mean - 3) < 1e-12);
    assert_true(fabs(figure.high - 3 - 2.776 * sqrt(0.5)) < 1e-9);
    assert_true(fabs(figure.low - 3 + 2.776 * sqrt(0.5)) < 1e-9);
    assert_int_equal(figure.outcome, CAR_OUTCOME_YES);
    assert_int_equal(car_story_judge(&below, samples, 6).outcome, CAR_OUTCOME_NO);
}

static void test_outcomes(void **state) {
    (void)state;
    const double wide[] = {-1, 0, 1, 2, 3.5}, low[] = {0.1, 0.2, 0.1, 0.2, 0.1},
                 on[] = {1, 1, 1, 1, 1};
    assert_int_equal(car_story_judge(&above, wide, 5).outcome, CAR_OUTCOME_OPEN);
    assert_int_equal(car_story_judge(&below, wide, 5).outcome, CAR_OUTCOME_OPEN);
    assert_int_equal(car_story_judge(&above, low, 5).outcome, CAR_OUTCOME_NO);
    assert_int_equal(car_story_judge(&below, low, 5).outcome, CAR_OUTCOME_YES);
    assert_int_equal(car_story_judge(&above, on, 5).outcome, CAR_OUTCOME_OPEN);
    /* However clear: too few seeds decide nothing, nor do none. */
    assert_int_equal(car_story_judge(&below, low, CAR_STORY_LEAST_SEEDS - 1).outcome,
                     CAR_OUTCOME_OPEN);
    const double none[] = {NAN, NAN, NAN, NAN, NAN};
    car_story_figure figure = car_story_judge(&above, none, 5);
    assert_int_equal(figure.seeds, 0);
    assert_int_equal(figure.outcome, CAR_OUTCOME_OPEN);
    assert_true(isnan(figure.mean));
}

static void test_verdicts(void **state) {
    (void)state;
    const car_outcome y = CAR_OUTCOME_YES, n = CAR_OUTCOME_NO, o = CAR_OUTCOME_OPEN;
    assert_int_equal(car_story_verdict((car_outcome[]){y, y}, 2), CAR_VERDICT_HOLDS);
    assert_int_equal(car_story_verdict((car_outcome[]){n, n, n}, 3), CAR_VERDICT_FAILS);
    assert_int_equal(car_story_verdict((car_outcome[]){y, n}, 2), CAR_VERDICT_IN_PART);
    assert_int_equal(car_story_verdict((car_outcome[]){y, o, n}, 3), CAR_VERDICT_IN_PART);
    assert_int_equal(car_story_verdict((car_outcome[]){y, o}, 2), CAR_VERDICT_OPEN);
    assert_int_equal(car_story_verdict((car_outcome[]){n, o}, 2), CAR_VERDICT_OPEN);
    assert_int_equal(car_story_verdict((car_outcome[]){o}, 1), CAR_VERDICT_OPEN);
}

static bool is_chinese(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text >= 0xe4 && (unsigned char)*text <= 0xe9)
            return true;
    return false;
}

static void check_words(car_words words) {
    assert_true(strlen(words.english) > 1 && !is_chinese(words.english));
    assert_true(is_chinese(words.chinese));
}

/* Every claim has its words and at least two rules; they stand in the order of the claims. */
static void test_table(void **state) {
    (void)state;
    int rules[CAR_STORY_CLAIMS] = {0}, last = 0;
    for (int r = 0; r < CAR_RULE_COUNT; r++) {
        const car_story_rule *rule = car_story_rule_at((car_rule_id)r);
        assert_true(rule->claim >= last && rule->claim < CAR_STORY_CLAIMS);
        check_words(rule->what);
        last = rule->claim;
        rules[last]++;
    }
    for (int claim = 0; claim < CAR_STORY_CLAIMS; claim++) {
        assert_true(rules[claim] >= 2);
        check_words(car_story_claim(claim)->title);
        check_words(car_story_claim(claim)->said);
        check_words(car_story_claim(claim)->done);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
