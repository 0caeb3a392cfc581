/*
 * test_report.c: bars, curves, durations and counts as text; the width of a line.
 */
#include "report.h"
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_text(car_text *text, const char *expected) {
    assert_false(text->failed);
    assert_string_equal(text->data, expected);
    car_text_free(text);
    car_text_start(text, NULL);
}

static void test_bar(void **state) {
    (void)state;
    car_text text;
    car_text_start(&text, NULL);
    car_draw_bar(&text, 0.5, 4, false);
    assert_text(&text, "##..");
    car_draw_bar(&text, NAN, 3, false);
    assert_text(&text, "...");
    car_draw_bar(&text, 7, 3, false);
    assert_text(&text, "###");
    car_draw_bar(&text, 0.5625, 2, true);
    assert_text(&text, "\u2588\u258f");
    car_draw_bar(&text, 0.25, 2, true);
    assert_text(&text, "\u258c\u00b7");
    car_text_free(&text);
}

static void test_curve(void **state) {
    (void)state;
    car_text text;
    car_text_start(&text, NULL);
    const double values[] = {99, 0, NAN, 7, 3.4};
    car_draw_curve(&text, values, 5, 4, true);
    assert_text(&text, "\u2581 \u2588\u2584");
    car_draw_curve(&text, values, 2, 9, false);
    assert_text(&text, "#_");
    const double flat[] = {2, 2};
    car_draw_curve(&text, flat, 2, 9, false);
    assert_text(&text, "==");
    car_text_free(&text);
}

static void test_numbers(void **state) {
    (void)state;
    car_text text;
    car_text_start(&text, NULL);
    const struct {
        double seconds;
        const char *expected;
    } durations[] = {{0, "0s"},       {59.4, "59s"},     {59.6, "1m00s"}, {65, "1m05s"},
                     {7380, "2h03m"}, {349200, "4d01h"}, {-1, "?"},       {NAN, "?"},
                     {INFINITY, "?"}, {3599.7, "1h00m"}};
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        car_draw_duration(&text, durations[i].seconds);
        assert_text(&text, durations[i].expected);
    }
    const struct {
        double count;
        const char *expected;
    } counts[] = {{0, "0"},         {950, "950"},       {999.6, "1.00k"},
                  {12345, "12.3k"}, {9996, "10.0k"},    {4560000, "4.56M"},
                  {123e6, "123M"},  {999.9e6, "1.00G"}, {2e12, "2.00T"}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        car_draw_count(&text, counts[i].count);
        assert_text(&text, counts[i].expected);
    }
    car_text_free(&text);
}

static void test_fit(void **state) {
    (void)state;
    assert_int_equal(car_text_fit("abc", 5), 3);
    assert_int_equal(car_text_fit("abc", 2), 2);
    assert_int_equal(car_text_fit("\u2588\u2588x", 2), 6);
    assert_int_equal(car_text_fit("\033[1ma\033[0mb", 1), 9);
    assert_int_equal(car_text_fit("\xff\xfe", 1), 1);
    assert_int_equal(car_text_fit("", 3), 0);
}

static void test_terminal(void **state) {
    (void)state;
    setenv("LC_ALL", "", 1);
    setenv("LC_CTYPE", "C", 1);
    setenv("LANG", "en_US.UTF-8", 1);
    assert_false(car_terminal_utf8());
    setenv("LC_ALL", "de_DE.utf8", 1);
    assert_true(car_terminal_utf8());
    assert_false(car_terminal_live(-1));
    assert_int_equal(car_terminal_width(-1), 80);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bar), cmocka_unit_test(test_curve),    cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_fit), cmocka_unit_test(test_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
