/*
 * order.c: temporal order (Hochreiter & Schmidhuber 1997, experiments 6a and 6b).
 *
 * In:  T, the least length. Out: T to 1.1 T symbols: E, then distractors a, b, c, d, the last symbol B. At a few places
 * stands an X or a Y; which of them, in their order, is the class: 2 places make 4 classes, 3 make 8. Places are drawn
 * from these ranges for T = 100, and in proportion for other T (from the first place of a range to its last):
 *
 *   2 symbols   [10, 20] [50, 60]                        experiment 6a
 *   3 symbols   [10, 20] [33, 43] [66, 76]               experiment 6b
 *   4 symbols   [10, 20] [30, 40] [50, 60] [70, 80]      in the same manner; not in the paper
 *
 * A sequence is right when every output, a probability, is less than 0.3 from its target (1 for the class, 0 else).
 */
#include "probe.h"
#include <math.h>

enum { SYMBOL_E, SYMBOL_B, SYMBOL_X, SYMBOL_Y, FIRST_DISTRACTOR, SYMBOLS = 8, DISTRACTORS = 4 };
static const double most_difference = 0.3;
static const int starts[3][4] = {{10, 50}, {10, 33, 66}, {10, 30, 50, 70}};

static int relevant(const car_probe_problem *problem) {
    return problem->outputs == 4 ? 2 : problem->outputs == 8 ? 3 : 4;
}

static void shape(car_probe_problem *problem, int classes) {
    problem->inputs = SYMBOLS;
    problem->outputs = classes;
    problem->most_steps = problem->distance + problem->distance / 10;
}

void car_probe_order2_shape(car_probe_problem *problem) {
    shape(problem, 4);
}

void car_probe_order3_shape(car_probe_problem *problem) {
    shape(problem, 8);
}

void car_probe_order4_shape(car_probe_problem *problem) {
    shape(problem, 16);
}

int car_probe_order_length(const car_probe_problem *problem, car_probe_draws *draws) {
    return problem->distance + car_probe_draw_below(draws, problem->distance / 10 + 1);
}

static void put(const car_probe_lane *lane, int step, int symbol) {
    float *row = lane->input + (size_t)step * lane->input_stride;
    for (int i = 0; i < SYMBOLS; i++)
        row[i] = i == symbol ? 1 : 0;
}

void car_probe_order_make(const car_probe_problem *problem, car_probe_draws *draws,
                          const car_probe_lane *lane) {
    int count = relevant(problem), class = 0;
    put(lane, 0, SYMBOL_E);
    for (int t = 1; t < lane->steps - 1; t++)
        put(lane, t, FIRST_DISTRACTOR + car_probe_draw_below(draws, DISTRACTORS));
    put(lane, lane->steps - 1, SYMBOL_B);
    for (int i = 0; i < count; i++) {
        int start = starts[count - 2][i] * problem->distance / 100;
        int places = problem->distance / 10 + 1;
        int y = car_probe_draw_below(draws, 2);
        put(lane, start + car_probe_draw_below(draws, places), y ? SYMBOL_Y : SYMBOL_X);
        class = 2 * class + y;
    }
    lane->classes[0] = class;
}

/* The largest difference between a probability and its target. */
double car_probe_worst_probability(const float *output, int outputs, int class) {
    double worst = 0;
    for (int i = 0; i < outputs; i++)
        worst = fmax(worst, fabs((double)output[i] - (i == class)));
    return worst;
}

void car_probe_order_judge(const car_probe_problem *problem, const car_probe_lane *lane,
                           car_probe_score *score) {
    double worst = car_probe_worst_probability(lane->output, problem->outputs, lane->classes[0]);
    score->items++;
    score->right += worst < most_difference;
    score->error += worst;
}
