/*
 * watch_forecast.c: a forecasting model on streams of values.
 *
 * In:  the next value of a stream. Out: how far it was from what had been expected of it, and the values to come.
 *
 * A stream holds the last `keep` values: as many as a window needs, or, for a model that scales by all of a series, the last
 * 4096 at least. Its numbers are: how many values there are, whether a value is expected, the outer quantiles and the
 * median of what is expected, then the values.
 */
#include "watch.h"
#include <math.h>
#include <string.h>

enum { COUNT, EXPECTED, LOW, MEDIAN, HIGH, VALUES, SERIES_SCALE_KEEP = 4096 };

static car_status make(car_watch *watch, car_error *error) {
    const car_forecast_settings *settings = &watch->forecast->settings;
    size_t horizon = (size_t)settings->horizon, levels = (size_t)settings->level_count;
    watch->keep = car_forecast_need(settings);
    if (settings->series_scale && watch->keep < SERIES_SCALE_KEEP)
        watch->keep = SERIES_SCALE_KEEP;
    watch->numbers = VALUES + watch->keep;
    watch->arena = car_arena_create(watch->allocator);
    watch->point = car_allocate(watch->allocator, horizon, sizeof *watch->point);
    watch->quantiles = car_allocate(watch->allocator, horizon * levels, sizeof *watch->quantiles);
    if (!watch->arena || !watch->point || !watch->quantiles)
        return car_fail(error, CAR_MEMORY, "no memory to watch");
    car_names_start(&watch->ids, watch->arena, watch->allocator);
    car_sha256 hash;
    car_sha256_start(&hash);
    for (int i = 0; i < watch->forecast->count; i++)
        car_watch_digest(&hash, watch->forecast->models[i]);
    car_sha256_finish(&hash, watch->digest);
    return CAR_OK;
}

car_status car_watch_create_forecast(const car_forecast *forecast, const car_allocator *allocator,
                                     car_watch **watch, car_error *error) {
    *watch = NULL;
    if (forecast->settings.input_count > 0)
        return car_fail(error, CAR_USAGE,
                        "the model reads covariates beside its values, and those of the steps to "
                        "come are not in a row; use `forecast predict`");
    car_watch *made = car_allocate(allocator, 1, sizeof *made);
    if (!made)
        return car_fail(error, CAR_MEMORY, "no memory to watch");
    *made = (car_watch){.allocator = allocator, .forecast = forecast};
    car_status status = make(made, error);
    if (status == CAR_OK)
        *watch = made;
    else
        car_watch_free(made);
    return status;
}

/* What is expected of the next value, from the first step of the forecast. */
static void expect_next(const car_watch *watch, double *numbers) {
    const car_forecast_settings *settings = &watch->forecast->settings;
    int levels = settings->level_count, middle = 0;
    for (int q = 1; q < levels; q++)
        if (fabs(settings->levels[q] - 0.5) < fabs(settings->levels[middle] - 0.5))
            middle = q;
    numbers[EXPECTED] = 1;
    numbers[LOW] = levels > 1 ? watch->quantiles[0] : watch->point[0];
    numbers[HIGH] = levels > 1 ? watch->quantiles[levels - 1] : watch->point[0];
    numbers[MEDIAN] = levels > 0 ? watch->quantiles[middle] : watch->point[0];
}

static void compare(const double *numbers, double value, car_watch_answer *answer) {
    double half = (numbers[HIGH] - numbers[LOW]) / 2;
    answer->expected = numbers[EXPECTED] > 0;
    answer->median = numbers[MEDIAN];
    answer->residual = value - numbers[MEDIAN];
    answer->score = half > 0 ? fabs(answer->residual) / half : NAN;
    answer->outside = half > 0 && (value < numbers[LOW] || value > numbers[HIGH]);
}

static void append(const car_watch *watch, double *numbers, double value) {
    size_t count = numbers[COUNT] > 0 ? (size_t)numbers[COUNT] : 0;
    double *values = numbers + VALUES;
    if (count >= watch->keep) {
        count = watch->keep - 1;
        memmove(values, values + 1, count * sizeof *values);
    }
    values[count] = value;
    numbers[COUNT] = (double)(count + 1);
}

car_status car_watch_value(car_watch *watch, car_watch_stream *stream, double value,
                           car_watch_answer *answer, car_error *error) {
    double *numbers = stream->numbers;
    *answer = (car_watch_answer){.score = NAN};
    compare(numbers, value, answer);
    append(watch, numbers, value);
    stream->steps++;
    numbers[EXPECTED] = 0;
    if (numbers[COUNT] < (double)car_forecast_need(&watch->forecast->settings))
        return CAR_OK;
    car_one_series series = {.id = (char *)(uintptr_t)stream->id,
                             .count = (size_t)numbers[COUNT],
                             .values = numbers + VALUES};
    const car_forecast_case one = {&series, series.count, watch->point, watch->quantiles};
    CAR_TRY(car_forecast_run(watch->forecast, &one, 1, error));
    expect_next(watch, numbers);
    answer->ready = true;
    answer->point = watch->point;
    answer->quantiles = watch->quantiles;
    return CAR_OK;
}
