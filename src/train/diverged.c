/*
 * Where training left the finite numbers. In: a trainer whose step has just gone wrong, its batch and loss; the
 * start state and the gradient are still that step's. Out: CAR_DIVERGED with the place in words.
 *
 * The forward pass is run again with plans that store every named value ("taps"); layers are then looked
 * through from the bottom, each in the order of its time and its equations, because what comes first in that
 * order is the cause and what comes after its effect. Then the head and its loss are looked at, and when the forward
 * pass is finite the gradients that the backward pass left, from the top down and back in time, the way they flow.
 */
#include "train.h"
#include <math.h>

#define ADVICE "lower the learning rate or the threshold at which the gradient is clipped"
enum { NAME_LIMIT = 48 };

/* A value that is not finite; rows are [steps][batch]. */
typedef struct bad_place {
    int step, lane, unit;
    float value;
} bad_place;

static const char *number_text(float value) {
    return isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

static const char *layer_word(const struct car_model *model, int layer) {
    const car_net_layer *net = &model->net->layers[layer];
    return net->kind == CAR_LAYER_EMBED ? "embed" : net->cell->name;
}

static int length_of(const car_batch *batch, int lane) {
    return batch->lengths ? batch->lengths[lane] : batch->steps;
}

/* First value of rows [steps][lanes][stride] that is not finite, in ascending rows, padding apart. */
static bool find_in_rows(const car_batch *batch, const float *values, int steps, int lanes,
                         size_t stride, int count, bad_place *bad) {
    for (int step = 0; step < steps; step++)
        for (int lane = 0; lane < lanes; lane++) {
            if (step >= length_of(batch, lane))
                continue;
            const float *row = values + ((size_t)step * (size_t)lanes + (size_t)lane) * stride;
            for (int unit = 0; unit < count; unit++)
                if (!isfinite(row[unit])) {
                    *bad = (bad_place){step, lane, unit, row[unit]};
                    return true;
                }
        }
    return false;
}

static car_status fail_at(const car_trainer *trainer, const car_batch *batch, const char *where,
                          const char *value, const bad_place *bad, const char *advice,
                          car_error *error) {
    return car_fail(error, CAR_DIVERGED,
                    "%s: %s is %s at time step %d of %d (lane %d, value %d), update %lld; %s",
                    where, value, number_text(bad->value), bad->step + 1, batch->steps,
                    bad->lane + 1, bad->unit + 1, (long long)trainer->updates + 1, advice);
}

/* ---- The forward pass again, with taps ---------------------------------------------------------------- */

typedef struct replay {
    const car_trainer *trainer;
    const car_batch *batch;
    struct car_model model; /* the trainer's, but for `layers` */
    car_model_layer *layers;
    car_plan **plans;   /* [layers] with taps; NULL for embed */
    const char **names; /* [layers][most_names] */
    int *name_counts;   /* [layers] */
    int most_names;
    car_stack *stack;
    void *memory;
} replay;

static void end_replay(replay *again) {
    const car_allocator *allocator = again->trainer->allocator;
    if (again->plans)
        for (int i = 0; i < again->model.net->layer_count; i++)
            car_plan_free(again->plans[i]);
    car_release(allocator, again->memory);
    car_release(allocator, again->name_counts);
    car_release(allocator, again->names);
    car_release(allocator, again->plans);
    car_release(allocator, again->layers);
}

static bool is_computed(const car_graph *graph, int node) {
    car_op op = graph->nodes[node].op;
    return graph->names[node] && op != CAR_OP_INPUT && op != CAR_OP_STATE && op != CAR_OP_VECTOR &&
           op != CAR_OP_CONSTANT;
}

static bool tap_layers(replay *again) {
    const struct car_model *model = again->trainer->model;
    for (int i = 0; i < model->net->layer_count; i++) {
        again->layers[i] = model->layers[i];
        const car_net_layer *net = &model->net->layers[i];
        if (net->kind != CAR_LAYER_CELL)
            continue;
        const char **names = again->names + (size_t)i * (size_t)again->most_names;
        for (int node = 0; node < net->cell->graph.count; node++)
            if (is_computed(&net->cell->graph, node))
                names[again->name_counts[i]++] = net->cell->graph.names[node];
        const car_plan *plain = model->layers[i].training_plan;
        car_plan_options options = {.training = true,
                                    .precision = model->precision,
                                    .kernels = model->kernels,
                                    .tap_count = again->name_counts[i],
                                    .taps = names};
        if (car_plan_create(net->cell, car_plan_input(plain), car_plan_units(plain), &options,
                            again->trainer->allocator, &again->plans[i], NULL) != CAR_OK)
            return false;
        again->layers[i].plan = again->layers[i].training_plan = again->plans[i];
    }
    return true;
}

/* False when memory is out or a plan with taps cannot be made; end_replay frees in any case. */
static bool begin_replay(replay *again, const car_trainer *trainer, const car_batch *batch) {
    const struct car_model *model = trainer->model;
    size_t count = (size_t)model->net->layer_count;
    *again = (replay){.trainer = trainer, .batch = batch, .model = *model};
    for (size_t i = 0; i < count; i++)
        if (model->net->layers[i].kind == CAR_LAYER_CELL &&
            model->net->layers[i].cell->graph.count > again->most_names)
            again->most_names = model->net->layers[i].cell->graph.count;
    again->layers = car_allocate(trainer->allocator, count + 1, sizeof *again->layers);
    again->plans = car_allocate(trainer->allocator, count + 1, sizeof(car_plan *));
    again->name_counts = car_allocate(trainer->allocator, count + 1, sizeof *again->name_counts);
    again->names = car_allocate(trainer->allocator, (count + 1) * (size_t)(again->most_names + 1),
                                sizeof *again->names);
    if (!again->layers || !again->plans || !again->names || !again->name_counts ||
        !tap_layers(again))
        return false;
    again->model.layers = again->layers;
    car_stack_shape shape = {.batch = trainer->options.batch,
                             .steps = batch->steps,
                             .threads = trainer->threads,
                             .backward = true};
    size_t size = car_stack_size(&again->model, &shape);
    again->memory = size ? car_allocate(trainer->allocator, size, 1) : NULL;
    float *state = car_allocate(trainer->allocator, trainer->state_floats + 1, sizeof *state);
    if (again->memory && state) {
        again->stack = car_stack_place(&again->model, &shape, again->memory);
        for (int lane = 0; lane < trainer->options.batch; lane++) {
            car_shards_get_state(trainer->shards, lane, state);
            car_stack_set_state(again->stack, lane, state);
        }
    }
    car_release(trainer->allocator, state);
    return again->stack != NULL;
}

/* One tapped value at one step, all lanes that ran. */
static bool find_in_step(car_vector_slot slot, const car_rows *rows, int step, int units,
                         bad_place *bad) {
    for (int k = 0; k < car_rows_active(rows, step); k++) {
        const float *row = slot.base + k * slot.row_stride;
        for (int unit = 0; unit < units; unit++) {
            float value = slot.block_stride == 0
                              ? row[0]
                              : row[unit / CAR_BLOCK * slot.block_stride + unit % CAR_BLOCK];
            if (!isfinite(value)) {
                *bad = (bad_place){step, rows->lane[k], unit, value};
                return true;
            }
        }
    }
    return false;
}

/* The first bad value of one direction: in the order in which it ran, then in the order of the graph. */
static bool find_in_direction(const replay *again, int layer, int direction, int *tap,
                              bad_place *bad) {
    const car_layer *ran = car_stack_layer(again->stack, layer, direction);
    const car_rows *rows = car_stack_rows(again->stack);
    int units = again->model.layers[layer].size.units;
    for (int k = 0; k < rows->steps; k++) {
        int step = direction ? rows->steps - 1 - k : k;
        for (*tap = 0; *tap < again->name_counts[layer]; ++*tap)
            if (find_in_step(car_layer_tap(ran, *tap, step), rows, step, units, bad))
                return true;
    }
    return false;
}

static bool find_in_layers(const replay *again, car_status *status, car_error *error) {
    for (int layer = 0; layer < again->model.net->layer_count; layer++) {
        if (!again->plans[layer])
            continue;
        for (int direction = 0; direction < again->model.layers[layer].directions; direction++) {
            int tap;
            bad_place bad;
            if (!find_in_direction(again, layer, direction, &tap, &bad))
                continue;
            char where[128], value[NAME_LIMIT + 16];
            snprintf(where, sizeof where, "layer %d (%.*s)%s", layer + 1, NAME_LIMIT,
                     layer_word(&again->model, layer), direction ? " backwards" : "");
            snprintf(value, sizeof value, "gate '%.*s'", NAME_LIMIT,
                     again->names[(size_t)layer * (size_t)again->most_names + (size_t)tap]);
            *status = fail_at(again->trainer, again->batch, where, value, &bad, ADVICE, error);
            return true;
        }
    }
    return false;
}

/* Rows of the head a lane. */
static int head_steps(const struct car_net *net, int steps) {
    return net->pool == CAR_POOL_EACH ? steps / net->patch : 1;
}

/* The place of the largest output: where a loss overflows first. */
static bad_place largest(const float *output, int steps, int batch, int outputs) {
    bad_place place = {0, 0, 0, output[0]};
    for (int row = 0; row < steps * batch; row++)
        for (int unit = 0; unit < outputs; unit++) {
            float value = output[(size_t)row * (size_t)outputs + (size_t)unit];
            if (fabsf(value) > fabsf(place.value))
                place = (bad_place){row / batch, row % batch, unit, value};
        }
    return place;
}

/* An output that is not finite or, when only the loss is not, the largest one. */
static bool find_in_head(const replay *again, double loss, car_status *status, car_error *error) {
    const car_trainer *trainer = again->trainer;
    int batch = trainer->options.batch, outputs = trainer->model->output_size;
    int steps = head_steps(trainer->model->net, again->batch->steps);
    bad_place bad;
    float *output = car_allocate(trainer->allocator, (size_t)steps * (size_t)batch,
                                 (size_t)outputs * sizeof(float));
    if (!output)
        return false;
    car_stack_outputs(again->stack, output);
    bool found = find_in_rows(again->batch, output, steps, batch, (size_t)outputs, outputs, &bad);
    if (!found)
        bad = largest(output, steps, batch, outputs);
    car_release(trainer->allocator, output);
    if (trainer->model->net->pool !=
        CAR_POOL_EACH) /* the one output of a sequence comes at its end */
        bad.step = length_of(again->batch, bad.lane) - 1;
    if (found)
        *status = fail_at(trainer, again->batch, "head", "output", &bad, ADVICE, error);
    else if (!isfinite(loss))
        *status =
            car_fail(error, CAR_DIVERGED,
                     "head: the loss is %s; all values before it are finite, the largest output "
                     "is %g at time step %d of %d (lane %d, value %d), update %lld; " ADVICE,
                     number_text((float)loss), (double)bad.value, bad.step + 1, again->batch->steps,
                     bad.lane + 1, bad.unit + 1, (long long)trainer->updates + 1);
    return found || !isfinite(loss);
}

/* ---- What goes in ------------------------------------------------------------------------------------- */

static bool find_in_embedding(const car_trainer *trainer, const car_batch *batch,
                              car_status *status, car_error *error) {
    const struct car_model *model = trainer->model;
    int lanes = trainer->options.batch, rows = batch->steps * lanes;
    int units = model->layers[0].size.units;
    bad_place bad;
    size_t stride = (size_t)car_padded(units);
    float *out = car_allocate(trainer->allocator, (size_t)rows, stride * sizeof(float));
    if (!out)
        return false;
    for (int row = 0; row < rows; row++)
        if (row / lanes < length_of(batch, row % lanes))
            car_embed_gather(model, batch->input, row, row + 1, out);
    bool found = find_in_rows(batch, out, batch->steps, lanes, stride, units, &bad);
    car_release(trainer->allocator, out);
    if (found)
        *status = fail_at(trainer, batch, "layer 1 (embed)", "weight", &bad,
                          "start from a model whose weights are finite", error);
    return found;
}

/* Bad inputs and targets are the data's fault, not the rate's. */
static bool find_in_data(const car_trainer *trainer, const car_batch *batch, car_status *status,
                         car_error *error) {
    const struct car_model *model = trainer->model;
    const struct car_net *net = model->net;
    int lanes = trainer->options.batch;
    int targets = model->output_size / car_head_parameters(net);
    bad_place bad;
    if (net->layer_count > 0 && net->layers[0].kind == CAR_LAYER_EMBED) {
        if (find_in_embedding(trainer, batch, status, error))
            return true;
    } else if (find_in_rows(batch, batch->input, batch->steps, lanes, (size_t)model->input_size,
                            model->input_size, &bad)) {
        *status = fail_at(trainer, batch, "data", "input", &bad, "repair the data", error);
        return true;
    }
    if (net->head != CAR_HEAD_SOFTMAX &&
        find_in_rows(batch, batch->target, head_steps(net, batch->steps), lanes, (size_t)targets,
                     targets, &bad)) {
        *status = fail_at(trainer, batch, "data", "target", &bad, "repair the data", error);
        return true;
    }
    return false;
}

/* ---- Weights and gradients ---------------------------------------------------------------------------- */

/* 1 above the layers for the head, then their numbers, 0 for the embedding: the gradient flows downwards. */
static int height(const struct car_model *model, const car_tensor_place *tensor) {
    switch (tensor->role) {
    case CAR_TENSOR_HEAD:
    case CAR_TENSOR_BIAS:
        return model->net->layer_count + 1;
    case CAR_TENSOR_EMBEDDING:
        return 0;
    default:
        return tensor->layer + 1;
    }
}

/* The highest tensor of a flat array that holds a value which is not finite; -1: none, or no memory to look. */
static int find_tensor(const car_trainer *trainer, const float *packed, size_t *row) {
    const struct car_model *model = trainer->model;
    int found = -1;
    for (int i = 0; i < model->tensor_count; i++) {
        const car_tensor_place *tensor = &model->tensors[i];
        if (found >= 0 && height(model, tensor) <= height(model, &model->tensors[found]))
            continue;
        size_t columns = tensor->rank > 1 ? tensor->shape[1] : 1;
        float *logical =
            car_allocate(trainer->allocator, tensor->shape[0] * columns + 1, sizeof *logical);
        if (!logical)
            return found;
        car_model_unpack(model, i, packed, logical);
        for (size_t k = 0; k < tensor->shape[0] * columns; k++)
            if (!isfinite(logical[k])) {
                found = i;
                *row = k / columns;
                break;
            }
        car_release(trainer->allocator, logical);
    }
    return found;
}

/* "layer 2 (lstm): gradient of Wf" */
static void describe_tensor(const struct car_model *model, int index, size_t row, const char *what,
                            char *out, size_t size) {
    const car_tensor_place *tensor = &model->tensors[index];
    if (tensor->role == CAR_TENSOR_CELL && tensor->count > 0) {
        size_t units = (size_t)model->layers[tensor->layer].size.units;
        const struct car_cell *cell = model->net->layers[tensor->layer].cell;
        int parameter = tensor->blocks[row / units];
        snprintf(out, size, "layer %d (%.*s)%s: %s %.*s", tensor->layer + 1, NAME_LIMIT, cell->name,
                 tensor->direction ? " backwards" : "", what, NAME_LIMIT,
                 cell->parameters[parameter].name);
    } else {
        snprintf(out, size, "%s %.*s", what, NAME_LIMIT, tensor->name);
    }
}

car_status car_diverged_weights(const car_trainer *trainer, float rate, car_error *error) {
    size_t row = 0;
    char where[192] = "moments of the optimizer";
    int index = find_tensor(trainer, trainer->model->weights, &row);
    if (index >= 0)
        describe_tensor(trainer->model, index, row, "weight", where, sizeof where);
    return car_fail(error, CAR_DIVERGED,
                    "%s: not finite after update %lld with rate %g, which was undone; %s", where,
                    (long long)trainer->updates + 1, rate, ADVICE);
}

/* In one direction of a layer, of all lanes what comes first on the way back. */
static bool find_in_shards(const car_trainer *trainer, int layer, int direction,
                           car_bad_gradient *bad) {
    bool found = false;
    for (int k = 0; k < car_shards_count(trainer->shards); k++) {
        const car_stack *stack = car_shards_stack(trainer->shards, k);
        car_bad_gradient own;
        if (!stack || !car_layer_find_bad_gradient(car_stack_layer(stack, layer, direction), &own))
            continue;
        own.lane = car_shards_lane(trainer->shards, k, own.lane);
        if (!found || (direction ? own.step < bad->step : own.step > bad->step))
            *bad = own;
        found = true;
    }
    return found;
}

/* The highest layer in which a gradient of a preactivation, left by the backward pass, is not finite. */
static bool find_in_backward(const car_trainer *trainer, const car_batch *batch, car_status *status,
                             car_error *error) {
    const struct car_model *model = trainer->model;
    for (int layer = model->net->layer_count - 1; layer >= 0; layer--) {
        if (model->net->layers[layer].kind != CAR_LAYER_CELL)
            continue;
        for (int direction = 0; direction < model->layers[layer].directions; direction++) {
            car_bad_gradient found;
            char where[128], value[NAME_LIMIT + 32];
            if (!find_in_shards(trainer, layer, direction, &found))
                continue;
            snprintf(where, sizeof where, "layer %d (%.*s)%s", layer + 1, NAME_LIMIT,
                     layer_word(model, layer), direction ? " backwards" : "");
            snprintf(value, sizeof value, "the gradient of gate '%.*s'", NAME_LIMIT,
                     found.equation ? found.equation : "");
            bad_place bad = {found.step, found.lane, found.unit, found.value};
            *status = fail_at(trainer, batch, where, value, &bad,
                              "all values of the forward pass are finite; " ADVICE, error);
            return true;
        }
    }
    return false;
}

/* What is left when no value of the forward pass was found (or there was no memory to look for one). */
static car_status explain_gradient(const car_trainer *trainer, const car_batch *batch, double loss,
                                   car_error *error) {
    car_status status = CAR_DIVERGED;
    size_t row = 0;
    char where[192];
    long long update = (long long)trainer->updates + 1;
    if (!isfinite(loss))
        return car_fail(error, CAR_DIVERGED, "update %lld: the loss is %s; " ADVICE, update,
                        number_text((float)loss));
    int index = find_tensor(trainer, trainer->gradient, &row);
    bool in_head = index >= 0 && height(trainer->model, &trainer->model->tensors[index]) >
                                     trainer->model->net->layer_count;
    if (!in_head && find_in_backward(trainer, batch, &status, error))
        return status;
    if (index < 0)
        return car_fail(error, CAR_DIVERGED, "update %lld: the gradient is not finite; " ADVICE,
                        update);
    describe_tensor(trainer->model, index, row, "gradient of", where, sizeof where);
    return car_fail(
        error, CAR_DIVERGED,
        "%s is the first on the way back that is not finite, in update %lld; all values "
        "of the forward pass are finite; " ADVICE,
        where, update);
}

car_status car_diverged_explain(const car_trainer *trainer, const car_batch *batch, double loss,
                                car_error *error) {
    car_status status = CAR_DIVERGED;
    if (find_in_data(trainer, batch, &status, error))
        return status;
    replay again;
    car_random_key key = car_trainer_dropout_key(trainer);
    bool found = false;
    if (begin_replay(&again, trainer, batch) &&
        car_stack_forward(again.stack, batch->steps, batch->lengths, batch->input, &key,
                          trainer->time, NULL) == CAR_OK)
        found =
            find_in_layers(&again, &status, error) || find_in_head(&again, loss, &status, error);
    end_replay(&again);
    return found ? status : explain_gradient(trainer, batch, loss, error);
}
