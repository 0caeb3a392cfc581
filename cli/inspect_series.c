/*
 * inspect_series.c: looks into a forecasting model over windows of a CSV file: gates, memory, gradients, clipping, frozen gates.
 *
 * In: a model of `forecast train`, a CSV. Out: an inspect_sight without what only a text has.
 */
#include "inspect_parts.h"

enum { WINDOWS = 32, MOST_LANES = 4096 };

/* Windows of the first series side by side. */
typedef struct series_windows {
    const car_forecast_settings *settings;
    const car_one_series *series;
    size_t first,
        places; /* the first origin that a window has room before, and how many there are */
    size_t lanes;
    double *scales, *reference; /* of the series; [horizon] */
    float *input;               /* [context][lanes][inputs] */
    float *target;              /* [lanes][horizon] */
} series_windows;

static car_status make_windows(const car_forecast_settings *settings, const car_one_series *series,
                               size_t lanes, car_arena *arena, series_windows *room,
                               car_error *error) {
    size_t need = car_forecast_need(settings), horizon = (size_t)settings->horizon;
    size_t inputs = (size_t)car_forecast_inputs(settings), context = (size_t)settings->context;
    *room = (series_windows){.settings = settings, .series = series, .first = need};
    if (series->count < need + horizon)
        return car_fail(error, CAR_DATA,
                        "series %.60s has %zu values; a window and what follows it need %zu",
                        series->id, series->count, need + horizon);
    room->places = series->count - need - horizon + 1;
    room->lanes = room->places < lanes ? room->places : lanes;
    room->input = car_arena_allocate(arena, context * room->lanes * inputs, sizeof(float));
    room->target = car_arena_allocate(arena, room->lanes * horizon, sizeof(float));
    room->reference = car_arena_allocate(arena, horizon, sizeof(double));
    room->scales = car_arena_allocate(arena, series->count + 1, sizeof(double));
    if (!room->input || !room->target || !room->reference || !room->scales)
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    if (settings->series_scale)
        car_forecast_scales(settings, series->values, series->count, room->scales);
    return CAR_OK;
}

/* The window before `origin`, with what follows it as target. */
static void put_window(const series_windows *room, size_t lane, size_t origin) {
    const car_forecast_settings *settings = room->settings;
    size_t horizon = (size_t)settings->horizon, inputs = (size_t)car_forecast_inputs(settings);
    double s =
        car_forecast_window(settings, room->series, origin, room->scales[origin],
                            room->input + lane * inputs, room->lanes * inputs, room->reference);
    for (size_t k = 0; k < horizon; k++) {
        double z = car_forecast_level_of(settings, room->series->values[origin + k]);
        room->target[lane * horizon + k] = s > 0 ? (float)((z - room->reference[k]) / s) : 0;
    }
}

static car_batch batch_of(const series_windows *room) {
    return (car_batch){.steps = room->settings->context,
                       .reset = true,
                       .input = room->input,
                       .target = room->target};
}

/* Windows drawn from the whole series, as training has them in its own order. */
static car_status training_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                                 car_error *error) {
    const series_windows *room = context;
    const car_random_key key = {.seed = 1, .purpose = CAR_RANDOM_SAMPLE};
    (void)epoch;
    (void)error;
    for (size_t lane = 0; lane < room->lanes; lane++) {
        double drawn = (double)car_random_uniform(key, (uint64_t)index, lane);
        put_window(room, lane, room->first + (size_t)((double)room->places * drawn));
    }
    *batch = batch_of(room);
    return CAR_OK;
}

static car_status look(const car_forecast *forecast, const car_series_set *set, car_arena *arena,
                       inspect_sight *sight, car_error *error) {
    const car_forecast_settings *settings = &forecast->settings;
    const car_one_series *series = &set->series[0];
    int64_t lanes = sight->record.batch < MOST_LANES ? sight->record.batch : MOST_LANES;
    series_windows even, drawn;
    CAR_TRY(make_windows(settings, series, WINDOWS, arena, &even, error));
    CAR_TRY(make_windows(settings, series, (size_t)lanes, arena, &drawn, error));
    CAR_TRY(car_forecast_check_values(settings, series, 0, series->count, error));
    for (size_t lane = 0; lane < even.lanes; lane++) {
        size_t most = even.lanes > 1 ? even.lanes - 1 : 1;
        put_window(&even, lane, even.first + lane * (even.places - 1) / most);
    }
    inspect_batches given = {.whole = batch_of(&even),
                             .lanes = (int)even.lanes,
                             .window = batch_of(&even),
                             .window_lanes = (int)even.lanes,
                             .training = {.context = &drawn,
                                          .updates_per_epoch = INSPECT_UPDATES,
                                          .batch = training_batch},
                             .training_lanes = (int)drawn.lanes,
                             .training_steps = settings->context};
    return cli_inspect_batches(forecast->models[0], &given, arena, sight, error);
}

car_status cli_inspect_series(const char *model, const char *path, car_arena *arena,
                              car_forecast *forecast, inspect_sight *sight, car_error *error) {
    car_forecast_options options;
    car_series_set set = {0};
    CAR_TRY(car_forecast_load(model, forecast, arena, &options, error));
    *sight = (inspect_sight){
        .reads = CAR_READS_SERIES,
        .record = {
            .known = true, .seed = options.seed, .batch = options.batch, .clip = options.clip}};
    car_status status = car_forecast_read(&options, path, &set, NULL, error);
    if (status == CAR_OK)
        status = car_forecast_check_series(forecast, &set, error);
    if (status == CAR_OK)
        status = look(forecast, &set, arena, sight, error);
    car_series_free(&set);
    return status;
}
