/*
 * report: what is drawn with text. Stands on base. Nothing here writes; the caller puts the text
 * where it belongs.
 *
 *   terminal.c   is there a terminal, how wide, may it have colour, does it show UTF-8
 *   draw.c       bar, curve of eighth blocks, durations, counts
 */
#ifndef CAR_REPORT_H
#define CAR_REPORT_H

#include "base.h"

/* ---- terminal.c
 * --------------------------------------------------------------------------------------- */

bool car_terminal_live(
    int descriptor); /* a terminal on which a line can be rewritten (TERM is not dumb) */
int car_terminal_width(int descriptor);  /* columns; 80 when unknown */
bool car_terminal_color(int descriptor); /* live, and NO_COLOR is not set (no-color.org) */
bool car_terminal_utf8(void); /* LC_ALL, LC_CTYPE, LANG: the first that is set says UTF-8 */
/* Bytes of `line` that fill at most `columns` columns: one a code point, none for ESC[...m. */
size_t car_text_fit(const char *line, int columns);

/* ---- draw.c
 * ------------------------------------------------------------------------------------------- */

/* `columns` cells of which the fraction (0..1) is filled: eighth blocks with `utf8`, else # and
 * dots. */
void car_draw_bar(car_text *text, double fraction, int columns, bool utf8);
/* The last `columns` values as a row of blocks between their own least and greatest; NaN is a
 * blank. */
void car_draw_curve(car_text *text, const double *values, int count, int columns, bool utf8);
void car_draw_duration(car_text *text,
                       double seconds); /* 8s, 1m05s, 2h03m, 4d01h; ? for what is no duration */
void car_draw_count(car_text *text, double count); /* 950, 12.3k, 4.56M, 7.89G */

#endif
