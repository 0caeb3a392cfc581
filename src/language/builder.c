/*
 * builder.c: graphs under construction, in which equal nodes are one node.
 *
 * Comes in: nodes one by one, operands first. Goes out: their numbers. A hash table of node numbers finds
 * the equal node; car_builder_simplify also applies the identities that hold bit for bit in float:
 * -(-a) = a, a*1 = a, a/1 = a, and + - * / of constants whose float result is the double result rounded, where
 * a text can write it.
 */
#include "syntax.h"
#include <math.h>
#include <string.h>

bool car_op_is_commutative(car_op op) {
    return op == CAR_OP_ADD || op == CAR_OP_MULTIPLY || op == CAR_OP_MAX || op == CAR_OP_MIN;
}

bool car_builder_start(car_builder *builder, car_arena *arena, int capacity) {
    unsigned slots = 16;
    while (slots < 2u * (unsigned)capacity)
        slots *= 2;
    builder->count = 0;
    builder->capacity = capacity;
    builder->slot_mask = slots - 1;
    builder->nodes = car_arena_allocate(arena, (size_t)capacity, sizeof *builder->nodes);
    builder->slots = car_arena_allocate(arena, slots, sizeof *builder->slots);
    return builder->nodes && builder->slots;
}

static unsigned hash_node(const car_node *node) {
    uint64_t bits;
    memcpy(&bits, &node->value, sizeof bits);
    uint64_t hash = bits;
    const int parts[] = {(int)node->op, node->a, node->b, node->index};
    for (int i = 0; i < 4; i++)
        hash = (hash ^ (uint32_t)parts[i]) * 0x9e3779b97f4a7c15u, hash ^= hash >> 29;
    return (unsigned)hash;
}

static bool equal(const car_node *a, const car_node *b) {
    return a->op == b->op && a->a == b->a && a->b == b->b && a->index == b->index &&
           memcmp(&a->value, &b->value, sizeof a->value) == 0;
}

int car_builder_add_apart(car_builder *builder, car_node node) {
    builder->nodes[builder->count] = node;
    return builder->count++;
}

/* The slot of an equal node, or the empty one where it belongs. */
static unsigned find_slot(const car_builder *builder, const car_node *node) {
    unsigned slot = hash_node(node) & builder->slot_mask;
    while (builder->slots[slot] && !equal(&builder->nodes[builder->slots[slot] - 1], node))
        slot = (slot + 1) & builder->slot_mask;
    return slot;
}

int car_builder_add(car_builder *builder, car_node node) {
    unsigned slot = find_slot(builder, &node);
    if (!builder->slots[slot] && car_op_is_commutative(node.op)) {
        car_node swapped = car_node_make(node.op, node.b, node.a, node.index, node.value);
        unsigned other = find_slot(builder, &swapped);
        slot = builder->slots[other] ? other : slot;
    }
    if (builder->slots[slot])
        return builder->slots[slot] - 1;
    builder->slots[slot] = builder->count + 1;
    return car_builder_add_apart(builder, node);
}

static bool is_constant(const car_builder *builder, int node, double value) {
    return node >= 0 && builder->nodes[node].op == CAR_OP_CONSTANT &&
           builder->nodes[node].value == value;
}

/* The constant that the node is, when float arithmetic gives that very value rounded. */
static bool fold(const car_builder *builder, const car_node *node, double *value) {
    if (node->a < 0 || builder->nodes[node->a].op != CAR_OP_CONSTANT)
        return false;
    if (node->b >= 0 && builder->nodes[node->b].op != CAR_OP_CONSTANT)
        return false;
    double a = builder->nodes[node->a].value;
    double b = node->b >= 0 ? builder->nodes[node->b].value : 0;
    float fa = (float)a, fb = (float)b, narrow;
    switch (node->op) {
    case CAR_OP_ADD:
        *value = a + b, narrow = fa + fb;
        break;
    case CAR_OP_SUBTRACT:
        *value = a - b, narrow = fa - fb;
        break;
    case CAR_OP_MULTIPLY:
        *value = a * b, narrow = fa * fb;
        break;
    case CAR_OP_DIVIDE:
        *value = a / b, narrow = fa / fb;
        break;
    case CAR_OP_NEGATE:
        *value = -a, narrow = -fa;
        break;
    default:
        return false;
    }
    return car_number_fits(*value) && (float)*value == narrow && (narrow != 0 || *value == 0);
}

int car_builder_simplify(car_builder *builder, car_node node) {
    double value;
    if (fold(builder, &node, &value))
        return car_builder_add(builder, car_node_make(CAR_OP_CONSTANT, -1, -1, -1, value));
    if (node.op == CAR_OP_NEGATE && builder->nodes[node.a].op == CAR_OP_NEGATE)
        return builder->nodes[node.a].a;
    if ((node.op == CAR_OP_MULTIPLY || node.op == CAR_OP_DIVIDE) && is_constant(builder, node.b, 1))
        return node.a;
    if (node.op == CAR_OP_MULTIPLY && is_constant(builder, node.a, 1))
        return node.b;
    return car_builder_add(builder, node);
}

bool car_is_reciprocal(const car_graph *graph, int v) {
    const car_node *node = &graph->nodes[v];
    return node->op == CAR_OP_DIVIDE && graph->nodes[node->a].op == CAR_OP_CONSTANT &&
           graph->nodes[node->a].value == 1;
}

int car_root_operand(const car_graph *graph, int v, double *epsilon) {
    const car_node *nodes = graph->nodes;
    if (!car_is_reciprocal(graph, v) || nodes[nodes[v].b].op != CAR_OP_SQRT)
        return -1;
    const car_node *sum = &nodes[nodes[nodes[v].b].a];
    if (sum->op != CAR_OP_ADD)
        return -1;
    const bool first = nodes[sum->a].op == CAR_OP_CONSTANT;
    const car_node *raise = &nodes[first ? sum->a : sum->b];
    if (raise->op != CAR_OP_CONSTANT)
        return -1;
    *epsilon = raise->value;
    return first ? sum->b : sum->a;
}

int car_squared_operand(const car_graph *graph, int v) {
    if (graph->nodes[v].op != CAR_OP_MEAN)
        return -1;
    const car_node *square = &graph->nodes[graph->nodes[v].a];
    return square->op == CAR_OP_MULTIPLY && square->a == square->b ? square->a : -1;
}

int car_deviation_mean(const car_graph *graph, int v) {
    const car_node *node = &graph->nodes[v];
    if (node->op != CAR_OP_SUBTRACT)
        return -1;
    const car_node *mean = &graph->nodes[node->b];
    return mean->op == CAR_OP_MEAN && mean->a == node->a ? node->b : -1;
}

void car_mark_uniform(const car_node *nodes, int begin, int end, const bool *of_forward,
                      bool *uniform) {
    for (int v = begin; v < end; v++) {
        const car_node *node = &nodes[v];
        const bool product = node->op == CAR_OP_PRODUCT || node->op == CAR_OP_TRANSPOSED_PRODUCT;
        if (node->op == CAR_OP_FORWARD)
            uniform[v] = of_forward[node->index];
        else if (node->op == CAR_OP_CONSTANT || node->op == CAR_OP_MEAN)
            uniform[v] = true;
        else
            uniform[v] =
                !product && node->a >= 0 && uniform[node->a] && (node->b < 0 || uniform[node->b]);
    }
}

void car_mark_live(const car_node *nodes, int count, bool *live) {
    for (int i = count - 1; i >= 0; i--) {
        if (!live[i])
            continue;
        if (nodes[i].a >= 0)
            live[nodes[i].a] = true;
        if (nodes[i].b >= 0)
            live[nodes[i].b] = true;
    }
}
