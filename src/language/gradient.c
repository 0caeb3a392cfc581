/*
 * gradient.c: the canonical graph -> its gradient graph, once and for all steps (reverse mode).
 *
 * Comes in: the forward graph; dL/dy and dL/d(states after the step) are leaves. From the last forward node
 * to the first, the terms that its users left are summed to dL/d(node), which is then passed on by the one
 * table of derivatives below. A forward value that feeds matrix products gets its elementwise terms first,
 * then one chain of TRANSPOSED_PRODUCTs in the order of the forward products.
 * Goes out: dL/dx, dL/d(states before the step), and what is added to each parameter's gradient.
 */
#include "syntax.h"
#include <string.h>

typedef struct car_differentiator {
    const car_reporter *reporter;
    struct car_cell *cell;
    const car_graph *forward;
    car_arena *scratch;
    car_builder builder;
    int *sum;           /* [forward] the elementwise terms so far, -1: none */
    int *adjoint;       /* [forward] dL/d(node), -1: none flows */
    bool *constant;     /* [forward] made of constants alone: its gradient is nobody's */
    bool *uniform;      /* [forward] */
    bool *made_uniform; /* [builder.capacity], known of the first `marked` nodes */
    int marked;
    int contribution_count;
    car_contribution *contributions; /* [forward] at most one a node */
} car_differentiator;

static int add(car_differentiator *work, car_op op, int a, int b) {
    return car_builder_simplify(&work->builder, car_node_make(op, a, b, -1, 0));
}

static int constant(car_differentiator *work, double value) {
    return car_builder_add(&work->builder, car_node_make(CAR_OP_CONSTANT, -1, -1, -1, value));
}

/* The value of a forward node in the gradient graph. */
static int value_of(car_differentiator *work, int node) {
    if (work->forward->nodes[node].op == CAR_OP_CONSTANT)
        return constant(work, work->forward->nodes[node].value);
    return car_builder_add(&work->builder, car_node_make(CAR_OP_FORWARD, -1, -1, node, 0));
}

/* Adds a term to dL/d(node); a negated one is subtracted, which is the same bit for bit. */
static void pass(car_differentiator *work, int node, int term) {
    if (work->constant[node])
        return;
    const car_node *made = &work->builder.nodes[term];
    int *sum = &work->sum[node];
    if (*sum < 0)
        *sum = term;
    else if (made->op == CAR_OP_NEGATE)
        *sum = add(work, CAR_OP_SUBTRACT, *sum, made->a);
    else
        *sum = add(work, CAR_OP_ADD, *sum, term);
}

/* A reciprocal's slope is made of its own values alone, that of 1/b of its square: where they are one for a whole row
 * (layernorm), so is it. */
static void pass_divide(car_differentiator *work, int i, const car_node *node, int g) {
    if (work->constant[node->a]) {
        const int value = value_of(work, i);
        int slope = car_is_reciprocal(work->forward, i)
                        ? add(work, CAR_OP_MULTIPLY, value, value)
                        : add(work, CAR_OP_DIVIDE, value, value_of(work, node->b));
        int product = add(work, CAR_OP_MULTIPLY, g, slope);
        pass(work, node->b, add(work, CAR_OP_NEGATE, product, -1));
        return;
    }
    int quotient = add(work, CAR_OP_DIVIDE, g, value_of(work, node->b));
    pass(work, node->a, quotient);
    int product = add(work, CAR_OP_MULTIPLY, quotient, value_of(work, i));
    pass(work, node->b, add(work, CAR_OP_NEGATE, product, -1));
}

/* max and min: to the greater (smaller) operand; to b when they are equal. */
static void pass_choice(car_differentiator *work, const car_node *node, int g) {
    int a = value_of(work, node->a), b = value_of(work, node->b);
    bool max = node->op == CAR_OP_MAX;
    int chosen = add(work, CAR_OP_MULTIPLY, g, add(work, CAR_OP_GREATER, max ? a : b, max ? b : a));
    pass(work, node->a, chosen);
    pass(work, node->b, add(work, CAR_OP_SUBTRACT, g, chosen));
}

/* The local derivative of those functions whose operand gets g times it. */
static int slope_of(car_differentiator *work, int i, const car_node *node) {
    int zero, value, above, below;
    switch (node->op) {
    case CAR_OP_EXP:
        return value_of(work, i);
    case CAR_OP_SOFTPLUS:
        return add(work, CAR_OP_SIGMOID, value_of(work, node->a), -1);
    case CAR_OP_RELU:
        zero = constant(work, 0);
        return add(work, CAR_OP_GREATER, value_of(work, i), zero);
    default: /* abs */
        zero = constant(work, 0);
        value = value_of(work, node->a);
        above = add(work, CAR_OP_GREATER, value, zero);
        below = add(work, CAR_OP_GREATER, zero, value);
        return add(work, CAR_OP_SUBTRACT, above, below);
    }
}

/* The forward value 1 / i, which is at hand where it is used; else -1. */
static int reciprocal_of(const car_differentiator *work, int i) {
    for (int k = i + 1; k < work->forward->count; k++)
        if (work->forward->nodes[k].b == i && car_is_reciprocal(work->forward, k))
            return k;
    return -1;
}

/* 1 / (2 sqrt), without a division where 1 / sqrt is known. */
static void pass_sqrt(car_differentiator *work, int i, const car_node *node, int g) {
    const int reciprocal = reciprocal_of(work, i), half = constant(work, 0.5);
    const int slope = reciprocal < 0 ? add(work, CAR_OP_DIVIDE, half, value_of(work, i))
                                     : add(work, CAR_OP_MULTIPLY, half, value_of(work, reciprocal));
    pass(work, node->a, add(work, CAR_OP_MULTIPLY, g, slope));
}

/* Whether a node of the gradient is one value for all units. */
static bool is_uniform(car_differentiator *work, int node) {
    car_mark_uniform(work->builder.nodes, work->marked, work->builder.count, work->uniform,
                     work->made_uniform);
    work->marked = work->builder.count;
    return work->made_uniform[node];
}

/* Takes a factor that is uniform, or the sign, off *g; false: there is none. */
static bool take_factor(car_differentiator *work, int *g, int *factor) {
    const car_node *made = &work->builder.nodes[*g];
    *factor = -1;
    if (made->op == CAR_OP_NEGATE) {
        *g = made->a;
        return true;
    }
    if (made->op != CAR_OP_MULTIPLY)
        return false;
    const bool second = is_uniform(work, made->b);
    if (!second && !is_uniform(work, made->a))
        return false;
    *factor = second ? made->b : made->a;
    *g = second ? made->a : made->b;
    return true;
}

/* Whether a node of the gradient is v - mean(v) of the forward pass, or that times what is one value for all units. */
static bool is_deviation(car_differentiator *work, int node) {
    const car_node *made = &work->builder.nodes[node];
    while (made->op == CAR_OP_MULTIPLY) {
        const bool first = is_uniform(work, made->a);
        if (first == is_uniform(work, made->b))
            return false;
        made = &work->builder.nodes[first ? made->b : made->a];
    }
    return made->op == CAR_OP_FORWARD && car_deviation_mean(work->forward, made->index) >= 0;
}

/* A sum without those of its terms whose mean is 0, as that of deviations is. */
static int without_deviations(car_differentiator *work, int g) {
    for (;;) {
        const car_node *made = &work->builder.nodes[g];
        const bool adds = made->op == CAR_OP_ADD;
        if ((adds || made->op == CAR_OP_SUBTRACT) && is_deviation(work, made->b))
            g = made->a;
        else if (adds && is_deviation(work, made->a))
            g = made->b;
        else
            return g;
    }
}

/* Every unit's mean takes 1/n of each unit. What is one value for all of them multiplies the mean, not every unit; so the gradient
 * of a layer norm's two means waits for one round of means, not for two. */
static int gradient_of_mean(car_differentiator *work, int g) {
    enum { MOST = 4 };
    int factor[MOST], count = 0;
    g = without_deviations(work, g);
    while (count < MOST && take_factor(work, &g, &factor[count])) {
        g = without_deviations(work, g);
        count++;
    }
    int mean = add(work, CAR_OP_MEAN, g, -1);
    while (count-- > 0)
        mean = factor[count] < 0 ? add(work, CAR_OP_NEGATE, mean, -1)
                                 : add(work, CAR_OP_MULTIPLY, mean, factor[count]);
    return mean;
}

/* g times a forward value. Where g is d times a vector of the cell, d times the value is what that vector's gradient is made of. */
static int times(car_differentiator *work, int g, int value) {
    const car_node made = work->builder.nodes[g];
    if (made.op == CAR_OP_MULTIPLY)
        for (int k = 0; k < 2; k++) {
            const int vector = k ? made.a : made.b, rest = k ? made.b : made.a;
            const car_node *leaf = &work->builder.nodes[vector];
            if (leaf->op == CAR_OP_FORWARD && work->forward->nodes[leaf->index].op == CAR_OP_VECTOR)
                return add(work, CAR_OP_MULTIPLY, add(work, CAR_OP_MULTIPLY, rest, value), vector);
        }
    return add(work, CAR_OP_MULTIPLY, g, value);
}

/* Whether `scale` is 1 / sqrt(mean(x*x) + epsilon), which makes x as large as 1. */
static bool is_scale_of(const car_differentiator *work, int x, int scale) {
    double epsilon;
    const int mean = car_root_operand(work->forward, scale, &epsilon);
    return mean >= 0 && car_squared_operand(work->forward, mean) == x;
}

/* y = r x with that scale r: dL/dx = r g - r r mean(g y) x. One mean in place of a chain through the root. */
static void pass_scaled(car_differentiator *work, int i, int x, int scale, int g) {
    const int r = value_of(work, scale);
    const int mean = add(work, CAR_OP_MEAN, times(work, g, value_of(work, i)), -1);
    const int square = add(work, CAR_OP_MULTIPLY, r, r);
    const int slope = add(work, CAR_OP_NEGATE, add(work, CAR_OP_MULTIPLY, mean, square), -1);
    pass(work, x, add(work, CAR_OP_MULTIPLY, g, r));
    pass(work, x, add(work, CAR_OP_MULTIPLY, slope, value_of(work, x)));
}

/* A square passes twice its operand, in one term. */
static void pass_product(car_differentiator *work, int i, const car_node *node, int g) {
    if (is_scale_of(work, node->a, node->b)) {
        pass_scaled(work, i, node->a, node->b, g);
        return;
    }
    if (is_scale_of(work, node->b, node->a)) {
        pass_scaled(work, i, node->b, node->a, g);
        return;
    }
    if (node->a == node->b) {
        const int twice = add(work, CAR_OP_MULTIPLY, g, constant(work, 2));
        pass(work, node->a, add(work, CAR_OP_MULTIPLY, twice, value_of(work, node->a)));
        return;
    }
    pass(work, node->a, add(work, CAR_OP_MULTIPLY, g, value_of(work, node->b)));
    pass(work, node->b, add(work, CAR_OP_MULTIPLY, g, value_of(work, node->a)));
}

/* The table of derivatives: forward node i = op(a, b) with g = dL/di passes terms to a and b. */
static void differentiate(car_differentiator *work, int i, int g) {
    const car_node *node = &work->forward->nodes[i];
    int a = node->a, b = node->b;
    switch (node->op) {
    case CAR_OP_PRODUCT: /* a gets its part by a chain, see finish() */
        if (b >= 0)
            pass(work, b, g);
        break;
    case CAR_OP_ADD:
        pass(work, a, g);
        pass(work, b, g);
        break;
    case CAR_OP_SUBTRACT:
        pass(work, a, g);
        pass(work, b, add(work, CAR_OP_NEGATE, g, -1));
        break;
    case CAR_OP_MULTIPLY:
        pass_product(work, i, node, g);
        break;
    case CAR_OP_DIVIDE:
        pass_divide(work, i, node, g);
        break;
    case CAR_OP_NEGATE:
        pass(work, a, add(work, CAR_OP_NEGATE, g, -1));
        break;
    case CAR_OP_SIGMOID:
        pass(work, a, add(work, CAR_OP_SIGMOID_GRADIENT, g, value_of(work, i)));
        break;
    case CAR_OP_TANH:
        pass(work, a, add(work, CAR_OP_TANH_GRADIENT, g, value_of(work, i)));
        break;
    case CAR_OP_RELU:
    case CAR_OP_EXP:
    case CAR_OP_SOFTPLUS:
    case CAR_OP_ABS:
        pass(work, a, add(work, CAR_OP_MULTIPLY, g, slope_of(work, i, node)));
        break;
    case CAR_OP_LOG:
        pass(work, a, add(work, CAR_OP_DIVIDE, g, value_of(work, a)));
        break;
    case CAR_OP_SQRT:
        pass_sqrt(work, i, node, g);
        break;
    case CAR_OP_MAX:
    case CAR_OP_MIN:
        pass_choice(work, node, g);
        break;
    case CAR_OP_MEAN:
        pass(work, a, gradient_of_mean(work, g));
        break;
    default: /* leaves */
        break;
    }
}

/*
 * The elementwise terms of node i, then the chain of the products that it feeds. A single term that is the end
 * of another value's chain comes after the own chain, so that whoever sees a TRANSPOSED_PRODUCT as another's b
 * knows it to be a link.
 */
static int finish(car_differentiator *work, int i) {
    const car_node *nodes = work->forward->nodes;
    int terms = work->sum[i];
    bool other_chain = terms >= 0 && work->builder.nodes[terms].op == CAR_OP_TRANSPOSED_PRODUCT;
    int chain = -1, first = other_chain ? -1 : terms;
    for (int k = i + 1; k < work->forward->count; k++)
        if (nodes[k].op == CAR_OP_PRODUCT && nodes[k].a == i && work->adjoint[k] >= 0)
            chain = car_builder_add_apart(&work->builder,
                                          car_node_make(CAR_OP_TRANSPOSED_PRODUCT, work->adjoint[k],
                                                        chain < 0 ? first : chain, k, 0));
    if (chain >= 0 && other_chain)
        return add(work, CAR_OP_ADD, terms, chain);
    return chain >= 0 ? chain : terms;
}

static void start_terms(car_differentiator *work) {
    const struct car_cell *cell = work->cell;
    for (int i = 0; i < work->forward->count; i++)
        work->sum[i] = work->adjoint[i] = -1;
    pass(work, cell->output,
         car_builder_add(&work->builder, car_node_make(CAR_OP_OUTPUT_GRADIENT, -1, -1, -1, 0)));
    for (int s = 0; s < cell->state_count; s++)
        pass(work, cell->next[s],
             car_builder_add(&work->builder, car_node_make(CAR_OP_STATE_GRADIENT, -1, -1, s, 0)));
}

static void walk_back(car_differentiator *work) {
    for (int i = work->forward->count - 1; i >= 0; i--) {
        const car_node *node = &work->forward->nodes[i];
        int g = work->adjoint[i] = finish(work, i);
        if (g < 0)
            continue;
        if (node->op == CAR_OP_PRODUCT || node->op == CAR_OP_VECTOR)
            work->contributions[work->contribution_count++] =
                (car_contribution){node->index, g, node->op == CAR_OP_PRODUCT ? node->a : -1};
        differentiate(work, i, g);
    }
}

/* ---- What is kept ------------------------------------------------------------------------------------- */

static void *keep(car_differentiator *work, int count, size_t size) {
    return car_arena_allocate(work->cell->arena, (size_t)(count ? count : 1), size);
}

static int mapped(const int *to_final, int node) {
    return node >= 0 ? to_final[node] : -1;
}

/* Copies what some result needs, in order, into the cell. */
static car_status keep_graph(car_differentiator *work, bool *live, int *to_final) {
    car_gradient *gradient = &work->cell->gradient;
    const car_builder *builder = &work->builder;
    car_mark_live(builder->nodes, builder->count, live);
    int count = 0;
    for (int i = 0; i < builder->count; i++)
        to_final[i] = live[i] ? count++ : -1;
    gradient->graph = (car_graph){.count = count, .nodes = keep(work, count, sizeof(car_node))};
    if (!gradient->graph.nodes)
        return car_report_memory(work->reporter);
    for (int i = 0; i < builder->count; i++) {
        if (!live[i])
            continue;
        car_node node = builder->nodes[i];
        node.a = mapped(to_final, node.a);
        node.b = mapped(to_final, node.b);
        gradient->graph.nodes[to_final[i]] = node;
    }
    return CAR_OK;
}

static car_status keep_results(car_differentiator *work) {
    struct car_cell *cell = work->cell;
    car_gradient *gradient = &cell->gradient;
    int count = work->forward->count, made = work->builder.count;
    bool *live = car_arena_allocate(work->scratch, (size_t)made, 1);
    int *to_final = car_arena_allocate(work->scratch, (size_t)made, sizeof *to_final);
    gradient->of_forward = keep(work, count, sizeof(int));
    gradient->state = keep(work, cell->state_count, sizeof(int));
    gradient->contributions = keep(work, work->contribution_count, sizeof *gradient->contributions);
    if (!live || !to_final || !gradient->of_forward || !gradient->state || !gradient->contributions)
        return car_report_memory(work->reporter);
    int input = -1;
    for (int s = 0; s < cell->state_count; s++)
        gradient->state[s] = -1;
    for (int i = 0; i < count; i++) {
        car_op op = work->forward->nodes[i].op;
        if (op == CAR_OP_STATE)
            gradient->state[work->forward->nodes[i].index] = work->adjoint[i];
        else if (op == CAR_OP_INPUT)
            input = work->adjoint[i];
        if ((op == CAR_OP_STATE || op == CAR_OP_INPUT) && work->adjoint[i] >= 0)
            live[work->adjoint[i]] = true;
    }
    for (int i = 0; i < work->contribution_count; i++)
        live[work->contributions[i].gradient] = true;
    CAR_TRY(keep_graph(work, live, to_final));
    for (int i = 0; i < count; i++)
        gradient->of_forward[i] = mapped(to_final, work->adjoint[i]);
    for (int s = 0; s < cell->state_count; s++)
        gradient->state[s] = mapped(to_final, gradient->state[s]);
    gradient->input = mapped(to_final, input);
    gradient->contribution_count = work->contribution_count;
    for (int i = 0; i < work->contribution_count; i++) {
        gradient->contributions[i] = work->contributions[work->contribution_count - 1 - i];
        gradient->contributions[i].gradient = to_final[gradient->contributions[i].gradient];
    }
    return CAR_OK;
}

/* Which forward values are constant, and which uniform. */
static void mark_values(car_differentiator *work) {
    for (int i = 0; i < work->forward->count; i++) {
        const car_node *node = &work->forward->nodes[i];
        const bool leaf = car_op_operands(node->op) == 0, product = node->op == CAR_OP_PRODUCT;
        work->constant[i] =
            leaf ? node->op == CAR_OP_CONSTANT
                 : !product && work->constant[node->a] && (node->b < 0 || work->constant[node->b]);
    }
    car_mark_uniform(work->forward->nodes, 0, work->forward->count, NULL, work->uniform);
}

static car_status run(car_differentiator *work) {
    size_t count = (size_t)work->forward->count;
    /* a forward node makes at most 11 nodes and 2 sums, one transposed product and two leaves */
    if (!car_builder_start(&work->builder, work->scratch,
                           16 * (int)count + 2 * work->cell->state_count + 16))
        return car_report_memory(work->reporter);
    work->sum = car_arena_allocate(work->scratch, count, sizeof(int));
    work->adjoint = car_arena_allocate(work->scratch, count, sizeof(int));
    work->constant = car_arena_allocate(work->scratch, count, 1);
    work->uniform = car_arena_allocate(work->scratch, count, 1);
    work->made_uniform = car_arena_allocate(work->scratch, (size_t)work->builder.capacity, 1);
    work->contributions = car_arena_allocate(work->scratch, count, sizeof *work->contributions);
    if (!work->sum || !work->adjoint || !work->constant || !work->uniform || !work->made_uniform ||
        !work->contributions)
        return car_report_memory(work->reporter);
    mark_values(work);
    start_terms(work);
    walk_back(work);
    return keep_results(work);
}

car_status car_differentiate(struct car_cell *cell, car_error *error) {
    car_reporter reporter = {cell->origin, error};
    car_differentiator work = {.reporter = &reporter, .cell = cell, .forward = &cell->graph};
    work.scratch = car_arena_create(cell->allocator);
    if (!work.scratch)
        return car_report_memory(&reporter);
    car_status status = run(&work);
    car_arena_free(work.scratch);
    return status;
}
