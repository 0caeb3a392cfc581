/* Runs a model one step at a time, the way a program that lives with its data does: no allocation, no lock.
 * `stream model.safetensors` takes a model of one input and one output; without, a new untrained one is made. */
#include "carousel.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 24, KEPT = 12 };

static void stop(const car_error *error) {
    fprintf(stderr, "%s\n", error->message);
    exit((int)error->status);
}

static car_status make_model(car_model **model, car_error *error) {
    car_net *net;
    car_status status = car_net_parse("lstm 32 x2 | linear", NULL, 0, NULL, &net, error);
    if (status)
        return status;
    car_model_options sizes = {.input_size = 1, .output_size = 1, .seed = 7};
    status = car_model_create(net, &sizes, NULL, model, error);
    car_net_free(net);
    return status;
}

int main(int count, char **arguments) {
    car_error error;
    car_model *model;
    car_session *session;
    if (count > 1 ? car_model_load(arguments[1], NULL, &model, &error) : make_model(&model, &error))
        stop(&error);
    if (car_model_input_size(model) != 1 || car_model_output_size(model) != 1) {
        fprintf(stderr, "this example wants a model of one input and one output\n");
        return 2;
    }
    if (car_session_create(model, &(car_session_options){.lanes = 1}, NULL, &session, &error))
        stop(&error);

    float *state = malloc(car_session_state_size(session) * sizeof *state);
    float output[STEPS], again;
    if (!state)
        return 6;
    for (int t = 0; t < STEPS; t++) {
        float input = sinf(0.3f * (float)t);
        if (t == KEPT)
            car_session_get_state(session, 0, state); /* what the model remembers here */
        if (car_session_step(session, &input, &output[t], &error))
            stop(&error);
        printf("%2d  in %+.4f  out %+.6f\n", t, (double)input, (double)output[t]);
    }

    car_session_set_state(session, 0, state); /* back in time: the same bits once more */
    int different = 0;
    for (int t = KEPT; t < STEPS; t++) {
        float input = sinf(0.3f * (float)t);
        if (car_session_step(session, &input, &again, &error))
            stop(&error);
        different += again != output[t];
    }
    printf("replayed from step %d: %d of %d outputs differ\n", KEPT, different, STEPS - KEPT);
    free(state);
    car_session_free(session);
    car_model_free(model);
    return different != 0;
}
