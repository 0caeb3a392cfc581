/*
 * bench_lanes: what lanes of one batch cost: sequences of unequal length, and many streams that step together.
 *
 * In:  the number of threads for training (default 1). Out: for each length distribution the share of real steps and
 * the share of the even batch's time that an update takes; microseconds of a step of 64 streams together and apart.
 * Medians; the cases of a comparison take turns.
 */
#include "bench.h"
#include <stdlib.h>
#include <string.h>

enum { LANES = 32, STEPS = 100, UNITS = 128, STREAMS = 64, ROUNDS = 15, SINGLE_STEPS = 20 };

static void check(car_status status, const car_error *error) {
    if (status == CAR_OK)
        return;
    fprintf(stderr, "bench_lanes: %s\n", error->message);
    exit((int)status);
}

static car_model *make_model(const char *text, int inputs, int outputs) {
    car_error error;
    car_net *net;
    car_model *model;
    const car_model_options options = {.input_size = inputs, .output_size = outputs, .seed = 1};
    check(car_net_parse(text, NULL, 0, NULL, &net, &error), &error);
    check(car_model_create(net, &options, NULL, &model, &error), &error);
    car_net_free(net);
    return model;
}

static double median(double *times, int count) {
    qsort(times, (size_t)count, sizeof *times, car_order_doubles);
    return times[count / 2];
}

/* ---- Sequences of unequal length ---------------------------------------------------------------------- */

typedef struct length_case {
    const char *name;
    int lengths[LANES], steps;
    double times[ROUNDS];
} length_case;

static void fill_lengths(length_case *even, length_case *uniform, length_case *one) {
    const car_random_key key = {1, CAR_RANDOM_TEST, 0};
    for (int lane = 0; lane < LANES; lane++) {
        float u = car_random_uniform(key, 0, (uint64_t)lane);
        even->lengths[lane] = STEPS;
        uniform->lengths[lane] = 1 + (int)(u * STEPS);
        one->lengths[lane] = lane ? STEPS / 10 : STEPS;
        even->steps += even->lengths[lane];
        uniform->steps += uniform->lengths[lane];
        one->steps += one->lengths[lane];
    }
}

static void run_lengths(const char *net, int threads) {
    length_case cases[] = {{.name = "all 100"}, {.name = "1 to 100"}, {.name = "10, one of 100"}};
    enum { CASES = sizeof cases / sizeof *cases };
    fill_lengths(&cases[0], &cases[1], &cases[2]);
    car_model *model = make_model(net, UNITS, 10);
    const car_trainer_options options = {.batch = LANES, .steps = STEPS, .threads = threads};
    car_trainer *trainer;
    car_error error;
    check(car_trainer_create(model, &options, NULL, &trainer, &error), &error);
    float *input = car_allocate(NULL, (size_t)STEPS * LANES * UNITS, sizeof(float));
    int32_t *target = car_allocate(NULL, (size_t)STEPS * LANES, sizeof(int32_t));
    if (!input || !target)
        exit(CAR_MEMORY);
    for (int i = 0; i < STEPS * LANES * UNITS; i++)
        input[i] = 0.1f * (float)(i % 13 - 6);
    for (int round = -1; round < ROUNDS; round++)
        for (int c = 0; c < CASES; c++) {
            const car_batch batch = {.steps = STEPS,
                                     .reset = true,
                                     .input = input,
                                     .target = target,
                                     .lengths = cases[c].lengths};
            double start = car_seconds();
            check(car_trainer_step(trainer, &batch, 1e-4f, NULL, &error), &error);
            if (round >= 0)
                cases[c].times[round] = car_seconds() - start;
        }
    double even = median(cases[0].times, ROUNDS);
    for (int c = 0; c < CASES; c++) {
        double time = median(cases[c].times, ROUNDS);
        printf("%-28s lengths %-15s %5.1f %% of the steps %8.3f ms %5.1f %% of the time\n", net,
               cases[c].name, 100.0 * cases[c].steps / (LANES * STEPS), time * 1e3,
               100 * time / even);
    }
    car_release(NULL, input);
    car_release(NULL, target);
    car_trainer_free(trainer);
    car_model_free(model);
}

/* ---- Streams ------------------------------------------------------------------------------------------ */

static void run_streams(const char *cell, int units) {
    char text[64];
    snprintf(text, sizeof text, "%s %d | linear", cell, units);
    car_model *model = make_model(text, units, 1);
    car_session *together, *apart[STREAMS];
    const car_session_options options = {.lanes = STREAMS};
    car_error error;
    check(car_session_create(model, &options, NULL, &together, &error), &error);
    float *input = car_allocate(NULL, (size_t)STREAMS * (size_t)units, sizeof(float));
    float output[STREAMS];
    bool half[STREAMS];
    double times[3][ROUNDS];
    if (!input)
        exit(CAR_MEMORY);
    for (int i = 0; i < STREAMS * units; i++)
        input[i] = 0.1f * (float)(i % 7);
    for (int s = 0; s < STREAMS; s++) {
        check(car_session_create(model, NULL, NULL, &apart[s], &error), &error);
        half[s] = s % 2 == 0;
    }
    for (int round = -1; round < ROUNDS; round++)
        for (int kind = 0; kind < 3; kind++) {
            double start = car_seconds();
            for (int step = 0; step < SINGLE_STEPS; step++) {
                if (kind == 0)
                    check(car_session_step(together, input, output, &error), &error);
                else if (kind == 1)
                    check(car_session_step_active(together, half, input, output, &error), &error);
                for (int s = 0; kind == 2 && s < STREAMS; s++)
                    check(car_session_step(apart[s], input + s * units, &output[s], &error),
                          &error);
            }
            if (round >= 0)
                times[kind][round] = (car_seconds() - start) / SINGLE_STEPS * 1e6;
        }
    double all = median(times[0], ROUNDS), some = median(times[1], ROUNDS);
    double single = median(times[2], ROUNDS);
    printf("%-5s I = H = %-4d 64 streams together %8.2f us, 32 of them %8.2f us, 64 apart %8.2f us "
           "(%.1f times)\n",
           cell, units, all, some, single, single / all);
    for (int s = 0; s < STREAMS; s++)
        car_session_free(apart[s]);
    car_session_free(together);
    car_release(NULL, input);
    car_model_free(model);
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    run_lengths("lstm 128 | softmax last", threads);
    run_lengths("gru 128 bi | softmax mean", threads);
    static const char *const cells[] = {"lstm", "gru", "rnn"};
    static const int units[] = {16, 64, 256};
    for (size_t c = 0; c < sizeof cells / sizeof *cells; c++)
        for (size_t k = 0; k < sizeof units / sizeof *units; k++)
            run_streams(cells[c], units[k]);
    return 0;
}
