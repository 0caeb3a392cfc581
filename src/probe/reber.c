/*
 * reber.c: embedded Reber strings, one at a time (Hochreiter & Schmidhuber 1997, experiment 1, after Cleeremans et al. 1989)
 * and as an endless stream (Gers, Schmidhuber & Cummins 2000).
 *
 *                  T ─► S (again and again) ─► X ─┬─► S ─► E
 *   inner:   B ─┬──┘                              └─► X ─► (T's loop below)
 *               └─► P ─► T (again and again) ─► V ─┬─► V ─► E          every fork: one half
 *                                                  └─► P ─► (the fork after X)
 *   string:  B, T or P, inner, the same T or P, E
 *
 * In:  the distance d: ceil(d / 5) inner strings follow each other, so that at least d symbols lie between the two T or
 *      P. d = 5 is the grammar of the papers.
 * Out: one-hot symbols; each next one is foretold. One at a time: right when the most active outputs are the legal next
 *      symbols, at every step. Stream: a step is wrong when (target - output)^2 >= 0.49 for some output.
 */
#include "probe.h"
#include <string.h>

enum { B, T, S, X, P, V, E, SYMBOLS, SHORTEST = 5, LONGEST = 40, STRINGS = 256 };

/* Two ways out of each state of the inner grammar: symbol and next state. */
typedef struct way {
    int symbol, next;
} way;
enum { INNER_END = 7 };
static const way inner[INNER_END][2] = {
    {{B, 1}, {B, 1}},
    {{T, 2}, {P, 3}},
    {{S, 2}, {X, 4}},
    {{T, 3}, {V, 5}},
    {{X, 3}, {S, 6}},
    {{P, 4}, {V, 6}},
    {{E, INNER_END}, {E, INNER_END}},
};

static int inner_strings(const car_probe_problem *problem) {
    return (problem->distance + SHORTEST - 1) / SHORTEST;
}

/* The symbols that may come next, a bit each. */
static unsigned legal_of(const car_probe_walk *walk) {
    switch (walk->place) {
    case CAR_WALK_BEGIN:
        return 1u << B;
    case CAR_WALK_KEY:
        return 1u << T | 1u << P;
    case CAR_WALK_INNER:
        return 1u << inner[walk->state][0].symbol | 1u << inner[walk->state][1].symbol;
    case CAR_WALK_SAME_KEY:
        return 1u << walk->key;
    case CAR_WALK_END:
        break;
    }
    return 1u << E;
}

/* Goes one symbol on. */
static int next_symbol(const car_probe_problem *problem, car_probe_walk *walk) {
    const way *taken;
    switch (walk->place) {
    case CAR_WALK_BEGIN:
        walk->place = CAR_WALK_KEY;
        return B;
    case CAR_WALK_KEY:
        walk->key = car_probe_draw_below(&walk->draws, 2) ? T : P;
        walk->place = CAR_WALK_INNER;
        walk->state = walk->strings = 0;
        return walk->key;
    case CAR_WALK_INNER:
        taken = &inner[walk->state][0];
        if (taken[0].symbol != taken[1].symbol)
            taken += car_probe_draw_below(&walk->draws, 2);
        walk->state = taken->next;
        if (walk->state == INNER_END) {
            walk->state = 0;
            if (++walk->strings == inner_strings(problem))
                walk->place = CAR_WALK_SAME_KEY;
        }
        return taken->symbol;
    case CAR_WALK_SAME_KEY:
        walk->place = CAR_WALK_END;
        return walk->key;
    case CAR_WALK_END:
        break;
    }
    walk->place = CAR_WALK_BEGIN;
    return E;
}

/* ---- One string at a time ----------------------------------------------------------------------------- */

void car_probe_reber_shape(car_probe_problem *problem) {
    problem->inputs = problem->outputs = SYMBOLS;
    problem->most_steps = 4 + LONGEST * inner_strings(problem);
}

/* Training draws one of 256 strings, a check holds these and 256 others, the test has strings of its own. */
static car_probe_walk start_string(const car_probe_problem *problem, const car_probe_draws *draws) {
    car_probe_draws at = *draws;
    uint64_t string = at.sequence;
    car_probe_set set = (car_probe_set)at.key.layer;
    if (set == CAR_PROBE_TRAIN)
        string = (uint64_t)car_probe_draw_below(&at, STRINGS);
    if (set == CAR_PROBE_CHECK && at.sequence < STRINGS)
        set = CAR_PROBE_TRAIN;
    /* Numbers of strings of the training set are apart from numbers of draws from it. */
    if (set == CAR_PROBE_TRAIN)
        string += UINT64_C(1) << 62;
    return (car_probe_walk){.draws = car_probe_draws_of(problem->seed, set, string)};
}

/* Walks one string; a string that is too long for the batch (one in 10^8) is drawn again. */
static int walk_string(const car_probe_problem *problem, const car_probe_draws *draws, int *symbols,
                       unsigned *legal) {
    car_probe_walk walk = start_string(problem, draws);
    for (;;) {
        int count = 0;
        do {
            bool room = count <= problem->most_steps;
            if (room)
                legal[count] = legal_of(&walk);
            int symbol = next_symbol(problem, &walk);
            if (room)
                symbols[count] = symbol;
            count++;
        } while (walk.place != CAR_WALK_BEGIN);
        if (count <= problem->most_steps + 1)
            return count;
    }
}

enum { MOST_STRING = 4 + LONGEST * 200 + 1 };

int car_probe_reber_length(const car_probe_problem *problem, car_probe_draws *draws) {
    int symbols[MOST_STRING];
    unsigned legal[MOST_STRING];
    return walk_string(problem, draws, symbols, legal) - 1;
}

static void put(const car_probe_lane *lane, int t, int symbol, int next, unsigned legal) {
    lane->input[(size_t)t * lane->input_stride + (size_t)symbol] = 1;
    lane->classes[(size_t)t * lane->class_stride] = next;
    lane->truth[(size_t)t * lane->class_stride] = (float)legal;
}

void car_probe_reber_make(const car_probe_problem *problem, car_probe_draws *draws,
                          const car_probe_lane *lane) {
    int symbols[MOST_STRING];
    unsigned legal[MOST_STRING];
    int count = walk_string(problem, draws, symbols, legal);
    for (int t = 0; t + 1 < count; t++)
        put(lane, t, symbols[t], symbols[t + 1], legal[t + 1]);
}

/* Every legal output above every other one. */
static bool legal_on_top(const float *output, unsigned legal) {
    float least = 2, greatest = -1;
    for (int i = 0; i < SYMBOLS; i++) {
        if (legal >> i & 1)
            least = output[i] < least ? output[i] : least;
        else
            greatest = output[i] > greatest ? output[i] : greatest;
    }
    return least > greatest;
}

void car_probe_reber_judge(const car_probe_problem *problem, const car_probe_lane *lane,
                           car_probe_score *score) {
    (void)problem;
    int wrong = 0;
    for (int t = 0; t < lane->steps; t++)
        wrong += !legal_on_top(lane->output + (size_t)t * lane->value_stride,
                               (unsigned)lane->truth[(size_t)t * lane->class_stride]);
    score->items++;
    score->right += wrong == 0;
    score->error += (double)wrong / lane->steps;
}

/* ---- The stream --------------------------------------------------------------------------------------- */

enum { CHUNK = 100 };

void car_probe_stream_shape(car_probe_problem *problem) {
    problem->inputs = problem->outputs = SYMBOLS;
    problem->most_steps = CHUNK;
}

void car_probe_stream_start(const car_probe_problem *problem, car_probe_set set, uint64_t first,
                            int lanes, car_probe_walk *walks) {
    for (int i = 0; i < lanes; i++) {
        walks[i] =
            (car_probe_walk){.draws = car_probe_draws_of(problem->seed, set, first + (uint64_t)i)};
        walks[i].symbol = next_symbol(problem, &walks[i]);
    }
}

void car_probe_stream_fill(const car_probe_problem *problem, int steps, car_probe_walk *walks,
                           car_probe_batch *batch) {
    for (int i = 0; i < batch->lanes; i++)
        batch->lengths[i] = steps;
    car_probe_clear(problem, steps, batch);
    for (int i = 0; i < batch->lanes; i++) {
        car_probe_lane lane = car_probe_lane_of(problem, batch, i);
        for (int t = 0; t < steps; t++) {
            unsigned legal = legal_of(&walks[i]);
            int symbol = walks[i].symbol;
            walks[i].symbol = next_symbol(problem, &walks[i]);
            put(&lane, t, symbol, walks[i].symbol, legal);
        }
    }
}

int car_probe_stream_right(const car_probe_lane *lane) {
    for (int t = 0; t < lane->steps; t++) {
        const float *row = lane->output + (size_t)t * lane->value_stride;
        for (int i = 0; i < SYMBOLS; i++) {
            float difference = row[i] - (float)(i == lane->classes[(size_t)t * lane->class_stride]);
            if (!(difference * difference < 0.49f))
                return t;
        }
    }
    return lane->steps;
}
