/*
 * print.c: graphs as text, and back.
 *
 * One node a line: `%N = OP ARGUMENTS [; NAME]`. Arguments: an input, state, parameter or number by name or
 * value, operands as %M; products read `product W %a + %b` (without `+ %b` where b is nothing),
 * `forward K` and `transposed_product K W %a + %b` name node K of the forward graph.
 * The parser takes any bytes and refuses what the printer would not write.
 */
#include "syntax.h"
#include <ctype.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

void car_number_print(car_text *text, double value) {
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* static in libc: never fails */
    locale_t before = uselocale(plain);
    char digits[40];
    for (int precision = 6; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    uselocale(before);
    car_text_format(text, "%s", digits);
}

static void print_node(car_text *text, const struct car_cell *cell, const car_node *node) {
    car_text_format(text, "%s", car_op_text(node->op));
    switch (node->op) {
    case CAR_OP_STATE:
    case CAR_OP_STATE_GRADIENT:
        car_text_format(text, " %s", cell->state_names[node->index]);
        break;
    case CAR_OP_VECTOR:
    case CAR_OP_PRODUCT:
        car_text_format(text, " %s", cell->parameters[node->index].name);
        break;
    case CAR_OP_CONSTANT:
        car_text_format(text, " ");
        car_number_print(text, node->value);
        break;
    case CAR_OP_FORWARD:
        car_text_format(text, " %d", node->index);
        break;
    case CAR_OP_TRANSPOSED_PRODUCT:
        car_text_format(text, " %d %s", node->index,
                        cell->parameters[cell->graph.nodes[node->index].index].name);
        break;
    default:
        break;
    }
    bool product = node->op == CAR_OP_PRODUCT || node->op == CAR_OP_TRANSPOSED_PRODUCT;
    if (node->a >= 0)
        car_text_format(text, " %%%d", node->a);
    if (node->b >= 0)
        car_text_format(text, product ? " + %%%d" : " %%%d", node->b);
}

void car_graph_print(car_text *text, const struct car_cell *cell, const car_graph *graph) {
    for (int i = 0; i < graph->count; i++) {
        car_text_format(text, "%%%d = ", i);
        print_node(text, cell, &graph->nodes[i]);
        if (graph->names && graph->names[i])
            car_text_format(text, " ; %s", graph->names[i]);
        car_text_format(text, "\n");
    }
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

enum { GRAPH_LIMIT = 65536 };

typedef struct car_graph_reader {
    const char *at; /* the rest of the text */
    int line;
    const struct car_cell *cell;
    car_error *error;
} car_graph_reader;

static car_status refuse(const car_graph_reader *reader, const char *what) {
    return car_fail_at(reader->error, CAR_DATA, reader->line, 1,
                       "graph of %.80s, line %d: %s; print it anew", reader->cell->name,
                       reader->line, what);
}

/* The next word of the line; length 0 at its end. */
static const char *next_word(car_graph_reader *reader, size_t *length) {
    while (*reader->at == ' ')
        reader->at++;
    const char *word = reader->at;
    *length = strcspn(word, " \n");
    reader->at += *length;
    return word;
}

static bool take_word(car_graph_reader *reader, const char *wanted) {
    const char *before = reader->at;
    size_t length;
    const char *word = next_word(reader, &length);
    if (length == strlen(wanted) && strncmp(word, wanted, length) == 0)
        return true;
    reader->at = before;
    return false;
}

/* A number from 0 to limit-1 after `prefix`. */
static bool take_index(car_graph_reader *reader, const char *prefix, int limit, int *index) {
    size_t length, skip = strlen(prefix);
    const char *word = next_word(reader, &length);
    if (length <= skip || length > skip + 6 || strncmp(word, prefix, skip) != 0)
        return false;
    int value = 0;
    for (size_t i = skip; i < length; i++) {
        if (!isdigit((unsigned char)word[i]))
            return false;
        value = value * 10 + (word[i] - '0');
    }
    *index = value;
    return value < limit;
}

static bool take_state(car_graph_reader *reader, int *index) {
    for (*index = 0; *index < reader->cell->state_count; ++*index)
        if (take_word(reader, reader->cell->state_names[*index]))
            return true;
    return false;
}

static bool take_parameter(car_graph_reader *reader, bool matrix, int *index) {
    for (*index = 0; *index < reader->cell->parameter_count; ++*index)
        if ((reader->cell->parameters[*index].kind == CAR_MATRIX) == matrix &&
            take_word(reader, reader->cell->parameters[*index].name))
            return true;
    return false;
}

static bool take_number(car_graph_reader *reader, double *value) {
    size_t length;
    const char *word = next_word(reader, &length);
    bool negative = length > 0 && *word == '-';
    size_t digits = length - (negative ? 1 : 0);
    int used = car_lex_number(word + (negative ? 1 : 0), digits, value);
    if (negative)
        *value = -*value;
    return used > 0 && (size_t)used == digits;
}

static bool take_forward_product(car_graph_reader *reader, int *index) {
    const car_graph *forward = &reader->cell->graph;
    if (!take_index(reader, "", forward->count, index) ||
        forward->nodes[*index].op != CAR_OP_PRODUCT)
        return false;
    return take_word(reader, reader->cell->parameters[forward->nodes[*index].index].name);
}

static bool read_arguments(car_graph_reader *reader, int number, car_node *node) {
    bool product = false;
    switch (node->op) {
    case CAR_OP_STATE:
    case CAR_OP_STATE_GRADIENT:
        return take_state(reader, &node->index);
    case CAR_OP_VECTOR:
        return take_parameter(reader, false, &node->index);
    case CAR_OP_CONSTANT:
        return take_number(reader, &node->value);
    case CAR_OP_FORWARD:
        return take_index(reader, "", reader->cell->graph.count, &node->index);
    case CAR_OP_PRODUCT:
    case CAR_OP_TRANSPOSED_PRODUCT:
        product = true;
        if (!(node->op == CAR_OP_PRODUCT ? take_parameter(reader, true, &node->index)
                                         : take_forward_product(reader, &node->index)))
            return false;
        break;
    default:
        break;
    }
    if (product)
        return take_index(reader, "%", number, &node->a) &&
               (!take_word(reader, "+") || take_index(reader, "%", number, &node->b));
    int operands = car_op_operands(node->op);
    return (operands < 1 || take_index(reader, "%", number, &node->a)) &&
           (operands < 2 || take_index(reader, "%", number, &node->b));
}

static car_status read_line(car_graph_reader *reader, car_arena *arena, int number,
                            car_graph *graph) {
    int written;
    car_node node = car_node_make(CAR_OP_COUNT, -1, -1, -1, 0);
    if (!take_index(reader, "%", number + 1, &written) || written != number ||
        !take_word(reader, "="))
        return refuse(reader, "expected the next node, `%N = `");
    for (int op = 0; op < CAR_OP_COUNT && node.op == CAR_OP_COUNT; op++)
        if (take_word(reader, car_op_text((car_op)op)))
            node.op = (car_op)op;
    if (node.op == CAR_OP_COUNT)
        return refuse(reader, "unknown operation");
    if (!read_arguments(reader, number, &node))
        return refuse(reader, "wrong arguments of the operation");
    if (take_word(reader, ";")) {
        size_t length;
        const char *word = next_word(reader, &length);
        if (!(graph->names[number] = car_arena_copy(arena, word, length)))
            return car_fail(reader->error, CAR_MEMORY, "graph: out of memory; free some");
    }
    if (*reader->at != '\n' && *reader->at != '\0')
        return refuse(reader, "more on the line than the operation takes");
    graph->nodes[number] = node;
    return CAR_OK;
}

car_status car_graph_parse(const char *text, const struct car_cell *cell, car_arena *arena,
                           car_graph *graph, car_error *error) {
    car_graph_reader reader = {text, 1, cell, error};
    size_t count = 0;
    for (const char *at = text; *at; at++)
        count += *at == '\n';
    if (count == 0 || count > GRAPH_LIMIT || text[strlen(text) - 1] != '\n')
        return refuse(&reader, "expected 1 to 65536 whole lines");
    *graph = (car_graph){.count = (int)count};
    graph->nodes = car_arena_allocate(arena, count, sizeof *graph->nodes);
    graph->names = car_arena_allocate(arena, count, sizeof *graph->names);
    if (!graph->nodes || !graph->names)
        return car_fail(error, CAR_MEMORY, "graph: out of memory; free some");
    for (int i = 0; i < graph->count; i++) {
        CAR_TRY(read_line(&reader, arena, i, graph));
        reader.at++;
        reader.line++;
    }
    return CAR_OK;
}
