/*
 * flow.c: how much of the loss's gradient arrives at the states k steps before it.
 *
 * In:  a model, sequences [steps][lanes], what is to be foretold after their last step.
 * Out: |dL/ds(t-k)| of every state s of every layer, k = 1 .. steps, L the loss of the last step t alone; and |dL/dx| of
 *      what was read k steps back (the embedding's row, or the values), k = 0 .. steps-1. For each k the median and the
 *      quartiles over the lanes. With `patch N` a step of the net is N steps of the input, and k counts the net's.
 *
 * Forward a step at a time, the states kept; then back through the same steps one by one, the gradient of the states
 * handed on from step to step (car_stack_backward_onward), so that it can be looked at between any two of them.
 */
#include "inspect.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct car_flow_run {
    car_model *model; /* a copy, with what the backward pass needs */
    const car_batch *batch;
    int lanes;
    bool embed;    /* the input is ids */
    size_t inputs; /* else values of a row */
    int steps;     /* of the net */
    car_stack *stack;
    void *memory;
    float *states;   /* [steps][lanes][state floats] before each step */
    float *gradient; /* [weight floats], not looked at */
    double *norms;   /* [lanes] */
    size_t state_floats;
    car_flow *flow;
} car_flow_run;

static car_status no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY,
                    "no memory for gradients through time; take fewer steps or lanes");
}

static const void *input_of(const car_flow_run *run, int step) {
    size_t row = (size_t)step * (size_t)run->model->net->patch * (size_t)run->lanes;
    if (run->embed)
        return (const int32_t *)run->batch->input + row;
    return (const float *)run->batch->input + row * run->inputs;
}

/* ---- Making room ---------------------------------------------------------------------------------------- */

static bool add_curve(car_flow *flow, int layer, const char *name, bool input, car_arena *arena) {
    car_flow_curve *curve = &flow->curves[flow->curve_count++];
    size_t steps = (size_t)flow->distance;
    double *values = car_arena_allocate(arena, 3 * steps, sizeof *values);
    if (values)
        *curve = (car_flow_curve){.layer = layer,
                                  .name = name,
                                  .input = input,
                                  .median = values,
                                  .low = values + steps,
                                  .high = values + 2 * steps};
    return values != NULL;
}

static bool list_curves(const car_model *model, car_flow *flow, car_arena *arena) {
    const struct car_net *net = model->net;
    size_t most = 1;
    for (int i = 0; i < net->layer_count; i++)
        most +=
            net->layers[i].kind == CAR_LAYER_CELL ? (size_t)net->layers[i].cell->state_count : 0;
    flow->curves = car_arena_allocate(arena, most, sizeof *flow->curves);
    bool there = flow->curves != NULL;
    for (int i = 0; i < net->layer_count && there; i++) {
        const struct car_cell *cell = net->layers[i].cell;
        if (i == 0)
            there = add_curve(flow, i, "x", true, arena);
        for (int s = 0; there && net->layers[i].kind == CAR_LAYER_CELL && s < cell->state_count;
             s++)
            there = add_curve(flow, i, cell->state_names[s], false, arena);
    }
    return there;
}

static car_status open_run(car_flow_run *run, const car_model *model, car_arena *arena,
                           car_error *error) {
    if (model->net->bidirectional)
        return car_fail(
            error, CAR_USAGE,
            "%s: a `bi` layer reads from both ends; gradients k steps back mean nothing",
            model->net->text);
    CAR_TRY(car_model_copy(model, model->allocator, &run->model, error));
    run->model->net->pool = CAR_POOL_EACH; /* the loss stands at the last step either way */
    run->model->input_transposed = true;
    car_model_refresh(run->model, 1);
    car_stack_shape shape = {.batch = run->lanes,
                             .steps = run->model->net->patch,
                             .threads = 1,
                             .backward = true,
                             .input_gradient = true};
    size_t bytes = car_stack_size(run->model, &shape), count;
    run->memory = bytes ? car_allocate(model->allocator, bytes, 1) : NULL;
    if (!run->memory)
        return no_memory(error);
    run->stack = car_stack_place(run->model, &shape, run->memory);
    run->state_floats = car_stack_state_floats(run->stack);
    run->gradient = car_allocate(model->allocator, run->model->weight_floats, sizeof(float));
    run->norms = car_arena_allocate(arena, (size_t)run->lanes, sizeof *run->norms);
    if (!car_multiply((size_t)run->steps * (size_t)run->lanes, run->state_floats, &count))
        return no_memory(error);
    run->states = car_allocate(model->allocator, count + 1, sizeof(float));
    bool there = run->gradient && run->norms && run->states && list_curves(model, run->flow, arena);
    return there ? CAR_OK : no_memory(error);
}

static void close_run(car_flow_run *run) {
    if (!run->model)
        return;
    car_release(run->model->allocator, run->states);
    car_release(run->model->allocator, run->gradient);
    car_release(run->model->allocator, run->memory);
    car_model_free(run->model);
}

/* ---- Forward and back ----------------------------------------------------------------------------------- */

static float *states_before(const car_flow_run *run, int step, int lane) {
    size_t row = (size_t)step * (size_t)run->lanes + (size_t)lane;
    return run->states + row * run->state_floats;
}

static car_status forward(const car_flow_run *run, int step, car_error *error) {
    return car_stack_forward(run->stack, run->model->net->patch, NULL, input_of(run, step), NULL, 0,
                             error);
}

static car_status run_forward(const car_flow_run *run, car_error *error) {
    car_stack_reset(run->stack, -1);
    for (int step = 0; step < run->steps; step++) {
        for (int lane = 0; lane < run->lanes; lane++)
            car_stack_get_state(run->stack, lane, states_before(run, step, lane));
        CAR_TRY(forward(run, step, error));
        car_stack_carry(run->stack);
    }
    return CAR_OK;
}

/* Norms over the units of rows [lanes][padded units]; the loss is a mean over the lanes, so times their number. */
static void note_norms(const car_flow_run *run, const float *rows, int units, car_flow_curve *curve,
                       int index) {
    int lanes = run->lanes;
    for (int lane = 0; lane < lanes; lane++) {
        const float *row = rows + (size_t)lane * (size_t)car_padded(units);
        double sum = 0;
        for (int unit = 0; unit < units; unit++)
            sum += (double)row[unit] * (double)row[unit];
        run->norms[lane] = lanes * sqrt(sum);
    }
    qsort(run->norms, (size_t)lanes, sizeof *run->norms, car_order_doubles);
    curve->low[index] = run->norms[lanes / 4];
    curve->median[index] = (run->norms[(lanes - 1) / 2] + run->norms[lanes / 2]) / 2;
    curve->high[index] = run->norms[(3 * lanes) / 4];
}

static void note_step(const car_flow_run *run, int index) {
    int state = 0, layer = -1;
    for (int i = 0; i < run->flow->curve_count; i++) {
        car_flow_curve *curve = &run->flow->curves[i];
        const car_layer_sizes *size = &run->model->layers[curve->layer].size;
        if (curve->input) {
            note_norms(run, car_stack_input_gradient(run->stack),
                       run->embed ? size->units : size->input, curve, index);
            continue;
        }
        state = curve->layer == layer ? state + 1 : 0;
        layer = curve->layer;
        note_norms(run, car_stack_state_gradient(run->stack, layer, state), size->units, curve,
                   index);
    }
}

static car_status run_back(const car_flow_run *run, car_error *error) {
    int steps = run->steps;
    size_t top = (size_t)run->lanes * (size_t)car_padded(run->model->head_depth);
    int64_t counted;
    for (int step = steps - 1; step >= 0; step--) {
        for (int lane = 0; lane < run->lanes; lane++)
            car_stack_set_state(run->stack, lane, states_before(run, step, lane));
        CAR_TRY(forward(run, step, error));
        if (step == steps - 1) {
            CAR_TRY(car_stack_loss(run->stack, run->batch->target, run->gradient, &run->flow->loss,
                                   &counted, error));
            run->flow->loss /= counted > 0 ? (double)counted : 1;
            car_stack_backward(run->stack, input_of(run, step), run->gradient);
        } else {
            memset(car_stack_top_gradient(run->stack), 0, top * sizeof(float));
            car_stack_backward_onward(run->stack, input_of(run, step), run->gradient);
        }
        note_step(run, steps - 1 - step);
    }
    return CAR_OK;
}

car_status car_model_flow(const car_model *model, const car_batch *batch, int lanes,
                          car_arena *arena, car_flow *flow, car_error *error) {
    car_flow_run run = {.batch = batch,
                        .lanes = lanes,
                        .embed = model->net->layers[0].kind == CAR_LAYER_EMBED,
                        .inputs = (size_t)model->input_size,
                        .steps = batch->steps / model->net->patch,
                        .flow = flow};
    *flow = (car_flow){.distance = run.steps, .lanes = lanes, .patch = model->net->patch};
    car_status status = open_run(&run, model, arena, error);
    if (status == CAR_OK)
        status = run_forward(&run, error);
    if (status == CAR_OK)
        status = run_back(&run, error);
    close_run(&run);
    return status;
}
