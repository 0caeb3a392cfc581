/*
 * charts.c: the story's charts, collected while it measures and drawn afterwards in either language.
 */
#include "story.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

car_story_chart *car_story_add_chart(car_story *story, int claim, car_chart_kind kind,
                                     car_words title, car_words note, car_words x, car_words y) {
    car_story_chart *chart = car_arena_allocate(story->arena, 1, sizeof *chart);
    if (!chart) {
        story->no_memory = true;
        return NULL;
    }
    *chart = (car_story_chart){
        .claim = claim, .kind = kind, .title = title, .note = note, .x = x, .y = y};
    if (story->last)
        story->last->next = chart;
    else
        story->first = chart;
    story->last = chart;
    return chart;
}

double car_median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, car_order_doubles);
    return count > 0 ? (values[(count - 1) / 2] + values[count / 2]) / 2 : NAN;
}

void car_story_add_curve(car_story *story, car_story_chart *chart, car_words name, const double *x,
                         const double *samples, int count) {
    int seeds = (int)(chart && chart->cheap ? story->request.cheap : story->request.seeds);
    double *values = car_arena_allocate(story->arena, 4 * (size_t)count, sizeof *values);
    double *column = car_arena_allocate(story->arena, (size_t)seeds, sizeof *column);
    if (!values || !column || !chart || chart->count == CAR_INK_SERIES) {
        story->no_memory = true;
        return;
    }
    double *place = values, *middle = values + count, *low = middle + count, *high = low + count;
    for (int i = 0; i < count; i++) {
        for (int seed = 0; seed < seeds; seed++)
            column[seed] = samples[(size_t)seed * (size_t)count + (size_t)i];
        place[i] = x ? x[i] : i;
        middle[i] = car_median(column, seeds);
        low[i] = column[0];
        high[i] = column[seeds - 1];
    }
    chart->names[chart->count] = name;
    chart->series[chart->count++] =
        (car_series){.count = count,
                     .x = place,
                     .y = middle,
                     .low = chart->kind == CAR_CHART_STEPS ? NULL : low,
                     .high = chart->kind == CAR_CHART_STEPS ? NULL : high};
}

void car_story_scene(const car_story_chart *chart, bool chinese, const car_allocator *allocator,
                     car_scene *scene) {
    car_series series[CAR_INK_SERIES];
    const char *labels[32];
    const car_chart drawn = {.title = car_say(chart->title, chinese),
                             .note = car_say(chart->note, chinese),
                             .x = {.title = car_say(chart->x, chinese),
                                   .logarithmic = chart->logarithmic_x,
                                   .low = 0,
                                   .high = chart->kind == CAR_CHART_STEPS},
                             .y = {.title = car_say(chart->y, chinese),
                                   .logarithmic = chart->logarithmic_y,
                                   .low = chart->low,
                                   .high = chart->high}};
    for (int i = 0; i < chart->count; i++) {
        series[i] = chart->series[i];
        series[i].name = car_say(chart->names[i], chinese);
    }
    for (int i = 0; i < chart->label_count && i < 32; i++)
        labels[i] = car_say(chart->labels[i], chinese);
    if (chart->kind == CAR_CHART_BARS)
        car_chart_bars(&drawn, labels, series, chart->count, allocator, scene);
    else if (chart->kind == CAR_CHART_STEPS)
        car_chart_steps(&drawn, series, chart->count, allocator, scene);
    else
        car_chart_lines(&drawn, series, chart->count, allocator, scene);
}
