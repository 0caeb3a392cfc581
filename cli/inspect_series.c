/*
 * inspect_series.c: looks into a forecasting model over windows of a CSV file: gates, memory, gradients, frozen gates.
 *
 * In: a model of `forecast train`, a CSV. Out: an inspect_sight without what only a text has.
 */
#include "inspect_parts.h"

enum { WINDOWS = 32 };

/* Windows of the first series, evenly over it, side by side; each with what follows it as target. */
static car_status fill_windows(const car_forecast *forecast, const car_series_set *set,
                               car_arena *arena, car_batch *batch, int *lanes, car_error *error) {
    const car_forecast_settings *settings = &forecast->settings;
    const car_one_series *series = &set->series[0];
    size_t need = car_forecast_need(settings), horizon = (size_t)settings->horizon;
    size_t inputs = (size_t)car_forecast_inputs(settings);
    if (series->count < need + horizon)
        return car_fail(error, CAR_DATA,
                        "series %.60s has %zu values; a window and what follows it need %zu",
                        series->id, series->count, need + horizon);
    CAR_TRY(car_forecast_check_values(settings, series, 0, series->count, error));
    size_t places = series->count - need - horizon + 1;
    size_t count = places < WINDOWS ? places : WINDOWS, context = (size_t)settings->context;
    float *input = car_arena_allocate(arena, context * count * inputs, sizeof *input);
    float *target = car_arena_allocate(arena, count * horizon, sizeof *target);
    double *reference = car_arena_allocate(arena, horizon, sizeof *reference);
    double *scales = car_arena_allocate(arena, series->count + 1, sizeof *scales);
    if (!input || !target || !reference || !scales)
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    if (settings->series_scale)
        car_forecast_scales(settings, series->values, series->count, scales);
    for (size_t lane = 0; lane < count; lane++) {
        size_t origin = need + (count > 1 ? lane * (places - 1) / (count - 1) : 0);
        double s = car_forecast_window(settings, series, origin, scales[origin],
                                       input + lane * inputs, count * inputs, reference);
        for (size_t k = 0; k < horizon; k++) {
            double z = car_forecast_level_of(settings, series->values[origin + k]);
            target[lane * horizon + k] = s > 0 ? (float)((z - reference[k]) / s) : 0;
        }
    }
    *lanes = (int)count;
    *batch =
        (car_batch){.steps = settings->context, .reset = true, .input = input, .target = target};
    return CAR_OK;
}

static car_status look(const car_forecast *forecast, const car_series_set *set, car_arena *arena,
                       inspect_sight *sight, car_error *error) {
    const car_model *model = forecast->models[0];
    car_batch batch = {0};
    int lanes = 0;
    CAR_TRY(fill_windows(forecast, set, arena, &batch, &lanes, error));
    inspect_batches given = {
        .whole = batch, .lanes = lanes, .window = batch, .window_lanes = lanes};
    return cli_inspect_batches(model, &given, arena, sight, error);
}

car_status cli_inspect_series(const char *model, const char *path, car_arena *arena,
                              car_forecast *forecast, inspect_sight *sight, car_error *error) {
    car_forecast_options options;
    car_series_set set = {0};
    CAR_TRY(car_forecast_load(model, forecast, arena, &options, error));
    *sight =
        (inspect_sight){.reads = CAR_READS_SERIES, .record = {.known = true, .seed = options.seed}};
    car_status status = car_forecast_read(&options, path, &set, NULL, error);
    if (status == CAR_OK)
        status = car_forecast_check_series(forecast, &set, error);
    if (status == CAR_OK)
        status = look(forecast, &set, arena, sight, error);
    car_series_free(&set);
    return status;
}
