/*
 * fuzz_model: libFuzzer's bytes as a model file, or as the text of a net.
 *
 * In:  any bytes. A first byte 'N' makes the rest a net's text; else all of it is a file. Out: nothing; the sanitizers
 * watch. What is accepted must run a step. The mutator starts anew from a small valid file (without digests, which
 * would refuse every change) now and then, so that changes reach the net, the sizes and the tensors.
 */
#include "network.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

static void check(bool holds) {
    if (!holds)
        abort();
}

static const char header[] =
    "{\"__metadata__\":{\"carousel.format\":\"1\",\"carousel.net\":\"embed 2 | own 3 x1 | "
    "softmax\","
    "\"carousel.cell.own\":\"cell own(x) -> y\\nstate y\\ny' = tanh(W@x + u*y + b)\\n"
    "torch weight_ih = W\\ntorch bias_ih = b\\ntorch bias_hh = 0\\n\","
    "\"carousel.input_size\":\"4\",\"carousel.output_size\":\"2\"},"
    "\"encoder.weight\":{\"dtype\":\"F32\",\"shape\":[4,2],\"data_offsets\":[0,32]},"
    "\"layers.0.weight_ih_l0\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[32,56]},"
    "\"layers.0.bias_ih_l0\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[56,68]},"
    "\"layers.0.bias_hh_l0\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[68,80]},"
    "\"layers.0.u\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[80,92]},"
    "\"decoder.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[92,116]},"
    "\"decoder.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[116,124]}}";
enum { HEADER = sizeof header - 1, SEED = 8 + HEADER + 124 };

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed) {
    static const char net[] =
        "Nembed 4 | rnn 3 x2 bi dropout 0.5 | dense 6 residual | softmax last tie";
    if (seed % 8 == 0 && most >= SEED) {
        uint64_t length = HEADER;
        memcpy(data, &length, 8);
        memcpy(data + 8, header, HEADER);
        memset(data + 8 + HEADER, 0, 124);
        size = SEED;
    } else if (seed % 16 == 1 && most >= sizeof net) {
        memcpy(data, net, sizeof net - 1);
        size = sizeof net - 1;
    }
    return LLVMFuzzerMutate(data, size, most);
}

static void run_step(const car_model *model) {
    car_session *session;
    car_error error = {0};
    if (model->net->bidirectional || model->net->pool != CAR_POOL_EACH || model->output_size > 4096)
        return;
    const car_session_options options = {.lanes = 2, .steps = 2};
    check(car_session_create(model, &options, NULL, &session, &error) == CAR_OK);
    void *input = calloc(2 * (size_t)model->input_size, sizeof(float));
    float *output = calloc(2 * (size_t)model->output_size, sizeof *output);
    check(input && output && car_session_step(session, input, output, &error) == CAR_OK);
    free(input);
    free(output);
    car_session_free(session);
}

static void check_refused(car_status status, const car_error *error) {
    check(status == error->status && error->message[0] != '\0');
}

/* Sizes of a text are anybody's choice; those of a file must be the file's. */
static bool is_small(const car_net *net) {
    car_layer_sizes sizes[CAR_NET_LAYER_LIMIT];
    if (net->layer_count > 8 || car_net_sizes(net, 4, sizes, NULL) != CAR_OK)
        return false;
    for (int i = 0; i < net->layer_count; i++)
        if (sizes[i].output > 64)
            return false;
    return true;
}

static void try_net(const uint8_t *data, size_t size) {
    car_net *net;
    car_model *model;
    car_error error = {0};
    char *text = calloc(size + 1, 1);
    check(text != NULL);
    memcpy(text, data, size);
    car_status status = car_net_parse_with(text, NULL, 0, false, NULL, &net, &error);
    free(text);
    if (status != CAR_OK) {
        check_refused(status, &error);
        return;
    }
    const car_model_options options = {.input_size = 4, .output_size = 4};
    if (is_small(net)) {
        status = car_model_create(net, &options, NULL, &model, &error);
        if (status == CAR_OK) {
            run_step(model);
            car_model_free(model);
        } else {
            check_refused(status, &error);
        }
    }
    car_net_free(net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0 && data[0] == 'N') {
        try_net(data + 1, size - 1);
        return 0;
    }
    car_container *container;
    car_model *model;
    car_error error = {0};
    if (car_container_parse(data, size, "fuzz", NULL, &container, &error) != CAR_OK)
        return 0;
    car_status status = car_model_read(container, "fuzz", NULL, &model, &error);
    if (status == CAR_OK) {
        run_step(model);
        car_model_free(model);
    } else {
        check_refused(status, &error);
        check(status == CAR_MODEL || status == CAR_MEMORY);
    }
    car_container_free(container);
    return 0;
}
