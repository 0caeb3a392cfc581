/*
 * reading.c: the values inside a model while it reads.
 *
 * In: a model whose net starts with embed, token ids. Out: every named value of every cell, after each id; for one
 * layer and the last id their means, sizes and shares near 0 and 1 over the units.
 *
 * The layers get plans that store every named value ("taps"); the weights are the model's own. One lane: one step at
 * a time, so a text of any length takes the memory of one step, or a whole sequence at once, as `bi` layers need it.
 */
#include "inspect.h"
#include <math.h>
#include <string.h>

typedef struct car_tapped_layer {
    car_plan *plan;
    const char **names; /* [count] */
    int count;
} car_tapped_layer;

struct car_probe {
    const car_model *model;
    struct car_model tapped;  /* the model, but for `layers` */
    car_tapped_layer *layers; /* [layer_count]; no plan where the layer is no cell */
    void *memory;
    car_stack *stack;
    uint64_t time;
    int step, direction; /* where values are looked at, in what was read last */
};

void car_probe_close(car_probe *probe) {
    if (!probe)
        return;
    car_release(probe->model->allocator, probe->memory);
    for (int i = 0; probe->layers && i < probe->model->net->layer_count; i++)
        car_plan_free(probe->layers[i].plan);
}

/* The named values that are computed in the step. */
static int list_names(const car_graph *graph, const char **names) {
    int count = 0;
    for (int i = 0; i < graph->count; i++)
        if (graph->names[i] && graph->nodes[i].op > CAR_OP_VECTOR)
            names[count++] = graph->names[i];
    return count;
}

static car_status tap_layer(car_probe *probe, int number, car_model_layer *copy, car_arena *arena,
                            car_error *error) {
    const car_model *model = probe->model;
    const struct car_cell *cell = model->net->layers[number].cell;
    car_tapped_layer *layer = &probe->layers[number];
    layer->names = car_arena_allocate(arena, (size_t)cell->graph.count, sizeof *layer->names);
    if (!layer->names)
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    layer->count = list_names(&cell->graph, layer->names);
    const car_plan *plain = model->layers[number].plan;
    car_plan_options options = {.precision = model->precision,
                                .emitted = car_emitted_of(model->kernels->level),
                                .tap_count = layer->count,
                                .taps = layer->names};
    CAR_TRY(car_plan_create(cell, car_plan_input(plain), car_plan_units(plain), &options,
                            model->allocator, &layer->plan, error));
    copy->plan = layer->plan;
    return CAR_OK;
}

static car_status tap_layers(car_probe *probe, int steps, car_arena *arena, car_error *error) {
    const car_model *model = probe->model;
    size_t count = (size_t)model->net->layer_count;
    car_model_layer *copies = car_arena_allocate(arena, count, sizeof *copies);
    probe->layers = car_arena_allocate(arena, count, sizeof *probe->layers);
    if (!copies || !probe->layers)
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    for (size_t i = 0; i < count; i++) {
        copies[i] = model->layers[i];
        if (model->net->layers[i].kind == CAR_LAYER_CELL)
            CAR_TRY(tap_layer(probe, (int)i, &copies[i], arena, error));
    }
    probe->tapped.layers = copies;
    car_stack_shape shape = {.batch = 1, .steps = steps, .threads = 1};
    size_t size = car_stack_size(&probe->tapped, &shape);
    probe->memory = size ? car_allocate(model->allocator, size, 1) : NULL;
    if (!probe->memory)
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    probe->stack = car_stack_place(&probe->tapped, &shape, probe->memory);
    car_stack_reset(probe->stack, -1);
    return CAR_OK;
}

car_status car_probe_open(const car_model *model, car_arena *arena, car_probe **probe,
                          car_error *error) {
    const struct car_net *net = model->net;
    *probe = NULL;
    if (net->layer_count == 0 || net->layers[0].kind != CAR_LAYER_EMBED)
        return car_fail(error, CAR_USAGE,
                        "%s: a net that reads no text; its first layer is no embed", net->text);
    if (net->bidirectional)
        return car_fail(error, CAR_USAGE,
                        "%s: a `bi` layer reads from both ends; one step has no value of its own",
                        net->text);
    return car_probe_open_whole(model, 1, arena, probe, error);
}

car_status car_probe_open_whole(const car_model *model, int steps, car_arena *arena,
                                car_probe **probe, car_error *error) {
    *probe = NULL;
    car_probe *made = car_arena_allocate(arena, 1, sizeof *made);
    if (!made)
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    *made = (car_probe){.model = model, .tapped = *model};
    car_status status = tap_layers(made, steps, arena, error);
    if (status == CAR_OK)
        *probe = made;
    else
        car_probe_close(made);
    return status;
}

car_status car_probe_step(car_probe *probe, int32_t id, car_error *error) {
    if (probe->time > 0)
        car_stack_carry(probe->stack);
    return car_stack_forward(probe->stack, 1, NULL, &id, NULL, probe->time++, error);
}

car_status car_probe_read_whole(car_probe *probe, const void *input, int steps, car_error *error) {
    car_stack_reset(probe->stack, -1);
    return car_stack_forward(probe->stack, steps, NULL, input, NULL, 0, error);
}

void car_probe_look(car_probe *probe, int step, int direction) {
    probe->step = step;
    probe->direction = direction;
}

int car_probe_find(const car_probe *probe, int layer, const char *name) {
    for (int i = 0; name && i < probe->layers[layer].count; i++)
        if (strcmp(probe->layers[layer].names[i], name) == 0)
            return i;
    return -1;
}

double car_probe_value(const car_probe *probe, int layer, int tap, int unit) {
    const car_layer *read = car_stack_layer(probe->stack, layer, probe->direction);
    car_vector_slot slot = car_layer_tap(read, tap, probe->step);
    return slot.block_stride == 0
               ? slot.base[0]
               : slot.base[unit / CAR_BLOCK * slot.block_stride + unit % CAR_BLOCK];
}

/* ---- The values after one step ------------------------------------------------------------------------- */

static car_reading read_tap(const car_probe *probe, int layer, int tap) {
    int units = probe->model->layers[layer].size.units;
    car_reading reading = {.name = probe->layers[layer].names[tap]};
    for (int unit = 0; unit < units; unit++) {
        double value = car_probe_value(probe, layer, tap, unit);
        reading.mean += value / units;
        reading.size += fabs(value) / units;
        reading.closed += (value < 0.1) / (double)units;
        reading.open += (value > 0.9) / (double)units;
    }
    return reading;
}

/* Reads the ids; the readings of the last `steps` of them follow each other. */
static car_status read_steps(car_probe *probe, int layer, const int32_t *ids, size_t count,
                             int steps, car_reading *readings, car_error *error) {
    int taps = probe->layers[layer].count;
    for (size_t i = 0; i < count; i++) {
        CAR_TRY(car_probe_step(probe, ids[i], error));
        for (int tap = 0; i + (size_t)steps >= count && tap < taps; tap++)
            *readings++ = read_tap(probe, layer, tap);
    }
    return CAR_OK;
}

car_status car_model_read_steps(const car_model *model, int layer, const int32_t *ids, size_t count,
                                int steps, car_arena *arena, const car_reading **readings,
                                int *reading_count, car_error *error) {
    const struct car_net *net = model->net;
    car_probe *probe;
    *readings = NULL;
    *reading_count = 0;
    if (layer < 0 || layer >= net->layer_count || net->layers[layer].kind != CAR_LAYER_CELL)
        return car_fail(error, CAR_USAGE, "layer %d of %s is no cell", layer + 1, net->text);
    CAR_TRY(car_probe_open(model, arena, &probe, error));
    if (!probe)
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    size_t taps = (size_t)probe->layers[layer].count;
    car_reading *made = car_arena_allocate(arena, taps * (size_t)steps + 1, sizeof *made);
    car_status status = made ? read_steps(probe, layer, ids, count, steps, made, error)
                             : car_fail(error, CAR_MEMORY, "no memory to look into the model");
    *readings = made;
    *reading_count = status == CAR_OK ? (int)taps : 0;
    car_probe_close(probe);
    return status;
}
