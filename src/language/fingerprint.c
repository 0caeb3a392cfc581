/*
 * fingerprint.c: 128 bits that are equal for equal maths, whatever things are called or in which order they
 * stand in the text.
 *
 * Comes in: the canonical graph. States and parameters get colours that know no names: all equal at first,
 * then again and again a hash of where they are used (refinement as of Weisfeiler & Leman 1968), until no
 * class splits; while a class has several members, one is singled out and the refinement goes on. The rank of
 * its colour is then the number of a state or parameter, and every node hashes from its operands up
 * (operands of commutative operations in either order). Goes out: the hash of the output and of every
 * state's next value, twice with different seeds. Initial values are not part of it.
 */
#include "syntax.h"
#include <stdlib.h>
#include <string.h>

typedef struct car_colouring {
    const struct car_cell *cell;
    int leaves;        /* states, then parameters */
    uint64_t *colour;  /* [leaves] */
    uint64_t *fresh;   /* [leaves] */
    uint64_t *sorted;  /* [leaves] */
    uint64_t *up;      /* [nodes] from the operands */
    uint64_t *context; /* [nodes] from the users */
} car_colouring;

static uint64_t mix(uint64_t hash, uint64_t value) {
    hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u; /* the finaliser of splitmix64 */
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    return hash ^ (hash >> 31);
}

static int leaf_of(const struct car_cell *cell, const car_node *node) {
    if (node->op == CAR_OP_STATE)
        return node->index;
    if (node->op == CAR_OP_VECTOR || node->op == CAR_OP_PRODUCT)
        return cell->state_count + node->index;
    return -1;
}

static void hash_up(car_colouring *work, uint64_t seed) {
    const car_graph *graph = &work->cell->graph;
    for (int i = 0; i < graph->count; i++) {
        const car_node *node = &graph->nodes[i];
        uint64_t bits = 0, hash = mix(seed, (uint64_t)node->op + 1);
        int leaf = leaf_of(work->cell, node);
        if (node->op == CAR_OP_CONSTANT)
            memcpy(&bits, &node->value, sizeof bits);
        hash = mix(hash, leaf >= 0 ? work->colour[leaf] : bits);
        uint64_t a = node->a >= 0 ? work->up[node->a] : 1;
        uint64_t b = node->b >= 0 ? work->up[node->b] : 2;
        if (car_op_is_commutative(node->op) && a > b) {
            uint64_t swap = a;
            a = b;
            b = swap;
        }
        work->up[i] = mix(mix(hash, a), b);
    }
}

static void hash_context(car_colouring *work) {
    const struct car_cell *cell = work->cell;
    const car_graph *graph = &cell->graph;
    memset(work->context, 0, (size_t)graph->count * sizeof *work->context);
    work->context[cell->output] += mix(3, 0);
    for (int s = 0; s < cell->state_count; s++)
        work->context[cell->next[s]] += mix(4, work->colour[s]);
    for (int i = graph->count - 1; i >= 0; i--) {
        const car_node *node = &graph->nodes[i];
        uint64_t user = mix(work->up[i], work->context[i]);
        bool either = car_op_is_commutative(node->op);
        if (node->a >= 0)
            work->context[node->a] += mix(user, 5);
        if (node->b >= 0)
            work->context[node->b] += mix(user, either ? 5 : 6);
    }
}

static void refine_once(car_colouring *work) {
    const struct car_cell *cell = work->cell;
    hash_up(work, 0);
    hash_context(work);
    for (int i = 0; i < work->leaves; i++)
        work->fresh[i] = 0;
    for (int i = 0; i < cell->graph.count; i++) {
        int leaf = leaf_of(cell, &cell->graph.nodes[i]);
        if (leaf >= 0)
            work->fresh[leaf] += mix(work->up[i], work->context[i]);
    }
    for (int i = 0; i < work->leaves; i++) {
        uint64_t hash = mix(work->colour[i], work->fresh[i]);
        if (i < cell->state_count)
            hash = mix(mix(hash, work->up[cell->next[i]]), work->context[cell->next[i]]);
        work->fresh[i] = hash;
    }
    memcpy(work->colour, work->fresh, (size_t)work->leaves * sizeof *work->colour);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The number of different colours; leaves them sorted. */
static int count_classes(car_colouring *work) {
    memcpy(work->sorted, work->colour, (size_t)work->leaves * sizeof *work->sorted);
    qsort(work->sorted, (size_t)work->leaves, sizeof *work->sorted, compare);
    int classes = work->leaves > 0;
    for (int i = 1; i < work->leaves; i++)
        classes += work->sorted[i] != work->sorted[i - 1];
    return classes;
}

static void refine(car_colouring *work) {
    int classes = 0, more = count_classes(work);
    do {
        classes = more;
        refine_once(work);
        more = count_classes(work);
    } while (more > classes);
}

/* Refines until all colours differ, then replaces them by their ranks. */
static void colour_all(car_colouring *work) {
    int states = work->cell->state_count;
    for (int i = 0; i < work->leaves; i++)
        work->colour[i] = i < states ? 1 : 2;
    refine(work);
    while (count_classes(work) < work->leaves) {
        int shared = 1;
        while (work->sorted[shared] != work->sorted[shared - 1])
            shared++;
        int chosen = 0;
        while (work->colour[chosen] != work->sorted[shared])
            chosen++;
        work->colour[chosen] = mix(work->colour[chosen], 7);
        refine(work);
    }
    for (int i = 0; i < work->leaves; i++) {
        const uint64_t *found = bsearch(&work->colour[i], work->sorted, (size_t)work->leaves,
                                        sizeof *work->sorted, compare);
        work->fresh[i] = (uint64_t)(found - work->sorted);
    }
    memcpy(work->colour, work->fresh, (size_t)work->leaves * sizeof *work->colour);
}

/* The hash of the roots, states in the order of their ranks. */
static uint64_t hash_roots(car_colouring *work, uint64_t seed) {
    const struct car_cell *cell = work->cell;
    hash_up(work, seed);
    uint64_t hash = mix(seed, work->up[cell->output]);
    for (int rank = 0; rank < work->leaves; rank++)
        for (int s = 0; s < cell->state_count; s++)
            if (work->colour[s] == (uint64_t)rank)
                hash = mix(mix(hash, work->colour[s]), work->up[cell->next[s]]);
    return hash;
}

car_status car_fingerprint(struct car_cell *cell, car_arena *scratch,
                           const car_reporter *reporter) {
    car_colouring work = {.cell = cell, .leaves = cell->state_count + cell->parameter_count};
    size_t leaves = (size_t)work.leaves + 1, nodes = (size_t)cell->graph.count;
    work.colour = car_arena_allocate(scratch, leaves, sizeof(uint64_t));
    work.fresh = car_arena_allocate(scratch, leaves, sizeof(uint64_t));
    work.sorted = car_arena_allocate(scratch, leaves, sizeof(uint64_t));
    work.up = car_arena_allocate(scratch, nodes, sizeof(uint64_t));
    work.context = car_arena_allocate(scratch, nodes, sizeof(uint64_t));
    if (!work.colour || !work.fresh || !work.sorted || !work.up || !work.context)
        return car_report_memory(reporter);
    colour_all(&work);
    snprintf(cell->fingerprint, sizeof cell->fingerprint, "%016llx%016llx",
             (unsigned long long)hash_roots(&work, 0x6361726f7573656cu),
             (unsigned long long)hash_roots(&work, 0x636f6e7374616e74u));
    return CAR_OK;
}
