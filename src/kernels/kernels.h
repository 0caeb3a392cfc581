/*
 * kernels: everything that is fast, one table of functions per CPU level. Stands on base.
 *
 *   cpu.c             which levels this CPU and operating system allow; the choice
 *   level_*.c         one translation unit a level (AVX-512 twice, with and without AVX512_BF16): sets the vector
 *                     width, includes the templates below
 *   amx*.c            products by AMX: in bf16 for training, of gradients in f32, in int8; a further table of level avx512
 *   vector.inc        the width-independent vector type, v_fma, loads with a masked tail
 *   math.inc          exp, log, tanh, sigmoid, softplus: at most 3 ulp on normal results
 *   tiles.inc         packed matrix product: register tiles
 *   halves.inc        and those of half a block
 *   matrix.inc        and the loops around them; one row
 *   packing.inc       packed and transposed copies around it
 *   integer.inc       the same with int8 weights
 *   program.inc       the vector-program interpreter
 *   rows.inc          softmax cross-entropy, means, column sums, dropout
 *   optimize.inc      squared norm, SGD, Adam, RMSProp on flat arrays
 *   table.inc         the table of a level, from the functions of the templates
 *   quads.c           int8 weights to and from their packed form
 *   operations.c      names and operand counts of the operations of vector programs
 *   plain.c           the same jobs as plain scalar loops: what every kernel is tested against
 *
 * Layouts. A "block" is 16 units. A row of n units is stored padded to a multiple of 16; padding is 0.
 *   packed matrix: panels of 64 columns (4 blocks), each panel [K][64] row-major, panels one after another.
 *   packed in int8: panels [ceil(K/4)][64] of quads, four values of k to a float's place (0 beyond K), so that value k of
 *     column n stands at byte ((k/4)*64 + n)*4 + k%4; behind all panels [panels*64] scales (float) and [panels*64] times
 *     -128 times the sum of the column (int32). A weight is value * scale, its value within -127..127.
 *   packed in bf16: panels [ceil(K/2)][64] of pairs. A pair is 32 bits wide and stands where a float would: value 2j
 *   of k in the upper half, 2j+1 in the lower one (0 beyond K). The layout suits AVX512_BF16 and AMX alike.
 *
 * The order of summation is the same at every shape: an output of a product is ONE ascending chain of fma
 * over k, starting from what is already in c, from `initial`, or from 0; splitting K, rows or panels between
 * calls or threads never changes a bit. (Baseline has no fma instruction: there v_fma is a*b+c rounded twice.)
 * In bf16 the chain is the same, of operands rounded to bf16, their products and sums in f32: to the bit what the f32
 * product gives for the rounded operands (where subnormals are flushed to 0, as teams do).
 * In int8 an output is fma(sum, scale of the row * scale of the column, start); the sum of whole numbers is exact, hence
 * the same at every level.
 */
#ifndef CAR_KERNELS_H
#define CAR_KERNELS_H

#include "base.h"

enum { CAR_BLOCK = 16, CAR_PANEL = 64, CAR_PANEL_BLOCKS = 4 };

/* Blocks that n units fill: ceil(n / 16). */
static inline int car_blocks(int units) {
    return (units + CAR_BLOCK - 1) / CAR_BLOCK;
}
static inline int car_padded(int units) {
    return car_blocks(units) * CAR_BLOCK;
}

/* Whether the last block of n units is half empty, or more than that. */
static inline bool car_ends_half_empty(int units) {
    return units % CAR_BLOCK > 0 && units % CAR_BLOCK <= CAR_BLOCK / 2;
}

typedef enum car_cpu_level {
    CAR_CPU_BASELINE,
    CAR_CPU_AVX2,
    CAR_CPU_AVX512,
    CAR_CPU_LEVELS
} car_cpu_level;

/* In what the operands of products are held. Sums, states, vectors and programs are f32 always. */
typedef enum car_precision {
    CAR_PRECISION_F32,
    CAR_PRECISION_BF16,
    CAR_PRECISION_INT8, /* of models that are only run */
    CAR_PRECISIONS
} car_precision;

/* ---- Packed matrix product ---------------------------------------------------------------------------- */

typedef struct car_product_block {
    int32_t c;       /* where this block of 16 columns stands in a row of c, in floats */
    int32_t initial; /* where it starts in `initial`, or one of: */
} car_product_block;
enum { CAR_FROM_ZERO = -1, CAR_FROM_C = -2 /* go on from what c holds */ };

/* c[row][column] = start + sum over k of a[row][k] * panels[k][column], K = parts * part_length.
 * a[row][k] stands at a + row*a_row_stride + (k / part_length)*part_stride + (k % part_length)*a_depth_stride, so that
 * an operand may have holes (two directions side by side, some of the gates of an interleaved buffer) or lie transposed.
 * panels[k][column] stands where packing puts it, or, with panel_row_stride, at panels + k*panel_row_stride + column: a
 * row-major matrix read as it is, which pays when few rows of c share it. */
typedef struct car_product {
    const float *a;
    int64_t a_row_stride;
    int parts, part_length;
    int64_t part_stride;
    int64_t a_depth_stride; /* 0: 1 */
    const float *panels;
    int64_t panel_row_stride; /* 0: packed */
    int blocks; /* columns / 16; the last panel may hold fewer than 4 (the memory of it is whole) */
    const car_product_block *block; /* [blocks] */
    int half_blocks; /* so many of the last ones are half empty: behind their first eight columns panels, start and c hold 0 */
    const float *initial;           /* may be NULL when no block refers to it */
    float *c;
    int64_t c_row_stride;
    /* Panels from the last to the first, to the same bits: of weights that no cache holds whole, what the step before
     * read last is still there. */
    bool descending;
    /* NULL, or a product of the same blocks and rows of c that comes first, from whose sums this one goes on (CAR_FROM_C). One
     * row takes both panel by panel, and c does not see the sums in between. Of product and product_bf16 alone. */
    const struct car_product *before;
    bool bounded; /* int8: a is known to lie within [-1, 1] */
} car_product;

/* The part [row_begin,row_end) x [block_begin,block_end) of a product; any cut, whole panels are fastest. scratch: the floats that
 * the table below asks for; may be NULL where it asks for none. */
typedef void car_product_function(const car_product *product, float *scratch, int row_begin,
                                  int row_end, int block_begin, int block_end);

/* Pairs that `depth` values fill. */
static inline int car_pairs(int depth) {
    return depth / 2 + depth % 2;
}
/* Rows of a that product_bf16 rounds at a time, pairs of a panel that it may widen at a time, and the floats of scratch it needs for
 * products of up to `rows` rows: of each pair both values, for CPUs that keep them as floats. */
static inline int car_product_group(int depth) {
    enum { PAIRS = 64 * 1024, LEAST_ROWS = 48 };
    int fitting = depth > 0 ? PAIRS / car_pairs(depth) : PAIRS;
    return fitting < LEAST_ROWS ? LEAST_ROWS : fitting;
}
enum { CAR_WIDENED_PAIRS = 192 };
static inline size_t car_widened_floats(int depth) {
    const int pairs = car_pairs(depth);
    return (size_t)(pairs < CAR_WIDENED_PAIRS ? pairs : CAR_WIDENED_PAIRS) * 2 * CAR_PANEL;
}
static inline size_t car_product_scratch(int rows, int depth) {
    int group = car_product_group(depth);
    return (rows > 1 ? car_widened_floats(depth) : 0) +
           (size_t)(rows < group ? rows : group) * 2 * (size_t)car_pairs(depth);
}
/* The same for product_tiles, which rounds whole tiles: 16 rows of 16 pairs, two tiles of rows at a time. */
static inline int car_tile_pairs(int depth) {
    return (car_pairs(depth) + 15) / 16 * 16;
}
static inline int car_tile_group(int depth) {
    enum { PAIRS = 128 * 1024, LEAST_ROWS = 64 };
    int fitting = depth > 0 ? PAIRS / car_tile_pairs(depth) / 32 * 32 : PAIRS;
    return fitting < LEAST_ROWS ? LEAST_ROWS : fitting;
}
static inline size_t car_tile_scratch(int rows, int depth) {
    int group = car_tile_group(depth);
    return (size_t)((rows < group ? rows : group) + 31) / 32 * 32 * (size_t)car_tile_pairs(depth);
}

/* The same for product_split: a group of rows of a, CAR_SPLIT_VALUES of them at most, and two panels, all in three parts, a
 * piece of K at a time: longer the fewer the rows. */
enum { CAR_SPLIT_ROWS = 352, CAR_SPLIT_DEPTH = 832, CAR_SPLIT_VALUES = CAR_SPLIT_ROWS * 384 };
static inline int car_split_depth(int rows) {
    const int fitting = CAR_SPLIT_VALUES / ((rows + 31) / 32 * 32) / 32 * 32;
    return fitting < CAR_SPLIT_DEPTH ? fitting : CAR_SPLIT_DEPTH;
}
static inline size_t car_split_scratch(int rows, int depth) {
    const int group = rows < CAR_SPLIT_ROWS ? rows : CAR_SPLIT_ROWS,
              piece = depth < CAR_SPLIT_DEPTH ? depth : CAR_SPLIT_DEPTH;
    const size_t deep = (size_t)(piece + 31) / 32 * 32, all = (size_t)(group + 31) / 32 * 32 * deep;
    return ((all < CAR_SPLIT_VALUES ? all : CAR_SPLIT_VALUES) + 2 * CAR_PANEL * deep) * 3 / 2;
}

/* int8: quads that `depth` values fill, the floats of `panels` packed panels with what stands behind them, and those of
 * scratch for products of up to `rows` rows. */
enum { CAR_INTEGER_MOST = 127, CAR_INTEGER_DEPTH = 1 << 17 /* more products may not fit in 32 bits */ };
static inline int car_quads(int depth) {
    return depth / 4 + (depth % 4 > 0);
}
static inline size_t car_quad_place(int k, int column) { /* byte of a packed panel */
    return ((size_t)(k / 4) * CAR_PANEL + (size_t)column) * 4 + (size_t)(k % 4);
}
static inline size_t car_quad_floats(int panels, int depth) {
    return (size_t)panels * ((size_t)car_quads(depth) + 2) * CAR_PANEL;
}
/* quads.c: column 0 .. panels*64-1 of a packed matrix: its K whole numbers and their scale. */
void car_quads_set(float *packed, int panels, int depth, int column, const int8_t *values,
                   float scale);
void car_quads_get(const float *packed, int panels, int depth, int column, int8_t *values,
                   float *scale); /* values may be NULL */
/* Where k = 0 of a column stands; the others are at car_quad_place(k, 0) from there. */
const int8_t *car_quads_at(const float *packed, int panels, int depth, int column, float *scale);
/* Quads from one row made whole to the next: whole tiles, where there is at least one. */
enum { CAR_TILE_QUADS = 16 };
static inline int car_quad_stride(int depth) {
    const int quads = car_quads(depth), tiles = (quads + CAR_TILE_QUADS - 1) / CAR_TILE_QUADS;
    return quads < CAR_TILE_QUADS ? quads : tiles * CAR_TILE_QUADS;
}
static inline size_t car_integer_scratch(int rows, int depth) {
    int group = car_product_group(depth);
    return (size_t)(rows < group ? rows : group) * ((size_t)car_quad_stride(depth) + 1);
}
/* Values of up to `largest` in size become whole numbers by `factor` and come back by `scale`. */
typedef struct car_integer_scale {
    float scale, factor;
} car_integer_scale;
static inline car_integer_scale car_integer_scale_of(float largest) {
    if (!(largest >= 0x1p-100f))
        return (car_integer_scale){0.0f, 0.0f};
    return (car_integer_scale){largest / CAR_INTEGER_MOST, CAR_INTEGER_MOST / largest};
}

/* ---- Vector programs ---------------------------------------------------------------------------------- */

/* name, text, operands. out, a, b, c are registers; a register holds one strip of units. */
#define CAR_VECTOR_OP_MAP(X)                                                                       \
    X(LOAD, "load", 0)         /* out = slot */                                                    \
    X(STORE, "store", 1)       /* slot = a; padding units are written as 0 */                      \
    X(CONSTANT, "constant", 0) /* out = value */                                                   \
    X(ADD, "add", 2)                                                                               \
    X(SUBTRACT, "subtract", 2)                                                                     \
    X(MULTIPLY, "multiply", 2)                                                                     \
    X(DIVIDE, "divide", 2)                                                                         \
    X(FMA, "fma", 3) /* a*b + c, rounded once (twice at baseline) */                               \
    X(NEGATE, "negate", 1)                                                                         \
    X(SIGMOID, "sigmoid", 1)                                                                       \
    X(TANH, "tanh", 1)                                                                             \
    X(RELU, "relu", 1) /* NaN stays NaN */                                                         \
    X(EXP, "exp", 1)                                                                               \
    X(LOG, "log", 1)                                                                               \
    X(SQRT, "sqrt", 1)                                                                             \
    X(SOFTPLUS, "softplus", 1)                                                                     \
    X(ABS, "abs", 1)                                                                               \
    X(MAX, "max", 2)                           /* a > b ? a : b */                                 \
    X(MIN, "min", 2)                           /* a < b ? a : b */                                 \
    X(GREATER, "greater", 2)                   /* a > b ? 1 : 0 */                                 \
    X(SIGMOID_GRADIENT, "sigmoid_gradient", 2) /* a * (b * (1 - b)) */                             \
    X(TANH_GRADIENT, "tanh_gradient", 2)       /* a * fma(-b, b, 1) */

typedef enum car_vector_op {
#define X(name, text, operands) CAR_VECTOR_##name,
    CAR_VECTOR_OP_MAP(X)
#undef X
        CAR_VECTOR_OP_COUNT
} car_vector_op;
const char *car_vector_op_text(car_vector_op op);
int car_vector_op_operands(car_vector_op op);

typedef struct car_vector_instruction {
    uint8_t op, out, a, b, c;
    uint16_t slot; /* LOAD, STORE */
    float value;   /* CONSTANT */
} car_vector_instruction;

/* Straight-line code, run strip by strip from top to bottom. Within a strip every LOAD of memory that a
 * STORE of the same program overwrites stands before that STORE. */
enum { CAR_VECTOR_REGISTERS = 128 };
typedef struct car_vector_program {
    int count, registers; /* registers <= CAR_VECTOR_REGISTERS */
    car_vector_instruction *code;
} car_vector_program;

/* Where a slot's value of (row, unit) is: base + row*row_stride + (unit/16)*block_stride + unit%16;
 * with block_stride 0 it is one float a row, base[row*row_stride], given to all units (LOAD only). */
typedef struct car_vector_slot {
    float *base;
    int64_t row_stride, block_stride;
} car_vector_slot;

/* ---- Optimizers --------------------------------------------------------------------------------------- */

typedef enum car_optimizer_kind {
    CAR_OPTIMIZER_SGD,    /* momentum > 0: v = momentum*v + g; w -= rate*v */
    CAR_OPTIMIZER_ADAM,   /* Kingma & Ba 2015 */
    CAR_OPTIMIZER_ADAMW,  /* Loshchilov & Hutter 2019: decay outside the moments */
    CAR_OPTIMIZER_RMSPROP /* Tieleman & Hinton 2012 */
} car_optimizer_kind;

/* One sweep over floats [begin, end): clip, decay, moments, weights. Where gradient and moments are 0 and the
 * weight is 0 (padding) all of them stay exactly 0. */
typedef struct car_update {
    car_optimizer_kind kind;
    float rate, momentum, beta1, beta2, epsilon, decay;
    float gradient_scale; /* 1, or threshold/norm when clipped by norm */
    float clip_value;     /* 0: off; else the scaled gradient is cut to [-clip_value, clip_value] */
    float correction1, correction2; /* Adam: 1 - beta^updates */
    float *weights;
    const float *gradient;
    float *first, *second; /* moments; NULL where the kind does not use them */
} car_update;

/* ---- The table ---------------------------------------------------------------------------------------- */

typedef void car_pack(const float *source, int64_t source_row_stride, int rows,
                      const car_product_block *block, int blocks, float *panels, int block_begin,
                      int block_end);

/* What there is of a row's values x, at [row * stride] each. */
typedef struct car_row_means {
    const float *weight; /* [units] the source times these is x; NULL: the source is */
    float *mean;     /* NULL: not wanted, and 0 in the variance */
    float *variance; /* mean of (x - mean)^2; NULL: not wanted, nor inverse */
    float *inverse;  /* 1 / sqrt(variance + epsilon); NULL: not wanted */
    float epsilon;
    int64_t stride;
} car_row_means;

typedef struct car_kernels {
    car_cpu_level level;
    const char *name; /* "baseline", "avx2", "avx512"; "amx": level avx512 with product_tiles, product_split */
    size_t cached_weights; /* bytes that stay in a core's second-level cache beside all else; no bit depends on it */
    int row_in_place; /* floats of a row up to which panels are best read where they lie, not from a packed copy; nor on this */
    bool pair_dot;    /* product_bf16 is made of AVX512_BF16's dot products of pairs */

    car_product_function *product; /* needs no scratch */
    /* Panels from a row-major matrix: panel element [k][column] = source[k*source_row_stride + offset of
     * column's block + column%16] for k < rows and blocks [block_begin,block_end) of `block` (c is the
     * offset). Used for the weight gradient, whose right operand is the gradient of the preactivations. */
    car_pack *pack_rows;
    /* The same product in bf16: packed panels of pairs, a_depth_stride 1. a is rounded to the nearest bf16 (ties to
     * even, NaN stays NaN); c and `initial` are f32. scratch: car_product_scratch(row_end - row_begin, K) floats, those of
     * the product before it as well. */
    car_product_function *product_bf16;
    /* product_bf16 in the order of AMX's tiles: for every 32 values of k a chain of fma over the even ones and one over
     * the odd ones, each from 0, whose sum is added to c. scratch: car_tile_scratch(row_end - row_begin, K) floats. NULL
     * where the CPU has no AMX. For training alone: what a model answers must not depend on the machine's tiles. */
    car_product_function *product_tiles;
    /* product on AMX's tiles: each operand as three bf16 parts, exactly, and six of their nine products in an order of its
     * own (amx_split.c). As near as a chain of fma, but not its bits. Packed panels, a_depth_stride 1, no `before`.
     * scratch: car_split_scratch(row_end - row_begin, K) floats. NULL where the CPU has no AMX. For gradients alone: what a
     * model answers must not depend on the machine's tiles. */
    car_product_function *product_split;
    /* pack_rows to panels of pairs. */
    car_pack *pack_pairs;
    /* The same product with weights packed in int8; a is made whole row by row: with the scale 1/127 where it is
     * `bounded`, known to lie within [-1, 1] (beyond it saturates), else by its own largest value. A NaN or an infinity
     * in a row makes its outputs NaN. K <= CAR_INTEGER_DEPTH; scratch: car_integer_scratch(row_end - row_begin, K) floats. */
    car_product_function *product_int8;
    /* out[column][row] = a[row][column]: out is [columns][out_row_stride], a is [rows][a_row_stride]. */
    void (*transpose)(const float *a, int64_t a_row_stride, int rows, int columns, float *out,
                      int64_t out_row_stride);
    /* The same of pairs, a lies in pairs of rows and out in pairs of columns, which are even in number. `rows` are those from
     * the row `first`, 0 or 1, of the first pair on: out is [columns/2][out_row_stride]. */
    void (*transpose_pairs)(const float *a, int64_t a_row_stride, int first, int rows, int columns,
                            float *out, int64_t out_row_stride);

    /* Rows [row_begin,row_end), blocks [block_begin,block_end) of rows of `units` units. */
    void (*program)(const car_vector_program *program, const car_vector_slot *slots, int units,
                    int row_begin, int row_end, int block_begin, int block_end);

    /* The mean of the n units of each row: ascending blocks into one 16-lane sum, then a fixed tree over the lanes; padding
     * excluded. */
    void (*row_mean)(const car_vector_slot *source, int units, int row_begin, int row_end,
                     const car_row_means *out);
    /* sum[j] (+)= sum over rows, ascending, of source (row, unit) for blocks [block_begin,block_end), written at
     * sum + block*16; from_zero: start from 0. */
    void (*column_sum)(const car_vector_slot *source, int rows, int block_begin, int block_end,
                       float *sum, bool from_zero);

    /* Per row: loss = log(sum exp(logits)) - logits[target] in nats; logits become scale*(softmax - one-hot)
     * when `gradient`, else stay. Columns beyond `classes` (padding) become 0. A target < 0 is skipped:
     * loss 0, gradient 0. loss[row] is set. */
    void (*softmax_loss)(float *logits, int64_t row_stride, int classes, const int32_t *targets,
                         float scale, bool gradient, float *loss, int row_begin, int row_end);
    /* logits become probabilities softmax(logits / temperature) in place. */
    void (*softmax)(float *logits, int64_t row_stride, int classes, float temperature,
                    int row_begin, int row_end);

    /* sum of squares of x[0..count) in a fixed order (16 lanes, then a tree), accumulated in double. */
    double (*square_sum)(const float *x, size_t count);
    void (*update)(const car_update *update, size_t begin, size_t end);
    void (*add)(float *out, const float *x, size_t count); /* out += x */
    void (*multiply)(float *out, const float *x, const float *mask,
                     size_t count); /* out = x*mask */
    /* mask[i] = 0 or scale: counter-based (car_random_block), element i of row `lane` at absolute time t;
     * the mask of a row depends on (key, time, lane, unit) alone. Padding gets 0. */
    void (*dropout_mask)(car_random_key key, uint64_t time, uint64_t lane, float probability,
                         int units, float *mask);

    /* Q of the QR decomposition, R's diagonal positive, of rows [count][length], count <= length, that are independent:
     * each less its projection on those above, at length 1. The same bits on every level. */
    void (*orthonormalize)(double *rows, size_t count, size_t length);

    /* Elementwise maths on arrays, for tests of all floats and for heads. Operations of one operand; others
     * leave `out` as it is. */
    void (*map)(car_vector_op op, const float *x, float *out, size_t count);
    bool (*all_finite)(const float *x, size_t count);
} car_kernels;

/* The product on which a model runs: in bf16 on tiles while it is trained, where the CPU has them. */
static inline car_product_function *car_product_of(const car_kernels *kernels,
                                                   car_precision precision, bool training) {
    if (precision == CAR_PRECISION_INT8)
        return kernels->product_int8;
    if (precision == CAR_PRECISION_F32)
        return kernels->product;
    return training && kernels->product_tiles ? kernels->product_tiles : kernels->product_bf16;
}
/* Floats of scratch for it in bf16, whatever the CPU. */
static inline size_t car_bf16_scratch(bool training, int rows, int depth) {
    size_t pairs = car_product_scratch(rows, depth), tiles = car_tile_scratch(rows, depth);
    return training && tiles > pairs ? tiles : pairs;
}

/* A matrix of weights [outputs][depth] and the products that a layer or the head makes with it. */
typedef struct car_matrix_use {
    car_precision precision;
    bool training, backward, splits; /* splits: gradients in f32 by product_split */
    int depth, outputs;
    int rows, met; /* most rows of one product forward, backward */
} car_matrix_use;
/* Floats of scratch that a thread needs for them: forward, of the weights' gradient, of the operand's. */
static inline size_t car_matrix_scratch(const car_matrix_use *of) {
    size_t sizes[3] = {0};
    if (of->precision == CAR_PRECISION_INT8) {
        sizes[0] = car_integer_scratch(of->rows, of->depth);
    } else if (of->precision == CAR_PRECISION_BF16) {
        sizes[0] = car_bf16_scratch(of->training, of->rows, of->depth);
        sizes[1] = of->backward ? car_bf16_scratch(of->training, of->depth, of->met) : 0;
        sizes[2] = of->backward ? car_bf16_scratch(of->training, of->met, of->outputs) : 0;
    } else if (of->backward && of->splits) {
        sizes[1] = car_split_scratch(of->depth, of->met);
        sizes[2] = car_split_scratch(of->met, of->outputs);
    }
    size_t most = sizes[0];
    for (int i = 1; i < 3; i++)
        most = sizes[i] > most ? sizes[i] : most;
    return most;
}

/* Whether gradients beside an operand of so many values are products that split: with fewer the splitting takes as long
 * as the tiles save. */
static inline bool car_splits(const car_kernels *kernels, car_precision precision, int depth) {
    enum { LEAST_DEPTH = 96 };
    return precision == CAR_PRECISION_F32 && kernels->product_split && depth >= LEAST_DEPTH;
}

/* What CPU and operating system allow (CPUID, XCR0). */
car_cpu_level car_cpu_highest(void);
/* The table of a level, NULL if this machine cannot run it. */
const car_kernels *car_kernels_of(car_cpu_level level);
/* The highest allowed table, lowered by CAROUSEL_CPU=baseline|avx2|avx512|amx; "avx512" is without AMX. CAR_USAGE for
 * another value. */
car_status car_kernels_choose(const car_kernels **kernels, car_error *error) CAR_CHECK_RESULT;
/* One line per level: available, or why not ("avx512: the operating system does not save ZMM registers"). */
void car_cpu_describe(car_text *text);

#endif
