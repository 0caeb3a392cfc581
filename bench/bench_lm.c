/*
 * bench_lm: where the time of a language model's update goes.
 *
 * In:  [THREADS [UNITS [CLASSES]]], by default 1, 650, 10,000. Out: for SGD and Adam, milliseconds of an update of
 * embed U | lstm U x2 | softmax at B20 T35 with its norm clipped, and of its parts: embedding and layers forward; the
 * head with its loss and gradients; layers backward with the embedding's gradient; the rest, which is the sweeps over
 * the weights (norm, update, transposed copies). Medians of runs that take turns.
 */
#include "bench.h"
#include <stdlib.h>

enum { LANES = 20, STEPS = 35, ROUNDS = 9, PARTS = 4 };

static void check(car_status status, const car_error *error) {
    if (status == CAR_OK)
        return;
    fprintf(stderr, "bench_lm: %s\n", error->message);
    exit((int)status);
}

static car_trainer *open_trainer(const char *optimizer, int threads, int units, int classes) {
    char text[96];
    car_error error;
    car_net *net;
    car_model *model;
    car_trainer *trainer;
    snprintf(text, sizeof text, "embed %d | lstm %d x2 | softmax", units, units);
    check(car_net_parse(text, NULL, 0, NULL, &net, &error), &error);
    const car_model_options sizes = {.input_size = classes, .output_size = classes, .seed = 1};
    check(car_model_create(net, &sizes, NULL, &model, &error), &error);
    const car_trainer_options options = {
        .batch = LANES, .steps = STEPS, .threads = threads, .optimizer = optimizer, .clip_norm = 5};
    check(car_trainer_create(model, &options, NULL, &trainer, &error), &error);
    car_model_free(model);
    car_net_free(net);
    return trainer;
}

/* Seconds until the forward pass, the loss and the backward pass are done. */
static void run_parts(car_trainer *trainer, const car_batch *batch, double done[3]) {
    car_error error;
    double loss, start = car_seconds();
    int64_t counted;
    check(car_shards_forward(trainer->shards, STEPS, NULL, batch->input, NULL, 0, &error), &error);
    done[0] = car_seconds() - start;
    check(
        car_shards_loss(trainer->shards, batch->target, trainer->gradient, &loss, &counted, &error),
        &error);
    done[1] = car_seconds() - start;
    car_shards_backward(trainer->shards, batch->input, trainer->gradient);
    done[2] = car_seconds() - start;
}

static void run(const char *optimizer, int threads, int units, int classes) {
    static const char *const names[PARTS] = {"forward", "head", "backward", "sweeps"};
    int32_t ids[LANES * STEPS], targets[LANES * STEPS];
    for (int i = 0; i < LANES * STEPS; i++) {
        ids[i] = (int32_t)((int64_t)i * 7919 % classes);
        targets[i] = (int32_t)((int64_t)i * 104729 % classes);
    }
    car_trainer *trainer = open_trainer(optimizer, threads, units, classes);
    const car_batch batch = {.steps = STEPS, .input = ids, .target = targets};
    double part[PARTS][ROUNDS], whole[ROUNDS];
    for (int round = -1; round < ROUNDS; round++) {
        car_error error;
        double done[3], start = car_seconds();
        check(car_trainer_step(trainer, &batch, 1e-4f, NULL, &error), &error);
        double update = car_seconds() - start;
        run_parts(trainer, &batch, done);
        if (round < 0)
            continue;
        whole[round] = update;
        part[0][round] = done[0];
        part[1][round] = done[1] - done[0];
        part[2][round] = done[2] - done[1];
        part[3][round] = update - done[2];
    }
    qsort(whole, ROUNDS, sizeof *whole, car_order_doubles);
    printf("%-5s %8.2f ms an update:", optimizer, whole[ROUNDS / 2] * 1e3);
    for (int k = 0; k < PARTS; k++) {
        qsort(part[k], ROUNDS, sizeof *part[k], car_order_doubles);
        printf("  %s %.2f (%.1f %%)", names[k], part[k][ROUNDS / 2] * 1e3,
               100 * part[k][ROUNDS / 2] / whole[ROUNDS / 2]);
    }
    printf("\n");
    car_trainer_free(trainer);
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1, units = argc > 2 ? atoi(argv[2]) : 650;
    int classes = argc > 3 ? atoi(argv[3]) : 10000;
    if (threads < 1 || units < 1 || classes < 1) {
        fprintf(stderr, "bench_lm: [THREADS [UNITS [CLASSES]]], each 1 or more\n");
        return CAR_USAGE;
    }
    run("sgd", threads, units, classes);
    run("adam", threads, units, classes);
    return 0;
}
