/*
 * story.c: `carousel story`: what people say about recurrent nets, measured again, in one command.
 *
 * In: a budget. Out: verdicts and figures on stdout, with --report one HTML file; with -o a folder to go on from.
 */
#include "story.h"
#include "cli.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct story_call {
    car_story_request request;
    const char *report, *language, *output;
    int64_t threads;
    bool json;
    cli_progress line;
    double begun;
} story_call;

static void tell(void *context, car_words doing, double share) {
    story_call *call = context;
    bool chinese = !strcmp(call->language, "zh");
    car_text text;
    if (call->json || !cli_progress_due(&call->line))
        return;
    car_text_start(&text, NULL);
    car_text_format(&text, "%s | %.0f %% | ", car_say(doing, chinese), 100 * share);
    car_draw_duration(&text, car_seconds() - call->begun);
    if (!text.failed)
        cli_progress_show(&call->line, text.data);
    car_text_free(&text);
}

/* ---- The folder ------------------------------------------------------------------------------------------ */

/* A folder of our own when none is named. */
static car_status open_folder(story_call *call, char *own, size_t size, car_error *error) {
    if (call->output) {
        struct stat about;
        call->request.folder = call->output;
        if (mkdir(call->output, 0777) == 0 ||
            (errno == EEXIST && stat(call->output, &about) == 0 && S_ISDIR(about.st_mode)))
            return CAR_OK;
        return car_fail(error, CAR_IO, "%.300s: cannot be made a folder (%s); give another with -o",
                        call->output, strerror(errno));
    }
    const char *place = getenv("TMPDIR");
    snprintf(own, size, "%.3000s/carousel-story-XXXXXX", place && *place ? place : "/tmp");
    if (!mkdtemp(own)) {
        car_fail(error, CAR_IO, "%.300s: cannot be made (%s); name a folder with -o", own,
                 strerror(errno));
        *own = '\0';
        return CAR_IO;
    }
    call->request.folder = own;
    return CAR_OK;
}

/* Removes what the story wrote: files in folders one deep. */
static void remove_folder(const char *path, int depth) {
    DIR *folder = opendir(path);
    char name[8192];
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(name, sizeof name, "%.4000s/%s", path, entry->d_name);
        if (unlink(name) != 0 && depth < 2)
            remove_folder(name, depth + 1);
    }
    if (folder)
        closedir(folder);
    rmdir(path);
}

/* ---- Output ---------------------------------------------------------------------------------------------- */

static car_status write_report(const story_call *call, const car_story *story, car_error *error) {
    car_text html, command;
    car_text_start(&html, NULL);
    car_text_start(&command, NULL);
    car_text_format(&command,
                    "carousel story --seed %lld --seeds %lld --cheap-seeds %lld --updates %lld "
                    "--lang %s --report "
                    "story.html",
                    (long long)story->request.seed, (long long)story->request.seeds,
                    (long long)story->request.cheap, (long long)story->request.updates,
                    call->language);
    car_status status = command.failed ? car_fail(error, CAR_MEMORY, "no memory for the report")
                                       : car_story_page(story, !strcmp(call->language, "zh"),
                                                        command.data, &html, error);
    if (status == CAR_OK)
        status = cli_write_file(call->report, &html, error);
    car_text_free(&command);
    car_text_free(&html);
    return status;
}

static int show(const story_call *call, const car_story *story) {
    car_text text;
    car_text_start(&text, NULL);
    if (call->json)
        car_story_to_json(story, &text);
    else
        car_story_to_text(story, !strcmp(call->language, "zh"), &text);
    return cli_print(&text);
}

/* That a report cannot be written is better known now than after the minutes. */
static car_status check_report(const char *path, car_error *error) {
    car_file_writer *writer = NULL;
    if (!path)
        return CAR_OK;
    CAR_TRY(car_file_writer_open(path, NULL, &writer, error));
    car_file_writer_abandon(writer);
    return CAR_OK;
}

static car_status tell_story(story_call *call, int *code, bool *stopped, car_error *error) {
    car_story *story;
    cli_progress_start(&call->line);
    cli_signals_catch();
    call->begun = car_seconds();
    call->request.stop = cli_signal();
    call->request.context = call;
    call->request.progress = tell;
    car_status status = car_story_run(&call->request, NULL, &story, stopped, error);
    cli_progress_end(&call->line);
    if (status != CAR_OK)
        return status;
    if (*stopped) {
        cli_note(call->output ? "interrupted; the same command goes on"
                              : "interrupted; with -o FOLDER it could go on");
    } else {
        *code = show(call, story);
        if (call->report)
            status = write_report(call, story, error);
    }
    car_story_free(story);
    return status;
}

int cli_story(int argc, char **argv) {
    story_call call = {.request = {.seed = 1, .minutes = 5}, .language = "en"};
    car_story_request *request = &call.request;
    cli_option options[] = {{.name = "minutes",
                             .kind = CLI_DOUBLE,
                             .value = &request->minutes,
                             .minimum = 0.05,
                             .maximum = 1e6,
                             .argument = "X",
                             .help = "budget; becomes seeds and updates once"},
                            {.name = "updates",
                             .kind = CLI_INT,
                             .value = &request->updates,
                             .minimum = 0,
                             .maximum = 1e9,
                             .argument = "N",
                             .help = "of every net, in place of --minutes",
                             .default_text = "from --minutes"},
                            {.name = "seeds",
                             .kind = CLI_INT,
                             .value = &request->seeds,
                             .minimum = 0,
                             .maximum = CAR_STORY_SEEDS,
                             .argument = "N",
                             .help = "nets of every kind; fewer than 5 decide nothing",
                             .default_text = "as many as --minutes allow"},
                            {.name = "cheap-seeds",
                             .kind = CLI_INT,
                             .value = &request->cheap,
                             .minimum = 0,
                             .maximum = CAR_STORY_SEEDS,
                             .argument = "N",
                             .help = "of those that cost little (claims 5, 8, 9, 10)",
                             .default_text = "as --seeds; with --minutes more"},
                            {.name = "seed",
                             .kind = CLI_INT,
                             .value = &request->seed,
                             .minimum = 0,
                             .maximum = 9e14,
                             .argument = "N",
                             .help = "the first one; the others count up"},
                            {.name = "threads",
                             .kind = CLI_INT,
                             .value = &call.threads,
                             .minimum = 0,
                             .maximum = 64,
                             .argument = "N",
                             .help = "nets side by side; results do not depend on it",
                             .default_text = "all processors"},
                            {.name = "output",
                             .letter = 'o',
                             .kind = CLI_TEXT,
                             .value = &call.output,
                             .argument = "FOLDER",
                             .help = "keeps every net, to go on from",
                             .default_text = "none"},
                            {.name = "report",
                             .kind = CLI_TEXT,
                             .value = &call.report,
                             .argument = "FILE",
                             .help = "the illustrated story as one HTML file",
                             .default_text = "none"},
                            {.name = "lang",
                             .kind = CLI_CHOICE,
                             .value = &call.language,
                             .choices = "en|zh",
                             .argument = "NAME",
                             .help = "of report and text"},
                            {.name = "json",
                             .kind = CLI_FLAG,
                             .value = &call.json,
                             .transient = true,
                             .help = "figures, intervals, rules and verdicts as JSON"}};
    const cli_verb verb = {
        .name = "story",
        .summary = "ten claims about recurrent nets, measured again",
        .usage = "[options]",
        .examples = "carousel story --report story.html\n"
                    "carousel story --minutes 30 -o story --report story.html --lang zh\n"
                    "carousel story --seeds 5 --updates 500 --json\n",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .notes = "A verdict is computed: every claim has rules with thresholds, fixed before\n"
                 "anything is measured, on figures with 95 % intervals over the seeds. The same\n"
                 "--seed, --seeds and --updates give the same figures; with -o a longer run\n"
                 "goes on with the nets that are there.\n"};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code != CLI_GO_ON)
        return code;
    car_error error = {0};
    char own[4096] = "";
    bool stopped = false;
    request->threads = (int)call.threads;
    code = 0;
    car_status status = check_report(call.report, &error);
    if (status == CAR_OK)
        status = open_folder(&call, own, sizeof own, &error);
    if (status == CAR_OK)
        status = tell_story(&call, &code, &stopped, &error);
    if (status != CAR_OK)
        code = cli_fail(&error);
    if (*own)
        remove_folder(own, 0);
    cli_arguments_free(&arguments);
    return stopped ? cli_signal_code(code) : code;
}
