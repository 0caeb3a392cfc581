/*
 * test_network_gradient: loss and gradient of whole nets.
 *
 * The reference is the same net in double with plain loops around the cells' oracle, one lane at a time: embedding,
 * dropout (with the masks of the kernels), directions, residual, pooling, head and loss written out from docs/nets.md.
 * Its own gradient is held against central differences first; then loss and gradient in float against it, at
 * every CPU level; then bits against bits: threads, batch sizes, with and without the buffers of the backward pass.
 */
#include "network_helpers.h"
#include <math.h>

enum { MOST_LAYERS = 8, MOST_PARAMETERS = 32 };

/* ---- The reference ------------------------------------------------------------------------------------ */

typedef struct reference {
    const car_model *model;
    int steps, batch;
    const void *input, *target;
    const car_random_key *dropout; /* NULL: none, and no weights dropped */
    uint64_t time;
    int64_t counted;
    double *weight_mask; /* [count]; NULL: no weights dropped */
    /* Where parameters stand in theta and its gradient. */
    size_t embedding, head, bias, count;
    size_t parameter[MOST_LAYERS][2][MOST_PARAMETERS];
} reference;

/* One lane on its way through the net. */
typedef struct lane_run {
    int lane;
    double *input[MOST_LAYERS + 1];    /* of layer i after dropout; [layers]: of the head */
    double *mask[MOST_LAYERS + 1];     /* NULL: none */
    double *below[MOST_LAYERS + 1];    /* [T][size] before dropout */
    double *gradient[MOST_LAYERS + 1]; /* dL/d below */
} lane_run;

static double *zeros(size_t count) {
    double *values = calloc(count + 1, sizeof *values);
    assert_non_null(values);
    return values;
}

static void lay_parameters(reference *r) {
    const car_model *model = r->model;
    size_t depth = (size_t)model->head_depth, outputs = (size_t)model->output_size;
    r->head = 0;
    r->bias = outputs * depth;
    r->embedding = r->bias + outputs;
    r->count = r->embedding;
    if (starts_with_ids(model) && !model->net->tie)
        r->count += (size_t)model->input_size * (size_t)model->layers[0].size.units;
    if (model->net->tie)
        r->embedding = r->head;
    for (int i = 0; i < model->net->layer_count; i++)
        for (int d = 0; model->layers[i].plan && d < model->layers[i].directions; d++)
            for (int p = 0; p < model->net->layers[i].cell->parameter_count; p++) {
                r->parameter[i][d][p] = r->count;
                r->count += (size_t)model->layers[i].size.units *
                            (size_t)car_plan_columns(model->layers[i].plan, p);
            }
}

/* Any flat packed array (weights, gradient) -> theta's layout. */
static double *unpack(const reference *r, const float *packed) {
    const car_model *model = r->model;
    double *theta = zeros(r->count);
    float *logical = calloc(r->count, sizeof *logical);
    for (int i = 0; i < model->tensor_count; i++) {
        car_tensor_role role = model->tensors[i].role;
        if (role == CAR_TENSOR_CELL)
            continue;
        size_t at = role == CAR_TENSOR_EMBEDDING ? r->embedding
                    : role == CAR_TENSOR_HEAD    ? r->head
                                                 : r->bias;
        car_model_unpack(model, i, packed, logical);
        for (size_t k = 0; k < car_model_tensor_floats(model, i); k++)
            theta[at + k] = (double)logical[k];
    }
    for (int i = 0; i < model->net->layer_count; i++) {
        const car_model_layer *layer = &model->layers[i];
        for (int d = 0; layer->plan && d < layer->directions; d++)
            for (int p = 0; p < model->net->layers[i].cell->parameter_count; p++) {
                car_plan_unpack(layer->plan, p, packed + layer->weights[d], logical);
                size_t floats =
                    (size_t)layer->size.units * (size_t)car_plan_columns(layer->plan, p);
                for (size_t k = 0; k < floats; k++)
                    theta[r->parameter[i][d][p] + k] = (double)logical[k];
            }
    }
    free(logical);
    return theta;
}

static void reverse_time(const double *from, double *to, int steps, int size) {
    for (int t = 0; t < steps; t++)
        memcpy(to + (size_t)t * (size_t)size, from + (size_t)(steps - 1 - t) * (size_t)size,
               (size_t)size * sizeof *to);
}

/* Forward or (dy given) backward of one direction of a cell over the lane; all arrays in order of time. */
static void run_direction(const reference *r, int index, int direction, const double *theta,
                          const double *x, double *y, const double *dy, double *dx,
                          double *dtheta) {
    const car_model *model = r->model;
    const struct car_cell *cell = model->net->layers[index].cell;
    const car_layer_sizes *size = &model->layers[index].size;
    int steps = r->steps, n = size->units, states = cell->state_count;
    const double *parameters[MOST_PARAMETERS];
    double *gradients[MOST_PARAMETERS];
    double *initial = zeros((size_t)(states * n)), *other = zeros((size_t)(states * n));
    double *all = zeros((size_t)((steps + 1) * states * n)),
           *own_x = zeros((size_t)(steps * size->input));
    double *own_y = zeros((size_t)(steps * n)), *own_dx = zeros((size_t)(steps * size->input));
    for (int s = 0; s < states; s++)
        for (int k = 0; k < n; k++)
            initial[s * n + k] = cell->state_init[s].value;
    for (int p = 0; p < cell->parameter_count; p++) {
        parameters[p] = theta + r->parameter[index][direction][p];
        gradients[p] = zeros((size_t)n * (size_t)car_plan_columns(model->layers[index].plan, p));
    }
    if (direction)
        reverse_time(x, own_x, steps, size->input);
    else
        memcpy(own_x, x, (size_t)(steps * size->input) * sizeof *x);
    const car_oracle oracle = {.cell = cell,
                               .units = n,
                               .input_size = size->input,
                               .steps = steps,
                               .parameters = parameters,
                               .x = own_x,
                               .initial = initial};
    car_error error = {0};
    if (!dy) {
        require(car_oracle_forward(&oracle, own_y, all, NULL, &error), &error);
        if (direction)
            reverse_time(own_y, y, steps, n);
        else
            memcpy(y, own_y, (size_t)(steps * n) * sizeof *y);
    } else {
        double *dfinal = zeros((size_t)(states * n));
        if (direction)
            reverse_time(dy, own_y, steps, n);
        else
            memcpy(own_y, dy, (size_t)(steps * n) * sizeof *dy);
        require(car_oracle_backward(&oracle, own_y, dfinal, own_dx, other, gradients, &error),
                &error);
        free(dfinal);
        for (int t = 0; t < steps; t++)
            for (int k = 0; k < size->input; k++)
                dx[t * size->input + k] +=
                    own_dx[(direction ? steps - 1 - t : t) * size->input + k];
        for (int p = 0; p < cell->parameter_count; p++)
            for (int k = 0; k < n * car_plan_columns(model->layers[index].plan, p); k++)
                dtheta[r->parameter[index][direction][p] + (size_t)k] += gradients[p][k];
    }
    for (int p = 0; p < cell->parameter_count; p++)
        free(gradients[p]);
    free(initial);
    free(other);
    free(all);
    free(own_x);
    free(own_y);
    free(own_dx);
}

/* mask [rows][size] of layer `index`; NULL when nothing is dropped. */
static double *make_mask(const reference *r, int index, int lane, car_dropout dropout, int rows,
                         int size, uint64_t time) {
    if (!r->dropout || dropout.probability == 0)
        return NULL;
    double *mask = zeros((size_t)(rows * size));
    float *row = calloc((size_t)car_padded(size), sizeof *row);
    car_random_key key = *r->dropout;
    key.layer = (uint32_t)index * 2;
    for (int t = 0; t < rows; t++) {
        r->model->kernels->dropout_mask(key, dropout.locked ? r->time : time + (uint64_t)t,
                                        (uint64_t)lane, dropout.probability, size, row);
        for (int k = 0; k < size; k++)
            mask[t * size + k] = (double)row[k];
    }
    free(row);
    return mask;
}

static double *masked(const double *values, const double *mask, int count) {
    double *result = zeros((size_t)count);
    for (int k = 0; k < count; k++)
        result[k] = values[k] * (mask ? mask[k] : 1);
    return result;
}

static void read_lane(const reference *r, const double *theta, lane_run *run) {
    const car_model *model = r->model;
    int first = starts_with_ids(model) ? 1 : 0, each = model->input_size;
    int size = first ? model->layers[0].size.units : each * model->net->patch;
    double *rows = run->below[first] = zeros((size_t)(r->steps * size));
    for (int t = 0; t < r->steps; t++)
        for (int k = 0; k < size; k++) {
            int step = first ? t : t * model->net->patch + k / each;
            int row = step * r->batch + run->lane;
            rows[t * size + k] =
                first ? theta[r->embedding + (size_t)(((const int32_t *)r->input)[row] * size + k)]
                      : (double)((const float *)r->input)[row * each + k % each];
        }
}

static void forward_cell(const reference *r, const double *theta, lane_run *run, int i) {
    const car_net_layer *net = &r->model->net->layers[i];
    const car_layer_sizes *size = &r->model->layers[i].size;
    int steps = r->steps, n = size->units;
    run->mask[i] = make_mask(r, i, run->lane, net->dropout, steps, size->input, r->time);
    run->input[i] = masked(run->below[i], run->mask[i], steps * size->input);
    double *out = run->below[i + 1] = zeros((size_t)(steps * size->output));
    double *y = zeros((size_t)(steps * n));
    for (int d = 0; d < r->model->layers[i].directions; d++) {
        run_direction(r, i, d, theta, run->input[i], y, NULL, NULL, NULL);
        for (int t = 0; t < steps; t++)
            memcpy(out + t * size->output + d * n, y + t * n, (size_t)n * sizeof *y);
    }
    for (int k = 0; net->residual && k < steps * size->output; k++)
        out[k] += run->below[i][k];
    free(y);
}

/* The weight with which row t of the last layer goes into pooled row q, for value k. */
static double pool_weight(const reference *r, int q, int t, int k) {
    const car_model *model = r->model;
    int top = model->net->layer_count - 1;
    if (model->net->pool == CAR_POOL_EACH)
        return q == t;
    if (model->net->pool == CAR_POOL_MEAN)
        return 1.0 / r->steps;
    bool reverse = model->net->layers[top].bidirectional && k >= model->layers[top].size.units;
    return t == (reverse ? 0 : r->steps - 1);
}

/* One target of a head that foretells a distribution; dz: dL/dz. */
static double distribution_loss(const struct car_net *net, const double *z, double t, double *dz) {
    double loss = 0, s = log1p(exp(z[1])) + 1e-4, u = (t - z[0]) / s, h = 1e-4;
    if (net->head == CAR_HEAD_QUANTILE) {
        for (int k = 0; k < net->level_count; k++) {
            double level = net->levels[k], share = 2.0 / net->level_count;
            loss += share * (t > z[k] ? level * (t - z[k]) : (1 - level) * (z[k] - t));
            dz[k] = share * (t > z[k] ? -level : 1 - level);
        }
        return loss;
    }
    double inner = 1 / (1 + exp(-z[1]));
    if (net->head == CAR_HEAD_GAUSSIAN) {
        dz[0] = -u / s;
        dz[1] = (1 / s - u * u / s) * inner;
        return log(s) + u * u / 2 + log(2 * M_PI) / 2;
    }
    double n = 2 + log1p(exp(z[2])), all[3];
    for (int k = 0; k < 3; k++) {
        double m = n + (k - 1) * h;
        all[k] = log(s) + (m + 1) / 2 * log(1 + u * u / m) + log(m * M_PI) / 2 + lgamma(m / 2) -
                 lgamma((m + 1) / 2);
    }
    dz[0] = -(n + 1) * u / (n + u * u) / s;
    dz[1] = (1 / s - (n + 1) * u * u / (n + u * u) / s) * inner;
    dz[2] = (all[2] - all[0]) / (2 * h) / (1 + exp(-z[2]));
    return all[1];
}

/* Loss of one row; dz: its gradient divided by the counted targets. */
static double row_loss(const reference *r, const double *z, int row, double *dz) {
    int outputs = r->model->output_size;
    int each = car_head_parameters(r->model->net), targets = outputs / each;
    const float *values = (const float *)r->target + row * targets;
    double loss = 0, sum = 0, scale = 1.0 / (double)r->counted;
    memset(dz, 0, (size_t)outputs * sizeof *dz);
    if (r->model->net->head == CAR_HEAD_SOFTMAX) {
        int class = ((const int32_t *)r->target)[row];
        if (class < 0)
            return 0;
        for (int j = 0; j < outputs; j++)
            sum += exp(z[j]);
        for (int j = 0; j < outputs; j++)
            dz[j] = scale * (exp(z[j]) / sum - (j == class));
        return log(sum) - z[class];
    }
    for (int j = 0; each > 1 && j < targets; j++) {
        loss += distribution_loss(r->model->net, z + j * each, (double)values[j], dz + j * each) /
                targets;
        for (int k = 0; k < each; k++)
            dz[j * each + k] *= scale / targets;
    }
    for (int j = 0; each == 1 && j < outputs; j++) {
        double t = (double)values[j], s = 1 / (1 + exp(-z[j]));
        if (r->model->net->head == CAR_HEAD_SIGMOID) {
            loss -= t * log(s) + (1 - t) * log(1 - s);
            dz[j] = scale * (s - t);
        } else {
            loss += (z[j] - t) * (z[j] - t) / outputs;
            dz[j] = scale * 2 * (z[j] - t) / outputs;
        }
    }
    return loss;
}

/* Head of a lane; with dtheta also its gradients and dL/d(last layer's output). */
static double run_head(const reference *r, const double *theta, lane_run *run, double *dtheta) {
    const car_model *model = r->model;
    int depth = model->head_depth, outputs = model->output_size, steps = r->steps;
    int top = model->net->layer_count, rows = model->net->pool == CAR_POOL_EACH ? steps : 1;
    uint64_t time = model->net->pool == CAR_POOL_EACH ? r->time : r->time + (uint64_t)steps - 1;
    double *pooled = zeros((size_t)(rows * depth)), loss = 0;
    for (int q = 0; q < rows; q++)
        for (int t = 0; t < steps; t++)
            for (int k = 0; k < depth; k++)
                pooled[q * depth + k] += pool_weight(r, q, t, k) * run->below[top][t * depth + k];
    double *mask = make_mask(r, top, run->lane, model->net->head_dropout, rows, depth, time);
    double *x = masked(pooled, mask, rows * depth);
    double *z = zeros((size_t)outputs), *dz = zeros((size_t)outputs);
    for (int q = 0; q < rows; q++) {
        for (int j = 0; j < outputs; j++) {
            z[j] = theta[r->bias + (size_t)j];
            for (int k = 0; k < depth; k++)
                z[j] += theta[r->head + (size_t)(j * depth + k)] * x[q * depth + k];
        }
        loss += row_loss(r, z, q * r->batch + run->lane, dz);
        for (int j = 0; dtheta && j < outputs; j++) {
            dtheta[r->bias + (size_t)j] += dz[j];
            for (int k = 0; k < depth; k++) {
                size_t at = r->head + (size_t)(j * depth + k);
                dtheta[at] += dz[j] * x[q * depth + k];
                double dx = dz[j] * theta[at] * (mask ? mask[q * depth + k] : 1);
                for (int t = 0; t < steps; t++)
                    run->gradient[top][t * depth + k] += pool_weight(r, q, t, k) * dx;
            }
        }
    }
    free(pooled);
    free(mask);
    free(x);
    free(z);
    free(dz);
    return loss;
}

static void backward_cell(const reference *r, const double *theta, lane_run *run, int i,
                          double *dtheta) {
    const car_layer_sizes *size = &r->model->layers[i].size;
    int steps = r->steps, n = size->units;
    double *dy = zeros((size_t)(steps * n)), *dx = zeros((size_t)(steps * size->input));
    for (int d = 0; d < r->model->layers[i].directions; d++) {
        for (int t = 0; t < steps; t++)
            memcpy(dy + t * n, run->gradient[i + 1] + t * size->output + d * n,
                   (size_t)n * sizeof *dy);
        run_direction(r, i, d, theta, run->input[i], NULL, dy, dx, dtheta);
    }
    for (int k = 0; k < steps * size->input; k++) {
        run->gradient[i][k] = dx[k] * (run->mask[i] ? run->mask[i][k] : 1);
        if (r->model->net->layers[i].residual)
            run->gradient[i][k] += run->gradient[i + 1][k];
    }
    free(dy);
    free(dx);
}

static double run_lane(const reference *r, const double *theta, int lane, double *dtheta) {
    const car_model *model = r->model;
    int layers = model->net->layer_count, first = starts_with_ids(model) ? 1 : 0;
    lane_run run = {.lane = lane};
    for (int i = first; i <= layers; i++) {
        int size = i < layers ? model->layers[i].size.input : model->head_depth;
        run.gradient[i] = zeros((size_t)(r->steps * size));
    }
    read_lane(r, theta, &run);
    for (int i = first; i < layers; i++)
        forward_cell(r, theta, &run, i);
    double loss = run_head(r, theta, &run, dtheta);
    for (int i = layers - 1; dtheta && i >= first; i--)
        backward_cell(r, theta, &run, i, dtheta);
    int units = model->layers[0].size.units;
    for (int t = 0; dtheta && first && t < r->steps; t++)
        for (int k = 0; k < units; k++) {
            int id = ((const int32_t *)r->input)[t * r->batch + lane];
            dtheta[r->embedding + (size_t)(id * units + k)] += run.gradient[1][t * units + k];
        }
    for (int i = 0; i <= layers; i++) {
        free(run.below[i]);
        free(run.input[i]);
        free(run.mask[i]);
        free(run.gradient[i]);
    }
    return loss;
}

/* Mean loss over the counted targets; dtheta, 0 before, becomes its gradient unless NULL. */
static double reference_loss(const reference *r, const double *theta, double *dtheta) {
    double loss = 0;
    double *present = masked(theta, r->weight_mask, (int)r->count);
    for (int lane = 0; lane < r->batch; lane++)
        loss += run_lane(r, present, lane, dtheta);
    for (size_t k = 0; dtheta && r->weight_mask && k < r->count; k++)
        dtheta[k] *= r->weight_mask[k];
    free(present);
    return loss / (double)r->counted;
}

enum { DROP_SEED = 7, DROP_UPDATE = 3 };

/* What car_model_drop is to drop, by logical index. */
static double *make_weight_mask(const reference *r) {
    const car_model *model = r->model;
    double *mask = zeros(r->count);
    float row[1024];
    for (size_t k = 0; k < r->count; k++)
        mask[k] = 1;
    for (int i = 0; i < model->net->layer_count; i++)
        for (int d = 0; model->layers[i].plan && d < model->layers[i].directions; d++)
            for (int p = 0; p < model->net->layers[i].cell->parameter_count; p++) {
                const car_parameter *parameter = &model->net->layers[i].cell->parameters[p];
                int n = model->layers[i].size.units;
                if (parameter->kind != CAR_MATRIX || parameter->from_input ||
                    model->net->layers[i].weight_drop == 0)
                    continue;
                for (int column = 0; column < n; column++) {
                    model->kernels->dropout_mask(
                        (car_random_key){DROP_SEED, CAR_RANDOM_WEIGHT_DROP,
                                         (uint32_t)(i * 2 + d) | (uint32_t)p << 16},
                        DROP_UPDATE, (uint64_t)column, model->net->layers[i].weight_drop, n, row);
                    for (int unit = 0; unit < n; unit++)
                        mask[r->parameter[i][d][p] + (size_t)(unit * n + column)] =
                            (double)row[unit];
                }
            }
    return mask;
}

/* ---- The fast path ------------------------------------------------------------------------------------ */

typedef struct result {
    double loss_sum;
    int64_t counted;
    float *gradient; /* packed; NULL without backward */
} result;

static result run_stack(car_model *model, int batch, int steps, int threads, bool backward,
                        const void *input, const void *target, const car_random_key *dropout,
                        uint64_t time) {
    car_error error = {0};
    result got = {0};
    placed_stack placed = place_stack(model, batch, steps, threads, backward);
    car_model_refresh(model, threads);
    if (backward && dropout)
        car_model_drop(model, DROP_SEED, DROP_UPDATE, threads);
    if (backward)
        got.gradient = car_allocate(NULL, model->weight_floats, sizeof(float));
    require(car_stack_forward(placed.stack, steps, NULL, input, dropout, time, &error), &error);
    require(car_stack_loss(placed.stack, target, got.gradient, &got.loss_sum, &got.counted, &error),
            &error);
    if (backward)
        car_stack_backward(placed.stack, input, got.gradient);
    car_release(NULL, placed.memory);
    return got;
}

static const struct {
    const char *net;
    int input_size, output_size, steps, batch;
} cases[] = {
    {"embed 5 | lstm 7 x2 | softmax", 9, 6, 6, 3},
    {"embed 7 | gru 7 x2 residual | softmax tie", 11, 11, 5, 2},
    {"rnn 6 bi | gru 4 bi | linear each", 3, 2, 5, 2},
    {"lstm 5 bi x2 dropout 0.3 | linear last", 4, 2, 6, 3},
    {"gru-v1 18 bi | dense 20 | sigmoid mean dropout 0.5", 3, 5, 4, 2},
    {"embed 20 | lstm-peephole 17 dropout 0.4 | layernorm | softmax", 30, 70, 5, 3},
    {"slstm 6 | project 5 | linear last", 3, 3, 7, 2},
    {"embed 6 | mut2 6 bi | project 6 | softmax last dropout 0.25 tie", 8, 8, 4, 4},
    {"dense 16 residual bi | softmax mean", 32, 3, 3, 2},
    {"embed 9 | softmax", 12, 5, 7, 2},
    {"embed 33 | indrnn 70 dropout 0.2 | layernorm-lstm 34 | softmax", 90, 130, 9, 8},
    {"embed 6 | lstm 20 x2 dropout 0.4 locked weightdrop 0.3 | softmax dropout 0.2", 9, 6, 6, 3},
    {"gru-v1 18 bi weightdrop 0.5 | softmax mean dropout 0.3 locked", 4, 5, 6, 3},
    {"rnn 9 | quantile last", 3, 6, 5, 3},
    {"gru 8 x2 dropout 0.2 | quantile 0.05 0.3 0.5 0.95 mean", 2, 8, 5, 3},
    {"lstm 7 | quantile each", 2, 3, 4, 2},
    {"gru 7 | gaussian last", 3, 6, 5, 3},
    {"rnn 8 bi | gaussian mean dropout 0.3", 2, 4, 5, 2},
    {"lstm 6 | gaussian each", 2, 2, 5, 2},
    {"gru 7 | studentt last", 3, 6, 5, 3},
    {"lstm 6 | studentt mean", 2, 9, 5, 2},
    {"rnn 6 | studentt each dropout 0.2", 2, 3, 5, 2},
    {"patch 3 | gru 7 | linear last", 2, 3, 12, 3},
    {"patch 2 | lstm 5 bi dropout 0.3 | studentt each", 3, 6, 8, 2},
    {"patch 6 | project 4 | quantile last", 1, 6, 6, 4},
    {"embed 112 | lstm 100 | softmax", 9, 8, 4, 3}, /* wide enough for products that split */
    {"gru-v1 96 bi x2 | linear each", 3, 100, 4, 2},
};
enum { CASES = sizeof cases / sizeof *cases };

static reference make_reference(const car_model *model, int i, void *input, void *target,
                                const car_random_key *dropout) {
    reference r = {.model = model,
                   .steps = cases[i].steps / model->net->patch,
                   .batch = cases[i].batch,
                   .input = input,
                   .target = target,
                   .dropout = dropout,
                   .time = 40};
    int rows = head_rows_of(model, cases[i].steps, cases[i].batch);
    r.counted = rows;
    if (model->net->head == CAR_HEAD_SOFTMAX) {
        r.counted = 0;
        for (int row = 0; row < rows; row++)
            r.counted += ((int32_t *)target)[row] >= 0;
    }
    lay_parameters(&r);
    r.weight_mask = dropout ? make_weight_mask(&r) : NULL;
    return r;
}

static const car_random_key dropout_key = {99, CAR_RANDOM_DROPOUT, 0};

/* ---- Tests -------------------------------------------------------------------------------------------- */

/* Central differences of the reference at two step sizes; a derivative counts where the two agree. */
static void check_reference(const reference *r, const double *theta, const double *dtheta,
                            const char *net) {
    double *moved = zeros(r->count), largest = 0;
    memcpy(moved, theta, r->count * sizeof *moved);
    for (size_t k = 0; k < r->count; k++)
        largest = fmax(largest, fabs(dtheta[k]));
    size_t checked = 0, aside = 0, stride = r->count / 150 + 1;
    for (size_t k = 0; k < r->count; k += stride) {
        double slope[2];
        for (int s = 0; s < 2; s++) {
            double h = s ? 2e-5 : 1e-5;
            moved[k] = theta[k] + h;
            double up = reference_loss(r, moved, NULL);
            moved[k] = theta[k] - h;
            slope[s] = (up - reference_loss(r, moved, NULL)) / (2 * h);
        }
        moved[k] = theta[k];
        if (fabs(slope[0] - slope[1]) > 1e-6 * largest) {
            aside++;
            continue;
        }
        checked++;
        if (fabs(slope[0] - dtheta[k]) > 2e-6 * largest)
            fail_msg("%s: parameter %zu: %.9g by differences, %.9g by the reference", net, k,
                     slope[0], dtheta[k]);
    }
    if (aside * 5 > checked + aside)
        fail_msg("%s: %zu of %zu derivatives set aside", net, aside, checked + aside);
    free(moved);
}

/* The worst error of a tensor's gradient, relative to that tensor's largest entry, or to a hundredth of the largest
 * of all where that is more: some gradients vanish by cancelling terms (the input bias of slstm scales both sides of
 * a quotient), and then only the terms have a size. */
static double worst_error(const reference *r, const double *expected, const float *packed) {
    double *got = unpack(r, packed), worst = 0, overall = 0;
    for (size_t k = 0; k < r->count; k++)
        overall = fmax(overall, fabs(expected[k]));
    size_t edges[3 + MOST_LAYERS * 2 * MOST_PARAMETERS], edge_count = 0;
    edges[edge_count++] = r->head;
    edges[edge_count++] = r->bias;
    edges[edge_count++] = r->bias + (size_t)r->model->output_size;
    for (int i = 0; i < r->model->net->layer_count; i++)
        for (int d = 0; r->model->layers[i].plan && d < r->model->layers[i].directions; d++)
            for (int p = 0; p < r->model->net->layers[i].cell->parameter_count; p++)
                edges[edge_count++] = r->parameter[i][d][p];
    for (size_t e = 0; e < edge_count; e++) {
        size_t end = e + 1 < edge_count ? edges[e + 1] : r->count;
        double largest = 0, error = 0;
        for (size_t k = edges[e]; k < end; k++) {
            largest = fmax(largest, fabs(expected[k]));
            error = fmax(error, fabs(expected[k] - got[k]));
        }
        worst = fmax(worst, error / fmax(largest, 0.01 * overall));
    }
    free(got);
    return worst;
}

static void check_case(int i, const char *level, bool differences) {
    car_model *model = make_trainable(
        make_model(cases[i].net, cases[i].input_size, cases[i].output_size, "uniform(0.5)"));
    if (level && strcmp(model->kernels->name, level) != 0) {
        car_model_free(model);
        return;
    }
    void *input = make_input(model, cases[i].steps, cases[i].batch, NULL);
    void *target = make_target(model, head_rows_of(model, cases[i].steps, cases[i].batch));
    for (int dropped = 0; dropped < 2; dropped++) {
        const car_random_key *key = dropped ? &dropout_key : NULL;
        reference r = make_reference(model, i, input, target, key);
        double *theta = unpack(&r, model->weights), *dtheta = zeros(r.count);
        double loss = reference_loss(&r, theta, dtheta);
        if (differences)
            check_reference(&r, theta, dtheta, cases[i].net);
        result got = run_stack(model, r.batch, cases[i].steps, 1, true, input, target, key, r.time);
        assert_int_equal(got.counted, r.counted);
        double size = fmax(fabs(loss), 0.1); /* logarithms of densities may cross 0 */
        double mean = got.loss_sum / (double)got.counted;
        double worst = worst_error(&r, dtheta, got.gradient);
        print_message("  %-8s %-66s loss %.6f, off by %.1e; gradient off by %.1e\n",
                      model->kernels->name, cases[i].net, loss, fabs(mean - loss) / size, worst);
        if (!(fabs(mean - loss) <= 2e-7 * size) || !(worst <= 5e-6))
            fail_msg("%s: loss %.9g, reference %.9g; gradient off by %g", cases[i].net, mean, loss,
                     worst);
        car_release(NULL, got.gradient);
        free(theta);
        free(dtheta);
        free(r.weight_mask);
    }
    free(input);
    free(target);
    car_model_free(model);
}

static void test_reference(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++)
        check_case(i, NULL, true);
}

/* The share of a density that lies below `at`, by Simpson's rule from far out. */
static double share_below(double at, double degrees) {
    enum { PARTS = 400000 };
    double from = -4000, step = (at - from) / PARTS, sum = 0;
    for (int i = 0; i <= PARTS; i++) {
        double x = from + i * step;
        double density = degrees > 0 ? exp(lgamma((degrees + 1) / 2) - lgamma(degrees / 2) -
                                           (degrees + 1) / 2 * log1p(x * x / degrees)) /
                                           sqrt(degrees * M_PI)
                                     : exp(-x * x / 2) / sqrt(2 * M_PI);
        sum += density * (i == 0 || i == PARTS ? 1 : i % 2 ? 4 : 2);
    }
    return sum * step / 3;
}

/* Quantiles of the heads against their densities. */
static void test_quantiles(void **state) {
    (void)state;
    const double levels[] = {0.01, 0.1, 0.35, 0.5, 0.8, 0.99};
    const float raw[][3] = {{0, 0.5F, -30}, {0, 0.5F, 0}, {0, 0.5F, 2}, {0, 0.5F, 40}};
    struct car_net net = {.head = CAR_HEAD_STUDENTT, .patch = 1};
    double s = log1p(exp(0.5)) + 1e-4;
    for (size_t k = 0; k < sizeof levels / sizeof *levels; k++) {
        for (int i = 0; i < 4; i++) {
            double degrees = 2 + log1p(exp((double)raw[i][2]));
            double at = car_distribution_quantile(&net, raw[i], levels[k]) / s;
            assert_true(fabs(share_below(at, degrees) - levels[k]) < 2e-4);
        }
        net.head = CAR_HEAD_GAUSSIAN;
        double at = car_distribution_quantile(&net, raw[0], levels[k]) / s;
        assert_true(fabs(share_below(at, 0) - levels[k]) < 1e-6);
        net.head = CAR_HEAD_STUDENTT;
    }
    net = (struct car_net){.head = CAR_HEAD_QUANTILE, .level_count = 2, .levels = {0.2, 0.6}};
    const float two[] = {1, 3};
    assert_true(fabs(car_distribution_quantile(&net, two, 0.4) - 2) < 1e-12);
    assert_true(car_distribution_quantile(&net, two, 0.1) == 1);
    assert_true(car_distribution_quantile(&net, two, 0.9) == 3);
}

/* Steps that make no whole patch, in all or for one lane; sizes that do not fit the head; sessions. */
static void test_patch_is_refused(void **state) {
    (void)state;
    car_model *model = make_model("patch 3 | rnn 4 | linear", 2, 3, NULL);
    placed_stack placed = place_stack(model, 2, 6, 1, false);
    car_error error = {0};
    const float input[24] = {0};
    const int odd[] = {6, 4}, even[] = {6, 3};
    car_stack_reset(placed.stack, -1);
    assert_int_equal(car_stack_forward(placed.stack, 5, NULL, input, NULL, 0, &error), CAR_DATA);
    assert_int_equal(car_stack_forward(placed.stack, 6, odd, input, NULL, 0, &error), CAR_DATA);
    assert_int_equal(car_stack_forward(placed.stack, 6, even, input, NULL, 0, &error), CAR_OK);
    assert_int_equal(car_rows_count(car_stack_rows(placed.stack)), 3);
    car_session *session;
    assert_int_equal(car_session_create(model, NULL, NULL, &session, &error), CAR_USAGE);
    car_release(NULL, placed.memory);
    car_model_free(model);
    car_net *net;
    car_model_options sizes = {.input_size = 2, .output_size = 4};
    require(car_net_parse("rnn 4 | quantile last", NULL, 0, NULL, &net, &error), &error);
    assert_int_equal(car_model_create(net, &sizes, NULL, &model, &error), CAR_USAGE);
    car_net_free(net);
}

static void test_levels(void **state) {
    (void)state;
    static const char *const levels[] = {"baseline", "avx2", "avx512"};
    char *before = getenv("CAROUSEL_CPU") ? strdup(getenv("CAROUSEL_CPU")) : NULL;
    for (int level = 0; level < 3; level++) {
        setenv("CAROUSEL_CPU", levels[level], 1);
        for (int i = 0; i < CASES; i++)
            check_case(i, levels[level], false);
    }
    if (before)
        setenv("CAROUSEL_CPU", before, 1);
    else
        unsetenv("CAROUSEL_CPU");
    free(before);
}

/* Wide enough that panels, units and rows are cut between threads. */
static const struct {
    const char *net;
    int input_size, output_size, steps, batch;
} wide[] = {
    {"embed 100 | lstm 96 x2 dropout 0.5 | softmax", 300, 1100, 19, 16},
    {"embed 40 | gru 20 x2 bi residual | softmax tie", 70, 70, 30, 12},
    {"lstm 130 bi | layernorm | sigmoid mean", 50, 88, 12, 9},
    {"gru 33 bi x2 weightdrop 0.4 | linear", 20, 3, 14, 2}, /* the two directions side by side */
    {"embed 40 | gru 97 weightdrop 0.5 | softmax dropout 0.5 locked", 70, 70, 12, 8},
};

static void test_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        car_model *model =
            make_trainable(make_model(wide[i].net, wide[i].input_size, wide[i].output_size, NULL));
        int steps = wide[i].steps, batch = wide[i].batch;
        void *input = make_input(model, steps, batch, NULL);
        void *target = make_target(model, head_rows_of(model, steps, batch));
        result one = run_stack(model, batch, steps, 1, true, input, target, &dropout_key, 5);
        assert_true(isfinite(one.loss_sum));
        for (int threads = 2; threads <= 5; threads++) {
            result more =
                run_stack(model, batch, steps, threads, true, input, target, &dropout_key, 5);
            assert_memory_equal(&one.loss_sum, &more.loss_sum, sizeof(double));
            for (size_t k = 0; k < model->weight_floats; k++)
                if (memcmp(&one.gradient[k], &more.gradient[k], 4) != 0)
                    fail_msg("%s: %d threads: gradient %zu of %zu is %.9g, not %.9g", wide[i].net,
                             threads, k, model->weight_floats, (double)more.gradient[k],
                             (double)one.gradient[k]);
            car_release(NULL, more.gradient);
        }
        car_release(NULL, one.gradient);
        free(input);
        free(target);
        car_model_free(model);
    }
}

/* Judging without the backward pass gives the loss of training without dropout: to the bit, but where training in bf16
 * runs on tiles, which sum in another order. */
static void assert_judged_alike(const car_model *model, double trained, double judged) {
    if (model->precision == CAR_PRECISION_BF16 && model->kernels->product_tiles)
        assert_true(fabs(trained - judged) <= 1e-3 * fabs(judged));
    else
        assert_memory_equal(&trained, &judged, sizeof judged);
}

static void test_evaluation(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        car_model *model = make_trainable(
            make_model(cases[i].net, cases[i].input_size, cases[i].output_size, NULL));
        void *input = make_input(model, cases[i].steps, cases[i].batch, NULL);
        void *target = make_target(model, head_rows_of(model, cases[i].steps, cases[i].batch));
        result a =
            run_stack(model, cases[i].batch, cases[i].steps, 1, true, input, target, NULL, 0);
        result b =
            run_stack(model, cases[i].batch, cases[i].steps, 2, false, input, target, NULL, 0);
        result c = run_stack(model, cases[i].batch, cases[i].steps, 2, false, input, target,
                             &dropout_key, 0);
        assert_judged_alike(model, a.loss_sum, b.loss_sum);
        assert_memory_equal(&b.loss_sum, &c.loss_sum, sizeof(double));
        car_release(NULL, a.gradient);
        free(input);
        free(target);
        car_model_free(model);
    }
}

/* Dropout over one run of 12 steps = over 5 and 7 with the states carried, and lanes in any batch. */
static void test_dropout_in_pieces(void **state) {
    (void)state;
    enum { STEPS = 12, BATCH = 3, OUTPUTS = 37 };
    car_error error = {0};
    car_model *model = make_trainable(
        make_model("embed 20 | lstm 33 x2 dropout 0.5 | softmax dropout 0.3", 30, OUTPUTS, NULL));
    int32_t *input = make_input(model, STEPS, BATCH, NULL);
    placed_stack whole = place_stack(model, BATCH, STEPS, 1, true);
    placed_stack pieces = place_stack(model, BATCH, 7, 2, true);
    static float a[STEPS * BATCH * OUTPUTS], b[STEPS * BATCH * OUTPUTS],
        none[STEPS * BATCH * OUTPUTS];
    require(car_stack_forward(whole.stack, STEPS, NULL, input, &dropout_key, 100, &error), &error);
    car_stack_outputs(whole.stack, a);
    require(car_stack_forward(pieces.stack, 5, NULL, input, &dropout_key, 100, &error), &error);
    car_stack_outputs(pieces.stack, b);
    car_stack_carry(pieces.stack);
    require(car_stack_forward(pieces.stack, 7, NULL, input + 5 * BATCH, &dropout_key, 105, &error),
            &error);
    car_stack_outputs(pieces.stack, b + 5 * BATCH * OUTPUTS);
    assert_memory_equal(a, b, sizeof a);
    require(car_stack_forward(whole.stack, STEPS, NULL, input, NULL, 100, &error), &error);
    car_stack_outputs(whole.stack, none);
    assert_true(memcmp(a, none, sizeof a) != 0);
    require(car_stack_forward(whole.stack, STEPS, NULL, input, &dropout_key, 101, &error), &error);
    car_stack_outputs(whole.stack, b);
    assert_true(memcmp(a, b, sizeof a) != 0);
    car_release(NULL, whole.memory);
    car_release(NULL, pieces.memory);
    free(input);
    car_model_free(model);
}

/* A pass writes its gradient, whatever an earlier one over other rows has left there; one without rows writes 0. */
static void check_gradient_replaces(const char *net, int inputs) {
    enum { BATCH = 3, STEPS = 5 };
    car_error error = {0};
    car_model *model = make_trainable(make_model(net, inputs, 4, NULL));
    placed_stack placed = place_stack(model, BATCH, STEPS, 2, true);
    float *gradient = car_allocate(NULL, model->weight_floats, sizeof *gradient);
    float *alone = car_allocate(NULL, model->weight_floats, sizeof *alone);
    float *empty = car_allocate(NULL, model->weight_floats, sizeof *empty);
    static const int some[] = {3, 0, 4}, none[] = {0, 0, 0};
    void *input = make_input(model, STEPS, BATCH, NULL),
         *target = make_target(model, STEPS * BATCH);
    struct {
        const int *lengths;
        float *into;
    } const passes[] = {
        {some, gradient}, {NULL, gradient}, {some, empty}, {none, empty}, {NULL, alone}};
    for (size_t k = 0; k < sizeof passes / sizeof *passes; k++) {
        double loss;
        int64_t counted;
        float *into = passes[k].into;
        require(car_stack_forward(placed.stack, STEPS, passes[k].lengths, input, NULL, 0, &error),
                &error);
        require(car_stack_loss(placed.stack, target, into, &loss, &counted, &error), &error);
        car_stack_backward(placed.stack, input, into);
    }
    for (size_t k = 0; k < model->weight_floats; k++)
        assert_true(empty[k] == 0);
    assert_memory_equal(gradient, alone, model->weight_floats * sizeof *gradient);
    car_release(NULL, gradient);
    car_release(NULL, alone);
    car_release(NULL, empty);
    car_release(NULL, placed.memory);
    free(input);
    free(target);
    car_model_free(model);
}

static void test_gradient_replaces(void **state) {
    (void)state;
    static const char *const nets[] = {"rnn 6 | linear", "gru 9 bi x2 | linear",
                                       "dense 9 | lstm 20 | sigmoid",
                                       "mgu 9 residual | linear last", "lstm 70 x2 | linear"};
    static const char *const of_ids[] = {"embed 6 | lstm 9 x2 | softmax",
                                         "embed 9 | gru 9 residual | softmax tie",
                                         "embed 40 | layernorm-lstm 9 | softmax mean"};
    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++)
        check_gradient_replaces(nets[k], 9);
    for (size_t k = 0; k < sizeof of_ids / sizeof *of_ids; k++)
        check_gradient_replaces(of_ids[k], 4);
}

/* dL/dx takes transposed weights that a model keeps only where it is told to. */
static void test_input_gradient_is_asked_for(void **state) {
    (void)state;
    car_model *model = make_trainable(make_model("rnn 5 | linear", 3, 2, NULL));
    const car_stack_shape shape = {
        .batch = 2, .steps = 4, .threads = 1, .backward = true, .input_gradient = true};
    assert_int_equal(car_stack_size(model, &shape), 0);
    model->input_transposed = true;
    assert_true(car_stack_size(model, &shape) > 0);
    car_model_free(model);
}

static void test_targets(void **state) {
    (void)state;
    car_error error = {0};
    car_model *model = make_trainable(make_model("embed 4 | rnn 5 | softmax", 6, 4, NULL));
    placed_stack placed = place_stack(model, 2, 2, 1, true);
    const int32_t ids[4] = {0, 1, 2, 5}, bad_ids[4] = {0, 1, 6, 5};
    const int32_t bad[4] = {0, 1, 2, 4}, none[4] = {-1, -1, -1, -1};
    float *gradient = car_allocate(NULL, model->weight_floats, sizeof *gradient);
    double loss;
    int64_t counted;
    assert_int_equal(car_stack_forward(placed.stack, 2, NULL, bad_ids, NULL, 0, &error), CAR_DATA);
    assert_non_null(strstr(error.message, "id 6 at step 1, lane 0"));
    require(car_stack_forward(placed.stack, 2, NULL, ids, NULL, 0, &error), &error);
    assert_int_equal(car_stack_loss(placed.stack, bad, gradient, &loss, &counted, &error),
                     CAR_DATA);
    assert_non_null(strstr(error.message, "class 4"));
    require(car_stack_loss(placed.stack, none, gradient, &loss, &counted, &error), &error);
    car_stack_backward(placed.stack, ids, gradient);
    assert_true(loss == 0);
    assert_int_equal(counted, 0);
    for (size_t k = 0; k < model->weight_floats; k++)
        assert_true(gradient[k] == 0);
    car_release(NULL, gradient);
    car_release(NULL, placed.memory);
    car_model_free(model);
}

/* Padding of weights, and so of what an optimizer makes of them, gets no gradient. */
static void test_padding(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        car_model *model = make_trainable(
            make_model(cases[i].net, cases[i].input_size, cases[i].output_size, "uniform(0.5)"));
        void *input = make_input(model, cases[i].steps, cases[i].batch, NULL);
        void *target = make_target(model, head_rows_of(model, cases[i].steps, cases[i].batch));
        result got = run_stack(model, cases[i].batch, cases[i].steps, 1, true, input, target,
                               &dropout_key, 0);
        /* what is left when all logical places are made 0 */
        for (int t = 0; t < model->tensor_count; t++) {
            float *zero = calloc(car_model_tensor_floats(model, t), sizeof *zero);
            car_model_pack(model, t, zero, got.gradient);
            free(zero);
        }
        for (size_t k = 0; k < model->weight_floats; k++)
            if (got.gradient[k] != 0)
                fail_msg("%s: padding %zu has gradient %g", cases[i].net, k,
                         (double)got.gradient[k]);
        car_release(NULL, got.gradient);
        free(input);
        free(target);
        car_model_free(model);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_patch_is_refused),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_dropout_in_pieces),
        cmocka_unit_test(test_gradient_replaces),
        cmocka_unit_test(test_input_gradient_is_asked_for),
        cmocka_unit_test_setup_teardown(test_threads, in_bf16, in_f32),
        cmocka_unit_test_setup_teardown(test_evaluation, in_bf16, in_f32),
        cmocka_unit_test_setup_teardown(test_dropout_in_pieces, in_bf16, in_f32),
        cmocka_unit_test_setup_teardown(test_padding, in_bf16, in_f32),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_padding),
    };
    return cmocka_run_group_tests_name("network_gradient", tests, NULL, NULL);
}
