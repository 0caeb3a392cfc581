/*
 * search_show.c: `carousel search status`, `top`, `show`, `export`: what is known of a study.
 *
 * In:  a study. Out: tables, the text of a cell, JSON.
 */
#include "report.h"
#include "search_cli.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

/* A study that has been opened and read. */
typedef struct cli_seen {
    car_store *store;
    car_study study;
    car_study_view view;
} cli_seen;

static car_status look(const char *place, const char *name, cli_seen *seen, car_error *error) {
    CAR_TRY(cli_search_open(place, name, &seen->store, &seen->study, error));
    car_status status = car_study_look(&seen->study, &seen->view, error);
    if (status != CAR_OK) {
        car_study_close(&seen->study);
        car_store_close(seen->store);
    }
    return status;
}

static void look_away(cli_seen *seen) {
    car_study_view_free(&seen->view);
    car_study_close(&seen->study);
    car_store_close(seen->store);
}

static void json_text(car_text *text, const char *value) {
    if (value)
        car_text_json_string(text, value, strlen(value));
    else
        car_text_format(text, "null");
}

static void json_number(car_text *text, const char *name, double value) {
    car_text_format(text, ",\"%s\":", name);
    car_text_json_number(text, value);
}

/* ---- status ------------------------------------------------------------------------------------------- */

typedef struct counts {
    int64_t waiting, running, done, failed, finished, memory, tasks[CAR_SEARCH_TASKS], updates;
    double seconds;
} counts;

static counts count_trials(const cli_seen *seen) {
    counts count = {0};
    const car_search_settings *settings = &seen->study.settings;
    for (int i = 0; i < seen->view.trial_count; i++) {
        const car_study_trial *trial = &seen->view.trials[i];
        const char *ended = trial->ended ? trial->ended : "";
        count.waiting += strcmp(trial->state, "waiting") == 0;
        count.running += strcmp(trial->state, "running") == 0;
        count.done += strcmp(trial->state, "done") == 0;
        count.failed += strcmp(ended, "failed") == 0 || strcmp(ended, "given up") == 0;
        count.finished += strcmp(ended, "finished") == 0;
        count.memory += strcmp(ended, "memory") == 0;
        count.updates += trial->updates;
        count.seconds += isnan(trial->seconds) ? 0 : trial->seconds;
        for (int t = 0; t < settings->task_count; t++)
            count.tasks[t] += strcmp(ended, settings->tasks[t]) == 0;
    }
    return count;
}

static double best_score(const car_study_view *view) {
    return view->listed > 0 ? view->cells[view->list[0]].score : NAN;
}

static void status_json(const cli_seen *seen, car_text *text) {
    const car_search_settings *settings = &seen->study.settings;
    counts count = count_trials(seen);
    car_text_format(text,
                    "{\"trials\":%lld,\"waiting\":%lld,\"running\":%lld,\"done\":%lld,"
                    "\"failed\":%lld,\"finished\":%lld,\"listed\":%d,\"cells\":%d,"
                    "\"updates\":%lld,\"dropped\":{\"memory\":%lld",
                    (long long)settings->trials, (long long)count.waiting, (long long)count.running,
                    (long long)count.done, (long long)count.failed, (long long)count.finished,
                    seen->view.listed, seen->view.cell_count, (long long)count.updates,
                    (long long)count.memory);
    for (int t = 0; t < settings->task_count; t++) {
        car_text_format(text, ",");
        json_text(text, settings->tasks[t]);
        car_text_format(text, ":%lld", (long long)count.tasks[t]);
    }
    car_text_format(text, "}");
    json_number(text, "seconds", count.seconds);
    json_number(text, "best", best_score(&seen->view));
    car_text_format(text, ",\"workers\":[");
    bool first = true;
    for (int i = 0; i < seen->view.trial_count; i++) {
        const car_study_trial *trial = &seen->view.trials[i];
        if (strcmp(trial->state, "running") != 0)
            continue;
        car_text_format(text, "%s{\"worker\":", first ? "" : ",");
        json_text(text, trial->worker);
        car_text_format(text, ",\"trial\":%lld", (long long)trial->number);
        json_number(text, "lease", trial->lease - seen->view.now);
        car_text_format(text, "}");
        first = false;
    }
    car_text_format(text, "]}\n");
}

static void status_table(const cli_seen *seen, car_text *text) {
    const car_search_settings *settings = &seen->study.settings;
    counts count = count_trials(seen);
    car_text_format(text, "study     %s\n", seen->study.name);
    car_text_format(text, "trials    %lld of %lld done, %lld running, %lld waiting, %lld failed\n",
                    (long long)count.done, (long long)settings->trials, (long long)count.running,
                    (long long)count.waiting, (long long)count.failed);
    car_text_format(text, "cells     %d tried, %d on the list\n", seen->view.cell_count,
                    seen->view.listed);
    if (settings->memory_letters > 0)
        car_text_format(text, "dropped   %lld by the first filter\n", (long long)count.memory);
    for (int t = 0; t < settings->task_count; t++) {
        char label[48];
        car_task_label(settings->tasks[t], label, sizeof label);
        car_text_format(text, "dropped   %lld at %s\n", (long long)count.tasks[t], label);
    }
    car_text_format(text, "spent     %lld updates, ", (long long)count.updates);
    car_draw_duration(text, count.seconds);
    car_text_format(text, " of workers' time\n");
    if (seen->view.listed > 0)
        car_text_format(text, "best      %s, score %.4f\n",
                        seen->view.cells[seen->view.list[0]].name, best_score(&seen->view));
    for (int i = 0; i < seen->view.trial_count; i++) {
        const car_study_trial *trial = &seen->view.trials[i];
        if (strcmp(trial->state, "running") == 0)
            car_text_format(text, "running   trial %lld, %s, by %s, lease %.0f s, try %lld\n",
                            (long long)trial->number, seen->view.cells[trial->cell].name,
                            trial->worker, trial->lease - seen->view.now, (long long)trial->tries);
    }
}

typedef struct show_call {
    const char *name;
    bool json;
    double watch;
    int64_t count;
} show_call;

/* Once; *over: the study has ended. */
static int status_once(const show_call *call, const char *place, bool *over) {
    cli_seen seen;
    car_error error = {0};
    car_text text;
    *over = true;
    if (look(place, call->name, &seen, &error) != CAR_OK)
        return cli_fail(&error);
    car_text_start(&text, NULL);
    if (call->watch > 0 && isatty(STDOUT_FILENO))
        car_text_format(&text, "\x1b[H\x1b[J");
    if (call->json)
        status_json(&seen, &text);
    else
        status_table(&seen, &text);
    counts count = count_trials(&seen);
    *over = count.done >= seen.study.settings.trials;
    look_away(&seen);
    return cli_print(&text);
}

static int status_live(const show_call *call, const char *place) {
    bool over;
    cli_signals_catch();
    int code = status_once(call, place, &over);
    while (code == 0 && call->watch > 0 && !over && *cli_signal() == 0 && cli_flush()) {
        usleep((useconds_t)(call->watch * 1e6));
        if (*cli_signal() == 0)
            code = status_once(call, place, &over);
    }
    return cli_signal_code(code);
}

int cli_search_status(int argc, char **argv) {
    show_call call = {0};
    cli_option options[] = {cli_search_name(&call.name),
                            {.name = "watch",
                             .kind = CLI_DOUBLE,
                             .value = &call.watch,
                             .maximum = 3600,
                             .argument = "SECONDS",
                             .help = "again every so often, until the study has ended",
                             .default_text = "once"},
                            cli_search_json(&call.json)};
    const cli_verb verb = {.name = "search status",
                           .summary = "how far a study is, and who works on it",
                           .usage = "[options] STUDY",
                           .examples = "carousel search status a.db\n"
                                       "carousel search status a.db --watch 2\n",
                           .options = options,
                           .option_count = sizeof options / sizeof *options,
                           .least_operands = 1,
                           .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code == CLI_GO_ON) {
        code = status_live(&call, arguments.operands[0]);
        cli_arguments_free(&arguments);
    }
    return code;
}

/* ---- top ---------------------------------------------------------------------------------------------- */

static void cell_json(const cli_seen *seen, const car_study_cell *cell, car_text *text) {
    const car_search_settings *settings = &seen->study.settings;
    car_text_format(text, "{\"name\":");
    json_text(text, cell->name);
    car_text_format(text, ",\"key\":");
    json_text(text, cell->key);
    car_text_format(text, ",\"parent\":");
    json_text(text, cell->parent);
    car_text_format(text, ",\"first\":%lld,\"trials\":%d,\"complete\":%s", (long long)cell->first,
                    cell->trials, cell->complete ? "true" : "false");
    json_number(text, "score", cell->score);
    car_text_format(text, ",\"tasks\":{");
    for (int t = 0; t < settings->task_count; t++) {
        car_text_format(text, "%s", t ? "," : "");
        json_text(text, settings->tasks[t]);
        car_text_format(text, ":{\"best\":");
        car_text_json_number(text, cell->best[t]);
        json_number(text, "accuracy", cell->accuracy[t]);
        json_number(text, "nats", cell->nats[t]);
        json_number(text, "ratio", cell->ratio[t]);
        car_text_format(text, "}");
    }
    car_text_format(text, "},\"text\":");
    json_text(text, cell->text);
    car_text_format(text, "}");
}

static int top(const show_call *call, const char *place) {
    cli_seen seen;
    car_error error = {0};
    car_text text;
    if (look(place, call->name, &seen, &error) != CAR_OK)
        return cli_fail(&error);
    const car_search_settings *settings = &seen.study.settings;
    int count = seen.view.listed < call->count ? seen.view.listed : (int)call->count;
    car_text_start(&text, NULL);
    if (call->json)
        car_text_format(&text, "[");
    else
        car_text_format(&text, "%4s  %-16s %7s %7s", "", "cell", "score", "trials");
    for (int t = 0; t < settings->task_count && !call->json; t++) {
        char label[48];
        car_task_label(settings->tasks[t], label, sizeof label);
        car_text_format(&text, "  %14.14s", label);
    }
    car_text_format(&text, "%s", call->json ? "" : "\n");
    for (int i = 0; i < count; i++) {
        const car_study_cell *cell = &seen.view.cells[seen.view.list[i]];
        if (call->json) {
            car_text_format(&text, "%s", i ? ",\n" : "");
            cell_json(&seen, cell, &text);
            continue;
        }
        car_text_format(&text, "%4d  %-16.16s %7.4f %7d", i + 1, cell->name, cell->score,
                        cell->trials);
        for (int t = 0; t < settings->task_count; t++)
            car_text_format(&text, "  %7.2f%% %5.3f", 100 * cell->accuracy[t], cell->ratio[t]);
        car_text_format(&text, "\n");
    }
    car_text_format(&text, "%s", call->json ? "]\n" : "");
    look_away(&seen);
    return cli_print(&text);
}

int cli_search_top(int argc, char **argv) {
    show_call call = {.count = 20};
    cli_option options[] = {cli_search_name(&call.name),
                            {.name = "count",
                             .kind = CLI_INT,
                             .value = &call.count,
                             .minimum = 1,
                             .maximum = 100000,
                             .argument = "N",
                             .help = "how many"},
                            cli_search_json(&call.json)};
    const cli_verb verb = {.name = "search top",
                           .summary = "the best cells, with their ratio to the tuned GRU",
                           .usage = "[options] STUDY",
                           .examples = "carousel search top a.db --count 10\n",
                           .options = options,
                           .option_count = sizeof options / sizeof *options,
                           .least_operands = 1,
                           .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code == CLI_GO_ON) {
        code = top(&call, arguments.operands[0]);
        cli_arguments_free(&arguments);
    }
    return code;
}

/* ---- show --------------------------------------------------------------------------------------------- */

static void show_text(const cli_seen *seen, int at, car_text *text) {
    const car_study_cell *cell = &seen->view.cells[at];
    const car_search_settings *settings = &seen->study.settings;
    car_text_format(text, "# score ");
    if (isnan(cell->score))
        car_text_format(text, "none, %d trials\n", cell->trials);
    else
        car_text_format(text, "%.4f, %d trials\n", cell->score, cell->trials);
    for (int t = 0; t < settings->task_count; t++)
        if (!isnan(cell->best[t]))
            car_text_format(text, "# %.200s: accuracy %.2f %%, %.3f of the tuned GRU's\n",
                            settings->tasks[t], 100 * cell->accuracy[t], cell->ratio[t]);
    car_text_format(text, "%s", cell->text);
}

static int show(const show_call *call, const char *place, const char *name) {
    cli_seen seen;
    car_error error = {0};
    car_text text;
    if (look(place, call->name, &seen, &error) != CAR_OK)
        return cli_fail(&error);
    int at = car_study_find(&seen.view, name);
    car_text_start(&text, NULL);
    if (at >= 0 && call->json) {
        cell_json(&seen, &seen.view.cells[at], &text);
        car_text_format(&text, "\n");
    } else if (at >= 0) {
        show_text(&seen, at, &text);
    }
    look_away(&seen);
    if (at >= 0)
        return cli_print(&text);
    car_text_free(&text);
    return cli_say_fail(CAR_USAGE,
                        "search show: no cell %.60s in it; give a name or a place as carousel "
                        "search top shows them",
                        name);
}

int cli_search_show(int argc, char **argv) {
    show_call call = {0};
    cli_option options[] = {cli_search_name(&call.name), cli_search_json(&call.json)};
    const cli_verb verb = {.name = "search show",
                           .summary = "a cell of a study, as a file that can be used",
                           .usage = "[options] STUDY CELL",
                           .examples = "carousel search show a.db 1 > best.cell\n"
                                       "carousel search show a.db m0123456789\n",
                           .options = options,
                           .option_count = sizeof options / sizeof *options,
                           .least_operands = 2,
                           .most_operands = 2};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code == CLI_GO_ON) {
        code = show(&call, arguments.operands[0], arguments.operands[1]);
        cli_arguments_free(&arguments);
    }
    return code;
}

/* ---- export ------------------------------------------------------------------------------------------- */

static void trial_json(const cli_seen *seen, int at, int *result, car_text *text) {
    const car_study_view *view = &seen->view;
    const car_study_trial *trial = &view->trials[at];
    car_text_format(text, "{\"trial\":%lld,\"cell\":", (long long)trial->number);
    json_text(text, trial->key);
    car_text_format(text, ",\"kind\":\"%s\",\"seed\":%lld,\"state\":\"%s\",\"ended\":", trial->kind,
                    (long long)trial->seed, trial->state);
    json_text(text, trial->ended);
    car_text_format(text, ",\"message\":");
    json_text(text, trial->message);
    car_text_format(text, ",\"tries\":%lld,\"fence\":%lld,\"updates\":%lld",
                    (long long)trial->tries, (long long)trial->fence, (long long)trial->updates);
    json_number(text, "seconds", trial->seconds);
    json_number(text, "finished", trial->finished);
    car_text_format(text, ",\"proposal\":%s,\"results\":[", trial->proposal);
    for (bool first = true; *result < view->result_count && view->results[*result].trial == at;
         ++*result, first = false) {
        const car_study_result *one = &view->results[*result];
        car_text_format(text, "%s{\"task\":", first ? "" : ",");
        json_text(text, one->task);
        json_number(text, "measure", one->measure);
        json_number(text, "accuracy", one->accuracy);
        json_number(text, "nats", one->nats);
        car_text_format(text, ",\"setting\":%s,\"updates\":%lld,\"units\":%lld,\"diverged\":%lld}",
                        one->setting, (long long)one->updates, (long long)one->units,
                        (long long)one->diverged);
    }
    car_text_format(text, "]}");
}

static int export_all(const show_call *call, const char *place) {
    cli_seen seen;
    car_error error = {0};
    car_text text;
    int result = 0;
    if (look(place, call->name, &seen, &error) != CAR_OK)
        return cli_fail(&error);
    car_text_start(&text, NULL);
    car_text_format(&text, "{\"study\":");
    json_text(&text, seen.study.name);
    car_text_format(&text, ",\"settings\":");
    car_search_settings_to_json(&seen.study.settings, &text);
    car_text_format(&text, ",\"reference\":");
    json_text(&text, seen.study.reference);
    car_text_format(&text, ",\"cells\":[");
    for (int i = 0; i < seen.view.cell_count; i++) {
        car_text_format(&text, "%s\n", i ? "," : "");
        cell_json(&seen, &seen.view.cells[i], &text);
    }
    car_text_format(&text, "],\"trials\":[");
    for (int i = 0; i < seen.view.trial_count; i++) {
        car_text_format(&text, "%s\n", i ? "," : "");
        trial_json(&seen, i, &result, &text);
    }
    car_text_format(&text, "]}\n");
    look_away(&seen);
    return cli_print(&text);
}

int cli_search_export(int argc, char **argv) {
    show_call call = {0};
    cli_option options[] = {cli_search_name(&call.name), cli_search_json(&call.json)};
    const cli_verb verb = {.name = "search export",
                           .summary = "all that is stored of a study, as one JSON object",
                           .usage = "[options] STUDY",
                           .examples = "carousel search export a.db > a.json\n",
                           .notes = "It is JSON always; --json is there for scripts that add it.\n",
                           .options = options,
                           .option_count = sizeof options / sizeof *options,
                           .least_operands = 1,
                           .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code == CLI_GO_ON) {
        code = export_all(&call, arguments.operands[0]);
        cli_arguments_free(&arguments);
    }
    return code;
}
