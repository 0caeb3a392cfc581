/*
 * probe.c: `carousel probe TASK --cell A,B,C`: which cell learns a long lag, and how far.
 *
 * In: a task, cells, distances, seeds. Out: a table with curves, JSON, an HTML report; a folder to go on from.
 */
#include "probe_show.h"
#include "report.h"
#include <limits.h>
#include <string.h>
#include <unistd.h>

enum { MOST_LIST = 64, MOST_DISTANCE = 1 << 20 };

typedef struct probe_call {
    car_probe_settings settings;
    const char *cells, *distances, *images, *labels, *test_images, *test_labels, *output, *report;
    int64_t seeds, updates, threads;
    double minutes, checkpoint_seconds;
    bool json;
    car_cell *cell[MOST_LIST];
    int distance[MOST_LIST];
    int cell_count, distance_count;
    cli_progress line;
    double started;
} probe_call;

/* ---- Lists -------------------------------------------------------------------------------------------- */

/* The parts of a,b,c, one after the other; NULL at the end. Empty parts are parts. */
static const char *next_part(const char **rest, char *part, size_t size, size_t *length) {
    if (!*rest)
        return NULL;
    *length = strcspn(*rest, ",");
    snprintf(part, size, "%.*s", (int)(*length < size ? *length : size - 1), *rest);
    *rest = (*rest)[*length] ? *rest + *length + 1 : NULL;
    return part;
}

static car_status read_cells(probe_call *call, car_error *error) {
    char name[4096];
    size_t length;
    const char *rest = call->cells;
    while (next_part(&rest, name, sizeof name, &length)) {
        if (call->cell_count == MOST_LIST)
            return car_fail(error, CAR_USAGE, "--cell: more than %d cells", MOST_LIST);
        if (length == 0 || length >= sizeof name)
            return car_fail(error, CAR_USAGE, "--cell %.100s: a name is missing or too long",
                            call->cells);
        CAR_TRY(cli_cell_load(name, &call->cell[call->cell_count], error));
        call->cell_count++;
    }
    return CAR_OK;
}

static car_status read_distances(probe_call *call, car_error *error) {
    char number[32];
    size_t length;
    const char *rest = call->distances;
    while (next_part(&rest, number, sizeof number, &length)) {
        int64_t value;
        if (call->distance_count == MOST_LIST)
            return car_fail(error, CAR_USAGE, "--distance: more than %d numbers", MOST_LIST);
        if (length >= sizeof number || !cli_read_int(number, &value) || value < 0 ||
            value > MOST_DISTANCE)
            return car_fail(error, CAR_USAGE,
                            "--distance %.100s: whole numbers apart by commas, as in 10,20,50",
                            call->distances);
        call->distance[call->distance_count++] = (int)value;
    }
    return CAR_OK;
}

/* ---- Progress ----------------------------------------------------------------------------------------- */

static void describe(car_text *text, const car_probe_progress *progress) {
    car_text_format(text, "%s", progress->cell);
    if (progress->arm->distance > 0)
        car_text_format(text, " at %d", progress->arm->distance);
    car_text_format(text, ", seed %llu: ", (unsigned long long)progress->seed);
}

static void tell_ended(probe_call *call, const car_probe_progress *progress) {
    const car_probe_record *record = progress->record;
    car_text text;
    car_text_start(&text, NULL);
    describe(&text, progress);
    car_text_format(&text, "%s after %lld updates, ",
                    record->solved     ? "solved"
                    : record->diverged ? "diverged"
                                       : "not solved",
                    (long long)record->updates);
    car_draw_duration(&text, record->seconds);
    car_text_format(&text, "; %.2f %% right on the test", 100 * record->accuracy);
    if (!text.failed) {
        cli_progress_end(&call->line);
        cli_note("%s", text.data);
    }
    car_text_free(&text);
}

static void tell_progress(void *context, const car_probe_progress *progress) {
    probe_call *call = context;
    if (call->json)
        return;
    if (progress->ended)
        tell_ended(call, progress);
    if (!cli_progress_due(&call->line))
        return;
    const car_probe_record *record = progress->record;
    double seconds = car_seconds() - call->started;
    double rate = seconds > 0 ? (double)progress->updates_done / seconds : 0;
    car_text text;
    car_text_start(&text, NULL);
    car_text_format(&text, "%d of %d runs done, %d solved | ", progress->done, progress->runs,
                    progress->solved);
    describe(&text, progress);
    car_text_format(&text, "%lld of %lld updates, loss %.4g", (long long)record->updates,
                    (long long)progress->updates, record->loss);
    if (record->check_accuracy >= 0)
        car_text_format(&text, ", %.1f %% right", 100 * record->check_accuracy);
    car_text_format(&text, " | %.0f updates/s", rate);
    if (rate > 0) {
        car_text_format(&text, ", at most ");
        car_draw_duration(&text, (double)progress->updates_left / rate);
        car_text_format(&text, " left");
    }
    if (!text.failed)
        cli_progress_show(&call->line, text.data);
    car_text_free(&text);
}

static void tell_measured(void *context, const car_probe_study *study) {
    probe_call *call = context;
    if (!call->json)
        cli_note("%g minutes are %lld updates a run", study->minutes, (long long)study->updates);
    call->started = car_seconds();
}

/* ---- The verb ----------------------------------------------------------------------------------------- */

static car_status find_task(const char *name, const car_probe_task **task, car_error *error) {
    const char *names[64];
    int count = car_probe_task_count();
    *task = car_probe_task_find(name);
    if (*task)
        return CAR_OK;
    for (int i = 0; i < count && i < 64; i++)
        names[i] = car_probe_task_at(i)->name;
    const char *near = cli_nearest(name, names, count < 64 ? count : 64);
    if (near)
        return car_fail(error, CAR_USAGE, "probe: no task %.60s; did you mean %s?", name, near);
    return car_fail(error, CAR_USAGE, "probe: no task %.60s; carousel probe --help lists them",
                    name);
}

/* idx files have labels of their own, in a CSV file they stand behind the pixels. */
static car_status check_labels(const char *images_option, const char *images,
                               const char *labels_option, const char *labels, car_error *error) {
    bool csv = car_images_are_csv(images);
    if (csv && labels)
        return car_fail(error, CAR_USAGE,
                        "--%s goes with idx files; in %.200s the class stands behind the pixels",
                        labels_option, images);
    if (!csv && !labels)
        return car_fail(error, CAR_USAGE, "--%s and --%s go together (idx files, as MNIST's)",
                        images_option, labels_option);
    return CAR_OK;
}

static car_status read_digits(const probe_call *call, const car_probe_task *task,
                              car_probe_digits *digits, car_error *error) {
    bool given = call->images || call->labels || call->test_images || call->test_labels;
    if (!task->digits)
        return given ? car_fail(error, CAR_USAGE,
                                "%s reads no images; take --images and its like away", task->name)
                     : CAR_OK;
    if (!call->images)
        return car_fail(
            error, CAR_USAGE,
            "%s reads images: give --images FILE --labels FILE (idx files, as MNIST's), "
            "or --images FILE.csv",
            task->name);
    CAR_TRY(check_labels("images", call->images, "labels", call->labels, error));
    if (call->test_images)
        CAR_TRY(check_labels("test-images", call->test_images, "test-labels", call->test_labels,
                             error));
    else if (call->test_labels)
        return car_fail(error, CAR_USAGE, "%s: --test-images and --test-labels go together",
                        task->name);
    return car_probe_digits_read(call->images, call->labels, call->test_images, call->test_labels,
                                 NULL, digits, error);
}

/* That a report cannot be written is better known now than after an hour. */
static car_status check_report(const char *path, car_error *error) {
    car_file_writer *writer = NULL;
    if (!path)
        return CAR_OK;
    CAR_TRY(car_file_writer_open(path, NULL, &writer, error));
    car_file_writer_abandon(writer);
    return CAR_OK;
}

static car_status make_study(probe_call *call, const char *name, car_probe_digits *digits,
                             car_probe_study **study, car_error *error) {
    const car_probe_task *task;
    CAR_TRY(find_task(name, &task, error));
    CAR_TRY(read_cells(call, error));
    CAR_TRY(read_distances(call, error));
    CAR_TRY(check_report(call->report, error));
    CAR_TRY(read_digits(call, task, digits, error));
    const car_probe_request request = {.task = task,
                                       .cells = (const car_cell *const *)call->cell,
                                       .distances = call->distances ? call->distance : NULL,
                                       .cell_count = call->cell_count,
                                       .distance_count = call->distance_count,
                                       .seeds = (int)call->seeds,
                                       .settings = call->settings,
                                       .minutes = call->minutes,
                                       .updates = call->updates,
                                       .digits = task->digits ? digits : NULL,
                                       .folder = call->output};
    return car_probe_study_begin(&request, NULL, study, error);
}

static int show(const probe_call *call, const car_probe_study *study) {
    car_text text;
    car_text_start(&text, NULL);
    if (call->json)
        car_probe_study_to_json(study, &text);
    else
        cli_probe_table(study, car_terminal_utf8(), car_terminal_color(STDOUT_FILENO),
                        car_terminal_width(STDOUT_FILENO), &text);
    return cli_print(&text);
}

static car_status run_study(probe_call *call, car_probe_study *study, bool *stopped,
                            car_error *error) {
    const car_probe_watch watch = {.context = call,
                                   .measured = tell_measured,
                                   .progress = tell_progress,
                                   .stop = cli_signal(),
                                   .threads = (int)call->threads,
                                   .checkpoint_seconds = call->checkpoint_seconds};
    cli_progress_start(&call->line);
    cli_signals_catch();
    call->started = car_seconds();
    car_status status = car_probe_study_run(study, &watch, stopped, error);
    cli_progress_end(&call->line);
    return status;
}

static void join_command(int argc, char **argv, car_text *text) {
    car_text_format(text, "carousel");
    for (int i = 0; i < argc; i++)
        car_text_format(text, strpbrk(argv[i], " '()*$;|") ? " \"%s\"" : " %s", argv[i]);
}

static int probe(probe_call *call, const char *task, int argc, char **argv) {
    car_error error = {0};
    car_probe_digits digits = {0};
    car_probe_study *study = NULL;
    bool stopped = false;
    car_status status = make_study(call, task, &digits, &study, &error);
    if (status == CAR_OK)
        status = run_study(call, study, &stopped, &error);
    int code = status == CAR_OK ? show(call, study) : cli_fail(&error);
    if (status == CAR_OK && call->report) {
        car_text command;
        car_text_start(&command, NULL);
        join_command(argc, argv, &command);
        status = cli_probe_report(study, command.failed ? "" : command.data, call->report, &error);
        code = status == CAR_OK ? code : cli_fail(&error);
        car_text_free(&command);
    }
    if (stopped && !call->json)
        cli_note(call->output ? "interrupted; the same command goes on"
                              : "interrupted; with -o FOLDER it could go on");
    car_probe_study_free(study);
    car_probe_digits_free(&digits);
    for (int i = 0; i < call->cell_count; i++)
        car_cell_free(call->cell[i]);
    return stopped ? cli_signal_code(code) : code;
}

/* The tasks and their defaults. */
static void list_tasks(car_text *text) {
    car_text_format(
        text, "Tasks (docs/probe.md): defaults of --distance --hidden --batch --rate --updates\n");
    for (int i = 0; i < car_probe_task_count(); i++) {
        const car_probe_task *task = car_probe_task_at(i);
        char distance[16] = "-";
        if (task->distance_name)
            snprintf(distance, sizeof distance, "%d", task->distance);
        car_text_format(text, "  %-15s %4s %3d %3d %-6g %6lld\n    %s\n", task->name, distance,
                        task->hidden, task->batch, task->rate, (long long)task->updates,
                        task->summary);
    }
    car_text_format(
        text,
        "\nA run ends when it is solved by its paper's criterion, or at its budget; then it is\n"
        "tested once on new sequences. Results depend on the seed alone, not on --threads.\n"
        "A longer --updates or more --seeds, cells and distances go on with what is in -o.\n");
}

int cli_probe(int argc, char **argv) {
    probe_call call = {.settings = {.optimizer = "adam",
                                    .seed = 1,
                                    .clip = -1,
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .epsilon = 1e-8},
                       .cells = "lstm",
                       .seeds = 3,
                       .checkpoint_seconds = 60};
    car_probe_settings *set = &call.settings;
#define HEADING(words) {.kind = CLI_HEADING, .help = words}
#define INT(option, field, least, most, shown, words)                                              \
    {                                                                                              \
        .name = option, .kind = CLI_INT, .value = &(field), .minimum = least, .maximum = most,     \
        .argument = "N", .help = words, .default_text = shown                                      \
    }
#define NUMBER(option, field, least, most, shown, words)                                           \
    {                                                                                              \
        .name = option, .kind = CLI_DOUBLE, .value = &(field), .minimum = least, .maximum = most,  \
        .argument = "X", .help = words, .default_text = shown                                      \
    }
#define TEXT(option, key, field, argument_name, shown, words)                                      \
    {                                                                                              \
        .name = option, .letter = key, .kind = CLI_TEXT, .value = &(field),                        \
        .argument = argument_name, .help = words, .default_text = shown                            \
    }
    cli_option options[] = {
        HEADING("What is compared"),
        TEXT("cell", 0, call.cells, "A,B,C", NULL, "cells of the zoo or files"),
        TEXT("distance", 0, call.distances, "N,N,N", "the task's",
             "distances, each with runs of its own"),
        INT("seeds", call.seeds, 1, CAR_PROBE_SEEDS, NULL, "runs of each cell at each distance"),
        INT("seed", set->seed, 0, 9e15, NULL, "of the first run; the next ones count up"),
        INT("hidden", set->hidden, 1, 8192, "the task's", "units"),
        INT("weights", set->weights, 0, 1e9, "none",
            "choose the units of each cell so that all have about so many weights"),
        HEADING("The updates"),
        INT("batch", set->batch, 1, 4096, "the task's", "sequences of an update"),
        {.name = "optimizer",
         .kind = CLI_CHOICE,
         .value = &set->optimizer,
         .choices = "adam|adamw|sgd|rmsprop",
         .help = "how weights move"},
        NUMBER("rate", set->rate, 1e-9, 1e6, "the task's", "learning rate of the mean loss"),
        INT("halve-every", set->halve_every, 0, 1e12, "0, it stays",
            "updates in which the rate falls to half, evenly, again and again"),
        NUMBER("clip", set->clip, 0, 1e30, "the task's", "most norm of the gradient; 0: off"),
        NUMBER("clip-value", set->clip_value, 0, 1e30, NULL, "most size of one gradient; 0: off"),
        NUMBER("momentum", set->momentum, 0, 0.9999, NULL, "sgd"),
        NUMBER("beta1", set->beta1, 0, 0.999999, NULL, "adam, adamw"),
        NUMBER("beta2", set->beta2, 0, 0.999999, NULL, "adam, adamw, rmsprop"),
        NUMBER("epsilon", set->epsilon, 1e-30, 1, NULL, "adam, adamw, rmsprop"),
        NUMBER("decay", set->decay, 0, 1, NULL, "weight decay"),
        TEXT("init", 0, set->init, "SCHEME", "none",
             "uniform, uniform(A), orthogonal, identity*A or walk"),
        TEXT("bias-init", 0, set->bias_init, "LIST", "none",
             "how biases of every cell start: bf=1"),
        HEADING("How long"),
        INT("updates", call.updates, 0, 1e15, "the task's", "most updates of a run"),
        NUMBER("minutes", call.minutes, 0, 1e6, "none",
               "time for the whole study, turned into updates of a run once"),
        INT("check-every", set->check_every, 1, 1e12, "the task's", "updates between two checks"),
        NUMBER("checkpoint-seconds", call.checkpoint_seconds, 0, 1e9, NULL,
               "how often a run is stored, besides its end"),
        INT("threads", call.threads, 0, 64, "all processors",
            "runs side by side; results do not depend on it"),
        HEADING("Images (rows, permuted): idx or CSV files, plain or .gz"),
        TEXT("images", 0, call.images, "FILE", "none",
             "to learn from; the last tenth is for the checks"),
        TEXT("labels", 0, call.labels, "FILE", "none", "idx: their classes"),
        TEXT("test-images", 0, call.test_images, "FILE", "the last tenth", "to test with"),
        TEXT("test-labels", 0, call.test_labels, "FILE", "none", "idx: their classes"),
        INT("shift", set->shift, 0, 65536, "0, they stay",
            "move each image learned from by up to so many pixels each way"),
        HEADING("Output"),
        TEXT("output", 'o', call.output, "FOLDER", "none",
             "study.json and every run, to go on from"),
        TEXT("report", 0, call.report, "FILE", "none", "an HTML page with table and curves"),
        {.name = "json",
         .kind = CLI_FLAG,
         .value = &call.json,
         .help = "the study as JSON, no progress"},
    };
    car_text notes;
    car_text_start(&notes, NULL);
    list_tasks(&notes);
    const cli_verb verb = {
        .name = "probe",
        .summary = "which cell learns a long lag, and how far it reaches",
        .usage = "[options] TASK",
        .examples =
            "carousel probe adding --cell lstm,gru,rnn --distance 100\n"
            "carousel probe agreement --cell lstm,rnn --distance 5,10,20,50 --weights 4000\n"
            "carousel probe order2 --cell my.cell --seeds 5 -o order --report order.html\n"
            "carousel probe rows --images train-images.gz --labels train-labels.gz\n",
        .notes = notes.failed ? NULL : notes.data,
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least_operands = 1,
        .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code == CLI_GO_ON) {
        code =
            cli_given(&verb, "hidden") && cli_given(&verb, "weights")
                ? cli_say_fail(CAR_USAGE, "probe: --weights chooses the units; take --hidden away")
                : probe(&call, arguments.operands[0], argc, argv);
        cli_arguments_free(&arguments);
    }
    car_text_free(&notes);
    return code;
}
