/*
 * forecast_window.c: a window of a series, as a net reads it (the formulas stand in forecast.h).
 *
 * In:  a series and an origin; nothing at or behind the origin is looked at, but known covariates.
 * Out: the net's input, what its outputs are differences to, and in what unit.
 */
#include "forecast.h"
#include <math.h>

size_t car_forecast_back(const car_forecast_settings *settings) {
    return settings->difference                          ? 1
           : settings->reference == CAR_REFERENCE_SEASON ? (size_t)settings->season
                                                         : 0;
}

size_t car_forecast_need(const car_forecast_settings *settings) {
    return (size_t)settings->context + car_forecast_back(settings);
}

double car_forecast_level_of(const car_forecast_settings *settings, double y) {
    return settings->log ? log(y) : y;
}

/* z, or its difference over `back` steps. */
static double step_of(const car_forecast_settings *settings, const double *y, size_t t,
                      size_t back) {
    double z = car_forecast_level_of(settings, y[t]);
    return back > 0 ? z - car_forecast_level_of(settings, y[t - back]) : z;
}

/* Welford's recurrence, so that the scale at an origin has the same bits wherever the series ends. */
void car_forecast_scales(const car_forecast_settings *settings, const double *y, size_t count,
                         double *out) {
    size_t back = car_forecast_back(settings);
    double mean = 0, squares = 0, seen = 0;
    out[0] = 0;
    for (size_t t = 0; t < count; t++) {
        if (t >= back) {
            double u = step_of(settings, y, t, back), off = u - mean;
            mean += off / ++seen;
            squares += off * (u - mean);
        }
        out[t + 1] = seen > 1 ? sqrt(squares / seen) : 0;
    }
}

static double window_scale(double sum, double squares, int count) {
    double mean = sum / count;
    return sqrt(fmax(0, squares / count - mean * mean));
}

double car_forecast_window(const car_forecast_settings *settings, const car_one_series *series,
                           size_t origin, double scale, float *input, size_t stride,
                           double *reference) {
    const double *y = series->values;
    int context = settings->context;
    size_t first = origin - (size_t)context, back = car_forecast_back(settings);
    size_t season = (size_t)settings->season;
    double level = car_forecast_level_of(settings, y[origin - 1]), sum = 0, squares = 0;
    if (settings->reference == CAR_REFERENCE_MEAN) {
        for (int t = 0; t < context; t++)
            sum += car_forecast_level_of(settings, y[first + (size_t)t]);
        level = sum / context;
        sum = 0;
    }
    for (int t = 0; t < context; t++) {
        double x = step_of(settings, y, first + (size_t)t, back) - (back > 0 ? 0 : level);
        input[(size_t)t * stride] = (float)x;
        sum += x;
        squares += x * x;
    }
    double s = settings->series_scale ? scale : window_scale(sum, squares, context);
    s = s > 1e-9 * fabs(level) ? s : 0;
    for (int t = 0; t < context; t++)
        input[(size_t)t * stride] = s > 0 ? (float)((double)input[(size_t)t * stride] / s) : 0;
    for (size_t t = 0; settings->input_count > 0 && t < (size_t)context; t++)
        car_forecast_put_inputs(settings, series, first + t, input + t * stride + 1);
    for (size_t k = 0; k < (size_t)settings->horizon; k++)
        reference[k] = settings->reference == CAR_REFERENCE_SEASON
                           ? car_forecast_level_of(settings, y[origin - (season - k % season)])
                           : level;
    return s;
}

car_status car_forecast_check_values(const car_forecast_settings *settings,
                                     const car_one_series *series, size_t begin, size_t end,
                                     car_error *error) {
    for (size_t i = begin; settings->log && i < end; i++)
        if (!(series->values[i] > 0))
            return car_fail(error, CAR_DATA,
                            "series `%.60s`: its value %zu is %g, which has no logarithm; leave "
                            "--log away",
                            series->id, i + 1, series->values[i]);
    return CAR_OK;
}
