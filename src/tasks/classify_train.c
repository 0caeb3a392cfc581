/*
 * classify_train.c: from settings and sequences to a trained classifier, and on from a checkpoint.
 *
 * In:  car_classify_options and car_classify_data, or a checkpoint that holds the first and names the second.
 * Out: options->output, the model with the least validation loss, its temperature and its record;
 *      options->output + ".last", the checkpoint.
 *
 * An epoch shows each sequence of the training part once, in an order that depends on seed and epoch alone.
 */
#include "classify.h"
#include <math.h>
#include <string.h>

enum { CALIBRATION_LEAST = 30 }; /* items: fewer say nothing about a temperature */

typedef struct classify_run {
    const car_allocator *allocator;
    const car_classify_options *options;
    const car_classify_watch *watch;
    const car_classify_data *data;
    car_trainer *trainer;
    car_augmentation augmentation;
    int batch, longest, patch; /* longest: a multiple of patch */
    int *order;                /* [learned] of the present epoch */
    int64_t epoch;             /* that `order` is for; -1: none */
    float *values;             /* [longest][batch][inputs]; text: NULL */
    float *scaled;             /* [longest][inputs] of one sequence */
    int32_t *ids;              /* [longest][batch] */
    int32_t *target;           /* [longest][batch], or [batch] */
    int *lengths;              /* [batch] */
    car_classify_result *result;
} classify_run;

/* ---- what car_fit asks for ---------------------------------------------------------------------------- */

/* The order of an epoch: a shuffle that depends on seed and epoch alone. */
static void shuffle(classify_run *run, int64_t epoch) {
    car_random_key key = {.seed = (uint64_t)run->options->seed, .purpose = CAR_RANDOM_SHUFFLE};
    int count = run->data->learned.count;
    for (int i = 0; i < count; i++)
        run->order[i] = run->data->learned.index[i];
    car_classify_shuffle(key, epoch, run->order, count);
    run->epoch = epoch;
}

/* Is the word at this step read as <unk> this time? So the net learns to do without the word itself. */
static bool forgotten(const classify_run *run, int64_t epoch, int index, size_t step,
                      int32_t label) {
    const car_random_key key = {
        .seed = (uint64_t)run->options->seed, .purpose = CAR_RANDOM_TASK, .layer = (uint32_t)epoch};
    return epoch >= 0 && label >= 0 && run->options->forget > 0 &&
           (double)car_random_uniform(key, (uint64_t)index, step) < run->options->forget;
}

/* One sequence into a lane; epoch -1: as it is. */
static void fill_lane(classify_run *run, const car_sequences *set, int index, int lane,
                      int64_t epoch) {
    const car_classifier *shape = &run->data->shape;
    size_t begin = set->begin[index], steps = set->begin[index + 1] - begin;
    size_t channels = (size_t)set->channels, batch = (size_t)run->batch;
    size_t inputs = (size_t)car_classifier_inputs(shape);
    const car_augmentation none = {0}, *how = epoch >= 0 ? &run->augmentation : &none;
    run->lengths[lane] = (int)steps;
    for (size_t t = 0; t < steps; t++) {
        if (run->ids)
            run->ids[t * batch + (size_t)lane] =
                forgotten(run, epoch, index, t, set->labels[begin + t]) ? CAR_UNKNOWN_WORD
                                                                        : set->ids[begin + t];
        if (set->each)
            run->target[t * batch + (size_t)lane] = set->labels[begin + t];
    }
    if (!set->each)
        run->target[lane] = set->labels[index];
    if (!run->values)
        return;
    const float *from = set->values + begin * channels;
    for (size_t t = 0; t < steps; t++)
        car_classifier_scale(shape, from + t * channels, t > 0 ? from + (t - 1) * channels : NULL,
                             run->scaled + t * inputs);
    float *values = run->values + (size_t)lane * inputs;
    int filled = car_augment(how, epoch, index, run->scaled, (int)steps, (int)inputs,
                             set->each ? (int)steps : run->longest, values, batch * inputs);
    run->lengths[lane] = car_fill_patch(values, filled, (int)inputs, run->patch, batch * inputs);
}

/* Sequences first, first + 1 ... of a list of `count`; index NULL: their numbers. */
static void fill_batch(classify_run *run, const car_sequences *set, const int *index, int count,
                       int64_t first, int64_t epoch, car_batch *batch) {
    for (int lane = 0; lane < run->batch; lane++) {
        int64_t at = first + lane;
        run->lengths[lane] = 0;
        if (!set->each)
            run->target[lane] = -1;
        if (at < count)
            fill_lane(run, set, index ? index[at] : (int)at, lane, epoch);
    }
    *batch = (car_batch){.steps = run->longest,
                         .reset = true,
                         .input = run->ids ? (const void *)run->ids : run->values,
                         .target = run->target,
                         .lengths = run->lengths};
}

static car_status training_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                                 car_error *error) {
    (void)error;
    classify_run *run = context;
    if (run->epoch != epoch)
        shuffle(run, epoch);
    fill_batch(run, run->data->learned.set, run->order, run->data->learned.count,
               index * run->batch, epoch, batch);
    return CAR_OK;
}

static car_status validate(void *context, car_trainer *trainer, double *loss, car_error *error) {
    classify_run *run = context;
    const car_part *part = &run->data->judged;
    double nats = 0;
    int64_t counted = 0;
    for (int64_t first = 0; first < part->count; first += run->batch) {
        car_batch batch;
        car_step_result result;
        fill_batch(run, part->set, part->index, part->count, first, -1, &batch);
        CAR_TRY(car_trainer_evaluate(trainer, &batch, &result, error));
        nats += result.loss * (double)result.counted;
        counted += result.counted;
    }
    *loss = counted > 0 ? nats / (double)counted : 0;
    return CAR_OK;
}

static void progressed(void *context, const car_fit_progress *progress) {
    const classify_run *run = context;
    run->result->seconds = progress->seconds;
    run->result->loss = progress->loss;
    if (run->watch->progress)
        run->watch->progress(run->watch->context, progress);
}

/* ---- settings -> net, trainer, loop ------------------------------------------------------------------- */

static car_status check_net(const struct car_net *net, bool text, car_error *error) {
    const char *reason = NULL;
    bool embed = net->layers[0].kind == CAR_LAYER_EMBED;
    if (net->head != CAR_HEAD_SOFTMAX)
        reason = "it gives one class of many; end it with `softmax`";
    else if (embed && !text)
        reason = "it reads values, not ids; take `embed` away";
    else if (!embed && text)
        reason = "it reads symbols of a text; start it with `embed N`";
    else if (net->patch > 1 && net->pool == CAR_POOL_EACH)
        reason = "every step gets a class, and `patch` makes one of several; end it with "
                 "`softmax mean`";
    else if (text && net->pool != CAR_POOL_EACH)
        reason = "every word gets a tag; end it with `softmax each`";
    return reason ? car_fail(error, CAR_USAGE, "a classifier cannot have the net `%.200s`: %s",
                             net->text, reason)
                  : CAR_OK;
}

static car_status parse_net(const car_classify_options *options, bool ids,
                            const car_allocator *allocator, car_net **net, car_error *error) {
    car_cell *cell = NULL;
    CAR_TRY(car_own_cell(options->cell, allocator, &cell, error));
    car_text text;
    car_text_start(&text, allocator);
    if (options->net) {
        car_text_add(&text, options->net, strlen(options->net));
    } else {
        if (ids)
            car_text_format(&text, "embed %lld | ", (long long)options->embed);
        car_text_format(&text, "%s %lld", cell ? car_cell_name(cell) : options->cell,
                        (long long)options->hidden);
        if (options->layers > 1)
            car_text_format(&text, " x%lld", (long long)options->layers);
        if (strcmp(options->direction, "both") == 0)
            car_text_format(&text, " bi");
        if (options->dropout > 0)
            car_text_format(&text, " dropout %.6g", options->dropout);
        car_text_format(&text, " | softmax %s", options->head);
    }
    const car_cell *cells[] = {cell};
    car_status status = text.failed
                            ? car_fail(error, CAR_MEMORY, "no memory for the net's text")
                            : car_net_parse(text.data, cells, cell ? 1 : 0, allocator, net, error);
    car_text_free(&text);
    car_cell_free(cell);
    if (status == CAR_OK && (status = check_net(*net, ids, error)) != CAR_OK) {
        car_net_free(*net);
        *net = NULL;
    }
    return status;
}

car_status car_classify_each(const car_classify_options *options, const car_allocator *allocator,
                             bool *each, car_error *error) {
    car_net *net = NULL;
    CAR_TRY(parse_net(options, options->task->text, allocator, &net, error));
    *each = net->pool == CAR_POOL_EACH;
    car_net_free(net);
    return CAR_OK;
}

static car_status new_model(const classify_run *run, car_model **model, car_error *error) {
    const car_classify_options *options = run->options;
    const car_sequences *set = &run->data->train;
    car_net *net = NULL;
    CAR_TRY(parse_net(options, set->ids != NULL, run->allocator, &net, error));
    car_model_options sizes = {.input_size = set->ids ? set->symbols.count
                                                      : car_classifier_inputs(&run->data->shape),
                               .output_size = set->classes.count,
                               .seed = (uint64_t)options->seed,
                               .init = options->init,
                               .bias_init = options->bias_init,
                               .precision = options->precision};
    car_status status = car_model_create(net, &sizes, run->allocator, model, error);
    car_net_free(net);
    return status;
}

static car_status new_trainer(classify_run *run, const car_model *model, car_error *error) {
    const car_classify_options *options = run->options;
    car_trainer_options settings = {.batch = run->batch,
                                    .steps = run->longest,
                                    .threads = (int)options->threads,
                                    .optimizer = options->optimizer,
                                    .clip_norm = (float)options->clip,
                                    .decay = (float)options->decay,
                                    .seed = (uint64_t)options->seed};
    return car_trainer_create(model, &settings, run->allocator, &run->trainer, error);
}

static car_fit_options fit_options(classify_run *run, const char *last_path) {
    const car_classify_options *options = run->options;
    bool judged = run->data->judged.count > 0;
    car_fit_options fit = {.minutes = options->minutes,
                           .epochs = options->epochs,
                           .updates = options->updates,
                           .schedule = {.kind = car_schedule_named(options->schedule),
                                        .rate = options->rate,
                                        .final = options->final,
                                        .warmup = options->warmup},
                           .validate_every = options->validate_every,
                           .patience = judged ? (int)options->patience : 0,
                           .best_path = options->output,
                           .last_path = last_path,
                           .checkpoint_seconds = options->checkpoint_seconds,
                           .stop = run->watch->stop,
                           .progress = progressed,
                           .progress_context = run};
    if (fit.minutes == 0 && fit.epochs == 0 && fit.updates == 0)
        fit.epochs = options->task->text ? 20 : 100;
    return fit;
}

/* ---- the kept model: temperature and record ----------------------------------------------------------- */

car_status car_classify_calibrate(const car_part *part, float *outputs, const car_classifier *shape,
                                  const car_allocator *allocator, car_classify_result *result,
                                  car_error *error) {
    size_t items = car_part_items(part), count = items * (size_t)shape->classes;
    float *kept = outputs + count;
    car_class_score before = {0}, after = {0};
    memcpy(kept, outputs, count * sizeof *kept);
    if (items >= CALIBRATION_LEAST)
        result->temperature = car_class_temperature(part, outputs, shape->classes);
    car_soften(outputs, items, shape->classes, 1);
    car_soften(kept, items, shape->classes, result->temperature);
    car_status status =
        car_class_judge(part, outputs, shape->classes, shape->majority, allocator, &before, error);
    if (status == CAR_OK)
        status =
            car_class_judge(part, kept, shape->classes, shape->majority, allocator, &after, error);
    if (status == CAR_OK) {
        result->fit.best_validation = before.nats;
        result->judged = after.items;
        result->accuracy = after.accuracy;
        result->low = after.low;
        result->high = after.high;
        result->macro_f1 = after.macro_f1;
        result->majority = after.majority;
        result->error_before = before.calibration_error;
        result->error_after = after.calibration_error;
    }
    car_class_score_free(&before);
    car_class_score_free(&after);
    return status;
}

/* Judges the kept model on the validation part and fits its temperature there; a cross-validation has done so before. */
static car_status calibrate(classify_run *run, const car_classifier *classifier, car_error *error) {
    const car_part *part = &run->data->judged;
    size_t items = car_part_items(part);
    if (items == 0)
        return CAR_OK;
    float *outputs =
        car_allocate(run->allocator, items, 2 * (size_t)classifier->classes * sizeof *outputs);
    if (!outputs)
        return car_fail(error, CAR_MEMORY, "no memory for the outputs of %zu items", items);
    double best = run->result->fit.best_validation;
    car_status status =
        car_classifier_run(classifier, part, (int)run->options->threads, outputs, error);
    if (status == CAR_OK)
        status =
            car_classify_calibrate(part, outputs, classifier, run->allocator, run->result, error);
    run->result->fit.best_validation = best;
    car_release(run->allocator, outputs);
    return status;
}

/* How the model was trained. The paths of the files stay out of it. */
static void add_record(const classify_run *run, car_text *text) {
    const car_classify_result *result = run->result;
    const char *level = car_cpu_level_name(NULL);
    car_text_format(text,
                    "{\"task\":\"%s\",\"version\":\"%s\",\"cpu_level\":\"%s\","
                    "\"learned\":%d,\"judged\":%d,\"updates\":%lld,\"updates_per_epoch\":%lld,"
                    "\"best_update\":%lld,\"best_validation_nats\":",
                    run->options->task->name, run->watch->version ? run->watch->version : "",
                    level ? level : "", run->data->learned.count,
                    result->folds > 0 ? run->data->learned.count : run->data->judged.count,
                    (long long)result->fit.updates, (long long)result->facts.updates_per_epoch,
                    (long long)result->fit.best_update);
    car_text_json_number(text, result->fit.best_validation);
    car_text_format(text, ",\"validation_accuracy\":");
    car_text_json_number(text, result->judged > 0 ? result->accuracy : NAN);
    car_text_format(text, ",\"seconds\":");
    car_text_json_number(text, result->seconds);
    car_text_format(text, ",\"options\":");
    car_settings_to_json(run->options->task->settings, run->options->task->count, run->options,
                         text);
    car_text_format(text, "}");
}

static car_status set_texts(car_model *model, const char *shape, const char *record,
                            car_error *error) {
    CAR_TRY(car_model_set_metadata(model, "classify.model", shape, error));
    CAR_TRY(car_model_set_metadata(model, "classify.record", record, error));
    CAR_TRY(car_model_set_metadata(model, "classify.data", NULL, error));
    return car_model_set_metadata(model, "classify.options", NULL, error);
}

static car_status finish_model(classify_run *run, const char *path, car_error *error) {
    car_classifier classifier = {0};
    car_text shape, record;
    CAR_TRY(car_classifier_load(path, run->allocator, &classifier, error));
    car_text_start(&shape, run->allocator);
    car_text_start(&record, run->allocator);
    car_status status = calibrate(run, &classifier, error);
    if (status == CAR_OK) {
        classifier.temperature = run->result->temperature;
        car_classifier_to_json(&classifier, &shape);
        add_record(run, &record);
        status = shape.failed || record.failed
                     ? car_fail(error, CAR_MEMORY, "no memory for the training record")
                     : set_texts(classifier.model, shape.data, record.data, error);
    }
    if (status == CAR_OK)
        status = car_model_save(classifier.model, path, error);
    car_text_free(&shape);
    car_text_free(&record);
    car_classifier_free(&classifier);
    return status;
}

/* What makes the files complete: the classes; for resuming, settings and files. */
static car_status set_metadata(const classify_run *run, car_error *error) {
    car_text shape, options;
    car_text_start(&shape, run->allocator);
    car_text_start(&options, run->allocator);
    car_classifier_to_json(&run->data->shape, &shape);
    car_settings_to_json(run->options->task->settings, run->options->task->count, run->options,
                         &options);
    car_status status =
        shape.failed || options.failed
            ? car_fail(error, CAR_MEMORY, "no memory for the settings")
            : car_trainer_set_metadata(run->trainer, "classify.model", shape.data, error);
    if (status == CAR_OK && run->data->files)
        status = car_trainer_set_metadata(run->trainer, "classify.data", run->data->files, error);
    if (status == CAR_OK && run->data->files)
        status = car_trainer_set_metadata(run->trainer, "classify.options", options.data, error);
    car_text_free(&shape);
    car_text_free(&options);
    return status;
}

/* ---- the run ------------------------------------------------------------------------------------------ */

static double majority_share(const car_part *part, int majority) {
    int64_t hits = 0, all = 0;
    for (int i = 0; i < part->count; i++) {
        const car_sequences *set = part->set;
        size_t begin = set->begin[part->index[i]], end = set->begin[part->index[i] + 1];
        if (!set->each) {
            hits += set->labels[part->index[i]] == majority;
            all++;
        }
        for (size_t row = begin; set->each && row < end; row++) {
            hits += set->labels[row] == majority;
            all += set->labels[row] >= 0;
        }
    }
    return all > 0 ? (double)hits / (double)all : 0;
}

static void gather_facts(classify_run *run, int64_t updates_per_epoch) {
    const car_model *model = car_trainer_model(run->trainer);
    const car_classifier *shape = &run->data->shape;
    run->result->facts =
        (car_classify_facts){.classes = shape->classes,
                             .channels = shape->channels,
                             .longest = run->longest,
                             .learned = run->data->learned.count,
                             .judged = run->data->judged.count,
                             .threads = run->trainer->threads,
                             .majority = shape->majority,
                             .net = car_model_net(model),
                             .majority_name = shape->class_names[shape->majority],
                             .majority_share = majority_share(&run->data->learned, shape->majority),
                             .parameters = car_model_parameter_count(model),
                             .updates_per_epoch = updates_per_epoch,
                             .updates_done = car_trainer_updates(run->trainer)};
}

/* Sizes that the data gives; they are the same whenever the data is. */
static car_status measure(classify_run *run, const car_model *model, car_error *error) {
    const car_classify_data *data = run->data;
    const car_classify_options *options = run->options;
    run->longest =
        data->train.longest > data->valid.longest ? data->train.longest : data->valid.longest;
    run->patch = model->net->patch;
    run->longest += (run->patch - run->longest % run->patch) % run->patch;
    run->batch = options->batch < data->learned.count ? (int)options->batch : data->learned.count;
    run->epoch = -1;
    run->augmentation = (car_augmentation){.noise = options->noise,
                                           .warp = options->warp,
                                           .shift = (int)options->shift,
                                           .shift_channels = (int)options->shift_channels,
                                           .seed = (uint64_t)options->seed};
    return (int64_t)run->batch * run->longest > INT32_MAX / 64
               ? car_fail(error, CAR_USAGE,
                          "--batch %d sequences of %d steps are too much at once; lower --batch",
                          run->batch, run->longest)
               : CAR_OK;
}

static car_status make_buffers(classify_run *run, car_error *error) {
    size_t rows = (size_t)run->batch * (size_t)run->longest;
    size_t inputs = (size_t)car_classifier_inputs(&run->data->shape);
    run->order = car_allocate(run->allocator, (size_t)run->data->learned.count, sizeof *run->order);
    run->lengths = car_allocate(run->allocator, (size_t)run->batch, sizeof *run->lengths);
    run->target = car_allocate(run->allocator, rows, sizeof *run->target);
    if (inputs > 0) {
        run->values = car_allocate(run->allocator, rows, inputs * sizeof *run->values);
        run->scaled =
            car_allocate(run->allocator, (size_t)run->longest, inputs * sizeof *run->scaled);
    } else {
        run->ids = car_allocate(run->allocator, rows, sizeof *run->ids);
    }
    if (!run->order || !run->lengths || !run->target ||
        (inputs > 0 ? !run->values || !run->scaled : !run->ids))
        return car_fail(error, CAR_MEMORY, "no memory for a batch of %zu steps", rows);
    return CAR_OK;
}

static void free_buffers(classify_run *run) {
    void *const blocks[] = {run->order, run->values, run->scaled,
                            run->ids,   run->target, run->lengths};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        car_release(run->allocator, blocks[i]);
    car_trainer_free(run->trainer);
}

/* Trains run->trainer, which is ready. */
static car_status go(classify_run *run, car_error *error) {
    const char *output = run->options->output;
    char last_path[sizeof run->result->output + sizeof ".last"];
    if (strlen(output) >= sizeof run->result->output)
        return car_fail(error, CAR_USAGE, "--output: the name is too long");
    snprintf(run->result->output, sizeof run->result->output, "%s", output);
    snprintf(last_path, sizeof last_path, "%s.last", output);
    CAR_TRY(car_check_output(output, run->allocator, error));
    CAR_TRY(set_metadata(run, error));
    CAR_TRY(make_buffers(run, error));
    car_fit_source source = {.context = run,
                             .updates_per_epoch =
                                 (run->data->learned.count + run->batch - 1) / run->batch,
                             .batch = training_batch,
                             .validate = run->data->judged.count > 0 ? validate : NULL};
    gather_facts(run, source.updates_per_epoch);
    if (run->watch->native)
        (void)car_model_compile_native(run->trainer->model, NULL);
    if (run->watch->started)
        run->watch->started(run->watch->context, &run->result->facts);
    bool resumable = run->data->files && run->options->folds == 0;
    car_fit_options fit = fit_options(run, resumable ? last_path : NULL);
    double crossed = run->result->fit.best_validation;
    CAR_TRY(car_fit(run->trainer, &source, &fit, &run->result->fit, error));
    if (run->result->folds > 0)
        run->result->fit.best_validation = crossed;
    run->result->facts.net = run->result->facts.majority_name = NULL;
    run->result->saved = run->data->judged.count == 0 || isfinite(run->result->fit.best_validation);
    return run->result->saved ? finish_model(run, output, error) : CAR_OK;
}

static car_status start(classify_run *run, const car_model *load, car_error *error) {
    car_model *made = NULL;
    car_status status = CAR_OK;
    if (!load)
        status = new_model(run, &made, error);
    else if (strcmp(run->options->precision, car_model_precision(load)) != 0)
        status = car_model_convert(load, run->options->precision, run->allocator, &made, error);
    const car_model *model = made ? made : load;
    if (status == CAR_OK && model)
        status = measure(run, model, error);
    if (status == CAR_OK && model)
        status = new_trainer(run, model, error);
    car_model_free(made);
    return status == CAR_OK ? go(run, error) : status;
}

car_status car_classify_train(const car_classify_options *options, const car_classify_data *data,
                              const car_model *load, const car_classify_watch *watch,
                              const car_allocator *allocator, car_classify_result *result,
                              car_error *error) {
    *result = (car_classify_result){.temperature = 1};
    CAR_TRY(car_classify_options_check(options, error));
    if (options->folds > 0) {
        CAR_TRY(car_classify_cross(options, data, watch, allocator, result, error));
        result->folds = (int)options->folds;
        if (result->fit.stopped_by_signal)
            return CAR_OK;
    }
    classify_run run = {
        .allocator = allocator, .options = options, .watch = watch, .data = data, .result = result};
    double crossed = result->seconds;
    car_status status = start(&run, load, error);
    result->seconds += crossed;
    free_buffers(&run);
    return status;
}

/* ---- going on ----------------------------------------------------------------------------------------- */

typedef struct stored_run {
    car_classify_options options;
    const char *path, *digest,
        *valid_digest; /* in the arena; valid_digest NULL: split from the file */
} stored_run;

static car_status damaged(const char *checkpoint, car_error *error) {
    return car_fail(
        error, CAR_MODEL,
        "%.200s: not a checkpoint of `classify train` or `tag train`, or damaged; give FILE.last",
        checkpoint);
}

static car_status read_stored(const char *checkpoint, const car_model *model, car_arena *arena,
                              stored_run *stored, car_error *error) {
    const char *options = car_model_metadata(model, "classify.options");
    const char *files = car_model_metadata(model, "classify.data");
    const car_json *root = NULL;
    car_error cause;
    if (!options || !files)
        return damaged(checkpoint, error);
    bool text = model->net->layers[0].kind == CAR_LAYER_EMBED;
    const car_labelling *task = text ? &car_tag_task : &car_classify_task;
    stored->options = car_classify_defaults(task);
    CAR_TRY(car_settings_from_json(task->settings, task->count, options, checkpoint, arena,
                                   &stored->options, error));
    if (car_classify_options_check(&stored->options, &cause) != CAR_OK ||
        car_json_parse(files, strlen(files), "classify.data", 4, 100, arena, &root, &cause) !=
            CAR_OK ||
        !car_file_entry_read(car_json_member(root, "train"), &stored->path, &stored->digest))
        return damaged(checkpoint, error);
    const car_json *valid = car_json_member(root, "valid");
    if (stored->options.valid &&
        !car_file_entry_read(valid, &stored->options.valid, &stored->valid_digest))
        return damaged(checkpoint, error);
    return CAR_OK;
}

/* The data must be those that the run began with. */
static car_status compare(const stored_run *stored, const car_classify_data *data,
                          car_error *error) {
    char digest[65];
    const char *changed = NULL;
    car_sequences_digest(&data->train, digest);
    if (strcmp(digest, stored->digest) != 0)
        changed = stored->path;
    if (stored->valid_digest) {
        car_sequences_digest(&data->valid, digest);
        if (strcmp(digest, stored->valid_digest) != 0)
            changed = stored->options.valid;
    }
    return changed ? car_fail(error, CAR_DATA,
                              "%.200s: the data has changed since the run began; bring the old "
                              "file back, or start anew with --load",
                              changed)
                   : CAR_OK;
}

static void apply(const car_training_changes *changes, car_classify_options *options) {
    if (changes->minutes >= 0)
        options->minutes = changes->minutes;
    if (changes->epochs >= 0)
        options->epochs = changes->epochs;
    if (changes->updates >= 0)
        options->updates = changes->updates;
    if (changes->threads >= 0)
        options->threads = changes->threads;
}

static bool sizes_fit(const classify_run *run) {
    const car_model *model = car_trainer_model(run->trainer);
    const car_sequences *set = &run->data->train;
    const car_trainer_options *trainer = &run->trainer->options;
    return model->input_size ==
               (set->ids ? set->symbols.count : car_classifier_inputs(&run->data->shape)) &&
           trainer->batch == run->batch && trainer->steps == run->longest;
}

/* `known`: what the checkpoint says about classes and scaling, which may come from a model given with --load. */
static car_status go_on(classify_run *run, const char *checkpoint, const stored_run *stored,
                        const car_classifier *known, car_error *error) {
    car_classify_data data = {0};
    run->options = &stored->options;
    run->data = &data;
    car_status status = car_classify_read(&stored->options, stored->path, known->each, known,
                                          run->allocator, &data, error);
    if (status == CAR_OK)
        status = compare(stored, &data, error);
    if (status == CAR_OK)
        status = measure(run, run->trainer->model, error);
    if (status == CAR_OK && !sizes_fit(run))
        status = damaged(checkpoint, error);
    if (status == CAR_OK)
        status = go(run, error);
    car_classify_data_free(&data);
    run->options = NULL;
    run->data = NULL;
    return status;
}

static car_status resume(classify_run *run, const char *checkpoint,
                         const car_training_changes *changes, car_arena *arena, car_error *error) {
    if (!arena)
        return car_fail(error, CAR_MEMORY, "%.200s: out of memory", checkpoint);
    int threads = changes->threads >= 0 ? (int)changes->threads : 0;
    stored_run stored = {0};
    car_model *copy = NULL;
    car_classifier known;
    CAR_TRY(car_trainer_load(checkpoint, threads, run->allocator, &run->trainer, error));
    const car_model *model = car_trainer_model(run->trainer);
    CAR_TRY(read_stored(checkpoint, model, arena, &stored, error));
    apply(changes, &stored.options);
    CAR_TRY(car_model_copy(model, run->allocator, &copy, error));
    CAR_TRY(car_classifier_make(copy, checkpoint, run->allocator, &known, error));
    car_status status = go_on(run, checkpoint, &stored, &known, error);
    car_classifier_free(&known);
    return status;
}

car_status car_classify_resume(const char *checkpoint, const car_training_changes *changes,
                               const car_classify_watch *watch, const car_allocator *allocator,
                               car_classify_result *result, car_error *error) {
    *result = (car_classify_result){.temperature = 1};
    classify_run run = {.allocator = allocator, .watch = watch, .result = result};
    car_arena *arena = car_arena_create(allocator);
    car_status status = resume(&run, checkpoint, changes, arena, error);
    free_buffers(&run);
    car_arena_free(arena);
    return status;
}
