/*
 * ticks.c: where an axis has its ticks, and what stands at them.
 *
 * In: the range. Out: multiples of 1, 2 or 5 times a power of ten within it, no more than asked for; on an axis of
 * logarithms the powers of ten (every k-th of them where there are many), with 2 and 5 between where there are few, and
 * the ends of the range where they are numbers of two digits that stand far enough from the next tick.
 */
#include "report.h"
#include <math.h>

static double step_for(double span, int most) {
    double rough = span / (most > 1 ? most : 1), power = pow(10, floor(log10(rough)));
    static const double nice[] = {1, 2, 5, 10};
    for (int i = 0; i < 4; i++)
        if (nice[i] * power >= rough * (1 - 1e-9))
            return nice[i] * power;
    return 10 * power;
}

static void choose_linear(double low, double high, int most, car_ticks *ticks) {
    double step = step_for(high - low, most), first = ceil(low / step - 1e-9);
    ticks->decimals = (int)fmax(0, fmin(9, -floor(log10(step) + 1e-9)));
    for (int i = 0; ticks->count < CAR_TICK_LIMIT; i++) {
        double value = (first + i) * step;
        if (value > high + step * 1e-9)
            break;
        ticks->at[ticks->count++] = fabs(value) < step * 1e-9 ? 0 : value;
    }
}

/* 40 or 0.015, not 41.7. */
static bool has_two_digits(double value) {
    double digits = value / pow(10, floor(log10(value) + 1e-9) - 1);
    return fabs(digits - round(digits)) < 1e-6;
}

/* The place of an end among the ticks, if it is to have one: half the distance of `most` even ticks from the next. */
static void add_end(double value, double span, int most, bool first, car_ticks *ticks) {
    double near = ticks->count == 0 ? value : ticks->at[first ? 0 : ticks->count - 1];
    bool room = ticks->count == 0 || fabs(log10(value / near)) >= span / (2.0 * most);
    if (!room || !has_two_digits(value) || ticks->count == CAR_TICK_LIMIT)
        return;
    int at = first ? 0 : ticks->count;
    for (int i = ticks->count; i > at; i--)
        ticks->at[i] = ticks->at[i - 1];
    ticks->at[at] = value;
    ticks->count++;
}

static void choose_logarithmic(double low, double high, int most, car_ticks *ticks) {
    int first = (int)floor(log10(low) + 1e-9), last = (int)ceil(log10(high) - 1e-9);
    double span = log10(high / low);
    int stride = 1 + (int)(span / (most > 1 ? most : 1) + 1e-9);
    static const double between[] = {1, 2, 5};
    int parts = span < 2 + 1e-9 ? 3 : 1;
    ticks->logarithmic = true;
    for (int k = first; k <= last; k += stride)
        for (int part = 0; part < parts; part++) {
            double value = between[part] * pow(10, k);
            if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9) &&
                ticks->count < CAR_TICK_LIMIT)
                ticks->at[ticks->count++] = value;
        }
    add_end(low, span, most > 1 ? most : 1, true, ticks);
    add_end(high, span, most > 1 ? most : 1, false, ticks);
}

void car_ticks_choose(double low, double high, int most, bool logarithmic, car_ticks *ticks) {
    *ticks = (car_ticks){.count = 0};
    if (!isfinite(low) || !isfinite(high) || !(low < high) || !isfinite(high - low))
        return;
    if (most > CAR_TICK_LIMIT - 2)
        most = CAR_TICK_LIMIT - 2;
    if (!logarithmic)
        choose_linear(low, high, most, ticks);
    else if (low > 0)
        choose_logarithmic(low, high, most, ticks);
}

void car_ticks_label(const car_ticks *ticks, int index, car_text *text) {
    double value = ticks->at[index], size = fabs(value);
    if (value == 0) {
        car_text_format(text, "0");
    } else if (size >= 1e5 || size < (ticks->logarithmic ? 9.99e-4 : 9.99e-5)) {
        int power = (int)floor(log10(size) + 1e-9);
        double lead = value / pow(10, power);
        car_text_decimal(text, lead, fabs(lead - round(lead)) > 0.01 ? 1 : 0);
        car_text_format(text, "e%d", power);
    } else if (ticks->logarithmic) {
        car_text_decimal(text, value, size < 1 ? (int)ceil(-log10(size) - 1e-9) : 0);
    } else {
        car_text_decimal(text, value, ticks->decimals);
    }
}
