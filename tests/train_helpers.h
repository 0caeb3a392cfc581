/*
 * train_helpers.h: what test_train.c and test_fit.c share: small models, a made-up language, comparisons.
 */
#ifndef CAR_TRAIN_HELPERS_H
#define CAR_TRAIN_HELPERS_H

#include "train.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* `call` passes `fault` for its error. */
#define ok(call)                                                                                   \
    do {                                                                                           \
        car_error fault_of_call = {0}, *fault = &fault_of_call;                                    \
        car_status status_of_call = (call);                                                        \
        if (status_of_call != CAR_OK)                                                              \
            print_error("%s\n", fault->message);                                                   \
        assert_int_equal(status_of_call, CAR_OK);                                                  \
    } while (0)

static inline void assert_near(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.17g is not within %g of %.17g", value, tolerance, expected);
}

/* What make_model makes; NULL: f32. Tests run in bf16 too between these two. */
static const char *model_precision;
static inline int in_bf16(void **state) {
    (void)state;
    model_precision = "bf16";
    return 0;
}
static inline int in_f32(void **state) {
    (void)state;
    model_precision = NULL;
    return 0;
}

static inline car_model *make_model(const char *text, const car_cell *const *cells, int cell_count,
                                    int inputs, int outputs) {
    car_net *net;
    car_model *model;
    car_model_options options = {.input_size = inputs, .output_size = outputs, .seed = 5,
                                 .precision = model_precision};
    ok(car_net_parse(text, cells, cell_count, NULL, &net, fault));
    ok(car_model_create(net, &options, NULL, &model, fault));
    car_net_free(net);
    return model;
}

static inline car_trainer *make_trainer(const char *text, int inputs, int outputs,
                                        const car_trainer_options *options) {
    car_trainer *trainer;
    car_model *model = make_model(text, NULL, 0, inputs, outputs);
    ok(car_trainer_create(model, options, NULL, &trainer, fault));
    car_model_free(model);
    return trainer;
}

/* A made-up language: symbol t depends on symbol t-1 and a counter-based coin. */
enum { SYMBOLS = 11 };
typedef struct language_batch {
    int32_t input[32 * 32], target[32 * 32];
    car_batch batch;
} language_batch;

static inline void make_batch(language_batch *out, int lanes, int steps, int64_t number) {
    car_random_key key = {.seed = 3, .purpose = CAR_RANDOM_TEST};
    for (int lane = 0; lane < lanes; lane++) {
        int symbol = lane % SYMBOLS;
        for (int t = 0; t < steps; t++) {
            uint32_t coin[4];
            car_random_block(key, (uint64_t)number, (uint64_t)lane * 1000 + (uint64_t)t, coin);
            int next = (symbol * 3 + 1 + (coin[0] % 4 == 0)) % SYMBOLS;
            out->input[t * lanes + lane] = symbol;
            out->target[t * lanes + lane] = next;
            symbol = next;
        }
    }
    out->batch = (car_batch){
        .steps = steps, .reset = number % 5 == 0, .input = out->input, .target = out->target};
}

static inline void run_updates(car_trainer *trainer, int64_t first, int64_t last) {
    language_batch data;
    for (int64_t update = first; update < last; update++) {
        make_batch(&data, trainer->options.batch, trainer->options.steps - (int)(update % 3),
                   update);
        ok(car_trainer_step(trainer, &data.batch, 0.01f, NULL, fault));
    }
}

static inline void assert_same_weights(const car_trainer *a, const car_trainer *b) {
    assert_int_equal(a->weight_floats, b->weight_floats);
    assert_memory_equal(a->model->weights, b->model->weights, a->weight_floats * sizeof(float));
}

static inline char *read_bytes(const char *path, size_t *length) {
    char *data;
    ok(car_file_read(path, 1 << 28, NULL, &data, length, fault));
    return data;
}

static inline void assert_same_files(const char *a, const char *b) {
    size_t length_a, length_b;
    char *data_a = read_bytes(a, &length_a), *data_b = read_bytes(b, &length_b);
    assert_int_equal(length_a, length_b);
    assert_memory_equal(data_a, data_b, length_a);
    car_release(NULL, data_a);
    car_release(NULL, data_b);
}

static inline void assert_mentions(const char *message, const char *part) {
    if (!strstr(message, part))
        fail_msg("'%s' does not mention '%s'", message, part);
}

#endif
