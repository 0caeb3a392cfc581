/*
 * search_report.c: `carousel search report`: a study as one HTML file.
 *
 * In:  a study. Out: the page; the ablations of its best cell are trained for it.
 */
#include "search_cli.h"
#include <string.h>

typedef struct report_call {
    const char *name, *output;
    int64_t cells, seeds;
} report_call;

static bool not_interrupted(void *context) {
    (void)context;
    return *cli_signal() == 0;
}

/* The settings with which the cell was best on each task. */
static car_status best_settings(const car_study *study, const car_study_view *view, int cell,
                                car_setting_values *best, car_error *error) {
    car_arena *arena = car_arena_create(NULL);
    car_status status =
        arena ? CAR_OK : car_fail(error, CAR_MEMORY, "search report: out of memory");
    for (int i = 0; i < view->result_count && status == CAR_OK; i++) {
        const car_study_result *result = &view->results[i];
        const car_json *json;
        for (int t = 0; t < study->settings.task_count && status == CAR_OK; t++) {
            bool is_best = view->trials[result->trial].cell == cell &&
                           strcmp(result->task, study->settings.tasks[t]) == 0 &&
                           result->measure == view->cells[cell].best[t];
            if (!is_best)
                continue;
            status = car_json_parse(result->setting, strlen(result->setting), "a setting", 3, 20,
                                    arena, &json, error);
            if (status == CAR_OK)
                status = car_setting_from_json(json, &best[t], error);
        }
    }
    if (arena)
        car_arena_free(arena);
    return status;
}

static car_status ablate(const report_call *call, const car_study *study,
                         const car_study_view *view, car_cell *cell, car_ablation *ablations,
                         int *count, bool *stopped, car_error *error) {
    car_setting_values best[CAR_SEARCH_TASKS];
    car_trial_tasks tasks;
    const car_run_tick tick = {NULL, not_interrupted};
    CAR_TRY(best_settings(study, view, view->list[0], best, error));
    CAR_TRY(car_trial_open(&study->settings, &tasks, error));
    car_status status = car_ablate_all(&study->settings, &tasks, cell, best, (int)call->seeds,
                                       &tick, stopped, ablations, count, error);
    car_trial_close(&tasks);
    return status;
}

static car_status write_page(const report_call *call, const car_study *study,
                             const car_study_view *view, bool *stopped, car_error *error) {
    car_ablation ablations[CAR_ABLATION_GATES];
    int count = 0;
    car_cell *best = NULL;
    car_text text;
    if (view->listed > 0) {
        const char *cell = view->cells[view->list[0]].text;
        CAR_TRY(car_cell_compile(cell, strlen(cell), "the best cell", NULL, &best, error));
    }
    car_status status = CAR_OK;
    if (best && call->seeds > 0)
        status = ablate(call, study, view, best, ablations, &count, stopped, error);
    car_text_start(&text, NULL);
    if (status == CAR_OK && !*stopped)
        status = car_study_page(study, view, (int)call->cells, ablations, count, (int)call->seeds,
                                &text, error);
    if (status == CAR_OK && !*stopped)
        status = cli_write_file(call->output, &text, error);
    car_text_free(&text);
    car_cell_free(best);
    return status;
}

static int report(const report_call *call, const char *place) {
    car_store *store;
    car_study study;
    car_study_view view;
    car_error error = {0};
    bool stopped = false;
    cli_signals_catch();
    if (cli_search_open(place, call->name, &store, &study, &error) != CAR_OK)
        return cli_fail(&error);
    car_status status = car_study_look(&study, &view, &error);
    if (status == CAR_OK)
        status = write_page(call, &study, &view, &stopped, &error);
    car_study_view_free(&view);
    car_study_close(&study);
    car_store_close(store);
    return cli_signal_code(status == CAR_OK ? 0 : cli_fail(&error));
}

int cli_search_report(int argc, char **argv) {
    report_call call = {.output = "search.html", .cells = 5, .seeds = 3};
    cli_option options[] = {
        cli_search_name(&call.name),
        {.name = "output",
         .letter = 'o',
         .kind = CLI_TEXT,
         .value = &call.output,
         .argument = "FILE",
         .help = "the page"},
        {.name = "cells",
         .kind = CLI_INT,
         .value = &call.cells,
         .minimum = 1,
         .maximum = 100,
         .argument = "N",
         .help = "best cells that are shown as equations"},
        {.name = "seeds",
         .kind = CLI_INT,
         .value = &call.seeds,
         .maximum = CAR_ABLATION_SEEDS,
         .argument = "N",
         .help = "trainings of each ablation; 0: no ablations"},
    };
    const cli_verb verb = {
        .name = "search report",
        .summary = "a study as one HTML page",
        .usage = "[options] STUDY",
        .examples = "carousel search report a.db -o a.html\n",
        .notes = "Progress, the best cells with their ancestors and equations, and what each\n"
                 "gate of the best one is worth: it is trained without it, which takes a while.\n",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .least_operands = 1,
        .most_operands = 1};
    cli_arguments arguments;
    int code = cli_parse(&verb, argc, argv, &arguments);
    if (code == CLI_GO_ON) {
        code = report(&call, arguments.operands[0]);
        cli_arguments_free(&arguments);
    }
    return code;
}
