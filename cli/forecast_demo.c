/*
 * forecast_demo.c: `carousel forecast demo`: may a forecast be trusted? In less than a minute, without any data.
 *
 * In:  the monthly sunspot numbers of 1900 to 1983 (sunspots.csv: Zürich's relative numbers, facts of observation, as
 *      collected in the Time Series Data Library), which travel in the program.
 * Out: a backtest: the model beside what costs nothing, a fan chart of the last three years, the verdict.
 */
#include "forecast_demo.h"
#include "cli.h"
#include "forecast.h"
#include "forecast_picture.h"
#include "forecast_show.h"
#include "picture_file.h"
#include <string.h>

typedef struct demo_call {
    const char *plot;
    int64_t updates, seed;
    bool json;
} demo_call;

static car_status read_sunspots(const car_forecast_options *options, car_series_set *set,
                                car_error *error) {
    const car_series_options reading = car_forecast_reading(options);
    car_csv *csv = NULL;
    CAR_TRY(car_csv_open_text(cli_sunspots, strlen(cli_sunspots), "sunspots", NULL, &csv, error));
    car_status status = car_series_read(csv, &reading, NULL, set, error);
    car_csv_free(csv);
    return status;
}

static car_status show(const demo_call *call, const car_series_set *set, const car_backtest *result,
                       car_text *text, car_error *error) {
    cli_fan fan;
    car_scene scene = {0};
    if (call->json) {
        cli_forecast_backtest_json(result, text);
        if (!call->plot)
            return CAR_OK;
    }
    CAR_TRY(cli_backtest_fan(set, result, 0, &fan, error));
    if (!call->json) {
        cli_fan_text(&fan, 1, text);
        car_text_format(text, "\n");
        cli_forecast_backtest_text(result, text);
        car_text_format(text, "\nYour own: carousel forecast backtest data.csv --horizon 12\n");
    }
    cli_fan_scene(&fan, &scene);
    car_status status = call->plot ? cli_write_scene(call->plot, &scene, false, 2, error) : CAR_OK;
    car_scene_free(&scene);
    cli_fan_free(&fan);
    return status;
}

static car_status run(const demo_call *call, car_text *text, car_error *error) {
    car_forecast_options options = car_forecast_defaults();
    const car_backtest_options how = {.windows = 12, .stride = 36, .ensemble = 3};
    const car_forecast_watch watch = {.stop = cli_signal()};
    options.horizon = 36;
    options.context = 132;
    options.season = 1;
    options.reference = "last";
    options.net = "patch 12 | gru 32 | quantile 0.1 0.5 0.9 last";
    options.updates = call->updates;
    options.seed = call->seed;
    car_series_set set = {0};
    car_backtest result;
    if (!call->json)
        cli_note("1,008 months of sunspot numbers; three nets of 32 units, eleven years to "
                 "look back, three years to foretell, 12 times");
    CAR_TRY(read_sunspots(&options, &set, error));
    car_status status = car_forecast_backtest(&options, &how, &set, NULL, &watch, &result, error);
    if (status == CAR_OK) {
        status = show(call, &set, &result, text, error);
        car_backtest_free(&result);
    }
    car_series_free(&set);
    return status;
}

int cli_forecast_demo(int argc, char **argv) {
    demo_call call = {.updates = 400, .seed = 1};
    cli_option options[] = {
        {.name = "plot",
         .kind = CLI_TEXT,
         .value = &call.plot,
         .argument = "FILE",
         .help = "the fan chart as .svg, .png or .pdf",
         .default_text = "none"},
        {.name = "updates",
         .kind = CLI_INT,
         .value = &call.updates,
         .minimum = 1,
         .maximum = 1e6,
         .argument = "N",
         .help = "of each net, at most"},
        {.name = "seed",
         .kind = CLI_INT,
         .value = &call.seed,
         .minimum = 0,
         .maximum = 9e15,
         .argument = "N",
         .help = "of the first net"},
        {.name = "json", .kind = CLI_FLAG, .value = &call.json, .help = "the result as JSON"}};
    const cli_verb verb = {.name = "forecast demo",
                           .summary = "sunspots: the model beside what costs nothing",
                           .usage = "[options]",
                           .examples = "carousel forecast demo\n"
                                       "carousel forecast demo --plot sunspots.svg\n",
                           .options = options,
                           .option_count = sizeof options / sizeof *options};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    cli_arguments_free(&arguments);
    cli_signals_catch();
    car_error error = {0};
    car_text text;
    car_text_start(&text, NULL);
    car_status status = call.plot ? cli_check_picture(call.plot, &error) : CAR_OK;
    if (status == CAR_OK)
        status = run(&call, &text, &error);
    if (status == CAR_OK)
        return cli_print(&text);
    car_text_free(&text);
    return cli_signal_code(cli_fail(&error));
}
