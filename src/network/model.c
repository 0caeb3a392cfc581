/*
 * model: a net with sizes and weights.
 *
 * In:  a net, input and output size. Out: plans, and one flat array of packed weights:
 *
 *   embedding [input_size][padded units] | layer 0 forward, reverse | layer 1 ... | head panels | head bias
 *
 * each on a 64-byte boundary; a tied embedding has no place of its own, its rows are the head's columns. Moments and
 * gradients use the same offsets. The transposed copies for the backward pass are a second array, which only
 * the models of trainers have: what a layer's plan asks for, then the head as panels of 64 of its inputs, each
 * [output_size][64].
 *
 * In bf16 these weights stay the masters; layers and head run on a third array, their copy rounded to bf16, and
 * the transposed copies are in bf16 too. Both are made anew after every change of the weights. In int8 there is that
 * third array alone (integer.c), and nothing to train.
 *
 * During an update layers with `weightdrop` run on a copy of their weights of which a share is dropped: at f32 on it, in
 * bf16 on what is rounded from it, and the transposed copy is made of it:
 *
 *   weights ─[drop]─> dropped ─[round, bf16]─> what runs forward
 *                        └─────[transpose]───> what runs backward
 */
#include "network.h"
#include <string.h>

static car_status no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY, "model: out of memory; use smaller layers");
}

static car_status too_large(car_error *error) {
    return car_fail(error, CAR_USAGE,
                    "model: more weights than can be addressed; use smaller layers");
}

/* ---- Precision ---------------------------------------------------------------------------------------- */

static const char *const precision_names[CAR_PRECISIONS] = {"f32", "bf16", "int8"};

const char *car_precision_name(car_precision precision) {
    return precision_names[precision];
}

car_status car_precision_read(const char *text, car_precision *precision, car_error *error) {
    for (int i = 0; i < CAR_PRECISIONS; i++)
        if (strcmp(text ? text : "f32", precision_names[i]) == 0) {
            *precision = (car_precision)i;
            return CAR_OK;
        }
    return car_fail(error, CAR_USAGE, "no precision '%.32s'; choose f32, bf16 or int8", text);
}

/* ---- Outline ------------------------------------------------------------------------------------------ */

static car_status check_size(const char *what, int size, int least, car_error *error) {
    if (size < least || size > CAR_MODEL_SIZE_LIMIT)
        return car_fail(error, CAR_USAGE, "model: %s is %d; it must be between %d and %d", what,
                        size, least, CAR_MODEL_SIZE_LIMIT);
    return CAR_OK;
}

static car_status outline(car_model *model, car_error *error) {
    const struct car_net *net = model->net;
    CAR_TRY(check_size("input size", model->input_size, 1, error));
    CAR_TRY(check_size(net->head == CAR_HEAD_SOFTMAX ? "number of classes" : "output size",
                       model->output_size, net->head == CAR_HEAD_SOFTMAX ? 2 : 1, error));
    if (model->output_size % car_head_parameters(net) != 0)
        return car_fail(error, CAR_USAGE,
                        "model: %d outputs, but the head makes %d for each target; give a multiple",
                        model->output_size, car_head_parameters(net));
    if (net->tie && model->input_size != model->output_size)
        return car_fail_at(
            error, CAR_USAGE, net->tie_line, net->tie_column,
            "net: `tie` needs as many classes as ids, but they are %d and %d; take `tie` "
            "away",
            model->output_size, model->input_size);
    size_t count = (size_t)net->layer_count;
    car_layer_sizes *sizes = car_arena_allocate(model->arena, count, sizeof *sizes);
    model->layers = car_arena_allocate(model->arena, count, sizeof *model->layers);
    if (!sizes || !model->layers)
        return no_memory(error);
    CAR_TRY(car_net_sizes(net, model->input_size, sizes, error));
    for (int i = 0; i < net->layer_count; i++) {
        model->layers[i].size = sizes[i];
        model->layers[i].directions = net->layers[i].bidirectional ? 2 : 1;
    }
    model->head_depth = sizes[net->layer_count - 1].output;
    CAR_TRY(car_kernels_choose(&model->kernels, error));
    return car_model_list_tensors(model, error);
}

car_status car_model_outline(car_net *net, int input_size, int output_size,
                             const car_allocator *allocator, car_model **model, car_error *error) {
    *model = NULL;
    car_arena *arena = car_arena_create(allocator);
    car_model *made = arena ? car_arena_allocate(arena, 1, sizeof *made) : NULL;
    if (!made) {
        car_arena_free(arena);
        car_net_free(net);
        return no_memory(error);
    }
    *made = (car_model){.allocator = allocator,
                        .arena = arena,
                        .net = net,
                        .input_size = input_size,
                        .output_size = output_size};
    car_status status = outline(made, error);
    if (status == CAR_OK)
        *model = made;
    else
        car_model_free(made);
    return status;
}

/* ---- Plans and weights -------------------------------------------------------------------------------- */

/* Does what comes out of layer `index` lie within [-1, 1]? */
static bool output_bounded(const car_model *model, int index) {
    const car_net_layer *layer = &model->net->layers[index];
    return layer->kind == CAR_LAYER_CELL && !layer->residual &&
           car_plan_output_bounded(model->layers[index].plan);
}

static car_status make_plans(car_model *model, int index, car_error *error) {
    const car_net_layer *layer = &model->net->layers[index];
    car_model_layer *made = &model->layers[index];
    const car_shape input = {made->size.input, 1};
    const car_cpu_level level = model->kernels->level;
    const car_plan_options run = {.emitted = car_emitted_of(level),
                                  .native = car_native_table(layer->cell, level),
                                  .pair_rows = car_emitted_pair_rows_of(model->kernels),
                                  .precision = model->precision,
                                  .input_bounded = index > 0 && output_bounded(model, index - 1)};
    car_plan_options train = run;
    train.training = true;
    train.kernels = model->kernels;
    CAR_TRY(car_plan_create(layer->cell, input, made->size.units, &run, model->allocator,
                            &made->plan, error));
    made->weight_floats = car_plan_weight_floats(made->plan);
    if (model->precision == CAR_PRECISION_INT8)
        return CAR_OK;
    CAR_TRY(car_plan_create(layer->cell, input, made->size.units, &train, model->allocator,
                            &made->training_plan, error));
    if (made->weight_floats != car_plan_weight_floats(made->training_plan))
        return car_fail(
            error, CAR_FAILED,
            "model: the plans of cell %.60s for running and training differ in layout; please "
            "report this cell",
            layer->cell->name);
    return CAR_OK;
}

static size_t add_floats(car_layout *layout, size_t floats) {
    return car_layout_add(layout, floats, sizeof(float)) / sizeof(float);
}

/* Rows of a panel that holds `depth` of them, as it is run on. */
static size_t running_rows(const car_model *model, int depth) {
    return (size_t)(model->precision == CAR_PRECISION_BF16 ? car_pairs(depth) : depth);
}

static size_t panels_of(int columns) {
    return ((size_t)columns + CAR_PANEL - 1) / CAR_PANEL;
}

static size_t head_panel_floats(const car_model *model) {
    return panels_of(model->output_size) * (size_t)model->head_depth * CAR_PANEL;
}

static void lay_weights(car_model *model, car_layout *layout) {
    const struct car_net *net = model->net;
    for (int i = 0; i < net->layer_count; i++) {
        car_model_layer *layer = &model->layers[i];
        if (net->layers[i].kind == CAR_LAYER_EMBED && !net->tie)
            layer->weight_floats =
                (size_t)model->input_size * (size_t)car_padded(layer->size.units);
        for (int direction = 0; direction < layer->directions; direction++)
            layer->weights[direction] = add_floats(layout, layer->weight_floats);
    }
    model->head_weights = add_floats(layout, head_panel_floats(model));
    model->head_bias = add_floats(layout, (size_t)car_padded(model->output_size));
    model->weight_floats = layout->size / sizeof(float);
}

static void lay_transposed(car_model *model, car_layout *layout) {
    for (int i = 0; i < model->net->layer_count; i++) {
        car_model_layer *layer = &model->layers[i];
        for (int direction = 0; layer->training_plan && direction < layer->directions; direction++)
            layer->transposed[direction] =
                add_floats(layout, car_plan_transposed_floats(layer->training_plan));
    }
    model->head_transposed = add_floats(
        layout, panels_of(model->head_depth) * running_rows(model, model->output_size) * CAR_PANEL);
    model->transposed_floats = layout->size / sizeof(float);
}

/* Floats of the head's matrix as it is run on. */
static size_t head_running_floats(const car_model *model) {
    const size_t panels = panels_of(model->output_size);
    if (model->precision == CAR_PRECISION_INT8)
        return car_quad_floats((int)panels, model->head_depth);
    return panels * running_rows(model, model->head_depth) * CAR_PANEL;
}

static void lay_rounded(car_model *model, car_layout *layout) {
    for (int i = 0; i < model->net->layer_count; i++) {
        car_model_layer *layer = &model->layers[i];
        for (int direction = 0; layer->plan && direction < layer->directions; direction++)
            layer->running[direction] = add_floats(layout, car_plan_running_floats(layer->plan));
    }
    model->head_running = add_floats(layout, head_running_floats(model));
    if (model->precision == CAR_PRECISION_INT8) {
        model->bias_running = add_floats(layout, (size_t)car_padded(model->output_size));
        model->embedding_running = add_floats(layout, car_model_int8_embedding_floats(model));
    }
    model->rounded_floats = layout->size / sizeof(float);
}

car_status car_model_prepare(car_model *model, car_error *error) {
    for (int i = 0; i < model->net->layer_count; i++)
        if (model->net->layers[i].kind == CAR_LAYER_CELL)
            CAR_TRY(make_plans(model, i, error));
    /* Places within the head's gradient are int32 (car_product_block). */
    if (head_panel_floats(model) > INT32_MAX)
        return too_large(error);
    const bool int8 = model->precision == CAR_PRECISION_INT8;
    if (int8 && model->head_depth > CAR_INTEGER_DEPTH)
        return car_fail(error, CAR_USAGE,
                        "model: int8 adds up to %d products, not the head's %d; use f32 or bf16",
                        CAR_INTEGER_DEPTH, model->head_depth);
    model->head_bounded = output_bounded(model, model->net->layer_count - 1);
    car_layout weights = {0}, transposed = {0}, rounded = {0};
    lay_weights(model, &weights);
    lay_transposed(model, &transposed);
    lay_rounded(model, &rounded);
    if (weights.overflow || transposed.overflow || rounded.overflow)
        return too_large(error);
    if (!int8)
        model->weights = car_allocate(model->allocator, model->weight_floats, sizeof(float));
    if (model->precision != CAR_PRECISION_F32)
        model->rounded = car_allocate(model->allocator, model->rounded_floats, sizeof(float));
    bool complete =
        (model->weights || int8) && (model->rounded || model->precision == CAR_PRECISION_F32);
    return complete ? CAR_OK : no_memory(error);
}

void car_model_free(car_model *model) {
    if (!model)
        return;
    for (int i = 0; model->layers && i < model->net->layer_count; i++) {
        car_plan_free(model->layers[i].plan);
        car_plan_free(model->layers[i].training_plan);
    }
    for (int i = 0; i < model->metadata_count; i++) {
        car_release(model->allocator, model->metadata[i].key);
        car_release(model->allocator, model->metadata[i].value);
    }
    car_release(model->allocator, model->metadata);
    car_release(model->allocator, model->weights);
    car_release(model->allocator, model->transposed);
    car_release(model->allocator, model->rounded);
    car_release(model->allocator, model->dropped);
    car_net_free(model->net);
    car_arena_free(model->arena);
}

/* ---- Making and copying ------------------------------------------------------------------------------- */

/* A net of its own from the text and cells of `net`. */
static car_status copy_net(const struct car_net *net, const car_allocator *allocator,
                           car_net **copy, car_error *error) {
    return car_net_parse_with(net->text, (const car_cell *const *)net->cells, net->cell_count,
                              false, allocator, copy, error);
}

car_status car_model_create(const car_net *net, const car_model_options *options,
                            const car_allocator *allocator, car_model **model, car_error *error) {
    car_net *own;
    *model = NULL;
    car_precision precision = CAR_PRECISION_F32;
    CAR_TRY(car_precision_read(options->precision, &precision, error));
    if (precision == CAR_PRECISION_INT8)
        return car_fail(error, CAR_USAGE,
                        "model: int8 is for a model that has been trained; make it in f32 or bf16 "
                        "and convert it");
    CAR_TRY(copy_net(net, allocator, &own, error));
    car_model *made;
    CAR_TRY(
        car_model_outline(own, options->input_size, options->output_size, allocator, &made, error));
    made->precision = precision;
    car_status status = car_model_prepare(made, error);
    if (status == CAR_OK)
        status = car_model_initialize(made, options, error);
    if (status == CAR_OK)
        *model = made;
    else
        car_model_free(made);
    return status;
}

static car_status copy_contents(const car_model *model, car_model *copy, car_error *error) {
    CAR_TRY(car_model_prepare(copy, error));
    if (!model->weights && !copy->weights)
        memcpy(copy->rounded, model->rounded, model->rounded_floats * sizeof(float));
    else if (!model->weights || !copy->weights)
        CAR_TRY(car_model_int8_convert(model, copy, error));
    else
        memcpy(copy->weights, model->weights, model->weight_floats * sizeof(float));
    for (int i = 0; i < model->metadata_count; i++)
        CAR_TRY(
            car_model_set_metadata(copy, model->metadata[i].key, model->metadata[i].value, error));
    return CAR_OK;
}

static car_status copy_model(const car_model *model, car_precision precision,
                             const car_allocator *allocator, car_model **copy, car_error *error) {
    car_net *net;
    *copy = NULL;
    CAR_TRY(copy_net(model->net, allocator, &net, error));
    car_model *made;
    CAR_TRY(car_model_outline(net, model->input_size, model->output_size, allocator, &made, error));
    made->kernels = model->kernels;
    made->precision = precision;
    car_status status = copy_contents(model, made, error);
    if (status == CAR_OK)
        *copy = made;
    else
        car_model_free(made);
    return status;
}

car_status car_model_copy(const car_model *model, const car_allocator *allocator, car_model **copy,
                          car_error *error) {
    CAR_TRY(copy_model(model, model->precision, allocator, copy, error));
    car_status status = car_model_prepare_training(*copy, error);
    if (status != CAR_OK) {
        car_model_free(*copy);
        *copy = NULL;
    }
    return status;
}

car_status car_model_convert(const car_model *model, const char *precision,
                             const car_allocator *allocator, car_model **copy, car_error *error) {
    car_precision wanted = CAR_PRECISION_F32;
    *copy = NULL;
    CAR_TRY(car_precision_read(precision, &wanted, error));
    CAR_TRY(copy_model(model, wanted, allocator, copy, error));
    car_model_refresh(*copy, 1);
    return CAR_OK;
}

/* ---- Machine code --------------------------------------------------------------------------------------- */

car_status car_model_attach_native(car_model *model, bool compile, car_error *error) {
    const car_cpu_level level = model->kernels->level;
    car_status status = CAR_OK;
    for (int i = 0; i < model->net->cell_count; i++) {
        car_status one = car_native_attach(model->net->cells[i], compile, error);
        status = one != CAR_OK ? one : status;
    }
    for (int i = 0; i < model->net->layer_count; i++) {
        if (model->net->layers[i].kind != CAR_LAYER_CELL)
            continue;
        const car_emitted_table *table = car_native_table(model->net->layers[i].cell, level);
        car_plan_bind(model->layers[i].plan, table);
        if (model->layers[i].training_plan)
            car_plan_bind(model->layers[i].training_plan, table);
    }
    return status;
}

car_status car_model_compile_native(car_model *model, car_error *error) {
    return car_model_attach_native(model, true, error);
}

/* ---- Copies that follow the weights ------------------------------------------------------------------- */

bool car_model_dropped(const car_model *model, int layer, int direction, car_weight_drop *drop) {
    float probability = model->net->layers[layer].weight_drop;
    *drop = (car_weight_drop){model->drop_key, model->drop_update, probability};
    drop->key.layer = (uint32_t)(layer * 2 + direction);
    return model->dropping && probability > 0;
}

/* The layer's weights in f32 that its copies are made of. */
static const float *present_weights(const car_model *model, int layer, int direction) {
    car_weight_drop drop;
    bool dropped = car_model_dropped(model, layer, direction, &drop);
    return (dropped ? model->dropped : model->weights) + model->layers[layer].weights[direction];
}

const float *car_model_running(const car_model *model, int layer, int direction) {
    const car_model_layer *place = &model->layers[layer];
    return model->rounded ? model->rounded + place->running[direction]
                          : present_weights(model, layer, direction);
}

const float *car_model_running_head(const car_model *model) {
    return model->rounded ? model->rounded + model->head_running
                          : model->weights + model->head_weights;
}

const float *car_model_running_bias(const car_model *model) {
    return model->weights ? model->weights + model->head_bias
                          : model->rounded + model->bias_running;
}

/* Parameters that are packed twice agree again. */
static void unite(car_model *model) {
    for (int i = 0; i < model->net->layer_count; i++)
        for (int d = 0; model->layers[i].plan && d < model->layers[i].directions; d++)
            car_plan_refresh(model->layers[i].plan, model->weights + model->layers[i].weights[d]);
}

/* A panel of 64 of the head's outputs, as it runs, to panels of 64 inputs, of which it is some rows. */
static void transpose_head(const car_model *model, int output, const float *panel) {
    const int depth = model->head_depth, left = model->output_size - output;
    const int columns = left < CAR_PANEL ? left : CAR_PANEL;
    const size_t panel_rows = running_rows(model, model->output_size);
    float *target =
        model->transposed + model->head_transposed + running_rows(model, output) * CAR_PANEL;
    for (int k = 0; k < depth; k += CAR_PANEL, target += panel_rows * CAR_PANEL) {
        const int rows = depth - k < CAR_PANEL ? depth - k : CAR_PANEL;
        const float *source = panel + running_rows(model, k) * CAR_PANEL;
        if (model->rounded)
            model->kernels->transpose_pairs(source, CAR_PANEL, 0, rows, 2 * car_pairs(columns),
                                            target, CAR_PANEL);
        else
            model->kernels->transpose(source, CAR_PANEL, rows, columns, target, CAR_PANEL);
    }
}

static void copy_head(const car_model *model, int member, int members) {
    static const car_product_block blocks[CAR_PANEL_BLOCKS] = {
        {0, 0}, {CAR_BLOCK, 0}, {2 * CAR_BLOCK, 0}, {3 * CAR_BLOCK, 0}};
    int depth = model->head_depth, begin, end;
    car_team_share(model->output_size, CAR_PANEL, member, members, &begin, &end);
    for (int output = begin; output < end; output += CAR_PANEL) {
        const float *weights =
            model->weights + model->head_weights + (size_t)output * (size_t)depth;
        float *rounded = model->rounded ? model->rounded + model->head_running +
                                              (size_t)output * running_rows(model, depth)
                                        : NULL;
        if (rounded)
            model->kernels->pack_pairs(weights, CAR_PANEL, depth, blocks, CAR_PANEL_BLOCKS, rounded,
                                       0, CAR_PANEL_BLOCKS);
        if (model->transposed)
            transpose_head(model, output, rounded ? rounded : weights);
    }
}

static void refresh_layer(const car_model *model, int index, int direction, int member,
                          int members) {
    const car_model_layer *layer = &model->layers[index];
    const car_weight_copies copies = {
        .running = model->rounded ? model->rounded + layer->running[direction] : NULL,
        .transposed = model->transposed ? model->transposed + layer->transposed[direction] : NULL,
        .input = index > 0 || model->input_transposed};
    car_plan_copy(model->transposed ? layer->training_plan : layer->plan, model->kernels,
                  present_weights(model, index, direction), &copies, member, members);
}

static void refresh_task(void *argument, car_team *team, int member, int members) {
    (void)team;
    const car_model *model = argument;
    for (int i = 0; i < model->net->layer_count; i++)
        for (int d = 0; model->layers[i].plan && d < model->layers[i].directions; d++)
            refresh_layer(model, i, d, member, members);
    copy_head(model, member, members);
}

/* Calls `run` for every direction of the layers of which something is dropped. */
static void for_dropped(const car_model *model, int member, int members,
                        void (*run)(const car_model *model, int index, int direction, int member,
                                    int members)) {
    car_weight_drop drop;
    for (int i = 0; i < model->net->layer_count; i++)
        for (int d = 0; d < model->layers[i].directions; d++)
            if (car_model_dropped(model, i, d, &drop))
                run(model, i, d, member, members);
}

static void drop_layer(const car_model *model, int index, int direction, int member, int members) {
    const car_model_layer *layer = &model->layers[index];
    size_t at = layer->weights[direction];
    car_weight_drop drop;
    if (car_model_dropped(model, index, direction, &drop))
        car_plan_drop(layer->training_plan, model->kernels, &drop, model->weights + at,
                      model->dropped + at, member, members);
}

static void drop_task(void *argument, car_team *team, int member, int members) {
    for_dropped(argument, member, members, drop_layer);
    car_team_barrier(team, member);
    for_dropped(argument, member, members, refresh_layer);
}

void car_model_drop(car_model *model, uint64_t seed, uint64_t update, int threads) {
    if (!model->dropped)
        return;
    model->dropping = true;
    model->drop_key = (car_random_key){.seed = seed, .purpose = CAR_RANDOM_WEIGHT_DROP};
    model->drop_update = update;
    car_team_run(threads, drop_task, model);
}

void car_model_refresh(car_model *model, int threads) {
    model->dropping = false;
    if (!model->weights)
        return;
    unite(model);
    if (model->rounded || model->transposed)
        car_team_run(threads, refresh_task, model);
}

/* ---- Bytes -------------------------------------------------------------------------------------------- */

static bool drops_weights(const car_model *model) {
    for (int i = 0; i < model->net->layer_count; i++)
        if (model->net->layers[i].weight_drop > 0)
            return true;
    return false;
}

static size_t bytes_of(const car_model *model, bool weights, bool transposed, bool dropped) {
    size_t floats = (weights ? model->weight_floats : 0) +
                    (transposed ? model->transposed_floats : 0) +
                    (dropped ? model->weight_floats : 0) +
                    (model->precision == CAR_PRECISION_F32 ? 0 : model->rounded_floats);
    return floats * sizeof(float);
}

size_t car_model_bytes(const car_model *model) {
    return bytes_of(model, model->weights, model->transposed, model->dropped);
}

size_t car_model_training_bytes(const car_model *model) {
    return model->weights ? bytes_of(model, true, true, drops_weights(model)) : 0;
}

car_status car_model_prepare_training(car_model *model, car_error *error) {
    if (model->precision == CAR_PRECISION_INT8)
        return car_fail(
            error, CAR_USAGE,
            "model: int8 weights are for running it; convert it to f32 or bf16 to train");
    if (!model->transposed)
        model->transposed = car_allocate(model->allocator, model->transposed_floats, sizeof(float));
    const bool drops = drops_weights(model);
    if (drops && !model->dropped)
        model->dropped = car_allocate(model->allocator, model->weight_floats, sizeof(float));
    if (!model->transposed || (drops && !model->dropped))
        return no_memory(error);
    car_model_refresh(model, 1);
    return CAR_OK;
}

/* ---- What the outside asks ---------------------------------------------------------------------------- */

const char *car_model_precision(const car_model *model) {
    return car_precision_name(model->precision);
}

const char *car_model_net(const car_model *model) {
    return model->net->text;
}

int car_model_input_size(const car_model *model) {
    return model->input_size;
}

int car_model_output_size(const car_model *model) {
    return model->output_size;
}

int64_t car_model_parameter_count(const car_model *model) {
    int64_t count = (int64_t)model->output_size * (model->head_depth + 1);
    if (model->net->layers[0].kind == CAR_LAYER_EMBED && !model->net->tie)
        count += (int64_t)model->input_size * model->layers[0].size.units;
    for (int i = 0; i < model->net->layer_count; i++) {
        const car_model_layer *layer = &model->layers[i];
        for (int p = 0; layer->plan && p < model->net->layers[i].cell->parameter_count; p++)
            count +=
                (int64_t)layer->directions * layer->size.units * car_plan_columns(layer->plan, p);
    }
    return count;
}

const char *car_cpu_level_name(car_error *error) {
    const car_kernels *kernels;
    return car_kernels_choose(&kernels, error) == CAR_OK ? kernels->name : NULL;
}

/* ---- Metadata ----------------------------------------------------------------------------------------- */

static car_metadata *find_metadata(const car_model *model, const char *key) {
    for (int i = 0; i < model->metadata_count; i++)
        if (strcmp(model->metadata[i].key, key) == 0)
            return &model->metadata[i];
    return NULL;
}

const char *car_model_metadata(const car_model *model, const char *key) {
    const car_metadata *found = find_metadata(model, key);
    return found ? found->value : NULL;
}

static char *copy_string(const car_model *model, const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = car_allocate(model->allocator, bytes, 1);
    if (copy)
        memcpy(copy, text, bytes);
    return copy;
}

static void remove_metadata(car_model *model, car_metadata *entry) {
    car_release(model->allocator, entry->key);
    car_release(model->allocator, entry->value);
    size_t after = (size_t)(model->metadata + model->metadata_count - entry - 1);
    memmove(entry, entry + 1, after * sizeof *entry);
    model->metadata_count--;
}

static car_status append_metadata(car_model *model, const char *key, char *value,
                                  car_error *error) {
    size_t count = (size_t)model->metadata_count;
    car_metadata *grown = car_allocate(model->allocator, count + 1, sizeof *grown);
    char *own_key = copy_string(model, key);
    if (!grown || !own_key) {
        car_release(model->allocator, grown);
        car_release(model->allocator, own_key);
        car_release(model->allocator, value);
        return no_memory(error);
    }
    if (count > 0)
        memcpy(grown, model->metadata, count * sizeof *grown);
    grown[count] = (car_metadata){own_key, value};
    car_release(model->allocator, model->metadata);
    model->metadata = grown;
    model->metadata_count++;
    return CAR_OK;
}

bool car_model_is_own_key(const char *key) {
    static const char *const own[] = {"carousel.format", "carousel.net", "carousel.input_size",
                                      "carousel.output_size", "carousel.precision"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(key, own[i]) == 0)
            return true;
    return strncmp(key, "carousel.cell.", 14) == 0 || strncmp(key, "carousel.sha256", 15) == 0;
}

car_status car_model_set_metadata(car_model *model, const char *key, const char *value,
                                  car_error *error) {
    if (car_model_is_own_key(key))
        return car_fail(error, CAR_USAGE,
                        "model: metadata key `%.100s` is the library's; choose another", key);
    car_metadata *found = find_metadata(model, key);
    if (!value) {
        if (found)
            remove_metadata(model, found);
        return CAR_OK;
    }
    char *copy = copy_string(model, value);
    if (!copy)
        return no_memory(error);
    if (!found)
        return append_metadata(model, key, copy, error);
    car_release(model->allocator, found->value);
    found->value = copy;
    return CAR_OK;
}
