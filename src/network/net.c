/*
 * net: the text of a net becomes a list of layers and a head.
 *
 * In:  `embed 128 | rnn 512 x2 dropout 0.5 | softmax`, and the caller's cells. Grammar: docs/nets.md.
 * Out: a car_net whose layers have `xN` written out and own their cells, or CAR_USAGE with the place.
 *
 * A recursive descent over words: one pass, no lookahead beyond the present word. Cells are looked up among those
 * the net has already, then the caller's, then the zoo, and are compiled anew from their text, so that a net owns
 * all that it needs. Sizes are checked where they are known: here when the net starts with `embed`, else when a
 * model gives the input size.
 */
#include "network.h"
#include <string.h>

typedef struct net_parser {
    const char *text;
    size_t length;
    size_t start, end; /* the present word; start == length: the end of the text */
    const car_cell *const *cells;
    int cell_count;
    bool files;
    const car_allocator *allocator;
    struct car_net *net;
    car_text normal; /* the text with cell:FILE replaced by names */
    size_t copied;   /* how much of the text `normal` has */
    car_error *error;
} net_parser;

typedef struct word_place {
    int line, column;
} word_place;

static word_place place_of(const net_parser *parser, size_t position) {
    word_place place = {1, 1};
    for (size_t k = 0; k < position; k++) {
        place.column++;
        if (parser->text[k] == '\n') {
            place.line++;
            place.column = 1;
        }
    }
    return place;
}

static car_status fail(const net_parser *parser, size_t position, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static car_status fail(const net_parser *parser, size_t position, const char *format, ...) {
    char message[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    word_place place = place_of(parser, position);
    return car_fail_at(parser->error, CAR_USAGE, place.line, place.column, "net: %s", message);
}

static car_status fail_memory(const net_parser *parser) {
    return car_fail(parser->error, CAR_MEMORY, "net: out of memory");
}

/* ---- Words -------------------------------------------------------------------------------------------- */

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void next_word(net_parser *parser) {
    size_t at = parser->end;
    while (at < parser->length && is_space(parser->text[at]))
        at++;
    parser->start = at;
    if (at < parser->length && parser->text[at] == '|') {
        at++;
    } else {
        while (at < parser->length && !is_space(parser->text[at]) && parser->text[at] != '|')
            at++;
    }
    parser->end = at;
}

static bool at_end(const net_parser *parser) {
    return parser->start == parser->length;
}

static bool word_is(const net_parser *parser, const char *word) {
    size_t length = parser->end - parser->start;
    return length == strlen(word) && memcmp(parser->text + parser->start, word, length) == 0;
}

static bool at_bar(const net_parser *parser) {
    return word_is(parser, "|");
}

/* The present word for a message: length and start of at most 60 bytes. */
static int shown_length(const net_parser *parser) {
    size_t length = parser->end - parser->start;
    return (int)(length < 60 ? length : 60);
}

static const char *shown(const net_parser *parser) {
    return parser->text + parser->start;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Whether the word from `skip` on is digits; *value is cut at 2^31 - 1. */
static bool read_count(const net_parser *parser, size_t skip, int *value) {
    int64_t sum = 0;
    size_t first = parser->start + skip;
    if (first >= parser->end)
        return false;
    for (size_t at = first; at < parser->end; at++) {
        if (!is_digit(parser->text[at]))
            return false;
        sum = sum * 10 + (parser->text[at] - '0');
        if (sum > INT32_MAX)
            sum = INT32_MAX;
    }
    *value = (int)sum;
    return true;
}

/* digits[.digits], read without the locale. */
static bool read_fraction(const net_parser *parser, double *value) {
    double sum = 0, scale = 1;
    bool point = false, digits = false;
    for (size_t at = parser->start; at < parser->end; at++) {
        char c = parser->text[at];
        if (c == '.' && digits && !point) {
            point = true;
        } else if (is_digit(c)) {
            sum = sum * 10 + (c - '0');
            scale *= point ? 10 : 1;
            digits = true;
        } else {
            return false;
        }
    }
    *value = sum / scale;
    return digits && scale < 1e300;
}

/* ---- Cells -------------------------------------------------------------------------------------------- */

static struct car_cell *cell_of_net(const struct car_net *net, const char *name, size_t length) {
    for (int i = 0; i < net->cell_count; i++)
        if (strlen(net->cells[i]->name) == length && memcmp(net->cells[i]->name, name, length) == 0)
            return net->cells[i];
    return NULL;
}

static car_status take_copy(net_parser *parser, const struct car_cell *given,
                            struct car_cell **cell) {
    CAR_TRY(car_cell_copy(given, parser->allocator, cell, parser->error));
    parser->net->cells[parser->net->cell_count++] = *cell;
    return CAR_OK;
}

static car_status compile_known(net_parser *parser, const char *name, struct car_cell **cell) {
    const char *text = car_zoo_text(name);
    CAR_TRY(car_cell_compile(text, strlen(text), name, parser->allocator, cell, parser->error));
    parser->net->cells[parser->net->cell_count++] = *cell;
    return CAR_OK;
}

static car_status cell_from_name(net_parser *parser, struct car_cell **cell) {
    const char *name = parser->text + parser->start;
    size_t length = parser->end - parser->start;
    *cell = cell_of_net(parser->net, name, length);
    if (*cell)
        return CAR_OK;
    for (int i = 0; i < parser->cell_count; i++) {
        const struct car_cell *given = parser->cells[i];
        if (strlen(given->name) == length && memcmp(given->name, name, length) == 0)
            return take_copy(parser, given, cell);
    }
    for (int i = 0; i < car_zoo_count(); i++) {
        const char *known = car_zoo_name(i);
        if (strlen(known) == length && memcmp(known, name, length) == 0)
            return compile_known(parser, known, cell);
    }
    return fail(parser, parser->start,
                "no cell `%.*s`; write one of the zoo (`carousel cell list` names them) or "
                "cell:FILE",
                shown_length(parser), shown(parser));
}

/* Keeps the net's text as it is up to the present word, then `name`. */
static void replace_word(net_parser *parser, const char *name) {
    car_text_add(&parser->normal, parser->text + parser->copied, parser->start - parser->copied);
    car_text_add(&parser->normal, name, strlen(name));
    parser->copied = parser->end;
}

static car_status add_file_cell(net_parser *parser, const char *text, size_t length,
                                const char *path, struct car_cell **cell) {
    struct car_cell *fresh;
    CAR_TRY(car_cell_compile(text, length, path, parser->allocator, &fresh, parser->error));
    *cell = cell_of_net(parser->net, fresh->name, strlen(fresh->name));
    if (!*cell) {
        *cell = fresh;
        parser->net->cells[parser->net->cell_count++] = fresh;
        return CAR_OK;
    }
    bool same = strcmp((*cell)->text, fresh->text) == 0;
    car_cell_free(fresh);
    if (!same)
        return fail(parser, parser->start,
                    "two different cells are named `%.60s`; rename one of them", (*cell)->name);
    return CAR_OK;
}

static car_status cell_from_file(net_parser *parser, struct car_cell **cell) {
    size_t skip = strlen("cell:"), length;
    if (!parser->files)
        return fail(parser, parser->start, "cell:FILE is not allowed here; write the cell's name");
    if (parser->end - parser->start == skip)
        return fail(parser, parser->start,
                    "cell: without a file; write cell:FILE, for example cell:my.cell");
    char *path = car_arena_copy(parser->net->arena, parser->text + parser->start + skip,
                                parser->end - parser->start - skip);
    if (!path)
        return fail_memory(parser);
    char *text;
    car_status status =
        car_file_read(path, 1 << 20, parser->allocator, &text, &length, parser->error);
    if (status != CAR_OK) {
        word_place place = place_of(parser, parser->start);
        if (parser->error) {
            parser->error->line = place.line;
            parser->error->column = place.column;
        }
        return status;
    }
    status = add_file_cell(parser, text, length, path, cell);
    car_release(parser->allocator, text);
    if (status == CAR_OK)
        replace_word(parser, (*cell)->name);
    return status;
}

/* ---- Layers ------------------------------------------------------------------------------------------- */

static car_status read_size(net_parser *parser, int limit, int *size) {
    if (!read_count(parser, 0, size))
        return fail(parser, parser->start, "expected a size, a number between 1 and %d", limit);
    if (*size < 1 || *size > limit)
        return fail(parser, parser->start, "`%.*s`: a size is between 1 and %d",
                    shown_length(parser), shown(parser), limit);
    next_word(parser);
    return CAR_OK;
}

/* The fraction after `dropout` or `weightdrop`. */
static car_status read_share(net_parser *parser, const char *word, float *share) {
    double value;
    next_word(parser);
    if (!read_fraction(parser, &value))
        return fail(parser, parser->start, "`%s` needs a fraction, for example %s 0.5", word, word);
    if (value >= 1)
        return fail(parser, parser->start, "a %s of `%.*s` leaves nothing; it must be below 1",
                    word, shown_length(parser), shown(parser));
    *share = (float)value;
    next_word(parser);
    return CAR_OK;
}

static car_status read_dropout(net_parser *parser, car_dropout *dropout) {
    CAR_TRY(read_share(parser, "dropout", &dropout->probability));
    dropout->locked = word_is(parser, "locked");
    if (dropout->locked)
        next_word(parser);
    return CAR_OK;
}

/* Whether the cell has what `weightdrop` drops: products with an operand other than x. */
static bool has_inner_product(const struct car_cell *cell) {
    const car_graph *graph = &cell->graph;
    for (int v = 0; v < graph->count; v++)
        if (graph->nodes[v].op == CAR_OP_PRODUCT &&
            graph->nodes[graph->nodes[v].a].op != CAR_OP_INPUT)
            return true;
    return false;
}

static car_status read_weight_drop(net_parser *parser, car_net_layer *layer) {
    if (!has_inner_product(layer->cell))
        return fail(parser, parser->start,
                    "`weightdrop` drops weights of products with something other than x, and "
                    "`%.60s` has none; take it away",
                    layer->cell->name);
    return read_share(parser, "weightdrop", &layer->weight_drop);
}

static car_status read_init(net_parser *parser, car_init *init) {
    next_word(parser);
    char scheme[64];
    size_t length = parser->end - parser->start;
    car_status status = CAR_USAGE;
    if (length < sizeof scheme) {
        memcpy(scheme, parser->text + parser->start, length);
        scheme[length] = '\0';
        status = car_init_parse(scheme, init, NULL);
    }
    if (status != CAR_OK || init->kind == CAR_INIT_NUMBER || init->kind == CAR_INIT_CHRONO)
        return fail(
            parser, parser->start,
            "`%.*s` is no init scheme of matrices; write uniform, uniform(0.1), orthogonal, "
            "identity*1 or walk",
            shown_length(parser), shown(parser));
    next_word(parser);
    return CAR_OK;
}

enum { SEEN_COPIES = 1, SEEN_DROPOUT = 2, SEEN_RESIDUAL = 4, SEEN_BI = 8, SEEN_INIT = 16 };
enum { SEEN_POOL = 32, SEEN_TIE = 64, SEEN_WEIGHT_DROP = 128 };

static car_status once(const net_parser *parser, unsigned *seen, unsigned what) {
    if (*seen & what)
        return fail(parser, parser->start, "`%.*s` stands here twice; take one away",
                    shown_length(parser), shown(parser));
    *seen |= what;
    return CAR_OK;
}

static car_status read_copies(net_parser *parser, int *copies) {
    read_count(parser, 1, copies);
    if (*copies < 1 || *copies > CAR_NET_LAYER_LIMIT)
        return fail(parser, parser->start, "`%.*s`: the number of copies is between 1 and %d",
                    shown_length(parser), shown(parser), CAR_NET_LAYER_LIMIT);
    next_word(parser);
    return CAR_OK;
}

static car_status read_options(net_parser *parser, car_net_layer *layer, int *copies) {
    unsigned seen = 0;
    int ignored;
    while (!at_end(parser) && !at_bar(parser)) {
        if (shown(parser)[0] == 'x' && read_count(parser, 1, &ignored)) {
            CAR_TRY(once(parser, &seen, SEEN_COPIES));
            CAR_TRY(read_copies(parser, copies));
        } else if (word_is(parser, "dropout")) {
            CAR_TRY(once(parser, &seen, SEEN_DROPOUT));
            CAR_TRY(read_dropout(parser, &layer->dropout));
        } else if (word_is(parser, "weightdrop")) {
            CAR_TRY(once(parser, &seen, SEEN_WEIGHT_DROP));
            CAR_TRY(read_weight_drop(parser, layer));
        } else if (word_is(parser, "init")) {
            CAR_TRY(once(parser, &seen, SEEN_INIT));
            CAR_TRY(read_init(parser, &layer->init));
        } else if (word_is(parser, "residual")) {
            CAR_TRY(once(parser, &seen, SEEN_RESIDUAL));
            layer->residual = true;
            next_word(parser);
        } else if (word_is(parser, "bi")) {
            CAR_TRY(once(parser, &seen, SEEN_BI));
            layer->bidirectional = true;
            next_word(parser);
        } else {
            return fail(parser, parser->start,
                        "unexpected `%.*s`; after a cell and its size stand xN, dropout P, "
                        "dropout P locked, weightdrop P, residual, bi, init SCHEME, then `|`",
                        shown_length(parser), shown(parser));
        }
    }
    return CAR_OK;
}

static car_status read_embed(net_parser *parser) {
    struct car_net *net = parser->net;
    if (net->layer_count > 0 || net->patch > 1)
        return fail(parser, parser->start, "`embed` stands first: only ids can be looked up");
    word_place place = place_of(parser, parser->start);
    car_net_layer *layer = &net->layers[net->layer_count++];
    *layer = (car_net_layer){.kind = CAR_LAYER_EMBED, .line = place.line, .column = place.column};
    next_word(parser);
    CAR_TRY(read_size(parser, CAR_NET_SIZE_LIMIT, &layer->units));
    if (word_is(parser, "init"))
        CAR_TRY(read_init(parser, &layer->init));
    if (word_is(parser, "dropout"))
        return fail(parser, parser->start,
                    "put `dropout` after the layer that follows: it drops that "
                    "layer's input");
    if (!at_end(parser) && !at_bar(parser))
        return fail(parser, parser->start,
                    "unexpected `%.*s`; after `embed N` stand init SCHEME, then `|`",
                    shown_length(parser), shown(parser));
    return CAR_OK;
}

/* `patch N` reads values; it is no layer of its own. */
static car_status read_patch(net_parser *parser) {
    struct car_net *net = parser->net;
    if (net->layer_count > 0 || net->patch > 1)
        return fail(parser, parser->start,
                    "`patch` stands first, once: it puts steps of the input side by side");
    size_t start = parser->start;
    next_word(parser);
    CAR_TRY(read_size(parser, CAR_NET_PATCH_LIMIT, &net->patch));
    if (net->patch < 2)
        return fail(parser, start, "`patch` of one step changes nothing; take it away");
    if (!at_end(parser) && !at_bar(parser))
        return fail(parser, parser->start, "unexpected `%.*s`; after `patch N` stands `|`",
                    shown_length(parser), shown(parser));
    return CAR_OK;
}

static bool is_reserved(const net_parser *parser) {
    return word_is(parser, "ctc");
}

static car_status read_cell_name(net_parser *parser, struct car_cell **cell) {
    if (is_reserved(parser))
        return fail(parser, parser->start,
                    "`%.*s` is reserved for a later version; heads are softmax, sigmoid, linear, "
                    "quantile, gaussian and studentt",
                    shown_length(parser), shown(parser));
    bool from_file = parser->end - parser->start >= 5 && memcmp(shown(parser), "cell:", 5) == 0;
    CAR_TRY(from_file ? cell_from_file(parser, cell) : cell_from_name(parser, cell));
    next_word(parser);
    return CAR_OK;
}

static car_status read_layer(net_parser *parser) {
    struct car_net *net = parser->net;
    size_t start = parser->start;
    word_place place = place_of(parser, start);
    car_net_layer layer = {.kind = CAR_LAYER_CELL, .line = place.line, .column = place.column};
    struct car_cell *cell;
    int copies = 1, ignored;
    CAR_TRY(read_cell_name(parser, &cell));
    layer.cell = cell;
    if (read_count(parser, 0, &ignored))
        CAR_TRY(read_size(parser, CAR_NET_SIZE_LIMIT, &layer.units));
    else if (!cell->input_is_hidden)
        return fail(parser, start, "`%.60s` needs a size, for example %.60s 128", cell->name,
                    cell->name);
    CAR_TRY(read_options(parser, &layer, &copies));
    if (net->layer_count + copies > CAR_NET_LAYER_LIMIT)
        return fail(parser, start, "more than %d layers; take some away", CAR_NET_LAYER_LIMIT);
    for (int i = 0; i < copies; i++)
        net->layers[net->layer_count++] = layer;
    net->bidirectional |= layer.bidirectional;
    return CAR_OK;
}

/* ---- Head --------------------------------------------------------------------------------------------- */

static bool read_head_kind(const net_parser *parser, car_head_kind *kind) {
    static const char *const words[] = {"softmax",  "sigmoid",  "linear",
                                        "quantile", "gaussian", "studentt"};
    for (int i = 0; i < 6; i++) {
        if (word_is(parser, words[i])) {
            *kind = (car_head_kind)i;
            return true;
        }
    }
    return false;
}

static bool read_pool_kind(const net_parser *parser, car_head_pool *pool) {
    static const char *const words[] = {"each", "last", "mean"};
    for (int i = 0; i < 3; i++) {
        if (word_is(parser, words[i])) {
            *pool = (car_head_pool)i;
            return true;
        }
    }
    return false;
}

/* The numbers after `quantile`; without any 0.1, 0.5 and 0.9. */
static car_status read_levels(net_parser *parser) {
    struct car_net *net = parser->net;
    double level;
    while (!at_end(parser) &&
           car_number_parse(shown(parser), parser->end - parser->start, &level)) {
        double before = net->level_count ? net->levels[net->level_count - 1] : 0;
        if (!(level > before && level < 1) || net->level_count == CAR_NET_LEVEL_LIMIT)
            return fail(parser, parser->start,
                        "`%.*s`: the levels of quantiles rise from above 0 to below 1, %d at most",
                        shown_length(parser), shown(parser), CAR_NET_LEVEL_LIMIT);
        net->levels[net->level_count++] = level;
        next_word(parser);
    }
    if (net->level_count == 0) {
        static const double usual[] = {0.1, 0.5, 0.9};
        memcpy(net->levels, usual, sizeof usual);
        net->level_count = 3;
    }
    return CAR_OK;
}

static car_status read_tie(net_parser *parser, unsigned *seen) {
    struct car_net *net = parser->net;
    CAR_TRY(once(parser, seen, SEEN_TIE));
    word_place place = place_of(parser, parser->start);
    if (net->layers[0].kind != CAR_LAYER_EMBED)
        return fail(parser, parser->start,
                    "`tie` needs `embed`: the head takes the embedding's matrix");
    net->tie = true;
    net->tie_line = place.line;
    net->tie_column = place.column;
    next_word(parser);
    return CAR_OK;
}

static car_status read_head_options(net_parser *parser) {
    struct car_net *net = parser->net;
    unsigned seen = 0;
    while (!at_end(parser) && !at_bar(parser)) {
        if (read_pool_kind(parser, &net->pool)) {
            if (seen & SEEN_POOL)
                return fail(parser, parser->start, "a head has one of each, last and mean");
            seen |= SEEN_POOL;
            next_word(parser);
        } else if (word_is(parser, "tie")) {
            CAR_TRY(read_tie(parser, &seen));
        } else if (word_is(parser, "dropout")) {
            CAR_TRY(once(parser, &seen, SEEN_DROPOUT));
            CAR_TRY(read_dropout(parser, &net->head_dropout));
        } else if (word_is(parser, "init")) {
            CAR_TRY(once(parser, &seen, SEEN_INIT));
            CAR_TRY(read_init(parser, &net->head_init));
        } else {
            return fail(parser, parser->start,
                        "unexpected `%.*s`; after a head stand each, last or mean, tie, dropout P, "
                        "init SCHEME",
                        shown_length(parser), shown(parser));
        }
    }
    if (net->tie && (seen & SEEN_INIT))
        return fail(parser, parser->start, "`init` of a tied head stands after `embed`");
    return CAR_OK;
}

static car_status read_head(net_parser *parser) {
    struct car_net *net = parser->net;
    if (net->layer_count == 0)
        return fail(parser, parser->start, "a head needs a layer before it, for example dense 64");
    net->head_dropout = net->layers[net->layer_count - 1].dropout;
    next_word(parser);
    if (net->head == CAR_HEAD_QUANTILE)
        CAR_TRY(read_levels(parser));
    CAR_TRY(read_head_options(parser));
    if (!at_end(parser))
        return fail(parser, parser->start, "nothing stands after the head; take it away");
    return CAR_OK;
}

/* ---- The whole ---------------------------------------------------------------------------------------- */

static car_status read_net(net_parser *parser) {
    for (;;) {
        if (at_end(parser))
            return fail(parser, parser->start,
                        "needs a head; end with `| softmax`, `| sigmoid` or `| linear`");
        if (at_bar(parser))
            return fail(parser, parser->start, "expected a layer or a head between two `|`");
        if (read_head_kind(parser, &parser->net->head))
            return read_head(parser);
        CAR_TRY(word_is(parser, "embed")   ? read_embed(parser)
                : word_is(parser, "patch") ? read_patch(parser)
                                           : read_layer(parser));
        if (at_bar(parser))
            next_word(parser);
    }
}

static car_status check_text(const char *text, size_t length, car_error *error) {
    if (length > CAR_NET_TEXT_LIMIT)
        return car_fail(error, CAR_USAGE, "net: text of %zu bytes; at most %d are read", length,
                        CAR_NET_TEXT_LIMIT);
    size_t at = 0;
    while (at < length && is_space(text[at]))
        at++;
    if (at == length)
        return car_fail_at(error, CAR_USAGE, 1, 1,
                           "net: empty; write for example: embed 128 | rnn 256 | softmax");
    return CAR_OK;
}

static car_status finish_text(net_parser *parser) {
    struct car_net *net = parser->net;
    car_text_add(&parser->normal, parser->text + parser->copied, parser->length - parser->copied);
    if (!parser->normal.failed)
        net->text = car_arena_copy(net->arena, parser->normal.data, parser->normal.length);
    return net->text ? CAR_OK : fail_memory(parser);
}

/* Sizes can be checked now when the net starts with `embed`, whatever its number of ids. */
static car_status check_sizes(net_parser *parser) {
    struct car_net *net = parser->net;
    if (net->layers[0].kind != CAR_LAYER_EMBED)
        return CAR_OK;
    car_layer_sizes *sizes =
        car_arena_allocate(net->arena, (size_t)net->layer_count, sizeof *sizes);
    return sizes ? car_net_sizes(net, 1, sizes, parser->error) : fail_memory(parser);
}

static car_status parse_into(net_parser *parser) {
    struct car_net *net = parser->net;
    net->layers = car_arena_allocate(net->arena, CAR_NET_LAYER_LIMIT, sizeof *net->layers);
    net->cells = car_arena_allocate(net->arena, CAR_NET_LAYER_LIMIT, sizeof(struct car_cell *));
    if (!net->layers || !net->cells)
        return fail_memory(parser);
    next_word(parser);
    CAR_TRY(read_net(parser));
    CAR_TRY(finish_text(parser));
    return check_sizes(parser);
}

car_status car_net_parse_with(const char *text, const car_cell *const *cells, int cell_count,
                              bool files, const car_allocator *allocator, car_net **net,
                              car_error *error) {
    *net = NULL;
    CAR_TRY(check_text(text, strlen(text), error));
    net_parser parser = {.text = text,
                         .length = strlen(text),
                         .cells = cells,
                         .cell_count = cell_count,
                         .files = files,
                         .allocator = allocator,
                         .error = error};
    car_arena *arena = car_arena_create(allocator);
    parser.net = arena ? car_arena_allocate(arena, 1, sizeof *parser.net) : NULL;
    if (!parser.net) {
        car_arena_free(arena);
        return fail_memory(&parser);
    }
    parser.net->arena = arena;
    parser.net->patch = 1;
    car_text_start(&parser.normal, allocator);
    car_status status = parse_into(&parser);
    car_text_free(&parser.normal);
    if (status == CAR_OK)
        *net = parser.net;
    else
        car_net_free(parser.net);
    return status;
}

car_status car_net_parse(const char *text, const car_cell *const *cells, int cell_count,
                         const car_allocator *allocator, car_net **net, car_error *error) {
    return car_net_parse_with(text, cells, cell_count, true, allocator, net, error);
}

void car_net_free(car_net *net) {
    if (!net)
        return;
    for (int i = 0; i < net->cell_count; i++)
        car_cell_free(net->cells[i]);
    car_arena_free(net->arena);
}

const char *car_net_text(const car_net *net) {
    return net->text;
}

/* ---- Sizes -------------------------------------------------------------------------------------------- */

static car_status cell_sizes(const car_net_layer *layer, car_layer_sizes *size, car_error *error) {
    const char *name = layer->cell->name;
    size->units = layer->units > 0 ? layer->units : size->input;
    if (layer->cell->input_is_hidden && size->units != size->input)
        return car_fail_at(
            error, CAR_USAGE, layer->line, layer->column,
            "net: `%.60s %d` uses its input elementwise and needs %d values, but gets "
            "%d; put `dense %d` before",
            name, size->units, size->units, size->input, size->units);
    if (size->units > CAR_NET_SIZE_LIMIT)
        return car_fail_at(
            error, CAR_USAGE, layer->line, layer->column,
            "net: `%.60s` would have %d units; at most %d are possible, put `dense 128` "
            "before",
            name, size->units, CAR_NET_SIZE_LIMIT);
    size->output = size->units * (layer->bidirectional ? 2 : 1);
    if (layer->residual && size->output != size->input)
        return car_fail_at(error, CAR_USAGE, layer->line, layer->column,
                           "net: `residual` adds input and output of `%.60s`, which are %d and %d "
                           "values; put `dense %d` before",
                           name, size->input, size->output, size->output);
    return CAR_OK;
}

car_status car_net_sizes(const struct car_net *net, int input_size, car_layer_sizes *sizes,
                         car_error *error) {
    int input = input_size * net->patch;
    if (input_size > CAR_MODEL_SIZE_LIMIT / net->patch)
        return car_fail_at(
            error, CAR_USAGE, 1, 1,
            "net: `patch %d` of %d values a step are more than %d; take a smaller one", net->patch,
            input_size, CAR_MODEL_SIZE_LIMIT);
    for (int i = 0; i < net->layer_count; i++) {
        const car_net_layer *layer = &net->layers[i];
        sizes[i] = (car_layer_sizes){.input = input, .units = layer->units, .output = layer->units};
        if (layer->kind == CAR_LAYER_CELL)
            CAR_TRY(cell_sizes(layer, &sizes[i], error));
        input = sizes[i].output;
    }
    if (net->tie && input != net->layers[0].units)
        return car_fail_at(
            error, CAR_USAGE, net->tie_line, net->tie_column,
            "net: `tie` needs the last layer's size, %d, to be that of the embedding, %d; "
            "put `project %d` before the head",
            input, net->layers[0].units, net->layers[0].units);
    return CAR_OK;
}
