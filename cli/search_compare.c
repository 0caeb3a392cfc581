/*
 * search_compare.c: `carousel search compare CELL...`: cells side by side on the tasks of a search.
 *
 * In:  cells, tasks, settings, seeds. Out: for each cell and task the test result of the setting that was best on the check
 *      set, as mean and 95 % interval over the seeds; a table, or JSON with every seed.
 */
#include "report.h"
#include "search_cli.h"
#include <math.h>
#include <string.h>

enum { MOST_CELLS = 64, MOST_SEEDS = 100, COLUMN = 18 };

typedef struct compared {
    double accuracy, nats, check, updates, seconds;
    int units, diverged;
    car_setting_values setting;
} compared;

typedef struct compare_call {
    cli_search_options options;
    int64_t seeds;
    bool json;
    int cell_count;
    car_cell *cells[MOST_CELLS];
    car_setting_values settings[CAR_SEARCH_SETTINGS];
    compared *results; /* [cells][tasks][seeds] */
    cli_progress line;
} compare_call;

static compared *result_of(const compare_call *call, int cell, int task, int seed) {
    int tasks = call->options.settings.task_count;
    return &call->results[((size_t)cell * (size_t)tasks + (size_t)task) * (size_t)call->seeds +
                          (size_t)seed];
}

static bool not_interrupted(void *context) {
    (void)context;
    return *cli_signal() == 0;
}

/* ---- Running ------------------------------------------------------------------------------------------ */

static car_status compare_one(compare_call *call, car_task *task, int cell, int at, int seed,
                              bool *stopped, car_error *error) {
    const car_search_settings *settings = &call->options.settings;
    const car_run_tick tick = {NULL, not_interrupted};
    const car_evaluate_options options = {
        .run = {.optimizer = settings->optimizer,
                .weights = settings->weights,
                .updates = settings->updates,
                .seed = (uint64_t)(settings->seed + seed) * CAR_SEARCH_SETTINGS},
        .halving = settings->halving};
    compared *result = result_of(call, cell, at, seed);
    car_evaluation evaluation;
    car_task_score score;
    double begun = car_seconds();
    CAR_TRY(car_evaluate(task, call->cells[cell], call->settings, (int)settings->settings, &options,
                         &tick, NULL, stopped, &evaluation, error));
    if (*stopped)
        return CAR_OK;
    car_status status =
        car_run_judge(evaluation.run, CAR_PROBE_TEST, &tick, stopped, &score, error);
    *result = (compared){.accuracy = car_task_accuracy(&score),
                         .nats = car_task_nats(&score),
                         .check = car_task_accuracy(&evaluation.check),
                         .updates = (double)evaluation.updates,
                         .seconds = car_seconds() - begun,
                         .units = evaluation.units,
                         .diverged = evaluation.diverged,
                         .setting = call->settings[evaluation.best]};
    car_run_free(evaluation.run);
    return status;
}

static void tell(compare_call *call, int done, int task, int cell) {
    const car_search_settings *settings = &call->options.settings;
    char line[256];
    if (call->json || !cli_progress_due(&call->line))
        return;
    snprintf(line, sizeof line, "%d of %d done | %.60s on %.60s", done,
             settings->task_count * call->cell_count * (int)call->seeds,
             car_cell_name(call->cells[cell]), settings->tasks[task]);
    cli_progress_show(&call->line, line);
}

/* All cells and seeds on a task, seed by seed. */
static car_status compare_on(compare_call *call, int at, bool *stopped, car_error *error) {
    const car_search_settings *settings = &call->options.settings;
    for (int seed = 0; seed < call->seeds && !*stopped; seed++) {
        car_task_options options = car_search_task_options(settings);
        car_task *task;
        options.seed += (uint64_t)seed;
        CAR_TRY(car_task_open(settings->tasks[at], &options, NULL, &task, error));
        car_status status = CAR_OK;
        for (int cell = 0; cell < call->cell_count && !*stopped && status == CAR_OK; cell++) {
            tell(call, (at * (int)call->seeds + seed) * call->cell_count + cell, at, cell);
            status = compare_one(call, task, cell, at, seed, stopped, error);
        }
        car_task_free(task);
        CAR_TRY(status);
    }
    return CAR_OK;
}

static car_status compare_all(compare_call *call, bool *stopped, car_error *error) {
    const car_search_settings *settings = &call->options.settings;
    size_t count = (size_t)call->cell_count * (size_t)settings->task_count * (size_t)call->seeds;
    call->results = car_allocate(NULL, count, sizeof *call->results);
    if (!call->results)
        return car_fail(error, CAR_MEMORY, "search compare: out of memory");
    for (int i = 0; i < settings->settings; i++)
        call->settings[i] = car_setting_draw((uint64_t)settings->seed, (uint64_t)i,
                                             settings->optimizer, (int)settings->layers);
    cli_progress_start(&call->line);
    for (int i = 0; i < settings->task_count && !*stopped; i++)
        CAR_TRY(compare_on(call, i, stopped, error));
    cli_progress_end(&call->line);
    return CAR_OK;
}

/* ---- Showing ------------------------------------------------------------------------------------------ */

static double value_of(const compared *result, bool nats) {
    return nats ? result->nats : 100 * result->accuracy;
}

/* "12.34 +- 0.56" */
static void write_mean(const compare_call *call, int cell, int task, bool nats, char *out,
                       size_t size) {
    double values[MOST_SEEDS], mean, half;
    for (int seed = 0; seed < call->seeds; seed++)
        values[seed] = value_of(result_of(call, cell, task, seed), nats);
    car_mean_interval(values, (int)call->seeds, &mean, &half);
    int digits = nats ? 3 : 2;
    if (isnan(mean))
        snprintf(out, size, "-");
    else if (isnan(half))
        snprintf(out, size, "%.*f", digits, mean);
    else
        snprintf(out, size, "%.*f %s %.*f", digits, mean, car_terminal_utf8() ? "\xc2\xb1" : "+-",
                 digits, half);
}

/* printf counts bytes, a terminal characters. */
static void add_column(car_text *text, const char *cell, int width) {
    int characters = 0;
    for (const char *at = cell; *at; at++)
        characters += ((unsigned char)*at & 0xc0) != 0x80;
    car_text_format(text, "%*s%s", characters < width ? width - characters : 1, "", cell);
}

static void write_table(const compare_call *call, int task, car_text *text) {
    const car_search_settings *settings = &call->options.settings;
    car_text_format(text, "%s%s\n%-16s", task ? "\n" : "", settings->tasks[task], "cell");
    static const char *const heads[] = {"accuracy %", "nats", "units", "updates", "seconds"};
    for (int i = 0; i < 5; i++)
        add_column(text, heads[i], i < 2 ? COLUMN : 9);
    car_text_format(text, "\n");
    for (int cell = 0; cell < call->cell_count; cell++) {
        char room[64];
        double updates = 0, seconds = 0;
        for (int seed = 0; seed < call->seeds; seed++) {
            updates += result_of(call, cell, task, seed)->updates;
            seconds += result_of(call, cell, task, seed)->seconds;
        }
        car_text_format(text, "%-16.16s", car_cell_name(call->cells[cell]));
        for (int nats = 0; nats < 2; nats++) {
            write_mean(call, cell, task, nats, room, sizeof room);
            add_column(text, room, COLUMN);
        }
        car_text_format(text, "%9d%9.0f%9.1f\n", result_of(call, cell, task, 0)->units, updates,
                        seconds);
    }
}

static void write_json(const compare_call *call, car_text *text) {
    const car_search_settings *settings = &call->options.settings;
    car_text_format(text, "{\"settings\":");
    car_search_settings_to_json(settings, text);
    car_text_format(text, ",\"results\":[");
    for (int cell = 0; cell < call->cell_count; cell++) {
        for (int task = 0; task < settings->task_count; task++) {
            for (int seed = 0; seed < call->seeds; seed++) {
                const compared *result = result_of(call, cell, task, seed);
                car_text_format(text,
                                "%s\n{\"cell\":\"%s\",\"task\":", cell + task + seed ? "," : "",
                                car_cell_name(call->cells[cell]));
                car_text_json_string(text, settings->tasks[task], strlen(settings->tasks[task]));
                car_text_format(text,
                                ",\"seed\":%lld,\"accuracy\":", (long long)settings->seed + seed);
                car_text_json_number(text, result->accuracy);
                car_text_format(text, ",\"nats\":");
                car_text_json_number(text, result->nats);
                car_text_format(text, ",\"check_accuracy\":");
                car_text_json_number(text, result->check);
                car_text_format(text,
                                ",\"units\":%d,\"diverged\":%d,\"updates\":%.0f,\"seconds\":%.3f,"
                                "\"setting\":",
                                result->units, result->diverged, result->updates, result->seconds);
                car_setting_to_json(&result->setting, text);
                car_text_format(text, "}");
            }
        }
    }
    car_text_format(text, "\n]}\n");
}

static int show(const compare_call *call) {
    car_text text;
    car_text_start(&text, NULL);
    if (call->json)
        write_json(call, &text);
    for (int task = 0; task < call->options.settings.task_count && !call->json; task++)
        write_table(call, task, &text);
    return cli_print(&text);
}

/* ---- The verb ----------------------------------------------------------------------------------------- */

static car_status load_cells(compare_call *call, const cli_arguments *arguments, car_error *error) {
    if (arguments->count > MOST_CELLS)
        return car_fail(error, CAR_USAGE, "search compare: more than %d cells", MOST_CELLS);
    for (int i = 0; i < arguments->count; i++) {
        CAR_TRY(cli_cell_load(arguments->operands[i], &call->cells[i], error));
        call->cell_count++;
    }
    return CAR_OK;
}

static int compare(compare_call *call, const cli_arguments *arguments) {
    car_error error = {0};
    bool stopped = false;
    car_status status = cli_search_options_take(&call->options, &error);
    if (status == CAR_OK)
        status = load_cells(call, arguments, &error);
    cli_signals_catch();
    if (status == CAR_OK)
        status = compare_all(call, &stopped, &error);
    int code = status != CAR_OK ? cli_fail(&error) : stopped ? 0 : show(call);
    for (int i = 0; i < call->cell_count; i++)
        car_cell_free(call->cells[i]);
    car_release(NULL, call->results);
    return stopped ? cli_signal_code(code) : code;
}

int cli_search_compare(int argc, char **argv) {
    compare_call call = {.seeds = 3};
    cli_search_options *options = &call.options;
    cli_search_options_fill(options, false);
    options->options[options->count++] = (cli_option){.name = "seeds",
                                                      .kind = CLI_INT,
                                                      .value = &call.seeds,
                                                      .minimum = 1,
                                                      .maximum = MOST_SEEDS,
                                                      .argument = "N",
                                                      .help = "runs of each, --seed and up"};
    options->options[options->count++] = (cli_option){.name = "json",
                                                      .kind = CLI_FLAG,
                                                      .transient = true,
                                                      .value = &call.json,
                                                      .help = "every run as JSON"};
    car_text notes;
    car_text_start(&notes, NULL);
    car_text_format(
        &notes, "Tasks: arithmetic[@DIGITS], xml, words:FILE, music:FILE (a single file is cut\n"
                "80:10:10; or give TRAIN,CHECK,TEST), or a task of probe as in adding@50.\n"
                "The setting that is best on the check set is judged on the test set.\n"
                "docs/search.md says what the tasks are.\n");
    const cli_verb verb = {
        .name = "search compare",
        .summary = "cells side by side on the tasks of a search",
        .usage = "--task TASK [options] CELL...",
        .examples = "carousel search compare lstm gru-v1 rnn --task xml --task arithmetic@3\n"
                    "carousel search compare gru mut1 my.cell --task words:book.txt --settings 5\n",
        .notes = notes.failed ? NULL : notes.data,
        .options = options->options,
        .option_count = options->count,
        .least_operands = 1,
        .most_operands = -1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code == CLI_GO_ON) {
        code = compare(&call, &arguments);
        cli_arguments_free(&arguments);
    }
    car_text_free(&notes);
    return code;
}
