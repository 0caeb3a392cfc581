/*
 * draw.c: bars, curves and numbers for people, as text.
 *
 * Blocks: U+2581 .. U+2588 fill a cell from below by eighths, U+258F .. U+2588 from the left.
 */
#include "report.h"
#include <math.h>

void car_draw_bar(car_text *text, double fraction, int columns, bool utf8) {
    if (!(fraction > 0))
        fraction = 0;
    if (fraction > 1)
        fraction = 1;
    int parts = utf8 ? 8 : 1, filled = (int)(fraction * columns * parts + 1e-9);
    for (int i = 0; i < columns; i++) {
        int eighths = filled - i * parts;
        if (!utf8) {
            car_text_add(text, eighths > 0 ? "#" : ".", 1);
            continue;
        }
        char cell[4];
        uint32_t code_point = eighths >= 8  ? 0x2588
                              : eighths > 0 ? 0x2590 - (uint32_t)eighths
                                            : 0x00b7;
        car_text_add(text, cell, (size_t)car_utf8_encode(code_point, cell));
    }
}

void car_draw_curve(car_text *text, const double *values, int count, int columns, bool utf8) {
    if (count > columns) {
        values += count - columns;
        count = columns;
    }
    double least = INFINITY, greatest = -INFINITY;
    for (int i = 0; i < count; i++)
        if (isfinite(values[i])) {
            least = fmin(least, values[i]);
            greatest = fmax(greatest, values[i]);
        }
    for (int i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            car_text_add(text, " ", 1);
            continue;
        }
        double height = greatest > least ? (values[i] - least) / (greatest - least) : 0.5;
        int step = (int)(height * 7 + 0.5);
        char cell[4];
        if (utf8)
            car_text_add(text, cell, (size_t)car_utf8_encode(0x2581 + (uint32_t)step, cell));
        else
            car_text_add(text, &"_.,-=+*#"[step], 1);
    }
}

void car_draw_duration(car_text *text, double seconds) {
    if (!(seconds >= 0) || seconds > 1e9) {
        car_text_add(text, "?", 1);
        return;
    }
    long whole = (long)(seconds + 0.5);
    if (whole < 60)
        car_text_format(text, "%lds", whole);
    else if (whole < 3600)
        car_text_format(text, "%ldm%02lds", whole / 60, whole % 60);
    else if (whole < 86400)
        car_text_format(text, "%ldh%02ldm", whole / 3600, whole / 60 % 60);
    else
        car_text_format(text, "%ldd%02ldh", whole / 86400, whole / 3600 % 24);
}

void car_draw_count(car_text *text, double count) {
    static const char units[] = {0, 'k', 'M', 'G', 'T'};
    int unit = 0;
    while (fabs(count) >= 999.5 && unit < 4) {
        count /= 1000;
        unit++;
    }
    if (unit == 0)
        car_text_format(text, "%.0f", count);
    else
        car_text_format(text, "%.*f%c",
                        fabs(count) < 9.995   ? 2
                        : fabs(count) < 99.95 ? 1
                                              : 0,
                        count, units[unit]);
}

void car_text_decimal(car_text *text, double value, int decimals) {
    int64_t scale = 1;
    for (int i = 0; i < decimals; i++)
        scale *= 10;
    double scaled = round(fabs(value) * (double)scale);
    if (!isfinite(value)) {
        car_text_format(text, "-");
    } else if (scaled >= 9e15) {
        car_text_format(text, "%.0e", value);
    } else {
        int64_t whole = (int64_t)scaled;
        car_text_format(text, "%s%lld", value < 0 && whole ? "-" : "", (long long)(whole / scale));
        if (decimals > 0)
            car_text_format(text, ".%0*lld", decimals, (long long)(whole % scale));
    }
}
