/*
 * forecast_show.c: what `carousel forecast` shows.
 *
 * In:  forecasts; the result of a backtest. Out: CSV, tables and JSON.
 */
#include "forecast_show.h"
#include <math.h>
#include <string.h>

void cli_forecast_note(const car_series_set *set, bool quiet) {
    const car_series_report *report = &set->report;
    char name[32];
    car_frequency_name(&set->frequency, name);
    if (!quiet)
        cli_note("%zu rows, %d series, %s", report->rows, set->count, name);
    if (report->missing + report->gaps + report->duplicates + report->moved > 0)
        cli_note(
            "missing %zu (filled %zu, dropped %zu), gaps filled %zu, duplicates merged %zu, out "
            "of order %zu",
            report->missing, report->filled, report->dropped, report->gaps, report->duplicates,
            report->moved);
}

/* ---- forecasts ---------------------------------------------------------------------------------------- */

void cli_forecast_rows_begin(const car_forecast_settings *settings, bool json, car_text *text) {
    if (json) {
        car_text_format(text, "{\"forecasts\": [");
        return;
    }
    car_text_format(text, "unique_id,ds,forecast");
    for (int q = 0; q < settings->level_count; q++)
        car_text_format(text, ",q%g", settings->levels[q]);
    car_text_format(text, "\n");
}

static void add_row(const car_forecast_settings *settings, const car_forecast_case *one, int k,
                    bool json, bool first, car_text *text) {
    char when[CAR_STAMP_TEXT];
    const car_one_series *series = one->series;
    int64_t stamp = car_frequency_add(&settings->frequency, series->stamps[one->origin - 1], k + 1);
    car_stamp_format(settings->frequency.kind, stamp, when);
    if (json) {
        car_text_format(text, "%s{\"unique_id\": ", first ? "" : ", ");
        car_text_json_string(text, series->id, strlen(series->id));
        car_text_format(text, ", \"ds\": \"%s\", \"forecast\": ", when);
    } else {
        cli_add_field(text, series->id);
        car_text_format(text, ",%s,", when);
    }
    cli_add_number(text, one->point[k]);
    for (int q = 0; q < settings->level_count; q++) {
        if (json)
            car_text_format(text, ", \"q%g\": ", settings->levels[q]);
        else
            car_text_format(text, ",");
        cli_add_number(text, one->quantiles[(size_t)k * (size_t)settings->level_count + (size_t)q]);
    }
    car_text_format(text, json ? "}" : "\n");
}

void cli_forecast_rows(const car_forecast_settings *settings, const car_forecast_case *one,
                       bool json, bool first, car_text *text) {
    for (int k = 0; k < settings->horizon; k++)
        add_row(settings, one, k, json, first && k == 0, text);
}

void cli_forecast_rows_end(bool json, car_text *text) {
    if (json)
        car_text_format(text, "]}\n");
}

/* ---- a backtest --------------------------------------------------------------------------------------- */

void cli_forecast_verdict(const car_backtest *result, car_text *text) {
    const char *best = result->scores[result->best].name;
    static const char *const words[] = {
        "the model beats the best baseline", "no evidence that the model beats the best baseline",
        "the model is worse than the best baseline",
        "too few windows to tell whether the model beats the best baseline"};
    if (!isfinite(result->change)) {
        car_text_format(
            text,
            "no MASE: on the training part repeating the season makes no error to measure in "
            "units of; RMSE of the model %.4g, of the best baseline (%s) %.4g\n",
            result->scores[0].rmse, best, result->scores[result->best].rmse);
        return;
    }
    car_text_format(text, "%s (%s): error %+.1f %%", words[result->skill], best,
                    100 * result->change);
    if (isfinite(result->low))
        car_text_format(text, ", 95 %% interval %+.1f to %+.1f %%, from %d %s", 100 * result->low,
                        100 * result->high, result->units,
                        result->series > result->origins ? "series" : "origins");
    car_text_format(text, "\n");
}

/* The series that the model foretells worst. */
static void add_worst(const car_backtest *result, car_text *text) {
    enum { SHOWN = 5 };
    if (result->series < 2)
        return;
    car_text_format(text, "worst series (MASE of the model, of %s):\n",
                    result->scores[result->best].name);
    for (int i = 0; i < result->series && i < SHOWN; i++)
        car_text_format(text, "  %-14.40s %8.3f %8.3f\n", result->worst[i].id,
                        result->worst[i].model, result->worst[i].baseline);
}

static void add_first_step(const car_backtest *result, car_text *text) {
    bool repeats = result->lag1 > result->lag0 && result->skill != CAR_SKILL_BETTER;
    double low, high;
    car_wilson(result->direction_hits, result->directions, &low, &high);
    car_text_format(
        text, "model: right direction at the first step %lld of %lld (%.1f to %.1f %%)\n",
        (long long)result->direction_hits, (long long)result->directions, 100 * low, 100 * high);
    if (isfinite(result->lag0) && isfinite(result->lag1))
        car_text_format(text,
                        "model: its first step is correlated %.4f with the value it foretells, "
                        "%.4f with the one before%s; it foretells moves of %.0f %% of the real "
                        "size\n",
                        result->lag0, result->lag1, repeats ? ": it repeats the last value" : "",
                        100 * result->move_share);
}

/* CRPS, and what the interval held; a baseline's is made of its errors in the past. */
static void add_intervals(const car_backtest *result, car_text *text) {
    car_text_format(text, "%-14s %10s   %.0f %% interval held\n", "", "CRPS",
                    100 * result->interval);
    for (int m = 0; m < result->methods; m++) {
        const car_method_score *score = &result->scores[m];
        if (isfinite(score->crps))
            car_text_format(text, "%-14s %10.5g   %5.1f %% (%.1f to %.1f)\n", score->name,
                            score->crps, 100 * score->coverage, 100 * score->coverage_low,
                            100 * score->coverage_high);
    }
}

void cli_forecast_details(const car_backtest *result, car_text *text) {
    add_intervals(result, text);
    add_first_step(result, text);
    car_text_format(text,
                    "%d origins, %d series, season %d; leak test: %d forecasts moved when the "
                    "future was changed\n",
                    result->origins, result->series, result->season, result->leaks);
}

void cli_forecast_backtest_text(const car_backtest *result, car_text *text) {
    car_text_format(text, "%-14s %8s %17s %8s %11s %11s %8s %8s\n", "", "MASE", "95 % interval",
                    "sMAPE", "MAE", "RMSE", "MAE/sd", "MSE/var");
    for (int m = 0; m < result->methods; m++) {
        const car_method_score *score = &result->scores[m];
        car_text_format(text, "%-14s %8.3f  %7.3f %7.3f  %8.3f %11.5g %11.5g %8.4f %8.4f\n",
                        score->name, score->mase, score->mase_low, score->mase_high, score->smape,
                        score->mae, score->rmse, score->scaled_mae, score->scaled_mse);
    }
    add_worst(result, text);
    cli_forecast_details(result, text);
    cli_forecast_verdict(result, text);
}

static void add_numbers(car_text *text, const char *const *names, const double *values, int count) {
    for (int i = 0; i < count; i++) {
        car_text_format(text, ", \"%s\": ", names[i]);
        car_text_json_number(text, values[i]);
    }
}

static void add_method(const car_method_score *score, car_text *text) {
    static const char *const names[] = {"mase", "mase_low", "mase_high",    "smape",
                                        "mae",  "rmse",     "scaled_mae",   "scaled_mse",
                                        "crps", "coverage", "coverage_low", "coverage_high"};
    const double values[] = {score->mase,       score->mase_low,     score->mase_high,
                             score->smape,      score->mae,          score->rmse,
                             score->scaled_mae, score->scaled_mse,   score->crps,
                             score->coverage,   score->coverage_low, score->coverage_high};
    car_text_format(text, "{\"name\": \"%s\"", score->name);
    add_numbers(text, names, values, 12);
    car_text_format(text, "}");
}

void cli_forecast_backtest_json(const car_backtest *result, car_text *text) {
    static const char *const skills[] = {"better", "none", "worse", "unknown"};
    car_text_format(text, "{\"methods\": [");
    for (int m = 0; m < result->methods; m++) {
        car_text_format(text, "%s", m ? ", " : "");
        add_method(&result->scores[m], text);
    }
    static const char *const rest[] = {"change", "change_low", "change_high", "interval",
                                       "lag0",   "lag1",       "move_share"};
    const double values[] = {result->change, result->low,  result->high,      result->interval,
                             result->lag0,   result->lag1, result->move_share};
    car_text_format(text, "], \"best_baseline\": \"%s\", \"skill\": \"%s\"",
                    result->scores[result->best].name, skills[result->skill]);
    add_numbers(text, rest, values, 7);
    car_text_format(text,
                    ", \"origins\": %d, \"nets\": %d, \"season\": %d, \"direction_hits\": %lld, "
                    "\"directions\": %lld, \"leaks\": %d, \"series\": [",
                    result->origins, result->nets, result->season,
                    (long long)result->direction_hits, (long long)result->directions,
                    result->leaks);
    for (int i = 0; i < result->series; i++) {
        car_text_format(text, "%s{\"unique_id\": ", i ? ", " : "");
        car_text_json_string(text, result->worst[i].id, strlen(result->worst[i].id));
        add_numbers(text, (const char *const[]){"mase", "baseline_mase"},
                    (double[]){result->worst[i].model, result->worst[i].baseline}, 2);
        car_text_format(text, "}");
    }
    car_text_format(text, "]}\n");
}
