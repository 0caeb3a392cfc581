/*
 * watch.c: `carousel watch MODEL`: an answer to every row as it comes.
 *
 * In:  a model, rows on standard input. Out: a line of JSON a row, flushed at once; at the end how fast that was.
 *
 * The time of a row runs from when its line has been read to when its answer has been flushed. Times are counted in
 * classes of 2 %, so that memory does not grow with the rows.
 */
#include "watch.h"
#include "cli.h"
#include "watch_rows.h"
#include <math.h>
#include <string.h>

enum { TIME_CLASSES = 2048, CLASSES_AN_OCTAVE = 32 };

typedef struct watch_call {
    const char *id, *value, *save, *load;
    bool all, json;
    car_classifier classifier; /* or */
    car_forecast forecast;
    car_watch *watch;
    cli_rows *rows;
    float *probabilities; /* [classes] */
    float *values;        /* [channels] */
    double threshold;     /* of the anomaly score */
    car_text line;
    int64_t row_count;
    double first, last, busy; /* seconds: of the clock; spent on rows */
    int64_t times[TIME_CLASSES];
} watch_call;

/* ---- times -------------------------------------------------------------------------------------------- */

static void count_time(watch_call *call, double seconds) {
    int class = (int)(CLASSES_AN_OCTAVE * log2(fmax(seconds * 1e9, 1)));
    call->times[class < TIME_CLASSES ? class : TIME_CLASSES - 1]++;
    call->busy += seconds;
    call->row_count++;
}

/* Microseconds that the share `share` of the rows took at most. */
static double time_of(const watch_call *call, double share) {
    double wanted = share * (double)call->row_count;
    int64_t seen = 0;
    for (int i = 0; i < TIME_CLASSES; i++) {
        seen += call->times[i];
        if (seen > 0 && (double)seen >= wanted)
            return exp2((i + 1.0) / CLASSES_AN_OCTAVE) / 1000;
    }
    return NAN;
}

static void add_summary(const watch_call *call, car_text *text) {
    double elapsed = call->last - call->first;
    const char *const names[] = {"seconds", "rows_per_s", "latency_p50_us", "latency_p99_us"};
    const double values[] = {elapsed, elapsed > 0 ? (double)call->row_count / elapsed : NAN,
                             time_of(call, 0.5), time_of(call, 0.99)};
    if (!call->json && call->row_count == 0) {
        car_text_format(text, "no rows");
        return;
    }
    if (!call->json) {
        car_text_format(
            text, "%lld rows of %d streams, %.0f rows/s; a row took %.0f us (p50), %.0f us (p99)",
            (long long)call->row_count, car_watch_stream_count(call->watch), values[1], values[2],
            values[3]);
        return;
    }
    car_text_format(text, "{\"rows\": %lld, \"streams\": %d", (long long)call->row_count,
                    car_watch_stream_count(call->watch));
    for (int i = 0; i < 4; i++) {
        car_text_format(text, ", \"%s\": ", names[i]);
        car_text_json_number(text, values[i]);
    }
    car_text_format(text, "}\n");
}

/* ---- rows --------------------------------------------------------------------------------------------- */

static void add_answer(watch_call *call, const car_watch_stream *stream) {
    const car_classifier *classifier = &call->classifier;
    int said = car_likeliest(call->probabilities, classifier->classes);
    car_text *line = &call->line;
    line->length = 0;
    car_text_format(line, "{");
    if (stream->id[0]) {
        car_text_format(line, "\"id\": ");
        car_text_json_string(line, stream->id, strlen(stream->id));
        car_text_format(line, ", ");
    }
    car_text_format(line, "\"step\": %lld, \"class\": ", (long long)stream->steps);
    car_text_json_string(line, classifier->class_names[said],
                         strlen(classifier->class_names[said]));
    car_text_format(line, ", \"probability\": %.6g", (double)call->probabilities[said]);
    for (int c = 0; call->all && c < classifier->classes; c++) {
        car_text_format(line, c ? ", " : ", \"probabilities\": {");
        car_text_json_string(line, classifier->class_names[c], strlen(classifier->class_names[c]));
        car_text_format(line, ": %.6g%s", (double)call->probabilities[c],
                        c == classifier->classes - 1 ? "}" : "");
    }
    car_text_format(line, "}\n");
}

static void add_list(car_text *line, const char *name, const double *numbers, size_t count,
                     size_t stride) {
    car_text_format(line, ", \"%s\": [", name);
    for (size_t i = 0; i < count; i++) {
        car_text_format(line, "%s", i ? ", " : "");
        cli_add_number(line, numbers[i * stride]);
    }
    car_text_format(line, "]");
}

/* What was expected of the value, and what is to come. */
static void add_forecast(watch_call *call, const car_watch_stream *stream, double value,
                         const car_watch_answer *answer) {
    const car_forecast_settings *settings = &call->forecast.settings;
    car_text *line = &call->line;
    size_t levels = (size_t)settings->level_count;
    line->length = 0;
    car_text_format(line, "{");
    if (stream->id[0]) {
        car_text_format(line, "\"id\": ");
        car_text_json_string(line, stream->id, strlen(stream->id));
        car_text_format(line, ", ");
    }
    car_text_format(line, "\"step\": %lld, \"value\": %.9g", (long long)stream->steps, value);
    if (answer->expected) {
        car_text_format(line, ", \"expected\": ");
        cli_add_number(line, answer->median);
        car_text_format(line, ", \"residual\": ");
        cli_add_number(line, answer->residual);
        car_text_format(line, ", \"score\": ");
        cli_add_number(line, answer->score);
        car_text_format(line, ", \"outside\": %s, \"anomaly\": %s",
                        answer->outside ? "true" : "false",
                        answer->score > call->threshold ? "true" : "false");
    }
    if (answer->ready)
        add_list(line, "forecast", answer->point, (size_t)settings->horizon, 1);
    for (size_t q = 0; answer->ready && q < levels; q++) {
        char name[32];
        snprintf(name, sizeof name, "q%g", settings->levels[q]);
        add_list(line, name, answer->quantiles + q, (size_t)settings->horizon, levels);
    }
    car_text_format(line, "}\n");
}

/* One row answered; *gone: nobody reads the answers any more. */
static car_status answer(watch_call *call, const cli_row *row, bool *gone, car_error *error) {
    car_watch_stream *stream;
    CAR_TRY(car_watch_find(call->watch, row->id, strlen(row->id), &stream, error));
    if (row->restart && row->id[0] == '\0')
        car_watch_restart(call->watch, stream);
    if (call->forecast.count > 0) {
        car_watch_answer answer;
        double value = row->values[0];
        CAR_TRY(car_watch_value(call->watch, stream, value, &answer, error));
        add_forecast(call, stream, value, &answer);
    } else {
        for (int c = 0; c < call->classifier.channels; c++)
            call->values[c] = (float)row->values[c];
        CAR_TRY(car_watch_step(call->watch, stream, call->values, call->probabilities, error));
        add_answer(call, stream);
    }
    if (call->line.failed)
        return car_fail(error, CAR_MEMORY, "no memory for an answer");
    fwrite(call->line.data, 1, call->line.length, stdout);
    *gone = !cli_flush();
    return CAR_OK;
}

static car_status answer_rows(watch_call *call, car_error *error) {
    bool gone = false;
    while (!gone) {
        cli_row row;
        CAR_TRY(cli_rows_next(call->rows, &row, error));
        if (row.end)
            return CAR_OK;
        double begin = car_seconds();
        if (call->row_count == 0)
            call->first = begin;
        CAR_TRY(answer(call, &row, &gone, error));
        call->last = car_seconds();
        count_time(call, call->last - begin);
    }
    return CAR_OK;
}

static car_status prepare_classifier(watch_call *call, car_model *model, const char *path,
                                     cli_rows_options *options, car_error *error) {
    car_classifier *classifier = &call->classifier;
    CAR_TRY(car_classifier_make(model, path, NULL, classifier, error));
    (void)car_model_compile_native(classifier->model, NULL);
    call->probabilities = car_allocate(NULL, (size_t)classifier->classes, sizeof(float));
    call->values = car_allocate(NULL, (size_t)classifier->channels + 1, sizeof(float));
    if (!call->probabilities || !call->values)
        return car_fail(error, CAR_MEMORY, "no memory to watch");
    options->channels = classifier->channels;
    options->names = classifier->channel_names;
    return car_watch_create(classifier, NULL, &call->watch, error);
}

static car_status prepare_forecast(watch_call *call, const char *path, cli_rows_options *options,
                                   car_error *error) {
    car_arena *arena = car_arena_create(NULL);
    if (!arena)
        return car_fail(error, CAR_MEMORY, "no memory to watch");
    car_status status = car_forecast_load(path, &call->forecast, arena, NULL, error);
    car_arena_free(arena);
    if (status != CAR_OK)
        return status;
    (void)car_model_compile_native(call->forecast.models[0], NULL);
    options->channels = 1;
    options->names = &call->value;
    return car_watch_create_forecast(&call->forecast, NULL, &call->watch, error);
}

/* What a model is for stands in its metadata. */
static car_status prepare(watch_call *call, const char *path, car_error *error) {
    car_model *model;
    cli_rows_options options = {.id = call->id};
    CAR_TRY(car_model_load(path, NULL, &model, error));
    if (car_model_metadata(model, "classify.model")) {
        CAR_TRY(prepare_classifier(call, model, path, &options, error));
    } else {
        bool forecast = car_model_metadata(model, "forecast.settings") != NULL;
        car_model_free(model);
        if (!forecast)
            return car_fail(error, CAR_MODEL,
                            "%.200s: neither a classifier nor a forecasting model; make one with "
                            "`carousel classify train` or `carousel forecast train`",
                            path);
        CAR_TRY(prepare_forecast(call, path, &options, error));
    }
    if (call->load)
        CAR_TRY(car_watch_load(call->watch, call->load, error));
    if (call->save)
        CAR_TRY(car_check_output(call->save, NULL, error));
    return cli_rows_open(&options, &call->rows, error);
}

/* Whatever ended it, the state after the last row that was answered is saved. */
static int watch_rows(watch_call *call, const char *path) {
    car_error error = {0}, saving = {0};
    car_status status = prepare(call, path, &error);
    if (status != CAR_OK)
        return cli_fail(&error);
    cli_signals_catch();
    status = answer_rows(call, &error);
    car_status saved = call->save ? car_watch_save(call->watch, call->save, &saving) : CAR_OK;
    car_text text;
    car_text_start(&text, NULL);
    add_summary(call, &text);
    if (!call->json && !text.failed)
        cli_note("%s", text.data);
    int code = 0;
    if (call->json && status == CAR_OK)
        code = cli_print(&text);
    else
        car_text_free(&text);
    if (status != CAR_OK)
        return cli_fail(&error);
    return saved != CAR_OK ? cli_fail(&saving) : cli_signal_code(code);
}

int cli_watch(int argc, char **argv) {
    watch_call call = {.value = "y", .threshold = 3};
    cli_option options[] = {{.name = "id",
                             .kind = CLI_TEXT,
                             .value = &call.id,
                             .argument = "NAME",
                             .help = "column or key that tells streams apart",
                             .default_text = "id, unique_id or sequence if there"},
                            {.name = "value",
                             .kind = CLI_TEXT,
                             .value = &call.value,
                             .argument = "NAME",
                             .help = "column or key of a forecasting model's values"},
                            {.name = "threshold",
                             .kind = CLI_DOUBLE,
                             .value = &call.threshold,
                             .minimum = 0,
                             .maximum = 1e9,
                             .argument = "X",
                             .help = "an anomaly score above it is an anomaly"},
                            {.name = "probabilities",
                             .kind = CLI_FLAG,
                             .value = &call.all,
                             .help = "those of all classes"},
                            {.name = "load-state",
                             .kind = CLI_TEXT,
                             .value = &call.load,
                             .argument = "FILE",
                             .help = "go on where an earlier watch stopped",
                             .default_text = "none"},
                            {.name = "save-state",
                             .kind = CLI_TEXT,
                             .value = &call.save,
                             .argument = "FILE",
                             .help = "keep the streams' states at the end, whatever ends it",
                             .default_text = "none"},
                            {.name = "json",
                             .kind = CLI_FLAG,
                             .value = &call.json,
                             .help = "how fast it was as a last line of JSON, not on stderr"}};
    const cli_verb verb = {
        .name = "watch",
        .summary = "an answer to every row of numbers as it comes",
        .usage = "[options] MODEL < ROWS",
        .examples = "sensor | carousel watch m.safetensors\n"
                    "carousel watch m.safetensors --save-state now.state < rows.csv\n"
                    "carousel watch m.safetensors --load-state now.state < more.csv\n",
        .notes = "Rows are CSV (with a header: columns by name; without: in the order of the\n"
                 "training) or JSON lines (objects by name, or arrays). Each is answered at once\n"
                 "by a line of JSON. A classifier: the class of the row, or of the sequence so\n"
                 "far. A forecasting model: the values to come with their quantiles; and of this\n"
                 "value what was expected, the residual, whether it was outside of the interval\n"
                 "between the outer quantiles, and the anomaly score: the residual in halves of\n"
                 "that interval. Rows of the same id are one sequence; without ids an empty line\n"
                 "begins a new one.\n",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least_operands = 1,
        .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_text_start(&call.line, NULL);
    code = watch_rows(&call, arguments.operands[0]);
    car_watch_free(call.watch);
    car_classifier_free(&call.classifier);
    car_forecast_free(&call.forecast);
    cli_rows_free(call.rows);
    car_release(NULL, call.probabilities);
    car_release(NULL, call.values);
    car_text_free(&call.line);
    cli_arguments_free(&arguments);
    return code;
}
