/*
 * check.c: parsed statements -> the cell's source graph, parameters, inits, gates and torch clause.
 *
 * Comes in: struct car_parsed. Every name is bound: the input, a state, an equation, or else a parameter
 * (capital: matrix; b...: bias; other: per-unit vector). Equations are put in an order in which each stands
 * after what it uses (depth first from the text's order); a cycle is an error, and so is everything that is
 * defined but not used. Goes out: SSA nodes as written, nothing simplified.
 */
#include "syntax.h"
#include <string.h>

typedef enum car_binding_kind {
    CAR_BOUND_INPUT,
    CAR_BOUND_STATE,
    CAR_BOUND_EQUATION,
    CAR_BOUND_PARAMETER
} car_binding_kind;
typedef struct car_binding {
    car_binding_kind kind;
    int index;
} car_binding;

typedef struct car_checker {
    const car_parsed *parsed;
    const car_reporter *reporter;
    car_arena *scratch;
    struct car_cell *cell;
    car_binding *bindings; /* [pieces] of NAME and PRODUCT (its matrix) */
    int *update;           /* [states] the equation of s' */
    int *order;            /* [equations] each after what it uses */
    int *value;            /* [pieces] source node */
    int input_node, *state_nodes, *vector_nodes;
    bool *changes; /* [nodes] depends on the input or a state */
    bool *from_input,
        *from_units; /* [parameters] matrices: multiplied with x, with something else */
    int node_count;
    car_node *nodes;
} car_checker;

static void *keep(car_checker *checker, int count, size_t size) {
    return car_arena_allocate(checker->cell->arena, (size_t)(count ? count : 1), size);
}

static void *borrow(car_checker *checker, int count, size_t size) {
    return car_arena_allocate(checker->scratch, (size_t)(count ? count : 1), size);
}

static const char *keep_text(car_checker *checker, const char *text) {
    return car_arena_copy(checker->cell->arena, text, strlen(text));
}

static bool is_capital(const char *name) {
    return name[0] >= 'A' && name[0] <= 'Z';
}

/* ---- Names -------------------------------------------------------------------------------------------- */

static int find_state(const car_parsed *parsed, const char *name) {
    for (int i = 0; i < parsed->states.count; i++)
        if (strcmp(parsed->states.items[i].name, name) == 0)
            return i;
    return -1;
}

static int find_equation(const car_parsed *parsed, const char *name, bool primed) {
    for (int i = 0; i < parsed->equation_count; i++)
        if (parsed->equations[i].primed == primed && strcmp(parsed->equations[i].name, name) == 0)
            return i;
    return -1;
}

static int find_parameter(const struct car_cell *cell, const char *name) {
    for (int i = 0; i < cell->parameter_count; i++)
        if (strcmp(cell->parameters[i].name, name) == 0)
            return i;
    return -1;
}

static car_status check_state_names(car_checker *checker) {
    const car_parsed *parsed = checker->parsed;
    for (int i = 0; i < parsed->states.count; i++) {
        const char *name = parsed->states.items[i].name;
        car_place place = parsed->states.items[i].place;
        if (find_state(parsed, name) != i)
            return car_report(checker->reporter, place,
                              "state '%s' is declared twice; remove one of them", name);
        if (strcmp(name, parsed->input.name) == 0)
            return car_report(checker->reporter, place,
                              "'%s' is the input; choose another name for the state", name);
    }
    return CAR_OK;
}

static car_status find_updates(car_checker *checker) {
    const car_parsed *parsed = checker->parsed;
    for (int i = 0; i < parsed->states.count; i++) {
        const char *name = parsed->states.items[i].name;
        checker->update[i] = find_equation(parsed, name, true);
        if (checker->update[i] < 0)
            return car_report(checker->reporter, parsed->states.items[i].place,
                              "state '%s' is never updated; add an equation %s' = …", name, name);
    }
    return CAR_OK;
}

static car_status check_equations(car_checker *checker) {
    const car_parsed *parsed = checker->parsed;
    for (int i = 0; i < parsed->equation_count; i++) {
        const car_equation *equation = &parsed->equations[i];
        const char *name = equation->name, *prime = equation->primed ? "'" : "";
        int state = find_state(parsed, name), first = find_equation(parsed, name, equation->primed);
        if (equation->primed && state < 0)
            return car_report(checker->reporter, equation->place,
                              "%s' is defined but %s is no state; add `state %s` or drop the prime",
                              name, name, name);
        if (!equation->primed && state >= 0)
            return car_report(checker->reporter, equation->place,
                              "'%s' is a state; write %s' = … for its next value", name, name);
        if (strcmp(name, parsed->input.name) == 0)
            return car_report(checker->reporter, equation->place,
                              "'%s' is the input; choose another name", name);
        if (first != i)
            return car_report(checker->reporter, equation->place,
                              "%s%s is defined a second time, first in line %d; rename one of them",
                              name, prime, parsed->equations[first].place.line);
    }
    return CAR_OK;
}

static car_status add_parameter(car_checker *checker, const car_piece *piece, bool matrix,
                                int *index) {
    struct car_cell *cell = checker->cell;
    *index = find_parameter(cell, piece->name);
    if (*index >= 0)
        return CAR_OK;
    car_parameter *parameter = &cell->parameters[cell->parameter_count];
    parameter->name = keep_text(checker, piece->name);
    if (!parameter->name)
        return car_report_memory(checker->reporter);
    parameter->kind = matrix ? CAR_MATRIX : piece->name[0] == 'b' ? CAR_BIAS : CAR_VECTOR;
    parameter->init = (car_init){matrix ? CAR_INIT_DEFAULT : CAR_INIT_NUMBER,
                                 parameter->kind == CAR_VECTOR ? 1 : 0};
    parameter->line = piece->place.line;
    parameter->column = piece->place.column;
    *index = cell->parameter_count++;
    return CAR_OK;
}

static car_status bind_matrix(car_checker *checker, const car_piece *piece, car_binding *binding) {
    const car_parsed *parsed = checker->parsed;
    const char *what = NULL;
    if (strcmp(piece->name, parsed->input.name) == 0)
        what = "the input, a vector";
    else if (find_state(parsed, piece->name) >= 0)
        what = "a state, a vector [n]";
    else if (find_equation(parsed, piece->name, false) >= 0)
        what = "defined by an equation, a vector [n]";
    else if (!is_capital(piece->name))
        what = "a vector [n] by its small first letter";
    if (what)
        return car_report(checker->reporter, piece->place,
                          "the left of @ must be a matrix [n][n], but '%s' is %s; "
                          "use a name with a capital, or * instead of @",
                          piece->name, what);
    binding->kind = CAR_BOUND_PARAMETER;
    return add_parameter(checker, piece, true, &binding->index);
}

static car_status bind_value(car_checker *checker, const car_piece *piece, car_binding *binding) {
    const car_parsed *parsed = checker->parsed;
    int state = find_state(parsed, piece->name);
    if (piece->primed && state < 0)
        return car_report(checker->reporter, piece->place,
                          "%s' is the next value of a state, but %s is none; add `state %s`",
                          piece->name, piece->name, piece->name);
    if (piece->primed) {
        *binding = (car_binding){CAR_BOUND_EQUATION, checker->update[state]};
        return CAR_OK;
    }
    int equation = find_equation(parsed, piece->name, false);
    if (strcmp(piece->name, parsed->input.name) == 0)
        *binding = (car_binding){CAR_BOUND_INPUT, 0};
    else if (state >= 0)
        *binding = (car_binding){CAR_BOUND_STATE, state};
    else if (equation >= 0)
        *binding = (car_binding){CAR_BOUND_EQUATION, equation};
    else if (is_capital(piece->name))
        return car_report(checker->reporter, piece->place,
                          "matrix '%s' [n][n] stands where a vector [n] belongs; "
                          "write %s@… or use a small first letter",
                          piece->name, piece->name);
    else if (piece->dotted)
        return car_report(checker->reporter, piece->place,
                          "'%s': only matrices, as W@[x, h] makes them, have a dot; rename it",
                          piece->name);
    else {
        binding->kind = CAR_BOUND_PARAMETER;
        return add_parameter(checker, piece, false, &binding->index);
    }
    return CAR_OK;
}

static car_status bind_names(car_checker *checker) {
    const car_parsed *parsed = checker->parsed;
    for (int e = 0; e < parsed->equation_count; e++)
        for (int i = parsed->equations[e].begin; i < parsed->equations[e].end; i++) {
            const car_piece *piece = &parsed->pieces[i];
            if (piece->kind == CAR_PIECE_PRODUCT)
                CAR_TRY(bind_matrix(checker, piece, &checker->bindings[i]));
            else if (piece->kind == CAR_PIECE_NAME)
                CAR_TRY(bind_value(checker, piece, &checker->bindings[i]));
        }
    return CAR_OK;
}

/* ---- Order -------------------------------------------------------------------------------------------- */

static car_status report_cycle(car_checker *checker, const int *stack, int depth, int again) {
    const car_equation *equations = checker->parsed->equations;
    char path[160] = "";
    int begin = depth - 1, shown = 0;
    while (stack[begin] != again)
        begin--;
    for (int i = begin; i <= depth; i++, shown++) {
        const car_equation *equation = &equations[i == depth ? again : stack[i]];
        size_t length = strlen(path);
        snprintf(path + length, sizeof path - length, "%s%.20s%s", shown ? " needs " : "",
                 shown >= 4 && i < depth ? "…" : equation->name,
                 equation->primed && !(shown >= 4 && i < depth) ? "'" : "");
        if (shown >= 4 && i < depth)
            i = depth - 1;
    }
    return car_report(
        checker->reporter, equations[again].place,
        "a cycle: %s; go through a state (without a prime: its value before the step)", path);
}

/* Depth first from one equation, without recursion. marks: 0 new, 1 on the stack, 2 done. */
static car_status visit(car_checker *checker, int start, char *marks, int *stack, int *next,
                        int *done) {
    const car_parsed *parsed = checker->parsed;
    int depth = 0;
    stack[depth] = start, next[depth++] = parsed->equations[start].begin;
    marks[start] = 1;
    while (depth > 0) {
        int equation = stack[depth - 1];
        if (next[depth - 1] == parsed->equations[equation].end) {
            marks[equation] = 2;
            checker->order[(*done)++] = equation;
            depth--;
            continue;
        }
        int piece = next[depth - 1]++;
        if (parsed->pieces[piece].kind != CAR_PIECE_NAME ||
            checker->bindings[piece].kind != CAR_BOUND_EQUATION)
            continue;
        int needed = checker->bindings[piece].index;
        if (marks[needed] == 1)
            return report_cycle(checker, stack, depth, needed);
        if (marks[needed] == 0) {
            marks[needed] = 1;
            stack[depth] = needed;
            next[depth++] = parsed->equations[needed].begin;
        }
    }
    return CAR_OK;
}

static car_status order_equations(car_checker *checker) {
    int count = checker->parsed->equation_count, done = 0;
    char *marks = borrow(checker, count, 1);
    int *stack = borrow(checker, count, sizeof *stack),
        *next = borrow(checker, count, sizeof *next);
    if (!marks || !stack || !next)
        return car_report_memory(checker->reporter);
    for (int i = 0; i < count; i++)
        if (!marks[i])
            CAR_TRY(visit(checker, i, marks, stack, next, &done));
    return CAR_OK;
}

/* ---- What is not used --------------------------------------------------------------------------------- */

/* The equation of the output; -1 with an error when there is none. */
static car_status output_equation(car_checker *checker, int *equation) {
    const car_parsed *parsed = checker->parsed;
    int state = find_state(parsed, parsed->output.name);
    *equation =
        state >= 0 ? checker->update[state] : find_equation(parsed, parsed->output.name, false);
    if (strcmp(parsed->output.name, parsed->input.name) == 0)
        return car_report(checker->reporter, parsed->output.place,
                          "the output is the input itself; name a state or an equation");
    if (*equation < 0)
        return car_report(checker->reporter, parsed->output.place,
                          "the output '%s' is no state and no equation; add an equation %s = …",
                          parsed->output.name, parsed->output.name);
    return CAR_OK;
}

static car_status check_used(car_checker *checker, int output) {
    const car_parsed *parsed = checker->parsed;
    int count = parsed->equation_count;
    bool *used = borrow(checker, count, 1), *read = borrow(checker, parsed->states.count, 1);
    bool input_read = false;
    if (!used || !read)
        return car_report_memory(checker->reporter);
    used[output] = true;
    for (int s = 0; s < parsed->states.count; s++)
        used[checker->update[s]] = true;
    for (int i = count - 1; i >= 0; i--) {
        const car_equation *equation = &parsed->equations[checker->order[i]];
        for (int p = equation->begin; p < equation->end; p++) {
            const car_piece *piece = &parsed->pieces[p];
            if (piece->kind != CAR_PIECE_NAME)
                continue;
            car_binding binding = checker->bindings[p];
            input_read |= binding.kind == CAR_BOUND_INPUT;
            if (binding.kind == CAR_BOUND_STATE)
                read[binding.index] = true;
            if (piece->primed)
                read[find_state(parsed, piece->name)] = true;
            if (binding.kind == CAR_BOUND_EQUATION && used[checker->order[i]])
                used[binding.index] = true;
        }
    }
    for (int i = 0; i < count; i++)
        if (!used[i])
            return car_report(checker->reporter, parsed->equations[i].place,
                              "'%s' is defined but never used by the output or a state; "
                              "use it or remove it",
                              parsed->equations[i].name);
    for (int s = 0; s < parsed->states.count; s++)
        if (!read[s] && checker->update[s] != output)
            return car_report(checker->reporter, parsed->states.items[s].place,
                              "state '%s' is never read; use it or remove it",
                              parsed->states.items[s].name);
    if (!input_read)
        return car_report(checker->reporter, parsed->input.place,
                          "the input '%s' is never used; use it", parsed->input.name);
    return CAR_OK;
}

/* ---- Nodes -------------------------------------------------------------------------------------------- */

static car_status add_node(car_checker *checker, car_node node, car_place place, int *number) {
    if (checker->node_count >= CAR_NODE_LIMIT)
        return car_report(checker->reporter, place,
                          "more than %d operations and values; split the cell in two layers",
                          CAR_NODE_LIMIT);
    bool *changes = checker->changes;
    *number = checker->node_count++;
    checker->nodes[*number] = node;
    changes[*number] = node.op == CAR_OP_INPUT || node.op == CAR_OP_STATE ||
                       (node.a >= 0 && changes[node.a]) || (node.b >= 0 && changes[node.b]);
    return CAR_OK;
}

/* A leaf has one node, however often it is named. */
static car_status add_leaf(car_checker *checker, car_op op, int index, car_place place, int *leaf) {
    if (*leaf < 0)
        CAR_TRY(add_node(checker, car_node_make(op, -1, -1, index, 0), place, leaf));
    return CAR_OK;
}

static void note_input(car_checker *checker, car_place place) {
    struct car_cell *cell = checker->cell;
    if (cell->input_is_hidden)
        return;
    cell->input_is_hidden = true;
    cell->input_line = place.line;
    cell->input_column = place.column;
}

static car_status emit_product(car_checker *checker, int piece_number, const car_piece *piece) {
    int matrix = checker->bindings[piece_number].index, operand = checker->value[piece->b];
    if (!checker->changes[operand])
        return car_report(checker->reporter, checker->parsed->pieces[piece->b].place,
                          "%s@ multiplies something that never changes; "
                          "multiply the input, a state or what is made of them",
                          piece->name);
    bool input = checker->nodes[operand].op == CAR_OP_INPUT;
    (input ? checker->from_input : checker->from_units)[matrix] = true;
    if (checker->from_input[matrix] && checker->from_units[matrix])
        note_input(checker, piece->place);
    return add_node(checker, car_node_make(CAR_OP_PRODUCT, operand, -1, matrix, 0), piece->place,
                    &checker->value[piece_number]);
}

static car_status emit_name(car_checker *checker, int piece_number, const car_piece *piece) {
    car_binding binding = checker->bindings[piece_number];
    int *leaf;
    switch (binding.kind) {
    case CAR_BOUND_EQUATION:
        checker->value[piece_number] =
            checker->value[checker->parsed->equations[binding.index].root];
        return CAR_OK;
    case CAR_BOUND_INPUT:
        leaf = &checker->input_node;
        CAR_TRY(add_leaf(checker, CAR_OP_INPUT, -1, piece->place, leaf));
        break;
    case CAR_BOUND_STATE:
        leaf = &checker->state_nodes[binding.index];
        CAR_TRY(add_leaf(checker, CAR_OP_STATE, binding.index, piece->place, leaf));
        break;
    default:
        leaf = &checker->vector_nodes[binding.index];
        CAR_TRY(add_leaf(checker, CAR_OP_VECTOR, binding.index, piece->place, leaf));
    }
    checker->value[piece_number] = *leaf;
    return CAR_OK;
}

static car_status emit_piece(car_checker *checker, int piece_number) {
    const car_piece *pieces = checker->parsed->pieces, *piece = &pieces[piece_number];
    int *value = &checker->value[piece_number];
    if (piece->kind == CAR_PIECE_NAME)
        return emit_name(checker, piece_number, piece);
    if (piece->kind == CAR_PIECE_PRODUCT)
        return emit_product(checker, piece_number, piece);
    if (piece->kind == CAR_PIECE_NUMBER)
        return add_node(checker, car_node_make(CAR_OP_CONSTANT, -1, -1, -1, piece->value),
                        piece->place, value);
    int operands[2] = {-1, -1};
    for (int i = 0; i < car_op_operands(piece->op); i++) {
        int operand = i ? piece->b : piece->a;
        operands[i] = checker->value[operand];
        if (checker->nodes[operands[i]].op == CAR_OP_INPUT)
            note_input(checker, pieces[operand].place);
    }
    return add_node(checker, car_node_make(piece->op, operands[0], operands[1], -1, 0),
                    piece->place, value);
}

static car_status emit_equations(car_checker *checker) {
    const car_parsed *parsed = checker->parsed;
    for (int i = 0; i < parsed->equation_count; i++) {
        const car_equation *equation = &parsed->equations[checker->order[i]];
        for (int p = equation->begin; p < equation->end; p++)
            CAR_TRY(emit_piece(checker, p));
    }
    return CAR_OK;
}

static bool is_leaf(const car_node *node) {
    return node->op <= CAR_OP_VECTOR;
}

/* Copies the nodes into the cell and names them after the equations, in the text's order. */
static car_status keep_graph(car_checker *checker, int output) {
    const car_parsed *parsed = checker->parsed;
    struct car_cell *cell = checker->cell;
    car_graph *graph = &cell->source;
    graph->count = checker->node_count;
    graph->nodes = keep(checker, graph->count, sizeof *graph->nodes);
    graph->names = keep(checker, graph->count, sizeof *graph->names);
    cell->source_next = keep(checker, cell->state_count, sizeof *cell->source_next);
    if (!graph->nodes || !graph->names || !cell->source_next)
        return car_report_memory(checker->reporter);
    memcpy(graph->nodes, checker->nodes, (size_t)graph->count * sizeof *graph->nodes);
    for (int i = 0; i < parsed->equation_count; i++) {
        const car_equation *equation = &parsed->equations[i];
        int node = checker->value[equation->root];
        if (graph->names[node] || is_leaf(&graph->nodes[node]))
            continue;
        char name[CAR_NAME_LIMIT + 2];
        snprintf(name, sizeof name, "%s%s", equation->name, equation->primed ? "'" : "");
        if (!(graph->names[node] = keep_text(checker, name)))
            return car_report_memory(checker->reporter);
    }
    for (int s = -1; s < cell->state_count; s++) {
        const car_equation *equation = &parsed->equations[s < 0 ? output : checker->update[s]];
        int node = checker->value[equation->root];
        *(s < 0 ? &cell->source_output : &cell->source_next[s]) = node;
        if (!checker->changes[node])
            return car_report(checker->reporter, equation->place,
                              "'%s' never changes; make it depend on the input or a state",
                              equation->name);
        if (graph->nodes[node].op == CAR_OP_INPUT)
            note_input(checker, equation->place);
    }
    for (int i = 0; i < cell->parameter_count; i++)
        cell->parameters[i].from_input = checker->from_input[i] && !checker->from_units[i];
    return CAR_OK;
}

/* ---- init, gate, torch -------------------------------------------------------------------------------- */

static car_status check_init_kind(car_checker *checker, const car_init_line *line,
                                  const car_parameter *parameter) {
    car_init_kind kind = line->init.kind;
    if (!parameter && kind != CAR_INIT_NUMBER)
        return car_report(checker->reporter, line->place,
                          "state '%s' starts as a number only; write one", line->target.name);
    bool matrix_only =
        kind == CAR_INIT_ORTHOGONAL || kind == CAR_INIT_IDENTITY || kind == CAR_INIT_WALK;
    if (matrix_only && parameter->kind != CAR_MATRIX)
        return car_report(
            checker->reporter, line->place,
            "orthogonal, identity and walk need a matrix [n][n], '%s' is a vector [n]; "
            "use a number, uniform or chrono(T)",
            parameter->name);
    if (kind == CAR_INIT_CHRONO && parameter->kind == CAR_MATRIX)
        return car_report(checker->reporter, line->place,
                          "chrono(T) needs a vector [n], '%s' is a matrix [n][n]; "
                          "use it on the forget gate's bias",
                          parameter->name);
    return CAR_OK;
}

static car_status check_inits(car_checker *checker) {
    const car_parsed *parsed = checker->parsed;
    struct car_cell *cell = checker->cell;
    for (int i = 0; i < parsed->init_count; i++) {
        const car_init_line *line = &parsed->inits[i];
        for (int j = 0; j < i; j++)
            if (strcmp(parsed->inits[j].target.name, line->target.name) == 0)
                return car_report(checker->reporter, line->target.place,
                                  "'%s' has an init already in line %d; remove one of them",
                                  line->target.name, parsed->inits[j].target.place.line);
        int state = find_state(parsed, line->target.name);
        int parameter = find_parameter(cell, line->target.name);
        if (state < 0 && parameter < 0)
            return car_report(checker->reporter, line->target.place,
                              "'%s' is no parameter and no state; see the names with `cell check`",
                              line->target.name);
        CAR_TRY(check_init_kind(checker, line, state < 0 ? &cell->parameters[parameter] : NULL));
        *(state < 0 ? &cell->parameters[parameter].init : &cell->state_init[state]) = line->init;
    }
    return CAR_OK;
}

/* Gates are source nodes here; canonical.c turns them into canonical ones. */
static car_status check_gates(car_checker *checker) {
    const car_parsed *parsed = checker->parsed;
    struct car_cell *cell = checker->cell;
    const car_graph *graph = &cell->source;
    int listed = parsed->gates.count;
    cell->gates = keep(checker, listed ? listed : graph->count, sizeof *cell->gates);
    if (!cell->gates)
        return car_report_memory(checker->reporter);
    for (int i = 0; i < listed; i++) {
        const struct car_placed_name *gate = &parsed->gates.items[i];
        int state = find_state(parsed, gate->name);
        int equation =
            state >= 0 ? checker->update[state] : find_equation(parsed, gate->name, false);
        if (equation < 0)
            return car_report(checker->reporter, gate->place,
                              "gate '%s' is no equation and no state; correct the name",
                              gate->name);
        cell->gates[cell->gate_count++] = checker->value[parsed->equations[equation].root];
    }
    for (int i = 0; i < graph->count && listed == 0; i++)
        if (graph->nodes[i].op == CAR_OP_SIGMOID && graph->names[i])
            cell->gates[cell->gate_count++] = i;
    return CAR_OK;
}

static const char *shape_text(const car_parameter *parameter) {
    return parameter->kind != CAR_MATRIX ? "[n]" : parameter->from_input ? "[n][input]" : "[n][n]";
}

static car_status check_torch_line(car_checker *checker, const car_torch_line *line,
                                   car_torch_entry *entry) {
    struct car_cell *cell = checker->cell;
    int count = line->parameters.count;
    int *parameters = keep(checker, count, sizeof *parameters);
    entry->tensor = keep_text(checker, line->tensor.name);
    if (!parameters || !entry->tensor)
        return car_report_memory(checker->reporter);
    const car_parameter *first = NULL;
    for (int i = 0; i < count; i++) {
        const struct car_placed_name *item = &line->parameters.items[i];
        parameters[i] = find_parameter(cell, item->name);
        if (strcmp(item->name, "0") == 0)
            continue;
        if (parameters[i] < 0)
            return car_report(checker->reporter, item->place,
                              "'%s' is no parameter of the equations; correct the name",
                              item->name);
        const car_parameter *parameter = &cell->parameters[parameters[i]];
        if (first && strcmp(shape_text(first), shape_text(parameter)) != 0)
            return car_report(
                checker->reporter, item->place,
                "cannot stack '%s' %s on '%s' %s; give each shape a tensor of its own",
                parameter->name, shape_text(parameter), first->name, shape_text(first));
        first = parameter;
    }
    entry->parameters = parameters;
    entry->count = count == 1 && parameters[0] < 0 ? 0 : count;
    if (!first && entry->count > 0)
        return car_report(checker->reporter, line->parameters.items[0].place,
                          "a tensor of zeros alone is written as a single 0; remove the others");
    return CAR_OK;
}

static car_status check_torch(car_checker *checker) {
    const car_parsed *parsed = checker->parsed;
    struct car_cell *cell = checker->cell;
    cell->torch = keep(checker, parsed->torch_count, sizeof *cell->torch);
    if (!cell->torch)
        return car_report_memory(checker->reporter);
    for (int i = 0; i < parsed->torch_count; i++) {
        const car_torch_line *line = &parsed->torch[i];
        for (int j = 0; j < i; j++)
            if (strcmp(parsed->torch[j].tensor.name, line->tensor.name) == 0)
                return car_report(checker->reporter, line->tensor.place,
                                  "tensor '%s' is described already in line %d; remove one of them",
                                  line->tensor.name, parsed->torch[j].tensor.place.line);
        CAR_TRY(check_torch_line(checker, line, &cell->torch[i]));
    }
    cell->torch_count = parsed->torch_count;
    return CAR_OK;
}

/* ---- All of it ---------------------------------------------------------------------------------------- */

static car_status keep_names(car_checker *checker) {
    const car_parsed *parsed = checker->parsed;
    struct car_cell *cell = checker->cell;
    int states = parsed->states.count;
    cell->name = keep_text(checker, parsed->name);
    cell->input_name = keep_text(checker, parsed->input.name);
    cell->state_names = keep(checker, states, sizeof *cell->state_names);
    cell->state_init = keep(checker, states, sizeof *cell->state_init);
    cell->parameters = keep(checker, parsed->piece_count, sizeof *cell->parameters);
    if (!cell->name || !cell->input_name || !cell->state_names || !cell->state_init ||
        !cell->parameters)
        return car_report_memory(checker->reporter);
    cell->state_count = states;
    for (int s = 0; s < states; s++) {
        cell->state_init[s] = (car_init){CAR_INIT_NUMBER, 0};
        if (!(cell->state_names[s] = keep_text(checker, parsed->states.items[s].name)))
            return car_report_memory(checker->reporter);
    }
    return CAR_OK;
}

static car_status start(car_checker *checker) {
    const car_parsed *parsed = checker->parsed;
    int pieces = parsed->piece_count, states = parsed->states.count;
    checker->bindings = borrow(checker, pieces, sizeof *checker->bindings);
    checker->value = borrow(checker, pieces, sizeof *checker->value);
    checker->vector_nodes = borrow(checker, pieces, sizeof *checker->vector_nodes);
    checker->from_input = borrow(checker, pieces, 1);
    checker->from_units = borrow(checker, pieces, 1);
    checker->update = borrow(checker, states, sizeof *checker->update);
    checker->state_nodes = borrow(checker, states, sizeof *checker->state_nodes);
    checker->order = borrow(checker, parsed->equation_count, sizeof *checker->order);
    checker->nodes = borrow(checker, CAR_NODE_LIMIT, sizeof *checker->nodes);
    checker->changes = borrow(checker, CAR_NODE_LIMIT, 1);
    if (!checker->bindings || !checker->value || !checker->vector_nodes || !checker->from_input ||
        !checker->from_units || !checker->update || !checker->state_nodes || !checker->order ||
        !checker->nodes || !checker->changes)
        return car_report_memory(checker->reporter);
    checker->input_node = -1;
    for (int i = 0; i < pieces; i++)
        checker->vector_nodes[i] = -1;
    for (int s = 0; s < states; s++)
        checker->state_nodes[s] = -1;
    return CAR_OK;
}

car_status car_check(const car_parsed *parsed, const car_reporter *reporter, car_arena *scratch,
                     struct car_cell *cell) {
    car_checker checker = {
        .parsed = parsed, .reporter = reporter, .scratch = scratch, .cell = cell};
    int output;
    CAR_TRY(start(&checker));
    CAR_TRY(keep_names(&checker));
    CAR_TRY(check_state_names(&checker));
    CAR_TRY(check_equations(&checker));
    CAR_TRY(find_updates(&checker));
    CAR_TRY(bind_names(&checker));
    CAR_TRY(output_equation(&checker, &output));
    CAR_TRY(order_equations(&checker));
    CAR_TRY(check_used(&checker, output));
    CAR_TRY(emit_equations(&checker));
    CAR_TRY(keep_graph(&checker, output));
    CAR_TRY(check_inits(&checker));
    CAR_TRY(check_gates(&checker));
    return check_torch(&checker);
}
