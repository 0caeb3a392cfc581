/*
 * search_tell.c: `carousel search ask`, `tell`: a study driven by another program, by JSON lines.
 *
 *   ask   claims a trial    {"trial":7,"fence":1,"kind":"mutation","cell":"cell m...","seed":1,"proposal":{...}}
 *         or says why not   {"trial":null,"ended":false}
 *   tell  reads lines       {"trial":7,"fence":1,"results":{"xml":{"accuracy":0.42,"nats":2.1}}}
 *                           {"trial":7,"fence":1,"failed":"out of memory"}      {"trial":7,"fence":1,"back":true}
 *                           {"cell":"cell mine(x) -> h ...","settings":[[{"scale":1,"rate":0.5,"clip":5,"layers":1}]]}
 *         answers each      {"trial":7,"counted":true}     {"trial":7,"back":true}     {"trial":12,"queued":true}
 *
 * In: a study, lines. Out: lines; trials in the study. A line that is wrong ends it with its number; those before it stand.
 */
#include "search_cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_DEPTH = 8, LINE_VALUES = 1 << 16 };

typedef struct tell_call {
    const char *name;
    double lease;
    bool json;
    int64_t line;
} tell_call;

/* ---- ask ---------------------------------------------------------------------------------------------- */

/* Not a process that lives while the trial runs, so its number does not stand at the end, where workers have theirs: only
 * the lease says when the trial is another's. */
static void name_asker(char *name, size_t size) {
    char host[256] = "unknown";
    if (gethostname(host, sizeof host - 1) != 0)
        snprintf(host, sizeof host, "unknown");
    snprintf(name, size, "%s %ld %.6f asked", host, (long)getpid(), car_seconds());
}

static void write_claim(const car_claim *claim, car_text *text) {
    car_text_format(text, "{\"trial\":%lld,\"fence\":%lld,\"kind\":\"%s\",\"cell\":",
                    (long long)claim->number, (long long)claim->fence, claim->kind);
    car_text_json_string(text, claim->text, strlen(claim->text));
    car_text_format(text, ",\"seed\":%llu,\"proposal\":%s}\n", (unsigned long long)claim->seed,
                    claim->proposal);
}

static car_status ask(const tell_call *call, const car_study *study, car_text *text,
                      car_error *error) {
    char name[400];
    car_claim claim;
    car_next next = CAR_NEXT_PUT;
    bool got = false;
    name_asker(name, sizeof name);
    while (!got && next == CAR_NEXT_PUT) {
        CAR_TRY(car_queue_claim(study, name, call->lease, &got, &claim, error));
        if (!got)
            CAR_TRY(car_propose(study, &next, error));
    }
    if (got) {
        write_claim(&claim, text);
        car_claim_free(&claim);
    } else {
        car_text_format(text, "{\"trial\":null,\"ended\":%s}\n",
                        next == CAR_NEXT_END ? "true" : "false");
    }
    return CAR_OK;
}

/* ---- tell --------------------------------------------------------------------------------------------- */

static car_status wrong(const tell_call *call, const char *what, car_error *error) {
    return car_fail(error, CAR_DATA, "line %lld: %s; docs/search.md has an example of each line",
                    (long long)call->line, what);
}

static bool read_number(const car_json *object, const char *name, double *number) {
    const car_json *member = car_json_member(object, name);
    bool good = member && member->kind == CAR_JSON_NUMBER;
    *number = good ? member->number : NAN;
    return good;
}

/* One task's part of "results". */
static car_status read_result(const tell_call *call, const car_json *json, const char *task,
                              car_trial_result *result, car_error *error) {
    double updates, units;
    *result = (car_trial_result){.task = task};
    if (!read_number(json, "accuracy", &result->accuracy))
        return wrong(call, "a result without an accuracy", error);
    read_number(json, "nats", &result->nats);
    if (!read_number(json, "measure", &result->measure))
        result->measure = strncmp(task, "music:", 6) == 0 && result->nats > 0 ? 1 / result->nats
                                                                              : result->accuracy;
    if (read_number(json, "updates", &updates) && updates >= 0 && updates < 1e15)
        result->updates = (int64_t)updates;
    if (read_number(json, "units", &units) && units >= 0 && units < 1e9)
        result->units = (int)units;
    const car_json *setting = car_json_member(json, "setting");
    return setting ? car_setting_from_json(setting, &result->setting, error) : CAR_OK;
}

/* What the row asks for on each task. */
static double least_of(const car_json *proposal, int task) {
    const car_json *least = car_json_member(proposal, "least");
    const car_json *number = least ? least->first : NULL;
    for (int i = 0; i < task && number; i++)
        number = number->next;
    return number && number->kind == CAR_JSON_NUMBER ? number->number : 0;
}

/* The tasks in the study's order, up to the first that was not good enough. */
static car_status read_results(const tell_call *call, const car_study *study,
                               const car_json *results, const car_json *proposal,
                               car_trial_outcome *outcome, car_error *error) {
    const car_search_settings *settings = &study->settings;
    for (int t = 0; t < settings->task_count; t++) {
        const car_json *json = car_json_member(results, settings->tasks[t]);
        car_trial_result *result = &outcome->results[outcome->count];
        if (!json)
            return wrong(call, "a task's result is missing", error);
        CAR_TRY(read_result(call, json, settings->tasks[t], result, error));
        outcome->count++;
        outcome->updates += result->updates;
        outcome->ended = settings->tasks[t];
        if (!(result->measure >= least_of(proposal, t)))
            return CAR_OK;
    }
    outcome->ended = "finished";
    return CAR_OK;
}

static car_status proposal_of(const car_study *study, int64_t number, car_arena *arena,
                              const car_json **proposal, car_error *error) {
    car_rows_read rows;
    const car_value values[] = {car_value_text(study->name), car_value_whole(number)};
    CAR_TRY(car_store_query(study->store,
                            "SELECT proposal FROM carousel_trials WHERE study = $1 AND number = $2",
                            values, 2, &rows, NULL, error));
    const char *text = rows.count > 0 ? car_row_text(&rows, 0, 0) : NULL;
    car_status status =
        text ? car_json_parse(text, strlen(text), "a proposal", LINE_DEPTH, LINE_VALUES, arena,
                              proposal, error)
             : car_fail(error, CAR_DATA, "the study has no trial %lld", (long long)number);
    car_rows_free(&rows);
    return status;
}

static car_status tell_trial(const tell_call *call, const car_study *study, const car_json *line,
                             car_arena *arena, car_text *answer, car_error *error) {
    double number, fence;
    const car_json *results = car_json_member(line, "results");
    const car_json *failed = car_json_member(line, "failed"), *proposal;
    if (!read_number(line, "trial", &number) || !read_number(line, "fence", &fence) ||
        fabs(number) > 0x1p53 || fabs(fence) > 0x1p53)
        return wrong(call, "trial and fence are to be the numbers that ask gave", error);
    const car_claim claim = {.number = (int64_t)number, .fence = (int64_t)fence};
    car_trial_outcome outcome = {.ended = "failed", .seconds = NAN};
    bool counted;
    CAR_TRY(proposal_of(study, claim.number, arena, &proposal, error));
    if (!results && !failed) {
        CAR_TRY(car_queue_return(study, &claim, error));
        car_text_format(answer, "{\"trial\":%lld,\"back\":true}\n", (long long)claim.number);
        return CAR_OK;
    }
    if (results)
        CAR_TRY(read_results(call, study, results, proposal, &outcome, error));
    else
        snprintf(outcome.message, sizeof outcome.message, "%.255s",
                 failed->kind == CAR_JSON_STRING ? failed->text : "told so");
    CAR_TRY(car_queue_finish(study, &claim, &outcome, &counted, error));
    car_text_format(answer, "{\"trial\":%lld,\"counted\":%s}\n", (long long)claim.number,
                    counted ? "true" : "false");
    return CAR_OK;
}

/* "settings": a list a task. */
static car_status write_settings(const tell_call *call, const car_study *study,
                                 const car_json *lists, car_text *text, car_error *error) {
    int tasks = study->settings.task_count;
    if (lists->kind != CAR_JSON_ARRAY || lists->count != tasks)
        return wrong(call, "settings are a list for each task of the study", error);
    car_text_format(text, "{\"memory\":null,\"settings\":[");
    for (const car_json *list = lists->first; list; list = list->next) {
        if (list->kind != CAR_JSON_ARRAY || list->count < 1 || list->count > CAR_SEARCH_SETTINGS)
            return wrong(call, "each task has 1 to 100 settings", error);
        car_text_format(text, "%s[", list == lists->first ? "" : ",");
        for (const car_json *one = list->first; one; one = one->next) {
            car_setting_values setting;
            CAR_TRY(car_setting_from_json(one, &setting, error));
            car_text_format(text, "%s", one == list->first ? "" : ",");
            car_setting_to_json(&setting, text);
        }
        car_text_format(text, "]");
    }
    car_text_format(text, "],\"least\":[0");
    for (int i = 1; i < tasks; i++)
        car_text_format(text, ",0");
    car_text_format(text, "]}");
    return CAR_OK;
}

static car_status queue_cell(const tell_call *call, const car_study *study, const car_json *line,
                             const car_cell *cell, int64_t *number, car_error *error) {
    const car_json *lists = car_json_member(line, "settings");
    int64_t trials;
    car_text text;
    CAR_TRY(car_queue_lock(study, &trials, error));
    car_text_start(&text, NULL);
    car_status status = CAR_OK;
    if (lists)
        status = write_settings(call, study, lists, &text, error);
    else
        car_propose_settings(&study->settings, trials + 1, (int)study->settings.settings, false,
                             NULL, &text);
    const car_proposal proposal = {.kind = "told",
                                   .cell = cell,
                                   .settings = text.data,
                                   .seed = car_propose_seed(&study->settings, trials + 1)};
    if (status == CAR_OK && text.failed)
        status = car_fail(error, CAR_MEMORY, "search tell: out of memory");
    if (status == CAR_OK)
        status = car_queue_put(study, &proposal, number, error);
    car_text_free(&text);
    return status;
}

static car_status tell_cell(const tell_call *call, const car_study *study, const car_json *line,
                            const car_json *text, car_text *answer, car_error *error) {
    car_cell *cell;
    int64_t number = 0;
    if (text->kind != CAR_JSON_STRING)
        return wrong(call, "cell is to be the text of a cell", error);
    CAR_TRY(car_cell_compile(text->text, text->length, "the told cell", NULL, &cell, error));
    car_status status = car_store_begin(study->store, error);
    if (status == CAR_OK)
        status =
            car_store_end(study->store, queue_cell(call, study, line, cell, &number, error), error);
    car_cell_free(cell);
    if (status == CAR_OK)
        car_text_format(answer, "{\"trial\":%lld,\"queued\":true}\n", (long long)number);
    return status;
}

static car_status tell_line(const tell_call *call, const car_study *study, const char *text,
                            size_t length, car_text *answer, car_error *error) {
    const car_json *line;
    char origin[48];
    car_arena *arena = car_arena_create(NULL);
    if (!arena)
        return car_fail(error, CAR_MEMORY, "search tell: out of memory");
    snprintf(origin, sizeof origin, "line %lld", (long long)call->line);
    car_status status =
        car_json_parse(text, length, origin, LINE_DEPTH, LINE_VALUES, arena, &line, error);
    if (status == CAR_OK) {
        const car_json *cell = car_json_member(line, "cell");
        status = cell ? tell_cell(call, study, line, cell, answer, error)
                      : tell_trial(call, study, line, arena, answer, error);
    }
    car_arena_free(arena);
    return status;
}

/* Lines as they come: each is answered before the next is read. */
static car_status tell(tell_call *call, const car_study *study, car_error *error) {
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    car_status status = CAR_OK;
    while (status == CAR_OK && (length = getline(&line, &room, stdin)) > 0) {
        car_text answer;
        call->line++;
        car_text_start(&answer, NULL);
        status = tell_line(call, study, line, (size_t)length, &answer, error);
        if (status != CAR_OK)
            car_text_free(&answer);
        else if (cli_print(&answer) != 0 || !cli_flush())
            break;
    }
    free(line);
    return status;
}

/* ---- The verbs ---------------------------------------------------------------------------------------- */

static int with_study(tell_call *call, const char *place, bool asks) {
    car_store *store;
    car_study study;
    car_error error = {0};
    car_text text;
    car_status status = cli_search_open(place, call->name, &store, &study, &error);
    if (status != CAR_OK)
        return cli_fail(&error);
    car_text_start(&text, NULL);
    status = asks ? ask(call, &study, &text, &error) : tell(call, &study, &error);
    car_study_close(&study);
    car_store_close(store);
    if (status == CAR_OK)
        return cli_print(&text);
    car_text_free(&text);
    return cli_fail(&error);
}

static int run_verb(tell_call *call, const cli_verb *verb, bool asks, int argc, char **argv) {
    cli_arguments arguments;
    int code = cli_parse(verb, argc, argv, &arguments);
    if (code == CLI_GO_ON) {
        code = with_study(call, arguments.operands[0], asks);
        cli_arguments_free(&arguments);
    }
    return code;
}

int cli_search_ask(int argc, char **argv) {
    tell_call call = {.lease = 3600};
    cli_option options[] = {cli_search_name(&call.name),
                            {.name = "lease",
                             .kind = CLI_DOUBLE,
                             .value = &call.lease,
                             .minimum = 0.5,
                             .maximum = 1e7,
                             .argument = "SECONDS",
                             .help = "after which the trial is another's"},
                            cli_search_json(&call.json)};
    const cli_verb verb = {.name = "search ask",
                           .summary = "take the next trial, to run it elsewhere",
                           .usage = "[options] STUDY",
                           .examples = "carousel search ask a.db\n",
                           .notes =
                               "One JSON line. What it came to is told by carousel search tell.\n",
                           .options = options,
                           .option_count = sizeof options / sizeof *options,
                           .least_operands = 1,
                           .most_operands = 1};
    return run_verb(&call, &verb, true, argc, argv);
}

int cli_search_tell(int argc, char **argv) {
    tell_call call = {0};
    cli_option options[] = {cli_search_name(&call.name), cli_search_json(&call.json)};
    const cli_verb verb = {
        .name = "search tell",
        .summary = "results of trials, and cells to be tried, as JSON lines",
        .usage = "[options] STUDY < LINES",
        .examples = "echo '{\"trial\":3,\"fence\":1,\"results\":{\"xml\":{\"accuracy\":0.4}}}' |\n"
                    "    carousel search tell a.db\n"
                    "jq -Rs '{cell:.}' -c my.cell | carousel search tell a.db\n",
        .notes = "Each line is answered by one. docs/search.md says what may be in them.\n",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least_operands = 1,
        .most_operands = 1};
    return run_verb(&call, &verb, false, argc, argv);
}
