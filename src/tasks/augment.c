/*
 * augment.c: a training sequence as it might have been too.
 *
 * In:  steps x channels scaled values. Out: the same, with
 *        warp   time runs at speed exp(warp * z) that changes smoothly between four knots, and the whole is
 *               exp(warp * z) times as long; values between two steps are interpolated
 *        shift  up to so many steps earlier or later, channels up or down; the edge's values fill what is free
 *        noise  noise * z added to each value
 *      with z from N(0, 1), a function of (seed, epoch, sequence) alone.
 */
#include "classify.h"
#include <math.h>
#include <string.h>

enum { KNOTS = 4, DRAW_LENGTH = 0, DRAW_SHIFT, DRAW_CHANNELS, DRAW_KNOTS, DRAW_NOISE = 16 };

typedef struct sequence_draws {
    car_random_key key;
    uint64_t sequence; /* of this epoch */
} sequence_draws;

static double normal(const sequence_draws *draws, uint64_t which) {
    return car_random_normal(draws->key, draws->sequence, which);
}

/* A whole number from -most to most. */
static int whole(const sequence_draws *draws, uint64_t which, int most) {
    double uniform = (double)car_random_uniform(draws->key, draws->sequence, which);
    return (int)floor(uniform * (2.0 * most + 1)) - most;
}

static int clamped(int value, int least, int most) {
    return value < least ? least : value > most ? most : value;
}

/* Time passed at share `at` of the sequence when the speed runs linearly between knots: its integral from 0. */
static double passed(const double speeds[KNOTS], double at) {
    double sum = 0, place = at * (KNOTS - 1);
    for (int k = 0; k < KNOTS - 1 && place > 0; k++, place -= 1) {
        double part = place < 1 ? place : 1;
        sum += part * (speeds[k] + 0.5 * part * (speeds[k + 1] - speeds[k]));
    }
    return sum;
}

typedef struct augmented {
    const float *values;
    int steps, channels;
} augmented;

static double value_at(const augmented *from, double time, int channel) {
    int first = clamped((int)floor(time), 0, from->steps - 1);
    int next = clamped(first + 1, 0, from->steps - 1);
    double share = time - first;
    double a = (double)from->values[(size_t)first * (size_t)from->channels + (size_t)channel];
    double b = (double)from->values[(size_t)next * (size_t)from->channels + (size_t)channel];
    return share <= 0 ? a : share >= 1 ? b : a + share * (b - a);
}

int car_augment(const car_augmentation *how, int64_t epoch, int index, const float *in, int steps,
                int channels, int most, float *out, size_t stride) {
    const sequence_draws draw = {
        {.seed = how->seed, .purpose = CAR_RANDOM_TASK, .layer = (uint32_t)epoch}, (uint64_t)index};
    const augmented from = {in, steps, channels};
    double speeds[KNOTS];
    int length = steps;
    for (int k = 0; k < KNOTS; k++)
        speeds[k] = how->warp > 0 ? exp(how->warp * normal(&draw, DRAW_KNOTS + (uint64_t)k)) : 1;
    if (how->warp > 0)
        length = (int)lround(steps * exp(how->warp * normal(&draw, DRAW_LENGTH)));
    length = clamped(length, 1, most);
    int shift = how->shift > 0 ? whole(&draw, DRAW_SHIFT, how->shift) : 0;
    int aside = how->shift_channels > 0 ? whole(&draw, DRAW_CHANNELS, how->shift_channels) : 0;
    double whole_time = passed(speeds, 1);
    for (int t = 0; t < length; t++) {
        double at = length > 1 ? (double)t / (length - 1) : 0, time = t;
        if (how->warp > 0)
            time = (steps - 1) * passed(speeds, at) / whole_time;
        for (int c = 0; c < channels; c++) {
            double value = value_at(&from, time - shift, clamped(c - aside, 0, channels - 1));
            if (how->noise > 0)
                value += how->noise *
                         normal(&draw, DRAW_NOISE + (uint64_t)t * (uint64_t)channels + (uint64_t)c);
            out[(size_t)t * stride + (size_t)c] = (float)value;
        }
    }
    return length;
}

int car_fill_patch(float *values, int steps, int channels, int patch, size_t stride) {
    const float *last = values + (size_t)(steps - 1) * stride;
    for (; steps % patch != 0; steps++)
        memcpy(values + (size_t)steps * stride, last, (size_t)channels * sizeof *values);
    return steps;
}
