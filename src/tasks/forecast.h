/*
 * forecast: time series to forecasts, and an honest comparison with what costs nothing.
 *
 *   forecast_options.c   every option of `forecast train`, once; what follows from them and the data (settings)
 *   forecast_window.c    a window of a series as a net reads it, and what its outputs mean
 *   forecast_inputs.c    covariates in a window
 *   forecast_train.c     windows, training, going on from a checkpoint
 *   forecast_model.c     the model file: what it holds beside weights, reading it
 *   forecast.c           forecasts from models
 *   forecast_backtest.c  rolling origins: the model beside the baselines, the leak test, the verdict
 *
 *   series + options --car_forecast_train--> model file --car_forecast_load--> car_forecast_run --> points, quantiles
 *
 * A window is `context` values before an origin n. With z = y or log y and the reference r of the settings
 *
 *   last: x[t] = z[t] - z[n-1], r[k] = z[n-1]          mean: x[t] = z[t] - mean of the window, r[k] = that mean
 *   season: x[t] = z[t] - z[t-m], r[k] = z at the same place of the last season
 *   difference (with last): x[t] = z[t] - z[t-1]
 *
 * the net reads x/s and foretells (z[n+k] - r[k])/s for all steps of the horizon at once. s is the standard deviation of
 * x in the window, or (scale `series`) that of z, of z[t] - z[t-m] or of z[t] - z[t-1] in all that is known before n. So
 * nothing but values before the origin enters a forecast, scaling included.
 */
#ifndef CAR_FORECAST_H
#define CAR_FORECAST_H

#include "series.h"
#include "tasks.h"

/* ---- forecast_options.c ------------------------------------------------------------------------------- */

enum {
    CAR_FORECAST_MOST = 4096,
    CAR_FORECAST_LEVELS = CAR_NET_LEVEL_LIMIT,
    CAR_FORECAST_NETS = 64
};

typedef struct car_forecast_options {
    const char *id, *time, *value;           /* columns; NULL: the usual ones */
    const char *missing, *gaps, *duplicates; /* what to do about them */
    bool sort;
    const char *known, *unknown, *constant; /* columns "A,B" of covariates; NULL: none */
    const char *prices;
    int64_t horizon, context, season, validation; /* 0: by the frequency, the horizon, the length */
    const char *reference, *scale, *levels;
    bool log, difference;
    const char *net, *cell, *head; /* net NULL: cell hidden xlayers dropout | head last */
    int64_t hidden, layers;
    double dropout;
    int64_t batch, warmup, updates, validate_every, patience, seed, threads;
    double rate, final, clip, decay, minutes, epochs, checkpoint_seconds;
    const char *optimizer, *schedule, *output, *precision;
} car_forecast_options;

extern const car_setting car_forecast_table[];
extern const int car_forecast_table_count;
car_forecast_options car_forecast_defaults(void);
/* Ranges, choices and combinations. CAR_USAGE names the option. */
car_status car_forecast_options_check(const car_forecast_options *options,
                                      car_error *error) CAR_CHECK_RESULT;
/* Prices (`--prices yes`, or `auto` and a value column called so): log returns, no season, rows count and not time,
 * wherever nothing else is said. Returns whether they are. */
bool car_forecast_resolve_prices(car_forecast_options *options);
/* How a file is to be read. */
car_series_options car_forecast_reading(const car_forecast_options *options);

typedef enum car_reference {
    CAR_REFERENCE_LAST,
    CAR_REFERENCE_SEASON,
    CAR_REFERENCE_MEAN
} car_reference;

/* A covariate, and how it is scaled. */
typedef struct car_forecast_input {
    car_covariate column;
    double mean, deviation;
} car_forecast_input;

/* What a model has to know about the series: part of its file. */
typedef struct car_forecast_settings {
    int horizon, context, season;
    car_reference reference;
    bool log, difference, series_scale;
    car_frequency frequency;
    int level_count;
    double levels[CAR_FORECAST_LEVELS]; /* of the quantiles, rising */
    int input_count;
    car_forecast_input inputs[CAR_COVARIATE_LIMIT];
    int64_t learned_to; /* the last stamp that was learned from or validated on */
} car_forecast_settings;
/* The levels are those of the net, where it has any. */
car_status car_forecast_settle(const car_forecast_options *options, const car_series_set *set,
                               const struct car_net *net, car_forecast_settings *settings,
                               car_error *error) CAR_CHECK_RESULT;
/* Where the last part of a series of `length` values begins, which is not learned from: `validation` steps; 0: a fifth of
 * what can be an origin; a horizon at least. */
size_t car_forecast_validation_begin(const car_forecast_settings *settings, int64_t validation,
                                     size_t length);
/* The net of the options; `cell` may be a file. CAR_USAGE: one that cannot forecast. */
car_status car_forecast_net(const car_forecast_options *options, car_net **net,
                            car_error *error) CAR_CHECK_RESULT;
car_status car_forecast_check_net(const struct car_net *net, car_error *error) CAR_CHECK_RESULT;

/* ---- forecast_window.c -------------------------------------------------------------------------------- */

size_t car_forecast_need(const car_forecast_settings *settings); /* values before an origin */
/* z, or its difference that the scale of a series is taken from, at step t >= car_forecast_back. */
size_t car_forecast_back(const car_forecast_settings *settings);
/* out[n] = scale of a series at origin n, for n = 0 .. count. Only where settings->series_scale. */
void car_forecast_scales(const car_forecast_settings *settings, const double *y, size_t count,
                         double *out);
/* input[t*stride + i] for t < context, reference[horizon]; returns s, 0 for a window without any change. `scale`: of the
 * series at the origin, where the settings have series_scale. */
double car_forecast_window(const car_forecast_settings *settings, const car_one_series *series,
                           size_t origin, double scale, float *input, size_t stride,
                           double *reference);
/* CAR_DATA: a value that has no logarithm, where the settings have log. */
car_status car_forecast_check_values(const car_forecast_settings *settings,
                                     const car_one_series *series, size_t begin, size_t end,
                                     car_error *error) CAR_CHECK_RESULT;
double car_forecast_level_of(const car_forecast_settings *settings, double y); /* z of y */

/* ---- forecast_inputs.c -------------------------------------------------------------------------------- */

int car_forecast_inputs(const car_forecast_settings *settings); /* values a step, x among them */
/* Takes the columns of the set; their means and deviations over the first lengths[] steps (NULL: all). */
void car_forecast_measure(const car_series_set *set, const size_t *lengths,
                          car_forecast_settings *settings);
/* The values of a step behind x. Known columns are read a horizon later too. */
void car_forecast_put_inputs(const car_forecast_settings *settings, const car_one_series *series,
                             size_t step, float *out);
/* Columns of another file than was trained on: words get the numbers of training. CAR_DATA: other columns or words. */
car_status car_forecast_align(const car_forecast_settings *settings, car_series_set *set,
                              car_error *error) CAR_CHECK_RESULT;
void car_forecast_inputs_json(const car_forecast_settings *settings, car_text *text);
bool car_forecast_inputs_from_json(const car_json *array, car_forecast_settings *settings);

/* ---- forecast_model.c --------------------------------------------------------------------------------- */

typedef struct car_forecast {
    car_forecast_settings settings;
    int count; /* nets, whose forecasts are averaged */
    car_model *models[CAR_FORECAST_NETS];
    double *spread; /* [horizon][levels] quantiles of the validation's errors, in s; of `linear` heads only */
} car_forecast;
void car_forecast_free(car_forecast *forecast); /* a zeroed one is legal */

/* Adds the model in a file; all of one forecast must have the same settings. CAR_MODEL: not a model of `forecast
 * train`. `options` (may be NULL) with texts in `arena`: those it was trained with. */
car_status car_forecast_load(const char *path, car_forecast *forecast, car_arena *arena,
                             car_forecast_options *options, car_error *error) CAR_CHECK_RESULT;
/* CAR_DATA: the series have another frequency or other columns; words get their numbers of training. */
car_status car_forecast_check_series(const car_forecast *forecast, car_series_set *set,
                                     car_error *error) CAR_CHECK_RESULT;
/* Does the model have the inputs and outputs that the settings ask for? */
bool car_forecast_fits(const car_forecast_settings *settings, const car_model *model);
/* The settings as JSON, with `spread` where there is one. */
void car_forecast_settings_json(const car_forecast_settings *settings, const double *spread,
                                car_text *text);

/* ---- forecast.c --------------------------------------------------------------------------------------- */

/* One forecast: of a series, from what lies before the origin. */
typedef struct car_forecast_case {
    const car_one_series *series;
    size_t origin;
    double *point;     /* [horizon] */
    double *quantiles; /* [horizon][levels] */
} car_forecast_case;
/* CAR_DATA: a series that is too short; no logarithm. */
car_status car_forecast_run(const car_forecast *forecast, const car_forecast_case *cases, int count,
                            car_error *error) CAR_CHECK_RESULT;

/* ---- forecast_train.c --------------------------------------------------------------------------------- */

typedef struct car_forecast_facts {
    const char *net; /* borrowed */
    int64_t parameters, windows, validation_windows, updates_per_epoch, updates_done;
    int series, too_short, threads;
} car_forecast_facts;

typedef struct car_forecast_watch {
    void *context;
    void (*started)(void *context, const car_forecast_facts *facts);   /* may be NULL */
    void (*progress)(void *context, const car_fit_progress *progress); /* may be NULL */
    const volatile sig_atomic_t *stop;                                 /* may be NULL */
    const char *version; /* of the program, for the record */
    bool native;         /* make machine code of cells that are not the zoo's */
} car_forecast_watch;

typedef struct car_forecast_result {
    car_fit_result fit;
    car_forecast_facts facts; /* `net` is NULL here */
    double seconds, loss, rows_per_second;
    char output[4000];
    bool saved;
} car_forecast_result;

/* Trains on the first lengths[i] values of series i (NULL: all). The last part of them (`validation`; 0: a fifth, a
 * horizon at least) is not learned from: the weights with the least error there are kept, and its errors make the
 * intervals. Adds the net to *forecast (NULL: only the file counts). `load`: weights to start from. `files`: JSON for
 * going on, NULL: no checkpoint. CAR_DATA: too short, all constant. */
car_status car_forecast_train(const car_forecast_options *options, const car_series_set *set,
                              const size_t *lengths, const car_model *load, const char *files,
                              const car_forecast_watch *watch, car_forecast *forecast,
                              car_forecast_result *result, car_error *error) CAR_CHECK_RESULT;
/* Goes on from a checkpoint: its options, data and state. CAR_DATA: the data has changed since. */
car_status car_forecast_resume(const char *checkpoint, const car_training_changes *changes,
                               const car_forecast_watch *watch, car_forecast_result *result,
                               car_error *error) CAR_CHECK_RESULT;
/* Reads a file of series as the options say; *files (`files` may be NULL): JSON for car_forecast_train, NULL where it
 * cannot be read again (standard input); to be released with car_release. */
car_status car_forecast_read(const car_forecast_options *options, const char *path,
                             car_series_set *set, char **files, car_error *error) CAR_CHECK_RESULT;

/* ---- forecast_backtest.c ------------------------------------------------------------------------------ */

/* The model, then the baselines; the last of them, Naive2, only where there is a season. */
enum { CAR_METHODS = 1 + CAR_BASELINE_COUNT };
typedef struct car_method_score {
    const char *name;
    double mase, mase_low, mase_high, smape, mae, rmse; /* NaN: cannot be said */
    double scaled_mae, scaled_mse; /* in standard deviations of what was learned from */
    double crps, coverage, coverage_low, coverage_high;
} car_method_score;

typedef struct car_backtest_options {
    int64_t windows, stride; /* stride 0: the horizon */
    int64_t ensemble;        /* nets with seeds seed, seed+1, ... */
    bool refit;
} car_backtest_options;

typedef enum car_skill {
    CAR_SKILL_BETTER,
    CAR_SKILL_NONE,
    CAR_SKILL_WORSE,
    CAR_SKILL_UNKNOWN
} car_skill;
typedef struct car_series_score {
    const char *id; /* borrowed from the series */
    int index;
    double model, baseline; /* mean scaled errors: of the model, of the best baseline of all */
} car_series_score;
typedef struct car_backtest {
    int methods; /* CAR_METHODS or one less */
    car_method_score scores[CAR_METHODS];
    int best; /* the baseline with the least MASE (RMSE where there is none), after the fact */
    double change, low, high; /* of the model's mean scaled error against it, as a share, with 95 % interval */
    int units;                /* origins or series that the interval rests on */
    car_skill skill;
    int64_t direction_hits, directions; /* first steps foretold in the right direction */
    double lag0, lag1; /* correlation of the first step's forecast with the value it foretells, with the one before */
    double move_share; /* size of the foretold first moves in units of the real ones (root mean squares) */
    double interval; /* share that the outermost quantiles are to hold */
    int leaks;       /* forecasts that moved when the future was changed; 0 is right */
    int origins, series, nets;
    int season;
    car_forecast_settings settings; /* of the model */
    double *last;            /* [series][horizon * (1 + levels)] at the last origin: points, then quantiles */
    car_series_score *worst; /* [series] worst first; release with car_backtest_free */
} car_backtest;
/* Trains on what lies before the first origin (refit: before each), or, with `forecast`, judges that one. */
car_status car_forecast_backtest(const car_forecast_options *options,
                                 const car_backtest_options *how, const car_series_set *set,
                                 const car_forecast *forecast, const car_forecast_watch *watch,
                                 car_backtest *result, car_error *error) CAR_CHECK_RESULT;
void car_backtest_free(car_backtest *result);

#endif
