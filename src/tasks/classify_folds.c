/*
 * classify_folds.c: how good a classifier with these settings is, by cross-validation.
 *
 * In:  settings, data all of which is to be learned from in the end. Out: the judgement of all its sequences, each by a net
 *      that has not learned from it, nor has its scaling; the temperature that fits these outputs best.
 *
 *   folds 0 .. K-1 of sequences ──all but fold k──► a net at options->output + ".fold" ──fold k──► outputs
 *
 * No net stops early: what is judged must choose nothing.
 */
#include "classify.h"
#include <stdio.h>
#include <string.h>

typedef struct folds_run {
    car_classify_options options; /* those of the caller, with an output of its own */
    const car_classify_data *data;
    car_classify_watch watch;
    const car_allocator *allocator;
    int *judged;    /* the sequences whose outputs there are, in their order */
    float *outputs; /* [items][classes] */
    size_t items;
    int count;
    double seconds;
} folds_run;

/* Adds what the net in options.output makes of the fold. */
static car_status run_fold(folds_run *run, const car_part *part, car_error *error) {
    car_classifier classifier;
    CAR_TRY(car_classifier_load(run->options.output, run->allocator, &classifier, error));
    car_status status =
        car_classifier_run(&classifier, part, (int)run->options.threads,
                           run->outputs + run->items * (size_t)classifier.classes, error);
    car_classifier_free(&classifier);
    memcpy(run->judged + run->count, part->index, (size_t)part->count * sizeof *run->judged);
    run->count += part->count;
    run->items += car_part_items(part);
    return status;
}

static car_status train_fold(folds_run *run, int fold, int folds, bool *stopped, car_error *error) {
    car_classify_data part = {0};
    car_classify_result result;
    CAR_TRY(car_classify_fold(&run->options, run->data, fold, folds, &part, error));
    const car_part judged = part.judged;
    part.judged.count = 0;
    car_status status =
        car_classify_train(&run->options, &part, NULL, &run->watch, run->allocator, &result, error);
    run->seconds += result.seconds;
    *stopped = result.fit.stopped_by_signal;
    if (status == CAR_OK && !*stopped && judged.count > 0)
        status = run_fold(run, &judged, error);
    car_classify_fold_free(&part);
    return status;
}

static car_status train_folds(folds_run *run, int folds, car_classify_result *result,
                              car_error *error) {
    const car_classifier *shape = &run->data->shape;
    size_t classes = (size_t)shape->classes, items = car_part_items(&run->data->learned);
    run->judged =
        car_allocate(run->allocator, (size_t)run->data->learned.count, sizeof *run->judged);
    run->outputs = car_allocate(run->allocator, items, 2 * classes * sizeof *run->outputs);
    if (!run->judged || !run->outputs)
        return car_fail(error, CAR_MEMORY, "no memory for the outputs of %zu items", items);
    bool stopped = false;
    for (int fold = 0; fold < folds && !stopped; fold++)
        CAR_TRY(train_fold(run, fold, folds, &stopped, error));
    const car_part all = {run->data->learned.set, run->count, run->judged};
    result->fit.stopped_by_signal = stopped;
    result->seconds = run->seconds;
    return stopped
               ? CAR_OK
               : car_classify_calibrate(&all, run->outputs, shape, run->allocator, result, error);
}

car_status car_classify_cross(const car_classify_options *options, const car_classify_data *data,
                              const car_classify_watch *watch, const car_allocator *allocator,
                              car_classify_result *result, car_error *error) {
    char path[sizeof result->output];
    folds_run run = {.options = *options, .data = data, .watch = *watch, .allocator = allocator};
    int folds = (int)options->folds;
    if (folds > data->learned.count)
        return car_fail(error, CAR_USAGE, "--folds %d of %d sequences; give less", folds,
                        data->learned.count);
    if (snprintf(path, sizeof path, "%s.fold", options->output) >= (int)sizeof path)
        return car_fail(error, CAR_USAGE, "--output: the name is too long");
    run.options.output = path;
    run.options.folds = 0;
    run.options.valid_fraction = 0;
    run.watch.started = NULL;
    car_status status = train_folds(&run, folds, result, error);
    (void)remove(path);
    car_release(allocator, run.judged);
    car_release(allocator, run.outputs);
    return status;
}
