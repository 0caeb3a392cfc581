/*
 * forecast_backtest.c: rolling origins, the model beside the baselines.
 *
 * In:  series and settings. Out: for each method the mean over all windows and series, and a verdict.
 *
 *   |<------ training, validation ------>|<- H ->|<- H ->| ... the last `windows` horizons, `stride` apart
 *
 * All methods see the same history. MASE divides by the seasonal naive's error before the first origin. The baseline
 * that is compared with is the best one after the fact, which favours it. Leak test: every forecast is made a second time
 * with all values behind its origin changed, and must not move by a bit.
 */
#include "forecast.h"
#include <math.h>
#include <string.h>

typedef struct backtest_run {
    const car_forecast_options *options;
    const car_backtest_options *how;
    const car_series_set *set;
    const volatile sig_atomic_t *stop;
    car_forecast forecast;
    car_backtest *result;
    int horizon, windows;
    size_t stride;
    size_t *lengths;                     /* [series] history at the present origin */
    double *out;                         /* [horizon] */
    double *again, *quantiles, *changed; /* [horizon], [horizon][LEVELS], [longest series] */
    double *error; /* [CAR_METHODS][windows][series] MAE / scale, NaN without a scale */
    int64_t inside, cells;
    double sums[CAR_METHODS][3]; /* sMAPE, MAE, squared error */
    double crps;
} backtest_run;

static double *error_at(const backtest_run *run, int method, int window, int series) {
    return run->error +
           ((size_t)method * (size_t)run->windows + (size_t)window) * (size_t)run->set->count +
           series;
}

static size_t origin_of(const backtest_run *run, int series, int window) {
    return run->set->series[series].count - (size_t)run->horizon -
           (size_t)(run->windows - 1 - window) * run->stride;
}

/* ---- one origin --------------------------------------------------------------------------------------- */

static void add_scores(backtest_run *run, int method, int window, int series, double scale) {
    const double *truth = run->set->series[series].values + origin_of(run, series, window);
    double mae = car_mean_absolute_error(truth, run->out, run->horizon);
    double rmse = car_root_mean_square_error(truth, run->out, run->horizon);
    run->sums[method][0] += car_smape(truth, run->out, run->horizon);
    run->sums[method][1] += mae;
    run->sums[method][2] += rmse * rmse;
    *error_at(run, method, window, series) = scale > 0 ? mae / scale : NAN;
}

static void add_interval_scores(backtest_run *run, int window, int series) {
    const double *truth = run->set->series[series].values + origin_of(run, series, window);
    for (int k = 0; k < run->horizon; k++) {
        const double *quantiles = run->quantiles + (size_t)k * CAR_FORECAST_LEVELS;
        run->crps += car_crps(truth[k], quantiles, car_forecast_levels, CAR_FORECAST_LEVELS);
        run->inside += truth[k] >= quantiles[0] && truth[k] <= quantiles[CAR_FORECAST_LEVELS - 1];
        run->cells++;
    }
    double move = truth[0] - truth[-1], foretold = run->out[0] - truth[-1];
    run->result->directions += move != 0 && foretold != 0;
    run->result->direction_hits += move * foretold > 0;
}

/* The same forecast with another future. */
static car_status test_leak(backtest_run *run, int series, size_t origin, car_error *error) {
    const car_one_series *one = &run->set->series[series];
    for (size_t i = 0; i < one->count; i++)
        run->changed[i] = i < origin ? one->values[i] : 7e5 - 3 * one->values[i];
    CAR_TRY(car_forecast_run(&run->forecast, run->changed, origin, one->id, run->again,
                             run->quantiles, error));
    run->result->leaks +=
        memcmp(run->again, run->out, (size_t)run->horizon * sizeof *run->out) != 0;
    return CAR_OK;
}

static car_status judge_series(backtest_run *run, int window, int series, car_error *error) {
    const car_one_series *one = &run->set->series[series];
    int season = run->forecast.settings.season;
    size_t origin = origin_of(run, series, window);
    double scale = car_mase_scale(one->values, origin_of(run, series, 0), season);
    for (int b = 0; b < CAR_BASELINE_COUNT; b++) {
        CAR_TRY(car_baseline_forecast((car_baseline)b, one->values, origin, season, run->horizon,
                                      run->out, error));
        add_scores(run, 1 + b, window, series, scale);
    }
    CAR_TRY(car_forecast_run(&run->forecast, one->values, origin, one->id, run->out, run->quantiles,
                             error));
    add_scores(run, 0, window, series, scale);
    add_interval_scores(run, window, series);
    return test_leak(run, series, origin, error);
}

static car_status judge_window(backtest_run *run, int window, car_error *error) {
    if (window == 0 || run->how->refit) {
        for (int i = 0; i < run->set->count; i++)
            run->lengths[i] = origin_of(run, i, window);
        car_forecast_free(&run->forecast);
        CAR_TRY(car_forecast_train(run->options, run->set, run->lengths, run->stop, &run->forecast,
                                   error));
        if (run->forecast.interrupted)
            return car_fail(error, CAR_FAILED, "interrupted");
    }
    for (int i = 0; i < run->set->count; i++)
        CAR_TRY(judge_series(run, window, i, error));
    return CAR_OK;
}

/* ---- the verdict -------------------------------------------------------------------------------------- */

/* The mean scaled error of a method by origins, or by series where there are more of those; NaN ones left out. */
static int gather(const backtest_run *run, int method, double *out) {
    bool by_series = run->set->count > run->windows;
    int units = by_series ? run->set->count : run->windows, used = 0;
    for (int u = 0; u < units; u++) {
        double sum = 0;
        int count = 0;
        for (int v = 0; v < (by_series ? run->windows : run->set->count); v++) {
            double value = by_series ? *error_at(run, method, v, u) : *error_at(run, method, u, v);
            if (isnan(value))
                continue;
            sum += value;
            count++;
        }
        if (count > 0)
            out[used++] = sum / count;
    }
    return used;
}

static double mean_of(const double *values, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += values[i];
    return count ? sum / count : NAN;
}

static void decide(backtest_run *run, double *model, double *other, int block) {
    enum { LEAST_UNITS = 8 };
    car_backtest *result = run->result;
    result->best = 1;
    for (int m = 2; m < CAR_METHODS; m++)
        if (result->scores[m].mase < result->scores[result->best].mase)
            result->best = m;
    result->units = gather(run, 0, model);
    gather(run, result->best, other);
    double reference = mean_of(other, result->units);
    for (int u = 0; u < result->units; u++)
        model[u] = (model[u] - other[u]) / reference;
    result->change = mean_of(model, result->units);
    car_bootstrap_mean(model, result->units, block, 1, &result->low, &result->high);
    result->skill = result->units < LEAST_UNITS || !isfinite(result->low) ? CAR_SKILL_UNKNOWN
                    : result->high < 0                                    ? CAR_SKILL_BETTER
                    : result->low > 0                                     ? CAR_SKILL_WORSE
                                                                          : CAR_SKILL_NONE;
}

static void sum_up(backtest_run *run, double *values, double *other) {
    car_backtest *result = run->result;
    double n = (double)run->windows * run->set->count;
    int overlap = (run->horizon + (int)run->stride - 1) / (int)run->stride;
    int block = run->set->count > run->windows ? 1 : overlap;
    for (int m = 0; m < CAR_METHODS; m++) {
        car_method_score *score = &result->scores[m];
        *score = (car_method_score){.name = m ? car_baseline_name((car_baseline)(m - 1)) : "model",
                                    .smape = run->sums[m][0] / n,
                                    .mae = run->sums[m][1] / n,
                                    .rmse = sqrt(run->sums[m][2] / n),
                                    .crps = m ? NAN : run->crps / (double)run->cells,
                                    .coverage = m ? NAN : (double)run->inside / (double)run->cells};
        int units = gather(run, m, values);
        score->mase = mean_of(values, units);
        car_bootstrap_mean(values, units, block, 1, &score->mase_low, &score->mase_high);
    }
    car_wilson(run->inside, run->cells, &result->scores[0].coverage_low,
               &result->scores[0].coverage_high);
    decide(run, values, other, block);
    result->origins = run->windows;
    result->series = run->set->count;
    result->season = run->forecast.settings.season;
}

/* ---- the run ------------------------------------------------------------------------------------------ */

static car_status check_lengths(const backtest_run *run, size_t *longest, car_error *error) {
    size_t tested = (size_t)run->horizon + (size_t)(run->windows - 1) * run->stride;
    *longest = 0;
    for (int i = 0; i < run->set->count; i++) {
        const car_one_series *one = &run->set->series[i];
        if (one->count <= tested + 1)
            return car_fail(error, CAR_DATA,
                            "series `%.60s` has %zu value%s; %d window%s of a horizon of %d need "
                            "%zu for the test alone (lower --windows or --horizon)",
                            one->id, one->count, one->count == 1 ? "" : "s", run->windows,
                            run->windows == 1 ? "" : "s", run->horizon, tested);
        *longest = one->count > *longest ? one->count : *longest;
    }
    return CAR_OK;
}

static car_status go(backtest_run *run, car_error *error) {
    size_t longest, horizon = (size_t)run->horizon, series = (size_t)run->set->count;
    CAR_TRY(check_lengths(run, &longest, error));
    size_t units = series + (size_t)run->windows, cells = series * (size_t)run->windows;
    run->lengths = car_allocate(NULL, series, sizeof *run->lengths);
    run->out = car_allocate(NULL, horizon * (2 + CAR_FORECAST_LEVELS) + longest, sizeof *run->out);
    run->error = car_allocate(NULL, CAR_METHODS * cells + 2 * units, sizeof *run->error);
    if (!run->lengths || !run->out || !run->error)
        return car_fail(error, CAR_MEMORY, "no memory for %zu windows", cells);
    run->again = run->out + horizon;
    run->quantiles = run->again + horizon;
    run->changed = run->quantiles + horizon * CAR_FORECAST_LEVELS;
    for (int w = 0; w < run->windows; w++)
        CAR_TRY(judge_window(run, w, error));
    double *values = run->error + CAR_METHODS * cells;
    sum_up(run, values, values + units);
    return CAR_OK;
}

car_status car_forecast_backtest(const car_forecast_options *options,
                                 const car_backtest_options *how, const car_series_set *set,
                                 const volatile sig_atomic_t *stop, car_backtest *result,
                                 car_error *error) {
    *result = (car_backtest){0};
    if (options->horizon < 1 || options->horizon > CAR_FORECAST_MOST || how->windows < 1 ||
        how->windows > 100000 || how->stride < 0 || how->stride > CAR_FORECAST_MOST)
        return car_fail(error, CAR_USAGE, "give a horizon, windows and a stride within range");
    backtest_run run = {.options = options,
                        .how = how,
                        .set = set,
                        .stop = stop,
                        .result = result,
                        .horizon = (int)options->horizon,
                        .windows = (int)how->windows,
                        .stride = (size_t)(how->stride ? how->stride : options->horizon)};
    car_status status = go(&run, error);
    car_release(NULL, run.lengths);
    car_release(NULL, run.out);
    car_release(NULL, run.error);
    car_forecast_free(&run.forecast);
    return status;
}
