/*
 * freeze.c: how much a model needs each gate: the loss with the gate held at 0 or at 1, all else as it is.
 *
 * In:  a model, batches with their targets. Out: its loss over them, and that with each gate of each layer frozen.
 *
 * A frozen gate is a plan with the gate's value replaced by a constant (car_override); the weights are the model's own.
 * The loss that is added is the gate's importance. The net has not been trained to do without the gate.
 */
#include "inspect.h"
#include <math.h>

typedef struct car_freeze_run {
    const car_model *model;
    const car_fit_source *source;
    car_stack_shape shape;
} car_freeze_run;

/* The mean loss of a model over all batches. */
static car_status judge(const car_freeze_run *run, const car_model *model, double *loss,
                        int64_t *targets, car_error *error) {
    size_t bytes = car_stack_size(model, &run->shape);
    void *memory = bytes ? car_allocate(model->allocator, bytes, 1) : NULL;
    if (!memory)
        return car_fail(error, CAR_MEMORY, "no memory to run the model with a frozen gate");
    car_stack *stack = car_stack_place(model, &run->shape, memory);
    car_status status = CAR_OK;
    double sum = 0, part;
    int64_t counted;
    *targets = 0;
    for (int64_t i = 0; i < run->source->updates_per_epoch && status == CAR_OK; i++) {
        car_batch batch;
        status = run->source->batch(run->source->context, 0, i, &batch, error);
        if (status == CAR_OK && (i == 0 || batch.reset))
            car_stack_reset(stack, -1);
        else if (status == CAR_OK)
            car_stack_carry(stack);
        if (status == CAR_OK)
            status =
                car_stack_forward(stack, batch.steps, batch.lengths, batch.input, NULL, 0, error);
        if (status == CAR_OK)
            status = car_stack_loss(stack, batch.target, NULL, &part, &counted, error);
        if (status == CAR_OK) {
            sum += part;
            *targets += counted;
        }
    }
    *loss = *targets > 0 ? sum / (double)*targets : NAN;
    car_release(model->allocator, memory);
    return status;
}

static car_status judge_frozen(const car_freeze_run *run, int layer, const char *gate, double value,
                               car_model_layer *copies, double *loss, car_error *error) {
    const car_model *model = run->model;
    const car_override override = {gate, value};
    const car_plan_options options = {.precision = model->precision,
                                      .emitted = car_emitted_of(model->kernels->level),
                                      .override_count = 1,
                                      .overrides = &override};
    struct car_model frozen = *model;
    car_plan *plan, *kept = copies[layer].plan;
    int64_t targets;
    CAR_TRY(car_plan_create(model->net->layers[layer].cell, car_plan_input(kept),
                            car_plan_units(kept), &options, model->allocator, &plan, error));
    copies[layer].plan = plan;
    frozen.layers = copies;
    car_status status = judge(run, &frozen, loss, &targets, error);
    copies[layer].plan = kept;
    car_plan_free(plan);
    return status;
}

static car_status freeze_gates(const car_freeze_run *run, car_model_layer *copies,
                               car_freezing *freezing, car_error *error) {
    const struct car_net *net = run->model->net;
    for (int i = 0; i < net->layer_count; i++) {
        const struct car_cell *cell = net->layers[i].cell;
        for (int g = 0; net->layers[i].kind == CAR_LAYER_CELL && g < cell->gate_count; g++) {
            car_freeze *freeze = &freezing->gates[freezing->count++];
            *freeze = (car_freeze){.layer = i, .gate = cell->graph.names[cell->gates[g]]};
            for (int value = 0; value < 2; value++)
                CAR_TRY(
                    judge_frozen(run, i, freeze->gate, value, copies, &freeze->loss[value], error));
        }
    }
    return CAR_OK;
}

car_status car_model_freeze(const car_model *model, const car_fit_source *source, int lanes,
                            int steps, car_arena *arena, car_freezing *freezing, car_error *error) {
    const struct car_net *net = model->net;
    const car_freeze_run run = {model, source, {.batch = lanes, .steps = steps, .threads = 1}};
    size_t gates = 1, layers = (size_t)net->layer_count;
    *freezing = (car_freezing){.count = 0};
    for (size_t i = 0; i < layers; i++)
        gates +=
            net->layers[i].kind == CAR_LAYER_CELL ? (size_t)net->layers[i].cell->gate_count : 0;
    car_model_layer *copies = car_arena_allocate(arena, layers + 1, sizeof *copies);
    freezing->gates = car_arena_allocate(arena, gates, sizeof *freezing->gates);
    if (!copies || !freezing->gates)
        return car_fail(error, CAR_MEMORY, "no memory to run the model with a frozen gate");
    for (size_t i = 0; i < layers; i++)
        copies[i] = model->layers[i];
    CAR_TRY(judge(&run, model, &freezing->loss, &freezing->targets, error));
    return freeze_gates(&run, copies, freezing, error);
}
