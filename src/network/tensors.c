/*
 * tensors: the parameters of a model as the outside sees them.
 *
 * In:  an outlined model (net, sizes). Out: a list of named tensors, and copies between their logical row-major
 * layout and any flat array laid out like the packed weights.
 *
 * Names: encoder.weight, layers.K.NAME (K counts the layers made of cells), decoder.weight, decoder.bias. NAME is
 * PyTorch's where the cell's torch clause gives one: weight_ih_l0, and weight_ih_l0_reverse of the second direction;
 * a cell without state is no RNN there, so its names have no _l0 (weight, bias). A tied head has no tensor.
 *
 * Embedding [input_size][padded units]; head panels of 64 outputs, each [head_depth][64].
 */
#include "network.h"
#include <stdio.h>
#include <string.h>

static car_status no_memory(car_error *error) {
    return car_fail(error, CAR_MEMORY, "model: out of memory; use smaller layers");
}

/* ---- The list ----------------------------------------------------------------------------------------- */

static const struct car_cell *cell_of(const car_model *model, int layer) {
    return model->net->layers[layer].cell;
}

static bool in_torch_clause(const struct car_cell *cell, int parameter) {
    for (int i = 0; i < cell->torch_count; i++)
        for (int k = 0; k < cell->torch[i].count; k++)
            if (cell->torch[i].parameters[k] == parameter)
                return true;
    return false;
}

/* The first parameter of a torch entry that is not a block of zeros; -1: there is none. */
static int first_parameter(const car_torch_entry *entry) {
    for (int k = 0; k < entry->count; k++)
        if (entry->parameters[k] >= 0)
            return entry->parameters[k];
    return -1;
}

static bool is_vector_entry(const struct car_cell *cell, const car_torch_entry *entry) {
    int parameter = first_parameter(entry);
    return parameter >= 0 && cell->parameters[parameter].kind != CAR_MATRIX;
}

static char *name_in_layer(car_model *model, int number, const char *name, bool suffix,
                           int direction) {
    char text[160];
    snprintf(text, sizeof text, "layers.%d.%.120s%s%s", number, name, suffix ? "_l0" : "",
             direction ? "_reverse" : "");
    return car_arena_copy(model->arena, text, strlen(text));
}

static car_status add_cell_tensor(car_model *model, car_tensor_place place, car_error *error) {
    const struct car_cell *cell = cell_of(model, place.layer);
    const car_layer_sizes *size = &model->layers[place.layer].size;
    int first = -1;
    for (int k = 0; k < place.count && first < 0; k++)
        first = place.blocks[k];
    const car_parameter *parameter = first >= 0 ? &cell->parameters[first] : NULL;
    place.role = CAR_TENSOR_CELL;
    place.rank = parameter && parameter->kind == CAR_MATRIX ? 2 : 1;
    place.shape[0] = (size_t)place.count * (size_t)size->units;
    place.shape[1] =
        place.rank == 1 ? 1 : (size_t)(parameter->from_input ? size->input : size->units);
    if (!place.name)
        return no_memory(error);
    model->tensors[model->tensor_count++] = place;
    return CAR_OK;
}

/* `blocks` of an entry that is all zeros: as many zeros as the cell's first entry of biases has blocks. */
static car_status zero_blocks(car_model *model, const struct car_cell *cell, int *count,
                              const int **blocks, car_error *error) {
    *count = 0;
    for (int i = 0; i < cell->torch_count && *count == 0; i++)
        if (is_vector_entry(cell, &cell->torch[i]))
            *count = cell->torch[i].count;
    int *zeros = car_arena_allocate(model->arena, (size_t)*count + 1, sizeof *zeros);
    if (!zeros)
        return no_memory(error);
    for (int k = 0; k < *count; k++)
        zeros[k] = -1;
    *blocks = zeros;
    return CAR_OK;
}

/* Blocks of zeros take their values from a file to the tensor of biases with the same number of blocks. */
static void find_siblings(car_model *model, int begin) {
    for (int i = begin; i < model->tensor_count; i++) {
        car_tensor_place *place = &model->tensors[i];
        for (int j = begin; j < model->tensor_count && place->rank == 1; j++)
            if (j != i && model->tensors[j].rank == 1 && model->tensors[j].count == place->count)
                place->sibling = j;
    }
}

static car_status list_torch(car_model *model, int layer, int number, int direction,
                             car_error *error) {
    const struct car_cell *cell = cell_of(model, layer);
    int begin = model->tensor_count;
    for (int i = 0; i < cell->torch_count; i++) {
        const car_torch_entry *entry = &cell->torch[i];
        car_tensor_place place = {.layer = layer,
                                  .direction = direction,
                                  .count = entry->count,
                                  .blocks = entry->parameters,
                                  .sibling = -1};
        if (first_parameter(entry) < 0)
            CAR_TRY(zero_blocks(model, cell, &place.count, &place.blocks, error));
        if (place.count == 0)
            continue;
        place.name = name_in_layer(model, number, entry->tensor, cell->state_count > 0, direction);
        CAR_TRY(add_cell_tensor(model, place, error));
    }
    find_siblings(model, begin);
    return CAR_OK;
}

static car_status list_plain(car_model *model, int layer, int number, int direction,
                             car_error *error) {
    const struct car_cell *cell = cell_of(model, layer);
    for (int p = 0; p < cell->parameter_count; p++) {
        if (in_torch_clause(cell, p))
            continue;
        int *block = car_arena_allocate(model->arena, 1, sizeof *block);
        if (!block)
            return no_memory(error);
        *block = p;
        car_tensor_place place = {
            .layer = layer, .direction = direction, .count = 1, .blocks = block, .sibling = -1};
        place.name = name_in_layer(model, number, cell->parameters[p].name, false, direction);
        CAR_TRY(add_cell_tensor(model, place, error));
    }
    return CAR_OK;
}

static void add_own(car_model *model, const char *name, car_tensor_role role, int rank, int rows,
                    int columns) {
    model->tensors[model->tensor_count++] =
        (car_tensor_place){.name = name,
                           .rank = rank,
                           .shape = {(size_t)rows, (size_t)columns},
                           .role = role,
                           .sibling = -1};
}

static size_t most_tensors(const car_model *model) {
    size_t most = 3;
    for (int i = 0; i < model->net->layer_count; i++)
        if (model->net->layers[i].kind == CAR_LAYER_CELL)
            most +=
                2 * (size_t)(cell_of(model, i)->torch_count + cell_of(model, i)->parameter_count);
    return most;
}

car_status car_model_list_tensors(car_model *model, car_error *error) {
    const struct car_net *net = model->net;
    model->tensors = car_arena_allocate(model->arena, most_tensors(model), sizeof *model->tensors);
    if (!model->tensors)
        return no_memory(error);
    if (net->layers[0].kind == CAR_LAYER_EMBED)
        add_own(model, "encoder.weight", CAR_TENSOR_EMBEDDING, 2, model->input_size,
                net->layers[0].units);
    int number = 0;
    for (int i = 0; i < net->layer_count; i++) {
        if (net->layers[i].kind != CAR_LAYER_CELL)
            continue;
        for (int direction = 0; direction < model->layers[i].directions; direction++) {
            CAR_TRY(list_torch(model, i, number, direction, error));
            CAR_TRY(list_plain(model, i, number, direction, error));
        }
        number++;
    }
    if (!net->tie)
        add_own(model, "decoder.weight", CAR_TENSOR_HEAD, 2, model->output_size, model->head_depth);
    add_own(model, "decoder.bias", CAR_TENSOR_BIAS, 1, model->output_size, 1);
    return CAR_OK;
}

int car_model_tensor_count(const car_model *model) {
    return model->tensor_count;
}

void car_model_tensor_at(const car_model *model, int index, car_model_tensor *tensor) {
    const car_tensor_place *place = &model->tensors[index];
    *tensor = (car_model_tensor){
        .name = place->name, .rank = place->rank, .shape = {place->shape[0], place->shape[1]}};
}

size_t car_model_tensor_floats(const car_model *model, int index) {
    const car_tensor_place *place = &model->tensors[index];
    return place->shape[0] * place->shape[1];
}

/* ---- Logical <-> packed ------------------------------------------------------------------------------- */

/* Where an output's row of the head's matrix starts; its values are CAR_PANEL apart. */
static float *head_row(const car_model *model, float *packed, size_t output) {
    size_t panel = output / CAR_PANEL;
    return packed + model->head_weights + panel * (size_t)model->head_depth * CAR_PANEL +
           output % CAR_PANEL;
}

static void copy_head(const car_model *model, float *packed, float *logical, bool pack) {
    size_t depth = (size_t)model->head_depth;
    for (size_t output = 0; output < (size_t)model->output_size; output++) {
        float *row = head_row(model, packed, output);
        for (size_t k = 0; k < depth; k++) {
            if (pack)
                row[k * CAR_PANEL] = logical[output * depth + k];
            else
                logical[output * depth + k] = row[k * CAR_PANEL];
        }
    }
}

static void copy_embedding(const car_model *model, float *packed, float *logical, bool pack) {
    size_t units = (size_t)model->net->layers[0].units;
    size_t stride = (size_t)car_padded(model->net->layers[0].units);
    float *rows = packed + model->layers[0].weights[0];
    for (size_t id = 0; id < (size_t)model->input_size; id++) {
        if (pack)
            memcpy(rows + id * stride, logical + id * units, units * sizeof(float));
        else
            memcpy(logical + id * units, rows + id * stride, units * sizeof(float));
    }
}

static void copy_cell(const car_model *model, const car_tensor_place *place, float *packed,
                      float *logical, bool pack) {
    const car_model_layer *layer = &model->layers[place->layer];
    size_t block = (size_t)layer->size.units * place->shape[1];
    float *weights = packed + layer->weights[place->direction];
    for (int k = 0; k < place->count; k++) {
        float *values = logical + (size_t)k * block;
        if (place->blocks[k] < 0 && !pack)
            memset(values, 0, block * sizeof(float));
        else if (place->blocks[k] >= 0 && pack)
            car_plan_pack(layer->plan, place->blocks[k], values, weights);
        else if (place->blocks[k] >= 0)
            car_plan_unpack(layer->plan, place->blocks[k], weights, values);
    }
}

/* One walk serves both ways; the side that is only read is never written through its pointer. */
static void copy_tensor(const car_model *model, int index, float *packed, float *logical,
                        bool pack) {
    const car_tensor_place *place = &model->tensors[index];
    size_t bytes = place->shape[0] * sizeof(float);
    switch (place->role) {
    case CAR_TENSOR_EMBEDDING:
        if (model->net->tie)
            copy_head(model, packed, logical, pack);
        else
            copy_embedding(model, packed, logical, pack);
        break;
    case CAR_TENSOR_CELL:
        copy_cell(model, place, packed, logical, pack);
        break;
    case CAR_TENSOR_HEAD:
        copy_head(model, packed, logical, pack);
        break;
    case CAR_TENSOR_BIAS:
        memcpy(pack ? packed + model->head_bias : logical,
               pack ? logical : packed + model->head_bias, bytes);
        break;
    }
}

void car_model_unpack(const car_model *model, int index, const float *packed, float *logical) {
    copy_tensor(model, index, (float *)packed, logical, false);
}

void car_model_pack(const car_model *model, int index, const float *logical, float *packed) {
    copy_tensor(model, index, packed, (float *)logical, true);
}
