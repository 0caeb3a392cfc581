/*
 * reading.c: what the values of one layer are at one step of a model's input.
 *
 * In: a model whose net starts with embed, token ids. Out: for every equation of the layer's cell its mean, its mean
 * size and the shares near 0 and 1, over the units, after the last id.
 *
 * The layer gets a plan that stores every named value ("taps"); the rest of the model is as it is. One lane, one step
 * at a time, so a text of any length takes the memory of one step.
 */
#include "inspect.h"
#include <math.h>

typedef struct car_probe {
    const car_model *model;
    struct car_model tapped; /* the model, but for `layers` */
    car_plan *plan;
    const char **names; /* [count] */
    int layer, count;
    void *memory;
    car_stack *stack;
} car_probe;

static void close_probe(car_probe *probe) {
    car_release(probe->model->allocator, probe->memory);
    car_plan_free(probe->plan);
}

/* The named values that are computed in the step. */
static int list_names(const car_graph *graph, const char **names) {
    int count = 0;
    for (int i = 0; i < graph->count; i++)
        if (graph->names[i] && graph->nodes[i].op > CAR_OP_VECTOR)
            names[count++] = graph->names[i];
    return count;
}

static car_status open_probe(car_probe *probe, const car_model *model, int layer, car_arena *arena,
                             car_error *error) {
    const struct car_cell *cell = model->net->layers[layer].cell;
    size_t layers = (size_t)model->net->layer_count;
    *probe = (car_probe){.model = model, .tapped = *model, .layer = layer};
    car_model_layer *copies = car_arena_allocate(arena, layers, sizeof *copies);
    probe->names = car_arena_allocate(arena, (size_t)cell->graph.count, sizeof *probe->names);
    if (!copies || !probe->names)
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    for (size_t i = 0; i < layers; i++)
        copies[i] = model->layers[i];
    probe->count = list_names(&cell->graph, probe->names);
    const car_plan *plain = model->layers[layer].plan;
    car_plan_options options = {.emitted = car_emitted_of(model->kernels->level),
                                .tap_count = probe->count,
                                .taps = probe->names};
    CAR_TRY(car_plan_create(cell, car_plan_input(plain), car_plan_units(plain), &options,
                            model->allocator, &probe->plan, error));
    copies[layer].plan = probe->plan;
    probe->tapped.layers = copies;
    car_stack_shape shape = {.batch = 1, .steps = 1, .threads = 1};
    size_t size = car_stack_size(&probe->tapped, &shape);
    probe->memory = size ? car_allocate(model->allocator, size, 1) : NULL;
    if (!probe->memory)
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    probe->stack = car_stack_place(&probe->tapped, &shape, probe->memory);
    car_stack_reset(probe->stack, -1);
    return CAR_OK;
}

static car_reading read_tap(const car_probe *probe, int tap) {
    car_vector_slot slot = car_layer_tap(car_stack_layer(probe->stack, probe->layer, 0), tap, 0);
    int units = probe->model->layers[probe->layer].size.units;
    car_reading reading = {.name = probe->names[tap]};
    for (int unit = 0; unit < units; unit++) {
        double value = slot.block_stride == 0
                           ? slot.base[0]
                           : slot.base[unit / CAR_BLOCK * slot.block_stride + unit % CAR_BLOCK];
        reading.mean += value / units;
        reading.size += fabs(value) / units;
        reading.closed += (value < 0.1) / (double)units;
        reading.open += (value > 0.9) / (double)units;
    }
    return reading;
}

static car_status check_model(const car_model *model, int layer, car_error *error) {
    const struct car_net *net = model->net;
    if (net->layer_count == 0 || net->layers[0].kind != CAR_LAYER_EMBED)
        return car_fail(error, CAR_USAGE,
                        "%s: a net that reads no text; its first layer is no embed", net->text);
    if (net->bidirectional)
        return car_fail(error, CAR_USAGE,
                        "%s: a `bi` layer reads from both ends; one step has no value of its own",
                        net->text);
    if (layer < 0 || layer >= net->layer_count || net->layers[layer].kind != CAR_LAYER_CELL)
        return car_fail(error, CAR_USAGE, "layer %d of %s is no cell", layer + 1, net->text);
    return CAR_OK;
}

car_status car_model_read_step(const car_model *model, int layer, const int32_t *ids, size_t count,
                               car_arena *arena, const car_reading **readings, int *reading_count,
                               car_error *error) {
    car_probe probe;
    *readings = NULL;
    *reading_count = 0;
    CAR_TRY(check_model(model, layer, error));
    car_status status = open_probe(&probe, model, layer, arena, error);
    for (size_t i = 0; i < count && status == CAR_OK; i++) {
        if (i > 0)
            car_stack_carry(probe.stack);
        status = car_stack_forward(probe.stack, 1, NULL, &ids[i], NULL, i, error);
    }
    car_reading *made =
        status == CAR_OK ? car_arena_allocate(arena, (size_t)probe.count + 1, sizeof *made) : NULL;
    if (status == CAR_OK && !made)
        status = car_fail(error, CAR_MEMORY, "no memory to look into the model");
    for (int tap = 0; status == CAR_OK && tap < probe.count; tap++)
        made[tap] = read_tap(&probe, tap);
    *readings = made;
    *reading_count = status == CAR_OK ? probe.count : 0;
    close_probe(&probe);
    return status;
}
