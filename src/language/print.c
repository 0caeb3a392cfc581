/*
 * print.c: numbers as text.
 */
#include "syntax.h"
#include <locale.h>
#include <stdlib.h>

void car_number_print(car_text *text, double value) {
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* static in libc: never fails */
    locale_t before = uselocale(plain);
    char digits[40];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    uselocale(before);
    car_text_format(text, "%s", digits);
}
