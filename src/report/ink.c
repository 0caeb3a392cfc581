/*
 * ink.c: the colours of everything that is drawn, on light and on dark paper.
 *
 * In: what a mark is. Out: its colour. Contrast (WCAG 2.1): (L1 + 0.05) / (L2 + 0.05), L1 the lighter, with the
 * relative luminance L = 0.2126 R + 0.7152 G + 0.0722 B of linear sRGB.
 */
#include "report.h"
#include <math.h>

static const struct {
    const char *name;
    uint32_t light, dark;
} inks[] = {
#define X(name, text, light, dark) {text, light, dark},
    CAR_INK_MAP(X)
#undef X
};

const char *car_ink_name(car_ink ink) {
    return inks[ink].name;
}

uint32_t car_ink_color(car_ink ink, bool dark) {
    return dark ? inks[ink].dark : inks[ink].light;
}

car_ink car_ink_of_series(int index) {
    return (car_ink)(CAR_INK_SERIES_1 + index % CAR_INK_SERIES);
}

static double linear(uint32_t channel) {
    double value = channel / 255.0;
    return value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4);
}

static double luminance(uint32_t color) {
    return 0.2126 * linear(color >> 16 & 255) + 0.7152 * linear(color >> 8 & 255) +
           0.0722 * linear(color & 255);
}

double car_contrast(uint32_t one, uint32_t other) {
    double a = luminance(one) + 0.05, b = luminance(other) + 0.05;
    return a > b ? a / b : b / a;
}
