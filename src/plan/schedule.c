/*
 * schedule.c: when every node runs.
 *
 * In: the canonical forward graph and the gradient graph of a cell. Out: for each node its phase and level (stage
 * within the phase), the gates, and the groups of products.
 *
 *   level(product)     = max(level(operand) + 1, level(rest of its chain)): the operand must have been stored
 *   level(mean)        = level(operand) + 1; of squares = level(what is squared) + 1; of a variance = level(its mean)
 *   level(elementwise) = max over operands
 *
 * A product of x alone is hoisted out of the time loop; so is what needs nothing but such products. Backward, a
 * transposed product that no state gradient needs (dL/dx) waits until after the loop, with all that follows.
 */
#include "inside.h"

static int greater(int a, int b) {
    return a > b ? a : b;
}

/* The first level at which something of `phase` can read v in rows: x and states stand there from the start, a
 * constant or vector has to be stored first. */
static int ready(const car_when *when, const car_node *nodes, int v, car_phase phase) {
    if (nodes[v].op == CAR_OP_INPUT || nodes[v].op == CAR_OP_STATE || when[v].phase != phase)
        return 0;
    return when[v].level + 1;
}

static int level_of(const car_when *when, const car_node *nodes, int v, car_phase phase) {
    return car_is_leaf(nodes[v].op) || when[v].phase != phase ? 0 : when[v].level;
}

int car_plan_square_of(const car_plan *plan, int v) {
    return plan->override_count > 0 ? -1 : car_squared_operand(&plan->cell->graph, v);
}

int car_plan_variance_of(const car_plan *plan, int v) {
    const int x = car_plan_square_of(plan, v);
    return x < 0 ? -1 : car_deviation_mean(&plan->cell->graph, x);
}

int car_plan_inverse_of(const car_plan *plan, int v, float *epsilon) {
    double raise;
    const int square = car_root_operand(&plan->cell->graph, v, &raise);
    if (square < 0 || car_plan_square_of(plan, square) < 0)
        return -1;
    *epsilon = (float)raise;
    return square;
}

static void schedule_forward(car_plan *plan) {
    const car_graph *graph = &plan->cell->graph;
    for (int v = 0; v < graph->count; v++) {
        const car_node *node = &graph->nodes[v];
        bool hoisted = node->op != CAR_OP_STATE;
        int operands[2] = {node->a, node->b};
        for (int k = 0; k < 2; k++)
            if (operands[k] >= 0) {
                hoisted = hoisted && plan->hoisted[operands[k]];
                plan->uses[operands[k]]++;
            }
        plan->hoisted[v] = hoisted;
        car_phase phase = hoisted ? CAR_PHASE_BEFORE : CAR_PHASE_LOOP;
        int level = 0;
        if (node->op == CAR_OP_PRODUCT) {
            level = ready(plan->when, graph->nodes, node->a, phase);
            if (node->b >= 0)
                level = greater(level, level_of(plan->when, graph->nodes, node->b, phase));
        } else if (node->op == CAR_OP_MEAN) {
            const int mean = car_plan_variance_of(plan, v), squared = car_plan_square_of(plan, v);
            level = mean >= 0
                        ? plan->when[mean].level
                        : ready(plan->when, graph->nodes, squared >= 0 ? squared : node->a, phase);
        } else {
            for (int k = 0; k < 2; k++)
                if (operands[k] >= 0)
                    level = greater(level, level_of(plan->when, graph->nodes, operands[k], phase));
        }
        plan->when[v] = (car_when){phase, level};
    }
}

/* Marks what the state gradients need. */
static void mark_needed(const car_gradient *gradient, int states, bool *needed) {
    for (int s = 0; s < states; s++)
        if (gradient->state[s] >= 0)
            needed[gradient->state[s]] = true;
    for (int v = gradient->graph.count - 1; v >= 0; v--)
        if (needed[v]) {
            const car_node *node = &gradient->graph.nodes[v];
            if (node->a >= 0)
                needed[node->a] = true;
            if (node->b >= 0)
                needed[node->b] = true;
        }
}

static bool is_gradient_leaf(car_op op) {
    return op == CAR_OP_FORWARD || op == CAR_OP_CONSTANT || op == CAR_OP_OUTPUT_GRADIENT ||
           op == CAR_OP_STATE_GRADIENT;
}

static int back_level(const car_plan *plan, int v, car_phase phase, int extra) {
    const car_node *node = &plan->cell->gradient.graph.nodes[v];
    bool elementwise_leaf = is_gradient_leaf(node->op);
    if (plan->back_when[v].phase != phase)
        return 0;
    return (elementwise_leaf ? 0 : plan->back_when[v].level) + extra;
}

static car_status schedule_backward(car_plan *plan, car_error *error) {
    const car_gradient *gradient = &plan->cell->gradient;
    int states = plan->cell->state_count;
    bool *needed = car_arena_allocate(plan->arena, (size_t)gradient->graph.count + 1, sizeof(bool));
    if (!needed)
        return car_plan_no_memory(error);
    mark_needed(gradient, states, needed);
    for (int v = 0; v < gradient->graph.count; v++) {
        const car_node *node = &gradient->graph.nodes[v];
        int operands[2] = {node->a, node->b};
        bool after = states == 0 || (node->op == CAR_OP_TRANSPOSED_PRODUCT && !needed[v]);
        for (int k = 0; k < 2; k++)
            if (operands[k] >= 0) {
                plan->back_uses[operands[k]]++;
                after = after || plan->back_when[operands[k]].phase == CAR_PHASE_BACK_AFTER;
            }
        car_phase phase = after ? CAR_PHASE_BACK_AFTER : CAR_PHASE_BACK_LOOP;
        int level = 0;
        for (int k = 0; k < 2; k++) {
            if (operands[k] < 0)
                continue;
            bool chain = node->op == CAR_OP_TRANSPOSED_PRODUCT && k == 1 &&
                         gradient->graph.nodes[node->b].op == CAR_OP_TRANSPOSED_PRODUCT;
            bool stored =
                (node->op == CAR_OP_TRANSPOSED_PRODUCT && !chain) || node->op == CAR_OP_MEAN;
            level = greater(level, back_level(plan, operands[k], phase, stored ? 1 : 0));
        }
        plan->back_when[v] = (car_when){phase, level};
    }
    return CAR_OK;
}

/* The place of a set of operands in a Gray code: chains that share operands come to lie side by side, so that each
 * operand covers neighbouring gates (x: n r z, h: r z m). */
static uint64_t gray_rank(uint64_t set) {
    for (int shift = 1; shift < 64; shift *= 2)
        set ^= set >> shift;
    return set;
}

static car_status number_gates(car_plan *plan, car_error *error) {
    const car_graph *graph = &plan->cell->graph;
    bool *inner = car_arena_allocate(plan->arena, (size_t)graph->count + 1, sizeof(bool));
    int *operand_bit = car_arena_allocate(plan->arena, (size_t)graph->count + 1, sizeof(int));
    uint64_t *rank = car_arena_allocate(plan->arena, (size_t)graph->count + 1, sizeof(uint64_t));
    plan->gate_root = car_arena_allocate(plan->arena, (size_t)graph->count + 1, sizeof(int));
    if (!inner || !operand_bit || !rank || !plan->gate_root)
        return car_plan_no_memory(error);
    int bits = 0;
    for (int v = 0; v < graph->count; v++) {
        plan->gate_of[v] = -1;
        const car_node *node = &graph->nodes[v];
        if (node->op != CAR_OP_PRODUCT)
            continue;
        if (node->b >= 0 && graph->nodes[node->b].op == CAR_OP_PRODUCT)
            inner[node->b] = true;
        if (operand_bit[node->a] == 0)
            operand_bit[node->a] = ++bits;
    }
    for (int v = 0; v < graph->count; v++) {
        if (graph->nodes[v].op != CAR_OP_PRODUCT || inner[v])
            continue;
        uint64_t set = 0;
        for (int link = v; link >= 0 && graph->nodes[link].op == CAR_OP_PRODUCT;
             link = graph->nodes[link].b)
            set |= 1ull << ((operand_bit[graph->nodes[link].a] - 1) & 63);
        int at = plan->gates++;
        for (; at > 0 && rank[at - 1] > gray_rank(set); at--) {
            rank[at] = rank[at - 1];
            plan->gate_root[at] = plan->gate_root[at - 1];
        }
        rank[at] = gray_rank(set);
        plan->gate_root[at] = v;
    }
    for (int g = 0; g < plan->gates; g++)
        for (int link = plan->gate_root[g]; link >= 0 && graph->nodes[link].op == CAR_OP_PRODUCT;
             link = graph->nodes[link].b)
            plan->gate_of[link] = g;
    return CAR_OK;
}

/* How many links of the same chain and stage run before this one: they must run first. */
static int rank_in_stage(const car_plan *plan, int product) {
    const car_graph *graph = &plan->cell->graph;
    int rank = 0;
    for (int link = graph->nodes[product].b; link >= 0 && graph->nodes[link].op == CAR_OP_PRODUCT;
         link = graph->nodes[link].b)
        rank += car_same_when(plan->when[link], plan->when[product]);
    return rank;
}

static car_group *find_group(car_plan *plan, int product, int rank) {
    for (int g = 0; g < plan->group_count; g++) {
        car_group *group = &plan->groups[g];
        if (group->operand == plan->cell->graph.nodes[product].a && group->rank == rank &&
            car_same_when(group->when, plan->when[product]))
            return group;
    }
    return NULL;
}

/* Products in the order of their gates; a product joins the group of its operand, stage and rank. */
static car_status form_groups(car_plan *plan, car_error *error) {
    const car_graph *graph = &plan->cell->graph;
    size_t most = (size_t)graph->count + 1;
    plan->groups = car_arena_allocate(plan->arena, most, sizeof(car_group));
    if (!plan->groups)
        return car_plan_no_memory(error);
    for (int v = 0; v < graph->count; v++)
        plan->group_of[v] = -1;
    for (int g = 0; g < plan->gates; g++)
        for (int v = 0; v <= plan->gate_root[g]; v++) {
            if (graph->nodes[v].op != CAR_OP_PRODUCT || plan->gate_of[v] != g)
                continue;
            int rank = rank_in_stage(plan, v);
            car_group *group = find_group(plan, v, rank);
            if (!group) {
                group = &plan->groups[plan->group_count++];
                group->operand = graph->nodes[v].a;
                group->when = plan->when[v];
                group->rank = rank;
                group->depth = graph->nodes[group->operand].op == CAR_OP_INPUT ? plan->input.size
                                                                               : plan->units;
                group->gates = car_arena_allocate(plan->arena, (size_t)plan->gates, sizeof(int));
                group->parameters =
                    car_arena_allocate(plan->arena, (size_t)plan->gates, sizeof(int));
                group->products = car_arena_allocate(plan->arena, (size_t)plan->gates, sizeof(int));
                if (!group->gates || !group->parameters || !group->products)
                    return car_plan_no_memory(error);
            }
            group->gates[group->count] = g;
            group->parameters[group->count] = graph->nodes[v].index;
            group->products[group->count++] = v;
            plan->group_of[v] = (int)(group - plan->groups);
        }
    return CAR_OK;
}

/* When the transposed products of a group run: after the gradients of all its gates have been stored. */
static void schedule_transposed(car_plan *plan) {
    const car_graph *graph = &plan->cell->gradient.graph;
    for (int v = 0; v < graph->count; v++) {
        if (graph->nodes[v].op != CAR_OP_TRANSPOSED_PRODUCT)
            continue;
        car_group *group = &plan->groups[plan->group_of[graph->nodes[v].index]];
        if (!group->has_back || car_earlier(group->back_when, plan->back_when[v]))
            group->back_when = plan->back_when[v];
        group->has_back = true;
    }
}

/* Only within one stage, so that a*b's operands can be read wherever the addition is computed. */
int car_plan_fused(const car_plan *plan, bool gradient, int v) {
    const car_graph *graph = gradient ? &plan->cell->gradient.graph : &plan->cell->graph;
    const int *uses = gradient ? plan->back_uses : plan->uses;
    const car_when *when = gradient ? plan->back_when : plan->when;
    int operands[2] = {graph->nodes[v].b, graph->nodes[v].a};
    if (graph->nodes[v].op != CAR_OP_ADD)
        return -1;
    for (int k = 0; k < 2; k++)
        if (graph->nodes[operands[k]].op == CAR_OP_MULTIPLY && uses[operands[k]] == 1 &&
            car_same_when(when[operands[k]], when[v]))
            return operands[k];
    return -1;
}

car_status car_plan_schedule(car_plan *plan, car_error *error) {
    size_t forward = (size_t)plan->cell->graph.count + 1;
    size_t back = (size_t)plan->cell->gradient.graph.count + 1;
    plan->when = car_arena_allocate(plan->arena, forward, sizeof(car_when));
    plan->hoisted = car_arena_allocate(plan->arena, forward, sizeof(bool));
    plan->uses = car_arena_allocate(plan->arena, forward, sizeof(int));
    plan->gate_of = car_arena_allocate(plan->arena, forward, sizeof(int));
    plan->group_of = car_arena_allocate(plan->arena, forward, sizeof(int));
    plan->back_when = car_arena_allocate(plan->arena, back, sizeof(car_when));
    plan->back_uses = car_arena_allocate(plan->arena, back, sizeof(int));
    if (!plan->when || !plan->hoisted || !plan->uses || !plan->gate_of || !plan->group_of ||
        !plan->back_when || !plan->back_uses)
        return car_plan_no_memory(error);
    schedule_forward(plan);
    CAR_TRY(number_gates(plan, error));
    CAR_TRY(form_groups(plan, error));
    if (plan->training) {
        CAR_TRY(schedule_backward(plan, error));
        schedule_transposed(plan);
    }
    return CAR_OK;
}
