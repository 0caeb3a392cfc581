/*
 * study_page.c: a study as one HTML file.
 *
 * In:  a study, what is known of it, ablations. Out: a page: where trials ended, progress, the tree of ancestors of the best
 *      cells, the best cells as equations, what each gate of the best one is worth.
 */
#include "report.h"
#include "store.h"
#include <math.h>
#include <string.h>

enum { TREE_CELLS = 16, MEAN_OF = 20, WORDS = 512, LABEL = 48 };

/* Short names of the tasks. */
typedef struct task_labels {
    char of[CAR_SEARCH_TASKS][LABEL];
} task_labels;

static task_labels label_tasks(const car_study *study) {
    task_labels labels = {0};
    for (int t = 0; t < study->settings.task_count; t++)
        car_task_label(study->settings.tasks[t], labels.of[t], LABEL);
    return labels;
}

static void paragraph(car_page *page, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void paragraph(car_page *page, const char *format, ...) {
    char words[WORDS];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    car_page_paragraph(page, words);
}

/* ---- Where trials ended ------------------------------------------------------------------------------- */

static bool ends(const car_study_trial *trial, const char *word) {
    return trial->ended && strcmp(trial->ended, word) == 0;
}

static int count_ends(const car_study_view *view, const char *word) {
    int count = 0;
    for (int i = 0; i < view->trial_count; i++)
        count += ends(&view->trials[i], word);
    return count;
}

static void add_summary(const car_study *study, const car_study_view *view, car_page *page) {
    const car_search_settings *settings = &study->settings;
    const char *cells[(CAR_SEARCH_TASKS + 5) * 2];
    char numbers[CAR_SEARCH_TASKS + 5][24];
    task_labels labels = label_tasks(study);
    int rows = 0, failed = count_ends(view, "failed") + count_ends(view, "given up");
    static const char *const heads[] = {"trials", "number"};
    static const bool numeric[] = {false, true};
    char at[CAR_SEARCH_TASKS][LABEL + 16];
    const char *names[CAR_SEARCH_TASKS + 5] = {"in all", "ended at the first filter"};
    int counts[CAR_SEARCH_TASKS + 5] = {view->trial_count, count_ends(view, "memory")};
    rows = 2;
    for (int t = 0; t < settings->task_count; t++, rows++) {
        snprintf(at[t], sizeof at[t], "ended at %s", labels.of[t]);
        names[rows] = at[t];
        counts[rows] = count_ends(view, settings->tasks[t]);
    }
    names[rows] = "through all tasks";
    counts[rows++] = count_ends(view, "finished");
    names[rows] = "failed or given up";
    counts[rows++] = failed;
    for (int i = 0; i < rows; i++) {
        snprintf(numbers[i], sizeof numbers[i], "%d", counts[i]);
        cells[2 * i] = names[i];
        cells[2 * i + 1] = numbers[i];
    }
    paragraph(page,
              "Every trial trains a cell on the tasks in order, %lld random settings each, %lld "
              "updates, about %lld weights%s. It ends at the first task on which its best is below "
              "%.2f of the tuned GRU's; the table counts where.",
              (long long)settings->settings, (long long)settings->updates,
              (long long)settings->weights, settings->halving ? ", with successive halving" : "",
              settings->least);
    car_page_table(page, heads, 2, cells, rows, numeric);
}

/* ---- Progress ----------------------------------------------------------------------------------------- */

static car_status add_progress(const car_study *study, const car_study_view *view, car_page *page,
                               car_error *error) {
    size_t room = (size_t)view->trial_count + 1;
    double *x = car_arena_allocate(view->arena, room, sizeof *x);
    double *best = car_arena_allocate(view->arena, room, sizeof *best);
    double *mean = car_arena_allocate(view->arena, room, sizeof *mean);
    double *last = car_arena_allocate(view->arena, room, sizeof *last);
    if (!x || !best || !mean || !last)
        return car_fail(error, CAR_MEMORY, "search report: out of memory");
    double most = NAN;
    int known = 0;
    for (int i = 0; i < view->trial_count; i++) {
        const car_study_trial *trial = &view->trials[i];
        bool reference = strcmp(trial->key, study->reference) == 0;
        if (!isnan(trial->score) && !reference) {
            most = trial->score <= most ? most : trial->score;
            last[known++] = trial->score;
        }
        double sum = 0;
        int first = known > MEAN_OF ? known - MEAN_OF : 0;
        for (int k = first; k < known; k++)
            sum += last[k];
        x[i] = (double)trial->number;
        best[i] = most;
        mean[i] = known > first ? sum / (known - first) : NAN;
    }
    const car_series series[] = {
        {.name = "best so far, the GRU left out", .count = view->trial_count, .x = x, .y = best},
        {.name = "mean of the last 20", .count = view->trial_count, .x = x, .y = mean}};
    const car_chart chart = {.title = "Score of the trials that came through all tasks",
                             .note = "1 is the tuned GRU at its best.",
                             .x = {.title = "trial"},
                             .y = {.title = "score"}};
    car_scene scene;
    car_chart_lines(&chart, series, 2, NULL, &scene);
    car_page_scene(page, &scene,
                   "The score of a trial is the least, over the tasks, of its best result over the "
                   "best of the GRU in the whole study.");
    car_scene_free(&scene);
    return CAR_OK;
}

/* ---- Ancestors ---------------------------------------------------------------------------------------- */

/* Places of the cells that are shown: the best and all their ancestors. */
typedef struct page_tree {
    const car_study_view *view;
    int *parent;      /* [cells] -1: none */
    int *depth, *row; /* [cells] row -1: not shown */
    int rows, deepest;
} page_tree;

static car_status plant(const car_study_view *view, page_tree *tree, car_error *error) {
    size_t count = (size_t)view->cell_count + 1;
    tree->view = view;
    tree->parent = car_arena_allocate(view->arena, count, sizeof(int));
    tree->depth = car_arena_allocate(view->arena, count, sizeof(int));
    tree->row = car_arena_allocate(view->arena, count, sizeof(int));
    if (!tree->parent || !tree->depth || !tree->row)
        return car_fail(error, CAR_MEMORY, "search report: out of memory");
    for (int i = 0; i < view->cell_count; i++) {
        const char *parent = view->cells[i].parent;
        int at = parent ? car_study_find(view, parent) : -1;
        tree->row[i] = -1;
        tree->parent[i] = at < i ? at : -1; /* parents came first */
        tree->depth[i] = tree->parent[i] >= 0 ? tree->depth[at] + 1 : 0;
    }
    return CAR_OK;
}

/* Rows in the order of a walk down the tree; `shown` marks what is on it. */
static void walk(page_tree *tree, const bool *shown, int from) {
    if (!shown[from])
        return;
    tree->row[from] = tree->rows++;
    tree->deepest = tree->depth[from] > tree->deepest ? tree->depth[from] : tree->deepest;
    for (int i = from + 1; i < tree->view->cell_count; i++)
        if (tree->parent[i] == from)
            walk(tree, shown, i);
}

static void draw_cell(const page_tree *tree, int at, double step, double line, car_scene *scene) {
    const car_study_cell *cell = &tree->view->cells[at];
    double x = 24 + step * tree->depth[at], y = 20 + line * tree->row[at];
    int parent = tree->parent[at];
    char words[96];
    if (parent >= 0) {
        double px = 24 + step * tree->depth[parent], py = 20 + line * tree->row[parent];
        const car_point corner[] = {{px, py}, {px, y}, {x, y}};
        car_scene_path(scene, corner, 3, 5, false, false, (car_style){.line = CAR_INK_EDGE});
    }
    bool listed = !isnan(cell->score);
    car_ink ink = !listed ? CAR_INK_GRID : cell->score >= 1 ? CAR_INK_GOOD : CAR_INK_SERIES_1;
    car_scene_circle(scene, x, y, 5, (car_style){.fill = ink, .line = CAR_INK_EDGE});
    if (listed)
        snprintf(words, sizeof words, "%.40s  %.3f", cell->name, cell->score);
    else
        snprintf(words, sizeof words, "%.40s", cell->name);
    car_scene_text(scene, x + 10, y + 4, (car_font){.size = 12, .ink = CAR_INK_TEXT}, words);
}

static car_status add_tree(const car_study_view *view, car_page *page, car_error *error) {
    page_tree tree = {0};
    CAR_TRY(plant(view, &tree, error));
    bool *shown = car_arena_allocate(view->arena, (size_t)view->cell_count + 1, sizeof *shown);
    if (!shown)
        return car_fail(error, CAR_MEMORY, "search report: out of memory");
    for (int i = 0; i < view->listed && i < TREE_CELLS; i++)
        for (int at = view->list[i]; at >= 0; at = tree.parent[at])
            shown[at] = true;
    for (int i = 0; i < view->cell_count; i++)
        if (tree.parent[i] < 0)
            walk(&tree, shown, i);
    double line = 22, step = tree.deepest > 0 ? 560.0 / tree.deepest : 0;
    step = step > 90 ? 90 : step;
    car_scene scene;
    car_scene_start(&scene, 24 + step * tree.deepest + 190, 40 + line * tree.rows,
                    "The best cells and their ancestors", NULL);
    for (int i = view->cell_count; i-- > 0;)
        if (tree.row[i] >= 0)
            draw_cell(&tree, i, step, line, &scene);
    car_page_scene(
        page, &scene,
        "The best cells and all their ancestors, with scores; a line goes from parent to "
        "child. Green: not behind the tuned GRU on any task. Grey: not on the list.");
    car_scene_free(&scene);
    return CAR_OK;
}

/* ---- The best cells ----------------------------------------------------------------------------------- */

/* The text without the lines that tell its ancestors. */
static void write_equations(const char *cell, car_text *text) {
    for (const char *line = cell, *next; *line; line = next) {
        size_t length = strcspn(line, "\n");
        next = line + length + (line[length] == '\n');
        if (line[0] != '#' && strncmp(line, "torch ", 6) != 0)
            car_text_add(text, line, (size_t)(next - line));
    }
}

static void add_cell(const car_study *study, const car_study_cell *cell, int place,
                     car_page *page) {
    const car_search_settings *settings = &study->settings;
    char numbers[CAR_SEARCH_TASKS][3][24];
    const char *cells[CAR_SEARCH_TASKS * 4];
    static const char *const heads[] = {"task", "accuracy %", "nats", "of the tuned GRU"};
    static const bool numeric[] = {false, true, true, true};
    task_labels labels = label_tasks(study);
    car_text text;
    for (int t = 0; t < settings->task_count; t++) {
        snprintf(numbers[t][0], 24, "%.2f", 100 * cell->accuracy[t]);
        snprintf(numbers[t][1], 24, isnan(cell->nats[t]) ? "-" : "%.3f", cell->nats[t]);
        snprintf(numbers[t][2], 24, "%.3f", cell->ratio[t]);
        cells[4 * t] = labels.of[t];
        for (int i = 0; i < 3; i++)
            cells[4 * t + 1 + i] = numbers[t][i];
    }
    paragraph(page, "%d. %s: score %.4f, %d trials.", place, cell->name, cell->score, cell->trials);
    car_text_start(&text, NULL);
    write_equations(cell->text, &text);
    car_page_code(page, text.failed ? "" : text.data);
    car_text_free(&text);
    car_page_table(page, heads, 4, cells, settings->task_count, numeric);
}

/* ---- Gates -------------------------------------------------------------------------------------------- */

static void add_gate_table(const car_study *study, const car_ablation *ablations, int count,
                           car_page *page) {
    int tasks = study->settings.task_count;
    char words[CAR_ABLATION_GATES][CAR_SEARCH_TASKS][64];
    const char *cells[CAR_ABLATION_GATES * (CAR_SEARCH_TASKS + 1)];
    const char *heads[CAR_SEARCH_TASKS + 1] = {"without"};
    bool numeric[CAR_SEARCH_TASKS + 1] = {false};
    task_labels labels = label_tasks(study);
    for (int t = 0; t < tasks; t++) {
        heads[t + 1] = labels.of[t];
        numeric[t + 1] = true;
    }
    for (int g = 0; g < count; g++) {
        cells[g * (tasks + 1)] = ablations[g].gate;
        for (int t = 0; t < tasks; t++) {
            if (ablations[g].possible)
                snprintf(words[g][t], 64, "%.2f \u00b1 %.2f", 100 * ablations[g].drop[t],
                         100 * ablations[g].half[t]);
            else
                snprintf(words[g][t], 64, "no cell is left");
            cells[g * (tasks + 1) + t + 1] = words[g][t];
        }
    }
    car_page_table(page, heads, tasks + 1, cells, count, numeric);
}

static void add_gate_chart(const car_study *study, const car_ablation *ablations, int count,
                           car_page *page) {
    int tasks = study->settings.task_count;
    const char *labels[CAR_ABLATION_GATES];
    double drop[CAR_SEARCH_TASKS][CAR_ABLATION_GATES], low[CAR_SEARCH_TASKS][CAR_ABLATION_GATES];
    double high[CAR_SEARCH_TASKS][CAR_ABLATION_GATES];
    car_series series[CAR_SEARCH_TASKS] = {0};
    task_labels names = label_tasks(study);
    for (int t = 0; t < tasks; t++) {
        for (int g = 0; g < count; g++) {
            double half = isnan(ablations[g].half[t]) ? 0 : ablations[g].half[t];
            labels[g] = ablations[g].gate;
            drop[t][g] = ablations[g].possible ? 100 * ablations[g].drop[t] : NAN;
            low[t][g] = drop[t][g] - 100 * half;
            high[t][g] = drop[t][g] + 100 * half;
        }
        series[t] = (car_series){
            .name = names.of[t], .count = count, .y = drop[t], .low = low[t], .high = high[t]};
    }
    const car_chart chart = {.title = "Accuracy lost without each gate",
                             .y = {.title = "percentage points"}};
    car_scene scene;
    car_chart_bars(&chart, labels, series, tasks, NULL, &scene);
    car_page_scene(page, &scene, "More is more important; whiskers are 95 % intervals.");
    car_scene_free(&scene);
}

static void add_gates(const car_study *study, const car_study_view *view,
                      const car_ablation *ablations, int count, int seeds, car_page *page) {
    if (count == 0) {
        car_page_paragraph(page, seeds > 0 ? "The best cell has no gate with a name."
                                           : "No ablations were made (--seeds 0).");
        return;
    }
    paragraph(page,
              "Each gate of %s is replaced by 1, and the cell is trained again with its best "
              "settings and about as many weights, %d seeds, judged on the test set. The table and "
              "the chart show how many percentage points of accuracy are lost, with the 95 %% "
              "interval of the mean difference (Student, seed by seed).",
              view->cells[view->list[0]].name, seeds);
    add_gate_chart(study, ablations, count, page);
    add_gate_table(study, ablations, count, page);
}

/* ---- The page ----------------------------------------------------------------------------------------- */

static car_status fill_page(const car_study *study, const car_study_view *view, int cells,
                            const car_ablation *ablations, int count, int seeds, car_page *page,
                            car_error *error) {
    car_page_section(page, "How it went");
    add_summary(study, view, page);
    CAR_TRY(add_progress(study, view, page, error));
    if (view->listed == 0)
        return CAR_OK;
    car_page_section(page, "Who came from whom");
    CAR_TRY(add_tree(view, page, error));
    car_page_section(page, "The best cells");
    for (int i = 0; i < view->listed && i < cells; i++)
        add_cell(study, &view->cells[view->list[i]], i + 1, page);
    car_page_section(page, "What the gates are worth");
    add_gates(study, view, ablations, count, seeds, page);
    return CAR_OK;
}

car_status car_study_page(const car_study *study, const car_study_view *view, int cells,
                          const car_ablation *ablations, int count, int seeds, car_text *text,
                          car_error *error) {
    car_page page;
    char title[128];
    snprintf(title, sizeof title, "Search: %.80s", study->name);
    car_page_start(&page, "en", title,
                   "Cells found by mutation (Jozefowicz, Zaremba & Sutskever 2015).", NULL);
    car_status status = fill_page(study, view, cells, ablations, count, seeds, &page, error);
    if (status == CAR_OK)
        return car_page_finish(&page, text, error);
    car_page_free(&page);
    return status;
}
