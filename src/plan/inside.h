/*
 * inside.h: what the files of plan/ share; no other room includes it.
 *
 * Words used here:
 *   chain    a sum of products, one PRODUCT after another (language.h); its last PRODUCT is the root.
 *   gate     the number of a chain in the buffer of sums, [T][B][blocks][gates][16]: the 16 units of a
 *            block lie side by side for all gates, so that a stage's program finds them in one place.
 *   group    products that share an operand and run together: one packed matrix, one call.
 *   place    where a value stands in a layer's memory.
 *   phase    before: all steps at once, what depends on x alone. loop: step by step.
 *            back loop: steps backwards. back after: all steps at once, what no state gradient needs.
 *   stage    within a phase: products, then means, then one vector program.
 */
#ifndef CAR_PLAN_INSIDE_H
#define CAR_PLAN_INSIDE_H

#include "plan.h"

typedef enum car_phase {
    CAR_PHASE_BEFORE,
    CAR_PHASE_LOOP,
    CAR_PHASE_BACK_LOOP,
    CAR_PHASE_BACK_AFTER,
    CAR_PHASES
} car_phase;

typedef enum car_region {
    CAR_REGION_NONE,
    CAR_REGION_INPUT, /* x                        [T][B][input row], or further apart, or without padding */
    CAR_REGION_STATE, /* states                   [T+1][B][padded]; `after`: after the step (rows: layer.c) */
    CAR_REGION_SUMS, /* gate `index` of the sums [T][B][blocks][gates][16] */
    CAR_REGION_KEPT, /* other stored values      [T][B][padded], or [B][padded] of one step (lifetime.c) */
    CAR_REGION_MEAN,            /* means of rows            [T][B] */
    CAR_REGION_VECTOR,          /* vector parameter `index` [padded], in the weights */
    CAR_REGION_OUTPUT_GRADIENT, /* dL/dy                    [T][B][padded] */
    CAR_REGION_STATE_GRADIENT, /* dL/dstate                [2][B][padded]; `after`: of the state after */
    CAR_REGION_INPUT_GRADIENT, /* dL/dx                    [T][B][input row] */
    CAR_REGION_WORK,           /* other stored gradients   likewise */
    CAR_REGION_WORK_MEAN       /* means of gradients       [T][B] */
} car_region;

typedef struct car_place {
    car_region region;
    int index;
    bool after;
} car_place;

/* Where in the plan a value is computed. Stages are ordered by phase, then level. */
typedef struct car_when {
    car_phase phase;
    int level;
} car_when;

/* A value that a stage's program writes. node -1: zeros. */
typedef struct car_store {
    bool gradient; /* a node of the gradient graph, else of the forward graph */
    int node;
    car_place place;
    car_when when;
} car_store;

/* Of units, each times its weight, the mean, the mean of their squared deviations from it (of their squares, where it is not
 * wanted) and 1 / sqrt(that + epsilon); without what has the region NONE. */
typedef struct car_mean {
    car_place source, weight, target, variance, inverse;
    float epsilon;
    car_when when;
} car_mean;

typedef struct car_group {
    int operand; /* forward node */
    car_place operand_place;
    int depth;                          /* logical size of the operand */
    int count;                          /* products = gates covered */
    int *gates, *parameters, *products; /* [count], gates ascending */
    car_when when;
    int rank;                 /* order among the groups of a stage */
    bool bounded;             /* the operand lies within [-1, 1] */
    bool splits;              /* gradients behind the loop by product_split */
    size_t weights;           /* offset of the packed panels in the weights */
    size_t running;           /* the same in what a layer runs on */
    int blocks;               /* columns / 16 = blocks of units * count */
    int half_blocks;          /* of the last block of units, where that is half empty */
    car_product_block *block; /* [blocks] forward; c: place in a row of sums */

    bool has_back; /* dL/d(operand) is needed */
    car_when back_when;
    car_place back_place;
    bool back_continues;       /* adds to what stands at back_place, else starts from 0 */
    int gate_first, gate_span; /* gates covered by the transposed copy */
    int whole_blocks;          /* of units, in the transposed copy: all, or all but the last one, */
    int rest;                  /* of which so many units have a copy of their own, without padding; 0: none */
    size_t transposed, transposed_rest;
    int back_blocks;
    car_product_block *back_block; /* c: place in a row of back_place */
    car_product_block *rest_block; /* the same, going on from the whole blocks */
    car_product_block *gradient_block; /* [blocks] c: place in a row of the packed weight gradient */
    car_product_block *gradient_begin; /* the same, starting from zero */
} car_group;

typedef struct car_stage {
    car_when when;
    int group_count, mean_count;
    int *groups; /* indices; transposed products in the back phases */
    car_mean *means;
    car_vector_program program; /* count 0: none */
    int slot_count;
    car_place *slots;
    const car_group *alone;             /* the loop's only product, where this program is all else of it; or NULL */
    const car_emitted_program *emitted; /* the program as functions; NULL: the interpreter runs it */
    car_row_function row;               /* for steps of one row, in the plan's precision; NULL: there is none */
} car_stage;

/* dL/d(vector parameter) = sum over rows of what stands at `place`. */
typedef struct car_vector_gradient {
    int parameter;
    car_place place;
} car_vector_gradient;

struct car_plan {
    car_arena *arena;
    const struct car_cell *cell;
    car_shape input;
    int units, blocks, padded;
    bool training;
    car_precision precision;
    const car_kernels *kernels; /* of the options */
    car_cpu_level function_level; /* of the stages' functions */
    int override_count;
    const double **override;            /* [forward count] NULL: not overridden */
    bool input_bounded, output_bounded; /* x is known to lie within [-1, 1]; hence y is */

    /* schedule.c */
    car_when *when; /* [forward count] */
    bool *hoisted;  /* [forward count] depends on x alone */
    int *uses;      /* [forward count] */
    int gates;
    int *gate_root;      /* [gates] forward PRODUCT */
    int *gate_of;        /* [forward count] of a PRODUCT, -1 */
    car_when *back_when; /* [gradient count] */
    int *back_uses;
    int group_count;
    car_group *groups;
    int *group_of; /* [forward count] of a PRODUCT, -1 */

    /* program.c: operations on the longest way to a node from products, means and leaves */
    int *depth, *back_depth; /* [forward count] [gradient count] */

    /* place.c */
    car_place *place;      /* [forward count] */
    car_place *back_place; /* [gradient count] */
    bool *gate_taken; /* [gates] another value than the root stands in the gate after its stage */
    bool *gate_reserved; /* [gates] only the root and its gradient may stand in it */
    int kept_count, mean_count, work_count, work_mean_count;
    int store_count, store_capacity;
    car_store *stores;
    int all_mean_count;
    car_mean *all_means;
    int vector_gradient_count;
    car_vector_gradient *vector_gradients;
    car_place output;
    bool input_gradient_written; /* x has a gradient */
    bool
        input_gradient_stored; /* by a program, so that it must have a place even if nobody asks for it */
    int tap_count;
    car_place *taps;

    /* lifetime.c */
    bool *kept_brief, *work_brief;  /* [kept_count] [work_count]: one array for all steps */
    bool *mean_own, *work_mean_own; /* [mean_count] [work_mean_count]: a thread's own */

    /* plan.c */
    int joined; /* the group of the loop that one row runs together with the one before it; -1: none */
    int stage_count[CAR_PHASES];
    car_stage *stages[CAR_PHASES];

    /* pack.c */
    size_t *vector_offset; /* [parameter_count] in the weights; of vectors */
    size_t weight_floats, running_floats, transposed_floats;
};

/* A place of a layer, bound to memory for one call. */
typedef struct car_bound {
    float *base;
    const int *first; /* row of step t's first lane; NULL: all steps have the same rows */
    int64_t row_stride, block_stride;
    int64_t parity_stride; /* state gradients alternate between two arrays from step to step */
    int64_t member_stride; /* from a thread's copy to the next one's, where each has its own */
} car_bound;
/* Where the rows of a step begin. */
static inline float *car_bound_at(const car_bound *bound, int time, int parity) {
    int64_t row = bound->first ? bound->first[time] : 0;
    return bound->base + row * bound->row_stride + parity * bound->parity_stride;
}

/* The same in the copy of a thread. */
static inline float *car_bound_own(const car_bound *bound, int time, int parity, int member) {
    return car_bound_at(bound, time, parity) + member * bound->member_stride;
}

/* The products of a group, bound for one call; their rows, too, are counted through all steps. */
typedef struct car_group_call {
    car_product product[2]; /* the second takes the panels from the last to the first */
    car_bound operand;
    bool moves; /* `a` does not stay */
    car_product transposed, rest; /* dL/d(operand): of the whole blocks of units and of what is left; written at: */
    car_bound target;
} car_group_call;

/* A mean, bound for one call. */
typedef struct car_mean_call {
    car_bound source, weight, target, variance, inverse;
    float epsilon;
} car_mean_call;

/* A stage, bound for one call. Rows of its program are counted through all steps, so that most slots stay where they are: to
 * work out at each step where all of them are takes as long as the step of a small cell. */
typedef struct car_stage_call {
    car_bound *bound;       /* [slot_count] */
    car_vector_slot *slots; /* [threads][slot_count], a thread's `slot_stride` behind those of the one before */
    int slot_stride;
    int moving_count;
    int *moving;          /* [moving_count] the slots that do not stay */
    car_mean_call *means; /* [mean_count] */
} car_stage_call;

/* What the forward phases' slots, means and products depend on. */
typedef struct car_forward_call {
    const car_rows *rows;
    int active; /* lanes of the first step */
    bool even;  /* they run all steps */
    bool one_row; /* one lane, one step */
    const float *input, *weights;
    int64_t input_stride;
    int origin; /* the row that stands first in what holds the rows of a chunk alone */
} car_forward_call;

/* Some steps, lanes, rows or blocks: from begin up to end. */
typedef struct car_range {
    int begin, end;
} car_range;
static inline bool car_range_is_empty(car_range of) {
    return of.begin >= of.end;
}

/* Some units of some lanes. */
typedef struct car_part {
    car_range lanes, blocks;
} car_part;

struct car_layer {
    const car_plan *plan;
    const car_kernels *kernels;
    car_product_function *multiply; /* in the plan's precision */
    car_layer_shape shape;
    bool by_units; /* threads share the units (a barrier a stage), else the lanes (no barrier) */
    int chunk;     /* steps of one round of the phase before the loop */
    bool passing;  /* sums, kept values and means have the rows of one such round alone, each in the place of the one before */
    car_part whole; /* all lanes and units */
    float **state, **start, **kept, **mean; /* [states] [states] [kept_count] [mean_count] */
    float *sums;
    float **state_gradient, **work, **work_mean; /* of work, what is not brief: two stretches by turns */
    int stretch;        /* steps */
    int *stretch_first; /* [steps] row of step t's first lane in the two stretches */
    int64_t own_stride[CAR_REGION_WORK_MEAN + 1]; /* from a thread's own arrays of a region to the next one's */
    float *unasked_input_gradient; /* where it goes when the caller passes NULL */
    float *operand_transposed;     /* [depth][rows of a round] of one group */
    int64_t operand_row_stride;
    float *gradient_panels; /* panels [rows of a round][64] of one group; bf16: of pairs */
    float *scratch;         /* [threads][scratch_floats] for products in bf16, int8, and that split */
    size_t scratch_floats;
    car_stage_call *stages[CAR_PHASES]; /* [stage] */
    car_group_call *calls;              /* [group_count] */
    car_forward_call bound;             /* what these are bound for */
    bool straight; /* the loop is one product and one emitted program, whose places stay */
    car_row_function row; /* all of such a loop of one lane; NULL: product and program by themselves */
    car_row_call row_call;
    unsigned turn; /* of calls: panels are taken to and fro from step to step where each is a call, too */

    car_rows own_rows; /* of calls whose lanes all run every step */

    /* of the present call */
    const car_rows *rows;
    const float *input, *weights, *transposed, *output_gradient;
    int64_t input_stride; /* from row to row of input */
    float *input_gradient, *gradient;
    bool onward; /* gradients go on from those of an earlier call */
};

/* What a thread does of the loop. Of units that leave a block over when they are shared, every thread takes a share of
 * its lanes as its second part. */
typedef struct car_share {
    car_team *team;
    int member, members, part_count;
    car_part parts[2]; /* [part_count] */
} car_share;

enum { CAR_MOST_SLOTS = 256 };
/* Rows whose weight gradients are worked out at once, behind the backward loop: no more than a product needs of them, so
 * that they are still in cache. */
enum { CAR_GRADIENT_ROWS = 768 };

/* The group from whose sums the joined one goes on. */
static inline const car_group *car_plan_group_before(const car_plan *plan) {
    return &plan->groups[plan->stages[CAR_PHASE_BEFORE]->groups[0]];
}
/* Whether the product before the loop runs as a part of the first one in it. */
static inline bool car_layer_joins(const car_layer *layer) {
    return layer->bound.one_row && layer->plan->joined >= 0;
}
/* A stage's program as an emitted function of the level that the layer runs on, or NULL. */
static inline car_program_function car_layer_function(const car_layer *layer,
                                                      const car_stage *stage) {
    const bool usable = stage->emitted && layer->kernels->level == layer->plan->function_level;
    return usable ? stage->emitted->function : NULL;
}
/* Whether the sums of two groups stand in the same gates. */
static inline bool car_same_gates(const car_group *a, const car_group *b) {
    if (a->count != b->count)
        return false;
    for (int i = 0; i < a->count; i++)
        if (a->gates[i] != b->gates[i])
            return false;
    return true;
}
static inline bool car_same_place(car_place a, car_place b) {
    return a.region == b.region && a.index == b.index && a.after == b.after;
}
static inline bool car_earlier(car_when a, car_when b) {
    return a.phase != b.phase ? a.phase < b.phase : a.level < b.level;
}
static inline bool car_same_when(car_when a, car_when b) {
    return a.phase == b.phase && a.level == b.level;
}
static inline bool car_is_leaf(car_op op) {
    return op == CAR_OP_INPUT || op == CAR_OP_STATE || op == CAR_OP_CONSTANT || op == CAR_OP_VECTOR;
}
static inline car_status car_plan_no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY, "plan: out of memory; use a smaller cell");
}

/* layer.c */
car_bound car_layer_bind(const car_layer *layer, car_place place);
/* Binds both backward phases and the groups' transposed products for a call. */
void car_layer_bind_backward(car_layer *layer);
/* Binds both forward phases and the groups for a call; nothing is to be done where they are bound for the same already, as from
 * step to step of a stream. */
void car_layer_bind_forward(car_layer *layer, const car_rows *rows, const float *input,
                            int64_t input_stride, const float *weights);

/* Where the round and the stretch of the backward loop end that begin when `done` steps are done, and which steps those from
 * `done` to `end` are. */
int car_layer_round_end(const car_layer *layer, int done);
int car_layer_stretch_end(const car_layer *layer, int done, int round_end);
car_range car_layer_back_times(const car_layer *layer, int done, int end);

/* The steps of the chunk that begins when `done` are done. */
car_range car_layer_chunk(const car_layer *layer, int done);
/* Binds what holds the rows of a chunk alone to those of the chunk that begins there. */
void car_layer_bind_chunk(car_layer *layer, int done);

/* Each lane's start state to where its first step reads it. */
void car_layer_place_start(const car_layer *layer);

/* rows.c: whether the rows of `time` lie as far behind those of the step before as these behind theirs. */
bool car_rows_go_on(const car_rows *rows, int time);
/* The end of the steps from times.begin on whose rows lie, in every place, as far behind each other as those of
 * times.begin. States of uneven rows break where a lane has ended. */
int car_rows_run_end(const car_rows *rows, car_range times);

/* run.c: a product of what is done behind the backward loop. */
void car_layer_multiply_gradient(const car_layer *layer, const car_group *group,
                                 const car_product *product, int member, car_range rows,
                                 car_range blocks);
/* gradient.c: every member of the team calls them for the same steps, when all have left the loop over these. `begins`: what
 * stands in the gradient does not count. */
void car_layer_group_gradients(const car_layer *layer, const car_share *mine, car_range times,
                               bool begins);
void car_layer_vector_gradients(const car_layer *layer, const car_share *mine, car_range times,
                                bool begins);

/* schedule.c */
car_status car_plan_schedule(car_plan *plan, car_error *error) CAR_CHECK_RESULT;
/* The a*b of an addition a*b + c that is computed as one fma, else -1. It depends on the graph alone, so that
 * forward, backward and streaming all round alike. */
int car_plan_fused(const car_plan *plan, bool gradient, int v);
/* What v = mean(x*x) is the mean of squares of, which are not stored for it; else -1. */
int car_plan_square_of(const car_plan *plan, int v);
/* The mean s = mean(x) of a mean((x - s)*(x - s)), which is made along with it; else -1. */
int car_plan_variance_of(const car_plan *plan, int v);
/* Such a mean of squares, of v = 1 / sqrt(mean + *epsilon); else -1. */
int car_plan_inverse_of(const car_plan *plan, int v, float *epsilon);
/* bound.c: fills `bounded` of the groups and of the plan. */
car_status car_plan_find_bounds(car_plan *plan, bool input_bounded,
                                car_error *error) CAR_CHECK_RESULT;
/* place.c: decides where values stand; called again with more gates reserved when program.c finds a value that a
 * gradient would overwrite too early. */
car_status car_plan_place(car_plan *plan, const car_plan_options *options,
                          car_error *error) CAR_CHECK_RESULT;
/* program.c */
car_status car_plan_find_depths(car_plan *plan, car_error *error) CAR_CHECK_RESULT;
car_status car_plan_build_program(car_plan *plan, car_stage *stage,
                                  car_error *error) CAR_CHECK_RESULT;
/* lifetime.c */
car_status car_plan_find_lifetimes(car_plan *plan, car_error *error) CAR_CHECK_RESULT;
/* explain.c */
const char *car_phase_title(car_phase phase);
void car_place_print(car_text *text, const car_plan *plan, car_place place);
/* emit.c */
car_program_digest car_stage_digest(const car_stage *stage);
/* Whether its functions have one for steps of one row. */
bool car_stage_has_row(const car_stage *stage);
void car_stage_emit(const car_stage *stage, const char *name, car_text *text);
/* pack.c */
car_status car_plan_lay_out(car_plan *plan, car_error *error) CAR_CHECK_RESULT;

#endif
