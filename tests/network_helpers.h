/*
 * network_helpers.h: what test_network.c and test_network_gradient.c share.
 */
#ifndef NETWORK_HELPERS_H
#define NETWORK_HELPERS_H

#include "network.h"
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What clang is asked for; gcc says the same in macros of its own. */
#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif

/* Fails the test with the library's message. */
static inline void require(car_status status, const car_error *error) {
    if (status != CAR_OK)
        fail_msg("%s (line %d, column %d)", error->message, error->line, error->column);
}

/* What make_model makes; NULL: f32. Tests run in bf16 or int8 too between two of these. */
static const char *model_precision;
static inline int in_bf16(void **state) {
    (void)state;
    model_precision = "bf16";
    return 0;
}
static inline int in_int8(void **state) {
    (void)state;
    model_precision = "int8";
    return 0;
}
static inline int in_f32(void **state) {
    (void)state;
    model_precision = NULL;
    return 0;
}

static inline car_model *make_model(const char *text, int input_size, int output_size,
                                    const char *init) {
    car_error error = {0};
    car_net *net;
    car_model *model;
    require(car_net_parse(text, NULL, 0, NULL, &net, &error), &error);
    bool int8 = model_precision && strcmp(model_precision, "int8") == 0;
    const car_model_options options = {
        .input_size = input_size, .output_size = output_size, .seed = 7, .init = init,
        .precision = int8 ? NULL : model_precision};
    require(car_model_create(net, &options, NULL, &model, &error), &error);
    car_net_free(net);
    if (!int8)
        return model;
    car_model *small;
    require(car_model_convert(model, "int8", NULL, &small, &error), &error);
    car_model_free(model);
    return small;
}

/* A copy of a model that may be trained; the original is freed. */
static inline car_model *make_trainable(car_model *model) {
    car_error error = {0};
    car_model *copy;
    require(car_model_copy(model, NULL, &copy, &error), &error);
    car_model_free(model);
    return copy;
}

static inline bool starts_with_ids(const car_model *model) {
    return model->net->layers[0].kind == CAR_LAYER_EMBED;
}

/* Rows of input: ids, or values in [-1, 1). The value of a place depends on (step, lane) alone. */
static inline void *make_input(const car_model *model, int steps, int batch, const int *lane_of) {
    size_t width = starts_with_ids(model) ? 1 : (size_t)model->input_size;
    const car_random_key key = {3, CAR_RANDOM_TEST, 0};
    uint32_t *rows = calloc((size_t)steps * (size_t)batch * width, 4);
    for (int t = 0; t < steps; t++)
        for (int b = 0; b < batch; b++)
            for (size_t k = 0; k < width; k++) {
                int lane = lane_of ? lane_of[b] : b;
                float u = car_random_uniform(key, (uint64_t)t, (uint64_t)lane * 1000 + k);
                size_t at = ((size_t)t * (size_t)batch + (size_t)b) * width + k;
                if (starts_with_ids(model))
                    ((int32_t *)rows)[at] = (int32_t)(u * (float)model->input_size);
                else
                    ((float *)rows)[at] = 2 * u - 1;
            }
    return rows;
}

/* Targets for the rows of the head. Every fifth class is not counted. */
static inline void *make_target(const car_model *model, int rows) {
    const car_random_key key = {4, CAR_RANDOM_TEST, 0};
    size_t outputs = (size_t)model->output_size;
    bool classes = model->net->head == CAR_HEAD_SOFTMAX;
    uint32_t *target = calloc((size_t)rows * outputs, 4);
    for (size_t i = 0; i < (size_t)rows * (classes ? 1 : outputs); i++) {
        float u = car_random_uniform(key, 0, i);
        if (classes)
            ((int32_t *)target)[i] = i % 5 == 4 ? -1 : (int32_t)(u * (float)outputs);
        else
            ((float *)target)[i] = u;
    }
    return target;
}

typedef struct placed_stack {
    car_stack *stack;
    void *memory;
} placed_stack;

static inline placed_stack place_stack(const car_model *model, int batch, int steps, int threads,
                                       bool backward) {
    const car_stack_shape shape = {.batch = batch, .steps = steps, .threads = threads, .backward = backward};
    size_t size = car_stack_size(model, &shape);
    assert_true(size > 0);
    placed_stack placed = {.memory = car_allocate(NULL, size, 1)};
    assert_non_null(placed.memory);
    placed.stack = car_stack_place(model, &shape, placed.memory);
    return placed;
}

static inline int head_rows_of(const car_model *model, int steps, int batch) {
    return model->net->pool == CAR_POOL_EACH ? steps / model->net->patch * batch : batch;
}

#endif
