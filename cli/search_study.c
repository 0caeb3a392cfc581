/*
 * search_study.c: `carousel search start`, `work`: studies begun, and worked on.
 *
 * In:  a study (FILE.db or postgres://...), tasks and settings; signals. Out: the study in its database; what each trial came to
 *      on stderr.
 */
#include "report.h"
#include "search_cli.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

/* ---- What the sub-verbs share ------------------------------------------------------------------------- */

cli_option cli_search_name(const char **name) {
    *name = "search";
    return (cli_option){.name = "name",
                        .kind = CLI_TEXT,
                        .value = name,
                        .argument = "NAME",
                        .help = "of the study; a database may hold many"};
}

cli_option cli_search_json(bool *json) {
    return (cli_option){
        .name = "json", .kind = CLI_FLAG, .transient = true, .value = json, .help = "as JSON"};
}

car_status cli_search_open(const char *place, const char *name, car_store **store, car_study *study,
                           car_error *error) {
    CAR_TRY(car_store_open(place, false, NULL, store, error));
    car_status status = car_study_open(*store, name, study, error);
    if (status != CAR_OK)
        car_store_close(*store);
    return status;
}

/* ---- start -------------------------------------------------------------------------------------------- */

typedef struct start_call {
    cli_search_options options;
    const char *name;
    cli_list cells;
    car_cell *cell[CAR_STUDY_SEEDS];
    int cell_count;
} start_call;

static car_status load_seeds(start_call *call, car_error *error) {
    static const char *const first[] = {"gru-v1", "lstm"};
    int given = call->cells.count;
    if (given + 2 > CAR_STUDY_SEEDS)
        return car_fail(error, CAR_USAGE, "--cell: more than %d cells", CAR_STUDY_SEEDS - 2);
    for (int i = 0; i < given + 2; i++) {
        const char *name = i < 2 ? first[i] : call->cells.items[i - 2];
        CAR_TRY(cli_cell_load(name, &call->cell[call->cell_count], error));
        call->cell_count++;
    }
    return CAR_OK;
}

/* That a task's file is missing is better known now. */
static car_status try_tasks(const car_search_settings *settings, car_error *error) {
    car_trial_tasks tasks;
    CAR_TRY(car_trial_open(settings, &tasks, error));
    car_trial_close(&tasks);
    return CAR_OK;
}

static car_status start_study(start_call *call, const char *place, car_error *error) {
    car_store *store;
    CAR_TRY(cli_search_options_take(&call->options, error));
    CAR_TRY(load_seeds(call, error));
    CAR_TRY(car_study_check_cells((const car_cell *const *)call->cell, call->cell_count, error));
    CAR_TRY(try_tasks(&call->options.settings, error));
    CAR_TRY(car_store_open(place, true, NULL, &store, error));
    car_status status =
        car_study_start(store, call->name, &call->options.settings,
                        (const car_cell *const *)call->cell, call->cell_count, error);
    car_store_close(store);
    return status;
}

static const char task_notes[] =
    "Tasks: arithmetic[@DIGITS], xml, words:FILE, music:FILE (a single file is cut\n"
    "80:10:10; or give TRAIN,CHECK,TEST), or a task of probe as in adding@50.\n";

int cli_search_start(int argc, char **argv) {
    start_call call = {0};
    cli_search_options *options = &call.options;
    cli_search_options_fill(options, true);
    options->options[options->count++] =
        (cli_option){.name = "cell",
                     .kind = CLI_LIST,
                     .value = &call.cells,
                     .argument = "CELL",
                     .help = "the list starts with it too; may be given many times",
                     .default_text = "gru-v1 and lstm alone"};
    options->options[options->count++] = cli_search_name(&call.name);
    car_text notes;
    car_text_start(&notes, NULL);
    car_text_format(&notes,
                    "%sSTUDY is FILE.db (SQLite, a local disk) or postgres://HOST/DATABASE.\n"
                    "Files of tasks are read by the workers too, by the same names.\n",
                    task_notes);
    const cli_verb verb = {.name = "search start",
                           .summary = "begin a study",
                           .usage = "--task TASK [options] STUDY",
                           .examples =
                               "carousel search start a.db --task arithmetic@3 --task xml\n"
                               "carousel search start postgres://host/db --name first --task xml\n",
                           .notes = notes.failed ? NULL : notes.data,
                           .options = options->options,
                           .option_count = options->count,
                           .least_operands = 1,
                           .most_operands = 1};
    cli_arguments arguments;
    car_error error = {0};
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code == CLI_GO_ON) {
        const char *place = arguments.operands[0];
        code = start_study(&call, place, &error) == CAR_OK ? 0 : cli_fail(&error);
        if (code == 0)
            cli_note("study %s is there; carousel search work %s works on it", call.name, place);
        for (int i = 0; i < call.cell_count; i++)
            car_cell_free(call.cell[i]);
        cli_arguments_free(&arguments);
    }
    car_text_free(&notes);
    return code;
}

/* ---- work --------------------------------------------------------------------------------------------- */

typedef struct work_call {
    const char *name;
    double lease, patience;
    int64_t trials, done;
    bool quiet;
} work_call;

static void tell_ended(void *context, const car_claim *claim, const car_trial_outcome *outcome,
                       bool counted) {
    work_call *call = context;
    car_text text;
    call->done += counted;
    if (call->quiet)
        return;
    car_text_start(&text, NULL);
    car_text_format(&text, "trial %lld, %s: ", (long long)claim->number, claim->kind);
    for (int i = 0; i < outcome->count; i++) {
        char label[48];
        car_task_label(outcome->results[i].task, label, sizeof label);
        car_text_format(&text, "%s%s %.1f %%", i ? ", " : "", label,
                        100 * outcome->results[i].accuracy);
    }
    car_text_format(&text, " (%.1f s)%s%s%s", outcome->seconds, outcome->message[0] ? " " : "",
                    outcome->message, counted ? "" : "; another had it by now, not counted");
    if (!text.failed)
        cli_note("%s", text.data);
    car_text_free(&text);
}

static void tell_away(void *context, const char *message) {
    (void)context;
    cli_note("the database is away; waiting for it (%s)", message);
}

/* A server that cannot be reached is waited for, as it is later on. */
static car_status open_patiently(const work_call *call, const char *place, car_store **store,
                                 car_study *study, car_error *error) {
    double begun = car_seconds();
    bool told = false;
    for (;;) {
        car_status status = cli_search_open(place, call->name, store, study, error);
        bool over = call->patience > 0 && car_seconds() - begun > call->patience;
        if (status != CAR_IO || !car_store_is_served(place) || over || *cli_signal() != 0)
            return status;
        if (!told)
            tell_away(NULL, error->message);
        told = true;
        usleep(500000);
    }
}

static int work(work_call *call, const char *place) {
    car_store *store;
    car_study study;
    car_error error = {0};
    cli_signals_catch();
    car_status status = open_patiently(call, place, &store, &study, &error);
    if (status != CAR_OK)
        return cli_signal_code(cli_fail(&error));
    const car_work_options options = {.lease = call->lease,
                                      .trials = call->trials,
                                      .patience = call->patience,
                                      .stop = cli_signal(),
                                      .context = call,
                                      .ended = tell_ended,
                                      .away = tell_away};
    status = car_work(&study, &options, &error);
    car_study_close(&study);
    car_store_close(store);
    if (status == CAR_OK && !call->quiet)
        cli_note("%lld trials done by this worker", (long long)call->done);
    return cli_signal_code(status == CAR_OK ? 0 : cli_fail(&error));
}

int cli_search_work(int argc, char **argv) {
    work_call call = {.lease = 60};
    cli_option options[] = {
        cli_search_name(&call.name),
        {.name = "trials",
         .kind = CLI_INT,
         .value = &call.trials,
         .maximum = 1e9,
         .argument = "N",
         .help = "trials of this worker",
         .default_text = "until the study ends"},
        {.name = "lease",
         .kind = CLI_DOUBLE,
         .value = &call.lease,
         .minimum = 0.5,
         .maximum = 86400,
         .argument = "SECONDS",
         .help = "silence after which a trial is another worker's"},
        {.name = "patience",
         .kind = CLI_DOUBLE,
         .value = &call.patience,
         .maximum = 1e9,
         .argument = "SECONDS",
         .help = "how long to wait for a database that is away",
         .default_text = "for ever"},
        {.name = "quiet", .kind = CLI_FLAG, .value = &call.quiet, .help = "no line a trial"},
    };
    const cli_verb verb = {
        .name = "search work",
        .summary = "work on a study until it ends; start as many as you like",
        .usage = "[options] STUDY",
        .examples = "carousel search work a.db\n"
                    "carousel search work --name first postgres://host/db\n",
        .notes = "SIGTERM and Ctrl-C give the trial back. After kill -9 it is another's as soon\n"
                 "as its process is seen to be dead or its lease has run out; after three tries\n"
                 "it is given up. Every trial counts once. With one worker a study repeats\n"
                 "bit for bit. A worker uses one thread.\n",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least_operands = 1,
        .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code == CLI_GO_ON) {
        code = work(&call, arguments.operands[0]);
        cli_arguments_free(&arguments);
    }
    return code;
}
