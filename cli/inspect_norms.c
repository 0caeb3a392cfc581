/*
 * inspect_norms.c: norms of the gradient in updates as training makes them, and how much of it clipping takes away.
 *
 * In: a model, what its record says, batches as its training has them. Out: a car_clipping.
 */
#include "inspect_parts.h"
#include <stdlib.h>

static void sum_up(car_clipping *clipping, double *norms) {
    int count = clipping->updates;
    qsort(norms, (size_t)count, sizeof *norms, car_order_doubles);
    clipping->median = (norms[(count - 1) / 2] + norms[count / 2]) / 2;
    clipping->most = norms[count - 1];
    for (int i = 0; i < count && clipping->threshold > 0; i++)
        if (norms[i] > clipping->threshold) {
            clipping->clipped += 1.0 / count;
            clipping->lost += (1 - clipping->threshold / norms[i]) / count;
        }
}

/* Updates at rate 0: the gradients of training, and the weights stay as they are. */
car_status cli_inspect_norms(const car_model *model, const inspect_record *record,
                             const car_fit_source *source, int lanes, int steps,
                             car_clipping *clipping, car_error *error) {
    double norms[INSPECT_UPDATES];
    const car_trainer_options options = {.batch = lanes,
                                         .steps = steps,
                                         .threads = 1,
                                         .optimizer = "sgd",
                                         .seed = (uint64_t)record->seed};
    car_trainer *trainer;
    *clipping = (car_clipping){.threshold = record->clip};
    CAR_TRY(car_trainer_create(model, &options, NULL, &trainer, error));
    car_status status = CAR_OK;
    for (int64_t i = 0; i < source->updates_per_epoch && i < INSPECT_UPDATES && status == CAR_OK;
         i++) {
        car_batch batch;
        car_step_result result;
        status = source->batch(source->context, 0, i, &batch, error);
        if (status == CAR_OK)
            status = car_trainer_step(trainer, &batch, 0, &result, error);
        if (status == CAR_OK)
            norms[clipping->updates++] = result.gradient_norm;
    }
    car_trainer_free(trainer);
    if (status == CAR_OK && clipping->updates > 0)
        sum_up(clipping, norms);
    return status;
}
