/*
 * One update. In: a batch and a learning rate. Out: new weights, the carried state, loss and gradient norm.
 *
 *   weights dropped (keyed by the seed and the update) -> forward (dropout keyed by the seed and the absolute time)
 *   -> mean loss -> backward -> norm -> clip -> optimizer -> transposed copies
 *   -> the final state becomes the next start state
 *
 * Forward, loss and backward run in shards of the batch (network/shards.c). A weight array is swept in chunks of
 * CAR_UPDATE_CHUNK floats, which are what threads share out. Sums over it are made chunk by chunk and then added in the
 * chunks' order, so that threads never change a bit.
 * An update that could leave the range of float is made on trial, with the old weights at hand.
 */
#include "train.h"
#include <math.h>
#include <string.h>

enum { ROWS_LIMIT = 1 << 20, NAME_LIMIT = 64 };

typedef struct optimizer_entry {
    const char *name;
    car_optimizer_kind kind;
    bool first, second;
} optimizer_entry;

static const optimizer_entry optimizers[] = {
    {"sgd", CAR_OPTIMIZER_SGD, false, false}, /* `first` with momentum */
    {"adam", CAR_OPTIMIZER_ADAM, true, true},
    {"adamw", CAR_OPTIMIZER_ADAMW, true, true},
    {"rmsprop", CAR_OPTIMIZER_RMSPROP, false, true},
};

static const optimizer_entry *find_optimizer(const char *name) {
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++)
        if (strcmp(optimizers[i].name, name) == 0)
            return &optimizers[i];
    return NULL;
}

/* ---- Options ------------------------------------------------------------------------------------------ */

static car_status check_sizes(const car_trainer_options *options, car_error *error) {
    if (options->batch < 1 || options->steps < 1)
        return car_fail(error, CAR_USAGE, "trainer: batch %d, steps %d; both must be at least 1",
                        options->batch, options->steps);
    if ((int64_t)options->batch * options->steps > ROWS_LIMIT)
        return car_fail(
            error, CAR_USAGE,
            "trainer: batch %d times steps %d is above %d rows; take fewer steps or lanes",
            options->batch, options->steps, ROWS_LIMIT);
    if (options->threads < 0)
        return car_fail(error, CAR_USAGE, "trainer: threads %d; give 0 (all) or more",
                        options->threads);
    return CAR_OK;
}

static car_status check_number(const char *name, float value, float limit, car_error *error) {
    if (value >= 0 && value < limit)
        return CAR_OK;
    if (isfinite(limit))
        return car_fail(error, CAR_USAGE, "trainer: %s %g is outside [0, %g)", name, value, limit);
    return car_fail(error, CAR_USAGE, "trainer: %s %g; give 0 or a number above it", name, value);
}

/* Fills defaults in and refuses what cannot be meant. */
static car_status complete_options(const car_trainer_options *given, car_trainer_options *options,
                                   const optimizer_entry **entry, car_error *error) {
    *options = *given;
    CAR_TRY(check_sizes(options, error));
    const char *name = given->optimizer ? given->optimizer : "adam";
    *entry = find_optimizer(name);
    if (!*entry)
        return car_fail(error, CAR_USAGE,
                        "trainer: no optimizer '%.*s'; choose sgd, adam, adamw or rmsprop",
                        NAME_LIMIT, name);
    options->optimizer = (*entry)->name;
    CAR_TRY(check_number("momentum", options->momentum, 1, error));
    CAR_TRY(check_number("beta1", options->beta1, 1, error));
    CAR_TRY(check_number("beta2", options->beta2, 1, error));
    CAR_TRY(check_number("epsilon", options->epsilon, INFINITY, error));
    CAR_TRY(check_number("decay", options->decay, INFINITY, error));
    CAR_TRY(check_number("clip_norm", options->clip_norm, INFINITY, error));
    CAR_TRY(check_number("clip_value", options->clip_value, INFINITY, error));
    if (options->momentum > 0 && (*entry)->kind != CAR_OPTIMIZER_SGD)
        return car_fail(
            error, CAR_USAGE,
            "trainer: momentum belongs to sgd, the optimizer is %s; leave one of them out", name);
    if (options->beta1 == 0)
        options->beta1 = 0.9f;
    if (options->beta2 == 0)
        options->beta2 = 0.999f;
    if (options->epsilon == 0)
        options->epsilon = 1e-8f;
    return CAR_OK;
}

/* ---- Making and freeing ------------------------------------------------------------------------------- */

typedef struct trainer_places {
    size_t trainer, shards, evaluation, gradient, first, second, state, sums;
} trainer_places;

static car_status plan_memory(const struct car_model *model, const car_stack_shape *shape,
                              size_t state_floats, bool first, bool second, car_layout *layout,
                              trainer_places *at, car_error *error) {
    car_stack_shape evaluation = *shape;
    evaluation.backward = false;
    size_t shards_bytes = car_shards_size(model, shape);
    size_t evaluation_bytes = car_shards_size(model, &evaluation);
    size_t chunks = (model->weight_floats + CAR_UPDATE_CHUNK - 1) / CAR_UPDATE_CHUNK;
    size_t state_count;
    at->trainer = car_layout_add(layout, 1, sizeof(car_trainer));
    at->shards = car_layout_add(layout, shards_bytes, 1);
    at->evaluation = car_layout_add(layout, evaluation_bytes, 1);
    at->gradient = car_layout_add(layout, model->weight_floats, sizeof(float));
    at->first = first ? car_layout_add(layout, model->weight_floats, sizeof(float)) : 0;
    at->second = second ? car_layout_add(layout, model->weight_floats, sizeof(float)) : 0;
    if (!car_multiply((size_t)shape->batch, state_floats, &state_count))
        layout->overflow = true;
    at->state = car_layout_add(layout, state_count, sizeof(float));
    at->sums = car_layout_add(layout, chunks, sizeof(double));
    if (layout->overflow || shards_bytes == 0 || evaluation_bytes == 0 || chunks > INT32_MAX)
        return car_fail(error, CAR_MEMORY,
                        "trainer: batch %d and steps %d need more memory than can be addressed; "
                        "take fewer",
                        shape->batch, shape->steps);
    return CAR_OK;
}

/* car_shards_state_floats before there are any: the carried states are those of the forward directions. */
static size_t count_state_floats(const struct car_model *model) {
    size_t floats = 0;
    for (int i = 0; i < model->net->layer_count; i++) {
        const car_net_layer *layer = &model->net->layers[i];
        if (layer->kind == CAR_LAYER_CELL)
            floats += (size_t)layer->cell->state_count * (size_t)model->layers[i].size.units;
    }
    return floats;
}

static double sum_squares(const car_trainer *trainer, const float *values) {
    double sum = 0;
    for (size_t at = 0; at < trainer->weight_floats; at += CAR_UPDATE_CHUNK) {
        size_t left = trainer->weight_floats - at;
        sum += trainer->model->kernels->square_sum(
            values + at, left < CAR_UPDATE_CHUNK ? left : CAR_UPDATE_CHUNK);
    }
    return sum;
}

static void place_trainer(char *memory, const trainer_places *at, const car_stack_shape *shape,
                          bool first, bool second, struct car_model *model) {
    car_trainer *trainer = (car_trainer *)(void *)(memory + at->trainer);
    car_stack_shape evaluation = *shape;
    evaluation.backward = false;
    trainer->model = model;
    trainer->threads = shape->threads;
    trainer->shards = car_shards_place(model, shape, memory + at->shards);
    trainer->evaluation = car_shards_place(model, &evaluation, memory + at->evaluation);
    trainer->gradient = (float *)(void *)(memory + at->gradient);
    trainer->first = first ? (float *)(void *)(memory + at->first) : NULL;
    trainer->second = second ? (float *)(void *)(memory + at->second) : NULL;
    trainer->state = (float *)(void *)(memory + at->state);
    trainer->chunk_sums = (double *)(void *)(memory + at->sums);
    trainer->weight_floats = model->weight_floats;
    trainer->state_floats = car_shards_state_floats(trainer->shards);
    trainer->chunks = (int)((model->weight_floats + CAR_UPDATE_CHUNK - 1) / CAR_UPDATE_CHUNK);
}

/* 0 threads: all processors, or one where an update has so few multiply-adds (a weight a row) that opening and closing
 * the teams of its passes would take longer than sharing them saves. */
static int choose_threads(const struct car_model *model, const car_trainer_options *options) {
    static const double WORTH_SHARING = 2e6;
    double rows = (double)options->batch * options->steps;
    bool small = (double)model->weight_floats * rows < WORTH_SHARING;
    return options->threads == 0 && small ? 1 : car_thread_count(options->threads);
}

static car_status build_trainer(struct car_model *model, const car_trainer_options *given,
                                const car_allocator *allocator, car_trainer **result,
                                car_error *error) {
    car_trainer_options options;
    const optimizer_entry *entry;
    CAR_TRY(complete_options(given, &options, &entry, error));
    CAR_TRY(car_model_prepare_training(model, error));
    bool first = entry->first || options.momentum > 0;
    car_stack_shape shape = {.batch = options.batch,
                             .steps = options.steps,
                             .threads = choose_threads(model, &options),
                             .backward = true};
    car_layout layout = {0, false};
    trainer_places at;
    CAR_TRY(plan_memory(model, &shape, count_state_floats(model), first, entry->second, &layout,
                        &at, error));
    char *memory = car_allocate(allocator, layout.size, 1);
    if (!memory)
        return car_fail(error, CAR_MEMORY,
                        "trainer: no memory for %.1f MB; take fewer lanes (%d) or steps (%d)",
                        (double)layout.size / 1e6, options.batch, options.steps);
    place_trainer(memory, &at, &shape, first, entry->second, model);
    car_trainer *trainer = (car_trainer *)(void *)memory;
    trainer->allocator = allocator;
    trainer->options = options;
    trainer->optimizer = entry->kind;
    trainer->weight_norm = sqrt(sum_squares(trainer, model->weights));
    trainer->fit.last_update = trainer->fit.validated_update = trainer->fit.best_update = -1;
    trainer->fit.best_validation = trainer->fit.validation = NAN;
    car_shards_reset(trainer->shards);
    car_shards_reset(trainer->evaluation);
    *result = trainer;
    return CAR_OK;
}

size_t car_trainer_bytes(const car_model *model, const car_trainer_options *given) {
    car_trainer_options options;
    const optimizer_entry *entry;
    size_t own = car_model_training_bytes(model), bytes;
    if (own == 0 || complete_options(given, &options, &entry, NULL) != CAR_OK)
        return 0;
    car_stack_shape shape = {.batch = options.batch,
                             .steps = options.steps,
                             .threads = choose_threads(model, &options),
                             .backward = true};
    car_layout layout = {0, false};
    trainer_places at;
    if (plan_memory(model, &shape, count_state_floats(model), entry->first || options.momentum > 0,
                    entry->second, &layout, &at, NULL) != CAR_OK ||
        !car_add(own, layout.size, &bytes))
        return 0;
    return bytes;
}

car_status car_trainer_adopt(struct car_model *model, const car_trainer_options *options,
                             const car_allocator *allocator, car_trainer **trainer,
                             car_error *error) {
    car_status status =
        build_trainer(model, options, car_allocator_or_default(allocator), trainer, error);
    if (status != CAR_OK)
        car_model_free(model);
    return status;
}

car_status car_trainer_create(const car_model *model, const car_trainer_options *options,
                              const car_allocator *allocator, car_trainer **trainer,
                              car_error *error) {
    *trainer = NULL;
    car_trainer_options complete;
    const optimizer_entry *entry;
    CAR_TRY(complete_options(options, &complete, &entry, error));
    struct car_model *copy;
    CAR_TRY(car_model_copy(model, allocator, &copy, error));
    return car_trainer_adopt(copy, options, allocator, trainer, error);
}

void car_trainer_free(car_trainer *trainer) {
    if (!trainer)
        return;
    car_model_free(trainer->model);
    car_release(trainer->allocator, trainer);
}

const car_model *car_trainer_model(const car_trainer *trainer) {
    return trainer->model;
}

int64_t car_trainer_updates(const car_trainer *trainer) {
    return trainer->updates;
}

car_status car_trainer_set_metadata(car_trainer *trainer, const char *key, const char *value,
                                    car_error *error) {
    return car_model_set_metadata(trainer->model, key, value, error);
}

car_random_key car_trainer_dropout_key(const car_trainer *trainer) {
    return (car_random_key){.seed = trainer->options.seed, .purpose = CAR_RANDOM_DROPOUT};
}

/* ---- Sweeps over the weight array --------------------------------------------------------------------- */

typedef struct sweep {
    car_trainer *trainer;
    void (*visit)(struct sweep *sweep, int chunk, size_t begin, size_t end);
    car_update update;
} sweep;

static void sweep_share(void *argument, car_team *team, int member, int members) {
    (void)team;
    sweep *task = argument;
    int first, last;
    car_team_share(task->trainer->chunks, 1, member, members, &first, &last);
    for (int chunk = first; chunk < last; chunk++) {
        size_t begin = (size_t)chunk * CAR_UPDATE_CHUNK, end = begin + CAR_UPDATE_CHUNK;
        if (end > task->trainer->weight_floats)
            end = task->trainer->weight_floats;
        task->visit(task, chunk, begin, end);
    }
}

static void run_sweep(sweep *task) {
    int threads = task->trainer->threads, chunks = task->trainer->chunks;
    car_team_run(chunks < threads ? (chunks > 0 ? chunks : 1) : threads, sweep_share, task);
}

static void visit_gradient_norm(sweep *task, int chunk, size_t begin, size_t end) {
    car_trainer *trainer = task->trainer;
    trainer->chunk_sums[chunk] =
        trainer->model->kernels->square_sum(trainer->gradient + begin, end - begin);
}

/* The largest size in the gradient, for the count of updates clipped by value. */
static void visit_largest(sweep *task, int chunk, size_t begin, size_t end) {
    car_trainer *trainer = task->trainer;
    float largest = 0;
    for (size_t i = begin; i < end; i++) {
        float size = fabsf(trainer->gradient[i]);
        largest = size > largest ? size : largest;
    }
    trainer->chunk_sums[chunk] = (double)largest;
}

static bool exceeds_clip_value(car_trainer *trainer, float gradient_scale) {
    sweep task = {.trainer = trainer, .visit = visit_largest};
    if (trainer->options.clip_value <= 0)
        return false;
    run_sweep(&task);
    for (int chunk = 0; chunk < trainer->chunks; chunk++)
        if ((float)trainer->chunk_sums[chunk] * gradient_scale > trainer->options.clip_value)
            return true;
    return false;
}

/* The new weights are still in cache: their norm, which is not finite when one of them is not, is almost free. */
static void visit_update(sweep *task, int chunk, size_t begin, size_t end) {
    car_trainer *trainer = task->trainer;
    const car_kernels *kernels = trainer->model->kernels;
    kernels->update(&task->update, begin, end);
    trainer->chunk_sums[chunk] = kernels->square_sum(trainer->model->weights + begin, end - begin);
}

static double norm_of_chunks(const car_trainer *trainer) {
    double sum = 0;
    for (int chunk = 0; chunk < trainer->chunks; chunk++)
        sum += trainer->chunk_sums[chunk];
    return sqrt(sum);
}

/* ---- The update --------------------------------------------------------------------------------------- */

/* Far from the largest float whatever the moments hold: then no weight can leave its range. */
static bool update_is_safe(const car_trainer *trainer, double rate, double norm) {
    const double gradient_limit = 1e15, weight_limit = 1e30;
    const car_trainer_options *options = &trainer->options;
    double divisor = trainer->optimizer == CAR_OPTIMIZER_SGD ? 1 - (double)options->momentum
                                                             : (double)options->epsilon;
    double decay = 1 + (double)options->decay * trainer->weight_norm;
    return !trainer->wary && norm * decay <= gradient_limit &&
           trainer->weight_norm <= weight_limit &&
           rate * gradient_limit / divisor <= weight_limit && rate * decay <= weight_limit;
}

static void apply_update(car_trainer *trainer, float rate, float gradient_scale) {
    const car_trainer_options *options = &trainer->options;
    double updates = (double)(trainer->updates + 1);
    sweep task = {trainer,
                  visit_update,
                  {.kind = trainer->optimizer,
                   .rate = rate,
                   .momentum = options->momentum,
                   .beta1 = options->beta1,
                   .beta2 = options->beta2,
                   .epsilon = options->epsilon,
                   .decay = options->decay,
                   .gradient_scale = gradient_scale,
                   .clip_value = options->clip_value,
                   .correction1 = (float)(1 - pow(options->beta1, updates)),
                   .correction2 = (float)(1 - pow(options->beta2, updates)),
                   .weights = trainer->model->weights,
                   .gradient = trainer->gradient,
                   .first = trainer->first,
                   .second = trainer->second}};
    run_sweep(&task);
    trainer->weight_norm = norm_of_chunks(trainer);
}

/* Copies weights and moments to `kept` or, `back`, from there. */
static void keep_values(car_trainer *trainer, float *kept, bool back) {
    float *arrays[] = {trainer->model->weights, trainer->first, trainer->second};
    size_t bytes = trainer->weight_floats * sizeof(float);
    for (int i = 0; i < 3; i++, kept += trainer->weight_floats)
        if (arrays[i])
            memcpy(back ? arrays[i] : kept, back ? kept : arrays[i], bytes);
}

static bool values_are_finite(const car_trainer *trainer) {
    const car_kernels *kernels = trainer->model->kernels;
    size_t count = trainer->weight_floats;
    return isfinite(trainer->weight_norm) &&
           (!trainer->first || kernels->all_finite(trainer->first, count)) &&
           (!trainer->second || kernels->all_finite(trainer->second, count));
}

/* The update when it may leave the range of float: done, looked at, undone if it did. */
static car_status try_update(car_trainer *trainer, float rate, float gradient_scale,
                             car_error *error) {
    size_t count;
    float *kept = car_multiply(trainer->weight_floats, 3, &count)
                      ? car_allocate(trainer->allocator, count, sizeof(float))
                      : NULL;
    if (!kept)
        return car_fail(error, CAR_MEMORY,
                        "trainer: no memory to try an update with rate %g, whose size is near the "
                        "limit of float; lower the rate",
                        rate);
    double weight_norm = trainer->weight_norm;
    trainer->wary = true;
    keep_values(trainer, kept, false);
    apply_update(trainer, rate, gradient_scale);
    bool finite = values_are_finite(trainer);
    car_status status = CAR_OK;
    if (!finite) {
        status = car_diverged_weights(trainer, rate, error);
        keep_values(trainer, kept, true);
        trainer->weight_norm = weight_norm;
    }
    car_release(trainer->allocator, kept);
    return status;
}

static car_status update_weights(car_trainer *trainer, float rate, car_step_result *result,
                                 car_error *error) {
    double norm = result->gradient_norm, limit = trainer->options.clip_norm;
    float scale = 1;
    if (limit > 0 && norm > limit) {
        scale = (float)(limit / norm);
        result->clipped = true;
    }
    result->clipped = exceeds_clip_value(trainer, scale) || result->clipped;
    if (update_is_safe(trainer, rate, norm * (double)scale))
        apply_update(trainer, rate, scale);
    else
        CAR_TRY(try_update(trainer, rate, scale, error));
    car_model_refresh(trainer->model, trainer->threads);
    return CAR_OK;
}

static car_status compute_gradient(car_trainer *trainer, const car_batch *batch,
                                   car_step_result *result, car_error *error) {
    car_random_key key = car_trainer_dropout_key(trainer);
    sweep norm = {.trainer = trainer, .visit = visit_gradient_norm};
    double loss;
    car_model_drop(trainer->model, trainer->options.seed, (uint64_t)trainer->updates,
                   trainer->threads);
    CAR_TRY(car_shards_forward(trainer->shards, batch->steps, batch->lengths, batch->input, &key,
                               trainer->time, error));
    CAR_TRY(car_shards_loss(trainer->shards, batch->target, trainer->gradient, &loss,
                            &result->counted, error));
    result->loss = result->counted > 0 ? loss / (double)result->counted : loss;
    if (!isfinite(result->loss))
        return car_diverged_explain(trainer, batch, result->loss, error);
    car_shards_backward(trainer->shards, batch->input, trainer->gradient);
    run_sweep(&norm);
    result->gradient_norm = norm_of_chunks(trainer);
    if (!isfinite(result->gradient_norm))
        return car_diverged_explain(trainer, batch, result->loss, error);
    return CAR_OK;
}

static car_status check_batch(const car_trainer *trainer, const car_batch *batch,
                              car_error *error) {
    if (batch->steps < 1 || batch->steps > trainer->options.steps)
        return car_fail(error, CAR_USAGE, "trainer: a batch of %d steps; give 1 to %d",
                        batch->steps, trainer->options.steps);
    if (!batch->input || !batch->target)
        return car_fail(error, CAR_USAGE, "trainer: a batch without %s; set batch.%s",
                        batch->input ? "targets" : "inputs", batch->input ? "target" : "input");
    for (int lane = 0; batch->lengths && lane < trainer->options.batch; lane++)
        if (batch->lengths[lane] > 0)
            return CAR_OK;
    if (batch->lengths)
        return car_fail(error, CAR_USAGE,
                        "trainer: a batch without steps; set the length of a lane above 0");
    return CAR_OK;
}

static void copy_state(car_shards *shards, const car_trainer *trainer, float *state, bool back) {
    for (int lane = 0; lane < trainer->options.batch; lane++) {
        if (back)
            car_shards_set_state(shards, lane, state + (size_t)lane * trainer->state_floats);
        else
            car_shards_get_state(shards, lane, state + (size_t)lane * trainer->state_floats);
    }
}

car_status car_trainer_step(car_trainer *trainer, const car_batch *batch, float rate,
                            car_step_result *result, car_error *error) {
    car_step_result own = {0};
    CAR_TRY(check_batch(trainer, batch, error));
    if (!(rate >= 0 && isfinite(rate)))
        return car_fail(error, CAR_USAGE, "trainer: rate %g; give 0 or a number above it", rate);
    if (batch->reset) {
        copy_state(trainer->shards, trainer, trainer->state, false);
        car_shards_reset(trainer->shards);
    }
    car_status status = compute_gradient(trainer, batch, &own, error);
    if (status == CAR_OK)
        status = update_weights(trainer, rate, &own, error);
    if (result)
        *result = own;
    if (status != CAR_OK) {
        car_model_refresh(trainer->model, trainer->threads);
        if (batch->reset)
            copy_state(trainer->shards, trainer, trainer->state, true);
        return status;
    }
    car_shards_carry(trainer->shards);
    trainer->updates++;
    trainer->time += (uint64_t)car_shards_steps(trainer->shards); /* of the longest lane */
    return CAR_OK;
}

car_status car_trainer_evaluate(car_trainer *trainer, const car_batch *batch,
                                car_step_result *result, car_error *error) {
    car_step_result own = {0};
    double loss;
    CAR_TRY(check_batch(trainer, batch, error));
    if (batch->reset)
        car_shards_reset(trainer->evaluation);
    CAR_TRY(car_shards_forward(trainer->evaluation, batch->steps, batch->lengths, batch->input,
                               NULL, 0, error));
    CAR_TRY(car_shards_loss(trainer->evaluation, batch->target, NULL, &loss, &own.counted, error));
    own.loss = own.counted > 0 ? loss / (double)own.counted : loss;
    car_shards_carry(trainer->evaluation);
    if (result)
        *result = own;
    return CAR_OK;
}
