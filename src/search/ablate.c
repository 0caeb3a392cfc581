/*
 * ablate.c: a cell without one of its gates: the gate's equation becomes `f = 1`.
 *
 * In:  a cell, which of its gates. Out: the cell that is left, called `lstm-no-f`; `init` lines of what it no longer has, `gate`
 *      and `torch` lines go. And how much worse it is: both trained with the same settings and seeds, as many weights, judged
 *      on the test set; mean and 95 % interval of the difference, pair by pair.
 */
#include "store.h"
#include <ctype.h>
#include <string.h>

static bool is_word(char character) {
    return isalnum((unsigned char)character) || character == '_';
}

/* Does `name` stand in the text as a word of its own? */
static bool has_word(const char *text, size_t length, const char *name) {
    size_t size = strlen(name);
    for (size_t at = 0; at + size <= length; at++)
        if (strncmp(text + at, name, size) == 0 && (at == 0 || !is_word(text[at - 1])) &&
            (at + size == length || !is_word(text[at + size])))
            return true;
    return false;
}

static bool starts_with(const char *line, size_t length, const char *word) {
    size_t size = strlen(word);
    return length > size && strncmp(line, word, size) == 0 && line[size] == ' ';
}

/* The equation that gives `name` its value? */
static bool defines(const char *line, size_t length, const char *name) {
    size_t size = strlen(name);
    if (length <= size || strncmp(line, name, size) != 0)
        return false;
    const char *rest = line + size;
    rest += strspn(rest, " ");
    return *rest == '=';
}

/* `cell lstm(x) -> h` becomes `cell lstm-no-f(x) -> h`. */
static void write_head(const car_cell *cell, const char *gate, car_text *text) {
    const char *line = car_cell_text(cell);
    while (*line && !starts_with(line, strcspn(line, "\n"), "cell"))
        line += strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n');
    const char *rest = line + strcspn(line, "(\n");
    car_text_format(text, "cell %s-no-%s%.*s\n", car_cell_name(cell), gate,
                    (int)strcspn(rest, "\n"), rest);
}

/* The equations, the gate's replaced. */
static void write_equations(const car_cell *cell, const char *gate, car_text *equations) {
    for (const char *line = car_cell_text(cell), *next; *line; line = next) {
        size_t length = strcspn(line, "\n");
        next = line + length + (line[length] == '\n');
        bool other = line[0] == '#' || starts_with(line, length, "cell") ||
                     starts_with(line, length, "init") || starts_with(line, length, "torch") ||
                     starts_with(line, length, "gate");
        if (other)
            continue;
        if (defines(line, length, gate))
            car_text_format(equations, "%s = 1\n", gate);
        else
            car_text_format(equations, "%.*s\n", (int)length, line);
    }
}

/* `init` lines whose name is still there. */
static void write_inits(const car_cell *cell, const car_text *equations, car_text *text) {
    for (const char *line = car_cell_text(cell), *next; *line; line = next) {
        char name[128] = "";
        size_t length = strcspn(line, "\n");
        next = line + length + (line[length] == '\n');
        if (!starts_with(line, length, "init"))
            continue;
        const char *begin = line + 4 + strspn(line + 4, " ");
        snprintf(name, sizeof name, "%.*s", (int)strcspn(begin, " =\n"), begin);
        if (has_word(equations->data, equations->length, name))
            car_text_format(text, "%.*s\n", (int)length, line);
    }
}

const char *car_ablate_gate(const car_cell *cell, int index) {
    return index < cell->gate_count ? cell->graph.names[cell->gates[index]] : NULL;
}

car_status car_ablate(const car_cell *cell, int index, car_cell **without, car_error *error) {
    const char *gate = car_ablate_gate(cell, index);
    car_text equations, text;
    if (!gate)
        return car_fail(error, CAR_DATA, "%.80s has no gate %d with a name", car_cell_name(cell),
                        index + 1);
    car_text_start(&equations, cell->allocator);
    car_text_start(&text, cell->allocator);
    write_equations(cell, gate, &equations);
    write_head(cell, gate, &text);
    if (!equations.failed) {
        car_text_format(&text, "%s", equations.data);
        write_inits(cell, &equations, &text);
    }
    car_status status =
        equations.failed || text.failed
            ? car_fail(error, CAR_MEMORY, "%.80s: out of memory", car_cell_name(cell))
            : car_cell_compile(text.data, text.length, "ablation", cell->allocator, without, error);
    car_text_free(&equations);
    car_text_free(&text);
    return status;
}

/* ---- How much worse? ---------------------------------------------------------------------------------- */

typedef struct ablation_work {
    const car_search_settings *settings;
    const car_trial_tasks *tasks;
    const car_setting_values *best; /* [tasks] */
    const car_run_tick *tick;
    bool *stopped;
} ablation_work;

static car_status test_once(const ablation_work *work, const car_cell *cell, int task, int seed,
                            double *accuracy, car_error *error) {
    const car_evaluate_options options = {
        .run = {.optimizer = work->settings->optimizer,
                .weights = work->settings->weights,
                .updates = work->settings->updates,
                .seed = (uint64_t)(seed + 1) * CAR_SEARCH_SETTINGS}};
    car_evaluation found;
    car_task_score score;
    CAR_TRY(car_evaluate(work->tasks->tasks[task], cell, &work->best[task], 1, &options, work->tick,
                         NULL, work->stopped, &found, error));
    if (*work->stopped)
        return CAR_OK;
    car_status status =
        car_run_judge(found.run, CAR_PROBE_TEST, work->tick, work->stopped, &score, error);
    *accuracy = car_task_accuracy(&score);
    car_run_free(found.run);
    return status;
}

static car_status compare_gate(const ablation_work *work, const car_cell *cell, int gate, int seeds,
                               const double *whole, car_ablation *ablation, car_error *error) {
    double drops[CAR_ABLATION_SEEDS], unused;
    car_cell *without;
    ablation->gate = car_ablate_gate(cell, gate);
    ablation->possible = car_ablate(cell, gate, &without, NULL) == CAR_OK;
    if (!ablation->possible)
        return CAR_OK;
    car_status status = CAR_OK;
    for (int t = 0; t < work->tasks->count && status == CAR_OK && !*work->stopped; t++) {
        double left[CAR_ABLATION_SEEDS] = {0};
        for (int s = 0; s < seeds && status == CAR_OK && !*work->stopped; s++) {
            status = test_once(work, without, t, s, &left[s], error);
            drops[s] = whole[t * CAR_ABLATION_SEEDS + s] - left[s];
        }
        car_mean_interval(left, seeds, &ablation->left[t], &unused);
        car_mean_interval(whole + (size_t)t * CAR_ABLATION_SEEDS, seeds, &ablation->whole[t],
                          &unused);
        car_mean_interval(drops, seeds, &ablation->drop[t], &ablation->half[t]);
    }
    car_cell_free(without);
    return status;
}

car_status car_ablate_all(const car_search_settings *settings, const car_trial_tasks *tasks,
                          const car_cell *cell, const car_setting_values *best, int seeds,
                          const car_run_tick *tick, bool *stopped, car_ablation *ablations,
                          int *count, car_error *error) {
    double whole[CAR_SEARCH_TASKS * CAR_ABLATION_SEEDS] = {0};
    const ablation_work work = {settings, tasks, best, tick, stopped};
    *stopped = false;
    *count = 0;
    for (int t = 0; t < tasks->count; t++)
        for (int s = 0; s < seeds && !*stopped; s++)
            CAR_TRY(test_once(&work, cell, t, s, &whole[t * CAR_ABLATION_SEEDS + s], error));
    for (int g = 0; g < cell->gate_count && g < CAR_ABLATION_GATES && !*stopped; g++)
        if (car_ablate_gate(cell, g))
            CAR_TRY(compare_gate(&work, cell, g, seeds, whole, &ablations[(*count)++], error));
    return CAR_OK;
}
