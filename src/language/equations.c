/*
 * equations.c: a compiled cell -> the text of a cell with the same fingerprint.
 *
 * Comes in: the canonical graph with whatever names it has (the search's mutants have few). Every node that is
 * named, used more than once, a state's next value, the output or a gate gets an equation; the others stand
 * inside their user's. Long nests are cut by equations of their own, v0, v1, ...
 * Goes out: header, states, equations in the graph's order, inits, gates, torch clause.
 */
#include "syntax.h"
#include <string.h>

enum { DEPTH_LIMIT = 12, LABEL_SIZE = CAR_NAME_LIMIT + 16 };

/* How tightly an expression holds together, as in the grammar. */
typedef enum car_level {
    LEVEL_SUM,
    LEVEL_TERM,
    LEVEL_UNARY,
    LEVEL_PRODUCT,
    LEVEL_PRIMARY
} car_level;

typedef struct car_equation_writer {
    const struct car_cell *cell;
    car_text *text;
    char (*labels)[LABEL_SIZE]; /* [nodes] "": stands inside its user's equation */
    int *uses;
    int *depth;
} car_equation_writer;

static bool is_leaf(const car_node *node) {
    return node->op <= CAR_OP_VECTOR;
}

/* Whether a name is given to anything already. */
static bool taken(const car_equation_writer *writer, const char *name) {
    const struct car_cell *cell = writer->cell;
    bool found = strcmp(name, cell->input_name) == 0 || car_is_reserved(name);
    for (int s = 0; s < cell->state_count; s++)
        found |= strcmp(name, cell->state_names[s]) == 0;
    for (int p = 0; p < cell->parameter_count; p++)
        found |= strcmp(name, cell->parameters[p].name) == 0;
    for (int i = 0; i < cell->graph.count; i++)
        found |= strcmp(name, writer->labels[i]) == 0;
    return found;
}

static void invent_label(car_equation_writer *writer, int node, const char *stem) {
    char name[LABEL_SIZE];
    int number = 0;
    snprintf(name, sizeof name, "%s", stem);
    while (taken(writer, name))
        snprintf(name, sizeof name, "%s%d", stem, number++);
    memcpy(writer->labels[node], name, sizeof name);
}

static void count_uses(car_equation_writer *writer) {
    const car_graph *graph = &writer->cell->graph;
    for (int i = 0; i < graph->count; i++) {
        if (graph->nodes[i].a >= 0)
            writer->uses[graph->nodes[i].a]++;
        if (graph->nodes[i].b >= 0)
            writer->uses[graph->nodes[i].b]++;
    }
}

/* A node's own name; a primed one only when the node still is that state's next value. */
static void copy_label(car_equation_writer *writer, int node) {
    const struct car_cell *cell = writer->cell;
    const char *name = cell->graph.names ? cell->graph.names[node] : NULL;
    if (!name || is_leaf(&cell->graph.nodes[node]))
        return;
    size_t length = strlen(name);
    if (length == 0 || length >= LABEL_SIZE)
        return;
    bool primed = name[length - 1] == '\'', fits = !primed && !taken(writer, name);
    for (int s = 0; s < cell->state_count && primed; s++)
        fits |= cell->next[s] == node && strlen(cell->state_names[s]) == length - 1 &&
                strncmp(cell->state_names[s], name, length - 1) == 0;
    if (fits)
        memcpy(writer->labels[node], name, length + 1);
}

/* Whether the state's new value alone is read: its primed name must then be what readers of the node name. */
static bool is_new_only(const struct car_cell *cell, int state) {
    for (int i = 0; i < cell->graph.count; i++)
        if (cell->graph.nodes[i].op == CAR_OP_STATE && cell->graph.nodes[i].index == state)
            return false;
    return true;
}

static void choose_labels(car_equation_writer *writer) {
    const struct car_cell *cell = writer->cell;
    const car_graph *graph = &cell->graph;
    for (int i = 0; i < graph->count; i++)
        copy_label(writer, i);
    for (int s = 0; s < cell->state_count; s++)
        if (is_new_only(cell, s))
            snprintf(writer->labels[cell->next[s]], LABEL_SIZE, "%.*s'", CAR_NAME_LIMIT,
                     cell->state_names[s]);
    for (int s = 0; s < cell->state_count; s++) {
        char *label = writer->labels[cell->next[s]];
        if (!*label && !is_leaf(&graph->nodes[cell->next[s]]))
            snprintf(label, LABEL_SIZE, "%.*s'", CAR_NAME_LIMIT, cell->state_names[s]);
    }
    if (!*writer->labels[cell->output] && !is_leaf(&graph->nodes[cell->output]))
        invent_label(writer, cell->output, "y");
    for (int g = 0; g < cell->gate_count; g++)
        if (!*writer->labels[cell->gates[g]] && !is_leaf(&graph->nodes[cell->gates[g]]))
            invent_label(writer, cell->gates[g], "v");
    for (int i = 0; i < graph->count; i++) {
        const car_node *node = &graph->nodes[i];
        for (int k = 0; k < 2; k++) {
            int operand = k ? node->b : node->a;
            if (operand >= 0 && !*writer->labels[operand] &&
                writer->depth[operand] >= writer->depth[i])
                writer->depth[i] = writer->depth[operand] + 1;
        }
        bool needed = writer->uses[i] > 1 || writer->depth[i] > DEPTH_LIMIT;
        if (needed && !is_leaf(node) && !*writer->labels[i])
            invent_label(writer, i, "v");
    }
}

static car_level level_of(const car_node *node) {
    switch (node->op) {
    case CAR_OP_ADD:
    case CAR_OP_SUBTRACT:
        return LEVEL_SUM;
    case CAR_OP_MULTIPLY:
    case CAR_OP_DIVIDE:
        return LEVEL_TERM;
    case CAR_OP_NEGATE:
        return LEVEL_UNARY;
    case CAR_OP_CONSTANT:
        return node->value < 0 ? LEVEL_UNARY : LEVEL_PRIMARY;
    case CAR_OP_PRODUCT:
        return node->b >= 0 ? LEVEL_SUM : LEVEL_PRODUCT;
    default:
        return LEVEL_PRIMARY;
    }
}

static void write_node(car_equation_writer *writer, int number);

/* The operand by its label, or in place; in parentheses when it holds less tightly than `level`. */
static void write_operand(car_equation_writer *writer, int number, car_level level) {
    const car_node *node = &writer->cell->graph.nodes[number];
    if (*writer->labels[number]) {
        car_text_format(writer->text, "%s", writer->labels[number]);
        return;
    }
    bool open = level_of(node) < level;
    car_text_format(writer->text, "%s", open ? "(" : "");
    write_node(writer, number);
    car_text_format(writer->text, "%s", open ? ")" : "");
}

static void write_binary(car_equation_writer *writer, const car_node *node, const char *sign,
                         car_level level) {
    write_operand(writer, node->a, level);
    car_text_format(writer->text, "%s", sign);
    write_operand(writer, node->b, level + 1);
}

static void write_call(car_equation_writer *writer, const car_node *node) {
    car_text_format(writer->text, "%s(", car_op_text(node->op));
    write_operand(writer, node->a, LEVEL_SUM);
    if (node->b >= 0) {
        car_text_format(writer->text, ", ");
        write_operand(writer, node->b, LEVEL_SUM);
    }
    car_text_format(writer->text, ")");
}

/* Recursion ends at labels, so it is at most DEPTH_LIMIT deep. */
static void write_node(car_equation_writer *writer, int number) {
    const struct car_cell *cell = writer->cell;
    const car_node *node = &cell->graph.nodes[number];
    switch (node->op) {
    case CAR_OP_INPUT:
        car_text_format(writer->text, "%s", cell->input_name);
        break;
    case CAR_OP_STATE:
        car_text_format(writer->text, "%s", cell->state_names[node->index]);
        break;
    case CAR_OP_VECTOR:
        car_text_format(writer->text, "%s", cell->parameters[node->index].name);
        break;
    case CAR_OP_CONSTANT:
        car_number_print(writer->text, node->value);
        break;
    case CAR_OP_PRODUCT:
        if (node->b >= 0) {
            write_operand(writer, node->b, LEVEL_SUM);
            car_text_format(writer->text, " + ");
        }
        car_text_format(writer->text, "%s@", cell->parameters[node->index].name);
        write_operand(writer, node->a, LEVEL_PRODUCT);
        break;
    case CAR_OP_ADD:
        write_binary(writer, node, " + ", LEVEL_SUM);
        break;
    case CAR_OP_SUBTRACT:
        write_binary(writer, node, " - ", LEVEL_SUM);
        break;
    case CAR_OP_MULTIPLY:
        write_binary(writer, node, "*", LEVEL_TERM);
        break;
    case CAR_OP_DIVIDE:
        write_binary(writer, node, "/", LEVEL_TERM);
        break;
    case CAR_OP_NEGATE:
        car_text_format(writer->text, "-");
        write_operand(writer, node->a, LEVEL_UNARY);
        break;
    default:
        write_call(writer, node);
    }
}

/* The name that the output has in the header: a state's when it is that state's next value. */
static const char *output_name(const car_equation_writer *writer) {
    const struct car_cell *cell = writer->cell;
    const char *name = NULL;
    for (int s = 0; s < cell->state_count; s++)
        if (cell->next[s] == cell->output && (!name || is_new_only(cell, s)))
            name = cell->state_names[s];
    const char *label = writer->labels[cell->output];
    return name ? name : *label ? label : "y";
}

static void write_header(car_equation_writer *writer, const char *output) {
    const struct car_cell *cell = writer->cell;
    car_text_format(writer->text, "cell %s(%s) -> %s\n", cell->name, cell->input_name, output);
    for (int s = 0; s < cell->state_count; s++)
        car_text_format(writer->text, "%s%s%s", s ? ", " : "state ", cell->state_names[s],
                        s + 1 == cell->state_count ? "\n" : "");
}

/* NAME' = the node itself, then `NAME2' = NAME'` for the others of which the new value alone is read. */
static bool write_new_only(car_equation_writer *writer, int node) {
    const struct car_cell *cell = writer->cell;
    const char *before = NULL;
    for (int s = 0; s < cell->state_count; s++) {
        if (cell->next[s] != node || !is_new_only(cell, s))
            continue;
        car_text_format(writer->text, "%s' = ", cell->state_names[s]);
        if (before)
            car_text_format(writer->text, "%s'", before);
        else
            write_node(writer, node);
        car_text_format(writer->text, "\n");
        before = cell->state_names[s];
    }
    return before != NULL;
}

static bool is_primed(const char *label, const char *state) {
    size_t length = strlen(state);
    return strncmp(label, state, length) == 0 && strcmp(label + length, "'") == 0;
}

static void write_equations(car_equation_writer *writer, const char *output) {
    const struct car_cell *cell = writer->cell;
    for (int i = 0; i < cell->graph.count; i++) {
        if (!*writer->labels[i] || write_new_only(writer, i))
            continue;
        car_text_format(writer->text, "%s = ", writer->labels[i]);
        write_node(writer, i);
        car_text_format(writer->text, "\n");
    }
    bool is_state = false;
    for (int s = 0; s < cell->state_count; s++) {
        is_state |= cell->next[s] == cell->output;
        if (is_new_only(cell, s) || is_primed(writer->labels[cell->next[s]], cell->state_names[s]))
            continue;
        car_text_format(writer->text, "%s' = ", cell->state_names[s]);
        write_operand(writer, cell->next[s], LEVEL_SUM);
        car_text_format(writer->text, "\n");
    }
    if (!is_state && !*writer->labels[cell->output]) {
        car_text_format(writer->text, "%s = ", output);
        write_node(writer, cell->output);
        car_text_format(writer->text, "\n");
    }
}

static bool is_default(const car_parameter *parameter) {
    if (parameter->kind == CAR_MATRIX)
        return parameter->init.kind == CAR_INIT_DEFAULT;
    return parameter->init.kind == CAR_INIT_NUMBER &&
           parameter->init.value == (parameter->kind == CAR_VECTOR ? 1 : 0);
}

static bool is_used(const struct car_cell *cell, int parameter) {
    for (int i = 0; i < cell->graph.count; i++) {
        const car_node *node = &cell->graph.nodes[i];
        if ((node->op == CAR_OP_VECTOR || node->op == CAR_OP_PRODUCT) && node->index == parameter)
            return true;
    }
    return false;
}

static void write_init(car_text *text, const char *name, car_init init) {
    car_text_format(text, "init %s = ", name);
    car_init_print(text, init);
    car_text_format(text, "\n");
}

static void write_rest(car_equation_writer *writer) {
    const struct car_cell *cell = writer->cell;
    for (int s = 0; s < cell->state_count; s++)
        if (cell->state_init[s].value != 0)
            write_init(writer->text, cell->state_names[s], cell->state_init[s]);
    for (int p = 0; p < cell->parameter_count; p++)
        if (!is_default(&cell->parameters[p]) && is_used(cell, p))
            write_init(writer->text, cell->parameters[p].name, cell->parameters[p].init);
    int written = 0;
    for (int g = 0; g < cell->gate_count; g++) {
        const char *label = writer->labels[cell->gates[g]];
        size_t length = strlen(label);
        if (length == 0)
            continue; /* a leaf: it has no equation to name */
        int plain = (int)(label[length - 1] == '\'' ? length - 1 : length);
        car_text_format(writer->text, "%s%.*s", written++ ? ", " : "gate ", plain, label);
    }
    if (written)
        car_text_format(writer->text, "\n");
    for (int t = 0; t < cell->torch_count; t++) {
        const car_torch_entry *entry = &cell->torch[t];
        car_text_format(writer->text, "torch %s =%s", entry->tensor, entry->count ? "" : " 0");
        for (int k = 0; k < entry->count; k++)
            car_text_format(writer->text, " %s",
                            entry->parameters[k] < 0 ? "0"
                                                     : cell->parameters[entry->parameters[k]].name);
        car_text_format(writer->text, "\n");
    }
}

void car_cell_print(car_text *text, const struct car_cell *cell) {
    car_arena *arena = car_arena_create(cell->allocator);
    size_t count = (size_t)cell->graph.count;
    car_equation_writer writer = {.cell = cell, .text = text};
    if (arena) {
        writer.labels = car_arena_allocate(arena, count, LABEL_SIZE);
        writer.uses = car_arena_allocate(arena, count, sizeof *writer.uses);
        writer.depth = car_arena_allocate(arena, count, sizeof *writer.depth);
    }
    if (!arena || !writer.labels || !writer.uses || !writer.depth) {
        text->failed = true;
    } else {
        count_uses(&writer);
        choose_labels(&writer);
        const char *output = output_name(&writer);
        write_header(&writer, output);
        write_equations(&writer, output);
        write_rest(&writer);
    }
    car_arena_free(arena);
}
