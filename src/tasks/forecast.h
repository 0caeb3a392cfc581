/*
 * forecast: time series to forecasts, and an honest comparison with what costs nothing.
 *
 *   forecast.c           windows of a series, training, forecasting
 *   forecast_backtest.c  rolling origins: the model beside the baselines, the leak test, the verdict
 *
 * A window is `context` values before an origin. With z = y or log y and the reference r of the settings
 *
 *   last: x[t] = z[t] - z[n-1], r[k] = z[n-1]          mean: x[t] = z[t] - mean of the window, r[k] = that mean
 *   season: x[t] = z[t] - z[t-m], r[k] = z at the same place of the last season
 *
 * the net reads x/s (s: the standard deviation of x in the window) and foretells (z[n+k] - r[k])/s for all steps of the
 * horizon at once. So nothing but values before the origin enters a forecast, scaling included.
 */
#ifndef CAR_FORECAST_H
#define CAR_FORECAST_H

#include "series.h"
#include "train.h"

enum { CAR_FORECAST_LEVELS = 3, CAR_FORECAST_MOST = 4096 };
extern const double car_forecast_levels[CAR_FORECAST_LEVELS]; /* 0.1, 0.5, 0.9 */

typedef enum car_reference {
    CAR_REFERENCE_LAST,
    CAR_REFERENCE_SEASON,
    CAR_REFERENCE_MEAN
} car_reference;

typedef struct car_forecast_options {
    const char *net; /* NULL: lstm 32 | linear last */
    const char *
        reference; /* "auto", "last", "season", "mean"; auto: season where there is one, else last */
    bool log;
    int64_t horizon, context, season; /* context, season 0: by the frequency */
    int64_t batch, updates, patience, seed, threads;
    double rate;
} car_forecast_options;
car_forecast_options car_forecast_defaults(void);

typedef struct car_forecast_settings {
    int horizon, context, season;
    car_reference reference;
    bool log;
    car_frequency frequency;
    double *spread; /* [horizon][LEVELS] quantiles of the validation's errors, in s */
} car_forecast_settings;

typedef struct car_forecast {
    car_model *model;
    car_forecast_settings settings;
    int64_t updates, windows;
    double validation;
    bool interrupted;
} car_forecast;
void car_forecast_free(car_forecast *forecast); /* a zeroed one is legal */

/* Trains on the first lengths[i] values of series i (NULL: all). The last fifth of them, a horizon at least, is for
 * validation: the weights with the least error there are kept, and its errors make the intervals. CAR_DATA: too short,
 * all constant, not positive for `log`. `stop`: as in car_fit; may be NULL. */
car_status car_forecast_train(const car_forecast_options *options, const car_series_set *set,
                              const size_t *lengths, const volatile sig_atomic_t *stop,
                              car_forecast *forecast, car_error *error) CAR_CHECK_RESULT;
size_t car_forecast_need(const car_forecast_settings *settings); /* values before an origin */
/* From the history y[count]: point[horizon], quantiles[horizon][LEVELS]. CAR_DATA: too short; not positive for log. */
car_status car_forecast_run(const car_forecast *forecast, const double *y, size_t count,
                            const char *id, double *point, double *quantiles,
                            car_error *error) CAR_CHECK_RESULT;

/* ---- forecast_backtest.c ------------------------------------------------------------------------------ */

enum { CAR_METHODS = 1 + CAR_BASELINE_COUNT }; /* the model, then the baselines */
typedef struct car_method_score {
    const char *name;
    double mase, mase_low, mase_high, smape, mae, rmse; /* NaN: cannot be said */
    double crps, coverage, coverage_low, coverage_high; /* of the model alone */
} car_method_score;

typedef struct car_backtest_options {
    int64_t windows, stride; /* stride 0: the horizon */
    bool refit;
} car_backtest_options;

typedef enum car_skill {
    CAR_SKILL_BETTER,
    CAR_SKILL_NONE,
    CAR_SKILL_WORSE,
    CAR_SKILL_UNKNOWN
} car_skill;
typedef struct car_backtest {
    car_method_score scores[CAR_METHODS];
    int best; /* the baseline with the least MASE (RMSE where there is none), after the fact */
    double change, low,
        high;  /* of the model's mean scaled error against it, as a share, with 95 % interval */
    int units; /* origins or series that the interval rests on */
    car_skill skill;
    int64_t direction_hits, directions; /* first steps foretold in the right direction */
    int leaks; /* forecasts that moved when the future was changed; 0 is right */
    int origins, series;
    int season;
} car_backtest;
car_status car_forecast_backtest(const car_forecast_options *options,
                                 const car_backtest_options *how, const car_series_set *set,
                                 const volatile sig_atomic_t *stop, car_backtest *result,
                                 car_error *error) CAR_CHECK_RESULT;

#endif
