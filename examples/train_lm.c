/* Trains a small character model on one sentence and lets it speak.
 * Build: cc train_lm.c $(pkg-config --cflags --libs carousel) -lm */
#include "carousel.h"
#include <stdio.h>

enum { LANES = 4, STEPS = 20, UPDATES = 300, CHARACTERS = 128 };

static const unsigned char sentence[] = "she sells sea shells by the sea shore. ";

static int fail(const char *what, const car_error *error) {
    fprintf(stderr, "%s: %s\n", what, error->message);
    return (int)error->status;
}

/* Lane b of update u goes on where it stopped; the target is the next character. */
static void fill(int update, int32_t *input, int32_t *target) {
    size_t length = sizeof sentence - 1;
    for (int t = 0; t < STEPS; t++)
        for (int b = 0; b < LANES; b++) {
            size_t at = (size_t)update * STEPS + (size_t)t + (size_t)b * 7;
            input[t * LANES + b] = sentence[at % length];
            target[t * LANES + b] = sentence[(at + 1) % length];
        }
}

static int most_likely(const float *logits) {
    int best = 0;
    for (int i = 1; i < CHARACTERS; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static int speak(const car_model *model, car_error *error) {
    car_session *session;
    float logits[CHARACTERS];
    int32_t character = 's';
    if (car_session_create(model, &(car_session_options){.lanes = 1}, NULL, &session, error))
        return fail("session", error);
    for (int i = 0; i < 78; i++) {
        putchar(character);
        if (car_session_step(session, &character, logits, error))
            return fail("step", error);
        character = most_likely(logits);
    }
    putchar('\n');
    car_session_free(session);
    return 0;
}

int main(void) {
    car_error error;
    car_net *net;
    car_model *model;
    car_trainer *trainer;
    if (car_net_parse("embed 16 | lstm 64 | softmax", NULL, 0, NULL, &net, &error))
        return fail("net", &error);
    car_model_options sizes = {.input_size = CHARACTERS, .output_size = CHARACTERS, .seed = 1};
    if (car_model_create(net, &sizes, NULL, &model, &error))
        return fail("model", &error);
    car_trainer_options options = {.batch = LANES, .steps = STEPS, .threads = 1, .clip_norm = 1};
    if (car_trainer_create(model, &options, NULL, &trainer, &error))
        return fail("trainer", &error);
    int32_t input[STEPS * LANES], target[STEPS * LANES];
    car_step_result result;
    for (int update = 0; update < UPDATES; update++) {
        fill(update, input, target);
        car_batch batch = {.steps = STEPS, .reset = update == 0, .input = input, .target = target};
        if (car_trainer_step(trainer, &batch, 0.01f, &result, &error))
            return fail("update", &error);
    }
    printf("loss after %d updates: %.3f nats a character\n", UPDATES, result.loss);
    int status = speak(car_trainer_model(trainer), &error);
    car_trainer_free(trainer);
    car_model_free(model);
    car_net_free(net);
    return status ? status : result.loss > 0.3;
}
