/*
 * network: layers and a head become a model; a model is run. Stands on plan.
 *
 *   net.c         text of a net -> list of layers (docs/nets.md)
 *   init.c        how weights start (schemes, per-parameter overrides), keyed by logical index
 *   model.c       sizes, plans, one flat packed weight array, metadata
 *   model_file.c  model <-> safetensors (PyTorch's names where a cell's torch clause gives them)
 *   stack.c       buffers for T x B: forward and backward through embed, cells, dropout, residual, bi
 *   head.c        the head's product and loss, in chunks of rows (softmax cross-entropy fused)
 *   session.c     streaming
 *
 * Nothing here knows a cell's name. The trainer (train/) uses stack.c, so session and trainer share one path.
 */
#ifndef CAR_NETWORK_H
#define CAR_NETWORK_H

#include "plan.h"

typedef enum car_layer_kind { CAR_LAYER_EMBED, CAR_LAYER_CELL } car_layer_kind;

/* One layer after `xN` is written out. `project N` is a CAR_LAYER_CELL of the stateless linear cell. */
typedef struct car_net_layer {
    car_layer_kind kind;
    const struct car_cell *cell; /* CELL; owned by the net */
    int units;
    bool bidirectional, residual;
    float dropout; /* on this layer's input */
    int line_column;
    car_init init; /* matrices; CAR_INIT_DEFAULT: not named in the net */
} car_net_layer;

typedef enum car_head_kind { CAR_HEAD_SOFTMAX, CAR_HEAD_SIGMOID, CAR_HEAD_LINEAR } car_head_kind;
typedef enum car_head_pool { CAR_POOL_EACH, CAR_POOL_LAST, CAR_POOL_MEAN } car_head_pool;

struct car_net {
    car_arena *arena;
    const char *text;
    int layer_count;
    car_net_layer *layers;
    car_head_kind head;
    car_head_pool pool;
    float head_dropout;
    bool tie; /* the head's matrix is the embedding */
};

/* Where the pieces of a model stand in its flat weight array (floats). */
typedef struct car_model_layer {
    car_plan *plan;          /* inference; NULL for embed */
    car_plan *training_plan; /* the same packed layout */
    car_shape input, output;
    size_t weights[2], transposed[2]; /* forward direction, reverse direction */
    size_t weight_floats;             /* of one direction, or of the embedding */
} car_model_layer;

struct car_model {
    const car_allocator *allocator;
    const car_kernels *kernels;
    struct car_net *net;
    int input_size, output_size;
    car_model_layer *layers;    /* [net->layer_count] */
    size_t head_weights, head_bias; /* packed panels [output_size] x K; bias [padded output] */
    size_t head_transposed;
    size_t weight_floats, transposed_floats;
    float *weights;    /* [weight_floats], packed, 64-byte aligned */
    float *transposed; /* [transposed_floats]; refreshed after every change of weights (backward only) */
    struct car_metadata *metadata;
};

/* A parameter tensor as the outside sees it: logical layout, PyTorch's name. */
typedef struct car_model_tensor {
    const char *name;
    int rank;
    size_t shape[2];
} car_model_tensor;
int car_model_tensor_count(const struct car_model *model);
void car_model_tensor_at(const struct car_model *model, int index, car_model_tensor *tensor);
/* Logical values of a tensor out of / into any flat array laid out like the weights (moments, gradients). */
void car_model_unpack(const struct car_model *model, int index, const float *packed, float *logical);
void car_model_pack(const struct car_model *model, int index, const float *logical, float *packed);

/* ---- stack.c ------------------------------------------------------------------------------------------ */

typedef struct car_stack car_stack;
typedef struct car_stack_shape {
    int batch, steps, threads;
    bool backward;
} car_stack_shape;
size_t car_stack_size(const struct car_model *model, const car_stack_shape *shape); /* 0: overflow */
car_stack *car_stack_place(const struct car_model *model, const car_stack_shape *shape, void *memory);

/* `input`: ids or values, rows [steps][batch]. `dropout`: NULL for none; else masks are keyed by it and by
 * absolute time `time` .. time+steps-1. CAR_DATA: an id out of range. */
car_status car_stack_forward(car_stack *stack, int steps, const void *input,
                             const car_random_key *dropout, uint64_t time, car_error *error);
/* The head's raw outputs [rows][output_size] (rows: [steps][batch], or [batch] for last/mean). */
void car_stack_outputs(car_stack *stack, int steps, float *output);
/* Loss summed over the counted targets; keeps dL/d(head input) of the MEAN loss when the stack has backward,
 * and adds the head's weight gradient to `gradient` then. */
car_status car_stack_loss(car_stack *stack, int steps, const void *target, float *gradient,
                          double *loss_sum, int64_t *counted, car_error *error);
/* After car_stack_loss: all other gradients, added to `gradient` ([weight_floats], packed). */
void car_stack_backward(car_stack *stack, int steps, const void *input, float *gradient);
void car_stack_reset(car_stack *stack, int lane); /* -1: all */
void car_stack_carry(car_stack *stack, int steps);
size_t car_stack_state_floats(const car_stack *stack); /* a lane, unpadded */
void car_stack_get_state(const car_stack *stack, int lane, float *state);
void car_stack_set_state(car_stack *stack, int lane, const float *state);
/* Refreshes model->transposed from model->weights. */
void car_model_transpose(struct car_model *model, int threads);

#endif
