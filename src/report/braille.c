/*
 * braille.c: curves in a terminal.
 *
 * In: series of x and y. Out: `rows` lines of `columns` characters between an axis of y at the left and one of x
 * below. A character holds 2 x 4 dots; consecutive points are joined by a line. A cell has the colour of the series
 * that came last to it.
 */
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMN_LIMIT = 240, ROW_LIMIT = 60 };

typedef struct car_canvas {
    int columns, rows;
    uint8_t dots[ROW_LIMIT][COLUMN_LIMIT], owner[ROW_LIMIT][COLUMN_LIMIT];
    double low_x, high_x, low_y, high_y;
} car_canvas;

static bool find_range(const car_series *series, int count, car_canvas *canvas) {
    canvas->low_x = canvas->low_y = INFINITY;
    canvas->high_x = canvas->high_y = -INFINITY;
    for (int s = 0; s < count; s++)
        for (int i = 0; i < series[s].count; i++) {
            double x = series[s].x[i], y = series[s].y[i];
            if (!isfinite(x) || !isfinite(y))
                continue;
            canvas->low_x = fmin(canvas->low_x, x);
            canvas->high_x = fmax(canvas->high_x, x);
            canvas->low_y = fmin(canvas->low_y, y);
            canvas->high_y = fmax(canvas->high_y, y);
        }
    return canvas->low_x <= canvas->high_x;
}

/* 0 .. dots-1; the middle where all values are equal. */
static int place(double value, double low, double high, int dots) {
    double share = high > low ? (value - low) / (high - low) : 0.5;
    return (int)lround(share * (dots - 1));
}

static void set_dot(car_canvas *canvas, int x, int y, int owner) {
    static const uint8_t bits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    int down = canvas->rows * 4 - 1 - y;
    canvas->dots[down / 4][x / 2] |= bits[down % 4][x % 2];
    canvas->owner[down / 4][x / 2] = (uint8_t)owner;
}

static void join(car_canvas *canvas, int x1, int y1, int x2, int y2, int owner) {
    int steps = abs(x2 - x1) > abs(y2 - y1) ? abs(x2 - x1) : abs(y2 - y1);
    for (int i = 0; i <= steps; i++) {
        double share = steps ? (double)i / steps : 0;
        set_dot(canvas, (int)lround(x1 + share * (x2 - x1)), (int)lround(y1 + share * (y2 - y1)),
                owner);
    }
}

static void trace(car_canvas *canvas, const car_series *series, int owner) {
    bool pen = false;
    int last_x = 0, last_y = 0;
    for (int i = 0; i < series->count; i++) {
        if (!isfinite(series->x[i]) || !isfinite(series->y[i])) {
            pen = false;
            continue;
        }
        int x = place(series->x[i], canvas->low_x, canvas->high_x, canvas->columns * 2);
        int y = place(series->y[i], canvas->low_y, canvas->high_y, canvas->rows * 4);
        join(canvas, pen ? last_x : x, pen ? last_y : y, x, y, owner);
        pen = true;
        last_x = x;
        last_y = y;
    }
}

static const int colors[] = {34, 33, 32, 35, 36, 37};

static void write_row(car_text *text, const car_canvas *canvas, int row, bool utf8, bool color) {
    for (int column = 0; column < canvas->columns; column++) {
        uint8_t dots = canvas->dots[row][column];
        char cell[4];
        if (!dots) {
            car_text_add(text, " ", 1);
            continue;
        }
        if (color)
            car_text_format(text, "\033[%dm", colors[canvas->owner[row][column] % 6]);
        if (utf8)
            car_text_add(text, cell, (size_t)car_utf8_encode(0x2800u + dots, cell));
        else
            car_text_add(text, "*", 1);
        if (color)
            car_text_format(text, "\033[0m");
    }
    car_text_add(text, "\n", 1);
}

void car_draw_curves(car_text *text, const car_series *series, int count, int columns, int rows,
                     bool utf8, bool color) {
    enum { LABEL = 9 };
    car_canvas canvas = {.columns = columns - LABEL - 2, .rows = rows};
    canvas.columns = canvas.columns < 8 ? 8 : canvas.columns;
    canvas.columns = canvas.columns > COLUMN_LIMIT ? COLUMN_LIMIT : canvas.columns;
    canvas.rows = rows < 2 ? 2 : rows > ROW_LIMIT ? ROW_LIMIT : rows;
    if (!find_range(series, count, &canvas)) {
        car_text_format(text, "(nothing to draw)\n");
        return;
    }
    for (int s = 0; s < count; s++)
        trace(&canvas, &series[s], s);
    for (int row = 0; row < canvas.rows; row++) {
        if (row == 0 || row == canvas.rows - 1)
            car_text_format(text, "%*.4g ", LABEL, row ? canvas.low_y : canvas.high_y);
        else
            car_text_format(text, "%*s ", LABEL, "");
        car_text_format(text, utf8 ? "\u2502" : "|");
        write_row(text, &canvas, row, utf8, color);
    }
    car_text_format(text, "%*s%-*.4g%.4g\n", LABEL + 2, "", canvas.columns - 6, canvas.low_x,
                    canvas.high_x);
    for (int s = 0; s < count; s++) {
        if (!series[s].name)
            continue;
        car_text_format(text, "%*s", LABEL + 2, "");
        if (color)
            car_text_format(text, "\033[%dm", colors[s % 6]);
        car_text_format(text, "%s %s", utf8 ? "\u2500\u2500" : "--", series[s].name);
        car_text_format(text, color ? "\033[0m\n" : "\n");
    }
}
