/*
 * run.c: one training: a cell with a setting on a task.
 *
 *   net       `embed N | CELL N xL | HEAD`, N such that the net has about so many weights
 *   gradient  the paper's is the sum over the steps, ours their mean: rate * steps and clip / steps of ours are its rate and
 *             clip (sgd). With adam only the clip.
 *   rate      as it is for the first two thirds of the updates, then halved 4 times, every twelfth of them (the paper's four
 *             halvings, on a clock that counts updates)
 *
 * In:  cell, setting, task, seed. Out: scores. The same arguments give the same bits; nothing depends on the clock.
 */
#include "search.h"
#include <math.h>
#include <string.h>

enum { HALVINGS = 4 };

struct car_run {
    const car_allocator *allocator;
    car_task *task;
    car_setting_values setting;
    car_run_options options;
    bool sums; /* sgd: the gradient is to be the sum over the steps */
    car_trainer *trainer;
    car_stack *stack; /* to judge with; made when first needed */
    int64_t updates;
    int units;
    bool diverged;
};

/* ---- The net ------------------------------------------------------------------------------------------ */

typedef struct sizing {
    const car_task *task;
    const car_cell *cell;
    int layers;
} sizing;

static car_status parse_net(const sizing *size, int units, const car_allocator *allocator,
                            car_net **net, car_error *error) {
    car_text text;
    car_text_start(&text, allocator);
    car_task_net(size->task, car_cell_name(size->cell), units, size->layers, &text);
    car_status status = text.failed
                            ? car_fail(error, CAR_MEMORY, "no memory for the net's text")
                            : car_net_parse(text.data, &size->cell, 1, allocator, net, error);
    car_text_free(&text);
    return status;
}

static car_status count_weights(void *context, int units, const car_allocator *allocator,
                                int64_t *weights, car_error *error) {
    const sizing *size = context;
    car_net *net;
    car_model *model;
    CAR_TRY(parse_net(size, units, allocator, &net, error));
    CAR_TRY(
        car_model_outline(net, size->task->inputs, size->task->outputs, allocator, &model, error));
    car_status status = car_model_prepare(model, error);
    *weights = car_model_parameter_count(model);
    car_model_free(model);
    return status;
}

static car_status make_trainer(car_run *run, const car_cell *cell, car_error *error) {
    sizing size = {run->task, cell, run->setting.layers};
    char init[48];
    car_net *net;
    car_model *model;
    CAR_TRY(car_probe_fit_units(count_weights, &size, run->options.weights, run->allocator,
                                &run->units, error));
    CAR_TRY(parse_net(&size, run->units, run->allocator, &net, error));
    snprintf(init, sizeof init, "uniform(%.9g)", run->setting.scale / sqrt(run->units));
    const car_model_options given = {.input_size = run->task->inputs,
                                     .output_size = run->task->outputs,
                                     .seed = run->options.seed,
                                     .init = init};
    car_status status = car_model_create(net, &given, run->allocator, &model, error);
    car_net_free(net);
    CAR_TRY(status);
    double clip = run->setting.clip / (run->sums ? run->task->steps : 1);
    const car_trainer_options options = {.batch = run->task->options.lanes,
                                         .steps = run->task->steps,
                                         .threads = 1,
                                         .optimizer = run->options.optimizer,
                                         .clip_norm = (float)clip,
                                         .seed = run->options.seed};
    status = car_trainer_create(model, &options, run->allocator, &run->trainer, error);
    car_model_free(model);
    return status;
}

car_status car_run_open(car_task *task, const car_cell *cell, const car_setting_values *setting,
                        const car_run_options *options, const car_allocator *allocator,
                        car_run **run, car_error *error) {
    car_run *made = car_allocate(allocator, 1, sizeof *made);
    if (!made)
        return car_fail(error, CAR_MEMORY, "%s: no memory for a run", car_cell_name(cell));
    *made = (car_run){.allocator = allocator,
                      .task = task,
                      .setting = *setting,
                      .options = *options,
                      .sums = strcmp(options->optimizer, "sgd") == 0};
    car_status status = make_trainer(made, cell, error);
    if (status == CAR_OK)
        *run = made;
    else
        car_run_free(made);
    return status;
}

void car_run_free(car_run *run) {
    if (!run)
        return;
    car_trainer_free(run->trainer);
    car_release(run->allocator, run->stack);
    car_release(run->allocator, run);
}

int64_t car_run_updates(const car_run *run) {
    return run->updates;
}

bool car_run_diverged(const car_run *run) {
    return run->diverged;
}

int car_run_units(const car_run *run) {
    return run->units;
}

/* ---- Training ----------------------------------------------------------------------------------------- */

static double rate_now(const car_run *run) {
    double done = (double)run->updates / (double)run->options.updates;
    double halved = floor((done - 2.0 / 3) * 3 * HALVINGS) + 1;
    double rate = run->setting.rate * (run->sums ? run->task->steps : 1);
    return halved > 0 ? ldexp(rate, -(int)halved) : rate;
}

static bool told_to_stop(const car_run_tick *tick, bool *stopped) {
    *stopped = tick && !tick->goes_on(tick->context);
    return *stopped;
}

car_status car_run_train(car_run *run, int64_t updates, const car_run_tick *tick, bool *stopped,
                         car_error *error) {
    *stopped = false;
    while (run->updates < updates && !run->diverged && !told_to_stop(tick, stopped)) {
        car_batch batch;
        car_step_result result;
        car_task_fill(run->task, CAR_PROBE_TRAIN, run->updates, &batch);
        car_status status =
            car_trainer_step(run->trainer, &batch, (float)rate_now(run), &result, error);
        if (status != CAR_OK && status != CAR_DIVERGED)
            return status;
        run->diverged = status == CAR_DIVERGED;
        run->updates += status == CAR_OK;
    }
    return CAR_OK;
}

/* ---- Judging ------------------------------------------------------------------------------------------ */

static car_status make_stack(car_run *run, car_error *error) {
    const car_model *model = car_trainer_model(run->trainer);
    const car_stack_shape shape = {
        .batch = run->task->options.lanes, .steps = run->task->steps, .threads = 1};
    size_t bytes = car_stack_size(model, &shape);
    void *memory = bytes > 0 ? car_allocate(run->allocator, bytes, 1) : NULL;
    if (!memory)
        return car_fail(error, CAR_MEMORY, "%s: no memory to judge a net of %d units",
                        run->task->name, run->units);
    run->stack = car_stack_place(model, &shape, memory);
    return CAR_OK;
}

car_status car_run_judge(car_run *run, car_probe_set set, const car_run_tick *tick, bool *stopped,
                         car_task_score *score, car_error *error) {
    *score = (car_task_score){0};
    *stopped = false;
    if (!run->stack)
        CAR_TRY(make_stack(run, error));
    int64_t batches = car_task_batches(run->task, set);
    for (int64_t i = 0; i < batches && !told_to_stop(tick, stopped); i++) {
        car_batch batch;
        car_task_fill(run->task, set, i, &batch);
        if (batch.reset)
            car_stack_reset(run->stack, -1);
        CAR_TRY(
            car_stack_forward(run->stack, batch.steps, batch.lengths, batch.input, NULL, 0, error));
        car_stack_outputs(run->stack, car_task_outputs(run->task));
        car_task_judge(run->task, &batch, score);
        car_stack_carry(run->stack);
    }
    return CAR_OK;
}
