/*
 * integer: the weights of a model that runs in int8.
 *
 * In:  a model in f32 or bf16, or tensors of a file. Out: whole numbers in the form that products and embedding read,
 * and back. Every row of a matrix (an output of a product, an id of the embedding) has a scale of its own:
 *
 *   weight = scale * value,  scale = largest |weight| of the row / 127,  value = weight / scale to the nearest
 *
 * Nothing else is kept: biases and per-unit vectors stay f32, and there are no f32 masters. All of it stands in
 * model->rounded: what a layer's plan asks for, the head's quads, the head's bias, then the embedding as rows of bytes
 * [input_size][padded units] and their scales [input_size]; an embedding that is tied to the head is read from there.
 */
#include "network.h"
#include <math.h>
#include <string.h>

static int head_panels(const car_model *model) {
    return (model->output_size + CAR_PANEL - 1) / CAR_PANEL;
}

static size_t embedding_stride(const car_model *model) {
    return (size_t)car_padded(model->layers[0].size.units);
}

size_t car_model_int8_embedding_floats(const car_model *model) {
    if (model->net->layers[0].kind != CAR_LAYER_EMBED || model->net->tie)
        return 0;
    return (size_t)model->input_size * (embedding_stride(model) / sizeof(float) + 1);
}

static int8_t *embedding_row(const car_model *model, size_t id, float **scale) {
    int8_t *rows = (int8_t *)(void *)(model->rounded + model->embedding_running);
    *scale = (float *)(void *)(rows + (size_t)model->input_size * embedding_stride(model)) + id;
    return rows + id * embedding_stride(model);
}

void car_model_int8_embed(const car_model *model, int32_t id, float *out) {
    const size_t units = (size_t)model->layers[0].size.units;
    float *scale, tied;
    if (!model->net->tie) {
        const int8_t *row = embedding_row(model, (size_t)id, &scale);
        for (size_t k = 0; k < units; k++)
            out[k] = *scale * (float)row[k];
        return;
    }
    const float *panels = model->rounded + model->head_running;
    const int8_t *row = car_quads_at(panels, head_panels(model), model->head_depth, id, &tied);
    for (size_t k = 0; k < units; k++)
        out[k] = tied * (float)row[car_quad_place((int)k, 0)];
}

/* ---- Tensors of the outside --------------------------------------------------------------------------- */

static void set_cell(car_model *model, const car_tensor_place *place, const int8_t *values,
                     const float *scales) {
    const car_model_layer *layer = &model->layers[place->layer];
    const size_t units = (size_t)layer->size.units, block = units * place->shape[1];
    for (size_t k = 0; k < (size_t)place->count; k++)
        if (place->blocks[k] >= 0)
            car_plan_pack_int8(layer->plan, place->blocks[k], values + k * block,
                               scales + k * units,
                               model->rounded + layer->running[place->direction]);
}

static void get_cell(const car_model *model, const car_tensor_place *place, int8_t *values,
                     float *scales) {
    const car_model_layer *layer = &model->layers[place->layer];
    const size_t units = (size_t)layer->size.units, block = units * place->shape[1];
    for (size_t k = 0; k < (size_t)place->count; k++) {
        int8_t *to = values ? values + k * block : NULL;
        float *to_scales = scales ? scales + k * units : NULL;
        if (place->blocks[k] >= 0)
            car_plan_unpack_int8(layer->plan, place->blocks[k],
                                 model->rounded + layer->running[place->direction], to, to_scales);
        else if (to)
            memset(to, 0, block);
        if (place->blocks[k] < 0 && to_scales)
            memset(to_scales, 0, units * sizeof *to_scales);
    }
}

/* Is the tensor in the head's panels? */
static bool in_head(const car_model *model, const car_tensor_place *place) {
    return place->role == CAR_TENSOR_HEAD || model->net->tie;
}

void car_model_int8_set(car_model *model, int index, const int8_t *values, const float *scales) {
    const car_tensor_place *place = &model->tensors[index];
    if (place->role == CAR_TENSOR_CELL) {
        set_cell(model, place, values, scales);
        return;
    }
    for (size_t row = 0; row < place->shape[0]; row++) {
        const int8_t *from = values + row * place->shape[1];
        float *scale;
        if (in_head(model, place)) {
            car_quads_set(model->rounded + model->head_running, head_panels(model),
                          model->head_depth, (int)row, from, scales[row]);
            continue;
        }
        memcpy(embedding_row(model, row, &scale), from, place->shape[1]);
        *scale = scales[row];
    }
}

void car_model_int8_get(const car_model *model, int index, int8_t *values, float *scales) {
    const car_tensor_place *place = &model->tensors[index];
    if (place->role == CAR_TENSOR_CELL) {
        get_cell(model, place, values, scales);
        return;
    }
    for (size_t row = 0; row < place->shape[0]; row++) {
        int8_t *to = values ? values + row * place->shape[1] : NULL;
        float *place_of_scale, scale;
        if (in_head(model, place)) {
            car_quads_get(model->rounded + model->head_running, head_panels(model),
                          model->head_depth, (int)row, to, scales ? &scales[row] : &scale);
            continue;
        }
        const int8_t *from = embedding_row(model, row, &place_of_scale);
        if (to)
            memcpy(to, from, place->shape[1]);
        if (scales)
            scales[row] = *place_of_scale;
    }
}

static void copy_vector(const car_model *model, int index, float *values, bool set) {
    const car_tensor_place *place = &model->tensors[index];
    if (place->role == CAR_TENSOR_BIAS) {
        float *bias = model->rounded + model->bias_running;
        memcpy(set ? bias : values, set ? values : bias, place->shape[0] * sizeof(float));
        return;
    }
    const car_model_layer *layer = &model->layers[place->layer];
    const size_t units = (size_t)layer->size.units;
    float *running = model->rounded + layer->running[place->direction];
    for (int k = 0; k < place->count; k++, values += units) {
        if (place->blocks[k] >= 0 && set)
            car_plan_pack(layer->plan, place->blocks[k], values, running);
        else if (place->blocks[k] >= 0)
            car_plan_unpack(layer->plan, place->blocks[k], running, values);
        else if (!set)
            memset(values, 0, units * sizeof *values);
    }
}

void car_model_int8_set_vector(car_model *model, int index, const float *values) {
    copy_vector(model, index, (float *)values, true);
}

void car_model_int8_get_vector(const car_model *model, int index, float *values) {
    copy_vector(model, index, values, false);
}

/* ---- From f32 and back -------------------------------------------------------------------------------- */

static void whole_row(const float *weights, size_t columns, int8_t *values, float *scale) {
    float largest = 0;
    for (size_t k = 0; k < columns; k++)
        largest = fabsf(weights[k]) > largest ? fabsf(weights[k]) : largest;
    const car_integer_scale step = car_integer_scale_of(largest);
    *scale = step.scale;
    for (size_t k = 0; k < columns; k++) {
        float value = rintf(weights[k] * step.factor);
        values[k] = (int8_t)(value > CAR_INTEGER_MOST    ? CAR_INTEGER_MOST
                             : value < -CAR_INTEGER_MOST ? -CAR_INTEGER_MOST
                                                         : value);
    }
}

/* A tensor's values on their way. */
typedef struct tensor_buffers {
    float *floats, *scales;
    int8_t *values;
} tensor_buffers;

static void quantize_tensor(const car_model *from, car_model *to, int index, tensor_buffers at) {
    const car_tensor_place *place = &to->tensors[index];
    car_model_unpack(from, index, from->weights, at.floats);
    if (place->rank == 1) {
        car_model_int8_set_vector(to, index, at.floats);
        return;
    }
    for (size_t row = 0; row < place->shape[0]; row++)
        whole_row(at.floats + row * place->shape[1], place->shape[1],
                  at.values + row * place->shape[1], &at.scales[row]);
    car_model_int8_set(to, index, at.values, at.scales);
}

static void restore_tensor(const car_model *from, car_model *to, int index, tensor_buffers at) {
    const car_tensor_place *place = &from->tensors[index];
    if (place->rank == 1) {
        car_model_int8_get_vector(from, index, at.floats);
    } else {
        car_model_int8_get(from, index, at.values, at.scales);
        for (size_t row = 0; row < place->shape[0]; row++)
            for (size_t k = 0; k < place->shape[1]; k++) {
                size_t i = row * place->shape[1] + k;
                at.floats[i] = at.scales[row] * (float)at.values[i];
            }
    }
    car_model_pack(to, index, at.floats, to->weights);
}

static bool has_numbers(const car_model *model) {
    return model->kernels->all_finite(model->weights, model->weight_floats);
}

car_status car_model_int8_convert(const car_model *from, car_model *to, car_error *error) {
    const bool quantize = to->precision == CAR_PRECISION_INT8;
    size_t most = 1, rows = 1;
    if (quantize && !has_numbers(from))
        return car_fail(error, CAR_MODEL,
                        "model: a weight is no number; int8 has no place for it, train it anew");
    for (int i = 0; i < from->tensor_count; i++) {
        const car_tensor_place *place = &from->tensors[i];
        most = car_model_tensor_floats(from, i) > most ? car_model_tensor_floats(from, i) : most;
        rows = place->shape[0] > rows ? place->shape[0] : rows;
    }
    tensor_buffers at = {car_allocate(to->allocator, most, sizeof(float)),
                         car_allocate(to->allocator, rows, sizeof(float)),
                         car_allocate(to->allocator, most, 1)};
    const bool complete = at.floats && at.scales && at.values;
    for (int i = 0; i < from->tensor_count && complete; i++)
        (quantize ? quantize_tensor : restore_tensor)(from, to, i, at);
    car_release(to->allocator, at.floats);
    car_release(to->allocator, at.scales);
    car_release(to->allocator, at.values);
    return complete ? CAR_OK
                    : car_fail(error, CAR_MEMORY, "model: out of memory; use smaller layers");
}
