/* A cell of your own: a few equations in a string, trained without a rebuild. This one keeps a leaky memory with
 * a learned leak for every unit. The task: say at each step which symbol was seen DELAY steps ago. */
#include "carousel.h"
#include <stdio.h>

enum { LANES = 16, STEPS = 24, SYMBOLS = 3, DELAY = 2, UPDATES = 300 };

static const char equations[] = "# a gated leaky integrator\n"
                                "cell leaky(x) -> h\n"
                                "state h\n"
                                "k = sigmoid(Wk@x + Uk@h + bk)\n"
                                "n = tanh(W@x + U@h + b)\n"
                                "h' = k*h + (1 - k)*n\n"
                                "init bk = 1\n";

static int fail(const char *what, const car_error *error) {
    fprintf(stderr, "%s, line %d, column %d: %s\n", what, error->line, error->column,
            error->message);
    return (int)error->status;
}

/* Random symbols; the first DELAY targets are not counted (-1). */
static void fill(uint32_t *random, int32_t *input, int32_t *target) {
    for (int t = 0; t < STEPS; t++)
        for (int b = 0; b < LANES; b++) {
            *random = *random * 1664525u + 1013904223u;
            input[t * LANES + b] = (int32_t)((*random >> 16) % SYMBOLS);
            target[t * LANES + b] = t < DELAY ? -1 : input[(t - DELAY) * LANES + b];
        }
}

int main(void) {
    car_error error;
    car_cell *cell;
    car_net *net;
    car_model *model;
    car_trainer *trainer;
    if (car_cell_compile(equations, sizeof equations - 1, "leaky", NULL, &cell, &error))
        return fail("cell", &error);
    printf("%s, fingerprint %s\n", car_cell_name(cell), car_cell_fingerprint(cell));
    const car_cell *const cells[] = {cell};
    if (car_net_parse("embed 8 | leaky 32 | softmax", cells, 1, NULL, &net, &error))
        return fail("net", &error);
    car_model_options sizes = {.input_size = SYMBOLS, .output_size = SYMBOLS, .seed = 1};
    if (car_model_create(net, &sizes, NULL, &model, &error))
        return fail("model", &error);
    printf("%lld parameters\n", (long long)car_model_parameter_count(model));
    car_trainer_options options = {.batch = LANES, .steps = STEPS, .threads = 1, .clip_norm = 1};
    if (car_trainer_create(model, &options, NULL, &trainer, &error))
        return fail("trainer", &error);
    uint32_t random = 1;
    int32_t input[STEPS * LANES], target[STEPS * LANES];
    car_step_result result;
    for (int update = 0; update < UPDATES; update++) {
        fill(&random, input, target);
        car_batch batch = {.steps = STEPS, .reset = true, .input = input, .target = target};
        if (car_trainer_step(trainer, &batch, 0.01f, &result, &error))
            return fail("update", &error);
        if (update % 100 == 99)
            printf("update %4d  loss %.4f nats\n", update + 1, result.loss);
    }
    car_trainer_free(trainer);
    car_model_free(model);
    car_net_free(net);
    car_cell_free(cell);
    return result.loss > 0.1; /* guessing is 1.1 */
}
