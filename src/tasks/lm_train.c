/*
 * lm_train.c: from settings and ids to a trained model, and on from a checkpoint.
 *
 * In:  car_lm_options and car_lm_data, or a checkpoint that holds the first and names the second.
 * Out: options->output, the model with the best validation loss and lm.record in its metadata;
 *      options->output + ".last", the checkpoint.
 *
 * The loop itself is car_fit; here stand the batches it asks for (stream.c) and what it is told.
 */
#include "tasks.h"
#include <limits.h>
#include <math.h>
#include <string.h>

typedef struct lm_run {
    const car_allocator *allocator;
    const car_lm_options *options;
    const car_lm_watch *watch;
    car_trainer *trainer;
    car_stream train, valid;
    int32_t *input, *target; /* [unroll][batch] */
    car_lm_result *result;
} lm_run;

/* ---- what car_fit asks for ---------------------------------------------------------------------------- */

static car_status training_batch(void *context, int64_t epoch, int64_t index, car_batch *batch,
                                 car_error *error) {
    (void)epoch;
    (void)error;
    const lm_run *run = context;
    int rows = car_stream_batch(&run->train, index, run->input, run->target);
    *batch =
        (car_batch){.steps = rows, .reset = index == 0, .input = run->input, .target = run->target};
    return CAR_OK;
}

static car_status validate(void *context, car_trainer *trainer, double *loss, car_error *error) {
    const lm_run *run = context;
    double nats = 0;
    int64_t counted = 0;
    for (int64_t i = 0; i < run->valid.batches; i++) {
        int rows = car_stream_batch(&run->valid, i, run->input, run->target);
        car_batch batch = {
            .steps = rows, .reset = i == 0, .input = run->input, .target = run->target};
        car_step_result result;
        CAR_TRY(car_trainer_evaluate(trainer, &batch, &result, error));
        nats += result.loss * (double)result.counted;
        counted += result.counted;
    }
    *loss = nats / (double)counted;
    return CAR_OK;
}

static void progressed(void *context, const car_fit_progress *progress) {
    const lm_run *run = context;
    run->result->seconds = progress->seconds;
    run->result->tokens_per_second = progress->tokens_per_second;
    run->result->loss = progress->loss;
    if (run->watch->progress)
        run->watch->progress(run->watch->context, progress);
}

/* ---- settings -> net, trainer, loop ------------------------------------------------------------------- */

car_status car_lm_check_net(const struct car_net *net, car_error *error) {
    const char *reason = NULL;
    if (net->layer_count < 2 || net->layers[0].kind != CAR_LAYER_EMBED)
        reason = "it reads tokens; start it with `embed N` and a layer after that";
    else if (net->head != CAR_HEAD_SOFTMAX)
        reason = "it foretells one token of many; end it with `softmax`";
    else if (net->pool != CAR_POOL_EACH)
        reason = "`last` and `mean` give one output a sequence, every token is foretold; use "
                 "`softmax` alone";
    for (int i = 0; !reason && i < net->layer_count; i++) {
        if (net->layers[i].bidirectional)
            reason = "`bi` reads the text from its end too and would see the token to be foretold; "
                     "take it away";
    }
    return reason ? car_fail(error, CAR_USAGE, "a language model cannot have the net `%.200s`: %s",
                             net->text, reason)
                  : CAR_OK;
}

static car_status parse_net(const car_lm_options *options, const car_allocator *allocator,
                            car_net **net, car_error *error) {
    car_cell *cell = NULL;
    CAR_TRY(car_own_cell(options->cell, allocator, &cell, error));
    car_text text;
    car_text_start(&text, allocator);
    int64_t embed = options->embed;
    if (embed == 0)
        embed = strcmp(options->level, "word") == 0 ? options->hidden : 64;
    if (options->net) {
        car_text_add(&text, options->net, strlen(options->net));
    } else {
        car_text_format(&text, "embed %lld | %s %lld", (long long)embed,
                        cell ? car_cell_name(cell) : options->cell, (long long)options->hidden);
        if (options->layers > 1)
            car_text_format(&text, " x%lld", (long long)options->layers);
        if (options->dropout > 0)
            car_text_format(&text, " dropout %.6g", options->dropout);
        car_text_format(&text, " | softmax");
    }
    const car_cell *cells[] = {cell};
    car_status status = text.failed
                            ? car_fail(error, CAR_MEMORY, "no memory for the net's text")
                            : car_net_parse(text.data, cells, cell ? 1 : 0, allocator, net, error);
    car_text_free(&text);
    car_cell_free(cell);
    if (status == CAR_OK && (status = car_lm_check_net(*net, error)) != CAR_OK) {
        car_net_free(*net);
        *net = NULL;
    }
    return status;
}

static car_status new_model(const car_lm_options *options, int symbols,
                            const car_allocator *allocator, car_model **model, car_error *error) {
    car_net *net = NULL;
    CAR_TRY(parse_net(options, allocator, &net, error));
    car_model_options sizes = {.input_size = symbols,
                               .output_size = symbols,
                               .seed = (uint64_t)options->seed,
                               .init = options->init,
                               .bias_init = options->bias_init,
                               .precision = options->precision};
    car_status status = car_model_create(net, &sizes, allocator, model, error);
    car_net_free(net);
    return status;
}

static car_status new_trainer(const car_lm_options *options, const car_model *model,
                              const car_allocator *allocator, car_trainer **trainer,
                              car_error *error) {
    car_trainer_options settings = {.batch = (int)options->batch,
                                    .steps = (int)options->unroll,
                                    .threads = (int)options->threads,
                                    .optimizer = options->optimizer,
                                    .momentum = (float)options->momentum,
                                    .beta1 = (float)options->beta1,
                                    .beta2 = (float)options->beta2,
                                    .epsilon = (float)options->epsilon,
                                    .decay = (float)options->decay,
                                    .clip_norm = (float)options->clip,
                                    .clip_value = (float)options->clip_value,
                                    .seed = (uint64_t)options->seed};
    return car_trainer_create(model, &settings, allocator, trainer, error);
}

static car_schedule schedule_of(const car_lm_options *options) {
    car_schedule schedule = {.kind = car_schedule_named(options->schedule),
                             .rate = options->rate,
                             .factor = options->factor,
                             .after = options->after,
                             .patience = (double)options->plateau,
                             .final = options->final,
                             .warmup = options->warmup};
    if (schedule.rate == 0)
        schedule.rate = strcmp(options->optimizer, "sgd") == 0 ? 1 : 0.002;
    return schedule;
}

static car_fit_options fit_options(lm_run *run, const char *last_path) {
    const car_lm_options *options = run->options;
    car_fit_options fit = {.minutes = options->minutes,
                           .epochs = options->epochs,
                           .updates = options->updates,
                           .schedule = schedule_of(options),
                           .validate_every = options->validate_every,
                           .patience = (int)options->patience,
                           .best_path = options->output,
                           .last_path = last_path,
                           .checkpoint_seconds = options->checkpoint_seconds,
                           .stop = run->watch->stop,
                           .progress = progressed,
                           .progress_context = run};
    if (fit.minutes == 0 && fit.epochs == 0 && fit.updates == 0)
        fit.epochs = 10;
    return fit;
}

/* ---- the record --------------------------------------------------------------------------------------- */

/* How the model was trained, for its metadata. The paths of the texts stay out of it. */
static car_status write_record(const lm_run *run, const char *path, car_error *error) {
    const car_lm_result *result = run->result;
    car_text text;
    car_text_start(&text, run->allocator);
    const char *level = car_cpu_level_name(NULL);
    car_text_format(
        &text,
        "{\"task\":\"lm\",\"version\":\"%s\",\"cpu_level\":\"%s\",\"precision\":\"%s\","
        "\"train_tokens\":%zu,\"valid_tokens\":%zu,\"updates\":%lld,\"updates_per_epoch\":%lld,"
        "\"clipped\":%lld,\"best_update\":%lld,\"best_validation_nats\":",
        run->watch->version ? run->watch->version : "", level ? level : "", run->options->precision,
        result->facts.train_tokens, result->facts.valid_tokens, (long long)result->fit.updates,
        (long long)result->facts.updates_per_epoch, (long long)result->fit.clipped,
        (long long)result->fit.best_update);
    car_text_json_number(&text, result->fit.best_validation);
    car_text_format(&text, ",\"train_nats\":");
    car_text_json_number(&text, result->loss);
    car_text_format(&text, ",\"seconds\":");
    car_text_json_number(&text, result->seconds);
    car_text_format(&text, ",\"options\":");
    car_lm_options_to_json(run->options, &text);
    car_text_format(&text, "}");

    car_model *model = NULL;
    car_status status = text.failed
                            ? car_fail(error, CAR_MEMORY, "no memory for the training record")
                            : car_model_load(path, run->allocator, &model, error);
    if (status == CAR_OK)
        status = car_model_set_metadata(model, "lm.record", text.data, error);
    if (status == CAR_OK)
        status = car_model_set_metadata(model, "lm.data", NULL, error);
    if (status == CAR_OK)
        status = car_model_set_metadata(model, "lm.options", NULL, error);
    if (status == CAR_OK)
        status = car_model_save(model, path, error);
    car_model_free(model);
    car_text_free(&text);
    return status;
}

/* What makes the files complete: vocabulary; for resuming, settings and texts. */
static car_status set_metadata(const lm_run *run, const car_lm_data *data, car_error *error) {
    car_text text;
    car_text_start(&text, run->allocator);
    car_vocabulary_to_json(data->vocabulary, &text);
    car_status status =
        text.failed ? car_fail(error, CAR_MEMORY, "no memory for the vocabulary")
                    : car_trainer_set_metadata(run->trainer, "lm.vocabulary", text.data, error);
    car_text_free(&text);
    if (status != CAR_OK || !data->files)
        return status;
    CAR_TRY(car_trainer_set_metadata(run->trainer, "lm.data", data->files, error));
    car_text_start(&text, run->allocator);
    car_lm_options_to_json(run->options, &text);
    status = text.failed ? car_fail(error, CAR_MEMORY, "no memory for the settings")
                         : car_trainer_set_metadata(run->trainer, "lm.options", text.data, error);
    car_text_free(&text);
    return status;
}

/* ---- the run ------------------------------------------------------------------------------------------ */

static void gather_facts(lm_run *run, const car_lm_data *data) {
    const car_model *model = car_trainer_model(run->trainer);
    run->result->facts = (car_lm_facts){
        .level = data->vocabulary->level,
        .vocabulary = data->vocabulary->count,
        .threads = run->trainer->threads,
        .train_tokens = data->train.count,
        .valid_tokens = data->valid.count,
        .train_unknown = data->train.unknown,
        .valid_unknown = data->valid.unknown,
        .net = car_model_net(model),
        .parameters = car_model_parameter_count(model),
        .updates_per_epoch = run->train.batches,
        .updates_done = car_trainer_updates(run->trainer),
        .clip = run->options->clip,
        .clip_value = run->options->clip_value,
    };
}

/* Trains run->trainer, which is ready, on the data. */
static car_status go(lm_run *run, const car_lm_data *data, car_error *error) {
    int batch = (int)run->options->batch, unroll = (int)run->options->unroll;
    run->train = car_stream_for_training(data->train.ids, data->train.count, batch, unroll);
    run->valid = car_stream_for_judging(data->valid.ids, data->valid.count, batch, unroll);
    gather_facts(run, data);
    if (run->watch->native)
        (void)car_model_compile_native(run->trainer->model,
                                       NULL); /* else the interpreter does it */
    if (run->watch->started)
        run->watch->started(run->watch->context, &run->result->facts);

    char last_path[sizeof run->result->output + sizeof ".last"];
    const char *output = run->options->output;
    bool resumable = output && data->files;
    if (output && strlen(output) >= sizeof run->result->output)
        return car_fail(error, CAR_USAGE, "--output: the name is too long");
    snprintf(run->result->output, sizeof run->result->output, "%s", output ? output : "");
    snprintf(last_path, sizeof last_path, "%s.last", run->result->output);
    CAR_TRY(car_check_output(output, run->allocator, error));
    CAR_TRY(set_metadata(run, data, error));
    size_t rows = (size_t)batch * (size_t)unroll;
    run->input = car_allocate(run->allocator, rows, sizeof *run->input);
    run->target = car_allocate(run->allocator, rows, sizeof *run->target);
    if (!run->input || !run->target)
        return car_fail(error, CAR_MEMORY, "no memory for a batch of %zu tokens", rows);
    car_fit_source source = {.context = run,
                             .updates_per_epoch = run->train.batches,
                             .batch = training_batch,
                             .validate = data->valid.count > 0 ? validate : NULL};
    car_fit_options fit = fit_options(run, resumable ? last_path : NULL);
    CAR_TRY(car_fit(run->trainer, &source, &fit, &run->result->fit, error));
    run->result->facts.net = NULL;
    run->result->saved =
        output && (data->valid.count == 0 || isfinite(run->result->fit.best_validation));
    car_trainer_free(run->trainer); /* the model is loaded once more; its memory serves for that */
    run->trainer = NULL;
    return run->result->saved ? write_record(run, output, error) : CAR_OK;
}

car_status car_lm_train(const car_lm_options *options, const car_lm_data *data,
                        const car_model *load, const car_lm_watch *watch,
                        const car_allocator *allocator, car_lm_result *result, car_error *error) {
    *result = (car_lm_result){0};
    CAR_TRY(car_lm_options_check(options, error));
    lm_run run = {.allocator = allocator, .options = options, .watch = watch, .result = result};
    car_model *made = NULL;
    car_status status = CAR_OK;
    if (!load)
        status = new_model(options, data->vocabulary->count, allocator, &made, error);
    else if (strcmp(options->precision, car_model_precision(load)) != 0)
        status = car_model_convert(load, options->precision, allocator, &made, error);
    if (status == CAR_OK)
        status = new_trainer(options, made ? made : load, allocator, &run.trainer, error);
    car_model_free(made);
    if (status == CAR_OK)
        status = go(&run, data, error);
    car_release(allocator, run.input);
    car_release(allocator, run.target);
    car_trainer_free(run.trainer);
    return status;
}

/* ---- going on ----------------------------------------------------------------------------------------- */

/* What a checkpoint says about its run; the texts live in the arena. */
typedef struct stored_run {
    car_lm_options options;
    const char **paths, **digests; /* [count] */
    int count;
    const char *valid_digest; /* NULL: the validation part is cut from the texts */
} stored_run;

static car_status damaged(const char *checkpoint, car_error *error) {
    return car_fail(error, CAR_MODEL,
                    "%.200s: not a checkpoint of `lm train`, or damaged; give FILE.last",
                    checkpoint);
}

static car_status read_stored(const char *checkpoint, const car_model *model, car_arena *arena,
                              stored_run *stored, car_error *error) {
    const char *options = car_model_metadata(model, "lm.options");
    const char *files = car_model_metadata(model, "lm.data");
    const car_json *root = NULL;
    if (!options || !files)
        return damaged(checkpoint, error);
    CAR_TRY(car_lm_options_from_json(options, checkpoint, arena, &stored->options, error));
    car_error cause;
    if (car_json_parse(files, strlen(files), "lm.data", 4, 1 << 20, arena, &root, &cause) != CAR_OK)
        return damaged(checkpoint, error);
    const car_json *train = car_json_member(root, "train"), *valid = car_json_member(root, "valid");
    if (!train || train->kind != CAR_JSON_ARRAY || train->count < 1 || !valid)
        return damaged(checkpoint, error);
    stored->paths = car_arena_allocate(arena, (size_t)train->count, sizeof *stored->paths);
    stored->digests = car_arena_allocate(arena, (size_t)train->count, sizeof *stored->digests);
    if (!stored->paths || !stored->digests)
        return car_fail(error, CAR_MEMORY, "%.200s: no memory for its texts' names", checkpoint);
    for (const car_json *file = train->first; file; file = file->next, stored->count++) {
        if (!car_file_entry_read(file, &stored->paths[stored->count],
                                 &stored->digests[stored->count]))
            return damaged(checkpoint, error);
    }
    if (valid->kind != CAR_JSON_NULL &&
        !car_file_entry_read(valid, &stored->options.valid, &stored->valid_digest))
        return damaged(checkpoint, error);
    return CAR_OK;
}

/* The texts must be those that the run began with, to the byte. */
static car_status compare_digests(const char *checkpoint, const stored_run *stored,
                                  const car_lm_data *data, car_arena *arena, car_error *error) {
    const car_json *root = NULL;
    if (!data->files)
        return damaged(checkpoint, error);
    CAR_TRY(car_json_parse(data->files, strlen(data->files), "lm.data", 4, 1 << 20, arena, &root,
                           error));
    const car_json *file = car_json_member(root, "train")->first;
    const char *changed = NULL, *path = NULL, *digest = NULL;
    for (int i = 0; i < stored->count; i++, file = file->next) {
        if (!car_file_entry_read(file, &path, &digest) || strcmp(digest, stored->digests[i]) != 0)
            changed = stored->paths[i];
    }
    if (stored->valid_digest &&
        (!car_file_entry_read(car_json_member(root, "valid"), &path, &digest) ||
         strcmp(digest, stored->valid_digest) != 0))
        changed = stored->options.valid;
    return changed ? car_fail(error, CAR_DATA,
                              "%.200s: the text has changed since the run began; bring the old one "
                              "back, or start anew with --load",
                              changed)
                   : CAR_OK;
}

static void apply(const car_training_changes *changes, car_lm_options *options) {
    if (changes->minutes >= 0)
        options->minutes = changes->minutes;
    if (changes->epochs >= 0)
        options->epochs = changes->epochs;
    if (changes->updates >= 0)
        options->updates = changes->updates;
    if (changes->threads >= 0)
        options->threads = changes->threads;
}

static car_status resume(lm_run *run, const char *checkpoint, const car_training_changes *changes,
                         car_arena *arena, car_error *error) {
    if (!arena)
        return car_fail(error, CAR_MEMORY, "%.200s: out of memory", checkpoint);
    int threads = changes->threads >= 0 ? (int)changes->threads : 0;
    CAR_TRY(car_trainer_load(checkpoint, threads, run->allocator, &run->trainer, error));
    const car_model *model = car_trainer_model(run->trainer);
    stored_run stored = {0};
    CAR_TRY(read_stored(checkpoint, model, arena, &stored, error));
    CAR_TRY(car_lm_check_net(model->net, error));
    apply(changes, &stored.options);
    car_vocabulary *vocabulary = NULL;
    const char *json = car_model_metadata(model, "lm.vocabulary");
    if (!json)
        return damaged(checkpoint, error);
    CAR_TRY(car_vocabulary_from_json(json, checkpoint, run->allocator, &vocabulary, error));
    car_lm_data data = {0};
    car_status status = CAR_OK;
    run->options = &stored.options;
    if (vocabulary->count != car_model_input_size(model) ||
        vocabulary->count != car_model_output_size(model))
        status = damaged(checkpoint, error);
    if (status == CAR_OK)
        status = car_lm_data_read(run->options, stored.paths, stored.count, vocabulary,
                                  run->allocator, &data, error);
    car_vocabulary_free(vocabulary);
    if (status == CAR_OK)
        status = compare_digests(checkpoint, &stored, &data, arena, error);
    if (status == CAR_OK)
        status = go(run, &data, error);
    car_lm_data_free(&data);
    run->options = NULL;
    return status;
}

car_status car_lm_resume(const char *checkpoint, const car_training_changes *changes,
                         const car_lm_watch *watch, const car_allocator *allocator,
                         car_lm_result *result, car_error *error) {
    *result = (car_lm_result){0};
    lm_run run = {.allocator = allocator, .watch = watch, .result = result};
    car_arena *arena = car_arena_create(allocator);
    car_status status = resume(&run, checkpoint, changes, arena, error);
    car_release(allocator, run.input);
    car_release(allocator, run.target);
    car_trainer_free(run.trainer);
    car_arena_free(arena);
    return status;
}
