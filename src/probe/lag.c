/*
 * lag.c: one bit kept over a lag (Hochreiter & Schmidhuber 1997, experiments 2a, 2b, 2c, 3a, 3b, 3c).
 *
 * In:  p, q or T. Out:
 *   noise-free      2a  (y, a1, ..., a(p-1), y) or (x, a1, ..., a(p-1), x): each next symbol of p + 1 is foretold
 *   local-noise     2b  the same, but the middle symbols are drawn from a1 .. a(p-1)
 *   noisy           2c  (b, x or y, q + k distractors of p = q, e, x or y), k geometric with mean 10: the last is foretold
 *   two-sequence    3a  T to 1.1 T numbers: the first 3 are +1 (class 1) or -1 (class 0), the others N(0, 0.2)
 *   noisy-signal    3b  the same, N(0, 0.2) added to the first 3 too
 *   noisy-target    3c  as 3b; the target is 0.8 or 0.2 with N(0, 0.1) added (N has a variance here, as in the paper)
 *
 * k is cut at 100 (one sequence in 30,000 is longer). In 2c the paper has x or y as the second symbol, and so have we.
 */
#include "probe.h"
#include <math.h>

enum { SYMBOL_X, SYMBOL_Y, SYMBOL_BEGIN, SYMBOL_END, INFORMATIVE = 3, MOST_EXTRA = 100 };
static const float signal_noise = 0.4472136f; /* sqrt(0.2) */
static const float target_noise = 0.3162278f; /* sqrt(0.1) */

static void put(const car_probe_lane *lane, int step, int symbol) {
    lane->input[(size_t)step * lane->input_stride + (size_t)symbol] = 1;
}

/* ---- 2a, 2b: symbols are x, y, a1 .. a(p-1) ----------------------------------------------------------- */

void car_probe_lag_shape(car_probe_problem *problem) {
    problem->inputs = problem->outputs = problem->distance + 1;
    problem->most_steps = problem->distance;
}

int car_probe_lag_length(const car_probe_problem *problem, car_probe_draws *draws) {
    (void)draws;
    return problem->distance;
}

/* `noise`: 0, or how many middle symbols there are to draw from. */
static void make_lag(const car_probe_problem *problem, car_probe_draws *draws,
                     const car_probe_lane *lane, int noise) {
    int key = car_probe_draw_below(draws, 2), symbol = key;
    for (int t = 0; t < problem->distance; t++) {
        put(lane, t, symbol);
        symbol = 2 + (noise > 0 ? car_probe_draw_below(draws, noise) : t);
        if (t == problem->distance - 1)
            symbol = key;
        lane->classes[(size_t)t * lane->class_stride] = symbol;
    }
}

void car_probe_noise_free_make(const car_probe_problem *problem, car_probe_draws *draws,
                               const car_probe_lane *lane) {
    make_lag(problem, draws, lane, 0);
}

void car_probe_local_noise_make(const car_probe_problem *problem, car_probe_draws *draws,
                                const car_probe_lane *lane) {
    make_lag(problem, draws, lane, problem->distance - 1);
}

static void judge_steps(const car_probe_problem *problem, const car_probe_lane *lane, int first,
                        double most_difference, car_probe_score *score) {
    double worst = 0;
    for (int t = first; t < lane->steps; t++) {
        const float *row = lane->output + (size_t)t * lane->value_stride;
        int class = lane->classes[(size_t)t * lane->class_stride];
        worst = fmax(worst, car_probe_worst_probability(row, problem->outputs, class));
    }
    score->items++;
    score->right += worst < most_difference;
    score->error += worst;
}

void car_probe_noise_free_judge(const car_probe_problem *problem, const car_probe_lane *lane,
                                car_probe_score *score) {
    judge_steps(problem, lane, 0, 0.25, score);
}

void car_probe_local_noise_judge(const car_probe_problem *problem, const car_probe_lane *lane,
                                 car_probe_score *score) {
    judge_steps(problem, lane, lane->steps - 1, 0.25, score);
}

/* ---- 2c: symbols are x, y, b, e, a1 .. aq -------------------------------------------------------------- */

void car_probe_noisy_shape(car_probe_problem *problem) {
    problem->inputs = problem->distance + 4;
    problem->outputs = 2;
    problem->most_steps = problem->distance + MOST_EXTRA + 3;
}

int car_probe_noisy_length(const car_probe_problem *problem, car_probe_draws *draws) {
    double chance = 1 - (double)car_probe_draw_uniform(draws);
    int extra = (int)(log(chance) / log(0.9)); /* number of failures before a success of 1 in 10 */
    return problem->distance + 3 + (extra < MOST_EXTRA ? extra : MOST_EXTRA);
}

void car_probe_noisy_make(const car_probe_problem *problem, car_probe_draws *draws,
                          const car_probe_lane *lane) {
    int key = car_probe_draw_below(draws, 2);
    put(lane, 0, SYMBOL_BEGIN);
    put(lane, 1, key);
    for (int t = 2; t < lane->steps - 1; t++)
        put(lane, t, 4 + car_probe_draw_below(draws, problem->distance));
    put(lane, lane->steps - 1, SYMBOL_END);
    lane->classes[0] = key;
}

void car_probe_noisy_judge(const car_probe_problem *problem, const car_probe_lane *lane,
                           car_probe_score *score) {
    double worst = car_probe_worst_probability(lane->output, problem->outputs, lane->classes[0]);
    score->items++;
    score->right += worst < 0.2;
    score->error += worst;
}

/* ---- 3a, 3b, 3c --------------------------------------------------------------------------------------- */

void car_probe_two_sequence_shape(car_probe_problem *problem) {
    problem->inputs = problem->outputs = 1;
    problem->most_steps = problem->distance + problem->distance / 10;
}

int car_probe_two_sequence_length(const car_probe_problem *problem, car_probe_draws *draws) {
    return problem->distance + car_probe_draw_below(draws, problem->distance / 10 + 1);
}

static int make_signal(car_probe_draws *draws, const car_probe_lane *lane, bool noise) {
    int class = car_probe_draw_below(draws, 2);
    for (int t = 0; t < lane->steps; t++) {
        float number = signal_noise * car_probe_draw_normal(draws), signal = class ? 1 : -1;
        if (t < INFORMATIVE)
            number = noise ? signal + number : signal;
        lane->input[(size_t)t * lane->input_stride] = number;
    }
    return class;
}

void car_probe_two_sequence_make(const car_probe_problem *problem, car_probe_draws *draws,
                                 const car_probe_lane *lane) {
    (void)problem;
    lane->values[0] = (float)make_signal(draws, lane, false);
}

void car_probe_noisy_signal_make(const car_probe_problem *problem, car_probe_draws *draws,
                                 const car_probe_lane *lane) {
    (void)problem;
    lane->values[0] = (float)make_signal(draws, lane, true);
}

void car_probe_noisy_target_make(const car_probe_problem *problem, car_probe_draws *draws,
                                 const car_probe_lane *lane) {
    (void)problem;
    float expected = make_signal(draws, lane, true) ? 0.8f : 0.2f;
    lane->truth[0] = expected;
    lane->values[0] = expected + target_noise * car_probe_draw_normal(draws);
}

void car_probe_two_sequence_judge(const car_probe_problem *problem, const car_probe_lane *lane,
                                  car_probe_score *score) {
    (void)problem;
    double difference = fabs((double)lane->output[0] - (double)lane->values[0]);
    score->items++;
    score->right += difference < 0.2;
    score->error += difference;
}

void car_probe_noisy_target_judge(const car_probe_problem *problem, const car_probe_lane *lane,
                                  car_probe_score *score) {
    (void)problem;
    double difference = fabs((double)lane->output[0] - (double)lane->truth[0]);
    score->items++;
    score->right += difference < 0.3;
    score->error += difference;
}
