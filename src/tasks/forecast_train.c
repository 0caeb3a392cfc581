/*
 * forecast_train.c: windows of series, training a net on them, and on from a checkpoint.
 *
 * In:  series in order of time, or a checkpoint that names their file.
 * Out: a net with the least validation error, in memory or as options->output (forecast_model.c), with a checkpoint at
 *      options->output + ".last"; the quantiles of its errors at validation.
 *
 *   |<- context ->|<- horizon ->|          a window to learn from: its targets end where validation begins
 *                        |<- context ->|<- horizon ->|   one to validate on: its targets lie in the last part
 */
#include "forecast.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* So many windows say enough about an error; they are spread evenly over all there are. */
enum { MOST_VALIDATION = 2048 };

typedef struct forecast_window {
    int series;
    size_t origin;
} forecast_window;

typedef struct forecast_run {
    const car_forecast_options *options;
    const car_forecast_watch *watch;
    const car_series_set *set;
    const size_t *lengths; /* [series], or NULL */
    car_forecast_settings settings;
    car_trainer *trainer;
    car_forecast_result *result;
    forecast_window *windows; /* those to learn from, then those to validate on */
    size_t train_count, valid_count;
    size_t *order;   /* [train_count] of the present epoch */
    int64_t epoch;   /* that `order` is for; -1: none */
    double **scales; /* [series][length + 1], where the settings have series_scale */
    int batch;
    float *input;      /* [context][batch][inputs] */
    float *target;     /* [batch][horizon] */
    int *steps;        /* [batch] context, or 0: no window in this lane */
    double *reference; /* [horizon] */
    bool keeps;        /* a copy of the best model, for there is no file */
    car_model *best;
    double best_loss;
} forecast_run;

static size_t length_of(const forecast_run *run, int series) {
    return run->lengths ? run->lengths[series] : run->set->series[series].count;
}

/* ---- windows ------------------------------------------------------------------------------------------ */

/* Lists windows; with `out` NULL only counts. */
static void list_windows(forecast_run *run, bool validation, forecast_window *out, size_t *count) {
    size_t need = car_forecast_need(&run->settings), horizon = (size_t)run->settings.horizon;
    *count = 0;
    run->result->facts.too_short = 0;
    for (int i = 0; i < run->set->count; i++) {
        size_t length = length_of(run, i);
        if (length < need + 2 * horizon) {
            run->result->facts.too_short++;
            continue;
        }
        size_t cut =
            car_forecast_validation_begin(&run->settings, run->options->validation, length);
        size_t first = validation ? cut : need;
        size_t end = validation ? length : cut;
        for (size_t origin = first; origin + horizon <= end; origin++, (*count)++)
            if (out)
                out[*count] = (forecast_window){i, origin};
    }
}

/* Keeps MOST_VALIDATION of the windows, evenly. */
static void thin_out(forecast_run *run) {
    forecast_window *valid = run->windows + run->train_count;
    if (run->valid_count <= MOST_VALIDATION)
        return;
    for (size_t i = 0; i < MOST_VALIDATION; i++)
        valid[i] = valid[i * run->valid_count / MOST_VALIDATION];
    run->valid_count = MOST_VALIDATION;
}

static car_status make_windows(forecast_run *run, car_error *error) {
    size_t need = car_forecast_need(&run->settings), horizon = (size_t)run->settings.horizon;
    list_windows(run, false, NULL, &run->train_count);
    list_windows(run, true, NULL, &run->valid_count);
    if (run->train_count == 0 || run->valid_count == 0)
        return car_fail(
            error, CAR_DATA,
            "no series is long enough: a horizon of %zu with a context of %zu needs %zu "
            "values to learn from; the first has %zu (lower --horizon, --context or "
            "--validation)",
            horizon, need, need + 2 * horizon, length_of(run, 0));
    size_t all = run->train_count + run->valid_count;
    run->windows = car_allocate(NULL, all, sizeof *run->windows);
    run->order = car_allocate(NULL, run->train_count, sizeof *run->order);
    if (!run->windows || !run->order)
        return car_fail(error, CAR_MEMORY, "no memory for %zu windows", all);
    list_windows(run, false, run->windows, &all);
    list_windows(run, true, run->windows + run->train_count, &all);
    thin_out(run);
    return CAR_OK;
}

static car_status make_scales(forecast_run *run, car_error *error) {
    if (!run->settings.series_scale)
        return CAR_OK;
    run->scales = car_allocate(NULL, (size_t)run->set->count, sizeof *run->scales);
    for (int i = 0; run->scales && i < run->set->count; i++) {
        size_t length = length_of(run, i);
        run->scales[i] = car_allocate(NULL, length + 1, sizeof **run->scales);
        if (!run->scales[i])
            return car_fail(error, CAR_MEMORY, "no memory for the scales of %zu values", length);
        car_forecast_scales(&run->settings, run->set->series[i].values, length, run->scales[i]);
    }
    return run->scales ? CAR_OK : car_fail(error, CAR_MEMORY, "no memory for scales");
}

/* The order of an epoch: a shuffle that depends on seed and epoch alone (Fisher & Yates). */
static void shuffle(forecast_run *run, int64_t epoch) {
    car_random_key key = {.seed = (uint64_t)run->options->seed, .purpose = CAR_RANDOM_SHUFFLE};
    for (size_t i = 0; i < run->train_count; i++)
        run->order[i] = i;
    for (size_t i = 1; i < run->train_count; i++) {
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
    const car_forecast_settings *settings = &run->settings;
    const car_one_series *series = &run->set->series[window->series];
    size_t inputs = (size_t)car_forecast_inputs(settings);
    double scale = run->scales ? run->scales[window->series][window->origin] : 0;
    double s = car_forecast_window(settings, series, window->origin, scale,
                                   run->input + (size_t)lane * inputs, (size_t)run->batch * inputs,
                                   run->reference);
    float *target = run->target + (size_t)lane * (size_t)settings->horizon;
    for (int k = 0; k < settings->horizon; k++) {
        double z = car_forecast_level_of(settings, series->values[window->origin + (size_t)k]);
        target[k] = s > 0 ? (float)((z - run->reference[k]) / s) : 0;
    }
    run->steps[lane] = settings->context;
    return s;
}

/* ---- what car_fit asks for ---------------------------------------------------------------------------- */

static car_status training_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                                 car_error *error) {
    forecast_run *run = context;
    (void)error;
    if (run->epoch != epoch)
        shuffle(run, epoch);
    for (int lane = 0; lane < run->batch; lane++) {
        size_t at = ((size_t)index * (size_t)run->batch + (size_t)lane) % run->train_count;
        put_window(run, &run->windows[run->order[at]], lane);
    }
    *batch = (car_batch){
        .steps = run->settings.context, .reset = true, .input = run->input, .target = run->target};
    return CAR_OK;
}

/* Fills the lanes from the validation's window `begin` on; returns how many there are. */
static int validation_lanes(forecast_run *run, size_t begin) {
    size_t left = run->valid_count - begin, batch = (size_t)run->batch;
    int filled = (int)(left < batch ? left : batch);
    for (int lane = 0; lane < filled; lane++)
        put_window(run, &run->windows[run->train_count + begin + (size_t)lane], lane);
    for (int lane = filled; lane < run->batch; lane++)
        run->steps[lane] = 0;
    return filled;
}

static car_status validate(void *context, car_trainer *trainer, double *loss, car_error *error) {
    forecast_run *run = context;
    double sum = 0;
    for (size_t begin = 0; begin < run->valid_count; begin += (size_t)run->batch) {
        int filled = validation_lanes(run, begin);
        const car_batch batch = {.steps = run->settings.context,
                                 .reset = true,
                                 .input = run->input,
                                 .target = run->target,
                                 .lengths = filled < run->batch ? run->steps : NULL};
        car_step_result result;
        CAR_TRY(car_trainer_evaluate(trainer, &batch, &result, error));
        sum += result.loss * (double)result.counted;
    }
    *loss = sum / (double)run->valid_count;
    return CAR_OK;
}

static void progressed(void *context, const car_fit_progress *progress) {
    forecast_run *run = context;
    run->result->seconds = progress->seconds;
    run->result->loss = progress->loss;
    run->result->rows_per_second = progress->tokens_per_second * run->settings.context;
    if (run->keeps && progress->validated && progress->validation < run->best_loss) {
        run->best_loss = progress->validation;
        car_model_free(run->best);
        run->best = NULL;
        if (car_model_copy(car_trainer_model(run->trainer), NULL, &run->best, NULL) != CAR_OK)
            run->best = NULL;
    }
    if (run->watch && run->watch->progress)
        run->watch->progress(run->watch->context, progress);
}

/* ---- the sizes of the errors -------------------------------------------------------------------------- */

/* errors[step][window] of the validation, in s; output [batch][horizon]. */
static car_status measure_errors(forecast_run *run, car_stack *stack, float *output, double *errors,
                                 car_error *error) {
    size_t horizon = (size_t)run->settings.horizon;
    for (size_t begin = 0; begin < run->valid_count; begin += (size_t)run->batch) {
        size_t filled = (size_t)validation_lanes(run, begin);
        car_stack_reset(stack, -1);
        CAR_TRY(car_stack_forward(stack, run->settings.context, run->steps, run->input, NULL, 0,
                                  error));
        car_stack_outputs(stack, output);
        for (size_t lane = 0; lane < filled; lane++)
            for (size_t k = 0; k < horizon; k++)
                errors[k * run->valid_count + begin + lane] =
                    (double)run->target[lane * horizon + k] - (double)output[lane * horizon + k];
    }
    return CAR_OK;
}

/* *out is to be released, also after a failure. */
static car_status measure_spread(forecast_run *run, const car_model *model, double **out,
                                 car_error *error) {
    const car_stack_shape shape = {
        .batch = run->batch, .steps = run->settings.context, .threads = 1};
    size_t bytes = car_stack_size(model, &shape), horizon = (size_t)run->settings.horizon;
    void *memory = bytes ? car_allocate(NULL, bytes, 1) : NULL;
    float *output = car_allocate(NULL, (size_t)run->batch, horizon * sizeof *output);
    double *errors = car_allocate(NULL, run->valid_count, horizon * sizeof *errors);
    double *spread =
        car_allocate(NULL, horizon, (size_t)run->settings.level_count * sizeof *spread);
    car_status status = CAR_MEMORY;
    *out = spread;
    if (memory && output && errors && spread) {
        status = measure_errors(run, car_stack_place(model, &shape, memory), output, errors, error);
        if (status == CAR_OK)
            car_conformal_spread(errors, run->valid_count, run->settings.horizon,
                                 run->settings.levels, run->settings.level_count, spread);
    } else {
        (void)car_fail(error, CAR_MEMORY, "no memory for the intervals");
    }
    car_release(NULL, memory);
    car_release(NULL, output);
    car_release(NULL, errors);
    return status;
}

/* ---- the record --------------------------------------------------------------------------------------- */

static car_status set_text(const forecast_run *run, car_model *model, const char *key,
                           car_text *text, car_error *error) {
    car_status status = text->failed ? car_fail(error, CAR_MEMORY, "no memory for `%s`", key)
                        : model      ? car_model_set_metadata(model, key, text->data, error)
                                : car_trainer_set_metadata(run->trainer, key, text->data, error);
    car_text_free(text);
    return status;
}

/* What makes the files complete while training goes on. */
static car_status set_metadata(const forecast_run *run, const char *files, car_error *error) {
    car_text text;
    car_text_start(&text, NULL);
    car_settings_to_json(car_forecast_table, car_forecast_table_count, run->options, &text);
    CAR_TRY(set_text(run, NULL, "forecast.options", &text, error));
    car_text_start(&text, NULL);
    car_forecast_settings_json(&run->settings, NULL, &text);
    CAR_TRY(set_text(run, NULL, "forecast.settings", &text, error));
    return files ? car_trainer_set_metadata(run->trainer, "forecast.data", files, error) : CAR_OK;
}

static void record_json(const forecast_run *run, car_text *text) {
    const car_forecast_result *result = run->result;
    const char *level = car_cpu_level_name(NULL);
    car_text_format(text,
                    "{\"task\":\"forecast\",\"version\":\"%s\",\"cpu_level\":\"%s\",\"series\":%d,"
                    "\"windows\":%lld,\"validation_windows\":%lld,\"updates\":%lld,"
                    "\"best_update\":%lld,\"best_validation\":",
                    run->watch && run->watch->version ? run->watch->version : "",
                    level ? level : "", result->facts.series, (long long)result->facts.windows,
                    (long long)result->facts.validation_windows, (long long)result->fit.updates,
                    (long long)result->fit.best_update);
    car_text_json_number(text, result->fit.best_validation);
    car_text_format(text, ",\"seconds\":");
    car_text_json_number(text, result->seconds);
    car_text_format(text, "}");
}

/* The finished file: the best weights, the spread of their errors, how it was trained. */
static car_status write_model(forecast_run *run, car_model *model, const double *spread,
                              car_error *error) {
    car_text text;
    car_text_start(&text, NULL);
    car_forecast_settings_json(&run->settings, spread, &text);
    CAR_TRY(set_text(run, model, "forecast.settings", &text, error));
    car_text_start(&text, NULL);
    record_json(run, &text);
    CAR_TRY(set_text(run, model, "forecast.record", &text, error));
    CAR_TRY(car_model_set_metadata(model, "forecast.data", NULL, error));
    return car_model_save(model, run->options->output, error);
}

/* ---- the run ------------------------------------------------------------------------------------------ */

static car_status check_series(const forecast_run *run, car_error *error) {
    bool constant = true;
    for (int i = 0; i < run->set->count; i++) {
        const car_one_series *one = &run->set->series[i];
        size_t length = length_of(run, i);
        CAR_TRY(car_forecast_check_values(&run->settings, one, 0, length, error));
        for (size_t t = 1; t < length; t++)
            constant = constant && one->values[t] == one->values[0];
    }
    return constant ? car_fail(error, CAR_DATA,
                               "every series is constant (`%.60s` is always %g): nothing can be "
                               "learned, and its forecast is that value",
                               run->set->series[0].id, run->set->series[0].values[0])
                    : CAR_OK;
}

static void find_end(forecast_run *run) {
    run->settings.learned_to = INT64_MIN;
    for (int i = 0; i < run->set->count; i++) {
        size_t length = length_of(run, i);
        int64_t last = length ? run->set->series[i].stamps[length - 1] : INT64_MIN;
        if (last > run->settings.learned_to)
            run->settings.learned_to = last;
    }
}

static car_status make_data(forecast_run *run, const struct car_net *net, car_error *error) {
    CAR_TRY(car_forecast_settle(run->options, run->set, net, &run->settings, error));
    car_forecast_measure(run->set, run->lengths, &run->settings);
    find_end(run);
    CAR_TRY(make_windows(run, error));
    CAR_TRY(check_series(run, error));
    CAR_TRY(make_scales(run, error));
    int64_t batch = run->options->batch, count = (int64_t)run->train_count;
    run->batch = (int)(batch < count ? batch : count);
    size_t lanes = (size_t)run->batch, horizon = (size_t)run->settings.horizon;
    run->input = car_allocate(NULL, lanes * (size_t)run->settings.context,
                              (size_t)car_forecast_inputs(&run->settings) * sizeof *run->input);
    run->target = car_allocate(NULL, lanes * horizon, sizeof *run->target);
    run->reference = car_allocate(NULL, horizon, sizeof *run->reference);
    run->steps = car_allocate(NULL, lanes, sizeof *run->steps);
    return run->input && run->target && run->reference && run->steps
               ? CAR_OK
               : car_fail(error, CAR_MEMORY, "no memory for a batch of %d", run->batch);
}

static car_status make_trainer(forecast_run *run, const car_net *net, const car_model *load,
                               car_error *error) {
    const car_forecast_options *options = run->options;
    const car_trainer_options how = {.batch = run->batch,
                                     .steps = run->settings.context,
                                     .threads = (int)options->threads,
                                     .optimizer = options->optimizer,
                                     .clip_norm = (float)options->clip,
                                     .decay = (float)options->decay,
                                     .seed = (uint64_t)options->seed};
    if (load && !car_forecast_fits(&run->settings, load))
        return car_fail(error, CAR_USAGE,
                        "--load: the model's net `%.200s` is made for another horizon or other "
                        "inputs",
                        load->net->text);
    if (load)
        return car_trainer_create(load, &how, NULL, &run->trainer, error);
    car_model *model = NULL;
    const car_model_options sizes = {.input_size = car_forecast_inputs(&run->settings),
                                     .output_size =
                                         run->settings.horizon * car_head_parameters(net),
                                     .seed = (uint64_t)options->seed,
                                     .precision = options->precision};
    CAR_TRY(car_model_create(net, &sizes, NULL, &model, error));
    car_status status = car_trainer_create(model, &how, NULL, &run->trainer, error);
    car_model_free(model);
    return status;
}

static void tell(forecast_run *run, int64_t updates_per_epoch) {
    const car_model *model = car_trainer_model(run->trainer);
    run->result->facts = (car_forecast_facts){.net = car_model_net(model),
                                              .parameters = car_model_parameter_count(model),
                                              .windows = (int64_t)run->train_count,
                                              .validation_windows = (int64_t)run->valid_count,
                                              .updates_per_epoch = updates_per_epoch,
                                              .updates_done = car_trainer_updates(run->trainer),
                                              .series = run->set->count,
                                              .too_short = run->result->facts.too_short,
                                              .threads = run->trainer->threads};
    if (run->watch && run->watch->native)
        (void)car_model_compile_native(run->trainer->model, NULL);
    if (run->watch && run->watch->started)
        run->watch->started(run->watch->context, &run->result->facts);
    run->result->facts.net = NULL;
}

/* The best model: the copy, or what the file has. */
static car_status take_best(forecast_run *run, car_error *error) {
    if (run->keeps)
        return run->best ? CAR_OK
                         : car_fail(error, CAR_FAILED,
                                    "stopped before the first validation; nothing is kept");
    if (!isfinite(run->result->fit.best_validation))
        return CAR_OK;
    return car_model_load(run->options->output, NULL, &run->best, error);
}

/* Adds the net to the forecast; takes it and the spread over. */
static car_status add_net(forecast_run *run, double *spread, car_forecast *forecast,
                          car_error *error) {
    size_t cells = (size_t)run->settings.horizon * (size_t)run->settings.level_count;
    if (forecast->count == CAR_FORECAST_NETS)
        return car_fail(error, CAR_USAGE, "more than %d nets", CAR_FORECAST_NETS);
    double share = 1.0 / (forecast->count + 1);
    if (forecast->count == 0) {
        forecast->settings = run->settings;
        forecast->spread = car_allocate(NULL, cells, sizeof *forecast->spread);
        if (!forecast->spread)
            return car_fail(error, CAR_MEMORY, "no memory for the intervals");
    }
    for (size_t i = 0; spread && i < cells; i++)
        forecast->spread[i] += (spread[i] - forecast->spread[i]) * share;
    forecast->models[forecast->count++] = run->best;
    run->best = NULL;
    return CAR_OK;
}

/* Trains run->trainer, which is ready. */
static car_status go(forecast_run *run, const char *files, car_forecast *forecast,
                     car_error *error) {
    const car_forecast_options *options = run->options;
    char last_path[sizeof run->result->output + sizeof ".last"];
    size_t batch = run->batch > 1 ? (size_t)run->batch : 1;
    bool resumable = options->output && files;
    if (options->output && strlen(options->output) >= sizeof run->result->output)
        return car_fail(error, CAR_USAGE, "--output: the name is too long");
    snprintf(run->result->output, sizeof run->result->output, "%s",
             options->output ? options->output : "");
    snprintf(last_path, sizeof last_path, "%s.last", run->result->output);
    CAR_TRY(car_check_output(options->output, NULL, error));
    CAR_TRY(set_metadata(run, resumable ? files : NULL, error));
    car_fit_source source = {.context = run,
                             .updates_per_epoch = (int64_t)((run->train_count + batch - 1) / batch),
                             .batch = training_batch,
                             .validate = validate};
    car_fit_options fit = {.minutes = options->minutes,
                           .epochs = options->epochs,
                           .updates = options->updates,
                           .schedule = {.kind = car_schedule_named(options->schedule),
                                        .rate = options->rate,
                                        .final = options->final,
                                        .warmup = options->warmup},
                           .validate_every = options->validate_every,
                           .patience = (int)options->patience,
                           .best_path = options->output,
                           .last_path = resumable ? last_path : NULL,
                           .checkpoint_seconds = options->checkpoint_seconds,
                           .stop = run->watch ? run->watch->stop : NULL,
                           .progress = progressed,
                           .progress_context = run};
    if (fit.minutes == 0 && fit.epochs == 0 && fit.updates == 0)
        fit.updates = 1000;
    run->best_loss = INFINITY;
    run->epoch = -1;
    run->keeps = !options->output;
    tell(run, source.updates_per_epoch);
    CAR_TRY(car_fit(run->trainer, &source, &fit, &run->result->fit, error));
    CAR_TRY(take_best(run, error));
    if (!run->best)
        return CAR_OK;
    double *spread = NULL;
    bool point = run->best->net->head == CAR_HEAD_LINEAR;
    car_status status = point ? measure_spread(run, run->best, &spread, error) : CAR_OK;
    if (status == CAR_OK && options->output)
        status = write_model(run, run->best, spread, error);
    run->result->saved = options->output && status == CAR_OK;
    if (status == CAR_OK && forecast)
        status = add_net(run, spread, forecast, error);
    car_release(NULL, spread);
    return status;
}

static void release(forecast_run *run) {
    car_trainer_free(run->trainer);
    car_model_free(run->best);
    for (int i = 0; run->scales && i < run->set->count; i++)
        car_release(NULL, run->scales[i]);
    void *const blocks[] = {run->windows, run->order,     run->scales, run->input,
                            run->target,  run->reference, run->steps};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        car_release(NULL, blocks[i]);
}

car_status car_forecast_train(const car_forecast_options *options, const car_series_set *set,
                              const size_t *lengths, const car_model *load, const char *files,
                              const car_forecast_watch *watch, car_forecast *forecast,
                              car_forecast_result *result, car_error *error) {
    *result = (car_forecast_result){0};
    CAR_TRY(car_forecast_options_check(options, error));
    forecast_run run = {
        .options = options, .watch = watch, .set = set, .lengths = lengths, .result = result};
    car_net *net = NULL;
    CAR_TRY(car_forecast_net(options, &net, error));
    car_status status = make_data(&run, load ? load->net : net, error);
    if (status == CAR_OK)
        status = make_trainer(&run, net, load, error);
    if (status == CAR_OK)
        status = go(&run, files, forecast, error);
    release(&run);
    car_net_free(net);
    return status;
}

/* ---- data and going on -------------------------------------------------------------------------------- */

/* {"path":"/...","sha256":"..."} */
static car_status describe_file(const char *path, char **files, car_error *error) {
    char bytes[1 << 14], hex[65], *absolute = realpath(path, NULL);
    FILE *file = fopen(path, "rbe");
    car_sha256 hash;
    car_text text;
    car_text_start(&text, NULL);
    car_sha256_start(&hash);
    if (!file || !absolute) {
        free(absolute);
        if (file)
            fclose(file);
        return car_fail(error, CAR_IO, "%.300s: %s", path, strerror(errno));
    }
    for (size_t read; (read = fread(bytes, 1, sizeof bytes, file)) > 0;)
        car_sha256_add(&hash, bytes, read);
    fclose(file);
    car_sha256_finish(&hash, hex);
    car_text_format(&text, "{\"path\":");
    car_text_json_string(&text, absolute, strlen(absolute));
    car_text_format(&text, ",\"sha256\":\"%s\"}", hex);
    free(absolute);
    if (text.failed) {
        car_text_free(&text);
        return car_fail(error, CAR_MEMORY, "no memory for the name of a file");
    }
    *files = text.data;
    return CAR_OK;
}

car_status car_forecast_read(const car_forecast_options *options, const char *path,
                             car_series_set *set, char **files, car_error *error) {
    const car_series_options reading = car_forecast_reading(options);
    car_csv *csv = NULL;
    CAR_TRY(car_csv_open(path, NULL, &csv, error));
    car_status status = car_series_read(csv, &reading, NULL, set, error);
    car_csv_free(csv);
    if (status != CAR_OK || !files)
        return status;
    *files = NULL;
    status = strcmp(path, "-") == 0 ? CAR_OK : describe_file(path, files, error);
    if (status != CAR_OK)
        car_series_free(set);
    return status;
}

static car_status damaged(const char *checkpoint, car_error *error) {
    return car_fail(error, CAR_MODEL,
                    "%.200s: not a checkpoint of `forecast train`, or damaged; give FILE.last",
                    checkpoint);
}

static car_status resume(forecast_run *run, const char *checkpoint, car_forecast_options *options,
                         car_series_set *set, car_arena *arena, car_error *error) {
    const car_model *model = car_trainer_model(run->trainer);
    const char *stored = car_model_metadata(model, "forecast.data");
    const car_json *root = NULL;
    char *files = NULL;
    if (!stored || car_json_parse(stored, strlen(stored), "forecast.data", 2, 100, arena, &root,
                                  NULL) != CAR_OK)
        return damaged(checkpoint, error);
    const car_json *path = car_json_member(root, "path");
    if (!path || path->kind != CAR_JSON_STRING ||
        car_forecast_check_net(model->net, NULL) != CAR_OK)
        return damaged(checkpoint, error);
    CAR_TRY(car_forecast_read(options, path->text, set, &files, error));
    run->set = set;
    car_status status =
        files && strcmp(files, stored) == 0
            ? make_data(run, model->net, error)
            : car_fail(error, CAR_DATA,
                       "%.200s: the file has changed since the run began; bring the old one back, "
                       "or start anew with --load",
                       path->text);
    if (status == CAR_OK &&
        (!car_forecast_fits(&run->settings, model) || run->trainer->options.batch != run->batch ||
         run->trainer->options.steps != run->settings.context))
        status = damaged(checkpoint, error);
    if (status == CAR_OK)
        status = go(run, files, NULL, error);
    car_release(NULL, files);
    return status;
}

/* The options of the run that a checkpoint is of, as changed. */
static car_status read_stored(const forecast_run *run, const char *checkpoint,
                              const car_training_changes *changes, car_arena *arena,
                              car_forecast_options *options, car_error *error) {
    const char *stored = car_model_metadata(car_trainer_model(run->trainer), "forecast.options");
    if (!stored)
        return damaged(checkpoint, error);
    CAR_TRY(car_settings_from_json(car_forecast_table, car_forecast_table_count, stored, checkpoint,
                                   arena, options, error));
    if (car_forecast_options_check(options, NULL) != CAR_OK)
        return damaged(checkpoint, error);
    if (changes->minutes >= 0)
        options->minutes = changes->minutes;
    if (changes->epochs >= 0)
        options->epochs = changes->epochs;
    if (changes->updates >= 0)
        options->updates = changes->updates;
    return CAR_OK;
}

car_status car_forecast_resume(const char *checkpoint, const car_training_changes *changes,
                               const car_forecast_watch *watch, car_forecast_result *result,
                               car_error *error) {
    *result = (car_forecast_result){0};
    car_forecast_options options;
    car_series_set set = {0};
    forecast_run run = {.options = &options, .watch = watch, .result = result, .set = &set};
    int threads = changes->threads >= 0 ? (int)changes->threads : 1;
    car_arena *arena = car_arena_create(NULL);
    if (!arena)
        return car_fail(error, CAR_MEMORY, "%.200s: out of memory", checkpoint);
    car_status status = car_trainer_load(checkpoint, threads, NULL, &run.trainer, error);
    if (status == CAR_OK && run.trainer)
        status = read_stored(&run, checkpoint, changes, arena, &options, error);
    if (status == CAR_OK && run.trainer)
        status = resume(&run, checkpoint, &options, &set, arena, error);
    release(&run);
    car_series_free(&set);
    car_arena_free(arena);
    return status;
}
