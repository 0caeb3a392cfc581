/*
 * figure.c: the graph of one step becomes the parts of a drawing.
 *
 * In: a compiled cell. Out: parts and feeds. A sum of products, peepholes and a bias with the function around it is
 * one layer; a function with its constants (1 - z, 4*sigmoid(v) - 2, log(sigmoid(v))) is one function; layernorm is
 * one word. Only nodes without a name that are used once vanish in their user, so every equation's name stands
 * somewhere. What several matrices multiply together is concatenated: a merge.
 */
#include "figure.h"
#include <math.h>
#include <string.h>

enum { TERM_LIMIT = 64, LABEL_LETTERS = 12 };

static const car_node *node_of(const car_figure *figure, int node) {
    return &figure->cell->graph.nodes[node];
}

static bool is_op(const car_figure *figure, int node, car_op op) {
    return node >= 0 && node_of(figure, node)->op == op;
}

static bool is_constant(const car_figure *figure, int node) {
    return is_op(figure, node, CAR_OP_CONSTANT);
}

/* May this node vanish in its user? */
static bool is_hidden(const car_figure *figure, int node, int uses) {
    return figure->uses[node] == uses && !figure->cell->graph.names[node];
}

static void count_uses(car_figure *figure) {
    const struct car_cell *cell = figure->cell;
    for (int i = 0; i < cell->graph.count; i++) {
        if (cell->graph.nodes[i].a >= 0)
            figure->uses[cell->graph.nodes[i].a]++;
        if (cell->graph.nodes[i].b >= 0)
            figure->uses[cell->graph.nodes[i].b]++;
    }
    for (int s = 0; s < cell->state_count; s++)
        figure->uses[cell->next[s]]++;
    figure->uses[cell->output]++;
}

static void append(char *label, const char *text) {
    size_t length = strlen(label);
    snprintf(label + length, CAR_LABEL_LIMIT - length, "%s%.40s", length ? " " : "", text);
}

static int add_part(car_figure *figure, car_part_kind kind) {
    if (figure->count >= CAR_PART_LIMIT)
        return -1;
    car_part *part = &figure->parts[figure->count];
    *part = (car_part){.kind = kind, .state = -1, .node = -1, .belt = -1};
    part->feeds = car_arena_allocate(figure->arena, CAR_FEED_LIMIT, sizeof *part->feeds);
    return part->feeds ? figure->count++ : -1;
}

static void add_feed(car_part *part, int from, bool beside, const char *sign) {
    for (int i = 0; i < part->feed_count && !sign; i++)
        if (part->feeds[i].part == from && part->feeds[i].beside == beside &&
            part->kind != CAR_PART_STEP)
            return;
    if (part->feed_count < CAR_FEED_LIMIT)
        part->feeds[part->feed_count++] = (car_feed){from, beside, sign};
}

/* ---- What is inside a layer ---------------------------------------------------------------------------- */

typedef struct car_term {
    int parameter, value; /* a node, -1: the bias itself */
    bool matrix;
} car_term;
typedef struct car_sum {
    int count, matrices, values; /* values: terms that are not a bias */
    bool raw;                    /* a term that no parameter multiplies */
    car_term terms[TERM_LIMIT];
} car_sum;

static void add_term(car_sum *sum, int parameter, int value, bool matrix) {
    if (sum->count == TERM_LIMIT) {
        sum->raw = true;
        return;
    }
    sum->terms[sum->count++] = (car_term){parameter, value, matrix};
    sum->matrices += matrix;
    sum->values += value >= 0;
}

/* The terms of a sum; `top`: the sum itself, which may have a name and other users. */
static void collect_sum(const car_figure *figure, int node, bool top, car_sum *sum) {
    const car_node *here = node_of(figure, node);
    bool open = top || is_hidden(figure, node, 1);
    if (here->op == CAR_OP_PRODUCT && open) {
        if (here->b >= 0)
            collect_sum(figure, here->b, false, sum);
        add_term(sum, here->index, here->a, true);
    } else if (here->op == CAR_OP_VECTOR) {
        add_term(sum, here->index, -1, false);
    } else if (here->op == CAR_OP_MULTIPLY && open && is_op(figure, here->a, CAR_OP_VECTOR)) {
        add_term(sum, node_of(figure, here->a)->index, here->b, false);
    } else if (here->op == CAR_OP_MULTIPLY && open && is_op(figure, here->b, CAR_OP_VECTOR)) {
        add_term(sum, node_of(figure, here->b)->index, here->a, false);
    } else if (here->op == CAR_OP_ADD && open) {
        collect_sum(figure, here->a, false, sum);
        collect_sum(figure, here->b, false, sum);
    } else {
        add_term(sum, -1, node, false);
        sum->raw = true;
    }
}

/* v of d*(1/sqrt(mean(d*d) + number)) with d = v - mean(v); -1: something else. */
static int layernorm_of(const car_figure *figure, int node) {
    const car_node *here = node_of(figure, node);
    if (here->op != CAR_OP_MULTIPLY)
        return -1;
    bool first = is_op(figure, here->a, CAR_OP_SUBTRACT);
    int difference = first ? here->a : here->b, scale = first ? here->b : here->a;
    if (!is_op(figure, difference, CAR_OP_SUBTRACT) || !is_op(figure, scale, CAR_OP_DIVIDE) ||
        !is_op(figure, node_of(figure, scale)->b, CAR_OP_SQRT))
        return -1;
    int value = node_of(figure, difference)->a, mean = node_of(figure, difference)->b;
    const car_node *under = node_of(figure, node_of(figure, node_of(figure, scale)->b)->a);
    if (under->op != CAR_OP_ADD || !is_op(figure, mean, CAR_OP_MEAN) ||
        node_of(figure, mean)->a != value)
        return -1;
    int variance = is_constant(figure, under->a) ? under->b : under->a;
    if (!is_op(figure, variance, CAR_OP_MEAN))
        return -1;
    const car_node *square = node_of(figure, node_of(figure, variance)->a);
    bool squared =
        square->op == CAR_OP_MULTIPLY && square->a == difference && square->b == difference;
    return squared && is_hidden(figure, difference, 3) ? value : -1;
}

/* ---- The words for functions -------------------------------------------------------------------------- */

static const char *function_word(car_op op) {
    switch (op) {
    case CAR_OP_SIGMOID:
        return "σ";
    case CAR_OP_SQRT:
        return "√";
    case CAR_OP_ABS:
        return "abs";
    default:
        return car_op_text(op);
    }
}

bool car_label_is_sum(const char *label) {
    int depth = 0;
    bool sum = false;
    for (const char *at = label; *at; at++) {
        depth += (*at == '(') - (*at == ')');
        sum |= depth == 0 && (*at == '+' || strncmp(at, "−", strlen("−")) == 0);
    }
    return sum;
}

/* A function's name alone, as in "2σ". */
static bool is_word(const char *label) {
    return !strpbrk(label, "0123456789(+/") && !strstr(label, "·") && !car_label_is_sum(label);
}

/* label = before label after; an empty label is the value itself, a sum gets brackets. */
static void wrap(char *label, const char *before, const char *after) {
    char old[CAR_LABEL_LIMIT];
    memcpy(old, label, sizeof old);
    bool brackets = *before && car_label_is_sum(old);
    snprintf(label, CAR_LABEL_LIMIT, "%s%s%.50s%s%s", before, brackets ? "(" : "",
             *old || !*after ? old : "·", brackets ? ")" : "", after);
}

static void wrap_function(char *label, const char *word) {
    char old[CAR_LABEL_LIMIT];
    memcpy(old, label, sizeof old);
    if (!*old)
        snprintf(label, CAR_LABEL_LIMIT, "%s", word);
    else
        snprintf(label, CAR_LABEL_LIMIT, is_word(old) ? "%s %.50s" : "%s(%.50s)", word, old);
}

static int letters(const char *label) {
    int count = 0;
    for (; *label; label++)
        count += ((unsigned char)*label & 0xC0) != 0x80;
    return count;
}

/* One link of a chain of functions: the node that it is a function of, -1 when this is none. */
static int link_of(const car_figure *figure, int node) {
    const car_node *here = node_of(figure, node);
    if (here->op >= CAR_OP_NEGATE && here->op <= CAR_OP_ABS)
        return here->a;
    if (here->op == CAR_OP_MEAN)
        return here->a;
    if (here->op >= CAR_OP_ADD && here->op <= CAR_OP_DIVIDE) {
        if (is_constant(figure, here->a))
            return here->b;
        if (is_constant(figure, here->b))
            return here->a;
    }
    return -1;
}

/* Puts the word of one link around the label. */
static void wrap_link(const car_figure *figure, int node, char *label) {
    const car_node *here = node_of(figure, node);
    char number[32], before[40], after[40] = "";
    if (here->op == CAR_OP_NEGATE && strcmp(label, "softplus(−)") == 0) {
        snprintf(label, CAR_LABEL_LIMIT, "log σ");
        return;
    }
    if (here->op == CAR_OP_NEGATE) {
        wrap(label, "−", "");
        return;
    }
    if (here->b < 0) {
        wrap_function(label, function_word(here->op));
        return;
    }
    bool first = is_constant(figure, here->a);
    snprintf(number, sizeof number, "%.4g", node_of(figure, first ? here->a : here->b)->value);
    static const char *const signs[] = {"+", "−", "×", "/"};
    const char *sign = signs[here->op - CAR_OP_ADD];
    if (first && (here->op == CAR_OP_SUBTRACT || here->op == CAR_OP_DIVIDE)) {
        snprintf(before, sizeof before, "%s%s", number, sign);
        wrap(label, before, "");
    } else if (here->op == CAR_OP_MULTIPLY) {
        snprintf(before, sizeof before, "%s%s", number, *label && is_word(label) ? "" : "×");
        wrap(label, before, "");
    } else {
        snprintf(after, sizeof after, "%s%s", sign, number);
        wrap(label, "", after);
    }
}

/* ---- Parts -------------------------------------------------------------------------------------------- */

static int part_for(car_figure *figure, int node);

/* Nodes from the outermost function inwards. */
typedef struct car_chain {
    int count, links[16];
    int inner; /* the node that the innermost is a function of */
} car_chain;

/* Follows functions and layernorms that vanish in each other. */
static void follow_chain(const car_figure *figure, int node, car_chain *chain) {
    chain->count = 0;
    chain->inner = node;
    char label[CAR_LABEL_LIMIT] = "";
    while (chain->count < 16) {
        int at = chain->inner, normed = layernorm_of(figure, at),
            next = normed >= 0 ? normed : link_of(figure, at);
        bool allowed = at == node || is_hidden(figure, at, 1) ||
                       (chain->count > 0 && is_hidden(figure, at, 2) &&
                        layernorm_of(figure, chain->links[chain->count - 1]) == at);
        if (next < 0 || !allowed)
            break;
        if (normed < 0)
            wrap_link(figure, at, label);
        if (letters(label) > LABEL_LETTERS)
            break;
        chain->links[chain->count++] = at;
        chain->inner = next;
    }
}

/* The label of links [begin, end), which stand from the outside inwards. */
static void label_links(const car_figure *figure, const car_chain *chain, int begin, int end,
                        char *label) {
    for (int i = end - 1; i >= begin; i--) {
        if (layernorm_of(figure, chain->links[i]) >= 0)
            wrap_function(label, "norm");
        else
            wrap_link(figure, chain->links[i], label);
    }
}

static bool may_open(const car_figure *figure, const car_chain *chain, int node) {
    if (chain->count == 0)
        return true;
    bool normed = layernorm_of(figure, chain->links[chain->count - 1]) >= 0;
    return is_hidden(figure, chain->inner, normed ? 2 : 1) || chain->inner == node;
}

/* The bias last, as people write it. */
static void name_weights(const car_figure *figure, const car_sum *sum, char *weights) {
    for (int pass = 0; pass < 2; pass++)
        for (int t = 0; t < sum->count; t++)
            if (sum->terms[t].parameter >= 0 && (sum->terms[t].value < 0) == (pass == 1))
                append(weights, figure->cell->parameters[sum->terms[t].parameter].name);
}

static bool feed_sum(car_figure *figure, int number, const car_sum *sum) {
    for (int t = 0; t < sum->count; t++) {
        const car_term *term = &sum->terms[t];
        int from = term->value >= 0 ? part_for(figure, term->value) : 0;
        if (from < 0)
            return false;
        if (term->value >= 0)
            add_feed(&figure->parts[number], from, sum->matrices > 0 && !term->matrix, NULL);
    }
    return true;
}

/* A layer, or a function of one value, with all that vanishes in it. -2: it is neither; -1: no room. */
static int make_layer(car_figure *figure, int node) {
    car_part made = {.kind = CAR_PART_FUNCTION};
    car_chain chain;
    car_sum sum = {0};
    int inner = node;
    follow_chain(figure, node, &chain);
    label_links(figure, &chain, 0, chain.count, made.label);
    inner = chain.inner;
    if (may_open(figure, &chain, node))
        collect_sum(figure, inner, true, &sum);
    bool scaled = sum.count > 0 && sum.matrices == 0 && sum.values == 1 &&
                  (!sum.raw || sum.count > 1); /* gain and shift of one value */
    if (scaled) {
        name_weights(figure, &sum, made.weights);
        int value = 0;
        for (int t = 0; t < sum.count; t++)
            if (sum.terms[t].value >= 0)
                value = sum.terms[t].value;
        sum = (car_sum){0};
        car_chain before = {.inner = value};
        if (is_hidden(figure, value, 1))
            follow_chain(figure, value, &before);
        label_links(figure, &before, 0, before.count, made.inner);
        inner = before.inner;
        if (before.count > 0 && may_open(figure, &before, value))
            collect_sum(figure, inner, true, &sum);
    }
    bool layer = sum.matrices > 0 && !sum.raw;
    if (!layer && !scaled && chain.count == 0)
        return -2;
    int number = add_part(figure, layer ? CAR_PART_LAYER : CAR_PART_FUNCTION);
    if (number < 0)
        return -1;
    car_part *part = &figure->parts[number];
    if (layer) {
        name_weights(figure, &sum, part->weights);
        if (*made.weights)
            append(part->weights, made.weights);
    } else {
        memcpy(part->weights, made.weights, sizeof part->weights);
    }
    memcpy(part->label, made.label, sizeof part->label);
    memcpy(part->inner, made.inner, sizeof part->inner);
    if (!*part->label)
        snprintf(part->label, sizeof part->label, layer ? "linear" : "scale");
    if (layer)
        return feed_sum(figure, number, &sum) ? number : -1;
    int from = part_for(figure, inner);
    if (from < 0)
        return -1;
    add_feed(&figure->parts[number], from, false, NULL);
    return number;
}

static int make_step(car_figure *figure, int node) {
    const car_node *here = node_of(figure, node);
    int number = add_part(figure, CAR_PART_STEP);
    if (number < 0)
        return -1;
    static const char *const words[] = {"+", "−", "×", "÷"};
    const char *word = here->op >= CAR_OP_ADD && here->op <= CAR_OP_DIVIDE
                           ? words[here->op - CAR_OP_ADD]
                           : car_op_text(here->op);
    snprintf(figure->parts[number].label, CAR_LABEL_LIMIT, "%s", word);
    int a = part_for(figure, here->a), b = a < 0 ? -1 : part_for(figure, here->b);
    if (b < 0)
        return -1;
    bool ordered = here->op == CAR_OP_SUBTRACT || here->op == CAR_OP_DIVIDE;
    add_feed(&figure->parts[number], a, false, NULL);
    add_feed(&figure->parts[number], b, false, ordered ? word : NULL);
    return number;
}

static int make_leaf(car_figure *figure, const car_node *here) {
    int number = add_part(figure, here->op == CAR_OP_INPUT   ? CAR_PART_INPUT
                                  : here->op == CAR_OP_STATE ? CAR_PART_STATE
                                                             : CAR_PART_LEAF);
    if (number < 0)
        return -1;
    car_part *part = &figure->parts[number];
    const struct car_cell *cell = figure->cell;
    if (here->op == CAR_OP_STATE)
        part->state = here->index;
    if (here->op == CAR_OP_CONSTANT)
        snprintf(part->label, sizeof part->label, "%.4g", here->value);
    else
        snprintf(part->label, sizeof part->label, "%.40s",
                 here->op == CAR_OP_INPUT   ? cell->input_name
                 : here->op == CAR_OP_STATE ? cell->state_names[here->index]
                                            : cell->parameters[here->index].name);
    return number;
}

/* The part that makes a node's value; -1: no room. Recursion is as deep as the equations, at most the part limit. */
static int part_for(car_figure *figure, int node) {
    if (figure->of_node[node] >= 0)
        return figure->of_node[node];
    const car_node *here = node_of(figure, node);
    int number = -2;
    if (here->op <= CAR_OP_VECTOR)
        number = make_leaf(figure, here);
    if (number == -2)
        number = make_layer(figure, node);
    if (number == -2)
        number = make_step(figure, node);
    if (number < 0)
        return -1;
    car_part *part = &figure->parts[number];
    part->node = node;
    if (here->op > CAR_OP_VECTOR)
        part->name = figure->cell->graph.names[node];
    for (int g = 0; g < figure->cell->gate_count; g++)
        part->gate |= figure->cell->gates[g] == node;
    figure->of_node[node] = number;
    return number;
}

/* ---- Merges and ends ---------------------------------------------------------------------------------- */

static bool same_feeds(const car_part *one, const car_part *other) {
    if (one->feed_count != other->feed_count)
        return false;
    for (int i = 0; i < one->feed_count; i++) {
        bool found = false;
        for (int k = 0; k < other->feed_count; k++)
            found |= one->feeds[i].part == other->feeds[k].part;
        if (!found)
            return false;
    }
    return true;
}

/* What a layer concatenates becomes a merge of its own, shared by the layers that concatenate the same. */
static bool merge_feeds(car_figure *figure, int number) {
    car_part *layer = &figure->parts[number], wanted = {.kind = CAR_PART_MERGE};
    car_feed feeds[CAR_FEED_LIMIT], beside[CAR_FEED_LIMIT];
    int beside_count = 0, merge = -1;
    wanted.feeds = feeds;
    for (int i = 0; i < layer->feed_count; i++)
        if (layer->feeds[i].beside)
            beside[beside_count++] = layer->feeds[i];
        else
            feeds[wanted.feed_count++] = layer->feeds[i];
    if (wanted.feed_count < 2)
        return true;
    for (int i = 0; i < figure->count && merge < 0; i++)
        if (figure->parts[i].kind == CAR_PART_MERGE && same_feeds(&figure->parts[i], &wanted))
            merge = i;
    if (merge < 0) {
        merge = add_part(figure, CAR_PART_MERGE);
        if (merge < 0)
            return false;
        figure->parts[merge].feed_count = wanted.feed_count;
        memcpy(figure->parts[merge].feeds, feeds, sizeof feeds[0] * (size_t)wanted.feed_count);
        layer = &figure->parts[number];
    }
    layer->feed_count = 0;
    add_feed(layer, merge, false, NULL);
    for (int i = 0; i < beside_count; i++)
        add_feed(layer, beside[i].part, true, NULL);
    return true;
}

static bool add_ends(car_figure *figure) {
    const struct car_cell *cell = figure->cell;
    for (int s = 0; s <= cell->state_count; s++) {
        bool output = s == cell->state_count;
        int from = part_for(figure, output ? cell->output : cell->next[s]);
        int number = from < 0 ? -1 : add_part(figure, output ? CAR_PART_OUTPUT : CAR_PART_NEXT);
        if (number < 0)
            return false;
        car_part *part = &figure->parts[number];
        part->state = output ? -1 : s;
        add_feed(part, from, false, NULL);
    }
    return true;
}

/* A state that is never read has no part yet, and its belt no beginning. */
static bool add_unread_states(car_figure *figure) {
    for (int s = 0; s < figure->cell->state_count; s++) {
        bool found = false;
        for (int i = 0; i < figure->count; i++)
            found |= figure->parts[i].kind == CAR_PART_STATE && figure->parts[i].state == s;
        if (found)
            continue;
        int number = add_part(figure, CAR_PART_STATE);
        if (number < 0)
            return false;
        figure->parts[number].state = s;
        snprintf(figure->parts[number].label, CAR_LABEL_LIMIT, "%.40s",
                 figure->cell->state_names[s]);
    }
    return true;
}

car_status car_figure_read(car_figure *figure, const struct car_cell *cell, car_arena *arena,
                           car_error *error) {
    size_t nodes = (size_t)cell->graph.count;
    *figure = (car_figure){.cell = cell, .arena = arena};
    figure->parts = car_arena_allocate(arena, CAR_PART_LIMIT, sizeof *figure->parts);
    figure->of_node = car_arena_allocate(arena, nodes, sizeof *figure->of_node);
    figure->uses = car_arena_allocate(arena, nodes, sizeof *figure->uses);
    if (!figure->parts || !figure->of_node || !figure->uses)
        return car_fail(error, CAR_MEMORY, "no memory for the picture of %s", cell->name);
    for (size_t i = 0; i < nodes; i++)
        figure->of_node[i] = -1;
    count_uses(figure);
    bool done = add_ends(figure) && add_unread_states(figure);
    for (int i = 0, count = figure->count; i < count && done; i++)
        if (figure->parts[i].kind == CAR_PART_LAYER)
            done = merge_feeds(figure, i);
    if (!done && figure->count < CAR_PART_LIMIT)
        return car_fail(error, CAR_MEMORY, "no memory for the picture of %s", cell->name);
    if (!done)
        return car_fail(error, CAR_DATA,
                        "%s: too large for a picture (more than %d parts); see carousel cell "
                        "explain",
                        cell->origin, CAR_PART_LIMIT);
    return CAR_OK;
}

void car_part_extent(const car_part *part, int *half_width, int *half_height) {
    *half_width = *half_height = 1;
    if (part->kind == CAR_PART_LAYER || (part->kind == CAR_PART_FUNCTION && *part->weights)) {
        double letters_wide = fmax(car_font_width(part->weights, 11, false),
                                   car_font_width(part->label, 15, true) + 36);
        if (part->name)
            letters_wide = fmax(letters_wide, car_font_width(part->name, 14, true) + 40);
        *half_width = (int)fmax(3, ceil((letters_wide / 2 + 4) / 14));
        *half_height = *part->inner ? 3 : 2;
    } else if (part->kind == CAR_PART_FUNCTION || part->kind == CAR_PART_LEAF ||
               part->kind == CAR_PART_STEP) {
        double wide = car_font_width(part->label, 14, true);
        *half_width = (int)fmax(1, ceil((wide / 2 + 5) / 14));
    } else {
        *half_width = *half_height = 0;
    }
}
