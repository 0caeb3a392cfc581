/*
 * chart.c: numbers as charts.
 *
 * In: series, labels, a matrix; titles and axes. Out: a scene with title, note, legend, axes with ticks at round
 * numbers. A series has a colour and a dash of its own, so that colour is never the only difference.
 */
#include "report.h"
#include <math.h>
#include <string.h>

enum { LEFT = 62, RIGHT = 18, BOTTOM = 46, LABEL = 11, TITLE = 15, NOTE = 12 };

/* Where a value of an axis stands. */
typedef struct car_scale {
    double low, high, from, to;
    bool logarithmic;
} car_scale;

typedef struct car_frame {
    const car_chart *chart;
    car_scene *scene;
    car_scale x, y;
    double top;
} car_frame;

static bool drawable(double value, bool logarithmic) {
    return isfinite(value) && (!logarithmic || value > 0);
}

static double place(const car_scale *scale, double value) {
    double low = scale->low, high = scale->high;
    if (scale->logarithmic) {
        low = log10(low);
        high = log10(high);
        value = log10(value);
    }
    return scale->from + (value - low) / (high - low) * (scale->to - scale->from);
}

static double clamp(double value, double low, double high) {
    return value < low ? low : value > high ? high : value;
}

static void widen(const double *values, int count, bool logarithmic, double *low, double *high) {
    for (int i = 0; values && i < count; i++)
        if (drawable(values[i], logarithmic)) {
            *low = fmin(*low, values[i]);
            *high = fmax(*high, values[i]);
        }
}

/* The axis' own range, or one that holds low .. high; never empty. */
static car_scale scale_for(const car_axis *axis, double low, double high) {
    bool given = axis->low < axis->high && drawable(axis->low, axis->logarithmic) &&
                 drawable(axis->high, axis->logarithmic);
    car_scale scale = {.logarithmic = axis->logarithmic};
    scale.low = given ? axis->low : low;
    scale.high = given ? axis->high : high;
    if (!(scale.low <= scale.high))
        scale.low = axis->logarithmic ? 1 : 0, scale.high = axis->logarithmic ? 10 : 1;
    if (scale.low == scale.high && axis->logarithmic)
        scale.low /= 2, scale.high *= 2;
    else if (scale.low == scale.high) {
        double margin = scale.low == 0 ? 1 : fabs(scale.low) / 2;
        scale.low -= margin, scale.high += margin;
    }
    return scale;
}

/* ---- Title, legend, axes ------------------------------------------------------------------------------ */

static void start(car_frame *frame, const car_chart *chart, const car_allocator *allocator,
                  car_scene *scene) {
    double width = chart->width > 0 ? chart->width : 640,
           height = chart->height > 0 ? chart->height : 360;
    *frame = (car_frame){.chart = chart, .scene = scene, .top = 14};
    car_scene_start(scene, width, height, chart->title, allocator);
    if (chart->title) {
        frame->top += TITLE;
        car_font font = {.size = TITLE, .ink = CAR_INK_TEXT, .bold = true};
        frame->top = car_scene_lines(scene, 14, frame->top, width - 28, font, chart->title) - 4;
    }
    if (chart->note) {
        car_font font = {.size = NOTE, .ink = CAR_INK_MUTED};
        frame->top = car_scene_lines(scene, 14, frame->top + 2, width - 28, font, chart->note) - 4;
    }
}

static car_style series_style(int index) {
    return (car_style){
        .line = car_ink_of_series(index), .thickness = 2, .dash = (car_dash)(index % 4)};
}

static void draw_legend(car_frame *frame, const car_series *series, int count, bool filled) {
    double x = LEFT, y = frame->top + 12, width = frame->scene->width;
    bool any = false;
    for (int s = 0; s < count; s++) {
        if (!series[s].name)
            continue;
        double needed = 34 + car_font_width(series[s].name, LABEL, false) + 14;
        if (x > LEFT && x + needed > width - RIGHT)
            x = LEFT, y += LABEL + 6;
        if (filled)
            car_scene_rectangle(frame->scene, x + 8, y - 9, 12, 10, 2,
                                (car_style){.fill = car_ink_of_series(s)});
        else
            car_scene_line(frame->scene, x, y - 4, x + 28, y - 4, series_style(s));
        car_scene_text(frame->scene, x + 34, y, (car_font){.size = LABEL, .ink = CAR_INK_TEXT},
                       series[s].name);
        x += needed;
        any = true;
    }
    if (any)
        frame->top = y + 4;
}

static void place_frame(car_frame *frame) {
    frame->x.from = LEFT;
    frame->x.to = frame->scene->width - RIGHT;
    frame->y.from = frame->scene->height - BOTTOM;
    frame->y.to = frame->top + 12;
}

static void draw_y_axis(car_frame *frame) {
    car_ticks ticks;
    car_ticks_choose(frame->y.low, frame->y.high, 6, frame->y.logarithmic, &ticks);
    for (int i = 0; i < ticks.count; i++) {
        double y = place(&frame->y, ticks.at[i]);
        car_text label;
        car_text_start(&label, NULL);
        car_ticks_label(&ticks, i, &label);
        car_scene_line(frame->scene, frame->x.from, y, frame->x.to, y,
                       (car_style){.line = CAR_INK_GRID});
        if (label.failed)
            frame->scene->no_memory = true;
        else
            car_scene_text(
                frame->scene, frame->x.from - 6, y + 4,
                (car_font){.size = LABEL, .ink = CAR_INK_MUTED, .anchor = CAR_ANCHOR_END},
                label.data);
        car_text_free(&label);
    }
    if (frame->chart->y.title)
        car_scene_text(frame->scene, 16, (frame->y.from + frame->y.to) / 2,
                       (car_font){.size = LABEL + 1,
                                  .ink = CAR_INK_TEXT,
                                  .anchor = CAR_ANCHOR_MIDDLE,
                                  .upright = true},
                       frame->chart->y.title);
}

static void draw_x_title(car_frame *frame) {
    if (frame->chart->x.title)
        car_scene_text(
            frame->scene, (frame->x.from + frame->x.to) / 2, frame->scene->height - 10,
            (car_font){.size = LABEL + 1, .ink = CAR_INK_TEXT, .anchor = CAR_ANCHOR_MIDDLE},
            frame->chart->x.title);
}

static void draw_x_axis(car_frame *frame) {
    car_ticks ticks;
    double bottom = frame->y.from;
    car_ticks_choose(frame->x.low, frame->x.high, 8, frame->x.logarithmic, &ticks);
    car_scene_line(frame->scene, frame->x.from, bottom, frame->x.to, bottom,
                   (car_style){.line = CAR_INK_MUTED});
    for (int i = 0; i < ticks.count; i++) {
        double x = place(&frame->x, ticks.at[i]);
        car_text label;
        car_text_start(&label, NULL);
        car_ticks_label(&ticks, i, &label);
        car_scene_line(frame->scene, x, bottom, x, bottom + 4, (car_style){.line = CAR_INK_MUTED});
        if (label.failed)
            frame->scene->no_memory = true;
        else
            car_scene_text(
                frame->scene, x, bottom + 16,
                (car_font){.size = LABEL, .ink = CAR_INK_MUTED, .anchor = CAR_ANCHOR_MIDDLE},
                label.data);
        car_text_free(&label);
    }
    draw_x_title(frame);
}

/* ---- Lines -------------------------------------------------------------------------------------------- */

static bool has_point(const car_frame *frame, const car_series *series, int index, bool band) {
    return drawable(series->x[index], frame->x.logarithmic) &&
           drawable(series->y[index], frame->y.logarithmic) &&
           (!band || (drawable(series->low[index], frame->y.logarithmic) &&
                      drawable(series->high[index], frame->y.logarithmic)));
}

static car_point point_of(const car_frame *frame, double x, double y) {
    return (car_point){place(&frame->x, x),
                       clamp(place(&frame->y, y), frame->y.to - 2, frame->y.from + 2)};
}

/* A run of values without a gap, [begin, end). */
static void draw_run(car_frame *frame, const car_series *series, int begin, int end,
                     car_style style, bool band) {
    int count = end - begin;
    size_t needed = (size_t)count * (band ? 2 : 1);
    car_point *points = car_allocate(NULL, needed, sizeof *points);
    if (!points) {
        frame->scene->no_memory = true;
        return;
    }
    for (int i = 0; i < count; i++) {
        double x = series->x[begin + i];
        points[i] = point_of(frame, x, band ? series->high[begin + i] : series->y[begin + i]);
        if (band)
            points[(int)needed - 1 - i] = point_of(frame, x, series->low[begin + i]);
    }
    if (count == 1 && !band)
        car_scene_circle(frame->scene, points[0].x, points[0].y, 3,
                         (car_style){.fill = style.line});
    else if (count > 1)
        car_scene_path(frame->scene, points, (int)needed, 0, band, false, style);
    car_release(NULL, points);
}

static void draw_runs(car_frame *frame, const car_series *series, car_style style, bool band) {
    for (int begin = 0; begin < series->count;) {
        int end = begin;
        while (end < series->count && has_point(frame, series, end, band))
            end++;
        if (end > begin)
            draw_run(frame, series, begin, end, style, band);
        begin = end + 1;
    }
}

static void find_ranges(car_frame *frame, const car_series *series, int count) {
    const car_chart *chart = frame->chart;
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (int s = 0; s < count; s++) {
        widen(series[s].x, series[s].count, chart->x.logarithmic, &low[0], &high[0]);
        widen(series[s].y, series[s].count, chart->y.logarithmic, &low[1], &high[1]);
        widen(series[s].low, series[s].count, chart->y.logarithmic, &low[1], &high[1]);
        widen(series[s].high, series[s].count, chart->y.logarithmic, &low[1], &high[1]);
    }
    frame->x = scale_for(&chart->x, low[0], high[0]);
    frame->y = scale_for(&chart->y, low[1], high[1]);
}

void car_chart_lines(const car_chart *chart, const car_series *series, int count,
                     const car_allocator *allocator, car_scene *scene) {
    car_frame frame;
    start(&frame, chart, allocator, scene);
    draw_legend(&frame, series, count, false);
    find_ranges(&frame, series, count);
    place_frame(&frame);
    draw_y_axis(&frame);
    draw_x_axis(&frame);
    for (int s = 0; s < count; s++)
        if (series[s].low && series[s].high)
            draw_runs(&frame, &series[s],
                      (car_style){.fill = car_ink_of_series(s), .opacity = 0.18}, true);
    for (int s = 0; s < count; s++)
        draw_runs(&frame, &series[s], series_style(s), false);
}

/* ---- Bars --------------------------------------------------------------------------------------------- */

static void draw_bar(car_frame *frame, const car_series *series, int index, int label, double x,
                     double width) {
    double value = series->y[label];
    if (!drawable(value, frame->y.logarithmic))
        return;
    double zero = frame->y.logarithmic ? frame->y.low : clamp(0, frame->y.low, frame->y.high);
    double top = clamp(place(&frame->y, value), frame->y.to, frame->y.from),
           base = place(&frame->y, zero);
    car_mark *bar =
        car_scene_rectangle(frame->scene, x, fmin(top, base), width, fmax(fabs(base - top), 0.5), 2,
                            (car_style){.fill = car_ink_of_series(index)});
    char hint[200];
    snprintf(hint, sizeof hint, "%.150s: %.6g", series->name ? series->name : "value", value);
    car_scene_hint(frame->scene, bar, hint);
    if (!series->low || !series->high || !drawable(series->low[label], frame->y.logarithmic) ||
        !drawable(series->high[label], frame->y.logarithmic))
        return;
    double middle = x + width / 2;
    car_scene_line(frame->scene, middle, place(&frame->y, series->low[label]), middle,
                   place(&frame->y, series->high[label]),
                   (car_style){.line = CAR_INK_TEXT, .thickness = 1.5});
}

void car_chart_bars(const car_chart *chart, const char *const *labels, const car_series *series,
                    int count, const car_allocator *allocator, car_scene *scene) {
    car_frame frame;
    start(&frame, chart, allocator, scene);
    draw_legend(&frame, series, count, true);
    int groups = count > 0 ? series[0].count : 0;
    double low = chart->y.logarithmic ? INFINITY : 0, high = -INFINITY;
    for (int s = 0; s < count; s++) {
        widen(series[s].y, groups, chart->y.logarithmic, &low, &high);
        widen(series[s].low, groups, chart->y.logarithmic, &low, &high);
        widen(series[s].high, groups, chart->y.logarithmic, &low, &high);
    }
    frame.y = scale_for(&chart->y, low, high);
    place_frame(&frame);
    draw_y_axis(&frame);
    double step = (frame.x.to - frame.x.from) / (groups ? groups : 1),
           width = step * 0.72 / (count ? count : 1);
    for (int g = 0; g < groups; g++) {
        double x = frame.x.from + step * g + step * 0.14;
        for (int s = 0; s < count; s++)
            draw_bar(&frame, &series[s], s, g, x + width * s, width * 0.92);
        char label[128];
        size_t bytes = car_font_fit(labels[g], step, LABEL, false);
        snprintf(label, sizeof label, "%.*s", (int)(bytes < 127 ? bytes : 127), labels[g]);
        car_scene_text(scene, x + step * 0.36, frame.y.from + 16,
                       (car_font){.size = LABEL, .ink = CAR_INK_MUTED, .anchor = CAR_ANCHOR_MIDDLE},
                       label);
    }
    car_scene_line(scene, frame.x.from, frame.y.from, frame.x.to, frame.y.from,
                   (car_style){.line = CAR_INK_MUTED});
    draw_x_title(&frame);
}

/* ---- Histograms --------------------------------------------------------------------------------------- */

/* shares [bins] of the values within [low, high]. */
static void count_bins(const car_series *series, double low, double high, int bins,
                       double *shares) {
    int total = 0;
    for (int i = 0; i < series->count; i++) {
        double value = series->y[i];
        if (!isfinite(value))
            continue;
        total++;
        if (value < low || value > high)
            continue;
        int bin = (int)((value - low) / (high - low) * bins);
        shares[bin < bins ? bin : bins - 1]++;
    }
    for (int b = 0; b < bins; b++)
        shares[b] /= total ? total : 1;
}

static void draw_outline(car_frame *frame, const double *shares, int bins, int index) {
    car_point *points = car_allocate(NULL, (size_t)bins * 2 + 2, sizeof *points);
    if (!points) {
        frame->scene->no_memory = true;
        return;
    }
    double step = (frame->x.to - frame->x.from) / bins;
    points[0] = (car_point){frame->x.from, frame->y.from};
    for (int b = 0; b < bins; b++) {
        double y = place(&frame->y, shares[b]);
        points[2 * b + 1] = (car_point){frame->x.from + step * b, y};
        points[2 * b + 2] = (car_point){frame->x.from + step * (b + 1), y};
    }
    points[2 * bins + 1] = (car_point){frame->x.to, frame->y.from};
    car_scene_path(frame->scene, points, 2 * bins + 2, 0, true, false,
                   (car_style){.fill = car_ink_of_series(index), .opacity = 0.22});
    car_scene_path(frame->scene, points, 2 * bins + 2, 0, false, false, series_style(index));
    car_release(NULL, points);
}

void car_chart_steps(const car_chart *chart, const car_series *series, int count,
                     const car_allocator *allocator, car_scene *scene) {
    car_frame frame;
    double most = 0;
    start(&frame, chart, allocator, scene);
    draw_legend(&frame, series, count, false);
    for (int s = 0; s < count; s++)
        for (int i = 0; i < series[s].count; i++)
            most = fmax(most, series[s].y[i]);
    frame.x = scale_for(&chart->x, 0, 1);
    frame.y = scale_for(&(car_axis){.low = chart->y.low, .high = chart->y.high}, 0, most);
    place_frame(&frame);
    draw_y_axis(&frame);
    draw_x_axis(&frame);
    for (int s = 0; s < count; s++)
        if (series[s].count > 0)
            draw_outline(&frame, series[s].y, series[s].count, s);
}

void car_chart_histogram(const car_chart *chart, const car_series *series, int count, int bins,
                         const car_allocator *allocator, car_scene *scene) {
    double low = INFINITY, high = -INFINITY;
    bins = bins < 1 ? 1 : bins > 1000 ? 1000 : bins;
    for (int s = 0; s < count; s++)
        widen(series[s].y, series[s].count, false, &low, &high);
    car_scale range = scale_for(&(car_axis){.low = chart->x.low, .high = chart->x.high}, low, high);
    size_t kept = (size_t)(count > 0 ? count : 1);
    double *shares = car_allocate(allocator, kept * (size_t)bins, sizeof *shares);
    car_series *counted = car_allocate(allocator, kept, sizeof *counted);
    for (int s = 0; s < count && shares && counted; s++) {
        double *own = shares + (size_t)s * (size_t)bins;
        count_bins(&series[s], range.low, range.high, bins, own);
        counted[s] = (car_series){.name = series[s].name, .count = bins, .y = own};
    }
    car_chart ranged = *chart;
    ranged.x.low = range.low;
    ranged.x.high = range.high;
    ranged.x.logarithmic = false;
    car_chart_steps(&ranged, counted, shares && counted ? count : 0, allocator, scene);
    scene->no_memory |= !shares || !counted;
    car_release(allocator, shares);
    car_release(allocator, counted);
}

/* ---- Heat maps ---------------------------------------------------------------------------------------- */

static void draw_cell(car_frame *frame, double value, double x, double y, double width,
                      double height, bool numbers) {
    double share = (value - frame->y.low) / (frame->y.high - frame->y.low);
    car_style style = {.fill = CAR_INK_SERIES_1, .opacity = 0.02 + 0.98 * clamp(share, 0, 1)};
    if (!isfinite(value))
        style = (car_style){.fill = CAR_INK_NONE, .line = CAR_INK_GRID};
    char label[32];
    snprintf(label, sizeof label, isfinite(value) ? "%.3g" : "-", value);
    car_mark *cell = car_scene_rectangle(frame->scene, x, y, width, height, 0, style);
    car_scene_hint(frame->scene, cell, label);
    if (numbers && car_font_width(label, LABEL, false) < width)
        car_scene_text(frame->scene, x + width / 2, y + height / 2 + 4,
                       (car_font){.size = LABEL,
                                  .ink = share > 0.55 ? CAR_INK_PAPER : CAR_INK_TEXT,
                                  .anchor = CAR_ANCHOR_MIDDLE},
                       label);
}

static void draw_heat_labels(car_frame *frame, const char *const *labels, int count, bool rows) {
    double from = rows ? frame->y.to : frame->x.from, to = rows ? frame->y.from : frame->x.to;
    double step = (to - from) / count;
    int stride = (int)fmax(1, ceil((rows ? LABEL + 2 : 30) / step));
    for (int i = 0; i < count; i += stride) {
        char label[64];
        double room = rows ? LEFT - 26 : step * stride;
        size_t bytes = car_font_fit(labels[i], room, LABEL, false);
        snprintf(label, sizeof label, "%.*s", (int)(bytes < 63 ? bytes : 63), labels[i]);
        car_font font = {.size = LABEL,
                         .ink = CAR_INK_MUTED,
                         .anchor = rows ? CAR_ANCHOR_END : CAR_ANCHOR_MIDDLE};
        double middle = from + step * (i + 0.5);
        car_scene_text(frame->scene, rows ? frame->x.from - 6 : middle,
                       rows ? middle + 4 : frame->y.from + 16, font, label);
    }
}

void car_chart_heat(const car_chart *chart, const double *values, int rows, int columns,
                    const char *const *row_labels, const char *const *column_labels,
                    const car_allocator *allocator, car_scene *scene) {
    car_frame frame;
    start(&frame, chart, allocator, scene);
    double low = INFINITY, high = -INFINITY;
    if (rows > 0 && columns > 0 && rows <= CAR_MARK_LIMIT / columns)
        widen(values, rows * columns, false, &low, &high);
    else
        rows = columns = 0, scene->bad_place = true;
    frame.y = scale_for(&(car_axis){.low = chart->y.low, .high = chart->y.high}, low, high);
    place_frame(&frame);
    double width = (frame.x.to - frame.x.from) / (columns ? columns : 1),
           height = (frame.y.from - frame.y.to) / (rows ? rows : 1);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            draw_cell(&frame, values[(size_t)r * (size_t)columns + (size_t)c],
                      frame.x.from + width * c, frame.y.to + height * r, width, height,
                      rows <= 16 && columns <= 16);
    if (row_labels && rows)
        draw_heat_labels(&frame, row_labels, rows, true);
    if (column_labels && columns)
        draw_heat_labels(&frame, column_labels, columns, false);
    draw_x_title(&frame);
    if (chart->y.title)
        car_scene_text(scene, 16, (frame.y.from + frame.y.to) / 2,
                       (car_font){.size = LABEL + 1,
                                  .ink = CAR_INK_TEXT,
                                  .anchor = CAR_ANCHOR_MIDDLE,
                                  .upright = true},
                       chart->y.title);
}
