/*
 * embed: ids become rows of the embedding, and the gradient goes back there.
 *
 * In:  ids [rows]. Out: rows [rows][padded units]; or gradient[id] += output_gradient[row], rows ascending.
 *
 * The matrix is row-major [input_size][padded units], or, when the head is tied to it, the head's panels: value k of
 * an id is column id % 64 of panel id / 64, row k. Threads share rows of the output when reading, units when
 * adding up, so that each sum has one order.
 */
#include "network.h"
#include <string.h>

/* Where an id's values start in a flat array; *stride: how far they are apart. */
static size_t place_of(const car_model *model, int32_t id, size_t *stride) {
    if (!model->net->tie) {
        *stride = 1;
        return model->layers[0].weights[0] +
               (size_t)id * (size_t)car_padded(model->layers[0].size.units);
    }
    *stride = CAR_PANEL;
    return model->head_weights + (size_t)(id / CAR_PANEL) * (size_t)model->head_depth * CAR_PANEL +
           (size_t)(id % CAR_PANEL);
}

car_status car_embed_check(const car_model *model, const int32_t *ids, size_t count, int batch,
                           const int *places, car_error *error) {
    for (size_t i = 0; i < count; i++) {
        size_t place = places ? (size_t)places[i] : i;
        if (ids[i] < 0 || ids[i] >= model->input_size)
            return car_fail(
                error, CAR_DATA,
                "input: id %d at step %zu, lane %zu is outside 0..%d, which the model knows; "
                "encode the data with the model's vocabulary",
                (int)ids[i], place / (size_t)batch, place % (size_t)batch, model->input_size - 1);
    }
    return CAR_OK;
}

static void copy_row(const car_model *model, int32_t id, size_t units, float *to) {
    size_t stride;
    const float *from = model->weights + place_of(model, id, &stride);
    for (size_t k = 0; k < units; k++)
        to[k] = from[k * stride];
}

void car_embed_gather(const car_model *model, const int32_t *ids, int row_begin, int row_end,
                      float *out) {
    size_t units = (size_t)model->layers[0].size.units;
    size_t padded = (size_t)car_padded((int)units);
    for (int row = row_begin; row < row_end; row++) {
        float *to = out + (size_t)row * padded;
        if (model->weights)
            copy_row(model, ids[row], units, to);
        else
            car_model_int8_embed(model, ids[row], to);
        memset(to + units, 0, (padded - units) * sizeof(float));
    }
}

void car_embed_zero(const car_model *model, int unit_begin, int unit_end, float *gradient) {
    const size_t padded = (size_t)car_padded(model->layers[0].size.units);
    for (int id = 0; id < model->input_size; id++)
        memset(gradient + model->layers[0].weights[0] + (size_t)id * padded + unit_begin, 0,
               (size_t)(unit_end - unit_begin) * sizeof(float));
}

void car_embed_scatter(const car_model *model, const int32_t *ids, int rows,
                       const float *output_gradient, int unit_begin, int unit_end,
                       float *gradient) {
    size_t padded = (size_t)car_padded(model->layers[0].size.units);
    for (int row = 0; row < rows; row++) {
        size_t stride;
        float *to = gradient + place_of(model, ids[row], &stride);
        const float *from = output_gradient + (size_t)row * padded;
        for (size_t k = (size_t)unit_begin; k < (size_t)unit_end; k++)
            to[k * stride] += from[k];
    }
}
