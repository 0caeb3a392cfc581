/*
 * head: the last product of a net, its loss, and their gradients.
 *
 * In:  rows of the last layer [rows][padded depth], targets. Out: raw outputs, or the loss; with backward the
 * gradients of weights, bias and input.
 *
 *   z = W@x + b;  dW += dz' @ x,  db += sum dz,  dx = W' @ dz,  dz = dL/dz / counted
 *   softmax: L = log(sum exp z) - z[target];  sigmoid: L = sum max(z,0) - z*t + log(1 + exp(-|z|));
 *   linear: L = mean (z - t)^2;  quantile, gaussian, studentt: distribution.c
 *
 * A chunk of rows at a time, so that the logits of a large vocabulary stay small. Within a chunk: logits, then loss,
 * dz and dx by rows, then dW and db by panels of outputs. dW goes on from what the chunk before left: every sum is
 * one ascending chain over rows, whatever the chunks and threads.
 */
#include "network.h"
#include <math.h>
#include <string.h>

/* Rows of a chunk, whose logits stay in cache; of training more where weights do not, which each chunk reads twice and adds a
 * gradient to. */
enum { FEW_ROWS = 256, MANY_ROWS = 1024, ROWS_OF_TILE = 32 };
static const size_t CACHED_WEIGHTS = (size_t)3 << 19; /* floats: 6 MiB */
static const size_t CHUNK_FLOATS = (size_t)8 << 20;   /* logits and their gradient: 32 MiB each */

/* ---- Memory ------------------------------------------------------------------------------------------- */

/* Chunks alike, of whole tiles, so that no bit depends on them. */
static int chunk_rows(const car_model *model, int rows, bool backward) {
    const size_t outputs = (size_t)car_padded(model->output_size);
    const bool many = backward && outputs * (size_t)model->head_depth > CACHED_WEIGHTS;
    const size_t fitting = CHUNK_FLOATS / outputs, most_rows = many ? MANY_ROWS : FEW_ROWS;
    const int most = (int)(fitting < 1 ? 1 : fitting < most_rows ? fitting : most_rows);
    const int chunks = (rows - 1) / most + 1, each = (rows - 1) / chunks + 1;
    const int whole = (each + ROWS_OF_TILE - 1) / ROWS_OF_TILE * ROWS_OF_TILE;
    return whole < rows ? whole : rows;
}

static bool in_pairs(const car_model *model) {
    return model->precision == CAR_PRECISION_BF16;
}

static bool splits_gradients(const car_model *model) {
    return car_splits(model->kernels, model->precision, model->head_depth);
}

/* Floats of scratch that a thread's products need, whole cache lines. */
static size_t rounding_floats(const car_head *head) {
    const car_model *model = head->model;
    const size_t floats = car_matrix_scratch(&(car_matrix_use){.precision = model->precision,
                                                               .training = head->backward,
                                                               .backward = head->backward,
                                                               .splits = splits_gradients(model),
                                                               .depth = model->head_depth,
                                                               .outputs = model->output_size,
                                                               .rows = head->chunk,
                                                               .met = head->chunk});
    return (floats + CAR_BLOCK - 1) / CAR_BLOCK * CAR_BLOCK;
}

static void fill_blocks(const car_head *head) {
    for (int b = 0; b < head->output_padded / CAR_BLOCK; b++) {
        int32_t panel = b / CAR_PANEL_BLOCKS * head->model->head_depth * CAR_PANEL;
        head->output_blocks[b] = (car_product_block){b * CAR_BLOCK, b * CAR_BLOCK};
        if (head->backward) {
            const int32_t place = panel + b % CAR_PANEL_BLOCKS * CAR_BLOCK;
            head->gradient_begin[b] = (car_product_block){place, CAR_FROM_ZERO};
            head->gradient_blocks[b] = (car_product_block){place, CAR_FROM_C};
        }
    }
    for (int b = 0; head->backward && b < head->depth_padded / CAR_BLOCK; b++)
        head->input_blocks[b] = (car_product_block){b * CAR_BLOCK, CAR_FROM_ZERO};
}

void car_head_lay(car_head *head, const car_model *model, int rows, int threads, bool backward,
                  car_layout *layout, char *base) {
    *head = (car_head){.model = model,
                       .threads = threads,
                       .chunk = chunk_rows(model, rows, backward),
                       .depth_padded = car_padded(model->head_depth),
                       .output_padded = car_padded(model->output_size),
                       .backward = backward,
                       .multiply = car_product_of(model->kernels, model->precision, backward)};
    head->multiply_gradient =
        splits_gradients(model) ? model->kernels->product_split : head->multiply;
    size_t chunk = (size_t)head->chunk, outputs = (size_t)head->output_padded;
    size_t panels = (outputs + CAR_PANEL - 1) / CAR_PANEL;
    size_t blocks = outputs / CAR_BLOCK, depth = (size_t)model->head_depth;
    head->output_blocks = car_layout_take(layout, base, blocks, 1, sizeof(car_product_block));
    head->logits = car_layout_take(layout, base, chunk, outputs, sizeof(float));
    head->classes = car_layout_take(layout, base, (size_t)rows, 1, sizeof(int32_t));
    head->row_loss = car_layout_take(layout, base, (size_t)rows, 1, sizeof(float));
    head->scratch = car_layout_take(layout, base, (size_t)threads, outputs, sizeof(float));
    head->rounding_floats = rounding_floats(head);
    head->rounding =
        car_layout_take(layout, base, (size_t)threads, head->rounding_floats, sizeof(float));
    if (backward) {
        head->gradient_begin = car_layout_take(layout, base, blocks, 1, sizeof(car_product_block));
        head->gradient_blocks = car_layout_take(layout, base, blocks, 1, sizeof(car_product_block));
        head->input_blocks = car_layout_take(layout, base, (size_t)head->depth_padded / CAR_BLOCK,
                                             1, sizeof(car_product_block));
        head->packed_gradient = car_layout_take(
            layout, base, panels * (in_pairs(model) ? (size_t)car_pairs(head->chunk) : chunk),
            CAR_PANEL, sizeof(float));
        head->input_transposed = car_layout_take(layout, base, depth, chunk, sizeof(float));
    }
    if (base)
        fill_blocks(head);
}

/* ---- One pass over the rows --------------------------------------------------------------------------- */

/* What a pass does; members of the team share it. */
typedef struct head_pass {
    const car_head *head;
    const float *input; /* [rows][depth_padded] */
    int rows;
    const int *places; /* [rows] where the caller has output and target; NULL: in rows */
    float *output;     /* raw outputs are wanted; else the loss */
    const void *target;
    float scale; /* 1 / counted */
    float *input_gradient, *gradient;
} head_pass;

/* One chunk and one member's place in it. */
typedef struct head_share {
    const head_pass *pass;
    int first, rows; /* of the chunk */
    car_team *team;
    int member, members;
    int row_begin, row_end;     /* this member's rows within the chunk */
    int block_begin, block_end; /* this member's blocks of outputs, whole panels */
} head_share;

/* Few panels for so many threads: they share rows instead. */
static bool shares_rows(const head_share *share) {
    return share->pass->head->output_padded < 4 * CAR_PANEL * share->members;
}

static float *scratch_of(const head_share *share) {
    const car_head *head = share->pass->head;
    return head->rounding + (size_t)share->member * head->rounding_floats;
}

static void multiply(const head_share *share, const car_product *product, int row_begin,
                     int row_end, int block_begin, int block_end) {
    share->pass->head->multiply(product, scratch_of(share), row_begin, row_end, block_begin,
                                block_end);
}

static void multiply_gradient(const head_share *share, const car_product *product, int row_begin,
                              int row_end, int block_begin, int block_end) {
    share->pass->head->multiply_gradient(product, scratch_of(share), row_begin, row_end,
                                         block_begin, block_end);
}

static void make_logits(const head_share *share) {
    const car_head *head = share->pass->head;
    const car_model *model = head->model;
    const car_product product = {.a = share->pass->input +
                                      (size_t)share->first * (size_t)head->depth_padded,
                                 .a_row_stride = head->depth_padded,
                                 .parts = 1,
                                 .part_length = model->head_depth,
                                 .panels = car_model_running_head(model),
                                 .blocks = head->output_padded / CAR_BLOCK,
                                 .block = head->output_blocks,
                                 .half_blocks = car_ends_half_empty(model->output_size),
                                 .initial = car_model_running_bias(model),
                                 .c = head->logits,
                                 .c_row_stride = head->output_padded,
                                 .bounded = model->head_bounded};
    if (shares_rows(share))
        multiply(share, &product, share->row_begin, share->row_end, 0, product.blocks);
    else
        multiply(share, &product, 0, share->rows, share->block_begin, share->block_end);
}

/* The caller's row of a row of the chunk. */
static size_t place_of(const head_share *share, int row) {
    const int *places = share->pass->places;
    return (size_t)(places ? places[share->first + row] : share->first + row);
}

static void copy_outputs(const head_share *share) {
    const car_head *head = share->pass->head;
    size_t outputs = (size_t)head->model->output_size;
    for (int row = share->row_begin; row < share->row_end; row++)
        memcpy(share->pass->output + place_of(share, row) * outputs,
               head->logits + (size_t)row * (size_t)head->output_padded, outputs * sizeof(float));
}

/* ---- Losses, by rows ---------------------------------------------------------------------------------- */

static float sigmoid_row(const car_head *head, float *z, const float *target, float scale,
                         float *scratch) {
    const car_kernels *kernels = head->model->kernels;
    int outputs = head->model->output_size;
    double loss = 0;
    for (int j = 0; j < outputs; j++)
        scratch[j] = -fabsf(z[j]);
    kernels->map(CAR_VECTOR_SOFTPLUS, scratch, scratch, (size_t)outputs);
    for (int j = 0; j < outputs; j++)
        loss += (double)((z[j] > 0 ? z[j] : 0) - z[j] * target[j]) + (double)scratch[j];
    if (head->backward) {
        kernels->map(CAR_VECTOR_SIGMOID, z, z, (size_t)outputs);
        for (int j = 0; j < outputs; j++)
            z[j] = scale * (z[j] - target[j]);
    }
    return (float)loss;
}

/* Values that a row is held against. */
static size_t targets_of(const car_model *model) {
    return (size_t)(model->output_size / car_head_parameters(model->net));
}

static float linear_row(const car_head *head, float *z, const float *target, float scale) {
    int outputs = head->model->output_size;
    double loss = 0;
    for (int j = 0; j < outputs; j++) {
        float difference = z[j] - target[j];
        loss += (double)difference * (double)difference;
        if (head->backward)
            z[j] = scale * (2 * difference / (float)outputs);
    }
    return (float)(loss / outputs);
}

/* Losses of this member's rows; their logits become dL/dz. */
static void make_loss(const head_share *share) {
    const head_pass *pass = share->pass;
    const car_head *head = pass->head;
    const struct car_net *net = head->model->net;
    size_t outputs = (size_t)head->model->output_size, targets = targets_of(head->model);
    if (net->head == CAR_HEAD_SOFTMAX) {
        head->model->kernels->softmax_loss(head->logits, head->output_padded, (int)outputs,
                                           head->classes + share->first, pass->scale,
                                           head->backward, head->row_loss + share->first,
                                           share->row_begin, share->row_end);
        return;
    }
    float *scratch = head->scratch + (size_t)share->member * (size_t)head->output_padded;
    for (int row = share->row_begin; row < share->row_end; row++) {
        float *z = head->logits + (size_t)row * (size_t)head->output_padded;
        const float *target = (const float *)pass->target + place_of(share, row) * targets;
        head->row_loss[share->first + row] =
            net->head == CAR_HEAD_SIGMOID ? sigmoid_row(head, z, target, pass->scale, scratch)
            : net->head == CAR_HEAD_LINEAR
                ? linear_row(head, z, target, pass->scale)
                : (float)car_distribution_loss(net, (int)targets, z, target, head->backward,
                                               pass->scale);
    }
}

/* ---- Gradients ---------------------------------------------------------------------------------------- */

static void make_input_gradient(const head_share *share) {
    const car_head *head = share->pass->head;
    const car_model *model = head->model;
    const car_product product = {.a = head->logits,
                                 .a_row_stride = head->output_padded,
                                 .parts = 1,
                                 .part_length = model->output_size,
                                 .panels = model->transposed + model->head_transposed,
                                 .blocks = head->depth_padded / CAR_BLOCK,
                                 .block = head->input_blocks,
                                 .half_blocks = car_ends_half_empty(model->head_depth),
                                 .c = share->pass->input_gradient +
                                      (size_t)share->first * (size_t)head->depth_padded,
                                 .c_row_stride = head->depth_padded};
    multiply_gradient(share, &product, share->row_begin, share->row_end, 0, product.blocks);
}

/* The chunk's input [rows][depth] -> [depth][rows]; a share of the depth. */
static void transpose_input(const head_share *share) {
    const car_head *head = share->pass->head;
    int begin, end;
    car_team_share(head->model->head_depth, CAR_BLOCK, share->member, share->members, &begin, &end);
    head->model->kernels->transpose(
        share->pass->input + (size_t)share->first * (size_t)head->depth_padded + begin,
        head->depth_padded, share->rows, end - begin,
        head->input_transposed + (size_t)begin * (size_t)head->chunk, head->chunk);
}

static void make_weight_gradient(const head_share *share) {
    const car_head *head = share->pass->head;
    const car_model *model = head->model;
    const car_kernels *kernels = model->kernels;
    int blocks = head->output_padded / CAR_BLOCK, begin, end;
    car_pack *pack = in_pairs(model) ? kernels->pack_pairs : kernels->pack_rows;
    pack(head->logits, head->output_padded, share->rows, head->output_blocks, blocks,
         head->packed_gradient, share->block_begin, share->block_end);
    const car_vector_slot rows = {head->logits, head->output_padded, CAR_BLOCK};
    kernels->column_sum(&rows, share->rows, share->block_begin, share->block_end,
                        share->pass->gradient + model->head_bias, share->first == 0);
    const car_product product = {.a = head->input_transposed,
                                 .a_row_stride = head->chunk,
                                 .parts = 1,
                                 .part_length = share->rows,
                                 .panels = head->packed_gradient,
                                 .blocks = blocks,
                                 .block = share->first == 0 ? head->gradient_begin
                                                            : head->gradient_blocks,
                                 .half_blocks = car_ends_half_empty(model->output_size),
                                 .c = share->pass->gradient + model->head_weights,
                                 .c_row_stride = CAR_PANEL};
    if (!shares_rows(share)) {
        multiply_gradient(share, &product, 0, model->head_depth, share->block_begin,
                          share->block_end);
        return;
    }
    car_team_barrier(share->team, share->member);
    car_team_share(model->head_depth, 1, share->member, share->members, &begin, &end);
    multiply_gradient(share, &product, begin, end, 0, blocks);
}

/* ---- The pass ----------------------------------------------------------------------------------------- */

static void run_chunk(const head_share *share) {
    const head_pass *pass = share->pass;
    bool gradient = pass->head->backward && !pass->output;
    make_logits(share);
    if (gradient)
        transpose_input(share);
    car_team_barrier(share->team, share->member);
    if (pass->output)
        copy_outputs(share);
    else
        make_loss(share);
    if (gradient) {
        make_input_gradient(share);
        car_team_barrier(share->team, share->member);
        make_weight_gradient(share);
    }
    car_team_barrier(share->team, share->member);
}

static void pass_task(void *argument, car_team *team, int member, int members) {
    const head_pass *pass = argument;
    const car_head *head = pass->head;
    head_share share = {.pass = pass, .team = team, .member = member, .members = members};
    car_team_share(head->output_padded / CAR_BLOCK, CAR_PANEL_BLOCKS, member, members,
                   &share.block_begin, &share.block_end);
    for (share.first = 0; share.first < pass->rows; share.first += head->chunk) {
        int left = pass->rows - share.first;
        share.rows = left < head->chunk ? left : head->chunk;
        car_team_share(share.rows, 1, member, members, &share.row_begin, &share.row_end);
        run_chunk(&share);
    }
}

void car_head_outputs(const car_head *head, const float *input, int rows, const int *places,
                      float *output) {
    head_pass pass = {
        .head = head, .input = input, .rows = rows, .places = places, .output = output};
    car_team_run(head->threads, pass_task, &pass);
}

car_status car_head_count(const car_head *head, int rows, const int *places, const void *target,
                          int64_t *counted, car_error *error) {
    *counted = rows;
    if (head->model->net->head != CAR_HEAD_SOFTMAX)
        return CAR_OK;
    *counted = 0;
    for (int row = 0; row < rows; row++) {
        int place = places ? places[row] : row;
        int32_t class = ((const int32_t *)target)[place];
        if (class >= head->model->output_size)
            return car_fail(
                error, CAR_DATA,
                "target: class %d in row %d is outside 0..%d (-1: not counted); encode the "
                "data with the model's vocabulary",
                (int)class, place, head->model->output_size - 1);
        *counted += class >= 0;
        head->classes[row] = class;
    }
    return CAR_OK;
}

double car_head_loss(const car_head *head, const float *input, int rows, const int *places,
                     const void *target, int64_t counted, float *input_gradient, float *gradient) {
    head_pass pass = {.head = head,
                      .input = input,
                      .rows = rows,
                      .places = places,
                      .target = target,
                      .scale = counted > 0 ? (float)(1.0 / (double)counted) : 0,
                      .input_gradient = input_gradient,
                      .gradient = gradient};
    if (head->backward && rows == 0) /* weights and bias are the last ones */
        memset(gradient + head->model->head_weights, 0,
               (head->model->weight_floats - head->model->head_weights) * sizeof(float));
    car_team_run(head->threads, pass_task, &pass);
    double sum = 0;
    for (int row = 0; row < rows; row++)
        sum += (double)head->row_loss[row];
    return sum;
}
