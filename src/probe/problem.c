/*
 * problem.c: a task at one distance, for one seed.
 *
 * In:  a task, a distance, a seed, images for tasks that need them.
 * Out: batches [T][B] as a trainer takes them; the outputs of a net as probabilities, to be judged by the task.
 */
#include "probe.h"
#include <math.h>
#include <string.h>

car_status car_probe_problem_make(const car_probe_task *task, int distance, uint64_t seed,
                                  const car_probe_digits *digits, car_probe_problem *problem,
                                  car_error *error) {
    if (task->digits && !digits)
        return car_fail(
            error, CAR_USAGE,
            "%s reads images: give --images FILE --labels FILE (idx files, as MNIST's), or "
            "--images FILE.csv",
            task->name);
    if (task->distance_name && (distance < task->distance_least || distance > task->distance_most))
        return car_fail(error, CAR_USAGE, "--distance %d: %s takes %d to %d (%s)", distance,
                        task->name, task->distance_least, task->distance_most, task->distance_name);
    *problem = (car_probe_problem){
        .task = task, .distance = distance, .seed = seed, .digits = task->digits ? digits : NULL};
    task->shape(problem);
    return CAR_OK;
}

/* ---- Batches ------------------------------------------------------------------------------------------ */

static size_t target_rows(const car_probe_problem *problem, int steps, int lanes) {
    bool each = problem->task->pool == CAR_POOL_EACH;
    return (size_t)lanes * (each ? (size_t)steps : 1);
}

/* Walks the memory of a batch; with base NULL only sizes are added up. */
static void lay_batch(const car_probe_problem *problem, int lanes, car_layout *layout, void *base,
                      car_probe_batch *batch) {
    size_t rows = target_rows(problem, problem->most_steps, lanes);
    size_t input_rows = (size_t)problem->most_steps * (size_t)lanes;
    size_t outputs = (size_t)problem->outputs;
    bool softmax = problem->task->head == CAR_HEAD_SOFTMAX;
    batch->lanes = lanes;
    batch->lengths = car_layout_take(layout, base, (size_t)lanes, 1, sizeof(int));
    batch->input =
        car_layout_take(layout, base, input_rows, (size_t)problem->inputs, sizeof(float));
    batch->classes = softmax ? car_layout_take(layout, base, rows, 1, sizeof(int32_t)) : NULL;
    batch->values = softmax ? NULL : car_layout_take(layout, base, rows, outputs, sizeof(float));
    batch->truth = car_layout_take(layout, base, rows, 1, sizeof(float));
    batch->output = car_layout_take(layout, base, rows, outputs, sizeof(float));
}

car_status car_probe_batch_create(const car_probe_problem *problem, int lanes,
                                  const car_allocator *allocator, car_probe_batch **batch,
                                  car_error *error) {
    car_layout layout = {0, false};
    car_probe_batch counted = {0};
    car_layout_add(&layout, 1, sizeof counted);
    lay_batch(problem, lanes, &layout, NULL, &counted);
    char *memory = layout.overflow ? NULL : car_allocate(allocator, layout.size, 1);
    if (!memory)
        return car_fail(error, CAR_MEMORY,
                        "%s: no memory for %d sequences of %d steps of %d values; take a smaller "
                        "--batch or --distance",
                        problem->task->name, lanes, problem->most_steps, problem->inputs);
    layout = (car_layout){0, false};
    car_layout_add(&layout, 1, sizeof counted);
    *batch = (car_probe_batch *)(void *)memory;
    lay_batch(problem, lanes, &layout, memory, *batch);
    return CAR_OK;
}

car_probe_lane car_probe_lane_of(const car_probe_problem *problem, const car_probe_batch *batch,
                                 int lane) {
    size_t at = (size_t)lane, lanes = (size_t)batch->lanes, outputs = (size_t)problem->outputs;
    return (car_probe_lane){
        .steps = batch->lengths[lane],
        .input = batch->input + at * (size_t)problem->inputs,
        .input_stride = lanes * (size_t)problem->inputs,
        .classes = batch->classes ? batch->classes + at : NULL,
        .class_stride = lanes,
        .values = batch->values ? batch->values + at * outputs : NULL,
        .value_stride = lanes * outputs,
        .truth = batch->truth + at,
        .output = batch->output + at * outputs,
    };
}

void car_probe_clear(const car_probe_problem *problem, int steps, car_probe_batch *batch) {
    size_t rows = target_rows(problem, steps, batch->lanes);
    batch->steps = steps;
    memset(batch->input, 0,
           (size_t)steps * (size_t)batch->lanes * (size_t)problem->inputs * sizeof(float));
    if (batch->classes)
        memset(batch->classes, -1, rows * sizeof *batch->classes);
    if (batch->values)
        memset(batch->values, 0, rows * (size_t)problem->outputs * sizeof(float));
}

void car_probe_fill(const car_probe_problem *problem, car_probe_set set, uint64_t first,
                    car_probe_batch *batch) {
    const car_probe_task *task = problem->task;
    int longest = 0;
    for (int i = 0; i < batch->lanes; i++) {
        car_probe_draws draws = car_probe_draws_of(problem->seed, set, first + (uint64_t)i);
        batch->lengths[i] = task->length(problem, &draws);
        longest = batch->lengths[i] > longest ? batch->lengths[i] : longest;
    }
    car_probe_clear(problem, longest, batch);
    for (int i = 0; i < batch->lanes; i++) {
        car_probe_draws draws = car_probe_draws_of(problem->seed, set, first + (uint64_t)i);
        task->length(problem, &draws);
        car_probe_lane lane = car_probe_lane_of(problem, batch, i);
        task->make(problem, &draws, &lane);
    }
}

/* ---- Outputs ------------------------------------------------------------------------------------------ */

static void softmax(float *row, int count) {
    float greatest = row[0];
    double sum = 0;
    for (int i = 1; i < count; i++)
        greatest = row[i] > greatest ? row[i] : greatest;
    for (int i = 0; i < count; i++)
        sum += exp((double)(row[i] - greatest));
    for (int i = 0; i < count; i++)
        row[i] = (float)(exp((double)(row[i] - greatest)) / sum);
}

void car_probe_activate(const car_probe_problem *problem, car_probe_batch *batch) {
    size_t rows = target_rows(problem, batch->steps, batch->lanes);
    for (size_t row = 0; row < rows; row++) {
        float *values = batch->output + row * (size_t)problem->outputs;
        if (problem->task->head == CAR_HEAD_SOFTMAX) {
            bool counts = batch->classes[row] >= 0;
            if (counts)
                softmax(values, problem->outputs);
        } else if (problem->task->head == CAR_HEAD_SIGMOID) {
            for (int i = 0; i < problem->outputs; i++)
                values[i] = (float)(1 / (1 + exp(-(double)values[i])));
        }
    }
}
