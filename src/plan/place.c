/*
 * place.c: where every value stands, and which values each stage writes.
 *
 * In: the schedule. Out: a place for each value that is stored, the list of stores, means and vector gradients.
 *
 * What to keep for the backward pass is decided by bytes. A gate's activation takes the place of its sum, which
 * nothing else reads: free. Any other value that the gradient needs is computed again when that costs less than
 * writing and reading its 8 bytes: up to about one transcendental function of stored values (RECOMPUTE_LIMIT).
 * Backward, the gradient of a gate's sum takes the gate's place in turn, so that one buffer serves both ways. Between stages of
 * the backward pass a value is stored but where it is one a row, or a stored one times such and the cell's vectors.
 */
#include "inside.h"
#include <string.h>

static const double RECOMPUTE_LIMIT = 1.2;
static const double UNAVAILABLE = 1e9;

static const car_place NOWHERE = {CAR_REGION_NONE, 0, false};

static bool is_nowhere(car_place place) {
    return place.region == CAR_REGION_NONE;
}

static car_status add_store(car_plan *plan, bool gradient, int node, car_place place, car_when when,
                            car_error *error) {
    if (place.region == CAR_REGION_INPUT_GRADIENT)
        plan->input_gradient_stored = true;
    if (plan->store_count == plan->store_capacity) {
        int capacity = plan->store_capacity * 2 + 64;
        car_store *stores = car_arena_allocate(plan->arena, (size_t)capacity, sizeof *stores);
        if (!stores)
            return car_plan_no_memory(error);
        if (plan->store_count)
            memcpy(stores, plan->stores, (size_t)plan->store_count * sizeof *stores);
        plan->stores = stores;
        plan->store_capacity = capacity;
    }
    plan->stores[plan->store_count++] = (car_store){gradient, node, place, when};
    return CAR_OK;
}

/* ---- Forward ------------------------------------------------------------------------------------------ */

static void place_leaves(car_plan *plan) {
    const car_graph *graph = &plan->cell->graph;
    for (int v = 0; v < graph->count; v++) {
        const car_node *node = &graph->nodes[v];
        plan->place[v] = NOWHERE;
        if (node->op == CAR_OP_INPUT)
            plan->place[v] = (car_place){CAR_REGION_INPUT, 0, false};
        else if (node->op == CAR_OP_STATE)
            plan->place[v] = (car_place){CAR_REGION_STATE, node->index, false};
        else if (node->op == CAR_OP_VECTOR)
            plan->place[v] = (car_place){CAR_REGION_VECTOR, node->index, false};
        else if (node->op == CAR_OP_MEAN)
            plan->place[v] = (car_place){CAR_REGION_MEAN, plan->mean_count++, false};
    }
    for (int g = 0; g < plan->gates; g++)
        plan->place[plan->gate_root[g]] = (car_place){CAR_REGION_SUMS, g, false};
}

static car_status place_states(car_plan *plan, car_error *error) {
    for (int s = 0; s < plan->cell->state_count; s++) {
        int v = plan->cell->next[s];
        car_place place = {CAR_REGION_STATE, s, true};
        CAR_TRY(add_store(plan, false, v, place, plan->when[v], error));
        if (is_nowhere(plan->place[v]))
            plan->place[v] = place;
    }
    return CAR_OK;
}

/* Keeps v in an array of its own. */
static car_status keep(car_plan *plan, int v, car_place *place, car_error *error) {
    *place = (car_place){CAR_REGION_KEPT, plan->kept_count++, false};
    if (is_nowhere(plan->place[v]))
        plan->place[v] = *place;
    return add_store(plan, false, v, *place, plan->when[v], error);
}

/* A place of v in plain rows, without the holes of the sums. */
static car_status in_rows(car_plan *plan, int v, car_place *place, car_error *error) {
    car_region region = plan->place[v].region;
    if (region == CAR_REGION_INPUT || region == CAR_REGION_STATE || region == CAR_REGION_KEPT) {
        *place = plan->place[v];
        return CAR_OK;
    }
    for (int s = 0; s < plan->store_count; s++)
        if (!plan->stores[s].gradient && plan->stores[s].node == v &&
            (plan->stores[s].place.region == CAR_REGION_STATE ||
             plan->stores[s].place.region == CAR_REGION_KEPT)) {
            *place = plan->stores[s].place;
            return CAR_OK;
        }
    return keep(plan, v, place, error);
}

/* The one that makes what stands there. */
static car_mean *mean_at(const car_plan *plan, car_place place) {
    car_mean *mean = plan->all_means;
    while (!car_same_place(mean->target, place) && !car_same_place(mean->variance, place))
        mean++;
    return mean;
}

/* A norm's 1/sqrt is made along with its mean of squares, once a row. */
static void place_inverses(car_plan *plan) {
    for (int v = 0; v < plan->cell->graph.count; v++) {
        float epsilon;
        const int square = car_plan_inverse_of(plan, v, &epsilon);
        if (square < 0 || !is_nowhere(plan->place[v]))
            continue;
        car_mean *mean = mean_at(plan, plan->place[square]);
        if (!is_nowhere(mean->inverse))
            continue;
        mean->epsilon = epsilon;
        mean->inverse = plan->place[v] = (car_place){CAR_REGION_MEAN, plan->mean_count++, false};
    }
}

static car_status place_mean(car_plan *plan, int v, car_error *error) {
    const int center = car_plan_variance_of(plan, v), squared = car_plan_square_of(plan, v);
    if (center >= 0) {
        mean_at(plan, plan->place[center])->variance = plan->place[v];
        return CAR_OK;
    }
    car_mean *mean = &plan->all_means[plan->all_mean_count++];
    mean->weight = mean->target = mean->variance = mean->inverse = NOWHERE;
    *(squared >= 0 ? &mean->variance : &mean->target) = plan->place[v];
    mean->when = plan->when[v];
    /* a mean reads a gate's sum where it is; a product's operand must lie in rows */
    const int source = squared >= 0 ? squared : plan->cell->graph.nodes[v].a;
    mean->source = plan->place[source];
    return mean->source.region == CAR_REGION_SUMS ? CAR_OK
                                                  : in_rows(plan, source, &mean->source, error);
}

static car_status place_operands(car_plan *plan, car_error *error) {
    const car_graph *graph = &plan->cell->graph;
    for (int g = 0; g < plan->group_count; g++)
        CAR_TRY(in_rows(plan, plan->groups[g].operand, &plan->groups[g].operand_place, error));
    for (int v = 0; v < graph->count; v++)
        if (graph->nodes[v].op == CAR_OP_MEAN)
            CAR_TRY(place_mean(plan, v, error));
    place_inverses(plan);
    return CAR_OK;
}

static car_status place_output(car_plan *plan, car_error *error) {
    int v = plan->cell->output;
    for (int s = 0; s < plan->cell->state_count; s++)
        if (plan->cell->next[s] == v) {
            plan->output = (car_place){CAR_REGION_STATE, s, true};
            return CAR_OK;
        }
    if (plan->place[v].region == CAR_REGION_KEPT) {
        plan->output = plan->place[v];
        return CAR_OK;
    }
    return keep(plan, v, &plan->output, error);
}

static int named_node(const struct car_cell *cell, const char *name) {
    for (int s = 0; s < cell->state_count; s++)
        if (strcmp(cell->state_names[s], name) == 0)
            return cell->next[s];
    for (int v = 0; v < cell->graph.count; v++)
        if (cell->graph.names[v] && strcmp(cell->graph.names[v], name) == 0)
            return v;
    return -1;
}

static car_status place_taps(car_plan *plan, const car_plan_options *options, car_error *error) {
    plan->tap_count = options->tap_count;
    plan->taps = car_arena_allocate(plan->arena, (size_t)options->tap_count + 1, sizeof(car_place));
    if (!plan->taps)
        return car_plan_no_memory(error);
    for (int k = 0; k < options->tap_count; k++) {
        int v = named_node(plan->cell, options->taps[k]);
        if (v < 0)
            return car_fail(
                error, CAR_USAGE,
                "cell %s: no value named '%s' to look at; `carousel cell show %s` lists its "
                "equations",
                plan->cell->name, options->taps[k], plan->cell->name);
        bool leaf = car_is_leaf(plan->cell->graph.nodes[v].op);
        if (leaf || plan->place[v].region == CAR_REGION_SUMS)
            CAR_TRY(keep(plan, v, &plan->taps[k], error));
        else
            CAR_TRY(in_rows(plan, v, &plan->taps[k], error));
    }
    return CAR_OK;
}

/* Why a value has to be stored: the gradient reads it, or another stage than its own does. */
typedef struct wishes {
    bool *back, *crossing; /* [forward count] */
} wishes;

static void mark_wishes(const car_plan *plan, wishes wanted) {
    const car_graph *graph = &plan->cell->graph;
    for (int u = 0; u < graph->count; u++) {
        const car_node *node = &graph->nodes[u];
        if (node->op == CAR_OP_MEAN || node->op == CAR_OP_PRODUCT)
            continue;
        if (node->a >= 0 && !car_same_when(plan->when[node->a], plan->when[u]))
            wanted.crossing[node->a] = true;
        if (node->b >= 0 && !car_same_when(plan->when[node->b], plan->when[u]))
            wanted.crossing[node->b] = true;
    }
    for (int s = 0; s < plan->store_count; s++)
        if (!car_same_when(plan->stores[s].when, plan->when[plan->stores[s].node]))
            wanted.crossing[plan->stores[s].node] = true;
    if (!plan->training)
        return;
    const car_graph *back = &plan->cell->gradient.graph;
    for (int v = 0; v < back->count; v++)
        if (back->nodes[v].op == CAR_OP_FORWARD)
            wanted.back[back->nodes[v].index] = true;
}

static bool has_store(const car_plan *plan, int v) {
    for (int s = 0; s < plan->store_count; s++)
        if (!plan->stores[s].gradient && plan->stores[s].node == v)
            return true;
    return false;
}

static int only_user(const car_plan *plan, int v) {
    const car_graph *graph = &plan->cell->graph;
    for (int u = v + 1; u < graph->count; u++)
        if (graph->nodes[u].a == v || graph->nodes[u].b == v)
            return u;
    return -1;
}

/* Gives the gate of a sum to the first value computed from it, and from nothing else's sum, that has to be stored;
 * nothing reads the sum itself after that. */
static car_status take_gates(car_plan *plan, wishes wanted, car_error *error) {
    const car_graph *graph = &plan->cell->graph;
    for (int g = 0; g < plan->gates; g++) {
        plan->gate_taken[g] = false;
        int v = plan->gate_root[g];
        while (!plan->gate_reserved[g] && plan->uses[v] == 1 && !wanted.back[v] &&
               !has_store(plan, v)) {
            int u = only_user(plan, v);
            if (graph->nodes[u].op == CAR_OP_PRODUCT || graph->nodes[u].op == CAR_OP_MEAN ||
                !is_nowhere(plan->place[u]))
                break;
            if (wanted.back[u] || wanted.crossing[u]) {
                plan->gate_taken[g] = true;
                plan->place[plan->gate_root[g]] = NOWHERE;
                plan->place[u] = (car_place){CAR_REGION_SUMS, g, false};
                CAR_TRY(add_store(plan, false, u, plan->place[u], plan->when[u], error));
                break;
            }
            v = u;
        }
    }
    return CAR_OK;
}

/* Cost of one element in units of a transcendental function; about the cycles of a vector of it. */
static double operation_cost(car_op op) {
    switch (op) {
    case CAR_OP_SIGMOID:
    case CAR_OP_TANH:
    case CAR_OP_EXP:
    case CAR_OP_LOG:
    case CAR_OP_SOFTPLUS:
        return 1;
    case CAR_OP_DIVIDE:
    case CAR_OP_SQRT:
        return 0.4;
    default:
        return 0.1;
    }
}

static double recompute_cost(const car_plan *plan, int v) {
    const car_node *node = &plan->cell->graph.nodes[v];
    if (node->op == CAR_OP_CONSTANT)
        return 0;
    if (!is_nowhere(plan->place[v]))
        return 0;
    if (node->op == CAR_OP_PRODUCT)
        return UNAVAILABLE;
    double cost = operation_cost(node->op);
    int fused = car_plan_fused(plan, false, v);
    int operands[4] = {node->a, node->b, -1, -1};
    if (fused >= 0) {
        operands[node->a == fused ? 0 : 1] = -1;
        operands[2] = plan->cell->graph.nodes[fused].a;
        operands[3] = plan->cell->graph.nodes[fused].b;
    }
    for (int k = 0; k < 4 && cost < UNAVAILABLE; k++)
        if (operands[k] >= 0)
            cost += recompute_cost(plan, operands[k]);
    return cost;
}

static car_status keep_wanted(car_plan *plan, wishes wanted, car_error *error) {
    const car_graph *graph = &plan->cell->graph;
    for (int v = 0; v < graph->count; v++) {
        car_place place;
        bool wish = wanted.back[v] || wanted.crossing[v];
        int gate = graph->nodes[v].op == CAR_OP_PRODUCT ? plan->gate_of[v] : -1;
        bool root = gate >= 0 && plan->gate_root[gate] == v;
        if (root && plan->gate_taken[gate])
            continue;
        if (root && plan->gate_reserved[gate]) {
            plan->place[v] = NOWHERE;
            if (wish) {
                CAR_TRY(in_rows(plan, v, &place, error));
                plan->place[v] = place;
            }
        }
        if (!wish || !is_nowhere(plan->place[v]) || graph->nodes[v].op == CAR_OP_CONSTANT)
            continue;
        if (recompute_cost(plan, v) > RECOMPUTE_LIMIT)
            CAR_TRY(keep(plan, v, &place, error));
    }
    return CAR_OK;
}

static car_status place_forward(car_plan *plan, const car_plan_options *options, car_error *error) {
    size_t count = (size_t)plan->cell->graph.count + 1;
    wishes wanted = {car_arena_allocate(plan->arena, count, sizeof(bool)),
                     car_arena_allocate(plan->arena, count, sizeof(bool))};
    if (!wanted.back || !wanted.crossing)
        return car_plan_no_memory(error);
    place_leaves(plan);
    CAR_TRY(place_states(plan, error));
    CAR_TRY(place_operands(plan, error));
    CAR_TRY(place_output(plan, error));
    CAR_TRY(place_taps(plan, options, error));
    mark_wishes(plan, wanted);
    CAR_TRY(take_gates(plan, wanted, error));
    return keep_wanted(plan, wanted, error);
}

/* ---- Backward ----------------------------------------------------------------------------------------- */

static const car_node *back_node(const car_plan *plan, int v) {
    return &plan->cell->gradient.graph.nodes[v];
}

static car_when back_start(const car_plan *plan) {
    return (car_when){plan->cell->state_count ? CAR_PHASE_BACK_LOOP : CAR_PHASE_BACK_AFTER, 0};
}

/* Stores gradient node v in an array of its own that holds all steps. */
static car_status work(car_plan *plan, int v, car_place *place, car_error *error) {
    *place = (car_place){CAR_REGION_WORK, plan->work_count++, false};
    return add_store(plan, true, v, *place, plan->back_when[v], error);
}

static car_status place_gate_gradients(car_plan *plan, car_error *error) {
    for (int g = 0; g < plan->gates; g++) {
        int v = plan->cell->gradient.of_forward[plan->gate_root[g]];
        car_place place = {CAR_REGION_SUMS, g, false};
        CAR_TRY(
            add_store(plan, true, v, place, v >= 0 ? plan->back_when[v] : back_start(plan), error));
        if (v >= 0 && is_nowhere(plan->back_place[v]))
            plan->back_place[v] = place;
    }
    return CAR_OK;
}

static bool is_chain_root(const car_plan *plan, int v) {
    const car_graph *graph = &plan->cell->gradient.graph;
    if (graph->nodes[v].op != CAR_OP_TRANSPOSED_PRODUCT)
        return false;
    for (int u = v + 1; u < graph->count; u++)
        if (graph->nodes[u].op == CAR_OP_TRANSPOSED_PRODUCT && graph->nodes[u].b == v)
            return false;
    return true;
}

static car_place chain_target(car_plan *plan, int root) {
    const car_gradient *gradient = &plan->cell->gradient;
    for (int s = 0; s < plan->cell->state_count; s++)
        if (gradient->state[s] == root)
            return (car_place){CAR_REGION_STATE_GRADIENT, s, false};
    if (gradient->input == root)
        return (car_place){CAR_REGION_INPUT_GRADIENT, 0, false};
    return (car_place){CAR_REGION_WORK, plan->work_count++, false};
}

/* The groups of a chain add to its target one after another; the first starts from the stored rest or from 0. */
static car_status place_chain(car_plan *plan, int root, car_error *error) {
    car_place target = chain_target(plan, root);
    plan->back_place[root] = target;
    int rest = root;
    while (rest >= 0 && back_node(plan, rest)->op == CAR_OP_TRANSPOSED_PRODUCT)
        rest = back_node(plan, rest)->b;
    if (rest >= 0)
        CAR_TRY(add_store(plan, true, rest, target, plan->back_when[rest], error));
    car_group *first = NULL;
    for (int v = root; v >= 0 && back_node(plan, v)->op == CAR_OP_TRANSPOSED_PRODUCT;
         v = back_node(plan, v)->b) {
        car_group *group = &plan->groups[plan->group_of[back_node(plan, v)->index]];
        group->back_place = target;
        if (!first || car_earlier(group->back_when, first->back_when) ||
            (car_same_when(group->back_when, first->back_when) && group < first))
            first = group;
        group->back_continues = true;
    }
    first->back_continues = rest >= 0;
    return CAR_OK;
}

static car_status place_chains(car_plan *plan, car_error *error) {
    for (int v = 0; v < plan->cell->gradient.graph.count; v++)
        if (is_chain_root(plan, v))
            CAR_TRY(place_chain(plan, v, error));
    return CAR_OK;
}

static car_status place_results(car_plan *plan, car_error *error) {
    const car_gradient *gradient = &plan->cell->gradient;
    for (int s = 0; s < plan->cell->state_count; s++) {
        int v = gradient->state[s];
        car_place place = {CAR_REGION_STATE_GRADIENT, s, false};
        if (v >= 0 && car_same_place(plan->back_place[v], place))
            continue;
        CAR_TRY(
            add_store(plan, true, v, place, v >= 0 ? plan->back_when[v] : back_start(plan), error));
    }
    int v = gradient->input;
    plan->input_gradient_written = v >= 0;
    if (v >= 0 && plan->back_place[v].region != CAR_REGION_INPUT_GRADIENT)
        CAR_TRY(add_store(plan, true, v, (car_place){CAR_REGION_INPUT_GRADIENT, 0, false},
                          plan->back_when[v], error));
    return CAR_OK;
}

/* A place of gradient node v that holds every step. */
static car_status timed_place(car_plan *plan, int v, car_place *place, car_error *error) {
    car_region region = plan->back_place[v].region;
    if (region == CAR_REGION_WORK || region == CAR_REGION_SUMS ||
        region == CAR_REGION_OUTPUT_GRADIENT) {
        *place = plan->back_place[v];
        return CAR_OK;
    }
    for (int s = 0; s < plan->store_count; s++)
        if (plan->stores[s].gradient && plan->stores[s].node == v &&
            plan->stores[s].place.region == CAR_REGION_WORK) {
            *place = plan->stores[s].place;
            return CAR_OK;
        }
    CAR_TRY(work(plan, v, place, error));
    if (is_nowhere(plan->back_place[v]))
        plan->back_place[v] = *place;
    return CAR_OK;
}

/* Whether a node of the gradient is a vector of the cell. */
static bool is_vector(const car_plan *plan, int v) {
    const car_node *node = back_node(plan, v);
    return node->op == CAR_OP_FORWARD && plan->cell->graph.nodes[node->index].op == CAR_OP_VECTOR;
}

/* Whether v is a stored value of the backward pass times such as are one value a row or a vector of the cell. */
static bool is_scaled(const car_plan *plan, int v, const bool *one_a_row) {
    const car_node *node = back_node(plan, v);
    if (node->op != CAR_OP_MULTIPLY || one_a_row[v])
        return false;
    for (int k = 0; k < 2; k++) {
        const int factor = k ? node->a : node->b, scaled = k ? node->b : node->a;
        if ((one_a_row[factor] || is_vector(plan, factor)) &&
            (plan->back_place[scaled].region == CAR_REGION_WORK ||
             is_scaled(plan, scaled, one_a_row)))
            return true;
    }
    return false;
}

/* Elementwise gradients that another stage reads; values of the loop that the phase after it reads. What is one value a row
 * is computed again, and so is that, or a vector, times a stored value. */
static car_status place_crossing(car_plan *plan, car_error *error) {
    const car_graph *graph = &plan->cell->gradient.graph, *forward = &plan->cell->graph;
    bool *of_forward = car_arena_allocate(plan->arena, (size_t)forward->count + 1, sizeof(bool));
    bool *one_a_row = car_arena_allocate(plan->arena, (size_t)graph->count + 1, sizeof(bool));
    if (!of_forward || !one_a_row)
        return car_plan_no_memory(error);
    car_mark_uniform(forward->nodes, 0, forward->count, NULL, of_forward);
    car_mark_uniform(graph->nodes, 0, graph->count, of_forward, one_a_row);
    for (int u = 0; u < graph->count; u++) {
        int operands[2] = {graph->nodes[u].a, graph->nodes[u].b};
        for (int k = 0; k < 2; k++) {
            int v = operands[k];
            if (v < 0 || car_same_when(plan->back_when[v], plan->back_when[u]) ||
                graph->nodes[u].op == CAR_OP_TRANSPOSED_PRODUCT)
                continue;
            car_op op = graph->nodes[v].op;
            bool after = plan->back_when[u].phase == CAR_PHASE_BACK_AFTER &&
                         plan->back_when[v].phase == CAR_PHASE_BACK_LOOP;
            bool untimed = op == CAR_OP_STATE_GRADIENT ||
                           plan->back_place[v].region == CAR_REGION_STATE_GRADIENT;
            car_place place;
            if (op == CAR_OP_FORWARD || op == CAR_OP_OUTPUT_GRADIENT || one_a_row[v] ||
                (is_nowhere(plan->back_place[v]) && is_scaled(plan, v, one_a_row)))
                continue;
            if (is_nowhere(plan->back_place[v]) || (after && untimed))
                CAR_TRY(timed_place(plan, v, &place, error));
        }
    }
    return CAR_OK;
}

/* Where a value is another one times a vector of the cell, that one, and the vector's place. */
static int without_vector(const car_plan *plan, int v, car_place *vector) {
    const car_node *node = back_node(plan, v);
    *vector = NOWHERE;
    if (node->op != CAR_OP_MULTIPLY)
        return v;
    const bool first = is_vector(plan, node->a);
    if (!first && !is_vector(plan, node->b))
        return v;
    *vector = plan->place[back_node(plan, first ? node->a : node->b)->index];
    return first ? node->b : node->a;
}

/* Means take a vector along, so that what is multiplied by it need not be stored beside what its gradient is made of. */
static car_status place_back_means(car_plan *plan, car_error *error) {
    const car_graph *graph = &plan->cell->gradient.graph;
    for (int v = 0; v < graph->count; v++) {
        if (graph->nodes[v].op != CAR_OP_MEAN)
            continue;
        car_mean *mean = &plan->all_means[plan->all_mean_count++];
        mean->when = plan->back_when[v];
        mean->target = plan->back_place[v] =
            (car_place){CAR_REGION_WORK_MEAN, plan->work_mean_count++, false};
        mean->variance = mean->inverse = NOWHERE;
        const int source = without_vector(plan, graph->nodes[v].a, &mean->weight);
        CAR_TRY(timed_place(plan, source, &mean->source, error));
    }
    return CAR_OK;
}

static car_status place_vector_gradients(car_plan *plan, car_error *error) {
    const car_gradient *gradient = &plan->cell->gradient;
    for (int k = 0; k < gradient->contribution_count; k++) {
        const car_contribution *contribution = &gradient->contributions[k];
        if (contribution->operand >= 0)
            continue;
        car_vector_gradient *sum = &plan->vector_gradients[plan->vector_gradient_count++];
        sum->parameter = contribution->parameter;
        CAR_TRY(timed_place(plan, contribution->gradient, &sum->place, error));
    }
    return CAR_OK;
}

static car_status place_backward(car_plan *plan, car_error *error) {
    const car_graph *graph = &plan->cell->gradient.graph;
    for (int v = 0; v < graph->count; v++) {
        plan->back_place[v] = NOWHERE;
        if (graph->nodes[v].op == CAR_OP_OUTPUT_GRADIENT)
            plan->back_place[v] = (car_place){CAR_REGION_OUTPUT_GRADIENT, 0, false};
        else if (graph->nodes[v].op == CAR_OP_STATE_GRADIENT)
            plan->back_place[v] =
                (car_place){CAR_REGION_STATE_GRADIENT, graph->nodes[v].index, true};
    }
    CAR_TRY(place_gate_gradients(plan, error));
    CAR_TRY(place_chains(plan, error));
    CAR_TRY(place_results(plan, error));
    CAR_TRY(place_back_means(plan, error));
    CAR_TRY(place_vector_gradients(plan, error));
    return place_crossing(plan, error);
}

car_status car_plan_place(car_plan *plan, const car_plan_options *options, car_error *error) {
    const struct car_cell *cell = plan->cell;
    plan->kept_count = plan->mean_count = plan->work_count = plan->work_mean_count = 0;
    plan->store_count = plan->all_mean_count = plan->vector_gradient_count = 0;
    if (!plan->place) {
        size_t forward = (size_t)cell->graph.count + 1,
               back = (size_t)cell->gradient.graph.count + 1;
        plan->place = car_arena_allocate(plan->arena, forward, sizeof(car_place));
        plan->back_place = car_arena_allocate(plan->arena, back, sizeof(car_place));
        plan->gate_taken = car_arena_allocate(plan->arena, (size_t)plan->gates + 1, sizeof(bool));
        plan->gate_reserved =
            car_arena_allocate(plan->arena, (size_t)plan->gates + 1, sizeof(bool));
        plan->all_means = car_arena_allocate(plan->arena, forward + back, sizeof(car_mean));
        plan->vector_gradients =
            car_arena_allocate(plan->arena, (size_t)cell->gradient.contribution_count + 1,
                               sizeof(car_vector_gradient));
        if (!plan->place || !plan->back_place || !plan->gate_taken || !plan->gate_reserved ||
            !plan->all_means || !plan->vector_gradients)
            return car_plan_no_memory(error);
    }
    CAR_TRY(place_forward(plan, options, error));
    return plan->training ? place_backward(plan, error) : CAR_OK;
}
