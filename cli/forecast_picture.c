/*
 * forecast_picture.c: fan charts, the training curve and the report of a backtest.
 *
 * In:  forecasts, the result of a backtest, the course of a training. Out: braille, scenes, one HTML file.
 */
#include "forecast_picture.h"
#include "cli.h"
#include "forecast_show.h"
#include <math.h>
#include <string.h>

/* ---- the fan ------------------------------------------------------------------------------------------ */

/* Steps before the origin that are shown. */
static size_t shown_before(const car_forecast_settings *settings, size_t origin) {
    size_t shown = 3 * (size_t)settings->horizon, season = 2 * (size_t)settings->season;
    shown = shown < season ? season : shown;
    shown = shown < 24 ? 24 : shown;
    return shown < origin ? shown : origin;
}

static void name_fan(const car_forecast_settings *settings, const car_forecast_case *one,
                     cli_fan *fan) {
    char when[CAR_STAMP_TEXT];
    double low = settings->levels[0], high = settings->levels[settings->level_count - 1];
    car_stamp_format(settings->frequency.kind, one->series->stamps[one->origin - 1], when);
    snprintf(fan->title, sizeof fan->title, "%.100s, foretold from %s on", one->series->id, when);
    snprintf(fan->axis, sizeof fan->axis, "steps from %.60s", when);
    if (settings->level_count > 1)
        snprintf(fan->label, sizeof fan->label, "model, %.0f %% interval", 100 * (high - low));
    else
        snprintf(fan->label, sizeof fan->label, "model");
}

/* The forecast with its interval, from the last value on: both begin where they are sure. */
static void fill_forecast(const car_forecast_settings *settings, const car_forecast_case *one,
                          double *x, double *y, double *low, double *high) {
    size_t levels = (size_t)settings->level_count;
    x[0] = 0;
    y[0] = low[0] = high[0] = one->series->values[one->origin - 1];
    for (size_t k = 0; k < (size_t)settings->horizon; k++) {
        x[k + 1] = (double)k + 1;
        y[k + 1] = one->point[k];
        low[k + 1] = one->quantiles[k * levels];
        high[k + 1] = one->quantiles[k * levels + levels - 1];
    }
}

car_status cli_fan_make(const car_forecast_settings *settings, const car_forecast_case *one,
                        car_baseline baseline, bool truth, cli_fan *fan, car_error *error) {
    size_t horizon = (size_t)settings->horizon, before = shown_before(settings, one->origin);
    size_t ahead = truth ? horizon : 0, steps = horizon + 1;
    const double *values = one->series->values + one->origin;
    *fan = (cli_fan){.count = 3};
    fan->memory = car_allocate(NULL, 2 * (before + ahead) + 5 * steps, sizeof *fan->memory);
    if (!fan->memory)
        return car_fail(error, CAR_MEMORY, "no memory for a picture");
    double *x = fan->memory, *y = x + before + ahead, *fx = y + before + ahead, *fy = fx + steps;
    double *low = fy + steps, *high = low + steps, *by = high + steps;
    for (size_t i = 0; i < before + ahead; i++) {
        x[i] = (double)i - (double)before + 1;
        y[i] = values[(ptrdiff_t)i - (ptrdiff_t)before];
    }
    fill_forecast(settings, one, fx, fy, low, high);
    by[0] = fy[0];
    car_status status = car_baseline_forecast(baseline, one->series->values, one->origin,
                                              settings->season, settings->horizon, by + 1, error);
    name_fan(settings, one, fan);
    fan->lines[0] = (car_series){.name = "truth", .count = (int)(before + ahead), .x = x, .y = y};
    fan->lines[1] = (car_series){
        .name = fan->label, .count = (int)steps, .x = fx, .y = fy, .low = low, .high = high};
    fan->lines[2] =
        (car_series){.name = car_baseline_name(baseline), .count = (int)steps, .x = fx, .y = by};
    if (status != CAR_OK)
        cli_fan_free(fan);
    return status;
}

void cli_fan_free(cli_fan *fan) {
    car_release(NULL, fan->memory);
    *fan = (cli_fan){0};
}

void cli_fan_text(const cli_fan *fan, int descriptor, car_text *text) {
    int width = car_terminal_width(descriptor);
    car_text_format(text, "%s\n", fan->title);
    car_draw_curves(text, fan->lines, fan->count, width < 100 ? width - 1 : 99, 12,
                    car_terminal_utf8(), car_terminal_color(descriptor));
}

void cli_fan_scene(const cli_fan *fan, car_scene *scene) {
    const car_chart chart = {.title = fan->title,
                             .note = fan->note[0] ? fan->note : NULL,
                             .width = 760,
                             .x = {.title = fan->axis}};
    car_chart_lines(&chart, fan->lines, fan->count, NULL, scene);
}

car_status cli_backtest_fan(const car_series_set *set, const car_backtest *result, int rank,
                            cli_fan *fan, car_error *error) {
    const car_forecast_settings *settings = &result->settings;
    const car_series_score *score = &result->worst[rank];
    const car_one_series *series = &set->series[score->index];
    size_t horizon = (size_t)settings->horizon;
    size_t each = horizon * (1 + (size_t)settings->level_count);
    double *last = result->last + (size_t)score->index * each;
    const car_forecast_case one = {.series = series,
                                   .origin = series->count - horizon,
                                   .point = last,
                                   .quantiles = last + horizon};
    CAR_TRY(cli_fan_make(settings, &one, (car_baseline)(result->best - 1), true, fan, error));
    snprintf(fan->note, sizeof fan->note, "MASE %.3f, of %s %.3f", score->model,
             result->scores[result->best].name, score->baseline);
    return CAR_OK;
}

/* ---- the training curve ------------------------------------------------------------------------------- */

void cli_curve_add(cli_curve *curve, const car_fit_progress *progress) {
    if (!progress->validated || curve->count == CLI_CURVE_LIMIT)
        return;
    curve->update[curve->count] = (double)progress->update;
    curve->training[curve->count] = progress->loss;
    curve->validation[curve->count++] = progress->validation;
}

void cli_curve_scene(const cli_curve *curve, car_scene *scene) {
    const car_series lines[] = {
        {.name = "training", .count = curve->count, .x = curve->update, .y = curve->training},
        {.name = "validation", .count = curve->count, .x = curve->update, .y = curve->validation}};
    const car_chart chart = {.title = "The training",
                             .note = "the weights with the least validation error are kept",
                             .width = 760,
                             .x = {.title = "updates"},
                             .y = {.title = "loss"}};
    car_chart_lines(&chart, lines, 2, NULL, scene);
}

/* ---- the report --------------------------------------------------------------------------------------- */

enum { COLUMNS = 9, SHOWN = 6 };

static void add_table(const car_backtest *result, car_page *page) {
    const char *held = car_page_text(page, "%.0f %% interval held", 100 * result->interval);
    const char *const heads[COLUMNS] = {"method", "MASE",    "95 % interval", "sMAPE", "RMSE",
                                        "MAE/sd", "MSE/var", "CRPS",          held};
    static const bool numeric[COLUMNS] = {false, true, true, true, true, true, true, true, true};
    const char *cells[CAR_METHODS * COLUMNS];
    for (int m = 0; m < result->methods; m++) {
        const car_method_score *score = &result->scores[m];
        const char **row = cells + (size_t)m * COLUMNS;
        row[0] = score->name;
        row[1] = car_page_text(page, "%.3f", score->mase);
        row[2] = car_page_text(page, "%.3f to %.3f", score->mase_low, score->mase_high);
        row[3] = car_page_text(page, "%.3f", score->smape);
        row[4] = car_page_text(page, "%.5g", score->rmse);
        row[5] = car_page_text(page, "%.4f", score->scaled_mae);
        row[6] = car_page_text(page, "%.4f", score->scaled_mse);
        row[7] = isfinite(score->crps) ? car_page_text(page, "%.5g", score->crps) : "";
        row[8] = isfinite(score->crps) ? car_page_text(page, "%.1f %%", 100 * score->coverage) : "";
    }
    car_page_table(page, heads, COLUMNS, cells, result->methods, numeric);
}

static void add_verdict(const car_backtest *result, car_page *page) {
    static const car_verdict verdicts[] = {CAR_VERDICT_HOLDS, CAR_VERDICT_IN_PART,
                                           CAR_VERDICT_FAILS, CAR_VERDICT_OPEN};
    static const char *const words[] = {"skill", "no evidence of skill", "worse", "cannot be told"};
    car_text text;
    car_text_start(&text, NULL);
    cli_forecast_verdict(result, &text);
    car_page_verdict(page, verdicts[result->skill], words[result->skill],
                     car_page_text(page, "%s", text.failed ? "" : text.data));
    car_text_free(&text);
    add_table(result, page);
    car_text_start(&text, NULL);
    cli_forecast_details(result, &text);
    for (char *line = text.failed ? NULL : text.data, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        car_page_paragraph(page, car_page_text(page, "%s", line));
    }
    car_text_free(&text);
}

static car_status add_fans(const car_series_set *set, const car_backtest *result, car_page *page,
                           car_error *error) {
    for (int rank = 0; rank < result->series && rank < SHOWN; rank++) {
        cli_fan fan;
        car_scene scene = {0};
        CAR_TRY(cli_backtest_fan(set, result, rank, &fan, error));
        cli_fan_scene(&fan, &scene);
        car_page_scene(page, &scene, NULL);
        car_scene_free(&scene);
        cli_fan_free(&fan);
    }
    return CAR_OK;
}

car_status cli_forecast_report(const char *path, const char *name, const car_series_set *set,
                               const car_backtest *result, const cli_curve *curve,
                               car_error *error) {
    car_page page;
    car_text html;
    car_text_start(&html, NULL);
    car_page_start(&page, "en", "Can these forecasts be trusted?", name, NULL);
    car_page_section(&page, "The verdict");
    add_verdict(result, &page);
    car_page_section(&page, result->series > 1 ? "Worst series first" : "The last origin");
    car_status status = add_fans(set, result, &page, error);
    if (curve->count > 1) {
        car_scene scene = {0};
        car_page_section(&page, "The training");
        cli_curve_scene(curve, &scene);
        car_page_scene(&page, &scene, NULL);
        car_scene_free(&scene);
    }
    car_error last;
    car_status finished = car_page_finish(&page, &html, &last);
    car_page_free(&page);
    if (status == CAR_OK && finished != CAR_OK)
        status = car_fail(error, finished, "%s", last.message);
    if (status == CAR_OK)
        status = cli_write_file(path, &html, error);
    car_text_free(&html);
    return status;
}
