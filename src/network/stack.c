/*
 * stack: a net over T steps of B lanes, forward and backward.
 *
 * In:  a model and ids or values, rows [T][B]. Out: outputs or loss, the gradient of all weights, and the states.
 * Every buffer is [T][B][padded units], all in one block of memory. Where lanes differ in length only their real steps
 * are rows (car_rows), and a stack may have only some of the caller's lanes (shards.c); the caller's [T][B] is met at the
 * two ends alone, through `place`:
 *
 *   ids -> embed ─┬─[dropout copy]─> cell, one or two directions ─[joined]─┬─[+ residual]─> ... ─[pool]─[dropout]─> head
 *   values ───────┘                                                        │
 *          dx <──[* mask]──[sum of directions]── backward of the cells <───┴── dy (and dy again, with residual)
 *
 * What a layer reads stays where it is until the backward pass: a cell's output is its own buffer, used by the next
 * layer in place, and so are the caller's values by a first cell that only multiplies them. dropout: y = x * mask,
 * mask = 0 or 1/(1-P), a function of (seed, layer, time, lane, unit); a locked mask is that of the call's first step.
 * Element passes are cut by rows, the embedding's gradient by units: no sum depends on the number of threads.
 */
#include "network.h"
#include <string.h>

typedef struct stack_layer {
    const float *input;      /* what the cell read: the layer below, `dropped`, or the caller's */
    int64_t input_stride;    /* from row to row of it */
    const float *output;     /* what the layer above reads */
    float *dropped, *mask;   /* NULL: no dropout here */
    car_layer *direction[2]; /* NULL: none */
    float *joined;           /* both directions side by side */
    float *sum;              /* residual */
} stack_layer;

struct car_stack {
    const car_model *model;
    car_stack_shape shape;
    car_rows rows; /* of the last forward call */
    bool placed;   /* those rows are not the caller's, one for one: */
    int *place;    /* [rows] the caller's row, step * the caller's lanes + lane */
    int *lane;     /* [B] the caller's lane of each of the lanes, longest first */
    int32_t *ids;  /* [rows] the caller's */
    stack_layer *layers;
    int *lengths; /* [B] of the present call, in patches */
    float *first; /* rows of the embedding, or values that are not read in place, padded */
    car_head head;
    float *pooled;                   /* [B]; NULL with `each` */
    float *head_dropped, *head_mask; /* NULL: no dropout here */
    const float *head_input;         /* of the last forward call */
    bool dropping;                   /* the last forward call had masks */
    bool onward;                 /* state gradients go on from those of the last backward call */
    const float *input_gradient; /* dL/d(embedding or input) of the last backward call, or NULL */
    float *gradient[2];          /* dL/d(output), dL/d(input) of the layer at hand, in turns */
    float *half[2];              /* dL/d(output) of either direction */
    float *reverse_input;        /* dL/d(input) of the reverse direction */
    float *head_gradient;        /* [B]: dL/d(pooled) */
};

/* ---- Memory ------------------------------------------------------------------------------------------- */

typedef struct stack_layout {
    car_layout layout;
    char *base; /* NULL: only count */
    size_t rows, batch;
} stack_layout;

static void *lay(stack_layout *at, size_t rows, size_t columns, size_t size) {
    return car_layout_take(&at->layout, at->base, rows, columns, size);
}

static size_t padded(int size) {
    return (size_t)car_padded(size);
}

static float *lay_rows(stack_layout *at, size_t rows, int size) {
    return lay(at, rows, padded(size), sizeof(float));
}

/* Threads of each direction of layer `index`: 1 where two or three have too few lanes to share and weights that one core
 * keeps in its second-level cache; then the two directions run side by side. */
static int direction_threads(const car_model *model, const car_stack_shape *shape, int index) {
    static const double CACHED_ELEMENTS = 192 << 10;
    const car_model_layer *layer = &model->layers[index];
    bool pair = layer->directions == 2 && shape->threads < 4 && shape->batch < 2 * shape->threads &&
                car_plan_matrix_elements(layer->plan).loop <= CACHED_ELEMENTS;
    return pair ? 1 : shape->threads;
}

static const car_plan *plan_of(const car_model *model, const car_stack_shape *shape, int index) {
    const car_model_layer *layer = &model->layers[index];
    return shape->backward ? layer->training_plan : layer->plan;
}

static void lay_direction(stack_layout *at, const car_model *model, const car_stack_shape *shape,
                          int index, int direction, stack_layer *layer) {
    const car_plan *plan = plan_of(model, shape, index);
    const car_layer_shape layer_shape = {.batch = shape->batch,
                                         .steps = shape->steps,
                                         .backward = shape->backward,
                                         .reverse = direction == 1,
                                         .threads = direction_threads(model, shape, index),
                                         .start_gradient = shape->input_gradient};
    size_t bytes = car_layer_size(plan, &layer_shape);
    if (bytes == 0)
        at->layout.overflow = true;
    void *memory = lay(at, bytes, 1, 1);
    if (memory)
        layer->direction[direction] = car_layer_place(plan, &layer_shape, model->kernels, memory);
}

static void lay_layer(stack_layout *at, const car_model *model, const car_stack_shape *shape,
                      int index, stack_layer *layer) {
    const car_net_layer *net = &model->net->layers[index];
    const car_layer_sizes *size = &model->layers[index].size;
    if (net->kind == CAR_LAYER_EMBED)
        return;
    if (net->dropout.probability > 0 && shape->backward) {
        layer->dropped = lay_rows(at, at->rows, size->input);
        layer->mask = lay_rows(at, at->rows, size->input);
    }
    for (int d = 0; d < model->layers[index].directions; d++)
        lay_direction(at, model, shape, index, d, layer);
    if (net->bidirectional)
        layer->joined = lay_rows(at, at->rows, size->output);
    if (net->residual)
        layer->sum = lay_rows(at, at->rows, size->output);
}

static void lay_gradients(stack_layout *at, const car_model *model, const car_stack_shape *shape,
                          car_stack *stack) {
    int widest = model->head_depth, half = 1, reverse = 1;
    for (int i = 0; i < model->net->layer_count; i++) {
        const car_layer_sizes *size = &model->layers[i].size;
        widest = size->output > widest ? size->output : widest;
        bool asked = i > 0 || shape->input_gradient;
        if (model->net->layers[i].kind == CAR_LAYER_CELL && asked)
            widest = size->input > widest ? size->input : widest;
        if (model->net->layers[i].bidirectional) {
            half = size->units > half ? size->units : half;
            reverse = size->input > reverse ? size->input : reverse;
        }
    }
    for (int k = 0; k < 2; k++)
        stack->gradient[k] = lay_rows(at, at->rows, widest);
    if (model->net->bidirectional) {
        stack->half[0] = lay_rows(at, at->rows, half);
        stack->half[1] = lay_rows(at, at->rows, half);
        stack->reverse_input = lay_rows(at, at->rows, reverse);
    }
    if (model->net->pool != CAR_POOL_EACH)
        stack->head_gradient = lay_rows(at, at->batch, model->head_depth);
}

/* Walks the memory. With base NULL only sizes are added up and what is written to *stack means nothing. */
static void lay_stack(stack_layout *at, const car_model *model, const car_stack_shape *shape,
                      car_stack *stack) {
    const struct car_net *net = model->net;
    size_t head_rows = net->pool == CAR_POOL_EACH ? at->rows : at->batch;
    stack->layers = lay(at, (size_t)net->layer_count, 1, sizeof *stack->layers);
    bool embed = net->layers[0].kind == CAR_LAYER_EMBED;
    car_rows_lay(&stack->rows, shape->batch, shape->steps, &at->layout, at->base);
    stack->place = lay(at, at->rows, 1, sizeof(int));
    stack->lane = lay(at, at->batch, 1, sizeof(int));
    stack->ids = lay(at, embed ? at->rows : 0, 1, sizeof(int32_t));
    stack->lengths = lay(at, at->batch, 1, sizeof(int));
    stack->first =
        lay_rows(at, at->rows, embed ? net->layers[0].units : model->layers[0].size.input);
    for (int i = 0; i < net->layer_count; i++) {
        stack_layer counted;
        lay_layer(at, model, shape, i, at->base ? &stack->layers[i] : &counted);
    }
    if (net->pool != CAR_POOL_EACH)
        stack->pooled = lay_rows(at, at->batch, model->head_depth);
    if (net->head_dropout.probability > 0 && shape->backward) {
        stack->head_dropped = lay_rows(at, head_rows, model->head_depth);
        stack->head_mask = lay_rows(at, head_rows, model->head_depth);
    }
    car_head_lay(&stack->head, model, (int)head_rows, shape->threads, shape->backward, &at->layout,
                 at->base);
    if (shape->backward)
        lay_gradients(at, model, shape, stack);
}

/* The shape with `patch` steps made one, and the caller's lanes named where they are its own. */
static car_stack_shape inner_shape(const car_model *model, const car_stack_shape *shape) {
    car_stack_shape inner = *shape;
    inner.steps = (shape->steps + model->net->patch - 1) / model->net->patch;
    if (inner.lanes.all == 0)
        inner.lanes = (car_lanes){.all = shape->batch, .every = 1};
    return inner;
}

size_t car_stack_size(const car_model *model, const car_stack_shape *outer) {
    const car_stack_shape inner = inner_shape(model, outer), *shape = &inner;
    stack_layout at = {.rows = (size_t)shape->steps * (size_t)shape->batch,
                       .batch = (size_t)shape->batch};
    if (outer->steps < 1 || shape->batch < 1 || shape->threads < 1 || at.rows > INT32_MAX / 2 ||
        (shape->backward && model->precision == CAR_PRECISION_INT8) ||
        (shape->input_gradient && !model->input_transposed))
        return 0;
    car_stack counted;
    lay(&at, 1, 1, sizeof counted);
    lay_stack(&at, model, shape, &counted);
    return at.layout.overflow ? 0 : at.layout.size;
}

car_stack *car_stack_place(const car_model *model, const car_stack_shape *outer, void *memory) {
    const car_stack_shape inner = inner_shape(model, outer), *shape = &inner;
    stack_layout at = {.base = memory,
                       .rows = (size_t)shape->steps * (size_t)shape->batch,
                       .batch = (size_t)shape->batch};
    car_stack *stack = lay(&at, 1, 1, sizeof *stack);
    stack->model = model;
    stack->shape = *shape;
    lay_stack(&at, model, shape, stack);
    return stack;
}

/* ---- Element passes, cut by rows ---------------------------------------------------------------------- */

typedef struct row_pass {
    const car_stack *stack;
    int index; /* layer */
    const void *source;
    const float *other;
    float *target, *mask;
    size_t width; /* floats of a row */
    car_random_key key;
    uint64_t time;
    car_dropout dropout;
    bool pooled; /* rows are lanes */
    void (*run)(const struct row_pass *pass, size_t begin, size_t end);
    size_t rows;
} row_pass;

/* Below so many floats a team costs more than it saves. */
enum { SMALL_PASS = 16384 };

static void row_task(void *argument, car_team *team, int member, int members) {
    (void)team;
    const row_pass *pass = argument;
    int begin, end;
    car_team_share((int)pass->rows, 1, member, members, &begin, &end);
    pass->run(pass, (size_t)begin, (size_t)end);
}

static void run_rows(const car_stack *stack, row_pass *pass) {
    pass->stack = stack;
    bool small = pass->rows * pass->width < SMALL_PASS;
    car_team_run(small ? 1 : stack->shape.threads, row_task, pass);
}

/* ---- Rows and the caller's steps and lanes */

/* The caller's row, step * its lanes + lane. */
static size_t caller_row(const car_stack *stack, size_t row) {
    return stack->placed ? (size_t)stack->place[row] : row;
}

static size_t step_of(const car_stack *stack, size_t row) {
    return caller_row(stack, row) / (size_t)stack->shape.lanes.all;
}

/* Which of the lanes, longest first. */
static size_t rank_of(const car_stack *stack, size_t row) {
    return row - (size_t)stack->rows.first[step_of(stack, row)];
}

static size_t row_count(const car_stack *stack) {
    return (size_t)car_rows_count(&stack->rows);
}

/* Rows of the head: all, or one for each lane that has steps. */
static size_t head_rows(const car_stack *stack) {
    size_t lanes = stack->rows.steps > 0 ? (size_t)car_rows_active(&stack->rows, 0) : 0;
    return stack->pooled ? lanes : row_count(stack);
}

/* The caller's rows of those of the head; NULL: the same. */
static const int *head_places(const car_stack *stack) {
    const int *places = stack->pooled ? stack->lane : stack->place;
    return stack->placed ? places : NULL;
}

static void gather_rows(const row_pass *pass, size_t begin, size_t end) {
    car_embed_gather(pass->stack->model, pass->source, (int)begin, (int)end, pass->target);
}

/* A row of few values takes less than the call of memcpy. */
static void copy_values(float *to, const float *from, size_t count) {
    enum { FOUR = 4 };
    if (count > 2 * CAR_BLOCK) {
        memcpy(to, from, count * sizeof *to);
        return;
    }
    size_t k = 0;
    for (; k + FOUR <= count; k += FOUR)
        memcpy(to + k, from + k, FOUR * sizeof *to);
    for (; k < count; k++)
        to[k] = from[k];
}

static void pad_rows(const row_pass *pass, size_t begin, size_t end) {
    const car_stack *stack = pass->stack;
    const float *source = pass->source;
    const size_t size = (size_t)stack->model->input_size, lanes = (size_t)stack->shape.lanes.all;
    const size_t patch = (size_t)stack->model->net->patch;
    if (patch == 1) {
        for (size_t row = begin; row < end; row++)
            copy_values(pass->target + row * pass->width, source + caller_row(stack, row) * size,
                        size);
        return;
    }
    for (size_t row = begin; row < end; row++) {
        const size_t step = step_of(stack, row), lane = caller_row(stack, row) % lanes;
        for (size_t p = 0; p < patch; p++)
            copy_values(pass->target + row * pass->width + p * size,
                        source + ((step * patch + p) * lanes + lane) * size, size);
    }
}

/* Makes the masks of rows and the dropped copy. A row of the pooled head counts as its lane's last step, a locked row
 * as step 0. */
static void drop_rows(const row_pass *pass, size_t begin, size_t end) {
    const car_stack *stack = pass->stack;
    const car_kernels *kernels = stack->model->kernels;
    for (size_t row = begin; row < end; row++) {
        size_t step, lane;
        if (pass->pooled) {
            step = (size_t)stack->rows.length[row] - 1;
            lane = (size_t)stack->lane[row];
        } else {
            step = step_of(stack, row);
            lane = (size_t)stack->lane[row - (size_t)stack->rows.first[step]];
        }
        if (pass->dropout.locked)
            step = 0;
        kernels->dropout_mask(pass->key, pass->time + step, lane, pass->dropout.probability,
                              (int)pass->width, pass->mask + row * pass->width);
    }
    size_t first = begin * pass->width;
    kernels->multiply(pass->target + first, (const float *)pass->source + first, pass->mask + first,
                      (end - begin) * pass->width);
}

static void mask_rows(const row_pass *pass, size_t begin, size_t end) {
    size_t first = begin * pass->width;
    float *rows = pass->target + first;
    pass->stack->model->kernels->multiply(rows, rows, pass->mask + first,
                                          (end - begin) * pass->width);
}

/* Forward and reverse outputs side by side. */
static void join_rows(const row_pass *pass, size_t begin, size_t end) {
    const car_stack *stack = pass->stack;
    const stack_layer *layer = &stack->layers[pass->index];
    size_t units = (size_t)stack->model->layers[pass->index].size.units;
    size_t stride = padded((int)units);
    for (size_t row = begin; row < end; row++) {
        size_t at = rank_of(stack, row) * stride;
        for (int d = 0; d < 2; d++)
            memcpy(pass->target + row * pass->width + (size_t)d * units,
                   car_layer_output(layer->direction[d], (int)step_of(stack, row)) + at,
                   units * sizeof(float));
    }
}

/* The way back: each direction's part of the gradient, padded with zeros. */
static void split_rows(const row_pass *pass, size_t begin, size_t end) {
    size_t units = (size_t)pass->stack->model->layers[pass->index].size.units;
    size_t stride = padded((int)units);
    for (size_t row = begin; row < end; row++) {
        const float *source = (const float *)pass->source + row * pass->width;
        for (size_t d = 0; d < 2; d++) {
            float *half = pass->stack->half[d] + row * stride;
            memcpy(half, source + d * units, units * sizeof(float));
            memset(half + units, 0, (stride - units) * sizeof(float));
        }
    }
}

static void add_rows(const row_pass *pass, size_t begin, size_t end) {
    size_t first = begin * pass->width, count = (end - begin) * pass->width;
    if (pass->source)
        memcpy(pass->target + first, (const float *)pass->source + first, count * sizeof(float));
    pass->stack->model->kernels->add(pass->target + first, pass->other + first, count);
}

/* ---- Pooling ------------------------------------------------------------------------------------------ */

/* The step whose row `last` takes for unit k of the k-th lane: the reverse direction of a `bi` layer ends at step 0. */
static size_t last_step_of(const car_stack *stack, size_t rank, size_t unit) {
    const car_model *model = stack->model;
    int top = model->net->layer_count - 1;
    bool reverse =
        model->net->layers[top].bidirectional && unit >= (size_t)model->layers[top].size.units;
    return reverse ? 0 : (size_t)stack->rows.length[rank] - 1;
}

static void pool_rows(const row_pass *pass, size_t begin, size_t end) {
    const car_stack *stack = pass->stack;
    size_t depth = (size_t)stack->model->head_depth;
    const int *first = stack->rows.first;
    for (size_t lane = begin; lane < end; lane++) {
        float *target = pass->target + lane * pass->width;
        const float *source = (const float *)pass->source + lane * pass->width;
        size_t steps = (size_t)stack->rows.length[lane];
        for (size_t k = 0; k < depth; k++) {
            if (stack->model->net->pool == CAR_POOL_LAST) {
                size_t step = last_step_of(stack, lane, k);
                target[k] = source[(size_t)first[step] * pass->width + k];
                continue;
            }
            float sum = 0;
            for (size_t step = 0; step < steps; step++)
                sum += source[(size_t)first[step] * pass->width + k];
            target[k] = sum / (float)steps;
        }
    }
}

/* dL/d(pooled) [lanes] -> dL/d(last layer's output), all rows. */
static void spread_rows(const row_pass *pass, size_t begin, size_t end) {
    const car_stack *stack = pass->stack;
    size_t depth = (size_t)stack->model->head_depth;
    for (size_t row = begin; row < end; row++) {
        size_t step = step_of(stack, row), lane = rank_of(stack, row);
        const float *source = (const float *)pass->source + lane * pass->width;
        float *target = pass->target + row * pass->width;
        memset(target, 0, pass->width * sizeof(float));
        for (size_t k = 0; k < depth; k++) {
            if (stack->model->net->pool == CAR_POOL_MEAN)
                target[k] = source[k] / (float)stack->rows.length[lane];
            else if (step == last_step_of(stack, lane, k))
                target[k] = source[k];
        }
    }
}

/* ---- Forward ------------------------------------------------------------------------------------------ */

typedef struct forward_call {
    const car_random_key *dropout; /* NULL: none */
    uint64_t time;                 /* of step 0 */
} forward_call;

/* The ids of the rows: the caller's own, or without the padding between them. */
static const int32_t *row_ids(const car_stack *stack, const int32_t *ids) {
    return stack->placed ? stack->ids : ids;
}

/* Whether the first cell reads the caller's values where they stand: the rows are all of a few lanes that are equally far apart,
 * the cell does nothing but multiply them, and nothing else reads them. A cell bound to another place from step to step of a
 * stream would take longer than the copy. */
static bool reads_in_place(const car_stack *stack, const forward_call *call) {
    enum { LEAST_ROWS = 64 };
    const struct car_net *net = stack->model->net;
    const car_lanes *lanes = &stack->shape.lanes;
    const stack_layer *layer = &stack->layers[0];
    return net->layers[0].kind == CAR_LAYER_CELL && net->patch == 1 && stack->rows.even &&
           lanes->all == stack->rows.batch * lanes->every && row_count(stack) >= LEAST_ROWS &&
           !layer->sum && !(call->dropout && layer->mask) &&
           car_plan_only_multiplies_input(plan_of(stack->model, &stack->shape, 0));
}

/* Rows that the first cell reads, and how far apart they lie. */
static const float *read_input(car_stack *stack, const forward_call *call, const void *input,
                               int64_t *stride) {
    bool embed = stack->model->net->layers[0].kind == CAR_LAYER_EMBED;
    const car_layer_sizes *size = &stack->model->layers[0].size;
    const car_lanes *lanes = &stack->shape.lanes;
    if (reads_in_place(stack, call)) {
        *stride = (int64_t)lanes->every * size->input;
        return (const float *)input + (size_t)lanes->first * (size_t)size->input;
    }
    *stride = car_padded(embed ? size->units : size->input);
    row_pass pass = {.source = embed ? row_ids(stack, input) : input,
                     .target = stack->first,
                     .width = (size_t)*stride,
                     .run = embed ? gather_rows : pad_rows,
                     .rows = row_count(stack)};
    run_rows(stack, &pass);
    return stack->first;
}

/* The dropped copy of rows that layer `index` (the head: layer_count) reads. */
static void drop(const car_stack *stack, const forward_call *call, int index, const float *source,
                 float *target, float *mask, car_dropout dropout, int size) {
    bool head = index == stack->model->net->layer_count;
    row_pass pass = {.source = source,
                     .target = target,
                     .mask = mask,
                     .width = padded(size),
                     .key = *call->dropout,
                     .time = call->time,
                     .dropout = dropout,
                     .pooled = head && stack->pooled,
                     .run = drop_rows,
                     .rows = head ? head_rows(stack) : row_count(stack)};
    pass.key.layer = (uint32_t)index * 2;
    run_rows(stack, &pass);
}

/* Both directions, or the one, on what the layer reads; returns the output before `residual`. */
static void forward_direction(const car_stack *stack, int index, int direction) {
    const stack_layer *layer = &stack->layers[index];
    car_layer_forward_rows(layer->direction[direction], &stack->rows, layer->input,
                           layer->input_stride, car_model_running(stack->model, index, direction));
}

typedef struct forward_pair {
    const car_stack *stack;
    int index;
} forward_pair;

static void forward_pair_task(void *argument, car_team *team, int member, int members) {
    const forward_pair *pair = argument;
    (void)team;
    for (int d = member; d < 2; d += members)
        forward_direction(pair->stack, pair->index, d);
}

static const float *run_cell(car_stack *stack, int index) {
    stack_layer *layer = &stack->layers[index];
    const car_model_layer *place = &stack->model->layers[index];
    forward_pair pair = {stack, index};
    if (place->directions == 1)
        forward_direction(stack, index, 0);
    else if (direction_threads(stack->model, &stack->shape, index) < stack->shape.threads)
        car_team_run(2, forward_pair_task, &pair);
    else
        forward_pair_task(&pair, NULL, 0, 1);
    if (!layer->joined)
        return car_layer_output(layer->direction[0], 0);
    row_pass pass = {.index = index,
                     .target = layer->joined,
                     .width = padded(place->size.output),
                     .run = join_rows,
                     .rows = row_count(stack)};
    run_rows(stack, &pass);
    return layer->joined;
}

/* below: rows `stride` floats apart */
static void forward_layer(car_stack *stack, const forward_call *call, int index, const float *below,
                          int64_t stride) {
    stack_layer *layer = &stack->layers[index];
    const car_layer_sizes *size = &stack->model->layers[index].size;
    layer->input = below;
    layer->input_stride = stride;
    if (call->dropout && layer->mask) {
        drop(stack, call, index, below, layer->dropped, layer->mask,
             stack->model->net->layers[index].dropout, size->input);
        layer->input = layer->dropped;
        layer->input_stride = car_padded(size->input);
    }
    layer->output = run_cell(stack, index);
    if (!layer->sum)
        return;
    row_pass pass = {.source = layer->output,
                     .other = below,
                     .target = layer->sum,
                     .width = padded(size->output),
                     .run = add_rows,
                     .rows = row_count(stack)};
    run_rows(stack, &pass);
    layer->output = layer->sum;
}

static void forward_head(car_stack *stack, const forward_call *call, const float *top) {
    const struct car_net *net = stack->model->net;
    stack->head_input = top;
    if (stack->pooled) {
        row_pass pass = {.source = top,
                         .target = stack->pooled,
                         .width = padded(stack->model->head_depth),
                         .run = pool_rows,
                         .rows = head_rows(stack)};
        run_rows(stack, &pass);
        stack->head_input = stack->pooled;
    }
    if (call->dropout && stack->head_mask) {
        drop(stack, call, net->layer_count, stack->head_input, stack->head_dropped,
             stack->head_mask, net->head_dropout, stack->model->head_depth);
        stack->head_input = stack->head_dropped;
    }
}

/* From the caller's steps and lengths to those of the net's lanes, where `patch` makes N steps one. */
static car_status take_lengths(car_stack *stack, int *steps, const int **lengths,
                               car_error *error) {
    const int patch = stack->model->net->patch;
    if (patch == 1 && !*lengths)
        return CAR_OK;
    bool whole = *steps % patch == 0;
    for (int k = 0; *lengths && k < stack->shape.batch; k++) {
        const int lane = car_lane_of(&stack->shape.lanes, k), length = (*lengths)[lane];
        if (length < 0 || length > *steps)
            return car_fail(error, CAR_DATA,
                            "lengths: lane %d is to run %d steps; give 0 to %d, the steps of the "
                            "batch",
                            lane, length, *steps);
        whole = whole && length % patch == 0;
        stack->lengths[k] = length / patch;
    }
    if (!whole)
        return car_fail(error, CAR_DATA,
                        "`patch %d` reads %d steps at a time; give a multiple, here and for every "
                        "lane",
                        patch, patch);
    if (*lengths)
        *lengths = stack->lengths;
    *steps /= patch;
    return CAR_OK;
}

/* Fills rows, and place, lane and ids where those are not the caller's. */
static void choose_rows(car_stack *stack, int steps, const int *lengths, const int32_t *ids) {
    car_rows *rows = &stack->rows;
    const car_lanes *lanes = &stack->shape.lanes;
    if (!lengths && !stack->placed && rows->even && rows->steps == steps)
        return; /* as in the call before: steps of a stream */
    car_rows_set(rows, steps, lengths);
    stack->placed = !rows->even || lanes->all != rows->batch;
    for (int k = 0; k < rows->batch; k++)
        stack->lane[k] = car_lane_of(lanes, rows->lane[k]);
    for (int t = 0; stack->placed && t < rows->steps; t++)
        for (int row = rows->first[t], k = 0; row < rows->first[t + 1]; row++, k++) {
            stack->place[row] = t * lanes->all + stack->lane[k];
            if (ids)
                stack->ids[row] = ids[stack->place[row]];
        }
}

car_status car_stack_forward(car_stack *stack, int steps, const int *lengths, const void *input,
                             const car_random_key *dropout, uint64_t time, car_error *error) {
    const struct car_net *net = stack->model->net;
    const forward_call call = {.dropout = dropout, .time = time};
    bool embed = net->layers[0].kind == CAR_LAYER_EMBED;
    CAR_TRY(take_lengths(stack, &steps, &lengths, error));
    choose_rows(stack, steps, lengths, embed ? input : NULL);
    if (embed)
        CAR_TRY(car_embed_check(stack->model, row_ids(stack, input), row_count(stack),
                                stack->shape.lanes.all, stack->placed ? stack->place : NULL,
                                error));
    int64_t stride;
    const float *below = read_input(stack, &call, input, &stride);
    for (int i = embed ? 1 : 0; i < net->layer_count; i++) {
        forward_layer(stack, &call, i, below, stride);
        below = stack->layers[i].output;
        stride = car_padded(stack->model->layers[i].size.output);
    }
    forward_head(stack, &call, below);
    stack->dropping = dropout != NULL;
    return CAR_OK;
}

void car_stack_outputs(car_stack *stack, float *output) {
    car_head_outputs(&stack->head, stack->head_input, (int)head_rows(stack), head_places(stack),
                     output);
}

car_status car_stack_count(car_stack *stack, const void *target, int64_t *counted,
                           car_error *error) {
    return car_head_count(&stack->head, (int)head_rows(stack), head_places(stack), target, counted,
                          error);
}

double car_stack_counted_loss(car_stack *stack, const void *target, int64_t counted,
                              float *gradient) {
    float *input_gradient = stack->pooled ? stack->head_gradient : stack->gradient[0];
    return car_head_loss(&stack->head, stack->head_input, (int)head_rows(stack), head_places(stack),
                         target, counted, input_gradient, gradient);
}

car_status car_stack_loss(car_stack *stack, const void *target, float *gradient, double *loss_sum,
                          int64_t *counted, car_error *error) {
    CAR_TRY(car_stack_count(stack, target, counted, error));
    *loss_sum = car_stack_counted_loss(stack, target, *counted, gradient);
    return CAR_OK;
}

float *car_stack_top_gradient(car_stack *stack) {
    return stack->gradient[0];
}

/* ---- Backward ----------------------------------------------------------------------------------------- */

static void apply_mask(const car_stack *stack, float *rows_of, float *mask, int size, size_t rows) {
    if (!mask || !stack->dropping)
        return;
    row_pass pass = {
        .target = rows_of, .mask = mask, .width = padded(size), .run = mask_rows, .rows = rows};
    run_rows(stack, &pass);
}

/* From dL/d(head input) to dL/d(last layer's output) in gradient[0]. */
static void backward_head(car_stack *stack) {
    int depth = stack->model->head_depth;
    float *from = stack->pooled ? stack->head_gradient : stack->gradient[0];
    apply_mask(stack, from, stack->head_mask, depth, head_rows(stack));
    if (!stack->pooled)
        return;
    row_pass pass = {.source = from,
                     .target = stack->gradient[0],
                     .width = padded(depth),
                     .run = spread_rows,
                     .rows = row_count(stack)};
    run_rows(stack, &pass);
}

/* The gradient of a layer's weights where some of them were dropped. */
typedef struct mask_call {
    const car_model *model;
    const car_plan *plan;
    car_weight_drop drop;
    float *gradient;
} mask_call;

static void mask_task(void *argument, car_team *team, int member, int members) {
    (void)team;
    const mask_call *call = argument;
    car_plan_drop(call->plan, call->model->kernels, &call->drop, call->gradient, call->gradient,
                  member, members);
}

static void backward_direction(const car_stack *stack, int index, int direction,
                               const float *output_gradient, float *input_gradient,
                               float *gradient) {
    const car_model *model = stack->model;
    const car_model_layer *place = &model->layers[index];
    const stack_layer *layer = &stack->layers[index];
    float *own = gradient + place->weights[direction];
    car_layer_backward(layer->direction[direction], layer->input,
                       car_model_running(model, index, direction),
                       model->transposed + place->transposed[direction], output_gradient,
                       input_gradient, own, stack->onward);
    mask_call mask = {.model = model, .plan = place->training_plan, .gradient = own};
    if (car_model_dropped(model, index, direction, &mask.drop))
        car_team_run(direction_threads(model, &stack->shape, index), mask_task, &mask);
    car_plan_fold_gradient(place->training_plan, own);
}

typedef struct backward_pair {
    const car_stack *stack;
    int index;
    float *input, *gradient;
} backward_pair;

static void backward_pair_task(void *argument, car_team *team, int member, int members) {
    const backward_pair *pair = argument;
    float *const input[2] = {pair->input, pair->input ? pair->stack->reverse_input : NULL};
    (void)team;
    for (int d = member; d < 2; d += members)
        backward_direction(pair->stack, pair->index, d, pair->stack->half[d], input[d],
                           pair->gradient);
}

static void backward_bidirectional(car_stack *stack, int index, const float *output, float *input,
                                   float *gradient) {
    const car_layer_sizes *size = &stack->model->layers[index].size;
    size_t rows = row_count(stack);
    row_pass split = {.index = index,
                      .source = output,
                      .width = padded(size->output),
                      .run = split_rows,
                      .rows = rows};
    run_rows(stack, &split);
    backward_pair pair = {stack, index, input, gradient};
    if (direction_threads(stack->model, &stack->shape, index) < stack->shape.threads)
        car_team_run(2, backward_pair_task, &pair);
    else
        backward_pair_task(&pair, NULL, 0, 1);
    if (!input)
        return;
    row_pass add = {.other = stack->reverse_input,
                    .target = input,
                    .width = padded(size->input),
                    .run = add_rows,
                    .rows = rows};
    run_rows(stack, &add);
}

/* output: dL/d(output); input: where dL/d(input) goes, NULL when nobody asks. */
static void backward_layer(car_stack *stack, int index, const float *output, float *input,
                           float *gradient) {
    const stack_layer *layer = &stack->layers[index];
    const car_layer_sizes *size = &stack->model->layers[index].size;
    size_t rows = row_count(stack);
    if (layer->joined)
        backward_bidirectional(stack, index, output, input, gradient);
    else
        backward_direction(stack, index, 0, output, input, gradient);
    if (!input)
        return;
    apply_mask(stack, input, layer->mask, size->input, rows);
    if (!layer->sum)
        return;
    row_pass add = {.other = output,
                    .target = input,
                    .width = padded(size->input),
                    .run = add_rows,
                    .rows = rows};
    run_rows(stack, &add);
}

typedef struct scatter_call {
    const car_stack *stack;
    const int32_t *ids;
    int rows;
    const float *output_gradient;
    float *gradient;
} scatter_call;

static void scatter_task(void *argument, car_team *team, int member, int members) {
    (void)team;
    const scatter_call *call = argument;
    int begin, end;
    car_team_share(call->stack->model->layers[0].size.units, CAR_BLOCK, member, members, &begin,
                   &end);
    if (!call->stack->onward && !call->stack->model->net->tie) /* tied: the head's stands there */
        car_embed_zero(call->stack->model, begin, end, call->gradient);
    car_embed_scatter(call->stack->model, call->ids, call->rows, call->output_gradient, begin, end,
                      call->gradient);
}

void car_stack_backward(car_stack *stack, const void *input, float *gradient) {
    const struct car_net *net = stack->model->net;
    bool embed = net->layers[0].kind == CAR_LAYER_EMBED;
    bool asked = embed || stack->shape.input_gradient;
    int lowest = embed ? 1 : 0, at = 0;
    backward_head(stack);
    for (int i = net->layer_count - 1; i >= lowest; i--) {
        bool wanted = i > lowest || asked;
        backward_layer(stack, i, stack->gradient[at], wanted ? stack->gradient[1 - at] : NULL,
                       gradient);
        at = 1 - at;
    }
    stack->input_gradient = asked ? stack->gradient[at] : NULL;
    if (!embed)
        return;
    scatter_call call = {.stack = stack,
                         .ids = row_ids(stack, input),
                         .rows = (int)row_count(stack),
                         .output_gradient = stack->gradient[at],
                         .gradient = gradient};
    car_team_run(stack->shape.threads, scatter_task, &call);
}

void car_stack_backward_onward(car_stack *stack, const void *input, float *gradient) {
    stack->onward = true;
    car_stack_backward(stack, input, gradient);
    stack->onward = false;
}

const float *car_stack_state_gradient(const car_stack *stack, int layer, int state) {
    return car_layer_state_gradient(stack->layers[layer].direction[0], state);
}

const float *car_stack_input_gradient(const car_stack *stack) {
    return stack->input_gradient;
}

/* ---- States ------------------------------------------------------------------------------------------- */

static int state_count(const car_stack *stack, int layer) {
    const car_net_layer *net = &stack->model->net->layers[layer];
    return net->kind == CAR_LAYER_CELL ? net->cell->state_count : 0;
}

void car_stack_reset(car_stack *stack, int lane) {
    for (int i = 0; i < stack->model->net->layer_count; i++)
        if (state_count(stack, i) > 0)
            car_layer_reset(stack->layers[i].direction[0], lane);
}

void car_stack_carry(car_stack *stack) {
    for (int i = 0; i < stack->model->net->layer_count; i++)
        if (state_count(stack, i) > 0)
            car_layer_carry(stack->layers[i].direction[0]);
}

const car_rows *car_stack_rows(const car_stack *stack) {
    return &stack->rows;
}

const car_layer *car_stack_layer(const car_stack *stack, int layer, int direction) {
    return stack->layers[layer].direction[direction];
}

size_t car_stack_state_floats(const car_stack *stack) {
    size_t floats = 0;
    for (int i = 0; i < stack->model->net->layer_count; i++)
        floats += (size_t)state_count(stack, i) * (size_t)stack->model->layers[i].size.units;
    return floats;
}

/* Copies a lane's states, layer by layer, to `out` or from `in`. */
static void copy_states(const car_stack *stack, int lane, float *out, const float *in) {
    for (int i = 0; i < stack->model->net->layer_count; i++) {
        size_t units = (size_t)stack->model->layers[i].size.units;
        for (int s = 0; s < state_count(stack, i); s++) {
            float *start = car_layer_start(stack->layers[i].direction[0], s) +
                           (size_t)lane * padded((int)units);
            if (out) {
                memcpy(out, start, units * sizeof(float));
                out += units;
            } else {
                memcpy(start, in, units * sizeof(float));
                in += units;
            }
        }
    }
}

void car_stack_get_state(const car_stack *stack, int lane, float *state) {
    copy_states(stack, lane, state, NULL);
}

void car_stack_set_state(car_stack *stack, int lane, const float *state) {
    copy_states(stack, lane, NULL, state);
}
