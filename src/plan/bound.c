/*
 * bound.c: which values of a cell lie within [-1, 1] whatever its weights and inputs are.
 *
 * In:  the canonical graph; whether x lies there. Out: for each group whether its operand does, and whether the output
 * does: what int8 makes whole with a fixed scale.
 *
 * Intervals go through the graph as it computes: sigmoid gives [0, 1], tanh [-1, 1], a product the products of the ends, and
 * a mixture a*b + (1-a)*c with a in [0, 1] what b and c span together. A state is assumed to lie within [-1, 1] where it
 * starts there, and the assumption is dropped when a step leads out of it, until all that is assumed holds: by induction
 * over time it does. (Rounding may lead out by a few 2^-24, which int8 does not see.)
 */
#include "inside.h"
#include <math.h>

typedef struct interval {
    double low, high;
} interval;

static const interval ANYTHING = {-INFINITY, INFINITY};

static double smaller(double a, double b) {
    return a < b ? a : b;
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

static bool is_bounded(interval x) {
    return x.low >= -1 && x.high <= 1;
}

static interval span(interval a, interval b) {
    return (interval){smaller(a.low, b.low), larger(a.high, b.high)};
}

/* 0 times infinity is 0 here: an end that is never reached. */
static double end_product(double a, double b) {
    return a == 0 || b == 0 ? 0 : a * b;
}

static interval product(interval a, interval b) {
    interval first = {end_product(a.low, b.low), end_product(a.low, b.high)};
    interval second = {end_product(a.high, b.low), end_product(a.high, b.high)};
    return span((interval){smaller(first.low, first.high), larger(first.low, first.high)},
                (interval){smaller(second.low, second.high), larger(second.low, second.high)});
}

/* Is v = 1 - a? */
static bool is_complement(const car_graph *graph, int v, int a) {
    const car_node *node = &graph->nodes[v];
    return node->op == CAR_OP_SUBTRACT && node->b == a &&
           graph->nodes[node->a].op == CAR_OP_CONSTANT && graph->nodes[node->a].value == 1;
}

/* The sum of nodes a and b; or, where they are products f*p and (1-f)*q with f in [0, 1], what p and q span. */
static interval sum(const car_graph *graph, const interval *at, int a, int b) {
    const car_node *left = &graph->nodes[a], *right = &graph->nodes[b];
    const int factors[2][2] = {{left->a, left->b}, {right->a, right->b}};
    bool products = left->op == CAR_OP_MULTIPLY && right->op == CAR_OP_MULTIPLY;
    for (int i = 0; products && i < 2; i++)
        for (int j = 0; j < 2; j++) {
            int f = factors[0][i], g = factors[1][j];
            bool mixes = is_complement(graph, g, f) || is_complement(graph, f, g);
            if (mixes && at[f].low >= 0 && at[f].high <= 1 && at[g].low >= 0 && at[g].high <= 1)
                return span(at[factors[0][1 - i]], at[factors[1][1 - j]]);
        }
    return (interval){at[a].low + at[b].low, at[a].high + at[b].high};
}

static interval size_of(interval x) {
    double high = larger(fabs(x.low), fabs(x.high));
    bool through_zero = x.low <= 0 && x.high >= 0;
    return (interval){through_zero ? 0 : smaller(fabs(x.low), fabs(x.high)), high};
}

static interval of_node(const car_plan *plan, const interval *at, const bool *state, bool input,
                        int v) {
    static const interval UNIT = {-1, 1};
    const car_graph *graph = &plan->cell->graph;
    const car_node *node = &graph->nodes[v];
    const interval a = node->a >= 0 ? at[node->a] : ANYTHING;
    const interval b = node->b >= 0 ? at[node->b] : ANYTHING;
    if (plan->override[v])
        return (interval){*plan->override[v], *plan->override[v]};
    switch (node->op) {
    case CAR_OP_INPUT:
        return input ? UNIT : ANYTHING;
    case CAR_OP_STATE:
        return state[node->index] ? UNIT : ANYTHING;
    case CAR_OP_CONSTANT:
        return (interval){node->value, node->value};
    case CAR_OP_SIGMOID:
        return (interval){0, 1};
    case CAR_OP_TANH:
        return UNIT;
    case CAR_OP_ADD:
        return sum(graph, at, node->a, node->b);
    case CAR_OP_SUBTRACT:
        return (interval){a.low - b.high, a.high - b.low};
    case CAR_OP_MULTIPLY:
        return product(a, b);
    case CAR_OP_NEGATE:
        return (interval){-a.high, -a.low};
    case CAR_OP_RELU:
        return (interval){larger(a.low, 0), larger(a.high, 0)};
    case CAR_OP_ABS:
        return size_of(a);
    case CAR_OP_MAX:
        return (interval){larger(a.low, b.low), larger(a.high, b.high)};
    case CAR_OP_MIN:
        return (interval){smaller(a.low, b.low), smaller(a.high, b.high)};
    case CAR_OP_MEAN:
        return a;
    default:
        return ANYTHING;
    }
}

/* Intervals of all nodes under the assumptions; drops those that a step leads out of. True: all of them hold. */
static bool settle(const car_plan *plan, bool input, bool *state, interval *at) {
    bool holds = true;
    for (int v = 0; v < plan->cell->graph.count; v++) {
        at[v] = of_node(plan, at, state, input, v);
        if (isnan(at[v].low) || isnan(at[v].high)) /* infinity less infinity */
            at[v] = ANYTHING;
    }
    for (int s = 0; s < plan->cell->state_count; s++)
        if (state[s] && !is_bounded(at[plan->cell->next[s]]))
            state[s] = holds = false;
    return holds;
}

car_status car_plan_find_bounds(car_plan *plan, bool input_bounded, car_error *error) {
    const struct car_cell *cell = plan->cell;
    interval *at = car_arena_allocate(plan->arena, (size_t)cell->graph.count + 1, sizeof *at);
    bool *state = car_arena_allocate(plan->arena, (size_t)cell->state_count + 1, sizeof *state);
    if (!at || !state)
        return car_plan_no_memory(error);
    for (int s = 0; s < cell->state_count; s++)
        state[s] = fabs(cell->state_init[s].value) <= 1;
    while (!settle(plan, input_bounded, state, at)) {
    }
    for (int g = 0; g < plan->group_count; g++)
        plan->groups[g].bounded = is_bounded(at[plan->groups[g].operand]);
    plan->input_bounded = input_bounded;
    plan->output_bounded = is_bounded(at[cell->output]);
    return CAR_OK;
}
