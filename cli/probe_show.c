/*
 * probe_show.c: a study as a table with curves for the terminal, and as one HTML file.
 *
 * In: a study. Out: text. A row is a cell at a distance; the spread is that over the seeds.
 */
#include "probe_show.h"
#include "report.h"
#include <math.h>
#include <string.h>

enum { COLUMNS = 9, CELL_LENGTH = 64, CURVE_ROWS = 12, MOST_CELLS = 64 };

typedef struct row {
    char at[COLUMNS][CELL_LENGTH];
} row;

static const char *const heads[COLUMNS] = {"cell",    "distance", "units",   "weights", "solved",
                                           "right %", "error",    "updates", "time"};

static void write_number(char out[CELL_LENGTH], double value, int decimals, double spread,
                         const char *sign) {
    if (!isfinite(value))
        snprintf(out, CELL_LENGTH, "-");
    else if (sign)
        snprintf(out, CELL_LENGTH, "%.*f %s %.*f", decimals, value, sign, decimals, spread);
    else
        snprintf(out, CELL_LENGTH, "%.*f", decimals, value);
}

static int decimals_of(double error) {
    return error >= 1000 ? 0 : error >= 10 ? 1 : 4;
}

static row make_row(const car_probe_study *study, int arm, const char *sign) {
    const car_probe_arm *at = &study->arms[arm];
    car_probe_summary summary = car_probe_summarize(study, arm);
    const char *spread = study->seeds > 1 ? sign : NULL;
    row made = {0};
    snprintf(made.at[0], CELL_LENGTH, "%.24s", study->cells[at->cell].name);
    if (study->task->distance_name)
        snprintf(made.at[1], CELL_LENGTH, "%d", at->distance);
    else
        snprintf(made.at[1], CELL_LENGTH, "-");
    snprintf(made.at[2], CELL_LENGTH, "%d", at->hidden);
    snprintf(made.at[3], CELL_LENGTH, "%lld", (long long)at->weights);
    snprintf(made.at[4], CELL_LENGTH, "%d/%d%s", summary.solved, summary.runs,
             summary.diverged ? " !" : "");
    write_number(made.at[5], 100 * summary.accuracy, 2, 100 * summary.accuracy_spread, spread);
    write_number(made.at[6], summary.error, decimals_of(summary.error), summary.error_spread,
                 spread);
    write_number(made.at[7], summary.updates, 0, 0, NULL);
    car_text time;
    car_text_start(&time, NULL);
    if (summary.runs == 0)
        car_text_format(&time, "-");
    else if (summary.cpu_seconds < 60)
        car_text_format(&time, "%.1fs", summary.cpu_seconds);
    else
        car_draw_duration(&time, summary.cpu_seconds);
    snprintf(made.at[8], CELL_LENGTH, "%s", time.failed ? "?" : time.data);
    car_text_free(&time);
    return made;
}

/* Code points, for columns. */
static int width_of(const char *text) {
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void add_cell(car_text *text, const char *word, int width, bool left) {
    int blanks = width - width_of(word);
    car_text_format(text, "%*s%s%*s", left ? 0 : blanks, "", word, left ? blanks : 0, "");
}

static void measure(const char *const cells[COLUMNS], int widths[COLUMNS]) {
    for (int i = 0; i < COLUMNS; i++)
        widths[i] = width_of(cells[i]) > widths[i] ? width_of(cells[i]) : widths[i];
}

static void add_line(car_text *text, const char *const cells[COLUMNS], const int widths[COLUMNS]) {
    for (int i = 0; i < COLUMNS; i++) {
        if (i > 0)
            car_text_add(text, "  ", 2);
        add_cell(text, cells[i], widths[i], i == 0);
    }
    car_text_add(text, "\n", 1);
}

static void row_cells(const row *from, const char *cells[COLUMNS]) {
    for (int i = 0; i < COLUMNS; i++)
        cells[i] = from->at[i];
}

/* ---- Curves ------------------------------------------------------------------------------------------- */

typedef struct curves {
    double *x, *y, *low, *high; /* [cells][distances] */
    car_series series[MOST_CELLS];
    int count;
} curves;

/* Accuracy in percent against distance; the band is from the worst to the best seed. */
static bool make_curves(const car_probe_study *study, car_arena *arena, curves *made) {
    size_t distances = (size_t)study->distance_count;
    size_t values = distances * (size_t)study->cell_count;
    made->x = car_arena_allocate(arena, values, sizeof(double));
    made->y = car_arena_allocate(arena, values, sizeof(double));
    made->low = car_arena_allocate(arena, values, sizeof(double));
    made->high = car_arena_allocate(arena, values, sizeof(double));
    made->count = study->cell_count < MOST_CELLS ? study->cell_count : MOST_CELLS;
    if (!made->x || !made->y || !made->low || !made->high)
        return false;
    for (size_t i = 0; i < values; i++) {
        car_probe_summary summary = car_probe_summarize(study, (int)i);
        made->x[i] = study->arms[i].distance;
        made->y[i] = 100 * summary.accuracy;
        made->low[i] = summary.runs ? 100 * summary.accuracy_low : NAN;
        made->high[i] = summary.runs ? 100 * summary.accuracy_high : NAN;
    }
    for (int i = 0; i < made->count; i++) {
        size_t at = (size_t)i * distances;
        made->series[i] = (car_series){.name = study->cells[i].name,
                                       .count = (int)distances,
                                       .x = made->x + at,
                                       .y = made->y + at,
                                       .low = study->seeds > 1 ? made->low + at : NULL,
                                       .high = study->seeds > 1 ? made->high + at : NULL};
    }
    return true;
}

/* ---- Terminal ----------------------------------------------------------------------------------------- */

static void add_explanation(const car_probe_study *study, const char *sign, car_text *text) {
    const car_probe_task *task = study->task;
    if (task->distance_name)
        car_text_format(text, "distance: %s; ", task->distance_name);
    car_text_format(text, "right: share of %s of the test; error: %s", task->item,
                    task->error_name);
    if (study->seeds > 1)
        car_text_format(text, ";\n%s: standard deviation over %d seeds", sign, study->seeds);
    car_text_format(
        text, "%supdates: until solved (median); time: of the processor, for one run (mean)\n",
        study->seeds > 1 ? "; " : "\n");
    for (int i = 0; i < study->cell_count * study->distance_count; i++)
        if (car_probe_summarize(study, i).diverged > 0) {
            car_text_format(text, "!: some runs diverged; a smaller --rate or --clip may help\n");
            break;
        }
}

static void add_curves(const car_probe_study *study, bool utf8, bool color, int columns,
                       car_text *text) {
    car_arena *arena = car_arena_create(NULL);
    curves made;
    if (arena && make_curves(study, arena, &made)) {
        car_text_format(text, "\n%s right (%%) against %s%s\n", study->task->item,
                        study->task->distance_name,
                        study->seeds > 1 ? "; band: worst to best seed" : "");
        car_draw_curves(text, made.series, made.count, columns > 100 ? 100 : columns - 1,
                        CURVE_ROWS, utf8, color);
    }
    car_arena_free(arena);
}

void cli_probe_table(const car_probe_study *study, bool utf8, bool color, int columns,
                     car_text *text) {
    const car_probe_task *task = study->task;
    const char *sign = utf8 ? "\u00b1" : "+-", *cells[COLUMNS];
    int widths[COLUMNS] = {0}, arms = study->cell_count * study->distance_count;
    car_text_format(text, "%s: %s (%s)\nsolved: %s\n", task->name, task->summary, task->paper,
                    task->criterion);
    car_text_format(text, "a run: at most %lld updates of %lld %s, %s at rate %g",
                    (long long)study->updates, (long long)study->settings.batch,
                    task->stream ? "streams x 100 symbols" : "sequences", study->settings.optimizer,
                    study->settings.rate);
    if (study->settings.halve_every > 0)
        car_text_format(text, ", half of it after every %lld updates",
                        (long long)study->settings.halve_every);
    car_text_format(text, ", clip %g", study->settings.clip);
    if (study->settings.shift > 0)
        car_text_format(text, ", images moved by up to %lld pixel%s",
                        (long long)study->settings.shift, study->settings.shift > 1 ? "s" : "");
    car_text_format(text, "\n\n");
    measure(heads, widths);
    for (int i = 0; i < arms; i++) {
        row made = make_row(study, i, sign);
        row_cells(&made, cells);
        measure(cells, widths);
    }
    add_line(text, heads, widths);
    for (int i = 0; i < arms; i++) {
        row made = make_row(study, i, sign);
        row_cells(&made, cells);
        add_line(text, cells, widths);
    }
    add_explanation(study, sign, text);
    if (study->distance_count > 1)
        add_curves(study, utf8, color, columns, text);
}

/* ---- Page --------------------------------------------------------------------------------------------- */

static bool add_page_table(const car_probe_study *study, car_arena *arena, car_page *page) {
    static const bool numeric[COLUMNS] = {false, true, true, true, true, true, true, true, true};
    size_t arms = (size_t)study->cell_count * (size_t)study->distance_count;
    row *rows = car_arena_allocate(arena, arms, sizeof *rows);
    const char **cells = car_arena_allocate(arena, arms * COLUMNS, sizeof *cells);
    if (!rows || !cells)
        return false;
    for (size_t i = 0; i < arms; i++) {
        rows[i] = make_row(study, (int)i, "\u00b1");
        row_cells(&rows[i], cells + i * COLUMNS);
    }
    car_page_table(page, heads, COLUMNS, cells, (int)arms, numeric);
    return true;
}

static bool add_page_chart(const car_probe_study *study, car_arena *arena, car_page *page) {
    curves made;
    car_scene scene = {0};
    car_text note;
    if (!make_curves(study, arena, &made))
        return false;
    const int *last = &study->distances[study->distance_count - 1];
    bool bars = study->distance_count == 1;
    const char *what =
        bars ? "A bar is the mean over the seeds, the stroke on it goes from the worst "
               "seed to the best."
             : "A line is the mean over the seeds, its band goes from the worst seed "
               "to the best.";
    car_chart chart = {.title = study->task->summary,
                       .note = study->seeds > 1 ? what : NULL,
                       .x = {.title = study->task->distance_name,
                             .logarithmic = *last >= 10 * study->distances[0]},
                       .y = {.title = "right on the test (%)", .low = 0, .high = 100}};
    car_text_start(&note, NULL);
    car_text_format(&note, "How far each cell reaches: %s right, in percent.", study->task->item);
    if (!bars) {
        car_chart_lines(&chart, made.series, made.count, NULL, &scene);
    } else {
        const char *label = "";
        chart.x = (car_axis){.title = NULL};
        car_chart_bars(&chart, &label, made.series, made.count, NULL, &scene);
    }
    car_page_scene(page, &scene, note.failed ? NULL : note.data);
    car_scene_free(&scene);
    car_text_free(&note);
    return true;
}

static void add_page_text(const car_probe_study *study, car_page *page) {
    car_text text;
    car_text_start(&text, NULL);
    car_text_format(&text,
                    "Paper: %s. A run is solved when: %s. It is then stopped and tested once.",
                    study->task->paper, study->task->criterion);
    car_page_paragraph(page, text.failed ? "" : text.data);
    car_text_free(&text);
    car_text_start(&text, NULL);
    add_explanation(study, "\u00b1", &text);
    car_page_paragraph(page, text.failed ? "" : text.data);
    car_text_free(&text);
}

static car_status write_file(const char *path, const car_text *text, car_error *error) {
    car_file_writer *writer = NULL;
    CAR_TRY(car_file_writer_open(path, NULL, &writer, error));
    car_status status = car_file_writer_write(writer, text->data, text->length, error);
    if (status == CAR_OK)
        return car_file_writer_commit(writer, error);
    car_file_writer_abandon(writer);
    return status;
}

car_status cli_probe_report(const car_probe_study *study, const char *command, const char *path,
                            car_error *error) {
    car_page page;
    car_text text;
    car_arena *arena = car_arena_create(NULL);
    car_page_start(&page, "en", study->task->name, study->task->summary, NULL);
    car_page_section(&page, "Which cell learns it");
    add_page_text(study, &page);
    bool whole =
        arena && add_page_chart(study, arena, &page) && add_page_table(study, arena, &page);
    car_page_section(&page, "To repeat it");
    car_page_code(&page, command);
    car_text_start(&text, NULL);
    car_status status = car_page_finish(&page, &text, error);
    if (status == CAR_OK && (!whole || text.failed))
        status = car_fail(error, CAR_MEMORY, "%.300s: no memory for the report", path);
    if (status == CAR_OK)
        status = write_file(path, &text, error);
    car_text_free(&text);
    car_arena_free(arena);
    return status;
}
