/*
 * forecast_options.c: the options of a forecast, and what follows from them.
 *
 * In:  the table below (the command line and checkpoints go through it); series.
 * Out: defaults, a check, the settings that a model file keeps, a net.
 */
#include "forecast.h"
#include <string.h>
#include <strings.h>

#define SETTINGS_OF car_forecast_options
#include "setting_table.h"

const car_setting car_forecast_table[] = {
    HEADING("The file"),
    TEXT("id", id, NULL, "NAME", "column that names the series; else unique_id if there"),
    TEXT("time", time, NULL, "NAME", "column of the time stamps; else ds, else the first"),
    TEXT("value", value, NULL, "NAME",
         "column of the values; A,B: several, each a series; else y, else the only other one"),
    TEXT("known", known, NULL, "LIST",
         "columns that are known in future too; rows without a value hold them"),
    TEXT("unknown", unknown, NULL, "LIST", "columns that are known in the past only"),
    TEXT("static", constant, NULL, "LIST", "columns with one number or word a series"),
    CHOICE("missing", missing, "refuse", "refuse|last|drop",
           "NA and empty values: last takes the one before"),
    CHOICE("gaps", gaps, "refuse", "refuse|last|close",
           "stamps that are not there; close counts rows, not time"),
    CHOICE("duplicates", duplicates, "refuse", "refuse|first|last|mean",
           "rows with the same stamp"),
    FLAG("sort", sort, "put rows that are out of order in order"),
    CHOICE("prices", prices, "auto", "auto|yes|no",
           "log returns, no season, rows count; auto: where --value is Close, Price ..."),
    HEADING("The forecast"),
    INT("horizon", horizon, 12, 1, CAR_FORECAST_MOST, NULL, "N", "steps ahead"),
    INT("season", season, 0, 0, CAR_FORECAST_MOST, "by the frequency", "N",
        "steps of a season; 1: none"),
    INT("context", context, 0, 0, CAR_FORECAST_MOST, "2 seasons, else 3 horizons", "N",
        "steps that the net looks back"),
    CHOICE("reference", reference, "auto", "auto|last|season|mean",
           "what is foretold is the difference to it"),
    CHOICE("scale", scale, "window", "window|series",
           "deviations are measured in those of the window, or of all before it"),
    FLAG("log", log, "work on logarithms (prices, counts that grow)"),
    FLAG("difference", difference, "read steps from one value to the next (returns, with --log)"),
    TEXT("levels", levels, "0.1,0.5,0.9", "LIST", "the quantiles to foretell"),
    INT("validation", validation, 0, 0, 1e9, "a fifth, a horizon at least", "N",
        "last steps of what is trained on, to stop and to measure the intervals by"),
    HEADING("The net"),
    TEXT("net", net, NULL, "TEXT", "the whole net: 'gru 64 | linear last'; or else:"),
    TEXT("cell", cell, "lstm", "NAME|FILE", "a cell of the zoo or a file"),
    INT("hidden", hidden, 32, 1, 65536, NULL, "N", "units of a layer"),
    INT("layers", layers, 1, 1, 64, NULL, "N", "layers"),
    NUMBER("dropout", dropout, 0, 0, 0.99, NULL, "between layers, before the head too"),
    CHOICE("head", head, "quantile", "linear|quantile|gaussian|studentt",
           "foretells a point (intervals by its errors), or a distribution"),
    HEADING("The updates"),
    INT("batch", batch, 32, 1, 65536, NULL, "N", "windows side by side"),
    CHOICE("optimizer", optimizer, "adam", "adam|adamw|sgd|rmsprop", "how weights move"),
    NUMBER("rate", rate, 0.005, 1e-9, 1e6, NULL, "learning rate"),
    CHOICE("schedule", schedule, "cosine", "constant|cosine", "the rate over time"),
    INT("warmup", warmup, 0, 0, 1e12, NULL, "N", "updates of linear warm-up"),
    NUMBER("final", final, 0.05, 0, 1, NULL, "cosine: the last rate as a share of --rate"),
    NUMBER("clip", clip, 1, 0, 1e30, NULL, "most norm of the gradient; 0: off"),
    NUMBER("decay", decay, 0, 0, 1, NULL, "weight decay"),
    HEADING("How long"),
    NUMBER("minutes", minutes, 0, 0, 1e6, "none", "time to train, turned into updates once"),
    NUMBER("epochs", epochs, 0, 0, 1e9, "none", "times through all windows"),
    INT("updates", updates, 0, 0, 1e15, "1000 if nothing else is given", "N",
        "updates; the smallest of the three counts"),
    INT("validate-every", validate_every, 50, 0, 1e12, NULL, "N", "updates; 0: each epoch"),
    INT("patience", patience, 6, 0, 1e9, NULL, "N",
        "stop after so many validations without improvement; 0: never"),
    NUMBER("checkpoint-seconds", checkpoint_seconds, 60, 0, 1e9, NULL,
           "how often FILE.last is written for --resume"),
    HEADING("The rest"),
    TEXT("output", output, NULL, "FILE", "the model; the best by validation is kept"),
    INT("seed", seed, 1, 0, 9e15, NULL, "N", "of weights, order and dropout"),
    INT("threads", threads, 1, 0, 64, NULL, "N",
        "0: all processors; the result does not depend on it"),
    CHOICE("precision", precision, "f32", "f32|bf16",
           "of matrix products; bf16 is faster, weights and sums stay f32"),
};
const int car_forecast_table_count = (int)(sizeof car_forecast_table / sizeof *car_forecast_table);

car_forecast_options car_forecast_defaults(void) {
    car_forecast_options options = {0};
    car_settings_defaults(car_forecast_table, car_forecast_table_count, &options);
    return options;
}

/* "0.1,0.5,0.9" -> levels; false: no rising numbers within (0, 1). */
static bool read_levels(const char *text, double *levels, int *count) {
    *count = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        double level = 0;
        if (*count == CAR_FORECAST_LEVELS || !car_number_parse(at, length, &level) ||
            !(level > 0 && level < 1) || (*count > 0 && level <= levels[*count - 1]))
            return false;
        levels[(*count)++] = level;
        at += length;
        if (!*at)
            return true;
    }
}

car_status car_forecast_options_check(const car_forecast_options *options, car_error *error) {
    double levels[CAR_FORECAST_LEVELS];
    int count;
    CAR_TRY(car_settings_check(car_forecast_table, car_forecast_table_count, options, error));
    if (!options->levels || !read_levels(options->levels, levels, &count))
        return car_fail(error, CAR_USAGE,
                        "--levels %.60s: give rising numbers between 0 and 1, such as 0.1,0.5,0.9",
                        options->levels ? options->levels : "");
    if (options->difference && strcmp(options->reference, "season") == 0)
        return car_fail(error, CAR_USAGE,
                        "--difference foretells from the last value; take "
                        "--reference season away");
    return CAR_OK;
}

static int choice_of(const char *word, const char *const *words) {
    int i = 0;
    while (words[i + 1] && strcmp(words[i], word) != 0)
        i++;
    return i;
}

bool car_forecast_resolve_prices(car_forecast_options *options) {
    static const char *const names[] = {"close", "adj close", "adjclose", "adj_close",
                                        "price", "open",      "high",     "low"};
    bool prices = strcmp(options->prices, "yes") == 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        prices |= strcmp(options->prices, "auto") == 0 && options->value &&
                  strcasecmp(options->value, names[i]) == 0;
    options->prices = prices ? "yes" : "no";
    if (!prices)
        return false;
    options->log = options->difference = true;
    if (options->season == 0)
        options->season = 1;
    if (strcmp(options->gaps, "refuse") == 0)
        options->gaps = "close";
    return true;
}

car_series_options car_forecast_reading(const car_forecast_options *options) {
    static const char *const missing[] = {"refuse", "last", "drop", NULL};
    static const char *const gaps[] = {"refuse", "last", "close", NULL};
    static const char *const duplicates[] = {"refuse", "first", "last", "mean", NULL};
    return (car_series_options){.id = options->id,
                                .time = options->time,
                                .value = options->value,
                                .missing = (car_missing)choice_of(options->missing, missing),
                                .gaps = (car_gaps)choice_of(options->gaps, gaps),
                                .duplicates =
                                    (car_duplicates)choice_of(options->duplicates, duplicates),
                                .sort = options->sort,
                                .known = options->known,
                                .unknown = options->unknown,
                                .constant = options->constant};
}

car_status car_forecast_settle(const car_forecast_options *options, const car_series_set *set,
                               const struct car_net *net, car_forecast_settings *settings,
                               car_error *error) {
    static const char *const references[] = {"last", "season", "mean", "auto", NULL};
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
    int reference = choice_of(options->reference, references);
    bool last = season == 1 || options->difference;
    *settings = (car_forecast_settings){.horizon = (int)options->horizon,
                                        .context = (int)context,
                                        .season = (int)season,
                                        .reference = reference < 3 ? (car_reference)reference
                                                     : last        ? CAR_REFERENCE_LAST
                                                                   : CAR_REFERENCE_SEASON,
                                        .log = options->log,
                                        .difference = options->difference,
                                        .series_scale = strcmp(options->scale, "series") == 0,
                                        .frequency = set->frequency};
    if (!read_levels(options->levels, settings->levels, &settings->level_count))
        return car_fail(error, CAR_USAGE, "--levels: give rising numbers between 0 and 1");
    if (net->head == CAR_HEAD_QUANTILE) {
        settings->level_count = net->level_count;
        memcpy(settings->levels, net->levels, sizeof settings->levels);
    }
    if (options->known && settings->context < settings->horizon)
        return car_fail(error, CAR_USAGE,
                        "--known needs a context of the horizon at least; give --context %d",
                        settings->horizon);
    if (settings->context % net->patch != 0)
        return car_fail(
            error, CAR_USAGE, "--context %d is no multiple of the net's `patch %d`; give %d",
            settings->context, net->patch, (settings->context / net->patch + 1) * net->patch);
    return CAR_OK;
}

size_t car_forecast_validation_begin(const car_forecast_settings *settings, int64_t validation,
                                     size_t length) {
    size_t need = car_forecast_need(settings), horizon = (size_t)settings->horizon;
    if (length <= need)
        return length;
    size_t part = validation > 0 ? (size_t)validation : (length - need) / 5;
    part = part > horizon ? part : horizon;
    return part < length - need ? length - part : need;
}

car_status car_forecast_check_net(const struct car_net *net, car_error *error) {
    if (net->head == CAR_HEAD_SOFTMAX || net->head == CAR_HEAD_SIGMOID ||
        net->pool == CAR_POOL_EACH || net->layers[0].kind == CAR_LAYER_EMBED)
        return car_fail(error, CAR_USAGE,
                        "the net `%.200s` cannot forecast: it reads values and gives the whole "
                        "horizon at the end; write `lstm 32 | linear last`",
                        net->text);
    return CAR_OK;
}

/* " 0.1 0.5 0.9" after `quantile`. */
static void add_levels(const car_forecast_options *options, car_text *text) {
    double levels[CAR_FORECAST_LEVELS];
    int count;
    if (strcmp(options->head, "quantile") != 0 || !read_levels(options->levels, levels, &count))
        return;
    for (int i = 0; i < count; i++) {
        car_text_format(text, " ");
        car_text_json_number(text, levels[i]);
    }
}

car_status car_forecast_net(const car_forecast_options *options, car_net **net, car_error *error) {
    car_cell *cell = NULL;
    CAR_TRY(car_own_cell(options->cell, NULL, &cell, error));
    car_text text;
    car_text_start(&text, NULL);
    if (options->net) {
        car_text_format(&text, "%s", options->net);
    } else {
        car_text_format(&text, "%s %lld", cell ? car_cell_name(cell) : options->cell,
                        (long long)options->hidden);
        if (options->layers > 1)
            car_text_format(&text, " x%lld", (long long)options->layers);
        if (options->dropout > 0)
            car_text_format(&text, " dropout %.6g", options->dropout);
        car_text_format(&text, " | %s", options->head);
        add_levels(options, &text);
        car_text_format(&text, " last");
    }
    const car_cell *cells[] = {cell};
    car_status status = text.failed
                            ? car_fail(error, CAR_MEMORY, "no memory for the net's text")
                            : car_net_parse(text.data, cells, cell ? 1 : 0, NULL, net, error);
    car_text_free(&text);
    car_cell_free(cell);
    if (status == CAR_OK && (status = car_forecast_check_net(*net, error)) != CAR_OK) {
        car_net_free(*net);
        *net = NULL;
    }
    return status;
}
