/*
 * network: layers and a head become a model; a model is run. Stands on plan and emitted.
 *
 *   net.c         text of a net -> list of layers (docs/nets.md)
 *   init.c        how weights start (schemes, per-parameter overrides), keyed by logical index
 *   model.c       sizes, plans, one flat packed weight array, metadata
 *   tensors.c     parameters as the outside sees them: names, logical layout <-> packed
 *   model_file.c  model <-> safetensors (PyTorch's names where a cell's torch clause gives them)
 *   stack.c       buffers for T x B: forward and backward through embed, cells, dropout, residual, bi
 *   shards.c      a batch as some stacks, each with a few of its lanes, side by side
 *   integer.c     the weights of a model that runs in int8
 *   embed.c       the embedding: gather, and the scatter of its gradient
 *   head.c        the head's product and loss, in chunks of rows (softmax cross-entropy fused)
 *   distribution.c  losses and quantiles of the heads quantile, gaussian, studentt
 *   session.c     streaming
 *
 * Nothing here knows a cell's name. The trainer (train/) uses stack.c through shards.c, so session and trainer share one path.
 * A file here may touch the structs below; a room above reads them and calls the functions.
 */
#ifndef CAR_NETWORK_H
#define CAR_NETWORK_H

#include "emitted.h"

/* ---- net.c -------------------------------------------------------------------------------------------- */

typedef enum car_layer_kind { CAR_LAYER_EMBED, CAR_LAYER_CELL } car_layer_kind;

enum {
    CAR_NET_SIZE_LIMIT = 1 << 20,  /* units of a layer */
    CAR_NET_LAYER_LIMIT = 256,     /* layers when every `xN` is written out */
    CAR_NET_TEXT_LIMIT = 1 << 16,  /* bytes */
    CAR_NET_PATCH_LIMIT = 4096,    /* steps that `patch` makes one of */
    CAR_NET_LEVEL_LIMIT = 99,      /* of a quantile head */
    CAR_MODEL_SIZE_LIMIT = 1 << 24 /* input and output size */
};

typedef struct car_dropout {
    float probability; /* 0: none */
    bool locked;       /* one mask for all steps of a forward call, else one a step */
} car_dropout;

/* One layer after `xN` is written out. */
typedef struct car_net_layer {
    car_layer_kind kind;
    const struct car_cell *cell; /* CELL; owned by the net */
    int units;                   /* 0: as many as the input has (cells that use x elementwise) */
    bool bidirectional, residual;
    car_dropout dropout; /* on this layer's input; on the output of an embed there is none */
    float weight_drop;   /* of matrices with another operand than x, in training */
    car_init init;       /* matrices; CAR_INIT_DEFAULT: not named in the net */
    int line, column;    /* of the word in the text */
} car_net_layer;

typedef enum car_head_kind {
    CAR_HEAD_SOFTMAX,
    CAR_HEAD_SIGMOID,
    CAR_HEAD_LINEAR,
    CAR_HEAD_QUANTILE,
    CAR_HEAD_GAUSSIAN,
    CAR_HEAD_STUDENTT
} car_head_kind;
typedef enum car_head_pool { CAR_POOL_EACH, CAR_POOL_LAST, CAR_POOL_MEAN } car_head_pool;

struct car_net {
    car_arena *arena; /* holds the net too */
    const char *text; /* as given, but `cell:FILE` has become the cell's name */
    int cell_count;
    struct car_cell **cells; /* every cell that a layer uses, once */
    int layer_count;
    car_net_layer *layers;
    int patch; /* steps of the input that become one, side by side; 1: as they come */
    car_head_kind head;
    car_head_pool pool;
    int level_count;                    /* QUANTILE: how many */
    double levels[CAR_NET_LEVEL_LIMIT]; /* rising, within (0, 1) */
    car_dropout head_dropout;
    car_init head_init;
    bool tie;           /* the head's matrix is the embedding */
    bool bidirectional; /* some layer is */
    int tie_line, tie_column;
};

/* car_net_parse; `files`: whether `cell:FILE` may be read (never for the net of a model file). */
car_status car_net_parse_with(const char *text, const car_cell *const *cells, int cell_count,
                              bool files, const car_allocator *allocator, car_net **net,
                              car_error *error) CAR_CHECK_RESULT;

typedef struct car_layer_sizes {
    int input, units, output; /* output = units, or 2 * units of a `bi` layer */
} car_layer_sizes;
/* Fills sizes[layer_count] for a model's input size. CAR_USAGE with the place where sizes clash. */
car_status car_net_sizes(const struct car_net *net, int input_size, car_layer_sizes *sizes,
                         car_error *error) CAR_CHECK_RESULT;

/* ---- model.c ------------------------------------------------------------------------------------------ */

/* Where the pieces of a model stand in its flat weight array (floats; multiples of 16). */
typedef struct car_model_layer {
    car_plan *plan;          /* inference; NULL for embed */
    car_plan *training_plan; /* the same packed layout; NULL in int8 */
    car_layer_sizes size;
    int directions;                   /* 1, or 2 of a `bi` layer */
    size_t weights[2], transposed[2]; /* forward direction, reverse direction */
    size_t running[2];                /* bf16, int8: in model->rounded */
    size_t weight_floats;             /* of one direction, or of the embedding (0 when tied) */
} car_model_layer;

struct car_model {
    const car_allocator *allocator;
    const car_kernels *kernels;
    car_arena *arena;
    struct car_net *net;
    int input_size, output_size;
    int head_depth;          /* values that the head's product sums over: the last layer's output */
    car_precision precision; /* of the operands of all products; weights, bias and embedding stay f32 */
    car_model_layer *layers; /* [net->layer_count] */
    size_t head_weights;     /* panels of 64 outputs, each [head_depth][64] */
    size_t head_bias;        /* [padded output_size] */
    size_t head_transposed;  /* panels of 64 of the head_depth, each [output_size][64]; bf16: of pairs */
    size_t head_running;     /* bf16: in `rounded`, panels of 64 outputs, each [pairs of head_depth][64]; int8: of quads */
    size_t bias_running, embedding_running; /* int8: in `rounded` (integer.c) */
    bool head_bounded;                      /* what the head reads lies within [-1, 1] */
    size_t weight_floats, transposed_floats, rounded_floats;
    float *weights; /* [weight_floats], packed, 64-byte aligned; NULL in int8 */
    float *
        transposed; /* [transposed_floats], for the backward pass; NULL in a model that is only run */
    bool input_transposed; /* the first layer's matrices of x too where a net reads values: only dL/dx takes them */
    float *dropped; /* [weight_floats], used for layers with `weightdrop`; NULL: none, or only run */
    bool dropping;  /* such layers run on `dropped`, or what is rounded from it */
    car_random_key drop_key;
    uint64_t drop_update;
    float *rounded; /* [rounded_floats]: bf16, int8: what layers and head run on; NULL at f32 */
    int tensor_count;
    struct car_tensor_place *tensors; /* tensors.c */
    int metadata_count;
    struct car_metadata *metadata;
};

/* A model's shape without weights: sizes checked, tensors listed, no plans yet. Takes the net over (also when it
 * fails). Then car_model_prepare makes plans and zeroed weights. */
car_status car_model_outline(car_net *net, int input_size, int output_size,
                             const car_allocator *allocator, car_model **model,
                             car_error *error) CAR_CHECK_RESULT;
/* "f32", "bf16", "int8"; NULL is "f32". CAR_USAGE for another text. To be set on an outline. */
car_status car_precision_read(const char *text, car_precision *precision,
                              car_error *error) CAR_CHECK_RESULT;
const char *car_precision_name(car_precision precision);
car_status car_model_prepare(car_model *model, car_error *error) CAR_CHECK_RESULT;
/* Adds `transposed`, which a stack with backward needs, and `dropped`. CAR_USAGE in int8. */
car_status car_model_prepare_training(car_model *model, car_error *error) CAR_CHECK_RESULT;
/* Bytes of a copy of the model that is prepared for training; 0 in int8. */
size_t car_model_training_bytes(const car_model *model);
/* A copy with weights and metadata of its own and the transposed copies that the backward pass needs. */
car_status car_model_copy(const car_model *model, const car_allocator *allocator, car_model **copy,
                          car_error *error) CAR_CHECK_RESULT;
/* To be called after every change of weights: makes parameters that are packed twice agree, and refreshes the rounded
 * and the transposed copies (where they are there). Nothing is dropped from then on. */
void car_model_refresh(car_model *model, int threads);
/* For an update: lets layers with `weightdrop` run, forward and backward, without a share of their weights until the next
 * refresh; which, follows seed and update. For models prepared for training; without such layers nothing happens. */
void car_model_drop(car_model *model, uint64_t seed, uint64_t update, int threads);
/* What is dropped from a direction of a layer now; false: nothing. */
bool car_model_dropped(const car_model *model, int layer, int direction, car_weight_drop *drop);
/* What the layer's plan and the head run on: the weights, the dropped or the rounded copy. */
const float *car_model_running(const car_model *model, int layer, int direction);
const float *car_model_running_head(const car_model *model);
const float *car_model_running_bias(const car_model *model);

/* car_model_compile_native; without `compile` it takes what the cache folder holds and runs no compiler. */
car_status car_model_attach_native(car_model *model, bool compile, car_error *error);

/* Keys that the library writes itself; callers may not set them. */
bool car_model_is_own_key(const char *key);
/* Strings of the caller's in the order in which they were set. */
typedef struct car_metadata {
    char *key, *value;
} car_metadata;

/* ---- init.c ------------------------------------------------------------------------------------------- */

/* Gives a prepared model its first weights. CAR_USAGE for a scheme or parameter name that is not understood. */
car_status car_model_initialize(car_model *model, const car_model_options *options,
                                car_error *error) CAR_CHECK_RESULT;

/* ---- tensors.c ---------------------------------------------------------------------------------------- */

typedef enum car_tensor_role {
    CAR_TENSOR_EMBEDDING, /* [input_size][units] */
    CAR_TENSOR_CELL,      /* parameters of a cell, stacked by rows */
    CAR_TENSOR_HEAD,      /* [output_size][head_depth] */
    CAR_TENSOR_BIAS       /* [output_size] */
} car_tensor_role;

/* Where a tensor of the outside stands inside. */
typedef struct car_tensor_place {
    const char *name;
    int rank;
    size_t shape[2];
    car_tensor_role role;
    int layer, direction; /* CELL */
    int count;            /* CELL: blocks of `units` rows */
    const int *blocks;    /* [count] parameters; -1: a block of zeros (PyTorch's second bias) */
    int sibling; /* what a file holds in a block of zeros is added to this tensor's block; -1: none, must be 0 */
} car_tensor_place;

/* A parameter tensor as the outside sees it: logical layout, PyTorch's name. */
typedef struct car_model_tensor {
    const char *name;
    int rank;
    size_t shape[2];
} car_model_tensor;
int car_model_tensor_count(const car_model *model);
void car_model_tensor_at(const car_model *model, int index, car_model_tensor *tensor);
/* Logical values of a tensor out of / into any flat array laid out like the weights (moments, gradients). A block
 * that is zeros by its cell's torch clause unpacks to zeros and is not packed. */
void car_model_unpack(const car_model *model, int index, const float *packed, float *logical);
void car_model_pack(const car_model *model, int index, const float *logical, float *packed);
size_t car_model_tensor_floats(const car_model *model, int index);
/* Lists the tensors of an outlined model. */
car_status car_model_list_tensors(car_model *model, car_error *error) CAR_CHECK_RESULT;

/* ---- integer.c ---------------------------------------------------------------------------------------- */

/* A tensor of rank 2 of an int8 model as whole numbers -127..127 in its logical layout and a scale for each row; one of
 * rank 1 as floats. */
void car_model_int8_set(car_model *model, int index, const int8_t *values, const float *scales);
void car_model_int8_get(const car_model *model, int index, int8_t *values,
                        float *scales); /* either may be NULL */
void car_model_int8_set_vector(car_model *model, int index, const float *values);
void car_model_int8_get_vector(const car_model *model, int index, float *values);
/* Fills the weights of `to` from those of `from`; one of the two is in int8. CAR_MODEL: a weight is no number. */
car_status car_model_int8_convert(const car_model *from, car_model *to,
                                  car_error *error) CAR_CHECK_RESULT;
size_t car_model_int8_embedding_floats(const car_model *model);
/* The embedding of an id, [units]. */
void car_model_int8_embed(const car_model *model, int32_t id, float *out);

/* ---- model_file.c ------------------------------------------------------------------------------------- */

/* Adds a model's tensors and metadata to a container, for the trainer's checkpoints; the model stays as it is until that is
 * saved. */
car_status car_model_write(const car_model *model, car_container_builder *builder,
                           car_error *error) CAR_CHECK_RESULT;
/* car_model_save with memory of the caller's for one tensor at a time. */
car_status car_model_save_with(const car_model *model, const char *path, void *memory, size_t bytes,
                               car_error *error) CAR_CHECK_RESULT;
/* The model in a container, ready for training. Tensors whose names start with "trainer." and metadata keys that start
 * so are the trainer's and are passed over; any other surplus is CAR_MODEL. `origin` names the file in messages. */
car_status car_model_read(const car_container *container, const char *origin,
                          const car_allocator *allocator, car_model **model,
                          car_error *error) CAR_CHECK_RESULT;

/* ---- stack.c ------------------------------------------------------------------------------------------ */

/* Which of a caller's lanes a stack has: its lane k is the caller's first + k*every of `all`. all 0: it has the caller's, as
 * they are. */
typedef struct car_lanes {
    int all, first, every;
} car_lanes;
static inline int car_lane_of(const car_lanes *lanes, int k) {
    return lanes->first + k * lanes->every;
}

typedef struct car_stack car_stack;
typedef struct car_stack_shape {
    int batch, steps, threads;
    car_lanes lanes; /* whose rows `input`, `lengths`, `target` and outputs below are, and whose number a mask follows */
    bool backward; /* the model must have `transposed` */
    bool input_gradient; /* with backward: dL/d(start states) are wanted too, and of a net without embed dL/d(input); the
                          * model must have `input_transposed` then */
} car_stack_shape;
/* Bytes of a stack; 0: overflow, backward in int8, or a model without what `shape` asks for. It lives in `memory`, zeroed and
 * 64-byte aligned. The model is borrowed. */
size_t car_stack_size(const car_model *model, const car_stack_shape *shape);
car_stack *car_stack_place(const car_model *model, const car_stack_shape *shape, void *memory);

/* `input`: ids or values, rows [steps][batch]; values are borrowed until the last of the calls below that is about them, for a
 * first cell that only multiplies them reads them where they stand. `lengths` [batch]: the steps of each lane, 0..steps; NULL:
 * all of them. What stands beyond a lane's own steps is neither read nor written, here and in the calls below, which are about
 * the steps of the last forward call; a lane of length 0 takes no part and keeps its state. `dropout`: NULL for none (and
 * always none without `backward`); else masks are keyed by its seed and purpose, the layer, the lane and absolute time
 * `time` .. time+steps-1, locked ones by `time` alone. CAR_DATA: a length or id out of range; no state has been
 * changed then. */
car_status car_stack_forward(car_stack *stack, int steps, const int *lengths, const void *input,
                             const car_random_key *dropout, uint64_t time, car_error *error);
/* The head's raw outputs [rows][output_size] (rows: [steps][batch], or [batch] for last/mean). */
void car_stack_outputs(car_stack *stack, float *output);
/* Loss summed over the counted targets. With backward: keeps dL/d(head input) of the MEAN loss, and writes the
 * head's weight gradient into `gradient`. Without: `gradient` is not used. CAR_DATA: a class out of range. */
car_status car_stack_loss(car_stack *stack, const void *target, float *gradient, double *loss_sum,
                          int64_t *counted, car_error *error);
/* The two halves of it: how many targets count, and the summed loss, whose mean is that over `counted` targets. */
car_status car_stack_count(car_stack *stack, const void *target, int64_t *counted,
                           car_error *error) CAR_CHECK_RESULT;
double car_stack_counted_loss(car_stack *stack, const void *target, int64_t counted,
                              float *gradient);
/* dL/d(last layer's output), rows [..][padded size] as the last forward call had them, of a stack with backward and a head `each`: to be written
 * in place of car_stack_loss when the loss is the caller's. Where layers lie below the last one, the backward pass writes over it. */
float *car_stack_top_gradient(car_stack *stack);
/* After car_stack_loss: writes all other gradients into `gradient` ([weight_floats], packed). What no gradient reaches,
 * padding above all, is left as it is, and should be 0. While weights are dropped, the sum is masked as they are. */
void car_stack_backward(car_stack *stack, const void *input, float *gradient);
/* The same, but the gradients of the states at the end are those that the last backward call left at its start, and not
 * 0, and those of the weights are added to what stands there: a sequence can be gone back through in pieces. The shape must have
 * asked for `input_gradient`. */
void car_stack_backward_onward(car_stack *stack, const void *input, float *gradient);
/* After backward, if the shape asked for them: dL/d(start state) of a layer's forward direction, [batch][padded units], and
 * dL/d(input), [..][padded inputs of the first layer] in rows as the last forward call had them, NULL otherwise; with embed
 * always dL/d(embedding), [..][padded units]. */
const float *car_stack_state_gradient(const car_stack *stack, int layer, int state);
const float *car_stack_input_gradient(const car_stack *stack);
/* The start state of the forward direction of every cell; a reverse direction starts from the initial state always. */
void car_stack_reset(car_stack *stack, int lane); /* -1: all */
/* Makes each lane's state after its own last step its next start state. */
void car_stack_carry(car_stack *stack);
/* Which lanes ran at which step of the last forward call. */
const car_rows *car_stack_rows(const car_stack *stack);
/* One direction of a layer made of a cell, to look at its taps. */
const car_layer *car_stack_layer(const car_stack *stack, int layer, int direction);
size_t car_stack_state_floats(const car_stack *stack); /* a lane, unpadded */
void car_stack_get_state(const car_stack *stack, int lane, float *state);
void car_stack_set_state(car_stack *stack, int lane, const float *state);

/* ---- shards.c ----------------------------------------------------------------------------------------- */

/* A batch in shards, each some of its lanes with a stack of their own. What is said of a stack's calls holds; lanes, rows and
 * messages are those of the whole batch. How many there are follows from the model and from batch and steps at most. */
typedef struct car_shards car_shards;
int car_shards_planned(const car_model *model, int batch, int steps);
size_t car_shards_size(const car_model *model, const car_stack_shape *shape);
car_shards *car_shards_place(const car_model *model, const car_stack_shape *shape, void *memory);
car_status car_shards_forward(car_shards *shards, int steps, const int *lengths, const void *input,
                              const car_random_key *dropout, uint64_t time,
                              car_error *error) CAR_CHECK_RESULT;
car_status car_shards_loss(car_shards *shards, const void *target, float *gradient,
                           double *loss_sum, int64_t *counted, car_error *error) CAR_CHECK_RESULT;
void car_shards_backward(car_shards *shards, const void *input, float *gradient);
/* Steps of the longest lane in the last forward call. */
int car_shards_steps(const car_shards *shards);
int car_shards_count(const car_shards *shards);
/* The stack of a shard, 0 <= index < count; NULL: none of its lanes had a step. And which of the batch's lanes one of its is. */
car_stack *car_shards_stack(const car_shards *shards, int index);
int car_shards_lane(const car_shards *shards, int index, int lane);
void car_shards_reset(car_shards *shards); /* all lanes */
void car_shards_carry(car_shards *shards);
size_t car_shards_state_floats(const car_shards *shards); /* a lane, unpadded */
void car_shards_get_state(const car_shards *shards, int lane, float *state);
void car_shards_set_state(car_shards *shards, int lane, const float *state);

/* ---- embed.c ------------------------------------------------------------------------------------------ */

/* CAR_DATA names the first id that is out of range; ids [count], places [count] the caller's rows of `batch` lanes that
 * they stand in (NULL: in order). */
car_status car_embed_check(const car_model *model, const int32_t *ids, size_t count, int batch,
                           const int *places, car_error *error) CAR_CHECK_RESULT;
/* rows of out [rows][padded units] = the embeddings of ids; ids are in range. */
void car_embed_gather(const car_model *model, const int32_t *ids, int row_begin, int row_end,
                      float *out);
/* The gradient of an embedding that is not tied, units [unit_begin, unit_end): all of it 0, and rows of output_gradient added,
 * ascending. */
void car_embed_zero(const car_model *model, int unit_begin, int unit_end, float *gradient);
void car_embed_scatter(const car_model *model, const int32_t *ids, int rows,
                       const float *output_gradient, int unit_begin, int unit_end, float *gradient);

/* ---- distribution.c ----------------------------------------------------------------------------------- */

/* Raw outputs for one target: the levels of `quantile`, 2 of `gaussian`, 3 of `studentt`; 1 of all other heads. A row has
 * them side by side, target after target. */
int car_head_parameters(const struct car_net *net);
/* The loss of a row of a quantile, gaussian or studentt head, the mean over its targets. With backward: raw becomes
 * scale * dL/d(raw). */
double car_distribution_loss(const struct car_net *net, int targets, float *raw,
                             const float *target, bool backward, float scale);
/* What is foretold for one target: the median of `quantile`, else the middle; raw: its outputs. */
double car_distribution_point(const struct car_net *net, const float *raw);
/* The quantile at `level`, within (0, 1); of a linear head its output. */
double car_distribution_quantile(const struct car_net *net, const float *raw, double level);

/* ---- head.c ------------------------------------------------------------------------------------------- */

/* The head's buffers; they live in the stack's memory. */
typedef struct car_head {
    const car_model *model;
    int threads, chunk; /* rows whose logits are held at a time */
    int depth_padded, output_padded;
    bool backward;
    car_product_function *multiply, *multiply_gradient;
    car_product_block *output_blocks;   /* logits: start from the bias */
    car_product_block *gradient_begin;  /* weight gradient of the first chunk: start from 0 */
    car_product_block *gradient_blocks; /* of the next ones: go on from what is there */
    car_product_block *input_blocks;    /* input gradient: start from 0 */
    float *logits;                      /* [chunk][output_padded]; then their gradient */
    int32_t *classes;                   /* [rows] targets of softmax */
    float *row_loss;                    /* [rows] */
    float *scratch;                     /* [threads][output_padded] */
    float *rounding; /* [threads][rounding_floats]: scratch of products in bf16, int8, and that split */
    size_t rounding_floats;
    float *packed_gradient;             /* panels of the logits' gradient, each [chunk][64] */
    float *input_transposed;            /* [head_depth][chunk] */
} car_head;
/* Lays the head's buffers for `rows` rows; with base NULL only counts. */
void car_head_lay(car_head *head, const car_model *model, int rows, int threads, bool backward,
                  car_layout *layout, char *base);
/* input [rows][depth_padded] -> output [..][output_size]; row r of the head is row places[r] of the caller's output and
 * target (NULL: r). */
void car_head_outputs(const car_head *head, const float *input, int rows, const int *places,
                      float *output);
/* Checks and keeps classes, and counts targets: to be called before the loss. */
car_status car_head_count(const car_head *head, int rows, const int *places, const void *target,
                          int64_t *counted, car_error *error);
/* The loss summed over rows. With backward: input_gradient [rows][depth_padded] is written and the gradient of
 * head_weights and head_bias stands in `gradient`, both of the loss summed and divided by `counted`. */
double car_head_loss(const car_head *head, const float *input, int rows, const int *places,
                     const void *target, int64_t counted, float *input_gradient, float *gradient);

#endif
