/*
 * series: numbers in time, from a CSV file to a table, and what is cheap to foretell and to judge with it.
 *
 *   csv.c       a CSV file as a stream of rows of fields, each with its place
 *   stamp.c     time stamps: text <-> number; the frequency of many
 *   series.c    rows -> series in order of time; what was wanting in them, and what was done about it
 *   baseline.c  naive, seasonal naive, drift, mean, Naive2
 *   score.c     sMAPE, MASE, RMSE, pinball, CRPS; intervals of Wilson and of the bootstrap
 *
 *   file ──car_csv_row──► fields ──car_series_read──► car_series_set ──car_baseline──► forecasts ──score.c──► figures
 */
#ifndef CAR_SERIES_H
#define CAR_SERIES_H

#include "base.h"

/* ---- csv.c -------------------------------------------------------------------------------------------- */

enum {
    CAR_CSV_ROW_LIMIT = 1 << 20, /* bytes of a row */
    CAR_CSV_FIELD_LIMIT = 1 << 14
};

typedef struct car_csv_field {
    const char
        *text; /* NUL-terminated, quotes and blanks around it taken away; until the next row */
    size_t length;
    int line, column; /* where it begins, from 1; columns count characters */
    bool quoted;
} car_csv_field;

/* RFC 4180: fields between commas, "quoted" where they hold commas, line ends or doubled quotes; lines end in LF or
 * CRLF; a byte order mark at the start and empty lines are passed over. Memory: a row, whatever the file. */
typedef struct car_csv car_csv;
/* `path` "-" is standard input. CAR_IO. */
car_status car_csv_open(const char *path, const car_allocator *allocator, car_csv **csv,
                        car_error *error) CAR_CHECK_RESULT;
/* The same for a text in memory, borrowed. */
car_status car_csv_open_text(const char *text, size_t length, const char *origin,
                             const car_allocator *allocator, car_csv **csv,
                             car_error *error) CAR_CHECK_RESULT;
/* *count 0: the end. CAR_DATA with the place: an open quote, text behind a closing one, a NUL, no UTF-8, a row or
 * field count above the limits. */
car_status car_csv_row(car_csv *csv, const car_csv_field **fields, int *count,
                       car_error *error) CAR_CHECK_RESULT;
/* The first row. CAR_DATA: there is none, or its fields are separated by something else. */
car_status car_csv_header(car_csv *csv, const car_csv_field **fields, int *count,
                          car_error *error) CAR_CHECK_RESULT;
const char *car_csv_origin(const car_csv *csv);
void car_csv_free(car_csv *csv); /* NULL is legal */

/* ---- stamp.c ------------------------------------------------------------------------------------------ */

typedef enum car_stamp_kind {
    CAR_STAMP_INTEGER, /* 17, 1949: steps or years */
    CAR_STAMP_MONTH,   /* 1949-01; the value counts months since year 0 */
    CAR_STAMP_DATE,    /* 1949-01-31; the value counts days since 1970-01-01 */
    CAR_STAMP_TIME /* 1949-01-31 13:00[:00][Z|+01:00], also with a T; seconds since 1970 in UTC */
} car_stamp_kind;
bool car_stamp_parse(const char *text, size_t length, car_stamp_kind *kind, int64_t *value);
/* As ISO text. */
enum { CAR_STAMP_TEXT = 96 };
void car_stamp_format(car_stamp_kind kind, int64_t value, char text[CAR_STAMP_TEXT]);

typedef enum car_step_unit {
    CAR_STEP_PLAIN,       /* `step` of the kind's own unit: integers, months, days, seconds */
    CAR_STEP_MONTHS,      /* dates, `step` months apart, on the same day of the month or its last */
    CAR_STEP_BUSINESS_DAY /* dates from Monday to Friday */
} car_step_unit;
typedef struct car_frequency {
    car_stamp_kind kind;
    car_step_unit unit;
    int64_t step;
    int day; /* MONTHS: of the month; 31: the last */
} car_frequency;
/* Finds the frequency of stamps in rising order: the most common distance, of which every other distance must be a
 * multiple. -1: found; else the index of the first stamp that does not fit it. */
int64_t car_frequency_find(car_stamp_kind kind, const int64_t *stamps, size_t count,
                           const car_allocator *allocator, car_frequency *frequency);
/* How many steps `to` lies behind `from`, which is earlier; -1: between two steps. */
int64_t car_frequency_steps(const car_frequency *frequency, int64_t from, int64_t to);
int64_t car_frequency_add(const car_frequency *frequency, int64_t stamp, int64_t steps);
/* "monthly", "hourly", "business-daily", "every 3 months", "every 1" ... */
void car_frequency_name(const car_frequency *frequency, char text[32]);
/* The usual season in steps: 12 of months, 24 of hours, 7 of days, 5 of business days; 1: none. */
int car_frequency_season(const car_frequency *frequency);

/* ---- series.c ----------------------------------------------------------------------------------------- */

typedef enum car_missing { CAR_MISSING_REFUSE, CAR_MISSING_LAST, CAR_MISSING_DROP } car_missing;
typedef enum car_gaps { CAR_GAPS_REFUSE, CAR_GAPS_LAST, CAR_GAPS_CLOSE } car_gaps;
typedef enum car_duplicates {
    CAR_DUPLICATES_REFUSE,
    CAR_DUPLICATES_FIRST,
    CAR_DUPLICATES_LAST,
    CAR_DUPLICATES_MEAN
} car_duplicates;

typedef struct car_series_options {
    const char *id;   /* column that names the series; NULL: unique_id where there is one */
    const char *time; /* NULL: ds, else the first column */
    const char
        *value; /* one column, or several a,b,c (each a series); NULL: y, else the only other one */
    car_missing
        missing;   /* NA, NaN, null and empty values: refuse, the value before, or drop the row */
    car_gaps gaps; /* stamps that are not there: refuse, the value before, or close up the rows */
    car_duplicates duplicates;
    bool sort; /* rows out of order: sort them; else refuse */
    /* Covariates: columns "A,B" of numbers, known in future too (rows behind the last value may hold them), or not; and
     * those that are one number or word a series. NULL: none. */
    const char *known, *unknown, *constant;
} car_series_options;

enum {
    CAR_SERIES_VALUE_LIMIT = 1 << 24,
    CAR_SERIES_COUNT_LIMIT = 1 << 20,
    CAR_COVARIATE_LIMIT = 32,
    CAR_CATEGORY_LIMIT = 16, /* words of a constant column */
    CAR_COVARIATE_NAME = 48  /* bytes of a column's name or of a word, the last one 0 */
};

typedef enum car_covariate_role {
    CAR_COVARIATE_KNOWN,
    CAR_COVARIATE_UNKNOWN,
    CAR_COVARIATE_CONSTANT
} car_covariate_role;
typedef struct car_covariate {
    char name[CAR_COVARIATE_NAME];
    car_covariate_role role;
    int category_count; /* of a constant column of words, whose values are their numbers; 0: a column of numbers */
    char categories[CAR_CATEGORY_LIMIT][CAR_COVARIATE_NAME];
} car_covariate;

typedef struct car_one_series {
    char *id;
    size_t count;
    double *values;  /* [count] */
    int64_t *stamps; /* [count] */
    size_t ahead;    /* steps behind the last value of which known covariates are given */
    double *covariates; /* [count + ahead][covariates]; NaN: none known yet */
} car_one_series;

typedef struct car_series_report {
    size_t rows, missing, dropped, filled, gaps, duplicates, moved;
} car_series_report;

typedef struct car_series_set {
    car_arena *arena;
    int count;
    car_one_series *series; /* in the order in which they first appear */
    car_frequency frequency;
    int covariate_count;
    car_covariate *covariates; /* known ones, unknown ones, constant ones, in the order in which they were asked for */
    car_series_report report;
} car_series_set;

/* Reads all rows. CAR_DATA with line and column: no such column, text in a number column, a bad stamp, and whatever
 * the options refuse; CAR_DATA for more than CAR_SERIES_VALUE_LIMIT values. Nothing is made up silently: `report`
 * counts what was done. No value is ever filled from a later one. */
car_status car_series_read(car_csv *csv, const car_series_options *options,
                           const car_allocator *allocator, car_series_set *set,
                           car_error *error) CAR_CHECK_RESULT;
void car_series_free(car_series_set *set); /* a zeroed one is legal */

/* ---- baseline.c --------------------------------------------------------------------------------------- */

typedef enum car_baseline {
    CAR_BASELINE_NAIVE,    /* y[n] */
    CAR_BASELINE_SEASONAL, /* y[n+h-m*ceil(h/m)] */
    CAR_BASELINE_DRIFT,    /* y[n] + h*(y[n]-y[1])/(n-1) */
    CAR_BASELINE_MEAN,
    CAR_BASELINE_NAIVE2, /* naive on data without its season, as the M4 competition has it */
    CAR_BASELINE_COUNT
} car_baseline;
const char *car_baseline_name(car_baseline baseline);
/* From history y[count >= 1] to out[horizon]. */
car_status car_baseline_forecast(car_baseline baseline, const double *y, size_t count, int season,
                                 int horizon, double *out, car_error *error) CAR_CHECK_RESULT;
/* What is to be added to the baseline's forecast for its quantiles: car_conformal_spread of its errors at 100 origins at most
 * in the second half of y. `logs`: of logarithms. NaN where there are fewer than four. spread[horizon][levels]. */
car_status car_baseline_spread(car_baseline baseline, const double *y, size_t count, int season,
                               int horizon, bool logs, const double *levels, int level_count,
                               double *spread, car_error *error) CAR_CHECK_RESULT;

/* ---- score.c ------------------------------------------------------------------------------------------ */

/* Mean of 200|y-f|/(|y|+|f|), 0 where both are 0 (Makridakis et al. 2020, M4). */
double car_smape(const double *actual, const double *forecast, int count);
double car_mean_absolute_error(const double *actual, const double *forecast, int count);
double car_root_mean_square_error(const double *actual, const double *forecast, int count);
/* What MASE divides by: the mean of |y[t]-y[t-season]| over the training part (Hyndman & Koehler 2006); 0 or NaN: none. */
double car_mase_scale(const double *train, size_t count, int season);
/* max(q(y-f), (q-1)(y-f)). */
double car_pinball(double actual, double forecast, double level);
/* Twice the mean pinball over the levels: the CRPS as these quantiles show it. */
double car_crps(double actual, const double *quantiles, const double *levels, int count);
/* Split conformal intervals (Lei et al. 2018) from errors[horizon][count], which are put in order: for each step the least
 * size that the share |2q-1| of its errors stay within, with one error more counted as beyond. Symmetric, since few errors
 * cannot tell a bias from chance; fewer than 20 a step are put together with those of the other steps. */
void car_conformal_spread(double *errors, size_t count, int horizon, const double *levels,
                          int level_count, double *spread);
/* 95 % interval of a share (Wilson 1927). */
void car_wilson(int64_t hits, int64_t count, double *low, double *high);
/* 95 % interval of the mean of values in time by the circular block bootstrap (Politis & Romano 1992), 2,000 draws. */
void car_bootstrap_mean(const double *values, int count, int block, uint64_t seed, double *low,
                        double *high);

#endif
