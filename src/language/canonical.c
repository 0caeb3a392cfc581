/*
 * canonical.c: the source graph -> the canonical graph that the plan schedules.
 *
 * Three passes. (1) simplify: bit-exact identities, equal nodes shared. (2) chain: every sum that holds
 * products becomes s = ((b + P1@a1) + P2@a2 ...) + t1 - t2 ..., in this order: the first vector parameter,
 * products of x, products that no state reaches, the other products, what else is in the sum; within each
 * group the order of the equation. A sum is a tree of additions and left sides of subtractions whose inner
 * nodes nobody else uses; a product in it takes part when nobody else uses it either. (3) compact: dead
 * nodes dropped. Operands of commutative operations are ordered by number, but for sums with products, which
 * keep the order of the equation (of the first one, where a sum stands in several in different orders).
 */
#include "syntax.h"
#include <string.h>

typedef struct car_canonicalizer {
    const car_reporter *reporter;
    struct car_cell *cell;
    car_arena *scratch;
    car_builder simple, chained;
    int *to_simple;  /* [source] */
    int *to_chained; /* [simple], -1: inside a sum */
    int *uses;       /* [simple] by live nodes and roots */
    bool *live;      /* [simple] */
    bool *absorbed;  /* [simple] inside a bigger sum */
    bool *is_sum;    /* [simple] the top of a sum with products */
    bool *has_state; /* [simple] depends on a state */
    int term_count;
    struct car_term {
        int node;
        bool negative;
    } * terms, *stack;
} car_canonicalizer;

/* ---- Pass 1 ------------------------------------------------------------------------------------------- */

static void order_operands(car_node *node) {
    if (node->a > node->b) {
        int swap = node->a;
        node->a = node->b;
        node->b = swap;
    }
}

static void simplify(car_canonicalizer *work) {
    const car_graph *source = &work->cell->source;
    for (int i = 0; i < source->count; i++) {
        car_node node = source->nodes[i];
        node.a = node.a >= 0 ? work->to_simple[node.a] : -1;
        node.b = node.b >= 0 ? work->to_simple[node.b] : -1;
        if (car_op_is_commutative(node.op) && node.op != CAR_OP_ADD)
            order_operands(&node);
        int made = work->to_simple[i] = car_builder_simplify(&work->simple, node);
        const car_node *result = &work->simple.nodes[made];
        work->has_state[made] = result->op == CAR_OP_STATE ||
                                (result->a >= 0 && work->has_state[result->a]) ||
                                (result->b >= 0 && work->has_state[result->b]);
    }
}

static void count_uses(car_canonicalizer *work) {
    const car_builder *simple = &work->simple;
    const struct car_cell *cell = work->cell;
    for (int s = -1; s < cell->state_count; s++) {
        int root = work->to_simple[s < 0 ? cell->source_output : cell->source_next[s]];
        work->live[root] = true;
        work->uses[root]++;
    }
    car_mark_live(simple->nodes, simple->count, work->live);
    for (int i = 0; i < simple->count; i++) {
        if (!work->live[i])
            continue;
        if (simple->nodes[i].a >= 0)
            work->uses[simple->nodes[i].a]++;
        if (simple->nodes[i].b >= 0)
            work->uses[simple->nodes[i].b]++;
    }
}

/* ---- Pass 2 ------------------------------------------------------------------------------------------- */

static bool opens(const car_canonicalizer *work, int node, int top) {
    car_op op = work->simple.nodes[node].op;
    return (op == CAR_OP_ADD || op == CAR_OP_SUBTRACT) && (node == top || work->uses[node] == 1);
}

/* A product that takes part in the chain of the sum it stands in. */
static bool is_link(const car_canonicalizer *work, struct car_term term) {
    return !term.negative && work->simple.nodes[term.node].op == CAR_OP_PRODUCT &&
           work->uses[term.node] == 1;
}

/* Lists the terms of the sum from left to right; `mark` notes what is inside it as absorbed. */
static void flatten(car_canonicalizer *work, int top, bool mark) {
    const car_node *nodes = work->simple.nodes;
    int depth = 0;
    work->term_count = 0;
    work->stack[depth++] = (struct car_term){top, false};
    while (depth > 0) {
        struct car_term term = work->stack[--depth];
        const car_node *node = &nodes[term.node];
        bool inner = !term.negative && opens(work, term.node, top);
        if (mark && term.node != top && (inner || is_link(work, term)))
            work->absorbed[term.node] = true;
        if (inner) {
            work->stack[depth++] = (struct car_term){node->b, node->op == CAR_OP_SUBTRACT};
            work->stack[depth++] = (struct car_term){node->a, false};
        } else {
            work->terms[work->term_count++] = term;
        }
    }
}

/* Finds the tops of sums with products, from the last node down, and marks what is inside them. */
static void find_sums(car_canonicalizer *work) {
    const car_node *nodes = work->simple.nodes;
    for (int i = work->simple.count - 1; i >= 0; i--) {
        bool sum = nodes[i].op == CAR_OP_ADD || nodes[i].op == CAR_OP_SUBTRACT;
        if (!work->live[i] || work->absorbed[i] || !sum)
            continue;
        flatten(work, i, false);
        for (int t = 0; t < work->term_count && !work->is_sum[i]; t++)
            work->is_sum[i] = is_link(work, work->terms[t]);
        if (work->is_sum[i])
            flatten(work, i, true);
    }
}

/* 0: of x itself, 1: no state reaches it, 2: all others. */
static int product_group(const car_canonicalizer *work, const car_node *product) {
    if (work->simple.nodes[product->a].op == CAR_OP_INPUT)
        return 0;
    return work->has_state[product->a] ? 2 : 1;
}

/* The sum at `top`, whose terms stand in the chained graph already, but for its products. */
static int build_sum(car_canonicalizer *work, int top) {
    const car_node *nodes = work->simple.nodes;
    int head = -1, sum = -1;
    flatten(work, top, false);
    for (int t = 0; t < work->term_count && head < 0; t++)
        if (!work->terms[t].negative && nodes[work->terms[t].node].op == CAR_OP_VECTOR)
            head = t;
    if (head >= 0)
        sum = car_builder_add_apart(&work->chained, nodes[work->terms[head].node]);
    for (int group = 0; group < 3; group++)
        for (int t = 0; t < work->term_count; t++) {
            const car_node *product = &nodes[work->terms[t].node];
            if (!is_link(work, work->terms[t]) || product_group(work, product) != group)
                continue;
            int operand = work->to_chained[product->a];
            sum = car_builder_add_apart(
                &work->chained, car_node_make(CAR_OP_PRODUCT, operand, sum, product->index, 0));
        }
    for (int t = 0; t < work->term_count; t++) {
        if (t == head || is_link(work, work->terms[t]))
            continue;
        car_op op = work->terms[t].negative ? CAR_OP_SUBTRACT : CAR_OP_ADD;
        int term = work->to_chained[work->terms[t].node];
        sum = car_builder_add(&work->chained, car_node_make(op, sum, term, -1, 0));
    }
    return sum;
}

static void chain(car_canonicalizer *work) {
    const car_builder *simple = &work->simple;
    for (int i = 0; i < simple->count; i++) {
        work->to_chained[i] = -1;
        if (!work->live[i] || work->absorbed[i])
            continue;
        if (work->is_sum[i]) {
            work->to_chained[i] = build_sum(work, i);
            continue;
        }
        car_node node = simple->nodes[i];
        node.a = node.a >= 0 ? work->to_chained[node.a] : -1;
        node.b = node.b >= 0 ? work->to_chained[node.b] : -1;
        if (car_op_is_commutative(node.op))
            order_operands(&node);
        work->to_chained[i] = car_builder_add(&work->chained, node);
    }
}

/* ---- Pass 3 ------------------------------------------------------------------------------------------- */

static int map_source(const car_canonicalizer *work, const int *to_final, int source) {
    int simple = work->to_simple[source];
    int chained = work->live[simple] ? work->to_chained[simple] : -1;
    return chained >= 0 ? to_final[chained] : -1;
}

static car_status map_gates(car_canonicalizer *work, const int *to_final) {
    struct car_cell *cell = work->cell;
    int kept = 0;
    for (int i = 0; i < cell->gate_count; i++) {
        const char *name = cell->source.names[cell->gates[i]];
        int node = map_source(work, to_final, cell->gates[i]);
        if (node < 0)
            return car_fail(
                work->reporter->error, CAR_DATA,
                "%.80s: gate '%s' is a part of a larger sum and has no value of its own; "
                "name what the sum goes into",
                work->reporter->origin, name ? name : "?");
        bool again = false;
        for (int j = 0; j < kept; j++)
            again |= cell->gates[j] == node;
        if (!again)
            cell->gates[kept++] = node;
    }
    cell->gate_count = kept;
    return CAR_OK;
}

static car_status compact(car_canonicalizer *work) {
    struct car_cell *cell = work->cell;
    const car_builder *chained = &work->chained;
    bool *live = car_arena_allocate(work->scratch, (size_t)chained->count, 1);
    int *to_final = car_arena_allocate(work->scratch, (size_t)chained->count, sizeof *to_final);
    if (!live || !to_final)
        return car_report_memory(work->reporter);
    for (int s = -1; s < cell->state_count; s++) {
        int source = s < 0 ? cell->source_output : cell->source_next[s];
        live[work->to_chained[work->to_simple[source]]] = true;
    }
    car_mark_live(chained->nodes, chained->count, live);
    int count = 0;
    for (int i = 0; i < chained->count; i++)
        to_final[i] = live[i] ? count++ : -1;
    cell->graph.count = count;
    cell->graph.nodes = car_arena_allocate(cell->arena, (size_t)count, sizeof(car_node));
    cell->graph.names = car_arena_allocate(cell->arena, (size_t)count, sizeof(char *));
    cell->next = car_arena_allocate(cell->arena, (size_t)cell->state_count + 1, sizeof(int));
    if (!cell->graph.nodes || !cell->graph.names || !cell->next)
        return car_report_memory(work->reporter);
    for (int i = 0; i < chained->count; i++) {
        if (!live[i])
            continue;
        car_node node = chained->nodes[i];
        node.a = node.a >= 0 ? to_final[node.a] : -1;
        node.b = node.b >= 0 ? to_final[node.b] : -1;
        cell->graph.nodes[to_final[i]] = node;
    }
    for (int i = 0; i < cell->source.count; i++) {
        int node = map_source(work, to_final, i);
        if (node >= 0 && cell->graph.nodes[node].op > CAR_OP_VECTOR && !cell->graph.names[node])
            cell->graph.names[node] = cell->source.names[i];
    }
    cell->output = map_source(work, to_final, cell->source_output);
    for (int s = 0; s < cell->state_count; s++)
        cell->next[s] = map_source(work, to_final, cell->source_next[s]);
    return map_gates(work, to_final);
}

/* ---- All of it ---------------------------------------------------------------------------------------- */

static bool start(car_canonicalizer *work) {
    size_t count = (size_t)work->cell->source.count;
    /* every simple node makes one node, every sum at most one more: the copy of its vector */
    if (!car_builder_start(&work->simple, work->scratch, (int)count) ||
        !car_builder_start(&work->chained, work->scratch, 2 * (int)count))
        return false;
    work->to_simple = car_arena_allocate(work->scratch, count, sizeof(int));
    work->to_chained = car_arena_allocate(work->scratch, count, sizeof(int));
    work->uses = car_arena_allocate(work->scratch, count, sizeof(int));
    work->live = car_arena_allocate(work->scratch, count, 1);
    work->absorbed = car_arena_allocate(work->scratch, count, 1);
    work->is_sum = car_arena_allocate(work->scratch, count, 1);
    work->has_state = car_arena_allocate(work->scratch, count, 1);
    work->terms = car_arena_allocate(work->scratch, count + 2, sizeof *work->terms);
    work->stack = car_arena_allocate(work->scratch, count + 2, sizeof *work->stack);
    return work->to_simple && work->to_chained && work->uses && work->live && work->absorbed &&
           work->is_sum && work->has_state && work->terms && work->stack;
}

static car_status canonicalize(car_canonicalizer *work) {
    if (!start(work))
        return car_report_memory(work->reporter);
    simplify(work);
    count_uses(work);
    find_sums(work);
    chain(work);
    CAR_TRY(compact(work));
    return car_fingerprint(work->cell, work->scratch, work->reporter);
}

car_status car_canonicalize(struct car_cell *cell, car_error *error) {
    car_reporter reporter = {cell->origin, error};
    car_canonicalizer work = {.reporter = &reporter, .cell = cell};
    work.scratch = car_arena_create(cell->allocator);
    if (!work.scratch)
        return car_report_memory(&reporter);
    car_status status = canonicalize(&work);
    car_arena_free(work.scratch);
    return status;
}
