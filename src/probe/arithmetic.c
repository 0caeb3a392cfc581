/*
 * arithmetic.c: adding and multiplication (Hochreiter & Schmidhuber 1997, experiments 4 and 5).
 *
 * In:  T, the least length. Out: a sequence of T to 1.1 T pairs (value, marker). Two pairs are marked 1: one of the first
 * 10, and one of the first T/2 - 1 that are not marked yet. The first and the last pair have the marker -1, the others 0.
 * Should the first pair be chosen, it keeps its -1, and what it would have brought is 0 (a factor: 1), as in the paper.
 *
 *   adding           values U[-1, 1], target 0.5 + (X1 + X2) / 4
 *   multiplication   values U[0, 1],  target X1 * X2
 *
 * A sequence is right when |output - target| < 0.04.
 */
#include "probe.h"
#include <math.h>

static const double most_difference = 0.04;

void car_probe_adding_shape(car_probe_problem *problem) {
    problem->inputs = 2;
    problem->outputs = 1;
    problem->most_steps = problem->distance + problem->distance / 10;
}

int car_probe_adding_length(const car_probe_problem *problem, car_probe_draws *draws) {
    return problem->distance + car_probe_draw_below(draws, problem->distance / 10 + 1);
}

/* Which two pairs are marked; 0 is never marked with a 1. */
static void choose_marks(int distance, car_probe_draws *draws, int marks[2]) {
    int early = distance / 2 - 1;
    marks[0] = car_probe_draw_below(draws, early < 10 ? early : 10);
    marks[1] = car_probe_draw_below(draws, early - 1);
    marks[1] += marks[1] >= marks[0];
}

/* Values in [low, 1], the markers, and the two marked values; `neutral` for a mark on the first pair. */
static void write_pairs(const car_probe_problem *problem, car_probe_draws *draws,
                        const car_probe_lane *lane, float low, float neutral, float marked[2]) {
    int marks[2];
    choose_marks(problem->distance, draws, marks);
    for (int t = 0; t < lane->steps; t++)
        lane->input[(size_t)t * lane->input_stride] =
            low + (1 - low) * car_probe_draw_uniform(draws);
    for (int i = 0; i < 2; i++) {
        float *pair = lane->input + (size_t)marks[i] * lane->input_stride;
        marked[i] = marks[i] > 0 ? pair[0] : neutral;
        pair[1] = 1;
    }
    lane->input[1] = -1;
    lane->input[(size_t)(lane->steps - 1) * lane->input_stride + 1] = -1;
}

void car_probe_adding_make(const car_probe_problem *problem, car_probe_draws *draws,
                           const car_probe_lane *lane) {
    float marked[2];
    write_pairs(problem, draws, lane, -1, 0, marked);
    lane->values[0] = 0.5f + (marked[0] + marked[1]) / 4;
}

void car_probe_multiplication_make(const car_probe_problem *problem, car_probe_draws *draws,
                                   const car_probe_lane *lane) {
    float marked[2];
    write_pairs(problem, draws, lane, 0, 1, marked);
    lane->values[0] = marked[0] * marked[1];
}

void car_probe_adding_judge(const car_probe_problem *problem, const car_probe_lane *lane,
                            car_probe_score *score) {
    (void)problem;
    double difference = fabs((double)lane->output[0] - (double)lane->values[0]);
    score->items++;
    score->right += difference < most_difference;
    score->error += difference;
}
