/*
 * baseline.c: forecasts that cost nothing, which a model has to beat.
 *
 * In:  history y[0 .. count-1] and nothing behind it. Out: out[0 .. horizon-1].
 * A baseline's quantiles come from its own errors at earlier origins.
 * Naive2 is the M4 competition's: if the autocorrelation at the season is significant at 90 %, the classical
 * multiplicative seasonal indices are divided out, the last value repeated, the indices multiplied back.
 */
#include "series.h"
#include <math.h>

const char *car_baseline_name(car_baseline baseline) {
    static const char *const names[] = {"naive", "seasonal naive", "drift", "mean", "Naive2"};
    return names[baseline];
}

static double mean_of(const double *y, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += y[i];
    return sum / (double)count;
}

/* The autocorrelation at lag k. */
static double autocorrelation(const double *y, size_t count, size_t lag, double mean) {
    double products = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        squares += (y[i] - mean) * (y[i] - mean);
        if (i >= lag)
            products += (y[i] - mean) * (y[i - lag] - mean);
    }
    return squares > 0 ? products / squares : 0;
}

/* |r(m)| > 1.645 sqrt((1 + 2 sum r(k)^2, k < m) / n) (Bartlett 1946). */
static bool is_seasonal(const double *y, size_t count, size_t season) {
    if (season < 2 || count < 3 * season)
        return false;
    double mean = mean_of(y, count), sum = 1;
    for (size_t k = 1; k < season; k++) {
        double r = autocorrelation(y, count, k, mean);
        sum += 2 * r * r;
    }
    return fabs(autocorrelation(y, count, season, mean)) > 1.645 * sqrt(sum / (double)count);
}

/* The centred moving average over a season around i; half weights at the ends of an even one. */
static double moving_average(const double *y, size_t i, size_t season) {
    size_t half = season / 2;
    double sum = 0;
    for (size_t k = i - half; k <= i + half; k++)
        sum += (season % 2 == 0 && (k == i - half || k == i + half)) ? y[k] / 2 : y[k];
    return sum / (double)season;
}

/* indices[season], their mean 1. */
static void seasonal_indices(const double *y, size_t count, size_t season, double *indices,
                             double *seen) {
    size_t half = season / 2;
    for (size_t i = half; i + half < count; i++) {
        indices[i % season] += y[i] / moving_average(y, i, season);
        seen[i % season]++;
    }
    double sum = 0;
    for (size_t s = 0; s < season; s++) {
        indices[s] /= seen[s];
        sum += indices[s];
    }
    for (size_t s = 0; s < season; s++)
        indices[s] *= (double)season / sum;
}

static car_status naive2(const double *y, size_t count, size_t season, int horizon, double *out,
                         car_error *error) {
    for (int h = 0; h < horizon; h++)
        out[h] = y[count - 1];
    bool positive = true;
    for (size_t i = 0; i < count; i++)
        positive = positive && y[i] > 0;
    if (!positive || !is_seasonal(y, count, season))
        return CAR_OK;
    double *indices = car_allocate(NULL, season, 2 * sizeof *indices);
    if (!indices)
        return car_fail(error, CAR_MEMORY, "no memory for a season of %zu", season);
    seasonal_indices(y, count, season, indices, indices + season);
    double level = y[count - 1] / indices[(count - 1) % season];
    for (int h = 0; h < horizon; h++)
        out[h] = level * indices[(count + (size_t)h) % season];
    car_release(NULL, indices);
    return CAR_OK;
}

car_status car_baseline_forecast(car_baseline baseline, const double *y, size_t count, int season,
                                 int horizon, double *out, car_error *error) {
    size_t period = season < 1 ? 1 : (size_t)season;
    if (baseline == CAR_BASELINE_NAIVE2)
        return naive2(y, count, period, horizon, out, error);
    double last = y[count - 1], mean = baseline == CAR_BASELINE_MEAN ? mean_of(y, count) : 0;
    double slope = count > 1 ? (last - y[0]) / (double)(count - 1) : 0;
    for (int h = 0; h < horizon; h++) {
        size_t back = period - (size_t)h % period; /* the same place in the last season */
        out[h] = baseline == CAR_BASELINE_MEAN                        ? mean
                 : baseline == CAR_BASELINE_DRIFT                     ? last + (h + 1) * slope
                 : baseline == CAR_BASELINE_SEASONAL && back <= count ? y[count - back]
                                                                      : last;
    }
    return CAR_OK;
}

/* ---- quantiles ---------------------------------------------------------------------------------------- */

/* errors[horizon][origins] at origins that lie evenly from `first` to `last`. */
static car_status past_errors(car_baseline baseline, const double *y, size_t first, size_t last,
                              size_t origins, int season, int horizon, bool logs, double *out,
                              double *errors, car_error *error) {
    for (size_t i = 0; i < origins; i++) {
        size_t origin = first + i * (last - first) / (origins - 1);
        CAR_TRY(car_baseline_forecast(baseline, y, origin, season, horizon, out, error));
        for (size_t k = 0; k < (size_t)horizon; k++) {
            double truth = y[origin + k];
            errors[k * origins + i] = !logs                     ? truth - out[k]
                                      : truth > 0 && out[k] > 0 ? log(truth / out[k])
                                                                : INFINITY;
        }
    }
    return CAR_OK;
}

car_status car_baseline_spread(car_baseline baseline, const double *y, size_t count, int season,
                               int horizon, bool logs, const double *levels, int level_count,
                               double *spread, car_error *error) {
    enum { LEAST_ORIGINS = 4, MOST_ORIGINS = 100 };
    size_t steps = (size_t)horizon, first = count / 2 > 2 ? count / 2 : 2;
    size_t origins = count >= first + steps ? count - first - steps + 1 : 0;
    if (origins < LEAST_ORIGINS) {
        for (size_t i = 0; i < steps * (size_t)level_count; i++)
            spread[i] = NAN;
        return CAR_OK;
    }
    origins = origins < MOST_ORIGINS ? origins : MOST_ORIGINS;
    double *errors = car_allocate(NULL, steps, (origins + 1) * sizeof *errors);
    if (!errors)
        return car_fail(error, CAR_MEMORY, "no memory for %zu errors of a baseline", origins);
    car_status status = past_errors(baseline, y, first, count - steps, origins, season, horizon,
                                    logs, errors + steps * origins, errors, error);
    if (status == CAR_OK)
        car_conformal_spread(errors, origins, horizon, levels, level_count, spread);
    car_release(NULL, errors);
    return status;
}
