/*
 * language: the text of a cell becomes checked graphs of operations. Stands on base.
 *
 *   lex.c      text -> tokens                         parse.c    tokens -> equations (pieces of expressions)
 *   check.c    names, kinds, shapes, cycles -> graph  canonical.c  bit-exact rewrites, product chains
 *   builder.c  nodes, equal ones shared               fingerprint.c  128 bits of the canonical graph
 *   gradient.c graph -> gradient graph (one table)    print.c    graph -> text, text -> graph
 *   explain.c  equations, parameters, graphs as text  init.c     how parameters start
 *   oracle.c   the graphs in double with plain loops  derivative.c  its derivatives against differences
 *   cell.c     car_cell_compile and its accessors     zoo.c      cells/ compiled into the library
 *   syntax.h   what only the files of this room share
 *
 * A graph is in SSA form: node i only uses nodes before it. Every value is a vector of n units (the hidden
 * size) but x, which has the input size; a constant is the same in all units; `mean` gives every unit the mean.
 */
#ifndef CAR_LANGUAGE_H
#define CAR_LANGUAGE_H

#include "base.h"

/* name, text, number of operands */
#define CAR_OP_MAP(X)                                                                              \
    X(INPUT, "input", 0)       /* x of this step                                              */   \
    X(STATE, "state", 0)       /* state `index` before this step                              */   \
    X(CONSTANT, "constant", 0) /* `value` in every unit                                       */   \
    X(VECTOR, "vector", 0)     /* parameter `index` (bias or per-unit vector)                 */   \
    X(PRODUCT, "product", 2)   /* b + P@a, P = matrix parameter `index`; b = -1 means 0       */   \
    X(ADD, "add", 2)                                                                               \
    X(SUBTRACT, "subtract", 2)                                                                     \
    X(MULTIPLY, "multiply", 2)                                                                     \
    X(DIVIDE, "divide", 2)                                                                         \
    X(NEGATE, "negate", 1)                                                                         \
    X(SIGMOID, "sigmoid", 1)                                                                       \
    X(TANH, "tanh", 1)                                                                             \
    X(RELU, "relu", 1)                                                                             \
    X(EXP, "exp", 1)                                                                               \
    X(LOG, "log", 1)                                                                               \
    X(SQRT, "sqrt", 1)                                                                             \
    X(SOFTPLUS, "softplus", 1)                                                                     \
    X(ABS, "abs", 1)                                                                               \
    X(MAX, "max", 2)                                                                               \
    X(MIN, "min", 2)                                                                               \
    X(MEAN, "mean", 1) /* mean over the units, given to every unit; its own derivative        */   \
    /* in gradient graphs only: */                                                                 \
    X(FORWARD, "forward", 0)                 /* node `index` of the forward graph              */  \
    X(OUTPUT_GRADIENT, "output_gradient", 0) /* dL/dy of this step, from the layer above     */    \
    X(STATE_GRADIENT, "state_gradient", 0)   /* dL/d(state `index` after this step)            */  \
    X(TRANSPOSED_PRODUCT, "transposed_product", 2) /* b + P'@a, P of forward PRODUCT `index` */    \
    X(GREATER, "greater", 2) /* 1 where a > b, else 0                          */                  \
    X(SIGMOID_GRADIENT, "sigmoid_gradient", 2) /* a * b*(1-b), b = sigmoid(.)                */    \
    X(TANH_GRADIENT, "tanh_gradient", 2)       /* a * (1-b*b), b = tanh(.)                   */

typedef enum car_op {
#define X(name, text, operands) CAR_OP_##name,
    CAR_OP_MAP(X)
#undef X
        CAR_OP_COUNT
} car_op;
const char *car_op_text(car_op op);
int car_op_operands(car_op op);

typedef struct car_node {
    car_op op;
    int a, b;     /* operand nodes, both smaller than this node's number; -1: none */
    int index;    /* state, parameter or forward node; -1: none */
    double value; /* CONSTANT */
} car_node;

typedef struct car_graph {
    int count;
    car_node *nodes;
    const char **names; /* [count] the equation's name or NULL; forward graphs only */
} car_graph;

/* Whether node v is 1 / b. */
bool car_is_reciprocal(const car_graph *graph, int v);
/* Where node v is 1 / sqrt(m + epsilon) with a constant epsilon, the node m; else -1. */
int car_root_operand(const car_graph *graph, int v, double *epsilon);
/* Where node v is mean(x*x), the node x; where it is x - mean(x), the node of the mean; else -1. */
int car_squared_operand(const car_graph *graph, int v);
int car_deviation_mean(const car_graph *graph, int v);
/* Which values are uniform, one for all units: made of means and constants alone. uniform: [begin,end) of it are set, what stands
 * before is known. of_forward: those of the forward graph, for its gradient; NULL for that graph itself. */
void car_mark_uniform(const car_node *nodes, int begin, int end, const bool *of_forward,
                      bool *uniform);

/* How a parameter or an initial state starts. */
typedef enum car_init_kind {
    CAR_INIT_DEFAULT,    /* what the net's or the command line's scheme says (matrices only) */
    CAR_INIT_NUMBER,     /* value */
    CAR_INIT_UNIFORM,    /* U[-value, value]; value 0: value = 1/sqrt(n) */
    CAR_INIT_ORTHOGONAL, /* QR of a normal matrix, times value */
    CAR_INIT_IDENTITY,   /* value on the diagonal */
    CAR_INIT_WALK,  /* N(0, g^2/columns), Sussillo & Abbott 2014; value 0: their g for the width */
    CAR_INIT_CHRONO /* log U[1, value-1] (Tallec & Ollivier 2018); value < 0: -log U[1, -value-1] */
} car_init_kind;
typedef struct car_init {
    car_init_kind kind;
    double value;
} car_init;
/* Reads "number | uniform[(a)] | orthogonal[(a)] | identity*a | walk[(g)] | [-]chrono(T)". */
car_status car_init_parse(const char *text, car_init *init, car_error *error) CAR_CHECK_RESULT;
void car_init_print(car_text *text,
                    car_init init); /* what car_init_parse reads; "default" for DEFAULT */

typedef enum car_parameter_kind { CAR_MATRIX, CAR_BIAS, CAR_VECTOR } car_parameter_kind;
typedef struct car_parameter {
    const char *name;
    car_parameter_kind kind;
    bool from_input; /* MATRIX: [n][input size]; else [n][n]. Vectors: [n] */
    car_init init;   /* default: matrix CAR_INIT_DEFAULT, bias 0, vector 1 */
    int line, column;
} car_parameter;

/* `torch` clause: a PyTorch tensor as parameters stacked by rows, in this order; a parameter of -1 is a block of
 * zeros [n] (gru's bias_hh = 0 0 bhn); count 0: all zeros. */
typedef struct car_torch_entry {
    const char *tensor; /* "weight_ih" */
    int count;
    const int *parameters;
} car_torch_entry;

/* dL/dP += outer(gradient node, operand) for a matrix, += gradient node for a vector; summed over T and B. */
typedef struct car_contribution {
    int parameter;
    int gradient; /* node of the gradient graph */
    int operand;  /* node of the forward graph, -1 for vectors */
} car_contribution;

typedef struct car_gradient {
    car_graph graph;
    int *of_forward; /* [forward count] gradient node that is dL/d(forward node), -1: none flows */
    int *state;      /* [state_count] dL/d(state before the step), -1: zero */
    int input;       /* dL/dx, -1: zero */
    int contribution_count;
    car_contribution *contributions;
} car_gradient;

struct car_cell {
    const car_allocator *allocator;
    car_arena *arena;
    const char *name, *text, *origin; /* origin: file name or zoo name, for messages */
    const char *input_name;
    int state_count;
    const char **state_names;
    car_init *state_init; /* NUMBER */
    int parameter_count;
    car_parameter *parameters;
    bool input_is_hidden; /* x is used elementwise: input size must equal n; place below */
    int input_line, input_column;
    car_graph source; /* as written, for the oracle's check of canonical.c */
    int *source_next; /* [state_count] */
    int source_output;
    car_graph graph; /* canonical: what the plan schedules */
    int *next;       /* [state_count] node that is the state after the step */
    int output;      /* node of y; the same node as a next[] when y is a state */
    int gate_count;
    int *gates;            /* canonical nodes that `inspect` shows */
    car_gradient gradient; /* of `graph` */
    int torch_count;
    car_torch_entry *torch;
    char fingerprint[33]; /* 128 bits in hex, of the canonical form; names do not matter */
    car_shared *native;   /* compiled at run time (emitted/native.c), shared with copies; or NULL */
};

/* The same cell once more, in memory of its own. */
car_status car_cell_copy(const struct car_cell *cell, const car_allocator *allocator,
                         struct car_cell **copy, car_error *error) CAR_CHECK_RESULT;

/* ---- canonical.c -------------------------------------------------------------------------------------- */

/*
 * Canonical form: dead nodes dropped, equal nodes shared, constants folded where float and double
 * agree, -(-a) -> a, a*1 -> a, a/1 -> a, operands of commutative operations ordered, and sums that contain
 * products turned into PRODUCT chains, which state the order of summation: the first vector parameter (bias),
 * then products of x itself, then products that no state reaches, then the other products, each in the order of
 * the equation; what else is in the sum is added after, in that order too.
 * A link of a chain (the b of a PRODUCT: a PRODUCT, or first a VECTOR) is used by that PRODUCT alone; a vector
 * parameter that heads several chains has a VECTOR node for each. A product with several uses has b = -1.
 */
car_status car_canonicalize(struct car_cell *cell, car_error *error) CAR_CHECK_RESULT;

/* ---- gradient.c --------------------------------------------------------------------------------------- */

/* Fills cell->gradient. The TRANSPOSED_PRODUCTs that contribute to one forward value form one chain, after
 * the elementwise terms of the same sum (the chain's first b; -1 if there are none). A TRANSPOSED_PRODUCT as
 * another's b is always a link of the same chain and used there alone. */
car_status car_differentiate(struct car_cell *cell, car_error *error) CAR_CHECK_RESULT;

/* ---- print.c ------------------------------------------------------------------------------------------ */

void car_graph_print(car_text *text, const struct car_cell *cell, const car_graph *graph);
/* Parses what car_graph_print wrote back into a graph (same nodes). */
car_status car_graph_parse(const char *text, const struct car_cell *cell, car_arena *arena,
                           car_graph *graph, car_error *error) CAR_CHECK_RESULT;
/* The equations as a .cell text that compiles to the same graph (the search prints its mutants so). */
void car_cell_print(car_text *text, const struct car_cell *cell);

/* ---- explain.c ---------------------------------------------------------------------------------------- */

/* Every state and parameter with kind, shape and init, one a line (`cell check`). */
void car_cell_describe(const struct car_cell *cell, car_text *text);
/* The equations, the above, the canonical graph, its gradient, the contributions (`cell explain`'s part here). */
void car_cell_explain(const struct car_cell *cell, car_text *text);

/* ---- oracle.c: the unscheduled graph in double, one lane --------------------------------------------- */

typedef struct car_oracle {
    const struct car_cell *cell;
    bool use_source; /* evaluate cell->source instead of cell->graph (forward only) */
    int units, input_size, steps;
    const double *const *parameters; /* [parameter_count] logical layouts */
    const double *x;                 /* [T][input_size] */
    const double *initial;           /* [S][n] */
} car_oracle;
/* y [T][n]; states [T+1][S][n] (states[0] = initial); values [T][graph count][n] or NULL. */
car_status car_oracle_forward(const car_oracle *oracle, double *y, double *states, double *values,
                              car_error *error) CAR_CHECK_RESULT;
/* Gradients of sum(dy*y) + sum(dfinal * final state): dx [T][input], dinitial [S][n], dparameters (zeroed
 * by the call) in logical layouts. */
car_status car_oracle_backward(const car_oracle *oracle, const double *dy, const double *dfinal,
                               double *dx, double *dinitial, double *const *dparameters,
                               car_error *error) CAR_CHECK_RESULT;

/* The result of the two derivative checks that `cell check` prints and the tests assert. */
typedef struct car_derivative_check {
    int points;         /* derivatives compared */
    int set_aside;      /* near a kink or ill-conditioned: the two step sizes disagree */
    double worst_error; /* worst relative error of the others */
} car_derivative_check;
/* Central differences with two step sizes against car_oracle_backward, T steps, n units. */
car_status car_oracle_check(const struct car_cell *cell, int units, int input_size, int steps,
                            uint64_t seed, car_derivative_check *check,
                            car_error *error) CAR_CHECK_RESULT;

/* ---- zoo.c -------------------------------------------------------------------------------------------- */

typedef struct car_zoo_entry {
    const char *name, *text, *summary; /* summary: the first comment line */
} car_zoo_entry;
int car_zoo_entries(const car_zoo_entry **entries);

#endif
