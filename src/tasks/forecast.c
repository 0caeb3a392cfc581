/*
 * forecast.c: windows of series, training a net on them, and its forecasts (the formulas stand in forecast.h).
 *
 * In:  series in order of time. Out: a net with the least validation error, and the quantiles of its errors there.
 */
#include "forecast.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const double car_forecast_levels[CAR_FORECAST_LEVELS] = {0.1, 0.5, 0.9};

static const char *const reference_names[] = {"last", "season", "mean"};

car_forecast_options car_forecast_defaults(void) {
    return (car_forecast_options){.net = "lstm 32 | linear last",
                                  .reference = "auto",
                                  .horizon = 12,
                                  .batch = 32,
                                  .updates = 1000,
                                  .patience = 6,
                                  .seed = 1,
                                  .threads = 1,
                                  .rate = 0.005};
}

void car_forecast_free(car_forecast *forecast) {
    car_model_free(forecast->model);
    car_release(NULL, forecast->settings.spread);
    *forecast = (car_forecast){0};
}

/* ---- a window ----------------------------------------------------------------------------------------- */

size_t car_forecast_need(const car_forecast_settings *settings) {
    size_t more = settings->reference == CAR_REFERENCE_SEASON ? (size_t)settings->season : 0;
    return (size_t)settings->context + more;
}

static double level_of(const car_forecast_settings *settings, double y) {
    return settings->log ? log(y) : y;
}

/* z at the place of step `k` in the last season before n. */
static double season_value(const car_forecast_settings *settings, const double *y, size_t n,
                           int k) {
    return level_of(settings, y[n - (size_t)(settings->season - k % settings->season)]);
}

/* input[t*stride] = x/s for t < context, reference[horizon]; returns s, 0 for a window without any change. */
static double make_window(const car_forecast_settings *settings, const double *y, size_t n,
                          float *input, size_t stride, double *reference) {
    int context = settings->context;
    size_t first = n - (size_t)context, back = (size_t)settings->season;
    bool season = settings->reference == CAR_REFERENCE_SEASON;
    double sum = 0, squares = 0, level = level_of(settings, y[n - 1]);
    for (int t = 0; t < context; t++)
        sum += level_of(settings, y[first + (size_t)t]);
    if (settings->reference == CAR_REFERENCE_MEAN)
        level = sum / context;
    sum = 0;
    for (int t = 0; t < context; t++) {
        size_t at = first + (size_t)t;
        double x = level_of(settings, y[at]) - (season ? level_of(settings, y[at - back]) : level);
        input[(size_t)t * stride] = (float)x;
        sum += x;
        squares += x * x;
    }
    double s = sqrt(fmax(0, squares / context - (sum / context) * (sum / context)));
    s = s > 1e-9 * fabs(level) ? s : 0;
    for (int t = 0; t < context; t++)
        input[(size_t)t * stride] = s > 0 ? (float)((double)input[(size_t)t * stride] / s) : 0;
    for (int k = 0; k < settings->horizon; k++)
        reference[k] = season ? season_value(settings, y, n, k) : level;
    return s;
}

/* ---- the settings of a run ---------------------------------------------------------------------------- */

static car_status settle(const car_forecast_options *options, const car_series_set *set,
                         car_forecast_settings *settings, car_error *error) {
    int64_t season = options->season ? options->season : car_frequency_season(&set->frequency);
    int64_t context = options->context;
    if (context == 0)
        context = season > 1 ? 2 * season : 3 * options->horizon;
    if (options->horizon < 1 || options->horizon > CAR_FORECAST_MOST || context < 2 ||
        context > CAR_FORECAST_MOST || season < 1 || season > CAR_FORECAST_MOST)
        return car_fail(error, CAR_USAGE,
                        "horizon %lld, context %lld, season %lld: each must be at most %d, and the "
                        "context 2 or more",
                        (long long)options->horizon, (long long)context, (long long)season,
                        CAR_FORECAST_MOST);
    *settings = (car_forecast_settings){.horizon = (int)options->horizon,
                                        .context = (int)context,
                                        .season = (int)season,
                                        .log = options->log,
                                        .frequency = set->frequency};
    settings->reference = season > 1 ? CAR_REFERENCE_SEASON : CAR_REFERENCE_LAST;
    for (int i = 0; i < 3; i++)
        if (strcmp(options->reference, reference_names[i]) == 0)
            settings->reference = (car_reference)i;
    return CAR_OK;
}

static car_status check_positive(const car_forecast_settings *settings, const double *y,
                                 size_t count, const char *id, car_error *error) {
    for (size_t i = 0; settings->log && i < count; i++)
        if (!(y[i] > 0))
            return car_fail(error, CAR_DATA,
                            "series `%.60s`: its value %zu is %g, which has no logarithm; leave "
                            "--log away",
                            id, i + 1, y[i]);
    return CAR_OK;
}

/* ---- training ----------------------------------------------------------------------------------------- */

typedef struct forecast_window {
    int series;
    size_t origin;
} forecast_window;

typedef struct forecast_run {
    const car_series_set *set;
    car_forecast *forecast;
    car_forecast_settings *settings;
    forecast_window *windows; /* those to learn from, then those to validate on */
    size_t train_count, valid_count;
    size_t *order; /* [train_count] of the present epoch */
    int64_t epoch; /* that `order` is for; -1: none */
    uint64_t seed;
    int batch;
    float *input;      /* [context][batch] */
    float *target;     /* [batch][horizon] */
    double *reference; /* [horizon] */
    double *errors;    /* [horizon][valid_count] of the last validation */
    double *best;      /* the same at the best one */
    double best_loss;
    void *memory; /* of the stack that validates */
    car_stack *stack;
} forecast_run;

/* Validation takes the last fifth of what can be an origin, one horizon at least. */
static size_t validation_begin(const car_forecast_settings *settings, size_t length) {
    size_t need = car_forecast_need(settings), horizon = (size_t)settings->horizon;
    size_t part = (length - need) / 5;
    part = part > horizon ? part : horizon;
    return length - part;
}

/* Lists windows; with `out` NULL only counts. The targets of the first kind end where those of the second begin. */
static void list_windows(const forecast_run *run, const size_t *lengths, bool validation,
                         forecast_window *out, size_t *count) {
    size_t need = car_forecast_need(run->settings), horizon = (size_t)run->settings->horizon;
    *count = 0;
    for (int i = 0; i < run->set->count; i++) {
        size_t length = lengths ? lengths[i] : run->set->series[i].count;
        if (length < need + 2 * horizon)
            continue;
        size_t cut = validation_begin(run->settings, length);
        size_t first = validation ? (cut > need ? cut : need) : need;
        size_t end = validation ? length : cut;
        for (size_t origin = first; origin + horizon <= end; origin++, (*count)++)
            if (out)
                out[*count] = (forecast_window){i, origin};
    }
}

static car_status make_windows(forecast_run *run, const size_t *lengths, car_error *error) {
    list_windows(run, lengths, false, NULL, &run->train_count);
    list_windows(run, lengths, true, NULL, &run->valid_count);
    if (run->train_count == 0 || run->valid_count == 0)
        return car_fail(error, CAR_DATA,
                        "no series is long enough: a horizon of %d with a context of %zu needs %zu "
                        "values to learn from; the first has %zu (lower --horizon or --context)",
                        run->settings->horizon, car_forecast_need(run->settings),
                        car_forecast_need(run->settings) + 2 * (size_t)run->settings->horizon,
                        lengths ? lengths[0] : run->set->series[0].count);
    size_t all = run->train_count + run->valid_count;
    run->windows = car_allocate(NULL, all, sizeof *run->windows);
    run->order = car_allocate(NULL, run->train_count, sizeof *run->order);
    size_t errors = run->valid_count * (size_t)run->settings->horizon;
    run->errors = car_allocate(NULL, errors, sizeof *run->errors);
    run->best = car_allocate(NULL, errors, sizeof *run->best);
    if (!run->windows || !run->order || !run->errors || !run->best)
        return car_fail(error, CAR_MEMORY, "no memory for %zu windows", all);
    list_windows(run, lengths, false, run->windows, &all);
    list_windows(run, lengths, true, run->windows + run->train_count, &all);
    return CAR_OK;
}

/* The order of an epoch: a shuffle that depends on seed and epoch alone (Fisher & Yates). */
static void shuffle(forecast_run *run, int64_t epoch) {
    car_random_key key = {.seed = run->seed, .purpose = CAR_RANDOM_SHUFFLE};
    for (size_t i = 0; i < run->train_count; i++)
        run->order[i] = i;
    for (size_t i = run->train_count - 1; i > 0; i--) {
        uint32_t words[4];
        car_random_block(key, (uint64_t)epoch, i, words);
        size_t other = (((uint64_t)words[0] << 32) | words[1]) % (i + 1), kept = run->order[i];
        run->order[i] = run->order[other];
        run->order[other] = kept;
    }
    run->epoch = epoch;
}

/* A window into a lane of the batch; returns its scale. */
static double put_window(forecast_run *run, const forecast_window *window, int lane) {
    const car_forecast_settings *settings = run->settings;
    const double *y = run->set->series[window->series].values;
    double s = make_window(settings, y, window->origin, run->input + lane, (size_t)run->batch,
                           run->reference);
    float *target = run->target + (size_t)lane * (size_t)settings->horizon;
    for (int k = 0; k < settings->horizon; k++) {
        double z = level_of(settings, y[window->origin + (size_t)k]);
        target[k] = s > 0 ? (float)((z - run->reference[k]) / s) : 0;
    }
    return s;
}

static car_status training_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                                 car_error *error) {
    forecast_run *run = context;
    if (run->train_count == 0)
        return car_fail(error, CAR_DATA, "no windows to learn from");
    if (run->epoch != epoch)
        shuffle(run, epoch);
    for (int lane = 0; lane < run->batch; lane++) {
        size_t at = ((size_t)index * (size_t)run->batch + (size_t)lane) % run->train_count;
        put_window(run, &run->windows[run->order[at]], lane);
    }
    *batch = (car_batch){
        .steps = run->settings->context, .reset = true, .input = run->input, .target = run->target};
    return CAR_OK;
}

/* The error of every validation window, in its own scale; the loss is the mean square, each window once. */
static car_status validate(void *context, car_trainer *trainer, double *loss, car_error *error) {
    forecast_run *run = context;
    int horizon = run->settings->horizon;
    float *output = car_allocate(NULL, (size_t)run->batch * (size_t)horizon, sizeof *output);
    if (!output || horizon < 1 || run->valid_count == 0)
        return car_fail(error, CAR_MEMORY, "no memory for validation");
    car_status status = CAR_OK;
    double sum = 0;
    for (size_t begin = 0; begin < run->valid_count && status == CAR_OK;
         begin += (size_t)run->batch) {
        for (int lane = 0; lane < run->batch; lane++)
            put_window(run,
                       &run->windows[run->train_count + (begin + (size_t)lane) % run->valid_count],
                       lane);
        car_stack_reset(run->stack, -1);
        status =
            car_stack_forward(run->stack, run->settings->context, NULL, run->input, NULL, 0, error);
        if (status == CAR_OK)
            car_stack_outputs(run->stack, output);
        for (int i = 0; i < run->batch * horizon; i++) {
            size_t window = begin + (size_t)(i / horizon);
            double difference = (double)run->target[i] - (double)output[i];
            if (window >= run->valid_count)
                continue;
            run->errors[(size_t)(i % horizon) * run->valid_count + window] = difference;
            sum += difference * difference;
        }
    }
    car_release(NULL, output);
    *loss = sum / (double)(run->valid_count * (size_t)horizon);
    if (status != CAR_OK || !(*loss < run->best_loss))
        return status;
    run->best_loss = *loss;
    memcpy(run->best, run->errors, run->valid_count * (size_t)horizon * sizeof *run->best);
    car_model_free(run->forecast->model);
    run->forecast->model = NULL;
    return car_model_copy(car_trainer_model(trainer), NULL, &run->forecast->model, error);
}

/* Split conformal intervals (Lei et al. 2018): the least size that the share |2q-1| of the errors of a step stay within,
 * with one error more counted as beyond. Symmetric, since few windows cannot tell a bias from chance. */
static car_status measure_spread(forecast_run *run, car_error *error) {
    size_t count = run->valid_count, horizon = (size_t)run->settings->horizon;
    double *spread = car_allocate(NULL, horizon * CAR_FORECAST_LEVELS, sizeof *spread);
    if (!spread)
        return car_fail(error, CAR_MEMORY, "no memory for the intervals");
    for (size_t k = 0; k < horizon; k++) {
        double *errors = run->best + k * count;
        for (size_t i = 0; i < count; i++)
            errors[i] = fabs(errors[i]);
        qsort(errors, count, sizeof *errors, car_order_doubles);
        for (int q = 0; q < CAR_FORECAST_LEVELS; q++) {
            double side = 2 * car_forecast_levels[q] - 1;
            size_t rank = (size_t)ceil(fabs(side) * (double)(count + 1) - 1e-9);
            double size = rank < 1 ? 0 : errors[(rank < count ? rank : count) - 1];
            spread[k * CAR_FORECAST_LEVELS + (size_t)q] = side < 0 ? -size : size;
        }
    }
    run->settings->spread = spread;
    return CAR_OK;
}

static car_status make_trainer(forecast_run *run, const car_forecast_options *options,
                               car_trainer **trainer, car_error *error) {
    car_net *net = NULL;
    car_model *model = NULL;
    CAR_TRY(car_net_parse(options->net, NULL, 0, NULL, &net, error));
    car_model_options sizes = {
        .input_size = 1, .output_size = run->settings->horizon, .seed = (uint64_t)options->seed};
    car_trainer_options how = {.batch = run->batch,
                               .steps = run->settings->context,
                               .threads = (int)options->threads,
                               .clip_norm = 1,
                               .seed = (uint64_t)options->seed};
    car_status status = CAR_OK;
    if (net->head != CAR_HEAD_LINEAR || net->pool == CAR_POOL_EACH ||
        net->layers[0].kind == CAR_LAYER_EMBED)
        status = car_fail(error, CAR_USAGE,
                          "the net `%.200s` cannot forecast: it reads values and gives the whole "
                          "horizon at the end; write `lstm 32 | linear last`",
                          net->text);
    if (status == CAR_OK)
        status = car_model_create(net, &sizes, NULL, &model, error);
    if (status == CAR_OK)
        status = car_trainer_create(model, &how, NULL, trainer, error);
    car_model_free(model);
    car_net_free(net);
    return status;
}

static car_status make_buffers(forecast_run *run, const car_trainer *trainer, car_error *error) {
    size_t batch = (size_t)run->batch, horizon = (size_t)run->settings->horizon;
    const car_stack_shape shape = {run->batch, run->settings->context, 1, false};
    size_t bytes = car_stack_size(car_trainer_model(trainer), &shape);
    run->input = car_allocate(NULL, batch * (size_t)run->settings->context, sizeof *run->input);
    run->target = car_allocate(NULL, batch * horizon, sizeof *run->target);
    run->reference = car_allocate(NULL, horizon, sizeof *run->reference);
    run->memory = bytes ? car_allocate(NULL, bytes, 1) : NULL;
    if (!run->input || !run->target || !run->reference || !run->memory)
        return car_fail(error, CAR_MEMORY, "no memory for a batch of %d", run->batch);
    run->stack = car_stack_place(car_trainer_model(trainer), &shape, run->memory);
    return CAR_OK;
}

static car_status fit(forecast_run *run, const car_forecast_options *options, car_trainer *trainer,
                      const volatile sig_atomic_t *stop, car_error *error) {
    size_t batch = run->batch > 1 ? (size_t)run->batch : 1;
    car_fit_source source = {.context = run,
                             .updates_per_epoch = (int64_t)((run->train_count + batch - 1) / batch),
                             .batch = training_batch,
                             .validate = validate};
    car_fit_options how = {
        .updates = options->updates,
        .schedule = {.kind = CAR_SCHEDULE_COSINE, .rate = options->rate, .final = 0.05},
        .validate_every = options->updates < 200 ? 10 : 50,
        .patience = (int)options->patience,
        .stop = stop};
    car_fit_result result;
    run->best_loss = INFINITY;
    run->epoch = -1;
    CAR_TRY(make_buffers(run, trainer, error));
    CAR_TRY(car_fit(trainer, &source, &how, &result, error));
    run->forecast->updates = result.updates;
    run->forecast->validation = result.best_validation;
    run->forecast->windows = (int64_t)run->train_count;
    run->forecast->interrupted = result.stopped_by_signal;
    if (!run->forecast->model)
        return car_fail(error, CAR_FAILED, "stopped before the first validation; nothing is kept");
    return measure_spread(run, error);
}

static car_status check_series(const forecast_run *run, const size_t *lengths, car_error *error) {
    bool constant = true;
    for (int i = 0; i < run->set->count; i++) {
        const car_one_series *one = &run->set->series[i];
        size_t length = lengths ? lengths[i] : one->count;
        CAR_TRY(check_positive(run->settings, one->values, length, one->id, error));
        for (size_t t = 1; t < length; t++)
            constant = constant && one->values[t] == one->values[0];
    }
    return constant ? car_fail(error, CAR_DATA,
                               "every series is constant (`%.60s` is always %g): nothing can be "
                               "learned, and its forecast is that value",
                               run->set->series[0].id, run->set->series[0].values[0])
                    : CAR_OK;
}

car_status car_forecast_train(const car_forecast_options *options, const car_series_set *set,
                              const size_t *lengths, const volatile sig_atomic_t *stop,
                              car_forecast *forecast, car_error *error) {
    *forecast = (car_forecast){0};
    forecast_run run = {.set = set,
                        .forecast = forecast,
                        .settings = &forecast->settings,
                        .seed = (uint64_t)options->seed};
    car_trainer *trainer = NULL;
    car_status status = settle(options, set, run.settings, error);
    if (status == CAR_OK)
        status = make_windows(&run, lengths, error);
    if (status == CAR_OK)
        status = check_series(&run, lengths, error);
    run.batch =
        options->batch < (int64_t)run.train_count ? (int)options->batch : (int)run.train_count;
    if (status == CAR_OK)
        status = make_trainer(&run, options, &trainer, error);
    if (status == CAR_OK)
        status = fit(&run, options, trainer, stop, error);
    car_trainer_free(trainer);
    void *const blocks[] = {run.windows,   run.order,  run.input, run.target,
                            run.reference, run.errors, run.best,  run.memory};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        car_release(NULL, blocks[i]);
    if (status != CAR_OK)
        car_forecast_free(forecast);
    return status;
}

/* ---- forecasting -------------------------------------------------------------------------------------- */

static car_status run_net(const car_forecast *forecast, const float *input, float *output,
                          car_error *error) {
    const car_stack_shape shape = {1, forecast->settings.context, 1, false};
    size_t bytes = car_stack_size(forecast->model, &shape);
    void *memory = bytes ? car_allocate(NULL, bytes, 1) : NULL;
    if (!memory)
        return car_fail(error, CAR_MEMORY, "no memory to run the model");
    car_stack *stack = car_stack_place(forecast->model, &shape, memory);
    car_stack_reset(stack, -1);
    car_status status =
        car_stack_forward(stack, forecast->settings.context, NULL, input, NULL, 0, error);
    if (status == CAR_OK)
        car_stack_outputs(stack, output);
    car_release(NULL, memory);
    return status;
}

car_status car_forecast_run(const car_forecast *forecast, const double *y, size_t count,
                            const char *id, double *point, double *quantiles, car_error *error) {
    const car_forecast_settings *settings = &forecast->settings;
    size_t need = car_forecast_need(settings), horizon = (size_t)settings->horizon;
    if (count < need || need < 2)
        return car_fail(error, CAR_DATA,
                        "series `%.60s` has %zu value%s, the model looks back over %zu", id, count,
                        count == 1 ? "" : "s", need);
    CAR_TRY(check_positive(settings, y + count - need, need, id, error));
    float *values = car_allocate(NULL, (size_t)settings->context + horizon, sizeof *values);
    if (!values)
        return car_fail(error, CAR_MEMORY, "no memory for a window");
    float *output = values + settings->context;
    double s = make_window(settings, y, count, values, 1, point);
    car_status status = run_net(forecast, values, output, error);
    for (size_t k = 0; status == CAR_OK && k < horizon; k++) {
        double z = point[k] + s * (double)output[k];
        point[k] = settings->log ? exp(z) : z;
        for (size_t q = 0; q < CAR_FORECAST_LEVELS; q++) {
            double there = z + s * settings->spread[k * CAR_FORECAST_LEVELS + q];
            quantiles[k * CAR_FORECAST_LEVELS + q] = settings->log ? exp(there) : there;
        }
    }
    car_release(NULL, values);
    return status;
}
