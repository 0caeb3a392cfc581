/*
 * mutate.c: a cell -> another cell, by one to three of the six transformations of Jozefowicz, Zaremba & Sutskever (2015).
 *
 * Comes in: the parent's graph as written (a product is a node of its own there, a bias a term of the sum). A
 * transformation takes a random node that is no leaf ("ancestors": what it is made of, numbers and vectors left out):
 *   1  an activation becomes another of tanh, sigmoid, relu, Linear(a), a in {0, 1, 0.9, 1.1}
 *   2  one of + - * becomes another (never the addition of a bias: that belongs to its Linear)
 *   3  a random activation goes between the node and one of its operands
 *   4  a node with one operand and one user is taken out
 *   5  the node becomes one of its ancestors
 *   6  the node becomes the sum, difference or product of one of its ancestors and of a random other node
 *      that is not made of it (the paper: an ancestor of a random node, which may itself be any node)
 * Linear(a) of v is W@v + b + a*v with a new W and b: the paper adds a to W's diagonal, which is the same function with
 * the same gradient of W. After each: what the output does not need is dropped, states too, and nodes are put in order.
 * Goes out: a cell that compiles, within the bounds, that reads its input and at least one state, none of whose states
 * is frozen or never hears of the input, and that `known` does not know. All else is drawn again.
 */
#include "search.h"
#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS = 200, MOST_TRANSFORMATIONS = 3, GROWTH = 8, NAME_ROOM = 24, KEPT_ANCESTORS = 40 };
static const char ANCESTOR_LINE[] = "#   ";

typedef struct car_mutator {
    const struct car_cell *parent;
    car_arena *arena;
    car_random_key key;
    uint64_t number, drawn;
    struct car_cell draft; /* graph, next, output, states, parameters are its own */
    int capacity;          /* of draft.graph */
    int tried, fresh;      /* numbers of new names, new parameters */
    char names[2 * MOST_TRANSFORMATIONS][NAME_ROOM];
    car_text history;
} car_mutator;

/* 0 .. count-1. The bias of count / 2^32 does not matter here. */
static int draw(car_mutator *work, int count) {
    uint32_t words[4];
    car_random_block(work->key, work->number, work->drawn++, words);
    return (int)(((uint64_t)words[0] * (uint64_t)count) >> 32);
}

/* ---- The draft ---------------------------------------------------------------------------------------- */

static void *borrow(car_mutator *work, int count, size_t size) {
    return car_arena_allocate(work->arena, (size_t)(count > 0 ? count : 1), size);
}

static bool copy_parent(car_mutator *work) {
    const struct car_cell *parent = work->parent;
    int nodes = parent->source.count, states = parent->state_count;
    int parameters = parent->parameter_count;
    work->capacity = nodes + MOST_TRANSFORMATIONS * GROWTH;
    struct car_cell *draft = &work->draft;
    *draft = (struct car_cell){.allocator = parent->allocator,
                               .name = "mutant",
                               .input_name = parent->input_name,
                               .state_count = states,
                               .parameter_count = parameters,
                               .output = parent->source_output};
    draft->graph.count = nodes;
    draft->graph.nodes = borrow(work, work->capacity, sizeof(car_node));
    draft->graph.names = borrow(work, work->capacity, sizeof(char *));
    draft->next = borrow(work, states, sizeof(int));
    draft->state_names = borrow(work, states, sizeof(char *));
    draft->state_init = borrow(work, states, sizeof(car_init));
    draft->parameters =
        borrow(work, parameters + MOST_TRANSFORMATIONS * GROWTH, sizeof(car_parameter));
    if (!draft->graph.nodes || !draft->graph.names || !draft->next || !draft->state_names ||
        !draft->state_init || !draft->parameters)
        return false;
    memcpy(draft->graph.nodes, parent->source.nodes, (size_t)nodes * sizeof(car_node));
    memcpy(draft->graph.names, parent->source.names, (size_t)nodes * sizeof(char *));
    for (int s = 0; s < states; s++) {
        draft->next[s] = parent->source_next[s];
        draft->state_names[s] = parent->state_names[s];
        draft->state_init[s] = parent->state_init[s];
    }
    for (int p = 0; p < parameters; p++)
        draft->parameters[p] = parent->parameters[p];
    return true;
}

static car_node *node_at(car_mutator *work, int number) {
    return &work->draft.graph.nodes[number];
}

static bool is_leaf(const car_node *node) {
    return node->op <= CAR_OP_VECTOR;
}

static bool is_fixed(const car_node *node) {
    return node->op == CAR_OP_CONSTANT || node->op == CAR_OP_VECTOR;
}

static int add_node(car_mutator *work, car_op op, int a, int b, int index, double value) {
    car_graph *graph = &work->draft.graph;
    graph->nodes[graph->count] = (car_node){op, a, b, index, value};
    graph->names[graph->count] = NULL;
    return graph->count++;
}

static bool is_taken(const car_mutator *work, const char *name) {
    const struct car_cell *draft = &work->draft;
    bool taken = strcmp(name, draft->input_name) == 0;
    for (int s = 0; s < draft->state_count; s++)
        taken |= strcmp(name, draft->state_names[s]) == 0;
    for (int p = 0; p < draft->parameter_count; p++)
        taken |= strcmp(name, draft->parameters[p].name) == 0;
    for (int i = 0; i < draft->graph.count; i++)
        taken |= draft->graph.names[i] && strcmp(name, draft->graph.names[i]) == 0;
    return taken;
}

/* A new parameter `W1`, `b1`, ...; a transformation makes two at most. */
static int add_parameter(car_mutator *work, car_parameter_kind kind) {
    char *name = work->names[work->fresh++];
    do
        snprintf(name, NAME_ROOM, "%c%d", kind == CAR_MATRIX ? 'W' : 'b', ++work->tried);
    while (is_taken(work, name));
    car_init init = {kind == CAR_MATRIX ? CAR_INIT_DEFAULT : CAR_INIT_NUMBER, 0};
    struct car_cell *draft = &work->draft;
    draft->parameters[draft->parameter_count] =
        (car_parameter){.name = name, .kind = kind, .init = init};
    return draft->parameter_count++;
}

/* Every reader of `from` reads `to`. */
static void redirect(car_mutator *work, int from, int to) {
    struct car_cell *draft = &work->draft;
    for (int i = 0; i < draft->graph.count; i++) {
        car_node *node = node_at(work, i);
        node->a = node->a == from ? to : node->a;
        node->b = node->b == from ? to : node->b;
    }
    for (int s = 0; s < draft->state_count; s++)
        draft->next[s] = draft->next[s] == from ? to : draft->next[s];
    draft->output = draft->output == from ? to : draft->output;
}

static int count_users(const car_mutator *work, int number) {
    const struct car_cell *draft = &work->draft;
    int users = draft->output == number;
    for (int s = 0; s < draft->state_count; s++)
        users += draft->next[s] == number && draft->output != number;
    for (int i = 0; i < draft->graph.count; i++) {
        const car_node *node = &draft->graph.nodes[i];
        users += (node->a == number) + (node->b == number);
    }
    return users;
}

/* Marks what the node is made of, itself left out; nodes stand in order. */
static void mark_ancestors(const car_mutator *work, int number, bool *marked) {
    const car_node *nodes = work->draft.graph.nodes;
    memset(marked, 0, (size_t)work->draft.graph.count);
    marked[number] = true;
    for (int i = number; i >= 0; i--) {
        if (!marked[i])
            continue;
        if (nodes[i].a >= 0)
            marked[nodes[i].a] = true;
        if (nodes[i].b >= 0)
            marked[nodes[i].b] = true;
    }
    marked[number] = false;
}

/* Marks what is made of the node, itself too. */
static void mark_descendants(const car_mutator *work, int number, bool *marked) {
    const car_node *nodes = work->draft.graph.nodes;
    memset(marked, 0, (size_t)work->draft.graph.count);
    marked[number] = true;
    for (int i = number + 1; i < work->draft.graph.count; i++)
        marked[i] =
            (nodes[i].a >= 0 && marked[nodes[i].a]) || (nodes[i].b >= 0 && marked[nodes[i].b]);
}

/* One of the nodes with marked[i] == value that are neither number nor vector; -1: there is none. */
static int pick(car_mutator *work, const bool *marked, bool value) {
    int count = 0;
    for (int i = 0; i < work->draft.graph.count; i++)
        count += marked[i] == value && !is_fixed(node_at(work, i));
    if (count == 0)
        return -1;
    int chosen = draw(work, count);
    for (int i = 0; i < work->draft.graph.count; i++)
        if (marked[i] == value && !is_fixed(node_at(work, i)) && chosen-- == 0)
            return i;
    return -1;
}

/* ---- Activations -------------------------------------------------------------------------------------- */

typedef struct car_activation {
    const char *name;
    car_op op; /* PRODUCT: Linear(diagonal) */
    double diagonal;
} car_activation;
static const car_activation activations[] = {
    {"tanh", CAR_OP_TANH, 0},
    {"sigmoid", CAR_OP_SIGMOID, 0},
    {"relu", CAR_OP_RELU, 0},
    {"Linear(0)", CAR_OP_PRODUCT, 0},
    {"Linear(1)", CAR_OP_PRODUCT, 1},
    {"Linear(0.9)", CAR_OP_PRODUCT, 0.9},
    {"Linear(1.1)", CAR_OP_PRODUCT, 1.1},
};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

static bool is_activation(const car_node *node) {
    return node->op == CAR_OP_TANH || node->op == CAR_OP_SIGMOID || node->op == CAR_OP_RELU ||
           node->op == CAR_OP_PRODUCT;
}

/* The node that is the activation of `operand`; a `matrix` of -1: a new one with a new bias. */
static car_node make_activation(car_mutator *work, const car_activation *kind, int operand,
                                int matrix) {
    if (kind->op != CAR_OP_PRODUCT)
        return (car_node){kind->op, operand, -1, -1, 0};
    int sum = -1;
    if (matrix >= 0) {
        sum = add_node(work, CAR_OP_PRODUCT, operand, -1, matrix, 0);
    } else {
        matrix = add_parameter(work, CAR_MATRIX);
        int bias = add_parameter(work, CAR_BIAS);
        int product = add_node(work, CAR_OP_PRODUCT, operand, -1, matrix, 0);
        int vector = add_node(work, CAR_OP_VECTOR, -1, -1, bias, 0);
        if (kind->diagonal == 0)
            return (car_node){CAR_OP_ADD, product, vector, -1, 0};
        sum = add_node(work, CAR_OP_ADD, product, vector, -1, 0);
    }
    int term = operand;
    if (kind->diagonal != 1) {
        int factor = add_node(work, CAR_OP_CONSTANT, -1, -1, -1, kind->diagonal);
        term = add_node(work, CAR_OP_MULTIPLY, factor, operand, -1, 0);
    }
    return (car_node){CAR_OP_ADD, sum, term, -1, 0};
}

/* ---- The six ------------------------------------------------------------------------------------------ */

/* What a person calls the node: its equation's name, else its operation. */
static const char *name_of(const car_mutator *work, int number) {
    const car_graph *graph = &work->draft.graph;
    const car_node *node = &graph->nodes[number];
    if (graph->names[number])
        return graph->names[number];
    if (node->op == CAR_OP_INPUT)
        return work->draft.input_name;
    if (node->op == CAR_OP_STATE)
        return work->draft.state_names[node->index];
    if (node->op == CAR_OP_PRODUCT)
        return work->draft.parameters[node->index].name;
    return car_op_text(node->op);
}

static bool change_activation(car_mutator *work, int number) {
    car_node before = *node_at(work, number);
    const car_activation *kind = &activations[draw(work, ACTIVATIONS)];
    bool same = kind->op == before.op && kind->diagonal == 0;
    if (!is_activation(&before) || same)
        return false;
    car_text_format(&work->history, "; %s becomes %s", name_of(work, number), kind->name);
    int matrix = before.op == CAR_OP_PRODUCT ? before.index : -1;
    car_node after = make_activation(work, kind, before.a, matrix);
    *node_at(work, number) = after;
    return true;
}

static bool adds_bias(car_mutator *work, const car_node *node) {
    return node_at(work, node->a)->op == CAR_OP_VECTOR ||
           node_at(work, node->b)->op == CAR_OP_VECTOR;
}

static bool change_operation(car_mutator *work, int number) {
    static const car_op operations[] = {CAR_OP_ADD, CAR_OP_SUBTRACT, CAR_OP_MULTIPLY};
    car_node *node = node_at(work, number);
    car_op op = operations[draw(work, 3)];
    if (node->op < CAR_OP_ADD || node->op > CAR_OP_MULTIPLY || node->op == op)
        return false;
    if (node->op != CAR_OP_MULTIPLY && adds_bias(work, node))
        return false;
    car_text_format(&work->history, "; %s: %s becomes %s", name_of(work, number),
                    car_op_text(node->op), car_op_text(op));
    node->op = op;
    return true;
}

static bool insert_activation(car_mutator *work, int number) {
    car_node node = *node_at(work, number);
    const car_activation *kind = &activations[draw(work, ACTIVATIONS)];
    bool second = node.b >= 0 && draw(work, 2);
    int operand = second ? node.b : node.a;
    if (is_fixed(node_at(work, operand)))
        return false;
    car_text_format(&work->history, "; %s of %s goes into %s", kind->name, name_of(work, operand),
                    name_of(work, number));
    car_node made = make_activation(work, kind, operand, -1);
    int between = add_node(work, made.op, made.a, made.b, made.index, made.value);
    *(second ? &node_at(work, number)->b : &node_at(work, number)->a) = between;
    return true;
}

static bool remove_node(car_mutator *work, int number) {
    const car_node *node = node_at(work, number);
    if (node->b >= 0 || count_users(work, number) != 1)
        return false;
    car_text_format(&work->history, "; without %s", name_of(work, number));
    redirect(work, number, node->a);
    return true;
}

static bool shrink(car_mutator *work, int number, bool *marked) {
    mark_ancestors(work, number, marked);
    int ancestor = pick(work, marked, true);
    if (ancestor < 0)
        return false;
    car_text_format(&work->history, "; %s becomes %s", name_of(work, number),
                    name_of(work, ancestor));
    redirect(work, number, ancestor);
    return true;
}

static bool combine(car_mutator *work, int number, bool *marked) {
    static const car_op operations[] = {CAR_OP_ADD, CAR_OP_SUBTRACT, CAR_OP_MULTIPLY};
    static const char *const signs[] = {"+", "-", "*"};
    mark_ancestors(work, number, marked);
    int left = pick(work, marked, true);
    mark_descendants(work, number, marked);
    int right = pick(work, marked, false);
    int sign = draw(work, 3);
    if (left < 0 || right < 0)
        return false;
    car_text_format(&work->history, "; %s becomes %s %s %s", name_of(work, number),
                    name_of(work, left), signs[sign], name_of(work, right));
    *node_at(work, number) = (car_node){operations[sign], left, right, -1, 0};
    return true;
}

static bool transform(car_mutator *work, bool *marked) {
    memset(marked, 0, (size_t)work->draft.graph.count);
    for (int i = 0; i < work->draft.graph.count; i++)
        marked[i] = !is_leaf(node_at(work, i));
    int number = pick(work, marked, true);
    if (number < 0)
        return false;
    switch (draw(work, 6)) {
    case 0:
        return change_activation(work, number);
    case 1:
        return change_operation(work, number);
    case 2:
        return insert_activation(work, number);
    case 3:
        return remove_node(work, number);
    case 4:
        return shrink(work, number, marked);
    default:
        return combine(work, number, marked);
    }
}

/* ---- Order -------------------------------------------------------------------------------------------- */

/* What the output needs, through time: a state that it reads needs that state's next value. */
static void mark_needed(const car_mutator *work, bool *needed) {
    const struct car_cell *draft = &work->draft;
    memset(needed, 0, (size_t)work->capacity);
    needed[draft->output] = true;
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < draft->graph.count; i++) {
            const car_node *node = &draft->graph.nodes[i];
            const int reads[] = {node->a, node->b,
                                 node->op == CAR_OP_STATE ? draft->next[node->index] : -1};
            for (int k = 0; k < 3 && needed[i]; k++)
                if (reads[k] >= 0 && !needed[reads[k]])
                    needed[reads[k]] = more = true;
        }
    }
}

/* States that nothing needs any more go; the others are numbered anew. */
static void drop_states(car_mutator *work, const bool *needed) {
    struct car_cell *draft = &work->draft;
    int kept = 0;
    for (int s = 0; s < draft->state_count; s++) {
        int node = -1;
        for (int i = 0; i < draft->graph.count; i++)
            if (needed[i] && node_at(work, i)->op == CAR_OP_STATE && node_at(work, i)->index == s)
                node_at(work, node = i)->index = kept;
        if (node < 0)
            continue;
        draft->next[kept] = draft->next[s];
        draft->state_names[kept] = draft->state_names[s];
        draft->state_init[kept++] = draft->state_init[s];
    }
    draft->state_count = kept;
}

/* Needed nodes only, each after what it is made of. */
static bool sort_nodes(car_mutator *work) {
    struct car_cell *draft = &work->draft;
    car_graph *graph = &draft->graph;
    bool *needed = borrow(work, work->capacity, 1);
    int *place = borrow(work, work->capacity, sizeof(int));
    car_node *nodes = borrow(work, work->capacity, sizeof(car_node));
    const char **names = borrow(work, work->capacity, sizeof(char *));
    if (!needed || !place || !nodes || !names)
        return false;
    mark_needed(work, needed);
    drop_states(work, needed);
    int count = 0, before = -1;
    for (int i = 0; i < graph->count; i++)
        place[i] = -1;
    while (count > before) {
        before = count;
        for (int i = 0; i < graph->count; i++) {
            car_node node = graph->nodes[i];
            bool ready = (node.a < 0 || place[node.a] >= 0) && (node.b < 0 || place[node.b] >= 0);
            if (!needed[i] || place[i] >= 0 || !ready)
                continue;
            node.a = node.a >= 0 ? place[node.a] : -1;
            node.b = node.b >= 0 ? place[node.b] : -1;
            names[count] = graph->names[i];
            nodes[count] = node;
            place[i] = count++;
        }
    }
    graph->nodes = nodes;
    graph->names = names;
    graph->count = count;
    draft->output = place[draft->output];
    for (int s = 0; s < draft->state_count; s++)
        draft->next[s] = place[draft->next[s]];
    return draft->output >= 0;
}

/* ---- What a cell must be ------------------------------------------------------------------------------ */

static bool is_bounded(const struct car_cell *draft, int *depth) {
    int matrices = 0;
    for (int i = 0; i < draft->graph.count; i++) {
        const car_node *node = &draft->graph.nodes[i];
        int a = node->a >= 0 ? depth[node->a] : -1, b = node->b >= 0 ? depth[node->b] : -1;
        depth[i] = 1 + (a > b ? a : b);
        if (depth[i] > CAR_MUTANT_DEPTH)
            return false;
        matrices += node->op == CAR_OP_PRODUCT;
    }
    return draft->graph.count <= CAR_MUTANT_NODES && matrices <= CAR_MUTANT_MATRICES;
}

/* Every state changes and hears of the input, be it through other states. */
static bool is_alive(const struct car_cell *draft, bool *hears) {
    const car_graph *graph = &draft->graph;
    bool input = false;
    memset(hears, 0, (size_t)graph->count);
    for (int round = 0; round <= draft->state_count; round++)
        for (int i = 0; i < graph->count; i++) {
            const car_node *node = &graph->nodes[i];
            input |= node->op == CAR_OP_INPUT;
            hears[i] |= node->op == CAR_OP_INPUT || (node->a >= 0 && hears[node->a]) ||
                        (node->b >= 0 && hears[node->b]) ||
                        (node->op == CAR_OP_STATE && hears[draft->next[node->index]]);
        }
    for (int s = 0; s < draft->state_count; s++) {
        const car_node *next = &graph->nodes[draft->next[s]];
        if (is_fixed(next) || (next->op == CAR_OP_STATE && next->index == s) ||
            !hears[draft->next[s]])
            return false;
    }
    return input && draft->state_count > 0 && !is_leaf(&graph->nodes[draft->output]);
}

/* ---- The text ----------------------------------------------------------------------------------------- */

/* The last ancestors of a text: lines that start as ancestry lines do. */
static const char *ancestry_of(const char *text, size_t *length) {
    const char *begin = text, *end = text;
    int lines = 0;
    while (*begin == '#' && strncmp(begin, ANCESTOR_LINE, strlen(ANCESTOR_LINE)) != 0 &&
           strchr(begin, '\n'))
        begin = strchr(begin, '\n') + 1;
    for (end = begin; strncmp(end, ANCESTOR_LINE, strlen(ANCESTOR_LINE)) == 0 && strchr(end, '\n');
         lines++)
        end = strchr(end, '\n') + 1;
    for (; lines >= KEPT_ANCESTORS; lines--)
        begin = strchr(begin, '\n') + 1;
    *length = (size_t)(end - begin);
    return begin;
}

static car_status compile_text(const car_mutator *work, const car_text *text, car_cell **cell,
                               car_error *error) {
    if (text->failed)
        return car_fail(error, CAR_MEMORY, "mutant of %.80s: out of memory; free some",
                        work->parent->name);
    return car_cell_compile(text->data, text->length, "mutant", work->parent->allocator, cell,
                            error);
}

/* The cell under its own name, its ancestors as comments. */
static car_status write_whole(const car_mutator *work, struct car_cell *plain, car_cell **mutant,
                              car_error *error) {
    char name[NAME_ROOM];
    size_t length;
    const char *ancestry = ancestry_of(work->parent->text, &length);
    car_text text;
    car_text_start(&text, work->parent->allocator);
    snprintf(name, sizeof name, "m%.10s", plain->fingerprint);
    plain->name = name;
    plain->gate_count = 0; /* the default will do: every equation that is a sigmoid */
    car_text_format(&text, "# Found by mutation. Ancestors, oldest first:\n");
    car_text_add(&text, ancestry, length);
    car_text_format(&text, "%s%s from %s: %s\n", ANCESTOR_LINE, name, work->parent->name,
                    work->history.data + 2);
    car_cell_print(&text, plain);
    car_status status = compile_text(work, &text, mutant, error);
    car_text_free(&text);
    return status;
}

/* The draft as a cell of its own graph; NULL when the language refuses it. */
static car_status compile_draft(const car_mutator *work, car_cell **cell, car_error *error) {
    car_text text;
    car_text_start(&text, work->parent->allocator);
    car_cell_print(&text, &work->draft);
    car_status status = compile_text(work, &text, cell, error);
    car_text_free(&text);
    return status == CAR_DATA ? CAR_OK : status;
}

/* ---- All of it ---------------------------------------------------------------------------------------- */

/* *good: the draft is a changed cell within the bounds. */
static car_status make_draft(car_mutator *work, bool *good, car_error *error) {
    *good = false;
    bool *marked = borrow(work, work->parent->source.count + MOST_TRANSFORMATIONS * GROWTH, 1);
    int *depth =
        borrow(work, work->parent->source.count + MOST_TRANSFORMATIONS * GROWTH, sizeof(int));
    bool memory = marked && depth && copy_parent(work);
    int transformations = 1 + draw(work, MOST_TRANSFORMATIONS), made = 0;
    for (int i = 0; i < transformations && memory; i++) {
        if (!transform(work, marked))
            continue;
        made++;
        memory = sort_nodes(work);
    }
    if (!memory || work->history.failed)
        return car_fail(error, CAR_MEMORY, "mutant of %.80s: out of memory; free some",
                        work->parent->name);
    *good = made > 0 && is_bounded(&work->draft, depth) && is_alive(&work->draft, marked);
    return CAR_OK;
}

static car_status attempt(car_mutator *work, const car_mutant_filter *filter, car_cell **mutant,
                          car_error *error) {
    bool good;
    CAR_TRY(make_draft(work, &good, error));
    if (!good)
        return CAR_OK;
    car_cell *plain = NULL;
    CAR_TRY(compile_draft(work, &plain, error));
    if (!plain)
        return CAR_OK;
    car_status status = CAR_OK;
    bool known = strcmp(plain->fingerprint, work->parent->fingerprint) == 0;
    if (!known)
        status = write_whole(work, plain, mutant, error);
    car_cell_free(plain);
    if (status == CAR_OK && *mutant && filter->known)
        status = filter->known(filter->context, *mutant, &known, error);
    if (*mutant && (known || status != CAR_OK)) {
        car_cell_free(*mutant);
        *mutant = NULL;
    }
    return status;
}

car_status car_mutate(const struct car_cell *parent, uint64_t seed, uint64_t number,
                      const car_mutant_filter *filter, car_cell **mutant, car_error *error) {
    car_status status = CAR_OK;
    *mutant = NULL;
    for (uint64_t i = 0; i < ATTEMPTS && !*mutant && status == CAR_OK; i++) {
        car_mutator work = {.parent = parent,
                            .key = {seed, CAR_RANDOM_MUTATION, 0},
                            .number = number,
                            .drawn = i << 32};
        work.arena = car_arena_create(parent->allocator);
        if (!work.arena)
            return car_fail(error, CAR_MEMORY, "mutant of %.80s: out of memory; free some",
                            parent->name);
        car_text_start(&work.history, parent->allocator);
        status = attempt(&work, filter, mutant, error);
        car_text_free(&work.history);
        car_arena_free(work.arena);
    }
    return status;
}
