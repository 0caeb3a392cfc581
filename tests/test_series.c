/* Series: CSV, time stamps, what is refused and what is repaired, baselines and scores against hand-computed values. */
#include "series.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static car_status read_text(const char *text, car_series_options options, car_series_set *set,
                            car_error *error) {
    car_csv *csv = NULL;
    *set = (car_series_set){0};
    car_status status = car_csv_open_text(text, strlen(text), "t.csv", NULL, &csv, error);
    if (status == CAR_OK)
        status = car_series_read(csv, &options, NULL, set, error);
    car_csv_free(csv);
    return status;
}

static void refuse(const char *text, car_series_options options, int line, int column,
                   const char *part) {
    car_series_set set;
    car_error error = {0};
    assert_int_equal(read_text(text, options, &set, &error), CAR_DATA);
    if (!strstr(error.message, part))
        fail_msg("'%s' lacks '%s'", error.message, part);
    assert_int_equal(error.line, line);
    assert_int_equal(error.column, column);
}

static void accept(const char *text, car_series_options options, const double *values, size_t count,
                   car_series_set *set) {
    car_error error = {0};
    if (read_text(text, options, set, &error) != CAR_OK)
        fail_msg("%s", error.message);
    if (!set->series)
        abort();
    assert_int_equal(set->series[0].count, count);
    for (size_t i = 0; i < count; i++)
        assert_true(set->series[0].values[i] == values[i]);
}

static void test_csv_fields(void **state) {
    (void)state;
    const char *text = "\xef\xbb\xbf"
                       "a, b ,\"c\"\r\n\r\n1,\"x, \"\"y\"\"\n2\", 3\nlast,,";
    car_csv *csv;
    const car_csv_field *fields;
    int count;
    car_error error;
    assert_int_equal(car_csv_open_text(text, strlen(text), "t", NULL, &csv, &error), CAR_OK);
    assert_int_equal(car_csv_row(csv, &fields, &count, &error), CAR_OK);
    assert_int_equal(count, 3);
    assert_string_equal(fields[0].text, "a");
    assert_int_equal(fields[0].column, 1);
    assert_string_equal(fields[1].text, "b");
    assert_string_equal(fields[2].text, "c");
    assert_int_equal(car_csv_row(csv, &fields, &count, &error), CAR_OK);
    assert_int_equal(fields[0].line, 3);
    assert_string_equal(fields[1].text, "x, \"y\"\n2");
    assert_int_equal(fields[2].line, 4);
    assert_int_equal(fields[2].column, 5);
    assert_int_equal(car_csv_row(csv, &fields, &count, &error), CAR_OK);
    assert_int_equal(count, 3);
    assert_string_equal(fields[2].text, "");
    assert_int_equal(car_csv_row(csv, &fields, &count, &error), CAR_OK);
    assert_int_equal(count, 0);
    car_csv_free(csv);
}

static void test_csv_refused(void **state) {
    (void)state;
    const car_series_options plain = {0};
    refuse("ds,y\n1,\"2\n", plain, 2, 3, "never closes");
    refuse("ds,y\n1,\"2\"3\n", plain, 2, 6, "closing quote");
    refuse("ds,y\n1,2,3\n", plain, 2, 1, "3 fields where the header has 2");
    refuse("ds,y\n1,\xff\n", plain, 2, 3, "UTF-8");
    refuse("ds,y\n1,2\r3,4\n", plain, 2, 5, "carriage return");
    refuse("ds;y\n1;2,5\n", plain, 1, 1, "separated by commas");
    refuse("ds\ty\n1\t2\n", plain, 1, 1, "separated by commas");
}

static void test_refused(void **state) {
    (void)state;
    const car_series_options plain = {0}, named = {.value = "z"};
    refuse("ds,y\n1,2\n2,many\n", plain, 3, 3, "is no number");
    refuse("ds,y\n1,2\n2,NA\n", plain, 3, 3, "no value (`NA`)");
    refuse("ds,y\n1,2\n2,3\n2,4\n", plain, 4, 3, "in line 3 already");
    refuse("ds,y\n1,2\n3,3\n2,4\n", plain, 4, 1, "back in time");
    refuse("ds,y\n1,2\n2,3\n4,4\n", plain, 4, 1, "1 stamp is missing");
    refuse("ds,y\n0,2\n2,3\n4,4\n5,3\n", plain, 5, 1, "between two steps");
    /* days among months: two stamps of one month are no step apart */
    refuse("unique_id,ds,y\na,2020-01-01,1\na,2020-02-01,1\na,2020-03-01,1\nb,2020-01-01,1\nb,2020-"
           "01-02,1\n",
           plain, 6, 1, "mixed frequencies");
    refuse("ds,y\n01/02/2020,2\n", plain, 2, 1, "no time stamp");
    refuse("ds,y\n2020-01,2\n2020-02-01,3\n", plain, 3, 1, "otherwise");
    refuse("ds,y\n1,2\n", named, 1, 1, "no column `z` (--value); the file has ds, y");
    refuse("ds,a,b\n1,2,3\n", plain, 1, 1, "name one with --value");
    refuse("ds,y\n", plain, 0, 0, "no value in any");
    refuse("ds,y\n1,NA\n2,\n", (car_series_options){.missing = CAR_MISSING_LAST}, 0, 0,
           "no value in any");
    refuse("ds,a,b\n1,2,NA\n2,2,NA\n",
           (car_series_options){.missing = CAR_MISSING_LAST, .value = "a,b"}, 0, 0,
           "series `b` has no value");
}

static void test_repaired(void **state) {
    (void)state;
    car_series_set set;
    car_series_options options = {.missing = CAR_MISSING_LAST,
                                  .gaps = CAR_GAPS_LAST,
                                  .duplicates = CAR_DUPLICATES_MEAN,
                                  .sort = true};
    /* 1: NA at the start, dropped; 3: missing; 4: twice; 6: a gap at 5; rows out of order */
    accept("ds,y\n2,10\n1,NA\n3,NA\n6,7\n4,1\n4,3\n", options, (double[]){10, 10, 2, 2, 7}, 5,
           &set);
    assert_int_equal(set.report.rows, 6);
    assert_int_equal(set.report.missing, 2);
    assert_int_equal(set.report.dropped, 1);
    assert_int_equal(set.report.filled, 1);
    assert_int_equal(set.report.gaps, 1);
    assert_int_equal(set.report.duplicates, 1);
    assert_int_equal(set.report.moved, 2);
    assert_int_equal(set.series[0].stamps[3], 5);
    car_series_free(&set);
    options = (car_series_options){.gaps = CAR_GAPS_CLOSE, .duplicates = CAR_DUPLICATES_LAST};
    accept("ds,y\n1,1\n2,2\n2,3\n9,4\n", options, (double[]){1, 3, 4}, 3, &set);
    car_series_free(&set);
}

static void test_many_series(void **state) {
    (void)state;
    car_series_set set;
    accept("unique_id,ds,y\nb,2020-01,1\na,2020-01,5\nb,2020-02,2\na,2020-02,6\n",
           (car_series_options){0}, (double[]){1, 2}, 2, &set);
    assert_int_equal(set.count, 2);
    assert_string_equal(set.series[1].id, "a");
    assert_true(set.series[1].values[1] == 6);
    assert_int_equal(car_frequency_season(&set.frequency), 12);
    car_series_free(&set);
    accept("t,a,b\n1,1,5\n2,2,6\n", (car_series_options){.value = "b,a"}, (double[]){5, 6}, 2,
           &set);
    assert_int_equal(set.count, 2);
    assert_string_equal(set.series[1].id, "a");
    car_series_free(&set);
}

static void stamp_text(const char *text, const char *expected) {
    car_stamp_kind kind;
    int64_t value;
    char back[CAR_STAMP_TEXT];
    assert_true(car_stamp_parse(text, strlen(text), &kind, &value));
    car_stamp_format(kind, value, back);
    assert_string_equal(back, expected);
}

static void test_stamps(void **state) {
    (void)state;
    stamp_text("1949", "1949");
    stamp_text("-7", "-7");
    stamp_text("1949-12", "1949-12");
    stamp_text("1900-02-28", "1900-02-28");
    stamp_text("2024-02-29", "2024-02-29");
    stamp_text("1969-12-31T23:59", "1969-12-31 23:59:00");
    stamp_text("2020-01-01 00:30:00+01:00", "2019-12-31 23:30:00");
    stamp_text("2020-01-01T00:30:00.000Z", "2020-01-01 00:30:00");
    const char *const bad[] = {"",
                               "1949-13",
                               "2023-02-29",
                               "2020-1-1",
                               "2020-01-01x",
                               "2020-01-01 24:00",
                               "-",
                               "2020-01-01 10:00:00.5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        car_stamp_kind kind;
        int64_t value;
        if (car_stamp_parse(bad[i], strlen(bad[i]), &kind, &value))
            fail_msg("'%s' was taken", bad[i]);
    }
}

/* Stamps in a column -> the frequency's name, and the stamp after the last. */
static void frequency(const char *stamps, const char *name, const char *next) {
    char text[400] = "ds,y\n", found[32], after[CAR_STAMP_TEXT];
    for (const char *at = stamps; *at;) {
        size_t length = strcspn(at, " ");
        snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s,1\n", (int)length, at);
        at += length + (at[length] == ' ');
    }
    car_series_set set;
    car_error error;
    if (read_text(text, (car_series_options){0}, &set, &error) != CAR_OK)
        fail_msg("%s", error.message);
    car_frequency_name(&set.frequency, found);
    assert_string_equal(found, name);
    if (!set.series)
        abort();
    const car_one_series *one = &set.series[0];
    int64_t last = one->stamps[one->count - 1],
            following = car_frequency_add(&set.frequency, last, 1);
    car_stamp_format(set.frequency.kind, following, after);
    assert_string_equal(after, next);
    assert_int_equal(car_frequency_steps(&set.frequency, last, following), 1);
    car_series_free(&set);
}

static void test_frequencies(void **state) {
    (void)state;
    frequency("1 2 3", "every 1 steps", "4");
    frequency("1949-11 1949-12", "monthly", "1950-01");
    frequency("2020/02/28 2020/02/29", "daily", "2020-03-01");
    frequency("20200131 20200229", "monthly", "2020-03-31");
    frequency("2020-01-31 2020-02-29 2020-03-31", "monthly", "2020-04-30");
    frequency("2020-01-15 2020-04-15 2020-07-15", "quarterly", "2020-10-15");
    frequency("2019-01-01 2020-01-01 2021-01-01", "yearly", "2022-01-01");
    frequency("2020-02-27 2020-02-28", "daily", "2020-02-29");
    frequency("2020-01-06 2020-01-13 2020-01-20", "weekly", "2020-01-27");
    frequency("2020-01-06 2020-01-07 2020-01-08 2020-01-09 2020-01-10 2020-01-13 2020-01-14 "
              "2020-01-15 2020-01-16 2020-01-17",
              "business-daily", "2020-01-20");
    frequency("2020-01-01T22:00 2020-01-01T23:00", "hourly", "2020-01-02 00:00:00");
}

static void foretell(car_baseline baseline, int season, const double *expected, int horizon) {
    const double y[] = {1, 4, 2, 5, 3, 6, 4};
    double out[8];
    car_error error;
    assert_int_equal(car_baseline_forecast(baseline, y, 7, season, horizon, out, &error), CAR_OK);
    for (int h = 0; h < horizon; h++)
        assert_float_equal(out[h], expected[h], 1e-12);
}

static void test_baselines(void **state) {
    (void)state;
    foretell(CAR_BASELINE_NAIVE, 2, (double[]){4, 4, 4}, 3);
    foretell(CAR_BASELINE_SEASONAL, 2, (double[]){6, 4, 6, 4}, 4);
    foretell(CAR_BASELINE_SEASONAL, 3, (double[]){3, 6, 4, 3}, 4);
    foretell(CAR_BASELINE_SEASONAL, 9, (double[]){4, 4, 1},
             3); /* longer than the history: the last */
    foretell(CAR_BASELINE_DRIFT, 1, (double[]){4.5, 5}, 2);
    foretell(CAR_BASELINE_MEAN, 1, (double[]){25.0 / 7, 25.0 / 7}, 2);
    foretell(CAR_BASELINE_NAIVE2, 1, (double[]){4, 4}, 2);
}

/* On a straight line the errors of a naive forecast k steps ahead are all k steps of it. */
static void test_baseline_quantiles(void **state) {
    (void)state;
    enum { LINE = 100, AHEAD = 3, LEVELS = 3 };
    const double levels[LEVELS] = {0.1, 0.5, 0.9};
    double line[LINE + AHEAD], curve[LINE], spread[AHEAD * LEVELS];
    car_error error;
    for (int t = 0; t < LINE + AHEAD; t++)
        line[t] = t < LINE ? 2 * t : NAN; /* what comes later is not looked at */
    for (int t = 0; t < LINE; t++)
        curve[t] = exp(0.01 * t);
    for (int logs = 0; logs < 2; logs++) {
        assert_int_equal(car_baseline_spread(CAR_BASELINE_NAIVE, logs ? curve : line, LINE, 7,
                                             AHEAD, logs, levels, LEVELS, spread, &error),
                         CAR_OK);
        for (int i = 0; i < AHEAD * LEVELS; i++)
            assert_float_equal(spread[i], (i % 3 - 1) * (i / 3 + 1) * (logs ? 0.01 : 2.0), 1e-9);
    }
    assert_int_equal(car_baseline_spread(CAR_BASELINE_SEASONAL, line, LINE, 7, AHEAD, false, levels,
                                         LEVELS, spread, &error),
                     CAR_OK);
    assert_float_equal(spread[8], 14, 1e-12);
    /* ten values: three origins of the second half, too few; twelve: four, whose steps lend each other their errors */
    for (size_t count = 10; count <= 12; count += 2) {
        assert_int_equal(car_baseline_spread(CAR_BASELINE_NAIVE, line, count, 1, AHEAD, false,
                                             levels, LEVELS, spread, &error),
                         CAR_OK);
        assert_true(count == 10 ? isnan(spread[2]) : spread[2] == 6 && spread[8] == 6);
    }
    const double errors[] = {-3, 1, 4, -1, 5, -9, 2, 6, -5, 3}; /* sizes 1 1 2 3 3 4 5 5 6 9 */
    double sorted[10];
    memcpy(sorted, errors, sizeof errors);
    car_conformal_spread(sorted, 10, 1, levels, LEVELS, spread);
    assert_float_equal(spread[2], 6, 0); /* the ninth: 0.8 of 10 + 1, rounded up */
    assert_float_equal(spread[0], -6, 0);
}

static void test_scores(void **state) {
    (void)state;
    const double actual[] = {10, 0, 20}, forecast[] = {8, 0, 25};
    assert_float_equal(car_smape(actual, forecast, 3), (200 * 2.0 / 18 + 0 + 200 * 5.0 / 45) / 3,
                       1e-12);
    assert_float_equal(car_mean_absolute_error(actual, forecast, 3), 7.0 / 3, 1e-12);
    assert_float_equal(car_root_mean_square_error(actual, forecast, 3), sqrt(29.0 / 3), 1e-12);
    const double train[] = {1, 3, 2, 6};
    assert_float_equal(car_mase_scale(train, 4, 1), 7.0 / 3, 1e-12);
    assert_float_equal(car_mase_scale(train, 4, 2), 2, 1e-12);
    assert_true(isnan(car_mase_scale(train, 4, 4)));
    assert_float_equal(car_pinball(10, 8, 0.9), 1.8, 1e-12);
    assert_float_equal(car_pinball(8, 10, 0.9), 0.2, 1e-12);
    const double quantiles[] = {8, 10, 12}, levels[] = {0.1, 0.5, 0.9};
    assert_float_equal(car_crps(11, quantiles, levels, 3), 2 * (0.3 + 0.5 + 0.1) / 3, 1e-12);
    double low, high;
    car_wilson(8, 10, &low, &high); /* Newcombe 1998's form: 0.490, 0.943 */
    assert_float_equal(low, 0.4901625, 1e-6);
    assert_float_equal(high, 0.9433178, 1e-6);
}

static void test_bootstrap(void **state) {
    (void)state;
    double values[400], low, high, again_low, again_high;
    car_random_key key = {.seed = 3, .purpose = CAR_RANDOM_TEST};
    for (int i = 0; i < 400; i++)
        values[i] = 5 + car_random_normal(key, 0, (uint64_t)i);
    car_bootstrap_mean(values, 400, 1, 1, &low, &high);
    assert_true(low < 5.05 && high > 4.95);
    assert_in_range((int)((high - low) * 1000), 150, 250); /* 2 * 1.96 / sqrt(400) = 0.196 */
    car_bootstrap_mean(values, 400, 1, 1, &again_low, &again_high);
    assert_true(low == again_low && high == again_high);
    car_bootstrap_mean(values, 1, 1, 1, &low, &high);
    assert_true(isnan(low) && isnan(high));
}

/* ---- the M4 competition's hourly series, where they are at hand ---------------------------------------- */

enum { M4_HORIZON = 48 };

/* The numbers of a row behind its name. */
static int numbers_of(const car_csv_field *fields, int count, double *out) {
    int used = 0;
    for (int i = 1; i < count && fields[i].length > 0; i++)
        assert_true(car_number_parse(fields[i].text, fields[i].length, &out[used++]));
    return used;
}

static void test_m4_hourly(void **state) {
    (void)state;
    char train_path[500], test_path[500];
    snprintf(train_path, sizeof train_path, SOURCE_ROOT "/../shared/data/m4/Hourly-train.csv");
    snprintf(test_path, sizeof test_path, SOURCE_ROOT "/../shared/data/m4/Hourly-test.csv");
    const char *folder = getenv("CAROUSEL_M4");
    if (folder) {
        snprintf(train_path, sizeof train_path, "%s/Hourly-train.csv", folder);
        snprintf(test_path, sizeof test_path, "%s/Hourly-test.csv", folder);
    }
    car_csv *train, *test;
    car_error error;
    if (car_csv_open(train_path, NULL, &train, &error) != CAR_OK)
        skip();
    assert_int_equal(car_csv_open(test_path, NULL, &test, &error), CAR_OK);
    const car_csv_field *fields;
    static double y[2000], truth[M4_HORIZON], out[M4_HORIZON];
    double sums[3] = {0};
    int count, series = 0;
    assert_int_equal(car_csv_row(train, &fields, &count, &error), CAR_OK);
    assert_int_equal(car_csv_row(test, &fields, &count, &error), CAR_OK);
    for (;; series++) {
        assert_int_equal(car_csv_row(train, &fields, &count, &error), CAR_OK);
        if (count == 0)
            break;
        int length = numbers_of(fields, count, y);
        assert_int_equal(car_csv_row(test, &fields, &count, &error), CAR_OK);
        assert_int_equal(numbers_of(fields, count, truth), M4_HORIZON);
        const car_baseline kinds[] = {CAR_BASELINE_NAIVE, CAR_BASELINE_SEASONAL,
                                      CAR_BASELINE_NAIVE2};
        for (int k = 0; k < 3; k++) {
            assert_int_equal(
                car_baseline_forecast(kinds[k], y, (size_t)length, 24, M4_HORIZON, out, &error),
                CAR_OK);
            sums[k] += car_smape(truth, out, M4_HORIZON);
        }
    }
    car_csv_free(train);
    car_csv_free(test);
    assert_int_equal(series, 414);
    /* the organisers' figures: 43.003, 13.912, 18.383 */
    assert_float_equal(sums[0] / series, 43.003, 0.0006);
    assert_float_equal(sums[1] / series, 13.912, 0.0006);
    assert_float_equal(sums[2] / series, 18.383, 0.0006);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv_fields),
        cmocka_unit_test(test_csv_refused),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_repaired),
        cmocka_unit_test(test_many_series),
        cmocka_unit_test(test_stamps),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_baselines),
        cmocka_unit_test(test_baseline_quantiles),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_bootstrap),
        cmocka_unit_test(test_m4_hourly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
