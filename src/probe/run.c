/*
 * run.c: one training: a cell at a distance, with a seed.
 *
 * In:  a study, which arm and seed, a checkpoint to go on from. Out: a record, and the checkpoint (also a model file).
 *
 *   every update          sequences update * B .. update * B + B - 1 of the training set; of streams the next 100 steps, and
 *                         new streams from the initial state every STREAM_UPDATES updates
 *   every `check_every`   sequences of the check set: 256 first; while they meet the criterion, the others. All met: solved
 *   at the end            the test set, once
 *
 * Nothing here depends on the clock: when a run is solved is a function of its updates alone. Its own thread does all.
 */
#include "probe.h"
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_CHECK = 256, LOSS_WINDOW = 100, COST_UPDATES = 8, STREAM_UPDATES = 10 };

typedef struct training {
    const car_probe_study *study;
    const car_probe_arm *arm;
    const car_probe_control *control;
    const car_allocator *allocator;
    car_probe_problem problem;
    car_probe_record *record;
    car_trainer *trainer;
    car_probe_batch *batch, *judged; /* of an update; of a check */
    car_stack *stack;                /* runs the present weights over `judged` */
    car_probe_walk *walks;           /* streams: [batch] where training stands */
    car_probe_walk *judged_walks;    /* streams: [CAR_PROBE_STREAMS] */
    double begun, cpu_begun, saved;
} training;

static double clock_of(clockid_t which) {
    struct timespec time;
    clock_gettime(which, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- Making ------------------------------------------------------------------------------------------- */

static car_status new_trainer(training *run, car_error *error) {
    const car_probe_settings *settings = &run->study->settings;
    const car_trainer_options options = {.batch = (int)settings->batch,
                                         .steps = run->problem.most_steps,
                                         .threads = 1,
                                         .optimizer = settings->optimizer,
                                         .momentum = (float)settings->momentum,
                                         .beta1 = (float)settings->beta1,
                                         .beta2 = (float)settings->beta2,
                                         .epsilon = (float)settings->epsilon,
                                         .decay = (float)settings->decay,
                                         .clip_norm = (float)settings->clip,
                                         .clip_value = (float)settings->clip_value,
                                         .seed = run->problem.seed};
    const car_probe_cell *cell = &run->study->cells[run->arm->cell];
    car_model *model;
    CAR_TRY(car_probe_model_make(&run->problem, cell->cell, run->arm->hidden, settings->init,
                                 cell->bias_init, run->allocator, &model, error));
    car_status status = car_trainer_create(model, &options, run->allocator, &run->trainer, error);
    car_model_free(model);
    return status;
}

static car_status make_buffers(training *run, car_error *error) {
    const car_probe_problem *problem = &run->problem;
    int batch = (int)run->study->settings.batch;
    int judged = problem->task->stream ? CAR_PROBE_STREAMS : batch;
    CAR_TRY(car_probe_batch_create(problem, batch, run->allocator, &run->batch, error));
    CAR_TRY(car_probe_batch_create(problem, judged, run->allocator, &run->judged, error));
    const car_model *model = car_trainer_model(run->trainer);
    const car_stack_shape shape = {.batch = judged, .steps = problem->most_steps, .threads = 1};
    size_t bytes = car_stack_size(model, &shape);
    void *memory = bytes > 0 ? car_allocate(run->allocator, bytes, 1) : NULL;
    if (!memory)
        return car_fail(error, CAR_MEMORY, "%s: no memory to judge %d sequences of %d steps",
                        problem->task->name, judged, problem->most_steps);
    run->stack = car_stack_place(model, &shape, memory);
    if (!problem->task->stream)
        return CAR_OK;
    run->walks = car_allocate(run->allocator, (size_t)batch, sizeof *run->walks);
    run->judged_walks = car_allocate(run->allocator, CAR_PROBE_STREAMS, sizeof *run->walks);
    if (!run->walks || !run->judged_walks)
        return car_fail(error, CAR_MEMORY, "%s: no memory for its streams", problem->task->name);
    return CAR_OK;
}

static void free_training(training *run) {
    car_release(run->allocator, run->batch);
    car_release(run->allocator, run->judged);
    car_release(run->allocator, run->stack);
    car_release(run->allocator, run->walks);
    car_release(run->allocator, run->judged_walks);
    car_trainer_free(run->trainer);
}

/* ---- Checkpoints -------------------------------------------------------------------------------------- */

/* Times run on from those of the runs before. */
static void stop_clocks(training *run) {
    double now = clock_of(CLOCK_MONOTONIC), cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);
    run->record->seconds += now - run->begun;
    run->record->cpu_seconds += cpu - run->cpu_begun;
    run->begun = now;
    run->cpu_begun = cpu;
}

static car_status save(training *run, car_error *error) {
    car_text text;
    stop_clocks(run);
    run->saved = run->begun;
    if (!run->control->path)
        return CAR_OK;
    car_text_start(&text, run->allocator);
    car_probe_record_to_json(run->record, &text);
    car_status status =
        text.failed ? car_fail(error, CAR_MEMORY, "no memory for the record of a run")
                    : car_trainer_set_metadata(run->trainer, "probe.record", text.data, error);
    car_text_free(&text);
    if (status == CAR_OK)
        status = car_trainer_save(run->trainer, run->control->path, error);
    return status;
}

static car_status wrong_checkpoint(const training *run, car_error *error) {
    return car_fail(
        error, CAR_MODEL,
        "%.300s: not the checkpoint of this run, or damaged; delete it to begin the run "
        "anew",
        run->control->path);
}

static car_status load(training *run, car_error *error) {
    CAR_TRY(car_trainer_load(run->control->path, 1, run->allocator, &run->trainer, error));
    const car_model *model = car_trainer_model(run->trainer);
    const char *json = car_model_metadata(model, "probe.record");
    car_probe_record record;
    if (!json || strcmp(car_model_net(model), run->arm->net) != 0 ||
        run->trainer->options.seed != run->problem.seed ||
        run->trainer->options.batch != run->study->settings.batch ||
        run->trainer->options.steps != run->problem.most_steps ||
        car_probe_record_from_json(json, run->allocator, &record) != CAR_OK ||
        record.updates != car_trainer_updates(run->trainer))
        return wrong_checkpoint(run, error);
    *run->record = record;
    return CAR_OK;
}

/* Where the training streams stand is a function of the updates made. */
static void seek_streams(training *run) {
    int64_t updates = run->record->updates;
    uint64_t lanes = (uint64_t)run->batch->lanes;
    uint64_t first = (uint64_t)(updates / STREAM_UPDATES) * lanes;
    car_probe_stream_start(&run->problem, CAR_PROBE_TRAIN, first, run->batch->lanes, run->walks);
    for (int64_t i = 0; i < updates % STREAM_UPDATES; i++)
        car_probe_stream_fill(&run->problem, run->problem.most_steps, run->walks, run->batch);
}

static car_status open_training(training *run, int seed, car_error *error) {
    const car_probe_study *study = run->study;
    CAR_TRY(car_probe_problem_make(study->task, run->arm->distance,
                                   (uint64_t)(study->settings.seed + seed), study->digits,
                                   &run->problem, error));
    run->problem.shift = (int)study->settings.shift;
    bool there =
        run->control->resume && run->control->path && access(run->control->path, F_OK) == 0;
    if (there) {
        CAR_TRY(load(run, error));
    } else {
        *run->record = (car_probe_record){.check_accuracy = NAN, .check_error = NAN};
        CAR_TRY(new_trainer(run, error));
    }
    CAR_TRY(make_buffers(run, error));
    if (study->task->stream)
        seek_streams(run);
    run->begun = run->saved = clock_of(CLOCK_MONOTONIC);
    run->cpu_begun = clock_of(CLOCK_THREAD_CPUTIME_ID);
    return CAR_OK;
}

/* ---- Judging ------------------------------------------------------------------------------------------ */

static car_status run_judged(training *run, car_error *error) {
    const car_probe_batch *judged = run->judged;
    CAR_TRY(car_stack_forward(run->stack, judged->steps, judged->lengths, judged->input, NULL, 0,
                              error));
    car_stack_outputs(run->stack, judged->output);
    car_probe_activate(&run->problem, run->judged);
    return CAR_OK;
}

/* Told to stop? */
static bool goes_on(const training *run) {
    const car_probe_control *control = run->control;
    return !control->tick || control->tick(control->context, run->record->updates);
}

/* A check is never left in the middle (`stopped` is NULL): whether a run is solved must not depend on a signal. */
static bool told_to_stop(const training *run, bool *stopped) {
    bool stop = !goes_on(run) && stopped;
    if (stop)
        *stopped = true;
    return stop;
}

/* `count` sequences of a set. With `strict` it ends as soon as the criterion is not met, FIRST_CHECK sequences at least. */
static car_status judge_sequences(training *run, car_probe_set set, int count, bool strict,
                                  car_probe_score *score, bool *stopped, car_error *error) {
    const car_probe_task *task = run->problem.task;
    *score = (car_probe_score){0};
    for (int first = 0; first < count; first += run->judged->lanes) {
        if (strict && first >= FIRST_CHECK && !car_probe_passes(task, score))
            return CAR_OK;
        if (told_to_stop(run, stopped))
            return CAR_OK;
        car_probe_fill(&run->problem, set, (uint64_t)first, run->judged);
        car_stack_reset(run->stack, -1);
        CAR_TRY(run_judged(run, error));
        for (int i = 0; i < run->judged->lanes && first + i < count; i++) {
            car_probe_lane lane = car_probe_lane_of(&run->problem, run->judged, i);
            task->judge(&run->problem, &lane, score);
        }
    }
    return CAR_OK;
}

/* How far CAR_PROBE_STREAMS streams come, `most` steps at most; ends when all have met an error, with `strict` when one
 * has. */
static car_status judge_streams(training *run, car_probe_set set, int most, bool strict,
                                car_probe_score *score, bool *stopped, car_error *error) {
    int64_t reached[CAR_PROBE_STREAMS] = {0};
    bool wrong[CAR_PROBE_STREAMS] = {false};
    int running = CAR_PROBE_STREAMS, chunk = run->problem.most_steps;
    car_probe_stream_start(&run->problem, set, 0, CAR_PROBE_STREAMS, run->judged_walks);
    car_stack_reset(run->stack, -1);
    int least = strict ? CAR_PROBE_STREAMS : 1;
    for (int at = 0; at < most && running >= least; at += chunk) {
        if (told_to_stop(run, stopped))
            return CAR_OK;
        car_probe_stream_fill(&run->problem, chunk, run->judged_walks, run->judged);
        CAR_TRY(run_judged(run, error));
        car_stack_carry(run->stack);
        for (int i = 0; i < CAR_PROBE_STREAMS; i++) {
            car_probe_lane lane = car_probe_lane_of(&run->problem, run->judged, i);
            int right = wrong[i] ? 0 : car_probe_stream_right(&lane);
            reached[i] += right;
            running -= !wrong[i] && right < chunk;
            wrong[i] = wrong[i] || right < chunk;
        }
    }
    if (strict && running < CAR_PROBE_STREAMS)
        running = 0; /* the others were not run to their ends */
    *score = (car_probe_score){.items = CAR_PROBE_STREAMS, .right = running};
    for (int i = 0; i < CAR_PROBE_STREAMS; i++)
        score->error += (double)reached[i];
    return CAR_OK;
}

/* How many sequences (of streams: steps) of a set there are to judge. */
static int judged_count(const car_probe_problem *problem, car_probe_set set) {
    const car_probe_task *task = problem->task;
    if (!task->digits)
        return set == CAR_PROBE_TEST ? task->test : task->check;
    int held_out = problem->digits->train.count / 10, images = problem->digits->test.count;
    if (set == CAR_PROBE_TEST && images > 0)
        return images;
    return held_out < task->check ? held_out : task->check;
}

static car_status judge(training *run, car_probe_set set, car_probe_score *score, bool *stopped,
                        car_error *error) {
    int count = judged_count(&run->problem, set);
    bool strict = set == CAR_PROBE_CHECK;
    if (run->problem.task->stream)
        return judge_streams(run, set, count, strict, score, stopped, error);
    return judge_sequences(run, set, count, strict, score, stopped, error);
}

/* Is it solved? */
static car_status check(training *run, car_error *error) {
    car_probe_score score;
    CAR_TRY(judge(run, CAR_PROBE_CHECK, &score, NULL, error));
    run->record->check_accuracy = car_probe_accuracy(&score);
    run->record->check_error = car_probe_error(&score);
    run->record->solved = car_probe_passes(run->problem.task, &score);
    return CAR_OK;
}

static car_status test(training *run, bool *stopped, car_error *error) {
    car_probe_score score;
    CAR_TRY(judge(run, CAR_PROBE_TEST, &score, stopped, error));
    if (*stopped)
        return CAR_OK;
    run->record->accuracy = car_probe_accuracy(&score);
    run->record->error = car_probe_error(&score);
    run->record->tested = true;
    return CAR_OK;
}

/* ---- Training ----------------------------------------------------------------------------------------- */

/* A smooth fall, a function of the updates made alone, so that a run can go on with more of them. */
static float rate_now(const training *run) {
    const car_probe_settings *settings = &run->study->settings;
    if (settings->halve_every == 0)
        return (float)settings->rate;
    double halvings = (double)run->record->updates / (double)settings->halve_every;
    return (float)(settings->rate * exp2(-halvings));
}

static car_status update(training *run, car_error *error) {
    car_probe_record *record = run->record;
    car_probe_batch *batch = run->batch;
    bool stream = run->problem.task->stream;
    bool begins = !stream || record->updates % STREAM_UPDATES == 0;
    if (stream && begins)
        seek_streams(run);
    if (stream)
        car_probe_stream_fill(&run->problem, run->problem.most_steps, run->walks, batch);
    else
        car_probe_fill(&run->problem, CAR_PROBE_TRAIN,
                       (uint64_t)record->updates * (uint64_t)batch->lanes, batch);
    const void *target = batch->classes ? (const void *)batch->classes : batch->values;
    const car_batch given = {.steps = batch->steps,
                             .reset = begins,
                             .input = batch->input,
                             .lengths = batch->lengths,
                             .target = target};
    car_step_result result;
    CAR_TRY(car_trainer_step(run->trainer, &given, rate_now(run), &result, error));
    record->updates++;
    record->tested = false;
    record->loss += (result.loss - record->loss) /
                    (double)(record->updates < LOSS_WINDOW ? record->updates : LOSS_WINDOW);
    return CAR_OK;
}

static bool ended(const training *run) {
    const car_probe_record *record = run->record;
    return record->solved || record->diverged || record->updates >= run->study->updates;
}

/* Up to the budget, the solution, a divergence or the signal. */
static car_status train(training *run, bool *stopped, car_error *error) {
    car_probe_record *record = run->record;
    const car_probe_control *control = run->control;
    while (!ended(run)) {
        if (told_to_stop(run, stopped))
            return CAR_OK;
        car_status status = update(run, error);
        record->diverged = status == CAR_DIVERGED;
        if (status != CAR_OK && status != CAR_DIVERGED)
            return status;
        if (status == CAR_OK && record->updates % run->study->settings.check_every == 0)
            CAR_TRY(check(run, error));
        if (control->path && control->checkpoint_seconds > 0 &&
            clock_of(CLOCK_MONOTONIC) - run->saved >= control->checkpoint_seconds)
            CAR_TRY(save(run, error));
    }
    return CAR_OK;
}

static car_status train_and_test(training *run, int seed, car_error *error) {
    bool stopped = false;
    CAR_TRY(open_training(run, seed, error));
    CAR_TRY(train(run, &stopped, error));
    stop_clocks(run);
    if (!stopped && !run->record->tested)
        CAR_TRY(test(run, &stopped, error));
    run->begun = clock_of(CLOCK_MONOTONIC);
    run->cpu_begun = clock_of(CLOCK_THREAD_CPUTIME_ID);
    return save(run, error);
}

car_status car_probe_run(const car_probe_study *study, int arm, int seed,
                         const car_probe_control *control, car_probe_record *record,
                         car_error *error) {
    training run = {.study = study,
                    .arm = &study->arms[arm],
                    .control = control,
                    .allocator = study->allocator,
                    .record = record};
    car_status status = train_and_test(&run, seed, error);
    free_training(&run);
    return status;
}

static car_status measure_cost(training *run, double *seconds, car_error *error) {
    car_probe_score score;
    CAR_TRY(open_training(run, 0, error));
    CAR_TRY(update(run, error));
    double begun = clock_of(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < COST_UPDATES; i++)
        CAR_TRY(update(run, error));
    double trained = clock_of(CLOCK_THREAD_CPUTIME_ID);
    CAR_TRY(judge(run, CAR_PROBE_CHECK, &score, NULL, error));
    double checked = clock_of(CLOCK_THREAD_CPUTIME_ID);
    *seconds = (trained - begun) / COST_UPDATES +
               (checked - trained) / (double)run->study->settings.check_every;
    return CAR_OK;
}

car_status car_probe_run_cost(const car_probe_study *study, int arm, double *seconds,
                              car_error *error) {
    const car_probe_control control = {0};
    car_probe_record record;
    training run = {.study = study,
                    .arm = &study->arms[arm],
                    .control = &control,
                    .allocator = study->allocator,
                    .record = &record};
    car_status status = measure_cost(&run, seconds, error);
    free_training(&run);
    return status;
}
