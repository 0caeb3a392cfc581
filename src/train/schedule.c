/*
 * The learning rate at an update. In: a schedule, the update's number (from 0), the epoch's length, how many
 * updates there will be, how often the plateau has struck. Out: the rate.
 *
 *   constant   rate
 *   step       rate * factor^max(0, epoch - after), epoch = update / updates_per_epoch + 1, rounded down
 *   plateau    rate * factor^reductions
 *   cosine     rate * (final + (1 - final) * (1 + cos(pi * p)) / 2), p from 0 to 1 at the last update
 *
 * times min(1, (update + 1) / warmup).
 */
#include "train.h"
#include <math.h>

car_status car_schedule_check(const car_schedule *schedule, car_error *error) {
    if (!(schedule->rate > 0 && isfinite(schedule->rate)))
        return car_fail(error, CAR_USAGE,
                        "schedule: rate %g is not a number above 0; give e.g. 0.001",
                        schedule->rate);
    if (schedule->warmup < 0)
        return car_fail(error, CAR_USAGE, "schedule: warm-up of %lld updates; give 0 or more",
                        (long long)schedule->warmup);
    bool reduces = schedule->kind == CAR_SCHEDULE_STEP || schedule->kind == CAR_SCHEDULE_PLATEAU;
    if (reduces && !(schedule->factor > 0 && schedule->factor <= 1))
        return car_fail(error, CAR_USAGE, "schedule: factor %g is outside (0, 1]; give e.g. 0.5",
                        schedule->factor);
    if (schedule->kind == CAR_SCHEDULE_STEP && !(schedule->after >= 0))
        return car_fail(error, CAR_USAGE, "schedule: after %g epochs; give 0 or more",
                        schedule->after);
    if (schedule->kind == CAR_SCHEDULE_PLATEAU && !(schedule->patience >= 1))
        return car_fail(error, CAR_USAGE, "schedule: patience of %g validations; give 1 or more",
                        schedule->patience);
    if (schedule->kind == CAR_SCHEDULE_COSINE && !(schedule->final >= 0 && schedule->final <= 1))
        return car_fail(error, CAR_USAGE, "schedule: final %g is outside [0, 1]; give e.g. 0.01",
                        schedule->final);
    return CAR_OK;
}

static double cosine_factor(const car_schedule *schedule, int64_t update, int64_t last_update) {
    int64_t begin = schedule->warmup, end = last_update - 1;
    if (last_update < 0 || update <= begin)
        return 1;
    double progress = update >= end ? 1 : (double)(update - begin) / (double)(end - begin);
    return schedule->final + (1 - schedule->final) * (1 + cos(M_PI * progress)) / 2;
}

double car_schedule_rate(const car_schedule *schedule, int64_t update, int64_t updates_per_epoch,
                         int64_t last_update, int reductions) {
    double rate = schedule->rate;
    switch (schedule->kind) {
    case CAR_SCHEDULE_CONSTANT:
        break;
    case CAR_SCHEDULE_STEP: {
        double epoch = (double)(updates_per_epoch > 0 ? update / updates_per_epoch : 0) + 1;
        rate *= pow(schedule->factor, fmax(0, epoch - schedule->after));
        break;
    }
    case CAR_SCHEDULE_PLATEAU:
        rate *= pow(schedule->factor, reductions);
        break;
    case CAR_SCHEDULE_COSINE:
        rate *= cosine_factor(schedule, update, last_update);
        break;
    }
    if (update < schedule->warmup)
        rate *= (double)(update + 1) / (double)schedule->warmup;
    return rate;
}
