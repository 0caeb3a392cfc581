/*
 * bytes.c: how much memory a model takes, run and trained.
 *
 * In: a model, lanes and steps of training. Out: bytes, by the functions that the library allocates by.
 */
#include "cli.h"

cli_bytes cli_count_bytes(const car_model *model, int64_t batch, int64_t unroll) {
    const car_trainer_options training = {.batch = (int)batch, .steps = (int)unroll};
    return (cli_bytes){.model = car_model_bytes(model),
                       .session = car_session_bytes(model, NULL),
                       .trainer = car_trainer_bytes(model, &training),
                       .batch = batch,
                       .unroll = unroll};
}

static void add_part(car_text *text, const char *name, size_t bytes, const char *why_not) {
    if (bytes > 0)
        car_text_format(text, "%s %.3f MB", name, (double)bytes / 1e6);
    else
        car_text_format(text, "no %s (%s)", name, why_not);
}

void cli_add_bytes(car_text *text, const cli_bytes *bytes) {
    add_part(text, "model", bytes->model, "empty");
    car_text_format(text, ", ");
    add_part(text, "session", bytes->session, "the net needs whole sequences");
    car_text_format(text, ", ");
    add_part(text, "trainer", bytes->trainer, "int8, or too large");
    if (bytes->trainer > 0)
        car_text_format(text, " (adam, batch %lld, unroll %lld; its model included)",
                        (long long)bytes->batch, (long long)bytes->unroll);
    car_text_format(text, "\n");
}
