/*
 * score.c: how good a forecast was, and how sure that is.
 *
 * In:  what was foretold and what came. Out: the figures that the field uses, with 95 % intervals.
 */
#include "series.h"
#include <math.h>
#include <stdlib.h>

double car_smape(const double *actual, const double *forecast, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) {
        double size = fabs(actual[i]) + fabs(forecast[i]);
        sum += size > 0 ? 200 * fabs(actual[i] - forecast[i]) / size : 0;
    }
    return sum / count;
}

double car_mean_absolute_error(const double *actual, const double *forecast, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += fabs(actual[i] - forecast[i]);
    return sum / count;
}

double car_root_mean_square_error(const double *actual, const double *forecast, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += (actual[i] - forecast[i]) * (actual[i] - forecast[i]);
    return sqrt(sum / count);
}

double car_mase_scale(const double *train, size_t count, int season) {
    size_t period = season < 1 ? 1 : (size_t)season;
    if (count <= period)
        return NAN;
    double sum = 0;
    for (size_t i = period; i < count; i++)
        sum += fabs(train[i] - train[i - period]);
    return sum / (double)(count - period);
}

double car_pinball(double actual, double forecast, double level) {
    return fmax(level * (actual - forecast), (level - 1) * (actual - forecast));
}

double car_crps(double actual, const double *quantiles, const double *levels, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += car_pinball(actual, quantiles[i], levels[i]);
    return 2 * sum / count;
}

void car_conformal_spread(double *errors, size_t count, int horizon, const double *levels,
                          int level_count, double *spread) {
    enum { ENOUGH_ERRORS = 20 };
    size_t steps = (size_t)horizon, stride = count;
    if (count < ENOUGH_ERRORS) {
        count *= steps;
        stride = 0;
    }
    for (size_t k = 0; k < steps; k++) {
        double *row = errors + k * stride;
        for (size_t i = 0; i < count; i++)
            row[i] = fabs(row[i]);
        qsort(row, count, sizeof *row, car_order_doubles);
        for (int q = 0; q < level_count; q++) {
            double side = 2 * levels[q] - 1;
            size_t rank = (size_t)ceil(fabs(side) * (double)(count + 1) - 1e-9);
            double size = rank < 1 ? 0 : row[(rank < count ? rank : count) - 1];
            *spread++ = side < 0 ? -size : size;
        }
    }
}

void car_wilson(int64_t hits, int64_t count, double *low, double *high) {
    const double z = 1.959963984540054;
    double n = (double)count, share = count > 0 ? (double)hits / n : 0;
    if (count <= 0) {
        *low = 0;
        *high = 1;
        return;
    }
    double middle = (share + z * z / (2 * n)) / (1 + z * z / n);
    double half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n));
    *low = fmax(0, middle - half);
    *high = fmin(1, middle + half);
}

void car_bootstrap_mean(const double *values, int count, int block, uint64_t seed, double *low,
                        double *high) {
    enum { DRAWS = 2000 };
    double means[DRAWS];
    car_random_key key = {.seed = seed, .purpose = CAR_RANDOM_SAMPLE};
    *low = *high = NAN;
    if (count < 2)
        return;
    block = block < 1 ? 1 : block > count ? count : block;
    for (int draw = 0; draw < DRAWS; draw++) {
        double sum = 0;
        for (int i = 0, start = 0; i < count; i++) {
            if (i % block == 0)
                start = (int)((double)car_random_uniform(key, (uint64_t)draw, (uint64_t)i) * count);
            sum += values[(start + i % block) % count];
        }
        means[draw] = sum / count;
    }
    qsort(means, DRAWS, sizeof *means, car_order_doubles);
    *low = means[DRAWS * 25 / 1000];
    *high = means[DRAWS - 1 - DRAWS * 25 / 1000];
}
