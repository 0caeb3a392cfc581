/*
 * A trainer <-> one safetensors file, bit for bit. The file is a model file (car_model_load reads it) with more:
 *
 *   tensors   trainer.first.NAME, trainer.second.NAME   moments, in the logical layout of tensor NAME
 *             trainer.state, trainer.evaluation_state   carried states [batch][floats of a lane]
 *   metadata  trainer.optimizer, trainer.batch, ...     options and counters (table below)
 *             trainer.fit.*                             where car_fit stands
 *
 * Numbers are text that reads back to the same bits. Everything read is checked as a stranger's.
 */
#include "train.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- Options, counters and fit state as text ---------------------------------------------------------- */

typedef enum field_kind {
    FIELD_BOOL,
    FIELD_INT,
    FIELD_INT64,
    FIELD_UINT64,
    FIELD_FLOAT,
    FIELD_DOUBLE
} field_kind;
typedef struct field {
    const char *key;
    field_kind kind;
    size_t offset; /* in car_trainer */
    double lowest; /* of INT, INT64 and real numbers; -HUGE_VAL: any, and not a number too */
} field;

#define OPTION(name, kind)                                                                         \
    { "trainer." #name, kind, offsetof(car_trainer, options.name), 0 }
#define FIT(name, kind, lowest)                                                                    \
    { "trainer.fit." #name, kind, offsetof(car_trainer, fit.name), lowest }
static const field fields[] = {
    OPTION(batch, FIELD_INT),
    OPTION(steps, FIELD_INT),
    OPTION(momentum, FIELD_FLOAT),
    OPTION(beta1, FIELD_FLOAT),
    OPTION(beta2, FIELD_FLOAT),
    OPTION(epsilon, FIELD_FLOAT),
    OPTION(decay, FIELD_FLOAT),
    OPTION(clip_norm, FIELD_FLOAT),
    OPTION(clip_value, FIELD_FLOAT),
    OPTION(seed, FIELD_UINT64),
    {"trainer.updates", FIELD_INT64, offsetof(car_trainer, updates), 0},
    {"trainer.time", FIELD_UINT64, offsetof(car_trainer, time), 0},
    FIT(begun, FIELD_BOOL, 0),
    FIT(finished, FIELD_BOOL, 0),
    FIT(stopped_early, FIELD_BOOL, 0),
    FIT(updates_per_epoch, FIELD_INT64, 0),
    FIT(budget_minutes, FIELD_DOUBLE, 0),
    FIT(budget_epochs, FIELD_DOUBLE, 0),
    FIT(budget_updates, FIELD_INT64, 0),
    FIT(update, FIELD_INT64, 0),
    FIT(last_update, FIELD_INT64, -1),
    FIT(validated_update, FIELD_INT64, -1),
    FIT(best_validation, FIELD_DOUBLE, -HUGE_VAL),
    FIT(validation, FIELD_DOUBLE, -HUGE_VAL),
    FIT(best_update, FIELD_INT64, -1),
    FIT(unimproved, FIELD_INT64, 0),
    FIT(plateau_unimproved, FIELD_INT64, 0),
    FIT(reductions, FIELD_INT64, 0),
    FIT(clipped, FIELD_INT64, 0),
    FIT(loss, FIELD_DOUBLE, -HUGE_VAL),
    FIT(seconds, FIELD_DOUBLE, 0),
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

static void write_field(const car_trainer *trainer, const field *entry, car_text *text) {
    const void *value = (const char *)trainer + entry->offset;
    switch (entry->kind) {
    case FIELD_BOOL:
        car_text_format(text, "%d", *(const bool *)value);
        break;
    case FIELD_INT:
        car_text_format(text, "%d", *(const int *)value);
        break;
    case FIELD_INT64:
        car_text_format(text, "%lld", (long long)*(const int64_t *)value);
        break;
    case FIELD_UINT64:
        car_text_format(text, "%llu", (unsigned long long)*(const uint64_t *)value);
        break;
    case FIELD_FLOAT:
        car_text_json_number(text, (double)*(const float *)value);
        break;
    case FIELD_DOUBLE:
        car_text_json_number(text, *(const double *)value);
        break;
    }
}

/* Plain digits, at most `limit`. */
static bool parse_digits(const char *text, uint64_t limit, uint64_t *value) {
    if (!*text)
        return false;
    for (*value = 0; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (*value > (limit - digit) / 10)
            return false;
        *value = *value * 10 + digit;
    }
    return true;
}

static bool parse_integer(const char *text, const field *entry, void *out) {
    uint64_t limit = entry->kind == FIELD_BOOL    ? 1
                     : entry->kind == FIELD_INT   ? INT32_MAX
                     : entry->kind == FIELD_INT64 ? (uint64_t)1 << 60
                                                  : UINT64_MAX;
    bool negative = *text == '-';
    uint64_t value;
    if (!parse_digits(text + negative, limit, &value) ||
        (negative && (double)value > -entry->lowest))
        return false;
    if (entry->kind == FIELD_BOOL)
        *(bool *)out = value == 1;
    else if (entry->kind == FIELD_INT)
        *(int *)out = (int)value;
    else if (entry->kind == FIELD_INT64)
        *(int64_t *)out = negative ? -(int64_t)value : (int64_t)value;
    else
        *(uint64_t *)out = value;
    return true;
}

static bool parse_real(const char *text, const field *entry, void *out) {
    double value = NAN;
    bool none = strcmp(text, "null") == 0; /* how not-a-number is written */
    if (none ? entry->lowest == 0 : !car_number_parse(text, strlen(text), &value))
        return false;
    if (value < entry->lowest)
        return false;
    if (entry->kind == FIELD_DOUBLE)
        *(double *)out = value;
    else
        *(float *)out = (float)value;
    return entry->kind == FIELD_DOUBLE || isfinite((float)value);
}

static car_status read_field(const car_container *container, const char *origin, const field *entry,
                             car_trainer *out, car_error *error) {
    const char *text = car_container_metadata(container, entry->key);
    void *place = (char *)out + entry->offset;
    bool real = entry->kind == FIELD_FLOAT || entry->kind == FIELD_DOUBLE;
    if (text && (real ? parse_real(text, entry, place) : parse_integer(text, entry, place)))
        return CAR_OK;
    return car_fail(error, CAR_MODEL, "%s: metadata '%s' is %s%.40s; the checkpoint is damaged",
                    origin, entry->key, text ? "not a valid number: " : "missing",
                    text ? text : "");
}

/* ---- Saving ------------------------------------------------------------------------------------------- */

/* Moments on their way to the file. */
typedef struct moments {
    const struct car_model *model;
    const float *packed;
} moments;

typedef struct saving {
    const car_trainer *trainer;
    car_container_builder *builder;
    moments first, second;
} saving;

static car_status add_metadata(saving *save, car_error *error) {
    CAR_TRY(car_container_builder_metadata(save->builder, "trainer.optimizer",
                                           save->trainer->options.optimizer, error));
    for (int i = 0; i < FIELD_COUNT; i++) {
        car_text text;
        car_text_start(&text, save->trainer->allocator);
        write_field(save->trainer, &fields[i], &text);
        car_status status =
            text.failed
                ? car_fail(error, CAR_MEMORY, "checkpoint: out of memory; free some")
                : car_container_builder_metadata(save->builder, fields[i].key, text.data, error);
        car_text_free(&text);
        CAR_TRY(status);
    }
    return CAR_OK;
}

static void fill_moments(const void *context, int index, void *data) {
    const moments *from = context;
    car_model_unpack(from->model, index, from->packed, data);
}

static car_status add_moments(saving *save, const char *prefix, const moments *from,
                              car_error *error) {
    for (int i = 0; i < car_model_tensor_count(from->model); i++) {
        car_model_tensor tensor;
        car_model_tensor_at(from->model, i, &tensor);
        char name[256];
        snprintf(name, sizeof name, "%s%.200s", prefix, tensor.name);
        const car_tensor out = {.name = name,
                                .dtype = CAR_F32,
                                .rank = tensor.rank,
                                .shape = {tensor.shape[0], tensor.rank > 1 ? tensor.shape[1] : 0},
                                .bytes = car_model_tensor_floats(from->model, i) * sizeof(float)};
        CAR_TRY(car_container_builder_made(save->builder, &out, fill_moments, from, i, error));
    }
    return CAR_OK;
}

/* Of the stack (index 0) or of that of evaluations. */
static void fill_state(const void *context, int index, void *data) {
    const car_trainer *trainer = context;
    for (int lane = 0; lane < trainer->options.batch; lane++)
        car_shards_get_state(index == 0 ? trainer->shards : trainer->evaluation, lane,
                             (float *)data + (size_t)lane * trainer->state_floats);
}

static car_status add_state(const saving *save, const char *name, int index, car_error *error) {
    size_t batch = (size_t)save->trainer->options.batch, floats = save->trainer->state_floats;
    if (floats == 0)
        return CAR_OK;
    const car_tensor out = {.name = name,
                            .dtype = CAR_F32,
                            .rank = 2,
                            .shape = {batch, floats},
                            .bytes = batch * floats * sizeof(float)};
    return car_container_builder_made(save->builder, &out, fill_state, save->trainer, index, error);
}

static car_status fill_and_save(saving *save, const char *path, car_error *error) {
    const car_trainer *trainer = save->trainer;
    car_container_builder_lend(save->builder, trainer->gradient,
                               trainer->weight_floats * sizeof(float));
    CAR_TRY(car_model_write(trainer->model, save->builder, error));
    CAR_TRY(add_metadata(save, error));
    if (trainer->first)
        CAR_TRY(add_moments(save, "trainer.first.", &save->first, error));
    if (trainer->second)
        CAR_TRY(add_moments(save, "trainer.second.", &save->second, error));
    CAR_TRY(add_state(save, "trainer.state", 0, error));
    CAR_TRY(add_state(save, "trainer.evaluation_state", 1, error));
    return car_container_builder_save(save->builder, path, error);
}

/* The gradient was lent as room to write in. Its padding, which no update writes, is 0 again. */
static void take_back_gradient(const car_trainer *trainer) {
    memset(trainer->gradient, 0, trainer->weight_floats * sizeof(float));
}

car_status car_trainer_save(const car_trainer *trainer, const char *path, car_error *error) {
    saving save = {.trainer = trainer,
                   .first = {trainer->model, trainer->first},
                   .second = {trainer->model, trainer->second}};
    CAR_TRY(car_container_builder_create(trainer->allocator, &save.builder, error));
    car_status status = fill_and_save(&save, path, error);
    car_container_builder_free(save.builder);
    take_back_gradient(trainer);
    return status;
}

car_status car_trainer_save_model(const car_trainer *trainer, const char *path, car_error *error) {
    const car_status status = car_model_save_with(trainer->model, path, trainer->gradient,
                                                  trainer->weight_floats * sizeof(float), error);
    take_back_gradient(trainer);
    return status;
}

/* ---- Loading ------------------------------------------------------------------------------------------ */

/* The tensor of that name with exactly that shape, type and only finite numbers. */
static car_status find_tensor(const car_container *container, const car_kernels *kernels,
                              const char *origin, const char *name, int rank, const size_t *shape,
                              const float **data, car_error *error) {
    const car_tensor *tensor = car_container_find(container, name);
    if (!tensor)
        return car_fail(error, CAR_MODEL,
                        "%s: tensor '%.80s' is missing; the checkpoint is damaged", origin, name);
    bool fits = tensor->dtype == CAR_F32 && tensor->rank == rank;
    size_t count = 1;
    for (int i = 0; fits && i < rank; i++) {
        fits = tensor->shape[i] == shape[i];
        count *= shape[i];
    }
    if (!fits)
        return car_fail(error, CAR_MODEL,
                        "%s: tensor '%.80s' has another shape or type than the model asks for; the "
                        "checkpoint is damaged",
                        origin, name);
    if (!kernels->all_finite(tensor->data, count))
        return car_fail(error, CAR_MODEL,
                        "%s: tensor '%.80s' holds numbers that are not finite; the checkpoint is "
                        "damaged",
                        origin, name);
    *data = tensor->data;
    return CAR_OK;
}

static car_status read_moments(const car_container *container, const char *origin,
                               const char *prefix, car_trainer *trainer, float *packed,
                               car_error *error) {
    const struct car_model *model = trainer->model;
    for (int i = 0; i < car_model_tensor_count(model); i++) {
        car_model_tensor tensor;
        const float *data = NULL;
        car_model_tensor_at(model, i, &tensor);
        car_text name;
        car_text_start(&name, trainer->allocator);
        car_text_format(&name, "%s%s", prefix, tensor.name);
        car_status status =
            name.failed ? car_fail(error, CAR_MEMORY, "%s: out of memory; free some", origin)
                        : find_tensor(container, model->kernels, origin, name.data, tensor.rank,
                                      tensor.shape, &data, error);
        car_text_free(&name);
        CAR_TRY(status);
        car_model_pack(model, i, data, packed);
    }
    return CAR_OK;
}

static car_status read_state(const car_container *container, const char *origin, const char *name,
                             const car_trainer *trainer, car_shards *shards, car_error *error) {
    const float *data = NULL;
    size_t shape[2] = {(size_t)trainer->options.batch, trainer->state_floats};
    if (trainer->state_floats == 0)
        return CAR_OK;
    CAR_TRY(find_tensor(container, trainer->model->kernels, origin, name, 2, shape, &data, error));
    for (size_t lane = 0; lane < shape[0]; lane++)
        car_shards_set_state(shards, (int)lane, data + lane * shape[1]);
    return CAR_OK;
}

/* Whether a moment is so large that updates have to be made on trial. It changes no bit of them. */
static bool moments_are_large(const car_trainer *trainer) {
    const car_kernels *kernels = trainer->model->kernels;
    size_t count = trainer->weight_floats;
    return (trainer->first && !(kernels->square_sum(trainer->first, count) <= 1e30)) ||
           (trainer->second && !(kernels->square_sum(trainer->second, count) <= 1e60));
}

static car_status read_tensors(const car_container *container, const char *origin,
                               car_trainer *trainer, car_error *error) {
    if (trainer->first)
        CAR_TRY(read_moments(container, origin, "trainer.first.", trainer, trainer->first, error));
    if (trainer->second)
        CAR_TRY(
            read_moments(container, origin, "trainer.second.", trainer, trainer->second, error));
    CAR_TRY(read_state(container, origin, "trainer.state", trainer, trainer->shards, error));
    CAR_TRY(read_state(container, origin, "trainer.evaluation_state", trainer, trainer->evaluation,
                       error));
    trainer->wary = moments_are_large(trainer);
    return CAR_OK;
}

static car_status read_trainer(const car_container *container, const char *origin, int threads,
                               const car_allocator *allocator, car_trainer **result,
                               car_error *error) {
    car_trainer record = {0};
    const char *optimizer = car_container_metadata(container, "trainer.optimizer");
    if (!optimizer)
        return car_fail(
            error, CAR_MODEL,
            "%s: a model without the state of a training run; resume from a checkpoint, or "
            "load its weights into a new run",
            origin);
    for (int i = 0; i < FIELD_COUNT; i++)
        CAR_TRY(read_field(container, origin, &fields[i], &record, error));
    record.options.optimizer = optimizer;
    record.options.threads = threads;
    struct car_model *model;
    car_trainer *trainer;
    CAR_TRY(car_model_read(container, origin, allocator, &model, error));
    car_status status = car_trainer_adopt(model, &record.options, allocator, &trainer, error);
    if (status == CAR_USAGE) /* the options are the file's */
        return car_fail(error, CAR_MODEL,
                        "%s: options of the run are out of range; the checkpoint is damaged",
                        origin);
    CAR_TRY(status);
    trainer->updates = record.updates;
    trainer->time = record.time;
    trainer->fit = record.fit;
    status = read_tensors(container, origin, trainer, error);
    if (status == CAR_OK)
        *result = trainer;
    else
        car_trainer_free(trainer);
    return status;
}

car_status car_trainer_load(const char *path, int threads, const car_allocator *allocator,
                            car_trainer **trainer, car_error *error) {
    *trainer = NULL;
    car_container *container;
    CAR_TRY(car_container_load(path, allocator, &container, error));
    car_status status = read_trainer(container, path, threads, allocator, trainer, error);
    car_container_free(container);
    return status;
}
