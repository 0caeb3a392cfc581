/*
 * recall.c: symbols to be given back.
 *
 *   copy           (Hochreiter & Schmidhuber's idea as in Arjovsky, Shah & Bengio 2016; sizes of Bai, Kolter & Koltun 2018)
 *                  input:  10 symbols out of 1..8, T - 1 times 0, 11 times 9;   target: T + 10 times 0, the 10 symbols.
 *                  Without memory the best loss is 10 ln 8 / (T + 20) nats.
 *   memorisation   (the first filter of Jozefowicz, Zaremba & Sutskever 2015) k letters out of 26, a mark, and the letters
 *                  again in the same order; each letter is foretold from the true ones before it.
 *
 * In:  T or k. Out: one-hot symbols. Right is a recalled symbol that is the likeliest of the outputs.
 */
#include "probe.h"

enum { COPIED = 10, COPY_SYMBOLS = 8, COPY_MARK = 9, LETTERS = 26 };

int car_probe_whole_length(const car_probe_problem *problem, car_probe_draws *draws) {
    (void)draws;
    return problem->most_steps;
}

static void put(const car_probe_lane *lane, int step, int symbol) {
    lane->input[(size_t)step * lane->input_stride + (size_t)symbol] = 1;
}

/* truth 1 marks what is to be recalled. */
static void expect(const car_probe_lane *lane, int step, int class, bool recalled) {
    lane->classes[(size_t)step * lane->class_stride] = class;
    lane->truth[(size_t)step * lane->class_stride] = recalled;
}

void car_probe_copy_shape(car_probe_problem *problem) {
    problem->inputs = COPY_MARK + 1;
    problem->outputs = COPY_SYMBOLS + 1;
    problem->most_steps = problem->distance + 2 * COPIED;
}

void car_probe_copy_make(const car_probe_problem *problem, car_probe_draws *draws,
                         const car_probe_lane *lane) {
    int answer = problem->distance + COPIED;
    for (int t = 0; t < answer; t++)
        expect(lane, t, 0, false);
    for (int i = 0; i < COPIED; i++) {
        int symbol = 1 + car_probe_draw_below(draws, COPY_SYMBOLS);
        put(lane, i, symbol);
        expect(lane, answer + i, symbol, true);
    }
    for (int t = COPIED; t < answer - 1; t++)
        put(lane, t, 0);
    for (int t = answer - 1; t < lane->steps; t++)
        put(lane, t, COPY_MARK);
}

void car_probe_memorisation_shape(car_probe_problem *problem) {
    problem->inputs = LETTERS + 1;
    problem->outputs = LETTERS;
    problem->most_steps = 2 * problem->distance;
}

void car_probe_memorisation_make(const car_probe_problem *problem, car_probe_draws *draws,
                                 const car_probe_lane *lane) {
    int letters = problem->distance;
    put(lane, letters, LETTERS);
    for (int i = 0; i < letters; i++) {
        int letter = car_probe_draw_below(draws, LETTERS);
        put(lane, i, letter);
        if (i + 1 < letters)
            put(lane, letters + 1 + i, letter);
        expect(lane, letters + i, letter, true);
    }
}

static int likeliest(const float *output, int outputs) {
    int best = 0;
    for (int i = 1; i < outputs; i++)
        best = output[i] > output[best] ? i : best;
    return best;
}

void car_probe_recall_judge(const car_probe_problem *problem, const car_probe_lane *lane,
                            car_probe_score *score) {
    for (int t = 0; t < lane->steps; t++) {
        size_t at = (size_t)t * lane->class_stride;
        const float *row = lane->output + (size_t)t * lane->value_stride;
        if (lane->truth[at] == 0)
            continue;
        score->items++;
        score->right += likeliest(row, problem->outputs) == lane->classes[at];
        score->error += 1 - (double)row[lane->classes[at]];
    }
}

void car_probe_class_judge(const car_probe_problem *problem, const car_probe_lane *lane,
                           car_probe_score *score) {
    score->items++;
    score->right += likeliest(lane->output, problem->outputs) == lane->classes[0];
    score->error += 1 - (double)lane->output[lane->classes[0]];
}
