/*
 * parse.c: tokens -> statements and pieces of expressions. The grammar is docs/cells.md's.
 *
 * Comes in: the text of a cell. Goes out: struct car_parsed, with every place kept for later messages.
 * The pieces of an equation stand side by side with operands before their users, so that no later pass
 * needs recursion. Sugar ends here: W@[x, h] = W.x@x + W.h@h, and
 * layernorm(v) = d * (1 / sqrt(mean(d*d) + 1e-5)), d = v - mean(v): one division a row, none a unit.
 */
#include "syntax.h"
#include <string.h>

typedef struct car_parser {
    car_lexer lexer;
    car_token token; /* the one to be looked at next */
    const car_reporter *reporter;
    car_arena *arena;
    car_parsed *parsed;
    int nesting;
} car_parser;

static const struct {
    const char *name;
    car_op op;
    int arguments;
} functions[] = {
    {"sigmoid", CAR_OP_SIGMOID, 1},   {"tanh", CAR_OP_TANH, 1}, {"relu", CAR_OP_RELU, 1},
    {"exp", CAR_OP_EXP, 1},           {"log", CAR_OP_LOG, 1},   {"sqrt", CAR_OP_SQRT, 1},
    {"softplus", CAR_OP_SOFTPLUS, 1}, {"abs", CAR_OP_ABS, 1},   {"max", CAR_OP_MAX, 2},
    {"min", CAR_OP_MIN, 2},           {"mean", CAR_OP_MEAN, 1}};
static const int function_count = (int)(sizeof functions / sizeof functions[0]);

car_op car_function_op(const char *name) {
    for (int i = 0; i < function_count; i++)
        if (strcmp(functions[i].name, name) == 0)
            return functions[i].op;
    return CAR_OP_COUNT;
}

/* `bi`, a word of nets too, is not here: it is what everyone calls the input gate's bias. */
bool car_is_reserved(const char *name) {
    static const char *const words[] = {"cell",  "state",    "init",     "gate",      "torch",
                                        "embed", "softmax",  "linear",   "each",      "last",
                                        "patch", "dropout",  "residual", "layernorm", "project",
                                        "tie",   "quantile", "gaussian", "studentt",  "ctc"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i], name) == 0)
            return true;
    return car_function_op(name) != CAR_OP_COUNT;
}

/* ---- Tokens ------------------------------------------------------------------------------------------- */

static car_status advance(car_parser *parser) {
    return car_lex(&parser->lexer, &parser->token);
}

static bool token_is(const car_parser *parser, const char *word) {
    const car_token *token = &parser->token;
    return token->kind == CAR_TOKEN_NAME && !token->primed &&
           (size_t)token->length == strlen(word) &&
           strncmp(token->start, word, (size_t)token->length) == 0;
}

/* "expected X but found Y" at the token that is next. */
static car_status expected(const car_parser *parser, const char *what) {
    const car_token *token = &parser->token;
    if (token->kind == CAR_TOKEN_END)
        return car_report(parser->reporter, token->place,
                          "expected %s but the text ends here; complete it", what);
    if (token->kind == CAR_TOKEN_NEWLINE)
        return car_report(parser->reporter, token->place,
                          "expected %s but the line ends here; complete it", what);
    return car_report(parser->reporter, token->place, "expected %s but found '%.*s%s'; change it",
                      what, token->length, token->start, token->primed ? "'" : "");
}

static car_status take(car_parser *parser, int kind, const char *what) {
    if (parser->token.kind != kind)
        return expected(parser, what);
    return advance(parser);
}

static car_status end_of_line(car_parser *parser) {
    if (parser->token.kind == CAR_TOKEN_END)
        return CAR_OK;
    return take(parser, CAR_TOKEN_NEWLINE, "the end of the line");
}

/* Makes room for one more item in a list that lives in the arena. */
static car_status grow(car_parser *parser, void *list, int count, int *capacity, size_t size,
                       int limit, const char *what) {
    void **items = list;
    if (count >= limit)
        return car_report(parser->reporter, parser->token.place,
                          "more than %d %s; split the cell in two layers", limit, what);
    if (count < *capacity)
        return CAR_OK;
    int larger = *capacity ? *capacity * 2 : 8;
    void *block = car_arena_allocate(parser->arena, (size_t)larger, size);
    if (!block)
        return car_report_memory(parser->reporter);
    if (count)
        memcpy(block, *items, (size_t)count * size);
    *items = block;
    *capacity = larger;
    return CAR_OK;
}

static car_status copy_token(car_parser *parser, const char **name) {
    *name = car_arena_copy(parser->arena, parser->token.start, (size_t)parser->token.length);
    return *name ? CAR_OK : car_report_memory(parser->reporter);
}

/* A name that the text gives to something: plain, not reserved. */
static car_status take_new_name(car_parser *parser, struct car_placed_name *name,
                                const char *what) {
    const car_token *token = &parser->token;
    if (token->kind != CAR_TOKEN_NAME)
        return expected(parser, what);
    name->place = token->place;
    CAR_TRY(copy_token(parser, &name->name));
    if (car_is_reserved(name->name))
        return car_report(parser->reporter, token->place,
                          "'%s' is a reserved word; choose another name", name->name);
    if (token->dotted || token->primed)
        return expected(parser, what);
    return advance(parser);
}

/* ---- Expressions -------------------------------------------------------------------------------------- */

static car_status parse_expression(car_parser *parser, int *piece);
static car_status parse_product(car_parser *parser, int *piece);

static car_status add_piece(car_parser *parser, car_piece piece, int *number) {
    car_parsed *parsed = parser->parsed;
    CAR_TRY(grow(parser, &parsed->pieces, parsed->piece_count, &parsed->piece_capacity,
                 sizeof piece, CAR_PIECE_LIMIT, "names and operations"));
    *number = parsed->piece_count;
    parsed->pieces[parsed->piece_count++] = piece;
    return CAR_OK;
}

static car_status add_operation(car_parser *parser, car_op op, int a, int b, car_place place,
                                int *number) {
    return add_piece(
        parser, (car_piece){.kind = CAR_PIECE_OPERATION, .op = op, .a = a, .b = b, .place = place},
        number);
}

static car_status add_number(car_parser *parser, double value, car_place place, int *number) {
    return add_piece(
        parser,
        (car_piece){.kind = CAR_PIECE_NUMBER, .a = -1, .b = -1, .value = value, .place = place},
        number);
}

static car_status enter(car_parser *parser) {
    if (++parser->nesting > CAR_NESTING_LIMIT)
        return car_report(parser->reporter, parser->token.place,
                          "nested more than %d deep; give the inner part a name of its own",
                          CAR_NESTING_LIMIT);
    return CAR_OK;
}

static car_status parse_layernorm(car_parser *parser, int value, car_place place, int *piece) {
    int mean, deviation, square, variance, epsilon, sum, root, one, scale;
    CAR_TRY(add_operation(parser, CAR_OP_MEAN, value, -1, place, &mean));
    CAR_TRY(add_operation(parser, CAR_OP_SUBTRACT, value, mean, place, &deviation));
    CAR_TRY(add_operation(parser, CAR_OP_MULTIPLY, deviation, deviation, place, &square));
    CAR_TRY(add_operation(parser, CAR_OP_MEAN, square, -1, place, &variance));
    CAR_TRY(add_number(parser, 1e-5, place, &epsilon));
    CAR_TRY(add_operation(parser, CAR_OP_ADD, variance, epsilon, place, &sum));
    CAR_TRY(add_operation(parser, CAR_OP_SQRT, sum, -1, place, &root));
    CAR_TRY(add_number(parser, 1, place, &one));
    CAR_TRY(add_operation(parser, CAR_OP_DIVIDE, one, root, place, &scale));
    return add_operation(parser, CAR_OP_MULTIPLY, deviation, scale, place, piece);
}

/* The function's name has been read; '(' is next. */
static car_status parse_call(car_parser *parser, const char *name, car_place place, int *piece) {
    int arguments[2] = {-1, -1}, count = 0, wanted = 1;
    car_op op = car_function_op(name);
    bool layernorm = strcmp(name, "layernorm") == 0;
    if (strcmp(name, "dropout") == 0)
        return car_report(parser->reporter, place,
                          "dropout() inside a cell is reserved; write `dropout 0.5` in the net");
    if (op == CAR_OP_COUNT && !layernorm)
        return car_report(
            parser->reporter, place,
            "unknown function '%s'; there are sigmoid tanh relu exp log sqrt softplus "
            "abs max min mean layernorm",
            name);
    for (int i = 0; i < function_count; i++)
        if (functions[i].op == op)
            wanted = functions[i].arguments;
    CAR_TRY(enter(parser));
    do {
        CAR_TRY(advance(parser));
        int argument;
        CAR_TRY(parse_expression(parser, &argument));
        if (count < 2)
            arguments[count] = argument;
        count++;
    } while (parser->token.kind == ',');
    if (parser->token.kind == ')' && count != wanted)
        return car_report(parser->reporter, place,
                          "%s takes %d argument%s, not %d; correct the call", name, wanted,
                          wanted == 1 ? "" : "s", count);
    CAR_TRY(take(parser, ')', "')' or an operator"));
    parser->nesting--;
    if (layernorm)
        return parse_layernorm(parser, arguments[0], place, piece);
    return add_operation(parser, op, arguments[0], arguments[1], place, piece);
}

/* W@[x, h]: the names in brackets, each multiplied by a matrix of its own. */
static car_status parse_product_list(car_parser *parser, const char *matrix, car_place place,
                                     int *piece) {
    int sum = -1;
    do {
        CAR_TRY(advance(parser));
        const car_token *token = &parser->token;
        if (token->kind != CAR_TOKEN_NAME || token->primed || token->dotted)
            return expected(parser, "a plain name (its matrix is called after it)");
        char full[CAR_NAME_LIMIT * 2 + 2];
        int length = snprintf(full, sizeof full, "%s.%.*s", matrix, token->length, token->start);
        if (strchr(matrix, '.') || length > CAR_NAME_LIMIT)
            return car_report(parser->reporter, token->place,
                              "cannot make the matrix name '%s'; write the products one by one",
                              full);
        car_piece operand = {.kind = CAR_PIECE_NAME, .a = -1, .b = -1, .place = token->place};
        CAR_TRY(copy_token(parser, &operand.name));
        car_piece product = {.kind = CAR_PIECE_PRODUCT, .a = -1, .place = place, .dotted = true};
        product.name = car_arena_copy(parser->arena, full, (size_t)length);
        if (!product.name)
            return car_report_memory(parser->reporter);
        int number;
        CAR_TRY(add_piece(parser, operand, &product.b));
        CAR_TRY(add_piece(parser, product, &number));
        if (sum < 0)
            sum = number;
        else
            CAR_TRY(add_operation(parser, CAR_OP_ADD, sum, number, place, &sum));
        CAR_TRY(advance(parser));
    } while (parser->token.kind == ',');
    *piece = sum;
    return take(parser, ']', "',' or ']'");
}

/* A name: a call, the matrix of a product, or a value. */
static car_status parse_name(car_parser *parser, int *piece) {
    car_token token = parser->token;
    car_piece name = {.kind = CAR_PIECE_NAME,
                      .a = -1,
                      .b = -1,
                      .primed = token.primed,
                      .dotted = token.dotted,
                      .place = token.place};
    CAR_TRY(copy_token(parser, &name.name));
    CAR_TRY(advance(parser));
    if (parser->token.kind == '(' && !token.primed && !token.dotted)
        return parse_call(parser, name.name, token.place, piece);
    if (car_is_reserved(name.name))
        return car_report(parser->reporter, token.place, "'%s' is a reserved word; %s", name.name,
                          car_function_op(name.name) == CAR_OP_COUNT ? "choose another name"
                                                                     : "call it with (…)");
    if (parser->token.kind != '@')
        return add_piece(parser, name, piece);
    if (token.primed)
        return car_report(
            parser->reporter, token.place,
            "%s' [n] stands left of @, where a matrix [n][n] belongs; swap them or use *",
            name.name);
    CAR_TRY(advance(parser));
    if (parser->token.kind == '[')
        return parse_product_list(parser, name.name, token.place, piece);
    name.kind = CAR_PIECE_PRODUCT;
    CAR_TRY(enter(parser));
    CAR_TRY(parse_product(parser, &name.b));
    parser->nesting--;
    return add_piece(parser, name, piece);
}

static car_status parse_product(car_parser *parser, int *piece) {
    const car_token token = parser->token;
    if (token.kind == CAR_TOKEN_NAME)
        return parse_name(parser, piece);
    if (token.kind == CAR_TOKEN_NUMBER) {
        CAR_TRY(advance(parser));
        CAR_TRY(add_number(parser, token.value, token.place, piece));
    } else if (token.kind == '(') {
        CAR_TRY(enter(parser));
        CAR_TRY(advance(parser));
        CAR_TRY(parse_expression(parser, piece));
        CAR_TRY(take(parser, ')', "')' or an operator"));
        parser->nesting--;
    } else {
        return expected(parser, "a name, a number, a function or '('");
    }
    if (parser->token.kind == '@')
        return car_report(
            parser->reporter, token.place,
            "the left of @ must be the name of a matrix [n][n], this is a vector [n]; "
            "name a matrix or use *");
    return CAR_OK;
}

static car_status parse_unary(car_parser *parser, int *piece) {
    if (parser->token.kind != '-')
        return parse_product(parser, piece);
    car_place place = parser->token.place;
    CAR_TRY(enter(parser));
    CAR_TRY(advance(parser));
    CAR_TRY(parse_unary(parser, piece));
    parser->nesting--;
    return add_operation(parser, CAR_OP_NEGATE, *piece, -1, place, piece);
}

static car_status parse_term(car_parser *parser, int *piece) {
    CAR_TRY(parse_unary(parser, piece));
    while (parser->token.kind == '*' || parser->token.kind == '/') {
        car_op op = parser->token.kind == '*' ? CAR_OP_MULTIPLY : CAR_OP_DIVIDE;
        car_place place = parser->token.place;
        int right;
        CAR_TRY(advance(parser));
        CAR_TRY(parse_unary(parser, &right));
        CAR_TRY(add_operation(parser, op, *piece, right, place, piece));
    }
    return CAR_OK;
}

static car_status parse_expression(car_parser *parser, int *piece) {
    CAR_TRY(parse_term(parser, piece));
    while (parser->token.kind == '+' || parser->token.kind == '-') {
        car_op op = parser->token.kind == '+' ? CAR_OP_ADD : CAR_OP_SUBTRACT;
        car_place place = parser->token.place;
        int right;
        CAR_TRY(advance(parser));
        CAR_TRY(parse_term(parser, &right));
        CAR_TRY(add_operation(parser, op, *piece, right, place, piece));
    }
    return CAR_OK;
}

/* ---- Statements --------------------------------------------------------------------------------------- */

/* A cell's name may hold '-' and digits after it, so it is read from the text, not from tokens. */
static car_status parse_cell_name(car_parser *parser) {
    car_lexer *lexer = &parser->lexer;
    if (parser->token.kind != CAR_TOKEN_NAME)
        return expected(parser, "the cell's name");
    car_place place = parser->token.place;
    const char *start = parser->token.start, *end = lexer->text + lexer->length;
    const char *stop = start;
    while (stop < end && (*stop == '-' || *stop == '_' || (*stop >= '0' && *stop <= '9') ||
                          (*stop >= 'a' && *stop <= 'z') || (*stop >= 'A' && *stop <= 'Z')))
        stop++;
    if (stop - start > CAR_NAME_LIMIT)
        return car_report(parser->reporter, place, "a name of %zu characters; use at most %d",
                          (size_t)(stop - start), CAR_NAME_LIMIT);
    const char *name = car_arena_copy(parser->arena, start, (size_t)(stop - start));
    if (!name)
        return car_report_memory(parser->reporter);
    static const char *const net_words[] = {
        "embed", "softmax", "linear",   "sigmoid",    "each",     "last",     "mean",
        "bi",    "dropout", "residual", "tie",        "quantile", "gaussian", "studentt",
        "ctc",   "cell",    "locked",   "weightdrop", "patch"};
    for (size_t i = 0; i < sizeof net_words / sizeof net_words[0]; i++)
        if (strcmp(net_words[i], name) == 0)
            return car_report(parser->reporter, place,
                              "'%s' is a word of nets; give the cell another name", name);
    if (name[0] == 'x' && name[1] && strspn(name + 1, "0123456789") == strlen(name + 1))
        return car_report(parser->reporter, place,
                          "'%s' means repetition in nets; give the cell another name", name);
    parser->parsed->name = name;
    lexer->position = (size_t)(stop - lexer->text);
    return advance(parser);
}

static car_status parse_header(car_parser *parser) {
    if (!token_is(parser, "cell"))
        return expected(parser, "the header `cell NAME(x) -> y`");
    CAR_TRY(advance(parser));
    CAR_TRY(parse_cell_name(parser));
    CAR_TRY(take(parser, '(', "'(' after the cell's name"));
    CAR_TRY(take_new_name(parser, &parser->parsed->input, "a name for the input"));
    CAR_TRY(take(parser, ')', "')' after the input's name"));
    CAR_TRY(take(parser, CAR_TOKEN_ARROW, "'->'"));
    CAR_TRY(take_new_name(parser, &parser->parsed->output, "the name of the output"));
    return end_of_line(parser);
}

static car_status parse_names(car_parser *parser, car_name_list *list, int limit,
                              const char *what) {
    do {
        CAR_TRY(advance(parser));
        CAR_TRY(grow(parser, &list->items, list->count, &list->capacity, sizeof *list->items, limit,
                     what));
        CAR_TRY(take_new_name(parser, &list->items[list->count], "a name"));
        list->count++;
        if (parser->token.kind == '[')
            return car_report(parser->reporter, parser->token.place,
                              "states of another size (`state r[P]`) are reserved; "
                              "use `project P` in the net");
    } while (parser->token.kind == ',');
    return end_of_line(parser);
}

/* The word `init` has been looked at. The value is the rest of the line. */
static car_status parse_init(car_parser *parser) {
    car_parsed *parsed = parser->parsed;
    CAR_TRY(advance(parser));
    CAR_TRY(grow(parser, &parsed->inits, parsed->init_count, &parsed->init_capacity,
                 sizeof *parsed->inits, CAR_LIST_LIMIT, "init lines"));
    car_init_line *line = &parsed->inits[parsed->init_count++];
    if (parser->token.kind != CAR_TOKEN_NAME || parser->token.primed)
        return expected(parser, "the name of a parameter or state");
    line->target.place = parser->token.place;
    CAR_TRY(copy_token(parser, &line->target.name));
    CAR_TRY(advance(parser));
    CAR_TRY(take(parser, '=', "'='"));
    line->place = parser->token.place;
    const char *start = parser->token.start, *end = start;
    if (parser->token.kind == CAR_TOKEN_NEWLINE || parser->token.kind == CAR_TOKEN_END)
        return expected(parser,
                        "a number, uniform, orthogonal, identity*a, walk, chrono(T) or -chrono(T)");
    for (; parser->token.kind != CAR_TOKEN_NEWLINE && parser->token.kind != CAR_TOKEN_END;) {
        end = parser->token.start + parser->token.length;
        CAR_TRY(advance(parser));
    }
    const char *value = car_arena_copy(parser->arena, start, (size_t)(end - start));
    if (!value)
        return car_report_memory(parser->reporter);
    car_error inner = {.status = CAR_OK};
    if (car_init_parse(value, &line->init, &inner) != CAR_OK)
        return car_report(parser->reporter, line->place, "%s", inner.message);
    return end_of_line(parser);
}

static car_status parse_torch(car_parser *parser) {
    car_parsed *parsed = parser->parsed;
    CAR_TRY(advance(parser));
    CAR_TRY(grow(parser, &parsed->torch, parsed->torch_count, &parsed->torch_capacity,
                 sizeof *parsed->torch, CAR_LIST_LIMIT, "torch lines"));
    car_torch_line *line = &parsed->torch[parsed->torch_count++];
    car_name_list *list = &line->parameters;
    CAR_TRY(take_new_name(parser, &line->tensor, "the name of a PyTorch tensor"));
    CAR_TRY(take(parser, '=', "'='"));
    while (parser->token.kind != CAR_TOKEN_NEWLINE && parser->token.kind != CAR_TOKEN_END) {
        bool zero = parser->token.kind == CAR_TOKEN_NUMBER && parser->token.value == 0;
        if (!zero && (parser->token.kind != CAR_TOKEN_NAME || parser->token.primed))
            return expected(parser, "a parameter or 0");
        CAR_TRY(grow(parser, &list->items, list->count, &list->capacity, sizeof *list->items,
                     CAR_LIST_LIMIT, "parameters in a torch line"));
        struct car_placed_name *item = &list->items[list->count++];
        item->place = parser->token.place;
        if (zero)
            item->name = "0";
        else
            CAR_TRY(copy_token(parser, &item->name));
        CAR_TRY(advance(parser));
    }
    if (list->count == 0)
        return expected(parser, "parameters, or 0 for a tensor of zeros");
    return end_of_line(parser);
}

static car_status parse_equation(car_parser *parser) {
    car_parsed *parsed = parser->parsed;
    CAR_TRY(grow(parser, &parsed->equations, parsed->equation_count, &parsed->equation_capacity,
                 sizeof *parsed->equations, CAR_LIST_LIMIT, "equations"));
    car_equation equation = {.place = parser->token.place, .primed = parser->token.primed};
    struct car_placed_name name = {0};
    parser->token.primed = false;
    CAR_TRY(take_new_name(
        parser, &name,
        "an equation `name = …` or a line that starts with state, gate, init or torch"));
    equation.name = name.name;
    CAR_TRY(take(parser, '=', "'='"));
    equation.begin = parsed->piece_count;
    CAR_TRY(parse_expression(parser, &equation.root));
    equation.end = parsed->piece_count;
    parsed->equations[parsed->equation_count++] = equation;
    if (parser->token.kind != CAR_TOKEN_NEWLINE && parser->token.kind != CAR_TOKEN_END)
        return expected(parser, "an operator or the end of the line");
    return end_of_line(parser);
}

static car_status parse_statement(car_parser *parser) {
    if (token_is(parser, "state"))
        return parse_names(parser, &parser->parsed->states, CAR_STATE_LIMIT, "states");
    if (token_is(parser, "gate"))
        return parse_names(parser, &parser->parsed->gates, CAR_LIST_LIMIT, "gates");
    if (token_is(parser, "init"))
        return parse_init(parser);
    if (token_is(parser, "torch"))
        return parse_torch(parser);
    if (token_is(parser, "cell"))
        return car_report(parser->reporter, parser->token.place,
                          "a second header; keep one cell in a text");
    return parse_equation(parser);
}

car_status car_parse(const char *text, size_t length, const car_reporter *reporter,
                     car_arena *arena, car_parsed *parsed) {
    car_parser parser = {.reporter = reporter, .arena = arena, .parsed = parsed};
    parser.lexer = (car_lexer){.text = text, .length = length, .line = 1, .reporter = reporter};
    CAR_TRY(advance(&parser));
    bool header = false;
    while (parser.token.kind != CAR_TOKEN_END) {
        if (parser.token.kind == CAR_TOKEN_NEWLINE) {
            CAR_TRY(advance(&parser));
        } else if (!header) {
            CAR_TRY(parse_header(&parser));
            header = true;
        } else {
            CAR_TRY(parse_statement(&parser));
        }
    }
    if (!header)
        return expected(&parser, "the header `cell NAME(x) -> y`");
    return CAR_OK;
}
