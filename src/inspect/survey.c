/*
 * survey.c: gates and memory of a model, counted over a text.
 *
 * In: a model, token ids or a batch of sequences. Out: for every layer's gates the share of values near 0 and near 1, a histogram, means of
 * every unit; for every state on a belt how long each unit keeps it. One belt step multiplies the state by the product
 * a of the factors on it; after k steps prod(a) is left, so the half-life is ln 2 / -mean(ln a), the mean over steps.
 */
#include "figure.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FACTOR_LIMIT = 16, DEPTH_LIMIT = 24 };
static const double SMALLEST_FACTOR =
    1e-12; /* so that one shut gate counts much but not without bound */

typedef struct car_factor_list {
    int state, count, nodes[FACTOR_LIMIT];
    double *log_sum; /* [units] */
} car_factor_list;

typedef struct car_surveyor {
    car_probe *probe;
    car_layer_survey *layer;
    int *gate_taps;           /* [gates] */
    int *node_taps;           /* [nodes] tap, -1: none */
    car_factor_list *factors; /* [memories] */
} car_surveyor;

/* ---- What multiplies a state ---------------------------------------------------------------------------- */

/* Can this node be had from named values, numbers and what is made of them? */
static bool can_evaluate(const car_surveyor *surveyor, int node, int depth) {
    const car_node *here = &surveyor->layer->cell->graph.nodes[node];
    if (surveyor->node_taps[node] >= 0 || here->op == CAR_OP_CONSTANT)
        return true;
    bool simple = (here->op >= CAR_OP_ADD && here->op <= CAR_OP_SIGMOID) ||
                  here->op == CAR_OP_TANH || here->op == CAR_OP_EXP;
    return simple && depth < DEPTH_LIMIT && can_evaluate(surveyor, here->a, depth + 1) &&
           (here->b < 0 || can_evaluate(surveyor, here->b, depth + 1));
}

static double evaluate(const car_surveyor *surveyor, int node, int unit) {
    const car_node *here = &surveyor->layer->cell->graph.nodes[node];
    int tap = surveyor->node_taps[node];
    if (tap >= 0)
        return car_probe_value(surveyor->probe, surveyor->layer->layer, tap, unit);
    if (here->op == CAR_OP_CONSTANT)
        return here->value;
    double a = evaluate(surveyor, here->a, unit),
           b = here->b >= 0 ? evaluate(surveyor, here->b, unit) : 0;
    switch (here->op) {
    case CAR_OP_ADD:
        return a + b;
    case CAR_OP_SUBTRACT:
        return a - b;
    case CAR_OP_MULTIPLY:
        return a * b;
    case CAR_OP_DIVIDE:
        return a / b;
    case CAR_OP_NEGATE:
        return -a;
    case CAR_OP_SIGMOID:
        return 1 / (1 + exp(-a));
    case CAR_OP_TANH:
        return tanh(a);
    default:
        return exp(a);
    }
}

/* The part of a belt that `number` feeds, -1: its end; *feed is the place it takes. */
static int follow_belt(const car_figure *figure, int number, int belt, int *feed) {
    for (int i = 0; i < figure->count; i++)
        for (*feed = 0; *feed < figure->parts[i].feed_count; ++*feed)
            if (figure->parts[i].belt == belt && figure->parts[i].kind != CAR_PART_NEXT &&
                figure->parts[i].feeds[*feed].part == number)
                return i;
    return -1;
}

/* The factors of one belt; false: it does more than multiply and add. */
static bool list_factors(const car_surveyor *surveyor, const car_figure *figure, int belt,
                         car_factor_list *list) {
    const car_graph *graph = &surveyor->layer->cell->graph;
    int at = 0, feed;
    while (figure->parts[at].kind != CAR_PART_STATE || figure->parts[at].belt != belt)
        at++;
    list->state = figure->parts[at].state;
    for (int next = follow_belt(figure, at, belt, &feed); next >= 0;
         at = next, next = follow_belt(figure, at, belt, &feed)) {
        const car_node *node = &graph->nodes[figure->parts[next].node];
        if (figure->parts[next].kind != CAR_PART_STEP)
            return false;
        if (node->op == CAR_OP_ADD || (node->op == CAR_OP_SUBTRACT && feed == 0))
            continue;
        int factor = feed == 0 ? node->b : node->a;
        if (node->op != CAR_OP_MULTIPLY || list->count == FACTOR_LIMIT ||
            !can_evaluate(surveyor, factor, 0))
            return false;
        list->nodes[list->count++] = factor;
    }
    return true;
}

/* ---- Making room ---------------------------------------------------------------------------------------- */

static bool open_memories(car_surveyor *surveyor, car_arena *arena) {
    car_layer_survey *layer = surveyor->layer;
    size_t units = (size_t)layer->units;
    car_figure figure;
    car_error ignored;
    if (car_figure_read(&figure, layer->cell, arena, &ignored) != CAR_OK)
        return ignored.status != CAR_MEMORY; /* too large for a figure: no belts are known */
    if (!car_layout_prepare(&figure))
        return false;
    size_t belts = (size_t)figure.belt_count;
    layer->memories = car_arena_allocate(arena, belts + 1, sizeof *layer->memories);
    surveyor->factors = car_arena_allocate(arena, belts + 1, sizeof *surveyor->factors);
    if (!layer->memories || !surveyor->factors)
        return false;
    for (int belt = figure.belt_count - 1; belt >= 0; belt--) {
        car_factor_list *list = &surveyor->factors[layer->memory_count];
        *list = (car_factor_list){.count = 0};
        if (!list_factors(surveyor, &figure, belt, list))
            continue;
        car_memory_survey *memory = &layer->memories[layer->memory_count++];
        memory->name = layer->cell->state_names[list->state];
        memory->half_life = car_arena_allocate(arena, units, sizeof *memory->half_life);
        list->log_sum = car_arena_allocate(arena, units, sizeof *list->log_sum);
        if (!memory->half_life || !list->log_sum)
            return false;
    }
    return true;
}

static bool open_gates(car_surveyor *surveyor, car_arena *arena) {
    car_layer_survey *layer = surveyor->layer;
    const struct car_cell *cell = layer->cell;
    size_t units = (size_t)layer->units, gates = (size_t)cell->gate_count;
    layer->gates = car_arena_allocate(arena, gates + 1, sizeof *layer->gates);
    surveyor->gate_taps = car_arena_allocate(arena, gates + 1, sizeof *surveyor->gate_taps);
    if (!layer->gates || !surveyor->gate_taps)
        return false;
    for (int g = 0; g < cell->gate_count; g++) {
        const char *name = cell->graph.names[cell->gates[g]];
        int tap = car_probe_find(surveyor->probe, layer->layer, name);
        if (tap < 0)
            continue;
        surveyor->gate_taps[layer->gate_count] = tap;
        car_gate_survey *gate = &layer->gates[layer->gate_count++];
        gate->name = name;
        gate->unit_mean = car_arena_allocate(arena, units, sizeof *gate->unit_mean);
        gate->unit_closed = car_arena_allocate(arena, units, sizeof *gate->unit_closed);
        gate->unit_open = car_arena_allocate(arena, units, sizeof *gate->unit_open);
        if (!gate->unit_mean || !gate->unit_closed || !gate->unit_open)
            return false;
    }
    return true;
}

static bool open_layer(car_surveyor *surveyor, car_probe *probe, const car_model *model, int number,
                       bool backwards, car_layer_survey *layer, car_arena *arena) {
    const struct car_cell *cell = model->net->layers[number].cell;
    *surveyor = (car_surveyor){.probe = probe, .layer = layer};
    *layer = (car_layer_survey){.layer = number,
                                .units = model->layers[number].size.units,
                                .backwards = backwards,
                                .cell = cell};
    surveyor->node_taps =
        car_arena_allocate(arena, (size_t)cell->graph.count, sizeof *surveyor->node_taps);
    if (!surveyor->node_taps)
        return false;
    for (int node = 0; node < cell->graph.count; node++)
        surveyor->node_taps[node] = cell->graph.nodes[node].op > CAR_OP_VECTOR
                                        ? car_probe_find(probe, number, cell->graph.names[node])
                                        : -1;
    return open_gates(surveyor, arena) && open_memories(surveyor, arena);
}

/* ---- Counting ------------------------------------------------------------------------------------------- */

static void count_step(const car_surveyor *surveyor) {
    car_layer_survey *layer = surveyor->layer;
    for (int g = 0; g < layer->gate_count; g++)
        for (int unit = 0; unit < layer->units; unit++) {
            car_gate_survey *gate = &layer->gates[g];
            double value =
                car_probe_value(surveyor->probe, layer->layer, surveyor->gate_taps[g], unit);
            int bin = value > 0 ? (int)fmin(value * CAR_SURVEY_BINS, CAR_SURVEY_BINS - 1) : 0;
            gate->shares[bin]++;
            gate->unit_mean[unit] += value;
            gate->unit_closed[unit] += value < 0.1;
            gate->unit_open[unit] += value > 0.9;
        }
    for (int m = 0; m < layer->memory_count; m++)
        for (int unit = 0; unit < layer->units; unit++) {
            const car_factor_list *list = &surveyor->factors[m];
            double factor = 1;
            for (int k = 0; k < list->count; k++)
                factor *= evaluate(surveyor, list->nodes[k], unit);
            list->log_sum[unit] += log(fmax(fabs(factor), SMALLEST_FACTOR));
        }
}

static void finish_gate(car_gate_survey *gate, int units, int64_t steps) {
    double values = (double)units * (double)steps;
    for (int bin = 0; bin < CAR_SURVEY_BINS; bin++)
        gate->shares[bin] /= values;
    for (int unit = 0; unit < units; unit++) {
        gate->mean += gate->unit_mean[unit] / values;
        gate->closed += gate->unit_closed[unit] / values;
        gate->open += gate->unit_open[unit] / values;
        gate->unit_mean[unit] /= (double)steps;
        gate->unit_closed[unit] /= (double)steps;
        gate->unit_open[unit] /= (double)steps;
    }
}

static bool finish_memory(car_memory_survey *memory, const car_factor_list *list, int units,
                          int64_t steps, car_arena *arena) {
    double *sorted = car_arena_allocate(arena, (size_t)units, sizeof *sorted);
    if (!sorted)
        return false;
    for (int unit = 0; unit < units; unit++) {
        double decay = -list->log_sum[unit] / (double)steps;
        memory->half_life[unit] = decay > 1e-9 ? log(2) / decay : INFINITY;
        memory->beyond_hundred += (memory->half_life[unit] > 100) / (double)units;
        sorted[unit] = memory->half_life[unit];
    }
    qsort(sorted, (size_t)units, sizeof *sorted, car_order_doubles);
    memory->low = sorted[units / 4];
    memory->median = sorted[units / 2];
    memory->high = sorted[3 * units / 4];
    return true;
}

static bool finish_layer(const car_surveyor *surveyor, int64_t steps, car_arena *arena) {
    car_layer_survey *layer = surveyor->layer;
    bool done = true;
    for (int g = 0; g < layer->gate_count; g++)
        finish_gate(&layer->gates[g], layer->units, steps);
    for (int m = 0; m < layer->memory_count; m++)
        done &=
            finish_memory(&layer->memories[m], &surveyor->factors[m], layer->units, steps, arena);
    return done;
}

/* What is read: ids one after the other, or the sequences of a batch. */
typedef struct car_survey_source {
    const int32_t *ids;
    size_t count; /* of ids */
    const car_batch *batch;
    size_t lanes;
} car_survey_source;

static void count_all(const car_surveyor *surveyors, int step, car_survey *survey) {
    for (int k = 0; k < survey->layer_count; k++) {
        car_probe_look(surveyors[k].probe, step, surveyors[k].layer->backwards);
        count_step(&surveyors[k]);
    }
    survey->steps++;
}

static car_status read_ids(car_probe *probe, const car_survey_source *source,
                           const car_surveyor *surveyors, car_survey *survey, car_error *error) {
    for (size_t i = 0; i < source->count; i++) {
        CAR_TRY(car_probe_step(probe, source->ids[i], error));
        count_all(surveyors, 0, survey);
    }
    return CAR_OK;
}

/* Ids are as large as values, and are copied as they are. */
static car_status read_lanes(car_probe *probe, const car_model *model,
                             const car_survey_source *source, const car_surveyor *surveyors,
                             car_arena *arena, car_survey *survey, car_error *error) {
    const car_batch *batch = source->batch;
    bool ids = model->net->layers[0].kind == CAR_LAYER_EMBED;
    size_t width = ids ? 1 : (size_t)model->input_size;
    const float *input = batch->input;
    float *sequence = car_arena_allocate(arena, (size_t)batch->steps * width, sizeof *sequence);
    if (!sequence)
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    for (size_t lane = 0; lane < source->lanes; lane++) {
        int steps = batch->lengths ? batch->lengths[lane] : batch->steps;
        for (size_t step = 0; step < (size_t)steps; step++)
            memcpy(sequence + step * width, input + (step * source->lanes + lane) * width,
                   width * sizeof *sequence);
        CAR_TRY(car_probe_read_whole(probe, sequence, steps, error));
        for (int step = 0; step < steps / model->net->patch; step++)
            count_all(surveyors, step, survey);
    }
    return CAR_OK;
}

static bool open_layers(car_surveyor *surveyors, car_probe *probe, const car_model *model,
                        car_survey *survey, car_arena *arena) {
    bool memory = true;
    for (int i = 0; i < model->net->layer_count; i++)
        for (int d = 0; model->net->layers[i].kind == CAR_LAYER_CELL &&
                        d < model->layers[i].directions && memory;
             d++) {
            int next = survey->layer_count++;
            memory =
                open_layer(&surveyors[next], probe, model, i, d == 1, &survey->layers[next], arena);
        }
    return memory;
}

static car_status run_survey(car_probe *probe, const car_model *model,
                             const car_survey_source *source, car_arena *arena, car_survey *survey,
                             car_error *error) {
    size_t layers = 2 * (size_t)model->net->layer_count;
    car_surveyor *surveyors = car_arena_allocate(arena, layers, sizeof *surveyors);
    survey->layers = car_arena_allocate(arena, layers, sizeof *survey->layers);
    if (!surveyors || !survey->layers || !open_layers(surveyors, probe, model, survey, arena))
        return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    if (source->batch)
        CAR_TRY(read_lanes(probe, model, source, surveyors, arena, survey, error));
    else
        CAR_TRY(read_ids(probe, source, surveyors, survey, error));
    for (int k = 0; k < survey->layer_count; k++)
        if (!finish_layer(&surveyors[k], survey->steps, arena))
            return car_fail(error, CAR_MEMORY, "no memory to look into the model");
    return CAR_OK;
}

static car_status survey_source(const car_model *model, const car_survey_source *source,
                                car_arena *arena, car_survey *survey, car_error *error) {
    car_probe *probe;
    *survey = (car_survey){.steps = 0};
    CAR_TRY(source->batch ? car_probe_open_whole(model, source->batch->steps, arena, &probe, error)
                          : car_probe_open(model, arena, &probe, error));
    car_status status = run_survey(probe, model, source, arena, survey, error);
    car_probe_close(probe);
    return status;
}

car_status car_model_survey(const car_model *model, const int32_t *ids, size_t count,
                            car_arena *arena, car_survey *survey, car_error *error) {
    const car_survey_source source = {.ids = ids, .count = count};
    return survey_source(model, &source, arena, survey, error);
}

car_status car_model_survey_batch(const car_model *model, const car_batch *batch, int lanes,
                                  car_arena *arena, car_survey *survey, car_error *error) {
    const car_survey_source source = {.batch = batch, .lanes = (size_t)lanes};
    return survey_source(model, &source, arena, survey, error);
}
