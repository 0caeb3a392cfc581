/*
 * forecast_backtest.c: rolling origins, the model beside the baselines.
 *
 * In:  series and options, or a trained model. Out: for each method the mean over all windows and series, and a verdict.
 *
 *   |<------ training, validation ------>|<- H ->|<- H ->| ... the last `windows` horizons, `stride` apart
 *
 * All methods see the same history. A baseline's quantiles come from its errors before the first origin. MASE divides by the seasonal naive's error before the first origin. The baseline
 * that is compared with is the best one after the fact, which favours it. Leak test: every forecast is made a second time
 * with all values and unknown covariates from its origin on changed, and must not move by a bit.
 */
#include "forecast.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Cases that are forecast side by side, each with a changed copy of its series. */
enum { MOST_CASES = 64, MOST_COPIED = 1 << 22 };

/* Sums for a correlation. */
typedef struct pair_sums {
    double n, x, y, xx, yy, xy;
} pair_sums;

typedef struct backtest_run {
    const car_forecast_options *options;
    const car_backtest_options *how;
    const car_series_set *set;
    const car_forecast_watch *watch;
    const car_forecast *given; /* NULL: train */
    car_forecast forecast;
    car_backtest *result;
    int horizon, windows;
    size_t stride, longest;
    size_t *lengths; /* [series] history at the present origin */
    int block;       /* cases side by side */
    car_forecast_case cases[MOST_CASES], again[MOST_CASES];
    car_one_series changed[MOST_CASES];
    int window_of[MOST_CASES], series_of[MOST_CASES];
    double *memory,
        *room;      /* of the cases; of the changed copies [block][longest][1 + covariates] */
    double *out;    /* [horizon] of a baseline */
    double *beside; /* [levels] its quantiles at a step */
    double *spread; /* [series][baselines][horizon][levels] */
    double *error;  /* [CAR_METHODS][windows][series] MAE / scale, NaN without a scale */
    double *unit;   /* [series] standard deviation of what was learned from */
    int64_t inside[CAR_METHODS], cells;
    double sums[CAR_METHODS][5]; /* sMAPE, MAE, squared error, the last two in units */
    double crps[CAR_METHODS], moves, foretold;
    pair_sums lag0, lag1;
} backtest_run;

static const car_forecast *forecast_of(const backtest_run *run) {
    return run->given ? run->given : &run->forecast;
}

static double *error_at(const backtest_run *run, int method, int window, int series) {
    return run->error +
           ((size_t)method * (size_t)run->windows + (size_t)window) * (size_t)run->set->count +
           series;
}

static size_t origin_of(const backtest_run *run, int series, int window) {
    return run->set->series[series].count - (size_t)run->horizon -
           (size_t)(run->windows - 1 - window) * run->stride;
}

static void add_pair(pair_sums *sums, double x, double y) {
    sums->n++;
    sums->x += x;
    sums->y += y;
    sums->xx += x * x;
    sums->yy += y * y;
    sums->xy += x * y;
}

static double correlation(const pair_sums *sums) {
    double xy = sums->xy - sums->x * sums->y / sums->n;
    double xx = sums->xx - sums->x * sums->x / sums->n, yy = sums->yy - sums->y * sums->y / sums->n;
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

/* ---- one origin --------------------------------------------------------------------------------------- */

static void add_scores(backtest_run *run, int method, int window, int series, const double *out,
                       double scale) {
    const double *truth = run->set->series[series].values + origin_of(run, series, window);
    double mae = car_mean_absolute_error(truth, out, run->horizon), unit = run->unit[series];
    double rmse = car_root_mean_square_error(truth, out, run->horizon);
    run->sums[method][0] += car_smape(truth, out, run->horizon);
    run->sums[method][1] += mae;
    run->sums[method][2] += rmse * rmse;
    run->sums[method][3] += mae / unit;
    run->sums[method][4] += rmse / unit * (rmse / unit);
    *error_at(run, method, window, series) = scale > 0 ? mae / scale : NAN;
}

static void add_interval_score(backtest_run *run, int method, double truth,
                               const double *quantiles) {
    const car_forecast_settings *settings = &forecast_of(run)->settings;
    int levels = settings->level_count;
    run->crps[method] += car_crps(truth, quantiles, settings->levels, levels);
    run->inside[method] += truth >= quantiles[0] && truth <= quantiles[levels - 1];
}

/* Of the model and of the baselines whose points are in run->out [baselines][horizon]. */
static void add_interval_scores(backtest_run *run, const car_forecast_case *one, int series) {
    const double *truth = one->series->values + one->origin;
    const car_forecast_settings *settings = &forecast_of(run)->settings;
    size_t levels = (size_t)settings->level_count, horizon = (size_t)run->horizon;
    const double *spread = run->spread + (size_t)series * CAR_BASELINE_COUNT * horizon * levels;
    for (size_t k = 0; k < horizon; k++) {
        add_interval_score(run, 0, truth[k], one->quantiles + k * levels);
        run->cells++;
        for (size_t b = 0; b < CAR_BASELINE_COUNT; b++) {
            double point = run->out[b * horizon + k];
            for (size_t q = 0; q < levels; q++) {
                double off = spread[(b * horizon + k) * levels + q];
                run->beside[q] = settings->log ? point * exp(off) : point + off;
            }
            add_interval_score(run, 1 + (int)b, truth[k], run->beside);
        }
    }
}

/* What the first step says about the direction, and whether it only repeats the value before. */
static void add_first_step(backtest_run *run, const car_forecast_case *one, int series) {
    const double *truth = one->series->values + one->origin;
    double move = truth[0] - truth[-1], foretold = one->point[0] - truth[-1];
    double unit = run->unit[series];
    run->result->directions += move != 0 && foretold != 0;
    run->result->direction_hits += move * foretold > 0;
    run->moves += move / unit * (move / unit);
    run->foretold += foretold / unit * (foretold / unit);
    add_pair(&run->lag0, one->point[0] / unit, truth[0] / unit);
    add_pair(&run->lag1, one->point[0] / unit, truth[-1] / unit);
}

static void change_future(backtest_run *run, int at) {
    const car_one_series *one = run->cases[at].series;
    size_t origin = run->cases[at].origin, width = (size_t)run->set->covariate_count;
    size_t steps = one->count + one->ahead;
    double *values = run->room + (size_t)at * run->longest * (1 + width);
    double *covariates = values + run->longest;
    for (size_t i = 0; i < one->count; i++)
        values[i] = i < origin ? one->values[i] : 7e5 - 3 * one->values[i];
    for (size_t i = 0; i < steps * width; i++) {
        bool known = run->set->covariates[i % width].role != CAR_COVARIATE_UNKNOWN;
        double value = one->covariates[i];
        covariates[i] = known || i / width < origin ? value : 5e4 - 2 * value;
    }
    run->changed[at] = *one;
    run->changed[at].covariates = covariates;
    run->changed[at].values = values;
    run->again[at].series = &run->changed[at];
    run->again[at].origin = run->cases[at].origin;
}

/* For a picture. */
static void keep_last(const backtest_run *run, const car_forecast_case *one, int series) {
    size_t horizon = (size_t)run->horizon;
    size_t cells = horizon * (size_t)forecast_of(run)->settings.level_count;
    double *last = run->result->last + (size_t)series * (horizon + cells);
    memcpy(last, one->point, horizon * sizeof *last);
    memcpy(last + horizon, one->quantiles, cells * sizeof *last);
}

/* The forecasts of `count` cases, and the same with another future. */
static car_status judge_block(backtest_run *run, int count, car_error *error) {
    const car_forecast *forecast = forecast_of(run);
    size_t bytes = (size_t)run->horizon * sizeof(double);
    size_t levels = (size_t)forecast->settings.level_count;
    CAR_TRY(car_forecast_run(forecast, run->cases, count, error));
    for (int i = 0; i < count; i++)
        change_future(run, i);
    CAR_TRY(car_forecast_run(forecast, run->again, count, error));
    for (int i = 0; i < count; i++) {
        const car_forecast_case *one = &run->cases[i], *again = &run->again[i];
        int series = run->series_of[i], season = forecast->settings.season;
        const double *values = one->series->values;
        double scale = car_mase_scale(values, origin_of(run, series, 0), season);
        run->result->leaks += memcmp(one->point, again->point, bytes) != 0 ||
                              memcmp(one->quantiles, again->quantiles, bytes * levels) != 0;
        add_scores(run, 0, run->window_of[i], series, one->point, scale);
        if (run->window_of[i] == run->windows - 1)
            keep_last(run, one, series);
        add_first_step(run, one, series);
        for (int b = 0; b < CAR_BASELINE_COUNT; b++) {
            double *out = run->out + (size_t)b * (size_t)run->horizon;
            CAR_TRY(car_baseline_forecast((car_baseline)b, values, one->origin, season,
                                          run->horizon, out, error));
            add_scores(run, 1 + b, run->window_of[i], series, out, scale);
        }
        add_interval_scores(run, one, series);
    }
    return CAR_OK;
}

/* Standard deviations of what is learned from, in which errors of all series can be added. */
static void measure_units(backtest_run *run) {
    const car_forecast_settings *settings = &forecast_of(run)->settings;
    for (int i = 0; i < run->set->count; i++) {
        const double *y = run->set->series[i].values;
        size_t end =
            car_forecast_validation_begin(settings, run->options->validation, origin_of(run, i, 0));
        double sum = 0, squares = 0;
        for (size_t t = 0; t < end; t++)
            sum += y[t];
        for (size_t t = 0; t < end; t++)
            squares += (y[t] - sum / (double)end) * (y[t] - sum / (double)end);
        run->unit[i] = squares > 0 ? sqrt(squares / (double)end) : 1;
    }
}

static car_status train(backtest_run *run, int window, car_error *error) {
    for (int i = 0; i < run->set->count; i++)
        run->lengths[i] = origin_of(run, i, window);
    car_forecast_free(&run->forecast);
    for (int64_t k = 0; k < run->how->ensemble; k++) {
        car_forecast_options options = *run->options;
        car_forecast_result result;
        options.seed += k;
        options.output = NULL;
        CAR_TRY(car_forecast_train(&options, run->set, run->lengths, NULL, NULL, run->watch,
                                   &run->forecast, &result, error));
        if (result.fit.stopped_by_signal)
            return car_fail(error, CAR_FAILED, "interrupted");
    }
    return CAR_OK;
}

/* Where the quantiles and points of the cases lie; they depend on the number of levels, which a model brings. */
static car_status place_cases(backtest_run *run, car_error *error) {
    size_t horizon = (size_t)run->horizon;
    size_t levels = (size_t)forecast_of(run)->settings.level_count, each = horizon * (1 + levels);
    for (int i = 0; i < run->block; i++) {
        double *at = run->memory + (size_t)i * 2 * each;
        run->cases[i].point = at;
        run->cases[i].quantiles = at + horizon;
        run->again[i].point = at + each;
        run->again[i].quantiles = at + each + horizon;
    }
    run->result->last = car_allocate(NULL, (size_t)run->set->count, each * sizeof(double));
    return run->result->last ? CAR_OK : car_fail(error, CAR_MEMORY, "no memory for the forecasts");
}

/* The baselines' quantiles, from what lies before the first origin. */
static car_status measure_baselines(backtest_run *run, car_error *error) {
    const car_forecast_settings *settings = &forecast_of(run)->settings;
    size_t levels = (size_t)settings->level_count, each = (size_t)run->horizon * levels;
    run->spread = car_allocate(NULL, (size_t)run->set->count * CAR_BASELINE_COUNT,
                               each * sizeof *run->spread);
    run->beside = car_allocate(NULL, levels, sizeof *run->beside);
    if (!run->spread || !run->beside)
        return car_fail(error, CAR_MEMORY, "no memory for the baselines' quantiles");
    double *spread = run->spread;
    for (int i = 0; i < run->set->count; i++)
        for (int b = 0; b < CAR_BASELINE_COUNT; b++, spread += each)
            CAR_TRY(car_baseline_spread(
                (car_baseline)b, run->set->series[i].values, origin_of(run, i, 0), settings->season,
                run->horizon, settings->log, settings->levels, (int)levels, spread, error));
    return CAR_OK;
}

static car_status judge_all(backtest_run *run, car_error *error) {
    int filled = 0;
    for (int w = 0; w < run->windows; w++) {
        if (!run->given && (w == 0 || run->how->refit))
            CAR_TRY(train(run, w, error));
        if (w == 0) {
            measure_units(run);
            CAR_TRY(place_cases(run, error));
            CAR_TRY(measure_baselines(run, error));
        }
        for (int i = 0; i < run->set->count; i++) {
            run->cases[filled].series = &run->set->series[i];
            run->cases[filled].origin = origin_of(run, i, w);
            run->window_of[filled] = w;
            run->series_of[filled++] = i;
            bool last = i == run->set->count - 1 && (run->how->refit || w == run->windows - 1);
            if (filled < run->block && !last)
                continue;
            CAR_TRY(judge_block(run, filled, error));
            filled = 0;
        }
    }
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

static double series_mean(const backtest_run *run, int method, int series) {
    double sum = 0;
    for (int w = 0; w < run->windows; w++)
        sum += *error_at(run, method, w, series);
    return sum / run->windows;
}

/* Worst first; those that cannot be told last. */
static int by_error(const void *a, const void *b) {
    double left = ((const car_series_score *)a)->model,
           right = ((const car_series_score *)b)->model;
    left = isnan(left) ? -INFINITY : left;
    right = isnan(right) ? -INFINITY : right;
    return (left < right) - (left > right);
}

static void decide(backtest_run *run, double *model, double *other, int block) {
    enum { LEAST_UNITS = 8 };
    car_backtest *result = run->result;
    result->best = 1;
    for (int m = 2; m < result->methods; m++) {
        const car_method_score *one = &result->scores[m], *best = &result->scores[result->best];
        if (isnan(best->mase) ? one->rmse < best->rmse : one->mase < best->mase)
            result->best = m;
    }
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
    for (int i = 0; i < run->set->count; i++)
        result->worst[i] = (car_series_score){.id = run->set->series[i].id,
                                              .index = i,
                                              .model = series_mean(run, 0, i),
                                              .baseline = series_mean(run, result->best, i)};
    qsort(result->worst, (size_t)run->set->count, sizeof *result->worst, by_error);
}

static void sum_up(backtest_run *run, double *values, double *other) {
    car_backtest *result = run->result;
    const car_forecast_settings *settings = &forecast_of(run)->settings;
    double n = (double)run->windows * run->set->count;
    int overlap = (run->horizon + (int)run->stride - 1) / (int)run->stride;
    int block = run->set->count > run->windows ? 1 : overlap;
    double cells = (double)run->cells;
    result->methods = settings->season > 1 ? CAR_METHODS : CAR_METHODS - 1;
    for (int m = 0; m < CAR_METHODS; m++) {
        car_method_score *score = &result->scores[m];
        *score = (car_method_score){
            .name = m ? car_baseline_name((car_baseline)(m - 1)) : "model",
            .smape = run->sums[m][0] / n,
            .mae = run->sums[m][1] / n,
            .rmse = sqrt(run->sums[m][2] / n),
            .scaled_mae = run->sums[m][3] / n,
            .scaled_mse = run->sums[m][4] / n,
            .crps = run->crps[m] / cells,
            .coverage = isfinite(run->crps[m]) ? (double)run->inside[m] / cells : NAN};
        int units = gather(run, m, values);
        score->mase = mean_of(values, units);
        car_bootstrap_mean(values, units, block, 1, &score->mase_low, &score->mase_high);
        car_wilson(run->inside[m], run->cells, &score->coverage_low, &score->coverage_high);
    }
    decide(run, values, other, block);
    result->origins = run->windows;
    result->series = run->set->count;
    result->nets = forecast_of(run)->count;
    result->settings = *settings;
    result->season = settings->season;
    result->interval = settings->levels[settings->level_count - 1] - settings->levels[0];
    result->lag0 = correlation(&run->lag0);
    result->lag1 = correlation(&run->lag1);
    result->move_share = run->moves > 0 ? sqrt(run->foretold / run->moves) : NAN;
}

/* ---- the run ------------------------------------------------------------------------------------------ */

static car_status check_lengths(backtest_run *run, car_error *error) {
    size_t tested = (size_t)run->horizon + (size_t)(run->windows - 1) * run->stride;
    for (int i = 0; i < run->set->count; i++) {
        const car_one_series *one = &run->set->series[i];
        if (one->count <= tested + 1)
            return car_fail(error, CAR_DATA,
                            "series `%.60s` has %zu value%s; %d window%s of a horizon of %d need "
                            "%zu for the test alone (lower --windows or --horizon)",
                            one->id, one->count, one->count == 1 ? "" : "s", run->windows,
                            run->windows == 1 ? "" : "s", run->horizon, tested);
        if (run->given && one->stamps[origin_of(run, i, 0)] <= run->given->settings.learned_to)
            return car_fail(
                error, CAR_DATA,
                "series `%.60s`: the model has learned from what it would be judged by; "
                "lower --windows, or give newer data",
                one->id);
        size_t steps = one->count + one->ahead;
        run->longest = steps > run->longest ? steps : run->longest;
    }
    return CAR_OK;
}

static car_status go(backtest_run *run, car_error *error) {
    size_t horizon = (size_t)run->horizon, series = (size_t)run->set->count;
    CAR_TRY(check_lengths(run, error));
    size_t width = (size_t)run->set->covariate_count;
    size_t block = MOST_COPIED / (run->longest * (1 + width));
    run->block = block < 1 ? 1 : block > MOST_CASES ? MOST_CASES : (int)block;
    size_t units = series + (size_t)run->windows, cells = series * (size_t)run->windows;
    size_t each = horizon * (1 + CAR_FORECAST_LEVELS);
    run->lengths = car_allocate(NULL, series, sizeof *run->lengths);
    run->memory = car_allocate(NULL, (size_t)run->block * 2, each * sizeof(double));
    run->room = car_allocate(NULL, (size_t)run->block, run->longest * (1 + width) * sizeof(double));
    run->out = car_allocate(NULL, CAR_BASELINE_COUNT * horizon + series, sizeof *run->out);
    run->error = car_allocate(NULL, CAR_METHODS * cells + 2 * units, sizeof *run->error);
    run->result->worst = car_allocate(NULL, series, sizeof *run->result->worst);
    if (!run->lengths || !run->memory || !run->room || !run->out || !run->error ||
        !run->result->worst)
        return car_fail(error, CAR_MEMORY, "no memory for %zu windows", cells);
    run->unit = run->out + CAR_BASELINE_COUNT * horizon;
    CAR_TRY(judge_all(run, error));
    double *values = run->error + CAR_METHODS * cells;
    sum_up(run, values, values + units);
    return CAR_OK;
}

void car_backtest_free(car_backtest *result) {
    car_release(NULL, result->worst);
    car_release(NULL, result->last);
    *result = (car_backtest){0};
}

car_status car_forecast_backtest(const car_forecast_options *options,
                                 const car_backtest_options *how, const car_series_set *set,
                                 const car_forecast *forecast, const car_forecast_watch *watch,
                                 car_backtest *result, car_error *error) {
    *result = (car_backtest){0};
    CAR_TRY(car_forecast_options_check(options, error));
    int64_t horizon = forecast ? forecast->settings.horizon : options->horizon;
    if (how->windows < 1 || how->windows > 100000 || how->stride < 0 ||
        how->stride > CAR_FORECAST_MOST || how->ensemble < 1 || how->ensemble > CAR_FORECAST_NETS)
        return car_fail(error, CAR_USAGE, "give windows, a stride and an ensemble within range");
    backtest_run *run = car_allocate(NULL, 1, sizeof *run);
    if (!run)
        return car_fail(error, CAR_MEMORY, "no memory for a backtest");
    run->options = options;
    run->how = how;
    run->set = set;
    run->given = forecast;
    run->watch = watch;
    run->result = result;
    run->horizon = (int)horizon;
    run->windows = (int)how->windows;
    run->stride = (size_t)(how->stride ? how->stride : horizon);
    car_status status = go(run, error);
    car_forecast_free(&run->forecast);
    void *const blocks[] = {run->lengths, run->memory, run->room,  run->out,
                            run->beside,  run->spread, run->error, run};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        car_release(NULL, blocks[i]);
    if (status != CAR_OK)
        car_backtest_free(result);
    return status;
}
