/*
 * rows.c: the real steps of lanes that differ in length, as rows without gaps.
 *
 * In:  a length for each lane. Out: the lanes longest first, and where each step's rows begin (car_rows).
 */
#include "inside.h"

void car_rows_lay(car_rows *rows, int batch, int steps, car_layout *layout, void *base) {
    int *first = car_layout_take(layout, base, (size_t)steps + 2, 1, sizeof(int));
    int *lane = car_layout_take(layout, base, (size_t)batch, 1, sizeof(int));
    int *length = car_layout_take(layout, base, (size_t)batch, 1, sizeof(int));
    *rows = (car_rows){
        .batch = batch, .first = first ? first + 1 : NULL, .lane = lane, .length = length};
}

/* Counting sort, longest first and stable; `first` serves as the counters. */
static void sort_lanes(car_rows *rows, int steps, const int *lengths) {
    int *place = rows->first, before = 0;
    for (int n = 0; n <= steps; n++)
        place[n] = 0;
    for (int lane = 0; lane < rows->batch; lane++)
        place[lengths[lane]]++;
    for (int n = steps; n >= 0; n--) {
        int count = place[n];
        place[n] = before;
        before += count;
    }
    for (int lane = 0; lane < rows->batch; lane++) {
        int k = place[lengths[lane]]++;
        rows->lane[k] = lane;
        rows->length[k] = lengths[lane];
    }
}

void car_rows_set(car_rows *rows, int steps, const int *lengths) {
    if (lengths)
        sort_lanes(rows, steps, lengths);
    for (int lane = 0; !lengths && lane < rows->batch; lane++) {
        rows->lane[lane] = lane;
        rows->length[lane] = steps;
    }
    int active = rows->batch;
    rows->steps = rows->length[0];
    rows->even = rows->steps > 0 && rows->length[rows->batch - 1] == rows->steps;
    rows->first[0] = 0;
    for (int t = 0; t < rows->steps; t++) {
        while (rows->length[active - 1] <= t)
            active--;
        rows->first[t + 1] = rows->first[t] + active;
    }
    rows->first[-1] = rows->steps > 0 ? -rows->first[1] : 0;
}

bool car_rows_go_on(const car_rows *rows, int time) {
    return rows->first[time] - rows->first[time - 1] ==
           rows->first[time - 1] - rows->first[time - 2];
}

int car_rows_run_end(const car_rows *rows, car_range times) {
    int time = times.begin + 1;
    while (time < times.end && car_rows_go_on(rows, time))
        time++;
    return time;
}
