/*
 * plan: a cell's graphs become packed products and vector programs, and are run. Stands on language, kernels.
 *
 *   schedule.c   graph -> phases -> stages (which product and which node runs when)
 *   bound.c      which values lie within [-1, 1] whatever the weights (int8)
 *   pack.c       where every parameter stands in the packed weights; logical <-> packed; transposed copies
 *   program.c    the elementwise nodes of a stage -> a vector program (registers, loads, stores)
 *   plan.c       car_plan_create: the three above, forward and backward; accessors
 *   rows.c       which lanes run at which step, when sequences differ in length
 *   layer.c      a plan bound to T, B and memory
 *   run.c        a layer forward and backward over a sequence
 *   gradient.c   weight gradients behind the backward loop
 *   explain.c    the plan as text, FLOPs and bytes (carousel cell explain)
 *
 * A plan is for one cell, input size and hidden size; it knows neither T, B nor threads, and no cell's name.
 * A layer is a plan with buffers for up to `steps` time steps of `batch` lanes. Rows are [T][B], or, where sequences
 * differ in length, only the real ones of these (car_rows).
 */
#ifndef CAR_PLAN_H
#define CAR_PLAN_H

#include "kernels.h"
#include "language.h"

/* Rows of `size` values in `parts` equal parts, each padded to whole blocks (two directions side by side are
 * two parts). Value k of row r: data[r*row_stride + (k / (size/parts))*part_stride + k % (size/parts)].
 * row_stride = parts * part_stride. */
typedef struct car_shape {
    int size, parts;
} car_shape;
static inline int car_shape_part_stride(car_shape shape) {
    return car_padded(shape.size / shape.parts);
}
static inline int64_t car_shape_row_stride(car_shape shape) {
    return (int64_t)shape.parts * car_shape_part_stride(shape);
}

/* Forces a value to a constant, by the equation's name (ablation, freezing a gate). */
typedef struct car_override {
    const char *name;
    double value;
} car_override;

/* Vector programs that a C compiler has made into functions of one CPU level (emit.c), found by digest. They give
 * the same bits as the interpreter, which runs what is not among them. */
typedef struct car_program_digest {
    uint64_t high, low;
} car_program_digest;
typedef void (*car_program_function)(const car_vector_slot *slots, int units, int row_begin,
                                     int row_end, int block_begin, int block_end);
/* A loop whose steps have one row each, a sequence or a stream alone, where it is one product and one program: for some blocks of
 * units at a time the product, in f32 or bf16, then the program on its sums, which are in registers still. */
enum { CAR_ROW_SUMS = 4 /* the most that a unit may have */ };
typedef struct car_row_factor { /* a[row][k] times panels[k][column] */
    const float *a, *panels;    /* panels NULL: there is none */
    int64_t row_stride;
    int depth;
} car_row_factor;
typedef struct car_row_call {
    car_vector_slot start[CAR_ROW_SUMS]; /* what each begins with; LOAD only */
    car_row_factor input, hidden;
    int units;
} car_row_call;
typedef struct car_row_range {
    int row, steps, direction; /* the first step's row, how many, and +1 or -1: to the next one's */
    int block_begin, block_end;
    bool descending; /* the first step takes its blocks from the last one on, the next one from the first, by turns */
    float *rounded;  /* bf16: room for the operands of a step as pairs */
} car_row_range;
typedef void (*car_row_function)(const car_row_call *restrict call, const car_vector_slot *slots,
                                 const car_row_range *range);
typedef struct car_emitted_program {
    car_program_digest digest;
    car_program_function function;
    car_row_function row; /* NULL: there is none, or not at this level */
} car_emitted_program;
typedef struct car_emitted_table {
    car_cpu_level level;
    int count;
    const car_emitted_program *programs;
} car_emitted_table;

typedef struct car_plan_options {
    const car_emitted_table *emitted; /* where functions are looked for; NULL: the interpreter runs everything */
    const car_emitted_table *native;  /* and where for those not found there; NULL: nowhere. Both borrowed */
    const car_emitted_table *pair_rows; /* bf16: of functions for steps of one row alone; NULL: nowhere. Borrowed */
    bool training;                    /* keep what the backward pass needs */
    car_precision precision;          /* of the operands of every product, forward and backward */
    const car_kernels *kernels;       /* whose way with gradients in f32 it takes; NULL: that of all CPUs. Borrowed */
    bool input_bounded;               /* the caller knows that x lies within [-1, 1] (int8) */
    int tap_count; /* named values or states to be stored for every step */
    const char *const *taps;
    int override_count;
    const car_override *overrides;
} car_plan_options;

typedef struct car_plan car_plan;

/* CAR_USAGE with the cell's line and column when the shapes do not fit (x used elementwise, size != n). */
car_status car_plan_create(const struct car_cell *cell, car_shape input, int units,
                           const car_plan_options *options, const car_allocator *allocator,
                           car_plan **plan, car_error *error) CAR_CHECK_RESULT;
void car_plan_free(car_plan *plan);
const struct car_cell *car_plan_cell(const car_plan *plan);
int car_plan_units(const car_plan *plan);
car_shape car_plan_input(const car_plan *plan);
/* Whether x is an operand of products alone: then what stands behind a row's values is never read. */
bool car_plan_only_multiplies_input(const car_plan *plan);
/* Is x known to lie within [-1, 1], and y therefore, or whatever x is? */
bool car_plan_input_bounded(const car_plan *plan);
bool car_plan_output_bounded(const car_plan *plan);
/* How many vector programs the plan has, and how many of them run as emitted functions. */
void car_plan_programs(const car_plan *plan, int *programs, int *emitted);
/* Gives programs that have no function yet those of the table; while nothing runs. */
void car_plan_bind(car_plan *plan, const car_emitted_table *table);
/* Appends the programs that have no function yet as C functions named PREFIX0 .. to `text`, a line
 * `{{high, low}, name, row},` each to `entries` (a program whose line is there already is left out); *count goes on. */
void car_plan_emit(const car_plan *plan, const char *prefix, int *count, car_text *text,
                   car_text *entries);
/* Matrix elements that one row is multiplied with: 2 FLOP each forward. */
typedef struct car_plan_elements {
    double before, loop; /* outside and within the loop over time */
} car_plan_elements;
car_plan_elements car_plan_matrix_elements(const car_plan *plan);
/* Stages, programs, FLOPs and bytes as text; the plan's part of `cell explain`. */
void car_plan_explain(const car_plan *plan, car_text *text);

/* ---- Parameters: one flat float array per plan, packed ------------------------------------------------ */

size_t car_plan_weight_floats(const car_plan *plan); /* a multiple of 16 */
/* What layers run on: at f32 packed weights; in bf16 a rounded copy of them, vectors in f32 and
 * matrices as panels of pairs; in int8 vectors in f32 and matrices as panels of quads (kernels.h). */
size_t car_plan_running_floats(const car_plan *plan);
size_t
car_plan_transposed_floats(const car_plan *plan); /* what the backward pass needs beside it */
/* Logical row-major [n][columns] or [n] <-> its places in `packed` (weights, gradients or moments). */
void car_plan_pack(const car_plan *plan, int parameter, const float *logical, float *packed);
void car_plan_unpack(const car_plan *plan, int parameter, const float *packed, float *logical);
/* int8: a matrix [n][columns] of whole numbers with a scale for each row <-> its places in what layers run on. (Vectors
 * stand there as in the packed weights.) */
void car_plan_pack_int8(const car_plan *plan, int parameter, const int8_t *values,
                        const float *scales, float *running);
void car_plan_unpack_int8(const car_plan *plan, int parameter, const float *running, int8_t *values,
                          float *scales); /* either may be NULL */
int car_plan_columns(const car_plan *plan, int parameter); /* 1 for vectors */
/* A parameter used with two operands is packed twice: adds the second's gradient to the first and zeroes it;
 * after an update copies the first's weights to the second. Without such parameters both do nothing. */
void car_plan_fold_gradient(const car_plan *plan, float *gradient);
void car_plan_refresh(const car_plan *plan, float *weights);
/* Which weights an update goes without: each with `probability`, by (key, parameter, update, unit, column) alone. */
typedef struct car_weight_drop {
    car_random_key key; /* layer below 2^16 */
    uint64_t update;
    float probability;
} car_weight_drop;
/* Matrices whose operand is not x: target = source with the dropped entries 0 and the rest divided by 1 - probability;
 * all else is copied. Both are packed (weights or their gradient) and may be the same. A share of it as well. */
void car_plan_drop(const car_plan *plan, const car_kernels *kernels, const car_weight_drop *drop,
                   const float *source, float *target, int member, int members);
/* Copies of the packed weights that layers run on and go back through. */
typedef struct car_weight_copies {
    float *running;    /* the rounded one, in bf16 alone; NULL at f32 */
    float *transposed; /* in the plan's precision; NULL: none */
    bool input;        /* those of x's matrices, which dL/dx alone takes, are wanted as well */
} car_weight_copies;
/* Refreshes them; the share of one of `members` threads. */
void car_plan_copy(const car_plan *plan, const car_kernels *kernels, const float *weights,
                   const car_weight_copies *copies, int member, int members);

/* ---- Rows: real steps alone, no padding --------------------------------------------------------------- */

/* The steps of `batch` lanes as rows without gaps. Lanes stand longest first, so that those that run at step t are
 * the first active(t) of the order, and row first[t] + k is step t of the k-th:
 *
 *   lengths 1 3 2    lane[] = 1 2 0   length[] = 3 2 1     rows:  t=0: 1 2 0   t=1: 1 2   t=2: 1
 *
 * Lanes of equal length keep the caller's order; a lane of length 0 has no row. */
typedef struct car_rows {
    int batch, steps; /* steps of the longest lane */
    bool even;        /* every lane runs every step: row t*batch + lane */
    int *first;       /* [steps+1] rows before step t; first[-1] = -active(0); first[steps]: all rows */
    int *lane;        /* [batch] */
    int *length;      /* [batch] of lane[k] */
} car_rows;
/* Lays the arrays for up to `steps` steps of `batch` lanes; with base NULL only counts. */
void car_rows_lay(car_rows *rows, int batch, int steps, car_layout *layout, void *base);
/* lengths [batch], each 0..steps <= capacity; NULL: all are `steps`. Cost: batch + steps. */
void car_rows_set(car_rows *rows, int steps, const int *lengths);
static inline int car_rows_active(const car_rows *rows, int step) {
    return rows->first[step + 1] - rows->first[step];
}
static inline int car_rows_count(const car_rows *rows) {
    return rows->first[rows->steps];
}

/* ---- Layers ------------------------------------------------------------------------------------------- */

typedef struct car_layer car_layer;
typedef struct car_layer_shape {
    int batch, steps; /* capacity in time steps of one forward call */
    bool backward;    /* with the buffers of the backward pass (the plan must be for training) */
    bool reverse;     /* runs from the last step to the first */
    int threads;
    bool start_gradient; /* with backward: dL/d(start state) is wanted, car_layer_state_gradient */
} car_layer_shape;

/* Bytes of one layer; 0 on overflow. The layer lives in `memory` (64-byte aligned, zeroed). */
size_t car_layer_size(const car_plan *plan, const car_layer_shape *shape);
car_layer *car_layer_place(const car_plan *plan, const car_layer_shape *shape,
                           const car_kernels *kernels, void *memory);

/* `weights` of both calls below: what layers run on (car_plan_running_floats).
 * Runs `steps` <= capacity steps: input rows [steps][batch] -> output rows; states go on from
 * car_layer_start (see below). Opens its own team of `threads`. */
void car_layer_forward(car_layer *layer, int steps, const float *input, const float *weights);
/* The same over rows without padding; input and output rows are those of `rows`, which is borrowed until the next
 * forward call. A reverse layer begins at each lane's own last step. Input rows lie `input_stride` floats apart, in the backward
 * call too; below car_padded(input) that of a plan which only multiplies them. */
void car_layer_forward_rows(car_layer *layer, const car_rows *rows, const float *input,
                            int64_t input_stride, const float *weights);
/* y of the last forward call at a step: a row for each lane that ran then, row stride car_padded(units). Valid until
 * the next call. The steps lie without gaps one behind the other, but for a reverse layer over uneven rows. */
const float *car_layer_output(const car_layer *layer, int step);
/* After forward, over the same rows: output_gradient rows [..][padded]; writes `gradient` (packed; what no gradient reaches,
 * padding above all, is left as it is and should be 0) and input_gradient in the input's shape unless NULL. Destroys
 * kept values. State gradients start from 0 at the end of each sequence (truncated BPTT); `onward`: from
 * car_layer_state_gradient (of a layer with start_gradient), and the gradient is added to what stands there, so that a
 * sequence can be gone back through in pieces. */
void car_layer_backward(car_layer *layer, const float *input, const float *weights,
                        const float *transposed, const float *output_gradient,
                        float *input_gradient, float *gradient, bool onward);
/* The state with which the next forward call starts, [batch][padded(units)], to read or write. */
float *car_layer_start(car_layer *layer, int state);
/* Sets start states of lane (or all lanes: -1) to the cell's initial values. */
void car_layer_reset(car_layer *layer, int lane);
/* Makes each lane's state after its last step of the last forward call its next start state. */
void car_layer_carry(car_layer *layer);
/* dL/d(start state) after backward, of a layer whose shape asked for it; [batch][padded(units)]. */
float *car_layer_state_gradient(car_layer *layer, int state);
/* A tapped value at a step: a row for each lane that ran then, with the strides given, as the output; valid after
 * forward, before backward. */
car_vector_slot car_layer_tap(const car_layer *layer, int tap, int step);

/* After backward: where the gradient of a preactivation (a sum of products) first stopped being
 * finite on its way back through time. `equation`: the named value that the sum goes into, NULL without a name. */
typedef struct car_bad_gradient {
    const char *equation;
    int step, lane, unit;
    float value;
} car_bad_gradient;
bool car_layer_find_bad_gradient(const car_layer *layer, car_bad_gradient *bad);

#endif
