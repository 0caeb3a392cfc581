/*
 * syntax.h: what the files of this room share with each other, and no other room sees.
 *
 *   lex.c     text -> tokens               parse.c   tokens -> struct car_parsed (pieces of expressions)
 *   check.c   car_parsed -> car_cell's source graph      builder.c   nodes, equal ones shared
 */
#ifndef CAR_LANGUAGE_SYNTAX_H
#define CAR_LANGUAGE_SYNTAX_H

#include "language.h"

/* Limits that keep hostile texts small; all are checked while parsing. */
enum {
    CAR_TEXT_LIMIT = 64 * 1024,
    CAR_NODE_LIMIT = 512,
    CAR_PIECE_LIMIT = 4096,
    CAR_LIST_LIMIT = 512, /* equations, init lines, names of a list */
    CAR_STATE_LIMIT = 32,
    CAR_NESTING_LIMIT = 64,
    CAR_NAME_LIMIT = 64
};

/* A place in the text of a cell, and where errors about it go. */
typedef struct car_place {
    int line, column;
} car_place;
typedef struct car_reporter {
    const char *origin;
    car_error *error;
} car_reporter;
/* Fills the error with "origin:line:column: message" and returns CAR_DATA. */
car_status car_report(const car_reporter *reporter, car_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
car_status car_report_memory(const car_reporter *reporter);

/* ---- lex.c -------------------------------------------------------------------------------------------- */

/* A punctuation token's kind is its character. */
typedef enum car_token_kind {
    CAR_TOKEN_END = 256,
    CAR_TOKEN_NEWLINE,
    CAR_TOKEN_NAME,
    CAR_TOKEN_NUMBER,
    CAR_TOKEN_ARROW
} car_token_kind;
typedef struct car_token {
    int kind;
    const char *start;
    int length;
    car_place place;
    bool primed; /* NAME: a prime follows and is part of the token; length does not count it */
    bool dotted; /* NAME with a '.' */
    bool spaced; /* white space stands before it */
    double value;
} car_token;
typedef struct car_lexer {
    const char *text;
    size_t length, position, line_start;
    int line, depth; /* depth of ( and [, inside which a line break is white space */
    const car_reporter *reporter;
} car_lexer;
car_status car_lex(car_lexer *lexer, car_token *token) CAR_CHECK_RESULT;
/* The number that `text` starts with, whatever the locale, and its length; 0 when there is none. */
int car_lex_number(const char *text, size_t length, double *value);
bool car_number_fits(double value); /* it is 0, or of a size that a float holds with all its digits */

/* ---- parse.c ------------------------------------------------------------------------------------------ */

typedef enum car_piece_kind {
    CAR_PIECE_NUMBER,
    CAR_PIECE_NAME,
    CAR_PIECE_PRODUCT,  /* matrix `name` @ piece b */
    CAR_PIECE_OPERATION /* op on pieces a and b */
} car_piece_kind;
/* A piece of an expression. The pieces of an equation stand side by side, operands first. */
typedef struct car_piece {
    car_piece_kind kind;
    car_op op;
    int a, b;
    const char *name;
    bool primed, dotted;
    double value;
    car_place place;
} car_piece;
typedef struct car_equation {
    const char *name;
    bool primed;
    car_place place;
    int begin, end, root; /* pieces */
} car_equation;
typedef struct car_name_list {
    int count, capacity;
    struct car_placed_name {
        const char *name; /* "0" in torch clauses: a block of zeros */
        car_place place;
    } * items;
} car_name_list;
typedef struct car_init_line {
    struct car_placed_name target;
    car_init init;
    car_place place; /* of the value */
} car_init_line;
typedef struct car_torch_line {
    struct car_placed_name tensor;
    car_name_list parameters;
} car_torch_line;
typedef struct car_parsed {
    const char *name;
    struct car_placed_name input, output;
    car_name_list states, gates;
    int piece_count, piece_capacity;
    car_piece *pieces;
    int equation_count, equation_capacity;
    car_equation *equations;
    int init_count, init_capacity;
    car_init_line *inits;
    int torch_count, torch_capacity;
    car_torch_line *torch;
} car_parsed;
/* Everything is allocated from `arena`. */
car_status car_parse(const char *text, size_t length, const car_reporter *reporter,
                     car_arena *arena, car_parsed *parsed) CAR_CHECK_RESULT;
/* Functions, words of this language and of nets: no name may be one. */
bool car_is_reserved(const char *name);
/* The operation of a function's name; CAR_OP_COUNT: none. */
car_op car_function_op(const char *name);

/* ---- check.c ------------------------------------------------------------------------------------------ */

/* Fills everything of the cell but its canonical part; `cell->arena` keeps the result, `scratch` the rest. */
car_status car_check(const car_parsed *parsed, const car_reporter *reporter, car_arena *scratch,
                     struct car_cell *cell) CAR_CHECK_RESULT;

/* ---- builder.c ---------------------------------------------------------------------------------------- */

/* Nodes under construction. The capacity is known ahead, so that adding cannot fail. */
typedef struct car_builder {
    car_node *nodes;
    int count, capacity;
    int *slots; /* hash table: node number + 1 */
    unsigned slot_mask;
} car_builder;
bool car_builder_start(car_builder *builder, car_arena *arena,
                       int capacity); /* false: out of memory */
/* The number of a node equal to this one, its operands in either order if that does not matter; it is added when
 * there is none yet. */
int car_builder_add(car_builder *builder, car_node node);
/* The same after bit-exact simplification: -(-a), a*1, a/1, arithmetic on constants where float and double agree. */
int car_builder_simplify(car_builder *builder, car_node node);
/* Adds it even when an equal node is there; later car_builder_add calls do not find it. */
int car_builder_add_apart(car_builder *builder, car_node node);
static inline car_node car_node_make(car_op op, int a, int b, int index, double value) {
    return (car_node){op, a, b, index, value};
}
/* Marks in live[] what the marked nodes need. */
void car_mark_live(const car_node *nodes, int count, bool *live);
bool car_op_is_commutative(car_op op); /* bit for bit: add, multiply, max, min */

/* ---- fingerprint.c ------------------------------------------------------------------------------------ */

/* Fills cell->fingerprint from the canonical graph. */
car_status car_fingerprint(struct car_cell *cell, car_arena *scratch,
                           const car_reporter *reporter) CAR_CHECK_RESULT;

/* ---- print.c ------------------------------------------------------------------------------------------ */

/* The shortest decimal text that reads back as the same double, whatever the locale. */
void car_number_print(car_text *text, double value);

#endif
