/*
 * program.c: the elementwise work of a stage becomes a vector program.
 *
 * In: the values that the stage has to store. Out: straight-line code: what is stored already is loaded, the rest
 * is computed, at most once each; a*b + c becomes one fma where car_plan_fused says so. Then registers are given out: a value's register is free again after its last use.
 *
 * A store over a value's old place waits until the old value has been loaded. A value of the forward pass that a
 * gradient would overwrite before it is read is reported by reserving its gate; place.c then keeps it elsewhere.
 */
#include "inside.h"
#include <string.h>

typedef struct instruction {
    car_vector_op op;
    int operands[3]; /* values = instruction numbers; -1: none */
    int slot;
    float value;
} instruction;

typedef struct builder {
    car_plan *plan;
    car_when when;
    int *forward, *back; /* [count] value of a node, -1: none yet */
    int count, capacity;
    instruction *code;
    int slot_count;
    car_place slots[CAR_MOST_SLOTS];
    int slot_load[CAR_MOST_SLOTS]; /* the value that loads it, -1: none */
    bool failed, too_large, reserved;
} builder;

static int add(builder *build, instruction code) {
    if (build->count == build->capacity) {
        int capacity = build->capacity * 2 + 64;
        instruction *grown =
            car_arena_allocate(build->plan->arena, (size_t)capacity, sizeof *grown);
        if (!grown) {
            build->failed = true;
            return 0;
        }
        if (build->count)
            memcpy(grown, build->code, (size_t)build->count * sizeof *grown);
        build->code = grown;
        build->capacity = capacity;
    }
    build->code[build->count] = code;
    return build->count++;
}

static int slot_of(builder *build, car_place place) {
    for (int s = 0; s < build->slot_count; s++)
        if (car_same_place(build->slots[s], place))
            return s;
    if (build->slot_count == CAR_MOST_SLOTS) {
        build->too_large = true;
        return 0;
    }
    build->slots[build->slot_count] = place;
    build->slot_load[build->slot_count] = -1;
    return build->slot_count++;
}

static int load(builder *build, car_place place) {
    int slot = slot_of(build, place);
    if (build->slot_load[slot] < 0)
        build->slot_load[slot] = add(build, (instruction){CAR_VECTOR_LOAD, {-1, -1, -1}, slot, 0});
    return build->slot_load[slot];
}

static int constant(builder *build, double value) {
    return add(build, (instruction){CAR_VECTOR_CONSTANT, {-1, -1, -1}, 0, (float)value});
}

static car_vector_op vector_op(car_op op) {
    switch (op) {
#define SAME(name)                                                                                 \
    case CAR_OP_##name:                                                                            \
        return CAR_VECTOR_##name;
        SAME(ADD)
        SAME(SUBTRACT)
        SAME(MULTIPLY)
        SAME(DIVIDE)
        SAME(NEGATE)
        SAME(SIGMOID)
        SAME(TANH)
        SAME(RELU)
        SAME(EXP)
        SAME(LOG)
        SAME(SQRT)
        SAME(SOFTPLUS)
        SAME(ABS)
        SAME(MAX)
        SAME(MIN)
        SAME(GREATER)
        SAME(SIGMOID_GRADIENT)
        SAME(TANH_GRADIENT)
#undef SAME
    default:
        return CAR_VECTOR_OP_COUNT;
    }
}

static int emit(builder *build, bool gradient, int v);

static void find_depths(const car_graph *graph, int *depth) {
    for (int v = 0; v < graph->count; v++) {
        const car_node *node = &graph->nodes[v];
        depth[v] = 0;
        if (vector_op(node->op) == CAR_VECTOR_OP_COUNT)
            continue;
        const int a = depth[node->a], b = node->b >= 0 ? depth[node->b] : 0;
        depth[v] = 1 + (a > b ? a : b);
    }
}

car_status car_plan_find_depths(car_plan *plan, car_error *error) {
    const car_graph *forward = &plan->cell->graph, *back = &plan->cell->gradient.graph;
    plan->depth = car_arena_allocate(plan->arena, (size_t)forward->count + 1, sizeof(int));
    plan->back_depth = car_arena_allocate(plan->arena, (size_t)back->count + 1, sizeof(int));
    if (!plan->depth || !plan->back_depth)
        return car_plan_no_memory(error);
    find_depths(forward, plan->depth);
    find_depths(back, plan->back_depth);
    return CAR_OK;
}

/* Operands are made from the deepest to the shallowest: what is waited for longest is begun first, and fewest values live at
 * once. */
static void emit_operands(builder *build, bool gradient, const int nodes[3], int operands[3]) {
    const int *depth = gradient ? build->plan->back_depth : build->plan->depth;
    bool done[3] = {nodes[0] < 0, nodes[1] < 0, nodes[2] < 0};
    for (;;) {
        int next = -1;
        for (int i = 0; i < 3; i++)
            if (!done[i] && (next < 0 || depth[nodes[i]] > depth[nodes[next]]))
                next = i;
        if (next < 0)
            return;
        operands[next] = emit(build, gradient, nodes[next]);
        done[next] = true;
    }
}

static bool is_overridden(const car_plan *plan, bool gradient, int v) {
    return !gradient && plan->override_count > 0 && plan->override[v];
}

static int compute(builder *build, bool gradient, int v) {
    const car_plan *plan = build->plan;
    const car_graph *graph = gradient ? &plan->cell->gradient.graph : &plan->cell->graph;
    const car_node *node = &graph->nodes[v];
    if (node->op == CAR_OP_CONSTANT)
        return constant(build, node->value);
    int product = car_plan_fused(plan, gradient, v);
    if (product >= 0 && is_overridden(plan, gradient, product))
        product = -1;
    instruction code = {vector_op(node->op), {-1, -1, -1}, 0, 0};
    if (code.op == CAR_VECTOR_OP_COUNT) {
        build->failed = true; /* a product or mean without a place: place.c never asks for it */
        return 0;
    }
    int nodes[3] = {node->a, node->b, -1};
    if (product >= 0) {
        code.op = CAR_VECTOR_FMA;
        nodes[0] = graph->nodes[product].a;
        nodes[1] = graph->nodes[product].b;
        nodes[2] = product == node->b ? node->a : node->b;
    }
    emit_operands(build, gradient, nodes, code.operands);
    return add(build, code);
}

/* A forward value read in a back phase out of a gate: its gradient must not have replaced it already. */
static void check_gate(builder *build, car_place place) {
    car_plan *plan = build->plan;
    if (place.region != CAR_REGION_SUMS || build->when.phase < CAR_PHASE_BACK_LOOP)
        return;
    for (int s = 0; s < plan->store_count; s++) {
        const car_store *store = &plan->stores[s];
        if (store->gradient && car_same_place(store->place, place) &&
            car_earlier(store->when, build->when)) {
            plan->gate_reserved[place.index] = true;
            build->reserved = true;
        }
    }
}

static int emit_forward(builder *build, int v) {
    const car_plan *plan = build->plan;
    const car_node *node = &plan->cell->graph.nodes[v];
    if (is_overridden(plan, false, v))
        return constant(build, *plan->override[v]);
    car_place place = plan->place[v];
    bool forward = build->when.phase < CAR_PHASE_BACK_LOOP;
    if (node->op == CAR_OP_PRODUCT && (car_same_when(plan->when[v], build->when) ||
                                       (forward && plan->gate_taken[plan->gate_of[v]])))
        return load(build, (car_place){CAR_REGION_SUMS, plan->gate_of[v], false});
    bool stored = car_is_leaf(node->op) || node->op == CAR_OP_PRODUCT ||
                  place.region == CAR_REGION_MEAN || car_earlier(plan->when[v], build->when);
    if (place.region == CAR_REGION_NONE || !stored || node->op == CAR_OP_CONSTANT)
        return compute(build, false, v);
    check_gate(build, place);
    return load(build, place);
}

/* Where a gradient value can be read at the builder's stage. The loop's state gradients are gone after it. */
static car_place readable(const builder *build, int v) {
    const car_plan *plan = build->plan;
    car_place place = plan->back_place[v];
    if (build->when.phase != CAR_PHASE_BACK_AFTER || place.region != CAR_REGION_STATE_GRADIENT)
        return place;
    for (int s = 0; s < plan->store_count; s++)
        if (plan->stores[s].gradient && plan->stores[s].node == v &&
            plan->stores[s].place.region == CAR_REGION_WORK)
            return plan->stores[s].place;
    return place;
}

static int emit_back(builder *build, int v) {
    const car_plan *plan = build->plan;
    const car_node *node = &plan->cell->gradient.graph.nodes[v];
    if (node->op == CAR_OP_FORWARD)
        return emit(build, false, node->index);
    bool stored = node->op == CAR_OP_OUTPUT_GRADIENT || node->op == CAR_OP_STATE_GRADIENT ||
                  node->op == CAR_OP_TRANSPOSED_PRODUCT || node->op == CAR_OP_MEAN ||
                  car_earlier(plan->back_when[v], build->when);
    car_place place = readable(build, v);
    if (place.region == CAR_REGION_NONE || !stored)
        return compute(build, true, v);
    return load(build, place);
}

static int emit(builder *build, bool gradient, int v) {
    int *known = gradient ? build->back : build->forward;
    if (build->failed || build->too_large)
        return 0;
    if (known[v] < 0)
        known[v] = gradient ? emit_back(build, v) : emit_forward(build, v);
    return known[v];
}

/* ---- Registers ---------------------------------------------------------------------------------------- */

typedef struct pending_store {
    int value, slot, ready; /* ready: the instruction after which it may run */
} pending_store;

/* The stores of the stage, each as early as its value and the load of its old place allow. */
static int collect_stores(builder *build, pending_store *pending) {
    const car_plan *plan = build->plan;
    int count = 0;
    for (int s = 0; s < plan->store_count; s++) {
        const car_store *store = &plan->stores[s];
        if (!car_same_when(store->when, build->when))
            continue;
        int value =
            store->node < 0 ? constant(build, 0) : emit(build, store->gradient, store->node);
        pending[count++] = (pending_store){value, slot_of(build, store->place), 0};
    }
    for (int k = 0; k < count; k++) {
        int old = build->slot_load[pending[k].slot];
        pending[k].ready = old > pending[k].value ? old : pending[k].value;
    }
    return count;
}

typedef struct allocation {
    int *last_use, *register_of;
    bool busy[CAR_VECTOR_REGISTERS];
    int highest;
} allocation;

static int take_register(allocation *allocate) {
    for (int r = 0; r < CAR_VECTOR_REGISTERS; r++)
        if (!allocate->busy[r]) {
            allocate->busy[r] = true;
            if (r >= allocate->highest)
                allocate->highest = r + 1;
            return r;
        }
    return -1;
}

static void release_after(allocation *allocate, int value, int now) {
    if (value >= 0 && allocate->last_use[value] == now && allocate->register_of[value] >= 0)
        allocate->busy[allocate->register_of[value]] = false;
}

static car_vector_instruction finished(const builder *build, const allocation *allocate, int k) {
    const instruction *code = &build->code[k];
    car_vector_instruction out = {
        .op = (uint8_t)code->op, .slot = (uint16_t)code->slot, .value = code->value};
    uint8_t *fields[3] = {&out.a, &out.b, &out.c};
    for (int i = 0; i < 3; i++)
        if (code->operands[i] >= 0)
            *fields[i] = (uint8_t)allocate->register_of[code->operands[i]];
    return out;
}

/* Time runs 2k for instruction k and 2k+1 for the stores right after it. */
static void find_last_uses(const builder *build, const pending_store *pending, int stores,
                           int *last) {
    for (int k = 0; k < build->count; k++) {
        last[k] = 2 * k;
        for (int i = 0; i < 3; i++)
            if (build->code[k].operands[i] >= 0)
                last[build->code[k].operands[i]] = 2 * k;
    }
    for (int s = 0; s < stores; s++)
        if (last[pending[s].value] < 2 * pending[s].ready + 1)
            last[pending[s].value] = 2 * pending[s].ready + 1;
}

static car_status write_program(builder *build, car_stage *stage, const pending_store *pending,
                                int stores, car_error *error) {
    car_arena *arena = build->plan->arena;
    allocation allocate = {
        .last_use = car_arena_allocate(arena, (size_t)build->count + 1, sizeof(int)),
        .register_of = car_arena_allocate(arena, (size_t)build->count + 1, sizeof(int))};
    car_vector_program *program = &stage->program;
    program->code =
        car_arena_allocate(arena, (size_t)build->count + (size_t)stores, sizeof *program->code);
    if (!allocate.last_use || !allocate.register_of || !program->code)
        return car_plan_no_memory(error);
    find_last_uses(build, pending, stores, allocate.last_use);
    program->count = 0;
    for (int k = 0; k < build->count; k++) {
        car_vector_instruction out = finished(build, &allocate, k);
        for (int i = 0; i < 3; i++)
            release_after(&allocate, build->code[k].operands[i], 2 * k);
        int target = take_register(&allocate);
        if (target < 0)
            return car_fail(
                error, CAR_DATA,
                "cell %s: more than %d values live at once in one stage; split the cell "
                "in two layers",
                build->plan->cell->name, CAR_VECTOR_REGISTERS);
        allocate.register_of[k] = target;
        out.out = (uint8_t)target;
        program->code[program->count++] = out;
        for (int s = 0; s < stores; s++) {
            if (pending[s].ready != k)
                continue;
            program->code[program->count++] =
                (car_vector_instruction){.op = CAR_VECTOR_STORE,
                                         .a = (uint8_t)allocate.register_of[pending[s].value],
                                         .slot = (uint16_t)pending[s].slot};
        }
        for (int s = 0; s < stores; s++)
            if (pending[s].ready == k)
                release_after(&allocate, pending[s].value, 2 * k + 1);
        if (allocate.last_use[k] == 2 * k)
            allocate.busy[target] = false;
    }
    program->registers = allocate.highest;
    return CAR_OK;
}

car_status car_plan_build_program(car_plan *plan, car_stage *stage, car_error *error) {
    size_t forward = (size_t)plan->cell->graph.count,
           back = (size_t)plan->cell->gradient.graph.count;
    builder *build = car_arena_allocate(plan->arena, 1, sizeof *build);
    pending_store *pending =
        car_arena_allocate(plan->arena, (size_t)plan->store_count + 1, sizeof *pending);
    if (!build || !pending)
        return car_plan_no_memory(error);
    build->plan = plan;
    build->when = stage->when;
    build->forward = car_arena_allocate(plan->arena, forward + 1, sizeof(int));
    build->back = car_arena_allocate(plan->arena, back + 1, sizeof(int));
    if (!build->forward || !build->back)
        return car_plan_no_memory(error);
    for (size_t v = 0; v < forward; v++)
        build->forward[v] = -1;
    for (size_t v = 0; v < back; v++)
        build->back[v] = -1;
    int stores = collect_stores(build, pending);
    if (build->too_large)
        return car_fail(
            error, CAR_DATA,
            "cell %s: one stage touches more than %d values; split the cell in two layers",
            plan->cell->name, CAR_MOST_SLOTS);
    if (build->failed)
        return car_plan_no_memory(error);
    stage->slot_count = build->slot_count;
    stage->slots =
        car_arena_allocate(plan->arena, (size_t)build->slot_count + 1, sizeof(car_place));
    if (!stage->slots)
        return car_plan_no_memory(error);
    memcpy(stage->slots, build->slots, (size_t)build->slot_count * sizeof(car_place));
    return stores == 0 ? CAR_OK : write_program(build, stage, pending, stores, error);
}
