/*
 * test_forecast.c: what a forecast may know, and what a model file may say.
 *
 * In:  small series made here. Out: training and forecasts whose bits do not depend on what lies behind them; files that
 *      are damaged are refused.
 */
#include "forecast.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROWS = 120, KNOWN_TO = 90 };

static void require(car_status status, const car_error *error) {
    if (status != CAR_OK)
        fail_msg("%s", error->message);
}

/* Two series with a known and an unknown column; from row `changed` on all but the known one is otherwise. */
static car_series_set make_series(int changed) {
    const car_random_key key = {.seed = 11, .purpose = CAR_RANDOM_TEST};
    car_text text;
    car_error error = {0};
    car_csv *csv;
    car_series_set set;
    const car_series_options options = {.known = "holiday", .unknown = "rain"};
    car_text_start(&text, NULL);
    car_text_format(&text, "unique_id,ds,y,holiday,rain\n");
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < ROWS; i++) {
            double y = 20 + 5 * sin(i / 3.0 + s) + car_random_normal(key, (uint64_t)s, (uint64_t)i);
            double rain = car_random_normal(key, 7, (uint64_t)i);
            car_text_format(&text, "%c,%d,%.6f,%d,%.6f\n", 'a' + s, i,
                            i < changed ? y : 900 - 7 * y, i % 7 == 0,
                            i < changed ? rain : 40 + rain);
        }
    require(car_csv_open_text(text.data, text.length, "test", NULL, &csv, &error), &error);
    require(car_series_read(csv, &options, NULL, &set, &error), &error);
    car_csv_free(csv);
    car_text_free(&text);
    assert_int_equal(set.count, 2);
    assert_int_equal(set.covariate_count, 2);
    return set;
}

static car_forecast train(const car_forecast_options *options, const car_series_set *set) {
    const size_t lengths[] = {KNOWN_TO, KNOWN_TO};
    car_error error = {0};
    car_forecast forecast = {0};
    car_forecast_result result;
    require(car_forecast_train(options, set, lengths, NULL, NULL, NULL, &forecast, &result, &error),
            &error);
    return forecast;
}

static void run(const car_forecast *forecast, const car_series_set *set, double *point,
                double *quantiles) {
    car_error error = {0};
    const car_forecast_case one = {&set->series[1], KNOWN_TO, point, quantiles};
    require(car_forecast_run(forecast, &one, 1, &error), &error);
}

/* Whatever comes after the training's end: the same weights, the same settings, the same forecasts, to the bit. */
static void test_the_future_changes_nothing(void **state) {
    (void)state;
    static const struct {
        const char *net, *reference, *scale;
        bool log, difference;
    } cases[] = {
        {"gru 6 | linear last", "auto", "window", false, false},
        {"lstm 5 dropout 0.2 | quantile last", "mean", "series", false, false},
        {"gru 6 | studentt mean", "season", "series", true, false},
        {"patch 2 | rnn 6 | gaussian last", "last", "series", true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        car_forecast_options options = car_forecast_defaults();
        options.horizon = 4;
        options.context = 12;
        options.season = 6;
        options.updates = 60;
        options.validate_every = 20;
        options.known = "holiday";
        options.unknown = "rain";
        options.net = cases[i].net;
        options.reference = cases[i].reference;
        options.scale = cases[i].scale;
        options.log = cases[i].log;
        options.difference = cases[i].difference;
        car_series_set sets[] = {make_series(ROWS), make_series(KNOWN_TO)};
        car_forecast forecasts[2];
        double points[2][4], quantiles[2][12];
        car_text settings[2];
        for (int k = 0; k < 2; k++) {
            forecasts[k] = train(&options, &sets[k]);
            run(&forecasts[k], &sets[k], points[k], quantiles[k]);
            car_text_start(&settings[k], NULL);
            car_forecast_settings_json(&forecasts[k].settings, forecasts[k].spread, &settings[k]);
        }
        assert_memory_equal(forecasts[0].models[0]->weights, forecasts[1].models[0]->weights,
                            forecasts[0].models[0]->weight_floats * sizeof(float));
        assert_string_equal(settings[0].data, settings[1].data);
        assert_memory_equal(points[0], points[1], sizeof points[0]);
        assert_memory_equal(quantiles[0], quantiles[1], sizeof quantiles[0]);
        for (int q = 1; q < 12; q++)
            assert_true(q % 3 == 0 || quantiles[0][q] >= quantiles[0][q - 1]);
        for (int k = 0; k < 2; k++) {
            car_forecast_free(&forecasts[k]);
            car_series_free(&sets[k]);
            car_text_free(&settings[k]);
        }
    }
}

/* A forecast among others has the bits that it has alone. */
static void test_side_by_side(void **state) {
    (void)state;
    car_forecast_options options = car_forecast_defaults();
    options.horizon = 3;
    options.context = 8;
    options.updates = 20;
    options.validate_every = 10;
    options.season = 1;
    car_series_set set = make_series(ROWS);
    set.covariate_count = 0; /* the columns are left out */
    car_forecast forecast = train(&options, &set);
    car_forecast_case cases[70], alone;
    double values[70][12], own[12];
    car_error error = {0};
    for (int i = 0; i < 70; i++)
        cases[i] =
            (car_forecast_case){&set.series[i % 2], (size_t)(20 + i), values[i], values[i] + 3};
    require(car_forecast_run(&forecast, cases, 70, &error), &error);
    for (int i = 0; i < 70; i += 23) {
        alone = cases[i];
        alone.point = own;
        alone.quantiles = own + 3;
        require(car_forecast_run(&forecast, &alone, 1, &error), &error);
        assert_memory_equal(own, values[i], sizeof own);
    }
    alone.origin = 5;
    assert_int_equal(car_forecast_run(&forecast, &alone, 1, &error), CAR_DATA);
    car_forecast_free(&forecast);
    car_series_free(&set);
}

/* What forecast.settings may not say. */
static void test_damaged_settings(void **state) {
    (void)state;
    char path[] = "/tmp/carousel-forecast-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    car_forecast_options options = car_forecast_defaults();
    options.horizon = 3;
    options.context = 8;
    options.updates = 10;
    options.validate_every = 10;
    options.known = "holiday";
    options.unknown = "rain";
    options.head = "linear";
    options.output = path;
    car_series_set set = make_series(ROWS);
    car_error error = {0};
    car_forecast_result result;
    require(car_forecast_train(&options, &set, NULL, NULL, NULL, NULL, NULL, &result, &error),
            &error);
    car_series_free(&set);
    car_arena *arena = car_arena_create(NULL);
    car_forecast forecast = {0};
    car_forecast_options stored;
    require(car_forecast_load(path, &forecast, arena, &stored, &error), &error);
    assert_string_equal(stored.known, "holiday");
    assert_int_equal(forecast.settings.input_count, 2);
    car_forecast_free(&forecast);
    static const char *const changes[][2] = {
        {"\"horizon\":3", "\"horizon\":4"},
        {"\"context\":8", "\"context\":1"},
        {"\"context\":8", "\"context\":99999"},
        {"\"season\":1", "\"season\":0"},
        {"\"log\":false", "\"log\":0"},
        {"\"reference\":\"last\"", "\"reference\":\"first\""},
        {"[0.1,0.5,0.9]", "[0.5,0.1,0.9]"},
        {"[0.1,0.5,0.9]", "[]"},
        {"\"role\":\"known\"", "\"role\":\"past\""},
        {"\"deviation\":", "\"deviation\":-"},
        {"\"inputs\":[{", "\"inputs\":[3,{"},
        {"\"step\":1", "\"step\":0"},
        {"\"spread\":[[", "\"spread\":[[1,["},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        car_model *model;
        car_text text;
        require(car_model_load(path, NULL, &model, &error), &error);
        const char *before = car_model_metadata(model, "forecast.settings");
        const char *place = strstr(before, changes[i][0]);
        if (!place)
            fail_msg("%s is not in %s", changes[i][0], before);
        car_text_start(&text, NULL);
        car_text_add(&text, before, (size_t)(place - before));
        car_text_format(&text, "%s%s", changes[i][1], place + strlen(changes[i][0]));
        require(car_model_set_metadata(model, "forecast.settings", text.data, &error), &error);
        char other[64];
        snprintf(other, sizeof other, "%s.other", path);
        require(car_model_save(model, other, &error), &error);
        car_status status = car_forecast_load(other, &forecast, arena, &stored, &error);
        if (status != CAR_MODEL)
            fail_msg("%s: status %d", changes[i][1], (int)status);
        car_forecast_free(&forecast);
        car_model_free(model);
        car_text_free(&text);
        unlink(other);
    }
    car_arena_free(arena);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_future_changes_nothing),
        cmocka_unit_test(test_side_by_side),
        cmocka_unit_test(test_damaged_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
