/*
 * bench_step: microseconds of one step of a session at batch 1, as a stream runs it.
 *
 * In:  nothing. Out: a line a cell and size: the best of 200 loops of 100 steps, I = H, through the public header
 * alone. CAROUSEL_NATIVE=0 shows the interpreter, CAROUSEL_CPU another level.
 */
#include "carousel.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LOOPS = 200, STEPS = 100, MOST_UNITS = 256 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void check(car_status status, const car_error *error) {
    if (status == CAR_OK)
        return;
    fprintf(stderr, "bench_step: %s\n", error->message);
    exit((int)status);
}

static void run(const char *cell, int units) {
    char text[64];
    float x[MOST_UNITS], y;
    car_error error;
    car_net *net;
    car_model *model;
    car_session *session;
    snprintf(text, sizeof text, "%s %d | linear", cell, units);
    car_model_options options = {.input_size = units, .output_size = 1, .seed = 1};
    check(car_net_parse(text, NULL, 0, NULL, &net, &error), &error);
    check(car_model_create(net, &options, NULL, &model, &error), &error);
    check(car_session_create(model, NULL, NULL, &session, &error), &error);
    for (int i = 0; i < units; i++)
        x[i] = 0.1f * (float)(i % 7);
    double best = 1e9;
    for (int loop = 0; loop < LOOPS; loop++) {
        double start = now();
        for (int step = 0; step < STEPS; step++)
            check(car_session_step(session, x, &y, &error), &error);
        double each = (now() - start) / STEPS;
        best = each < best ? each : best;
    }
    printf("%-5s I = H = %-4d %8.3f us a step\n", cell, units, best * 1e6);
    car_session_free(session);
    car_model_free(model);
    car_net_free(net);
}

int main(void) {
    static const char *const cells[] = {"lstm", "gru", "rnn"};
    static const int units[] = {16, 32, 64, 128, MOST_UNITS};
    for (size_t c = 0; c < sizeof cells / sizeof *cells; c++)
        for (size_t k = 0; k < sizeof units / sizeof *units; k++)
            run(cells[c], units[k]);
    return 0;
}
