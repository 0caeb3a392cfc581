/*
 * forecast.c: `carousel forecast predict|backtest`: time series on the command line.
 *
 * In:  a CSV file and the settings of tasks/forecast.h as options.
 * Out: forecasts as CSV, or the table of a backtest, on stdout (with --json one JSON object); what was done to the data
 *      on stderr. Nothing is written before everything is known.
 */
#include "forecast.h"
#include "cli.h"
#include "report.h"
#include <math.h>
#include <string.h>

typedef struct forecast_call {
    car_forecast_options options;
    car_series_options reading;
    car_backtest_options backtest;
    const char *missing, *gaps, *duplicates;
    bool json;
    cli_option table[32];
    int count;
} forecast_call;

/* ---- options ------------------------------------------------------------------------------------------ */

static void add(forecast_call *call, cli_option option) {
    call->table[call->count++] = option;
}

static void add_text(forecast_call *call, const char *name, const char **value, const char *shown,
                     const char *help) {
    add(call, (cli_option){.name = name,
                           .kind = CLI_TEXT,
                           .value = value,
                           .argument = "NAME",
                           .help = help,
                           .default_text = shown});
}

static void add_choice(forecast_call *call, const char *name, const char **value,
                       const char *choices, const char *help) {
    add(call,
        (cli_option){
            .name = name, .kind = CLI_CHOICE, .value = value, .choices = choices, .help = help});
}

static void add_int(forecast_call *call, const char *name, int64_t *value, double least,
                    double most, const char *shown, const char *help) {
    add(call, (cli_option){.name = name,
                           .kind = CLI_INT,
                           .value = value,
                           .minimum = least,
                           .maximum = most,
                           .argument = "N",
                           .help = help,
                           .default_text = shown});
}

static void add_flag(forecast_call *call, const char *name, bool *value, const char *help) {
    add(call, (cli_option){.name = name, .kind = CLI_FLAG, .value = value, .help = help});
}

static void fill_table(forecast_call *call) {
    car_forecast_options *options = &call->options;
    add(call, (cli_option){.kind = CLI_HEADING, .help = "The file"});
    add_text(call, "id", &call->reading.id, "unique_id if there", "column that names the series");
    add_text(call, "time", &call->reading.time, "ds, else the first", "column of the time stamps");
    add_text(call, "value", &call->reading.value, "y, else the only other one",
             "column of the values; A,B: several, each a series");
    add_choice(call, "missing", &call->missing, "refuse|last|drop",
               "NA and empty values: last takes the one before");
    add_choice(call, "gaps", &call->gaps, "refuse|last|close",
               "stamps that are not there; close counts rows, not time");
    add_choice(call, "duplicates", &call->duplicates, "refuse|first|last|mean",
               "rows with the same stamp");
    add_flag(call, "sort", &call->reading.sort, "put rows that are out of order in order");
    add(call, (cli_option){.kind = CLI_HEADING, .help = "The forecast"});
    add_int(call, "horizon", &options->horizon, 1, CAR_FORECAST_MOST, NULL, "steps ahead");
    add_int(call, "season", &options->season, 0, CAR_FORECAST_MOST, "by the frequency",
            "steps of a season; 1: none");
    add_int(call, "context", &options->context, 0, CAR_FORECAST_MOST, "2 seasons, else 3 horizons",
            "steps that the net looks back");
    add_choice(call, "reference", &options->reference, "auto|last|season|mean",
               "what is foretold is the difference to it");
    add_flag(call, "log", &options->log, "work on logarithms (prices, counts that grow)");
    add(call, (cli_option){.kind = CLI_HEADING, .help = "The net and its training"});
    add_text(call, "net", &options->net, NULL, "ends in `linear last` or `linear mean`");
    add_int(call, "batch", &options->batch, 1, 65536, NULL, "windows side by side");
    add_int(call, "updates", &options->updates, 1, 1e9, NULL, "at most so many");
    add_int(call, "patience", &options->patience, 0, 1e6, NULL,
            "validations without improvement before stopping; 0: never");
    add(call, (cli_option){.name = "rate",
                           .kind = CLI_DOUBLE,
                           .value = &options->rate,
                           .minimum = 1e-9,
                           .maximum = 10,
                           .argument = "X",
                           .help = "learning rate (adam, cosine)"});
    add_int(call, "seed", &options->seed, 0, 9e15, NULL, "of weights and order");
    add_int(call, "threads", &options->threads, 0, 64, NULL, "the result does not depend on it");
    add_flag(call, "json", &call->json, "the result as JSON");
}

static int choice_of(const char *word, const char *const *words) {
    int i = 0;
    while (strcmp(words[i], word) != 0)
        i++;
    return i;
}

static void note_report(const car_series_set *set) {
    const car_series_report *report = &set->report;
    char name[32];
    car_frequency_name(&set->frequency, name);
    cli_note("%zu rows, %d series, %s", report->rows, set->count, name);
    if (report->missing + report->gaps + report->duplicates + report->moved > 0)
        cli_note(
            "missing %zu (filled %zu, dropped %zu), gaps filled %zu, duplicates merged %zu, out "
            "of order %zu",
            report->missing, report->filled, report->dropped, report->gaps, report->duplicates,
            report->moved);
}

static car_status read_file(forecast_call *call, const char *path, car_series_set *set,
                            car_error *error) {
    static const char *const missing[] = {"refuse", "last", "drop"};
    static const char *const gaps[] = {"refuse", "last", "close"};
    static const char *const duplicates[] = {"refuse", "first", "last", "mean"};
    call->reading.missing = (car_missing)choice_of(call->missing, missing);
    call->reading.gaps = (car_gaps)choice_of(call->gaps, gaps);
    call->reading.duplicates = (car_duplicates)choice_of(call->duplicates, duplicates);
    car_csv *csv = NULL;
    CAR_TRY(car_csv_open(path, NULL, &csv, error));
    car_status status = car_series_read(csv, &call->reading, NULL, set, error);
    car_csv_free(csv);
    if (status == CAR_OK && !call->json)
        note_report(set);
    return status;
}

static forecast_call new_call(void) {
    return (forecast_call){.options = car_forecast_defaults(),
                           .backtest = {.windows = 10},
                           .missing = "refuse",
                           .gaps = "refuse",
                           .duplicates = "refuse"};
}

/* ---- predict ------------------------------------------------------------------------------------------ */

static void add_name(car_text *text, const char *name) {
    if (!strpbrk(name, ",\"\n\r")) {
        car_text_format(text, "%s", name);
        return;
    }
    car_text_format(text, "\"");
    for (const char *at = name; *at; at++)
        car_text_format(text, *at == '"' ? "\"\"" : "%c", *at);
    car_text_format(text, "\"");
}

static void add_row(const forecast_call *call, const car_series_set *set, const char *id,
                    int64_t stamp, const double *values, bool first, car_text *text) {
    char when[CAR_STAMP_TEXT];
    car_stamp_format(set->frequency.kind, stamp, when);
    if (call->json) {
        car_text_format(text, "%s{\"unique_id\": ", first ? "" : ", ");
        car_text_json_string(text, id, strlen(id));
        car_text_format(text, ", \"ds\": \"%s\"", when);
    } else {
        add_name(text, id);
        car_text_format(text, ",%s", when);
    }
    static const char *const names[] = {"forecast", "q0.1", "q0.5", "q0.9"};
    for (int i = 0; i < 4; i++) {
        car_text_format(text, call->json ? ", \"%s\": " : ",", names[i]);
        car_text_json_number(text, values[i]);
    }
    car_text_format(text, call->json ? "}" : "\n");
}

/* values[horizon * (1 + LEVELS)]: room for a forecast. */
static car_status predict_series(const forecast_call *call, const car_series_set *set, int index,
                                 const car_forecast *forecast, double *values, car_text *text,
                                 car_error *error) {
    const car_one_series *one = &set->series[index];
    int horizon = forecast->settings.horizon;
    double *quantiles = values + horizon;
    CAR_TRY(car_forecast_run(forecast, one->values, one->count, one->id, values, quantiles, error));
    for (int k = 0; k < horizon; k++) {
        const double *q = quantiles + (size_t)k * CAR_FORECAST_LEVELS;
        int64_t stamp = car_frequency_add(&set->frequency, one->stamps[one->count - 1], k + 1);
        add_row(call, set, one->id, stamp, (double[]){values[k], q[0], q[1], q[2]},
                index == 0 && k == 0, text);
    }
    return CAR_OK;
}

static car_status predict_all(const forecast_call *call, const car_series_set *set, car_text *text,
                              car_error *error) {
    car_forecast forecast;
    CAR_TRY(car_forecast_train(&call->options, set, NULL, cli_signal(), &forecast, error));
    if (!call->json)
        cli_note(
            "%s: %lld windows, %lld updates, validation error %.4g (in deviations of the window)",
            call->options.net, (long long)forecast.windows, (long long)forecast.updates,
            sqrt(forecast.validation));
    size_t horizon = (size_t)forecast.settings.horizon;
    double *values = car_allocate(NULL, horizon, (1 + CAR_FORECAST_LEVELS) * sizeof *values);
    car_status status = values ? CAR_OK : car_fail(error, CAR_MEMORY, "no memory for a forecast");
    car_text_format(text,
                    call->json ? "{\"forecasts\": [" : "unique_id,ds,forecast,q0.1,q0.5,q0.9\n");
    for (int i = 0; values && status == CAR_OK && i < set->count; i++)
        status = predict_series(call, set, i, &forecast, values, text, error);
    if (call->json)
        car_text_format(text, "]}\n");
    car_release(NULL, values);
    car_forecast_free(&forecast);
    return status;
}

/* ---- backtest ----------------------------------------------------------------------------------------- */

static void add_verdict(const car_backtest *result, car_text *text) {
    const char *best = result->scores[result->best].name;
    static const char *const words[] = {
        "the model beats the best baseline", "no evidence that the model beats the best baseline",
        "the model is worse than the best baseline",
        "too few windows to tell whether the model beats the best baseline"};
    car_text_format(text, "%s (%s): error %+.1f %%", words[result->skill], best,
                    100 * result->change);
    if (isfinite(result->low))
        car_text_format(text, ", 95 %% interval %+.1f to %+.1f %%, from %d %s", 100 * result->low,
                        100 * result->high, result->units,
                        result->series > result->origins ? "series" : "origins");
}

static void backtest_text(const car_backtest *result, car_text *text) {
    car_text_format(text, "%-16s %8s %17s %8s %12s %12s\n", "", "MASE", "95 % interval", "sMAPE",
                    "MAE", "RMSE");
    for (int m = 0; m < CAR_METHODS; m++) {
        const car_method_score *score = &result->scores[m];
        car_text_format(text, "%-16s %8.3f  %7.3f %7.3f  %8.3f %12.5g %12.5g\n", score->name,
                        score->mase, score->mase_low, score->mase_high, score->smape, score->mae,
                        score->rmse);
    }
    const car_method_score *model = &result->scores[0];
    double low, high;
    car_wilson(result->direction_hits, result->directions, &low, &high);
    car_text_format(
        text,
        "model: CRPS %.5g; the 80 %% interval held %.1f %% (%.1f to %.1f)\n"
        "model: right direction at the first step %lld of %lld (%.1f to %.1f %%)\n"
        "%d origins, %d series, season %d; leak test: %d forecasts moved when the future "
        "was changed\n",
        model->crps, 100 * model->coverage, 100 * model->coverage_low, 100 * model->coverage_high,
        (long long)result->direction_hits, (long long)result->directions, 100 * low, 100 * high,
        result->origins, result->series, result->season, result->leaks);
    add_verdict(result, text);
    car_text_format(text, "\n");
}

static void add_numbers(car_text *text, const char *const *names, const double *values, int count) {
    for (int i = 0; i < count; i++) {
        car_text_format(text, ", \"%s\": ", names[i]);
        car_text_json_number(text, values[i]);
    }
}

static void backtest_json(const car_backtest *result, car_text *text) {
    static const char *const names[] = {"mase",         "mase_low",     "mase_high", "smape",
                                        "mae",          "rmse",         "crps",      "coverage_80",
                                        "coverage_low", "coverage_high"};
    static const char *const skills[] = {"better", "none", "worse", "unknown"};
    car_text_format(text, "{\"methods\": [");
    for (int m = 0; m < CAR_METHODS; m++) {
        const car_method_score *score = &result->scores[m];
        const double values[] = {score->mase,         score->mase_low, score->mase_high,
                                 score->smape,        score->mae,      score->rmse,
                                 score->crps,         score->coverage, score->coverage_low,
                                 score->coverage_high};
        car_text_format(text, "%s{\"name\": \"%s\"", m ? ", " : "", score->name);
        add_numbers(text, names, values, m ? 6 : 10);
        car_text_format(text, "}");
    }
    static const char *const rest[] = {"change", "change_low", "change_high"};
    car_text_format(text, "], \"best_baseline\": \"%s\", \"skill\": \"%s\"",
                    result->scores[result->best].name, skills[result->skill]);
    add_numbers(text, rest, (double[]){result->change, result->low, result->high}, 3);
    car_text_format(text,
                    ", \"origins\": %d, \"series\": %d, \"season\": %d, \"direction_hits\": %lld, "
                    "\"directions\": %lld, \"leaks\": %d}\n",
                    result->origins, result->series, result->season,
                    (long long)result->direction_hits, (long long)result->directions,
                    result->leaks);
}

static car_status backtest_all(const forecast_call *call, const car_series_set *set, car_text *text,
                               car_error *error) {
    car_backtest result;
    CAR_TRY(
        car_forecast_backtest(&call->options, &call->backtest, set, cli_signal(), &result, error));
    if (call->json)
        backtest_json(&result, text);
    else
        backtest_text(&result, text);
    return CAR_OK;
}

/* ---- the verbs ---------------------------------------------------------------------------------------- */

typedef car_status (*forecast_work)(const forecast_call *call, const car_series_set *set,
                                    car_text *text, car_error *error);

static int run_verb(forecast_call *call, cli_verb *verb, forecast_work work, int argc,
                    char **argv) {
    cli_arguments arguments;
    verb->options = call->table;
    verb->option_count = call->count;
    verb->usage = "[options] DATA.csv";
    verb->least_operands = verb->most_operands = 1;
    int code = cli_parse(verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    cli_signals_catch();
    car_error error = {0};
    car_series_set set = {0};
    car_text text;
    car_text_start(&text, NULL);
    car_status status = read_file(call, arguments.operands[0], &set, &error);
    if (status == CAR_OK)
        status = work(call, &set, &text, &error);
    if (status == CAR_OK)
        code = cli_print(&text);
    else {
        car_text_free(&text);
        code = cli_signal_code(cli_fail(&error));
    }
    car_series_free(&set);
    cli_arguments_free(&arguments);
    return code;
}

static int predict(int argc, char **argv) {
    forecast_call call = new_call();
    fill_table(&call);
    cli_verb verb = {
        .name = "forecast predict",
        .summary = "trains on the file and foretells the steps after its end",
        .examples = "carousel forecast predict passengers.csv --horizon 12 --log\n"
                    "carousel forecast predict shops.csv --id shop --time day --value sold\n",
        .notes = "The intervals are the errors on the last fifth of the data, which was not\n"
                 "trained on. Run `forecast backtest` first: it says whether to believe it.\n"};
    return run_verb(&call, &verb, predict_all, argc, argv);
}

static int backtest(int argc, char **argv) {
    forecast_call call = new_call();
    fill_table(&call);
    add(&call, (cli_option){.kind = CLI_HEADING, .help = "The test"});
    add_int(&call, "windows", &call.backtest.windows, 1, 100000, NULL,
            "origins, the last one a horizon before the end");
    add_int(&call, "stride", &call.backtest.stride, 0, CAR_FORECAST_MOST, "the horizon",
            "steps from one origin to the next");
    add_flag(&call, "refit", &call.backtest.refit,
             "train anew at each origin, not at the first only");
    cli_verb verb = {
        .name = "forecast backtest",
        .summary = "how good the forecasts would have been, beside what costs nothing",
        .examples = "carousel forecast backtest passengers.csv --horizon 12 --windows 3 --log\n"
                    "carousel forecast backtest stock.csv --value Close --log --gaps close \\\n"
                    "    --horizon 1 --windows 250 --season 1\n",
        .notes = "Naive, seasonal naive, drift and mean see the same history. The model is\n"
                 "compared with the best of them after the fact, which favours that one.\n"};
    return run_verb(&call, &verb, backtest_all, argc, argv);
}

int cli_forecast(int argc, char **argv) {
    static const cli_command table[] = {
        {"predict", "train on a file and foretell what follows", predict},
        {"backtest", "the model beside naive, seasonal naive, drift and mean", backtest},
    };
    return cli_dispatch("forecast", "time series", table, sizeof table / sizeof *table, argc, argv);
}
