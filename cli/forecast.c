/*
 * forecast.c: `carousel forecast train|predict|backtest`: time series on the command line.
 *
 * In:  a CSV file, model files, the options of tasks/forecast_options.c.
 * Out: a model file; forecasts as CSV, or the table of a backtest, on stdout (with --json one JSON object); what was
 *      done to the data, and progress, on stderr. Nothing is written before everything is known.
 */
#include "forecast.h"
#include "forecast_demo.h"
#include "forecast_picture.h"
#include "forecast_show.h"
#include "picture_file.h"
#include "training.h"
#include <math.h>
#include <string.h>

typedef struct forecast_call {
    car_forecast_options options;
    car_backtest_options backtest;
    cli_training shared;
    cli_training_view view;
    cli_curve curve;
    const char *plot, *report, *shorter;
} forecast_call;

/* ---- what the verbs share ----------------------------------------------------------------------------- */

static void add_loss(car_text *text, double loss) {
    car_text_format(text, "%.4g", loss);
}

static void start_call(forecast_call *call) {
    *call = (forecast_call){
        .options = car_forecast_defaults(),
        .backtest = {.windows = 10, .ensemble = 1},
        .view = {.unit = "window", .add_loss = add_loss, .quiet = true},
    };
    cli_training_add_settings(&call->shared, car_forecast_table, car_forecast_table_count,
                              &call->options);
}

/* Options of a training that keeps no file. */
static void drop_file_options(cli_training *shared) {
    int kept = 0;
    for (int i = 0; i < shared->count; i++) {
        const char *name = shared->table[i].name;
        if (!name || (strcmp(name, "output") != 0 && strcmp(name, "checkpoint-seconds") != 0))
            shared->table[kept++] = shared->table[i];
    }
    shared->count = kept;
}

static void add_int(cli_training *shared, const char *name, int64_t *value, double least,
                    double most, const char *shown, const char *help) {
    shared->table[shared->count++] = (cli_option){.name = name,
                                                  .kind = CLI_INT,
                                                  .value = value,
                                                  .minimum = least,
                                                  .maximum = most,
                                                  .argument = "N",
                                                  .help = help,
                                                  .default_text = shown};
}

static void add_flag(cli_training *shared, const char *name, bool *value, const char *help) {
    shared->table[shared->count++] =
        (cli_option){.name = name, .kind = CLI_FLAG, .value = value, .help = help};
}

static void add_picture(forecast_call *call, const char *name, const char **value,
                        const char *help) {
    call->shared.table[call->shared.count++] = (cli_option){.name = name,
                                                            .kind = CLI_TEXT,
                                                            .transient = true,
                                                            .value = value,
                                                            .argument = "FILE",
                                                            .help = help,
                                                            .default_text = "none"};
}

/* A fan chart to --plot, where it was asked for. */
static car_status plot_fan(const forecast_call *call, const cli_fan *fan, car_error *error) {
    car_scene scene = {0};
    if (!call->plot)
        return CAR_OK;
    cli_fan_scene(fan, &scene);
    car_status status = cli_write_scene(call->plot, &scene, false, 2, error);
    car_scene_free(&scene);
    return status;
}

static void tell_progress(void *context, const car_fit_progress *progress) {
    forecast_call *call = context;
    cli_curve_add(&call->curve, progress);
    cli_training_progress(&call->view, progress);
}

static void tell_start(void *context, const car_forecast_facts *facts) {
    forecast_call *call = context;
    call->curve.count = 0;
    if (call->view.quiet)
        return;
    cli_note("%lld windows to learn from, %lld to validate on", (long long)facts->windows,
             (long long)facts->validation_windows);
    if (facts->too_short > 0)
        cli_note("%d of %d series are too short to learn from", facts->too_short, facts->series);
    cli_note("%s: %lld parameters, %lld updates an epoch, %d thread%s", facts->net,
             (long long)facts->parameters, (long long)facts->updates_per_epoch, facts->threads,
             facts->threads == 1 ? "" : "s");
    if (facts->updates_done > 0)
        cli_note("going on after update %lld", (long long)facts->updates_done);
}

static car_forecast_watch watch_of(forecast_call *call) {
    return (car_forecast_watch){.context = call,
                                .started = tell_start,
                                .progress = tell_progress,
                                .stop = cli_signal(),
                                .version = car_version(),
                                .native = true};
}

/* What the model says about columns and gaps counts, unless it is said otherwise now; all else is the model's. */
static car_status take_stored(const cli_verb *verb, const car_forecast_options *stored,
                              car_forecast_options *options, car_error *error) {
    int headings = 0;
    for (int i = 0; i < car_forecast_table_count; i++) {
        const car_setting *setting = &car_forecast_table[i];
        headings += setting->kind == CAR_SETTING_HEADING;
        bool given = setting->name && cli_given(verb, setting->name);
        if (headings > 1 && given)
            return car_fail(error, CAR_USAGE, "%s: the model brings its own --%s; take it away",
                            verb->name, setting->name);
        if (setting->kind == CAR_SETTING_HEADING || given)
            continue;
        static const size_t sizes[] = {0,
                                       sizeof(int64_t),
                                       sizeof(double),
                                       sizeof(const char *),
                                       sizeof(const char *),
                                       sizeof(bool)};
        memcpy((char *)options + setting->offset, (const char *)stored + setting->offset,
               sizes[setting->kind]);
    }
    return CAR_OK;
}

/* Returns instead of prices; said, since nobody may have asked for it. */
static void note_prices(forecast_call *call) {
    if (car_forecast_resolve_prices(&call->options) && !call->shared.json)
        cli_note("prices: log returns of rows, no season (--prices no takes them as they are)");
}

/* MODEL... DATA.csv: loads the models, if there are any, and reads the data as they say. */
static car_status open_operands(forecast_call *call, const cli_verb *verb,
                                const cli_arguments *arguments, car_forecast *forecast,
                                car_series_set *set, car_error *error) {
    car_forecast_options stored;
    int models = arguments->count - 1;
    for (int i = 0; i < models; i++)
        CAR_TRY(car_forecast_load(arguments->operands[i], forecast, arguments->arena,
                                  i == 0 ? &stored : NULL, error));
    for (int i = 0; i < models; i++)
        (void)car_model_compile_native(forecast->models[i], NULL);
    if (models > 0)
        CAR_TRY(take_stored(verb, &stored, &call->options, error));
    else
        note_prices(call);
    CAR_TRY(car_forecast_read(&call->options, arguments->operands[models], set, NULL, error));
    cli_forecast_note(set, call->shared.json);
    return models > 0 ? car_forecast_check_series(forecast, set, error) : CAR_OK;
}

typedef car_status (*forecast_work)(forecast_call *call, const car_series_set *set,
                                    car_forecast *forecast, car_text *text, car_error *error);

static int run_verb(forecast_call *call, cli_verb *verb, forecast_work work, int argc,
                    char **argv) {
    cli_arguments arguments;
    add_flag(&call->shared, "json", &call->shared.json, "the result as JSON");
    verb->options = call->shared.table;
    verb->option_count = call->shared.count;
    verb->usage = "[options] [MODEL...] DATA.csv";
    verb->least_operands = 1;
    verb->most_operands = -1;
    int code = cli_parse(verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    cli_signals_catch();
    car_error error = {0};
    car_series_set set = {0};
    car_forecast forecast = {0};
    car_text text;
    car_text_start(&text, NULL);
    car_status status = call->plot ? cli_check_picture(call->plot, &error) : CAR_OK;
    if (status == CAR_OK)
        status = open_operands(call, verb, &arguments, &forecast, &set, &error);
    if (status == CAR_OK)
        status = work(call, &set, &forecast, &text, &error);
    if (status == CAR_OK)
        code = cli_print(&text);
    else {
        car_text_free(&text);
        code = cli_signal_code(cli_fail(&error));
    }
    car_forecast_free(&forecast);
    car_series_free(&set);
    cli_arguments_free(&arguments);
    return code;
}

/* ---- train -------------------------------------------------------------------------------------------- */

static void result_json(const car_forecast_result *result, car_text *text) {
    const car_forecast_facts *facts = &result->facts;
    car_text_format(text, "{\"model\": ");
    if (result->saved)
        car_text_json_string(text, result->output, strlen(result->output));
    else
        car_text_format(text, "null");
    car_text_format(text,
                    ", \"series\": %d, \"too_short\": %d, \"windows\": %lld, "
                    "\"validation_windows\": %lld, \"parameters\": %lld, \"updates\": %lld, "
                    "\"best_update\": %lld, \"clipped\": %lld, \"validation\": ",
                    facts->series, facts->too_short, (long long)facts->windows,
                    (long long)facts->validation_windows, (long long)facts->parameters,
                    (long long)result->fit.updates, (long long)result->fit.best_update,
                    (long long)result->fit.clipped);
    car_text_json_number(text, result->fit.best_validation);
    car_text_format(text, ", \"seconds\": ");
    car_text_json_number(text, result->seconds);
    car_text_format(text, ", \"rows_per_s\": ");
    car_text_json_number(text, result->rows_per_second);
    car_text_format(text, ", \"stopped_early\": %s, \"interrupted\": %s}\n",
                    result->fit.stopped_early ? "true" : "false",
                    result->fit.stopped_by_signal ? "true" : "false");
}

static void result_text(const car_forecast_result *result, car_text *text) {
    if (result->saved)
        car_text_format(text, "%s: ", result->output);
    car_text_format(text, "%lld updates, ", (long long)result->fit.updates);
    car_draw_duration(text, result->seconds);
    car_text_format(text, ", ");
    car_draw_count(text, result->rows_per_second);
    car_text_format(text, " rows/s");
    if (isfinite(result->fit.best_validation))
        car_text_format(text, "; best validation %.4g after update %lld",
                        result->fit.best_validation, (long long)result->fit.best_update);
    car_text_format(text, "\n");
}

static car_status train_new(forecast_call *call, const char *path, const car_forecast_watch *watch,
                            car_forecast_result *result, car_error *error) {
    car_series_set set = {0};
    car_model *load = NULL;
    char *files = NULL;
    car_status status = CAR_OK;
    if (call->shared.load)
        status = car_model_load(call->shared.load, NULL, &load, error);
    if (status == CAR_OK)
        status = car_forecast_options_check(&call->options, error);
    note_prices(call);
    if (status == CAR_OK)
        status = car_forecast_read(&call->options, path, &set, &files, error);
    if (status == CAR_OK)
        cli_forecast_note(&set, call->shared.json);
    if (status == CAR_OK)
        status =
            car_forecast_train(&call->options, &set, NULL, load, files, watch, NULL, result, error);
    car_release(NULL, files);
    car_model_free(load);
    car_series_free(&set);
    return status;
}

static car_status train_or_resume(forecast_call *call, const cli_verb *verb,
                                  const cli_arguments *arguments, car_forecast_result *result,
                                  car_error *error) {
    CAR_TRY(cli_training_check(verb, &call->shared, arguments, "a CSV file", error));
    if (call->plot)
        CAR_TRY(cli_check_picture(call->plot, error));
    if (arguments->count > 1)
        return car_fail(error, CAR_USAGE, "forecast train: one CSV file; it may hold many series");
    call->view.quiet = call->shared.json;
    cli_progress_start(&call->view.line);
    cli_signals_catch();
    const car_forecast_watch watch = watch_of(call);
    if (!call->shared.resume)
        return train_new(call, arguments->operands[0], &watch, result, error);
    const car_forecast_options *options = &call->options;
    const car_training_changes changes = {
        .minutes = cli_given(verb, "minutes") ? options->minutes : -1,
        .epochs = cli_given(verb, "epochs") ? options->epochs : -1,
        .updates = cli_given(verb, "updates") ? options->updates : -1,
        .threads = cli_given(verb, "threads") ? options->threads : -1,
    };
    return car_forecast_resume(call->shared.resume, &changes, &watch, result, error);
}

static int show_result(const forecast_call *call, const car_forecast_result *result) {
    car_text text;
    car_text_start(&text, NULL);
    if (call->shared.json)
        result_json(result, &text);
    else
        result_text(result, &text);
    int code = cli_print(&text);
    if (result->fit.stopped_by_signal && !call->shared.json)
        cli_note("interrupted; go on with: carousel forecast train --resume %s.last",
                 result->output);
    return result->fit.stopped_by_signal ? cli_signal_code(code) : code;
}

static car_status plot_curve(const forecast_call *call, car_error *error) {
    car_scene scene = {0};
    cli_curve_scene(&call->curve, &scene);
    car_status status = cli_write_scene(call->plot, &scene, false, 2, error);
    car_scene_free(&scene);
    return status;
}

static int train(int argc, char **argv) {
    forecast_call call;
    start_call(&call);
    add_picture(&call, "plot", &call.plot, "the training curve as .svg, .png or .pdf");
    cli_training_add_rest(&call.shared, "start from this model's weights and net");
    const cli_verb verb = {
        .name = "forecast train",
        .summary = "learn from time series to foretell how they go on",
        .usage = "[options] DATA.csv -o MODEL",
        .examples = "carousel forecast train passengers.csv --horizon 12 --log -o m.safetensors\n"
                    "carousel forecast train shops.csv --id shop --time day --value sold \\\n"
                    "    --horizon 28 -o m.safetensors\n"
                    "carousel forecast train --resume m.safetensors.last\n",
        .notes = "All series share one net. The last part of each is not learned from: it says\n"
                 "when to stop, and how wide the intervals must be. Ctrl-C saves MODEL.last and\n"
                 "ends with 130.\n",
        .options = call.shared.table,
        .option_count = call.shared.count,
        .least_operands = 0,
        .most_operands = -1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    car_forecast_result result = {0};
    if (call.shared.print_config) {
        code = cli_training_print_config(&verb, &arguments);
    } else {
        car_status status = train_or_resume(&call, &verb, &arguments, &result, &error);
        cli_progress_end(&call.view.line);
        if (status == CAR_OK && call.plot)
            status = plot_curve(&call, &error);
        code = status == CAR_OK ? show_result(&call, &result) : cli_fail(&error);
    }
    cli_arguments_free(&arguments);
    return code;
}

/* ---- predict ------------------------------------------------------------------------------------------ */

/* Without a model file: trains for this one time. */
static car_status train_here(forecast_call *call, const car_series_set *set, car_forecast *forecast,
                             car_error *error) {
    const car_forecast_watch watch = watch_of(call);
    car_forecast_result result;
    CAR_TRY(car_forecast_train(&call->options, set, NULL, NULL, NULL, &watch, forecast, &result,
                               error));
    if (!call->shared.json)
        cli_note("%s: %lld windows, %lld updates, validation error %.4g",
                 car_model_net(forecast->models[0]), (long long)result.facts.windows,
                 (long long)result.fit.updates, result.fit.best_validation);
    return CAR_OK;
}

/* The first series: on the terminal, where there is one, and to --plot. */
static car_status draw_first(const forecast_call *call, const car_forecast_settings *settings,
                             const car_forecast_case *cases, car_error *error) {
    bool live = !call->shared.json && car_terminal_live(2);
    cli_fan fan;
    if (!live && !call->plot)
        return CAR_OK;
    car_baseline baseline = settings->season > 1 ? CAR_BASELINE_SEASONAL : CAR_BASELINE_NAIVE;
    CAR_TRY(cli_fan_make(settings, &cases[0], baseline, false, &fan, error));
    if (live) {
        car_text text;
        car_text_start(&text, NULL);
        cli_fan_text(&fan, 2, &text);
        if (!text.failed)
            fputs(text.data, stderr);
        car_text_free(&text);
    }
    car_status status = plot_fan(call, &fan, error);
    cli_fan_free(&fan);
    return status;
}

/* Series that were too short for the model are said, and one at least must not be. */
static car_status check_used(size_t used, size_t count, size_t need, car_error *error) {
    if (used < count && used > 0)
        cli_note("%zu of %zu series are left out: the model looks back over %zu values",
                 count - used, count, need);
    return used > 0
               ? CAR_OK
               : car_fail(error, CAR_DATA,
                          "every series is too short: the model looks back over %zu values", need);
}

static car_status predict_all(forecast_call *call, const car_series_set *set,
                              car_forecast *forecast, car_text *text, car_error *error) {
    if (forecast->count == 0)
        CAR_TRY(train_here(call, set, forecast, error));
    const car_forecast_settings *settings = &forecast->settings;
    size_t horizon = (size_t)settings->horizon,
           each = horizon * (1 + (size_t)settings->level_count);
    size_t count = (size_t)set->count;
    car_forecast_case *cases = car_allocate(NULL, count, sizeof *cases);
    double *values = car_allocate(NULL, count, each * sizeof *values);
    car_status status = CAR_OK;
    if (!cases || !values)
        status = car_fail(error, CAR_MEMORY, "no memory for the forecasts");
    size_t need = car_forecast_need(settings), used = 0;
    bool skips = strcmp(call->shorter, "skip") == 0;
    for (size_t i = 0; cases && status == CAR_OK && i < count; i++)
        if (!skips || set->series[i].count >= need) {
            cases[used] = (car_forecast_case){.series = &set->series[i],
                                              .origin = set->series[i].count,
                                              .point = values + used * each,
                                              .quantiles = values + used * each + horizon};
            used++;
        }
    if (status == CAR_OK)
        status = check_used(used, count, need, error);
    if (status == CAR_OK)
        status = car_forecast_run(forecast, cases, (int)used, error);
    if (status == CAR_OK)
        status = draw_first(call, settings, cases, error);
    if (status == CAR_OK) {
        cli_forecast_rows_begin(settings, call->shared.json, text);
        for (size_t i = 0; i < used; i++)
            cli_forecast_rows(settings, &cases[i], call->shared.json, i == 0, text);
        cli_forecast_rows_end(call->shared.json, text);
    }
    car_release(NULL, cases);
    car_release(NULL, values);
    return status;
}

static int predict(int argc, char **argv) {
    forecast_call call;
    start_call(&call);
    drop_file_options(&call.shared);
    call.shorter = "refuse";
    call.shared.table[call.shared.count++] =
        (cli_option){.name = "short",
                     .kind = CLI_CHOICE,
                     .value = &call.shorter,
                     .choices = "refuse|skip",
                     .help = "series with fewer values than the model looks back over"};
    add_picture(&call, "plot", &call.plot, "the first series as a fan chart: .svg, .png or .pdf");
    cli_verb verb = {
        .name = "forecast predict",
        .summary = "foretells the steps after the end of a file",
        .examples = "carousel forecast predict m.safetensors passengers.csv > next-year.csv\n"
                    "carousel forecast predict passengers.csv --horizon 12 --log\n",
        .notes = "Several models are averaged. Without a model one is trained on the file, for\n"
                 "this one time. Run `forecast backtest` first: it says whether to believe it.\n"};
    return run_verb(&call, &verb, predict_all, argc, argv);
}

/* ---- backtest ----------------------------------------------------------------------------------------- */

/* The table, with the fan chart of the worst series before it and in --plot. */
static car_status show_backtest(const forecast_call *call, const car_series_set *set,
                                const car_backtest *result, car_text *text, car_error *error) {
    cli_fan fan;
    CAR_TRY(cli_backtest_fan(set, result, 0, &fan, error));
    if (call->shared.json) {
        cli_forecast_backtest_json(result, text);
    } else {
        cli_fan_text(&fan, 1, text);
        car_text_format(text, "\n");
        cli_forecast_backtest_text(result, text);
    }
    car_status status = plot_fan(call, &fan, error);
    cli_fan_free(&fan);
    return status;
}

static car_status backtest_all(forecast_call *call, const car_series_set *set,
                               car_forecast *forecast, car_text *text, car_error *error) {
    car_backtest result;
    const car_forecast_watch watch = watch_of(call);
    CAR_TRY(car_forecast_backtest(&call->options, &call->backtest, set,
                                  forecast->count > 0 ? forecast : NULL, &watch, &result, error));
    car_status status = show_backtest(call, set, &result, text, error);
    if (status == CAR_OK && call->report)
        status =
            cli_forecast_report(call->report, set->series[0].id, set, &result, &call->curve, error);
    car_backtest_free(&result);
    return status;
}

static int backtest(int argc, char **argv) {
    forecast_call call;
    start_call(&call);
    drop_file_options(&call.shared);
    call.shared.table[call.shared.count++] = (cli_option){.kind = CLI_HEADING, .help = "The test"};
    add_int(&call.shared, "windows", &call.backtest.windows, 1, 100000, NULL,
            "origins, the last one a horizon before the end");
    add_int(&call.shared, "stride", &call.backtest.stride, 0, CAR_FORECAST_MOST, "the horizon",
            "steps from one origin to the next");
    add_int(&call.shared, "ensemble", &call.backtest.ensemble, 1, CAR_FORECAST_NETS, NULL,
            "nets with seeds from --seed on, whose forecasts are averaged");
    add_flag(&call.shared, "refit", &call.backtest.refit,
             "train anew at each origin, not at the first only");
    add_picture(&call, "plot", &call.plot, "the worst series as a fan chart: .svg, .png or .pdf");
    add_picture(&call, "report", &call.report, "one HTML page: verdict, worst series, training");
    cli_verb verb = {
        .name = "forecast backtest",
        .summary = "how good the forecasts would have been, beside what costs nothing",
        .examples = "carousel forecast backtest passengers.csv --horizon 12 --windows 3 --log\n"
                    "carousel forecast backtest m.safetensors newer.csv --windows 3\n"
                    "carousel forecast backtest stock.csv --value Close --log --gaps close \\\n"
                    "    --horizon 1 --windows 250 --season 1\n",
        .notes = "Naive, seasonal naive, drift and mean see the same history. The model is\n"
                 "compared with the best of them after the fact, which favours that one. A model\n"
                 "file is judged only by what lies behind all that it has learned from.\n"};
    return run_verb(&call, &verb, backtest_all, argc, argv);
}

int cli_forecast(int argc, char **argv) {
    static const cli_command table[] = {
        {"train", "learn from a file of series", train},
        {"predict", "foretell what follows", predict},
        {"backtest", "the model beside naive, seasonal naive, drift and mean", backtest},
        {"demo", "sunspots: may such a forecast be trusted?", cli_forecast_demo},
    };
    return cli_dispatch("forecast", "time series", table, sizeof table / sizeof *table, argc, argv);
}
