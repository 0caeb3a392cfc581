/*
 * inspect_batch.c: looks into a model over sequences side by side: gates, memory, gradients, clipping, frozen gates.
 *
 * In: a model, a batch of whole sequences, windows of one length with the target behind each. Out: an inspect_sight without
 * what only a running text has.
 */
#include "inspect_parts.h"

static car_status give_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                             car_error *error) {
    (void)epoch;
    (void)index;
    (void)error;
    *batch = *(const car_batch *)context;
    return CAR_OK;
}

/* The same net with the weights that its training began with: a function of seed and schemes. */
static car_status survey_fresh(const car_model *model, const inspect_batches *given,
                               car_arena *arena, inspect_sight *sight, car_error *error) {
    car_model *fresh;
    const car_model_options options = {.input_size = car_model_input_size(model),
                                       .output_size = car_model_output_size(model),
                                       .seed = (uint64_t)sight->record.seed,
                                       .init = sight->record.init,
                                       .bias_init = sight->record.bias_init,
                                       .precision = car_model_precision(model)};
    CAR_TRY(car_model_create(model->net, &options, NULL, &fresh, error));
    car_status status =
        car_model_survey_batch(fresh, &given->whole, given->lanes, arena, &sight->fresh, error);
    car_model_free(fresh);
    return status;
}

car_status cli_inspect_batches(const car_model *model, inspect_batches *given, car_arena *arena,
                               inspect_sight *sight, car_error *error) {
    const car_fit_source source = {
        .context = &given->whole, .updates_per_epoch = 1, .batch = give_batch};
    CAR_TRY(
        car_model_survey_batch(model, &given->whole, given->lanes, arena, &sight->survey, error));
    CAR_TRY(survey_fresh(model, given, arena, sight, error));
    if (given->window_lanes > 0 && !model->net->bidirectional)
        CAR_TRY(
            car_model_flow(model, &given->window, given->window_lanes, arena, &sight->flow, error));
    CAR_TRY(cli_inspect_norms(model, &sight->record, &given->training, given->training_lanes,
                              given->training_steps, &sight->clipping, error));
    return car_model_freeze(model, &source, given->lanes, given->whole.steps, arena,
                            &sight->freezing, error);
}
